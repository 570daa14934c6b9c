//! A queue, its disk, workers and callers under a virtual clock, with servers and workers that die at any moment.
//!
//! A seed tells all of it: what fails is failed again with it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use flash_queue::{Event, Life, Line, Policy, State, Timestamp};

const SEEDS: u64 = 20;
const STEPS: u64 = 50_000;
const WORKERS: usize = 6;

/// Numbers that a seed tells (splitmix).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    fn one_of<T: Copy>(&mut self, among: &[T]) -> Option<T> {
        if among.is_empty() { None } else { Some(among[self.below(among.len() as u64) as usize]) }
    }
}

/// A worker with an attempt that has begun.
#[derive(Clone, Copy)]
struct Running {
    job: u64,
    attempt: u32,
}

/// What an answer to somebody is about, once it is on the disk.
enum Answer {
    Accepted(u64),
    Leased(u64, u32),
    Completed(u64),
    SentAgain(u64),
}

struct World {
    seed: u64,
    dice: Dice,
    now: Timestamp,
    line: Line,
    /// What a server that starts finds.
    disk: Line,
    unsaid: Vec<Answer>,
    workers: [Option<Running>; WORKERS],
    /// Workers that were given up while they stood still. They will answer all the same.
    paused: Vec<Running>,
    /// Leases on the disk for which no worker was free.
    leased: Vec<(u64, u32)>,
    accepted: HashSet<u64>,
    /// Since the last commit.
    forgotten: Vec<u64>,
    begun: HashMap<u64, HashSet<u32>>,
    completed: HashSet<u64>,
    sent_again: HashSet<u64>,
    stale: u64,
    crashes: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            dice: Dice(seed),
            now: Timestamp(0),
            line: Line::default(),
            disk: Line::default(),
            unsaid: Vec::new(),
            workers: [None; WORKERS],
            paused: Vec::new(),
            leased: Vec::new(),
            accepted: HashSet::new(),
            forgotten: Vec::new(),
            begun: HashMap::new(),
            completed: HashSet::new(),
            sent_again: HashSet::new(),
            stale: 0,
            crashes: 0,
        }
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..15 => self.submit(),
            15..35 => self.claim(),
            35..60 => self.a_worker_ends(),
            60..64 => self.a_caller_interferes(),
            64..72 => self.time_passes(),
            72..97 => self.commit(),
            97 => self.a_worker_is_lost(),
            98 => self.forget(),
            _ => {
                if self.dice.below(5) == 0 {
                    self.the_server_dies();
                }
            }
        }
    }

    fn submit(&mut self) {
        if self.line.lives().filter(|(_, life)| !life.state.has_ended()).count() > 40 {
            return;
        }
        let policy = Policy {
            ttl: Duration::from_secs(10 + self.dice.below(3600)),
            priority: self.dice.below(3) as i8 - 1,
            attempts: 1 + self.dice.below(4) as u32,
            delay: Duration::from_secs(if self.dice.below(3) == 0 { self.dice.below(9) } else { 0 }),
            ..Policy::default()
        };
        let job = self.line.submit(policy, self.now);
        self.unsaid.push(Answer::Accepted(job));
    }

    fn claim(&mut self) {
        let Some((job, attempt)) = self.line.claim(self.now) else { return };
        self.unsaid.push(Answer::Leased(job, attempt));
    }

    /// What was leased begins once that is on the disk, never before.
    fn begin(&mut self) {
        while let Some(free) = self.workers.iter().position(Option::is_none)
            && let Some((job, attempt)) = self.leased.pop()
        {
            if self.dice.below(20) == 0 {
                self.tell(job, attempt, Event::Returned(attempt));
                continue;
            }
            assert!(self.begun.entry(job).or_default().insert(attempt), "seed {}: attempt {attempt} of {job} began twice", self.seed);
            self.workers[free] = Some(Running { job, attempt });
        }
    }

    fn a_worker_ends(&mut self) {
        let busy: Vec<usize> = (0..WORKERS).filter(|index| self.workers[*index].is_some()).collect();
        let Some(Running { job, attempt }) = self.dice.one_of(&busy).and_then(|index| self.workers[index].take()) else { return };
        let event = match self.dice.below(10) {
            0..6 => Event::Completed(attempt),
            6..8 => Event::Raised(attempt),
            8 => Event::Refused(attempt),
            _ => Event::OutOfTime(attempt),
        };
        let told = self.tell(job, attempt, event);
        if told && matches!(event, Event::Completed(_)) {
            self.unsaid.push(Answer::Completed(job));
        }
    }

    /// False where the answer is refused: its lease is not in force.
    fn tell(&mut self, job: u64, attempt: u32, event: Event) -> bool {
        let in_force = self.line.life(job).is_some_and(|life| life.state == State::Leased && life.attempt == attempt);
        let jitter = self.dice.roll() as u32;
        let told = self.line.apply(job, event, self.now, jitter).is_ok();
        assert_eq!(told, in_force, "seed {}: attempt {attempt} of {job}: {event:?}", self.seed);
        self.stale += u64::from(!told);
        told
    }

    /// It dies, or stands still for so long that it is given up: then its answer comes when the job may be another worker's.
    fn a_worker_is_lost(&mut self) {
        if self.dice.below(2) == 0
            && let Some(Running { job, attempt }) = self.paused.pop()
        {
            self.tell(job, attempt, Event::Completed(attempt));
            return;
        }
        let index = self.dice.below(WORKERS as u64) as usize;
        let Some(running) = self.workers[index].take() else { return };
        self.tell(running.job, running.attempt, Event::Lost(running.attempt));
        if self.dice.below(2) == 0 {
            self.paused.push(running);
        }
    }

    fn a_caller_interferes(&mut self) {
        let jobs: Vec<u64> = self.line.lives().map(|(job, _)| job).collect();
        let Some(job) = self.dice.one_of(&jobs) else { return };
        let event = [Event::Cancel, Event::Purge, Event::Retry, Event::Retry][self.dice.below(4) as usize];
        // That it does not happen to a job in that state is an answer too. A worker that is to stop is not always quick: its answer is refused.
        if self.line.apply(job, event, self.now, 0).is_ok() && event == Event::Retry {
            self.unsaid.push(Answer::SentAgain(job));
        }
    }

    fn time_passes(&mut self) {
        let step = [0, 10, 300, 2000, 30_000][self.dice.below(5) as usize];
        self.now = self.now + Duration::from_millis(step);
        self.line.expire(self.now);
    }

    fn forget(&mut self) {
        let ended: Vec<u64> = self.disk.lives().filter(|(_, life)| life.state.has_ended()).map(|(job, _)| job).collect();
        for job in ended.into_iter().take(20) {
            self.line.forget(job);
            if self.line.life(job).is_none() {
                self.forgotten.push(job);
            }
        }
    }

    /// One commit for all that was done since the last; answers come after it.
    fn commit(&mut self) {
        self.disk = self.line.clone();
        for job in self.forgotten.drain(..) {
            self.accepted.remove(&job);
        }
        for answer in std::mem::take(&mut self.unsaid) {
            match answer {
                Answer::Accepted(job) => drop(self.accepted.insert(job)),
                Answer::Leased(job, attempt) => self.leased.push((job, attempt)),
                Answer::SentAgain(job) => drop(self.sent_again.insert(job)),
                Answer::Completed(job) => assert!(self.completed.insert(job), "seed {}: {job} completed twice", self.seed),
            }
        }
        self.begin();
        self.check();
    }

    /// What was not committed is gone, and nobody had an answer to it. Workers end with their server.
    fn the_server_dies(&mut self) {
        self.crashes += 1;
        self.line = self.disk.clone();
        self.unsaid.clear();
        self.forgotten.clear();
        self.leased.clear();
        self.workers = [None; WORKERS];
        self.paused.clear();
        let leased: Vec<u64> = self.line.lives().filter(|(_, life)| life.state == State::Leased).map(|(job, _)| job).collect();
        for job in leased {
            self.line.apply(job, Event::Void, self.now, 0).expect("a lease that is found is voided");
        }
        self.commit();
    }

    fn check(&self) {
        let seed = self.seed;
        for job in &self.accepted {
            assert!(self.disk.life(*job).is_some(), "seed {seed}: {job} was accepted, and is lost");
        }
        for (job, life) in self.disk.lives() {
            self.check_one(job, life);
        }
    }

    fn check_one(&self, job: u64, life: &Life) {
        let seed = self.seed;
        if self.completed.contains(&job) {
            assert_eq!(life.state, State::Completed, "seed {seed}: {job} had completed");
        }
        let running = self.workers.iter().flatten().filter(|running| running.job == job && running.attempt == life.attempt).count();
        assert!(running <= 1, "seed {seed}: {job} runs {running} times under one lease");
        let begun = self.begun.get(&job).map_or(0, HashSet::len) as u32;
        if !self.sent_again.contains(&job) && life.state != State::Leased {
            let last = u32::from(matches!(life.state, State::Completed | State::Cancelled | State::TimedOut));
            assert!(begun <= life.failures + last, "seed {seed}: {job} began {begun} times, which {life:?} does not show");
        }
        assert!(life.raised + life.losses <= life.failures, "seed {seed}: {job} {life:?}");
    }

    /// With nobody dying any more, every job comes to its end.
    fn drain(&mut self) {
        for _ in 0..100_000 {
            if self.line.lives().all(|(_, life)| life.state.has_ended()) {
                return;
            }
            self.claim();
            self.commit();
            self.a_worker_ends();
            if self.workers.iter().all(Option::is_none)
                && self.leased.is_empty()
                && let Some(due) = self.line.next_due()
            {
                self.now = self.now.max(due);
                self.line.expire(self.now);
            }
        }
        panic!("seed {}: jobs stay for ever: {:?}", self.seed, self.line.lives().collect::<Vec<_>>());
    }
}

#[test]
fn a_million_steps_lose_nothing_run_nothing_unseen_and_come_to_an_end() {
    let (mut completed, mut stale, mut crashes, mut retried) = (0, 0, 0, 0);
    for seed in 1..=SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.drain();
        world.commit();
        completed += world.completed.len();
        stale += world.stale;
        crashes += world.crashes;
        retried += world.begun.values().filter(|begun| begun.len() > 1).count();
    }
    // What never happens proves nothing.
    assert!(completed > 10_000 && stale > 1000 && crashes > 1000 && retried > 1000, "{completed} {stale} {crashes} {retried}");
}
