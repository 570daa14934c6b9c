//! Events of files, gathered until there is some rest: a save, or a checkout of a thousand files, is one burst. The rule alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, DataChange, ModifyKind, RemoveKind};
use notify::{Event, EventKind};

/// A burst is over when nothing has come for this long: editors write a file in several steps, a few milliseconds apart.
const REST: Duration = Duration::from_millis(25);
/// It is taken to be over after this, for some program may never rest.
const LONGEST: Duration = Duration::from_millis(500);

/// What has happened to the project's files of late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Burst {
    /// Files that may hold something else.
    pub written: BTreeSet<PathBuf>,
    /// Those of them that somebody is still writing to.
    open: BTreeSet<PathBuf>,
    times: Option<(Instant, Instant)>,
}

impl Burst {
    /// Something has happened.
    pub fn add(&mut self, now: Instant) {
        self.times = Some((self.times.map_or(now, |(first, _)| first), now));
    }

    /// A file is being written to.
    pub fn writing(&mut self, file: &Path, now: Instant) {
        self.written.insert(file.to_owned());
        self.open.insert(file.to_owned());
        self.add(now);
    }

    /// A file was written, or is new or gone.
    pub fn wrote(&mut self, file: &Path, now: Instant) {
        self.written.insert(file.to_owned());
        self.open.remove(file);
        self.add(now);
    }

    /// When it began; `None` when nothing has happened.
    pub fn began(&self) -> Option<Instant> {
        self.times.map(|(first, _)| first)
    }

    /// When it is over, if nothing more comes.
    pub fn over(&self) -> Option<Instant> {
        let (first, last) = self.times?;
        let longest = first + LONGEST;
        Some(if self.open.is_empty() { longest.min(last + REST) } else { longest })
    }
}

/// What an event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint<'e> {
    /// This source holds something else, and may not be whole yet.
    Writing(&'e Path),
    /// This source holds something else, is new, or is gone.
    Written(&'e Path),
    /// This source has other metadata, permissions say.
    Touched(&'e Path),
    /// Here is something new, which is of interest if it is a folder.
    Came(&'e Path),
    /// What was here is not any more, which is of interest if it was a folder.
    Gone(&'e Path),
    /// Events were lost: anything may have happened.
    Anything,
}

/// What is of interest in an event.
pub fn hints(event: &Event) -> Vec<Hint<'_>> {
    if event.need_rescan() {
        return vec![Hint::Anything];
    }
    let of_path: fn(&Path) -> [Option<Hint<'_>>; 3] = match event.kind {
        // inotify says so, and says later that the file was closed.
        EventKind::Modify(ModifyKind::Data(DataChange::Any)) => |path| [is_source(path).then_some(Hint::Writing(path)), None, None],
        EventKind::Modify(ModifyKind::Metadata(_)) => |path| [is_source(path).then_some(Hint::Touched(path)), None, None],
        EventKind::Create(CreateKind::File)
        | EventKind::Remove(RemoveKind::File)
        | EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any | ModifyKind::Other)
        | EventKind::Any => |path| [written(path), None, None],
        EventKind::Modify(ModifyKind::Name(_)) => |path| [written(path), Some(Hint::Gone(path)), Some(Hint::Came(path))],
        EventKind::Create(_) => |path| [written(path), Some(Hint::Came(path)), None],
        EventKind::Remove(_) => |path| [written(path), Some(Hint::Gone(path)), None],
        EventKind::Access(_) | EventKind::Other => return Vec::new(),
    };
    // What Python leaves beside modules comes and goes with their import.
    let paths = event.paths.iter().filter(|path| path.file_name().is_none_or(|name| name != "__pycache__"));
    paths.flat_map(|path| of_path(path)).flatten().collect()
}

fn written(path: &Path) -> Option<Hint<'_>> {
    is_source(path).then_some(Hint::Written(path))
}

/// Whether a file is one that a reload is about, by its name: modules, compiled ones too, settings, and what says which files count.
fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "py" || extension == "so")
        || path.file_name().is_some_and(|name| name == "flash.toml" || name == "pyproject.toml" || name == ".gitignore")
}

#[cfg(test)]
mod tests {
    use notify::event::{Flag, MetadataKind, RenameMode};

    use super::*;

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn a_burst_is_over_when_there_was_rest() {
        let start = Instant::now();
        let mut burst = Burst::default();
        assert_eq!((burst.began(), burst.over()), (None, None));
        burst.wrote(Path::new("/p/a.py"), start);
        assert_eq!(burst.over(), Some(after(start, 25)));
        burst.add(after(start, 20));
        burst.wrote(Path::new("/p/a.py"), after(start, 40));
        assert_eq!((burst.began(), burst.over()), (Some(start), Some(after(start, 65))));
        assert_eq!(burst.written, [PathBuf::from("/p/a.py")].into());
    }

    #[test]
    fn who_never_rests_does_not_put_a_reload_off_for_ever() {
        let start = Instant::now();
        let mut burst = Burst::default();
        for tick in 0..100 {
            burst.add(after(start, tick * 20));
        }
        assert_eq!(burst.over(), Some(after(start, 500)));
    }

    #[test]
    fn a_file_that_is_being_written_is_waited_for() {
        let start = Instant::now();
        let (a, b) = (Path::new("/p/a.py"), Path::new("/p/b.py"));
        let mut burst = Burst::default();
        burst.writing(a, start);
        burst.wrote(b, after(start, 10));
        assert_eq!(burst.over(), Some(after(start, 500)), "but not for ever");
        burst.wrote(a, after(start, 100));
        assert_eq!(burst.over(), Some(after(start, 125)));
        assert_eq!(burst.written, [a.to_owned(), b.to_owned()].into());
    }

    fn check(kind: EventKind, path: &str, expected: &[Hint<'_>]) {
        assert_eq!(hints(&Event::new(kind).add_path(path.into())), expected, "{kind:?} {path}");
    }

    #[test]
    fn saves_of_all_kinds_are_seen() {
        let app = Path::new("/p/app.py");
        let written = Hint::Written(app);
        check(EventKind::Access(AccessKind::Close(AccessMode::Write)), "/p/app.py", &[written]);
        check(EventKind::Modify(ModifyKind::Data(DataChange::Any)), "/p/app.py", &[Hint::Writing(app)]);
        check(EventKind::Modify(ModifyKind::Data(DataChange::Content)), "/p/app.py", &[written]);
        check(EventKind::Create(CreateKind::File), "/p/app.py", &[written]);
        check(EventKind::Remove(RemoveKind::File), "/p/app.py", &[written]);
        check(EventKind::Modify(ModifyKind::Name(RenameMode::To)), "/p/app.py", &[written, Hint::Gone(app), Hint::Came(app)]);
        check(EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), "/p/app.py", &[Hint::Touched(app)]);
        for file in ["/p/flash.toml", "/p/pyproject.toml", "/p/.gitignore", "/p/fast.cpython-311-x86_64-linux-gnu.so"] {
            check(EventKind::Create(CreateKind::File), file, &[Hint::Written(Path::new(file))]);
        }
    }

    #[test]
    fn folders_are_followed() {
        let folder = Path::new("/p/pkg");
        check(EventKind::Create(CreateKind::Folder), "/p/pkg", &[Hint::Came(folder)]);
        check(EventKind::Remove(RemoveKind::Folder), "/p/pkg", &[Hint::Gone(folder)]);
        check(EventKind::Modify(ModifyKind::Name(RenameMode::From)), "/p/pkg", &[Hint::Gone(folder), Hint::Came(folder)]);
    }

    #[test]
    fn what_functions_read_and_write_is_their_own_affair() {
        check(EventKind::Modify(ModifyKind::Data(DataChange::Any)), "/p/data.json", &[]);
        check(EventKind::Create(CreateKind::File), "/p/app.pyc", &[]);
        check(EventKind::Create(CreateKind::Folder), "/p/__pycache__", &[]);
        check(EventKind::Access(AccessKind::Open(AccessMode::Any)), "/p/app.py", &[]);
        check(EventKind::Access(AccessKind::Close(AccessMode::Read)), "/p/app.py", &[]);
    }

    #[test]
    fn lost_events_are_noticed() {
        assert_eq!(hints(&Event::new(EventKind::Other).set_flag(Flag::Rescan)), [Hint::Anything]);
    }
}
