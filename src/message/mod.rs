//! Messages: a payload, and what goes with it.
//!
//! A [`Record`] is a message on its way in: a payload, perhaps with a key, a time, headers and the mark of its producer,
//! all borrowed. A [`MessageRef`] is one on its way out, borrowed from the partition; `Message` is a copy of one's own
//! (feature `alloc`). What stands before the payload in memory is drawn in `layout`; a payload alone is stored as it is.

mod error;
pub(crate) mod layout;
#[cfg(feature = "alloc")]
mod owned;
mod record;
#[cfg(feature = "postcard")]
mod typed;
#[cfg(all(feature = "postcard", feature = "alloc"))]
mod typed_owned;
mod view;

pub use error::MessageError;
pub use layout::{MAX_ENVELOPE, MAX_HEADER_NAME, MAX_HEADER_VALUE, MAX_HEADERS, MAX_KEY};
#[cfg(feature = "alloc")]
pub use owned::Message;
pub use record::Record;
#[cfg(feature = "postcard")]
pub use typed::PayloadError;
pub use view::{Headers, MessageRef, ProducerBlock};
