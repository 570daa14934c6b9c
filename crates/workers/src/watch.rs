//! Looks after one worker's time: deadlines, a `def` that holds up its main thread, a loop that stands still.
//!
//! ```text
//!  a PING unanswered for   250 ms          500 ms, and                         nothing that it has begun
//!                                          what it has begun is past a limit   can still be answered in time
//!  answers ──────────────▶ silent ───────▶ given up ─────────────────────────▶ killed
//!     ▲                      │
//!     └──── PONG ────────────┘
//! ```
//!
//! A silent worker gets nothing new, and what it has not begun goes to another: that costs nobody anything, so it comes early. Giving it up
//! costs what its modules keep in globals, so it takes a request that has exceeded its limit while the loop stood still. A loop that is only
//! busy answers in between. Where no request is what holds the loop, it is given up for being stopped, or for making others wait.

use std::time::{Duration, Instant};

use crate::dispatch::{Pulse, Suspect, WorkerId};
use crate::page::{Cells, Page};
use crate::pool::{Inner, Shared};
use crate::process::Process;
use crate::reply::{Outcome, Reply};
use crate::standstill::{self, Cause, Standstill};

/// How often deadlines are looked at.
pub(crate) const SWEEP: Duration = Duration::from_millis(50);
/// How often a worker that has requests is asked whether its loop goes round.
const PING: Duration = Duration::from_millis(100);
/// A worker that has not answered for this long gets nothing new: many times what a loaded machine needs for it.
const SILENT: Duration = Duration::from_millis(250);
/// A loop that goes round again within this was busy, whatever has exceeded its limit meanwhile.
const BUSY: Duration = Duration::from_millis(500);
/// How long the main thread may take to say where it is. That is done by a signal, and takes microseconds where it can be done at all.
const TELLING: Duration = Duration::from_millis(20);
/// What passes between two looks counts at most like this: where the host itself was stopped, an answer may be there unread.
const GLANCE: Duration = Duration::from_millis(50);

/// What is known of one worker.
#[derive(Default)]
pub(crate) struct Watch {
    inline: u32,
    swept: Option<Instant>,
    silence: Silence,
    given_up: Option<GivenUp>,
    /// It was killed, and has not ended yet.
    killed: bool,
}

struct GivenUp {
    at: Instant,
    /// What is to be told of it, once the main thread has said where it is.
    untold: Option<Standstill>,
}

impl Watch {
    /// To be done each tick while something is asked of the endpoint. `held`: nothing is read of it now, so that it may wait for that.
    pub(crate) fn look(&mut self, inner: &Inner, id: WorkerId, page: &Page, process: &Process, held: bool, now: Instant) {
        let mut shared = inner.lock();
        // A `def` that is still there after two ticks holds up the worker's main thread.
        let inline = page.inline().unwrap_or_default();
        let told = shared.dispatcher.stalled(id, inline != 0 && inline == self.inline);
        self.inline = inline;
        shared.wake(&told);
        if shared.dispatcher.held_by(id).any(Reply::is_to_begin)
            && let Ok(cells) = page.read()
        {
            shared.dispatcher.begun(id, |request| cells.begun(request));
        }
        // A live endpoint's worker stays, whatever it does: there is no other for its requests.
        if held {
            self.silence = Silence::default();
        } else if inner.settings.replace_stuck {
            self.listen(inner, &mut shared, id, page, now);
        }
        if self.swept.is_some_and(|swept| now.duration_since(swept) < SWEEP) {
            return;
        }
        self.swept = Some(now);
        let swept = shared.dispatcher.sweep(now);
        shared.wake(&swept.told);
        if self.silence.lasted >= BUSY && self.given_up.is_none() && !self.killed {
            self.give_up(inner, &mut shared, id, page, process, now);
        }
        let spent = self.given_up.is_some() && shared.dispatcher.is_spent(id);
        if spent && self.silence.lasted.is_zero() {
            shared.stop(id); // its loop goes round again: it can end by itself
        }
        let stuck = inner.settings.replace_stuck && swept.stuck.contains(&id);
        let goes_on = stuck.then(|| self.replace(inner, &mut shared, id, page));
        drop(shared);
        for reply in swept.expired {
            reply.give(Outcome::Expired);
        }
        for reply in swept.unserved {
            reply.give(Outcome::Unserved);
        }
        self.tell(inner, page, now);
        if spent && !self.silence.lasted.is_zero() && self.is_told() {
            process.kill();
        } else if let Some(goes_on) = goes_on {
            inner.print(None, 2, &goes_on);
            process.kill();
        }
    }

    /// Whether the worker is still to be ended.
    pub(crate) fn has_given_up(&self) -> bool {
        self.given_up.is_some() || self.killed
    }

    /// Asks whether the worker's loop goes round; where it has not for long, others get what it has not begun. So do they what was sent ahead and
    /// lies behind something long.
    fn listen(&mut self, inner: &Inner, shared: &mut Shared, id: WorkerId, page: &Page, now: Instant) {
        let pulse = shared.dispatcher.pulse(id);
        if self.silence.look(now, pulse) {
            shared.dispatcher.ping(id);
        }
        let silent = self.silence.lasted >= SILENT;
        if silent {
            shared.dispatcher.silent(id);
        }
        if !shared.dispatcher.is_held_up(id, now) && !silent {
            return;
        }
        let Ok(cells) = page.read() else { return };
        // What was revoked at the last look, a tick ago.
        let (count, told) = shared.dispatcher.take_back(id, |request| cells.begun(request), self.silence.lasted);
        if count > 0 {
            tracing::debug!(endpoint = inner.name, count, silent, "a worker is held up: others get what it has not begun");
            inner.look.notify_one(); // they wait, unless another worker has them
        }
        shared.wake(&told);
        let begun = |request| cells.begun(request);
        let revoked = if silent { shared.dispatcher.revoke(id, begun) } else { shared.dispatcher.revoke_line(id, begun) };
        if !revoked.is_empty()
            && let Err(error) = page.revoke(&revoked)
        {
            tracing::error!(endpoint = inner.name, %error, "a worker's page cannot be written");
        }
    }

    /// Gives the worker up, if there is a reason.
    fn give_up(&mut self, inner: &Inner, shared: &mut Shared, id: WorkerId, page: &Page, process: &Process, now: Instant) {
        let Ok(cells) = page.read() else { return };
        let suspects = shared.dispatcher.suspects(id, |request| Cells::begun(&cells, request));
        let waited = (inner.settings.timeout / 2).min(inner.settings.workers.probe_timeout);
        let cause = if process.is_stopped() {
            Cause::Stopped
        } else if let Some(overdue) = held_by(&suspects, |suspect| shared.may_hold_loop(page, suspect)) {
            Cause::PastLimit(named(inner, &overdue))
        } else if suspects.is_empty() && shared.dispatcher.waiting() > 0 && self.silence.lasted >= waited {
            Cause::Nobody
        } else {
            return;
        };
        inner.give_up(shared, id);
        Process::ask_whereabouts(process.descriptor());
        let standstill = Standstill { cause, silence: self.silence.lasted, limit: inner.settings.timeout };
        self.given_up = Some(GivenUp { at: now, untold: Some(standstill) });
    }

    /// Lets another take the worker's place, for it goes on though it was told to stop: it is to be killed. Returns what is to be told of it.
    /// The system may take its time with its end, so that is done once.
    fn replace(&mut self, inner: &Inner, shared: &mut Shared, id: WorkerId, page: &Page) -> String {
        self.killed = true;
        let cells = page.read().ok();
        let suspects = shared.dispatcher.suspects(id, |request| cells.as_ref().is_some_and(|cells| cells.begun(request)));
        let overdue: Vec<_> = suspects.into_iter().filter(|suspect| suspect.expired).collect();
        let limit = overdue.iter().map(|suspect| suspect.limit.unwrap_or(inner.settings.timeout)).max().unwrap_or(inner.settings.timeout);
        inner.give_up(shared, id);
        standstill::goes_on(&inner.name, &named(inner, &overdue), limit)
    }

    fn is_told(&self) -> bool {
        self.given_up.as_ref().is_some_and(|given_up| given_up.untold.is_none())
    }

    /// Says in the log that the worker was given up.
    fn tell(&mut self, inner: &Inner, page: &Page, now: Instant) {
        if let Some(given_up) = &mut self.given_up
            && now.duration_since(given_up.at) >= TELLING
            && let Some(standstill) = given_up.untold.take()
        {
            inner.print(None, 2, &standstill.told(&inner.name, &page.whereabouts().unwrap_or_default()));
        }
    }
}

impl Shared {
    /// Whether a request that has begun may be what holds its worker's loop: it runs on the main thread, or could.
    fn may_hold_loop(&self, page: &Page, suspect: &Suspect) -> bool {
        page.inline().is_ok_and(|inline| inline == suspect.request) || !self.runs_in_thread(suspect.route)
    }
}

/// The requests past their limits for which a loop that stands still is given up; `None` where it may be another that holds it, which is within
/// its limit. A `def` in a thread holds it only where nothing else does: by native code that keeps the interpreter's lock.
fn held_by(suspects: &[Suspect], may_hold: impl Fn(&Suspect) -> bool) -> Option<Vec<Suspect>> {
    let (may, others): (Vec<_>, Vec<_>) = suspects.iter().partition(|suspect| may_hold(suspect));
    let expired = |suspects: &[Suspect]| -> Vec<Suspect> { suspects.iter().filter(|suspect| suspect.expired).copied().collect() };
    let found = expired(&may);
    if !found.is_empty() {
        return Some(found);
    }
    let found = expired(&others);
    (may.is_empty() && !found.is_empty()).then_some(found)
}

/// The functions of requests, each once.
fn named(inner: &Inner, suspects: &[Suspect]) -> Vec<String> {
    let name = |suspect: &Suspect| match suspect.route {
        Some(route) => inner.config["functions"][usize::from(route)]["qualname"].as_str().unwrap_or("a function").to_owned(),
        None => "a live call".to_owned(),
    };
    let mut names: Vec<String> = suspects.iter().map(name).collect();
    names.sort();
    names.dedup();
    names
}

/// For how long a PING has not been answered.
#[derive(Default)]
struct Silence {
    looked: Option<Instant>,
    asked: Option<Instant>,
    lasted: Duration,
}

impl Silence {
    /// Takes what a look has found; true when the worker is to be asked.
    fn look(&mut self, now: Instant, pulse: Pulse) -> bool {
        let since = self.looked.replace(now).map_or(Duration::ZERO, |looked| now.duration_since(looked));
        if pulse.pinged {
            self.lasted += since.min(GLANCE);
            return false;
        }
        self.lasted = Duration::ZERO;
        let due = self.asked.is_none_or(|asked| now.duration_since(asked) >= PING);
        let asks = pulse.busy && due;
        if asks {
            self.asked = Some(now);
        }
        asks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Pulse = Pulse { busy: false, pinged: false };
    const ASKED: Pulse = Pulse { busy: true, pinged: true };
    const HEARD: Pulse = Pulse { busy: true, pinged: false };

    /// What looks at these moments (in ms) find; whether the last of them asks, and for how long the worker is silent then, in ms.
    fn looks(looks: &[(u64, Pulse)]) -> (bool, u128) {
        let start = Instant::now();
        let mut silence = Silence::default();
        let asks = looks.iter().map(|(at, pulse)| silence.look(start + Duration::from_millis(*at), *pulse)).last();
        (asks.expect("there are looks"), silence.lasted.as_millis())
    }

    /// Of these requests (whether each may hold the loop, and is past its limit), those for which a loop is given up.
    fn held(suspects: &[(bool, bool)]) -> Option<Vec<u32>> {
        let suspect = |(request, (_, expired)): (usize, &(bool, bool))| Suspect {
            route: None,
            request: request as u32,
            expired: *expired,
            limit: None,
        };
        let list: Vec<_> = suspects.iter().enumerate().map(suspect).collect();
        let found = held_by(&list, |suspect| suspects[suspect.request as usize].0)?;
        Some(found.iter().map(|suspect| suspect.request).collect())
    }

    #[test]
    fn a_loop_is_given_up_for_what_may_hold_it_and_is_past_its_limit() {
        let (holds, thread, late, within) = (true, false, true, false);
        assert_eq!(held(&[]), None);
        assert_eq!(held(&[(holds, within)]), None);
        assert_eq!(held(&[(holds, late), (holds, within)]), Some(vec![0]));
        assert_eq!(held(&[(thread, late), (holds, late)]), Some(vec![1]));
        assert_eq!(held(&[(thread, late), (holds, within)]), None);
        // Native code that keeps the interpreter's lock.
        assert_eq!(held(&[(thread, late), (thread, within)]), Some(vec![0]));
        assert_eq!(held(&[(thread, within)]), None);
    }

    #[test]
    fn a_worker_that_has_requests_is_asked_now_and_then() {
        assert_eq!(looks(&[(0, QUIET)]), (false, 0));
        assert_eq!(looks(&[(0, HEARD)]), (true, 0));
        assert_eq!(looks(&[(0, HEARD), (99, HEARD)]), (false, 0));
        assert_eq!(looks(&[(0, HEARD), (100, HEARD)]), (true, 0));
        assert_eq!(looks(&[(0, HEARD), (100, QUIET)]), (false, 0));
    }

    #[test]
    fn silence_lasts_until_the_answer() {
        assert_eq!(looks(&[(0, HEARD), (10, ASKED), (30, ASKED)]), (false, 30));
        assert_eq!(looks(&[(0, HEARD), (10, ASKED), (30, HEARD)]), (false, 0));
    }

    #[test]
    fn what_the_host_has_slept_through_is_no_silence() {
        assert_eq!(looks(&[(0, HEARD), (10, ASKED), (600_000, ASKED)]), (false, 60));
    }
}
