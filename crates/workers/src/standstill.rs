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
/// In the paths of what calls the user's code, and of what that prints with.
const WORKER: &str = "/runpod_flash/_worker/";
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

/// The lines for the log on a worker that is ended since these functions go on after `limit`, which is zero where they were cancelled.
pub(crate) fn goes_on(endpoint: &str, functions: &[String], limit: Duration) -> String {
    let (verb, its) = if functions.len() == 1 { ("goes", "its") } else { ("go", "their") };
    let functions = if functions.is_empty() { "a function".to_owned() } else { listed(functions) };
    let why = if limit.is_zero() {
        format!("{functions} {verb} on though nobody waits for {its} result")
    } else {
        format!("{functions} {verb} on past {its} limit of {} s", limit.as_secs_f64())
    };
    format!(
        "flash: {why}: the worker of {endpoint} is ended, and another takes its place, without what the module kept in globals\n  \
         try: a `def` cannot be stopped while it runs: give what it waits for a timeout shorter than the limit, or raise the limit\n"
    )
}

fn listed(functions: &[String]) -> String {
    let named: Vec<String> = functions.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    let more = functions.len() - named.len();
    let named = named.join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}

/// The frames of a stack down to the last that is the user's, the innermost first. Empty where none is: nothing of the user's runs there.
fn place(stack: &str) -> Vec<String> {
    let frames = frames(stack);
    let end = frames.iter().rposition(Frame::is_the_users).map_or(0, |last| last + 1);
    let mut shown: Vec<String> = frames[..end].iter().map(Frame::shown).collect();
    // The outermost are the user's.
    shown.drain(..shown.len().saturating_sub(FRAMES));
    shown
}

/// The user's line that a stack is at, as `FILE:LINE`.
pub(crate) fn line(stack: &str) -> Option<String> {
    frames(stack).iter().find(|frame| frame.is_the_users()).map(|frame| format!("{}:{}", frame.file, frame.line))
}

struct Frame<'stack> {
    file: &'stack str,
    line: &'stack str,
    function: &'stack str,
}

impl Frame<'_> {
    fn is_the_users(&self) -> bool {
        !LIBRARIES.iter().any(|part| self.file.contains(part))
    }

    fn shown(&self) -> String {
        format!("{}:{}, in {}", self.file, self.line, self.function)
    }
}

/// What runs above the worker's own code, as it was said last; without the import system's frames.
fn frames(stack: &str) -> Vec<Frame<'_>> {
    let last = stack.rfind("(most recent call first)").map_or("", |start| &stack[start..]);
    let all = last.lines().filter_map(frame);
    let above = all.skip_while(|frame| frame.file.contains(WORKER)).take_while(|frame| !frame.file.contains(WORKER));
    above.filter(|frame| !frame.file.starts_with("<frozen importlib")).collect()
}

/// A line of what `faulthandler` writes: `  File "FILE", line LINE in FUNCTION`.
fn frame(line: &str) -> Option<Frame<'_>> {
    let (file, rest) = line.strip_prefix("  File \"")?.rsplit_once("\", line ")?;
    let (line, function) = rest.split_once(" in ")?;
    Some(Frame { file, line, function })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: &str = concat!(
        "Current thread 0x00007f5c (most recent call first):\n",
        "  File \"/usr/lib/python3.11/socket.py\", line 706 in readinto\n",
        "  File \"/srv/app/shop.py\", line 12 in fetch\n",
        "  File \"/srv/app/.venv/lib/python3.11/site-packages/runpod_flash/_worker/serve.py\", line 347 in run_async\n",
        "  File \"/usr/lib/python3.11/asyncio/events.py\", line 84 in _run\n",
        "  File \"<string>\", line 24 in <module>\n",
    );

    fn told(cause: Cause, stack: &str) -> String {
        Standstill { cause, silence: Duration::from_millis(3960), limit: Duration::from_secs(4) }.told("shop", stack)
    }

    #[test]
    fn a_stack_is_shown_down_to_the_user_s_code() {
        assert_eq!(place(STACK), ["/usr/lib/python3.11/socket.py:706, in readinto", "/srv/app/shop.py:12, in fetch"]);
        let idle = STACK.replace("/srv/app/shop.py", "/usr/lib/python3.11/selectors.py");
        assert_eq!(place(&idle), [""; 0]);
        assert_eq!(place(""), [""; 0]);
    }

    #[test]
    fn of_a_deep_stack_the_end_at_the_user_s_code_is_shown() {
        let deep =
            "(most recent call first):\n".to_owned() + &"  File \"/a.py\", line 1 in f\n".repeat(100) + "  File \"/b.py\", line 2 in g\n";
        let shown = place(&deep);
        assert_eq!((shown.len(), shown.last().map(String::as_str)), (FRAMES, Some("/b.py:2, in g")));
    }

    #[test]
    fn the_line_is_the_innermost_of_the_user_s_as_it_was_said_last() {
        let earlier = STACK.replace("line 12", "line 11");
        assert_eq!(line(&(earlier + STACK)).as_deref(), Some("/srv/app/shop.py:12"));
        let prints = STACK.replace("/usr/lib/python3.11/socket.py", "/x/runpod_flash/_worker/output.py");
        assert_eq!(line(&prints).as_deref(), Some("/srv/app/shop.py:12"));
        assert_eq!(line(""), None);
    }

    #[test]
    fn who_goes_on_is_named_with_the_limit() {
        let text = goes_on("shop", &["slow".into()], Duration::from_secs(1));
        assert!(text.starts_with("flash: `slow` goes on past its limit of 1 s: the worker of shop is ended, and another "), "{text}");
        let text = goes_on("shop", &["a".into(), "b".into()], Duration::ZERO);
        assert!(text.starts_with("flash: `a`, `b` go on though nobody waits for their result: "), "{text}");
    }

    #[test]
    fn the_functions_past_their_limits_are_named() {
        let text = told(Cause::PastLimit(vec!["slow".into()]), STACK);
        assert!(
            text.starts_with("flash: the event loop of a worker of shop has stood still for 4.0 s, and `slow` is past its limit of 4 s; ")
        );
        assert!(text.contains("\n  at /srv/app/shop.py:12, in fetch\n  try: "), "{text}");
        let text = told(Cause::PastLimit(["a", "b", "c", "d", "e"].map(str::to_owned).into()), "");
        assert!(text.contains(" and `a`, `b`, `c` and 2 more are past their limit of 4 s; "), "{text}");
        assert!(!text.contains("  at ") && text.contains("native code"), "{text}");
    }
}
