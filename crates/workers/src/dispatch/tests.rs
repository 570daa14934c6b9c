use super::*;
use flash_wire::{Decoder, Frame};

const FIRST: WorkerId = WorkerId(1);
const SECOND: WorkerId = WorkerId(2);
const PID: u32 = 4711;

impl Answered for &'static str {
    fn given(&mut self, _: WorkerId, _: u32) {}

    fn tag(&self) -> Option<u64> {
        self.parse().ok()
    }

    fn begun(&mut self) {}
}

/// A dispatcher whose replies are names of requests, and the frames its workers were sent.
struct Trial {
    dispatcher: Dispatcher<&'static str>,
    start: Instant,
    tickets: Vec<(&'static str, Ticket)>,
    cancel: Cancel,
}

impl Trial {
    fn new(slots: usize, waiting: usize) -> Self {
        let limits = Limits { slots, ahead: 0, waiting, grace: Duration::from_secs(5) };
        Self { dispatcher: Dispatcher::new(limits), start: Instant::now(), tickets: Vec::new(), cancel: Cancel::UnlessBegun }
    }

    /// As [`Self::new`], with these workers there.
    fn with(slots: usize, waiting: usize, workers: &[WorkerId]) -> Self {
        let mut trial = Self::new(slots, waiting);
        for worker in workers {
            trial.dispatcher.joined(*worker, PID, None);
        }
        trial
    }

    /// Submits a request that has 30 s.
    fn submit(&mut self, name: &'static str) -> Option<WorkerId> {
        self.submit_body(name, Bytes::new())
    }

    fn submit_body(&mut self, name: &'static str, body: Bytes) -> Option<WorkerId> {
        let work = Work::Route(0, RequestHead::default());
        let deadline = Deadline::At(self.start + Duration::from_secs(30));
        let errand = Errand { work, body, deadline, cancel: self.cancel };
        match self.dispatcher.submit(errand, name) {
            Submitted::Sent(ticket, worker) => {
                self.tickets.push((name, ticket));
                Some(worker)
            }
            Submitted::Waiting(ticket) => {
                self.tickets.push((name, ticket));
                None
            }
            Submitted::Refused(name) => panic!("{name} was refused"),
        }
    }

    fn ticket(&self, name: &str) -> Ticket {
        self.tickets.iter().find(|(other, _)| *other == name).expect("it was submitted").1
    }

    /// What the worker gets now: kinds and numbers of requests.
    fn sent(&mut self, worker: WorkerId) -> Vec<(Kind, u32)> {
        self.frames(worker).into_iter().map(|frame| (frame.kind, frame.request)).collect()
    }

    fn frames(&mut self, worker: WorkerId) -> Vec<Frame> {
        let mut decoder = Decoder::default();
        loop {
            let mut out = BytesMut::new();
            self.dispatcher.take_output(worker, &mut out);
            if out.is_empty() {
                break;
            }
            decoder.buffer().extend_from_slice(&out);
        }
        std::iter::from_fn(|| decoder.next_frame().expect("we speak our own protocol")).collect()
    }

    fn answer(&mut self, worker: WorkerId, request: u32) -> Option<&'static str> {
        let head = AnswerHead { status: 200, headers: Bytes::new(), body: Bytes::from_static(b"1"), more: false };
        self.dispatcher.answered(worker, request, head).expect("it has that request").map(|(name, _)| name)
    }

    fn sweep_after(&mut self, seconds: u64) -> Swept<&'static str> {
        self.dispatcher.sweep(self.start + Duration::from_secs(seconds))
    }
}

#[test]
fn a_request_goes_to_the_worker_with_the_fewest_and_of_equals_to_the_oldest() {
    let mut trial = Trial::with(8, 8, &[FIRST, SECOND]);
    assert_eq!(trial.submit("a"), Some(FIRST));
    assert_eq!(trial.submit("b"), Some(SECOND));
    assert_eq!(trial.submit("c"), Some(FIRST));
    let b = trial.sent(SECOND)[0].1;
    assert_eq!(trial.answer(SECOND, b), Some("b"));
    assert_eq!(trial.submit("d"), Some(SECOND));
}

#[test]
fn requests_beyond_the_slots_wait_in_their_order_and_beyond_that_are_refused() {
    let mut trial = Trial::with(1, 2, &[FIRST]);
    assert_eq!(trial.submit("a"), Some(FIRST));
    assert_eq!((trial.submit("b"), trial.submit("c")), (None, None));
    let work = Work::Call;
    let errand = Errand { work, body: Bytes::new(), deadline: Deadline::At(trial.start), cancel: Cancel::UnlessBegun };
    assert!(matches!(trial.dispatcher.submit(errand, "d"), Submitted::Refused("d")));
    for expected in ["a", "b", "c"] {
        let request = trial.sent(FIRST)[0].1;
        assert_eq!(trial.answer(FIRST, request), Some(expected));
        trial.dispatcher.pump();
    }
    assert_eq!(trial.dispatcher.pending(), 0);
}

#[test]
fn what_waits_goes_to_the_first_worker_that_joins_after_its_context() {
    let mut trial = Trial::new(4, 4);
    assert_eq!(trial.submit("a"), None);
    assert!(trial.dispatcher.joined(FIRST, PID, Some(b"{}")));
    let kinds: Vec<Kind> = trial.sent(FIRST).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [Kind::Context, Kind::Request]);
}

#[test]
fn of_a_lost_worker_s_requests_the_begun_are_lost_and_the_others_go_on_elsewhere_in_order() {
    let mut trial = Trial::with(4, 4, &[FIRST]);
    for name in ["a", "b", "c"] {
        trial.submit(name);
    }
    let requests = trial.sent(FIRST);
    trial.submit("d");
    trial.dispatcher.joined(SECOND, PID, None);
    let (lost, told) = trial.dispatcher.lost(FIRST, |request| request == requests[1].1);
    assert_eq!((lost, told), (vec!["b"], vec![SECOND]));
    for expected in ["a", "c", "d"] {
        let at = trial.sent(SECOND);
        assert!(!at.is_empty() || expected != "a", "all three were sent");
        for (_, request) in at {
            trial.answer(SECOND, request);
        }
    }
    assert_eq!(trial.dispatcher.pending(), 0);
}

#[test]
fn a_late_answer_to_a_slot_s_former_request_is_not_taken_for_the_present_one_s() {
    let mut trial = Trial::with(1, 1, &[FIRST]);
    trial.submit("a");
    let a = trial.sent(FIRST)[0].1;
    trial.answer(FIRST, a);
    trial.submit("b");
    let b = trial.sent(FIRST)[0].1;
    assert_ne!(a, b);
    let head = AnswerHead { status: 200, headers: Bytes::new(), body: Bytes::new(), more: false };
    assert_eq!(trial.dispatcher.answered(FIRST, a, head), Err(Unexpected { request: a }));
    assert_eq!(trial.answer(FIRST, b), Some("b"));
}

#[test]
fn an_abandoned_request_keeps_its_slot_until_the_worker_says_so_and_its_answer_goes_nowhere() {
    let mut trial = Trial::with(1, 1, &[FIRST]);
    trial.submit("a");
    let a = trial.sent(FIRST)[0].1;
    assert_eq!(trial.dispatcher.abandoned(trial.ticket("a")), Some(FIRST));
    assert_eq!(trial.sent(FIRST), [(Kind::Cancel, a)]);
    assert_eq!(trial.submit("b"), None);
    assert_eq!(trial.answer(FIRST, a), None);
    assert_eq!(trial.dispatcher.pump(), [FIRST]);
}

#[test]
fn an_abandoned_request_is_stopped_where_it_is_to_be() {
    for cancel in [Cancel::UnlessBegun, Cancel::Anyway] {
        let mut trial = Trial { cancel, ..Trial::with(1, 1, &[FIRST]) };
        trial.submit("a");
        trial.frames(FIRST);
        trial.dispatcher.abandoned(trial.ticket("a"));
        let payloads: Vec<_> = trial.frames(FIRST).into_iter().map(|frame| frame.payload.to_vec()).collect();
        assert_eq!(payloads, [[cancel as u8]]);
    }
}

#[test]
fn an_abandoned_request_that_waits_is_forgotten() {
    let mut trial = Trial::new(1, 1);
    trial.submit("a");
    assert_eq!(trial.dispatcher.abandoned(trial.ticket("a")), None);
    assert_eq!(trial.dispatcher.pending(), 0);
}

#[test]
fn a_stalled_worker_gets_nothing_new_until_it_answers() {
    let mut trial = Trial::with(4, 4, &[FIRST]);
    trial.submit("a");
    let a = trial.sent(FIRST)[0].1;
    trial.dispatcher.stalled(FIRST, true);
    assert_eq!(trial.submit("b"), None);
    trial.answer(FIRST, a);
    assert_eq!(trial.dispatcher.pump(), [FIRST]);
}

#[test]
fn a_stalled_worker_that_goes_on_by_itself_is_told_what_waits() {
    let mut trial = Trial::with(4, 4, &[FIRST]);
    trial.submit("a");
    trial.dispatcher.stalled(FIRST, true);
    trial.submit("b");
    assert_eq!(trial.dispatcher.stalled(FIRST, false), [FIRST]);
}

#[test]
fn past_its_deadline_a_request_expires_and_the_worker_is_told_to_stop_it() {
    let mut trial = Trial::with(1, 1, &[FIRST]);
    trial.submit("a");
    let a = trial.sent(FIRST)[0].1;
    trial.submit("waits");
    let swept = trial.sweep_after(29);
    assert!(swept.expired.is_empty() && swept.stuck.is_empty());
    let swept = trial.sweep_after(30);
    assert_eq!((swept.expired, swept.unserved, swept.told, swept.stuck), (vec!["a"], vec!["waits"], vec![FIRST], vec![]));
    assert_eq!(trial.sent(FIRST), [(Kind::Cancel, a)]);
    assert!(trial.sweep_after(31).expired.is_empty(), "only once");
}

#[test]
fn a_worker_that_goes_on_past_the_grace_is_replaced_once_its_other_requests_are_done() {
    let mut trial = Trial::with(2, 2, &[FIRST]);
    trial.submit("stuck");
    trial.start += Duration::from_secs(8); // the other came later
    trial.submit("other");
    trial.start -= Duration::from_secs(8);
    let other = trial.sent(FIRST)[1].1;
    trial.sweep_after(30);
    assert_eq!(trial.sweep_after(36).stuck, [], "the other one has time left");
    assert_eq!(trial.submit("late"), None, "it gets nothing new");
    trial.answer(FIRST, other);
    assert_eq!(trial.sweep_after(37).stuck, [FIRST]);
}

#[test]
fn a_worker_that_answers_past_the_grace_after_all_gets_requests_again() {
    let mut trial = Trial::with(2, 2, &[FIRST]);
    trial.submit("slow");
    let slow = trial.sent(FIRST)[0].1;
    trial.sweep_after(30);
    trial.sweep_after(36);
    assert_eq!(trial.submit("late"), None, "it gets nothing new until then");
    trial.answer(FIRST, slow);
    assert_eq!(trial.dispatcher.pump(), [FIRST]);
}

#[test]
fn a_second_grace_is_the_last() {
    let mut trial = Trial::with(2, 2, &[FIRST]);
    trial.submit("stuck");
    trial.start += Duration::from_secs(60);
    trial.submit("other");
    trial.start -= Duration::from_secs(60);
    trial.sweep_after(30);
    assert_eq!(trial.sweep_after(41).stuck, [FIRST]);
}

#[test]
fn large_bodies_go_in_chunks_and_small_requests_pass_between_them() {
    let mut trial = Trial::with(4, 4, &[FIRST]);
    trial.submit_body("large", Bytes::from(vec![b'x'; 600 * 1024]));
    let mut first = BytesMut::new();
    trial.dispatcher.take_output(FIRST, &mut first);
    trial.submit("small");
    let mut decoder = Decoder::default();
    decoder.buffer().extend_from_slice(&first);
    let mut kinds = Vec::new();
    loop {
        while let Some(frame) = decoder.next_frame().expect("we speak our own protocol") {
            kinds.push((frame.kind, frame.request & 0xFFFF));
        }
        let mut out = BytesMut::new();
        trial.dispatcher.take_output(FIRST, &mut out);
        if out.is_empty() {
            break;
        }
        decoder.buffer().extend_from_slice(&out);
    }
    assert_eq!(kinds, [(Kind::Request, 0), (Kind::Request, 1), (Kind::Chunk, 0), (Kind::Chunk, 0)]);
}

#[test]
fn an_answer_in_pieces_is_put_together() {
    let mut trial = Trial::with(1, 1, &[FIRST]);
    trial.submit("a");
    let a = trial.sent(FIRST)[0].1;
    let head = AnswerHead { status: 201, headers: Bytes::new(), body: Bytes::from_static(b"one "), more: true };
    assert_eq!(trial.dispatcher.answered(FIRST, a, head), Ok(None));
    assert_eq!(trial.dispatcher.continued(FIRST, a, true, b"two "), Ok(None));
    let (name, answer) = trial.dispatcher.continued(FIRST, a, false, b"three").expect("it is there").expect("it is whole");
    assert_eq!((name, answer.status, &answer.body[..]), ("a", 201, &b"one two three"[..]));
}

#[test]
fn a_piece_of_an_answer_that_was_not_begun_is_refused() {
    let mut trial = Trial::with(1, 1, &[FIRST]);
    trial.submit("a");
    let a = trial.sent(FIRST)[0].1;
    assert_eq!(trial.dispatcher.continued(FIRST, a, false, b"x"), Err(Unexpected { request: a }));
}

#[test]
fn a_retired_worker_gets_nothing_more_whatever_it_answers() {
    let mut trial = Trial::with(8, 8, &[FIRST, SECOND]);
    assert_eq!(trial.submit("a"), Some(FIRST));
    trial.dispatcher.retire(FIRST);
    assert_eq!(trial.submit("b"), Some(SECOND));
    let a = trial.sent(FIRST)[0].1;
    assert_eq!(trial.answer(FIRST, a), Some("a"), "what it has is finished");
    assert_eq!((trial.submit("c"), trial.submit("d")), (Some(SECOND), Some(SECOND)));
    assert_eq!(trial.dispatcher.load().map(|worker| worker.id).collect::<Vec<_>>(), [SECOND.0]);
    trial.dispatcher.retire(SECOND);
    assert_eq!(trial.submit("e"), None, "it waits for a worker that is to come");
}

#[test]
fn pressure_is_when_the_worker_with_the_fewest_has_more_than_the_bound() {
    let mut trial = Trial::with(8, 8, &[FIRST, SECOND]);
    assert!(trial.submit("a").is_some() && trial.submit("b").is_some() && trial.submit("c").is_some());
    assert!(!trial.dispatcher.is_pressed(), "there is no bound");
    trial.dispatcher.tell_pressure(2);
    assert!(trial.submit("d").is_some() && !trial.dispatcher.is_pressed(), "both have two");
    assert!(trial.submit("e").is_some() && trial.dispatcher.is_pressed());
    trial.dispatcher.tell_pressure(2);
    assert!(!trial.dispatcher.is_pressed(), "it is told of what comes");
}

#[test]
fn what_a_worker_has_and_has_answered_is_seen() {
    let mut trial = Trial::with(8, 8, &[FIRST]);
    assert!(trial.submit("a").is_some() && trial.submit("b").is_some());
    let a = trial.sent(FIRST)[0].1;
    trial.answer(FIRST, a);
    let seen: Vec<_> = trial.dispatcher.load().collect();
    assert_eq!(seen, [flash_autoscale::Worker { id: FIRST.0, in_flight: 1, answered: 1, open: true }]);
    trial.dispatcher.stalled(FIRST, true);
    assert!(trial.dispatcher.load().all(|worker| !worker.open));
}

#[test]
fn those_are_given_up_whose_deadline_comes_before_there_can_be_a_worker() {
    let mut trial = Trial::new(1, 8);
    for (name, seconds) in [("short", 1), ("long", 60), ("shorter", 0)] {
        let deadline = trial.start + Duration::from_secs(seconds);
        let errand = Errand { work: Work::Call, body: Bytes::new(), deadline: Deadline::At(deadline), cancel: Cancel::UnlessBegun };
        assert!(matches!(trial.dispatcher.submit(errand, name), Submitted::Waiting(_)));
    }
    let next_try = trial.start + Duration::from_secs(2);
    assert_eq!(trial.dispatcher.give_up_waiting(Some(next_try)), ["short", "shorter"]);
    assert_eq!(trial.dispatcher.give_up_waiting(None), ["long"]);
}

/// What the page says of a worker that has begun nothing.
fn none_begun(_: u32) -> bool {
    false
}

impl Trial {
    /// The worker has not answered a PING for long.
    fn silence(&mut self, worker: WorkerId) {
        self.dispatcher.ping(worker);
        self.dispatcher.silent(worker);
    }

    fn send_back(&mut self, worker: WorkerId, request: u32) -> Option<&'static str> {
        let head = AnswerHead { status: wire::DROPPED, headers: Bytes::new(), body: Bytes::new(), more: false };
        self.dispatcher.answered(worker, request, head).expect("it has that request").map(|(name, _)| name)
    }
}

#[test]
fn a_silent_worker_gets_nothing_until_it_answers() {
    let mut trial = Trial::with(8, 8, &[FIRST]);
    assert!(trial.dispatcher.heard(FIRST).is_err());
    trial.silence(FIRST);
    assert_eq!(trial.submit("a"), None);
    trial.dispatcher.heard(FIRST).expect("it was asked");
    assert_eq!(trial.dispatcher.pump(), [FIRST]);
    let sent = trial.sent(FIRST);
    assert_eq!(sent.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [Kind::Ping, Kind::Request]);
    // An answer is no sign: a thread may have sent it.
    trial.silence(FIRST);
    assert_eq!(trial.answer(FIRST, sent[1].1), Some("a"));
    assert_eq!(trial.submit("b"), None);
}

#[test]
fn what_a_silent_worker_has_not_begun_goes_to_another_and_what_it_has_stays() {
    let mut trial = Trial::with(8, 8, &[FIRST]);
    for name in ["begun", "one", "begins", "two"] {
        trial.submit(name);
    }
    let [begun, one, begins, two] = trial.sent(FIRST).iter().map(|(_, request)| *request).collect::<Vec<_>>()[..] else { panic!("four") };
    trial.silence(FIRST);
    assert_eq!(trial.dispatcher.revoke(FIRST, |request| request == begun), [one, begins, two]);
    assert_eq!(trial.dispatcher.revoke(FIRST, |request| request == begun), [0; 0], "they know it already");
    trial.submit("later");
    trial.dispatcher.joined(SECOND, PID, None);
    trial.sent(SECOND);
    assert_eq!(trial.dispatcher.take_back(FIRST, |request| [begun, begins].contains(&request), Duration::ZERO), (2, vec![SECOND]));
    let sent: Vec<u32> = trial.sent(SECOND).into_iter().map(|(_, request)| request).collect();
    assert_eq!(sent.iter().map(|request| trial.answer(SECOND, *request)).collect::<Vec<_>>(), [Some("one"), Some("two")]);
    // The first one's slots: it frees those that were taken back, and goes on with what it has begun.
    assert_eq!((trial.dispatcher.in_flight(), trial.send_back(FIRST, one), trial.send_back(FIRST, two)), (2 + 1, None, None));
    assert_eq!((trial.answer(FIRST, begins), trial.answer(FIRST, begun)), (Some("begins"), Some("begun")));
    assert_eq!(trial.dispatcher.in_flight(), 1);
}

#[test]
fn a_request_that_the_worker_sends_back_goes_to_another() {
    let mut trial = Trial::with(8, 8, &[FIRST]);
    trial.submit("a");
    trial.submit("b");
    let [a, b] = trial.sent(FIRST).iter().map(|(_, request)| *request).collect::<Vec<_>>()[..] else { panic!("two") };
    trial.silence(FIRST);
    assert_eq!(trial.dispatcher.revoke(FIRST, |request| request == a), [b]);
    // It has said that it begins `b`, and seen then that it must not.
    assert_eq!(trial.dispatcher.take_back(FIRST, |_| true, Duration::ZERO), (0, vec![]));
    assert_eq!(trial.send_back(FIRST, b), None);
    assert_eq!((trial.dispatcher.waiting(), trial.dispatcher.in_flight()), (1, 1));
    trial.dispatcher.heard(FIRST).expect("it was asked");
    trial.dispatcher.pump();
    let (_, again) = trial.sent(FIRST)[1];
    assert_eq!(trial.answer(FIRST, again), Some("b"));
    // Nobody has revoked this one: it is an answer like any other.
    assert_eq!(trial.send_back(FIRST, a), Some("a"));
}

#[test]
fn what_a_page_revokes_is_no_other_requests_number_however_many_come_after() {
    let mut trial = Trial::with(1, 8, &[FIRST]);
    trial.submit("revoked");
    let (_, revoked) = trial.sent(FIRST)[0];
    trial.silence(FIRST);
    assert_eq!(trial.dispatcher.revoke(FIRST, none_begun), [revoked]);
    assert_eq!(trial.dispatcher.take_back(FIRST, none_begun, Duration::ZERO).0, 1);
    trial.send_back(FIRST, revoked);
    trial.dispatcher.heard(FIRST).expect("it was asked");
    trial.dispatcher.pump();
    for _ in 0..2 * usize::from(u16::MAX) {
        let (_, request) = *trial.sent(FIRST).last().expect("it was sent");
        assert_ne!(request, revoked);
        trial.answer(FIRST, request);
        trial.submit("another");
    }
}

#[test]
fn the_time_that_a_request_lay_with_a_silent_worker_is_not_its_loss_but_not_for_ever() {
    let mut trial = Trial::with(8, 8, &[FIRST]);
    trial.submit("a");
    for moved in 1..=5 {
        trial.silence(FIRST);
        assert_eq!(trial.dispatcher.revoke(FIRST, none_begun).len(), 1);
        assert_eq!(trial.dispatcher.take_back(FIRST, none_begun, Duration::from_secs(10)).0, 1);
        assert!(trial.sweep_after(30 + 10 * moved - 1).expired.is_empty(), "moved {moved} times");
        trial.dispatcher.heard(FIRST).expect("it was asked");
        trial.dispatcher.pump();
    }
    trial.silence(FIRST);
    assert_eq!(trial.dispatcher.revoke(FIRST, none_begun), [0; 0]);
    assert_eq!(trial.sweep_after(80).expired, ["a"]);
}

#[test]
fn a_worker_that_was_given_up_is_spent_once_nothing_it_has_can_be_answered_in_time() {
    let mut trial = Trial::with(8, 8, &[FIRST]);
    trial.submit("first");
    trial.submit("second");
    let requests: Vec<u32> = trial.sent(FIRST).iter().map(|(_, request)| *request).collect();
    trial.dispatcher.give_up(FIRST);
    assert!(!trial.dispatcher.is_spent(FIRST));
    assert_eq!((trial.submit("third"), trial.dispatcher.load().count()), (None, 0));
    assert_eq!(trial.answer(FIRST, requests[0]), Some("first"));
    assert!(!trial.dispatcher.is_spent(FIRST));
    let swept = trial.sweep_after(30);
    assert_eq!((swept.expired, swept.unserved), (vec!["second"], vec!["third"]));
    assert!(trial.dispatcher.is_spent(FIRST));
    // Who gave it up ends it: no other rule does.
    assert!(trial.sweep_after(300).stuck.is_empty());
}

#[test]
fn a_caller_that_leaves_takes_its_request_along_wherever_that_has_gone() {
    let mut trial = Trial::with(8, 8, &[FIRST, SECOND]);
    trial.submit("a");
    trial.silence(FIRST);
    trial.dispatcher.revoke(FIRST, none_begun);
    assert_eq!(trial.dispatcher.take_back(FIRST, none_begun, Duration::ZERO), (1, vec![SECOND]));
    let ticket = trial.ticket("a");
    assert_eq!(trial.dispatcher.abandoned(ticket), Some(SECOND));
    assert_eq!(trial.sent(SECOND).iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [Kind::Request, Kind::Cancel]);
}

impl Trial {
    /// One job at a time, so many in line, on workers that take a millisecond for one, as the host has seen.
    fn quick(ahead: usize, workers: &[WorkerId]) -> Self {
        let limits = Limits { slots: 1, ahead, waiting: 99, grace: Duration::from_secs(5) };
        let mut trial = Self { dispatcher: Dispatcher::new(limits), ..Self::new(1, 1) };
        for worker in workers {
            trial.dispatcher.joined(*worker, PID, None);
            trial.pace(*worker, Duration::from_millis(1));
        }
        trial
    }

    /// The worker answers two jobs, the second so long after the first. Others wait meanwhile.
    fn pace(&mut self, worker: WorkerId, time: Duration) {
        let lane = self.dispatcher.lane(worker).expect("it is there");
        lane.pace = Pace::default();
        for _ in 0..3 {
            lane.answered += 1;
            lane.pace.note(lane.answered, true, self.start);
            self.start += time;
        }
        lane.pace.note(lane.answered, false, self.start);
    }

    /// Submits a job that has 30 s from when a worker has a slot for it.
    fn job(&mut self, name: &'static str) -> Option<WorkerId> {
        let deadline = Deadline::Running(Duration::from_secs(30));
        let errand = Errand { work: Work::Route(0, RequestHead::default()), body: Bytes::new(), deadline, cancel: Cancel::Anyway };
        let (ticket, worker) = match self.dispatcher.submit(errand, name) {
            Submitted::Sent(ticket, worker) => (ticket, Some(worker)),
            Submitted::Waiting(ticket) => (ticket, None),
            Submitted::Refused(name) => panic!("{name} was refused"),
        };
        self.tickets.push((name, ticket));
        worker
    }

    /// The numbers of the requests that the worker gets now.
    fn requests(&mut self, worker: WorkerId) -> Vec<u32> {
        self.sent(worker).into_iter().filter(|(kind, _)| *kind == Kind::Request).map(|(_, request)| request).collect()
    }

    /// What two looks find that are so far apart.
    fn is_held_up(&mut self, worker: WorkerId, apart: Duration) -> bool {
        self.dispatcher.is_held_up(worker, self.start);
        self.start += apart;
        self.dispatcher.is_held_up(worker, self.start)
    }
}

#[test]
fn short_requests_are_sent_ahead_as_far_as_they_are_known_to_be_short() {
    for (ahead, time, expected) in [
        (64, Duration::from_millis(1), 1 + 5),
        (64, Duration::from_micros(2500), 1 + 2),
        (64, Duration::from_millis(6), 1),
        (2, Duration::from_millis(1), 1 + 2),
        (64, Duration::from_micros(1), 1 + 64),
        (0, Duration::from_micros(1), 1),
    ] {
        let mut trial = Trial::quick(ahead, &[FIRST]);
        trial.pace(FIRST, time);
        let sent = (0..70).filter(|_| trial.job("a").is_some()).count();
        assert_eq!(sent, expected, "{ahead} {time:?}");
        assert_eq!((trial.dispatcher.in_flight(), trial.dispatcher.waiting()), (1, 69));
    }
    let mut trial = Trial::with(1, 9, &[FIRST]);
    trial.dispatcher.limits.ahead = 8;
    assert_eq!((trial.job("a"), trial.job("b")), (Some(FIRST), None), "nothing is known of this one");
}

#[test]
fn what_is_in_line_gets_its_slot_in_its_order_and_more_comes_behind_it() {
    let mut trial = Trial::quick(2, &[FIRST]);
    for name in ["a", "b", "c", "d"] {
        trial.job(name);
    }
    let mut sent = trial.requests(FIRST);
    assert_eq!(sent.len(), 3);
    for expected in ["a", "b", "c", "d"] {
        assert_eq!(trial.answer(FIRST, sent.remove(0)), Some(expected));
        trial.dispatcher.pump();
        sent.extend(trial.requests(FIRST));
    }
    assert_eq!(trial.dispatcher.pending(), 0);
    assert_eq!(trial.dispatcher.lanes[0].free.len(), 3);
}

#[test]
fn a_worker_with_a_slot_comes_before_a_line() {
    let mut trial = Trial::quick(4, &[FIRST, SECOND]);
    assert_eq!(["a", "b", "c", "d"].map(|name| trial.job(name)), [Some(FIRST), Some(SECOND), Some(FIRST), Some(SECOND)]);
}

#[test]
fn the_time_of_what_is_in_line_begins_with_its_slot() {
    let mut trial = Trial::quick(2, &[FIRST]);
    trial.job("a");
    trial.job("b");
    let [a, b] = trial.requests(FIRST)[..] else { panic!("two") };
    let start = trial.start;
    let seconds = Duration::from_secs;
    assert!(trial.dispatcher.sweep(start).expired.is_empty());
    assert!(trial.dispatcher.sweep(start + seconds(29)).expired.is_empty());
    assert_eq!(trial.answer(FIRST, a), Some("a"));
    assert!(trial.dispatcher.sweep(start + seconds(29)).expired.is_empty());
    assert!(trial.dispatcher.sweep(start + seconds(58)).expired.is_empty());
    assert_eq!(trial.dispatcher.sweep(start + seconds(59)).expired, ["b"]);
    assert_eq!(trial.sent(FIRST), [(Kind::Cancel, b)]);
}

#[test]
fn what_is_behind_something_long_is_taken_back_and_waits_for_a_slot() {
    let mut trial = Trial::quick(4, &[FIRST]);
    for name in ["long", "b", "c", "begins"] {
        trial.job(name);
    }
    let [long, b, c, begins] = trial.requests(FIRST)[..] else { panic!("four") };
    assert!(!trial.is_held_up(FIRST, Duration::from_millis(19)));
    assert!(trial.is_held_up(FIRST, Duration::from_millis(1)));
    assert_eq!(trial.dispatcher.revoke_line(FIRST, none_begun), [b, c, begins]);
    assert_eq!(trial.dispatcher.revoke_line(FIRST, none_begun), [0; 0], "it knows it already");
    assert_eq!(trial.dispatcher.take_back(FIRST, |request| [long, begins].contains(&request), Duration::ZERO), (2, vec![]));
    assert_eq!((trial.dispatcher.in_flight(), trial.dispatcher.waiting()), (1, 3));
    assert_eq!(trial.job("new"), None, "this worker is not quick any more, and nothing passes what waits");
    // It finds out once the long one is over.
    assert_eq!(trial.answer(FIRST, long), Some("long"));
    assert_eq!((trial.send_back(FIRST, b), trial.send_back(FIRST, c)), (None, None));
    assert_eq!(trial.answer(FIRST, begins), Some("begins"));
    trial.pace(FIRST, Duration::from_millis(1));
    trial.dispatcher.pump();
    let [b] = trial.requests(FIRST)[..] else { panic!("what was taken back is not sent ahead") };
    assert_eq!(trial.answer(FIRST, b), Some("b"));
    trial.dispatcher.pump();
    let [c, new] = trial.requests(FIRST)[..] else { panic!("two: the last was never taken back") };
    assert_eq!((trial.answer(FIRST, c), trial.answer(FIRST, new)), (Some("c"), Some("new")));
}

#[test]
fn answers_show_that_a_worker_is_not_held_up() {
    let mut trial = Trial::quick(4, &[FIRST]);
    trial.job("a");
    assert!(!trial.is_held_up(FIRST, Duration::from_secs(1)), "nothing is in line");
    for name in ["b", "c", "d"] {
        trial.job(name);
    }
    let sent = trial.requests(FIRST);
    for request in &sent[..2] {
        assert!(!trial.is_held_up(FIRST, Duration::from_millis(15)));
        trial.answer(FIRST, *request);
    }
    assert!(!trial.is_held_up(FIRST, Duration::from_millis(15)));
    assert!(trial.is_held_up(FIRST, Duration::from_millis(15)));
}

#[test]
fn a_worker_that_sends_back_what_was_in_line_frees_its_place_for_another() {
    let mut trial = Trial::quick(1, &[FIRST]);
    for name in ["a", "b", "c"] {
        trial.job(name);
    }
    let [a, b] = trial.requests(FIRST)[..] else { panic!("two") };
    assert!(trial.is_held_up(FIRST, Duration::from_millis(20)));
    assert_eq!(trial.dispatcher.revoke_line(FIRST, none_begun), [b]);
    assert_eq!(trial.answer(FIRST, a), Some("a"));
    assert_eq!(trial.send_back(FIRST, b), None);
    trial.dispatcher.pump();
    let [again] = trial.requests(FIRST)[..] else { panic!("one") };
    assert_eq!(trial.answer(FIRST, again), Some("b"), "it goes before `c`, as it came before");
}

#[test]
fn who_is_in_line_and_leaves_costs_nobody_anything() {
    let mut trial = Trial::quick(2, &[FIRST]);
    for name in ["a", "b", "c"] {
        trial.job(name);
    }
    let [a, b, c] = trial.requests(FIRST)[..] else { panic!("three") };
    let ticket = trial.ticket("b");
    assert_eq!(trial.dispatcher.abandoned(ticket), Some(FIRST));
    assert_eq!((trial.dispatcher.take_dropped(FIRST), trial.dispatcher.take_dropped(FIRST)), (vec![b], vec![]));
    assert_eq!(trial.sent(FIRST), [(Kind::Cancel, b)]);
    // Its time is over, and that of its grace: but it has none yet.
    for seconds in [0, 20] {
        let swept = trial.dispatcher.sweep(trial.start + Duration::from_secs(seconds));
        assert!(swept.stuck.is_empty() && swept.expired.is_empty(), "{seconds} {swept:?}");
    }
    assert_eq!(trial.send_back(FIRST, b), None);
    assert_eq!((trial.answer(FIRST, a), trial.answer(FIRST, c)), (Some("a"), Some("c")));
    assert_eq!((trial.dispatcher.pending(), trial.dispatcher.lanes[0].free.len()), (0, 3));
}

#[test]
fn a_worker_that_dies_loses_what_it_has_begun_and_what_was_in_line_has_not_killed_it() {
    let mut trial = Trial::quick(1, &[]);
    for worker in 1..=6 {
        let worker = WorkerId(worker);
        trial.dispatcher.joined(worker, PID, None);
        trial.pace(worker, Duration::from_millis(1));
        trial.job("kills");
        trial.dispatcher.pump();
        if worker == FIRST {
            trial.job("waits");
        }
        let requests = trial.requests(worker);
        assert_eq!(requests.len(), 2, "{worker:?}");
        // `waits` has its slot the second time: it goes before what came later.
        let (lost, _) = trial.dispatcher.lost(worker, |request| worker == FIRST && request == requests[0]);
        assert_eq!(
            lost,
            if worker == FIRST {
                vec!["kills"]
            } else if worker == WorkerId(6) {
                vec!["waits"]
            } else {
                vec![]
            }
        );
    }
}

#[test]
fn a_worker_says_by_what_it_does_that_something_in_line_has_its_slot() {
    let mut trial = Trial::quick(2, &[FIRST]);
    for name in ["a", "b", "c"] {
        trial.job(name);
    }
    let [_, b, c] = trial.requests(FIRST)[..] else { panic!("three") };
    // Its page may be read before its answers are.
    trial.dispatcher.begun(FIRST, |request| request == b);
    assert_eq!((trial.dispatcher.in_flight(), trial.dispatcher.waiting()), (2, 1));
    assert!(trial.dispatcher.yielded(FIRST, c).expect("it has that request").is_some());
    assert_eq!((trial.dispatcher.in_flight(), trial.dispatcher.waiting()), (3, 0));
}
