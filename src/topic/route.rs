//! Which partition a record goes to.
//!
//! A record with a key goes to partition `h mod n`, where `n` is the number of partitions and `h` is MurmurHash3
//! (the 32-bit variant for 32-bit processors, seed 0) of the key's bytes. This holds on every target and in every
//! version, so that a key's records stay in one partition for ever. The hash needs 32-bit multiplications only, and
//! published vectors exist to check any other implementation against. It does not resist an adversary who chooses keys
//! so that all go to one partition: that costs balance, not correctness.

/// The partition of a key among `partitions`. 0 if there are none.
///
/// ```
/// use fabric_mq::topic::partition_of;
/// // Its hash is 0xBA6BD213.
/// assert_eq!(partition_of(b"test", 4), 3);
/// ```
#[must_use]
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    hash(key).checked_rem(partitions).unwrap_or(0)
}

fn hash(key: &[u8]) -> u32 {
    let (words, rest) = key.as_chunks::<4>();
    let mut h = 0_u32;
    for word in words {
        h ^= mix(u32::from_le_bytes(*word));
        h = h.rotate_left(13).wrapping_mul(5).wrapping_add(0xE654_6B64);
    }
    let last = rest.iter().rev().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
    if !rest.is_empty() {
        h ^= mix(last);
    }
    #[allow(clippy::cast_possible_truncation, reason = "keys are short; the length counts modulo 2^32")]
    let len = key.len() as u32;
    h ^= len;
    h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
    h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
    h ^ (h >> 16)
}

const fn mix(word: u32) -> u32 {
    word.wrapping_mul(0xCC9E_2D51).rotate_left(15).wrapping_mul(0x1B87_3593)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors that other implementations of MurmurHash3 publish, for seed 0.
    #[test]
    fn the_hash_is_murmur3() {
        for (key, expected) in [
            (&b""[..], 0),
            (b"test", 0xBA6B_D213),
            (b"Hello, world!", 0xC036_3E43),
            (b"The quick brown fox jumps over the lazy dog", 0x2E4F_F723),
            (b"\0\0\0\0", 0x2362_F9DE),
            (b"\0\0\0", 0x85F0_B427),
            (b"\0\0", 0x30F4_C306),
            (b"\0", 0x514E_28B7),
            (b"\xFF\xFF\xFF\xFF", 0x7629_3B50),
            (b"\x21\x43\x65\x87", 0xF55B_516B),
            (b"\x21\x43\x65", 0x7E4A_8634),
            (b"\x21\x43", 0xA0F7_B07A),
            (b"\x21", 0x7266_1CF4),
        ] {
            assert_eq!(hash(key), expected, "{key:?}");
        }
    }

    #[test]
    fn keys_spread_over_any_number_of_partitions() {
        for partitions in [1_u32, 2, 3, 4, 7, 16] {
            let mut counts = std::vec![0_u32; partitions as usize];
            for n in 0..16_000_u32 {
                counts[partition_of(std::format!("key-{n}").as_bytes(), partitions) as usize] += 1;
            }
            let fair = 16_000 / partitions;
            assert!(counts.iter().all(|count| count.abs_diff(fair) < fair / 8 + 1), "{counts:?}");
        }
        assert_eq!(partition_of(b"x", 0), 0);
    }
}
