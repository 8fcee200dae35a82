//! The store, as frames and headers see it.

use super::error::OpenError;
use super::frame::{Head, Kind, Place, frame_bytes, head_bytes, trailer};
use super::layout::{
    CRC_BYTES, CURSOR_BYTES, FIXED, LABEL, LABEL_BYTES, MAGIC, NONCE_BYTES, PARTITION_BYTES, UNCLEAN, VERSION, remapped,
};
use super::state::{Span, State, padded};
use super::store::{Geometry, MAX_WRITE_UNIT, MediumError, Store};
use crate::name::MAX_NAME;
use crate::platform::crc::crc32c;

/// The least part of a store that is read or written at a time.
const CHUNK: usize = 64;

/// Blank media are passed so many bytes at a time, where all of them are.
pub(super) const STRETCH: u32 = 256;

/// The most wrong bits of a label that is still told from another one.
const ALMOST: u32 = 4;

/// A store with what every place in it has in common.
#[derive(Debug)]
pub(super) struct Media<S> {
    pub(super) store: S,
    pub(super) geometry: Geometry,
    /// The journal's number.
    pub(super) id: u64,
    /// Whether anything could not be read since this was last cleared.
    pub(super) missed: bool,
}

/// What a header says besides its tables.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Begin {
    pub(super) number: u32,
    /// Whether it was begun behind an unclean stop.
    pub(super) unclean: bool,
    /// Where the last segment before it that has records ends.
    pub(super) end: u32,
    /// How many segments that one lies before this one; 0 if there is none.
    pub(super) back: u16,
    /// How many segments the oldest one that is needed lies before this one.
    pub(super) head: u16,
}

/// The end of a header: where the frames of the segment start, and what ties them to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Spot {
    pub(super) at: u32,
    /// The header's CRC.
    pub(super) anchor: u32,
}

/// What is found where a header should be.
#[derive(Debug)]
pub(super) enum Found<const P: usize, const C: usize> {
    /// A header.
    Header { id: u64, begin: Begin, spot: Spot, state: State<P, C> },
    /// None, or one that does not verify.
    Nothing,
    /// One that cannot be used here.
    Unfit(OpenError),
}

/// A frame that was found, and not verified.
#[derive(Clone, Copy, Debug)]
pub(super) struct Framed {
    pub(super) head: Head,
    pub(super) wide: bool,
    /// The words of its head, as they are there.
    words: [u32; 2],
    /// Where it ends.
    pub(super) end: u32,
}

/// A record that is copied: the frame that has it, and what of its body comes before the record's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) segment: u32,
    pub(super) place: Place,
    pub(super) frame: Framed,
    /// What its check is mixed with.
    pub(super) offset: u64,
    pub(super) front: usize,
}

/// What is found where a frame may start.
#[derive(Clone, Copy, Debug)]
pub(super) enum Word {
    Frame(Framed),
    /// Something else.
    Other(u32),
    /// Blank or zeroed media.
    Blank,
    /// The medium cannot tell.
    Unreadable,
}

impl<S: Store> Media<S> {
    /// What frames are a multiple of.
    pub(super) const fn align(&self) -> u32 {
        if self.geometry.write_unit < 4 { 4 } else { self.geometry.write_unit }
    }

    /// How many frames a segment can have.
    pub(super) const fn units(&self) -> u32 {
        // A power of two.
        self.geometry.segment_bytes >> self.align().trailing_zeros()
    }

    /// The segment behind another one, in the ring.
    pub(super) const fn behind(&self, segment: u32) -> u32 {
        let next = segment.wrapping_add(1);
        if next < self.geometry.segments { next } else { 0 }
    }

    /// The segment before another one, in the ring.
    pub(super) const fn before(&self, segment: u32) -> u32 {
        if segment == 0 { self.geometry.segments.wrapping_sub(1) } else { segment.wrapping_sub(1) }
    }

    /// How many steps it is from one segment to another, in the ring.
    pub(super) const fn steps(&self, from: u32, to: u32) -> u32 {
        if to >= from { to.wrapping_sub(from) } else { self.geometry.segments.wrapping_sub(from).wrapping_add(to) }
    }

    /// Reads, and tells a place that cannot be read from a medium that fails.
    pub(super) fn get(&mut self, segment: u32, at: u32, into: &mut [u8]) -> Result<bool, MediumError> {
        match self.store.read(segment, at, into) {
            Ok(()) => Ok(true),
            Err(MediumError::Unreadable) => {
                self.missed = true;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether all of a stretch can be read.
    pub(super) fn is_readable(&mut self, segment: u32, from: u32, to: u32) -> Result<bool, MediumError> {
        let mut at = from;
        while at < to {
            let mut bytes = [0; CHUNK];
            let count = (to.wrapping_sub(at) as usize).min(CHUNK);
            if !self.get(segment, at, bytes.get_mut(..count).unwrap_or_default())? {
                return Ok(false);
            }
            at = at.wrapping_add(count as u32);
        }
        Ok(true)
    }

    /// Four bytes.
    pub(super) fn word(&mut self, segment: u32, at: u32) -> Result<Option<u32>, MediumError> {
        let mut bytes = [0; 4];
        Ok(self.get(segment, at, &mut bytes)?.then_some(u32::from_le_bytes(bytes)))
    }

    /// What starts at `at`, of a segment that ends at `limit`.
    pub(super) fn look(&mut self, segment: u32, at: u32, limit: u32) -> Result<Word, MediumError> {
        if limit.saturating_sub(at) < self.align() {
            return Ok(Word::Blank);
        }
        let Some(first) = self.word(segment, at)? else { return Ok(Word::Unreadable) };
        if matches!(first, 0 | u32::MAX) {
            return Ok(Word::Blank);
        }
        if !Head::is_first(first) {
            return Ok(Word::Other(first));
        }
        let wide = Head::is_wide(first);
        let second =
            if wide && limit.saturating_sub(at) >= 8 { self.word(segment, at.wrapping_add(4))? } else { Some(0) };
        Ok(match second.and_then(|second| Some((Head::parse(first, second)?, [first, second]))) {
            Some((head, words)) => {
                let bytes = frame_bytes(wide, head.len, self.align());
                match at.checked_add(bytes) {
                    Some(end) if end <= limit => Word::Frame(Framed { head, wide, words, end }),
                    _ => Word::Other(first),
                }
            }
            None => Word::Other(first),
        })
    }

    /// Whether a whole stretch is blank or zeroed from `at` on. Of other places than where stretches start nothing is said.
    pub(super) fn is_blank(&mut self, segment: u32, at: u32, limit: u32) -> Result<bool, MediumError> {
        if at & STRETCH.wrapping_sub(1) != 0 || limit.wrapping_sub(at) < STRETCH {
            return Ok(false);
        }
        let mut bytes = [1; STRETCH as usize];
        let readable = self.get(segment, at, &mut bytes)?;
        let [first, ..] = bytes;
        Ok(readable && matches!(first, 0 | 0xff) && bytes.iter().all(|byte| *byte == first))
    }

    /// The CRC of a frame's bytes behind its seed, and the one it ends with; `None` if the medium cannot tell.
    pub(super) fn sums(
        &mut self,
        segment: u32,
        place: Place,
        frame: Framed,
    ) -> Result<Option<(u32, u32)>, MediumError> {
        let (mut at, mut crc) = (place.at, place.seed());
        let last = frame.end.wrapping_sub(CRC_BYTES as u32);
        while at < last {
            let mut bytes = [0; CHUNK];
            let count = (last.wrapping_sub(at) as usize).min(CHUNK);
            let Some(part) = bytes.get_mut(..count) else { break };
            if !self.get(segment, at, part)? {
                return Ok(None);
            }
            crc = crc32c(crc, part);
            at = at.wrapping_add(count as u32);
        }
        Ok(self.word(segment, last)?.map(|said| (crc, said)))
    }

    /// Whether a frame is what was written there.
    pub(super) fn verified(
        &mut self,
        segment: u32,
        place: Place,
        frame: Framed,
        offset: u64,
    ) -> Result<bool, MediumError> {
        let sums = self.sums(segment, place, frame)?;
        Ok(sums.is_some_and(|(crc, said)| trailer(crc, frame.head.kind, offset) == said))
    }

    /// Reads a frame's body into two parts, as far as they go, and verifies all of the frame. `false` if it does not.
    pub(super) fn read_body(
        &mut self,
        segment: u32,
        place: Place,
        frame: Framed,
        offset: u64,
        parts: [&mut [u8]; 2],
    ) -> Result<bool, MediumError> {
        let head = head_bytes(frame.wide);
        let [first, second] = frame.words.map(u32::to_le_bytes);
        let mut crc = crc32c(place.seed(), &first);
        if frame.wide {
            crc = crc32c(crc, &second);
        }
        let mut at = place.at.wrapping_add(head);
        let mut left = frame.head.len;
        for part in parts {
            let len = part.len().min(left);
            let Some(part) = part.get_mut(..len) else { return Ok(false) };
            if !part.is_empty() && !self.get(segment, at, part)? {
                return Ok(false);
            }
            crc = crc32c(crc, part);
            at = at.wrapping_add(len as u32);
            left = left.wrapping_sub(len);
        }
        // The rest: what there was no room for, zeros, and the CRC.
        loop {
            let mut bytes = [0; CHUNK];
            let rest = frame.end.wrapping_sub(at) as usize;
            // Never a part of the CRC without all of it.
            let count = if rest <= CHUNK { rest } else { rest.wrapping_sub(CRC_BYTES).min(CHUNK) };
            let Some(part) = bytes.get_mut(..count) else { return Ok(false) };
            if !self.get(segment, at, part)? {
                return Ok(false);
            }
            if count == rest {
                let Some((zeros, said)) = part.split_last_chunk::<CRC_BYTES>() else { return Ok(false) };
                return Ok(trailer(crc32c(crc, zeros), frame.head.kind, offset) == u32::from_le_bytes(*said));
            }
            crc = crc32c(crc, part);
            at = at.wrapping_add(count as u32);
        }
    }

    /// The number of a segment, if its label holds.
    pub(super) fn label(&mut self, segment: u32) -> Result<Option<u32>, MediumError> {
        let mut bytes = [0; LABEL_BYTES];
        if !self.get(segment, 0, &mut bytes)? {
            return Ok(None);
        }
        let [n0, n1, n2, n3, said @ ..] = bytes;
        let number = u32::from_le_bytes([n0, n1, n2, n3]);
        Ok((u32::from_le_bytes(said) == label(VERSION, segment, number)).then_some(number))
    }

    /// Whether a segment has no label of ours, but something that is not blank in its place.
    pub(super) fn is_odd(&mut self, segment: u32) -> Result<bool, MediumError> {
        let mut bytes = [0; LABEL_BYTES];
        let readable = self.get(segment, 0, &mut bytes)?;
        Ok(readable && bytes != [0xff; LABEL_BYTES] && bytes != [0; LABEL_BYTES] && self.label(segment)?.is_none())
    }

    /// Whether a segment's label is that of a number but for a few bits. One of another number differs by half of its CRC.
    pub(super) fn is_almost(&mut self, segment: u32, number: u32) -> Result<bool, MediumError> {
        let (Some(said), Some(crc)) = (self.word(segment, 0)?, self.word(segment, 4)?) else { return Ok(false) };
        let wrong = (said ^ number).count_ones().saturating_add((crc ^ label(VERSION, segment, number)).count_ones());
        Ok(wrong <= ALMOST)
    }

    /// Erases every segment that passes for one of a journal, but for one: those behind it first, which are the oldest, so that
    /// numbers rise from the first segment on for as long as there are others.
    pub(super) fn wipe(&mut self, kept: Option<u32>) -> Result<(), MediumError> {
        let mut segment = kept.map_or(0, |kept| self.behind(kept));
        for _ in 0..self.geometry.segments {
            let is_one = self.label(segment)?.is_some() || self.other_version(segment)?.is_some();
            if is_one && kept != Some(segment) {
                self.store.erase(segment)?;
                if self.geometry.rewritable {
                    self.store.program(segment, 0, &[0; 8])?;
                }
            }
            segment = self.behind(segment);
        }
        self.store.sync()
    }

    /// The version that a label says, if it is not ours.
    pub(super) fn other_version(&mut self, segment: u32) -> Result<Option<u8>, MediumError> {
        let (Some(number), Some(said)) = (self.word(segment, 0)?, self.word(segment, 4)?) else { return Ok(None) };
        if matches!(number, 0 | u32::MAX) {
            // Blank: no segment has such a number.
            return Ok(None);
        }
        Ok((0..=u8::MAX).find(|version| *version != VERSION && label(*version, segment, number) == said))
    }

    /// Reads the header of a segment. A label that is damaged does not matter where the rest of the header verifies with the
    /// number that is `expected` there.
    pub(super) fn header<const P: usize, const C: usize>(
        &mut self,
        segment: u32,
        expected: u32,
    ) -> Result<Found<P, C>, MediumError> {
        let mut from = In { segment, at: 0, crc: 0, limit: self.geometry.segment_bytes, slots: 0 };
        let mut fixed = [0; FIXED];
        if !from.take(self, &mut fixed)? {
            return Ok(Found::Nothing);
        }
        let [n0, n1, n2, n3, l0, l1, l2, l3, m0, m1, m2, version, unit, partitions, cursors, _, rest @ ..] = fixed;
        let [i0, i1, i2, i3, i4, i5, i6, i7, e0, e1, e2, e3, b0, b1, h0, h1] = rest;
        let mut number = u32::from_le_bytes([n0, n1, n2, n3]);
        if [m0, m1, m2] != MAGIC || version != VERSION {
            return Ok(Found::Nothing);
        }
        if u32::from_le_bytes([l0, l1, l2, l3]) != label(VERSION, segment, number) {
            number = expected;
            let whole = number.to_le_bytes().into_iter().chain(label(VERSION, segment, number).to_le_bytes());
            for (to, from) in fixed.iter_mut().zip(whole) {
                *to = from;
            }
            from.crc = crc32c(0, &fixed);
        }
        let (partitions, cursors) = (usize::from(partitions), usize::from(cursors));
        let unfit = if partitions > P {
            Some(OpenError::Partitions { wanted: partitions, max: P })
        } else if cursors > C {
            Some(OpenError::Cursors { wanted: cursors, max: C })
        } else {
            None
        };
        let state = match unfit {
            None => self.tables(&mut from, partitions, cursors)?,
            Some(_) => self.pass_tables(&mut from, partitions, cursors)?.then(|| State::empty(0)).flatten(),
        };
        let (Some(state), Some(anchor)) = (state, self.end_of_header(&mut from, number, unit)?) else {
            return Ok(Found::Nothing);
        };
        // What does not verify says nothing, not even that it is too large.
        if let Some(unfit) = unfit {
            return Ok(Found::Unfit(unfit));
        }
        if from.slots != 0 {
            return Ok(Found::Unfit(OpenError::Cursors { wanted: from.slots, max: C }));
        }
        if 1_u32.checked_shl(u32::from(unit & !UNCLEAN)) != Some(self.geometry.write_unit) {
            return Ok(Found::Unfit(OpenError::Geometry));
        }
        let begin = Begin {
            number,
            unclean: unit & UNCLEAN != 0,
            end: u32::from_le_bytes([e0, e1, e2, e3]),
            back: u16::from_le_bytes([b0, b1]),
            head: u16::from_le_bytes([h0, h1]),
        };
        let id = u64::from_le_bytes([i0, i1, i2, i3, i4, i5, i6, i7]);
        Ok(Found::Header { id, begin, spot: Spot { at: from.at, anchor }, state })
    }

    /// Reads the zeros and the CRC at the end of a header; `None` if it does not verify.
    ///
    /// It is as long as the unit that it names makes it: one that was made for another unit is told from damage.
    fn end_of_header(&mut self, from: &mut In, number: u32, unit: u8) -> Result<Option<u32>, MediumError> {
        let unit = 1_u32.checked_shl(u32::from(unit & !UNCLEAN)).unwrap_or(u32::MAX);
        if unit > MAX_WRITE_UNIT {
            return Ok(None);
        }

        if self.geometry.rewritable && !from.take(self, &mut [0; NONCE_BYTES])? {
            return Ok(None);
        }
        let align = unit.max(4);
        let zeros = align.wrapping_sub(from.at.wrapping_add(CRC_BYTES as u32)) & align.wrapping_sub(1);
        let mut none = [0; MAX_WRITE_UNIT as usize];
        let Some(none) = none.get_mut(..zeros as usize) else { return Ok(None) };
        if !from.take(self, none)? {
            return Ok(None);
        }
        let anchor = anchor(from.crc, from.segment, number);
        let mut said = [0; CRC_BYTES];
        Ok((from.take(self, &mut said)? && u32::from_le_bytes(said) == anchor).then_some(anchor))
    }

    /// Reads the tables of a header.
    fn tables<const P: usize, const C: usize>(
        &mut self,
        from: &mut In,
        partitions: usize,
        cursors: usize,
    ) -> Result<Option<State<P, C>>, MediumError> {
        let Some(mut state) = State::empty(partitions) else { return Ok(None) };
        for span in &mut state.partitions {
            let mut bytes = [0; PARTITION_BYTES];
            if !from.take(self, &mut bytes)? {
                return Ok(None);
            }
            let (head, next) = bytes.split_at(8);
            let number = |bytes: &[u8]| u64::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default());
            *span = Span { head: number(head), next: number(next) };
            if span.head > span.next {
                return Ok(None);
            }
        }
        for _ in 0..cursors {
            let mut fixed = [0; CURSOR_BYTES];
            let mut name = [0; MAX_NAME];
            if !from.take(self, &mut fixed)? {
                return Ok(None);
            }
            let [slot, len, ..] = fixed;
            let len = usize::from(len);
            let Some(bytes) = name.get_mut(..padded(len)) else { return Ok(None) };
            if !from.take(self, bytes)? {
                return Ok(None);
            }
            if usize::from(slot) >= C {
                from.slots = from.slots.max(usize::from(slot).wrapping_add(1));
            } else if !state.restore(&fixed, name.get(..len).unwrap_or_default()) {
                return Ok(None);
            }
        }
        Ok(Some(state))
    }

    /// Sums up the tables of a header that there is no room for.
    fn pass_tables(&mut self, from: &mut In, partitions: usize, cursors: usize) -> Result<bool, MediumError> {
        for _ in 0..partitions {
            if !from.take(self, &mut [0; PARTITION_BYTES])? {
                return Ok(false);
            }
        }
        for _ in 0..cursors {
            let mut fixed = [0; CURSOR_BYTES];
            let mut name = [0; 256];
            if !from.take(self, &mut fixed)? {
                return Ok(false);
            }
            let [_, len, ..] = fixed;
            let Some(name) = name.get_mut(..padded(usize::from(len))) else { return Ok(false) };
            if !from.take(self, name)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes the header of a segment that was erased. Answers where its frames start.
    pub(super) fn begin<const P: usize, const C: usize>(
        &mut self,
        segment: u32,
        begin: Begin,
        state: &State<P, C>,
    ) -> Result<Spot, MediumError> {
        let (align, id) = (self.align(), self.id);
        let nonce = if self.geometry.rewritable { Some(self.store.nonce()) } else { None };
        #[allow(
            clippy::cast_possible_truncation,
            reason = "checked when the journal was made; a unit has at most 8 zeros"
        )]
        let (partitions, cursors, unit) = (
            state.partitions.len() as u8,
            state.cursors.iter().flatten().count() as u8,
            self.geometry.write_unit.trailing_zeros() as u8,
        );
        let mut words = [0; LABEL_BYTES];
        let said = begin.number.to_le_bytes().into_iter().chain(label(VERSION, segment, begin.number).to_le_bytes());
        for (to, from) in words.iter_mut().zip(said) {
            *to = from;
        }
        // A write that ended early, or whose process was killed, leaves no label without its header if that comes last.
        let last = self.geometry.rewritable && self.geometry.write_unit as usize <= LABEL_BYTES;
        let mut out = if last {
            Out::new(&mut self.store, segment, LABEL_BYTES as u32, crc32c(0, &words))
        } else {
            let mut out = Out::new(&mut self.store, segment, 0, 0);
            out.put(&words)?;
            out
        };
        out.put(&MAGIC)?;
        out.put(&[VERSION, unit | if begin.unclean { UNCLEAN } else { 0 }, partitions, cursors, 0])?;
        out.put(&id.to_le_bytes())?;
        out.put(&begin.end.to_le_bytes())?;
        out.put(&begin.back.to_le_bytes())?;
        out.put(&begin.head.to_le_bytes())?;
        let mut done = Ok(());
        state.encode(&mut |part| done = done.and_then(|()| out.put(part)));
        done?;
        if let Some(nonce) = nonce {
            out.put(&nonce.to_le_bytes())?;
        }
        let spot = out.finish(align, End::Header(begin.number))?;
        if last {
            self.store.program(segment, 0, &words)?;
        }
        Ok(spot)
    }

    /// Writes a frame of a body in parts, at a place and with its seed. Answers where it ends.
    pub(super) fn append(
        &mut self,
        segment: u32,
        (at, seed): (u32, u32),
        (kind, [first, second]): (Kind, [u32; 2]),
        parts: &[&[u8]],
        offset: u64,
    ) -> Result<u32, MediumError> {
        let align = self.align();
        let mut out = Out::new(&mut self.store, segment, at, seed);
        out.put(&first.to_le_bytes())?;
        if Head::is_wide(first) {
            out.put(&second.to_le_bytes())?;
        }
        for part in parts {
            out.put(part)?;
        }
        Ok(out.finish(align, End::Frame(kind, offset))?.at)
    }

    /// Writes a refresh: `front`, then the body of a record that lies elsewhere. Answers where it ends, and whether what was
    /// copied verified while it was; if not, the copy does not verify either.
    pub(super) fn copy(
        &mut self,
        segment: u32,
        place: Place,
        head: Head,
        front: &[u8],
        from: Source,
    ) -> Result<(u32, bool), MediumError> {
        let align = self.align();
        let [first, second] = head.words(true);
        let mut out = Out::new(&mut self.store, segment, place.at, place.seed());
        out.put(&first.to_le_bytes())?;
        out.put(&second.to_le_bytes())?;
        out.put(front)?;
        // Bits that held when the record was verified need not hold when it is read again.
        let [first, second] = from.frame.words;
        let mut crc = crc32c(from.place.seed(), &first.to_le_bytes());
        if from.frame.wide {
            crc = crc32c(crc, &second.to_le_bytes());
        }
        let mut at = from.place.at.wrapping_add(head_bytes(from.frame.wide));
        let body = at.wrapping_add(from.front as u32)..at.wrapping_add(from.frame.head.len as u32);
        let last = from.frame.end.wrapping_sub(CRC_BYTES as u32);
        while at < last {
            let until = [body.start, body.end, last].into_iter().find(|end| *end > at).unwrap_or(last);
            let mut bytes = [0; CHUNK];
            let Some(part) = bytes.get_mut(..(until.wrapping_sub(at) as usize).min(CHUNK)) else { break };
            out.store.read(from.segment, at, part)?;
            crc = crc32c(crc, part);
            if body.contains(&at) {
                out.put(part)?;
            }
            at = at.wrapping_add(part.len() as u32);
        }
        let mut said = [0; CRC_BYTES];
        out.store.read(from.segment, last, &mut said)?;
        let holds = trailer(crc, from.frame.head.kind, from.offset) == u32::from_le_bytes(said);
        let spot = out.finish(align, if holds { End::Frame(head.kind, 0) } else { End::Wrong })?;
        Ok((spot.at, holds))
    }

    /// Writes a step.
    pub(super) fn step(&mut self, segment: u32, at: u32, word: u32) -> Result<(), MediumError> {
        let align = self.align() as usize;
        let mut unit = [0; MAX_WRITE_UNIT as usize];
        if let Some(first) = unit.first_chunk_mut() {
            *first = word.to_le_bytes();
        }
        let unit = unit.get(..align).ok_or(MediumError::Unaligned)?;
        self.store.program(segment, at, unit)
    }
}

/// The label of a segment.
pub(super) fn label(version: u8, segment: u32, number: u32) -> u32 {
    let crc =
        [&[version][..], &segment.to_le_bytes(), &number.to_le_bytes()].into_iter().fold(crc32c(0, LABEL), crc32c);
    remapped(crc)
}

/// The CRC of a header whose bytes have the CRC `crc`. The number again: with its own CRC behind it, as in the label, it leaves
/// nothing in the CRC of both.
fn anchor(crc: u32, segment: u32, number: u32) -> u32 {
    remapped(crc32c(crc32c(crc, &segment.to_le_bytes()), &number.to_le_bytes()))
}

/// Reads a header's bytes one behind the other, and sums them up.
struct In {
    segment: u32,
    at: u32,
    crc: u32,
    limit: u32,
    /// How many slots its cursors need, if there are not as many here.
    slots: usize,
}

impl In {
    /// Fills `into`. `false` if the segment ends before, or cannot be read.
    fn take<S: Store>(&mut self, media: &mut Media<S>, into: &mut [u8]) -> Result<bool, MediumError> {
        if into.len() > self.limit.saturating_sub(self.at) as usize || !media.get(self.segment, self.at, into)? {
            return Ok(false);
        }
        self.crc = crc32c(self.crc, into);
        self.at = self.at.wrapping_add(into.len() as u32);
        Ok(true)
    }
}

/// What a CRC ends: the header of a segment of that number, or a frame of that kind, a record's with its offset; or a change that must not verify.
#[derive(Clone, Copy)]
enum End {
    Header(u32),
    Frame(Kind, u64),
    Wrong,
}

/// Collects bytes and programs them, whole units at a time.
struct Out<'s, S> {
    store: &'s mut S,
    segment: u32,
    at: u32,
    crc: u32,
    buffer: [u8; MAX_WRITE_UNIT as usize],
    filled: usize,
}

impl<'s, S: Store> Out<'s, S> {
    fn new(store: &'s mut S, segment: u32, at: u32, crc: u32) -> Self {
        Self { store, segment, at, crc, buffer: [0; MAX_WRITE_UNIT as usize], filled: 0 }
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), MediumError> {
        while !bytes.is_empty() {
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            if let Some(to) = room.get_mut(..now.len()) {
                to.copy_from_slice(now);
            }
            self.filled = self.filled.wrapping_add(now.len());
            bytes = later;
            if self.filled == self.buffer.len() {
                self.sum();
                self.program()?;
            }
        }
        Ok(())
    }

    /// Sums up what is about to be programmed.
    fn sum(&mut self) {
        self.crc = crc32c(self.crc, self.buffer.get(..self.filled).unwrap_or_default());
    }

    fn program(&mut self) -> Result<(), MediumError> {
        let bytes = self.buffer.get(..self.filled).unwrap_or_default();
        self.store.program(self.segment, self.at, bytes)?;
        self.at = self.at.wrapping_add(self.filled as u32);
        self.filled = 0;
        Ok(())
    }

    /// Fills up with zeros and the CRC of everything before it.
    fn finish(mut self, align: u32, end: End) -> Result<Spot, MediumError> {
        let align = align as usize;
        let behind = self.filled.wrapping_add(CRC_BYTES);
        let zeros = (behind.wrapping_add(align.wrapping_sub(1)) & !align.wrapping_sub(1)).wrapping_sub(behind);
        self.put([0; MAX_WRITE_UNIT as usize].get(..zeros).unwrap_or_default())?;
        self.sum();
        let last = match end {
            End::Header(number) => anchor(self.crc, self.segment, number),
            End::Frame(kind, offset) => trailer(self.crc, kind, offset),
            End::Wrong => !trailer(self.crc, Kind::Change, 0),
        };
        // There is room: the buffer ends at a multiple of four, and is emptied when it is full.
        let rest = self.buffer.get_mut(self.filled..).and_then(<[u8]>::first_chunk_mut);
        *rest.ok_or(MediumError::Unaligned)? = last.to_le_bytes();
        self.filled = self.filled.wrapping_add(CRC_BYTES);
        self.program()?;
        Ok(Spot { at: self.at, anchor: last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header is that of one number only, also where its label is damaged and the number has to be guessed.
    #[test]
    fn a_header_says_one_number() {
        let mut sums = [0; 64];
        for (number, sum) in (1_u32..).zip(sums.iter_mut()) {
            let words = [number.to_le_bytes(), label(VERSION, 3, number).to_le_bytes()];
            let crc = words.iter().fold(0, |crc, word| crc32c(crc, word));
            *sum = anchor(crc32c(crc, b"the rest"), 3, number);
        }
        sums.sort_unstable();
        assert!(sums.windows(2).all(|pair| pair.first() != pair.last()));
    }
}
