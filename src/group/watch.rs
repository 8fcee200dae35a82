//! Who is still there, as one party sees it.
//!
//! There is no shared clock. What is watched is a word that a living member changes, and how long it stood still by the
//! watcher's own clock. That clock may drift, jump, or stop: from one look to the next at most a third of the session
//! counts, so a word must be found unchanged in four looks at least before its member lapses, however late the watcher
//! itself was.

use super::place::{Card, PlaceWord};
use crate::error::LeaseError;
use crate::lease::Lease;
use crate::offset::area::{Group, Line};
use crate::types::Ticks;

/// What was seen of each of `M` places.
#[derive(Debug)]
pub(super) struct Watch<const M: usize> {
    seen: [Seen; M],
    last: Option<Ticks>,
    /// The places that were held at the last look, in rising order.
    members: heapless::Vec<u8, M>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    word: PlaceWord,
    /// Milliseconds that it stood still.
    silent: u32,
}

/// The shortest time that is believed of a card.
const SHORTEST: u32 = 4;

impl<const M: usize> Watch<M> {
    pub(super) const fn new() -> Self {
        Self { seen: [Seen { word: PlaceWord::NOBODY, silent: 0 }; M], last: None, members: heapless::Vec::new() }
    }

    /// The places of the members, in rising order.
    pub(super) fn members(&self) -> &[u8] {
        &self.members
    }

    pub(super) fn is_member(&self, place: u32) -> bool {
        u8::try_from(place).is_ok_and(|place| self.members.contains(&place))
    }

    /// Looks at all places; lets those members lapse that are proven to be dead, or were silent for their session.
    pub(super) fn look<L: Lease>(&mut self, group: &Group<L>, now: Ticks, own: Option<u32>) -> Result<(), LeaseError> {
        let gap = self.last.map_or(0, |last| now.as_millis().saturating_sub(last.as_millis()));
        self.last = Some(now);
        self.members.clear();
        for (number, seen) in (0..group.places()).zip(&mut self.seen) {
            let Some(line) = group.place(number) else { break };
            let word = PlaceWord::load(&line);
            let is_own = own == Some(number);
            if !word.is_held() || !is_own && seen.lapses(group, &line, word, gap)? {
                *seen = Seen::default();
                continue;
            }
            // There is room for all places: a member checks that when it is made.
            let _ = self.members.push(u8::try_from(number).unwrap_or(u8::MAX));
        }
        Ok(())
    }
}

impl Seen {
    fn lapses<L: Lease>(
        &mut self,
        group: &Group<L>,
        line: &Line<'_, L>,
        word: PlaceWord,
        gap: u64,
    ) -> Result<bool, LeaseError> {
        // A member that has not filled in its card yet has the group's time to do so.
        let card = Card::load(line, word);
        let default = u32::try_from(group.session().as_millis()).unwrap_or(u32::MAX);
        let session = card.map_or(default, |card| card.session).max(SHORTEST);
        if self.word == word {
            let gap = u32::try_from(gap).unwrap_or(u32::MAX).min(session / 3);
            self.silent = self.silent.saturating_add(gap);
        } else {
            *self = Self { word, silent: 0 };
        }
        let dead = card.is_some_and(|card| card.token != 0 && group.lease().is_gone(card.token));
        // If it fails, the member has moved in the last moment, or somebody else was faster: the next look tells.
        Ok((dead || self.silent >= session) && word.swap(line, word.freed())?)
    }
}
