//! Assignments: balanced, with the fewest moves there can be, and the same for whoever computes them.
//!
//! The fewest moves are found without the crate's reasoning: by trying every balanced assignment, or by a minimum-cost flow.

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

mod common;

use common::{Rng, scale, with_seeds};
use fabric_mq::group::{AssignError, Changes, Moves, assign};
use fabric_mq::topic::MAX_PARTITIONS;
use std::cell::Cell;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

/// Members are numbers here. Nobody lists this one, but partitions may be its own.
const STRANGER: u32 = 99;

type Owners = Vec<Option<u32>>;

fn assigned(owners: &[Option<u32>], members: &[u32]) -> (Owners, Moves) {
    let mut plan = owners.to_vec();
    let moves = assign(&mut plan, members).expect("members, none of them twice");
    (plan, moves)
}

fn owned(owners: &[Option<u32>], member: u32) -> usize {
    owners.iter().filter(|owner| **owner == Some(member)).count()
}

/// Whether all partitions have a member, and the members equally many.
fn is_balanced(owners: &[Option<u32>], members: &[u32]) -> bool {
    let counts: Vec<usize> = members.iter().map(|member| owned(owners, *member)).collect();
    counts.iter().sum::<usize>() == owners.len() && counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1
}

/// Partitions that a living member has to give up on the way from `owners` to `plan`.
fn taken(owners: &[Option<u32>], plan: &[Option<u32>], members: &[u32]) -> usize {
    let lives = |owner: &Option<u32>| owner.is_some_and(|owner| members.contains(&owner));
    owners.iter().zip(plan).filter(|(owner, to)| lives(owner) && owner != to).count()
}

/// Whatever must hold of any assignment; answers it, and how many partitions it takes from a living member.
fn check(owners: &[Option<u32>], members: &[u32]) -> (Owners, usize) {
    let (plan, moves) = assigned(owners, members);
    assert!(is_balanced(&plan, members), "{owners:?} among {members:?} is {plan:?}");
    let took = taken(owners, &plan, members);
    let given = owners.iter().filter(|owner| !owner.is_some_and(|owner| members.contains(&owner))).count();
    let counts = (moves.kept as usize, moves.taken as usize, moves.given as usize);
    assert_eq!(counts, (owners.len() - took - given, took, given), "{owners:?} among {members:?} is {plan:?}");
    let (again, settled) = assigned(&plan, members);
    assert_eq!((&again, settled.kept as usize), (&plan, plan.len()), "{owners:?} among {members:?}");
    (plan, took)
}

/// All lists of `len` out of `choices`.
fn lists<T: Copy>(len: usize, choices: &[T]) -> impl Iterator<Item = Vec<T>> {
    let count = choices.len().pow(u32::try_from(len).unwrap());
    (0..count).map(move |mut number| {
        let mut list = Vec::with_capacity(len);
        for _ in 0..len {
            list.push(choices[number % choices.len()]);
            number /= choices.len();
        }
        list
    })
}

fn balanced(partitions: usize, members: &[u32]) -> Vec<Owners> {
    let choices: Vec<_> = members.iter().map(|member| Some(*member)).collect();
    lists(partitions, &choices).filter(|owners| is_balanced(owners, members)).collect()
}

/// Nobody, a stranger, and each of the members.
fn anybody(members: &[u32]) -> Vec<Option<u32>> {
    [None, Some(STRANGER)].into_iter().chain(members.iter().map(|member| Some(*member))).collect()
}

/// The least that has to be taken from living members, by a flow of least cost: from each partition to a member, for nothing
/// to its owner and for 1 to any other, and from there through one of the member's lesser places or through one of the few
/// greater ones.
fn fewest_by_flow(owners: &[Option<u32>], members: &[u32]) -> usize {
    struct Edge {
        from: usize,
        to: usize,
        room: usize,
        cost: i64,
    }
    let (p, m) = (owners.len(), members.len());
    let (source, sink, greater) = (p + m, p + m + 1, p + m + 2);
    let mut edges: Vec<Edge> = Vec::new();
    // Each edge is followed by its reverse.
    let mut edge = |from, to, room, cost| {
        edges.push(Edge { from, to, room, cost });
        edges.push(Edge { from: to, to: from, room: 0, cost: -cost });
    };
    for (partition, owner) in owners.iter().enumerate() {
        edge(source, partition, 1, 0);
        let lives = owner.is_some_and(|owner| members.contains(&owner));
        for (at, member) in members.iter().enumerate() {
            edge(partition, p + at, 1, i64::from(lives && *owner != Some(*member)));
        }
    }
    for at in 0..m {
        edge(p + at, sink, p / m, 0);
        edge(p + at, greater, 1, 0);
    }
    edge(greater, sink, p % m, 0);

    let mut total = 0;
    for _ in 0..p {
        let mut best = vec![(i64::MAX, usize::MAX); p + m + 3];
        best[source].0 = 0;
        let mut better = true;
        while better {
            better = false;
            for (at, edge) in edges.iter().enumerate().filter(|(_, edge)| edge.room > 0) {
                let cost = best[edge.from].0.saturating_add(edge.cost);
                if best[edge.from].0 < i64::MAX && cost < best[edge.to].0 {
                    best[edge.to] = (cost, at);
                    better = true;
                }
            }
        }
        assert!(best[sink].0 < i64::MAX, "every partition finds a place");
        total += best[sink].0;
        let mut place = sink;
        while place != source {
            let at = best[place].1;
            edges[at].room -= 1;
            edges[at ^ 1].room += 1;
            place = edges[at].from;
        }
    }
    usize::try_from(total).unwrap()
}

/// The fewest moves, remembered by what they depend on: the numbers of partitions, of members, and of what each owns.
struct Fewest {
    known: BTreeMap<(usize, Vec<usize>), usize>,
    asked: usize,
    find: fn(&[Option<u32>], &[u32]) -> usize,
}

impl Fewest {
    fn by(find: fn(&[Option<u32>], &[u32]) -> usize) -> Self {
        Self { known: BTreeMap::new(), asked: 0, find }
    }

    fn of(&mut self, owners: &[Option<u32>], members: &[u32]) -> usize {
        self.asked += 1;
        let mut counts: Vec<usize> = members.iter().map(|member| owned(owners, *member)).collect();
        counts.sort_unstable();
        *self.known.entry((owners.len(), counts)).or_insert_with(|| (self.find)(owners, members))
    }
}

fn fewest_by_trying(owners: &[Option<u32>], members: &[u32]) -> usize {
    balanced(owners.len(), members).iter().map(|plan| taken(owners, plan, members)).min().expect("one is balanced")
}

#[test]
fn nothing_moves_that_could_stay_up_to_8_partitions_and_4_members() {
    let mut fewest = Fewest::by(fewest_by_trying);
    for count in 1..=4_u32 {
        let members: Vec<u32> = (1..=count).collect();
        for partitions in 0..=8 {
            // A stranger is one more nobody: for few partitions both, for many one.
            let who = anybody(&members);
            let choices = if partitions <= 6 { &who[..] } else { &who[1..] };
            for owners in lists(partitions, choices) {
                let (plan, took) = check(&owners, &members);
                assert_eq!(took, fewest.of(&owners, &members), "{owners:?} among {members:?} is {plan:?}");
            }
        }
    }
    assert!(fewest.asked > 500_000, "{}", fewest.asked);
}

#[test]
fn of_all_with_the_fewest_moves_it_is_the_documented_one() {
    for count in 1..=4_u32 {
        // Listed against their order: the rules are about the order.
        let members: Vec<u32> = (1..=count).rev().collect();
        for partitions in 0..=5 {
            let plans = balanced(partitions, &members);
            for owners in lists(partitions, &anybody(&members)) {
                let expected = plans.iter().min_by_key(|plan| {
                    let shares: Vec<usize> = (1..=count).map(|member| owned(plan, member)).collect();
                    let given_up = (0..partitions).rev().filter(|at| {
                        owners[*at].is_some_and(|owner| members.contains(&owner)) && owners[*at] != plan[*at]
                    });
                    let given_up: Vec<usize> = given_up.collect();
                    // Fewest moves; larger shares for the first; highest given up; lowest free ones to the first.
                    (given_up.len(), Reverse(shares), Reverse(given_up), plan.to_vec())
                });
                let (plan, _) = assigned(&owners, &members);
                assert_eq!(Some(&plan), expected, "{owners:?} among {members:?}");
            }
        }
    }
}

/// Frozen: members of different versions must agree. A change here is a change of protocol.
#[test]
fn these_assignments_never_change() {
    let owners = |text: &str| -> Owners { text.chars().map(|owner| owner.to_digit(10)).collect() };
    for (before, members, after) in [
        ("", &[1][..], ""),
        ("....", &[1], "1111"),
        ("....", &[1, 2, 3], "1123"),
        ("........", &[1, 2, 3], "11122233"),
        ("1112", &[1, 2, 3], "1132"),
        ("1122", &[1, 2, 3], "1123"),
        ("2211", &[1, 2, 3], "2311"),
        ("222111", &[1, 2, 3], "223113"),
        ("1212121", &[2, 3], "2232323"),
        ("333333", &[1, 2, 3], "331122"),
        ("33..11", &[1, 2, 3], "332211"),
        ("5555", &[1, 2, 3, 4, 5], "5123"),
        ("9876.123", &[1, 2, 3, 4], "12344123"),
    ] {
        assert_eq!(assigned(&owners(before), members).0, owners(after), "{before:?} among {members:?}");
    }
}

#[test]
fn nothing_moves_that_could_stay_up_to_16_partitions_and_8_members() {
    let mut moved = 0;
    with_seeds("flow", 0xA551, 4_000 * scale(), |seed| {
        let mut rng = Rng::new(seed);
        let mut ids: Vec<u32> = (0..8).map(|at| at * 10 + rng.size(10) as u32).collect();
        shuffle(&mut ids, &mut rng);
        let members = &ids[..rng.within(1, 8) as usize];
        // Some are no members; some own more than others.
        let choices: Vec<Option<u32>> =
            (0..rng.within(1, 12)).map(|_| if rng.one_in(6) { None } else { Some(*rng.pick(&ids)) }).collect();
        let owners: Owners = (0..rng.within(0, 16)).map(|_| *rng.pick(&choices)).collect();
        let (plan, took) = check(&owners, members);
        assert_eq!(took, fewest_by_flow(&owners, members), "{owners:?} among {members:?} is {plan:?}");
        moved += took;

        let mut other = members.to_vec();
        shuffle(&mut other, &mut rng);
        assert_eq!(assigned(&owners, &other).0, plan, "{members:?} listed as {other:?}");
    });
    assert!(moved > 100 || common::replay().is_some(), "{moved}");
}

fn shuffle<T>(list: &mut [T], rng: &mut Rng) {
    for at in (1..list.len()).rev() {
        list.swap(at, rng.size(at + 1));
    }
}

#[test]
fn every_order_of_members_gives_the_same() {
    let members = [1, 2, 3, 4];
    let orders: Vec<Vec<u32>> = lists(4, &members).filter(|list| members.iter().all(|id| list.contains(id))).collect();
    assert_eq!(orders.len(), 24);
    for owners in lists(5, &anybody(&members)) {
        let (plan, _) = assigned(&owners, &members);
        for order in &orders {
            assert_eq!(assigned(&owners, order).0, plan, "{owners:?} among {order:?}");
        }
    }
}

#[test]
fn a_plan_stays_the_same_while_it_is_carried_out() {
    let mut states = 0_u64;
    for count in 1..=3_u32 {
        let members: Vec<u32> = (1..=count).collect();
        for partitions in 0..=6 {
            for owners in lists(partitions, &anybody(&members)[1..]) {
                let (plan, _) = assigned(&owners, &members);
                let changed: Vec<usize> = (0..partitions).filter(|at| owners[*at] != plan[*at]).collect();
                // As it was, given up, or taken: each on its own.
                for steps in lists(changed.len(), &[0, 1, 2]) {
                    let mut claims = owners.clone();
                    for (at, step) in changed.iter().zip(steps) {
                        claims[*at] = [owners[*at], None, plan[*at]][step];
                    }
                    assert_eq!(assigned(&claims, &members).0, plan, "{claims:?}, from {owners:?} among {members:?}");
                    states += 1;
                }
            }
        }
    }
    assert!(states > 100_000, "{states}");
}

/// A group whose members come, go and crash, and hand partitions over one claim at a time, each by its own computation.
#[derive(Default)]
struct Group {
    members: Vec<u32>,
    claims: Vec<(Option<u32>, u64)>,
    /// What each member believes to own: what it reads.
    reads: BTreeMap<u32, BTreeSet<u32>>,
    revoked: usize,
}

impl Group {
    fn owners(&self) -> Owners {
        self.claims.iter().map(|claim| claim.0).collect()
    }

    /// One member looks at the claims, and does one thing of those it has to do. Answers whether there was one.
    fn act(&mut self, member: u32, rng: &mut Rng) -> bool {
        let owners = self.owners();
        let mut listed = self.members.clone();
        shuffle(&mut listed, rng);
        let (plan, _) = assigned(&owners, &listed);
        let changes = Changes::of(member, &owners, &plan);
        let revoked: Vec<u32> = changes.revoked().collect();
        let claimable: Vec<u32> = changes.claimable(&listed).collect();
        if revoked.is_empty() && claimable.is_empty() {
            return false;
        }
        if claimable.is_empty() || !revoked.is_empty() && rng.one_in(2) {
            let partition = *rng.pick(&revoked);
            assert!(self.reads.get_mut(&member).unwrap().remove(&partition), "{member} reads {partition}");
            self.claims[partition as usize].0 = None;
            self.revoked += 1;
        } else {
            let partition = *rng.pick(&claimable);
            for (reader, reads) in &self.reads {
                assert!(!reads.contains(&partition), "{reader} and {member} read {partition}");
            }
            let (owner, epoch) = &mut self.claims[partition as usize];
            *owner = Some(member);
            *epoch += 1;
            self.reads.get_mut(&member).unwrap().insert(partition);
        }
        true
    }

    /// All members act in any order, for at most so many steps. Answers whether nothing is left to do.
    fn settle(&mut self, steps: u64, rng: &mut Rng) -> bool {
        for _ in 0..steps {
            let mut order = self.members.clone();
            shuffle(&mut order, rng);
            if !order.into_iter().any(|member| self.act(member, rng)) {
                return true;
            }
        }
        false
    }
}

#[test]
fn members_come_go_and_crash_and_no_step_moves_more_than_it_must() {
    let mut fewest = Fewest::by(fewest_by_flow);
    let (mut total, mut least, mut steps) = (0_usize, 0_usize, 0_u64);
    with_seeds("walk", 0x3A1C, 100 * scale(), |seed| {
        let mut rng = Rng::new(seed);
        let partitions = rng.within(1, 24) as usize;
        let mut owners: Owners = vec![None; partitions];
        let mut members = vec![1];
        for _ in 0..1_000 {
            steps += 1;
            // Joining a few times as often as leaving would fill the group: the walk goes both ways.
            if members.len() < 2 || members.len() < 12 && rng.one_in(2) {
                let id = (1..=20).find(|id| !members.contains(id) && rng.one_in(4)).unwrap_or(21);
                if !members.contains(&id) {
                    members.insert(rng.size(members.len() + 1), id);
                }
            } else {
                let gone = members.swap_remove(rng.size(members.len()));
                // One that leaves ends its claims; one that crashes leaves them behind.
                if rng.one_in(2) {
                    owners.iter_mut().filter(|owner| **owner == Some(gone)).for_each(|owner| *owner = None);
                }
            }
            let (plan, took) = check(&owners, &members);
            total += took;
            least += fewest.of(&owners, &members);
            owners = plan;
        }
    });
    assert_eq!(total, least, "moves in {steps} changes of membership, and the fewest possible");
    assert!(common::replay().is_some() || steps >= 100_000 && total > 50_000, "{steps} steps, {total} moves");
    println!("passed {steps} changes of membership with {total} moves");
}

#[test]
fn a_partition_is_never_read_by_two_and_is_given_up_no_more_often_than_it_must_be() {
    let mut fewest = Fewest::by(fewest_by_flow);
    let (mut midway, mut back) = (0, 0);
    with_seeds("hand-over", 0xC1A1, 60 * scale(), |seed| {
        let mut rng = Rng::new(seed);
        let mut group = Group { claims: vec![(None, 0); rng.within(1, 16) as usize], ..Group::default() };
        for _ in 0..60 {
            if group.members.len() < 2 || group.members.len() < 8 && rng.one_in(2) {
                let id = (1..=12).find(|id| !group.members.contains(id) && rng.one_in(3));
                let id = id.or_else(|| (1..=12).find(|id| !group.members.contains(id))).expect("12 are enough");
                group.members.push(id);
                // What it owned when it crashed, and nobody has claimed since, is its own again: it reads on.
                let owns = (0_u32..).zip(&group.claims).filter(|(_, claim)| claim.0 == Some(id));
                let reads: BTreeSet<u32> = owns.map(|(partition, _)| partition).collect();
                back += u64::from(!reads.is_empty());
                group.reads.insert(id, reads);
            } else {
                // It crashes: it reads no more, and its claims stay behind.
                let gone = group.members.swap_remove(rng.size(group.members.len()));
                group.reads.remove(&gone);
            }
            let least = fewest.of(&group.owners(), &group.members);
            let (plan, _) = assigned(&group.owners(), &group.members);
            group.revoked = 0;
            if rng.one_in(3) {
                // The next change comes while this one is under way.
                let steps = rng.below(4);
                midway += u64::from(!group.settle(steps, &mut rng));
                continue;
            }
            assert!(group.settle(200, &mut rng), "every hand-over ends: {:?}", group.owners());
            assert_eq!((group.owners(), group.revoked), (plan, least));
            for member in &group.members {
                let owns = (0_u32..).zip(&group.claims).filter(|(_, claim)| claim.0 == Some(*member));
                assert!(owns.map(|(partition, _)| partition).eq(group.reads[member].iter().copied()), "{member}");
            }
        }
    });
    assert!(midway > 100 && back > 20 || common::replay().is_some(), "{midway} changes midway, {back} came back");
}

#[test]
fn one_that_is_away_but_listed_keeps_its_place() {
    let members = [10, 20, 30];
    let (plan, _) = assigned(&[None; 7], &members);
    // It crashed, is still listed, and comes back under its id.
    assert_eq!(assigned(&plan, &members), (plan.clone(), assigned(&plan, &members).1));
    assert_eq!(assigned(&plan, &members).1.kept, 7);
    // It is not listed any more: what the others have stays, and it comes back to its share at the price of that alone.
    let (without, moves) = assigned(&plan, &[10, 30]);
    assert_eq!((moves.kept, moves.taken, moves.given), (5, 0, 2));
    let (_, moves) = assigned(&without, &members);
    assert_eq!((moves.kept, moves.taken, moves.given), (5, 2, 0));
}

#[test]
fn a_members_changes_are_the_difference_and_nothing_else() {
    let members = [1, 2, 3];
    for owners in lists(5, &anybody(&members)) {
        let (plan, moves) = assigned(&owners, &members);
        let (mut revoked, mut claimable, mut gained) = (0, 0, 0);
        for member in members {
            let changes = Changes::of(member, &owners, &plan);
            let at = |partition: &u32| (owners[*partition as usize], plan[*partition as usize]);
            let to: Vec<u32> = changes.assigned().collect();
            let from: Vec<u32> = changes.revoked().collect();
            assert!(to.is_sorted() && from.is_sorted());
            assert!(to.iter().all(|partition| at(partition).0 != Some(member) && at(partition).1 == Some(member)));
            assert!(from.iter().all(|partition| at(partition).0 == Some(member) && at(partition).1 != Some(member)));
            assert!(to.is_empty() || from.is_empty(), "nobody gives one up to get another: {owners:?} {plan:?}");
            assert_eq!(changes.is_empty(), to.is_empty() && from.is_empty());
            let at_once: Vec<u32> = changes.claimable(&members).collect();
            let free = |partition: &&u32| matches!(at(partition).0, None | Some(STRANGER));
            assert_eq!(at_once, to.iter().filter(free).copied().collect::<Vec<_>>());
            revoked += from.len();
            gained += to.len();
            claimable += at_once.len();
        }
        assert_eq!((revoked, claimable), (moves.taken as usize, moves.given as usize), "{owners:?}");
        assert_eq!(gained, revoked + claimable);
        // One that is out gives up all it has.
        let out = Changes::of(STRANGER, &owners, &plan);
        assert_eq!((out.revoked().count(), out.assigned().count()), (owned(&owners, STRANGER), 0));
    }
}

#[test]
fn changes_take_lists_of_different_lengths() {
    let (short, long) = ([Some(1), Some(2)], [Some(1), Some(1), Some(2), None, Some(1)]);
    let grows = Changes::of(1, &short, &long);
    assert_eq!((grows.revoked().count(), grows.assigned().collect::<Vec<_>>()), (0, vec![1, 4]));
    assert_eq!(grows.claimable(&[1, 2]).collect::<Vec<_>>(), [4]);
    let shrinks = Changes::of(1, &long, &short);
    assert_eq!((shrinks.revoked().collect::<Vec<_>>(), shrinks.assigned().count()), (vec![1, 4], 0));
    assert!(Changes::of(3, &long, &short).is_empty() && Changes::of(1, &[], &[]).is_empty());
}

#[test]
fn what_cannot_be_assigned_is_told_and_left_as_it_is() {
    let mut owners = [Some(7), None, Some(8)];
    for (members, error) in [
        (&[][..], AssignError::NoMembers { partitions: 3 }),
        (&[7, 7], AssignError::Duplicate { at: 1 }),
        (&[9, 7, 8, 9], AssignError::Duplicate { at: 3 }),
        (&[1, 2, 3, 3, 4], AssignError::Duplicate { at: 3 }),
        (&[5, 4, 4, 5], AssignError::Duplicate { at: 2 }),
    ] {
        assert_eq!(assign(&mut owners, members), Err(error));
        assert_eq!(owners, [Some(7), None, Some(8)]);
        assert!(error.to_string().len() > 40, "{error}");
    }
    assert_eq!(assign::<u32>(&mut [], &[]), Ok(Moves::default()));
    assert_eq!(assign(&mut [], &[3, 1]), Ok(Moves::default()));
    assert_eq!(assign(&mut [], &[3, 3]), Err(AssignError::Duplicate { at: 1 }));

    let most = MAX_PARTITIONS as usize;
    let mut many = vec![None; most + 1];
    let error = AssignError::TooMany { partitions: most + 1, max: MAX_PARTITIONS };
    assert_eq!(assign(&mut many, &[1, 2]), Err(error));
    assert!(many.iter().all(Option::is_none) && error.to_string().contains("65536"), "{error}");
    let moves = assign(&mut many[..most], &[1, 2]).expect("as many as a topic can have");
    assert_eq!((moves.given, owned(&many, 1), owned(&many, 2)), (MAX_PARTITIONS, most / 2, most / 2));
}

#[test]
fn ids_are_anything_with_an_order() {
    // The same group under names, numbers and arrays, in the same order: the same assignment.
    let names = ["agent-a", "agent-b", "agent-c"];
    let keys = [[0, 9], [1, 0], [1, 1]];
    let wide = [1, u128::MAX - 1, u128::MAX];
    for owners in lists(5, &[None, Some(0), Some(1), Some(2)]) {
        let mut plan = owners.clone();
        assign(&mut plan, &[0, 1, 2]).unwrap();
        let mut named: Vec<Option<&str>> = owners.iter().map(|owner| owner.map(|at: usize| names[at])).collect();
        let mut keyed: Vec<Option<[u8; 2]>> = owners.iter().map(|owner| owner.map(|at: usize| keys[at])).collect();
        let mut far: Vec<Option<u128>> = owners.iter().map(|owner| owner.map(|at: usize| wide[at])).collect();
        assign(&mut named, &["agent-b", "agent-c", "agent-a"]).unwrap();
        assign(&mut keyed, &keys).unwrap();
        assign(&mut far, &wide).unwrap();
        assert!(named.iter().zip(&plan).all(|(name, to)| *name == to.map(|at| names[at])), "{named:?}");
        assert!(keyed.iter().zip(&plan).all(|(key, to)| *key == to.map(|at| keys[at])), "{keyed:?}");
        assert!(far.iter().zip(&plan).all(|(id, to)| *id == to.map(|at| wide[at])), "{far:?}");
    }
}

thread_local! {
    static COMPARED: Cell<u64> = const { Cell::new(0) };
}

/// An id that counts how often it is looked at.
#[derive(Clone, Copy, Debug)]
struct Counted(u32);

impl Counted {
    fn note() {
        COMPARED.with(|count| count.set(count.get() + 1));
    }
}

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        Self::note();
        self.0 == other.0
    }
}

impl Eq for Counted {}

impl Ord for Counted {
    fn cmp(&self, other: &Self) -> Ordering {
        Self::note();
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Counted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[test]
fn the_work_is_in_proportion_to_partitions_times_members() {
    let mut rng = Rng::new(0xB16);
    for (partitions, count) in
        [(1, 1), (500, 1), (500, 20), (300, 299), (300, 300), (300, 301), (20, 2_000), (1, 5_000)]
    {
        for skew in [1, 3, count.max(2)] {
            let mut members: Vec<Counted> = (0..count).map(|at| Counted(at * 2)).collect();
            let owners: Vec<Option<Counted>> = (0..partitions)
                .map(|_| if rng.one_in(5) { None } else { Some(Counted(rng.below(u64::from(skew) * 2) as u32)) })
                .collect();
            // In order; then, if that is promised for any order, in any.
            for shuffled in [false, true] {
                if shuffled {
                    if count > partitions {
                        continue;
                    }
                    shuffle(&mut members, &mut rng);
                }
                let mut plan = owners.clone();
                COMPARED.with(|count| count.set(0));
                assign(&mut plan, &members).unwrap();
                let compared = COMPARED.with(Cell::get);
                let bound = 8 * u64::from(partitions) * u64::from(count) + 8 * u64::from(count);
                assert!(compared <= bound, "{compared} of {bound} for {partitions} among {count}");
            }
        }
    }
}

/// An order that contradicts itself gives some assignment, or none; but it ends.
#[test]
fn an_order_that_is_none_ends_too() {
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    struct Circle(u8);
    impl Ord for Circle {
        fn cmp(&self, other: &Self) -> Ordering {
            match (3 + self.0 - other.0) % 3 {
                0 => Ordering::Equal,
                1 => Ordering::Greater,
                _ => Ordering::Less,
            }
        }
    }
    impl PartialOrd for Circle {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }
    for owners in lists(5, &[None, Some(Circle(0)), Some(Circle(1)), Some(Circle(2))]) {
        let mut plan = owners.clone();
        let moves = assign(&mut plan, &[Circle(1), Circle(0), Circle(2)]).unwrap();
        assert_eq!(moves.kept + moves.taken + moves.given, 5);
    }
}
