//! Groups under a model checker: members that claim, commit, beat and lapse at the same time, in every interleaving and with
//! every value that the orderings let a load see, up to a bounded number of preemptions.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --test loom_group
//! ```
//! The real code runs, as in `loom.rs`, which says what the checker covers and what it does not.
#![cfg(loom)]
#![allow(unsafe_code, reason = "a lease over the checker's memory")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "common/checker.rs"]
mod checker;

use checker::{LoomLease, both, explore};
use fabric_mq::group::{Claim, Event, Group, GroupConfig, Member, MemberConfig, MemberError};
use fabric_mq::offset::OffsetError;
use fabric_mq::{LoomMemory, Offset, Ticks};
use std::sync::Arc;

type LoomMember = Member<Arc<Group<LoomLease>>, 1, 2>;

const SESSION: u64 = 600;

fn at(ms: u64) -> Ticks {
    Ticks::from_millis(ms)
}

fn member(group: &Arc<Group<LoomLease>>) -> LoomMember {
    let config = MemberConfig::new().with_session(at(SESSION)).with_interval(at(100));
    let mut member = Member::new(Arc::clone(group), config).expect("small enough");
    assert!(matches!(member.step(at(0)), Ok(Some(Event::Joined { .. }))));
    member
}

/// Steps until there is nothing left to do; answers what it was assigned.
fn settle(member: &mut LoomMember, now: u64) -> Result<Option<Claim>, MemberError> {
    let mut assigned = None;
    while let Some(event) = member.step(at(now))? {
        match event {
            Event::Assigned(claim) => assert!(assigned.replace(claim).is_none(), "once"),
            Event::Lost { .. } => assert!(assigned.take().is_none(), "not told at once"),
            other => panic!("{other:?}"),
        }
    }
    Ok(assigned)
}

/// A group of one partition and two members: the first has it if `owns`, with 5 committed; the second has watched it being
/// silent, and gives it up at its next look, at 600 ms.
fn scene(owns: bool) -> (Arc<Group<LoomLease>>, LoomMember, LoomMember) {
    let config = GroupConfig::new("g", "t", 1).with_places(2).with_session(at(SESSION));
    let bytes = config.lease_bytes().unwrap();
    let lease = LoomLease(Arc::new(LoomMemory::new(&vec![0; bytes], bytes, bytes)));
    let group = Arc::new(Group::format(lease, config).expect("room"));
    let mut old = member(&group);
    if owns {
        assert!(settle(&mut old, 0).expect("a member").is_some());
        old.commit(0, Offset::new(5)).expect("its own");
    }
    let mut new = member(&group);
    for now in [0, 200, 400] {
        assert_eq!(settle(&mut new, now), Ok(None), "the partition is the other's");
    }
    (group, old, new)
}

/// Leaves nothing to be done when they are dropped: that is not part of a model.
fn end(members: [LoomMember; 2]) {
    for member in members {
        std::mem::forget(member);
    }
}

fn lapse_against_heartbeat(name: &str, b_first: bool) {
    explore(name, 3, &["stays", "lapsed"], move || {
        let (group, mut old, mut new) = scene(false);
        let beating = move || {
            old.heartbeat(at(100)).expect("a live lease");
            old
        };
        let looking = move || {
            let claim = settle(&mut new, 600).expect("a member");
            (new, claim)
        };
        let (mut old, (new, claim)) = both(beating, looking, b_first);
        // The next one tells. One of the two came first, and both know which.
        let outcome = settle(&mut old, 200);
        let held = group.members().count();
        let scene = match outcome {
            Ok(assigned) => {
                assert_eq!((held, claim), (2, None), "it is a member, and was not given up");
                assert!(assigned.is_some(), "as the plan says");
                "stays"
            }
            Err(MemberError::Lapsed) => {
                assert_eq!(held, 1);
                assert_eq!(claim.map(|claim| claim.epoch.value()), Some(1));
                "lapsed"
            }
            Err(error) => panic!("{error}"),
        };
        end([old, new]);
        scene.to_owned()
    });
}

#[test]
fn a_heartbeat_or_the_lapse_comes_first_and_never_both() {
    lapse_against_heartbeat("lapse against heartbeat", false);
}

#[test]
fn a_heartbeat_or_the_lapse_comes_first_and_never_both_exchanged() {
    lapse_against_heartbeat("lapse against heartbeat, exchanged", true);
}

fn two_claim_at_once(name: &str, b_first: bool) {
    explore(name, 3, &["old 1, new 2", "old none, new 1"], move || {
        // The first has not looked yet, and does not beat now: it does not know that it is being given up.
        let (group, mut old, mut new) = scene(false);
        let one = move || {
            let claim = settle(&mut old, 0).expect("a member");
            (old, claim)
        };
        let other = move || {
            let claim = settle(&mut new, 600).expect("a member");
            (new, claim)
        };
        let ((mut old, first), (mut new, second)) = both(one, other, b_first);
        let now = group.claim_of(0).expect("no damage");
        let epochs = [first, second].map(|claim| claim.map(|claim| claim.epoch.value()));
        assert!(epochs[0].is_none() || epochs[0] != epochs[1], "never under the same epoch");
        // Whoever has the highest epoch may commit, and nobody else.
        let may = [&mut old, &mut new].map(|member| member.commit(0, Offset::new(9)).is_ok());
        let expected = epochs.map(|epoch| epoch == Some(now.epoch.value()));
        assert_eq!(may, expected, "{epochs:?} {now:?}");
        assert!(may[0] != may[1], "somebody has it");
        end([old, new]);
        let [old, new] = epochs.map(|epoch| epoch.map_or("none".to_owned(), |epoch| epoch.to_string()));
        format!("old {old}, new {new}")
    });
}

#[test]
fn of_two_that_claim_at_once_one_has_it() {
    two_claim_at_once("two claims", false);
}

#[test]
fn of_two_that_claim_at_once_one_has_it_exchanged() {
    two_claim_at_once("two claims, exchanged", true);
}

/// The old owner commits while it is given up; the new one takes the partition and commits too.
fn claim_against_commit(name: &str, preemptions: usize, b_first: bool) {
    explore(name, preemptions, &["from 5", "from 9"], move || {
        let (group, mut old, mut new) = scene(true);
        let committing = move || {
            let done = old.commit(0, Offset::new(9));
            (old, done)
        };
        let claiming = move || {
            let claim = settle(&mut new, 600).expect("a member").expect("the other is silent");
            let committed = claim.committed.expect("no damage").expect("committed before").value();
            new.commit(0, Offset::new(committed + 0x102)).expect("its own");
            (new, claim.epoch.value(), committed)
        };
        let ((mut old, done), (new, epoch, committed)) = both(committing, claiming, b_first);
        assert_eq!(epoch, 2);
        match done {
            Ok(()) => assert_eq!(committed, 9, "what was committed is where the next one goes on"),
            Err(OffsetError::Stale { claimed, current }) => {
                assert_eq!((committed, claimed.value(), current.value()), (5, 1, 2), "what was refused is not");
            }
            Err(error) => panic!("{error}"),
        }
        assert_eq!(group.committed(0), Ok(Some(Offset::new(committed + 0x102))), "the late one has changed nothing");
        assert!(matches!(old.commit(0, Offset::new(0x1000)), Err(OffsetError::Stale { .. })));
        end([old, new]);
        format!("from {committed}")
    });
}

#[test]
fn a_late_commit_changes_nothing_for_the_successor() {
    claim_against_commit("claim against commit", 2, false);
}

#[test]
fn a_late_commit_changes_nothing_for_the_successor_exchanged() {
    claim_against_commit("claim against commit, exchanged", 2, true);
}

/// Somebody looks at what is committed while that moves twice, so that the copy it was looking at is written again.
#[test]
fn what_anybody_sees_committed_was_committed() {
    explore("observe", 2, &["5", "265", "530"], || {
        let (group, mut old, new) = scene(true);
        let committing = move || {
            for offset in [265, 530] {
                old.commit(0, Offset::new(offset)).expect("its own");
            }
            old
        };
        let looking = move || group.committed(0).expect("no damage").expect("committed before").value();
        let (old, seen) = both(committing, looking, false);
        assert!([5, 265, 530].contains(&seen), "{seen}");
        end([old, new]);
        seen.to_string()
    });
}
