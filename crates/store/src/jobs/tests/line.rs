use std::collections::{BTreeMap, HashMap};

use flash_queue::{Event, Line};

use super::*;

/// Numbers that a seed tells (splitmix).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// The queue on the disk beside the one in memory. Whatever happens to both must leave both the same.
struct Pair {
    queue: Queue,
    line: Line,
    numbers: BTreeMap<u64, String>,
    leases: Vec<(u64, Lease)>,
    dice: Dice,
}

impl Pair {
    async fn step(&mut self) {
        match self.dice.below(20) {
            0..5 => self.submit().await,
            5..9 => self.claim().await,
            9..13 => self.finish().await,
            13 | 14 => self.one_of_all(|jobs, id| async move { jobs.cancel(&id, Ran::default()).await.is_ok() }, Event::Cancel).await,
            15 => self.one_of_all(|jobs, id| async move { jobs.retry(&id).await.is_ok() }, Event::Retry).await,
            16 => self.restart(),
            _ => self.time_passes().await,
        }
    }

    async fn submit(&mut self) {
        let policy = Policy {
            priority: self.dice.below(3) as i8 - 1,
            attempts: 1 + self.dice.below(3) as u32,
            delay: Duration::from_secs(self.dice.below(3) * self.dice.below(9)),
            ttl: Duration::from_secs(20 + self.dice.below(400)),
            ..Policy::default()
        };
        let number = self.line.submit(policy.clone(), self.queue.jobs().now());
        let id = format!("j{number}");
        self.queue.submit_with(&id, |new| new.policy = policy).await;
        self.numbers.insert(number, id);
    }

    async fn claim(&mut self) {
        let now = self.queue.jobs().now();
        let claimed = self.queue.jobs().claim("e", 1 + self.dice.below(3) as usize).await.unwrap();
        for job in &claimed {
            let (number, attempt) = self.line.claim(now).expect("ready in memory too");
            assert_eq!((&job.id, job.lease.attempt()), (&self.numbers[&number], attempt));
            self.leases.push((number, job.lease));
        }
        if claimed.is_empty() {
            assert_eq!(self.line.claim(now), None);
        }
    }

    /// Some lease: it may have been voided, cancelled or used before.
    async fn finish(&mut self) {
        let Some(last) = self.leases.len().checked_sub(1) else { return };
        let at = last - self.dice.below(last.min(5) as u64 + 1) as usize;
        let (number, lease) = if self.dice.below(4) == 0 { self.leases[at] } else { self.leases.remove(at) };
        let attempt = lease.attempt();
        let (outcome, event) = match self.dice.below(6) {
            0 | 1 => (completed("1"), Event::Completed(attempt)),
            2 => (raised("no"), Event::Raised(attempt)),
            3 => (Outcome::Lost { why: "killed".into() }, Event::Lost(attempt)),
            4 => (Outcome::Returned, Event::Returned(attempt)),
            _ => (Outcome::TimedOut, Event::OutOfTime(attempt)),
        };
        let now = self.queue.jobs().now();
        let found = self.queue.jobs().finish(lease, outcome, Ran::default()).await;
        // How long a job waits for its next try is by chance: memory is told what the disk has chosen.
        let jitter = (0..1024).find(|jitter| {
            let due = found.as_ref().ok().and_then(|finished| finished.due);
            let told = self.line.clone().apply(number, event, now, *jitter);
            due.is_none() || told.is_ok_and(|done| Some(done.life.due) == due)
        });
        let told = self.line.apply(number, event, now, jitter.expect("a wait that chance can give"));
        assert_eq!(found.map(|finished| finished.state).ok(), told.map(|done| done.life.state).ok());
    }

    async fn one_of_all<F: Future<Output = bool>>(&mut self, ask: impl FnOnce(Jobs, String) -> F, event: Event) {
        let number = self.dice.below(self.numbers.len() as u64 + 1);
        let Some(id) = self.numbers.get(&number) else { return };
        assert!(ask(self.queue.jobs().clone(), id.clone()).await);
        // A refusal leaves both as they were.
        drop(self.line.apply(number, event, self.queue.jobs().now(), 0));
    }

    fn restart(&mut self) {
        self.queue.restart();
        let leased: Vec<u64> = self.line.lives().filter(|(_, life)| life.state == State::Leased).map(|(number, _)| number).collect();
        for number in leased {
            self.line.apply(number, Event::Void, self.queue.jobs().now(), 0).unwrap();
        }
    }

    async fn time_passes(&mut self) {
        self.queue.pass(Duration::from_millis(self.dice.below(4000)));
        let mut expired = Vec::new();
        loop {
            let swept = self.queue.jobs().expire().await.unwrap();
            expired.extend(swept.expired.into_iter().map(|job| (job.id, job.lease.map(Lease::attempt))));
            if !swept.more {
                break;
            }
        }
        let ended = self.line.expire(self.queue.jobs().now());
        let ended: HashMap<String, Option<u32>> = ended.into_iter().map(|(number, stop)| (self.numbers[&number].clone(), stop)).collect();
        assert_eq!(expired.into_iter().collect::<HashMap<_, _>>(), ended);
    }

    async fn compare(&self) {
        let mut counts = Counts::default();
        for (number, life) in self.line.lives() {
            counts.of[life.state as usize] += 1;
            counts.retried += u64::from(life.retries());
            let on_disk = self.queue.job(&self.numbers[&number]).await.life;
            let due = if life.state == State::Delayed { life.due } else { on_disk.due };
            assert_eq!(on_disk, Life { due, ..life.clone() }, "{number}");
        }
        assert_eq!(self.queue.jobs().counts("e"), counts);
    }
}

#[tokio::test]
async fn the_queue_on_the_disk_does_what_the_one_in_memory_does() {
    for seed in 1..=4 {
        let queue = Queue::with(|settings| settings.synchronous = Synchronous::Off);
        let mut pair = Pair { queue, line: Line::default(), numbers: BTreeMap::new(), leases: Vec::new(), dice: Dice(seed) };
        for _ in 0..300 {
            pair.step().await;
        }
        pair.compare().await;
    }
}
