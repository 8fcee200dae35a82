//! One implementation, one size of record, one flash: filled, then once round, then reset in between.

use crate::flash::{Counts, Flash};
use crate::queue::Queue;

/// Images of a flash, taken evenly over a round, that are opened as behind a reset.
const IMAGES: usize = 64;

/// Bytes read, and by how many reads, in the mean; and the most bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    pub bytes: f64,
    pub reads: f64,
    pub worst: u64,
}

#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub pages: usize,
    pub body: usize,
    /// Payload bytes that it held when it was full, of those of the flash.
    pub fill: f64,
    /// Bytes programmed per payload byte: of pushes alone, and with what pops program.
    pub programmed_push: f64,
    pub programmed: f64,
    /// Pages erased per MiB of payload that went through.
    pub erased: f64,
    pub first_pushes: Reading,
    pub last_pushes: Reading,
    pub push: Reading,
    pub pop: Reading,
    pub reset_peek: Reading,
    pub reset_push: Reading,
    pub reset_both: Reading,
}

/// The mean of what several operations read.
fn mean(counts: &[Counts]) -> Reading {
    let of = |what: fn(&Counts) -> u64| counts.iter().map(what).sum::<u64>() as f64 / counts.len().max(1) as f64;
    let worst = counts.iter().map(|counts| counts.read).max().unwrap_or(0);
    Reading { bytes: of(|counts| counts.read), reads: of(|counts| counts.reads), worst }
}

/// The body of a record: the same for all implementations.
fn body_of(number: u64, into: &mut [u8]) {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    for byte in into.iter_mut() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state as u8;
    }
    into[..8].copy_from_slice(&number.to_le_bytes());
}

struct Run<Q> {
    flash: Flash,
    queue: Q,
    body: usize,
    pushed: u64,
    popped: u64,
}

impl<Q: Queue> Run<Q> {
    fn counted<R>(&mut self, act: impl FnOnce(&mut Self) -> R) -> (R, Counts) {
        let before = self.flash.counts();
        let done = act(self);
        (done, self.flash.counts().since(before))
    }

    fn push(&mut self) -> (bool, Counts) {
        let mut body = [0; 256];
        let body = &mut body[..self.body];
        body_of(self.pushed, body);
        let (stored, counts) = self.counted(|run| run.queue.push(body));
        self.pushed += u64::from(stored);
        (stored, counts)
    }

    fn pop(&mut self) -> Counts {
        let mut found = [0; 256];
        let (len, counts) = self.counted(|run| run.queue.pop(&mut found));
        self.expect(len, &found);
        self.popped += 1;
        counts
    }

    /// What is read is what was pushed.
    fn expect(&self, len: Option<usize>, found: &[u8]) {
        let mut wanted = [0; 256];
        body_of(self.popped, &mut wanted[..self.body]);
        assert_eq!((len, &found[..self.body]), (Some(self.body), &wanted[..self.body]), "{}", Q::NAME);
    }

    /// What it takes after a reset.
    fn reset(&self, peeks: bool, pushes: bool) -> Counts {
        let flash = self.flash.image();
        let mut queue = Q::open(flash.clone());
        if peeks {
            let mut found = [0; 256];
            assert_eq!(queue.peek(&mut found), Some(self.body), "{}", Q::NAME);
        }
        if pushes {
            assert!(queue.push(&[0x5a; 256][..self.body]), "{}", Q::NAME);
        }
        flash.counts()
    }
}

pub fn measure<Q: Queue>(pages: usize, body: usize) -> Row {
    let flash = Flash::new(pages);
    let mut run = Run { queue: Q::format(flash.clone()), flash, body, pushed: 0, popped: 0 };
    let payload = |records: usize| (records * body) as f64;

    let mut filling = Vec::new();
    while filling.len() < Q::MOST {
        match run.push() {
            (true, counts) => filling.push(counts),
            (false, _) => break,
        }
    }
    let held = filling.len();
    let programmed_push = filling.iter().map(|counts| counts.programmed).sum::<u64>() as f64 / payload(held);

    // Room for what pops write, and then once round: each push behind a pop.
    for _ in 0..held / 4 {
        run.pop();
    }
    let round = held.min(Q::MOST);
    let (mut pushes, mut pops) = (Vec::new(), Vec::new());
    let (mut peeks, mut first_pushes, mut both) = (Vec::new(), Vec::new(), Vec::new());
    let before = run.flash.counts();
    let images = IMAGES.min(round);
    for number in 0..round {
        pops.push(run.pop());
        let (stored, counts) = run.push();
        assert!(stored, "{}: full, though a record was popped", Q::NAME);
        pushes.push(counts);
        if number * images / round != (number + 1) * images / round {
            peeks.push(run.reset(true, false));
            first_pushes.push(run.reset(false, true));
            both.push(run.reset(true, true));
        }
    }
    let through = run.flash.counts().since(before);
    Row {
        name: Q::NAME,
        pages,
        body,
        fill: payload(held) / run.flash.bytes() as f64,
        programmed_push,
        programmed: through.programmed as f64 / payload(round),
        erased: through.erased as f64 / (payload(round) / f64::from(1 << 20)),
        first_pushes: mean(&filling[..held.min(64)]),
        last_pushes: mean(&filling[held - held / 4..]),
        push: mean(&pushes),
        pop: mean(&pops),
        reset_peek: mean(&peeks),
        reset_push: mean(&first_pushes),
        reset_both: mean(&both),
    }
}
