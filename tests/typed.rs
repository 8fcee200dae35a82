//! Payloads that are values.
#![cfg(all(feature = "postcard", feature = "std"))]

use fabric_mq::consumer::Consumer;
use fabric_mq::message::{MAX_KEY, MessageError, PayloadError, Record};
use fabric_mq::producer::{Producer, SendError, TypedError};
use fabric_mq::topic::{TopicConfig, TopicError, TopicManager, partition_of};

#[test]
fn a_value_goes_through_a_topic() -> Result<(), Box<dyn core::error::Error>> {
    let topics = TopicManager::new();
    topics.create("readings", TopicConfig::new().with_partitions(1))?;
    let mut producer = Producer::new("readings");
    let mut buffer = [0; 32];
    let reading = ("sensor-7", 21.5_f32, Some(3_u16));
    producer.send_record(&topics, Record::typed(&reading, &mut buffer)?.with_key(b"sensor-7"))?;
    let mut consumer = Consumer::new("readings", "g");
    consumer.assign(&[0]);
    let messages = consumer.poll(&topics, 1)?;
    let message = messages.first().ok_or("one was sent")?;
    assert_eq!(message.decode::<(&str, f32, Option<u16>)>()?, reading);
    assert_eq!(message.decode::<&str>(), Err(PayloadError::Rest { len: 6 }));
    assert_eq!(message.decode::<u64>(), Err(PayloadError::Rest { len: 14 }));
    Ok(())
}

#[test]
fn a_producer_sends_values() -> Result<(), Box<dyn core::error::Error>> {
    let topics = TopicManager::new();
    topics.create("readings", TopicConfig::new().with_partitions(3))?;
    let mut producer = Producer::new("readings");
    let mut buffer = [0; 16];
    for n in 0..3_u32 {
        assert_eq!(producer.send_typed(&topics, &(n, "plain"), &mut buffer)?.partition, n);
    }
    let receipt = producer.send_typed_keyed(&topics, b"sensor-7", &(7_u32, "keyed"), &mut buffer)?;
    assert_eq!(receipt.partition, partition_of(b"sensor-7", 3));

    // What is refused changes nothing, not even whose turn it is.
    let large = producer.send_typed(&topics, "more than sixteen bytes", &mut buffer);
    assert_eq!(large, Err(TypedError::Payload(PayloadError::Buffer { len: 16 })));
    let key = [0; MAX_KEY + 1];
    let refused = producer.send_typed_keyed(&topics, &key, &7_u32, &mut buffer);
    let len = key.len();
    assert_eq!(refused, Err(TypedError::Send(SendError::Message(MessageError::Key { len }))));
    assert_eq!(producer.send_typed(&topics, &(8_u32, "plain"), &mut buffer)?.partition, 0);
    let nowhere = Producer::new("nowhere").send_typed(&topics, &7_u32, &mut buffer);
    assert_eq!(nowhere, Err(TypedError::Send(SendError::Topic(TopicError::Unknown))));

    let mut consumer = Consumer::new("readings", "g");
    consumer.assign(&[0, 1, 2]);
    let mut seen = Vec::new();
    consumer.poll_with(&topics, 100, |message| {
        let (n, text) = message.decode::<(u32, &str)>().unwrap_or_default();
        assert_eq!(message.key(), (text == "keyed").then_some(&b"sensor-7"[..]));
        seen.push(n);
    })?;
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 7, 8]);
    Ok(())
}
