//! A store of files on real files.

use super::common::{Rng, payload};
use super::disk::{Call, FaultyDisk};
use super::folder::Folder;
use fabric_mq::durable::{Disk, FileConfig, FileStore, Geometry, MediumError, Store, SystemDisk};
use rustix::fs::{FlockOperation, Mode, flock, mkfifoat};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// Four segments of 4 KiB, and hardly a buffer.
pub(crate) const SMALL: FileConfig =
    FileConfig::new().with_segment_bytes(4096).with_segments(4).with_buffer_bytes(700).with_window_bytes(300);

fn names(path: &Path) -> BTreeSet<String> {
    fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn read<D: Disk>(store: &mut FileStore<D>, segment: u32, at: u32, len: usize) -> Vec<u8> {
    let mut into = vec![0xcc; len];
    store.read(segment, at, &mut into).unwrap();
    into
}

const EPERM: i32 = 1;

#[test]
fn a_store_is_a_folder_of_files() {
    let folder = Folder::new("media-folder");
    let mut store = FileStore::open(&folder.0, SMALL).unwrap();
    assert_eq!(store.geometry(), Geometry::files(4, 4096));
    assert_eq!((store.geometry().write_unit, store.geometry().rewritable), (4, true));
    assert_eq!(names(&folder.0), set(&["lock"]), "segments are made as they are needed");
    assert_eq!(read(&mut store, 3, 0, 4096), [0; 4096]);
    store.erase(2).unwrap();
    assert_eq!(names(&folder.0), set(&["lock", "00000002.seg"]));
    // Without an erasure, too.
    store.program(0, 4092, &[7; 4]).unwrap();
    assert_eq!(names(&folder.0), set(&["lock", "00000002.seg", "00000000.seg"]));
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&folder.0), 0o700);
    for name in names(&folder.0) {
        assert_eq!(mode(&folder.0.join(&name)), 0o600, "{name}");
    }
    let file = folder.0.join("00000000.seg");
    assert_eq!(fs::read(&file).unwrap(), [0; 4096], "written zeros, and nothing else before a sync");
    assert!(fs::metadata(&file).unwrap().blocks() * 512 >= 4096, "no holes");
    store.sync().unwrap();
    assert_eq!(fs::read(&file).unwrap()[4088..], [0, 0, 0, 0, 7, 7, 7, 7]);
    let inode = fs::metadata(&file).unwrap().ino();
    store.erase(0).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().ino(), inode, "used again");
    drop(store);
    let mut store = FileStore::open(&folder.0, SMALL).unwrap();
    assert_eq!(read(&mut store, 0, 4088, 8), [0, 0, 0, 0, 7, 7, 7, 7]);
}

#[test]
fn a_process_masks_nothing_out_of_modes_that_is_needed() {
    // In a process of its own: the mask is the process's.
    if let Ok(path) = std::env::var("FABRIC_MQ_UMASK") {
        rustix::process::umask(Mode::from_raw_mode(0o277));
        let mut store = FileStore::open(&path, SMALL).unwrap();
        store.erase(0).unwrap();
        return;
    }
    let folder = Folder::new("media-umask");
    let test = "files::a_process_masks_nothing_out_of_modes_that_is_needed";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env("FABRIC_MQ_UMASK", &folder.0)
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    let mode = |name: &str| fs::metadata(folder.0.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("."), mode("lock"), mode("00000000.seg")), (0o700, 0o600, 0o600));
}

#[test]
fn one_at_a_time_has_it_open() {
    let folder = Folder::new("media-lock");
    let store = FileStore::open(&folder.0, SMALL).unwrap();
    assert_eq!(FileStore::open(&folder.0, SMALL).err(), Some(MediumError::Locked));
    let lock = fs::File::open(folder.0.join("lock")).unwrap();
    assert!(flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err(), "the kernel's lock");
    drop(store);
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    assert_eq!(FileStore::open(&folder.0, SMALL).err(), Some(MediumError::Locked));
    drop(lock);
    FileStore::open(&folder.0, SMALL).unwrap();
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    let folder = Folder::new("media-shape");
    let refused = |config| FileStore::open(&folder.0, config).err();
    assert_eq!(refused(SMALL.with_segment_bytes(4097)), Some(MediumError::Unaligned));
    assert_eq!(refused(SMALL.with_segment_bytes(0)), Some(MediumError::OutOfBounds));
    assert_eq!(refused(SMALL.with_segments(0)), Some(MediumError::OutOfBounds));
    assert!(!folder.0.exists(), "before anything is made");
    let none = FileStore::open(folder.0.join("deep"), SMALL).err();
    assert_eq!(none, Some(MediumError::Io(2)));
    assert_eq!(FileConfig::default(), FileConfig::new());
    assert_eq!(u64::from(FileConfig::new().segment_bytes) * u64::from(FileConfig::new().segments), 8 << 30);
}

#[test]
fn what_is_not_within_a_segment_is_refused() {
    let mut store = FileStore::on(FaultyDisk::new(), SMALL).unwrap();
    let outside = Err(MediumError::OutOfBounds);
    for (segment, at, len) in
        [(4, 0, 4), (0, 4096, 4), (0, 4093, 4), (0, u32::MAX - 3, 8), (u32::MAX, 0, 4), (0, 0, 4100)]
    {
        assert_eq!(store.read(segment, at, &mut vec![0; len]), outside);
        assert_eq!(store.program(segment, at, &vec![0; len]), outside);
    }
    assert_eq!(store.erase(4), outside);
    for (at, len) in [(2, 4), (4, 2), (1, 1)] {
        assert_eq!(store.program(0, at, &vec![0; len]), Err(MediumError::Unaligned));
    }
    assert_eq!(store.program(0, 4096, &[]), Ok(()));
    assert_eq!(store.read(0, 4096, &mut []), Ok(()));
    assert_eq!(store.sync(), Ok(()), "none of this is a failure");
}

#[test]
fn nothing_that_others_could_have_put_there_is_opened() {
    let folder = Folder::new("media-others");
    let elsewhere = Folder::new("media-elsewhere");
    drop(FileStore::open(&folder.0, SMALL).unwrap());
    drop(FileStore::open(&elsewhere.0, SMALL).unwrap());
    let refused = || FileStore::open(&folder.0, SMALL).and_then(|mut store| store.read(0, 0, &mut [0; 4])).err();
    let file = folder.0.join("00000000.seg");
    let target = elsewhere.0.join("target");
    fs::write(&target, [1; 4096]).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();

    symlink(&target, &file).unwrap();
    assert_eq!(refused(), Some(MediumError::Io(rustix::io::Errno::LOOP.raw_os_error())), "a link");
    fs::remove_file(&file).unwrap();
    fs::hard_link(&target, &file).unwrap();
    assert_eq!(refused(), Some(MediumError::Io(EPERM)), "a second name");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(refused().is_some(), "a directory");
    fs::remove_dir(&file).unwrap();
    let directory = fs::File::open(&folder.0).unwrap();
    mkfifoat(&directory, "00000000.seg", Mode::RUSR | Mode::WUSR).unwrap();
    assert_eq!(refused(), Some(MediumError::Io(EPERM)), "a pipe");
    fs::remove_file(&file).unwrap();
    fs::write(&file, [1; 4096]).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o620)).unwrap();
    assert_eq!(refused(), Some(MediumError::Io(EPERM)), "a file that others may write to");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(refused(), None);
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o770)).unwrap();
    assert_eq!(refused(), Some(MediumError::Io(EPERM)), "a directory that others may write to");
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(refused(), None, "reading its names harms nobody");
    let link = elsewhere.0.join("link");
    symlink(&folder.0, &link).unwrap();
    assert!(FileStore::open(&link, SMALL).is_err(), "a link for a directory");
    // What has other names is nobody's of ours.
    for name in ["1.seg", "0000000A.seg", "00000001.new", "00000009.seg", "notes"] {
        fs::write(folder.0.join(name), b"?").unwrap();
    }
    let mut store = FileStore::open(&folder.0, SMALL).unwrap();
    assert_eq!(read(&mut store, 1, 0, 4096), [0; 4096]);
    store.erase(1).unwrap();
    assert_eq!(read(&mut store, 1, 0, 4096), [0; 4096], "what nobody finished making is begun again");
    assert!(!names(&folder.0).contains("00000001.new"));
}

#[test]
fn the_system_of_files_does_what_a_disk_should() {
    let folder = Folder::new("media-disk");
    let mut disk = SystemDisk::open(&folder.0).unwrap();
    let file = disk.create("a").unwrap();
    assert_eq!(disk.create("a").err().unwrap().kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(disk.open("b").err().unwrap().kind(), std::io::ErrorKind::NotFound);
    assert_eq!(disk.write_at(&file, 3, b"abc").unwrap(), 3);
    assert_eq!(disk.len(&file).unwrap(), 6);
    let mut into = [9; 8];
    assert_eq!(disk.read_at(&file, 0, &mut into).unwrap(), 6);
    assert_eq!(&into, b"\0\0\0abc\x09\x09");
    assert_eq!(disk.read_at(&file, 6, &mut into).unwrap(), 0);
    disk.sync(&file).unwrap();
    disk.forget(&file);
    disk.rename("a", "c").unwrap();
    disk.sync_names().unwrap();
    disk.sync_names().unwrap();
    let other = disk.open("c").unwrap();
    assert!(disk.try_lock(&file).unwrap());
    assert!(!disk.try_lock(&other).unwrap());
    disk.unlock(&file);
    assert!(disk.try_lock(&other).unwrap());
    let mut found = Vec::new();
    disk.names(&mut |name| found.push(name.to_owned())).unwrap();
    found.retain(|name| !name.starts_with('.'));
    assert_eq!(found, ["c"]);
    disk.remove("c").unwrap();
    assert!(disk.remove("c").is_err());
}

/// Random operations beside a model of the bytes.
fn as_a_model<D: Disk>(mut open: impl FnMut(FileConfig) -> FileStore<D>, seeds: u64, steps: u64) {
    for seed in 0..seeds {
        let rng = &mut Rng::new(seed);
        let config = SMALL
            .with_segments(24)
            .with_buffer_bytes(*rng.pick(&[0, 4, 100, 700, 5000]))
            .with_window_bytes(*rng.pick(&[0, 1, 300, 4096, 9000]));
        let mut store = open(config);
        let mut model: Vec<Vec<u8>> = Vec::new();
        for segment in 0..24 {
            model.push(read(&mut store, segment, 0, 4096));
        }
        let mut place = (0_u32, 0_usize);
        for step in 0..steps {
            let (segment, at) = place;
            match rng.below(20) {
                0 => place = (rng.below(24) as u32, rng.size(1024) * 4),
                1 => store.erase(rng.below(24) as u32).unwrap(),
                2 => store.sync().unwrap(),
                3 => {
                    store.sync().unwrap();
                    drop(store);
                    store = open(config);
                }
                4..12 => {
                    let most = if rng.one_in(10) { 4096 } else { 300 };
                    let len = (rng.size(most) & !3).min(4096 - at);
                    let bytes = payload(step, len);
                    store.program(segment, at as u32, &bytes).unwrap();
                    model[segment as usize][at..at + len].copy_from_slice(&bytes);
                    place = if at + len == 4096 { ((segment + 1) % 24, 0) } else { (segment, at + len) };
                }
                _ => {
                    // Mostly near to where it is written.
                    let (segment, near) =
                        if rng.one_in(3) { (rng.below(24) as u32, rng.size(4096)) } else { (segment, at) };
                    let from = near.saturating_sub(rng.size(600));
                    let len = rng.size(4097 - from).min(*rng.pick(&[40, 1000, 4096]));
                    let found = read(&mut store, segment, from as u32, len);
                    assert_eq!(
                        found,
                        model[segment as usize][from..from + len],
                        "seed {seed}, step {step}: {segment} {from}"
                    );
                }
            }
        }
    }
}

#[test]
fn files_read_what_was_programmed() {
    let folder = Folder::new("media-model");
    as_a_model(|config| FileStore::open(&folder.0, config).unwrap(), 5, 1000);
}

#[test]
fn emulated_files_read_what_was_programmed() {
    let disk = FaultyDisk::new();
    as_a_model(|config| FileStore::on(disk.clone(), config).unwrap(), 40, 2000);
    assert!(disk.count(Call::Read) > 100 && disk.count(Call::Write) > 1000);
}

#[test]
fn many_records_are_few_calls() {
    let disk = FaultyDisk::new();
    let config = FileConfig::new().with_segment_bytes(1 << 20).with_segments(4);
    let mut store = FileStore::on(disk.clone(), config).unwrap();
    store.erase(0).unwrap();
    let before = [Call::Write, Call::Sync].map(|call| disk.count(call));
    for nth in 0..1000 {
        store.program(0, nth * 256, &payload(nth.into(), 256)).unwrap();
    }
    assert_eq!(disk.count(Call::Write), before[0], "collected: 250 KiB");
    store.sync().unwrap();
    // One is the mark.
    assert_eq!([Call::Write, Call::Sync].map(|call| disk.count(call)), [before[0] + 2, before[1] + 1]);
    let reads = disk.count(Call::Read);
    for nth in 0..1000 {
        assert_eq!(read(&mut store, 0, nth * 256, 256), payload(nth.into(), 256));
    }
    // 4, 8, 16, 32 KiB, and 64 KiB from there on.
    assert_eq!(disk.count(Call::Read) - reads, 4 + 3);
    // Who jumps about is not read ahead for.
    store.program(1, 0, &[1; 4]).unwrap();
    let reads = disk.count(Call::Read);
    for nth in (0..16).rev() {
        assert_eq!(read(&mut store, 0, nth * 65_536, 4).len(), 4);
    }
    assert_eq!(disk.count(Call::Read) - reads, 16);
    // Who reads what is just being written asks the system seldom.
    let reads = disk.count(Call::Read);
    for nth in 0..1000 {
        store.program(1, 4 + nth * 100, &payload(nth.into(), 100)).unwrap();
        store.sync().unwrap();
        assert_eq!(read(&mut store, 1, 4 + nth * 100, 100), payload(nth.into(), 100));
    }
    assert!(disk.count(Call::Read) - reads < 30, "{}", disk.count(Call::Read) - reads);
}

#[test]
fn more_segments_than_open_files_are_synced_all_the_same() {
    let disk = FaultyDisk::new();
    let config = SMALL.with_segments(64);
    let mut store = FileStore::on(disk.clone(), config).unwrap();
    for segment in 0..64 {
        store.program(segment, 0, &payload(segment.into(), 512)).unwrap();
    }
    store.sync().unwrap();
    disk.power_cut(&mut NoLuck);
    drop(store);
    let mut store = FileStore::on(disk, config).unwrap();
    for segment in 0..64 {
        assert_eq!(read(&mut store, segment, 0, 512), payload(segment.into(), 512));
    }
}

/// Everything that was not synced is lost.
pub(crate) struct NoLuck;
impl super::disk::Choose for NoLuck {
    fn choose(&mut self, _: u64) -> u64 {
        0
    }
}

#[test]
fn nonces_are_never_the_same() {
    let mut store = FileStore::on(FaultyDisk::new(), SMALL).unwrap();
    let mut other = FileStore::on(FaultyDisk::new(), SMALL).unwrap();
    let nonces: BTreeSet<u64> = (0..1000).flat_map(|_| [store.nonce(), other.nonce()]).collect();
    assert_eq!(nonces.len(), 2000);
}

#[test]
fn what_is_said_of_a_store_is_short() {
    let mut store = FileStore::on(FaultyDisk::new(), SMALL).unwrap();
    store.program(0, 0, b"a secret").unwrap();
    let text = format!("{store:?}");
    assert!(text.starts_with("FileStore { config") && text.contains("collected: 8") && text.len() < 300, "{text}");
    assert!(!text.contains("secret"));
}
