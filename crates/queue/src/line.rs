//! A queue in memory, by the same rules: for jobs that end with who asks for them, and to hold the one on the disk against.

use std::collections::{BTreeMap, BTreeSet};

use crate::life::{Event, Life, Place, Refused, State, Step, step};
use crate::policy::Policy;
use crate::time::Timestamp;

/// Jobs in the order in which they may begin.
#[derive(Clone, Debug, Default)]
pub struct Line {
    jobs: BTreeMap<u64, Entry>,
    /// By priority, then place; and the number.
    ready: BTreeSet<(i16, u64, u64)>,
    /// By the time at which they are due.
    delayed: BTreeSet<(Timestamp, u64)>,
    /// What has not ended, by the time at which it is over.
    deadlines: BTreeSet<(Timestamp, u64)>,
    next: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    life: Life,
    policy: Policy,
    /// Its number, until it is sent behind others.
    place: u64,
}

impl Line {
    /// Takes a job. Numbers grow with the order of arrival, and are not given twice.
    pub fn submit(&mut self, policy: Policy, now: Timestamp) -> u64 {
        self.next += 1;
        let entry = Entry { life: Life::begin(&policy, now), policy, place: self.next };
        self.place(self.next, &entry);
        self.jobs.insert(self.next, entry);
        self.next
    }

    /// Leases the first job that is ready. Gives its number and the attempt's.
    pub fn claim(&mut self, now: Timestamp) -> Option<(u64, u32)> {
        let (_, _, number) = *self.ready.first()?;
        let done = self.apply(number, Event::Lease, now, 0).ok()?;
        Some((number, done.life.attempt))
    }

    /// Something happens to a job; see [`step`].
    ///
    /// # Errors
    /// Where that does not happen to it, or it is not there.
    pub fn apply(&mut self, number: u64, event: Event, now: Timestamp, jitter: u32) -> Result<Step, Refused> {
        let mut entry = self.jobs.get(&number).cloned().ok_or(Refused::Stale)?;
        let done = step(&entry.life, &entry.policy, event, now, jitter)?;
        self.take_out(number, &entry);
        entry.life = done.life.clone();
        if done.place == Place::Last {
            self.next += 1;
            entry.place = self.next;
        }
        self.place(number, &entry);
        self.jobs.insert(number, entry);
        Ok(done)
    }

    /// Lets time pass: what is due is ready, what has lived long enough ends. Gives the ended ones, and the attempt to stop where there is one.
    pub fn expire(&mut self, now: Timestamp) -> Vec<(u64, Option<u32>)> {
        while let Some((due, number)) = self.delayed.first().copied()
            && due <= now
        {
            // The rule looks at the same two times, and refuses nothing here; a refusal must not go round for ever.
            if self.apply(number, Event::Due, now, 0).is_err() {
                break;
            }
        }
        let mut ended = Vec::new();
        while let Some((deadline, number)) = self.deadlines.first().copied()
            && deadline <= now
        {
            let Ok(done) = self.apply(number, Event::Expire, now, 0) else { break };
            ended.push((number, done.stop));
        }
        ended
    }

    /// When [`Line::expire`] has something to do next.
    pub fn next_due(&self) -> Option<Timestamp> {
        let first = |set: &BTreeSet<(Timestamp, u64)>| set.first().map(|(time, _)| *time);
        first(&self.delayed).into_iter().chain(first(&self.deadlines)).min()
    }

    /// Forgets a job that has ended. Others are left.
    pub fn forget(&mut self, number: u64) {
        if self.jobs.get(&number).is_some_and(|entry| entry.life.state.has_ended()) {
            self.jobs.remove(&number);
        }
    }

    /// A job's life.
    pub fn life(&self, number: u64) -> Option<&Life> {
        self.jobs.get(&number).map(|entry| &entry.life)
    }

    /// All jobs, in the order of their arrival.
    pub fn lives(&self) -> impl Iterator<Item = (u64, &Life)> {
        self.jobs.iter().map(|(number, entry)| (*number, &entry.life))
    }

    fn place(&mut self, number: u64, entry: &Entry) {
        match entry.life.state {
            State::Ready => drop(self.ready.insert((-i16::from(entry.policy.priority), entry.place, number))),
            State::Delayed => drop(self.delayed.insert((entry.life.due, number))),
            State::Leased | State::Completed | State::Failed | State::Cancelled | State::TimedOut => {}
        }
        if !entry.life.state.has_ended() {
            self.deadlines.insert((entry.life.deadline, number));
        }
    }

    fn take_out(&mut self, number: u64, entry: &Entry) {
        self.ready.remove(&(-i16::from(entry.policy.priority), entry.place, number));
        self.delayed.remove(&(entry.life.due, number));
        self.deadlines.remove(&(entry.life.deadline, number));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp(0);

    fn with(priority: i8, delay: u64) -> Policy {
        Policy { priority, delay: Duration::from_secs(delay), ttl: Duration::from_secs(100), ..Policy::default() }
    }

    #[test]
    fn jobs_begin_by_priority_then_arrival_and_delayed_ones_at_their_time() {
        let mut line = Line::default();
        let [a, b, top, later] = [(0, 0), (0, 0), (5, 0), (9, 1)].map(|(priority, delay)| line.submit(with(priority, delay), NOW));
        assert_eq!([line.claim(NOW), line.claim(NOW)], [Some((top, 1)), Some((a, 1))]);
        assert_eq!(line.next_due(), Some(Timestamp(1000)));
        assert!(line.expire(Timestamp(1000)).is_empty());
        assert_eq!([line.claim(NOW), line.claim(NOW), line.claim(NOW)], [Some((later, 1)), Some((b, 1)), None]);
    }

    #[test]
    fn what_is_tried_again_goes_behind_what_waits_by_then_at_its_priority() {
        let mut line = Line::default();
        let [killer, healthy, low] = [0, 0, -1].map(|priority| line.submit(with(priority, 0), NOW));
        assert_eq!(line.claim(NOW), Some((killer, 1)));
        let due = line.apply(killer, Event::Lost(1), NOW, 0).unwrap().life.due;
        line.expire(due);
        let later = line.submit(with(0, 0), due);
        let order: Vec<_> = std::iter::from_fn(|| line.claim(due)).collect();
        assert_eq!(order, [(healthy, 1), (killer, 2), (later, 1), (low, 1)]);
    }

    #[test]
    fn a_lease_that_was_returned_or_voided_leaves_its_job_where_it_was() {
        let mut line = Line::default();
        let [first, second] = [0, 0].map(|priority| line.submit(with(priority, 0), NOW));
        assert_eq!(line.claim(NOW), Some((first, 1)));
        line.apply(first, Event::Returned(1), NOW, 0).unwrap();
        assert_eq!(line.claim(NOW), Some((first, 2)));
        line.apply(first, Event::Void, NOW, 0).unwrap();
        assert_eq!([line.claim(NOW), line.claim(NOW)], [Some((first, 3)), Some((second, 1))]);
    }

    #[test]
    fn what_is_sent_again_has_the_place_of_one_that_arrives() {
        let mut line = Line::default();
        let [failed, other] = [0, 0].map(|priority| line.submit(with(priority, 0), NOW));
        assert_eq!(line.claim(NOW), Some((failed, 1)));
        line.apply(failed, Event::Refused(1), NOW, 0).unwrap();
        line.apply(failed, Event::Retry, NOW, 0).unwrap();
        assert_eq!([line.claim(NOW), line.claim(NOW)], [Some((other, 1)), Some((failed, 2))]);
    }

    #[test]
    fn what_has_lived_long_enough_ends_and_its_attempt_is_named() {
        let mut line = Line::default();
        let [runs, waits] = [0, 0].map(|priority| line.submit(with(priority, 0), NOW));
        assert_eq!(line.claim(NOW), Some((runs, 1)));
        assert_eq!(line.expire(Timestamp(100_000)), [(runs, Some(1)), (waits, None)]);
        assert_eq!((line.claim(NOW), line.next_due()), (None, None));
        line.forget(runs);
        assert_eq!(line.lives().map(|(number, _)| number).collect::<Vec<_>>(), [waits]);
    }
}
