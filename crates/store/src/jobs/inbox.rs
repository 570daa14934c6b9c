//! What waits to be written: a lane for each endpoint, served in turn, so that one that is flooded slows nobody else.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use super::error::{Error, Result};
use super::rows::Rows;

/// So much is written with one commit. A larger batch would not spare much of what a sync costs, and would keep the first of it waiting.
const BATCH: usize = 512;
/// And so many bytes of payloads.
const BATCH_BYTES: usize = 4 << 20;
/// So much may wait in a lane, for its caller to be told that it was accepted.
const LANE: usize = 8192;
/// And so many bytes.
const LANE_BYTES: usize = 64 << 20;

/// One thing to be written, and somebody who waits for it.
pub(super) trait Work: Send {
    /// Writes it, as part of a transaction. It may be called again where the transaction did not come through.
    fn apply(&mut self, rows: &mut Rows<'_>) -> rusqlite::Result<()>;
    /// Tells who waits that it is on the disk, or that it is not.
    fn settle(self: Box<Self>, outcome: Result<()>);
}

/// Whose turn it is written in.
pub(super) enum Lane<'a> {
    /// What comes for an endpoint.
    Endpoint(&'a str),
    /// What workers have done.
    Leases,
    /// Everything else.
    Care,
}

/// What happens where the disk fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Its caller is told.
    Refuse,
    /// It is tried until it works: what a worker has done is not to be lost.
    Wait,
}

pub(super) struct Command {
    pub(super) work: Box<dyn Work>,
    pub(super) patience: Patience,
    /// What it holds of payloads.
    pub(super) bytes: usize,
    /// Where somebody waits for it.
    pub(super) runtime: Option<Handle>,
}

#[derive(Default)]
struct LaneState {
    waiting: VecDeque<Command>,
    bytes: usize,
}

#[derive(Default)]
struct Lanes {
    named: HashMap<String, usize>,
    lanes: Vec<LaneState>,
    /// Lanes in which something waits.
    turns: VecDeque<usize>,
    closed: bool,
    /// Whether the writer waits for something: to wake it when it does not is a system call for nothing.
    awaited: bool,
}

impl Lanes {
    fn batch(&mut self) -> Vec<Command> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let Some(index) = self.turns.pop_front() else { break };
            let lane = &mut self.lanes[index];
            let Some(command) = lane.waiting.pop_front() else { continue };
            lane.bytes -= command.bytes;
            bytes += command.bytes;
            batch.push(command);
            if !lane.waiting.is_empty() {
                self.turns.push_back(index);
            }
        }
        batch
    }
}

pub(super) struct Inbox {
    lanes: Mutex<Lanes>,
    wake: Condvar,
}

const LEASES: usize = 0;
const CARE: usize = 1;

impl Inbox {
    pub(super) fn new() -> Self {
        let lanes = Lanes { lanes: vec![LaneState::default(), LaneState::default()], ..Lanes::default() };
        Self { lanes: Mutex::new(lanes), wake: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        // Nothing in here panics between two states that fit each other.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it, unless its lane is full or the writer is gone. Who can wait is not refused for fullness: there are no more of them than workers.
    pub(super) fn push(&self, lane: Lane<'_>, command: Command) -> Result<()> {
        let mut lanes = self.lock();
        if lanes.closed {
            return Err(Error::Closed);
        }
        let index = match lane {
            Lane::Leases => LEASES,
            Lane::Care => CARE,
            Lane::Endpoint(name) => match lanes.named.get(name) {
                Some(index) => *index,
                None => {
                    let index = lanes.lanes.len();
                    lanes.named.insert(name.to_owned(), index);
                    lanes.lanes.push(LaneState::default());
                    index
                }
            },
        };
        let state = &mut lanes.lanes[index];
        if let Lane::Endpoint(name) = lane
            && command.bytes > 0
            && (state.waiting.len() >= LANE || state.bytes >= LANE_BYTES)
        {
            return Err(Error::Busy { endpoint: name.to_owned() });
        }
        state.bytes += command.bytes;
        state.waiting.push_back(command);
        if state.waiting.len() == 1 {
            lanes.turns.push_back(index);
        }
        let awaited = std::mem::take(&mut lanes.awaited);
        drop(lanes);
        if awaited {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// What is written next, from each lane in turn. Waits for something; `None` once it is closed and all of it is taken.
    pub(super) fn take(&self) -> Option<Vec<Command>> {
        let mut lanes = self.lock();
        while lanes.turns.is_empty() {
            if lanes.closed {
                return None;
            }
            lanes.awaited = true;
            lanes = self.wake.wait(lanes).unwrap_or_else(PoisonError::into_inner);
        }
        Some(lanes.batch())
    }

    /// What is written next, without waiting.
    pub(super) fn take_waiting(&self) -> Vec<Command> {
        self.lock().batch()
    }

    /// Waits for a moment, or for something new.
    pub(super) fn pause(&self, at_most: Duration) {
        let mut lanes = self.lock();
        if lanes.turns.is_empty() && !lanes.closed {
            lanes.awaited = true;
            drop(self.wake.wait_timeout(lanes, at_most).unwrap_or_else(PoisonError::into_inner));
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Takes nothing more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }

    /// Drops what waits: who waits for it learns that the queue is closed.
    pub(super) fn clear(&self) {
        let mut lanes = self.lock();
        lanes.closed = true;
        lanes.turns.clear();
        let dropped: Vec<LaneState> = lanes.lanes.iter_mut().map(std::mem::take).collect();
        drop(lanes);
        drop(dropped);
    }
}
