//! Payloads that are values: postcard's encoding of serde types.

use super::record::Record;
use super::view::MessageRef;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Why a value could not become a payload, or a payload no value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PayloadError {
    /// The buffer is too small for the value.
    Buffer {
        /// Bytes it has.
        len: usize,
    },
    /// The type refuses to be written or read this way.
    Codec,
    /// The payload ends before the value does.
    Ended,
    /// Bytes are left when the value is complete.
    Rest {
        /// How many.
        len: usize,
    },
    /// The payload holds something that the type cannot be.
    Value,
}

impl core::error::Error for PayloadError {}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Buffer { len } => write!(f, "the value does not fit into the buffer of {len} bytes: give a larger one"),
            Self::Codec => f.write_str("the type cannot be encoded without a description of itself: give sequences a length, and avoid untagged enums"),
            Self::Ended => f.write_str("the payload ends before the value does: it was sent as another type, decode it as that one"),
            Self::Rest { len } => write!(f, "{len} bytes are left behind the value: it was sent as another type, decode it as that one"),
            Self::Value => f.write_str("the payload is no value of this type: it was sent as another type, decode it as that one"),
        }
    }
}

impl<'a> Record<'a> {
    /// A record whose payload is `value`, encoded into `buffer`.
    ///
    /// ```
    /// use fabric_mq::message::Record;
    /// let mut buffer = [0; 16];
    /// assert_eq!(Record::typed(&(1_u8, "two"), &mut buffer)?.payload(), b"\x01\x03two");
    /// # Ok::<(), fabric_mq::message::PayloadError>(())
    /// ```
    ///
    /// # Errors
    /// [`PayloadError::Buffer`] if the value does not fit, [`PayloadError::Codec`] if its type has no such encoding.
    pub fn typed<T: Serialize + ?Sized>(value: &T, buffer: &'a mut [u8]) -> Result<Self, PayloadError> {
        let len = buffer.len();
        match postcard::to_slice(value, buffer) {
            Ok(payload) => Ok(Self::new(payload)),
            Err(postcard::Error::SerializeBufferFull) => Err(PayloadError::Buffer { len }),
            Err(_) => Err(PayloadError::Codec),
        }
    }
}

impl<'a> MessageRef<'a> {
    /// The payload as a value. Every byte of it must belong to the value.
    ///
    /// # Errors
    /// [`PayloadError`] says how the payload differs from what the type needs.
    pub fn decode<T: Deserialize<'a>>(&self) -> Result<T, PayloadError> {
        match postcard::take_from_bytes(self.payload()) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => Err(PayloadError::Rest { len: rest.len() }),
            Err(postcard::Error::DeserializeUnexpectedEnd) => Err(PayloadError::Ended),
            Err(postcard::Error::WontImplement | postcard::Error::NotYetImplemented) => Err(PayloadError::Codec),
            Err(_) => Err(PayloadError::Value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Offset;

    fn decode<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, PayloadError> {
        MessageRef::parse(0, Offset::new(0), 0, payload).unwrap().decode()
    }

    #[test]
    fn values_come_back_whole_or_not_at_all() {
        let mut buffer = [0; 32];
        let value = (7_u32, Some("seven"), [true, false]);
        let record = Record::typed(&value, &mut buffer).unwrap();
        assert_eq!(decode(record.payload()), Ok(value));
        assert_eq!(decode::<(u32, Option<&str>)>(record.payload()), Err(PayloadError::Rest { len: 2 }));
        assert_eq!(decode::<u64>(&[0x80]), Err(PayloadError::Ended));
        assert_eq!(decode::<bool>(&[7]), Err(PayloadError::Value));
        assert_eq!(Record::typed("long", &mut [0; 4]).unwrap_err(), PayloadError::Buffer { len: 4 });
        struct Unsized;
        impl Serialize for Unsized {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                serde::ser::SerializeSeq::end(to.serialize_seq(None)?)
            }
        }
        assert_eq!(Record::typed(&Unsized, &mut [0; 4]).unwrap_err(), PayloadError::Codec);
    }
}
