use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);
const IDLE: Duration = Duration::from_secs(60);

fn policy(min: usize, max: usize) -> Policy {
    Policy { min, max, idle: IDLE, per_worker: 4 }
}

/// Workers that have so many requests in flight, the oldest first; all are open.
fn busy(in_flight: &[usize]) -> Load {
    let workers = in_flight.iter().enumerate();
    let workers = workers.map(|(index, &in_flight)| Worker { id: index as u64, in_flight, answered: 0, open: true });
    Load { workers: workers.collect(), verified: true, ..Load::default() }
}

fn waiting(in_flight: &[usize], waiting: usize) -> Load {
    Load { waiting, ..busy(in_flight) }
}

/// What is decided of a load that is new, and of the same load after it has lasted.
fn at_once_and_later(policy: Policy, load: &Load) -> [(usize, Reason); 2] {
    let (mut scaler, mut now) = (Scaler::new(policy), Instant::now());
    let first = scaler.decide(load, now);
    let mut last = first.clone();
    for _ in 0..6 {
        if last.start == 0 {
            now += GLANCE;
            last = scaler.decide(load, now);
        }
    }
    [(first.start, first.reason), (last.start, last.reason)]
}

#[test]
fn what_is_started_for_which_load() {
    use Reason::{BelowMin, Enough, FirstRequest, Patience, Pressure};
    let held_up = |mut load: Load| {
        load.workers[0].open = false;
        load
    };
    let unverified = |load: Load| Load { verified: false, ..load };
    let table = [
        ("nothing to do, none kept", policy(0, 4), busy(&[]), (0, Enough), (0, Enough)),
        ("nothing to do, not verified", policy(0, 4), unverified(busy(&[])), (1, BelowMin), (1, BelowMin)),
        ("none allowed", policy(0, 0), unverified(waiting(&[], 9)), (0, Enough), (0, Enough)),
        ("some are kept", policy(3, 4), busy(&[]), (3, BelowMin), (3, BelowMin)),
        ("one of them is gone", policy(3, 4), busy(&[1, 1]), (1, BelowMin), (1, BelowMin)),
        ("the first request", policy(0, 4), waiting(&[], 1), (1, FirstRequest), (1, FirstRequest)),
        ("a burst at none", policy(0, 4), waiting(&[], 1000), (1, FirstRequest), (1, FirstRequest)),
        ("few in flight", policy(0, 4), busy(&[4]), (0, Enough), (0, Enough)),
        ("many in flight", policy(0, 4), busy(&[5]), (0, Patience), (1, Pressure)),
        ("many in flight, and one has room", policy(0, 4), busy(&[100, 3]), (0, Enough), (0, Enough)),
        ("many in flight on both", policy(0, 9), busy(&[30, 30]), (0, Patience), (2, Pressure)),
        ("no more than the load is for", policy(0, 9), busy(&[4, 4, 4, 5]), (0, Patience), (1, Pressure)),
        ("no more than the most", policy(0, 5), waiting(&[9, 9, 9, 9], 99), (0, Patience), (1, Pressure)),
        ("at the most", policy(0, 2), waiting(&[128, 128], 1000), (0, Enough), (0, Enough)),
        ("a fixed number", policy(2, 2), waiting(&[128, 128], 1000), (0, Enough), (0, Enough)),
        ("one that is held up", policy(0, 2), held_up(waiting(&[1], 1)), (0, Patience), (1, Pressure)),
    ];
    for (what, policy, load, first, later) in table {
        assert_eq!(at_once_and_later(policy, &load), [first, later], "{what}");
    }
}

#[test]
fn pressure_that_goes_away_starts_nothing_and_must_last_anew() {
    let (mut scaler, mut now) = (Scaler::new(policy(0, 4)), Instant::now());
    for load in [5, 5, 5, 5, 4, 5, 5, 5, 5] {
        assert_eq!(scaler.decide(&busy(&[load]), now).start, 0);
        now += GLANCE;
    }
    assert_eq!(scaler.decide(&busy(&[5]), now).start, 0);
    assert_eq!(scaler.decide(&busy(&[5]), now + GLANCE).start, 1);
}

#[test]
fn a_moment_of_pressure_is_looked_at_and_forgotten() {
    let (mut scaler, now) = (Scaler::new(policy(0, 4)), Instant::now());
    let calm = scaler.decide(&busy(&[1]), now);
    assert!(calm.tell);
    let told = scaler.decide(&Load { pressed: true, ..busy(&[1]) }, now);
    assert_eq!((told.start, told.tell, told.look), (0, false, Some(now + GLANCE)), "it looks by itself now");
    assert!(scaler.decide(&busy(&[1]), now + GLANCE).tell);
}

#[test]
fn waves_double_and_wait_for_each_other() {
    let (mut scaler, mut now) = (Scaler::new(policy(0, 64)), Instant::now());
    let mut load = waiting(&[], 1000);
    let mut waves = Vec::new();
    while load.workers.len() < 64 {
        let decision = scaler.decide(&load, now);
        if decision.start > 0 {
            waves.push(decision.start);
            load.starting = decision.start;
            for _ in 0..10 {
                now += PATIENCE / 5;
                assert_eq!(scaler.decide(&load, now).start, 0, "they are still starting");
            }
            load = waiting(&vec![128; load.workers.len() + load.starting], 1000);
        }
        now += GLANCE;
    }
    assert_eq!(waves, [1, 1, 2, 4, 8, 16, 32]);
}

#[test]
fn a_start_that_takes_long_is_not_waited_for() {
    let (mut scaler, now) = (Scaler::new(policy(0, 4)), Instant::now());
    assert_eq!(scaler.decide(&waiting(&[], 9), now).start, 1);
    let hangs = Load { starting: 1, ..waiting(&[], 9) };
    assert_eq!(scaler.decide(&hangs, now + MS).look, Some(now + SLOW_START));
    assert_eq!(scaler.decide(&hangs, now + SLOW_START).start, 0);
    assert_eq!(scaler.decide(&hangs, now + SLOW_START + PATIENCE).start, 1);
}

#[test]
fn nothing_is_started_before_what_failed_may_be_tried_again() {
    let (mut scaler, now) = (Scaler::new(policy(1, 4)), Instant::now());
    let load = Load { not_before: Some(now + IDLE), ..waiting(&[], 9) };
    let decision = scaler.decide(&load, now);
    assert_eq!((decision.start, decision.look, decision.reason), (0, Some(now + IDLE), Reason::Failing));
    assert_eq!(scaler.decide(&load, now + IDLE).start, 1);
}

#[test]
fn who_had_nothing_to_do_for_long_is_stopped_the_newest_first() {
    let (mut scaler, now) = (Scaler::new(policy(1, 4)), Instant::now());
    let load = busy(&[0, 0, 1, 0]);
    assert_eq!(scaler.decide(&load, now).look, Some(now + Duration::from_secs(1)), "one may have become idle by then");
    assert_eq!(scaler.decide(&load, now + IDLE - MS).stop, []);
    let decision = scaler.decide(&load, now + IDLE);
    assert_eq!((decision.stop, decision.reason), (vec![3, 1, 0], Reason::Idle));
}

#[test]
fn those_that_are_kept_are_the_oldest() {
    let (mut scaler, now) = (Scaler::new(policy(2, 4)), Instant::now());
    let load = busy(&[0, 0, 0, 0]);
    scaler.decide(&load, now);
    assert_eq!(scaler.decide(&load, now + IDLE).stop, [3, 2]);
    assert_eq!(scaler.decide(&busy(&[0, 0]), now + IDLE).look, None, "nothing is to be done any more");
}

#[test]
fn who_has_answered_meanwhile_was_not_idle() {
    let (mut scaler, mut now) = (Scaler::new(policy(0, 4)), Instant::now());
    let mut load = busy(&[0]);
    for _ in 0..5 {
        assert_eq!(scaler.decide(&load, now).stop, []);
        now += IDLE - MS;
        load.workers[0].answered += 1;
    }
    assert_eq!(scaler.decide(&load, now).look, Some(now + IDLE));
    assert_eq!(scaler.decide(&load, now + IDLE).stop, [0]);
}

/// One thing that happens to an endpoint, and the time that passes before.
#[derive(Clone, Debug)]
enum Happens {
    Arrive(usize),
    Answer(usize),
    Ready,
    StartFails,
    Dies(usize),
    HeldUp(usize),
}

fn happens() -> impl Strategy<Value = (u64, Happens)> {
    let what = prop_oneof![
        4 => (0..300_usize).prop_map(Happens::Arrive),
        4 => (0..300_usize).prop_map(Happens::Answer),
        4 => Just(Happens::Ready),
        1 => Just(Happens::StartFails),
        1 => any::<usize>().prop_map(Happens::Dies),
        1 => any::<usize>().prop_map(Happens::HeldUp),
    ];
    (prop_oneof![3 => 0..20_u64, 1 => 0..2000_u64], what)
}

/// An endpoint, as the pool would keep it.
struct Trial {
    policy: Policy,
    scaler: Scaler,
    load: Load,
    /// When each worker had something to do the last time.
    busy_until: std::collections::HashMap<u64, Instant>,
    next: u64,
    now: Instant,
    look: Option<Instant>,
    tell: bool,
}

const SLOTS: usize = 128;

impl Trial {
    fn new(policy: Policy) -> Self {
        let scaler = Scaler::new(policy.clone());
        let (load, now) = (Load::default(), Instant::now());
        Self { policy, scaler, load, busy_until: std::collections::HashMap::new(), next: 0, now, look: None, tell: false }
    }

    fn pump(&mut self) {
        while self.load.waiting > 0 {
            let free = self.load.workers.iter_mut().filter(|worker| worker.open && worker.in_flight < SLOTS);
            let Some(worker) = free.min_by_key(|worker| worker.in_flight) else { return };
            worker.in_flight += 1;
            self.load.waiting -= 1;
            self.load.pressed |= worker.in_flight > self.policy.per_worker;
        }
    }

    fn happen(&mut self, what: &Happens) {
        let count = self.load.workers.len();
        match *what {
            Happens::Arrive(more) => self.load.waiting += more,
            Happens::Answer(mut some) => {
                for worker in &mut self.load.workers {
                    let answered = some.min(worker.in_flight);
                    some -= answered;
                    worker.in_flight -= answered;
                    worker.answered += answered as u64;
                    worker.open |= answered > 0;
                    if answered > 0 {
                        self.busy_until.insert(worker.id, self.now);
                    }
                }
            }
            Happens::Ready if self.load.starting > 0 => {
                self.load.starting -= 1;
                self.next += 1;
                self.load.workers.push(Worker { id: self.next, in_flight: 0, answered: 0, open: true });
                self.load.verified = true;
                self.busy_until.insert(self.next, self.now);
            }
            Happens::StartFails if self.load.starting > 0 => {
                self.load.starting -= 1;
                self.load.not_before = Some(self.now + 100 * MS);
            }
            Happens::Dies(which) if count > 0 => {
                let died = self.load.workers.remove(which % count);
                self.load.waiting += died.in_flight;
            }
            Happens::HeldUp(which) if count > 0 => {
                let worker = &mut self.load.workers[which % count];
                worker.open = worker.in_flight == 0;
            }
            _ => {}
        }
        self.pump();
    }

    /// Decides, and checks what must always hold.
    fn decide(&mut self) -> Decision {
        let decision = self.scaler.decide(&self.load, self.now);
        self.load.pressed = false;
        let Policy { min, max, idle, .. } = self.policy;
        for id in &decision.stop {
            let index = self.load.workers.iter().position(|worker| worker.id == *id).expect("who is stopped is there");
            let worker = self.load.workers.remove(index);
            assert_eq!((worker.in_flight, self.load.waiting), (0, 0), "who is stopped has nothing to do, nor is there anything");
            assert!(self.now - self.busy_until[id] >= idle, "it had nothing to do for long");
        }
        assert!(decision.stop.is_empty() || self.load.workers.len() >= min, "never below the least");
        assert!(decision.stop.is_empty() || decision.start == 0, "nobody is started in the place of who is stopped");
        self.load.starting += decision.start;
        let have = self.load.workers.len() + self.load.starting;
        assert!(have <= max, "never above the most");
        let may_start = self.load.not_before.is_none_or(|not_before| not_before <= self.now);
        assert!(!may_start || have >= min, "never below the least but while it fails");
        assert!(!may_start || self.load.waiting == 0 || have > 0, "who waits has somebody to wait for");
        if self.load.waiting > 0 && have < max {
            assert!(decision.look.is_some(), "it looks again while something waits");
        }
        (self.look, self.tell) = (decision.look, decision.tell);
        decision
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_bounds_hold_and_what_waits_gets_workers(
        min in 0..4_usize, more in 0..6_usize, per_worker in 1..10_usize, idle in 0..3000_u64,
        events in prop::collection::vec(happens(), 1..120),
    ) {
        let max = (min + more).max(1);
        let mut trial = Trial::new(Policy { min, max, idle: idle as u32 * MS, per_worker });
        trial.decide();
        for (pause, what) in &events {
            let until = trial.now + *pause as u32 * MS;
            // Until then it looks when it said that it would.
            while let Some(look) = trial.look.filter(|look| *look <= until) {
                prop_assert!(look > trial.now, "it does not spin");
                trial.now = look;
                trial.decide();
            }
            trial.now = until;
            let told = trial.tell;
            trial.happen(what);
            // Answers are told to nobody, nor is a request that a worker takes at once, unless that is pressure and somebody wants to know.
            let tells = match what {
                Happens::Answer(_) | Happens::HeldUp(_) => false,
                Happens::Arrive(_) => trial.load.waiting > 0 || told && trial.load.pressed,
                Happens::Ready | Happens::StartFails | Happens::Dies(_) => true,
            };
            if tells {
                trial.decide();
            }
        }
        // From here on more waits than any number of workers takes: in the end there are as many as there may be.
        trial.happen(&Happens::Arrive(10_000));
        trial.decide();
        for _ in 0..1000 {
            while trial.load.starting > 0 {
                trial.happen(&Happens::Ready);
                trial.decide();
            }
            let Some(look) = trial.look else { break };
            trial.now = look;
            trial.decide();
        }
        prop_assert_eq!(trial.load.workers.len(), max);
        // Once nothing is asked any more there are as many as are kept in the end, and it looks no more.
        while trial.load.waiting > 0 || trial.load.workers.iter().any(|worker| worker.in_flight > 0) {
            trial.happen(&Happens::Answer(1_000_000));
        }
        for _ in 0..100 {
            let Some(look) = trial.look else { break };
            trial.now = look;
            trial.decide();
        }
        prop_assert_eq!((trial.load.workers.len(), trial.look), (min, None));
    }
}
