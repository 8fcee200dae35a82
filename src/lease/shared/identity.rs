//! The part of a record that does not change: which lease this is, and how large. Parsed once, by consuming raw bytes.

use super::layout::{self, COVERED, HEADER, IDENTITY, MAGIC, VERSION, put, take};
use crate::error::{LeaseError, Unfit};
use crate::name::{MAX_NAME, Name};
use crate::platform::unix::Object;
use crate::types::{LeaseId, Ticks};

/// A checked identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: LeaseId,
    /// Bytes leased, a multiple of 128.
    pub(super) bytes: u64,
    pub(super) made_at: Ticks,
    /// Which start of the machine.
    pub(super) boot: u128,
    pub(super) name: Option<Name>,
}

impl Identity {
    /// Bytes of the whole file.
    pub(super) fn file_bytes(&self) -> u64 {
        self.bytes.saturating_add(u64::from(HEADER))
    }

    /// What is stored, but for the magic, which is zero.
    fn encode(&self) -> [u8; IDENTITY] {
        let mut whole = [0; IDENTITY];
        let mut to: &mut [u8] = &mut whole;
        put(&mut to, &MAGIC);
        put(&mut to, &VERSION.to_le_bytes());
        put(&mut to, &HEADER.to_le_bytes());
        put(&mut to, &[0; 4]);
        put(&mut to, &self.id.value().to_le_bytes());
        put(&mut to, &self.bytes.to_le_bytes());
        put(&mut to, &self.made_at.as_millis().to_le_bytes());
        put(&mut to, &self.boot.to_le_bytes());
        let name = self.name.as_ref().map_or("", Name::as_str).as_bytes();
        put(&mut to, &u32::try_from(name.len()).unwrap_or(0).to_le_bytes());
        put(&mut to, &[0; 4]);
        put(&mut to, name);
        let crc = layout::crc(whole.get(..COVERED).unwrap_or_default());
        let mut to = whole.get_mut(COVERED..).unwrap_or_default();
        put(&mut to, &crc.to_le_bytes());
        whole
    }

    /// Writes all but the magic.
    pub(super) fn store(&self, file: &Object) -> Result<(), LeaseError> {
        let whole = self.encode();
        file.write(MAGIC.len() as u64, whole.get(MAGIC.len()..).unwrap_or_default())
    }

    /// Writes the magic: from here on, it is a lease.
    pub(super) fn publish(file: &Object) -> Result<(), LeaseError> {
        file.write(0, &MAGIC)
    }

    /// Reads a file's identity once and checks the copy, and the file's length by it. Never touches a mapping, so that a
    /// file which is cut off meanwhile gives an error. `None` while it has no magic.
    pub(super) fn load(file: &Object) -> Result<Option<Self>, LeaseError> {
        let mut whole = [0; IDENTITY];
        let found = file.read(0, &mut whole)?;
        if whole.starts_with(&[0; MAGIC.len()]) {
            return Ok(None);
        }
        let identity = Self::decode(whole.get(..found).unwrap_or_default())?;
        if file.len()? != identity.file_bytes() {
            return Err(LeaseError::Unfit(Unfit::Size));
        }
        Ok(Some(identity))
    }

    fn decode(bytes: &[u8]) -> Result<Self, LeaseError> {
        let unfit = |why| Err(LeaseError::Unfit(why));
        if !bytes.starts_with(&MAGIC) {
            return unfit(Unfit::NotALease);
        }
        let (Some(covered), Some(version), IDENTITY) = (bytes.get(..COVERED), bytes.get(MAGIC.len()..), bytes.len())
        else {
            return unfit(Unfit::Size);
        };
        if take(&mut &*version).map(u16::from_le_bytes) != Some(VERSION) {
            return unfit(Unfit::Version);
        }
        let mut crc = bytes.get(COVERED..).unwrap_or_default();
        if take(&mut crc).map(u32::from_le_bytes) != Some(layout::crc(covered)) {
            return unfit(Unfit::Record);
        }
        // The CRC is no proof against somebody who wants to harm: what it covers is checked all the same.
        Self::fields(covered).filter(Self::is_possible).ok_or(LeaseError::Unfit(Unfit::Record))
    }

    fn fields(mut from: &[u8]) -> Option<Self> {
        let from = &mut from;
        let _magic_and_version: [u8; 10] = take(from)?;
        let header = u16::from_le_bytes(take(from)?);
        let needed = u32::from_le_bytes(take(from)?);
        if header != HEADER || needed != 0 {
            return None;
        }
        let id = LeaseId::new(u128::from_le_bytes(take(from)?));
        let bytes = u64::from_le_bytes(take(from)?);
        let made_at = Ticks::from_millis(u64::from_le_bytes(take(from)?));
        let boot = u128::from_le_bytes(take(from)?);
        let len = usize::try_from(u32::from_le_bytes(take(from)?)).ok()?;
        let _zero: [u8; 4] = take(from)?;
        let name: [u8; MAX_NAME] = take(from)?;
        let name = match len {
            0 => None,
            len => Some(Name::from_bytes(name.get(..len)?).ok()?),
        };
        Some(Self { id, bytes, made_at, boot, name })
    }

    fn is_possible(&self) -> bool {
        self.bytes != 0 && self.bytes.is_multiple_of(128) && i64::try_from(self.file_bytes()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::std_instead_of_alloc, reason = "tests have std in every tier")]
    use super::*;

    fn some() -> Identity {
        let name = Some(Name::new("events").unwrap());
        Identity { id: LeaseId::new(1 << 100 | 7), bytes: 4096, made_at: Ticks::from_millis(1 << 40), boot: 3, name }
    }

    #[test]
    fn an_identity_comes_back_and_no_damaged_bit_goes_unseen() {
        let whole = some().encode();
        assert_eq!(Identity::decode(&whole), Ok(some()));
        let nameless = Identity { name: None, ..some() };
        assert_eq!(Identity::decode(&nameless.encode()), Ok(nameless));
        for bit in 0..IDENTITY * 8 {
            let mut damaged = whole;
            damaged[bit / 8] ^= 1 << (bit % 8);
            let why = match bit / 8 {
                0..8 => Unfit::NotALease,
                8..10 => Unfit::Version,
                _ => Unfit::Record,
            };
            assert_eq!(Identity::decode(&damaged), Err(LeaseError::Unfit(why)), "bit {bit}");
        }
        for len in 0..IDENTITY {
            assert!(Identity::decode(&whole[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn what_the_checksum_covers_is_checked_all_the_same() {
        for impossible in [
            Identity { bytes: 0, ..some() },
            Identity { bytes: 4095, ..some() },
            Identity { bytes: u64::MAX - 127, ..some() },
            Identity { bytes: (1 << 63) - 256, ..some() },
        ] {
            assert_eq!(Identity::decode(&impossible.encode()), Err(LeaseError::Unfit(Unfit::Record)));
        }
        // A name that is none, a longer one than there is room for, another header, a feature.
        for (at, byte) in [(72, b'/'), (64, 65), (67, 255), (10, 1), (12, 1)] {
            let mut forged = some().encode();
            forged[at] = byte;
            let crc = layout::crc(&forged[..COVERED]).to_le_bytes();
            forged[COVERED..].copy_from_slice(&crc);
            assert_eq!(Identity::decode(&forged), Err(LeaseError::Unfit(Unfit::Record)), "byte {at}");
        }
    }
}
