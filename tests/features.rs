//! features.md says what is true: its tables and formulas beside Cargo.toml, the sources and the code.

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
#![cfg(not(loom))]

use fabric_mq::group::{GroupConfig, Member};
use fabric_mq::lease::{SliceLease, StaticGrant};
use fabric_mq::locator::{Locator, RegistryConfig};
use fabric_mq::ring::{Ring, RingConfig};
use fabric_mq::topic::TopicConfig;
use fabric_mq::{ConfigError, LeaseError};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each feature adds. It compiles, so it exists; the page must list the same.
macro_rules! adds {
    ($($feature:literal on $target:meta { $($first:ident $(:: $rest:ident)*),* $(,)? })*) => {
        $($(
            #[cfg(feature = $feature)]
            #[cfg($target)]
            #[allow(unused_imports, reason = "it only has to exist")]
            use fabric_mq::$first $(:: $rest)* as _;
        )*)*
        const ADDS: &[(&str, &[&str])] =
            &[$(($feature, &[$(concat!(stringify!($first) $(, "::", stringify!($rest))*)),*])),*];
    };
}

adds! {
    "std" on all() { clock::SystemClock, lease::Renewing }
    "std" on all(unix, target_has_atomic = "64") {
        clock::MachineClock, lease::Reaped, lease::SharedInfo, lease::SharedLease, lease::SharedPool,
    }
    "alloc" on all() {
        consumer::NextBatch,
        dlq::Delivered, dlq::Letter, lease::HeapLease, lease::HeapPool, lease::Renewer, lease::remote::Atomicity, lease::remote::Faults, lease::remote::Grant, lease::remote::Grants, lease::remote::LoopbackGrants, lease::remote::LoopbackMap, lease::remote::LoopbackMemory, lease::remote::LoopbackVerbs, lease::remote::Peers, lease::remote::RemoteLease, lease::remote::RemotePool, lease::remote::Tally, lease::remote::VerbError, lease::remote::Verbs, message::Message, offset::MemOffsetStore, partition::Counted,
        topic::Topic, topic::TopicHandle, topic::TopicManager,
    }
    "durable" on all() {
        durable::CursorId, durable::Extent, durable::FetchError, durable::Geometry, durable::Journal,
        durable::JournalConfig, durable::JournalStats, durable::MediumError, durable::NorStore, durable::OpenError,
        durable::PumpError, durable::RamStore, durable::Spool, durable::SpoolError, durable::SpoolMode, durable::SpoolReadError,
        durable::SplitSync, durable::inspect::ChangeKind, durable::inspect::Inspector, durable::inspect::Item,
        durable::inspect::Label, durable::inspect::Role, durable::inspect::Segment, durable::inspect::write_unit,
        durable::Recovery, durable::Retention, durable::Store, durable::StoreError, durable::Stored, durable::MAX_WRITE_UNIT,
    }
    "durable" on all(feature = "std") {
        durable::Appended, durable::FlushPolicy, durable::Level, durable::SharedJournal, durable::SharedStats,
    }
    "durable" on all(unix, feature = "std") {
        durable::Disk, durable::FileConfig, durable::FileStore, durable::PendingFiles, durable::SystemDisk, durable::SystemFile,
    }
    "postcard" on all() { message::PayloadError, producer::TypedError }
}

type Set = BTreeSet<String>;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> String {
    fs::read_to_string(root().join("features.md")).expect("features.md lies beside Cargo.toml")
}

/// Cargo.toml as it was written: in a published crate, cargo's own version of it stands in its place.
fn manifest() -> String {
    let original = root().join("Cargo.toml.orig");
    let path = if original.exists() { original } else { root().join("Cargo.toml") };
    fs::read_to_string(path).expect("Cargo.toml can be read")
}

/// `key = value` lines of the sections whose name satisfies `wanted`.
fn entries(manifest: &str, wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let mut here = false;
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            here = wanted(section);
        } else if here {
            let (key, value) = line.split_once('=').expect("one entry a line");
            let value = value.trim();
            let whole = value.matches('[').count() == value.matches(']').count();
            assert!(whole && value.matches('{').count() == value.matches('}').count(), "one entry a line: {line}");
            found.push((key.trim().to_owned(), value.to_owned()));
        }
    }
    found
}

/// The words between quotation marks.
fn quoted(text: &str) -> Set {
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The words between backticks.
fn code(text: &str) -> Set {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn set<'a>(words: impl IntoIterator<Item = &'a str>) -> Set {
    words.into_iter().map(str::to_owned).collect()
}

/// The rows below the heading row that starts with these cells.
fn table(page: &str, heading: &[&str]) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
        inner.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let is_heading = |line: &&str| line.starts_with('|') && cells(line).iter().zip(heading).all(|(a, b)| a == b);
    let mut lines = page.lines().skip_while(|line| !is_heading(line));
    let columns = cells(lines.next().unwrap_or_else(|| panic!("no table {heading:?}"))).len();
    let rows: Vec<_> = lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty() && rows.iter().all(|row| row.len() == columns), "a whole table {heading:?}");
    rows
}

fn number(cell: &str) -> usize {
    cell.replace(',', "").parse().unwrap_or_else(|_| panic!("{cell} is no number"))
}

const FEATURES: [&str; 5] = ["feature", "turns on", "brings", "adds", "needs"];

#[test]
fn features_turn_on_and_bring_what_the_page_says() {
    let declared = entries(&manifest(), |section| section == "features");
    assert!(declared.len() > 3, "the features were found");
    let rows = table(&page(), &FEATURES);
    let told: Set = rows.iter().flat_map(|row| code(&row[0])).collect();
    assert_eq!(told, declared.iter().map(|(name, _)| name.clone()).collect::<Set>());
    for row in rows {
        let name = code(&row[0]).pop_first().expect("a name");
        let (_, list) = declared.iter().find(|(other, _)| *other == name).expect("declared");
        let (brings, turns_on): (Set, Set) = quoted(list).into_iter().partition(|word| word.starts_with("dep:"));
        assert_eq!(code(&row[1]), turns_on, "{name} turns on");
        assert_eq!(code(&row[2]), brings.iter().map(|word| word.replace("dep:", "")).collect::<Set>(), "{name} brings");
    }
}

#[test]
fn dependencies_are_those_of_the_manifest() {
    let manifest = manifest();
    let is_table = |section: &str| {
        section == "dependencies" || section.starts_with("target.") && section.ends_with(".dependencies")
    };
    let all = entries(&manifest, is_table);
    let (optional, always): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(_, value)| value.contains("optional = true"));
    let rows = table(&page(), &["dependency", "when", "what for"]);
    let told: Set = rows.iter().flat_map(|row| code(&row[0])).collect();
    assert_eq!(told, always.into_iter().map(|(name, _)| name).collect::<Set>(), "always there");
    let brought: Set = table(&page(), &FEATURES).iter().flat_map(|row| code(&row[2])).collect();
    assert_eq!(brought, optional.into_iter().map(|(name, _)| name).collect::<Set>(), "optional");
}

#[test]
fn items_are_those_that_exist() {
    let mut listed = BTreeMap::<_, Set>::new();
    for (feature, items) in ADDS {
        listed.entry(*feature).or_default().extend(set(items.iter().copied()));
    }
    for row in table(&page(), &FEATURES) {
        let name = code(&row[0]).pop_first().expect("a name");
        assert_eq!(code(&row[3]), listed.get(name.as_str()).cloned().unwrap_or_default(), "{name} adds");
    }
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push(path);
        }
    }
}

/// Public names directly below a `cfg` of a feature, with that feature.
fn gated() -> Vec<(String, String)> {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source");
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let Some((_, rest)) = line.strip_prefix("#[cfg(").and_then(|cfg| cfg.split_once("feature = \"")) else {
                continue;
            };
            let feature = rest.split('"').next().expect("a name");
            let item = lines[at + 1..].iter().find(|line| !line.starts_with("#[") && !line.starts_with("//"));
            let item = item.expect("a cfg stands before something");
            if let Some(path) = item.strip_prefix("pub use ") {
                let names = path.trim_end_matches(';').rsplit("::").next().expect("a name");
                found.extend(
                    names.trim_matches(['{', '}']).split(',').map(|name| (feature.to_owned(), name.trim().to_owned())),
                );
            } else if let Some(name) =
                ["struct ", "enum ", "trait "].iter().find_map(|kind| item.strip_prefix("pub ")?.strip_prefix(kind))
            {
                let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                found.push((feature.to_owned(), name));
            }
        }
    }
    found
}

#[test]
fn nothing_that_a_feature_adds_is_missing() {
    let gated = gated();
    assert!(gated.len() > 5, "the sources were read: {gated:?}");
    for (feature, name) in gated {
        // What std replaces belongs to alloc.
        let features = if feature == "std" { vec!["std", "alloc"] } else { vec![feature.as_str()] };
        let is_listed = ADDS.iter().any(|(other, items)| {
            features.contains(other) && items.iter().any(|item| item.rsplit("::").next() == Some(name.as_str()))
        });
        assert!(is_listed, "{name} comes with {feature}, and features.md does not say so");
    }
}

/// The value of the page's formula `name = ...`, with these variables.
fn formula(page: &str, name: &str, variables: &[(&str, usize)]) -> usize {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    let value = |factor: &str| {
        let known = variables.iter().find(|(name, _)| *name == factor).map(|(_, value)| *value);
        known.unwrap_or_else(|| number(factor))
    };
    let line = line.unwrap_or_else(|| panic!("no formula for {name}"));
    line.split('+').map(|term| term.split('*').map(|factor| value(factor.trim())).product::<usize>()).sum()
}

#[test]
fn the_formulas_are_those_of_the_code() {
    let page = page();
    for slots in [2_u32, 64, 1024, 1 << 20] {
        for bytes in [16_u32, 4096, 1 << 24] {
            for readers in [1_u8, 2, 7, 32] {
                let config = RingConfig::new(slots, bytes).with_readers(readers);
                let shape = [("slots", slots as usize), ("payload bytes", bytes as usize), ("readers", readers.into())];
                assert_eq!(config.lease_bytes(), Ok(formula(&page, "lease bytes", &shape)), "{shape:?}");
                let topic = TopicConfig::new().with_slots(slots).with_capacity(bytes).with_groups(readers);
                let shape = [("slots", slots as usize), ("payload bytes", bytes as usize), ("groups", readers.into())];
                assert_eq!(topic.partition_bytes(), Ok(formula(&page, "partition bytes", &shape)), "{shape:?}");
            }
        }
    }
}

#[test]
fn a_ring_that_can_be_taken_over_costs_what_the_page_says() {
    let page = page();
    let rows = table(&page, &["item", "adds", "needs", "costs"]);
    let items: Set = rows.iter().flat_map(|row| code(&row[0])).collect();
    assert_eq!(items, set(["Ring::take_over", "RingConfig::with_takeover", "SharedPool::supersede"]));
    assert!(rows[0][3].contains("no byte, one record less than it has slots"), "{}", rows[0][3]);
    let config = RingConfig::new(64, 4096);
    assert_eq!(config.with_takeover().lease_bytes(), config.lease_bytes());
    // "With others a ring that asks for it is refused."
    let mut memory = vec![0; 8192];
    let refused = Ring::<_>::format(SliceLease::new(&mut memory), config.with_takeover()).map(drop);
    assert_eq!(refused, Err(ConfigError::Lease(LeaseError::Unsupported)));
    #[cfg(all(feature = "std", unix, target_has_atomic = "64"))]
    for (config, room) in [(config, 64), (config.with_takeover(), 63)] {
        use fabric_mq::clock::MachineClock;
        use fabric_mq::lease::{Pool, SharedPool};
        use fabric_mq::ring::{Reader, Start, Writer};
        let path = std::env::temp_dir().join(format!("fabric-mq-test-{}-takeover", std::process::id()));
        let pool = SharedPool::open(&path, MachineClock::new()).unwrap();
        let lease = pool.acquire(config.lease_bytes().unwrap(), fabric_mq::Ticks::MAX).unwrap();
        let ring: Ring<_> = Ring::format(lease, config).unwrap();
        let mut writer = Writer::claim(&ring).unwrap();
        // A reader that has not come yet holds what is written.
        let _reader = Reader::join(&ring, "r", Start::Earliest).unwrap();
        let written = (0..100).take_while(|_| writer.write(b"x").is_ok()).count();
        fs::remove_dir_all(&path).unwrap();
        assert_eq!(written, room, "{config:?}");
    }
}

#[test]
fn a_registry_has_the_bytes_that_the_page_says() {
    let page = page();
    let bytes = |topics: usize, partitions: usize, names: usize| {
        let shape = [("topics", topics), ("partitions", partitions), ("names", names.next_multiple_of(4))];
        let slot = formula(&page, "slot bytes", &shape).next_multiple_of(128);
        formula(&page, "registry bytes", &[("topics", topics), ("slot bytes", slot)])
    };
    let config = |topics: usize, partitions: usize, names: usize| {
        let config = RegistryConfig::new().with_topics(topics.try_into().unwrap());
        config.with_partitions(partitions.try_into().unwrap()).with_names(names.try_into().unwrap())
    };
    for topics in [1, 7, 4096] {
        for partitions in [1, 2, 7, 1024] {
            for names in [2, 31, 32, 33, 256] {
                assert_eq!(config(topics, partitions, names).lease_bytes(), Ok(bytes(topics, partitions, names)));
            }
        }
    }
    let rows = table(&page, &["registry", "topics", "partitions", "names", "lease bytes"]);
    for row in &rows {
        let [topics, partitions, names, total] = [1, 2, 3, 4].map(|column| number(&row[column]));
        assert_eq!(config(topics, partitions, names).lease_bytes(), Ok(total), "{}", row[0]);
    }
    let size = size_of::<Locator<0>>();
    assert!(page.contains("A `Locator` takes 400 bytes and 16 for each") && size <= 400, "{size} bytes");
    assert_eq!(size_of::<Locator<64>>() - size, 64 * 16);
    let [topics, partitions, names] = [1, 2, 3].map(|column| number(&rows.last().unwrap()[column]));
    assert_eq!(config(topics, partitions, names), RegistryConfig::new());
}

#[test]
fn a_group_takes_what_the_page_says() {
    let page = page();
    for places in [1_u32, 16, 127] {
        for partitions in [1_u32, 4, 65_536] {
            let config = GroupConfig::new("g", "t", partitions).with_places(places);
            let shape = [("places", places as usize), ("partitions", partitions as usize)];
            assert_eq!(config.lease_bytes(), Ok(formula(&page, "group bytes", &shape)), "{shape:?}");
        }
    }
    let rows = table(&page, &["member's tables", "P", "M", "bytes at most"]);
    let size = |row: usize| number(&rows[row][3]);
    type Group = fabric_mq::group::Group<StaticGrant>;
    assert!(size_of::<Member<&Group, 4, 4>>() <= size(0), "{}", size_of::<Member<&Group, 4, 4>>());
    assert!(size_of::<Member<&Group, 16, 16>>() <= size(1), "{}", size_of::<Member<&Group, 16, 16>>());
    assert!(size_of::<Member<&Group, 256, 64>>() <= size(2), "{}", size_of::<Member<&Group, 256, 64>>());
}

#[test]
#[cfg(feature = "durable")]
fn a_journal_takes_what_the_page_says() {
    use fabric_mq::durable::{Journal, NorStore};
    let rows = table(&page(), &["journal's RAM", "bytes at most"]);
    let [whole, partition, cursor] = [0, 1, 2].map(|row| number(&rows[row][1]));
    // A driver that takes no bytes of its own.
    type Store = NorStore<()>;
    let one = size_of::<Journal<Store, 1, 1>>();
    assert!(one <= whole, "{one}");
    // The page may not say much more than it takes, either.
    assert!(one + 16 > whole, "{one}");
    assert!(size_of::<Journal<Store, 9, 1>>() - one <= 8 * partition, "{}", size_of::<Journal<Store, 9, 1>>());
    assert!(size_of::<Journal<Store, 1, 9>>() - one <= 8 * cursor, "{}", size_of::<Journal<Store, 1, 9>>());
}

#[test]
fn the_examples_are_right() {
    let rows = table(&page(), &["what", "slots", "payload bytes", "readers", "lease bytes"]);
    for row in &rows {
        let [slots, bytes, readers, total] = [1, 2, 3, 4].map(|column| number(&row[column]));
        let config = RingConfig::new(slots.try_into().unwrap(), bytes.try_into().unwrap());
        assert_eq!(config.with_readers(readers.try_into().unwrap()).lease_bytes(), Ok(total), "{}", row[0]);
    }
    let smallest = number(&rows[0][4]);
    assert_eq!(RingConfig::new(2, 16).lease_bytes(), Ok(smallest));
    assert!(
        RingConfig::new(1, 16).lease_bytes().is_err() && RingConfig::new(2, 8).lease_bytes().is_err(),
        "none is smaller"
    );
    let default = TopicConfig::default();
    assert_eq!(default.partition_bytes(), Ok(number(&rows.last().unwrap()[4])));
    assert_eq!(default.partitions, 4);
}

/// The lines of a shell script's `NAME=value` or `NAME=(values)`.
fn assigned(script: &str, name: &str) -> Set {
    let line = script.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let line = line.unwrap_or_else(|| panic!("check.sh sets no {name}"));
    set(line.trim_matches(['(', ')']).split_whitespace())
}

#[test]
fn the_figures_are_those_that_are_checked() {
    let page = page();
    let flash = table(&page, &["what", "bytes", "budget"]);
    let (label, stated, budget) = (&flash[0][0], number(&flash[0][1]), number(&flash[0][2]));
    assert!(stated <= budget, "{stated} bytes of {budget}");
    let journal = &table(&page, &["what", "bytes", "meant to be"])[0];
    let targets: Set = table(&page, &["target", "features"]).iter().flat_map(|row| code(&row[0])).collect();
    let without_alloc: Set = table(&page, &["target", "features"])
        .iter()
        .filter(|row| row[1].contains("`alloc`"))
        .flat_map(|row| code(&row[0]))
        .collect();
    // A published crate comes without the folder of the checks.
    let script = root().join("ci/check.sh");
    if root().join("ci").exists() {
        let script = fs::read_to_string(script).expect("the checks' script");
        assert_eq!(assigned(&script, "SIZE_BUDGET"), set([budget.to_string().as_str()]));
        assert_eq!(assigned(&script, "BARE_TARGETS"), targets);
        assert_eq!(assigned(&script, "WITHOUT_CAS"), without_alloc);
        assert!(script.contains(&format!("SIZE_ROW=\"{label}\"\n")), "check.sh looks for the row {label:?}");
        assert_eq!(assigned(&script, "JOURNAL_GOAL"), set([number(&journal[2]).to_string().as_str()]));
        assert!(script.contains(&format!("JOURNAL_ROW=\"{}\"\n", journal[0])), "check.sh looks for {:?}", journal[0]);
    }
}
