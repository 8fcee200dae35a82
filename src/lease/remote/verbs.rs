//! What memory that cannot be mapped can do.

use crate::error::LeaseError;
use core::fmt;

/// With whom a compare-and-exchange by verbs is atomic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Atomicity {
    /// With all verbs and with the instructions of every processor that maps the memory.
    Global,
    /// With the verbs that go through the same network card, and with nothing else. Then nobody may map the memory and take a
    /// place there.
    Nic,
}

/// Why a verb failed. After any of these the connection is not used again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum VerbError {
    /// The connection is broken. Whether the verb was performed is not known.
    Disconnected,
    /// The network said no, with this code. Whether the verb was performed is not known.
    Io(i32),
    /// It would touch bytes outside the memory. It was not performed.
    OutOfBounds,
    /// The memory's side refused: neither this verb nor any after it is performed.
    Refused(LeaseError),
    /// No answer came in time. The verb may have been performed, or may yet be.
    Timeout,
}

impl core::error::Error for VerbError {}

impl fmt::Display for VerbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("the connection broke: connect again"),
            Self::Io(code) => {
                write!(f, "the network refused with code {code}: put right what it stands for, and connect again")
            }
            Self::OutOfBounds => {
                f.write_str("the verb would touch bytes outside the memory: stay below its length, and connect again")
            }
            Self::Refused(inner) => write!(f, "{inner}"),
            Self::Timeout => f.write_str("no answer came in time: connect again"),
        }
    }
}

/// A connection to memory that is reached by verbs: one reliable, ordered queue of them.
///
/// # What an implementation must keep
/// As an InfiniBand or RoCE *reliable connection* does, or a socket to a process that performs one verb after the other:
///
/// - **Order.** The verbs of one connection are performed in the order of the calls. All of a write is visible before anything
///   of the next one is; a read or a compare-and-exchange finds the writes before it (on queue pairs that let a read pass
///   earlier writes, it must be fenced). A read begins after the answer to the read before it has come.
/// - **Units.** Aligned four bytes are never torn, by a read or a write. Beyond that nothing is assumed: the units of one write
///   become visible in any order, those of one read may be of different moments.
/// - **Repeats.** A write or a read may be performed several times, each time before the next verb of the connection is. A
///   compare-and-exchange is performed once at most, and changes nothing where it does not find `old`.
/// - **Ends.** After an error no later verb is performed. A write under way may still be, until the memory's side closes the
///   connection; whoever grants the memory to the next writer must have closed it.
///
/// Nothing else is asked: verbs of different connections come in any order.
///
/// A network card that exchanges eight bytes only does four by reading the aligned eight, exchanging them with the one half
/// changed, and trying again if it was the other half that had moved meanwhile.
pub trait Verbs {
    /// How many bytes there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the bytes from `at` on. Waits for them.
    ///
    /// # Errors
    /// [`VerbError`]: what is in `into` is not to be used.
    fn read(&self, at: usize, into: &mut [u8]) -> Result<(), VerbError>;

    /// Sends bytes to `at`. The bytes have been taken when it returns; it need not wait until they have arrived, and a failure
    /// may be told by any later verb.
    ///
    /// # Errors
    /// [`VerbError`]: some of the bytes may have arrived.
    fn write(&self, at: usize, from: &[u8]) -> Result<(), VerbError>;

    /// Waits until all writes so far are visible to everybody.
    ///
    /// # Errors
    /// [`VerbError`]: some of the last ones may be. If [`VerbError::Refused`], the last one is not, and will not be.
    fn flush(&self) -> Result<(), VerbError>;

    /// Stores `new` in the four little-endian bytes at `at`, a multiple of four, if they hold `old`; answers what they held.
    ///
    /// # Errors
    /// [`VerbError`].
    fn compare_exchange(&self, at: usize, old: u32, new: u32) -> Result<u32, VerbError>;

    /// With whom [`compare_exchange`](Self::compare_exchange) is atomic.
    fn atomicity(&self) -> Atomicity;

    /// Whether the memory's side still serves this connection, as far as is known here. Asked before each record: does not ask
    /// over the network.
    ///
    /// # Errors
    /// [`VerbError`].
    fn check(&self) -> Result<(), VerbError> {
        Ok(())
    }

    /// A number, not 0, by which the memory's side knows this connection; 0 if it does not. All who reach the memory by numbers
    /// must have them from the same place.
    fn token(&self) -> u32 {
        0
    }

    /// Whether the memory's side has closed the connection of this number, so that nothing more of it is performed.
    ///
    /// # Errors
    /// [`VerbError`].
    fn is_gone(&self, token: u32) -> Result<bool, VerbError> {
        let _ = token;
        Ok(false)
    }

    /// The lease that this connection was granted is given back: what is in it stays until its time is over if `keep`, else it
    /// goes at once. The last call on the connection.
    ///
    /// # Errors
    /// [`VerbError`]: it is as if the connection had broken.
    fn release(&self, keep: bool) -> Result<(), VerbError> {
        let _ = keep;
        Ok(())
    }
}

impl<V: Verbs + ?Sized> Verbs for &V {
    fn release(&self, keep: bool) -> Result<(), VerbError> {
        (**self).release(keep)
    }
    fn len(&self) -> usize {
        (**self).len()
    }
    fn read(&self, at: usize, into: &mut [u8]) -> Result<(), VerbError> {
        (**self).read(at, into)
    }
    fn write(&self, at: usize, from: &[u8]) -> Result<(), VerbError> {
        (**self).write(at, from)
    }
    fn flush(&self) -> Result<(), VerbError> {
        (**self).flush()
    }
    fn compare_exchange(&self, at: usize, old: u32, new: u32) -> Result<u32, VerbError> {
        (**self).compare_exchange(at, old, new)
    }
    fn atomicity(&self) -> Atomicity {
        (**self).atomicity()
    }
    fn check(&self) -> Result<(), VerbError> {
        (**self).check()
    }
    fn token(&self) -> u32 {
        (**self).token()
    }
    fn is_gone(&self, token: u32) -> Result<bool, VerbError> {
        (**self).is_gone(token)
    }
}
