//! Members of a group: who owns what, what is committed, what each of them is told, and what bytes a group can be in.

#![cfg(all(feature = "std", not(loom)))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests"
)]

mod common;

use common::{Owned, Rng, crew, scale, with_seeds};
use fabric_mq::clock::{Clock, SystemClock};
use fabric_mq::consumer::{CommitError, Consumer, SeekPolicy};
use fabric_mq::group::{
    Changes, Event, Group, GroupConfig, GroupConsumer, GroupConsumerError, GroupError, GroupRef, Member, MemberConfig,
    MemberError, Rebalance, assign,
};
use fabric_mq::lease::{Cooperative, Exclusive, HeapPool, Lease, Pool, SliceLease, StaticLease};
use fabric_mq::offset::{OffsetError, OffsetStore};
use fabric_mq::producer::Producer;
use fabric_mq::topic::{TopicConfig, TopicManager, Topics};
use fabric_mq::{Epoch, LeaseError, Name, NameError, Offset, Ticks};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often members step here, and how long they may be silent.
const INTERVAL: u64 = 100;
const SESSION: u64 = 600;

fn ms(ms: u64) -> Ticks {
    Ticks::from_millis(ms)
}

fn patience() -> MemberConfig {
    MemberConfig::new().with_session(ms(SESSION)).with_interval(ms(INTERVAL))
}

fn named(name: &str) -> MemberConfig {
    patience().with_name(Name::new(name).unwrap())
}

/// A group of which leases of any kind can be made: nobody is thrown out by attaching.
fn group(partitions: u32, places: u32) -> Arc<Group<Owned<Cooperative>>> {
    let config = GroupConfig::new("g", "t", partitions).with_places(places).with_session(ms(SESSION));
    Arc::new(Group::format(Owned::new(config.lease_bytes().unwrap()), config).unwrap())
}

type Shared<L> = Arc<Group<L>>;
type Some64<L> = Member<Shared<L>, 64, 16>;

fn member<L: Lease>(group: &Shared<L>, config: MemberConfig) -> Some64<L> {
    Member::new(Arc::clone(group), config).unwrap()
}

/// Steps until there is nothing left to do.
fn settle<G: GroupRef, const P: usize, const M: usize>(
    member: &mut Member<G, P, M>,
    now: u64,
) -> Result<Vec<Event>, MemberError> {
    let mut events = Vec::new();
    while let Some(event) = member.step(ms(now))? {
        events.push(event);
    }
    Ok(events)
}

/// Lets all of them step at `now`, each until it has nothing to do.
fn round<L: Lease>(members: &mut [Some64<L>], now: u64) {
    for member in members {
        settle(member, now).unwrap();
    }
}

/// Lets all of them step once an interval, `rounds` times; answers the time then.
fn rounds<L: Lease>(members: &mut [Some64<L>], from: u64, rounds: u64) -> u64 {
    for turn in 0..rounds {
        round(members, from + turn * INTERVAL);
    }
    from + rounds * INTERVAL
}

/// A crash: nothing is given back.
fn crash<T>(member: T) {
    std::mem::forget(member);
}

fn owners<L: Lease>(members: &[Some64<L>], partitions: u32) -> Vec<Vec<usize>> {
    (0..partitions).map(|p| (0..members.len()).filter(|at| members[*at].owns(p)).collect()).collect()
}

#[track_caller]
fn all_owned<L: Lease>(members: &[Some64<L>], partitions: u32) {
    let owners = owners(members, partitions);
    assert!(owners.iter().all(|owners| owners.len() == 1), "{owners:?}");
}

// ---- membership

#[test]
fn one_member_has_everything_and_many_share_it() {
    let group = group(10, 8);
    let mut members = vec![member(&group, patience())];
    let mut now = rounds(&mut members, 0, 1);
    assert!(members[0].owned().eq(0..10));
    for count in 2..=8_usize {
        members.push(member(&group, patience()));
        now = rounds(&mut members, now, 3);
        all_owned(&members, 10);
        assert!(members.iter().all(|member| (10 / count..=10_usize.div_ceil(count)).contains(&member.owned().count())));
    }
    assert_eq!(group.members().count(), 8);
    assert!(group.members().all(|member| member.session == ms(SESSION) && member.name.is_none()));
    let mut late = member(&group, patience());
    assert_eq!(settle(&mut late, now), Err(MemberError::Full { places: 8 }));
    members.pop().unwrap().leave().unwrap();
    let events = settle(&mut late, now).unwrap();
    assert!(matches!(events[0], Event::Joined { place: 7, incarnation } if incarnation == Epoch::new(2)));
}

/// Members come and go; what moves is what the plan says must move, and no more.
#[test]
fn members_that_come_and_go_move_as_little_as_there_must_be() {
    let mut moved = 0;
    with_seeds("least moves", 0x006c_6561_7374, 50 * scale(), |seed| {
        let mut rng = Rng::new(seed);
        let partitions = rng.within(1, 64) as u32;
        let group = group(partitions, 16);
        let mut members = vec![member(&group, patience())];
        let mut now = rounds(&mut members, 0, 1);
        for _ in 0..20 {
            let owner_of = |members: &[Some64<_>], partition| {
                members.iter().find(|member| member.owns(partition)).and_then(Member::place)
            };
            let before: Vec<_> = (0..partitions).map(|partition| owner_of(&members, partition)).collect();
            if members.len() < 2 || members.len() < 16 && rng.one_in(2) {
                members.push(member(&group, patience()));
                settle(members.last_mut().unwrap(), now).unwrap();
            } else {
                let gone = members.swap_remove(rng.size(members.len()));
                gone.leave().unwrap();
            }
            let places: Vec<u32> = members.iter().filter_map(Member::place).collect();
            let mut plan = before.clone();
            let fewest = assign(&mut plan, &places).unwrap();
            let epochs = |at: u32| group.claim_of(at).unwrap().epoch.value();
            let epochs_before: Vec<u32> = (0..partitions).map(epochs).collect();
            now = rounds(&mut members, now, 4);
            all_owned(&members, partitions);
            let after: Vec<_> = (0..partitions).map(|partition| owner_of(&members, partition)).collect();
            assert_eq!(after, plan, "as planned, seed {seed:#x}");
            let claims: u32 = (0..partitions).map(|at| epochs(at) - epochs_before[at as usize]).sum();
            assert_eq!(claims, fewest.taken + fewest.given, "each that moves is taken once, and nothing else is");
            assert!(Changes::of(places[0], &after, &plan).is_empty());
            moved += claims;
        }
    });
    assert!(moved > 100, "{moved}");
}

#[test]
fn a_partition_is_given_up_before_the_next_one_takes_it() {
    let group = group(2, 4);
    let (mut old, mut new) = (member(&group, patience()), member(&group, patience()));
    settle(&mut old, 0).unwrap();
    let events = settle(&mut new, 0).unwrap();
    assert!(matches!(events[..], [Event::Joined { place: 1, .. }]), "{events:?}");
    // The old one is told, and still owns it: it commits.
    let event = old.step(ms(INTERVAL)).unwrap();
    assert_eq!(event, Some(Event::Revoked { partition: 1, epoch: Epoch::new(1) }));
    assert_eq!(settle(&mut new, INTERVAL), Ok(vec![]), "not free yet");
    old.commit(1, Offset::new(41)).unwrap();
    // Not yet done: it is told again.
    assert!(old.defer(1) && !old.defer(1));
    assert_eq!(settle(&mut old, INTERVAL + 1), Ok(vec![]));
    assert!(old.owns(1));
    assert_eq!(old.step(ms(2 * INTERVAL)), Ok(Some(Event::Revoked { partition: 1, epoch: Epoch::new(1) })));
    old.commit(1, Offset::new(42)).unwrap();
    assert_eq!(settle(&mut old, 2 * INTERVAL), Ok(vec![]));
    assert_eq!(old.commit(1, Offset::new(43)), Err(OffsetError::NotClaimed { partition: 1 }));
    let events = settle(&mut new, 2 * INTERVAL).unwrap();
    let [Event::Assigned(claim)] = events[..] else { panic!("{events:?}") };
    assert_eq!((claim.partition, claim.epoch, claim.committed), (1, Epoch::new(2), Ok(Some(Offset::new(42)))));
}

#[test]
fn whoever_left_or_is_proven_dead_is_replaced_within_two_intervals() {
    for proven in [false, true] {
        let gone = Arc::new(AtomicU64::new(0));
        let config = GroupConfig::new("g", "t", 6).with_places(4);
        let memory = Arc::new(Owned::<Cooperative>::new(config.lease_bytes().unwrap()));
        let lease = |token| Tokened { memory: Arc::clone(&memory), token, gone: Arc::clone(&gone) };
        drop(Group::format(lease(0), config).unwrap());
        let mut members: Vec<_> =
            (1..=3).map(|token| member(&Arc::new(Group::attach(lease(token)).unwrap()), patience())).collect();
        let now = rounds(&mut members, 0, 4);
        all_owned(&members, 6);
        let dead = members.swap_remove(1);
        if proven {
            crash(dead);
            gone.store(2, Ordering::Relaxed);
        } else {
            dead.leave().unwrap();
        }
        rounds(&mut members, now, 2);
        all_owned(&members, 6);
    }
}

/// A lease whose holders can be proven dead.
struct Tokened {
    memory: Arc<Owned<Cooperative>>,
    token: u32,
    gone: Arc<AtomicU64>,
}

// SAFETY: the bytes are those of a lease that it holds.
#[allow(unsafe_code, reason = "a lease with tokens")]
unsafe impl Lease for Tokened {
    type Trust = Cooperative;
    fn base(&self) -> std::ptr::NonNull<u8> {
        self.memory.base()
    }
    fn len(&self) -> usize {
        self.memory.len()
    }
    fn token(&self) -> u32 {
        self.token
    }
    fn is_gone(&self, token: u32) -> bool {
        self.gone.load(Ordering::Relaxed) == u64::from(token)
    }
}

#[test]
fn a_silent_member_lapses_after_its_session_and_two_intervals_and_not_before_its_session() {
    for drift in [900, 1000, 1100] {
        let group = group(6, 4);
        let mut members: Vec<_> = (0..3).map(|_| member(&group, patience())).collect();
        let now = rounds(&mut members, 0, 4);
        crash(members.swap_remove(2));
        let died = now - INTERVAL;
        // Their clocks count thousandths.
        let own = |real: u64| now + (real - now) * drift / 1000;
        let mut real = now;
        while group.members().count() == 3 {
            real += 1;
            round(&mut members, own(real));
            assert!(real < died + 10 * SESSION, "it never lapses");
        }
        let silent = own(real) - own(died.max(now));
        assert!(silent + INTERVAL >= SESSION, "{silent} ms by their clocks");
        assert!(own(real) - died <= SESSION + 2 * INTERVAL, "within the bound");
        all_owned(&members, 6);
    }
}

#[test]
fn members_whose_clocks_differ_by_a_fifth_do_not_lapse() {
    let group = group(4, 4);
    let mut members: Vec<_> = [0, 1].map(|_| member(&group, patience().with_interval(ms(SESSION)))).into();
    // The longest interval there is: a third of the session, whatever was asked for.
    for real in 0..50_000_u64 {
        for (member, rate) in members.iter_mut().zip([900, 1100]) {
            settle(member, real * rate / 1000).unwrap();
        }
    }
    assert!(group.members().all(|member| member.incarnation == Epoch::new(1)));
}

#[test]
fn clocks_that_jump_or_stop_throw_nobody_out() {
    let group = group(4, 4);
    let mut members: Vec<_> = (0..2).map(|_| member(&group, patience())).collect();
    let mut now = rounds(&mut members, 0, 3);
    for _ in 0..20 {
        // A day goes by at once, for both or for one; then time stands still; then it goes back.
        now += 86_400_000;
        settle(&mut members[0], now).unwrap();
        settle(&mut members[1], now).unwrap();
        settle(&mut members[0], now + 5_000_000).unwrap();
        settle(&mut members[1], now + 1).unwrap();
        settle(&mut members[1], now - 80_000_000).unwrap();
        now = rounds(&mut members, now + 5_000_000, 2);
    }
    assert!(group.members().all(|member| member.incarnation == Epoch::new(1)));
    all_owned(&members, 4);
    // One whose clock stands still is silent; the other one sees that, and it is told.
    for turn in 0..20 {
        settle(&mut members[0], now + turn * INTERVAL).unwrap();
    }
    assert_eq!(group.members().count(), 1);
    let two = &mut members[1];
    let lost = settle_until_error(two, now + 5_000_000);
    assert!(lost.0.iter().all(|event| matches!(event, Event::Lost { .. })) && lost.0.len() == 2, "{lost:?}");
    assert_eq!(lost.1, MemberError::Lapsed);
    assert!(matches!(two.step(ms(now + 5_000_000)), Ok(Some(Event::Joined { .. }))), "it joins again");
}

fn settle_until_error<L: Lease>(member: &mut Some64<L>, now: u64) -> (Vec<Event>, MemberError) {
    let mut events = Vec::new();
    loop {
        match member.step(ms(now)) {
            Ok(Some(event)) => events.push(event),
            Ok(None) => panic!("no error: {events:?}"),
            Err(error) => return (events, error),
        }
    }
}

#[test]
fn a_busy_member_keeps_its_place_by_its_heart_alone() {
    let group = group(2, 4);
    let mut members: Vec<_> = (0..2).map(|_| member(&group, patience())).collect();
    let now = rounds(&mut members, 0, 3);
    for turn in 0..50 {
        settle(&mut members[0], now + turn * INTERVAL).unwrap();
        members[1].heartbeat(ms(now + turn * INTERVAL)).unwrap();
    }
    assert!(members[1].owns(1) && group.members().count() == 2);
}

#[test]
fn a_stale_member_is_refused_and_told_both_epochs() {
    let group = group(1, 2);
    let (mut old, mut new) = (member(&group, patience()), member(&group, patience()));
    settle(&mut old, 0).unwrap();
    old.commit(0, Offset::new(5)).unwrap();
    for turn in 0..9 {
        settle(&mut new, turn * INTERVAL).unwrap();
    }
    assert!(new.owns(0) && !old.owns(0));
    new.commit(0, Offset::new(7)).unwrap();
    let stale = OffsetError::Stale { claimed: Epoch::new(1), current: Epoch::new(2) };
    assert_eq!(old.commit(0, Offset::new(9)), Err(stale));
    assert_eq!(old.commit(0, Offset::new(7)), Err(stale), "nor one that changes nothing");
    let error = stale.to_string();
    assert!(error.contains("epoch 1") && error.contains("epoch 2") && error.contains("stop"), "{error}");
    assert_eq!(group.committed(0), Ok(Some(Offset::new(7))));
    assert_eq!(new.commit(0, Offset::new(6)), Err(OffsetError::Behind { committed: Offset::new(7) }));
    let (events, error) = settle_until_error(&mut old, 9 * INTERVAL);
    let lost = Event::Lost { partition: 0, claimed: Epoch::new(1), current: Epoch::new(2) };
    assert_eq!((events, error), (vec![lost], MemberError::Lapsed));
}

#[test]
fn a_named_member_that_starts_again_has_its_partitions_and_nothing_else_moves() {
    let group = group(6, 4);
    let mut members: Vec<_> = ["a", "b", "c"].map(|name| member(&group, named(name))).into();
    let now = rounds(&mut members, 0, 4);
    let had: Vec<u32> = members[1].owned().collect();
    let epoch = group.claim_of(had[0]).unwrap().epoch;
    let mut before = members.remove(1);
    before.commit(had[0], Offset::new(3)).unwrap();
    // It has not left when it starts again; it may even be alive.
    let mut again = member(&group, named("b"));
    let events = settle(&mut again, now).unwrap();
    assert!(matches!(events[0], Event::Joined { incarnation, .. } if incarnation == Epoch::new(2)), "{events:?}");
    assert!(again.owned().eq(had.iter().copied()) && again.owns(had[0]));
    let Event::Assigned(claim) = events[1] else { panic!("{events:?}") };
    let next = Epoch::new(epoch.value() + 1);
    assert_eq!((claim.epoch, claim.committed), (next, Ok(Some(Offset::new(3)))));
    for other in &mut members {
        assert_eq!(settle(other, now + INTERVAL), Ok(vec![]), "the others notice nothing");
    }
    // The one before it is finished.
    assert!(matches!(before.commit(had[0], Offset::new(4)), Err(OffsetError::Stale { .. })));
    let (events, error) = settle_until_error(&mut before, now + INTERVAL);
    assert!(events.len() == 2 && error == MemberError::Fenced, "{events:?}, {error}");
    assert_eq!(before.step(ms(now + 99 * SESSION)), Err(MemberError::Fenced), "for good");
    // One with a name that is dropped keeps both; one without gives them back.
    drop(again);
    assert_eq!(group.members().count(), 3);
    let dynamic = member(&group, patience());
    members.push(dynamic);
    let now = rounds(&mut members, now, 2);
    assert_eq!(group.members().count(), 4);
    drop(members.pop());
    assert_eq!(group.members().filter(|member| member.name.is_some()).count(), 3);
    assert_eq!(group.members().count(), 3);
    rounds(&mut members, now, 10);
    assert_eq!(group.members().count(), 2, "after its session it lapses like any other");
    all_owned(&members, 6);
}

#[test]
fn two_that_start_with_one_name_at_once_are_one_in_the_end() {
    let group = group(4, 4);
    let (mut one, mut two) = (member(&group, named("n")), member(&group, named("n")));
    settle(&mut one, 0).unwrap();
    settle(&mut two, 0).unwrap();
    assert_eq!(settle_until_error(&mut one, INTERVAL).1, MemberError::Fenced);
    assert_eq!(settle(&mut two, INTERVAL), Ok(vec![]));
    assert!(two.owned().eq(0..4) && group.members().count() == 1);
}

#[test]
fn a_full_group_of_the_dead_is_joined_after_a_session() {
    let group = group(2, 2);
    let mut members: Vec<_> = (0..2).map(|_| member(&group, patience())).collect();
    rounds(&mut members, 0, 2);
    members.into_iter().for_each(crash);
    let mut late = member(&group, patience());
    let mut now = 0;
    while let Err(error) = settle(&mut late, now) {
        assert_eq!(error, MemberError::Full { places: 2 });
        now += INTERVAL;
    }
    assert!((SESSION..=SESSION + 2 * INTERVAL).contains(&now), "{now}");
    assert!(late.owned().eq(0..2));
}

#[test]
fn a_member_checks_that_the_group_fits() {
    let group = group(5, 4);
    let error = Member::<_, 4, 4>::new(Arc::clone(&group), patience()).unwrap_err();
    assert_eq!(error, MemberError::Partitions { wanted: 5, max: 4 });
    assert!(error.to_string().contains("Member<_, 5, _>"));
    let error = Member::<_, 8, 3>::new(Arc::clone(&group), patience()).unwrap_err();
    assert_eq!(error, MemberError::Places { wanted: 4, max: 3 });
    assert!(Member::<_, 5, 4>::new(group, patience()).is_ok());
}

#[test]
fn a_lease_that_ends_ends_the_group() {
    let clock = Arc::new(fabric_mq::clock::ManualClock::new());
    let pool = HeapPool::new(Arc::clone(&clock));
    let config = GroupConfig::new("g", "t", 1);
    let lease = pool.acquire(config.lease_bytes().unwrap(), ms(1_000)).unwrap();
    let group = Group::format(lease, config).unwrap();
    let mut member: Member<_> = Member::new(&group, patience()).unwrap();
    settle(&mut member, 0).unwrap();
    clock.set(ms(2_000));
    pool.sweep();
    assert_eq!(member.commit(0, Offset::new(1)), Err(OffsetError::Lease(LeaseError::Expired)));
    assert_eq!(member.step(ms(10)), Err(MemberError::Lease(LeaseError::Expired)));
    assert_eq!(group.committed(0), Ok(None));
}

#[test]
fn a_group_lies_in_a_static_and_outlives_a_reset() {
    static MEMORY: StaticLease<{ 256 + 128 * 2 + 128 * 3 }> = StaticLease::new();
    let config = GroupConfig::new("g", "t", 3).with_places(2);
    {
        let group = Group::format(MEMORY.claim().unwrap(), config).unwrap();
        let mut member: Member<_, 3, 2> = Member::new(&group, named("m")).unwrap();
        settle(&mut member, 0).unwrap();
        member.commit(1, Offset::new(77)).unwrap();
    }
    // Exclusive: whoever was there is gone, and nobody waits for it.
    let group = Group::attach(MEMORY.claim().unwrap()).unwrap();
    assert_eq!(group.members().count(), 0);
    let mut member: Member<_, 3, 2> = Member::new(&group, patience()).unwrap();
    let events = settle(&mut member, 0).unwrap();
    let committed = events.iter().filter_map(|event| match event {
        Event::Assigned(claim) => Some((claim.epoch.value(), claim.committed.unwrap().map(Offset::value))),
        _ => None,
    });
    assert!(committed.eq([(2, None), (2, Some(77)), (2, None)]), "{events:?}");
}

// ---- threads

/// Members on threads of their own, that come and go; offsets are counted up by whoever owns a partition.
#[test]
fn offsets_that_threads_commit_never_go_back() {
    const PARTITIONS: u32 = 4;
    let group = group(PARTITIONS, 8);
    let clock = SystemClock::new();
    let commits = AtomicU64::new(0);
    let stale = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    crew(|crew| {
        for thread in 0..4_u64 {
            let (group, clock, commits, stale, done) = (&group, &clock, &commits, &stale, &done);
            crew.spawn(move || {
                let mut rng = Rng::new(thread);
                for _ in 0..20 * scale() {
                    // So short a session that the scheduler alone makes members lapse.
                    let config = MemberConfig::new().with_session(ms(rng.within(4, 30))).with_interval(ms(1));
                    let mut member = member(group, config);
                    for _ in 0..rng.within(5, 200) {
                        match member.step(clock.now()) {
                            Ok(_) | Err(MemberError::Lapsed | MemberError::Full { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                        let owned: Vec<u32> = member.owned().collect();
                        for partition in owned {
                            let committed = group.committed(partition).unwrap().map_or(0, Offset::value);
                            match member.commit(partition, Offset::new(committed + rng.within(1, 300))) {
                                Ok(()) => commits.fetch_add(1, Ordering::Relaxed),
                                Err(OffsetError::Stale { .. }) => stale.fetch_add(1, Ordering::Relaxed),
                                Err(error) => panic!("{error}"),
                            };
                        }
                        if rng.one_in(20) {
                            std::thread::sleep(std::time::Duration::from_millis(rng.within(0, 40)));
                        }
                    }
                    if rng.one_in(2) {
                        crash(member);
                    }
                }
                done.fetch_add(1, Ordering::Release);
            });
        }
        let mut last = [(0, 0); PARTITIONS as usize];
        while done.load(Ordering::Acquire) < 4 {
            for partition in 0..PARTITIONS {
                let Ok(claim) = group.claim_of(partition) else { continue };
                let now = (claim.epoch.value(), claim.committed.map_or(0, Offset::value));
                let before = std::mem::replace(&mut last[partition as usize], now);
                assert!(before.0 <= now.0 && before.1 <= now.1, "{before:?} {now:?}");
            }
        }
    });
    println!("{} commits, {} refused as stale", commits.into_inner(), stale.into_inner());
}

// ---- bytes

#[test]
fn the_superblock_is_as_drawn() {
    let config = GroupConfig::new("billing", "events", 3).with_places(2).with_session(ms(0x0102_0304));
    let group = Group::format(Owned::<Exclusive>::new(config.lease_bytes().unwrap()), config).unwrap();
    let image = group.lease().image();
    assert_eq!(image.len(), 256 + 2 * 128 + 3 * 128);
    assert_eq!(image[..16], [0x89, b'F', b'M', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 1, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(image[16..28], [2, 0, 0, 0, 3, 0, 0, 0, 4, 3, 2, 1]);
    assert_eq!(image[48..52], [7, 0, 6, 0]);
    assert_eq!((&image[64..72], &image[128..135]), (&b"billing\0"[..], &b"events\0"[..]));
    assert!(image[256..].iter().all(|byte| *byte == 0));
    let mut member: Member<_, 3, 2> = Member::new(&group, named("m").with_session(ms(0x0a0b))).unwrap();
    settle(&mut member, 0).unwrap();
    member.commit(2, Offset::new(0x0102)).unwrap();
    let image = group.lease().image();
    assert_eq!(image[256..260], [1, 2, 0, 0], "incarnation 1, no heartbeat yet, held");
    assert_eq!(image[260..276], [0x0b, 0x0a, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, b'm', 0, 0, 0]);
    let at = 256 + 2 * 128 + 2 * 128;
    assert_eq!(image[at..at + 8], [3, 1, 0, 0, 1, 0, 0, 0], "epoch 1, place 0, copy 1; one turn");
    assert!(image[at + 32..at + 68].iter().all(|byte| *byte == 0), "copy 0 is as it was");
    assert_eq!(image[at + 80..at + 92], [2, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn what_is_no_group_is_an_error() {
    let config = GroupConfig::new("g", "t", 2).with_places(2);
    let bytes = config.lease_bytes().unwrap();
    let image = Group::format(Owned::<Exclusive>::new(bytes), config).unwrap().lease().image();
    let open = |image: &[u8]| Group::attach(Owned::<Cooperative>::of(image)).map(drop);
    assert_eq!(open(&image), Ok(()));
    assert_eq!(open(&vec![0; bytes]), Err(GroupError::NotAGroup));
    assert_eq!(open(&[0; 128]), Err(GroupError::TooShort { needed: 256, found: 128 }));
    assert_eq!(open(&image[..bytes - 128]), Err(GroupError::TooShort { needed: bytes, found: bytes - 128 }));
    // Any damage of the superblock is found; anywhere else it is not looked for yet.
    for at in 0..256 {
        for flip in [1, 0x80, 0xff] {
            let mut damaged = image.clone();
            damaged[at] ^= flip;
            let error = open(&damaged).unwrap_err();
            let expected = match at {
                0..8 => matches!(error, GroupError::NotAGroup),
                8..10 => matches!(error, GroupError::Version { known: 1, .. }),
                _ => error == GroupError::Corrupt,
            };
            assert!(expected, "byte {at}: {error:?}");
        }
    }
    let lease = Owned::<Exclusive>::new(bytes).with_epoch(3);
    let newer = Group::format(lease, config).unwrap().lease().image();
    assert_eq!(open(&newer), Err(GroupError::Fenced { lease: Epoch::new(0), area: Epoch::new(3) }));
    assert!(Group::attach(Owned::<Exclusive>::of(&newer).with_epoch(4)).is_ok());
    let format = |config: GroupConfig<'_>| Group::format(Owned::<Exclusive>::new(4096), config).map(drop);
    for bad in
        [config.with_places(0), config.with_places(128), config.with_session(ms(3)), GroupConfig::new("g", "t", 0)]
    {
        assert_eq!(format(bad), Err(GroupError::Config));
    }
    assert_eq!(format(GroupConfig::new("g", "t", 65_537)), Err(GroupError::Config));
    assert_eq!(format(GroupConfig::new(".g", "t", 1)), Err(GroupError::Group(NameError::Dots)));
    assert_eq!(format(GroupConfig::new("g", "a/b", 1)), Err(GroupError::Topic(NameError::Character { at: 1 })));
    let needed = GroupConfig::new("g", "t", 64).lease_bytes().unwrap();
    assert_eq!(format(GroupConfig::new("g", "t", 64)), Err(GroupError::TooShort { needed, found: 4096 }));
    for error in [GroupError::NotAGroup, GroupError::Config, GroupError::Corrupt, GroupError::Unaligned] {
        assert!(error.to_string().len() > 20);
    }
    // One that cannot be opened comes back.
    assert!(Group::try_attach(Owned::<Exclusive>::new(bytes)).is_err_and(|(lease, _)| lease.len() == bytes));
}

/// Behind a sound superblock there may be anything, at any time.
#[test]
fn any_bytes_are_survived() {
    let config = GroupConfig::new("g", "t", 4).with_places(4).with_session(ms(SESSION));
    let bytes = config.lease_bytes().unwrap();
    let sound = Group::format(Owned::<Exclusive>::new(bytes), config).unwrap().lease().image();
    let mut outcomes = BTreeSet::new();
    with_seeds("any bytes", 0x0062_7974_6573, 500 * scale(), |seed| {
        let mut rng = Rng::new(seed);
        let mut image = sound.clone();
        let dense = *rng.pick(&[1, 4, 64]);
        for byte in &mut image[256..] {
            if rng.one_in(dense) {
                *byte = rng.next() as u8;
            }
        }
        let group = Arc::new(Group::attach(Owned::<Cooperative>::of(&image)).unwrap());
        let mut members = [patience(), named("n")].map(|config| member(&group, config));
        for now in 0..20 {
            for member in &mut members {
                for _ in 0..64 {
                    match member.step(ms(now * INTERVAL)) {
                        Ok(None) => break,
                        Ok(Some(Event::Assigned(claim))) => {
                            outcomes.insert(format!("{:?}", claim.committed.map(|offset| offset.is_some())));
                        }
                        Ok(Some(_)) => {}
                        Err(error) => {
                            outcomes.insert(format!("{error:?}").chars().take_while(|c| c.is_alphabetic()).collect());
                        }
                    }
                }
                for partition in 0..5 {
                    if let Err(error) = member.commit(partition, Offset::new(now)) {
                        outcomes.insert(format!("{error:?}").chars().take_while(|c| c.is_alphabetic()).collect());
                    }
                    let _ = group.claim_of(partition);
                }
            }
            let _ = group.members().count();
        }
    });
    let all = ["Corrupt", "Err(Corrupt)", "Ok(false)", "NoSuchPartition", "NotClaimed", "Full", "Behind"];
    for outcome in all {
        assert!(outcomes.contains(outcome), "{outcome}: {outcomes:?}");
    }
}

#[test]
fn a_damaged_offset_is_told_and_never_taken_for_none() {
    let config = GroupConfig::new("g", "t", 2).with_places(2);
    let group = Group::format(Owned::<Cooperative>::new(config.lease_bytes().unwrap()), config).unwrap();
    {
        let mut member: Member<_, 2, 2> = Member::new(&group, patience()).unwrap();
        settle(&mut member, 0).unwrap();
        member.commit(0, Offset::new(500)).unwrap();
        member.commit(1, Offset::new(600)).unwrap();
    }
    let mut image = group.lease().image();
    image[256 + 256 + 80] ^= 0x10;
    let group = Arc::new(Group::attach(Owned::<Cooperative>::of(&image)).unwrap());
    assert_eq!(group.committed(0), Err(OffsetError::Corrupt));
    let mut member: Member<_, 2, 2> = Member::new(Arc::clone(&group), patience()).unwrap();
    let events = settle(&mut member, 0).unwrap();
    let [_, Event::Assigned(damaged), Event::Assigned(sound)] = events[..] else { panic!("{events:?}") };
    assert_eq!((damaged.committed, sound.committed), (Err(OffsetError::Corrupt), Ok(Some(Offset::new(600)))));
    assert_eq!(member.commit(0, Offset::new(501)), Err(OffsetError::Corrupt), "where is it?");
    member.offsets().reset("g", "t", 0, Some(Offset::new(500))).unwrap();
    member.commit(0, Offset::new(501)).unwrap();
    assert_eq!(group.committed(0), Ok(Some(Offset::new(501))));
}

#[test]
fn epochs_and_incarnations_end_and_never_come_round() {
    let config = GroupConfig::new("g", "t", 2).with_places(2);
    let mut image =
        Group::format(Owned::<Exclusive>::new(config.lease_bytes().unwrap()), config).unwrap().lease().image();
    image[256..260].copy_from_slice(&[0xfe, 0xff, 0xff, 0xff]); // the last incarnation, not held
    image[512..516].copy_from_slice(&[0, 0xff, 0xff, 0xff]); // the last epoch
    image[640..644].copy_from_slice(&[0, 0xfe, 0xff, 0xff]); // the one before
    let group = Group::attach(Owned::<Cooperative>::of(&image)).unwrap();
    let mut member: Member<_, 2, 2> = Member::new(&group, patience()).unwrap();
    assert!(
        matches!(member.step(ms(0)), Ok(Some(Event::Joined { place: 1, .. }))),
        "the other has had all its holders"
    );
    let exhausted = MemberError::Claim { partition: 0, error: OffsetError::Exhausted };
    assert_eq!(member.step(ms(0)), Err(exhausted));
    let Ok(Some(Event::Assigned(claim))) = member.step(ms(0)) else { panic!("the other partition is not concerned") };
    assert_eq!(claim.epoch, Epoch::new(0x00ff_ffff));
    member.commit(1, Offset::new(1)).unwrap();
    assert_eq!(settle(&mut member, 0), Ok(vec![]));
}

// ---- as a store

#[test]
fn a_store_in_a_lease_takes_commits_of_its_group_and_topic_alone() {
    let mut bytes = [0; 4096];
    let group = Group::format(SliceLease::new(&mut bytes), GroupConfig::new("g", "t", 2)).unwrap();
    let mut member: Member<_> = Member::new(&group, patience()).unwrap();
    assert_eq!(member.commit(0, Offset::new(1)), Err(OffsetError::NotClaimed { partition: 0 }));
    settle(&mut member, 0).unwrap();
    let store = member.offsets();
    for (group, topic) in [("other", "t"), ("g", "other")] {
        assert_eq!(store.commit(group, topic, 0, Offset::new(1)), Err(OffsetError::Foreign));
        assert_eq!(store.committed(group, topic, 0), Err(OffsetError::Foreign));
        assert_eq!(store.reset(group, topic, 0, None), Err(OffsetError::Foreign));
    }
    let none = OffsetError::NoSuchPartition { partition: 2, partitions: 2 };
    assert_eq!(store.commit("g", "t", 2, Offset::new(1)), Err(none));
    assert_eq!(store.committed("g", "t", 2), Err(none));
    for offset in [0, 1, 255, 256, u64::from(u32::MAX), 1 << 32, u64::MAX - 1, u64::MAX] {
        store.commit("g", "t", 0, Offset::new(offset)).unwrap();
        assert_eq!(store.committed("g", "t", 0), Ok(Some(Offset::new(offset))));
    }
    store.reset("g", "t", 0, Some(Offset::new(3))).unwrap();
    assert_eq!(store.committed("g", "t", 0), Ok(Some(Offset::new(3))));
    store.reset("g", "t", 0, None).unwrap();
    assert_eq!(store.committed("g", "t", 0), Ok(None));
    assert_eq!(store.committed("g", "t", 1), Ok(None));
    assert_eq!(store.epoch(0), Some(Epoch::new(1)));
}

#[test]
fn a_consumer_commits_to_it() {
    let topics = TopicManager::new();
    topics.create("t", TopicConfig::new().with_partitions(2)).unwrap();
    Producer::new("t").send_batch(&topics, [b"a", b"b", b"c"]).unwrap();
    let group = group(2, 2);
    let mut member = member(&group, patience());
    settle(&mut member, 0).unwrap();
    let mut consumer = Consumer::new("t", "g");
    consumer.assign(&member.owned().collect::<Vec<_>>());
    consumer.seek(&topics, member.offsets(), SeekPolicy::Earliest).unwrap();
    assert_eq!(consumer.poll(&topics, 10).unwrap().len(), 3);
    let topic = |topics: &TopicManager| {
        let handle = topics.find("t").unwrap();
        group.lag(Topics::topic(topics, &handle, "t").unwrap())
    };
    assert_eq!(topic(&topics), Ok(3));
    consumer.commit(&topics, member.offsets()).unwrap();
    assert_eq!(topic(&topics), Ok(0));
    assert_eq!((group.committed(0), group.committed(1)), (Ok(Some(Offset::new(2))), Ok(Some(Offset::new(1)))));
}

// ---- consumers of a group

#[derive(Default)]
struct Diary(Vec<(&'static str, u32)>);

impl Rebalance for Diary {
    fn assigned(&mut self, partition: u32, _: Epoch, _: Offset) {
        self.0.push(("assigned", partition));
    }
    fn revoked(&mut self, partition: u32, position: Offset) -> Option<Offset> {
        self.0.push(("revoked", partition));
        Some(position)
    }
    fn lost(&mut self, partition: u32) {
        self.0.push(("lost", partition));
    }
}

type Sharing = GroupConsumer<Shared<Owned<Cooperative>>, TopicManager, Diary, 8, 8>;

fn sharing(group: &Shared<Owned<Cooperative>>) -> Sharing {
    GroupConsumer::with_listener(Arc::clone(group), patience(), Diary::default()).unwrap()
}

/// What is read is counted by its payload: each number is sent once.
fn read(consumer: &mut Sharing, topics: &TopicManager, now: u64, into: &mut BTreeMap<u64, u32>) -> usize {
    consumer
        .poll_with(topics, ms(now), 64, |message| {
            let number = u64::from_le_bytes(message.payload().try_into().unwrap());
            *into.entry(number).or_default() += 1;
        })
        .unwrap()
}

#[test]
fn consumers_share_a_topic_and_hand_partitions_over_without_a_gap_or_a_double() {
    let topics = TopicManager::new();
    topics.create("t", TopicConfig::new().with_partitions(6).with_slots(512)).unwrap();
    let group = group(6, 8);
    let mut producer = Producer::new("t");
    let mut seen = BTreeMap::new();
    let mut consumers: Vec<Sharing> = Vec::new();
    let mut rng = Rng::new(1);
    let (mut sent, mut now) = (0_u64, 0);
    let mut most = 0;
    for turn in 0..600 {
        for _ in 0..rng.below(6) {
            producer.send(&topics, &sent.to_le_bytes()).unwrap();
            sent += 1;
        }
        if consumers.is_empty() || turn % 20 == 0 && consumers.len() < 6 && rng.one_in(2) {
            consumers.push(sharing(&group));
        } else if turn % 20 == 10 && consumers.len() > 1 && rng.one_in(2) {
            // In order, or just dropped. A dropped one commits nothing: it has committed what it had read.
            let gone = consumers.swap_remove(rng.size(consumers.len()));
            if rng.one_in(2) {
                gone.leave().unwrap();
            } else {
                drop(gone);
            }
        }
        for consumer in &mut consumers {
            // Never `Claimed`: the one before has left its place before it gave the claim back.
            read(consumer, &topics, now, &mut seen);
            assert_eq!(consumer.waiting().count(), 0);
            if rng.one_in(2) || turn % 20 == 9 || turn % 20 == 10 {
                consumer.commit(&topics).unwrap();
            }
        }
        now += INTERVAL / 4;
        most = most.max(consumers.len());
    }
    for consumer in consumers {
        consumer.leave().unwrap();
    }
    let mut last = sharing(&group);
    while read(&mut last, &topics, now, &mut seen) > 0 {}
    last.commit(&topics).unwrap();
    assert_eq!(last.lag(&topics).unwrap(), 0);
    let twice: Vec<_> = seen.iter().filter(|(_, count)| **count != 1).collect();
    assert_eq!((seen.len() as u64, twice), (sent, vec![]), "each exactly once, with up to {most} consumers");
    assert!(most >= 4 && sent > 1_000);
}

/// One that is given up without being dead still has its reader in the partition.
#[test]
fn a_successor_waits_for_the_reader_of_one_that_was_given_up_and_reads_on_elsewhere() {
    let topics = TopicManager::new();
    topics.create("t", TopicConfig::new().with_partitions(2)).unwrap();
    let group = group(2, 4);
    let (mut old, mut new) = (sharing(&group), sharing(&group));
    let mut producer = Producer::new("t");
    for number in 0..8_u64 {
        producer.send(&topics, &number.to_le_bytes()).unwrap();
    }
    let (mut by_old, mut by_new) = (BTreeMap::new(), BTreeMap::new());
    for now in [0, 100, 200] {
        read(&mut old, &topics, now, &mut by_old);
        read(&mut new, &topics, now, &mut by_new);
        new.commit(&topics).unwrap();
    }
    assert!(old.assignment().eq([0]) && new.assignment().eq([1]));
    let before = by_new.len();
    // It stands still, and is given up.
    for turn in 3..15 {
        read(&mut new, &topics, turn * INTERVAL, &mut by_new);
        new.commit(&topics).unwrap();
    }
    assert!(new.member().owns(0) && new.waiting().eq([0]) && new.assignment().eq([1]));
    producer.send_to(&topics, 1, &100_u64.to_le_bytes()).unwrap();
    read(&mut new, &topics, 15 * INTERVAL, &mut by_new);
    assert!(by_new.contains_key(&100), "its other partition is not held up");
    // It wakes up: what it has read is not committed any more, and it leaves the partition.
    let error = old.commit(&topics).unwrap_err();
    assert!(matches!(error, CommitError::Store { partition: 0, error: OffsetError::Stale { .. } }), "{error}");
    let error = old.poll_with(&topics, ms(15 * INTERVAL), 10, |_| panic!("not its own any more")).unwrap_err();
    assert_eq!(error, GroupConsumerError::Member(MemberError::Lapsed));
    assert!(old.listener().0.contains(&("lost", 0)), "{:?}", old.listener().0);
    read(&mut new, &topics, 16 * INTERVAL, &mut by_new);
    assert!(new.waiting().count() == 0 && new.assignment().collect::<BTreeSet<_>>() == BTreeSet::from([0, 1]));
    assert_eq!(new.listener().0, [("assigned", 1), ("assigned", 0)]);
    let again = by_old.keys().filter(|number| by_new.contains_key(number)).count();
    assert!(again > 0 && by_new.len() > before, "what it had not committed is read again");
    let all: BTreeSet<u64> = by_old.keys().chain(by_new.keys()).copied().collect();
    assert!(all.into_iter().eq((0..8).chain([100])), "and nothing is left out");
}

#[test]
fn a_consumer_goes_on_at_the_committed_offset_and_can_be_reset() {
    let topics = TopicManager::new();
    topics.create("t", TopicConfig::new().with_partitions(1)).unwrap();
    let group = group(1, 2);
    let mut producer = Producer::new("t");
    for number in 0..10_u64 {
        producer.send(&topics, &number.to_le_bytes()).unwrap();
    }
    let mut seen = BTreeMap::new();
    let mut one = sharing(&group);
    read(&mut one, &topics, 0, &mut seen);
    one.commit_to(0, Offset::new(4)).unwrap();
    drop(one);
    let mut two = sharing(&group);
    seen.clear();
    two.step(&topics, ms(0)).unwrap();
    assert_eq!(two.position(0), Some(Offset::new(4)));
    read(&mut two, &topics, 0, &mut seen);
    assert!(seen.keys().copied().eq(4..10));
    two.commit(&topics).unwrap();
    assert!(two.reset(7, None).is_err());
    two.reset(0, Some(Offset::new(10))).unwrap();
    two.step(&topics, ms(1)).unwrap();
    assert_eq!((two.position(0), two.lag(&topics)), (Some(Offset::new(10)), Ok(0)));
}

// ---- memory that is reached by verbs

/// Its mirror is this process's own: others would not be seen. A mapping of the same memory holds a group.
#[test]
fn memory_that_is_reached_by_verbs_holds_no_group_but_its_mapping_does() {
    use fabric_mq::lease::remote::{LoopbackMemory, Peers, RemoteLease};
    let config = GroupConfig::new("g", "t", 1).with_places(2);
    let memory = LoopbackMemory::new(config.lease_bytes().unwrap()).unwrap();
    let remote = || RemoteLease::connect(memory.connect(), Peers::Mapped).unwrap();
    let refused = GroupError::Lease(LeaseError::Unsupported);
    assert_eq!(Group::format(remote(), config).map(drop), Err(refused));
    let mapped = Group::format(memory.map().unwrap(), config).unwrap();
    assert_eq!(Group::attach(remote()).map(drop), Err(refused));
    let mut member: Member<_> = Member::new(&mapped, patience()).unwrap();
    settle(&mut member, 0).unwrap();
    member.commit(0, Offset::new(3)).unwrap();
    assert_eq!(Group::attach(memory.map().unwrap()).unwrap().committed(0), Ok(Some(Offset::new(3))));
}
