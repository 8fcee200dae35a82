//! Whether what came out is what went in.

use crate::arrivals::Arrivals;
use crate::consume::Consumed;
use crate::few::Few;
use crate::produce::Produced;
use fabric_mq::Offset;
use fabric_mq::offset::OffsetError;
use fabric_mq::partition::PartitionStats;
use std::collections::BTreeMap;

/// How a partition stood at the end.
#[derive(Debug)]
pub(crate) struct PartitionEnd {
    pub(crate) stats: PartitionStats,
    /// Which consumer had it, from 1; of a group's members the one that had it at the end.
    pub(crate) consumer: usize,
    /// How often it changed hands, in a group.
    pub(crate) moves: Option<u32>,
    pub(crate) keys: u64,
    pub(crate) records: u64,
    pub(crate) committed: Offset,
    /// The farthest the group was behind.
    pub(crate) peak: u64,
}

impl PartitionEnd {
    /// Records the group has not dealt with.
    pub(crate) fn lag(&self) -> u64 {
        self.stats.tail.value().saturating_sub(self.committed.value())
    }
}

/// Puts together what is known of each partition.
pub(crate) fn partitions(
    stats: &[PartitionStats],
    committed: impl Fn(u32) -> Result<Option<Offset>, OffsetError>,
    consumed: &[Consumed],
) -> Result<Vec<PartitionEnd>, OffsetError> {
    let row = |stats: &PartitionStats| {
        let number = stats.number;
        let owner = |member: &Consumed| member.peaks.iter().any(|(partition, _)| *partition == number);
        let consumer = consumed.iter().position(owner).map_or(0, |index| index + 1);
        let tracks = || tracks(consumed).filter(|(_, track)| track.partition == number);
        let peaks = consumed.iter().flat_map(|member| &member.peaks);
        Ok(PartitionEnd {
            stats: *stats,
            consumer,
            moves: None,
            keys: tracks().count() as u64,
            records: tracks().map(|(_, track)| track.records).sum(),
            committed: committed(number)?.unwrap_or_default(),
            peak: peaks.filter(|(partition, _)| *partition == number).map(|(_, peak)| *peak).max().unwrap_or(0),
        })
    };
    stats.iter().map(row).collect()
}

/// All keys that arrived.
pub(crate) fn tracks(consumed: &[Consumed]) -> impl Iterator<Item = (&str, &crate::order::Track)> {
    consumed.iter().flat_map(|member| member.arrivals.order.keys())
}

/// Everything that is not as it should be. What the consumers noticed at once comes first.
pub(crate) fn faults(produced: &Produced, consumed: &[Consumed], partitions: &[PartitionEnd]) -> Few {
    let mut faults = Few::default();
    for member in consumed {
        faults.append(&member.arrivals.faults);
    }
    let mut arrived: BTreeMap<&str, u64> = BTreeMap::new();
    for (key, track) in tracks(consumed) {
        *arrived.entry(key).or_default() += track.records;
    }
    for (key, sent) in &produced.keys {
        let arrived = arrived.remove(key.as_str()).unwrap_or(0);
        if arrived != *sent {
            faults.push(format_args!("{key}: {sent} records were sent, {arrived} arrived"));
        }
    }
    for (key, arrived) in arrived {
        faults.push(format_args!("{key}: {arrived} records arrived, none was sent"));
    }
    let bytes: u64 = consumed.iter().map(|member| member.arrivals.bytes).sum();
    if bytes != produced.bytes {
        faults.push(format_args!("{} bytes were sent, {bytes} arrived", produced.bytes));
    }
    if produced.dropped > 0 {
        faults.push(format_args!("{} records were dropped", produced.dropped));
    }
    for (member, number) in consumed.iter().zip(1..) {
        if member.lost > 0 {
            faults.push(format_args!("consumer {number} lost {} records", member.lost));
        }
    }
    for partition in partitions.iter().filter(|partition| partition.lag() > 0) {
        faults.push(format_args!("partition {}: {} records were left", partition.stats.number, partition.lag()));
    }
    faults
}

/// All arrivals of one kind together.
pub(crate) fn total(consumed: &[Consumed], of: impl Fn(&Arrivals) -> u64) -> u64 {
    consumed.iter().map(|member| of(&member.arrivals)).sum()
}
