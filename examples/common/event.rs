//! What the program needs of a line: the network that reported the earthquake, and its magnitude.

use core::fmt;
use core::str;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The longest name of a network.
const MAX_NET: usize = 32;

pub(crate) struct Event<'a> {
    pub(crate) net: Cow<'a, str>,
    pub(crate) magnitude: Option<f64>,
}

/// The two fields, of whatever type they are.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    net: Option<&'a RawValue>,
    #[serde(borrow)]
    mag: Option<&'a RawValue>,
}

impl<'a> Event<'a> {
    pub(crate) fn parse(line: &'a [u8]) -> Result<Self, Malformed> {
        let start = line.trim_ascii_start();
        if start.is_empty() {
            return Err(Malformed::Empty);
        }
        let text = str::from_utf8(line).map_err(|error| Malformed::Encoding { at: error.valid_up_to() })?;
        // Serde would take an array for the struct as well.
        if !start.starts_with(b"{") {
            return Err(Malformed::NotAnObject);
        }
        let fields: Fields<'a> = serde_json::from_str(text).map_err(|error| Malformed::json(&error))?;
        let net = network(fields.net.ok_or(Malformed::NoNet)?.get())?;
        let magnitude = fields.mag.and_then(|raw| raw.get().parse().ok()).filter(|number: &f64| number.is_finite());
        Ok(Self { net, magnitude })
    }
}

/// The network in a JSON string. Names are short and printable, so that they can be keys and stand in a table.
fn network(json: &str) -> Result<Cow<'_, str>, Malformed> {
    let quoted = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or(Malformed::NetType)?;
    let net = if quoted.contains('\\') {
        Cow::Owned(serde_json::from_str(json).map_err(|_| Malformed::Net)?)
    } else {
        Cow::Borrowed(quoted)
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if net.is_empty() || net.len() > MAX_NET || !net.bytes().all(plain) {
        return Err(Malformed::Net);
    }
    Ok(net)
}

/// Why a line is no event.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Malformed {
    Empty,
    Encoding { at: usize },
    Json { what: String, column: usize },
    Net,
    NetType,
    NoNet,
    NotAnObject,
    TooLong { limit: usize },
    TooManyKeys { limit: usize },
}

impl Malformed {
    fn json(error: &serde_json::Error) -> Self {
        let mut what = error.to_string();
        // Its lines are counted from the record's beginning.
        if let Some(end) = what.rfind(" at line ") {
            what.truncate(end);
        }
        Self::Json { what, column: error.column() }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty"),
            Self::Encoding { at } => write!(f, "not UTF-8 from byte {} on", at + 1),
            Self::Json { what, column } => write!(f, "bad JSON at byte {column}: {what}"),
            Self::Net => write!(f, "\"net\" is not a name of 1 to {MAX_NET} characters A-Z a-z 0-9 . _ -"),
            Self::NetType => f.write_str("\"net\" is not a string"),
            Self::NoNet => f.write_str("\"net\" is missing"),
            Self::NotAnObject => f.write_str("not a JSON object"),
            Self::TooLong { limit } => write!(f, "longer than {limit} bytes"),
            Self::TooManyKeys { limit } => write!(f, "one more network than the {limit} that are kept apart"),
        }
    }
}
