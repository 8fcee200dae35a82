//! The term of a shared lease: two words that every process changes by compare-and-swap.

use crate::error::{LeaseError, Unfit};
use crate::platform::unix::Word;
use crate::types::{Epoch, Ticks};

/// How a lease stands. The codes are those of `layout`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum State {
    Live = 0x55,
    Detached = 0x66,
    Fenced = 0x33,
    Expired = 0x99,
    Revoked = 0xcc,
    Released = 0xaa,
}

impl State {
    const ALL: [Self; 6] = [Self::Live, Self::Detached, Self::Fenced, Self::Expired, Self::Revoked, Self::Released];

    pub(super) const fn code(self) -> u8 {
        #[allow(clippy::cast_possible_truncation, reason = "the codes are bytes")]
        {
            self as u8
        }
    }

    /// Whether its time is still running.
    pub(super) const fn is_open(self) -> bool {
        matches!(self, Self::Live | Self::Detached)
    }

    /// What somebody is told who needs it to be open.
    pub(super) const fn end(self) -> Result<(), LeaseError> {
        match self {
            Self::Live | Self::Detached => Ok(()),
            Self::Fenced => Err(LeaseError::Fenced),
            Self::Expired => Err(LeaseError::Expired),
            Self::Revoked => Err(LeaseError::Revoked),
            Self::Released => Err(LeaseError::Released),
        }
    }
}

/// The bits that are the holder's right to write: epoch and state.
pub(super) const RIGHT: u64 = 0xffff_ffff_0000_00ff;
/// The bits of the state.
pub(super) const STATE: u64 = 0xff;

/// The first word, taken apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Term {
    pub(super) epoch: Epoch,
    pub(super) renewals: u16,
    pub(super) state: State,
}

/// What the bytes of a word add up to by exclusive or: blank memory does not, nor does any damage within one byte.
const SUM: u8 = 0x5a;

/// The check of a word whose own byte is zero.
fn check(word: u64) -> u64 {
    u64::from(word.to_le_bytes().into_iter().fold(SUM, |sum, byte| sum ^ byte))
}

impl Term {
    pub(super) fn encode(self) -> u64 {
        let word =
            (u64::from(self.epoch.value()) << 32) | (u64::from(self.renewals) << 16) | u64::from(self.state.code());
        word | (check(word) << 8)
    }

    pub(super) fn decode(word: u64) -> Result<Self, LeaseError> {
        let damaged = LeaseError::Unfit(Unfit::Record);
        if (word >> 8) & 0xff != check(word & !0xff00) {
            return Err(damaged);
        }
        let [code, _, r0, r1, e0, e1, e2, e3] = word.to_le_bytes();
        let state = State::ALL.into_iter().find(|state| state.code() == code).ok_or(damaged)?;
        Ok(Self {
            epoch: Epoch::new(u32::from_le_bytes([e0, e1, e2, e3])),
            renewals: u16::from_le_bytes([r0, r1]),
            state,
        })
    }
}

/// The latest deadline that a word holds: never.
const NEVER: u64 = u64::MAX >> 8;

fn encode_deadline(deadline: Ticks) -> u64 {
    let word = deadline.as_millis().min(NEVER) << 8;
    word | check(word)
}

fn decode_deadline(word: u64) -> Result<Ticks, LeaseError> {
    if word & 0xff != check(word & !0xff) {
        return Err(LeaseError::Unfit(Unfit::Record));
    }
    Ok(match word >> 8 {
        NEVER => Ticks::MAX,
        ms => Ticks::from_millis(ms),
    })
}

/// Turns of a loop that is entered again only because somebody else changed the word meanwhile. Only somebody who wants to
/// harm changes it so often in a row.
const TURNS: u32 = 1000;

/// The two words, in a mapping.
#[derive(Clone, Copy)]
pub(super) struct Terms<'m> {
    pub(super) term: Word<'m>,
    pub(super) deadline: Word<'m>,
}

impl Terms<'_> {
    /// The first term, in words that are zero and that nobody else looks at yet.
    pub(super) fn start(self, deadline: Ticks, epoch: Epoch) {
        self.deadline.swap_if(0, encode_deadline(deadline));
        self.term.swap_if(0, Term { epoch, renewals: 0, state: State::Live }.encode());
    }

    pub(super) fn load(self) -> Result<Term, LeaseError> {
        Term::decode(self.term.load())
    }

    pub(super) fn deadline(self) -> Result<Ticks, LeaseError> {
        decode_deadline(self.deadline.load())
    }

    /// Changes the term to what `next` makes of it, once nobody else does so at the same time; answers the new one.
    fn change(self, mut next: impl FnMut(Term) -> Result<Term, LeaseError>) -> Result<Term, LeaseError> {
        for _ in 0..TURNS {
            let word = self.term.load();
            let new = next(Term::decode(word)?)?;
            if self.term.swap_if(word, new.encode()) {
                return Ok(new);
            }
        }
        Err(LeaseError::Disconnected)
    }

    /// Records that the time is over, if it is; answers whether that was news. Whoever renews in the very moment wins.
    pub(super) fn settle(self, now: Ticks) -> Result<bool, LeaseError> {
        for _ in 0..TURNS {
            let word = self.term.load();
            let term = Term::decode(word)?;
            // Loaded behind the term: a deadline that was moved before the term was seen is seen too (SYNC(shared term)).
            if !term.state.is_open() || now < self.deadline()? {
                return Ok(false);
            }
            if self.term.swap_if(word, Term { state: State::Expired, ..term }.encode()) {
                return Ok(true);
            }
        }
        Err(LeaseError::Disconnected)
    }

    /// Whether nothing can come of it any more, as far as its words go.
    pub(super) fn is_over(self, now: Ticks) -> Result<bool, LeaseError> {
        Ok(match self.load()?.state {
            State::Live | State::Detached => false,
            // Waits for whoever is to take over, but not for ever.
            State::Fenced => now >= self.deadline()?,
            State::Expired | State::Revoked | State::Released => true,
        })
    }

    /// Moves the deadline, never forward in time.
    pub(super) fn renew(self, now: Ticks, ttl: Ticks) -> Result<Ticks, LeaseError> {
        self.settle(now)?;
        self.load()?.state.end()?;
        let until = self.extend(now.plus(ttl))?;
        // Whoever saw the old deadline, and has not recorded the expiry yet, fails to from here on. Who was sooner has ended
        // the lease: then the new deadline means nothing.
        self.change(|term| {
            term.state.end()?;
            Ok(Term { renewals: term.renewals.wrapping_add(1), ..term })
        })?;
        Ok(until)
    }

    /// Moves the deadline to `wanted` unless it is later.
    fn extend(self, wanted: Ticks) -> Result<Ticks, LeaseError> {
        for _ in 0..TURNS {
            let word = self.deadline.load();
            let later = decode_deadline(word)?.max(wanted);
            if self.deadline.swap_if(word, encode_deadline(later)) {
                return Ok(later);
            }
        }
        Err(LeaseError::Disconnected)
    }

    /// Ends it.
    pub(super) fn revoke(self) -> Result<(), LeaseError> {
        self.change(|term| {
            let ends = term.state.is_open() || term.state == State::Fenced;
            Ok(if ends { Term { state: State::Revoked, ..term } } else { term })
        })?;
        Ok(())
    }

    /// Ends the holder's right to write; answers the epoch of the next one.
    pub(super) fn fence(self, now: Ticks) -> Result<Epoch, LeaseError> {
        self.settle(now)?;
        let term = self.change(|term| match term.state.end() {
            Ok(()) | Err(LeaseError::Fenced) => Ok(Term { state: State::Fenced, ..term }),
            Err(end) => Err(end),
        })?;
        Ok(Epoch::new(term.epoch.value().saturating_add(1)))
    }

    /// Ends the holder's right to write, and keeps what is in the lease for `keep` from now: answers the epoch of whoever
    /// asked, which is higher than all before, also where the holder lives.
    pub(super) fn supersede(self, now: Ticks, keep: Ticks) -> Result<Epoch, LeaseError> {
        self.settle(now)?;
        let may = |term: Term| match term.state {
            State::Revoked | State::Released => term.state.end(),
            State::Live | State::Detached | State::Fenced | State::Expired => Ok(()),
        };
        may(self.load()?)?;
        // First, so that nobody finds it over in between.
        self.extend(now.plus(keep))?;
        let term = self.change(|term| {
            may(term)?;
            let epoch = Epoch::new(term.epoch.value().checked_add(1).ok_or(LeaseError::Fenced)?);
            Ok(Term { epoch, renewals: 0, state: State::Fenced })
        })?;
        Ok(term.epoch)
    }

    /// Starts the next holder's term. The caller has proven that the last one is gone.
    pub(super) fn succeed(self, now: Ticks) -> Result<Epoch, LeaseError> {
        self.settle(now)?;
        let term = self.change(|term| {
            match term.state.end() {
                Ok(()) => {}
                // It was fenced for this.
                Err(LeaseError::Fenced) if now < self.deadline()? => {}
                Err(LeaseError::Fenced) => return Err(LeaseError::Expired),
                Err(end) => return Err(end),
            }
            let epoch = Epoch::new(term.epoch.value().checked_add(1).ok_or(LeaseError::Fenced)?);
            Ok(Term { epoch, renewals: 0, state: State::Live })
        })?;
        Ok(term.epoch)
    }

    /// Gives up a term of this epoch, unless it has ended; answers how the lease stands.
    pub(super) fn leave(self, epoch: Epoch, to: State) -> Result<State, LeaseError> {
        let left = self.change(|term| match term.state {
            State::Live if term.epoch == epoch => Ok(Term { state: to, ..term }),
            _ => Ok(term),
        })?;
        Ok(left.state)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "test arithmetic")]
    use super::*;

    #[test]
    fn words_come_back_and_no_damaged_byte_goes_unseen() {
        for state in State::ALL {
            for (epoch, renewals) in [(1, 0), (u32::MAX, u16::MAX), (0x1234_5678, 0x9abc)] {
                let term = Term { epoch: Epoch::new(epoch), renewals, state };
                let word = term.encode();
                assert_eq!(Term::decode(word), Ok(term));
                assert_eq!(word & RIGHT, u64::from(epoch) << 32 | u64::from(state.code()));
                for byte in 0..8 {
                    for flip in 1..=255_u64 {
                        assert!(Term::decode(word ^ (flip << (byte * 8))).is_err(), "{word:x} {byte} {flip:x}");
                    }
                }
            }
        }
        assert!(Term::decode(0).is_err() && Term::decode(u64::MAX).is_err(), "blank memory is no term");
        for ms in [0, 1, 1 << 40, NEVER - 1] {
            let word = encode_deadline(Ticks::from_millis(ms));
            assert_eq!(decode_deadline(word), Ok(Ticks::from_millis(ms)));
            for bit in 0..64 {
                assert!(decode_deadline(word ^ (1 << bit)).is_err());
            }
        }
        for late in [Ticks::MAX, Ticks::from_millis(NEVER), Ticks::from_millis(1 << 60)] {
            assert_eq!(decode_deadline(encode_deadline(late)), Ok(Ticks::MAX));
        }
    }

    #[test]
    fn codes_differ_in_four_bits() {
        for (at, one) in State::ALL.iter().enumerate() {
            for other in State::ALL.iter().skip(at + 1) {
                assert!((one.code() ^ other.code()).count_ones() >= 4);
            }
            assert!(one.code().count_ones() >= 4 && one.code().count_zeros() >= 4, "far from blank memory");
        }
    }
}
