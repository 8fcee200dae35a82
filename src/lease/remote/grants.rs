//! The memory's side of a pool, in this process: for tests and simulations.

use super::{Faults, Grant, Grants, LoopbackMemory, LoopbackVerbs, Peers};
use crate::error::LeaseError;
use crate::lease::pool::Record;
use crate::lease::term::{End, Term};
use crate::platform::clock::Clock;
use crate::platform::lock::Lock;
use crate::platform::memory::BLOCK;
use crate::types::{Epoch, LeaseId, Ticks};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// Grants leases on memory of this process, each behind connections with the same faults. Clones are the same side.
#[derive(Clone)]
pub struct LoopbackGrants<C> {
    table: Arc<Lock<Table>>,
    clock: C,
    faults: Faults,
}

pub(super) struct Table {
    leases: BTreeMap<u128, Leased>,
    last: u128,
}

struct Leased {
    record: Record,
    term: Term,
    memory: LoopbackMemory,
    /// The holder's connection.
    holder: u32,
    /// The others'.
    joined: Vec<u32>,
}

impl Leased {
    /// Ends all connections to it, or the holder's alone.
    fn close(&mut self, end: LeaseError, all: bool) {
        self.memory.close(self.holder, end);
        if all {
            for token in self.joined.drain(..) {
                self.memory.close(token, end);
            }
        }
    }
}

impl Table {
    fn find(&mut self, id: LeaseId) -> Result<&mut Leased, LeaseError> {
        self.leases.get_mut(&id.value()).ok_or(LeaseError::Unknown)
    }

    /// Records what has ended, and frees what nobody holds.
    fn collect(&mut self, now: Ticks) -> usize {
        let mut ended: usize = 0;
        self.leases.retain(|_, leased| {
            if leased.record.settle(&leased.term, now) {
                ended = ended.saturating_add(1);
                leased.close(LeaseError::Expired, true);
            }
            // Nobody need ask a holder whose connection is closed.
            leased.record.held &= leased.term.check().is_ok() && !leased.memory.is_closed(leased.holder);
            !leased.record.is_over(&leased.term, now)
        });
        ended
    }

    /// A holder gives its lease back, with what is in it or without.
    pub(super) fn release(&mut self, id: LeaseId, token: u32, keep: bool) {
        let Ok(leased) = self.find(id) else { return };
        if leased.holder != token {
            leased.joined.retain(|other| *other != token);
            return;
        }
        leased.record.held = false;
        if !keep && leased.term.check().is_ok() {
            leased.close(LeaseError::Released, true);
            self.leases.remove(&id.value());
        }
    }
}

impl<C: Clock> LoopbackGrants<C> {
    /// Without faults.
    #[must_use]
    pub fn new(clock: C) -> Self {
        Self::with_faults(clock, Faults::default())
    }

    /// With faults on every connection.
    #[must_use]
    pub fn with_faults(clock: C, faults: Faults) -> Self {
        let table = Table { leases: BTreeMap::new(), last: 0 };
        Self { table: Arc::new(Lock::new(table)), clock, faults }
    }

    /// The memory of a lease: to map it, or to look at it.
    ///
    /// # Errors
    /// [`LeaseError::Unknown`] if there is none of this id.
    pub fn memory(&self, id: LeaseId) -> Result<LoopbackMemory, LeaseError> {
        self.table.with(|table| table.find(id).map(|leased| leased.memory.clone()))
    }

    fn connect(&self, leased: &Leased) -> LoopbackVerbs {
        leased.memory.connect_with(self.faults).granted(Arc::clone(&self.table), leased.record.id)
    }
}

fn grant(verbs: LoopbackVerbs, record: &Record) -> Grant<LoopbackVerbs> {
    Grant { verbs, id: record.id, epoch: record.epoch, deadline: record.deadline }
}

impl<C: Clock> Grants for LoopbackGrants<C> {
    type Verbs = LoopbackVerbs;

    fn peers(&self) -> Peers {
        Peers::Mapped
    }

    fn acquire(&self, min_bytes: usize, ttl: Ticks) -> Result<Grant<LoopbackVerbs>, LeaseError> {
        let bytes = min_bytes.max(1).checked_next_multiple_of(BLOCK).ok_or(LeaseError::CapacityExceeded)?;
        let memory = LoopbackMemory::new(bytes)?;
        let now = self.clock.now();
        self.table.with(|table| {
            table.collect(now);
            table.last = table.last.wrapping_add(1);
            let id = LeaseId::new(table.last);
            let record = Record { id, epoch: Epoch::new(1), deadline: now.plus(ttl), held: true };
            let mut leased = Leased { record, term: Term::new(), memory, holder: 0, joined: Vec::new() };
            let verbs = self.connect(&leased);
            leased.holder = verbs.id();
            let grant = grant(verbs, &leased.record);
            table.leases.insert(id.value(), leased);
            Ok(grant)
        })
    }

    fn attach(&self, id: LeaseId) -> Result<Grant<LoopbackVerbs>, LeaseError> {
        let now = self.clock.now();
        self.table.with(|table| {
            let leased = table.find(id)?;
            leased.record.held &= !leased.memory.is_closed(leased.holder);
            leased.record.attach(&leased.term, now)?;
            // Whatever it still had under way does not arrive.
            leased.close(LeaseError::Fenced, false);
            let verbs = self.connect(leased);
            leased.holder = verbs.id();
            Ok(grant(verbs, &leased.record))
        })
    }

    fn join(&self, id: LeaseId) -> Result<Grant<LoopbackVerbs>, LeaseError> {
        let now = self.clock.now();
        self.table.with(|table| {
            let leased = table.find(id)?;
            leased.record.settle(&leased.term, now);
            leased.term.check()?;
            let verbs = self.connect(leased);
            let memory = leased.memory.clone();
            leased.joined.retain(|token| !memory.is_closed(*token));
            leased.joined.push(verbs.id());
            Ok(grant(verbs, &leased.record))
        })
    }

    fn renew(&self, id: LeaseId, ttl: Ticks) -> Result<Ticks, LeaseError> {
        let now = self.clock.now();
        self.table.with(|table| {
            let leased = table.find(id)?;
            leased.record.renew(&leased.term, now, ttl)
        })
    }

    fn revoke(&self, id: LeaseId) -> Result<(), LeaseError> {
        self.table.with(|table| {
            let leased = table.find(id)?;
            leased.term.end(End::Revoked);
            leased.close(LeaseError::Revoked, true);
            table.leases.remove(&id.value());
            Ok(())
        })
    }

    fn fence(&self, id: LeaseId) -> Result<Epoch, LeaseError> {
        let now = self.clock.now();
        self.table.with(|table| {
            let leased = table.find(id)?;
            let epoch = leased.record.fence(&leased.term, now)?;
            leased.close(LeaseError::Fenced, false);
            leased.record.held = false;
            Ok(epoch)
        })
    }

    fn sweep(&self) -> usize {
        let now = self.clock.now();
        self.table.with(|table| table.collect(now))
    }
}

impl<C> fmt::Debug for LoopbackGrants<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leases = self.table.with(|table| table.leases.len());
        f.debug_struct("LoopbackGrants").field("leases", &leases).finish_non_exhaustive()
    }
}
