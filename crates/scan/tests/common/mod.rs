//! Projects to scan, made for one test each.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::fs;
use std::path::{Path, PathBuf};

use flash_manifest::{Diagnostic, Endpoint, Project};

/// What every declaration needs in front.
pub const IMPORT: &str = "from runpod_flash import LiveLoadBalancer, remote\n";

/// The first lines of most modules: an endpoint called `api`.
pub const API: &str = "from runpod_flash import LiveLoadBalancer, remote\napi = LiveLoadBalancer(name='api')\n";

/// A folder that goes away with its test.
pub struct Tree(tempfile::TempDir);

impl Tree {
    /// A folder with these files.
    pub fn new<'text>(files: impl IntoIterator<Item = (&'text str, String)>) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            tree.write(name, text);
        }
        tree
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn root(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn scan(&self, name: &str) -> Result<Project, Vec<Diagnostic>> {
        flash_scan::scan(&self.path(name), None)
    }

    /// The project, which is sound.
    pub fn project(&self, name: &str) -> Project {
        self.scan(name).unwrap_or_else(|problems| panic!("{}", self.told(&problems)))
    }

    /// All messages, with the folder's name left out.
    pub fn told(&self, problems: &[Diagnostic]) -> String {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let root = self.root();
        all.join("\n").replace(&format!("{}/", root.display()), "").replace(&root.display().to_string(), "ROOT")
    }
}

/// One module, `app.py`, sound.
pub fn module(text: &str) -> Project {
    Tree::new([("app.py", text.to_owned())]).project("app.py")
}

/// What is said of one module, `app.py`, that is not sound.
pub fn refused(text: &str) -> String {
    let tree = Tree::new([("app.py", text.to_owned())]);
    let problems = tree.scan("app.py").expect_err("something is wrong with it");
    tree.told(&problems)
}

/// What one sound module, `app.py`, is warned of.
pub fn warned(text: &str) -> String {
    let tree = Tree::new([("app.py", text.to_owned())]);
    tree.told(&tree.project("app.py").warnings)
}

/// An endpoint's routes, each with its function's name: `GET /users list_users`.
pub fn routes(endpoint: &Endpoint) -> Vec<String> {
    let one = |function: &flash_manifest::Function| match &function.route {
        Some(route) => format!("{route} {}", function.qualname),
        None => function.qualname.clone(),
    };
    endpoint.functions.iter().map(one).collect()
}

/// All endpoints, each with its routes.
pub fn summary(project: &Project) -> Vec<(String, Vec<String>)> {
    project.endpoints.iter().map(|endpoint| (endpoint.name.to_string(), routes(endpoint))).collect()
}

/// The guide's programs.
pub fn guide(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/guide").join(name)
}
