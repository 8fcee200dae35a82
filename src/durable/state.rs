//! Everything a journal knows that is not a record: the same by replay as it was live.

use super::layout::{CRC_BYTES, CURSOR_BYTES, FIXED, PARTITION_BYTES};
use crate::name::{MAX_NAME, Name};
use crate::platform::crc::crc32c;

/// Which records of a partition there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Span {
    /// The oldest offset that may be read.
    pub(super) head: u64,
    /// That of the next record.
    pub(super) next: u64,
}

/// Where a partition's oldest record was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Moved {
    pub(super) partition: u8,
    pub(super) head: u64,
}

/// How far a group has got in a partition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Progress {
    pub(super) partition: u8,
    /// The first offset it is not done with.
    pub(super) committed: u64,
    pub(super) name: Name,
}

/// The tables, for at most `P` partitions and `C` cursors.
#[derive(Clone, Debug)]
pub(super) struct State<const P: usize, const C: usize> {
    pub(super) partitions: heapless::Vec<Span, P>,
    pub(super) cursors: [Option<Progress>; C],
}

/// The longest body of a change but a refresh.
pub(super) const MAX_CHANGE: usize = 12 + MAX_NAME;

/// A change, as the body of a frame says it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    Commit { slot: u8, committed: u64 },
    Join { slot: u8, partition: u8, committed: u64, name: Name },
    Leave { slot: u8 },
    Trim { partition: u8, head: u64 },
    Close { tables: u32 },
    Refresh { tag: u8, partition: u8, offset: u64 },
    Gap { partition: u8, from: u64, to: u64 },
    Skip { partition: u8, from: u64, to: u64 },
}

/// Bytes of a refresh before the record's body.
pub(super) const REFRESH: usize = 12;

impl Change {
    /// The body, and how long it is; a record's body follows that of a refresh.
    pub(super) fn encode(self) -> ([u8; MAX_CHANGE], usize) {
        let mut bytes = [0; MAX_CHANGE];
        let mut len = 0_usize;
        let mut put = |part: &[u8]| {
            for (to, from) in bytes.iter_mut().skip(len).zip(part) {
                *to = *from;
            }
            len = len.wrapping_add(part.len());
        };
        match self {
            Self::Commit { slot, committed } => {
                put(&[1, slot, 0, 0]);
                put(&committed.to_le_bytes());
            }
            Self::Join { slot, partition, committed, name } => {
                put(&[2, slot, partition, 0]);
                put(&committed.to_le_bytes());
                put(name.as_bytes());
            }
            Self::Leave { slot } => put(&[3, slot]),
            Self::Trim { partition, head } => {
                put(&[4, 0, partition, 0]);
                put(&head.to_le_bytes());
            }
            Self::Close { tables } => {
                put(&[5, 0, 0, 0]);
                put(&tables.to_le_bytes());
            }
            Self::Refresh { tag, partition, offset } => {
                put(&[6, tag, partition, 0]);
                put(&offset.to_le_bytes());
            }
            Self::Gap { partition, from, to } => {
                put(&[7, 0, partition, 0]);
                put(&from.to_le_bytes());
                put(&to.to_le_bytes());
            }
            Self::Skip { partition, from, to } => {
                put(&[8, 0, partition, 0]);
                put(&from.to_le_bytes());
                put(&to.to_le_bytes());
            }
        }
        (bytes, len)
    }

    /// Reads the body of a change, or as much of a refresh as comes before its record.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let (&op, rest) = body.split_first()?;
        let (&low, rest) = rest.split_first()?;
        if op == 3 {
            return rest.is_empty().then_some(Self::Leave { slot: low });
        }
        let (&[partition, 0], rest) = rest.split_first_chunk::<2>()? else { return None };
        if op == 5 {
            let tables = u32::from_le_bytes(*rest.first_chunk()?);
            return (rest.len() == 4).then_some(Self::Close { tables });
        }
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let number = u64::from_le_bytes(*number);
        match op {
            1 if rest.is_empty() => Some(Self::Commit { slot: low, committed: number }),
            2 => Some(Self::Join { slot: low, partition, committed: number, name: Name::from_bytes(rest).ok()? }),
            4 if rest.is_empty() => Some(Self::Trim { partition, head: number }),
            6 => Some(Self::Refresh { tag: low, partition, offset: number }),
            7 if rest.len() == 8 => {
                Some(Self::Gap { partition, from: number, to: u64::from_le_bytes(*rest.first_chunk()?) })
            }
            8 if rest.len() == 8 => {
                Some(Self::Skip { partition, from: number, to: u64::from_le_bytes(*rest.first_chunk()?) })
            }
            _ => None,
        }
    }
}

impl<const P: usize, const C: usize> State<P, C> {
    /// Tables without cursors, of partitions without records.
    pub(super) fn empty(partitions: usize) -> Option<Self> {
        let mut spans = heapless::Vec::new();
        spans.resize(partitions, Span::default()).ok()?;
        Some(Self { partitions: spans, cursors: [None; C] })
    }

    pub(super) fn span(&self, partition: u8) -> Option<Span> {
        self.partitions.get(usize::from(partition)).copied()
    }

    pub(super) fn cursor(&self, slot: usize) -> Option<Progress> {
        self.cursors.get(slot).copied().flatten()
    }

    /// The next record's offset; 0 for a partition that there is not.
    pub(super) fn next(&self, partition: u8) -> u64 {
        self.span(partition).map_or(0, |span| span.next)
    }

    /// Counts `count` records. `false` if there is no such partition.
    pub(super) fn appended(&mut self, partition: u8, count: u64) -> bool {
        let Some(span) = self.partitions.get_mut(usize::from(partition)) else { return false };
        span.next = span.next.wrapping_add(count);
        true
    }

    /// The cursor in `slot` is done with one more record.
    pub(super) fn stepped(&mut self, slot: usize) {
        if let Some(Some(cursor)) = self.cursors.get_mut(slot) {
            cursor.committed = cursor.committed.wrapping_add(1);
            let partition = cursor.partition;
            self.release(partition);
        }
    }

    /// Whether a step can be that of a cursor from where it is, or from further on; `from` answers for each slot from where.
    pub(super) fn is_near_step(&self, from: impl Fn(usize) -> u32) -> bool {
        self.cursors
            .iter()
            .enumerate()
            .any(|(slot, cursor)| cursor.is_some_and(|cursor| from(slot).wrapping_sub(cursor.committed as u32) < 16))
    }

    /// Does a change. `false` if it cannot be: then it was never written by a journal.
    pub(super) fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Commit { slot, committed } => {
                let Some(Some(cursor)) = self.cursors.get_mut(usize::from(slot)) else { return false };
                cursor.committed = committed;
                let partition = cursor.partition;
                self.release(partition);
                self.span(partition).is_some_and(|span| committed <= span.next)
            }
            Change::Join { slot, partition, committed, name } => {
                let known = self.span(partition).is_some();
                let Some(place @ None) = self.cursors.get_mut(usize::from(slot)) else { return false };
                *place = Some(Progress { partition, committed, name });
                known
            }
            Change::Leave { slot } => {
                let Some(place) = self.cursors.get_mut(usize::from(slot)) else { return false };
                let Some(gone) = place.take() else { return false };
                self.release(gone.partition);
                true
            }
            Change::Trim { partition, head } => self.trim(partition, head),
            Change::Gap { partition, to, .. } => {
                let Some(span) = self.partitions.get_mut(usize::from(partition)) else { return false };
                span.next = span.next.max(to);
                true
            }
            Change::Skip { partition, from, to } => {
                let Some(span) = self.partitions.get_mut(usize::from(partition)) else { return false };
                let follows = span.next == from && from <= to;
                *span = Span { head: to, next: to };
                // Those before it are done with them.
                for cursor in self.cursors.iter_mut().flatten().filter(|cursor| cursor.partition == partition) {
                    cursor.committed = cursor.committed.max(to);
                }
                follows
            }
            Change::Close { .. } | Change::Refresh { .. } => true,
        }
    }

    /// Gives up everything before `head`. Cursors that are not that far are told when they read on.
    fn trim(&mut self, partition: u8, head: u64) -> bool {
        let Some(span) = self.partitions.get_mut(usize::from(partition)) else { return false };
        span.head = span.head.max(head);
        head <= span.next
    }

    /// What all cursors of a partition are done with is not kept. Without a cursor, everything is.
    fn release(&mut self, partition: u8) {
        let slowest = self.cursors.iter().flatten().filter(|cursor| cursor.partition == partition);
        let Some(slowest) = slowest.map(|cursor| cursor.committed).min() else { return };
        if let Some(span) = self.partitions.get_mut(usize::from(partition)) {
            span.head = span.head.max(slowest.min(span.next));
        }
    }

    /// What another state says of the one partition whose head one change has moved since.
    pub(super) fn moved_from(&self, before: &Self) -> Option<Moved> {
        let mut spans = self.partitions.iter().zip(&before.partitions).zip(0..);
        let ((_, span), partition) = spans.find(|((now, before), _)| now.head != before.head)?;
        Some(Moved { partition, head: span.head })
    }

    /// Sets the head of a partition, and answers what it was.
    pub(super) fn swap_head(&mut self, Moved { partition, head }: Moved) -> Moved {
        let span = self.partitions.get_mut(usize::from(partition));
        let head = span.map_or(head, |span| core::mem::replace(&mut span.head, head));
        Moved { partition, head }
    }

    /// Whether everything that a segment held is given up, when the next records behind it had these offsets.
    pub(super) fn is_past(&self, ends: &[u64; P]) -> bool {
        self.partitions.iter().zip(ends).all(|(span, end)| span.head >= *end)
    }

    /// Offsets of the next records.
    pub(super) fn nexts(&self) -> [u64; P] {
        let mut nexts = [0; P];
        for (to, span) in nexts.iter_mut().zip(&self.partitions) {
            *to = span.next;
        }
        nexts
    }

    /// Bytes of a header with these tables, a multiple of `align`.
    pub(super) fn header_bytes(&self, align: usize) -> usize {
        let names = self.cursors.iter().flatten().map(|cursor| padded(cursor.name.as_bytes().len()));
        let cursors = names.fold(0_usize, |sum, name| sum.wrapping_add(name).wrapping_add(CURSOR_BYTES));
        header_bytes(self.partitions.len(), cursors, align)
    }

    /// Hands the tables out piece by piece, as a header has them.
    pub(super) fn encode(&self, put: &mut dyn FnMut(&[u8])) {
        for span in &self.partitions {
            put(&span.head.to_le_bytes());
            put(&span.next.to_le_bytes());
        }
        for (slot, cursor) in self.cursors.iter().enumerate() {
            let Some(cursor) = cursor else { continue };
            let name = cursor.name.as_bytes();
            #[allow(clippy::cast_possible_truncation, reason = "at most 255 slots, names of at most 64 bytes")]
            put(&[slot as u8, name.len() as u8, cursor.partition, 0]);
            put(&cursor.committed.to_le_bytes());
            put(name);
            put([0; 3].get(..padded(name.len()).wrapping_sub(name.len())).unwrap_or_default());
        }
    }

    /// Takes a cursor out of a header: its fixed bytes and its name.
    pub(super) fn restore(&mut self, fixed: &[u8; CURSOR_BYTES], name: &[u8]) -> bool {
        let [slot, _, partition, _, committed @ ..] = *fixed;
        let committed = u64::from_le_bytes(committed);
        let Ok(name) = Name::from_bytes(name) else { return false };
        let Some(place @ None) = self.cursors.get_mut(usize::from(slot)) else { return false };
        *place = Some(Progress { partition, committed, name });
        usize::from(partition) < self.partitions.len()
    }

    /// The CRC of the tables.
    pub(super) fn crc(&self) -> u32 {
        let mut crc = 0;
        self.encode(&mut |part| crc = crc32c(crc, part));
        crc
    }
}

/// Bytes of a header with so many partitions, and so many bytes of cursors.
pub(super) const fn header_bytes(partitions: usize, cursors: usize, align: usize) -> usize {
    let bytes =
        FIXED.wrapping_add(partitions.wrapping_mul(PARTITION_BYTES)).wrapping_add(cursors).wrapping_add(CRC_BYTES);
    bytes.wrapping_add(align.wrapping_sub(1)) & !align.wrapping_sub(1)
}

/// Bytes of a name in a header.
pub(super) const fn padded(len: usize) -> usize {
    len.wrapping_add(3) & !3
}
