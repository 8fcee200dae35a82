//! A member's place in the control area: the word that says whether it is held, and the card of who holds it.

use crate::error::LeaseError;
use crate::lease::Lease;
use crate::lease::superblock::feed;
use crate::name::{MAX_NAME, Name};
use crate::offset::area::Line;
use crate::offset::layout::place::{CRC, NAME, NAME_LEN, NAME_WORDS, PLACE, SESSION, TOKEN};

const BEAT_SHIFT: u32 = 1;
const INCARNATION_SHIFT: u32 = 9;
const BEATS: u32 = 0xff;
const LAST_INCARNATION: u32 = u32::MAX >> INCARNATION_SHIFT;

/// Whether a place is held, by which of its holders, and how often that one's heart has beaten.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct PlaceWord(u32);

impl PlaceWord {
    /// That of a place that nobody ever held.
    pub(super) const NOBODY: Self = Self(0);

    pub(super) fn load<L: Lease>(line: &Line<'_, L>) -> Self {
        Self(line.load(PLACE))
    }

    /// Changes the place from this word to the other one, in one instruction; answers whether this one stood there.
    pub(super) fn swap<L: Lease>(self, line: &Line<'_, L>, to: Self) -> Result<bool, LeaseError> {
        line.swap(PLACE, self.0, to.0)
    }

    pub(super) const fn is_held(self) -> bool {
        self.0 & 1 == 1
    }

    pub(super) const fn incarnation(self) -> u32 {
        self.0 >> INCARNATION_SHIFT
    }

    /// The next holder's. Not for a place that has had all its holders.
    pub(super) const fn taken(self) -> Option<Self> {
        let incarnation = self.incarnation();
        if incarnation >= LAST_INCARNATION {
            return None;
        }
        Some(Self((incarnation.wrapping_add(1) << INCARNATION_SHIFT) | 1))
    }

    /// After another heartbeat.
    pub(super) const fn beaten(self) -> Self {
        let beat = (self.0 >> BEAT_SHIFT).wrapping_add(1) & BEATS;
        Self((self.0 & !(BEATS << BEAT_SHIFT)) | (beat << BEAT_SHIFT))
    }

    /// After its holder is gone.
    pub(super) const fn freed(self) -> Self {
        Self(self.0 & !1)
    }
}

/// What a member says of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Card {
    /// Milliseconds after which it lapses.
    pub(super) session: u32,
    /// That of its lease.
    pub(super) token: u32,
    pub(super) name: Option<Name>,
}

impl Card {
    fn words(&self) -> [u32; CRC] {
        let mut words = [0; CRC];
        let name = self.name.as_ref().map_or("", Name::as_str).as_bytes();
        let len = u32::try_from(name.len()).unwrap_or(0);
        for (index, word) in [(SESSION, self.session), (TOKEN, self.token), (NAME_LEN, len)] {
            if let Some(to) = words.get_mut(index) {
                *to = word;
            }
        }
        for (to, at) in words.iter_mut().skip(NAME).zip((0..).step_by(4)) {
            let byte = |behind: usize| name.get(behind.wrapping_add(at)).copied().unwrap_or(0);
            *to = u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]);
        }
        words
    }

    /// Writes it to the place that was taken by `word`.
    pub(super) fn store<L: Lease>(&self, line: &Line<'_, L>, word: PlaceWord) {
        let words = self.words();
        for (index, word) in words.iter().enumerate().skip(SESSION) {
            line.store(index, *word);
        }
        line.store(CRC, crc(word, &words));
    }

    /// The card of whoever took a place by `word`, if it is whole. Each word is read once.
    pub(super) fn load<L: Lease>(line: &Line<'_, L>, word: PlaceWord) -> Option<Self> {
        let mut words = [0; CRC];
        line.fetch(SESSION, CRC);
        for (index, to) in words.iter_mut().enumerate().skip(SESSION) {
            *to = line.peek(index);
        }
        if line.peek(CRC) != crc(word, &words) {
            return None;
        }
        let [_, session, token, len, name @ ..] = words;
        let mut bytes = [0; MAX_NAME];
        for (four, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(name) {
            *four = word.to_le_bytes();
        }
        let name = match bytes.get(..usize::try_from(len).ok()?)? {
            [] => None,
            name => Some(Name::from_bytes(name).ok()?),
        };
        Some(Self { session, token, name })
    }
}

/// The CRC-32C of an incarnation and its card.
fn crc(word: PlaceWord, words: &[u32; CRC]) -> u32 {
    !words.iter().skip(SESSION).fold(feed(u32::MAX, word.incarnation()), |crc, word| feed(crc, *word))
}

const _: () = assert!(NAME_WORDS * 4 == MAX_NAME);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_touch_each_other() {
        let mut word = PlaceWord::default();
        assert!(!word.is_held() && word.incarnation() == 0);
        for incarnation in 1..=3 {
            word = word.taken().unwrap();
            assert!(word.is_held() && word.incarnation() == incarnation);
            let mut seen = [false; 256];
            for _ in 0..256 {
                word = word.beaten();
                assert!(word.is_held() && word.incarnation() == incarnation);
                let beat = (word.0 >> BEAT_SHIFT) & BEATS;
                assert!(!core::mem::replace(&mut seen[beat as usize], true), "each heartbeat is another word");
            }
            word = word.freed();
            assert!(!word.is_held() && word.incarnation() == incarnation);
        }
        assert_eq!(PlaceWord(u32::MAX).taken(), None, "incarnations never come round");
    }
}
