//! Files by number, never by anybody's text.

/// The file that is locked.
pub(super) const LOCK: &str = "lock";

/// The name of a segment's file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name([u8; 12]);

const ENDED: &[u8; 4] = b".seg";
const MAKING: &[u8; 4] = b".new";

impl Name {
    fn new(segment: u32, end: &[u8; 4]) -> Self {
        let mut name = [0; 12];
        let (digits, ends) = name.split_at_mut(8);
        for (nth, digit) in (0_u32..).zip(digits.iter_mut().rev()) {
            let value = segment.checked_shr(nth.wrapping_mul(4)).unwrap_or(0) & 15;
            *digit = char::from_digit(value, 16).map_or(b'0', |c| u8::try_from(c).unwrap_or(b'0'));
        }
        ends.copy_from_slice(end);
        Self(name)
    }

    /// Of a segment that was made.
    pub(super) fn segment(segment: u32) -> Self {
        Self::new(segment, ENDED)
    }

    /// Of one that is being made.
    pub(super) fn making(segment: u32) -> Self {
        Self::new(segment, MAKING)
    }

    pub(super) fn as_str(&self) -> &str {
        // It is ASCII.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Which segment a file is; `None` if it is none, or is not made yet.
    pub(super) fn parse(name: &str) -> Option<u32> {
        let digits = name.strip_suffix(".seg")?;
        let segment = u32::from_str_radix(digits, 16).ok()?;
        // Signs and capitals would be other names of the same number.
        (Self::segment(segment).as_str() == name).then_some(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_others_are_none() {
        for segment in [0, 1, 9, 10, 0x1234_abcd, u32::MAX] {
            assert_eq!(Name::parse(Name::segment(segment).as_str()), Some(segment));
            assert_eq!(Name::parse(Name::making(segment).as_str()), None);
        }
        assert_eq!(Name::segment(0xbeef).as_str(), "0000beef.seg");
        assert_eq!(Name::making(7).as_str(), "00000007.new");
        for none in ["", ".seg", "7.seg", "+0000007.seg", "0000BEEF.seg", "000000007.seg", "00000007.seg~", "lock"] {
            assert_eq!(Name::parse(none), None, "{none}");
        }
    }
}
