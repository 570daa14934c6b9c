//! The base zygote of a program: started when first needed, started again when it died.

use std::sync::{Arc, LazyLock};

use tokio::sync::{Mutex, Semaphore};

use crate::devices::{Devices, Share};
use crate::error::Error;
use crate::interpreter::Program;
use crate::isolation::Isolation;
use crate::libraries::Libraries;
use crate::printed::Pipes;
use crate::zygote::Zygote;

/// Interpreters that start at the same time. More would start no sooner together, and have the machine do nothing else: a server of hundreds
/// of endpoints starts as many at once.
static STARTING: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from) + 2));

/// Text that a process of ours printed.
#[derive(Debug)]
pub struct Printed<'a> {
    /// Whose process it is; `None` for the base zygote's.
    pub endpoint: Option<&'a str>,
    /// The request that printed it, as [`crate::Request::tag`] names it.
    pub tag: Option<u64>,
    /// 1 for standard output, 2 for standard error.
    pub stream: u8,
    /// The text: whole lines, but for the last of a request or process.
    pub text: &'a str,
}

/// Where printed text goes. It must not block for long: it is called on the request path.
pub type Sink = Arc<dyn Fn(Printed<'_>) + Send + Sync>;

/// A program's base zygote, shared by all pools that run in it.
pub struct Base {
    program: Program,
    isolation: Option<Isolation>,
    /// Of which each worker gets so many.
    devices: Option<(Arc<Devices>, usize)>,
    sink: Sink,
    zygote: Mutex<Option<Zygote>>,
    libraries: Libraries,
}

impl Base {
    /// Starts nothing yet.
    pub fn new(program: impl Into<Program>, sink: Sink) -> Self {
        Self { program: program.into(), isolation: None, devices: None, sink, zygote: Mutex::new(None), libraries: Libraries::default() }
    }

    /// One whose processes are kept apart, for one endpoint.
    #[must_use]
    pub fn isolated(mut self, isolation: Isolation) -> Self {
        self.isolation = Some(isolation);
        self
    }

    /// One each of whose workers has so many of these devices to itself.
    #[must_use]
    pub fn with_devices(mut self, devices: Arc<Devices>, each: usize) -> Self {
        self.devices = (each > 0).then_some((devices, each));
        self
    }

    /// The devices of a worker that is to be started.
    pub(crate) fn share(&self) -> Result<Option<Share>, Error> {
        let Some((devices, each)) = &self.devices else { return Ok(None) };
        let share = devices.take(*each).ok_or(Error::NoDevice { wanted: *each, there: devices.count() })?;
        Ok(Some(share))
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
        // An error would mean that it was closed.
        let _turn = STARTING.acquire().await.ok();
        let (pipes, printed) = Pipes::new()?;
        self.print_all(pipes, None);
        let started = Zygote::start(&self.program, self.isolation.as_ref(), printed).await?;
        *zygote = Some(started.clone());
        Ok(started)
    }

    /// Has a zygote import what the endpoints' modules imported beside themselves, unless there is one: the next start of an endpoint
    /// is then quicker. Without this no such zygote is made.
    pub async fn prepare_libraries(&self) {
        // An error shows where an endpoint is to be started.
        if let Ok(base) = self.zygote().await {
            self.libraries.prepare(&base).await;
        }
    }

    /// What endpoints' zygotes have imported.
    pub(crate) fn libraries(&self) -> &Libraries {
        &self.libraries
    }

    pub(crate) fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Prints what a process writes until it and all that it forked have ended.
    pub(crate) fn print_all(&self, pipes: Pipes, endpoint: Option<String>) {
        let sink = self.sink.clone();
        tokio::spawn(pipes.take_all(move |stream, text| sink(Printed { endpoint: endpoint.as_deref(), tag: None, stream, text })));
    }
}
