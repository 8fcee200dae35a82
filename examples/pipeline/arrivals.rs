//! What a consumer makes of its messages.

use crate::SEQUENCE;
use crate::event::Event;
use crate::few::Few;
use crate::magnitudes::Magnitudes;
use crate::order::Order;
use core::str;
use fabric_mq::message::MessageRef;

/// The messages of one consumer, counted and checked.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) order: Order,
    pub(crate) magnitudes: Magnitudes,
    pub(crate) faults: Few,
}

impl Arrivals {
    pub(crate) fn take(&mut self, message: &MessageRef<'_>) {
        let key = message.key().and_then(|key| str::from_utf8(key).ok());
        let sequence = message.header(SEQUENCE).and_then(|value| value.try_into().ok()).map(u64::from_le_bytes);
        if let Err(fault) = self.count(message.partition(), key, sequence, message.payload()) {
            let (partition, offset) = (message.partition(), message.offset());
            self.faults.push(format_args!("partition {partition}, offset {offset}: {fault}"));
        }
    }

    /// Counts and checks a record: number `sequence` of its key.
    pub(crate) fn count(
        &mut self,
        partition: u32,
        key: Option<&str>,
        sequence: Option<u64>,
        payload: &[u8],
    ) -> Result<(), String> {
        self.records += 1;
        self.bytes += payload.len() as u64;
        let key = key.ok_or("the key is missing or damaged")?;
        let sequence = sequence.ok_or("the sequence number is missing or damaged")?;
        let order = self.order.see(key, partition, sequence);
        let event = Event::parse(payload).map_err(|error| format!("{key}: the payload is damaged: {error}"))?;
        self.magnitudes.add(event.magnitude);
        if event.net != key {
            return Err(format!("{key}: the payload is one of {}", event.net));
        }
        order.map_err(|disorder| format!("{key}: {disorder}"))
    }
}
