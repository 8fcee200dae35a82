//! Opening a journal: the newest segment, what it says, where it ends, and whether that is the end or damage.

use super::error::{Extent, OpenError};
use super::frame::{Kind, Place, offset_of, step, stepped, trailer};
use super::journal::{Begun, Data, Journal, JournalStats, Stand, Tail, check};
use super::layout::{CRC_BYTES, CURSOR_BYTES, LABEL_BYTES};
use super::media::{Found, Framed, Media, Source, Word};
use super::state::{Change, MAX_CHANGE, Moved, REFRESH, State, padded};
use super::store::{Geometry, MediumError, Store};
use crate::name::MAX_NAME;

/// What was found when a journal was opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Recovery {
    /// Whether it was closed before. If not, power was lost, or the process was.
    pub clean: bool,
    /// What a power cut left unfinished, if that shows. It was never stored, and is not read.
    pub torn: Option<Extent>,
    /// What was stored once and is damaged. The journal is only read until it is salvaged.
    pub damage: Option<Extent>,
}

/// The last record before an unclean stop: it verifies, but its last bits may be weak.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weak {
    pub(super) partition: u8,
    pub(super) tag: u8,
    pub(super) offset: u64,
    /// Bytes of its body.
    pub(super) len: usize,
    /// Where it lies, if that is known.
    pub(super) origin: Option<(u32, Place, Framed)>,
    /// Where its last copy lies.
    pub(super) copy: Option<(u32, Place)>,
}

impl Weak {
    /// Where its body can be read. `None` if it verifies nowhere.
    pub(super) fn source<S: Store>(&self, media: &mut Media<S>) -> Result<Option<Source>, MediumError> {
        if let Some((segment, place)) = self.copy
            && let Word::Frame(frame) = media.look(segment, place.at, media.geometry.segment_bytes)?
            && frame.head.len == self.len.wrapping_add(REFRESH)
            && media.verified(segment, place, frame, 0)?
        {
            return Ok(Some(Source { segment, place, frame, offset: 0, front: REFRESH }));
        }
        if let Some((segment, place, frame)) = self.origin
            && media.verified(segment, place, frame, self.offset)?
        {
            return Ok(Some(Source { segment, place, frame, offset: self.offset, front: 0 }));
        }
        Ok(None)
    }
}

/// A segment that says the same as the one behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Same {
    pub(super) segment: u32,
    /// Whether its header alone does.
    pub(super) vain: bool,
}

/// What a segment was found to hold.
struct Scan<const P: usize, const C: usize> {
    state: State<P, C>,
    /// Where its frames end.
    at: u32,
    /// Where what ended it lies: behind `at` if records came first that count only together with it.
    broken: u32,
    /// Whether what ended it looks like the end.
    blank: bool,
    /// The last record, if nothing followed it.
    last: Option<Weak>,
    /// Whether the first frame is a copy, and of what.
    copy: Option<Weak>,
    /// Whether there are frames; whether there are records.
    frames: bool,
    records: Option<u32>,
    /// Whether the last frame says that the journal was closed.
    closed: bool,
    /// Where the last frame moved a head from.
    moved: Option<Moved>,
}

impl<S: Store, const P: usize, const C: usize> Journal<S, P, C> {
    /// Opens the journal on a medium, whatever a power cut left of it. Nothing is written before something is appended or
    /// committed.
    ///
    /// Reads a few bytes of some headers, by halving, and the newest segment: on flash its heads and its last record, of files
    /// all of it.
    ///
    /// # Errors
    /// [`OpenError`]. Damage is none: it is told by [`recovery`](Self::recovery), and what is left can be read.
    pub fn open(store: S) -> Result<Self, OpenError> {
        let mut media = Media { geometry: store.geometry(), store, id: 0, missed: false };
        check::<P, C>(media.geometry)?;
        let newest = newest_of(&mut media)?;
        let Some((mut segment, mut number)) = newest else {
            return Err(no_journal(&mut media)?);
        };
        for near in [media.behind(segment), media.before(segment)] {
            if !media.is_odd(near)? {
                continue;
            }
            // A later version may have gone on from here; or the newest segment's label is damaged.
            if let Some(found) = media.other_version(near)? {
                return Err(OpenError::Version { found });
            }
            let next = number.wrapping_add(1);
            let holds =
                matches!(media.header(near, next)?, Found::<P, C>::Header { begin, .. } if begin.number == next);
            if holds || media.is_almost(near, next)? {
                (segment, number) = (near, next);
                break;
            }
        }
        let mut damage = None;
        media.missed = false;
        let mut begun = found(&mut media, segment, number)?;
        if begun.is_none() && !media.geometry.rewritable {
            // Where headers faded one after the other, what they stood before was gone on from, in front of them.
            let mut newer = (segment, number);
            for other in 0..media.geometry.segments {
                if let Some(label) = media.label(other)?
                    && label > newer.1
                {
                    newer = (other, label);
                }
            }
            if newer.1 != number {
                (segment, number) = newer;
                begun = found(&mut media, segment, number)?;
            }
        }
        let begun = match begun {
            Some(begun) => begun,
            None => {
                let unreadable = media.geometry.rewritable && media.missed;
                let none = if unreadable { MediumError::Unreadable.into() } else { OpenError::None };
                let begun = before(&mut media, segment, number)?.ok_or(none)?;
                if unreadable || has_content(&mut media, segment, number, &begun)? {
                    damage = Some(Extent { segment, from: 0, to: media.geometry.segment_bytes });
                }
                begun
            }
        };
        let is_newest = begun.begin.number == number;
        let mut journal = Self::standing(media, begun)?;
        journal.tail.highest = journal.tail.number.max(number);
        if is_newest {
            damage = journal.missing()?;
        }
        if damage.is_some() {
            journal.recovery.damage = damage;
        }
        if let Some(at) = journal.recovery.damage {
            journal.stand = Stand::Damaged(at);
        }
        Ok(journal)
    }

    /// A journal whose newest segment is known.
    fn standing(mut media: Media<S>, begun: Begun<P, C>) -> Result<Self, OpenError> {
        let Begun { segment, begin, spot, ref state } = begun;
        let number = begin.number;
        let limit = media.geometry.segment_bytes;
        let ring = |back: u16| {
            let segments = media.geometry.segments;
            let back = u32::from(back);
            if back <= segment { segment.wrapping_sub(back) } else { segments.wrapping_add(segment).wrapping_sub(back) }
        };
        let (head, data) = (ring(begin.head), ring(begin.back));
        if head >= media.geometry.segments || data >= media.geometry.segments {
            return Err(OpenError::Geometry);
        }
        let thorough = media.geometry.rewritable;
        media.missed = false;
        let mut scan = scan(&mut media, &begun, limit, thorough)?;
        let plain = thorough || (scan.blank && intact(&mut media, scan.last)?);
        if !plain {
            scan = self::scan(&mut media, &begun, limit, true)?;
        }
        // A later number there is that of a segment whose begin was cut: the head was given up before.
        let said = if begin.head == 0 { Some(number) } else { media.label(head)? };
        let head_number = said.filter(|said| *said <= number).unwrap_or(0);
        let mut journal = Self {
            state: state.clone(),
            marks: [None; C],
            // Of files nobody knows what an earlier run has synced.
            tail: Tail {
                segment,
                number,
                at: scan.at,
                anchor: spot.anchor,
                synced: !media.geometry.rewritable,
                highest: number,
                vain: !scan.frames,
            },
            head: (head, head_number),
            data: Data { segment: data, end: begin.end },
            stand: Stand::Opened { clean: scan.closed },
            weak: None,
            moved: scan.moved,
            recovery: Recovery { clean: scan.closed, ..Recovery::default() },
            stats: JournalStats::default(),
            media,
        };
        journal.state = scan.state;
        if let Some(end) = scan.records {
            journal.data = Data { segment, end };
        } else if begin.back == 0 {
            journal.data = Data { segment, end: scan.at };
        }
        journal.find_end(scan.blank, scan.broken)?;
        if !scan.closed {
            journal.weak = match (scan.last, scan.copy) {
                (Some(last), _) => Some(last),
                (None, Some(copy)) if scan.records.is_none() => Some(copy),
                // Its copy was cut.
                (None, None) if begin.unclean && !scan.frames => journal.last_record()?,
                _ => None,
            };
        }
        Ok(journal)
    }

    /// The segment before the tail, if what it ends with is what the tail begins with.
    pub(super) fn same_before(&mut self) -> Result<Option<Same>, MediumError> {
        let Tail { segment, number, .. } = self.tail;
        let Ok(Some(begun)) = before::<S, P, C>(&mut self.media, segment, number) else { return Ok(None) };
        let limit = self.media.geometry.segment_bytes;
        let scan = scan(&mut self.media, &begun, limit, true)?;
        let is_same = scan.state.crc() == self.state.crc();
        Ok(is_same.then_some(Same { segment: begun.segment, vain: !scan.frames }))
    }

    /// Tells a torn tail from damage, by what lies behind the place that ended the log.
    fn find_end(&mut self, blank: bool, broken: u32) -> Result<(), OpenError> {
        let (segment, from) = (self.tail.segment, self.tail.at);
        let place = Place { at: broken, ..self.place() };
        let limit = self.media.geometry.segment_bytes;
        let flash = !self.media.geometry.rewritable;
        if blank && flash {
            return Ok(());
        }
        // A cut leaves nothing unreadable but on flash.
        let unreadable = !flash && (self.media.missed || !self.media.is_readable(segment, from, limit)?);
        let mut at = broken;
        while let Some((found, frame, _)) = self.later_frame(place, segment, at, limit)? {
            if frame.head.after_sync && found != broken {
                self.recovery.damage = Some(Extent { segment, from, to: found });
                return Ok(());
            }
            at = frame.end;
        }
        if blank {
            if unreadable {
                // Nothing was stored there, but nothing can be: it goes on in the next segment.
                self.stand = Stand::Opened { clean: false };
            }
            return Ok(());
        }
        let extent = Extent { segment, from, to: limit };
        if unreadable || (flash && self.goes_on(place, segment, limit)?) {
            self.recovery.damage = Some(extent);
        } else {
            self.recovery.torn = Some(extent);
        }
        Ok(())
    }

    /// The segment that may be newer than the tail, if what it was cannot be told. Only of a medium that no cut makes unreadable,
    /// and only one that was begun before: there, a label is the old one or the new one, never none.
    fn missing(&mut self) -> Result<Option<Extent>, MediumError> {
        let Geometry { segment_bytes, rewritable, .. } = self.media.geometry;
        if !rewritable {
            return Ok(None);
        }
        let behind = self.media.behind(self.tail.segment);
        // At the end of the reserve, the two last ones are begun in turns.
        let turned = (behind == self.head.0).then(|| self.media.before(self.tail.segment));
        for segment in core::iter::once(behind).chain(turned) {
            let mut label = [0; LABEL_BYTES];
            let readable = self.media.get(segment, 0, &mut label)?;
            // Segments are begun one behind the other, so in the first lap the one behind the tail was not; and the first one
            // is the first one to be begun again.
            let was_begun = segment <= self.tail.segment || self.media.label(0)?.is_some_and(|number| number > 1);
            if !readable || (label == [0; LABEL_BYTES] && was_begun) {
                return Ok(Some(Extent { segment, from: 0, to: segment_bytes }));
            }
            if self.media.label(segment)?.is_some_and(|number| number > self.tail.number) {
                // It could not be read a moment ago.
                return Err(MediumError::Unreadable);
            }
        }
        Ok(None)
    }

    /// The first frame at or behind `from` that was written behind the end.
    ///
    /// A record's offset is told by its CRC, so if any one will do, the CRC alone tells little: of what an earlier lap has
    /// left in a file, one in a million would pass. So a record's offset must be one of the next few, or what follows it must
    /// bear it out.
    fn later_frame(
        &mut self,
        place: Place,
        segment: u32,
        from: u32,
        limit: u32,
    ) -> Result<Option<(u32, Framed, u32)>, MediumError> {
        let mut at = from;
        while let Some(found) = self.verified_from(place, segment, at, limit)? {
            if self.is_borne_out(place, segment, found, limit)? {
                return Ok(Some(found));
            }
            at = found.0.saturating_add(self.media.align());
        }
        Ok(None)
    }

    fn is_borne_out(
        &mut self,
        place: Place,
        segment: u32,
        (at, frame, low): (u32, Framed, u32),
        limit: u32,
    ) -> Result<bool, MediumError> {
        if frame.head.kind != Kind::Data {
            return Ok(true);
        }
        // No frame is smaller than its head and its CRC.
        let most = at.saturating_sub(place.at) / 8;
        let ahead = |state: &State<P, C>, partition: u8, low: u32| low.wrapping_sub(state.next(partition) as u32);
        let by = ahead(&self.state, frame.head.partition, low);
        if by > most {
            return Ok(false);
        }
        if by <= LIKELY {
            return Ok(true);
        }
        let place = Place { at: frame.end, ..place };
        Ok(match self.media.look(segment, frame.end, limit)? {
            Word::Frame(next) => match (self.media.sums(segment, place, next)?, next.head.kind) {
                (Some((crc, said)), Kind::Change) => trailer(crc, Kind::Change, 0) == said,
                (Some((crc, said)), Kind::Data) if next.head.partition == frame.head.partition => {
                    offset_of(said, crc) == low.wrapping_add(1)
                }
                (Some((crc, said)), Kind::Data) => {
                    ahead(&self.state, next.head.partition, offset_of(said, crc)) <= most
                }
                (None, _) => false,
            },
            Word::Other(word) => self.is_step_from_here(place, word),
            Word::Blank | Word::Unreadable => false,
        })
    }

    /// Whether something was programmed behind the frame at `place`, which does not verify: flash that was cut is blank there.
    fn goes_on(&mut self, place: Place, segment: u32, limit: u32) -> Result<bool, MediumError> {
        let align = self.media.align();
        let mut last = limit;
        let word = loop {
            if last <= place.at {
                return Ok(false);
            }
            last = last.saturating_sub(align);
            match self.media.word(segment, last)? {
                Some(u32::MAX) => {}
                other => break other,
            }
        };
        // A head that a cut left may pass for one of a shorter frame: what is behind that must be something, too.
        let behind = match self.media.look(segment, place.at, limit)? {
            Word::Frame(frame) => match self.media.look(segment, frame.end, limit)? {
                Word::Frame(_) => true,
                Word::Other(word) => self.is_step_from_here(Place { at: frame.end, ..place }, word),
                _ => false,
            },
            _ => false,
        };
        // Without a head to go by, it is known by what it is: the step of a cursor.
        Ok(behind
            || (last > place.at && word.is_some_and(|word| self.is_step_from_here(Place { at: last, ..place }, word))))
    }

    /// The last record of the last segment with records.
    pub(super) fn last_record(&mut self) -> Result<Option<Weak>, MediumError> {
        if self.data.segment == self.tail.segment {
            return Ok(None);
        }
        let Some(begun) = self.begun(self.data.segment)? else { return Ok(None) };
        let last = scan(&mut self.media, &begun, self.data.end, false)?.last;
        Ok(if intact(&mut self.media, last)? { last } else { None })
    }

    /// Gives up what is damaged, and makes the journal one that can be written again: what follows the damage in the same
    /// segment is kept, and how many records are lost in between is noted in the journal. Answers how many.
    ///
    /// # Errors
    /// [`super::StoreError`]; [`super::StoreError::Full`] if not even the reserve has room.
    pub fn salvage(&mut self) -> Result<u64, super::StoreError> {
        let Stand::Damaged(at) = self.stand else { return Ok(0) };
        let before = self.state.nexts();
        let mut lost = 0_u64;
        if at.segment == self.tail.segment {
            let (segment, place) = (self.tail.segment, self.place());
            let limit = self.media.geometry.segment_bytes;
            let mut from = at.to;
            while let Some((found, frame, low)) = self.later_frame(place, segment, from, limit)? {
                if frame.head.kind == Kind::Data {
                    let partition = frame.head.partition;
                    let next = self.state.next(partition);
                    let skipped = u64::from(low.wrapping_sub(next as u32));
                    lost = lost.saturating_add(skipped);
                    self.state.appended(partition, skipped.saturating_add(1));
                    self.data = Data { segment, end: frame.end };
                } else {
                    let mut body = [0; MAX_CHANGE];
                    let place = Place { at: found, ..place };
                    let read = self.media.read_body(segment, place, frame, 0, [&mut body, &mut []])?;
                    let change = body.get(..frame.head.len.min(MAX_CHANGE)).and_then(Change::parse);
                    if let (true, Some(change)) = (read, change) {
                        let mut state = self.state.clone();
                        if state.apply(change) {
                            self.state = state;
                        }
                    }
                }
                from = frame.end;
                (self.tail.at, self.tail.vain) = (frame.end, false);
            }
        }
        self.stand = Stand::Going;
        (self.weak, self.moved) = (None, None);
        self.tail.synced = true;
        self.advance(false, true)?;
        for (partition, from) in before.into_iter().enumerate().take(self.state.partitions.len()) {
            #[allow(clippy::cast_possible_truncation, reason = "at most 255 partitions")]
            let partition = partition as u8;
            let to = self.state.next(partition);
            if to != from {
                self.change(Change::Gap { partition, from, to })?;
            }
        }
        self.sync()?;
        self.recovery.damage = None;
        Ok(lost)
    }
}

/// Whether the last record verifies; that there is none will do.
fn intact<S: Store>(media: &mut Media<S>, last: Option<Weak>) -> Result<bool, MediumError> {
    let Some(Weak { origin: Some((segment, place, frame)), offset, .. }) = last else { return Ok(true) };
    media.verified(segment, place, frame, offset)
}

/// A segment's header, whoever's journal it is.
fn found<S: Store, const P: usize, const C: usize>(
    media: &mut Media<S>,
    segment: u32,
    expected: u32,
) -> Result<Option<Begun<P, C>>, OpenError> {
    match media.header(segment, expected)? {
        Found::Header { id, begin, spot, state } => {
            media.id = id;
            Ok(Some(Begun { segment, begin, spot, state }))
        }
        Found::Nothing => Ok(None),
        Found::Unfit(error) => Err(error),
    }
}

/// Why there is no newest segment.
fn no_journal<S: Store>(media: &mut Media<S>) -> Result<OpenError, MediumError> {
    let unreadable = media.geometry.rewritable && media.missed;
    for segment in 0..media.geometry.segments {
        if let Some(found) = media.other_version(segment)? {
            return Ok(OpenError::Version { found });
        }
    }
    // Where no cut can make that so, there may well be one.
    Ok(if unreadable { OpenError::Medium(MediumError::Unreadable) } else { OpenError::None })
}

/// The newest segment, by its label, and its number.
fn newest_of<S: Store>(media: &mut Media<S>) -> Result<Option<(u32, u32)>, MediumError> {
    let segments = media.geometry.segments;
    let last = segments.wrapping_sub(1);
    let mut best = match media.label(0)? {
        Some(first) => {
            // Numbers rise from here up to the newest one; what is behind it is a lap older, or was never begun.
            let (mut low, mut high) = (0, segments);
            let mut newest = first;
            while high.wrapping_sub(low) > 1 {
                let middle = low.wrapping_add(high.wrapping_sub(low) / 2);
                match media.label(middle)? {
                    Some(number) if number >= first => (low, newest) = (middle, number),
                    _ => high = middle,
                }
            }
            Some((low, newest))
        }
        None => media.label(last)?.map(|number| (last, number)),
    };
    if best.is_none() {
        for segment in 0..segments {
            if let Some(number) = media.label(segment)?
                && best.is_none_or(|(_, newest)| number > newest)
            {
                best = Some((segment, number));
            }
        }
    }
    if media.missed && media.geometry.rewritable {
        // The way may have led elsewhere.
        for segment in 0..segments {
            if let Some(number) = media.label(segment)?
                && best.is_none_or(|(_, newest)| number > newest)
            {
                best = Some((segment, number));
            }
        }
    }
    let Some(mut newest) = best else { return Ok(None) };
    // The reserve may be used in turns; and a label on the way may be torn, or damaged.
    for _ in 0..segments {
        let before = media.before(newest.0);
        match media.label(before)? {
            Some(number) if number > newest.1 => newest = (before, number),
            _ => break,
        }
    }
    let mut at = newest.0;
    let mut missing = 0_u32;
    for _ in 0..segments {
        if missing == 2 {
            break;
        }
        at = media.behind(at);
        match media.label(at)? {
            Some(number) if number > newest.1 => (newest, missing) = ((at, number), 0),
            _ => missing = missing.wrapping_add(1),
        }
    }
    Ok(Some(newest))
}

/// The newest segment before one whose header does not verify.
fn before<S: Store, const P: usize, const C: usize>(
    media: &mut Media<S>,
    segment: u32,
    number: u32,
) -> Result<Option<Begun<P, C>>, OpenError> {
    let mut best: Option<Begun<P, C>> = None;
    // Most often it is the one before, or, when the reserve is used in turns, the one behind.
    for near in [media.before(segment), media.behind(segment)] {
        if let Some(begun) = found::<S, P, C>(media, near, number.wrapping_sub(1))?
            && begun.begin.number == number.wrapping_sub(1)
        {
            return Ok(Some(begun));
        }
    }
    for other in (0..media.geometry.segments).filter(|other| *other != segment) {
        let Some(found_number) = media.label(other)? else { continue };
        if found_number < number && best.as_ref().is_none_or(|best| found_number > best.begin.number) {
            best = found(media, other, found_number)?.or(best);
        }
    }
    Ok(best)
}

/// Whether anything was stored behind a header that does not verify.
fn has_content<S: Store, const P: usize, const C: usize>(
    media: &mut Media<S>,
    segment: u32,
    number: u32,
    before: &Begun<P, C>,
) -> Result<bool, MediumError> {
    let limit = media.geometry.segment_bytes;
    let align = media.align();
    let told = scan(media, before, limit, true)?;
    let header = told.state.header_bytes(align as usize) as u32;
    if !media.geometry.rewritable {
        // Where the last segment ended torn, the header may have had one more cursor: one that joined when power went, was
        // there when this segment was begun, and is not any more. Its header was longer then.
        let slack =
            if told.blank { 0 } else { (CURSOR_BYTES.wrapping_add(padded(MAX_NAME)) as u32).wrapping_add(align) };
        let anchor = media.word(segment, header.saturating_sub(CRC_BYTES as u32))?.unwrap_or(0);
        // It was erased before its label was written, so whatever is not blank was written since; but for zeros, which
        // another erasure of it may have begun with, if its own begin was cut. No head has a byte of zeros or ones first.
        let plain = |word: u32| word.to_le_bytes().into_iter().all(|byte| matches!(byte, 0 | u8::MAX));
        let mut at = header;
        while at < limit {
            let place = Place { id: media.id, number, at, anchor };
            let is_content = match media.word(segment, at)? {
                Some(word) if plain(word) => false,
                word if at.wrapping_sub(header) < slack => {
                    matches!(media.look(segment, at, limit)?, Word::Frame(_))
                        || word.is_some_and(|word| told.state.is_near_step(|slot| stepped(place.seed(), word, slot)))
                }
                _ => true,
            };
            if is_content {
                return Ok(true);
            }
            at = at.wrapping_add(align);
        }
        return Ok(false);
    }
    // No cut makes it unreadable.
    if !media.is_readable(segment, 0, limit)? {
        return Ok(true);
    }
    // A label without its header was written together with it.
    let nonce = super::layout::NONCE_BYTES as u32;
    let header = header.saturating_add(nonce);
    let Some(anchor) = media.word(segment, header.saturating_sub(4))? else { return Ok(true) };
    let mut at = header;
    while at < limit && header > TEARS_AT {
        if let Word::Frame(frame) = media.look(segment, at, limit)?
            && frame.head.kind == Kind::Change
            && media.verified(segment, Place { id: media.id, number, at, anchor }, frame, 0)?
        {
            return Ok(true);
        }
        at = at.wrapping_add(align);
    }
    Ok(header <= TEARS_AT)
}

/// How many records damage may have taken for the one behind it to be known by itself.
const LIKELY: u32 = 16;

/// What a rewritable medium writes as a whole, or not.
const TEARS_AT: u32 = 512;

/// Goes through the frames of a segment. A thorough scan verifies each; else records are stepped over.
fn scan<S: Store, const P: usize, const C: usize>(
    media: &mut Media<S>,
    begun: &Begun<P, C>,
    limit: u32,
    thorough: bool,
) -> Result<Scan<P, C>, MediumError> {
    let segment = begun.segment;
    let mut place = Place { id: media.id, number: begun.begin.number, at: begun.spot.at, anchor: begun.spot.anchor };
    let mut found = Scan {
        state: begun.state.clone(),
        at: place.at,
        broken: place.at,
        blank: false,
        last: None,
        copy: None,
        frames: false,
        records: None,
        closed: false,
        moved: None,
    };
    // Records that count only together with the next one: their partition, and how many.
    let mut group: Option<(u8, u64)> = None;
    loop {
        let (mut last, mut closed, mut moved) = (None, false, None);
        match media.look(segment, place.at, limit)? {
            Word::Blank => {
                found.blank = group.is_none();
                break;
            }
            Word::Frame(frame) if frame.head.kind == Kind::Data => {
                let partition = frame.head.partition;
                let (of, counted) = group.unwrap_or((partition, 0));
                let offset = found.state.next(partition).wrapping_add(counted);
                if of != partition
                    || found.state.span(partition).is_none()
                    || (thorough && !media.verified(segment, place, frame, offset)?)
                {
                    break;
                }
                let origin = Some((segment, place, frame));
                last = Some(Weak { partition, tag: frame.head.tag, offset, len: frame.head.len, origin, copy: None });
                place.at = frame.end;
                if frame.head.more {
                    group = Some((partition, counted.wrapping_add(1)));
                    continue;
                }
                found.state.appended(partition, counted.wrapping_add(1));
                group = None;
                found.records = Some(place.at);
            }
            _ if group.is_some() => break,
            Word::Frame(frame) => {
                let mut body = [0; MAX_CHANGE];
                if !media.read_body(segment, place, frame, 0, [&mut body, &mut []])? {
                    break;
                }
                let body = body.get(..frame.head.len.min(MAX_CHANGE)).unwrap_or_default();
                let Some(change) = Change::parse(body) else { break };
                closed = matches!(change, Change::Close { tables } if tables == found.state.crc());
                let mut state = found.state.clone();
                if !state.apply(change) {
                    break;
                }
                moved = state.moved_from(&found.state);
                found.state = state;
                if let (false, Change::Refresh { tag, partition, offset }) = (found.frames, change) {
                    let len = frame.head.len.saturating_sub(REFRESH);
                    found.copy = Some(Weak { partition, tag, offset, len, origin: None, copy: Some((segment, place)) });
                }
                place.at = frame.end;
            }
            Word::Other(word) => {
                let seed = place.seed();
                let mut cursors = found.state.cursors.iter().enumerate();
                let stepped = cursors.find(|(slot, cursor)| {
                    cursor.as_ref().is_some_and(|cursor| step(seed, *slot, cursor.committed) == word)
                });
                let Some((slot, Some(cursor))) = stepped else { break };
                let partition = cursor.partition;
                moved = found.state.span(partition).map(|span| Moved { partition, head: span.head });
                found.state.stepped(slot);
                place.at = place.at.wrapping_add(media.align());
            }
            Word::Unreadable => break,
        }
        (found.at, found.frames, found.last, found.closed, found.moved) = (place.at, true, last, closed, moved);
    }
    found.broken = place.at;
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]
mod tests {
    use super::super::frame::{Head, frame_bytes};
    use super::super::journal::JournalConfig;
    use super::*;

    /// Files in memory, whose bytes are simply written.
    #[derive(Clone)]
    struct Files([u8; 4 * SEGMENT as usize]);

    const SEGMENT: u32 = 4096;

    impl Files {
        fn part(&mut self, segment: u32, at: u32, len: usize) -> &mut [u8] {
            let from = (segment * SEGMENT + at) as usize;
            &mut self.0[from..from + len]
        }
    }

    impl Store for Files {
        fn geometry(&self) -> Geometry {
            Geometry::files(4, SEGMENT)
        }

        fn read(&mut self, segment: u32, at: u32, into: &mut [u8]) -> Result<(), MediumError> {
            into.copy_from_slice(self.part(segment, at, into.len()));
            Ok(())
        }

        fn program(&mut self, segment: u32, at: u32, bytes: &[u8]) -> Result<(), MediumError> {
            self.part(segment, at, bytes.len()).copy_from_slice(bytes);
            Ok(())
        }

        fn erase(&mut self, _: u32) -> Result<(), MediumError> {
            Ok(())
        }

        fn sync(&mut self) -> Result<(), MediumError> {
            Ok(())
        }
    }

    type Log = Journal<Files, 1, 1>;

    /// A record of that offset, forged so that it verifies.
    fn forge(log: &mut Log, at: u32, offset: u64) -> u32 {
        let head = Head { kind: Kind::Data, after_sync: true, more: false, tag: 0, partition: 0, len: 16 };
        let place = Place { at, ..log.place() };
        let words = (head.kind, head.words(false));
        log.media.append(log.tail.segment, (at, place.seed()), words, &[&[7; 16]], offset).unwrap();
        at + frame_bytes(false, 16, 4)
    }

    /// Of what an earlier lap left behind the end, one frame in a million has a CRC that some offset explains.
    #[test]
    fn what_an_earlier_lap_left_is_no_damage() {
        let mut log = Log::format(Files([0; 4 * SEGMENT as usize]), JournalConfig::new(1)).unwrap();
        for _ in 0..5 {
            log.append(0, 0, &[&[1; 16]]).unwrap();
        }
        log.sync().unwrap();
        let end = log.tail.at;
        // Where, which offsets one behind the other, and whether they were written here once.
        for (behind, offsets, is_damage) in [
            (0x800, &[305][..], false),
            (0x800, &[4], false),
            (0x800, &[100], false),
            (0x20, &[100, 101], false),
            (0x800, &[100, 102], false),
            (0x800, &[100, 101], true),
            (0x800, &[6], true),
            (0x20, &[6], true),
        ] {
            let mut forged = Log::open(log.store().clone()).unwrap();
            assert_eq!((forged.tail.at, forged.recovery().damage), (end, None));
            let from = end + behind;
            offsets.iter().fold(from, |at, offset| forge(&mut forged, at, *offset));
            let forged = Log::open(forged.into_store()).unwrap();
            let damage = is_damage.then_some(Extent { segment: 0, from: end, to: from });
            assert_eq!(forged.recovery().damage, damage, "{behind:#x} {offsets:?}");
        }
    }
}
