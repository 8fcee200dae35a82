//! A member: has a place in its group, keeps it by its heartbeat, and takes and gives up partitions as the plan says.

use super::place::{Card, PlaceWord};
use super::watch::Watch;
use super::{MemberError, assign};
use crate::lease::Lease;
use crate::name::Name;
use crate::offset::area::{Group, GroupRef};
use crate::offset::claim::Claim;
use crate::offset::{LeasedOffsets, OffsetError};
use crate::types::{Epoch, Offset, Ticks};
use core::fmt;

/// Who a member is, and how patient others are to be with it.
///
/// ```
/// use fabric_mq::group::MemberConfig;
/// use fabric_mq::{Name, Ticks};
///
/// let config = MemberConfig::new().with_name(Name::new("north")?).with_session(Ticks::from_millis(9_000));
/// assert_eq!(config.interval(), Ticks::from_millis(1_500));
/// # Ok::<(), fabric_mq::NameError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct MemberConfig {
    /// If it has a name, its membership is *static*: one that starts again under the name, before the others have given it up,
    /// has its partitions again at once, and nothing else moves; the one before it is fenced. Without a name it is
    /// *dynamic*.
    pub name: Option<Name>,
    /// For how long it may be silent, 4 ms to 24 days. Default 30 s.
    pub session: Ticks,
    /// How often its heart beats, and it looks at the others. Default, and most: a sixth of the session and a third.
    pub interval: Option<Ticks>,
}

impl MemberConfig {
    /// The defaults: dynamic.
    #[must_use]
    pub const fn new() -> Self {
        Self { name: None, session: crate::offset::area::DEFAULT_SESSION, interval: None }
    }

    /// Gives it a name.
    #[must_use]
    pub const fn with_name(self, name: Name) -> Self {
        Self { name: Some(name), ..self }
    }

    /// Sets for how long it may be silent.
    #[must_use]
    pub const fn with_session(self, session: Ticks) -> Self {
        Self { session, ..self }
    }

    /// Sets how often its heart beats.
    #[must_use]
    pub const fn with_interval(self, interval: Ticks) -> Self {
        Self { interval: Some(interval), ..self }
    }

    fn session_ms(&self) -> u32 {
        u32::try_from(self.session.as_millis()).unwrap_or(u32::MAX).clamp(4, 0x7fff_ffff)
    }

    /// How often its heart beats: at least three times a session, however it was set.
    #[must_use]
    pub fn interval(&self) -> Ticks {
        let session = u64::from(self.session_ms());
        let wanted = self.interval.map_or(session / 6, Ticks::as_millis);
        Ticks::from_millis(wanted.clamp(1, session / 3))
    }
}

impl Default for MemberConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// What has happened to a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// It has taken a partition: read from where the group has got to.
    Assigned(Claim),
    /// It has a place in the group.
    Joined {
        /// The number of the place.
        place: u32,
        /// How often the place was taken.
        incarnation: Epoch,
    },
    /// Somebody has taken a partition over: stop reading it. Commits are refused.
    Lost {
        /// Which partition.
        partition: u32,
        /// The epoch under which this member had it.
        claimed: Epoch,
        /// The epoch it has now.
        current: Epoch,
    },
    /// It is to give a partition up. It still owns it: finish, commit, and park the reader; the next step gives it back.
    Revoked {
        /// Which partition.
        partition: u32,
        /// The epoch under which this member has it.
        epoch: Epoch,
    },
}

/// The place that a member holds.
#[derive(Clone, Copy, Debug)]
struct Seat {
    place: u32,
    /// As the last heartbeat left it.
    word: PlaceWord,
}

impl Seat {
    /// Whether a claim of the holder of `place`, which was seen before, is nobody's. Looked at now, not at the start of the
    /// round: who has come since is not to be robbed.
    ///
    /// Of another place, if nobody holds that. Of this one, if it is still this member's: then it was when the claim was
    /// seen, so that this is what a former holder has left.
    fn may_take_from<L: Lease>(self, group: &Group<L>, place: u32) -> bool {
        let Some(line) = group.place(place) else { return true };
        let word = PlaceWord::load(&line);
        if place == self.place {
            word.is_held() && word.incarnation() == self.word.incarnation()
        } else {
            !word.is_held()
        }
    }
}

/// How a membership ended, to be told once its partitions are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Fenced,
    Lapsed,
    /// Who has the place now is still to be found out.
    Open(u32),
}

/// What is done next in a round. A round is one look at the group, and what follows from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Look,
    /// Partitions from this one on are looked at: is it lost?
    Lose(u32),
    /// Is it to be given up?
    Revoke(u32),
    /// Is it to be taken?
    Claim(u32),
    Done,
}

/// A member of a group, driven by its caller. Room for `P` partitions and `M` places, in place: about `8 P + 9 M + 200`
/// bytes. Nothing allocates, blocks, or starts a thread.
///
/// [`step`](Self::step) does all there is to do, one event at a time; call it until it answers `None`, and again at
/// [`next_step`](Self::next_step) at the latest, or as often as is convenient: there is something to do once an interval.
///
/// # How fast
/// Let `h` be the longest interval of all members and `s` the longest session, by the slowest clock among them, and let
/// everybody step at least once every `h`. After a member has died, all its partitions are owned again
/// - within `2 h`, if the death is proven by the tokens of its lease (processes that share leases), or it has left;
/// - within `s + 2 h` otherwise.
///
/// If members join or die while partitions are being handed over, that is done `2 h` later: one for the old owner to give
/// up, and one for the new one to take.
///
/// ```
/// use fabric_mq::group::{Event, Group, GroupConfig, Member, MemberConfig};
/// use fabric_mq::lease::SliceLease;
/// use fabric_mq::{Offset, Ticks};
///
/// let mut bytes = [0; 8192];
/// let group = Group::format(SliceLease::new(&mut bytes), GroupConfig::new("billing", "events", 4))?;
/// let config = MemberConfig::new().with_session(Ticks::from_millis(600)).with_interval(Ticks::from_millis(100));
/// let mut one: Member<_> = Member::new(&group, config)?;
/// let mut two: Member<_> = Member::new(&group, config)?;
///
/// for now in [0, 100, 200, 300].map(Ticks::from_millis) {
///     for member in [&mut one, &mut two] {
///         while let Some(event) = member.step(now)? {
///             match event {
///                 Event::Assigned(claim) => assert!(claim.committed.is_ok()), // join the partition, and seek there
///                 Event::Revoked { partition, .. } => member.commit(partition, Offset::new(7))?, // and park
///                 Event::Lost { .. } => {} // park
///                 _ => {}
///             }
///         }
///     }
/// }
/// assert!(one.owned().eq([0, 1]) && two.owned().eq([2, 3]));
/// assert_eq!(group.committed(3)?, Some(Offset::new(7)), "as member 1 left it");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Member<G: GroupRef, const P: usize = 16, const M: usize = 16> {
    offsets: LeasedOffsets<G, P>,
    config: MemberConfig,
    watch: Watch<M>,
    seat: Option<Seat>,
    end: Option<End>,
    /// The places that are to own the partitions.
    plan: [Option<u8>; P],
    phase: Phase,
    /// Whether partitions that a former member of its name has left are its own.
    inherits: bool,
    /// A partition that was told to be revoked: given back by the next step.
    revoked: Option<u32>,
    /// The latest time that it was told.
    now: Ticks,
    beat_at: Ticks,
}

impl<G: GroupRef, const P: usize, const M: usize> Member<G, P, M> {
    /// A member that has not joined yet: its first step does. Changes nothing in the group.
    ///
    /// # Errors
    /// [`MemberError::Partitions`] or [`MemberError::Places`] if the group is larger than the member's tables.
    pub fn new(group: G, config: MemberConfig) -> Result<Self, MemberError> {
        let (partitions, places) = (group.group().partitions(), group.group().places());
        if usize::try_from(partitions).unwrap_or(usize::MAX) > P {
            return Err(MemberError::Partitions { wanted: partitions, max: P });
        }
        if usize::try_from(places).unwrap_or(usize::MAX) > M {
            return Err(MemberError::Places { wanted: places, max: M });
        }
        Ok(Self {
            offsets: LeasedOffsets::new(group),
            config,
            watch: Watch::new(),
            seat: None,
            end: None,
            plan: [None; P],
            phase: Phase::Look,
            inherits: false,
            revoked: None,
            now: Ticks::ZERO,
            beat_at: Ticks::ZERO,
        })
    }

    /// The group.
    pub fn group(&self) -> &Group<G::Lease> {
        self.offsets.group()
    }

    /// The number of its place, if it has one.
    #[must_use]
    pub fn place(&self) -> Option<u32> {
        self.seat.map(|seat| seat.place)
    }

    /// The partitions that it has taken and not given up, as far as it knows, in rising order.
    pub fn owned(&self) -> impl Iterator<Item = u32> {
        (0..self.group().partitions()).filter(|partition| self.offsets.held(*partition).is_some())
    }

    /// Whether it owns a partition at this moment. One load.
    #[must_use]
    pub fn owns(&self, partition: u32) -> bool {
        self.offsets.is_current(partition) == Ok(true)
    }

    /// The store that takes its commits.
    pub const fn offsets(&mut self) -> &mut LeasedOffsets<G, P> {
        &mut self.offsets
    }

    /// Commits an offset: the group has dealt with everything before it. Takes effect as a whole, and only if this member
    /// owns the partition in that very moment.
    ///
    /// # Errors
    /// As [`LeasedOffsets::put`].
    pub fn commit(&mut self, partition: u32, offset: Offset) -> Result<(), OffsetError> {
        self.offsets.put(partition, offset)
    }

    /// When there is something to do again, if nothing is left to do now. Its own clock's.
    #[must_use]
    pub const fn next_step(&self) -> Ticks {
        self.beat_at
    }

    /// Takes back that a partition was told to be revoked, because something is still under way there: it is told again an
    /// interval later. Answers whether it was the last one told.
    pub fn defer(&mut self, partition: u32) -> bool {
        let told = self.revoked == Some(partition);
        if told {
            self.revoked = None;
        }
        told
    }

    /// Does what there is to do at `now`, by this member's own monotonic clock, up to the next event. A time before the
    /// latest one counts as that.
    ///
    /// One call takes a bounded number of steps: at most one look at all places and partitions, and the plan for them.
    ///
    /// # Errors
    /// [`MemberError`]. After [`MemberError::Fenced`] every call says so again; after the others, step again.
    pub fn step(&mut self, now: Ticks) -> Result<Option<Event>, MemberError> {
        self.now = self.now.max(now);
        self.group().lease().check()?;
        if let Some(partition) = self.revoked.take() {
            self.give_back(partition)?;
        }
        if self.now >= self.beat_at {
            self.beat()?;
        }
        if let Some(seat) = self.seat {
            return self.go_on(seat);
        }
        if let Some(event) = self.surrender() {
            return Ok(Some(event));
        }
        if let Some(End::Open(place)) = self.end {
            self.end = Some(self.find_end(place)?);
        }
        match self.end {
            Some(End::Fenced) => Err(MemberError::Fenced),
            Some(End::Lapsed) => {
                self.end = None;
                Err(MemberError::Lapsed)
            }
            Some(End::Open(_)) => Ok(None),
            None => self.join().map(Some),
        }
    }

    /// Finds out whether a newer member of this name has taken its place, or others have given it up.
    fn find_end(&mut self, place: u32) -> Result<End, MemberError> {
        if self.config.name.is_none() {
            return Ok(End::Lapsed);
        }
        // If whoever is there has died before it had said who it is, this one may be the only one who can let it lapse.
        self.beat_at = self.now.plus(self.config.interval());
        self.watch.look(self.offsets.group(), self.now, None)?;
        if self.holder_of_name(None).is_some() {
            return Ok(End::Fenced);
        }
        let unsaid = self.group().place(place).is_some_and(|line| {
            let word = PlaceWord::load(&line);
            word.is_held() && Card::load(&line, word).is_none()
        });
        Ok(if unsaid { End::Open(place) } else { End::Lapsed })
    }

    /// Beats its heart if it is time, and nothing else: for those who are busy for longer than a session, in between.
    ///
    /// # Errors
    /// [`MemberError::Lease`]. That it has lapsed is told by the next [`step`](Self::step).
    pub fn heartbeat(&mut self, now: Ticks) -> Result<(), MemberError> {
        self.now = self.now.max(now);
        if self.now >= self.beat_at { self.beat() } else { Ok(()) }
    }

    /// Gives everything back: its partitions, which the others can take at once, and its place. What is to be committed is
    /// to be committed before. A dynamic member that is dropped does the same; a static one that is dropped keeps both,
    /// until its session is over.
    ///
    /// # Errors
    /// [`MemberError::Lease`] if the lease has ended: then there is nothing to give back.
    pub fn leave(mut self) -> Result<(), MemberError> {
        self.quit()
    }

    fn quit(&mut self) -> Result<(), MemberError> {
        self.revoked = None;
        for partition in 0..self.group().partitions() {
            self.give_back(partition)?;
        }
        let Some(seat) = self.seat.take() else { return Ok(()) };
        if let Some(line) = self.group().place(seat.place) {
            seat.word.swap(&line, seat.word.freed())?;
        }
        Ok(())
    }

    fn give_back(&mut self, partition: u32) -> Result<(), MemberError> {
        self.offsets.give_back(partition).map_err(|error| failed(partition, error))
    }

    fn card(&self) -> Card {
        let Self { config, .. } = self;
        Card { session: config.session_ms(), token: self.group().lease().token(), name: config.name }
    }

    fn beat(&mut self) -> Result<(), MemberError> {
        let Some(seat) = self.seat else { return Ok(()) };
        let card = self.card();
        let Some(line) = self.offsets.group().place(seat.place) else { return Ok(()) };
        let word = seat.word.beaten();
        if !seat.word.swap(&line, word)? {
            // Somebody has let it lapse; or another one of its name has taken its place, and may not have said so yet.
            self.seat = None;
            self.end = Some(End::Open(seat.place));
            return Ok(());
        }
        if Card::load(&line, word) != Some(card) {
            // One who had the place before has woken up in the middle of writing its own.
            card.store(&line, word);
        }
        self.seat = Some(Seat { word, ..seat });
        self.beat_at = self.now.plus(self.config.interval());
        if self.phase == Phase::Done {
            self.phase = Phase::Look;
        }
        Ok(())
    }

    /// The lowest place, but `own`, whose holder has this member's name.
    fn holder_of_name(&self, own: Option<u32>) -> Option<(u32, PlaceWord)> {
        let name = self.config.name?;
        let group = self.group();
        (0..group.places()).filter(|place| Some(*place) != own).find_map(|place| {
            let line = group.place(place)?;
            let word = PlaceWord::load(&line);
            let named = word.is_held() && Card::load(&line, word).and_then(|card| card.name) == Some(name);
            named.then_some((place, word))
        })
    }

    /// A place to be taken: that of a member of the same name, or one that nobody holds.
    fn find_place(&self) -> Option<(u32, PlaceWord, PlaceWord, bool)> {
        let group = self.group();
        if let Some((place, word)) = self.holder_of_name(None)
            && let Some(taken) = word.taken()
        {
            return Some((place, word, taken, true));
        }
        (0..group.places()).find_map(|place| {
            let word = PlaceWord::load(&group.place(place)?);
            if word.is_held() { None } else { Some((place, word, word.taken()?, false)) }
        })
    }

    fn join(&mut self) -> Result<Event, MemberError> {
        let group = self.offsets.group();
        let places = group.places();
        self.watch.look(group, self.now, None)?;
        // Others may be faster, each of them once for every place.
        for _ in 0..=places {
            let Some((place, word, taken, inherits)) = self.find_place() else { break };
            let Some(line) = self.group().place(place) else { break };
            if word.swap(&line, taken)? {
                self.card().store(&line, taken);
                self.seat = Some(Seat { place, word: taken });
                self.inherits = inherits;
                self.beat_at = self.now.plus(self.config.interval());
                self.phase = Phase::Look;
                return Ok(Event::Joined { place, incarnation: Epoch::new(taken.incarnation()) });
            }
        }
        self.beat_at = self.now.plus(self.config.interval());
        Err(MemberError::Full { places })
    }

    /// One who has no place any more gives up what it has, partition by partition.
    fn surrender(&mut self) -> Option<Event> {
        let partition = self.owned().next()?;
        if let Some(event) = self.lost(partition) {
            return Some(event);
        }
        self.revoke(partition)
    }

    fn revoke(&mut self, partition: u32) -> Option<Event> {
        let epoch = self.offsets.epoch(partition)?;
        self.revoked = Some(partition);
        Some(Event::Revoked { partition, epoch })
    }

    /// Forgets a partition that somebody has taken over.
    fn lost(&mut self, partition: u32) -> Option<Event> {
        let held = self.offsets.held(partition)?;
        let now = self.group().claim_word(partition).ok()?;
        if now == held {
            return None;
        }
        self.offsets.forget(partition);
        Some(Event::Lost { partition, claimed: held.epoch(), current: now.epoch() })
    }

    /// Goes on with a round, up to the next event.
    fn go_on(&mut self, seat: Seat) -> Result<Option<Event>, MemberError> {
        let partitions = self.group().partitions();
        loop {
            self.phase = match self.phase {
                Phase::Look => {
                    if !self.look(seat)? {
                        return Ok(self.surrender());
                    }
                    Phase::Lose(0)
                }
                Phase::Lose(at) if at < partitions => {
                    self.phase = Phase::Lose(at.wrapping_add(1));
                    match self.lost(at) {
                        None => continue,
                        event => return Ok(event),
                    }
                }
                Phase::Lose(_) => Phase::Revoke(0),
                Phase::Revoke(at) if at < partitions => {
                    self.phase = Phase::Revoke(at.wrapping_add(1));
                    if self.offsets.held(at).is_some() && !self.is_planned(at, seat) {
                        return Ok(self.revoke(at));
                    }
                    continue;
                }
                Phase::Revoke(_) => Phase::Claim(0),
                Phase::Claim(at) if at < partitions => {
                    self.phase = Phase::Claim(at.wrapping_add(1));
                    match self.claim(at, seat).map_err(|error| failed(at, error))? {
                        None => continue,
                        event => return Ok(event),
                    }
                }
                Phase::Claim(_) => {
                    self.inherits = false;
                    Phase::Done
                }
                Phase::Done => return Ok(None),
            };
        }
    }

    fn is_planned(&self, partition: u32, seat: Seat) -> bool {
        let planned = usize::try_from(partition).ok().and_then(|at| self.plan.get(at).copied()).flatten();
        planned.map(u32::from) == Some(seat.place)
    }

    /// Looks at the group, and computes the plan. Answers whether it is still to be a member.
    fn look(&mut self, seat: Seat) -> Result<bool, MemberError> {
        if let Some((other, _)) = self.holder_of_name(Some(seat.place))
            && other < seat.place
        {
            // Two of one name have joined at the same time. One must go, and both see which.
            if let Some(line) = self.group().place(seat.place) {
                seat.word.swap(&line, seat.word.freed())?;
            }
            self.seat = None;
            self.end = Some(End::Fenced);
            return Ok(false);
        }
        let group = self.offsets.group();
        self.watch.look(group, self.now, Some(seat.place))?;
        for (partition, owner) in (0..group.partitions()).zip(&mut self.plan) {
            let word = group.claim_word(partition).map_err(|error| failed(partition, error))?;
            let is_owner = match word.owner() {
                Some(place) if place == seat.place => self.inherits || self.offsets.held(partition) == Some(word),
                Some(place) => self.watch.is_member(place),
                None => false,
            };
            *owner = word.owner().filter(|_| is_owner).and_then(|place| u8::try_from(place).ok());
        }
        let len = usize::try_from(group.partitions()).unwrap_or(P);
        // There is one member at least, none of them twice, and no more partitions than a topic can have. In any other case the
        // plan would be: as it is.
        let _ = assign(self.plan.get_mut(..len).unwrap_or_default(), self.watch.members());
        Ok(true)
    }

    /// Takes a partition if the plan says so and it is free.
    fn claim(&mut self, partition: u32, seat: Seat) -> Result<Option<Event>, OffsetError> {
        if self.offsets.held(partition).is_some() {
            return Ok(None);
        }
        if !self.is_planned(partition, seat) {
            // What a former holder of this place has left stands in the way of others.
            self.offsets.disown(partition, seat.place, |group| seat.may_take_from(group, seat.place))?;
            return Ok(None);
        }
        let free = |group: &_, owner: Option<u32>| owner.is_none_or(|place| seat.may_take_from(group, place));
        Ok(self.offsets.take(partition, seat.place, free)?.map(Event::Assigned))
    }
}

fn failed(partition: u32, error: OffsetError) -> MemberError {
    match error {
        OffsetError::Lease(error) => MemberError::Lease(error),
        error => MemberError::Claim { partition, error },
    }
}

impl<G: GroupRef, const P: usize, const M: usize> Drop for Member<G, P, M> {
    fn drop(&mut self) {
        if self.config.name.is_none() {
            // If the lease has ended, there is nothing to give back.
            let _ = self.quit();
        }
    }
}

impl<G: GroupRef, const P: usize, const M: usize> fmt::Debug for Member<G, P, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("name", &self.config.name)
            .field("place", &self.place())
            .field("owned", &self.offsets)
            .finish_non_exhaustive()
    }
}
