//! Sending values.

use super::{Producer, SendError, SendReceipt};
use crate::message::{PayloadError, Record};
use crate::topic::Topics;
use core::fmt;
use serde::Serialize;

/// Why a value was not sent. Nothing of it is in the topic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TypedError {
    /// It could not be encoded.
    Payload(PayloadError),
    /// It could not be sent.
    Send(SendError),
}

impl core::error::Error for TypedError {}

impl fmt::Display for TypedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Payload(inner) => write!(f, "{inner}"),
            Self::Send(inner) => write!(f, "{inner}"),
        }
    }
}

impl From<PayloadError> for TypedError {
    fn from(inner: PayloadError) -> Self {
        Self::Payload(inner)
    }
}

impl From<SendError> for TypedError {
    fn from(inner: SendError) -> Self {
        Self::Send(inner)
    }
}

impl<N: AsRef<str>, S: Topics> Producer<N, S> {
    /// Sends a value to the partitions in turn, in postcard's encoding, which is made in `buffer`. Consumers
    /// [`decode`](crate::message::MessageRef::decode) it. Does not allocate, as far as the value's own encoding does not; blocks
    /// as [`send`](Self::send) does.
    ///
    /// ```
    /// use fabric_mq::clock::ManualClock;
    /// use fabric_mq::consumer::Consumer;
    /// use fabric_mq::lease::SlicePool;
    /// use fabric_mq::producer::Producer;
    /// use fabric_mq::topic::{StaticRings, StaticTopics, TopicConfig};
    ///
    /// let clock = ManualClock::new();
    /// let mut memory = [0; 8192];
    /// let pool: SlicePool<'_, 1, _> = SlicePool::new(&mut memory, &clock);
    /// let mut rings: StaticRings<_, 1, 1> = StaticRings::new();
    /// rings.create(&pool, "readings", TopicConfig::new().with_partitions(1).with_slots_and_stride(16, 64), &clock)?;
    /// let topics = StaticTopics::new(&rings, &clock)?;
    ///
    /// let mut producer = Producer::new("readings");
    /// let mut buffer = [0; 32];
    /// producer.send_typed(&topics, &("sensor-7", 21.5_f32), &mut buffer)?;
    ///
    /// let mut consumer = Consumer::new("readings", "my-group");
    /// consumer.assign(&[0]);
    /// let mut celsius = None;
    /// consumer.poll_with(&topics, 1, |message| {
    ///     celsius = message.decode::<(&str, f32)>().ok().map(|(_, celsius)| celsius);
    /// })?;
    /// assert_eq!(celsius, Some(21.5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TypedError::Payload`] if the value does not fit into `buffer`, or its type has no such encoding;
    /// [`TypedError::Send`] as [`send`](Self::send).
    pub fn send_typed<T: Serialize + ?Sized>(
        &mut self,
        topics: &S,
        value: &T,
        buffer: &mut [u8],
    ) -> Result<SendReceipt, TypedError> {
        let record = Record::typed(value, buffer)?;
        Ok(self.send(topics, record.payload())?)
    }

    /// Sends a value with a key: the same key, the same partition, in order. The key travels with it, as it is.
    ///
    /// ```
    /// # #[cfg(feature = "std")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use fabric_mq::producer::Producer;
    /// # use fabric_mq::topic::{TopicConfig, TopicManager, partition_of};
    /// # let topics = TopicManager::new();
    /// # topics.create("readings", TopicConfig::default())?;
    /// let mut producer = Producer::new("readings");
    /// let receipt = producer.send_typed_keyed(&topics, b"sensor-7", &21.5_f32, &mut [0; 8])?;
    /// assert_eq!(receipt.partition, partition_of(b"sensor-7", 4));
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "std"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// As [`send_typed`](Self::send_typed); [`TypedError::Send`] with [`SendError::Message`] if the key is too long.
    pub fn send_typed_keyed<T: Serialize + ?Sized>(
        &mut self,
        topics: &S,
        key: &[u8],
        value: &T,
        buffer: &mut [u8],
    ) -> Result<SendReceipt, TypedError> {
        let record = Record::typed(value, buffer)?;
        Ok(self.send_keyed(topics, key, record.payload())?)
    }
}
