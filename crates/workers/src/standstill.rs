//! What the log says of a worker whose loop stands still: since when, what holds it, and where.

use std::time::Duration;

/// Why a worker was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Requests of these functions are past their limits.
    PastLimit(Vec<String>),
    /// Its process was stopped.
    Stopped,
    /// Nothing that it was asked holds it, and others wait.
    Nobody,
}

/// A worker that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standstill {
    pub(crate) cause: Cause,
    /// For how long it had not answered.
    pub(crate) silence: Duration,
    /// The limit of its endpoint's requests.
    pub(crate) limit: Duration,
}

/// More functions are not named.
const NAMED: usize = 3;
/// More of a stack is not shown.
const FRAMES: usize = 8;
/// The file of the worker that calls what is the user's.
const WORKER: &str = "/runpod_flash/_worker/serve.py";
/// What is in the paths of code that is not the user's: libraries.
const LIBRARIES: [&str; 5] = ["/runpod_flash/", "/site-packages/", "/dist-packages/", "/lib/python", "<frozen "];

impl Standstill {
    /// The lines for the log. `stack` is what the worker's main thread said of itself, if it did.
    pub(crate) fn told(&self, endpoint: &str, stack: &str) -> String {
        let silence = self.silence.as_secs_f64();
        let next = "another takes its place, without what the module kept in globals";
        let place = place(stack);
        let blocks =
            "let it wait with `await` (`asyncio.sleep`, an asynchronous client), or declare it with `def`: it runs in a thread then";
        let keeps = "what native code does while it keeps the interpreter's lock goes into a process of its own (`multiprocessing`)";
        let (what, remedy) = match &self.cause {
            Cause::Stopped => {
                (format!("a worker of {endpoint} was stopped (SIGSTOP), and has not answered for {silence:.1} s; {next}"), None)
            }
            Cause::Nobody => {
                let what =
                    format!("the event loop of a worker of {endpoint} has stood still for {silence:.1} s while requests wait; {next}");
                (what, Some("see what the module or an earlier request has left running"))
            }
            Cause::PastLimit(functions) => {
                let (verb, its) = if functions.len() == 1 { ("is", "its") } else { ("are", "their") };
                let (functions, limit) = (listed(functions), self.limit.as_secs_f64());
                let what = format!(
                    "the event loop of a worker of {endpoint} has stood still for {silence:.1} s, and {functions} {verb} past {its} limit of \
                     {limit} s; {next}"
                );
                (what, Some(if place.is_empty() { keeps } else { blocks }))
            }
        };
        let mut text = format!("flash: {what}\n");
        text.extend(place.iter().map(|frame| format!("  at {frame}\n")));
        text.extend(remedy.map(|remedy| format!("  try: {remedy}\n")));
        text
    }
}

fn listed(functions: &[String]) -> String {
    let named: Vec<String> = functions.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    let more = functions.len() - named.len();
    let named = named.join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}

/// The frames of a stack down to the last that is the user's, the innermost first. Empty where none is: nothing of the user's runs there.
pub(crate) fn place(stack: &str) -> Vec<String> {
    let frames: Vec<(&str, &str, &str)> = stack.lines().filter_map(frame).take_while(|(file, _, _)| !file.ends_with(WORKER)).collect();
    let is_the_users = |(file, _, _): &(&str, &str, &str)| !LIBRARIES.iter().any(|part| file.contains(part));
    let end = frames.iter().rposition(is_the_users).map_or(0, |last| last + 1);
    let shown = |(file, line, function): &(&str, &str, &str)| format!("{file}:{line}, in {function}");
    let mut shown: Vec<String> = frames[..end].iter().map(shown).collect();
    // The outermost are the user's.
    shown.drain(..shown.len().saturating_sub(FRAMES));
    shown
}

/// A line of what `faulthandler` writes: `  File "FILE", line LINE in FUNCTION`.
fn frame(line: &str) -> Option<(&str, &str, &str)> {
    let (file, rest) = line.strip_prefix("  File \"")?.rsplit_once("\", line ")?;
    let (line, function) = rest.split_once(" in ")?;
    Some((file, line, function))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: &str = concat!(
        "Current thread 0x00007f5c (most recent call first):\n",
        "  File \"/usr/lib/python3.11/socket.py\", line 706 in readinto\n",
        "  File \"/work/shop.py\", line 12 in fetch\n",
        "  File \"/work/.venv/lib/python3.11/site-packages/runpod_flash/_worker/serve.py\", line 347 in run_async\n",
        "  File \"/usr/lib/python3.11/asyncio/events.py\", line 84 in _run\n",
        "  File \"<string>\", line 24 in <module>\n",
    );

    fn told(cause: Cause, stack: &str) -> String {
        Standstill { cause, silence: Duration::from_millis(3960), limit: Duration::from_secs(4) }.told("shop", stack)
    }

    #[test]
    fn a_stack_is_shown_down_to_the_user_s_code() {
        assert_eq!(place(STACK), ["/usr/lib/python3.11/socket.py:706, in readinto", "/work/shop.py:12, in fetch"]);
        let idle = STACK.replace("/work/shop.py", "/usr/lib/python3.11/selectors.py");
        assert_eq!(place(&idle), [""; 0]);
        assert_eq!(place(""), [""; 0]);
    }

    #[test]
    fn of_a_deep_stack_the_end_at_the_user_s_code_is_shown() {
        let deep = "  File \"/a.py\", line 1 in f\n".repeat(100) + "  File \"/b.py\", line 2 in g\n";
        let shown = place(&deep);
        assert_eq!((shown.len(), shown.last().map(String::as_str)), (FRAMES, Some("/b.py:2, in g")));
    }

    #[test]
    fn the_functions_past_their_limits_are_named() {
        let text = told(Cause::PastLimit(vec!["slow".into()]), STACK);
        assert!(
            text.starts_with("flash: the event loop of a worker of shop has stood still for 4.0 s, and `slow` is past its limit of 4 s; ")
        );
        assert!(text.contains("\n  at /work/shop.py:12, in fetch\n  try: "), "{text}");
        let text = told(Cause::PastLimit(["a", "b", "c", "d", "e"].map(str::to_owned).into()), "");
        assert!(text.contains(" and `a`, `b`, `c` and 2 more are past their limit of 4 s; "), "{text}");
        assert!(!text.contains("  at ") && text.contains("native code"), "{text}");
    }
}
