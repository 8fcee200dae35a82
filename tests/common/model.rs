//! The model of a ring, and random operations on both: see `tests/model.rs`. What the ring lies in is a parameter.

use super::common::{self, Rng, image, is_payload, payload, scale, with_seeds};
use fabric_mq::lease::{Lease, Lend, Trust};
use fabric_mq::ring::{Keep, Overwrite, Reader, Retain, Ring, RingConfig, SharedWriter, Start, Writer};
use fabric_mq::{JoinError, Offset, ReadError, SeekError, WriteError};
use std::collections::VecDeque;
use std::sync::Arc;

/// Where the ring of a run lies.
pub(crate) trait Bed: Sized {
    type Lease: Lease + std::fmt::Debug;
    /// Zeroed bytes.
    fn new(len: usize) -> Self::Lease;
    /// These bytes, as somebody left them who died.
    fn of(image: &[u8]) -> Self::Lease;
    /// The bytes, as whoever comes next would find them.
    fn image(lease: &Self::Lease) -> Vec<u8>;
}

type Rc<K, B> = Arc<Ring<<B as Bed>::Lease, K>>;
type Sink<'a> = &'a mut dyn FnMut(u64, u8, &[u8]);

/// What only one of the two kinds of ring can do.
pub(crate) trait Flavor<B: Bed>: Keep + Sized {
    fn read_in_place(reader: &mut Reader<Rc<Self, B>>, sink: Sink<'_>) -> Result<usize, ReadError>;
    fn read_many(reader: &mut Reader<Rc<Self, B>>, max: usize, sink: Sink<'_>) -> Result<usize, ReadError>;
    fn reserve(
        writer: &mut Writer<Rc<Self, B>>,
        len: usize,
        commit: Option<(u8, &[u8])>,
    ) -> Result<Option<Offset>, WriteError>;
}

impl<B: Bed> Flavor<B> for Retain
where
    <B::Lease as Lease>::Trust: Lend,
{
    fn read_in_place(reader: &mut Reader<Rc<Self, B>>, sink: Sink<'_>) -> Result<usize, ReadError> {
        let Some(record) = reader.next()? else { return Ok(0) };
        sink(record.offset().value(), record.tag(), record.payload());
        Ok(1)
    }
    fn read_many(reader: &mut Reader<Rc<Self, B>>, max: usize, sink: Sink<'_>) -> Result<usize, ReadError> {
        reader.for_each(max, |record| sink(record.offset().value(), record.tag(), record.payload()))
    }
    fn reserve(
        writer: &mut Writer<Rc<Self, B>>,
        len: usize,
        commit: Option<(u8, &[u8])>,
    ) -> Result<Option<Offset>, WriteError> {
        let mut grant = writer.reserve(len)?;
        assert_eq!(grant.bytes().len(), len);
        grant.bytes().fill(0xee);
        let Some((tag, bytes)) = commit else { return Ok(None) };
        grant.bytes()[..bytes.len()].copy_from_slice(bytes);
        if tag == 0 { grant.commit(bytes.len()).map(Some) } else { grant.commit_tagged(tag, bytes.len()).map(Some) }
    }
}

impl<B: Bed> Flavor<B> for Overwrite {
    fn read_in_place(_: &mut Reader<Rc<Self, B>>, _: Sink<'_>) -> Result<usize, ReadError> {
        unreachable!("not asked of this kind")
    }
    fn read_many(_: &mut Reader<Rc<Self, B>>, _: usize, _: Sink<'_>) -> Result<usize, ReadError> {
        unreachable!("not asked of this kind")
    }
    fn reserve(_: &mut Writer<Rc<Self, B>>, _: usize, _: Option<(u8, &[u8])>) -> Result<Option<Offset>, WriteError> {
        unreachable!("not asked of this kind")
    }
}

enum Producer<K: Keep, B: Bed> {
    None,
    One(Writer<Rc<K, B>>),
    Many(SharedWriter<Rc<K, B>>),
}

struct Record {
    key: u64,
    len: usize,
    tag: u8,
    start: u64,
}

/// A registered reader.
struct Place<K: Keep, B: Bed> {
    name: String,
    /// The first offset that it holds.
    told: u64,
    live: Option<Live<K, B>>,
}

struct Live<K: Keep, B: Bed> {
    reader: Reader<Rc<K, B>>,
    next: u64,
    pub(crate) lost: u64,
}

/// Where a writer stands: the log ends at `committed`, and what is under way at `next`.
#[derive(Clone, Copy)]
struct Stand {
    committed: u64,
    behind: u64,
    next: u64,
    position: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expect {
    At { start: u64, end: u64 },
    Full,
    TooLarge,
}

#[derive(Default)]
pub(crate) struct Count {
    pub(crate) ops: u64,
    pub(crate) written: u64,
    pub(crate) read: u64,
    pub(crate) full: u64,
    lost: u64,
    pub(crate) batches: u64,
    pub(crate) attached: u64,
}

impl Count {
    fn add(&mut self, other: &Self) {
        self.ops += other.ops;
        self.written += other.written;
        self.read += other.read;
        self.full += other.full;
        self.lost += other.lost;
        self.batches += other.batches;
        self.attached += other.attached;
    }
    pub(crate) fn print(&self, what: &str) {
        println!(
            "{what}: passed {} operations ({} records written, {} read, {} refused as full, {} overrun, {} batches, {} attached again)",
            self.ops, self.written, self.read, self.full, self.lost, self.batches, self.attached
        );
    }
}

struct Model<K: Flavor<B>, B: Bed> {
    rng: Rng,
    slots: u64,
    units: u64,
    max_record: usize,
    limit: usize,
    max_lag: u64,
    ring: Option<Rc<K, B>>,
    producer: Producer<K, B>,
    places: Vec<Place<K, B>>,
    /// Records from `base` to the end of the log, those before the head too until they are dropped.
    log: VecDeque<Record>,
    base: u64,
    head: u64,
    next: u64,
    position: u64,
    /// Whether the slot of the last record was used by a batch that was taken back: an empty log then has no position.
    adrift: bool,
    refused: u64,
    keys: u64,
    trace: VecDeque<(u64, &'static str, u64, u64)>,
    count: Count,
}

impl<K: Flavor<B>, B: Bed> Drop for Model<K, B> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "slots {} units {} readers {} max lag {} | head {} next {} position {} | held {:?}",
                self.slots,
                self.units,
                self.limit,
                self.max_lag,
                self.head,
                self.next,
                self.position,
                self.places.iter().map(|p| (&p.name, p.told, p.live.is_some())).collect::<Vec<_>>()
            );
            for (op, what, a, b) in &self.trace {
                eprintln!("  op {op}: {what} {a} {b}");
            }
        }
    }
}

impl<K: Flavor<B>, B: Bed> Model<K, B> {
    fn new(seed: u64, mut rng: Rng) -> Self {
        let slots = 1_u32 << rng.within(1, 7);
        let bytes = 16_u32 << rng.below(8);
        let readers = rng.within(1, 4) as u8;
        let max_lag = if K::OVERWRITE && rng.one_in(2) { rng.below(u64::from(slots) * 2) as u32 } else { 0 };
        let config = RingConfig::new(slots, bytes).with_readers(readers).with_max_lag(max_lag);
        let lease = B::new(config.lease_bytes().unwrap());
        let mut ring: Ring<_, K> = Ring::format(lease, config).unwrap();
        // Begin near an edge of the counters now and then.
        let (mut offset, mut position) = (0, 0);
        if rng.one_in(2) {
            offset = *rng.pick(&[0, (1 << 31) - 20, (1 << 32) - 30, (1 << 32) + 7, (7 << 32) - 90, (1 << 63) - 40]);
            position = *rng.pick(&[0, 3, 0x7fff_fff0, 0xffff_ffe0, 0xffff_ff01]);
            let mut bytes = B::image(&ring.into_lease());
            image::start_at(&mut bytes, offset, position);
            ring = Ring::attach(B::of(&bytes)).unwrap();
        }
        Self {
            slots: u64::from(slots),
            units: u64::from(bytes) / 8,
            max_record: bytes as usize / 2,
            limit: usize::from(readers),
            max_lag: u64::from(max_lag),
            ring: Some(Arc::new(ring)),
            producer: Producer::None,
            places: Vec::new(),
            log: VecDeque::new(),
            base: offset,
            head: offset,
            next: offset,
            // The position of an empty log that begins at offset 0 is 0.
            position: if offset == 0 { 0 } else { u64::from(position) },
            adrift: false,
            refused: 0,
            keys: seed,
            trace: VecDeque::new(),
            count: Count::default(),
            rng,
        }
    }

    fn ring(&self) -> &Rc<K, B> {
        self.ring.as_ref().unwrap()
    }

    fn note(&mut self, what: &'static str, a: u64, b: u64) {
        if self.trace.len() == 40 {
            self.trace.pop_front();
        }
        self.trace.push_back((self.count.ops, what, a, b));
    }

    fn record(&self, offset: u64) -> &Record {
        &self.log[(offset - self.base) as usize]
    }

    // ---- what is documented of room

    fn place(&self, position: u64, len: usize) -> (u64, u64) {
        let units = (len as u64).div_ceil(8);
        let index = position % self.units;
        let start = if index + units > self.units { position + self.units - index } else { position };
        (start, start + units)
    }

    /// How much room there is when nothing before `oldest` is needed: slots and units.
    fn room(&self, oldest: u64, stand: Stand) -> (u64, u64) {
        let start = if oldest == stand.next {
            stand.position
        } else if oldest == stand.committed {
            stand.behind
        } else {
            self.record(oldest).start
        };
        (self.slots.saturating_sub(stand.next - oldest), self.units.saturating_sub(stand.position - start))
    }

    fn has(&self, oldest: u64, stand: Stand, needed: u64) -> bool {
        let (slots, units) = self.room(oldest, stand);
        slots > 0 && units >= needed
    }

    fn lowest(&self) -> Option<u64> {
        self.places.iter().map(|place| place.told.max(self.head)).min()
    }

    /// The highest offset that may become the head.
    fn bound(&self, committed: u64) -> u64 {
        if !K::OVERWRITE {
            return self.lowest().unwrap_or(self.head);
        }
        if self.max_lag == 0 {
            return committed;
        }
        let waited = committed.saturating_sub(self.max_lag).max(self.head);
        self.lowest().map_or(committed, |lowest| lowest.max(waited))
    }

    fn expect(&self, stand: Stand, len: usize) -> Expect {
        if len > self.max_record {
            return Expect::TooLarge;
        }
        let (start, end) = self.place(stand.position, len);
        if self.has(self.bound(stand.committed), stand, end - stand.position) {
            Expect::At { start, end }
        } else {
            Expect::Full
        }
    }

    /// Checks the head after a write, and takes it over.
    fn check_head(&mut self, stand: Stand, expect: Expect) {
        let head = self.ring().head().value();
        let bound = self.bound(stand.committed);
        assert!(head >= self.head, "the head fell from {} to {head}", self.head);
        assert!(head <= bound.max(self.head), "the head rose to {head}, past {bound}");
        match expect {
            Expect::TooLarge => assert_eq!(head, self.head, "a record that is too large changes nothing"),
            Expect::Full if !K::OVERWRITE => assert_eq!(head, bound, "full, but the head does not show what is held"),
            Expect::Full => assert_eq!(head, self.head, "nothing is given up for a record that is refused"),
            Expect::At { end, .. } => {
                let needed = end - stand.position;
                if !K::OVERWRITE {
                    // Nothing to add: what lies below the bound is held by nobody.
                } else if head == self.head {
                    assert!(self.has(head, stand, needed), "written without room");
                } else {
                    // What is needed, and an eighth of the slots or of the bytes, whichever is less.
                    let (eighth_slots, eighth_units) = ((self.slots / 8).max(1), (self.units / 8).max(1));
                    let before = self.room(self.head, stand).1;
                    let enough = (self.head..bound).find(|to| {
                        self.has(*to, stand, needed)
                            && (to - self.head >= eighth_slots || self.room(*to, stand).1 - before >= eighth_units)
                    });
                    assert!(self.has(head, stand, needed), "written without room");
                    assert!(!self.has(self.head, stand, needed), "records were given up though there was room");
                    assert_eq!(
                        head,
                        enough.unwrap_or(bound),
                        "gave up more or less than an eighth from {} on",
                        self.head
                    );
                }
            }
        }
        self.head = head;
        while self.base < self.head && !self.log.is_empty() {
            self.log.pop_front();
            self.base += 1;
        }
        self.base = self.base.max(self.head.min(self.next));
    }

    fn check_answer(&mut self, expect: Expect, answer: Result<Offset, WriteError>, offset: u64, len: usize) -> bool {
        match expect {
            Expect::At { .. } => {
                assert_eq!(answer, Ok(Offset::new(offset)), "there is room for {len} bytes");
                true
            }
            Expect::Full => {
                assert_eq!(answer, Err(WriteError::Full), "there is no room for {len} bytes");
                self.refused += 1;
                self.count.full += 1;
                false
            }
            Expect::TooLarge => {
                assert_eq!(answer, Err(WriteError::TooLarge { len, max: self.max_record }));
                false
            }
        }
    }

    // ---- writing

    fn size(&mut self) -> usize {
        let max = self.max_record;
        match self.rng.below(16) {
            0 => 0,
            1 => 1,
            2 => max,
            3 => max + 1,
            4 => max - 1,
            5 => self.rng.size(max + 1),
            6 => 7.min(max),
            7 => 9.min(max),
            8 => max / 2 + 1,
            _ => {
                let small = self.rng.below(33) as usize;
                small.min(max)
            }
        }
    }

    fn tag(&mut self) -> u8 {
        if self.rng.one_in(2) { 0 } else { self.rng.next() as u8 }
    }

    fn stand(&self) -> Stand {
        Stand { committed: self.next, behind: self.position, next: self.next, position: self.position }
    }

    fn claim(&mut self) {
        let ring = Arc::clone(self.ring());
        let one = self.rng.one_in(2);
        self.note("claim", u64::from(one), 0);
        self.producer = if one {
            Producer::One(Writer::claim(ring).unwrap())
        } else {
            Producer::Many(SharedWriter::claim(ring).unwrap())
        };
        if self.adrift && self.next == self.head {
            // An empty log has no payload to spare: it begins again at the ring's start.
            self.position = 0;
        }
        if self.adrift {
            assert_eq!(self.next, self.head, "a batch can reach the last slot of an empty log alone");
            self.adrift = false;
        }
    }

    /// Writes one record in a random way through whoever holds the ring.
    fn write(&mut self) {
        let (len, tag) = (self.size(), self.tag());
        self.keys += 1;
        let (key, stand) = (self.keys, self.stand());
        let bytes = payload(key, len);
        let way = self.rng.below(4);
        let (a, b) = (self.rng.size(len + 1), self.rng.size(len + 1));
        let parts = [&bytes[..a.min(b)], &bytes[a.min(b)..a.max(b)], &[], &bytes[a.max(b)..]];
        let extra = self.rng.size(20);
        self.note("write", len as u64, way);
        let mut reserved = len;
        let (tag, answer) = match (&mut self.producer, way) {
            (Producer::One(writer), 0) => (0, writer.write(&bytes)),
            (Producer::One(writer), 1) => (tag, writer.write_tagged(tag, &bytes)),
            (Producer::One(writer), 2) if !K::OVERWRITE => {
                reserved = len + extra;
                let answer = K::reserve(writer, reserved, Some((tag, &bytes)));
                (tag, answer.map(|offset| offset.expect("committed")))
            }
            (Producer::One(writer), _) => (tag, writer.write_parts(tag, &parts)),
            (Producer::Many(writer), 0) => (0, writer.write(&bytes)),
            (Producer::Many(writer), 1) => (tag, writer.write_tagged(tag, &bytes)),
            (Producer::Many(writer), _) => (tag, writer.write_parts(tag, &parts)),
            (Producer::None, _) => return,
        };
        // Room is found for what is reserved; used is what is committed, from the same start.
        let expect = self.expect(stand, reserved);
        if self.check_answer(expect, answer, self.next, reserved) {
            let Expect::At { start, .. } = expect else { unreachable!() };
            self.check_head(stand, expect);
            self.commit(Record { key, len, tag, start });
        } else {
            self.check_head(stand, expect);
        }
    }

    fn commit(&mut self, record: Record) {
        self.position = record.start + (record.len as u64).div_ceil(8);
        self.log.push_back(record);
        self.next += 1;
        self.adrift = false;
        self.count.written += 1;
    }

    fn reserve_and_drop(&mut self) {
        if K::OVERWRITE {
            return;
        }
        let (len, stand) = (self.size(), self.stand());
        self.note("reserve and drop", len as u64, 0);
        let Producer::One(writer) = &mut self.producer else { return };
        let answer = K::reserve(writer, len, None).map(|_| Offset::new(self.next));
        let expect = self.expect(stand, len);
        self.check_answer(expect, answer, self.next, len);
        self.check_head(stand, expect);
    }

    /// A batch, with readers at work meanwhile; published, dropped, or cut off by a crash.
    fn batch(&mut self) {
        let Producer::One(mut writer) = std::mem::replace(&mut self.producer, Producer::None) else { unreachable!() };
        let wanted = self.rng.below(12).min(self.slots + 2);
        self.note("batch of", wanted, 0);
        self.count.batches += 1;
        let mut stand = self.stand();
        let mut added: Vec<Record> = Vec::new();
        let mut batch = writer.batch();
        for _ in 0..wanted {
            let (len, tag) = (self.size(), self.tag());
            self.keys += 1;
            let key = self.keys;
            let bytes = payload(key, len);
            self.note("  add", len as u64, 0);
            let cut = self.rng.size(len + 1);
            let (tag, answer) = match self.rng.below(3) {
                0 => (0, batch.write(&bytes)),
                1 => (tag, batch.write_tagged(tag, &bytes)),
                _ => (tag, batch.write_parts(tag, &[&bytes[..cut], &bytes[cut..]])),
            };
            let expect = self.expect(stand, len);
            let written = self.check_answer(expect, answer, stand.next, len);
            self.check_head(stand, expect);
            if let (true, Expect::At { start, end }) = (written, expect) {
                added.push(Record { key, len, tag, start });
                stand.next += 1;
                stand.position = end;
            }
            assert_eq!((batch.len(), batch.is_empty()), (added.len(), added.is_empty()));
            if self.rng.one_in(3) && !self.places.is_empty() {
                self.read_op();
            }
            assert_eq!(self.ring().tail().value(), self.next, "nothing of a batch shows before it is published");
        }
        let lapped = added.len() as u64 >= self.slots;
        match self.rng.below(8) {
            way @ 0..=2 => {
                self.note("  drop or forget", added.len() as u64, way);
                if way == 0 {
                    std::mem::forget(batch);
                } else {
                    drop(batch);
                }
                self.adrift |= lapped;
                self.producer = Producer::One(writer);
            }
            3 => {
                self.note("  crash", added.len() as u64, 0);
                let bytes = B::image(self.ring().lease());
                drop(batch);
                drop(writer);
                self.adrift |= lapped;
                self.crash(&bytes);
            }
            _ => {
                self.note("  publish", added.len() as u64, 0);
                assert_eq!(batch.publish(), Ok(added.len()));
                for record in added {
                    self.commit(record);
                }
                assert_eq!(writer.next_offset().value(), self.next);
                self.producer = Producer::One(writer);
            }
        }
    }

    fn drop_writer(&mut self) {
        self.note("drop writer", 0, 0);
        self.producer = Producer::None;
    }

    // ---- reading

    fn check_record(log: &VecDeque<Record>, base: u64, expected: u64, offset: u64, tag: u8, bytes: &[u8]) {
        assert_eq!(offset, expected, "records come in order");
        let record = &log[(offset - base) as usize];
        assert_eq!((bytes.len(), tag), (record.len, record.tag), "record {offset}");
        assert!(is_payload(bytes, record.key), "the bytes of record {offset}");
    }

    fn read_op(&mut self) {
        let index = self.rng.size(self.places.len());
        let Some(mut live) = self.places[index].live.take() else { return };
        let mut told = self.places[index].told;
        match self.rng.below(12) {
            0..=2 if !K::OVERWRITE => self.read_next(index, &mut live, &mut told),
            3..=4 if !K::OVERWRITE => {
                let max = self.rng.size(2 * self.slots as usize);
                self.note("for_each", index as u64, max as u64);
                let expected = (self.next - live.next).min(max as u64);
                let (mut at, log, base) = (live.next, &self.log, self.base);
                let answer = K::read_many(&mut live.reader, max, &mut |offset, tag, bytes| {
                    Self::check_record(log, base, at, offset, tag, bytes);
                    at += 1;
                });
                assert_eq!(answer, Ok(expected as usize));
                assert_eq!(at, live.next + expected);
                live.next += expected;
                self.count.read += expected;
                told = live.next;
            }
            0..=6 => {
                let cramped = self.rng.one_in(4);
                self.copy_next(index, &mut live, &mut told, cramped);
            }
            7 => {
                self.note("release", index as u64, 0);
                live.reader.release();
                told = live.next;
            }
            8 => self.seek(index, &mut live, &mut told),
            9 => {
                assert_eq!(live.reader.lag(), self.next.saturating_sub(live.next));
                assert_eq!(live.reader.next_offset().value(), live.next);
                assert_eq!(live.reader.lost(), live.lost);
            }
            10 if self.rng.one_in(3) => {
                self.note("park", index as u64, 0);
                live.reader.park();
                self.places[index].told = live.next;
                return;
            }
            11 if self.rng.one_in(4) => {
                self.note("leave", index as u64, 0);
                drop(live);
                self.places.remove(index);
                return;
            }
            _ => {}
        }
        assert_eq!(live.reader.next_offset().value(), live.next);
        self.places[index].told = told;
        self.places[index].live = Some(live);
    }

    /// `next`, and while its record is held, the writer does its worst.
    fn read_next(&mut self, index: usize, live: &mut Live<K, B>, told: &mut u64) {
        self.note("next", index as u64, 0);
        *told = live.next;
        let worst = if self.rng.one_in(3) { self.rng.below(2 * self.slots) } else { 0 };
        let Live { reader, next, .. } = live;
        if *next == self.next {
            assert_eq!(K::read_in_place(reader, &mut |offset, _, _| panic!("a record {offset} from nowhere")), Ok(0));
            return;
        }
        self.places[index].told = *told;
        let expected = *next;
        let answer = K::read_in_place(reader, &mut |offset, tag, bytes| {
            Self::check_record(&self.log, self.base, expected, offset, tag, bytes);
            let before = bytes.to_vec();
            for _ in 0..worst {
                self.write();
            }
            assert!(std::hint::black_box(bytes) == before, "record {offset} changed while it was held");
        });
        assert_eq!(answer, Ok(1));
        *next += 1;
        self.count.read += 1;
    }

    fn copy_next(&mut self, index: usize, live: &mut Live<K, B>, told: &mut u64, cramped: bool) {
        let mut buffer = vec![0xaa; if cramped { self.rng.size(self.max_record + 1) } else { self.max_record }];
        self.note("copy_next", index as u64, buffer.len() as u64);
        let answer = live.reader.copy_next(&mut buffer);
        if K::OVERWRITE && self.head > live.next {
            let lost = self.head - live.next;
            assert_eq!(answer, Err(ReadError::Overrun { lost }));
            live.next = self.head;
            live.lost += lost;
            self.count.lost += lost;
        } else if live.next == self.next {
            assert_eq!(answer, Ok(None));
            *told = live.next;
        } else if self.record(live.next).len > buffer.len() {
            assert_eq!(answer, Err(ReadError::Buffer { needed: self.record(live.next).len }));
            assert!(buffer.iter().all(|byte| *byte == 0xaa), "a buffer that is too small is left alone");
        } else {
            let copied = answer.unwrap().expect("a record");
            let (bytes, rest) = buffer.split_at(copied.len());
            Self::check_record(&self.log, self.base, live.next, copied.offset().value(), copied.tag(), bytes);
            assert!(rest.iter().all(|byte| *byte == 0xaa), "bytes behind the record are left alone");
            live.next += 1;
            *told = live.next;
            self.count.read += 1;
        }
    }

    fn some_offset(&mut self) -> u64 {
        self.rng.within(self.head.saturating_sub(3), self.next + 3)
    }

    fn seek(&mut self, index: usize, live: &mut Live<K, B>, told: &mut u64) {
        let to = self.some_offset();
        self.note("seek", index as u64, to);
        let answer = live.reader.seek(Offset::new(to));
        if to < self.head {
            assert_eq!(answer, Err(SeekError::Reclaimed { head: Offset::new(self.head) }));
        } else if to > self.next {
            assert_eq!(answer, Err(SeekError::Beyond { tail: Offset::new(self.next) }));
        } else {
            assert_eq!(answer, Ok(()));
            live.next = to;
            *told = to;
        }
    }

    // ---- readers' places

    fn join(&mut self) {
        let name = format!("reader-{}", self.rng.below(6));
        let start = match self.rng.below(5) {
            0 => Start::Latest,
            1 => Start::At(Offset::new(self.some_offset())),
            2 | 3 => Start::Resume,
            _ => Start::Earliest,
        };
        let found = self.places.iter().position(|place| place.name == name);
        self.note("join", found.map_or(99, |index| index as u64), 0);
        let answer = Reader::join(Arc::clone(self.ring()), &name, start);
        if found.is_some_and(|index| self.places[index].live.is_some()) {
            assert_eq!(answer.map(|_| ()), Err(JoinError::Claimed));
            return;
        }
        if found.is_none() && self.places.len() == self.limit {
            assert_eq!(answer.map(|_| ()), Err(JoinError::ReadersFull { limit: self.limit as u32 }));
            return;
        }
        // In an overwriting ring its first read tells what was lost meanwhile.
        let parked = found.map(|index| self.places[index].told.max(if K::OVERWRITE { 0 } else { self.head }));
        let next = match start {
            Start::Latest => self.next,
            Start::At(to) if to.value() < self.head || to.value() > self.next => {
                let error = if to.value() > self.next {
                    SeekError::Beyond { tail: Offset::new(self.next) }
                } else {
                    SeekError::Reclaimed { head: Offset::new(self.head) }
                };
                assert_eq!(answer.map(|_| ()), Err(JoinError::Seek(error)));
                if let Some(index) = found {
                    self.places[index].told = self.places[index].told.max(self.head);
                }
                return;
            }
            Start::At(to) => to.value(),
            Start::Resume => parked.unwrap_or(self.head),
            _ => self.head,
        };
        let reader = answer.unwrap();
        assert_eq!(reader.next_offset().value(), next, "{start:?}");
        let live = Some(Live { reader, next, lost: 0 });
        match found {
            Some(index) => {
                self.places[index].told = next;
                self.places[index].live = live;
            }
            None => self.places.push(Place { name, told: next, live }),
        }
    }

    fn forget(&mut self) {
        let name = format!("reader-{}", self.rng.below(6));
        let found = self.places.iter().position(|place| place.name == name);
        self.note("forget", found.map_or(99, |index| index as u64), 0);
        let answer = self.ring().forget(&name);
        match found {
            None => assert_eq!(answer, Ok(false)),
            Some(index) if self.places[index].live.is_some() => assert_eq!(answer, Err(JoinError::Claimed)),
            Some(index) => {
                assert_eq!(answer, Ok(true));
                self.places.remove(index);
            }
        }
    }

    /// Nobody holds anything any more: all that read come to the end, the others are forgotten.
    fn drain(&mut self) {
        self.note("drain", 0, 0);
        for index in (0..self.places.len()).rev() {
            let Some(mut live) = self.places[index].live.take() else {
                assert_eq!(self.ring().forget(&self.places[index].name), Ok(true));
                self.places.remove(index);
                continue;
            };
            let mut told = self.places[index].told;
            let mut left = 3 * self.slots + 3;
            while told < self.next {
                self.copy_next(index, &mut live, &mut told, false);
                left = left.checked_sub(1).expect("the end of the log is reached");
            }
            self.places[index].told = told;
            self.places[index].live = Some(live);
        }
    }

    // ---- the ring as a whole

    fn reattach(&mut self) {
        self.note("attach again", 0, 0);
        self.producer = Producer::None;
        for mut place in std::mem::take(&mut self.places) {
            match place.live.take() {
                Some(live) if self.rng.one_in(2) => drop(live),
                Some(live) => {
                    place.told = live.next;
                    live.reader.park();
                    self.places.push(place);
                }
                None => self.places.push(place),
            }
        }
        let ring = Arc::try_unwrap(self.ring.take().unwrap()).expect("nobody else holds the ring");
        self.attach(ring.into_lease(), <B::Lease as Lease>::Trust::EXCLUSIVE);
    }

    /// The machine stops: what is in the bytes is all that is left.
    fn crash(&mut self, bytes: &[u8]) {
        self.producer = Producer::None;
        for place in &mut self.places {
            place.live = None;
        }
        self.ring = None;
        self.attach(B::of(bytes), true);
    }

    fn attach(&mut self, lease: B::Lease, recovered: bool) {
        self.count.attached += 1;
        self.ring = Some(Arc::new(Ring::attach(lease).unwrap()));
        for place in &mut self.places {
            // Who recovers a log moves those up that were overrun; else their first read tells them.
            if recovered {
                place.told = place.told.max(self.head);
            }
        }
        self.check(true);
    }

    fn check(&self, thorough: bool) {
        let ring = self.ring();
        assert_eq!((ring.head().value(), ring.tail().value()), (self.head, self.next), "head and tail");
        if !thorough {
            return;
        }
        assert_eq!(ring.refused(), self.refused);
        let mut found: Vec<_> = ring
            .readers()
            .map(|info| (info.name.as_str().to_string(), info.progress.value(), info.lag, info.active))
            .collect();
        let mut expected: Vec<_> = self
            .places
            .iter()
            .map(|place| {
                let progress = place.told.max(self.head);
                (place.name.clone(), progress, self.next - progress, place.live.is_some())
            })
            .collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        if !matches!(self.producer, Producer::None) {
            assert_eq!(Writer::claim(Arc::clone(ring)).map(|_| ()), Err(WriteError::Claimed));
            assert_eq!(SharedWriter::claim(Arc::clone(ring)).map(|_| ()), Err(WriteError::Claimed));
        }
        match &self.producer {
            Producer::One(writer) => assert_eq!(writer.next_offset().value(), self.next),
            Producer::Many(writer) => assert_eq!(writer.next_offset().value(), self.next),
            Producer::None => {}
        }
    }

    fn step(&mut self) {
        self.count.ops += 1;
        match self.rng.below(100) {
            0..=1 => self.reattach(),
            2 => {
                self.note("crash", 0, 0);
                let bytes = B::image(self.ring().lease());
                self.crash(&bytes);
            }
            3..=4 => self.drop_writer(),
            5..=9 => self.join(),
            10 => self.forget(),
            11 => {
                if let Producer::One(writer) = &mut self.producer {
                    writer.note_tail();
                }
            }
            12..=49 if !self.places.is_empty() => self.read_op(),
            12..=30 => self.join(),
            50..=55 if matches!(self.producer, Producer::One(_)) => self.batch(),
            56..=57 => self.reserve_and_drop(),
            58..=62 => self.drain(),
            _ => {
                if matches!(self.producer, Producer::None) {
                    self.claim();
                }
                self.write();
            }
        }
        let thorough = self.rng.one_in(8);
        self.check(thorough);
    }

    pub(crate) fn run(seed: u64, steps: u64, total: &mut Count) {
        let mut model = Self::new(seed, Rng::new(seed));
        for _ in 0..steps {
            model.step();
        }
        model.drain();
        model.check(true);
        total.add(&model.count);
        model.producer = Producer::None;
    }
}

/// A fuzzer's choices instead of random ones.
#[cfg(fuzzing)]
pub(crate) fn fuzz<B: Bed>(choices: &[u8])
where
    <B::Lease as Lease>::Trust: Lend,
{
    fn run<K: Flavor<B>, B: Bed>(choices: &[u8]) {
        let mut model = Model::<K, B>::new(0, Rng::of_choices(choices));
        while !model.rng.is_spent() && model.count.ops < 10_000 {
            model.step();
        }
        model.producer = Producer::None;
    }
    match choices.split_first() {
        Some((first, rest)) if first & 1 == 0 => run::<Retain, B>(rest),
        Some((_, rest)) => run::<Overwrite, B>(rest),
        None => {}
    }
}

/// Many runs, by seeds.
pub(crate) fn model<K: Flavor<B>, B: Bed>(what: &str, first: u64) {
    let mut total = Count::default();
    with_seeds(what, first, 120 * scale(), |seed| Model::<K, B>::run(seed, 500, &mut total));
    total.print(what);
    assert!(common::replay().is_some() || total.full > 1000 && total.written > 10_000 && total.read > 10_000);
}
