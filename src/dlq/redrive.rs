//! Sending letters back to where they came from.

use super::error::DlqError;
use super::letter::DeadLetter;
use super::queue::DeadLetters;
use super::redriven::{REDRIVEN, Redriven};
use super::sweep::{Fate, Sweep};
use crate::error::WriteError;
use crate::lease::{Lease, Lend};
use crate::message::{MAX_HEADERS, Record};
use crate::partition::{AppendError, Hold};
use crate::producer::refusal;
use crate::topic::{TopicRef, Topics};
use crate::types::Ticks;
use core::fmt;

/// How letters are sent back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RedriveOptions {
    /// Letters a second, at most: between two moments no more go than this rate allows for the time between them, and one
    /// second's worth at once if nobody steps for longer. Default: as many as there is room for.
    pub rate: Option<u32>,
    /// Whether failures from before count on: then one more failure makes a letter of it again. Default: no.
    pub keep_attempts: bool,
}

impl RedriveOptions {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self { rate: None, keep_attempts: false }
    }

    /// Sets how many letters a second are sent back at most, at least 1.
    #[must_use]
    pub const fn with_rate(self, per_second: u32) -> Self {
        let rate = if per_second == 0 { 1 } else { per_second };
        Self { rate: Some(rate), ..self }
    }

    /// Sets whether failures from before count on.
    #[must_use]
    pub const fn with_keep_attempts(self, keep: bool) -> Self {
        Self { keep_attempts: keep, ..self }
    }
}

impl Default for RedriveOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// How far a redrive has come, all steps together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "it says whether there is more to do"]
#[non_exhaustive]
pub struct RedriveProgress {
    /// Letters sent back.
    pub moved: u64,
    /// Letters and other records that were written once more, because they stay and lay before others that went.
    pub kept: u64,
    /// Letters that were wanted and cannot be sent back: they are damaged, their partition does not exist, or they are too
    /// large with the mark of a redriven record. They stay.
    pub unfit: u64,
    /// What comes next.
    pub state: RedriveState,
}

/// What comes next in a redrive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RedriveState {
    /// The dead letter queue has no room for a letter that stays before others that go. Step again when it has; nothing is
    /// lost.
    DlqFull {
        /// Which partition of the queue.
        partition: u32,
    },
    /// Nothing: every letter that was there, and wanted, is gone or unfit.
    Done,
    /// Step again, when the rate allows more.
    Running,
    /// The source has no room. Step again when it has; nothing is lost.
    SourceFull {
        /// Which partition of the source.
        partition: u32,
    },
}

/// A redrive under way, driven by its caller: each [`step`](Self::step) sends what the rate allows. Dropping it ends it
/// where it is; another one goes on there.
///
/// A letter is appended to the source first, then taken out of the queue. Whoever dies in between leaves both: the next
/// redrive sends the same letter again, and the two records have the same deduplication key (see [`Redriven`]). A letter
/// goes to the partition that it came from, with its key, its headers, its time and its payload as they were, and one more
/// header; the producer block is left out, as it is somebody else who sends.
pub struct Redrive<S: Topics, F> {
    queue: DeadLetters,
    options: RedriveOptions,
    wanted: F,
    sweep: Option<Sweep<S::Hold>>,
    /// Which partition of the queue comes next.
    partition: u32,
    progress: RedriveProgress,
    /// When the last step was.
    last: Option<Ticks>,
    /// Thousandths of letters that may be sent.
    credit: u64,
}

/// Why a letter was not sent.
enum Stop {
    Full { partition: u32 },
    Unfit,
    Other(DlqError),
}

const LETTER: u64 = 1000;

impl<S: Topics, F> Redrive<S, F> {
    pub(super) fn new(queue: DeadLetters, options: RedriveOptions, wanted: F) -> Self {
        Self {
            queue,
            options,
            wanted,
            sweep: None,
            partition: 0,
            progress: RedriveProgress { moved: 0, kept: 0, unfit: 0, state: RedriveState::Running },
            last: None,
            credit: 0,
        }
    }

    /// How far it has come.
    pub const fn progress(&self) -> RedriveProgress {
        self.progress
    }

    /// Adds what the time since the last step is worth.
    fn earn(&mut self, now: Ticks) {
        let Some(rate) = self.options.rate else {
            self.credit = u64::MAX;
            return;
        };
        let since = self.last.map_or(0, |last| now.as_millis().saturating_sub(last.as_millis()));
        // One in a second is a thousandth in a millisecond.
        let earned = since.saturating_mul(u64::from(rate));
        let most = u64::from(rate).saturating_mul(LETTER);
        self.credit = self.credit.saturating_add(earned).min(most);
        self.last = Some(self.last.map_or(now, |last| last.max(now)));
    }
}

impl<S: Topics, F: FnMut(&DeadLetter<'_>) -> bool> Redrive<S, F>
where
    <<S::Hold as Hold>::Lease as Lease>::Trust: Lend,
{
    /// Sends back what the rate allows at `now`, a time of the caller's clock that does not go back; the first step only
    /// starts the time, if there is a rate. Does not allocate or block: a full source stops it, whatever its full policy is.
    ///
    /// # Errors
    /// [`DlqError::Topic`], [`DlqError::NotMarked`], [`DlqError::OfDeadLetters`], [`DlqError::Overwrites`] if the topics are not
    /// what they should be; [`DlqError::Letters`] if another tool is at work or letters cannot be read;
    /// [`DlqError::Redrive`] if the source cannot be written. Nothing is lost, and another step goes on.
    pub fn step(&mut self, topics: &S, now: Ticks) -> Result<RedriveProgress, DlqError> {
        let queue = self.queue.clone();
        let source = topics.find(queue.source())?;
        let source = topics.topic(&source, queue.source())?;
        if source.config().dead_letters {
            return Err(DlqError::OfDeadLetters);
        }
        if source.config().full.overwrites() {
            return Err(DlqError::Overwrites);
        }
        self.earn(now);
        self.progress.state = RedriveState::Running;
        queue.with(topics, |letters| self.run(letters, source))?;
        Ok(self.progress)
    }

    fn run(&mut self, queue: TopicRef<'_, S::Hold>, source: TopicRef<'_, S::Hold>) -> Result<(), DlqError> {
        let sources = source.partition_count();
        loop {
            let Some(partition) = queue.partition(self.partition) else {
                self.progress.state = RedriveState::Done;
                return Ok(());
            };
            if self.credit < LETTER {
                return Ok(());
            }
            let Self { queue: names, options, wanted, sweep, progress, credit, .. } = self;
            let sweep = match sweep {
                Some(sweep) => sweep,
                None => {
                    let mut unfit = 0_u64;
                    let begun = Sweep::begin(partition, names.source(), |letter| {
                        let Some(letter) = letter.ok().filter(|letter| wanted(letter)) else { return false };
                        let fit = is_fit(&letter, sources);
                        unfit = unfit.saturating_add(u64::from(!fit));
                        fit
                    })?;
                    progress.unfit = progress.unfit.saturating_add(unfit);
                    sweep.insert(begun)
                }
            };
            let number = partition.number();
            let mut unfit = false;
            let step = sweep.step(queue, partition, |offset, tag, bytes| {
                let letter = DeadLetter::of(number, offset, tag, bytes, names.source());
                let wanted = |letter: &DeadLetter<'_>| is_fit(letter, sources) && wanted(letter);
                let Some(letter) = letter.ok().filter(wanted) else { return Ok(Fate::Kept) };
                match send(source, &letter, *options) {
                    Ok(()) => Ok(Fate::Gone),
                    Err(Stop::Unfit) => {
                        unfit = true;
                        Ok(Fate::Kept)
                    }
                    Err(stop) => Err(stop),
                }
            });
            match step {
                Ok(Some(Ok(Fate::Gone))) => {
                    progress.moved = progress.moved.saturating_add(1);
                    *credit = if options.rate.is_some() { credit.saturating_sub(LETTER) } else { *credit };
                }
                Ok(Some(Ok(Fate::Kept))) => {
                    progress.kept = progress.kept.saturating_add(1);
                    progress.unfit = progress.unfit.saturating_add(u64::from(unfit));
                }
                Ok(Some(Err(Stop::Full { partition }))) => {
                    progress.state = RedriveState::SourceFull { partition };
                    return Ok(());
                }
                Ok(Some(Err(Stop::Other(error)))) => return Err(error),
                Err(DlqError::DlqFull { partition }) => {
                    progress.state = RedriveState::DlqFull { partition };
                    return Ok(());
                }
                Err(error) => return Err(error),
                // Kept, above.
                Ok(Some(Err(Stop::Unfit))) => {}
                Ok(None) => {
                    self.sweep = None;
                    self.partition = self.partition.saturating_add(1);
                }
            }
        }
    }
}

/// Whether a letter looks as if it could be sent back.
fn is_fit(letter: &DeadLetter<'_>, sources: u32) -> bool {
    !letter.is_damaged() && letter.source_partition() < sources
}

/// Appends a letter's record to its source. Whatever a full source does with the records of others, this one is refused
/// there and stays in the queue.
fn send<H: Hold>(source: TopicRef<'_, H>, letter: &DeadLetter<'_>, options: RedriveOptions) -> Result<(), Stop> {
    let partition = source.partition(letter.source_partition()).ok_or(Stop::Unfit)?;
    let (origin, offset) = letter.origin();
    let mark = Redriven {
        group: letter.group(),
        partition: origin,
        offset,
        redrives: letter.redrives().saturating_add(1),
        attempts: if options.keep_attempts { letter.attempts() } else { 0 },
    }
    .encode();
    let own = letter.headers().filter(|(name, _)| *name != REDRIVEN);
    // One too many is refused below.
    let headers: heapless::Vec<(&str, &[u8]), { MAX_HEADERS + 1 }> =
        own.chain(core::iter::once((REDRIVEN, &mark[..]))).take(MAX_HEADERS + 1).collect();
    let mut record = Record::new(letter.payload()).with_headers(&headers);
    if let Some(key) = letter.key() {
        record = record.with_key(key);
    }
    let written = record.with_parts(letter.timestamp(), |tag, parts| partition.write(tag, parts));
    match written.map_err(|_| Stop::Unfit)? {
        Ok(_) => {
            partition.announce(source.bell());
            Ok(())
        }
        Err(AppendError::Write(WriteError::Full)) => Err(Stop::Full { partition: partition.number() }),
        Err(AppendError::Write(WriteError::TooLarge { .. })) => Err(Stop::Unfit),
        Err(error) => Err(Stop::Other(DlqError::Redrive(refusal(partition, error)))),
    }
}

impl<S: Topics, F> fmt::Debug for Redrive<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redrive")
            .field("queue", &self.queue.name())
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}
