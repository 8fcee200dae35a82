//! The same for messages of one's own.

use super::owned::Message;
use super::typed::PayloadError;
use serde::Deserialize;

impl Message {
    /// The payload as a value. Every byte of it must belong to the value.
    ///
    /// # Errors
    /// As [`MessageRef::decode`](super::MessageRef::decode).
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, PayloadError> {
        self.view().decode()
    }
}
