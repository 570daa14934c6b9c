//! One worker as the dispatcher sees it: its slots, what is in them, and what it is to be sent.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use flash_wire as wire;

use super::ahead::Pace;
use super::revoke::Revoked;
use super::{Answered, InFlight, Ticket, Waiting, Work, WorkerId};

/// Of so many requests that a worker was sent last the tags are known: some print long after their answer.
const KNOWN_TAGS: usize = 1024;

/// A place for one request at a worker.
pub(super) struct Slot<R> {
    /// Upper half of the request's number, so that a late frame of the slot's former request is not taken for the present one's.
    pub(super) generation: u16,
    /// The generation of the request of which the worker's page says that it is not to begin; 0 where there was none. It says so until
    /// another one takes its cell, so that number is not given again.
    pub(super) withheld: u16,
    pub(super) in_flight: Option<InFlight<R>>,
}

/// What one worker has, and what it is to be sent.
pub(super) struct Lane<R> {
    pub(super) id: WorkerId,
    pub(super) pid: u32,
    pub(super) slots: Vec<Slot<R>>,
    pub(super) free: Vec<u16>,
    /// How many it runs at a time; the other slots are for those that are sent ahead.
    pub(super) at_once: usize,
    /// The requests that were sent ahead, in the order in which it begins them.
    pub(super) line: VecDeque<u32>,
    pub(super) pace: Pace,
    /// Those in line that nobody waits for any more, until its page says so.
    pub(super) dropped: Vec<u32>,
    pub(super) accepting: bool,
    /// It gets no more requests, whatever it answers.
    pub(super) retired: bool,
    pub(super) stalled: bool,
    /// It was sent a PING, and has not answered it.
    pub(super) pinged: bool,
    /// It has not for long: it gets nothing new.
    pub(super) silent: bool,
    /// It is not waited for any more than what it has begun needs.
    pub(super) given_up: bool,
    /// Slots whose request was taken back: the worker is to free them.
    pub(super) returned: usize,
    /// Requests that it has answered.
    pub(super) answered: u64,
    pub(super) out: BytesMut,
    /// Rests of large bodies; each gets one chunk in turn when the buffer is empty.
    pub(super) rests: VecDeque<(u32, Bytes)>,
    /// The tags of the requests that it was sent last, the newest last.
    pub(super) tags: VecDeque<(u32, u64)>,
}

/// A request's number.
pub(super) fn number(generation: u16, slot: u16) -> u32 {
    u32::from(generation) << 16 | u32::from(slot)
}

impl<R: Answered> Lane<R> {
    pub(super) fn in_flight_count(&self) -> usize {
        self.slots.len() - self.free.len() - self.returned - self.line.len()
    }

    /// Whether it can begin one more now.
    pub(super) fn has_slot(&self) -> bool {
        self.is_open() && !self.free.is_empty() && self.in_flight_count() < self.at_once
    }

    /// Whether it takes more now.
    pub(super) fn is_open(&self) -> bool {
        self.accepting && !self.stalled && !self.silent
    }

    pub(super) fn send(&mut self, waiting: Waiting<R>) {
        let in_line = self.in_flight_count() >= self.at_once;
        let slot = self.free.pop().expect("a lane with a free slot was chosen");
        let state = &mut self.slots[usize::from(slot)];
        // Number 0 means "no request": generations begin at 1.
        let following = |generation: u16| generation.checked_add(1).unwrap_or(1);
        state.generation = following(state.generation);
        if state.generation == state.withheld {
            state.generation = following(state.generation);
        }
        let request = number(state.generation, slot);
        let Waiting { ticket, errand, mut reply, deaths, moves } = waiting;
        if let Some(tag) = reply.tag() {
            if self.tags.len() == KNOWN_TAGS {
                self.tags.pop_front();
            }
            self.tags.push_back((request, tag));
        }
        if in_line {
            self.line.push_back(request);
        } else {
            reply.given(self.id, self.pid);
        }
        let rest = match &errand.work {
            Work::Route(route, head) => wire::encode_request(&mut self.out, request, *route, head, &errand.body),
            Work::Call => wire::encode_call(&mut self.out, request, &errand.body),
        };
        if !rest.is_empty() {
            self.rests.push_back((request, rest));
        }
        let (reply, revoked) = (Some(reply), Revoked::No);
        state.in_flight =
            Some(InFlight { errand, ticket, reply, deaths, moves, revoked, in_line, due: None, expired: false, partial: None });
    }

    /// The number of a request that the worker's page is to revoke.
    pub(super) fn withhold(&mut self, request: u32) {
        let slot = &mut self.slots[(request & 0xFFFF) as usize];
        slot.withheld = slot.generation;
    }

    pub(super) fn in_flight(&mut self, request: u32) -> Option<&mut InFlight<R>> {
        let slot = self.slots.get_mut((request & 0xFFFF) as usize)?;
        if u32::from(slot.generation) != request >> 16 {
            return None;
        }
        slot.in_flight.as_mut()
    }

    pub(super) fn free(&mut self, request: u32) -> Option<R> {
        let in_flight = self.vacate(request)?;
        self.answered += 1;
        in_flight.reply
    }

    pub(super) fn vacate(&mut self, request: u32) -> Option<InFlight<R>> {
        let slot = (request & 0xFFFF) as u16;
        let in_flight = self.slots[usize::from(slot)].in_flight.take()?;
        self.returned -= usize::from(in_flight.revoked == Revoked::Done);
        self.stalled = false; // it answers again
        if !self.accepting && !self.retired {
            let overdue = |slot: &Slot<R>| slot.in_flight.as_ref().is_some_and(|other| other.expired);
            self.accepting = !self.slots.iter().any(overdue);
        }
        self.rests.retain(|(other, _)| *other != request);
        if in_flight.in_line {
            self.line.retain(|other| *other != request);
        }
        self.free.push(slot);
        self.move_up();
        Some(in_flight)
    }

    pub(super) fn find(&self, ticket: Ticket) -> Option<u32> {
        self.slots.iter().enumerate().find_map(|(slot, state)| {
            let in_flight = state.in_flight.as_ref()?;
            (in_flight.ticket == ticket).then(|| number(state.generation, slot as u16))
        })
    }
}
