//! CRC-32C (Castagnoli): by the processor's instructions where a server has them, by a table of 64 bytes in firmware.

/// The CRC-32C of what `crc` is the CRC-32C of, followed by `bytes`. That of nothing is 0.
#[inline]
pub(crate) fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    #[cfg(feature = "std")]
    return ::crc32c::crc32c_append(crc, bytes);
    #[cfg(not(feature = "std"))]
    by_nibbles(crc, bytes)
}

/// The same, four bits at a time.
#[cfg(any(test, not(feature = "std")))]
fn by_nibbles(crc: u32, bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 4) ^ TABLE.get((crc & 15) as usize).copied().unwrap_or(0);
    !bytes.iter().fold(!crc, |crc, byte| step(step(crc ^ u32::from(*byte))))
}

/// What each nibble leaves behind.
#[cfg(any(test, not(feature = "std")))]
static TABLE: [u32; 16] = {
    let mut table = [0; 16];
    let mut nibble = 0_u32;
    while nibble < 16 {
        let mut rest = nibble;
        let mut bit = 0;
        while bit < 4 {
            rest = (rest >> 1) ^ (0x82f6_3b78 & (rest & 1).wrapping_neg());
            bit += 1;
        }
        #[allow(clippy::indexing_slicing, reason = "below 16")]
        {
            table[nibble as usize] = rest;
        }
        nibble += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_answer_the_published_check_values() {
        let rising: [u8; 32] = core::array::from_fn(|at| at.to_le_bytes()[0]);
        for crc in [crc32c, by_nibbles] {
            assert_eq!(crc(0, b"123456789"), 0xe306_9283);
            assert_eq!(crc(0, &[0; 32]), 0x8a91_36aa);
            assert_eq!(crc(0, &[0xff; 32]), 0x62a8_ab43);
            assert_eq!(crc(0, &rising), 0x46dd_794e);
            assert_eq!(crc(crc(0, b"1234"), b"56789"), 0xe306_9283);
            assert_eq!(crc(7, b""), 7);
        }
    }
}
