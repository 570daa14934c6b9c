use std::time::Duration;

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);

fn policy() -> Policy {
    Policy { attempts: 3, ttl: Duration::from_secs(3600), ..Policy::default() }
}

fn life(state: State) -> Life {
    let began = Life::begin(&policy(), NOW);
    let (attempt, due) = match state {
        State::Ready => (0, NOW),
        State::Delayed => (0, NOW),
        State::Leased | State::Completed | State::Failed | State::Cancelled | State::TimedOut => (4, NOW),
    };
    Life { state, attempt, due, ..began }
}

/// What is written into `docs/queue.md`: a state and whether an attempt is stopped, or why it does not happen.
fn cell(state: State, event: Event, now: Timestamp) -> String {
    match step(&life(state), &policy(), event, now, 0) {
        Ok(done) => format!("{:?}{}", done.life.state, if done.stop.is_some() { ", stop" } else { "" }),
        Err(Refused::Stale) => "stale".into(),
        Err(Refused::Ended) => "ended".into(),
        Err(Refused::NotFailed) => "not failed".into(),
        Err(Refused::NotYet) => "not yet".into(),
    }
}

/// Each event in each state. `Leased` is under attempt 4; what is in time to expire is looked at once its time to live is over.
fn table() -> String {
    let over = NOW + Duration::from_secs(3600);
    let events = [
        ("Due", Event::Due, NOW),
        ("Lease", Event::Lease, NOW),
        ("Completed (4)", Event::Completed(4), NOW),
        ("Completed (3)", Event::Completed(3), NOW),
        ("Raised", Event::Raised(4), NOW),
        ("Refused", Event::Refused(4), NOW),
        ("Lost", Event::Lost(4), NOW),
        ("Returned", Event::Returned(4), NOW),
        ("OutOfTime", Event::OutOfTime(4), NOW),
        ("Void", Event::Void, NOW),
        ("Cancel", Event::Cancel, NOW),
        ("Purge", Event::Purge, NOW),
        ("Expire, too early", Event::Expire, NOW),
        ("Expire", Event::Expire, over),
        ("Retry", Event::Retry, NOW),
    ];
    let mut table = String::from("| | ");
    table += &State::ALL.map(|state| format!("{state:?}")).join(" | ");
    table += &format!(" |\n|{}\n", "---|".repeat(State::ALL.len() + 1));
    for (name, event, now) in events {
        let cells = State::ALL.map(|state| cell(state, event, now));
        table += &format!("| {name} | {} |\n", cells.join(" | "));
    }
    table
}

#[test]
fn every_event_in_every_state_does_what_the_page_on_the_queue_says() {
    let page = include_str!("../../../../docs/queue.md");
    let table = table();
    assert!(page.contains(&table), "docs/queue.md lacks this table:\n{table}");
}

#[test]
fn attempts_of_a_job_are_numbered_without_an_end() {
    let mut life = Life::begin(&policy(), NOW);
    for number in 1..50 {
        life = step(&life, &policy(), Event::Lease, NOW, 0).unwrap().life;
        assert_eq!(life.attempt, number);
        let event = if number % 2 == 0 { Event::Void } else { Event::Returned(number) };
        life = step(&life, &policy(), event, NOW, 0).unwrap().life;
    }
    assert_eq!((life.failures, life.raised, life.losses), (24, 0, 0));
}

/// A job whose attempts end like that one after another, each as soon as it may begin: the states after each, and when it is over.
fn run(policy: &Policy, end: impl Fn(u32) -> Event) -> (Vec<State>, Duration) {
    let (mut life, mut now, mut states) = (Life::begin(policy, NOW), NOW, Vec::new());
    while !life.state.has_ended() {
        if life.state == State::Delayed {
            now = life.due;
            life = step(&life, policy, Event::Due, now, 0).unwrap().life;
        }
        life = step(&life, policy, Event::Lease, now, 0).unwrap().life;
        let done = step(&life, policy, end(life.attempt), now, 0).unwrap();
        assert_eq!(done.noted, Some(Noted { attempt: life.attempt, again: !done.life.state.has_ended() }));
        life = done.life;
        states.push(life.state);
    }
    (states, now.since(NOW))
}

#[test]
fn what_raises_is_tried_as_often_as_its_policy_says_with_growing_waits() {
    let (states, took) = run(&policy(), Event::Raised);
    assert_eq!(states, [State::Delayed, State::Delayed, State::Failed]);
    assert_eq!(took, Duration::from_secs(1 + 2));
    let once = Policy { attempts: 1, ..policy() };
    assert_eq!(run(&once, Event::Raised).0, [State::Failed]);
}

#[test]
fn what_kills_its_workers_is_tried_ten_times_whatever_its_policy_says() {
    let policy = Policy { attempts: 1, ..policy() };
    let (states, _) = run(&policy, Event::Lost);
    assert_eq!(states.len(), 10);
    assert_eq!(states.last(), Some(&State::Failed));
}

#[test]
fn losses_do_not_use_up_the_attempts_of_a_function_that_raises() {
    let (states, _) = run(&policy(), |attempt| if attempt <= 5 { Event::Lost(attempt) } else { Event::Raised(attempt) });
    assert_eq!(states.len(), 5 + 3);
}

#[test]
fn a_try_that_would_come_after_the_time_to_live_is_not_waited_for() {
    let short = Policy { ttl: Duration::from_secs(3), ..policy() };
    let (states, took) = run(&short, Event::Raised);
    assert_eq!((states, took), (vec![State::Delayed, State::Failed], Duration::from_secs(1)));
}

#[test]
fn a_delayed_job_is_not_due_before_its_time() {
    let policy = Policy { delay: Duration::from_secs(5), ..policy() };
    let life = Life::begin(&policy, NOW);
    assert_eq!(life.state, State::Delayed);
    assert_eq!(step(&life, &policy, Event::Lease, NOW, 0), Err(Refused::NotYet));
    assert_eq!(step(&life, &policy, Event::Due, NOW + Duration::from_millis(4999), 0), Err(Refused::NotYet));
    assert_eq!(step(&life, &policy, Event::Due, NOW + Duration::from_secs(5), 0).unwrap().life.state, State::Ready);
}

#[test]
fn a_job_that_is_sent_again_has_all_its_attempts_and_its_whole_time_again() {
    let failed = Life { raised: 3, losses: 2, failures: 5, ..life(State::Failed) };
    let later = NOW + Duration::from_secs(7200);
    let again = step(&failed, &policy(), Event::Retry, later, 0).unwrap().life;
    let expected = Life { attempt: 4, ..Life::begin(&policy(), later) };
    assert_eq!(again, expected);
}

#[test]
fn retries_are_the_failures_before_the_last_attempt() {
    let of = |state, failures| Life { failures, ..life(state) }.retries();
    assert_eq!((of(State::Completed, 2), of(State::Leased, 2), of(State::Failed, 3), of(State::Failed, 0)), (2, 2, 2, 0));
}
