//! The base zygote of an interpreter: started when first needed, started again when it died.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::Mutex;

use crate::error::Error;
use crate::interpreter::Interpreter;
use crate::zygote::Zygote;

/// Text that a process of ours printed.
#[derive(Debug)]
pub struct Printed<'a> {
    /// Whose process it is; `None` for the base zygote's.
    pub endpoint: Option<&'a str>,
    /// The request that printed it, as [`crate::Request::tag`] names it.
    pub tag: Option<u64>,
    /// 1 for standard output, 2 for standard error; what comes through the process's own descriptors counts as 2.
    pub stream: u8,
    /// The text: whole lines, but for the last of a request or process.
    pub text: &'a str,
}

/// Where printed text goes. It must not block for long: it is called on the request path.
pub type Sink = Arc<dyn Fn(Printed<'_>) + Send + Sync>;

/// An interpreter's base zygote, shared by all pools that run in it.
pub struct Base {
    interpreter: Interpreter,
    sink: Sink,
    zygote: Mutex<Option<Zygote>>,
}

impl Base {
    /// Starts nothing yet.
    pub fn new(interpreter: Interpreter, sink: Sink) -> Self {
        Self { interpreter, sink, zygote: Mutex::new(None) }
    }

    /// The running base zygote.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn zygote(&self) -> Result<Zygote, Error> {
        let mut zygote = self.zygote.lock().await;
        if let Some(running) = zygote.as_ref().filter(|zygote| !zygote.is_gone()) {
            return Ok(running.clone());
        }
        let (reader, writer) = output_pipe()?;
        tokio::spawn(print_all(reader, None, self.sink.clone()));
        let started = Zygote::start(&self.interpreter, writer).await?;
        *zygote = Some(started.clone());
        Ok(started)
    }

    pub(crate) fn sink(&self) -> &Sink {
        &self.sink
    }
}

/// A pipe for a process's standard streams: our end, and its.
pub(crate) fn output_pipe() -> Result<(pipe::Receiver, OwnedFd), Error> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|error| Error::System(error.into()))?;
    let reader = pipe::Receiver::from_owned_fd(reader).map_err(Error::System)?;
    Ok((reader, writer))
}

/// Prints what comes through the pipe until every writer has closed it.
pub(crate) async fn print_all(mut reader: pipe::Receiver, endpoint: Option<String>, sink: Sink) {
    let mut lines = Lines::default();
    let mut buffer = Vec::with_capacity(16 * 1024);
    while matches!(reader.read_buf(&mut buffer).await, Ok(1..)) {
        lines.push(&buffer, |text| sink(Printed { endpoint: endpoint.as_deref(), tag: None, stream: 2, text }));
        buffer.clear();
    }
    lines.finish(|text| sink(Printed { endpoint: endpoint.as_deref(), tag: None, stream: 2, text }));
}

/// Cuts bytes into whole lines of text.
#[derive(Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
}

/// A line without an end is passed on at this size, in bytes.
const LONGEST_LINE: usize = 64 * 1024;

impl Lines {
    /// Hands on everything up to the last newline.
    pub(crate) fn push(&mut self, bytes: &[u8], mut print: impl FnMut(&str)) {
        self.rest.extend_from_slice(bytes);
        let end = match self.rest.iter().rposition(|byte| *byte == b'\n') {
            Some(newline) => newline + 1,
            None if self.rest.len() > LONGEST_LINE => self.rest.len(),
            None => return,
        };
        print(&String::from_utf8_lossy(&self.rest[..end]));
        self.rest.drain(..end);
    }

    /// Hands on what is left.
    pub(crate) fn finish(&mut self, mut print: impl FnMut(&str)) {
        if !self.rest.is_empty() {
            print(&String::from_utf8_lossy(&self.rest));
            self.rest.clear();
        }
    }
}
