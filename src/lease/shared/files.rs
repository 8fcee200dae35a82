//! A lease's files by their names, their locks, and what can be told from them.

use super::identity::Identity;
use crate::error::{LeaseError, Unfit};
use crate::platform::relax;
use crate::platform::unix::{self, Directory, Lock, Object};
use crate::types::LeaseId;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::hash::BuildHasher;

/// The names of a lease's two files, in their directory.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) dir: Arc<Directory>,
    pub(super) id: LeaseId,
}

/// A file of a lease, by its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    Lease,
    Hold,
    Read(u32),
}

/// The number that `digits` hexadecimal digits stand for. (Numbers are also read with a sign, which names have not.)
fn hex(text: &str, digits: usize) -> Option<u128> {
    let plain = text.len() == digits && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
    u128::from_str_radix(text, 16).ok().filter(|_| plain)
}

/// What a name stands for.
pub(super) fn parse(name: &str) -> Option<(LeaseId, Part)> {
    let (id, rest) = name.split_once('.')?;
    let part = match rest {
        "lease" => Part::Lease,
        "hold" => Part::Hold,
        _ => Part::Read(hex(rest.strip_suffix(".read")?, 8)?.try_into().ok()?),
    };
    Some((LeaseId::new(hex(id, 32)?), part))
}

impl Files {
    pub(super) fn name(&self, part: Part) -> String {
        let id = self.id.value();
        match part {
            Part::Lease => format!("{id:032x}.lease"),
            Part::Hold => format!("{id:032x}.hold"),
            Part::Read(token) => format!("{id:032x}.{token:08x}.read"),
        }
    }

    pub(super) fn lease(&self) -> Result<Object, LeaseError> {
        self.dir.find(&self.name(Part::Lease))
    }

    pub(super) fn hold(&self) -> Result<Object, LeaseError> {
        self.dir.find(&self.name(Part::Hold))
    }

    /// Takes the names away, but those of living readers, who do so themselves. The lease's first: a holder's file alone is
    /// no lease, and nobody can make a new one of the name while the old holder's is there.
    pub(super) fn remove(&self) -> Result<(), LeaseError> {
        self.dir.remove(&self.name(Part::Lease))?;
        self.remove_dead_readers()?;
        self.dir.remove(&self.name(Part::Hold))
    }

    /// Takes away the names of dead readers; answers how many those were.
    pub(super) fn remove_dead_readers(&self) -> Result<usize, LeaseError> {
        let mut removed: usize = 0;
        for (id, part) in self.dir.names()?.iter().filter_map(|name| parse(name)) {
            let Part::Read(token) = part else { continue };
            if id == self.id && self.is_dead_reader(token) {
                self.dir.remove(&self.name(part))?;
                removed = removed.saturating_add(1);
            }
        }
        Ok(removed)
    }

    /// Makes a reader's file, and locks it; answers it with the token it goes by.
    pub(super) fn begin_reading(&self) -> Result<(u32, Object), LeaseError> {
        for _ in 0..16 {
            // Never 0.
            #[allow(clippy::cast_possible_truncation, reason = "a part of it is as good")]
            let token = ((random() as u32) >> 1) | 1;
            match self.dir.create(&self.name(Part::Read(token))) {
                Ok(file) if lock_soon(&file, Lock::Exclusive)? && file.is_linked()? => return Ok((token, file)),
                // Somebody has it, or took it away in the moment before it was locked.
                Ok(_) | Err(LeaseError::InUse) => {}
                Err(error) => return Err(error),
            }
        }
        Err(LeaseError::Disconnected)
    }

    /// Removes a reader's file, before its lock is given back.
    pub(super) fn end_reading(&self, token: u32, file: &Object) {
        if file.is_linked().unwrap_or(false) {
            // What cannot be removed now, `reap` removes.
            let _ = self.dir.remove(&self.name(Part::Read(token)));
        }
    }

    /// Whether the reader of this token is proven to be dead, or gone.
    pub(super) fn is_dead_reader(&self, token: u32) -> bool {
        match self.dir.find(&self.name(Part::Read(token))) {
            Ok(file) => file.lock(Lock::Exclusive) == Ok(true),
            // Its owner alone removes it, or somebody who knows that it is dead.
            Err(error) => error == LeaseError::Unknown,
        }
    }

    /// Opens the lease and reads its identity. Both files must be what they should be.
    pub(super) fn open(&self) -> Result<(Object, Identity), LeaseError> {
        let file = self.lease()?;
        let identity = match Identity::load(&file)? {
            Some(identity) => Some(identity),
            // Whoever makes it has the holder's lock all the time, until it is made.
            None => match self.hold() {
                Ok(hold) if !hold.lock(Lock::Exclusive)? => return Err(LeaseError::Disconnected),
                Ok(_) => Identity::load(&file)?,
                Err(error) => return Err(error),
            },
        };
        match identity {
            Some(identity) if identity.id == self.id => Ok((file, identity)),
            // A copy of another lease.
            Some(_) => Err(LeaseError::Unfit(Unfit::Record)),
            // Whoever was making it died: it never was one.
            None => Err(LeaseError::Unknown),
        }
    }
}

/// A number from the system's random seeds of hash maps.
pub(super) fn random() -> u64 {
    std::hash::RandomState::new().hash_one(unix::process_id())
}

/// Tries a lock for a moment: whoever looks whether somebody lives holds it for as long as that takes.
pub(super) fn lock_soon(file: &Object, how: Lock) -> Result<bool, LeaseError> {
    for _ in 0..64 {
        if file.lock(how)? {
            return Ok(true);
        }
        relax(u32::MAX);
    }
    Ok(false)
}
