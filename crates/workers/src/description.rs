//! What an endpoint's routes take and return, told by a process that is forked to tell it.
//!
//! Workers are left alone: a document for people must neither slow a start nor a request. It is made when somebody first asks, and kept as long as
//! the modules that it was made of.

use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use flash_wire::{self as wire, Decoder, Kind};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

use crate::error::Error;
use crate::link;
use crate::pool::{Inner, Status};
use crate::printed::Pipes;

/// The longest description, in bytes. Hundreds of routes with models of their own come to less than one MiB.
const LIMIT: usize = 32 << 20;

/// Why there is no description.
#[derive(Clone, Debug)]
pub enum Undescribed {
    /// The endpoint has not been ready yet.
    NeverReady,
    /// The endpoint cannot run, and nobody asked while it could.
    CannotRun(Arc<Error>),
    /// The process that was to make it failed.
    Failed(Arc<Error>),
    /// The endpoint is being closed.
    Closing,
}

/// The last description, and whether it is of the modules that run.
#[derive(Default)]
pub(crate) struct Description {
    /// Counts how often the modules were imported for this endpoint.
    imported: AtomicU64,
    /// Locked while it is made, so that many who ask at once have it made once.
    kept: tokio::sync::Mutex<Option<Kept>>,
}

struct Kept {
    /// `imported` when it was asked for.
    of: u64,
    made: Result<Bytes, Arc<Error>>,
}

impl Description {
    /// The modules were imported anew, and may have changed.
    pub(crate) fn outdate(&self) {
        self.imported.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether none is being made.
    pub(crate) fn is_idle(&self) -> bool {
        self.kept.try_lock().is_ok()
    }
}

/// The description of an endpoint's routes, made if need be.
pub(crate) async fn of(inner: &Arc<Inner>) -> Result<Bytes, Undescribed> {
    let status = inner.status.borrow().clone();
    if let Status::Starting = status {
        return Err(Undescribed::NeverReady);
    }
    // A task of its own: that who asked gave up must not end what others wait for. It ends with the pool, at the latest.
    let inner = inner.clone();
    let made = tokio::spawn(async move {
        let mut closing = inner.closing();
        tokio::select! {
            described = kept_or_made(&inner, &status) => described,
            () = link::closed(&mut closing) => Err(Undescribed::Closing),
        }
    });
    made.await.unwrap_or(Err(Undescribed::Closing)) // it does not panic, and is dropped with the runtime alone
}

async fn kept_or_made(inner: &Inner, status: &Status) -> Result<Bytes, Undescribed> {
    let mut kept = inner.description.kept.lock().await;
    if let Status::Failed(error) = status {
        let last = kept.as_ref().and_then(|kept| kept.made.clone().ok());
        return last.ok_or_else(|| Undescribed::CannotRun(error.clone()));
    }
    if let Some(kept) = &*kept
        && kept.of == inner.description.imported.load(Ordering::Relaxed)
    {
        return kept.made.clone().map_err(Undescribed::Failed);
    }
    let made = match tokio::time::timeout(inner.settings.start_timeout, make(inner)).await {
        Ok(made) => made.map_err(Arc::new),
        Err(_) => Err(Arc::new(Error::NotReady { limit: inner.settings.start_timeout })),
    };
    if let Err(error) = &made {
        let (name, why, remedy) = (&inner.name, error.why(), error.remedy());
        inner.print(None, 2, &format!("flash: the routes of {name} cannot be described: {error}\n  why: {why}\n  try: {remedy}\n"));
    }
    // Any other failure may not happen again.
    if made.as_ref().map_or_else(|error| matches!(**error, Error::CannotLoad(_)), |_| true) {
        // Read after it was made, for making it may have imported the modules.
        *kept = Some(Kept { of: inner.description.imported.load(Ordering::Relaxed), made: made.clone() });
    }
    made.map_err(Undescribed::Failed)
}

async fn make(inner: &Inner) -> Result<Bytes, Error> {
    let (ours, theirs) = StdUnixStream::pair().map_err(Error::System)?;
    ours.set_nonblocking(true).map_err(Error::System)?;
    let mut stream = UnixStream::from_std(ours).map_err(Error::System)?;
    let (pipes, [out, err]) = Pipes::new()?;
    inner.base.print_all(pipes, Some(inner.name.clone()));
    let mut process = inner.fork("description", vec![theirs.into(), out, err], None).await?;
    let mut decoder = Decoder::default();
    let mut described = BytesMut::new();
    loop {
        while let Some(frame) = decoder.next_frame().map_err(|_| Error::Protocol)? {
            match frame.kind {
                Kind::Chunk => {
                    let (more, piece) = wire::decode_chunk(frame).map_err(|_| Error::Protocol)?;
                    described.extend_from_slice(&piece);
                    if described.len() > LIMIT {
                        return Err(Error::DescriptionTooLong { limit: LIMIT });
                    }
                    if !more {
                        return Ok(described.freeze());
                    }
                }
                Kind::Failed => return Err(Error::CannotLoad(serde_json::from_slice(&frame.payload).map_err(|_| Error::Protocol)?)),
                _ => return Err(Error::Protocol),
            }
        }
        if stream.read_buf(decoder.buffer()).await.map_err(Error::System)? == 0 {
            return Err(Error::EndedEarly { status: process.status().await });
        }
    }
}
