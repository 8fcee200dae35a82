//! That the emulated files do what they say.

use super::common::Rng;
use super::disk::{Call, EBADF, EEXIST, EINTR, EIO, ENOENT, ENOSPC, Fault, FaultyDisk, FaultyFile, Odometer, SECTOR};
use fabric_mq::durable::Disk;
use std::collections::BTreeSet;
use std::io::Result;

fn code<R>(result: Result<R>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

/// A file of two sectors of ones that is on the medium, and the number of the next call.
fn stored() -> (FaultyDisk, FaultyFile, u64) {
    let mut disk = FaultyDisk::new();
    let file = disk.create("a").unwrap();
    assert_eq!(disk.write_at(&file, 0, &[1; 2 * SECTOR]).unwrap(), 2 * SECTOR);
    disk.sync(&file).unwrap();
    disk.sync_names().unwrap();
    let next = disk.calls();
    (disk, file, next)
}

/// All states that a cut can leave a file in.
fn states(disk: &FaultyDisk, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    let mut odometer = Odometer::default();
    let mut found = BTreeSet::new();
    loop {
        let image = disk.image();
        image.power_cut(&mut odometer);
        found.insert(image.files().remove(name));
        if !odometer.step() {
            return found;
        }
    }
}

fn sectors(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(bytes.iter().flat_map(|byte| [*byte; SECTOR]).collect())
}

#[test]
fn files_are_files() {
    let (mut disk, file, _) = stored();
    assert_eq!(code(disk.create("a")), Some(EEXIST));
    assert_eq!(code(disk.open("b")), Some(ENOENT));
    assert_eq!(code(disk.rename("b", "c")), Some(ENOENT));
    assert_eq!(code(disk.remove("b")), Some(ENOENT));
    let mut into = [0; 600];
    assert_eq!(disk.read_at(&file, 1000, &mut into).unwrap(), 24);
    assert_eq!(disk.read_at(&file, 1024, &mut into).unwrap(), 0);
    assert_eq!(disk.len(&file).unwrap(), 1024);
    assert!(disk.try_lock(&file).unwrap());
    assert!(!disk.try_lock(&file).unwrap());
    disk.unlock(&file);
    assert!(disk.try_lock(&file).unwrap());
    disk.rename("a", "b").unwrap();
    let mut names = Vec::new();
    disk.names(&mut |name| names.push(name.to_owned())).unwrap();
    assert_eq!(names, ["b"]);
    // The dead have no files and no locks.
    disk.kill();
    assert_eq!(code(disk.len(&file)), Some(EBADF));
    let file = disk.open("b").unwrap();
    assert!(disk.try_lock(&file).unwrap());
}

#[test]
fn what_was_synced_stays_and_the_rest_is_there_or_not() {
    let (mut disk, file, _) = stored();
    assert_eq!(states(&disk, "a"), BTreeSet::from([sectors(&[1, 1])]));
    disk.write_at(&file, 0, &[2; 2 * SECTOR]).unwrap();
    disk.write_at(&file, SECTOR as u64, &[3; SECTOR]).unwrap();
    let all = [[1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3]];
    assert_eq!(states(&disk, "a"), all.iter().map(|state| sectors(state)).collect(), "torn, reordered, lost");
    disk.sync(&file).unwrap();
    assert_eq!(states(&disk, "a"), BTreeSet::from([sectors(&[2, 3])]));
    // A process that dies loses nothing.
    disk.write_at(&file, 0, &[4; 10]).unwrap();
    disk.kill();
    assert_eq!(disk.files()["a"][..11], [4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 2]);
}

#[test]
fn lengths_may_come_before_data() {
    let (mut disk, file, _) = stored();
    disk.write_at(&file, 2 * SECTOR as u64, &[2; SECTOR]).unwrap();
    let all = [&[1, 1][..], &[1, 1, 0], &[1, 1, 2]];
    assert_eq!(states(&disk, "a"), all.iter().map(|state| sectors(state)).collect());
}

#[test]
fn names_may_be_lost() {
    let (mut disk, _, _) = stored();
    let new = disk.create("b").unwrap();
    disk.write_at(&new, 0, &[2; SECTOR]).unwrap();
    disk.sync(&new).unwrap();
    assert_eq!(states(&disk, "b"), BTreeSet::from([None, sectors(&[2])]), "synced, but its name was not");
    disk.rename("b", "c").unwrap();
    assert_eq!(states(&disk, "c"), BTreeSet::from([None, sectors(&[2])]));
    disk.remove("a").unwrap();
    assert_eq!(states(&disk, "a"), BTreeSet::from([None, sectors(&[1, 1])]));
    disk.sync_names().unwrap();
    assert_eq!(states(&disk, "c"), BTreeSet::from([sectors(&[2])]));
    assert_eq!(states(&disk, "a"), BTreeSet::from([None]));
}

#[test]
fn a_failed_sync_takes_what_it_lost_for_stored() {
    let mut kinds = BTreeSet::new();
    for seed in 0..20 {
        let (mut disk, file, next) = stored();
        disk.seed(seed);
        disk.write_at(&file, 0, &[2; 2 * SECTOR]).unwrap();
        disk.plan(next + 1, Fault::Error(EIO));
        assert_eq!(code(disk.sync(&file)), Some(EIO));
        assert_eq!(disk.files()["a"], [2; 1024], "the system has it in memory");
        disk.sync(&file).unwrap();
        let kept = states(&disk, "a");
        assert_eq!(kept.len(), 1, "decided when it failed");
        // Reading from the medium finds out.
        disk.forget(&file);
        assert_eq!(Some(disk.files().remove("a")), kept.first().cloned());
        kinds.extend(kept);
    }
    assert_eq!(kinds.len(), 4, "each of the two sectors is there or not");
}

#[test]
fn calls_go_wrong_as_planned() {
    let (mut disk, file, next) = stored();
    disk.plan(next, Fault::Short);
    disk.plan(next + 1, Fault::Short);
    disk.plan(next + 2, Fault::Error(EINTR));
    disk.plan(next + 3, Fault::Stop { done: true });
    assert_eq!(disk.write_at(&file, 0, &[5; 9]).unwrap(), 5);
    assert_eq!(disk.read_at(&file, 0, &mut [0; 9]).unwrap(), 5);
    assert_eq!(code(disk.len(&file)), Some(EINTR));
    assert_eq!(code(disk.write_at(&file, 0, &[6; 2])), Some(EIO));
    assert!(disk.is_stopped());
    assert_eq!(code(disk.read_at(&file, 0, &mut [0])), Some(EIO));
    assert_eq!(disk.files()["a"][..6], [6, 6, 5, 5, 5, 1], "done, and nobody was told");
    disk.kill();
    let file = disk.open("a").unwrap();
    disk.plan(disk.calls(), Fault::Stop { done: false });
    assert_eq!(code(disk.write_at(&file, 0, &[7; 2])), Some(EIO));
    disk.kill();
    assert_eq!(disk.files()["a"][..2], [6, 6], "not done");
    // A sync that is cut has stored some of it.
    let file = disk.open("a").unwrap();
    disk.plan(disk.calls(), Fault::Stop { done: true });
    assert_eq!(code(disk.sync(&file)), Some(EIO));
    assert_eq!(states(&disk, "a").len(), 3, "the first sector was written three times, the last two times the same");
}

#[test]
fn disks_are_full_and_sectors_go_bad() {
    let (mut disk, file, _) = stored();
    disk.limit(3 * SECTOR);
    let new = disk.create("b").unwrap();
    assert_eq!(disk.write_at(&new, 0, &[2; 2 * SECTOR]).unwrap(), SECTOR, "as much as fits");
    assert_eq!(code(disk.write_at(&new, SECTOR as u64, &[2])), Some(ENOSPC));
    assert_eq!(disk.write_at(&file, 0, &[3; 2 * SECTOR]).unwrap(), 2 * SECTOR, "what it has takes no room");
    disk.remove("b").unwrap();
    assert_eq!(disk.write_at(&file, 2 * SECTOR as u64, &[3; SECTOR]).unwrap(), SECTOR);
    disk.spoil("a", 1);
    assert_eq!(disk.read_at(&file, 0, &mut [0; 3 * SECTOR]).unwrap(), SECTOR, "up to it");
    assert_eq!(code(disk.read_at(&file, SECTOR as u64 + 9, &mut [0; 4])), Some(EIO));
    assert_eq!(disk.read_at(&file, 2 * SECTOR as u64, &mut [0; 4]).unwrap(), 4);
}

#[test]
fn calls_are_counted_and_written_down() {
    let (mut disk, file, next) = stored();
    assert_eq!((next, disk.count(Call::Write), disk.count(Call::Sync)), (4, 1, 1));
    disk.log();
    disk.sync(&file).unwrap();
    disk.sync_names().unwrap();
    assert_eq!(disk.log(), [(Call::Sync, "a".to_owned()), (Call::SyncNames, String::new())]);
    let rng = &mut Rng::new(1);
    disk.image().power_cut(rng);
    assert_eq!(disk.files().len(), 1);
}
