//! What a disk may have once its power was cut.
//!
//! Between two syncs nothing is promised: each sector of 512 bytes has what it had at the sync, or what any of the writes since then made of it;
//! a file is as long as it was at any of the moments since; a name is there or not, until its folder was synced. Only within a sector
//! is nothing torn.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::recording::{Call, Moment};

const SECTOR: u64 = 512;

/// Numbers that a seed tells (splitmix).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[derive(Clone)]
enum Change {
    Write { at: u64, bytes: Vec<u8> },
    Length(u64),
}

#[derive(Clone)]
struct Pending {
    call: usize,
    ended: bool,
    change: Change,
}

/// A file, whatever it is called.
#[derive(Clone, Default)]
struct File {
    folder: bool,
    /// What it is to have after a cut, without what is pending.
    kept: Vec<u8>,
    pending: Vec<Pending>,
    /// How long it is for those who run.
    length: u64,
}

#[derive(Clone)]
struct Renamed {
    call: usize,
    ended: bool,
    path: PathBuf,
    /// `None` where the name goes.
    file: Option<usize>,
}

#[derive(Default)]
pub struct Disk {
    files: Vec<File>,
    /// Names, for those who run.
    names: HashMap<PathBuf, usize>,
    kept_names: HashMap<PathBuf, usize>,
    pending_names: Vec<Renamed>,
    /// What had ended when a sync that is under way began.
    syncing: HashMap<usize, Vec<usize>>,
}

impl Disk {
    pub fn see(&mut self, moment: &Moment) {
        match moment {
            Moment::Begin(number, call) => self.begin(*number, call),
            Moment::End(number, call) => self.end(*number, call),
        }
    }

    fn begin(&mut self, call: usize, what: &Call) {
        match what {
            Call::Make { path, folder } => {
                if !self.names.contains_key(path) {
                    let file = self.files.len();
                    self.files.push(File { folder: *folder, ..File::default() });
                    self.name(call, path, Some(file));
                }
            }
            Call::Remove { path } => self.name(call, path, None),
            Call::Empty { path } => self.change(call, path, Change::Length(0)),
            Call::Truncate { path, length } => self.change(call, path, Change::Length(*length)),
            Call::Write { path, at, bytes } => {
                let at = at.or_else(|| self.names.get(path).map(|file| self.files[*file].length)).unwrap_or(0);
                self.change(call, path, Change::Write { at, bytes: bytes.clone() });
            }
            Call::Sync { path } => {
                let ended = |(call, ended): (usize, bool)| ended.then_some(call);
                let calls = match self.names.get(path) {
                    Some(file) if !self.files[*file].folder => {
                        self.files[*file].pending.iter().map(|pending| (pending.call, pending.ended)).filter_map(ended).collect()
                    }
                    _ => self.pending_names.iter().map(|renamed| (renamed.call, renamed.ended)).filter_map(ended).collect(),
                };
                self.syncing.insert(call, calls);
            }
            Call::Say(_) => {}
        }
    }

    fn end(&mut self, call: usize, what: &Call) {
        if let Call::Sync { path } = what {
            let covered = self.syncing.remove(&call).unwrap_or_default();
            match self.names.get(path) {
                Some(file) if !self.files[*file].folder => self.files[*file].keep(&covered),
                _ => self.keep_names(path, &covered),
            }
            return;
        }
        let files = self.files.iter_mut().flat_map(|file| &mut file.pending).filter(|pending| pending.call == call);
        files.for_each(|pending| pending.ended = true);
        self.pending_names.iter_mut().filter(|renamed| renamed.call == call).for_each(|renamed| renamed.ended = true);
    }

    fn name(&mut self, call: usize, path: &Path, file: Option<usize>) {
        match file {
            Some(file) => drop(self.names.insert(path.to_owned(), file)),
            None => drop(self.names.remove(path)),
        }
        self.pending_names.push(Renamed { call, ended: false, path: path.to_owned(), file });
    }

    fn change(&mut self, call: usize, path: &Path, change: Change) {
        // Nobody finds again what is written to a file without a name.
        let Some(file) = self.names.get(path) else { return };
        let file = &mut self.files[*file];
        file.length = match &change {
            Change::Length(length) => *length,
            Change::Write { at, bytes } => file.length.max(at + bytes.len() as u64),
        };
        file.pending.push(Pending { call, ended: false, change });
    }

    fn keep_names(&mut self, folder: &Path, covered: &[usize]) {
        let (kept, pending): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending_names)
            .into_iter()
            .partition(|renamed| covered.contains(&renamed.call) && renamed.path.parent() == Some(folder));
        self.pending_names = pending;
        apply_names(&mut self.kept_names, kept.iter());
    }

    /// Writes into this folder what a cut may leave.
    pub fn cut(&self, into: &Path, dice: &mut Dice) {
        let mut names = self.kept_names.clone();
        let chosen = chosen(self.pending_names.len(), dice);
        apply_names(&mut names, self.pending_names.iter().zip(chosen).filter(|(_, there)| *there).map(|(renamed, _)| renamed));
        let mut paths: Vec<_> = names.into_iter().collect();
        // Folders come before what is in them; what is in a folder that is gone is gone.
        paths.sort();
        for (path, file) in paths {
            let (file, path) = (&self.files[file], into.join(path));
            if file.folder {
                std::fs::create_dir(path).unwrap();
            } else if path.parent().is_some_and(Path::exists) {
                std::fs::write(path, file.cut(dice)).unwrap();
            }
        }
    }
}

fn apply_names<'a>(names: &mut HashMap<PathBuf, usize>, changes: impl Iterator<Item = &'a Renamed>) {
    for Renamed { path, file, .. } in changes {
        match file {
            Some(file) => drop(names.insert(path.clone(), *file)),
            None => drop(names.remove(path)),
        }
    }
}

/// Which of so many pending changes are there: none, all, the first ones, or any.
fn chosen(number: usize, dice: &mut Dice) -> Vec<bool> {
    let first = dice.below(number as u64 + 1) as usize;
    match dice.below(4) {
        0 => vec![false; number],
        1 => vec![true; number],
        2 => (0..number).map(|index| index < first).collect(),
        _ => (0..number).map(|_| dice.below(2) == 0).collect(),
    }
}

impl File {
    fn keep(&mut self, covered: &[usize]) {
        let (kept, pending): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|pending| covered.contains(&pending.call));
        self.pending = pending;
        kept.iter().for_each(|pending| apply(&mut self.kept, &pending.change, |_| true));
    }

    /// What it may have: each change is there, or is not, or is in some sectors.
    fn cut(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.kept.clone();
        for (pending, there) in self.pending.iter().zip(chosen(self.pending.len(), dice)) {
            let torn = dice.below(4) == 0;
            if there || torn {
                apply(&mut bytes, &pending.change, |_| there && !torn || dice.below(2) == 0);
            }
        }
        bytes
    }
}

/// The sectors for which it is so.
fn apply(bytes: &mut Vec<u8>, change: &Change, mut there: impl FnMut(u64) -> bool) {
    match change {
        Change::Length(length) => {
            if there(0) {
                bytes.resize(*length as usize, 0);
            }
        }
        Change::Write { at, bytes: new } => {
            let end = at + new.len() as u64;
            let mut begin = *at;
            while begin < end {
                let stop = end.min((begin / SECTOR + 1) * SECTOR);
                if there(begin / SECTOR) {
                    // What was never written reads as zeros.
                    if bytes.len() < stop as usize {
                        bytes.resize(stop as usize, 0);
                    }
                    bytes[begin as usize..stop as usize].copy_from_slice(&new[(begin - at) as usize..(stop - at) as usize]);
                }
                begin = stop;
            }
        }
    }
}
