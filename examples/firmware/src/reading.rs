//! One reading of the station, and a year of them.

include!(concat!(env!("OUT_DIR"), "/readings.rs"));

/// How many readings the year has.
pub const READINGS: u32 = TABLE.len() as u32;

/// What the station measures once an hour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reading {
    /// Hours since the year began.
    pub hour: u16,
    /// Tenths of hectopascals.
    pub pressure: i16,
    /// Tenths of degrees Celsius.
    pub temperature: i16,
    /// Tenths of metres per second.
    pub wind: i16,
}

impl Reading {
    /// Bytes of a reading in a record.
    pub const LEN: usize = 8;

    /// The reading that the sensor takes when it has taken `count` before; the year begins again at its end.
    pub fn nth(count: u32) -> Self {
        let (hour, pressure, temperature, wind) = TABLE[(count % READINGS) as usize];
        Self { hour, pressure, temperature, wind }
    }

    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let [a, b] = self.hour.to_le_bytes();
        let [c, d] = self.pressure.to_le_bytes();
        let [e, f] = self.temperature.to_le_bytes();
        let [g, h] = self.wind.to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }

    /// `None` if the bytes are not those of one reading.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = *bytes.first_chunk()?;
        (bytes.len() == Self::LEN).then_some(Self {
            hour: u16::from_le_bytes([a, b]),
            pressure: i16::from_le_bytes([c, d]),
            temperature: i16::from_le_bytes([e, f]),
            wind: i16::from_le_bytes([g, h]),
        })
    }
}
