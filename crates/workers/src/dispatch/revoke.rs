//! What a silent worker has not begun: it is taken back, and goes to another.
//!
//! ```text
//!           revoke              take_back, a tick later: not begun
//!  No ──────────────▶ Told ───────────────────────────────────────▶ Done ──▶ the worker frees the slot, or dies
//!                      │ it had begun: it goes on
//!                      └ it had said so and saw the revocation: it sends the request back (status 499)
//! ```
//!
//! The worker says in its page that a request has begun, and looks for a revocation then; the host writes the revocation, and looks then
//! whether it has begun. So of the two at least one sees the other, and no request runs twice.

use std::time::Duration;

use bytes::Bytes;
use flash_wire::{self as wire, Kind};

use super::{Answered, Dispatcher, Errand, InFlight, Lane, Ticket, Unexpected, Waiting, Work, WorkerId, number};

/// How far a request has been taken back from its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revoked {
    No,
    /// The worker is told not to begin it.
    Told,
    /// It has not, and another worker has it.
    Done,
}

/// A request is taken back this often. Then it stays where it is: it may be what takes long before it begins, and its limit, which is put off for
/// the time that it lay with a silent worker, comes in the end.
const MOST_MOVES: u8 = 5;

/// No request's.
const NO_TICKET: Ticket = Ticket(0);

/// What a look at a worker finds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pulse {
    /// It has requests.
    pub(crate) busy: bool,
    /// It has not answered the last PING yet.
    pub(crate) pinged: bool,
}

/// A request that a worker has begun, and not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Suspect {
    /// The route's index; `None` for a live call.
    pub(crate) route: Option<u16>,
    /// Its number.
    pub(crate) request: u32,
    /// Whether its time is over.
    pub(crate) expired: bool,
    /// Its own limit, where it has one; none is left to one that was cancelled.
    pub(crate) limit: Option<Duration>,
}

impl<R: Answered> Dispatcher<R> {
    /// How a worker is.
    pub(crate) fn pulse(&self, id: WorkerId) -> Pulse {
        let lane = self.lanes.iter().find(|lane| lane.id == id);
        lane.map_or_else(Pulse::default, |lane| Pulse { busy: lane.in_flight_count() > 0, pinged: lane.pinged })
    }

    /// Asks a worker whether its loop goes round.
    pub(crate) fn ping(&mut self, id: WorkerId) {
        if let Some(lane) = self.lane(id) {
            lane.pinged = true;
            wire::encode(&mut lane.out, Kind::Ping, 0, &[]);
        }
    }

    /// It does. An error means that nobody had asked.
    pub(crate) fn heard(&mut self, id: WorkerId) -> Result<(), Unexpected> {
        let lane = self.lane(id).filter(|lane| lane.pinged).ok_or(Unexpected { request: 0 })?;
        (lane.pinged, lane.silent) = (false, false);
        Ok(())
    }

    /// It has not for long: it gets nothing until it does.
    pub(crate) fn silent(&mut self, id: WorkerId) {
        if let Some(lane) = self.lane(id) {
            lane.silent = lane.pinged;
        }
    }

    /// The requests that a worker has not begun, which it is to be told not to begin.
    pub(crate) fn revoke(&mut self, id: WorkerId, begun: impl Fn(u32) -> bool) -> Vec<u32> {
        let Some(lane) = self.lane(id) else { return Vec::new() };
        let wanted =
            |in_flight: &&mut InFlight<R>| in_flight.revoked == Revoked::No && in_flight.reply.is_some() && in_flight.moves < MOST_MOVES;
        let mut revoked = Vec::new();
        for (slot, state) in lane.slots.iter_mut().enumerate() {
            let request = number(state.generation, slot as u16);
            if let Some(in_flight) = state.in_flight.as_mut().filter(wanted)
                && !begun(request)
            {
                in_flight.revoked = Revoked::Told;
                state.withheld = state.generation;
                revoked.push(request);
            }
        }
        revoked
    }

    /// Gives to others what a worker was told not to begin, and has not begun: `begun` says what its page said a tick after it was told. They
    /// have lain there for `silence`, which is not to be their loss. Returns how many they are, and the workers that have something to send.
    pub(crate) fn take_back(&mut self, id: WorkerId, begun: impl Fn(u32) -> bool, silence: Duration) -> (usize, Vec<WorkerId>) {
        let Some(lane) = self.lane(id) else { return (0, Vec::new()) };
        let mut again = Vec::new();
        for (slot, state) in lane.slots.iter_mut().enumerate() {
            let Some(in_flight) = state.in_flight.as_mut().filter(|in_flight| in_flight.revoked == Revoked::Told) else { continue };
            if !begun(number(state.generation, slot as u16))
                && let Some(mut waiting) = in_flight.hand_over()
            {
                waiting.errand.deadline.put_off(silence);
                in_flight.revoked = Revoked::Done;
                if std::mem::take(&mut in_flight.in_line) {
                    let request = number(state.generation, slot as u16);
                    lane.line.retain(|other| *other != request);
                }
                lane.returned += 1;
                again.push(waiting);
            }
        }
        lane.move_up();
        let count = again.len();
        self.wait_again(again);
        (count, self.pump())
    }

    /// What a worker has begun and not answered.
    pub(crate) fn suspects(&self, id: WorkerId, begun: impl Fn(u32) -> bool) -> Vec<Suspect> {
        let slots = self.lanes.iter().filter(|lane| lane.id == id).flat_map(|lane| lane.slots.iter().enumerate());
        let suspect = |(slot, state): (usize, &super::Slot<R>)| {
            let in_flight = state.in_flight.as_ref()?;
            let route = match &in_flight.errand.work {
                Work::Route(route, _) => Some(*route),
                Work::Call => None,
            };
            let request = number(state.generation, slot as u16);
            begun(request).then_some(Suspect { route, request, expired: in_flight.expired, limit: in_flight.errand.deadline.limit() })
        };
        slots.filter_map(suspect).collect()
    }

    /// A worker gets nothing more, and goes once what it has begun is over.
    pub(crate) fn give_up(&mut self, id: WorkerId) {
        self.retire(id);
        if let Some(lane) = self.lane(id) {
            lane.given_up = true;
        }
    }

    /// Whether nothing that a worker has can still be answered in time.
    pub(crate) fn is_spent(&self, id: WorkerId) -> bool {
        let slots = self.lanes.iter().filter(|lane| lane.id == id).flat_map(|lane| &lane.slots);
        slots.filter_map(|slot| slot.in_flight.as_ref()).all(|in_flight| in_flight.expired || in_flight.revoked == Revoked::Done)
    }
}

impl<R: Answered> Lane<R> {
    /// The worker sends back a request that it was told not to begin. `Some` where nobody else has it yet.
    pub(super) fn sent_back(&mut self, request: u32) -> Option<Waiting<R>> {
        self.vacate(request)?.hand_over()
    }
}

impl<R: Answered> InFlight<R> {
    /// The request for another worker; `None` where nobody waits for it here. What stays keeps the slot.
    fn hand_over(&mut self) -> Option<Waiting<R>> {
        let reply = self.reply.take()?;
        let ticket = std::mem::replace(&mut self.ticket, NO_TICKET);
        let body = std::mem::replace(&mut self.errand.body, Bytes::new());
        let errand = Errand { body, ..self.errand.clone() };
        Some(Waiting { ticket, errand, reply, deaths: self.deaths, moves: self.moves + 1 })
    }
}
