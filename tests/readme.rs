//! The code in the README is code that runs: each of its blocks stands, line for line, in a test below.

#![cfg(feature = "std")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[cfg(all(feature = "durable", not(loom)))]
mod common;
#[cfg(all(feature = "durable", not(loom)))]
#[path = "common/flash.rs"]
mod flash;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[test]
fn the_quick_start_runs() -> Outcome {
    use fabric_mq::consumer::{Consumer, SeekPolicy};
    use fabric_mq::offset::MemOffsetStore;
    use fabric_mq::producer::Producer;
    use fabric_mq::topic::{TopicConfig, TopicManager};

    let topics = TopicManager::new();
    topics.create("events", TopicConfig::default())?;

    let mut producer = Producer::new("events");
    producer.send(&topics, b"hello")?;
    producer.send_keyed(&topics, b"sensor-7", b"world")?;

    let store = MemOffsetStore::new();
    let mut consumer = Consumer::new("events", "my-group");
    consumer.assign(&[0, 1, 2, 3]);
    consumer.seek(&topics, &store, SeekPolicy::Earliest)?;
    assert_eq!(consumer.poll(&topics, 100)?.len(), 2);
    Ok(())
}

#[test]
#[rustfmt::skip]
fn the_ring_in_a_static_runs() -> Outcome {
    use fabric_mq::lease::StaticLease;
    use fabric_mq::ring::{Reader, Ring, RingConfig, Start, Writer};

    static MEMORY: StaticLease<4096> = StaticLease::new();

    let ring: Ring<_> = Ring::format(MEMORY.claim()?, RingConfig::new(64, 2048))?;
    let mut writer = Writer::claim(&ring)?;                            // goes to the interrupt handler
    let mut reader = Reader::join(&ring, "main", Start::Earliest)?;    // stays in the main loop
    writer.write(b"reading")?;
    while let Some(record) = reader.next()? {
        assert_eq!(record.payload(), b"reading");
    }
    Ok(())
}

#[cfg(all(feature = "durable", not(loom)))]
#[test]
#[rustfmt::skip]
fn what_must_last_lasts() -> Outcome {
    use fabric_mq::lease::StaticLease;
    use fabric_mq::ring::{Ring, RingConfig, Writer};

    static MEMORY: StaticLease<4096> = StaticLease::new();

    let flash = flash::Flash::<4, 1024>::new(16);
    let ring: Ring<_> = Ring::format(MEMORY.claim()?, RingConfig::new(64, 2048).with_readers(2))?;
    let mut writer = Writer::claim(&ring)?;

    use fabric_mq::durable::{Journal, JournalConfig, NorStore, Spool, SpoolMode};

    let store = NorStore::whole(flash)?;                               // any `embedded_storage::nor_flash::NorFlash`
    let journal: Journal<_, 1, 1> = Journal::open_or_format(store, JournalConfig::new(0xfab))?;
    let mut spool = Spool::new(journal, [&ring], SpoolMode::WriteThrough)?;
    let uplink = spool.join(0, "uplink")?;

    writer.write(b"21.5 degrees")?;
    spool.pump()?;                                                     // on the flash from here on
    let mut buffer = [0; 64];
    while let Some(record) = spool.next(uplink, &mut buffer)? {
        // ... send it, then:
        let next = record.offset().value() + 1;
        spool.commit(uplink, next.into())?;
    }
    assert_eq!(spool.lag(uplink), Some(0));
    Ok(())
}

#[cfg(all(unix, target_has_atomic = "64"))]
#[test]
#[rustfmt::skip]
fn two_processes_find_each_other() -> Outcome {
    use fabric_mq::clock::MachineClock;
    use fabric_mq::consumer::Consumer;
    use fabric_mq::lease::SharedPool;
    use fabric_mq::producer::Producer;
    use fabric_mq::topic::{TopicConfig, TopicManager};

    let path = std::env::temp_dir().join(format!("fabric-mq-readme-{}", std::process::id()));
    let (clock, same_clock) = (MachineClock::new(), MachineClock::new());
    let pool = SharedPool::open(&path, clock)?;
    let same_pool = SharedPool::open(&path, clock)?;

    use fabric_mq::locator::{Locator, PoolKind, Registry, RegistryConfig};
    use fabric_mq::uri::Uri;

    // The one that writes. Both opened the pool: SharedPool::in_memory(&Name::new("rack-7")?, MachineClock::new())?
    let topics = TopicManager::with_pool(pool, clock);
    let registry = Registry::open(topics.pool(), RegistryConfig::new())?;
    let events = topics.create("events", TopicConfig::default())?;
    registry.publish_next(&Locator::<4>::of("rack-7", PoolKind::Shared, events.view())?)?;

    // The one that reads.
    let reading = TopicManager::with_pool(same_pool, same_clock);
    let registry = Registry::open(reading.pool(), RegistryConfig::new())?;
    let found: Locator<4> = registry.resolve(&Uri::parse("fabric-mq://rack-7/events")?)?;
    reading.join("events", found.config(), found.leases())?;

    Producer::new("events").send(&topics, b"hello")?;
    let mut consumer = Consumer::new("events", "my-group");
    consumer.assign(&[0, 1, 2, 3]);
    assert_eq!(consumer.poll(&reading, 100)?.len(), 1);
    assert!(reading.promote("events").is_err(), "the writer lives");
    std::fs::remove_dir_all(&path)?;
    Ok(())
}

#[test]
fn every_block_of_the_readme_is_one_of_these() {
    let lines = |text: &str| text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    let here = lines(include_str!("readme.rs"));
    let readme = include_str!("../README.md");
    let blocks: Vec<_> = readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 4);
    for block in blocks {
        assert!(here.contains(&lines(block)), "not run by any test:\n{block}");
    }
}
