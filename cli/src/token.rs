//! The token of live calls, and the file through which its owner hands it to another program.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::report::{Failure, Fault, Trouble};

/// Bytes of a token; it is written as twice as many hexadecimal digits.
const LENGTH: usize = 32;

/// A new token.
pub fn draw() -> io::Result<String> {
    let mut bytes = [0; LENGTH];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A file that holds the token and a newline. Dropping it removes it.
pub struct TokenFile {
    path: PathBuf,
    content: String,
}

impl TokenFile {
    /// Writes it, for nobody but its owner. What is there already is replaced only when it is such a file, left by a run that was killed.
    pub fn write(path: &Path, token: Option<&str>) -> Result<Self, Failure> {
        let Some(token) = token else {
            return Err(refused(
                "there is no token to write".into(),
                "live calls are off where others than this machine can connect".into(),
                "leave out --token-file, or --host",
            ));
        };
        let unwritable =
            |error: io::Error| refused(cannot_write(path), error.to_string(), "name a file in a directory that you may write to");
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() && is_left_over(path) => {}
            Ok(_) => {
                let why = "it is there already, and is no token that an earlier run left";
                return Err(refused(cannot_write(path), why.into(), "name a file that is not there"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unwritable(error)),
        }
        let file = Self { path: std::path::absolute(path).map_err(unwritable)?, content: format!("{token}\n") };
        file.replace().map_err(unwritable)?;
        Ok(file)
    }

    /// In one step: nobody reads half a token, and no link is followed.
    fn replace(&self) -> io::Result<()> {
        let mut beside = self.path.clone().into_os_string();
        beside.push(format!(".{}", std::process::id()));
        let mut created = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        let written = created.write_all(self.content.as_bytes()).and_then(|()| fs::rename(&beside, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&beside); // the first error is the one to tell
        }
        written
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        // Another run may have replaced it meanwhile.
        if fs::read_to_string(&self.path).is_ok_and(|content| content == self.content) {
            let _ = fs::remove_file(&self.path); // a token that no process takes any more
        }
    }
}

fn is_left_over(path: &Path) -> bool {
    // Its length first: whatever it is, it may be large.
    fs::metadata(path).is_ok_and(|found| found.len() == 2 * LENGTH as u64 + 1)
        && fs::read_to_string(path).is_ok_and(|content| content.trim_end().bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn cannot_write(path: &Path) -> String {
    format!("the token cannot be written to `{}`", path.display())
}

fn refused(what: String, why: String, remedy: &str) -> Failure {
    Failure::new(Fault::Request, Trouble::new(what, why, remedy))
}
