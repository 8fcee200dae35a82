//! Leases that processes share: files of the machine's memory, or of a disk, that every process of one user can map.
//!
//! A [`SharedPool`] is a directory. A lease in it is two files, drawn byte by byte in `layout`: its record, which says how
//! the lease stands, lies beside its bytes, so every process sees its end without asking anybody. One process at a time
//! **holds** a lease and writes ([`Pool::acquire`](super::Pool::acquire), [`Pool::attach`](super::Pool::attach)); any
//! number **join** it and read ([`SharedPool::join`]).
//!
//! # Who may do harm
//! Files have mode 0600 in a directory of mode 0700, so that other users (but for root) can do nothing. Another process
//! of the same user can write anything to a lease at any time: that is what [`Untrusted`](super::Untrusted) is for, and
//! what a pool hands out unless it is told that all processes follow the protocol
//! ([`SharedPool::cooperative`]). [`Exclusive`](super::Exclusive) it never is.
//!
//! What no library can stop: such a process may also **cut a file off while it is mapped**; whoever then touches the bytes
//! is ended by the system (`SIGBUS`), as by any other signal that a process of the same user may send. Named files cannot
//! be sealed against it. A file that was cut off before it is attached to, joined, renewed, swept or reaped is an error
//! ([`Unfit::Size`](crate::Unfit::Size)). A full disk or memory cannot do it: room for all bytes is taken when a lease is
//! made, and again when it is mapped (holes that somebody punched meanwhile are filled, or the answer is
//! [`CapacityExceeded`](crate::LeaseError::CapacityExceeded)); on file systems that copy on write that is as good as they
//! keep it.
//!
//! # When processes die
//! Locks that the kernel gives back tell who lives; nothing goes by a guess. A holder's death frees its place at once:
//! `attach` takes over under the next epoch, and the ring's writer goes on behind the last committed record while readers
//! read on. While a holder lives, if only stopped, nobody can take its place: its writes could not be told from the
//! successor's. But its log can be ended, and gone on with in another lease ([`SharedPool::supersede`]). What the dead left, and nobody is going to take over, [`SharedPool::reap`] removes.
//!
//! A process that forks without starting another program passes its locks on to its child: unless it gives the lease back
//! itself, its holder is gone when both are. The child's copy of the lease does nothing when it is dropped; the child must
//! not write through it.

mod files;
mod identity;
mod layout;
mod lease;
mod pool;
mod reap;
mod term;

pub use lease::SharedLease;
pub use pool::SharedPool;
pub use reap::{Reaped, SharedInfo};
