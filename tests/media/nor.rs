//! NOR flash, and that the emulated one does what it says.

use super::common::{Rng, payload};
use super::flash::{Cut, Flash, FlashError, Tear, Violation, Wipe};
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use fabric_mq::durable::{Geometry, MediumError, NorStore, Store};
use std::panic::{AssertUnwindSafe, catch_unwind};

type Chip = Flash<8, 512>;
const UNITS: usize = 64;

fn cut(after: u64, tear: Tear, wipe: Wipe, seed: u64) -> Cut {
    Cut { after, tear, wipe, good: 3, seed }
}

fn read<const W: usize, const E: usize, const R: usize>(flash: &mut Flash<W, E, R>, at: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    flash.read(at, &mut bytes).unwrap();
    bytes
}

// ------------------------------------------------------------------------------------------------------- the emulation

#[test]
fn a_broken_contract_is_told_and_fails_the_test() {
    type Wrong = fn(&mut Chip) -> Result<(), FlashError>;
    let cases: [(Violation, Wrong); 9] = [
        (Violation::Twice { at: 8 }, |flash| flash.write(0, &[1; 16]).and_then(|()| flash.write(8, &[0; 8]))),
        // What looks erased was programmed all the same.
        (Violation::Twice { at: 0 }, |flash| flash.write(0, &[0xff; 8]).and_then(|()| flash.write(0, &[0xff; 8]))),
        (Violation::Unaligned { at: 4, len: 8 }, |flash| flash.write(4, &[1; 8])),
        (Violation::Unaligned { at: 8, len: 12 }, |flash| flash.write(8, &[1; 12])),
        (Violation::OutOfBounds { at: 1016, len: 16 }, |flash| flash.write(1016, &[1; 16])),
        (Violation::Unaligned { at: 8, len: 504 }, |flash| flash.erase(8, 512)),
        (Violation::OutOfBounds { at: 512, len: 1024 }, |flash| flash.erase(512, 1536)),
        (Violation::OutOfBounds { at: 512, len: 0 }, |flash| flash.erase(512, 0)),
        (Violation::OutOfBounds { at: 1020, len: 8 }, |flash| flash.read(1020, &mut [0; 8])),
    ];
    for (violation, wrong) in cases {
        let mut flash = Chip::new(2);
        assert_eq!(wrong(&mut flash), Err(FlashError::Violation(violation)));
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(flash.clone())));
        assert!(dropped.is_err(), "{violation:?} went unseen");
        assert_eq!(flash.take_violations(), [violation]);
    }
    // Between two erasures, that is.
    let mut flash = Chip::new(2);
    flash.write(0, &[1; 16]).unwrap();
    flash.erase(0, 512).unwrap();
    flash.write(8, &[2; 8]).unwrap();
    assert_eq!(read(&mut flash, 0, 16), [[0xff; 8], [2; 8]].concat());
    // An image is as full as it looks.
    let mut flash = Chip::of(flash.image());
    flash.write(0, &[3; 8]).unwrap();
    assert!(flash.write(8, &[3; 8]).is_err());
    assert_eq!(flash.take_violations(), [Violation::Twice { at: 8 }]);
}

#[test]
fn what_was_done_is_counted() {
    let mut flash = Chip::new(3);
    flash.write(512, &[1; 32]).unwrap();
    flash.erase(512, 1536).unwrap();
    flash.erase(512, 1024).unwrap();
    read(&mut flash, 5, 100);
    read(&mut flash, 0, 1);
    let counters = flash.counters();
    assert_eq!((counters.bytes_programmed, counters.programs), (32, 1));
    assert_eq!((counters.bytes_read, counters.reads), (101, 2));
    assert_eq!((counters.erases.as_slice(), counters.spread()), ([0, 2, 1].as_slice(), 2));
    assert_eq!(flash.events(), 4 + 3);
    flash.reset_counters();
    assert_eq!((flash.counters().bytes_read, flash.counters().spread()), (0, 0));
}

/// What 4 units look like behind a cut in the write of them, and the flash.
fn torn(after: u64, tear: Tear, seed: u64) -> (Chip, Vec<u8>) {
    let mut flash = Chip::new(1);
    flash.write(0, &[0x5a; 8]).unwrap();
    let bytes = payload(7, 32);
    flash.cut(cut(after, tear, Wipe::Old, seed));
    assert_eq!(flash.write(8, &bytes), Err(FlashError::Off));
    assert!(flash.is_off());
    // Nothing is done without power.
    let image = flash.image().to_vec();
    assert_eq!(flash.read(0, &mut [0; 8]), Err(FlashError::Off));
    assert_eq!(flash.write(256, &[0; 8]), Err(FlashError::Off));
    assert_eq!(flash.erase(0, 512), Err(FlashError::Off));
    assert_eq!(flash.image(), image);
    flash.power_on();
    assert_eq!(read(&mut flash, 0, 8), [0x5a; 8], "what lies beside it stays");
    assert_eq!(read(&mut flash, 40, 472), [0xff; 472]);
    assert_eq!(flash.events(), 1 + after + 1, "the cut one counts");
    (flash, bytes)
}

/// Whether this unit can be programmed without breaking the contract.
fn is_fresh(flash: &Chip, at: u32) -> bool {
    let mut copy = flash.clone();
    let fresh = copy.write(at, &[0; 8]).is_ok();
    copy.take_violations();
    fresh
}

#[test]
fn each_way_of_tearing_a_write_does_what_it_says() {
    const BLANK: [u8; 8] = [0xff; 8];
    for (after, seed) in (0..4).flat_map(|after| (0..100).map(move |seed| (after, seed))) {
        let hit = 8 + 8 * after as u32;
        for tear in Tear::ALL {
            let (mut flash, bytes) = torn(after, tear, seed);
            assert_eq!(flash.image(), torn(after, tear, seed).0.image(), "the seed decides");
            let wanted = &bytes[8 * after as usize..][..8];
            if !matches!(tear, Tear::Nothing | Tear::Scattered) {
                assert_eq!(
                    read(&mut flash, 8, 8 * after as usize),
                    bytes[..8 * after as usize],
                    "before the cut: done"
                );
                for at in (hit + 8..40).step_by(8) {
                    assert_eq!(read(&mut flash, at, 8), BLANK, "behind the cut: untouched");
                    assert!(is_fresh(&flash, at));
                }
                assert_eq!(is_fresh(&flash, hit), tear == Tear::Prefix, "{tear:?}");
            }
            match tear {
                Tear::Nothing => {
                    assert_eq!(read(&mut flash, 8, 32), [0xff; 32]);
                    assert!((8..40).step_by(8).all(|at| is_fresh(&flash, at)));
                }
                Tear::Prefix => assert_eq!(read(&mut flash, hit, 8), BLANK),
                Tear::Subset => {
                    let unit = read(&mut flash, hit, 8);
                    assert!(unit.iter().zip(wanted).all(|(is, wanted)| is | wanted == *is), "only wanted bits are 0");
                    assert_ne!(unit, BLANK);
                }
                Tear::Garbage => {
                    let garbage = read(&mut flash, hit, 8);
                    assert!((0..10).all(|_| read(&mut flash, hit, 8) == garbage), "it stays as it is");
                }
                Tear::Unreadable => {
                    assert_eq!(flash.read(hit + 7, &mut [0]), Err(FlashError::Unreadable));
                    assert_eq!(flash.read(0, &mut [0; 64]), Err(FlashError::Unreadable));
                }
                Tear::Scattered => {}
                Tear::Fading | Tear::Marginal => {
                    let good = if tear == Tear::Fading { wanted.to_vec() } else { BLANK.to_vec() };
                    for _ in 0..3 {
                        assert_eq!(read(&mut flash, hit, 8), good);
                    }
                    let bad = read(&mut flash, hit, 8);
                    assert_ne!(bad, good);
                    assert_eq!(read(&mut flash, hit, 8), bad, "for good");
                }
            }
        }
    }
}

#[test]
fn random_ways_reach_all_that_they_should() {
    // A subset of bits is sometimes all of them but few, garbage is sometimes a bit that was never 1, and a scattered write
    // loses a unit in its middle.
    let (mut few, mut many, mut raised, mut holes, mut unreadable) = (0, 0, 0, 0, 0);
    for seed in 0..1000 {
        let (mut flash, bytes) = torn(0, Tear::Subset, seed);
        let missing: u32 = read(&mut flash, 8, 8).iter().zip(&bytes).map(|(is, all)| (is ^ all).count_ones()).sum();
        few += u32::from(missing < 10);
        many += u32::from(missing > 20);
        let (mut flash, bytes) = torn(0, Tear::Garbage, seed);
        raised += u32::from(read(&mut flash, 8, 8).iter().zip(&bytes).any(|(is, all)| is & all != *all));
        let (mut flash, bytes) = torn(2, Tear::Scattered, seed);
        let mut unit = |nth: u32| {
            let mut unit = [0; 8];
            flash.read(8 + 8 * nth, &mut unit).map(|()| unit == bytes[8 * nth as usize..][..8])
        };
        holes += u32::from(unit(0) != Ok(true) && unit(3) == Ok(true));
        unreadable += u32::from(unit(3).is_err());
    }
    assert!(few > 50 && many > 50 && raised > 900, "{few} {many} {raised}");
    assert!(holes > 100 && unreadable > 50, "{holes} {unreadable}");
}

#[test]
fn each_way_of_cutting_an_erasure_does_what_it_says() {
    let mut zeroed = std::collections::BTreeSet::new();
    for (after, seed) in (0..3).flat_map(|after| (0..200).map(move |seed| (after, seed))) {
        for wipe in Wipe::ALL {
            let mut flash = Chip::new(4);
            let old = payload(3, 1024);
            for unit in 0..4 {
                flash.write(512 * unit, &old[..504]).unwrap();
            }
            let before = flash.image().to_vec();
            flash.cut(cut(after, Tear::Nothing, wipe, seed));
            assert_eq!(flash.erase(0, 1536), Err(FlashError::Off));
            assert_eq!(flash.erase(0, 1536), Err(FlashError::Off));
            flash.power_on();
            let hit = 512 * after as usize;
            assert!(flash.image()[..hit].iter().all(|byte| *byte == 0xff), "before the cut: erased");
            assert_eq!(flash.image()[hit + 512..], before[hit + 512..], "behind it: untouched");
            let unit = flash.image()[hit..][..512].to_vec();
            // Only what nothing was done to may be programmed without another erasure.
            let last = (hit + 504) as u32;
            assert_eq!(is_fresh(&flash, last), wipe == Wipe::Old, "{wipe:?}");
            match wipe {
                Wipe::Old => assert_eq!(unit, before[hit..][..512]),
                Wipe::Zeroed => {
                    let kept = unit.iter().zip(&before[hit..]).take_while(|(is, was)| is == was).count();
                    assert!(unit[kept..].iter().all(|byte| *byte == 0) && kept < 512, "zeroed from the end");
                    zeroed.insert(kept);
                }
                Wipe::Partial => {
                    let only_raised = unit.iter().zip(&before[hit..]).all(|(is, was)| is & was == *was);
                    assert!(only_raised && unit[..504] != before[hit..][..504]);
                }
                Wipe::Unstable => {
                    for _ in 0..3 {
                        assert_eq!(read(&mut flash, hit as u32, 512), [0xff; 512]);
                    }
                    let bad = read(&mut flash, hit as u32, 512);
                    assert!(bad.chunks(8).all(|unit| unit != [0xff; 8]), "every unit flips");
                }
                Wipe::Unreadable => {
                    assert_eq!(flash.read(hit as u32 + 511, &mut [0]), Err(FlashError::Unreadable));
                }
            }
            // A whole erasure makes it good again.
            flash.erase(hit as u32, hit as u32 + 512).unwrap();
            flash.write(hit as u32, &[0; 512]).unwrap();
            assert_eq!(read(&mut flash, hit as u32, 512), [0; 512]);
        }
    }
    assert!(zeroed.len() > 100, "many lengths: {}", zeroed.len());
}

#[test]
fn damage_can_be_done_by_hand() {
    let mut flash = Chip::new(2);
    flash.write(0, &[0; 64]).unwrap();
    let copy = flash.clone();
    flash.flip(8 * 13 + 2);
    assert_eq!(read(&mut flash, 8, 8), [0, 0, 0, 0, 0, 4, 0, 0]);
    flash.spoil(21);
    assert_eq!(flash.read(16, &mut [0; 8]), Err(FlashError::Unreadable));
    flash.weaken(32, 1, 5);
    assert_eq!(read(&mut flash, 32, 8), [0; 8]);
    assert_ne!(read(&mut flash, 32, 8), [0; 8]);
    assert_eq!(copy.image()[..64], [0; 64], "an image is one of its own");
}

#[test]
fn a_hundred_thousand_cuts_take_less_than_a_minute() {
    let mut flash = Flash::<4, 4096>::new(16);
    for at in (0..60_000).step_by(100) {
        flash.write(at, &payload(at.into(), 100)).unwrap();
    }
    let start = std::time::Instant::now();
    let count = 2_000;
    for seed in 0..count {
        let mut image = flash.clone();
        image.cut(cut(seed % 25, Tear::Scattered, Wipe::Old, seed));
        assert!(image.write(61_440, &[0; 100]).is_err());
        image.power_on();
        // Some of them cannot be read.
        let _ = image.read(61_440, &mut [0; 100]);
    }
    let a_minute = count as f64 / start.elapsed().as_secs_f64() * 60.0;
    println!("{a_minute:.0} cuts of 64 KiB a minute");
    assert!(a_minute > 100_000.0, "{a_minute:.0} cuts a minute");
}

// ----------------------------------------------------------------------------------------------------------- the medium

#[test]
fn the_shape_is_that_of_the_flash() {
    let shape = |store: Result<NorStore<Chip>, MediumError>| store.map(|store| store.geometry());
    assert_eq!(shape(NorStore::whole(Chip::new(9))), Ok(Geometry::flash(9, 512, 8)));
    assert_eq!(shape(NorStore::new(Chip::new(9), 0..4608, 1)), Ok(Geometry::flash(9, 512, 8)));
    assert_eq!(shape(NorStore::new(Chip::new(9), 512..4608, 2)), Ok(Geometry::flash(4, 1024, 8)));
    assert_eq!(shape(NorStore::new(Chip::new(9), 512..4607, 2)), Ok(Geometry::flash(3, 1024, 8)), "a rest is not used");
    assert_eq!(shape(NorStore::new(Chip::new(9), 8..4608, 1)), Err(MediumError::Unaligned));
    #[allow(clippy::reversed_empty_ranges, reason = "that is the case")]
    let reversed = 1024..512;
    for (range, units) in
        [(0..4609, 1), (0..511, 1), (512..512, 1), (0..4608, 0), (0..4608, 10), (0..4608, u32::MAX), (reversed, 1)]
    {
        assert_eq!(
            shape(NorStore::new(Chip::new(9), range.clone(), units)),
            Err(MediumError::OutOfBounds),
            "{range:?} {units}"
        );
    }
    assert_eq!(shape(NorStore::whole(Chip::new(0))), Err(MediumError::OutOfBounds));
    let unit = |geometry: Geometry| geometry.write_unit;
    assert_eq!(unit(NorStore::whole(Flash::<1, 512>::new(1)).unwrap().geometry()), 4);
    assert_eq!(unit(NorStore::whole(Flash::<4, 512>::new(1)).unwrap().geometry()), 4);
    assert_eq!(unit(NorStore::whole(Flash::<256, 4096>::new(1)).unwrap().geometry()), 256);
    assert!(!NorStore::whole(Chip::new(1)).unwrap().geometry().rewritable);
    assert!(size_of::<NorStore<[u8; 4]>>() <= 16, "the driver and 12 bytes");
}

/// Programs random stretches and reads random ones, beside a model of the bytes.
fn reads_and_programs<const W: usize, const E: usize, const R: usize>() {
    for seed in 0..20 {
        let rng = &mut Rng::new(seed);
        let mut flash = Flash::<W, E, R>::new(8);
        // What lies outside of the range is somebody else's.
        flash.write(0, &vec![0xa5; E]).unwrap();
        flash.write(7 * E as u32, &vec![0xa5; E]).unwrap();
        let mut store = NorStore::new(flash, E as u32..7 * E as u32, 2).unwrap();
        let Geometry { segments, segment_bytes, write_unit, .. } = store.geometry();
        let (len, unit) = (segment_bytes as usize, write_unit as usize);
        assert_eq!((segments, len), (3, 2 * E));
        let mut model = vec![vec![0xff; len]; 3];
        let mut ends = [0; 3];
        for step in 0..300 {
            let segment = rng.size(3);
            let number = segment as u32;
            if ends[segment] == len || rng.one_in(50) {
                store.erase(number).unwrap();
                model[segment].fill(0xff);
                ends[segment] = 0;
            } else if rng.one_in(2) {
                let most = ((len - ends[segment]) / unit).min(6);
                let bytes = payload(step, (1 + rng.size(most)) * unit);
                store.program(number, ends[segment] as u32, &bytes).unwrap();
                model[segment][ends[segment]..][..bytes.len()].copy_from_slice(&bytes);
                ends[segment] += bytes.len();
                store.sync().unwrap();
            }
            let at = rng.size(len + 1);
            let most = if rng.one_in(2) { 4 * R + 8 } else { len };
            let mut into = vec![0; rng.size((len - at).min(most) + 1)];
            store.read(number, at as u32, &mut into).unwrap();
            assert_eq!(into, model[segment][at..][..into.len()], "seed {seed}, {at} of segment {segment}");
        }
        let flash = store.into_flash();
        assert!(flash.image()[..E].iter().chain(&flash.image()[7 * E..]).all(|byte| *byte == 0xa5));
    }
}

#[test]
fn any_driver_reads_and_programs() {
    reads_and_programs::<1, 512, 1>();
    reads_and_programs::<4, 512, 1>();
    reads_and_programs::<4, 512, 4>();
    reads_and_programs::<8, 1024, 16>();
    reads_and_programs::<32, 1024, 32>();
    reads_and_programs::<2, 4096, 256>();
    reads_and_programs::<256, 4096, 1>();
    reads_and_programs::<16, 4096, 64>();
}

#[test]
fn a_read_touches_no_unit_beyond_what_is_asked_for() {
    let mut store = NorStore::whole(Flash::<4, 512, 16>::new(2)).unwrap();
    store.flash_mut().spoil(31);
    store.flash_mut().spoil(64);
    let mut into = [0; 64];
    assert_eq!(store.read(0, 32, &mut into[..32]), Ok(()));
    assert_eq!(store.read(0, 33, &mut into[..30]), Ok(()));
    assert_eq!(store.read(0, 31, &mut into[..2]), Err(MediumError::Unreadable));
    assert_eq!(store.read(0, 33, &mut into[..32]), Err(MediumError::Unreadable));
    store.flash_mut().reset_counters();
    // One read for whole units, one for each end.
    assert_eq!(store.read(0, 81, &mut into), Ok(()));
    assert_eq!(store.flash_mut().counters().reads, 3);
    assert_eq!(store.flash_mut().counters().bytes_read, 80);
    assert_eq!(store.read(0, 80, &mut into), Ok(()));
    assert_eq!(store.flash_mut().counters().reads, 4);
    assert_eq!(store.read(0, 80, &mut []), Ok(()));
    assert_eq!(store.flash_mut().counters().reads, 4);
}

#[test]
fn what_is_not_within_a_segment_never_reaches_the_driver() {
    let mut store = NorStore::new(Chip::new(UNITS), 0..1024, 1).unwrap();
    let outside = Err(MediumError::OutOfBounds);
    for (segment, at, len) in
        [(2, 0, 8), (0, 512, 8), (0, 505, 8), (0, u32::MAX, 8), (u32::MAX, u32::MAX - 7, 8), (0, 0, 520)]
    {
        assert_eq!(store.read(segment, at, &mut vec![0; len]), outside, "{segment} {at} {len}");
        assert_eq!(store.program(segment, at, &vec![0; len]), outside, "{segment} {at} {len}");
    }
    assert_eq!(store.erase(2), outside);
    for (at, len) in [(4, 8), (8, 4), (1, 1)] {
        assert_eq!(store.program(0, at, &vec![0; len]), Err(MediumError::Unaligned));
    }
    assert_eq!(store.program(0, 512, &[]), Ok(()));
    // The drop of the flash says that the contract held.
}

#[test]
fn errors_of_the_driver_are_told() {
    let mut store = NorStore::whole(Chip::new(2)).unwrap();
    store.program(0, 0, &[1; 8]).unwrap();
    store.flash_mut().spoil(0);
    assert_eq!(store.read(0, 0, &mut [0; 4]), Err(MediumError::Unreadable));
    store.flash_mut().cut(cut(1, Tear::Prefix, Wipe::Old, 0));
    assert_eq!(store.program(0, 8, &[1; 16]), Err(MediumError::Failed));
    assert_eq!(store.erase(0), Err(MediumError::Failed));
    store.flash_mut().power_on();
    let mut bytes = [0; 16];
    store.read(0, 8, &mut bytes).unwrap();
    assert_eq!(bytes, *[[1; 8], [0xff; 8]].as_flattened());
    store.flash_mut().cut(cut(0, Tear::Prefix, Wipe::Old, 0));
    assert_eq!(store.erase(0), Err(MediumError::Failed));
}

/// A driver whose addresses are not what it said.
#[derive(Debug)]
struct Odd(embedded_storage::nor_flash::NorFlashErrorKind);
impl embedded_storage::nor_flash::ErrorType for Odd {
    type Error = embedded_storage::nor_flash::NorFlashErrorKind;
}
impl ReadNorFlash for Odd {
    const READ_SIZE: usize = 1;
    fn read(&mut self, _: u32, _: &mut [u8]) -> Result<(), Self::Error> {
        Err(self.0)
    }
    fn capacity(&self) -> usize {
        1024
    }
}
impl NorFlash for Odd {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 512;
    fn erase(&mut self, _: u32, _: u32) -> Result<(), Self::Error> {
        Err(self.0)
    }
    fn write(&mut self, _: u32, _: &[u8]) -> Result<(), Self::Error> {
        Err(self.0)
    }
}

#[test]
fn every_kind_of_error_has_its_meaning() {
    use embedded_storage::nor_flash::NorFlashErrorKind::{NotAligned, Other, OutOfBounds};
    for (kind, read, write) in [
        (NotAligned, MediumError::Unaligned, MediumError::Unaligned),
        (OutOfBounds, MediumError::OutOfBounds, MediumError::OutOfBounds),
        (Other, MediumError::Unreadable, MediumError::Failed),
    ] {
        let mut store = NorStore::whole(Odd(kind)).unwrap();
        assert_eq!(store.read(0, 0, &mut [0]), Err(read));
        assert_eq!(store.program(0, 0, &[0; 4]), Err(write));
        assert_eq!(store.erase(0), Err(write));
    }
}
