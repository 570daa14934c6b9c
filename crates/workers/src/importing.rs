//! A process that imports an endpoint's modules, and the line that it is at, for who waits for it.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::page::Page;
use crate::process::Process;
use crate::standstill;

/// How long it may take to say where it is. A signal has it do that, whatever it does.
const TELLING: Duration = Duration::from_millis(20);

/// A process that was told to import.
#[derive(Debug)]
pub(crate) struct Importing {
    process: OwnedFd,
    page: Page,
}

impl Importing {
    /// `page` is the one that the process has.
    pub(crate) fn new(process: &Process, page: &Page) -> std::io::Result<Self> {
        Ok(Self { process: process.try_clone_descriptor()?, page: page.try_clone()? })
    }

    /// The line of the user's that it is at, as `FILE:LINE`; `None` where that cannot be told.
    pub(crate) async fn line(&self) -> Option<String> {
        Process::ask_whereabouts(&self.process);
        tokio::time::sleep(TELLING).await;
        standstill::line(&self.page.whereabouts().ok()?)
    }
}
