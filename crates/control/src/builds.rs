//! Builds on the disk: taken in, unpacked, read, collected.
//!
//! `builds/<digest>/` has `artifact.tar.gz` and `tree/`. It gets there by a rename, once all of it is on the disk, and only then does the
//! store know of it: a server that is killed meanwhile leaves a folder that begins with a dot, or one that the store does not know, and
//! both go at the next start.
//!
//! What the disk loses later is noticed by `contents.json`, which says what the tree had when it was unpacked, and mended from the artifact.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead as _, BufReader, Seek as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flash_build::{Limits, Refused};
use flash_manifest::{Diagnostic, Endpoint, MANIFEST_FILE, Manifest, PythonVersion};
use sha2::{Digest as _, Sha256};

use crate::refusal::Refusal;
use crate::secret;

const ARTIFACT: &str = "artifact.tar.gz";
const TREE: &str = "tree";
const INTERPRETER: &str = "interpreter";
/// The files of the tree with their lengths, as they were unpacked.
const CONTENTS: &str = "contents.json";
/// A tree that is to take another one's place.
const RENEWED: &str = ".tree";
/// What an upload is called until it is a build.
const INCOMING: &str = ".incoming-";

/// The folder of all builds.
pub struct Builds {
    folder: PathBuf,
}

/// A build that is there.
#[derive(Debug)]
pub struct Tree {
    /// What it declares, with the paths that its files have here.
    pub endpoints: Vec<Endpoint>,
    /// The Python that its requirements were locked for.
    pub python: Option<PythonVersion>,
    /// The text of its lock, where it has requirements.
    pub lock: Option<String>,
    /// The interpreter of the environment that was made for these, the last time.
    pub interpreter: Option<PathBuf>,
}

impl Builds {
    /// Those in this folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Removes what a server that was killed has left: all but the builds of these digests.
    pub fn clean(&self, known: &HashSet<String>) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| known.contains(name)) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Whether the build of this digest was taken in. That it can be used is for [`Self::damage`] to say.
    pub fn has(&self, digest: &str) -> bool {
        self.folder.join(digest).join(ARTIFACT).is_file()
    }

    /// The first file of a build's tree that is not as it was unpacked, going by what each start has time for: that it is there, and its length.
    pub fn damage(&self, digest: &str) -> Option<PathBuf> {
        let folder = self.folder.join(digest);
        let (record, tree) = (folder.join(CONTENTS), folder.join(TREE));
        let contents = fs::read(&record).ok().and_then(|text| serde_json::from_slice::<BTreeMap<PathBuf, u64>>(&text).ok());
        let Some(contents) = contents else { return Some(record) };
        let is_whole = |path: &Path, bytes: u64| fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == bytes);
        let differs = contents.into_iter().map(|(path, bytes)| (tree.join(path), bytes)).find(|(path, bytes)| !is_whole(path, *bytes));
        let manifest = tree.join(MANIFEST_FILE);
        let garbled = || fs::read(&manifest).map_or(true, |text| Manifest::from_json(&text).is_err()).then_some(manifest.clone());
        differs.map(|(path, _)| path).or_else(garbled)
    }

    /// Unpacks a build anew, from the artifact that it came as. Errs where that is not what it was either; then it has to be sent again.
    pub fn renew(&self, digest: &str) -> io::Result<()> {
        let folder = self.folder.join(digest);
        for left in fs::read_dir(&folder)?.flatten().filter(|entry| entry.file_name().as_bytes().starts_with(b".")) {
            fs::remove_dir_all(left.path())?; // of a server that was killed meanwhile
        }
        let mut artifact = BufReader::new(File::open(folder.join(ARTIFACT))?);
        let mut sum = Sha256::new();
        loop {
            let piece = artifact.fill_buf()?;
            if piece.is_empty() {
                break;
            }
            sum.update(piece);
            let read = piece.len();
            artifact.consume(read);
        }
        if secret::hex(&sum.finalize()) != digest {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("`{ARTIFACT}` has another SHA-256 than it came with")));
        }
        artifact.rewind()?;
        let renewed = folder.join(RENEWED);
        flash_build::unpack(artifact, &renewed, &Limits::default()).map_err(|refused| match refused {
            Refused::System(cause) => cause,
            refused @ Refused::Artifact(_) => io::Error::other(refused),
        })?;
        note_contents(&renewed, &folder.join(CONTENTS))?;
        let tree = folder.join(TREE);
        match fs::remove_dir_all(&tree) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => fs::remove_file(&tree)?,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(&renewed, &tree)
    }

    /// Where the sources of a build are.
    pub fn sources(&self, digest: &str) -> PathBuf {
        self.folder.join(digest).join(TREE).join("src")
    }

    /// Reads what a build declares.
    pub fn read(&self, digest: &str) -> Result<Tree, Refusal> {
        let tree = self.folder.join(digest).join(TREE);
        let text = fs::read(tree.join(MANIFEST_FILE)).map_err(|cause| unreadable(digest, &cause))?;
        let manifest = Manifest::from_json(&text).map_err(|problems| bad_artifact(&problems))?;
        let lock = match fs::read_to_string(tree.join("requirements.lock")) {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(unreadable(digest, &error)),
        };
        let interpreter = fs::read(self.folder.join(digest).join(INTERPRETER)).ok();
        let interpreter = interpreter.map(|path| PathBuf::from(OsString::from_vec(path))).filter(|path| path.exists());
        Ok(Tree { endpoints: manifest.endpoints_in(&tree.join("src")), python: manifest.python_version, lock, interpreter })
    }

    /// The interpreters of the environments that were made for builds which are there.
    pub fn interpreters(&self) -> io::Result<Vec<PathBuf>> {
        let folders = fs::read_dir(&self.folder)?.flatten();
        let noted = folders.filter_map(|folder| fs::read(folder.path().join(INTERPRETER)).ok());
        Ok(noted.map(|path| PathBuf::from(OsString::from_vec(path))).collect())
    }

    /// Notes the interpreter of the environment that was made for a build.
    pub fn note_interpreter(&self, digest: &str, interpreter: &Path) -> io::Result<()> {
        fs::write(self.folder.join(digest).join(INTERPRETER), interpreter.as_os_str().as_bytes())
    }

    /// Begins an upload.
    pub fn receive(&self) -> io::Result<Incoming> {
        let folder = self.folder.join(format!("{INCOMING}{}", secret::hex(&secret::random::<8>()?)));
        // Workers of other users read what is in it; who may come here is a matter of the folders above.
        DirBuilder::new().mode(0o755).create(&folder)?;
        let file = File::create_new(folder.join(ARTIFACT))?;
        Ok(Incoming { folder, file: Some(file), digest: Sha256::new(), bytes: 0 })
    }

    /// Makes a build of an upload that is whole and is what its name says. Gives its manifest and its length.
    pub fn place(&self, mut incoming: Incoming, digest: &str) -> Result<(Manifest, u64), Refusal> {
        let file = incoming.file.take().expect("it is there until here");
        file.sync_all().map_err(|cause| system(&cause))?;
        let found = secret::hex(&incoming.digest.clone().finalize());
        if found != digest {
            return Err(Refusal::OtherDigest { named: digest.to_owned(), found });
        }
        let archive = File::open(incoming.folder.join(ARTIFACT)).map_err(|cause| system(&cause))?;
        let manifest = flash_build::unpack(BufReader::new(archive), &incoming.folder.join(TREE), &Limits::default());
        let manifest = manifest.map_err(|refused| match refused {
            Refused::Artifact(problems) => bad_artifact(&problems),
            Refused::System(cause) => system(&cause),
        })?;
        note_contents(&incoming.folder.join(TREE), &incoming.folder.join(CONTENTS)).map_err(|cause| system(&cause))?;
        // The store will say that the build is there, whatever happens to the power: so it has to be.
        let folder = File::open(&self.folder).map_err(|cause| system(&cause))?;
        rustix::fs::syncfs(&folder).map_err(|cause| system(&cause.into()))?;
        let place = self.folder.join(digest);
        // The store does not know it, or it is not whole: else it would not have been sent.
        self.remove(digest).map_err(|cause| system(&cause))?;
        fs::rename(&incoming.folder, &place).map_err(|cause| system(&cause))?;
        folder.sync_all().map_err(|cause| system(&cause))?;
        Ok((manifest, incoming.bytes))
    }

    /// Removes a build that the store has forgotten.
    pub fn remove(&self, digest: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.folder.join(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// An upload as it comes; dropped before it is a build, it leaves nothing.
pub struct Incoming {
    folder: PathBuf,
    file: Option<File>,
    digest: Sha256,
    bytes: u64,
}

impl Incoming {
    /// Writes the next piece.
    pub fn write(&mut self, piece: &Bytes) -> io::Result<()> {
        self.digest.update(piece);
        self.bytes += piece.len() as u64;
        self.file.as_mut().expect("it is there until it is placed").write_all(piece)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder); // it was renamed; or the next start tries again
    }
}

/// Notes which files a tree has, and how long they are.
fn note_contents(tree: &Path, record: &Path) -> io::Result<()> {
    let (mut contents, mut folders) = (BTreeMap::new(), vec![tree.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let (path, found) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
            if found.is_dir() {
                folders.push(path);
            } else {
                contents.insert(path.strip_prefix(tree).expect("it is below the tree").to_owned(), found.len());
            }
        }
    }
    fs::write(record, serde_json::to_vec(&contents)?)
}

/// Whether a text can be a digest.
pub fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What a system's error means to who uploads.
pub fn system(cause: &io::Error) -> Refusal {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Refusal::NoRoom { why: cause.to_string() },
        _ => Refusal::System { what: "the build cannot be kept".into(), why: cause.to_string() },
    }
}

fn unreadable(digest: &str, cause: &io::Error) -> Refusal {
    Refusal::System { what: format!("the build {} cannot be read", &digest[..12.min(digest.len())]), why: cause.to_string() }
}

/// All that is wrong, told as one.
pub fn bad_artifact(problems: &[Diagnostic]) -> Refusal {
    let (what, why, remedy) = told(problems);
    Refusal::BadArtifact { what, why, remedy }
}

/// The first problem's words; behind its reason the others.
pub fn told(problems: &[Diagnostic]) -> (String, String, String) {
    let Some((first, rest)) = problems.split_first() else { return Default::default() };
    let at = first.location.as_ref().map(|location| format!(" ({location})")).unwrap_or_default();
    let others: String = rest.iter().map(|problem| format!("\nalso: {}: {}", problem.what, problem.why)).collect();
    (format!("{}{at}", first.what), format!("{}{others}", first.why), first.remedy.clone())
}
