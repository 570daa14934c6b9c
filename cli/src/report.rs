//! How failures are told: what happened, why, how to mend it. The one place that chooses exit codes.

use std::fmt::Write as _;
use std::process::ExitCode;

use flash_manifest::{Diagnostic, Severity};
use flash_workers::Report;
use owo_colors::OwoColorize as _;

use crate::lines::to_errors;

/// Whose fault it was, which is what an exit code tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request could not be met: a file with an error in it, a port that is taken.
    Request,
    /// The command was used wrongly.
    Usage,
    /// Ours.
    Flash,
}

/// Why a command ended without doing what it was asked.
#[derive(Debug)]
pub struct Failure {
    fault: Fault,
    troubles: Vec<Trouble>,
    /// What hinders nothing, and is told beside what does.
    warnings: Vec<Trouble>,
}

/// One thing that went wrong.
#[derive(Debug)]
pub struct Trouble {
    /// What happened.
    pub what: String,
    /// Why; may be of several lines.
    pub why: String,
    /// How to mend it.
    pub remedy: String,
    /// Where: a file and line, and the line.
    pub at: Option<String>,
    /// Text that comes before: a traceback.
    pub detail: Option<String>,
}

impl Trouble {
    /// A trouble without a traceback.
    pub fn new(what: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), remedy: remedy.into(), at: None, detail: None }
    }

    /// What it says, by name; without what it does not say.
    pub fn json(&self) -> serde_json::Value {
        let said = [("what", Some(&self.what)), ("why", Some(&self.why)), ("remedy", Some(&self.remedy))];
        let more = [("at", self.at.as_ref()), ("detail", self.detail.as_ref())];
        let said = said.into_iter().chain(more).filter_map(|(name, text)| Some((name, text.filter(|text| !text.is_empty())?)));
        said.map(|(name, text)| (name.to_owned(), text.as_str().into())).collect::<serde_json::Map<_, _>>().into()
    }

    /// What [`warn`] prints.
    pub fn text(&self) -> String {
        shown("warning".yellow().bold().to_string(), self)
    }
}

impl Failure {
    /// One trouble.
    pub fn new(fault: Fault, trouble: Trouble) -> Self {
        Self::all(fault, vec![trouble])
    }

    /// Several, reported in one go.
    pub fn all(fault: Fault, troubles: Vec<Trouble>) -> Self {
        Self { fault, troubles, warnings: Vec::new() }
    }

    /// What diagnostics say.
    pub fn told(fault: Fault, problems: Vec<Diagnostic>) -> Self {
        let (errors, warnings): (Vec<_>, Vec<_>) = problems.into_iter().partition(|problem| problem.severity == Severity::Error);
        let warnings = warnings.into_iter().map(Trouble::from).collect();
        Self { warnings, ..Self::all(fault, errors.into_iter().map(Trouble::from).collect()) }
    }

    /// Something that should not happen on a healthy machine.
    pub fn system(what: &str, cause: &std::io::Error) -> Self {
        Self::new(Fault::Flash, Trouble::new(what, cause.to_string(), "see the limits on memory, open files and their size (`ulimit -a`)"))
    }

    /// The first trouble, for those who are told in another way than by print.
    pub fn first(&self) -> &Trouble {
        &self.troubles[0]
    }

    /// What [`Self::show`] prints.
    pub fn text(&self) -> String {
        let errors = self.troubles.iter().map(|trouble| shown("error".red().bold().to_string(), trouble));
        errors.chain(self.warnings.iter().map(Trouble::text)).collect()
    }

    /// Prints it to standard error.
    pub fn show(&self) {
        to_errors(&self.text());
    }

    /// As JSON: `{"error": {...}}`, in one line; what follows the first is in `others`, and what is warned of in `warnings`.
    pub fn json(&self) -> String {
        let mut told = serde_json::json!({ "error": self.first().json() });
        for (name, troubles) in [("others", &self.troubles[1..]), ("warnings", &self.warnings)] {
            if !troubles.is_empty() {
                told[name] = troubles.iter().map(Trouble::json).collect();
            }
        }
        format!("{told}\n")
    }

    /// Prints it to standard error, and to standard output as JSON where JSON was asked for and nothing has been answered yet; the exit code
    /// says whose fault it was.
    pub fn report(&self) -> ExitCode {
        self.show();
        if crate::output::owes_json() {
            let _ = crate::output::print(&self.json()); // it was told already
        }
        match self.fault {
            Fault::Request => ExitCode::from(1),
            Fault::Usage => ExitCode::from(2),
            Fault::Flash => ExitCode::from(70),
        }
    }
}

/// Prints something that hinders nothing yet to standard error.
pub fn warn(trouble: &Trouble) {
    to_errors(&trouble.text());
}

fn shown(label: String, trouble: &Trouble) -> String {
    let mut text = String::new();
    if let Some(detail) = &trouble.detail {
        text.push_str(detail.trim_end());
        text.push('\n');
    }
    let _ = writeln!(text, "{label}: {}", trouble.what); // writing to a String does not fail
    for (name, value) in [(" at", trouble.at.as_deref()), ("why", Some(&*trouble.why)), ("try", Some(&*trouble.remedy))] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let _ = writeln!(text, "  {}: {}", name.bold(), value.trim_end().replace('\n', "\n       "));
        }
    }
    text
}

impl Trouble {
    /// All that keeps workers from starting.
    pub fn all_of(error: &flash_workers::Error) -> Vec<Self> {
        match error {
            flash_workers::Error::CannotLoad(report) => report.all().map(Self::from).collect(),
            _ => vec![Self::from(error)],
        }
    }
}

impl From<&flash_workers::Error> for Trouble {
    fn from(error: &flash_workers::Error) -> Self {
        match error {
            flash_workers::Error::CannotLoad(report) => Self::from(&**report),
            _ => Self::new(error.to_string(), error.why(), error.remedy()),
        }
    }
}

impl From<&Report> for Trouble {
    fn from(report: &Report) -> Self {
        let mut trouble = Self::new(&report.what, &report.why, &report.remedy);
        trouble.at = report.at.as_ref().map(|at| match &report.line {
            Some(line) => format!("{at}\n  {line}"),
            None => at.clone(),
        });
        trouble.detail.clone_from(&report.traceback);
        trouble
    }
}
