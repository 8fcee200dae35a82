//! Addresses: every one prints as it was read, and nothing else is read.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use fabric_mq::NameError;
use fabric_mq::uri::{Uri, UriError};

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn name(&mut self) -> String {
        const LETTERS: &[u8] = b"azAZ09._-";
        let most = if self.below(8) == 0 { 128 } else { 6 };
        let len = 1 + self.below(most);
        (0..len).map(|_| char::from(LETTERS[self.below(LETTERS.len() as u64) as usize])).collect()
    }
}

#[test]
fn what_is_built_is_read_again() {
    let mut random = Random(0x5EED);
    let mut refused = 0;
    for _ in 0..20_000 {
        let (pool, topic) = (random.name(), random.name());
        let Ok(mut uri) = Uri::new(&pool, &topic) else {
            assert!([&pool, &topic].iter().any(|name| matches!(name.as_str(), "." | "..")), "{pool} {topic}");
            refused += 1;
            continue;
        };
        if random.below(2) == 0 {
            let digits = random.below(33);
            uri = uri.with_partition((random.below(1 << 32) >> digits) as u32);
        }
        let text = uri.to_string();
        assert_eq!(Uri::parse(&text), Ok(uri));
        assert_eq!(Uri::try_from(text.as_str()), Ok(uri));
    }
    assert!(refused > 0, "dots were among them");
}

#[test]
fn what_is_read_prints_the_same() {
    // Any change to a good address is refused, or is another address that prints as it stands.
    let mut random = Random(0xF00D);
    let good = b"fabric-mq://rack-7/events/42";
    let letters = b"/:.-_a0 %\x7F+";
    for _ in 0..50_000 {
        let mut text = good.to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(text.len() as u64) as usize;
            let letter = letters[random.below(letters.len() as u64) as usize];
            match random.below(3) {
                0 => text[at] = letter,
                1 => text.insert(at, letter),
                _ => drop(text.remove(at)),
            }
        }
        let text = String::from_utf8(text).expect("it is ASCII");
        if let Ok(uri) = Uri::parse(&text) {
            assert_eq!(uri.to_string(), text);
        }
    }
}

#[test]
fn errors_say_where() {
    let long = format!("fabric-mq://p/{}", "t".repeat(129));
    let name = |at, error| UriError::Name { at, error };
    let empty = NameError::Length { len: 0, max: 128 };
    for (text, error) in [
        ("", UriError::Scheme { at: 0 }),
        ("fabric-mq:/", UriError::Scheme { at: 11 }),
        ("Fabric-mq://p/t", UriError::Scheme { at: 0 }),
        ("fabric-mq://", UriError::NoTopic { at: 12 }),
        ("fabric-mq://pool", UriError::NoTopic { at: 16 }),
        ("fabric-mq:///t", name(12, empty)),
        ("fabric-mq://p/", name(14, empty)),
        ("fabric-mq://p//3", name(14, empty)),
        ("fabric-mq://p/..", name(14, NameError::Dots)),
        ("fabric-mq://p/a%20b", name(14, NameError::Character { at: 1 })),
        (&long, name(14, NameError::Length { len: 129, max: 128 })),
        ("fabric-mq://p/t/", UriError::Partition { at: 16 }),
        ("fabric-mq://p/t/01", UriError::Partition { at: 16 }),
        ("fabric-mq://p/t/+1", UriError::Partition { at: 16 }),
        ("fabric-mq://p/t/1/", UriError::Partition { at: 16 }),
        ("fabric-mq://p/t/4294967296", UriError::Partition { at: 16 }),
    ] {
        assert_eq!(Uri::parse(text), Err(error), "{text}");
    }
    assert_eq!(Uri::parse("fabric-mq://p/t/0").map(|uri| uri.partition()), Ok(Some(0)));
    assert_eq!(Uri::parse("fabric-mq://p/t/4294967295").map(|uri| uri.partition()), Ok(Some(u32::MAX)));
}
