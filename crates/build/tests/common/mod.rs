//! Projects to build, and archives made by hand.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use flash_build::{Artifact, Limits, Request};
use flash_manifest::Diagnostic;

/// A module with one endpoint of one route.
pub const APP: &str = "from runpod_flash import LiveLoadBalancer, remote\n\
    api = LiveLoadBalancer(name='api', workersMax=1)\n\
    @remote(api, method='GET', path='/hello')\n\
    def hello(): ...\n";

/// A project's folder, which goes away with its test.
pub struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    /// One with these files; an `app.py` is there in any case.
    pub fn new<'text>(files: impl IntoIterator<Item = (&'text str, &'text str)>) -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        project.write("project/app.py", APP);
        for (name, text) in files {
            project.write(&format!("project/{name}"), text);
        }
        project
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The project's root.
    pub fn root(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("project")
    }

    /// The folder around it.
    pub fn around(&self) -> PathBuf {
        self.root().parent().unwrap().to_owned()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn request<'a>(target: &'a Path, exclude: &'a [String]) -> Request<'a> {
        Request { target, flash_app: Some("app"), exclude, python_version: None, output: None, limits: Limits::default() }
    }

    pub fn build(&self) -> Result<Artifact, Vec<Diagnostic>> {
        flash_build::build(&Self::request(&self.root(), &[]))
    }

    /// The build, which is sound.
    pub fn built(&self) -> Artifact {
        self.build().unwrap_or_else(|problems| panic!("{}", self.told(&problems)))
    }

    /// What is packed of it.
    pub fn files(&self) -> Vec<String> {
        self.built().files
    }

    /// Why it is not built.
    pub fn refused(&self) -> String {
        self.told(&self.build().expect_err("something is wrong with it"))
    }

    /// What the build is warned of.
    pub fn warned(&self) -> String {
        self.told(&self.built().warnings)
    }

    /// All messages, with the folder's name left out.
    pub fn told(&self, problems: &[Diagnostic]) -> String {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let root = self.root();
        all.join("\n").replace(&format!("{}/", root.display()), "").replace(&root.display().to_string(), "ROOT")
    }
}

/// A tar archive, written by hand: whatever an attacker could write.
#[derive(Clone, Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    /// One that begins with a manifest.
    pub fn with_manifest(manifest: &str) -> Self {
        Self::default().file("flash_manifest.json", manifest.as_bytes())
    }

    /// A sound one, to which something is added.
    pub fn sound() -> Self {
        Self::with_manifest(MANIFEST).file("src/app.py", APP.as_bytes())
    }

    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(name.as_bytes(), b'0', "", content.len() as u64, content)
    }

    /// An entry of any kind: a link's `target`, a size that may be another than the content's.
    pub fn entry(mut self, name: &[u8], kind: u8, target: &str, size: u64, content: &[u8]) -> Self {
        let mut header = [0_u8; 512];
        header[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
        header[100..108].copy_from_slice(b"0000644\0");
        header[108..116].copy_from_slice(b"0000000\0");
        header[116..124].copy_from_slice(b"0000000\0");
        header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[156] = kind;
        header[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Without an end, for what is cut off.
    pub fn unended(&self) -> Vec<u8> {
        gzip(&self.0)
    }

    pub fn ended(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes.extend_from_slice(&[0; 1024]);
        gzip(&bytes)
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

/// What belongs to `APP` in `app.py`.
pub const MANIFEST: &str = r#"{"version": 1, "app": "app", "endpoints": [{"name": "api", "class": "LiveLoadBalancer", "file": "app.py", "line": 2,
    "workers": [0, 1], "functions": [{"name": "hello", "kind": "def", "module": "app", "file": "app.py", "line": 4, "method": "GET",
    "path": "/hello"}]}]}"#;

/// Everything below a folder, with what is in the files.
pub fn listing(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.push((name + "/", Vec::new()));
                waiting.push(path);
            } else {
                found.push((name, fs::read(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}
