//! How far the processes of deployed endpoints can be kept apart on this machine.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use landlock::{ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, Scope};
use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, capabilities};

/// What Landlock does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Landlock {
    /// The kernel does not offer it.
    No,
    /// It keeps from files and from other processes' memory (Linux 5.13), and below Linux 6.2 not from truncating files.
    Files,
    /// From signals to other processes and from abstract sockets as well (Linux 6.12).
    Full,
}

/// What keeps deployed workers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Each endpoint's run as a user of its own.
    pub user: bool,
    /// They see no other files than they need.
    pub landlock: Landlock,
}

impl Level {
    /// The strongest that this process can bring about.
    pub fn available() -> Self {
        Self { user: can_change_user(), landlock: landlock() }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match (self.user, self.landlock) {
            (false, Landlock::No) => "none",
            (true, Landlock::No) => "user",
            (false, Landlock::Files) => "landlock-files",
            (true, Landlock::Files) => "user+landlock-files",
            (false, Landlock::Full) => "landlock",
            (true, Landlock::Full) => "user+landlock",
        })
    }
}

/// The first directory of those in these paths, or in what they link to, that lets nobody pass but its owner and group; or a file that
/// others cannot read. Workers with a user of their own would not reach it.
pub fn closed_to_others<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Option<PathBuf> {
    let closed = |path: &Path, mode: u32| path.metadata().is_ok_and(|found| found.mode() & mode != mode);
    paths.into_iter().find_map(|path| {
        let resolved = path.canonicalize().ok()?;
        let places = path.ancestors().skip(1).chain(resolved.ancestors().skip(1)).filter(|place| place.is_absolute());
        let mut outermost: Vec<_> = places.filter(|place| closed(place, 0o001)).collect();
        outermost.sort_by_key(|place| place.components().count());
        let itself = closed(&resolved, if resolved.is_dir() { 0o001 } else { 0o004 }).then_some(&*resolved);
        outermost.first().copied().or(itself).map(Path::to_owned)
    })
}

fn can_change_user() -> bool {
    const NEEDED: CapabilitySet = CapabilitySet::SETUID.union(CapabilitySet::SETGID).union(CapabilitySet::CHOWN).union(CapabilitySet::KILL);
    geteuid().is_root() && capabilities(None).is_ok_and(|sets| sets.effective.contains(NEEDED))
}

fn landlock() -> Landlock {
    // A set of rules that is made holds for nobody yet.
    let strict = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let files = || strict().handle_access(AccessFs::from_all(ABI::V1))?.create();
    let full = || strict().handle_access(AccessFs::from_all(ABI::V6))?.scope(Scope::from_all(ABI::V6))?.create();
    match (full(), files()) {
        (Ok(_), _) => Landlock::Full,
        (Err(_), Ok(_)) => Landlock::Files,
        (Err(_), Err(_)) => Landlock::No,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_place_that_others_cannot_reach_is_named() {
        let place = tempfile::tempdir().expect("there is room");
        let open = |path: &Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
        let make = |name: &str| {
            let path = place.path().join(name);
            fs::create_dir_all(&path).expect("there is room");
            path
        };
        let (inner, outer) = (make("outer/inner"), make("outer"));
        let file = inner.join("python");
        fs::write(&file, "").expect("there is room");
        open(place.path(), 0o755);
        for path in [&outer, &inner] {
            open(path, 0o711);
        }
        open(&file, 0o644);
        let closed = |path: &Path| closed_to_others([path]);
        assert_eq!(closed(&file), None);
        assert_eq!(closed(&inner), None, "it is to be passed through, not listed");
        open(&inner, 0o710);
        assert_eq!(closed(&inner), Some(inner.clone()));
        open(&inner, 0o711);
        open(&file, 0o640);
        assert_eq!(closed(&file), Some(file.clone()));
        open(&file, 0o644);
        open(&outer, 0o750);
        let link = place.path().join("link");
        symlink(&file, &link).expect("there is room");
        for path in [&file, &link] {
            assert_eq!(closed(path), Some(outer.clone()));
        }
    }
}
