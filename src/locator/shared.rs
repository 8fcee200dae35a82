//! The registry of a pool that processes share.

use super::error::RegistryError;
use super::registry::Registry;
use super::table::{RegistryConfig, Table};
use crate::error::LeaseError;
use crate::lease::{Lease, SharedLease, SharedPool, Trust};
use crate::name::Name;
use crate::platform::atomic::Ordering;
use crate::platform::clock::Clock;
use crate::platform::relax;
use crate::ring::memory_of;
use crate::types::Ticks;

/// The name of a registry's lease in its pool.
const NAME: &str = "fabric-mq.registry";

/// How often opening is tried while somebody else is at it: some tenths of a second.
const STEPS: u32 = 8192;

impl<T: Trust> Registry<SharedLease<T>> {
    /// The registry of a pool: made by the first process that asks for it, as `config` says, and found by all others. Nobody
    /// holds it: it is there for as long as anybody has it open, whoever dies, and then until somebody
    /// [reaps](SharedPool::reap) the pool. Keep it open for as long as what was published by it is to be known as alive.
    ///
    /// Opens, locks and maps files, some hundred microseconds; waits while somebody else is just making it. Allocates.
    ///
    /// ```
    /// use fabric_mq::Name;
    /// use fabric_mq::clock::MachineClock;
    /// use fabric_mq::consumer::Consumer;
    /// use fabric_mq::lease::SharedPool;
    /// use fabric_mq::locator::{Locator, PoolKind, Registry, RegistryConfig};
    /// use fabric_mq::producer::Producer;
    /// use fabric_mq::topic::{TopicConfig, TopicManager};
    /// use fabric_mq::uri::Uri;
    ///
    /// # let name = Name::new(&format!("doc-{}", std::process::id()))?;
    /// # let path = std::env::temp_dir().join(format!("fabric-mq-registry-{}", std::process::id()));
    /// # let open = || SharedPool::open(&path, MachineClock::new());
    /// // The process that writes.
    /// # /*
    /// let open = || SharedPool::in_memory(&Name::new("rack-7")?, MachineClock::new());
    /// # */
    /// let topics = TopicManager::with_pool(open()?, MachineClock::new());
    /// let registry = Registry::open(topics.pool(), RegistryConfig::new())?;
    /// let events = topics.create("events", TopicConfig::new().with_partitions(2))?;
    /// registry.publish_next(&Locator::<16>::of("rack-7", PoolKind::Shared, events.view())?)?;
    /// Producer::new("events").send(&topics, b"hello")?;
    ///
    /// // Any other.
    /// let topics = TopicManager::with_pool(open()?, MachineClock::new());
    /// let registry = Registry::open(topics.pool(), RegistryConfig::new())?;
    /// let found: Locator<16> = registry.resolve(&Uri::parse("fabric-mq://rack-7/events")?)?;
    /// topics.join("events", found.config(), found.leases())?;
    /// let mut consumer = Consumer::new("events", "my-group");
    /// consumer.assign(&[0, 1]);
    /// assert_eq!(consumer.poll(&topics, 10)?.len(), 1);
    /// # std::fs::remove_dir_all(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RegistryError::Busy`] if somebody else is making it and does not come to an end; [`RegistryError::Damaged`],
    /// [`RegistryError::Version`]; [`RegistryError::Lease`] if the pool refuses, as [`SharedPool::join`] and
    /// [`SharedPool::acquire_named`] do.
    pub fn open<C: Clock>(pool: &SharedPool<C, T>, config: RegistryConfig) -> Result<Self, RegistryError> {
        let bytes = config.lease_bytes()?;
        let name = Name::new(NAME).map_err(|_| RegistryError::Shape)?;
        for step in 0..STEPS {
            let held = match pool.join_named(&name) {
                Ok(lease) => match Self::attach(lease) {
                    // Somebody is about to format it, or has died before that: the lock tells.
                    Err(RegistryError::NotARegistry) => pool.attach_named(&name),
                    done => return done,
                },
                Err(LeaseError::Unknown | LeaseError::Expired | LeaseError::Released | LeaseError::Revoked) => {
                    pool.acquire_named(&name, bytes, Ticks::MAX)
                }
                Err(error) => Err(error),
            };
            match held {
                Ok(lease) => Self::prepare(lease, config)?,
                // Somebody else is at it, or was.
                Err(LeaseError::InUse | LeaseError::Disconnected | LeaseError::Unknown) => relax(step),
                Err(error) => return Err(error.into()),
            }
        }
        Err(RegistryError::Busy)
    }

    /// Makes a registry of a lease that this process holds, unless it is one, and leaves it to be joined.
    fn prepare(lease: SharedLease<T>, config: RegistryConfig) -> Result<(), RegistryError> {
        let made = match Table::open(&lease) {
            // Not if it may have been one, and was damaged: what is in it may be in use.
            Err(RegistryError::NotARegistry) if is_blank(&lease) => Table::format(&lease, &config).map(drop),
            other => other.map(drop),
        };
        lease.abandon();
        made
    }
}

/// Whether nobody has come to the end of formatting a lease: its first word, which is stored last, is as the pool gave it.
fn is_blank<L: Lease>(lease: &L) -> bool {
    let block = memory_of(lease).and_then(|memory| memory.block(0));
    block.is_some_and(|block| block.word(0).load(Ordering::Acquire) == 0)
}
