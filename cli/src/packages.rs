//! What functions depend on and an interpreter lacks: installed into an overlay, off the runtime's thread.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use flash_environments::{Asked, Cancel, Environments, Error, Overlay};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::spawn_blocking;

/// What takes less than this is not told.
const UNREMARKED: Duration = Duration::from_secs(1);
/// Lines of what goes on begin so, where they are worth a line of the terminal: something large is fetched or made, or a lock is held.
const WORTH_TELLING: [&str; 3] = ["Downloading", "Building", "waiting"];

/// Which packages are needed, and where.
pub struct Needed {
    /// The interpreter.
    pub python: PathBuf,
    /// The requirements, as pip takes them.
    pub requirements: Vec<String>,
    /// What must stay at the version that is there.
    pub keep: &'static [&'static str],
    /// The import path, where it is not the interpreter's own.
    pub path: Option<Vec<String>>,
    /// The current directory, where it is not ours.
    pub directory: Option<PathBuf>,
    /// The environment, where `FLASH_HOME` and the settings of `uv` are.
    pub variables: Vec<(OsString, OsString)>,
}

/// Gives up when dropped.
struct Wait(Cancel);

impl Drop for Wait {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// The overlay with what is lacking; `None` where nothing is. `tell` gets lines, without their ends, once it takes long. Dropping the
/// future gives it up.
pub async fn overlay(needed: Needed, tell: impl Fn(String)) -> Result<Option<Overlay>, Error> {
    let wait = Wait(Cancel::default());
    let cancel = wait.0.clone();
    let (sender, mut said) = unbounded_channel::<String>();
    let mut made = spawn_blocking(move || {
        let Needed { python, requirements, keep, path, directory, variables } = &needed;
        let environments = Environments::new(&home(variables), variables.iter().cloned());
        let asked = Asked { python, requirements, keep, path: path.as_deref(), directory: directory.as_deref() };
        let note = |line: &str| drop(sender.send(line.to_owned())); // unheard is fine
        environments.overlay(asked, &note, &cancel)
    });
    let unremarked = tokio::time::sleep(UNREMARKED);
    tokio::pin!(unremarked);
    let mut silent = Some(Vec::new());
    loop {
        tokio::select! {
            made = &mut made => return made.expect("installing does not panic"),
            Some(line) = said.recv() => {
                let Some(text) = worth_telling(&line) else { continue };
                match &mut silent {
                    Some(kept) => kept.push(text),
                    None => tell(text),
                }
            }
            () = &mut unremarked, if silent.is_some() => silent.take().into_iter().flatten().for_each(&tell),
        }
    }
}

fn worth_telling(line: &str) -> Option<String> {
    if let Some(what) = line.strip_prefix("installing ") {
        return Some(format!("flash: installing {what} ... (first use)"));
    }
    let worth = WORTH_TELLING.iter().any(|begin| line.trim_start().starts_with(begin));
    worth.then(|| format!("flash:   {}", line.trim_start()))
}

/// `FLASH_HOME`, or `.flash` in the user's home.
fn home(variables: &[(OsString, OsString)]) -> PathBuf {
    let of =
        |wanted: &str| variables.iter().find(|(name, value)| name == wanted && !value.is_empty()).map(|(_, value)| PathBuf::from(value));
    if let Some(home) = of("FLASH_HOME") {
        return std::path::absolute(&home).unwrap_or(home); // its own directory is gone
    }
    of("HOME").or_else(std::env::home_dir).unwrap_or_else(std::env::temp_dir).join(".flash")
}
