//! What a worker is sent before it has a slot for it, so that between two short requests it need not wait for its host.
//!
//! ```text
//!            no slot free, the worker's requests are short       a slot is free: it is its turn, and its time begins
//!  waiting ───────────────────────────────────────────▶ in line ─────────────────────────────────────────────────────▶ in flight
//!     ▲                                                    │ its caller leaves: it is revoked, and the worker drops it
//!     └──── nothing was answered for a while: revoked ─────┘
//! ```
//!
//! A worker begins what it has in the order in which it came, as many at a time as it has slots. What lies in line has not begun: it goes to
//! another worker where the requests before it turn out long, and where the worker ends.

use std::time::{Duration, Instant};

use super::revoke::Revoked;
use super::{Answered, Dispatcher, Lane, WorkerId};

/// As much is sent ahead as a worker gets through meanwhile: as long as a busy host may take from an answer to the next request. What lies in line
/// is passed by nothing that is more urgent, so it is not more.
const MEANWHILE: Duration = Duration::from_millis(5);
/// Where nothing was answered for so long, what a worker has turns out long.
const LONG: Duration = Duration::from_millis(20);

/// How long a worker takes from one answer to the next.
#[derive(Debug, Default)]
pub(super) struct Pace {
    average: Option<Duration>,
    /// The last answer, if it had something to do ever since.
    since: Option<Instant>,
    /// How much it had answered by then.
    answered: u64,
    /// How much it had answered when it was last looked at with something in line, and when that was first so.
    looked: Option<(u64, Instant)>,
}

impl Pace {
    /// It has answered so much by now, and has more to do, or not.
    pub(super) fn note(&mut self, answered: u64, busy: bool, now: Instant) {
        let count = u32::try_from(answered - self.answered).unwrap_or(u32::MAX);
        if count > 0 {
            if let Some(since) = self.since {
                let newest = now.saturating_duration_since(since) / count;
                self.average = Some(self.average.map_or(newest, |average| average - average / 8 + newest / 8));
            }
            (self.answered, self.since) = (answered, Some(now));
        }
        if !busy {
            self.since = None;
        }
    }

    /// How much may be in line.
    fn room(&self, most: usize) -> usize {
        let through = self.average.map_or(0, |average| MEANWHILE.as_nanos() / average.as_nanos().max(1));
        usize::try_from(through).unwrap_or(usize::MAX).min(most)
    }

    /// Whether nothing was answered for long, as looks show that come every few milliseconds while something is in line.
    fn is_held_up(&mut self, answered: u64, now: Instant) -> bool {
        let (before, since) = *self.looked.get_or_insert((answered, now));
        if before != answered {
            self.looked = Some((answered, now));
            return false;
        }
        now.saturating_duration_since(since) >= LONG
    }

    /// It is not what it was.
    fn is_long(&mut self) {
        self.average = self.average.max(Some(LONG));
    }
}

impl<R: Answered> Dispatcher<R> {
    /// A worker's answers so far were read: by them it is known how quick it is.
    pub(crate) fn note_pace(&mut self, id: WorkerId, now: Instant) {
        if self.limits.ahead > 0
            && let Some(lane) = self.lane(id)
        {
            let busy = lane.in_flight_count() > 0;
            lane.pace.note(lane.answered, busy, now);
        }
    }

    /// The worker with the least in line, of those that may have more.
    pub(super) fn shortest(&mut self) -> Option<&mut Lane<R>> {
        let most = self.limits.ahead;
        let able = self.lanes.iter_mut().filter(|lane| lane.is_open() && !lane.free.is_empty() && lane.line.len() < lane.pace.room(most));
        able.min_by_key(|lane| lane.line.len())
    }

    /// Whether something lies in line at a worker that has answered nothing for long.
    pub(crate) fn is_held_up(&mut self, id: WorkerId, now: Instant) -> bool {
        let Some(lane) = self.lane(id) else { return false };
        let held_up = !lane.line.is_empty() && lane.pace.is_held_up(lane.answered, now);
        if lane.line.is_empty() {
            lane.pace.looked = None;
        }
        if held_up {
            lane.pace.is_long();
        }
        held_up
    }

    /// What lies in line at a worker and has not begun, which it is to be told not to begin.
    pub(crate) fn revoke_line(&mut self, id: WorkerId, begun: impl Fn(u32) -> bool) -> Vec<u32> {
        let Some(lane) = self.lane(id) else { return Vec::new() };
        let mut revoked = lane.line.iter().copied().collect::<Vec<_>>();
        revoked.retain(|request| {
            let in_flight = lane.in_flight(*request).filter(|in_flight| in_flight.revoked == Revoked::No && in_flight.reply.is_some());
            let Some(in_flight) = in_flight.filter(|_| !begun(*request)) else { return false };
            in_flight.revoked = Revoked::Told;
            lane.withhold(*request);
            true
        });
        revoked
    }

    /// Requests in line whose callers have left: the worker's page is to say that it must not begin them.
    pub(crate) fn take_dropped(&mut self, id: WorkerId) -> Vec<u32> {
        self.lane(id).map(|lane| std::mem::take(&mut lane.dropped)).unwrap_or_default()
    }
}

impl<R: Answered> Lane<R> {
    /// Those in line whose turn it is are in flight.
    pub(super) fn move_up(&mut self) {
        while self.in_flight_count() < self.at_once
            && let Some(&request) = self.line.front()
        {
            self.begins(request);
        }
    }

    /// It is this request's turn, or the worker has begun it already.
    pub(super) fn begins(&mut self, request: u32) {
        let (id, pid) = (self.id, self.pid);
        let Some(in_flight) = self.in_flight(request).filter(|in_flight| in_flight.in_line) else { return };
        in_flight.in_line = false;
        if let Some(reply) = &mut in_flight.reply {
            reply.given(id, pid);
        }
        self.line.retain(|other| *other != request);
    }
}
