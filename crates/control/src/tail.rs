//! The last lines that the workers of a new deployment print, for who asks why it failed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use flash_workers::Printed;

use crate::rollout::LAST_WORDS;

/// So many lines, of so many bytes each.
const LINES: usize = 50;
const LINE: usize = 2000;

/// What printed it, and what.
type Line = (Option<String>, String);

/// They come until it is closed.
#[derive(Default)]
pub(crate) struct Tail {
    lines: Mutex<Option<VecDeque<Line>>>,
    closed: std::sync::atomic::AtomicBool,
}

impl Tail {
    pub(crate) fn add(&self, printed: &Printed<'_>) {
        if self.closed.load(std::sync::atomic::Ordering::Relaxed) {
            return;
        }
        let mut lines = self.lock();
        let lines = lines.get_or_insert_default();
        for line in printed.text.lines() {
            if lines.len() == LINES {
                lines.pop_front();
            }
            lines.push_back((printed.endpoint.map(str::to_owned), line.chars().take(LINE).collect()));
        }
    }

    /// Nobody asks any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, std::sync::atomic::Ordering::Relaxed);
        *self.lock() = None;
    }

    /// What was printed, once all processes that print have ended: each holds it by its pipe. That takes no longer than they do.
    pub(crate) async fn last(self: Arc<Self>) -> String {
        let until = Instant::now() + LAST_WORDS;
        while Arc::strong_count(&self) > 1 && Instant::now() < until {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        once(self.lock().take().into_iter().flatten().collect()).join("\n")
    }

    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lines; but once what several endpoints print alike, whose modules each of them imports, and what one prints each time that it is tried.
fn once(lines: Vec<Line>) -> Vec<String> {
    let mut all: BTreeMap<Option<String>, Vec<&str>> = BTreeMap::new();
    for (endpoint, line) in &lines {
        all.entry(endpoint.clone()).or_default().push(line);
    }
    let mut told = BTreeSet::new();
    let mut left: BTreeMap<_, usize> = BTreeMap::new();
    for (endpoint, said) in all {
        let count = period(&said);
        if told.insert(said[..count].to_vec()) {
            left.insert(endpoint, count);
        }
    }
    let mut kept = |endpoint: &Option<String>| {
        let count = left.get_mut(endpoint).filter(|count| **count > 0);
        count.map(|count| *count -= 1).is_some()
    };
    lines.iter().filter(|(endpoint, _)| kept(endpoint)).map(|(_, line)| line.clone()).collect()
}

/// After how many lines they begin anew, and go on so to the end: all of them where they never do.
fn period(lines: &[&str]) -> usize {
    (1..lines.len()).find(|count| lines.iter().skip(*count).eq(&lines[..lines.len() - count])).unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_endpoints_print_alike_is_told_once() {
        let line = |endpoint: &str, text: &str| (Some(endpoint.to_owned()), text.to_owned());
        let alike = vec![line("a", "loading"), line("b", "loading"), line("a", "42"), line("b", "42"), (None, "zygote".into())];
        assert_eq!(once(alike), ["loading", "42", "zygote"]);
        let other = vec![line("a", "loading"), line("b", "loading"), line("b", "more")];
        assert_eq!(once(other), ["loading", "loading", "more"]);
        let again = vec![line("a", "loading"), line("a", "42"), line("b", "loading"), line("a", "loading"), line("b", "42")];
        assert_eq!(once(again), ["loading", "42"], "it was tried again, and stopped meanwhile");
    }
}
