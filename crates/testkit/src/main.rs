//! A worker that does with each request what the request's body says, good or bad ([`Step`]): for tests of the host.
//!
//! `config.start` is a script as well: for what it does before it is ready.

use std::collections::VecDeque;
use std::io;
use std::process::ExitCode;

use bytes::Bytes;
use flash_testkit::{Order, Request, Script, Step, Worker};
use flash_wire::{DROPPED, Kind};
use rustix::process::{Signal, getpid, kill_process};

fn main() -> ExitCode {
    flash_testkit::run(|worker| Scripted::new(worker).run())
}

struct Scripted {
    worker: Worker,
    held: Vec<Held>,
    /// What came while it was held up.
    waiting: VecDeque<Order>,
    obedient: bool,
    /// How many requests it was given whole.
    runs: usize,
}

/// A request that is not answered yet.
enum Held {
    Whole(Request),
    /// Its answer was begun.
    Half(u32),
}

impl Scripted {
    fn new(worker: Worker) -> Self {
        Self { worker, held: Vec::new(), waiting: VecDeque::new(), obedient: true, runs: 0 }
    }

    fn run(mut self) -> io::Result<()> {
        let start = serde_json::from_value::<Option<Script>>(self.worker.config["start"].clone())?.unwrap_or_default();
        let nothing = Request { number: 0, route: None, head: Bytes::new(), body: Bytes::new() };
        self.play(nothing, start.of(self.worker.number))?;
        self.worker.ready();
        loop {
            let order = match self.waiting.pop_front() {
                Some(order) => order,
                None => self.worker.next_order()?,
            };
            match order {
                Order::Run(request) => {
                    if self.worker.is_revoked(request.number)? {
                        self.worker.answer(request.number, DROPPED, "", &Bytes::new());
                        continue;
                    }
                    // What follows is padding, which may be long.
                    let script = serde_json::Deserializer::from_slice(&request.body).into_iter::<Script>().next();
                    let script = script.ok_or(io::ErrorKind::UnexpectedEof)??;
                    self.runs += 1;
                    self.play(request, script.of(self.worker.number))?;
                    self.worker.inline(0)?;
                }
                Order::Cancel { .. } | Order::Drain if !self.obedient => {}
                Order::Cancel { request, .. } => {
                    let held = |held: &Held| matches!(held, Held::Whole(held) if held.number == request);
                    if let Some(index) = self.held.iter().position(held) {
                        self.held.remove(index);
                        self.worker.answer(request, DROPPED, "", &Bytes::new());
                    }
                }
                Order::Drain => {
                    println!("drained");
                    return self.worker.flush();
                }
            }
        }
    }

    /// Carries out a script, but for what is not the request's own to end.
    fn play(&mut self, request: Request, script: &[Step]) -> io::Result<()> {
        let (number, worker) = (request.number, &mut self.worker);
        for step in script {
            match step {
                Step::Begin => worker.begin(number)?,
                Step::Inline => worker.inline(number)?,
                Step::Answer => answer(worker, &request, self.runs, self.held.len()),
                Step::AnswerWith(status, head, body) => worker.answer(number, *status, head, &Bytes::from(body.clone())),
                Step::AnswerBytes(count) => worker.answer(number, 200, "", &vec![b'x'; *count].into()),
                Step::AnswerHalf => {
                    worker.begin_answer(number, 200, "", b"half, ", true);
                    self.held.push(Held::Half(number));
                }
                Step::Hold => {
                    self.held.push(Held::Whole(request));
                    return Ok(());
                }
                Step::Release => {
                    for held in std::mem::take(&mut self.held) {
                        match held {
                            Held::Whole(request) => answer(worker, &request, self.runs, 0),
                            Held::Half(number) => frame(worker, Kind::Chunk as u8, number, b"\0and the rest"),
                        }
                    }
                }
                Step::Stall => loop {
                    match worker.next_order()? {
                        Order::Cancel { request, .. } if request == number => break,
                        other => self.waiting.push_back(other),
                    }
                },
                Step::Followed(count) => {
                    while self.waiting.len() < *count {
                        match worker.next_order()? {
                            Order::Cancel { request, .. } if request == number => break,
                            other => self.waiting.push_back(other),
                        }
                    }
                }
                Step::Disobey => self.obedient = false,
                Step::Frame(kind, further, payload) => frame(worker, *kind, number + further, payload),
                Step::Bytes(bytes) => worker.say(bytes),
                Step::Print(line) => println!("{line}"),
                Step::Hang => {
                    worker.flush()?;
                    loop {
                        std::thread::park();
                    }
                }
                Step::Die => {
                    worker.flush()?;
                    kill_process(getpid(), Signal::KILL)?;
                }
            }
        }
        Ok(())
    }
}

/// Says who it is, and what it knows of the request.
fn answer(worker: &mut Worker, request: &Request, runs: usize, held: usize) {
    let (number, pid, bytes) = (worker.number, std::process::id(), request.body.len());
    let answer = serde_json::json!({ "worker": number, "pid": pid, "bytes": bytes, "runs": runs, "held": held });
    worker.answer(request.number, 200, "", &answer.to_string().into());
}

/// A frame by hand: the kind may be none.
fn frame(worker: &mut Worker, kind: u8, request: u32, payload: &[u8]) {
    worker.say(&(payload.len() as u32).to_le_bytes());
    worker.say(&[kind]);
    worker.say(&request.to_le_bytes());
    worker.say(payload);
}
