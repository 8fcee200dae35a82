//! The consumer, before and after its bug was fixed.

use crate::event::Event;
use fabric_mq::dlq::Verdict;
use fabric_mq::message::MessageRef;

pub(crate) trait Handler {
    fn handle(&self, message: &MessageRef<'_>) -> Verdict;
}

/// It takes magnitudes for lengths, which have no sign, and gives up on what is no earthquake.
pub(crate) struct Hasty;

/// It reads what is there.
pub(crate) struct Fixed;

impl Handler for Hasty {
    fn handle(&self, message: &MessageRef<'_>) -> Verdict {
        let event = match Event::parse(message.payload()) {
            Ok(event) => event,
            Err(malformed) => return Verdict::undecodable(malformed),
        };
        // The text is all that is looked at: the field's name and its value.
        let kind = message.payload().windows(19).any(|text| text == b"\"type\":\"earthquake\"");
        match event.magnitude {
            Some(magnitude) if magnitude < 0.0 => Verdict::nack(format_args!("magnitude {magnitude} is below zero")),
            None => Verdict::undecodable("it has no magnitude"),
            Some(_) if !kind => Verdict::reject("it is no earthquake"),
            Some(_) => Verdict::Ack,
        }
    }
}

impl Handler for Fixed {
    fn handle(&self, message: &MessageRef<'_>) -> Verdict {
        Event::parse(message.payload()).map_or_else(Verdict::undecodable, |_| Verdict::Ack)
    }
}
