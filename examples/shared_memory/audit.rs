//! Whether what the processes noted fits together. Trusts none of them: the data says what every record must be, and the
//! journals say who did what; a fact that nobody can have noted rightly, or a missing one, is a fault.
//!
//! Journals are read one after the other while they grow, so facts of different processes come in any order. What concerns
//! two processes is therefore looked at when the earlier one's part is over, and everything that was written before the
//! later one's part has been read.

use crate::few::Few;
use crate::journal::{Entry, Seen};
use crate::quakes::{Quakes, checksum};
use crate::site::{PARTITIONS, Role};
use core::fmt::Display;
use std::collections::{BTreeMap, BTreeSet};

/// A process, counted from the first one that was started.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Who {
    pub(crate) role: Role,
    pub(crate) number: u32,
}

impl Display for Who {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} {}", self.role, self.number)
    }
}

/// How an ownership ended, and when.
#[derive(Clone, Copy, Debug)]
struct End {
    at: u64,
    /// The owner died.
    died: bool,
}

/// One ownership of a partition.
#[derive(Debug)]
struct Claim {
    who: Who,
    from: u64,
    at: u64,
    /// The offset that is to be read next.
    next: u64,
    committed: Option<u64>,
    /// A commit that was begun, and of which it was not noted whether it took effect.
    begun: Option<u64>,
    end: Option<End>,
    /// The pass over the journals in which it was found.
    pass: u64,
}

impl Claim {
    /// How far the group has come by it, for certain.
    fn reached(&self) -> u64 {
        self.committed.unwrap_or(self.from)
    }
}

/// What is known of a partition.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    /// By epoch; those that were compared with their successors are gone.
    claims: BTreeMap<u32, Claim>,
    /// The offset behind the last record that was acknowledged.
    pub(crate) acked: u64,
    /// Records that are in the log, though nobody noted that.
    pub(crate) unacked: u64,
    pub(crate) reads: u64,
    /// Records that were read once more, by a successor.
    pub(crate) again: u64,
    /// How often the owner changed.
    pub(crate) changes: u64,
    /// The longest time without an owner, in milliseconds.
    pub(crate) unowned: u64,
}

impl Partition {
    pub(crate) fn committed(&self) -> u64 {
        self.claims.values().next_back().map_or(0, Claim::reached)
    }
}

/// A partition whose owner died, and was owned again.
#[derive(Clone, Copy, Debug)]
struct Takeover {
    partition: u32,
    died: u64,
    owned: u64,
}

/// How long takeovers took.
#[derive(Debug, Default)]
pub(crate) struct Takeovers {
    pub(crate) count: u64,
    /// Within two intervals.
    pub(crate) in_time: u64,
    /// Later, but within two intervals of the last one that joined meanwhile, and the time that members were held up.
    pub(crate) explained: u64,
    pub(crate) longest: u64,
    /// Producers that went on where a dead one was, and the longest time that took.
    pub(crate) producers: u64,
    pub(crate) longest_of_producers: u64,
}

#[derive(Debug)]
pub(crate) struct Audit {
    quakes: Quakes,
    interval: u64,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) takeovers: Takeovers,
    pub(crate) faults: Few,
    /// Records that were acknowledged, or committed, and that nobody has read.
    pub(crate) lost: u64,
    /// The number of records, once the producer has sent all.
    ended: Option<u64>,
    /// Those that became members.
    joined: BTreeSet<Who>,
    /// Producers that know where to go on.
    sending: BTreeSet<Who>,
    producer_died: Option<u64>,
    pass: u64,
    joins: Vec<u64>,
    /// From when to when members were held up.
    held: Vec<(u64, u64)>,
    pending: Vec<Takeover>,
}

impl Audit {
    pub(crate) fn new(quakes: Quakes, interval: u64) -> Self {
        Self {
            quakes,
            interval,
            partitions: (0..PARTITIONS).map(|_| Partition::default()).collect(),
            takeovers: Takeovers::default(),
            faults: Few::default(),
            lost: 0,
            ended: None,
            joined: BTreeSet::new(),
            sending: BTreeSet::new(),
            producer_died: None,
            pass: 0,
            joins: Vec::new(),
            held: Vec::new(),
            pending: Vec::new(),
        }
    }

    pub(crate) fn quakes(&self) -> &Quakes {
        &self.quakes
    }

    pub(crate) fn fault(&mut self, text: impl Display) {
        self.faults.push(text);
    }

    /// Records acknowledged so far.
    pub(crate) fn acked(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.acked - partition.unacked).sum()
    }

    pub(crate) fn committed(&self) -> u64 {
        self.partitions.iter().map(Partition::committed).sum()
    }

    pub(crate) fn again(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.again).sum()
    }

    /// The number of records, once the producer has sent all.
    pub(crate) const fn ended(&self) -> Option<u64> {
        self.ended
    }

    /// Whether a process has come to what it was started for: it is a member, or sends.
    pub(crate) fn is_at_work(&self, who: Who) -> bool {
        self.joined.contains(&who) || self.sending.contains(&who)
    }

    /// Whether a living process owns every partition.
    pub(crate) fn is_owned(&self) -> bool {
        self.partitions
            .iter()
            .all(|partition| partition.claims.values().next_back().is_some_and(|claim| claim.end.is_none()))
    }

    /// Whether the group has come to the end of the log.
    pub(crate) fn is_done(&self) -> bool {
        let Some(ended) = self.ended else { return false };
        self.partitions
            .iter()
            .zip(0..)
            .all(|(partition, number)| partition.committed() >= self.quakes.count_in(number, ended))
    }

    /// Takes a fact. Those of one process come in their order.
    pub(crate) fn take(&mut self, who: Who, entry: Result<Entry, &str>) {
        let done = match entry {
            Ok(entry) => self.note(who, entry),
            Err(line) => Err(format!("noted what is no fact: {line}")),
        };
        if let Err(fault) = done {
            self.faults.push(format_args!("{who}: {fault}"));
        }
    }

    fn note(&mut self, who: Who, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::From { at, .. } => {
                self.sending.insert(who);
                if let Some(died) = self.producer_died.take() {
                    let of = &mut self.takeovers;
                    of.producers += 1;
                    of.longest_of_producers = of.longest_of_producers.max(at.saturating_sub(died));
                }
            }
            Entry::Acked(seen) => self.acked_one(seen)?,
            Entry::Ended { number } => {
                if self.ended.replace(number).is_some_and(|before| before != number) {
                    return Err(format!("the records end twice, and now at {number}"));
                }
            }
            Entry::Joined { at } => {
                self.joined.insert(who);
                self.joins.push(at);
            }
            Entry::Claimed { partition, epoch, from, at } => {
                let pass = self.pass;
                let claim = Claim { who, from, at, next: from, committed: None, begun: None, end: None, pass };
                let of = self.partitions.get_mut(partition as usize).ok_or("there is no such partition")?;
                if let Some((last, _)) = of.claims.first_key_value()
                    && *last > epoch
                {
                    return Err(format!("partition {partition}: claimed under epoch {epoch}, after epoch {last}"));
                }
                if let Some(other) = of.claims.insert(epoch, claim) {
                    return Err(format!("partition {partition}: {} has epoch {epoch} as well", other.who));
                }
            }
            Entry::Read { epoch, seen } => {
                let next = {
                    let claim = self.claim(who, seen.partition, epoch)?;
                    core::mem::replace(&mut claim.next, seen.offset + 1)
                };
                let Seen { partition, offset, .. } = seen;
                if let Some(of) = self.partitions.get_mut(partition as usize) {
                    of.reads += 1;
                }
                if offset != next {
                    return Err(format!(
                        "partition {partition}, epoch {epoch}: offset {offset} was read, {next} was next"
                    ));
                }
                self.check(&seen)?;
            }
            Entry::Committing { partition, epoch, offset } => {
                let claim = self.claim(who, partition, epoch)?;
                claim.begun = Some(offset);
                if offset > claim.next {
                    let next = claim.next;
                    return Err(format!("partition {partition}: {offset} is committed, {next} was not read yet"));
                }
            }
            Entry::Committed { partition, epoch, offset } => {
                let claim = self.claim(who, partition, epoch)?;
                let (begun, reached) = (claim.begun.take(), claim.reached());
                claim.committed = Some(offset);
                if begun != Some(offset) || offset < reached {
                    return Err(format!(
                        "partition {partition}: {offset} was committed, after {reached} and {begun:?}"
                    ));
                }
            }
            Entry::Refused { partition, epoch } => self.claim(who, partition, epoch)?.begun = None,
            // It had claimed it, and was given up before it could read.
            Entry::Gone { epoch: 0, .. } => {}
            Entry::Gone { partition, epoch, at } => {
                self.claim(who, partition, epoch)?.end = Some(End { at, died: false });
            }
            Entry::Held { millis, at } => self.held.push((at.saturating_sub(millis), at)),
        }
        Ok(())
    }

    fn claim(&mut self, who: Who, partition: u32, epoch: u32) -> Result<&mut Claim, String> {
        let claims = self.partitions.get_mut(partition as usize).map(|of| &mut of.claims);
        let claim = claims.and_then(|claims| claims.get_mut(&epoch)).filter(|claim| claim.who == who);
        claim.ok_or_else(|| format!("partition {partition} is not its own under epoch {epoch}"))
    }

    /// A record was acknowledged.
    fn acked_one(&mut self, seen: Seen) -> Result<(), String> {
        self.check(&seen)?;
        let Seen { partition, offset, .. } = seen;
        let of = self.partitions.get_mut(partition as usize).ok_or("there is no such partition")?;
        if offset < of.acked {
            return Err(format!("partition {partition}: offset {offset} was acknowledged, {} was next", of.acked));
        }
        of.unacked += offset - of.acked;
        of.acked = offset + 1;
        Ok(())
    }

    /// Whether a record is the one that belongs where it was seen. So none is missing, none is there twice, and all are in
    /// the order in which they were sent.
    fn check(&self, seen: &Seen) -> Result<(), String> {
        let Seen { partition, offset, number, checksum: sum } = *seen;
        let wanted = self.quakes.number_at(partition, offset);
        if wanted != Some(number) {
            return Err(format!("partition {partition}, offset {offset}: is record {number}, should be {wanted:?}"));
        }
        let quake = self.quakes.get(number).ok_or("there is no such record")?;
        if sum != checksum(number, quake.net.as_bytes(), &quake.line) {
            return Err(format!("partition {partition}, offset {offset}: record {number} was damaged"));
        }
        Ok(())
    }

    /// A process is gone, and its journal was read to the end. What it still owned lost its owner `at` this time.
    pub(crate) fn gone(&mut self, who: Who, at: u64, died: bool) {
        if who.role == Role::Producer && died {
            self.producer_died.get_or_insert(at);
        }
        for partition in &mut self.partitions {
            for claim in partition.claims.values_mut().filter(|claim| claim.who == who && claim.end.is_none()) {
                claim.end = Some(End { at, died });
            }
        }
    }

    /// All journals were read once more, up to what was in them at the time.
    pub(crate) fn passed(&mut self, now: u64) {
        for number in 0..PARTITIONS {
            while let Some(pair) = self.take_pair(number) {
                self.compare(number, pair);
            }
        }
        self.pass += 1;
        // A process that was held up notes that when it is let run again.
        let (old, young): (Vec<_>, Vec<_>) = self.pending.drain(..).partition(|one| one.owned + 1_000 < now);
        self.pending = young;
        for takeover in old {
            self.judge(takeover);
        }
        let recent = |at: u64| at + 120_000 > now;
        self.held.retain(|(_, at)| recent(*at));
        self.joins.retain(|at| recent(*at));
    }

    /// The first ownership of a partition that is over and has a successor, and that one: everything that was noted before the
    /// successor's claim has been read if it was found in an earlier pass.
    fn take_pair(&mut self, number: u32) -> Option<(Claim, u32)> {
        let claims = &mut self.partitions.get_mut(number as usize)?.claims;
        let mut two = claims.iter();
        let (_, first) = two.next()?;
        let (epoch, second) = two.next()?;
        (first.end.is_some() && second.pass < self.pass).then_some(())?;
        let epoch = *epoch;
        Some((claims.pop_first()?.1, epoch))
    }

    fn compare(&mut self, number: u32, (before, epoch): (Claim, u32)) {
        let Some(partition) = self.partitions.get_mut(number as usize) else { return };
        let Some(after) = partition.claims.get(&epoch) else { return };
        let (from, reached, end) = (after.from, before.reached(), before.end);
        partition.again += before.next.saturating_sub(from);
        partition.changes += 1;
        if let Some(End { at, died }) = end {
            partition.unowned = partition.unowned.max(after.at.saturating_sub(at));
            if died {
                self.pending.push(Takeover { partition: number, died: at, owned: after.at });
            }
        }
        self.lost += from.saturating_sub(before.next);
        let fault = if partition.changes == 1 && before.from != 0 {
            format!("the first owner began at {}", before.from)
        } else if from > before.next {
            format!("offsets {} to {from} were committed, but nobody has read them", before.next)
        } else if from < reached {
            format!("read from {from} on, but {reached} was committed before")
        } else if from != reached && before.begun != Some(from) {
            format!("read from {from} on, but nobody has committed that: {reached} is what was")
        } else {
            return;
        };
        let (one, other) = (before.who, after.who);
        self.faults.push(format_args!("partition {number}, from {one} to {other}, epoch {epoch}: {fault}"));
    }

    /// Whether a partition was owned again in time: two intervals after its owner died; or after the last one joined
    /// meanwhile, since that changes the plan; and as much later as members were held up, since then nobody has looked.
    fn judge(&mut self, takeover: Takeover) {
        let Takeover { partition, died, owned } = takeover;
        let took = owned.saturating_sub(died);
        let allowed = 2 * self.interval;
        self.takeovers.count += 1;
        self.takeovers.longest = self.takeovers.longest.max(took);
        if took <= allowed {
            self.takeovers.in_time += 1;
            return;
        }
        let last = self.joins.iter().copied().filter(|at| (died..=owned).contains(at)).max().unwrap_or(died);
        let held: u64 = self.held.iter().map(|(from, to)| to.min(&owned).saturating_sub(*from.max(&died))).sum();
        if owned <= last + allowed + held {
            self.takeovers.explained += 1;
        } else {
            self.faults.push(format_args!(
                "partition {partition}: owned again {took} ms after its owner died, {allowed} are allowed; members were held up for {held}"
            ));
        }
    }

    /// Everything is over: all processes are gone, and all journals were read.
    pub(crate) fn finish(&mut self) {
        // Twice: what was found last counts as found before.
        self.passed(0);
        self.passed(0);
        for takeover in core::mem::take(&mut self.pending) {
            self.judge(takeover);
        }
        let Some(ended) = self.ended else {
            return self.faults.push("the producer has not come to its end");
        };
        for number in 0..PARTITIONS {
            let wanted = self.quakes.count_in(number, ended);
            let Some(partition) = self.partitions.get(number as usize) else { continue };
            let (next, committed) =
                partition.claims.values().next_back().map_or((0, 0), |claim| (claim.next, claim.reached()));
            let (acked, left) = (partition.acked, partition.claims.len());
            self.lost += acked.saturating_sub(next);
            if next < acked {
                self.faults.push(format_args!("partition {number}: {acked} were acknowledged, {next} were read"));
            }
            if (next, committed) != (wanted, wanted) {
                self.faults.push(format_args!(
                    "partition {number}: {wanted} were sent, {next} were read, and {committed} committed"
                ));
            }
            if acked > wanted {
                self.faults.push(format_args!("partition {number}: {acked} were acknowledged, {wanted} were sent"));
            }
            if left != 1 && wanted != 0 {
                self.faults.push(format_args!("partition {number}: {left} of its owners have not come to an end"));
            }
        }
    }
}
