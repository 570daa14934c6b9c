//! Which request goes to which worker, and what becomes of it: the rule, without a clock, a socket or a process.
//!
//! ```text
//!             no slot free                     slot free                 answer
//!  submit ──▶ waiting (bounded) ─────────────▶ in flight on a worker ─────────▶ done, its slot goes to the next that waits
//!               │ deadline: Expired             │ deadline: Expired, the worker is told, the slot stays taken until it answers
//!               │ abandoned: forgotten          │ abandoned: dropped by the worker unless it began, or stopped ([`Cancel`]); the answer is discarded
//!               ▲                               │ worker lost: begun, or the fifth to be lost with it ─▶ Lost
//!               └───────── not begun ───────────┤
//!                                               │ worker silent: what has not begun is revoked, and goes to another (`revoke.rs`)
//! ```
//!
//! Where requests are short a worker gets some before it has slots for them (`ahead.rs`).

mod ahead;
mod lane;
mod revoke;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use flash_wire::{self as wire, AnswerHead, Kind, RequestHead};

use ahead::Pace;
use lane::{Lane, Slot, number};
use revoke::Revoked;
pub(crate) use revoke::{Pulse, Suspect};

/// Limits of one endpoint's dispatcher.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests in flight a worker may have; at most [`MAX_SLOTS`].
    pub slots: usize,
    /// Requests that a worker may be sent on top of those, where they are short; both together are at most [`MAX_SLOTS`]. For workers that
    /// begin what they have in its order, `slots` at a time.
    pub ahead: usize,
    /// Requests that may wait for a slot.
    pub waiting: usize,
    /// How long after its deadline a worker may go on with a request before it is given up.
    pub grace: Duration,
}

/// The most slots a worker can have: the shared page has that many cells.
pub const MAX_SLOTS: usize = 128;

/// What a worker is asked to do; the body comes beside it.
#[derive(Clone, Debug)]
pub enum Work {
    /// A request to the route of this index.
    Route(u16, RequestHead),
    /// A live call.
    Call,
}

/// One request. Cheap to keep: should its worker die before it began, it is sent again.
#[derive(Clone, Debug)]
pub struct Errand {
    /// What to do.
    pub work: Work,
    /// The request's body.
    pub body: Bytes,
    /// When the caller is told that it took too long.
    pub deadline: Deadline,
    /// What becomes of it when its caller leaves.
    pub cancel: Cancel,
}

/// When a request has taken too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// At this moment, whether it waits or is in flight.
    At(Instant),
    /// So long after a worker has a slot for it; until then it waits for as long as need be.
    Running(Duration),
}

impl Deadline {
    /// Whether it comes before `moment` for a request that waits.
    pub fn is_before(self, moment: Instant) -> bool {
        matches!(self, Self::At(deadline) if deadline < moment)
    }

    /// As [`Self::is_before`], or then.
    fn is_past(self, now: Instant) -> bool {
        matches!(self, Self::At(deadline) if deadline <= now)
    }

    /// How long it may run, where that counts from when a worker gets it.
    fn limit(self) -> Option<Duration> {
        match self {
            Self::At(_) => None,
            Self::Running(limit) => Some(limit),
        }
    }

    /// So much later. What runs from when a worker gets it needs none of that: another will.
    fn put_off(&mut self, by: Duration) {
        if let Self::At(deadline) = self {
            *deadline += by;
        }
    }

    /// The moment, for a request that a worker got about `now`.
    fn from(self, now: Instant) -> Instant {
        match self {
            Self::At(deadline) => deadline,
            Self::Running(limit) => now + limit,
        }
    }
}

/// Whom to answer.
pub trait Answered {
    /// This worker, whose process has this number, has a slot for its request.
    fn given(&mut self, worker: WorkerId, pid: u32);

    /// What its output is marked with, if it is.
    fn tag(&self) -> Option<u64>;

    /// The worker has begun it.
    fn begun(&mut self);
}

/// Payload of CANCEL: whether a request that has begun is to be stopped too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Cancel {
    /// What has begun runs to its end.
    #[default]
    UnlessBegun = 0,
    /// What can be stopped is: a task.
    Anyway = 1,
}

/// A worker, as the dispatcher names it. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u64);

/// A submitted request, as its submitter names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(u64);

/// What a worker answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status of the response; of a live call, the kind of its last record.
    pub status: u16,
    /// Response headers (JSON list of pairs); empty for a plain JSON answer.
    pub headers: Bytes,
    /// The whole body.
    pub body: Bytes,
}

/// What became of a submission.
#[derive(Debug)]
pub enum Submitted<R> {
    /// Its frame is in this worker's buffer.
    Sent(Ticket, WorkerId),
    /// It waits for a slot.
    Waiting(Ticket),
    /// Too many wait already.
    Refused(R),
}

/// What a sweep over the deadlines found.
#[derive(Debug)]
pub struct Swept<R> {
    /// Whose deadline has passed.
    pub expired: Vec<R>,
    /// Whose deadline has passed while they waited for a slot.
    pub unserved: Vec<R>,
    /// Workers with something to send.
    pub told: Vec<WorkerId>,
    /// Workers that went on for longer than the grace, with nothing else in flight (or nothing else within a second grace): to be
    /// replaced.
    pub stuck: Vec<WorkerId>,
}

struct InFlight<R> {
    errand: Errand,
    ticket: Ticket,
    /// `None` once nobody waits for the answer any more.
    reply: Option<R>,
    /// Workers that have died with it.
    deaths: u8,
    /// When its time is over; known from the first look at it.
    due: Option<Instant>,
    /// Workers from which it was taken back.
    moves: u8,
    revoked: Revoked,
    /// It was sent ahead, and has no slot yet.
    in_line: bool,
    expired: bool,
    partial: Option<Box<Partial>>,
}

/// An answer of which there is more to come.
struct Partial {
    answer: Answer,
    pieces: BytesMut,
}

struct Waiting<R> {
    ticket: Ticket,
    errand: Errand,
    reply: R,
    /// Workers that have died with it.
    deaths: u8,
    /// Workers from which it was taken back.
    moves: u8,
}

/// A request that this many workers have died with is lost, though none had begun it: it may be what kills them.
const MOST_DEATHS: u8 = 5;

/// Requests and workers of one endpoint. `R` is whom to answer.
pub struct Dispatcher<R> {
    limits: Limits,
    lanes: Vec<Lane<R>>,
    waiting: VecDeque<Waiting<R>>,
    tickets: u64,
    /// More in flight than this on the worker with the fewest is pressure; see [`Dispatcher::tell_pressure`].
    most_in_flight: usize,
    pressed: bool,
}

impl<R: Answered> Dispatcher<R> {
    /// A dispatcher without workers.
    pub fn new(limits: Limits) -> Self {
        let slots = limits.slots.clamp(1, MAX_SLOTS);
        let limits = Limits { slots, ahead: limits.ahead.min(MAX_SLOTS - slots), ..limits };
        Self { limits, lanes: Vec::new(), waiting: VecDeque::new(), tickets: 0, most_in_flight: usize::MAX, pressed: false }
    }

    /// Takes a request: sends it, lets it wait, or refuses it.
    pub fn submit(&mut self, errand: Errand, reply: R) -> Submitted<R> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let waiting = Waiting { ticket, errand, reply, deaths: 0, moves: 0 };
        // Nothing passes what waits for a slot.
        if self.waiting.is_empty()
            && let Some(lane) = self.place(Self::may_lie(&waiting))
        {
            lane.send(waiting);
            let (id, in_flight) = (lane.id, lane.in_flight_count());
            self.pressed |= in_flight > self.most_in_flight;
            return Submitted::Sent(ticket, id);
        }
        if self.waiting.len() >= self.limits.waiting {
            return Submitted::Refused(waiting.reply);
        }
        self.waiting.push_back(waiting);
        Submitted::Waiting(ticket)
    }

    /// A worker is ready; `context` is the first thing it is told, if there is one. Returns true when requests were waiting for it.
    pub fn joined(&mut self, id: WorkerId, pid: u32, context: Option<&[u8]>) -> bool {
        let count = self.limits.slots + self.limits.ahead;
        let slots = (0..count).map(|_| Slot { generation: 0, withheld: 0, in_flight: None }).collect();
        let free = (0..count as u16).rev().collect();
        self.lanes.push(Lane {
            id,
            pid,
            slots,
            free,
            at_once: self.limits.slots,
            line: VecDeque::new(),
            pace: Pace::default(),
            dropped: Vec::new(),
            accepting: true,
            retired: false,
            stalled: false,
            pinged: false,
            silent: false,
            given_up: false,
            returned: 0,
            answered: 0,
            out: BytesMut::new(),
            rests: VecDeque::new(),
            tags: VecDeque::new(),
        });
        if let Some(context) = context {
            self.tell(id, Kind::Context, context);
        }
        !self.pump().is_empty()
    }

    /// A worker is gone. `begun` says of a request's number whether the worker had begun it. Returns whom to tell that their request was
    /// lost with it, and the workers that took over the others.
    pub fn lost(&mut self, id: WorkerId, begun: impl Fn(u32) -> bool) -> (Vec<R>, Vec<WorkerId>) {
        let Some(index) = self.lanes.iter().position(|lane| lane.id == id) else { return (Vec::new(), Vec::new()) };
        let lane = self.lanes.remove(index);
        let mut lost = Vec::new();
        let mut again = Vec::new();
        for (slot, state) in lane.slots.into_iter().enumerate() {
            let number = number(state.generation, slot as u16);
            let Some(InFlight { errand, ticket, reply: Some(reply), deaths, moves, in_line, .. }) = state.in_flight else { continue };
            // What lay in line has not killed it.
            let deaths = deaths + u8::from(!in_line);
            if begun(number) || deaths == MOST_DEATHS {
                lost.push(reply);
            } else {
                again.push(Waiting { ticket, errand, reply, deaths, moves });
            }
        }
        self.wait_again(again);
        (lost, self.pump())
    }

    /// They were first once: they go before those that wait, in the order in which they came. The bound does not hold for them, they
    /// were admitted before.
    fn wait_again(&mut self, mut again: Vec<Waiting<R>>) {
        again.sort_by_key(|waiting| std::cmp::Reverse(waiting.ticket.0));
        for waiting in again {
            self.waiting.push_front(waiting);
        }
    }

    /// A worker gets no more requests.
    pub fn retire(&mut self, id: WorkerId) {
        if let Some(lane) = self.lane(id) {
            (lane.retired, lane.accepting) = (true, false);
        }
    }

    /// The workers that are not retired, the oldest first.
    pub fn load(&self) -> impl Iterator<Item = flash_autoscale::Worker> {
        let lanes = self.lanes.iter().filter(|lane| !lane.retired);
        lanes.map(|lane| flash_autoscale::Worker {
            id: lane.id.0,
            in_flight: lane.in_flight_count(),
            answered: lane.answered,
            open: lane.is_open(),
        })
    }

    /// How many requests a worker has answered.
    pub fn answered_by(&self, id: WorkerId) -> u64 {
        self.lanes.iter().find(|lane| lane.id == id).map_or(0, |lane| lane.answered)
    }

    /// From now on it is pressure when the worker with the fewest requests has more than this.
    pub fn tell_pressure(&mut self, most_in_flight: usize) {
        (self.most_in_flight, self.pressed) = (most_in_flight, false);
    }

    /// Whether there was pressure since.
    pub fn is_pressed(&self) -> bool {
        self.pressed
    }

    /// Whom to tell of the request that waits in front of all others.
    pub fn first_waiting(&mut self) -> Option<&mut R> {
        self.waiting.front_mut().map(|waiting| &mut waiting.reply)
    }

    /// A worker is held up by one call, or no longer. Returns the workers that have something to send.
    pub fn stalled(&mut self, id: WorkerId, stalled: bool) -> Vec<WorkerId> {
        match self.lane(id) {
            Some(lane) if lane.stalled != stalled => lane.stalled = stalled,
            _ => return Vec::new(),
        }
        if stalled { Vec::new() } else { self.pump() }
    }

    /// Takes the head of an answer. `Some` when it is whole, with whom to give it to. An error means that the worker does not keep to
    /// the protocol.
    pub fn answered(&mut self, id: WorkerId, request: u32, head: AnswerHead) -> Result<Option<(R, Answer)>, Unexpected> {
        let lane = self.lane(id).ok_or(Unexpected { request })?;
        let in_flight = lane.in_flight(request).ok_or(Unexpected { request })?;
        // With a body it is a job's that was cancelled: it had begun.
        if in_flight.revoked != Revoked::No && head.status == wire::DROPPED && head.headers.is_empty() && head.body.is_empty() {
            let again = lane.sent_back(request);
            self.wait_again(again.into_iter().collect());
            return Ok(None);
        }
        if in_flight.in_line {
            lane.begins(request);
        }
        let in_flight = lane.in_flight(request).ok_or(Unexpected { request })?;
        let answer = Answer { status: head.status, headers: head.headers, body: head.body };
        if head.more {
            let pieces = BytesMut::from(&*answer.body);
            in_flight.partial = Some(Box::new(Partial { answer, pieces }));
            return Ok(None);
        }
        Ok(lane.free(request).map(|reply| (reply, answer)))
    }

    /// Takes more of an answer; as [`Self::answered`].
    pub fn continued(&mut self, id: WorkerId, request: u32, more: bool, piece: &[u8]) -> Result<Option<(R, Answer)>, Unexpected> {
        let lane = self.lane(id).ok_or(Unexpected { request })?;
        let in_flight = lane.in_flight(request).ok_or(Unexpected { request })?;
        let mut partial = in_flight.partial.take().ok_or(Unexpected { request })?;
        if in_flight.reply.is_some() {
            partial.pieces.extend_from_slice(piece);
        }
        if more {
            in_flight.partial = Some(partial);
            return Ok(None);
        }
        let Partial { answer, pieces } = *partial;
        let answer = Answer { body: pieces.freeze(), ..answer };
        Ok(lane.free(request).map(|reply| (reply, answer)))
    }

    /// Whom to give what a request yields before its answer; `None` where nobody waits for it any more.
    pub fn yielded(&mut self, id: WorkerId, request: u32) -> Result<Option<&mut R>, Unexpected> {
        let lane = self.lane(id).ok_or(Unexpected { request })?;
        lane.begins(request);
        Ok(lane.in_flight(request).ok_or(Unexpected { request })?.reply.as_mut())
    }

    /// Whom to answer, of the requests that this worker has.
    pub fn held_by(&self, id: WorkerId) -> impl Iterator<Item = &R> {
        let slots = self.lanes.iter().filter(move |lane| lane.id == id).flat_map(|lane| lane.slots.iter());
        slots.filter_map(|slot| slot.in_flight.as_ref()?.reply.as_ref())
    }

    /// Tells those whose requests a worker has begun.
    pub fn begun(&mut self, id: WorkerId, begun: impl Fn(u32) -> bool) {
        let Some(lane) = self.lane(id) else { return };
        for slot in 0..lane.slots.len() {
            let request = number(lane.slots[slot].generation, slot as u16);
            if lane.slots[slot].in_flight.is_some() && begun(request) {
                lane.begins(request);
                if let Some(reply) = lane.in_flight(request).and_then(|in_flight| in_flight.reply.as_mut()) {
                    reply.begun();
                }
            }
        }
    }

    /// Whom a request's output goes to.
    pub fn reply(&mut self, id: WorkerId, request: u32) -> Option<&mut R> {
        self.lane(id)?.in_flight(request)?.reply.as_mut()
    }

    /// The tag of a request that this worker was sent of late: it may print when nobody waits for it any more, and when it is answered.
    pub fn tag(&mut self, id: WorkerId, request: u32) -> Option<u64> {
        let mut known = self.lane(id)?.tags.iter().rev();
        known.find(|(number, _)| *number == request).map(|(_, tag)| *tag)
    }

    /// The request of this worker that came first among those in flight.
    pub fn oldest(&mut self, id: WorkerId) -> Option<&mut R> {
        let in_flight = self.lane(id)?.slots.iter_mut().filter_map(|slot| slot.in_flight.as_mut());
        in_flight.filter(|in_flight| in_flight.reply.is_some()).min_by_key(|in_flight| in_flight.ticket.0)?.reply.as_mut()
    }

    /// Gives freed slots to those that wait. Returns the workers that have something to send.
    pub fn pump(&mut self) -> Vec<WorkerId> {
        let mut told = Vec::new();
        while let Some(waiting) = self.waiting.pop_front() {
            let Some(lane) = self.place(Self::may_lie(&waiting)) else {
                self.waiting.push_front(waiting);
                break;
            };
            lane.send(waiting);
            if !told.contains(&lane.id) {
                told.push(lane.id);
            }
        }
        told
    }

    /// The caller of `ticket` is gone: what has not begun is dropped, what has begun runs to its end unheard unless it is to be stopped.
    /// Returns the worker to tell, if any.
    pub fn abandoned(&mut self, ticket: Ticket) -> Option<WorkerId> {
        if let Some(index) = self.waiting.iter().position(|waiting| waiting.ticket == ticket) {
            self.waiting.remove(index);
            return None;
        }
        let (lane, request) = self.lanes.iter_mut().find_map(|lane| lane.find(ticket).map(|request| (lane, request)))?;
        let in_flight = lane.in_flight(request)?;
        in_flight.reply = None;
        let cancel = in_flight.errand.cancel;
        if cancel == Cancel::Anyway && matches!(in_flight.errand.deadline, Deadline::Running(_)) {
            // Its time is over: a worker that goes on with it all the same is to be replaced.
            (in_flight.errand.deadline, in_flight.due) = (Deadline::Running(Duration::ZERO), None);
        }
        if in_flight.in_line {
            // It comes before the worker reads this.
            in_flight.revoked = Revoked::Told;
            lane.withhold(request);
            lane.dropped.push(request);
        }
        wire::encode(&mut lane.out, Kind::Cancel, request, &[cancel as u8]);
        Some(lane.id)
    }

    /// Looks for deadlines that have passed.
    pub fn sweep(&mut self, now: Instant) -> Swept<R> {
        let mut swept = Swept { expired: Vec::new(), unserved: Vec::new(), told: Vec::new(), stuck: Vec::new() };
        let waiting = std::mem::take(&mut self.waiting);
        for waiting in waiting {
            if waiting.errand.deadline.is_past(now) {
                swept.unserved.push(waiting.reply);
            } else {
                self.waiting.push_back(waiting);
            }
        }
        for lane in &mut self.lanes {
            let mut cancelled = Vec::new();
            let (mut overdue, mut long_overdue, mut others) = (false, false, false);
            for (slot, state) in lane.slots.iter_mut().enumerate() {
                let Some(in_flight) = state.in_flight.as_mut().filter(|in_flight| in_flight.revoked != Revoked::Done) else { continue };
                if in_flight.in_line && matches!(in_flight.errand.deadline, Deadline::Running(_)) {
                    continue; // its time has not begun
                }
                let deadline = *in_flight.due.get_or_insert_with(|| in_flight.errand.deadline.from(now));
                let late = now.saturating_duration_since(deadline);
                if deadline <= now && !in_flight.expired {
                    in_flight.expired = true;
                    swept.expired.extend(in_flight.reply.take());
                    cancelled.push(number(state.generation, slot as u16));
                }
                overdue |= late > self.limits.grace;
                long_overdue |= late > self.limits.grace * 2;
                others |= !in_flight.expired;
            }
            for request in &cancelled {
                wire::encode(&mut lane.out, Kind::Cancel, *request, &[Cancel::Anyway as u8]);
            }
            if !cancelled.is_empty() {
                swept.told.push(lane.id);
            }
            if overdue && !lane.given_up {
                lane.accepting = false;
                if long_overdue || !others {
                    swept.stuck.push(lane.id);
                }
            }
        }
        swept
    }

    /// Puts into `out`, which is empty, what goes to a worker's socket: everything that has gathered, or the next chunk of a large body.
    pub fn take_output(&mut self, id: WorkerId, out: &mut BytesMut) {
        let Some(lane) = self.lane(id) else { return };
        if lane.out.is_empty()
            && let Some((request, rest)) = lane.rests.pop_front()
        {
            let rest = wire::encode_chunk(&mut lane.out, request, &rest);
            if !rest.is_empty() {
                lane.rests.push_back((request, rest));
            }
        }
        std::mem::swap(&mut lane.out, out);
    }

    /// Puts a frame of no request into a worker's buffer.
    pub fn tell(&mut self, id: WorkerId, kind: Kind, payload: &[u8]) {
        if let Some(lane) = self.lane(id) {
            wire::encode(&mut lane.out, kind, 0, payload);
        }
    }

    /// Requests that wait or are in flight.
    pub fn pending(&self) -> usize {
        self.waiting() + self.in_flight()
    }

    /// Requests that wait for a slot, those among them that were sent ahead.
    pub fn waiting(&self) -> usize {
        self.waiting.len() + self.lanes.iter().map(|lane| lane.line.len()).sum::<usize>()
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.lanes.iter().map(Lane::in_flight_count).sum()
    }

    /// Those of them that retired workers have.
    pub fn in_flight_on_retired(&self) -> usize {
        self.lanes.iter().filter(|lane| lane.retired).map(Lane::in_flight_count).sum()
    }

    /// The workers there are.
    pub fn workers(&self) -> Vec<WorkerId> {
        self.lanes.iter().map(|lane| lane.id).collect()
    }

    /// Gives up those that wait for an endpoint that cannot run: all of them, or those whose deadline comes before that moment.
    pub fn give_up_waiting(&mut self, before: Option<Instant>) -> Vec<R> {
        let given_up = |waiting: &Waiting<R>| before.is_none_or(|before| waiting.errand.deadline.is_before(before));
        let (given_up, stay): (VecDeque<_>, _) = std::mem::take(&mut self.waiting).into_iter().partition(given_up);
        self.waiting = stay;
        given_up.into_iter().map(|waiting| waiting.reply).collect()
    }

    fn lane(&mut self, id: WorkerId) -> Option<&mut Lane<R>> {
        self.lanes.iter_mut().find(|lane| lane.id == id)
    }

    /// Where a request goes: to the worker that has a slot and the fewest requests in flight, of equals the oldest; else, if it may lie in line, to
    /// where the shortest is.
    fn place(&mut self, may_lie: bool) -> Option<&mut Lane<R>> {
        let able = self.lanes.iter().enumerate().filter(|(_, lane)| lane.has_slot());
        match able.min_by_key(|(_, lane)| lane.in_flight_count()).map(|(index, _)| index) {
            Some(index) => self.lanes.get_mut(index),
            None if may_lie => self.shortest(),
            None => None,
        }
    }

    /// Whether it may be sent ahead: only once, for it has waited behind something long.
    fn may_lie(waiting: &Waiting<R>) -> bool {
        waiting.moves == 0
    }
}

/// An answer to a request that is not in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker answered request {request:#x}, which it does not have")]
pub struct Unexpected {
    /// The number in the frame.
    pub request: u32,
}

#[cfg(test)]
mod tests;
