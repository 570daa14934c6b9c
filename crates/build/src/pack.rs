//! Writes an artifact: sorted, without times, owners or folders, so that the same files give the same bytes.

use std::fs::File;
use std::io::{self, Read as _, Write};

use flash_manifest::{Diagnostic, MANIFEST_FILE};
use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use crate::layout::{LOCK, SOURCES};
use crate::tree::{Source, State};

/// What was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    /// SHA-256, in hexadecimal digits.
    pub(crate) digest: String,
    pub(crate) bytes: u64,
}

/// Why an artifact was not written.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A file of the project, and what is wrong with it.
    Source(Diagnostic),
    /// The artifact itself cannot be written.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Writes the manifest, the lock and the files, in this order: whoever reads it knows first what it claims to be.
pub(crate) fn pack(output: impl Write, manifest: &str, lock: Option<&str>, files: &[Source]) -> Result<Packed, Failure> {
    let hashed = Hashed { inner: output, sha: Sha256::new(), bytes: 0 };
    // Without a name, a time or a system in its header.
    let gzip = GzBuilder::new().operating_system(255).write(hashed, Compression::default());
    let mut tar = Builder::new(gzip);
    append(&mut tar, MANIFEST_FILE, false, manifest.len() as u64, manifest.as_bytes())?;
    if let Some(lock) = lock {
        append(&mut tar, LOCK, false, lock.len() as u64, lock.as_bytes())?;
    }
    for source in files {
        append_source(&mut tar, source)?;
    }
    let mut hashed = tar.into_inner()?.finish()?;
    hashed.flush()?;
    Ok(Packed { digest: hex(&hashed.sha.finalize()), bytes: hashed.bytes })
}

fn append(tar: &mut Builder<impl Write>, name: &str, executable: bool, bytes: u64, content: impl io::Read) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(if executable { 0o755 } else { 0o644 });
    header.set_size(bytes);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, name, content)
}

/// A file's content must be that which was there when the project was read: the manifest tells what its functions are.
fn append_source(tar: &mut Builder<impl Write>, source: &Source) -> Result<(), Failure> {
    let unreadable = |error: io::Error| {
        let what = format!("`{}` cannot be read: {error}", source.name);
        let why = "everything in the project that is not ignored is packed";
        Failure::Source(Diagnostic::error(what, why, "mend its permissions, or name it in .flashignore"))
    };
    let changed = || {
        let what = format!("`{}` changed while it was packed", source.name);
        let why = "a build is of one state of the project";
        Failure::Source(Diagnostic::error(what, why, "build again; if a program writes to it all the time, name it in .flashignore"))
    };
    let mut file = File::open(&source.path).map_err(unreadable)?;
    let state = |file: &File| Ok::<_, Failure>(State::of(&file.metadata().map_err(unreadable)?));
    if state(&file)? != source.state {
        return Err(changed());
    }
    let name = format!("{SOURCES}/{}", source.name);
    let bytes = source.state.bytes;
    let mut content = Watched { inner: (&mut file).take(bytes), read: 0, failed: None };
    let appended = append(tar, &name, source.state.executable, bytes, &mut content);
    let Watched { read, failed, .. } = content;
    if let Some(error) = failed {
        return Err(unreadable(error));
    }
    appended?;
    if read != bytes || state(&file)? != source.state {
        return Err(changed());
    }
    Ok(())
}

/// Reads, and remembers how much and what went wrong: the archive's writer does not tell whose error it was.
struct Watched<R> {
    inner: R,
    read: u64,
    failed: Option<io::Error>,
}

impl<R: io::Read> io::Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(count) => {
                self.read += count as u64;
                Ok(count)
            }
            Err(error) => {
                let told = io::Error::from(error.kind());
                self.failed = Some(error);
                Err(told)
            }
        }
    }
}

struct Hashed<W> {
    inner: W,
    sha: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.sha.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Failure, pack};
    use crate::tree::{Source, State};

    #[test]
    fn a_file_that_changes_while_a_build_is_made_is_told_of() {
        let place = tempfile::tempdir().expect("there is room for a temporary directory");
        let path = place.path().join("a.txt");
        let write = |text: &str| fs::write(&path, text).expect("a temporary directory can be written");
        write("as it was");
        let state = State::of(&fs::metadata(&path).expect("it was written"));
        let source = Source { path: path.clone(), name: "a.txt".into(), state };
        assert!(pack(Vec::new(), "{}", None, std::slice::from_ref(&source)).is_ok());
        write("as it became");
        let told = |outcome| match outcome {
            Err(Failure::Source(problem)) => problem.what,
            other => panic!("{other:?}"),
        };
        assert_eq!(told(pack(Vec::new(), "{}", None, std::slice::from_ref(&source))), "`a.txt` changed while it was packed");
        // As long as before, in place of the file that there was.
        fs::remove_file(&path).expect("it is there");
        write("as it wAs");
        assert_eq!(told(pack(Vec::new(), "{}", None, &[source])), "`a.txt` changed while it was packed");
    }
}
