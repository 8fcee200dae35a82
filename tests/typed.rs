//! Payloads that are values.
#![cfg(all(feature = "postcard", feature = "std"))]

use fabric_mq::consumer::Consumer;
use fabric_mq::message::{PayloadError, Record};
use fabric_mq::producer::Producer;
use fabric_mq::topic::{TopicConfig, TopicManager};

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
