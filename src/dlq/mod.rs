//! Dead letters.

mod cause;
mod control;
mod error;
mod graves;
mod letter;
#[cfg(feature = "alloc")]
mod owned;
mod poll;
mod queue;
mod recall;
mod redrive;
mod redriven;
mod router;
mod sweep;
mod table;
mod verdict;

pub use cause::{Cause, MAX_REASON, Reason};
pub use control::MAX_CONTROL;
pub use error::{DlqError, LetterError};
pub use graves::{KEEPER, SUFFIX};
pub use letter::DeadLetter;
#[cfg(feature = "alloc")]
pub use owned::{Delivered, Letter};
pub use queue::{Browsed, Causes, DeadLetters, LetterAt};
pub use redrive::{Redrive, RedriveOptions, RedriveProgress, RedriveState};
pub use redriven::{REDRIVEN, Redriven};
pub use router::{DlqRouter, OnFailure};
pub use verdict::{Counters, Delivery, Failing, FailingState, Polled, Receipt, Settled, Verdict};
