//! What a scripted worker does with a request: the request's body says so.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One thing that a worker does. Where a step names no request, it means the one whose script it is in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Says in the page that it has begun.
    Begin,
    /// Says in the page that it runs on the main thread, until the script's end.
    Inline,
    /// Answers 200 with JSON: `worker` (its number) and `pid`, `bytes` of the request's body, `runs` (requests that it was given so far)
    /// and `held` (those that it holds).
    Answer,
    /// Answers this status, headers (JSON), and body.
    AnswerWith(u16, String, String),
    /// Answers 200 with so many bytes.
    AnswerBytes(usize),
    /// Sends the beginning of an answer, which [`Step::Release`] ends with one more chunk, `end`.
    AnswerHalf,
    /// Leaves it unanswered until [`Step::Release`], or until it is told to stop it.
    Hold,
    /// Answers all requests that are held; those that came first, first.
    Release,
    /// Is held up until the caller of this request leaves: other orders wait.
    Stall,
    /// Begins nothing else until so many others have come behind it, or its caller leaves.
    Followed(usize),
    /// Obeys neither CANCEL nor DRAIN from now on.
    Disobey,
    /// Sends a frame of any kind, of this request plus so much.
    Frame(u8, u32, Vec<u8>),
    /// Sends bytes as they are.
    Bytes(Vec<u8>),
    /// Writes a line to standard output, through the descriptor.
    Print(String),
    /// Neither reads nor writes any more.
    Hang,
    /// Ends by SIGKILL.
    Die,
}

/// What the first worker of a zygote does with a request, what the second does, and so on; the last is for all others too.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Script(pub Vec<Vec<Step>>);

impl Script {
    /// What the worker of this number does, from 1.
    pub fn of(&self, worker: usize) -> &[Step] {
        let index = worker.min(self.0.len());
        index.checked_sub(1).map_or(&[], |index| &self.0[index])
    }

    /// The script as a request's body, padded with spaces to at least this length.
    pub fn body(&self, length: usize) -> Bytes {
        let mut body = serde_json::to_vec(self).expect("steps can be written");
        body.resize(body.len().max(length), b' ');
        body.into()
    }
}

/// A request's body: what the first worker does with it, then what the others do.
pub fn steps<const WORKERS: usize>(scripts: [&[Step]; WORKERS]) -> Bytes {
    Script(scripts.map(<[Step]>::to_vec).into()).body(0)
}
