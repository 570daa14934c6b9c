//! Reads an artifact of anybody, and writes it into a folder.
//!
//! Nothing in it is believed: names lead nowhere but below the folder, there are regular files and folders alone, each once, within limits
//! that are checked before anything of that size is held or written.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use flash_manifest::{Diagnostic, MANIFEST_FILE, Manifest, inner_path};
use flate2::bufread::GzDecoder;
use tar::{Archive, Entry, EntryType};

use crate::layout::{LOCK, SOURCES, sources};
use crate::limits::{DEEPEST, LONGEST_NAME, LONGEST_PATH, Limits, size};
use crate::lock;
use crate::verify;

/// What a manifest or a lock may have: they are read as a whole.
const LARGEST_TEXT: u64 = 4 * 1024 * 1024;

/// Why an artifact was not unpacked. Nothing of it is left.
#[derive(Debug)]
pub enum Refused {
    /// It is not as artifacts are: the fault of who made it.
    Artifact(Vec<Diagnostic>),
    /// It cannot be read or written here: a full disk, say.
    System(io::Error),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Artifact(problems) => {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                out.write_str(&problems.join("\n"))
            }
            Self::System(error) => write!(out, "the artifact cannot be unpacked: {error}"),
        }
    }
}

impl std::error::Error for Refused {}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

fn refused(what: impl Into<String>, why: impl Into<String>) -> Refused {
    Refused::Artifact(vec![Diagnostic::error(what, why, "build the project anew: flash build")])
}

/// Unpacks an artifact into a folder that is not there yet, and that is there as a whole afterwards or not at all. Files are readable for
/// everybody (0644, 0755), whatever the umask: who may come to them is a matter of the folders above.
///
/// The folder has `flash_manifest.json`, `requirements.lock` where there are requirements, and the sources in `src/`, from which the
/// manifest's paths start.
pub fn unpack(archive: impl io::BufRead, into: &Path, limits: &Limits) -> Result<Manifest, Refused> {
    let parent = into.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if into.symlink_metadata().is_ok() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("`{}` is there already", into.display())).into());
    }
    let staged = tempfile::Builder::new().prefix(".unpacking-").tempdir_in(parent)?;
    fs::set_permissions(staged.path(), fs::Permissions::from_mode(0o755))?;
    let manifest = Unpacking::new(staged.path(), limits).run(archive)?;
    verify::sources(&manifest, &sources(staged.path())).map_err(Refused::Artifact)?;
    fs::rename(staged.path(), into)?;
    // It has moved: there is nothing left to remove.
    let _ = staged.keep();
    Ok(manifest)
}

struct Unpacking<'a> {
    into: &'a Path,
    limits: &'a Limits,
    /// Everything there is so far, relative to `into`, and whether it is a folder.
    there: BTreeMap<PathBuf, bool>,
    files: usize,
    folders: usize,
    bytes: u64,
}

impl<'a> Unpacking<'a> {
    fn new(into: &'a Path, limits: &'a Limits) -> Self {
        Self { into, limits, there: BTreeMap::new(), files: 0, folders: 0, bytes: 0 }
    }

    fn run(mut self, archive: impl io::BufRead) -> Result<Manifest, Refused> {
        // All that may be in there, and the headers and padding of it: for what the archive's reader reads by itself.
        let most = self.limits.total_bytes + (self.limits.entries as u64 + 2) * 3 * 512;
        let mut archive = Archive::new(Bounded { inner: GzDecoder::new(archive), left: most });
        let manifest = self.entries(&mut archive)?;
        let mut rest = archive.into_inner();
        only_padding(&mut rest).map_err(unreadable)?;
        let mut compressed = rest.inner.into_inner();
        if !compressed.fill_buf()?.is_empty() {
            return Err(refused("the artifact goes on after its end", "an artifact is one gzip stream, and nothing behind it"));
        }
        let module = manifest.modules().find(|module| self.there.get(&Path::new(SOURCES).join(module)) != Some(&false));
        if let Some(module) = module {
            let what = format!("the artifact lacks `{}`", module.display());
            return Err(refused(what, "the manifest has functions in it"));
        }
        Ok(manifest)
    }

    fn entries(&mut self, archive: &mut Archive<impl Read>) -> Result<Manifest, Refused> {
        let mut manifest = None;
        let mut long_name = None;
        for entry in archive.entries().map_err(unreadable)?.raw(true) {
            let mut entry = entry.map_err(unreadable)?;
            if entry.header().entry_type() == EntryType::GNULongName {
                if long_name.replace(read_long_name(&mut entry)?).is_some() {
                    return Err(refused("the artifact gives one file two names", "what is in an artifact has one name"));
                }
                continue;
            }
            let name = self.name(&entry, long_name.take())?;
            if manifest.is_none() {
                if name != Path::new(MANIFEST_FILE) {
                    return Err(refused(
                        format!("the artifact begins with `{}`", name.display()),
                        format!("an artifact begins with `{MANIFEST_FILE}`"),
                    ));
                }
                let text = self.text(&mut entry, &name)?;
                manifest = Some(Manifest::from_json(&text).map_err(Refused::Artifact)?);
                continue;
            }
            self.entry(&mut entry, &name)?;
        }
        if long_name.is_some() {
            return Err(refused("the artifact ends with a name", "after a long name comes the file that has it"));
        }
        manifest.ok_or_else(|| refused("the artifact is empty", format!("an artifact begins with `{MANIFEST_FILE}`")))
    }

    /// The name of an entry, which leads to a place below the folder.
    fn name(&self, entry: &Entry<'_, impl Read>, long: Option<Vec<u8>>) -> Result<PathBuf, Refused> {
        let bytes = long.unwrap_or_else(|| entry.path_bytes().into_owned());
        let shown = String::from_utf8_lossy(&bytes).replace(char::is_control, "?");
        let kind = entry.header().entry_type();
        let is_folder = match kind {
            EntryType::Regular => false,
            EntryType::Directory => true,
            EntryType::Symlink | EntryType::Link => {
                return Err(refused(format!("`{shown}` is a link"), "an artifact has files and folders alone: a link could lead anywhere"));
            }
            _ => {
                let what = format!("`{shown}` is neither a file nor a folder");
                return Err(refused(what, "an artifact has no devices, pipes, or extensions of the archive's format"));
            }
        };
        let text = std::str::from_utf8(&bytes).ok();
        let text = if is_folder { text.map(|text| text.strip_suffix('/').unwrap_or(text)) } else { text };
        let path = text.and_then(inner_path);
        let path = path.filter(|path| bytes.len() <= LONGEST_PATH && path.iter().all(|part| part.len() <= LONGEST_NAME));
        let Some(path) = path else {
            let what = format!("`{shown}` is no path that an artifact may have");
            let why = format!("paths are relative, plain, UTF-8, and have at most {LONGEST_PATH} bytes, as they are when flash packs them");
            return Err(refused(what, why));
        };
        if path.iter().count() > DEEPEST + usize::from(!is_folder) {
            let why = format!("a file of an artifact is within {DEEPEST} folders at most");
            return Err(refused(format!("`{shown}` is too deep"), why));
        }
        let at_top = path.iter().count() == 1;
        let known =
            if at_top && !is_folder { path == Path::new(MANIFEST_FILE) || path == Path::new(LOCK) } else { path.starts_with(SOURCES) };
        if !known {
            let why = format!("an artifact has `{MANIFEST_FILE}`, `{LOCK}` and what is in `{SOURCES}`");
            return Err(refused(format!("`{shown}` has no place in an artifact"), why));
        }
        Ok(path)
    }

    fn entry(&mut self, entry: &mut Entry<'_, impl Read>, name: &Path) -> Result<(), Refused> {
        if entry.header().entry_type() == EntryType::Directory {
            return self.folder(name);
        }
        if name == Path::new(LOCK) {
            let text = self.text(entry, name)?;
            let text = std::str::from_utf8(&text).map_err(|_| refused(format!("`{LOCK}` is not UTF-8"), "it is a list of packages"))?;
            return lock::check(text).map_err(|(line, why)| refused(format!("`{LOCK}` has the line `{line}`"), why));
        }
        let bytes = self.room_for(entry, name)?;
        let executable = entry.header().mode().map_err(unreadable)? & 0o100 != 0;
        let mut file = File::create_new(self.into.join(name))?;
        let written = io::copy(&mut Reading(entry), &mut file)
            .map_err(|error| if Unreadable::is(&error) { unreadable(error) } else { error.into() })?;
        if written != bytes {
            return Err(refused(format!("`{}` is cut off", name.display()), "the artifact ends before it does"));
        }
        set_mode(&file, executable)
    }

    /// Writes a file of text, and returns it.
    fn text(&mut self, entry: &mut Entry<'_, impl Read>, name: &Path) -> Result<Vec<u8>, Refused> {
        let bytes = self.room_for(entry, name)?;
        if bytes > LARGEST_TEXT {
            return Err(refused(format!("`{}` has {}", name.display(), size(bytes)), format!("it may have {}", size(LARGEST_TEXT))));
        }
        let mut text = Vec::new();
        entry.read_to_end(&mut text).map_err(unreadable)?;
        if text.len() as u64 != bytes {
            return Err(refused(format!("`{}` is cut off", name.display()), "the artifact ends before it does"));
        }
        let mut file = File::create_new(self.into.join(name))?;
        io::Write::write_all(&mut file, &text)?;
        set_mode(&file, false)?;
        Ok(text)
    }

    /// Takes note of a file that is to be written, and has its folder made.
    fn room_for(&mut self, entry: &Entry<'_, impl Read>, name: &Path) -> Result<u64, Refused> {
        let bytes = entry.header().entry_size().map_err(unreadable)?;
        let shown = name.display();
        if bytes > self.limits.file_bytes {
            let why = format!("a file of an artifact may have {}", size(self.limits.file_bytes));
            return Err(refused(format!("`{shown}` has {}", size(bytes)), why));
        }
        self.bytes += bytes;
        if self.bytes > self.limits.total_bytes {
            let why = format!("its files together may have {}", size(self.limits.total_bytes));
            return Err(refused(format!("the artifact is too large at `{shown}`"), why));
        }
        self.files += usize::from(name.starts_with(SOURCES));
        self.counted(self.files, "files")?;
        if let Some(folder) = name.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            self.folder(folder)?;
        }
        if self.there.insert(name.to_owned(), false).is_some() {
            return Err(refused(format!("`{shown}` is there twice"), "what is in an artifact is there once"));
        }
        Ok(bytes)
    }

    /// Makes a folder, and those above it.
    fn folder(&mut self, name: &Path) -> Result<(), Refused> {
        if let Some(above) = name.parent().filter(|above| !above.as_os_str().is_empty()) {
            self.folder(above)?;
        }
        match self.there.insert(name.to_owned(), true) {
            Some(true) => return Ok(()),
            Some(false) => {
                return Err(refused(format!("`{}` is a file and a folder", name.display()), "what is in an artifact is there once"));
            }
            None => {}
        }
        self.folders += usize::from(name != Path::new(SOURCES));
        self.counted(self.folders, "folders")?;
        let path = self.into.join(name);
        fs::create_dir(&path)?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?)
    }

    fn counted(&self, count: usize, what: &str) -> Result<(), Refused> {
        if count > self.limits.entries {
            return Err(refused(format!("the artifact has too many {what}"), format!("it may have {}", self.limits.entries)));
        }
        Ok(())
    }
}

fn set_mode(file: &File, executable: bool) -> Result<(), Refused> {
    Ok(file.set_permissions(fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?)
}

/// A name that has no room in a header: comes as an entry of its own.
fn read_long_name(entry: &mut Entry<'_, impl Read>) -> Result<Vec<u8>, Refused> {
    let mut name = Vec::new();
    // One more, and the zero at the end.
    entry.take(LONGEST_PATH as u64 + 2).read_to_end(&mut name).map_err(unreadable)?;
    if name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

/// What comes after the last entry is zeros, to the end of the stream, where its checksum stands.
fn only_padding(rest: &mut impl Read) -> io::Result<()> {
    let mut buffer = [0; 8 * 1024];
    loop {
        match rest.read(&mut buffer)? {
            0 => return Ok(()),
            count if buffer[..count].iter().all(|byte| *byte == 0) => {}
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "it goes on after its end")),
        }
    }
}

/// An error of reading: the archive's own, unless the system has a number for it.
fn unreadable(error: io::Error) -> Refused {
    if error.raw_os_error().is_some() {
        return Refused::System(error);
    }
    let inner = error.get_ref().filter(|inner| inner.is::<Unreadable>()).map(ToString::to_string);
    refused(
        format!("the artifact cannot be read: {}", inner.unwrap_or_else(|| error.to_string())),
        "an artifact is a tar archive within gzip",
    )
}

/// Marks errors of the reading side, where another side could have failed as well.
struct Reading<'a, R>(&'a mut R);

#[derive(Debug)]
struct Unreadable(String);

impl Unreadable {
    fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

impl<R: Read> Read for Reading<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.raw_os_error() {
            Some(_) => error,
            None => io::Error::new(error.kind(), Unreadable(error.to_string())),
        })
    }
}

/// Reads no more than an artifact may have, however little it was compressed from.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is larger than artifacts may be"))?;
        Ok(count)
    }
}
