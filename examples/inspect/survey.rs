//! What is found in a journal, segment by segment.

use crate::export::Export;
use fabric_mq::durable::inspect::{ChangeKind, Inspector, Item, Role, Segment};
use fabric_mq::durable::{Extent, Geometry, MediumError, OpenError, Recovery, Store};
use std::collections::BTreeMap;
use std::io;

/// The longest record whose bytes are looked at.
const LONGEST: usize = 1 << 24;

pub(crate) struct Survey {
    pub(crate) id: u64,
    pub(crate) geometry: Geometry,
    pub(crate) recovery: Recovery,
    pub(crate) segments: Vec<Row>,
    /// Of each partition the oldest offset and that of the next record.
    pub(crate) partitions: Vec<(u64, u64)>,
    /// Partition, name, committed offset.
    pub(crate) cursors: Vec<(u8, String, u64)>,
    pub(crate) torn: Vec<Extent>,
    pub(crate) damage: Vec<Extent>,
    /// Offsets that damage took and that were given up: partition, from, to.
    pub(crate) holes: Vec<(u8, u64, u64)>,
}

/// A segment.
pub(crate) struct Row {
    pub(crate) number: Option<u32>,
    pub(crate) role: Role,
    pub(crate) unclean: bool,
    /// Bytes of its header and of what verifies behind it.
    pub(crate) used: u32,
    pub(crate) records: u64,
    pub(crate) steps: u64,
    pub(crate) changes: u64,
    /// First and last offset, by partition.
    pub(crate) spans: BTreeMap<u8, (u64, u64)>,
}

pub(crate) enum Failure {
    Open(OpenError),
    Export(io::Error),
}

impl From<MediumError> for Failure {
    fn from(error: MediumError) -> Self {
        Self::Open(OpenError::Medium(error))
    }
}

/// Looks at a journal with tables of one size.
type Look<S> = fn(&mut S, &mut Export) -> Result<Survey, Failure>;

impl Survey {
    /// Looks at all of a journal, with tables of the smallest size that takes it: large ones need large segments.
    pub(crate) fn of<S: Store>(store: &mut S, export: &mut Export) -> Result<Self, Failure> {
        let mut last = Failure::Open(OpenError::None);
        let sizes: [Look<S>; 6] = [
            with::<S, 2, 2>,
            with::<S, 8, 4>,
            with::<S, 16, 16>,
            with::<S, 64, 64>,
            with::<S, 255, 64>,
            with::<S, 255, 255>,
        ];
        for with in sizes {
            match with(store, export) {
                Err(Failure::Open(error @ (OpenError::Partitions { .. } | OpenError::Cursors { .. }))) => {
                    last = Failure::Open(error);
                }
                // Smaller tables would do, but not for what was found.
                Err(Failure::Open(OpenError::SegmentBytes { .. }))
                    if !matches!(last, Failure::Open(OpenError::None)) =>
                {
                    return Err(last);
                }
                done => return done,
            }
        }
        Err(last)
    }

    /// How often a segment was begun, at least and at most, by those that say so.
    pub(crate) fn wear(&self) -> (u32, u32) {
        let newest = self.segments.iter().filter_map(|row| row.number).max().unwrap_or(0);
        let laps = newest / self.geometry.segments;
        (laps, laps + u32::from(!newest.is_multiple_of(self.geometry.segments)))
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }
}

fn with<S: Store, const P: usize, const C: usize>(store: &mut S, export: &mut Export) -> Result<Survey, Failure> {
    let mut inspector: Inspector<&mut S, P, C> = Inspector::open(store).map_err(Failure::Open)?;
    let journal = inspector.journal();
    let spans = (0..=u8::MAX).map_while(|partition| journal.span(partition));
    let mut survey = Survey {
        id: journal.id(),
        geometry: inspector.geometry(),
        recovery: *journal.recovery(),
        segments: Vec::new(),
        partitions: spans.map(|(head, next)| (head.value(), next.value())).collect(),
        cursors: inspector.cursors().map(|(of, name, at)| (of, name.to_owned(), at.value())).collect(),
        torn: Vec::new(),
        damage: journal.recovery().damage.into_iter().collect(),
        holes: Vec::new(),
    };
    let bytes = inspector.geometry().segment_bytes as usize;
    let mut buffer = vec![0; bytes.min(LONGEST)];
    let mut failed = None;
    for segment in 0..inspector.geometry().segments {
        let Segment { role, number, unclean, from, .. } = inspector.segment(segment)?;
        let mut row =
            Row { number, role, unclean, used: from, records: 0, steps: 0, changes: 0, spans: BTreeMap::new() };
        inspector.walk(segment, &mut buffer, |item| match item {
            Item::Record { at, partition, tag, offset, body, .. } => {
                row.records += 1;
                row.used = at.to;
                row.spans.entry(partition).or_insert_with(|| (offset.value(), 0)).1 = offset.value();
                if let (Some(body), None) = (body, &failed) {
                    failed = export.record(partition, offset.value(), tag, at, body).err();
                }
            }
            Item::Change { at, kind } => {
                row.used = at.to;
                match kind {
                    ChangeKind::Step => row.steps += 1,
                    ChangeKind::Gap { partition, from, to } => {
                        row.changes += 1;
                        survey.holes.push((partition, from.value(), to.value()));
                    }
                    _ => row.changes += 1,
                }
            }
            Item::Damage { at } if !survey.damage.contains(&at) => survey.damage.push(at),
            Item::Torn { at } => survey.torn.push(at),
            _ => {}
        })?;
        survey.segments.push(row);
    }
    match failed.map_or_else(|| export.finish(), Err) {
        Ok(()) => Ok(survey),
        Err(error) => Err(Failure::Export(error)),
    }
}
