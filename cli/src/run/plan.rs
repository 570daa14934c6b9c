//! What a change of the sources asks for: which endpoints start anew, which stop, which stay; and how that is told. Rules alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flash_manifest::Endpoint;
use flash_workers::Imported;
use serde_json::Value;

/// An endpoint that is served: what its workers were told, and what they have imported.
#[derive(Debug)]
pub struct Running<'s> {
    /// What its workers were told.
    pub config: &'s Value,
    /// The project's files that they have imported.
    pub imported: Imported,
}

/// What is to be done to the endpoints that are served; those that it does not name stay as they are, with their state.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// They start: in the place of the one of their name, where there is one.
    pub start: BTreeSet<String>,
    /// They are served no longer.
    pub stop: BTreeSet<String>,
}

impl Plan {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.start.is_empty() && self.stop.is_empty()
    }
}

/// Plans. An endpoint stays when its workers would be told the same as before and no file that they have imported has changed.
pub fn plan(running: &BTreeMap<&str, Running<'_>>, wanted: &BTreeMap<&str, Value>, changed: &BTreeSet<PathBuf>) -> Plan {
    let settings = changed.iter().any(|file| is_settings(file));
    let stays = |name: &str, config: &Value| {
        let same = |running: &Running<'_>| running.config == config && !settings && !running.imported.has_any(changed);
        running.get(name).is_some_and(same)
    };
    let start = wanted.iter().filter(|(name, config)| !stays(name, config)).map(|(name, _)| (*name).to_owned());
    let stop = running.keys().filter(|name| !wanted.contains_key(*name)).map(|name| (*name).to_owned());
    Plan { start: start.collect(), stop: stop.collect() }
}

/// Whether a file holds settings, which may be about everything.
fn is_settings(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "flash.toml" || name == "pyproject.toml")
}

/// The routes that `new` has and `old` has not. With several endpoints, each says whose it is.
pub fn further_routes<'e>(
    new: impl IntoIterator<Item = &'e Endpoint>,
    old: impl IntoIterator<Item = &'e Endpoint>,
    several: bool,
) -> Vec<String> {
    let known: BTreeSet<_> = old.into_iter().flat_map(|endpoint| routes(endpoint, several)).collect();
    new.into_iter().flat_map(|endpoint| routes(endpoint, several)).filter(|route| !known.contains(route)).collect()
}

fn routes(endpoint: &Endpoint, several: bool) -> impl Iterator<Item = String> {
    let routes = endpoint.functions.iter().filter_map(|function| function.route.as_ref());
    routes.map(move |route| if several { format!("{route} of {}", endpoint.name) } else { route.to_string() })
}

/// The line that tells of a reload.
pub fn reloaded(root: &Path, changed: &BTreeSet<PathBuf>, took: Duration, new: &[String], gone: &[String]) -> String {
    /// More files than these are counted.
    const NAMED: usize = 3;
    let shown = |file: &PathBuf| file.strip_prefix(root).unwrap_or(file).display().to_string();
    let files = match changed.len() {
        count if count > NAMED => format!("{count} files"),
        _ => changed.iter().map(shown).collect::<Vec<_>>().join(", "),
    };
    let mut line = format!("reloaded {files} in {} ms", took.as_millis());
    for (what, routes) in [("new", new), ("gone", gone)] {
        if !routes.is_empty() {
            line.push_str(&format!("; {what}: {}", routes.join(", ")));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn files(files: &[&str]) -> BTreeSet<PathBuf> {
        files.iter().map(PathBuf::from).collect()
    }

    /// Endpoint `a` has imported a.py and shared.py, `b` b.py and shared.py; the project wants these configurations.
    fn check(wanted: &[(&'static str, Value)], changed: &[&str], start: &[&str], stop: &[&str]) {
        let (a, b) = (json!({"v": "a"}), json!({"v": "b"}));
        let imported = |own: &str| Imported::Files(files(&[own, "/p/shared.py"]));
        let running = BTreeMap::from([
            ("a", Running { config: &a, imported: imported("/p/a.py") }),
            ("b", Running { config: &b, imported: imported("/p/b.py") }),
        ]);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let plan = plan(&running, &wanted.iter().cloned().collect(), &files(changed));
        assert_eq!(plan, Plan { start: names(start), stop: names(stop) }, "{changed:?}");
    }

    #[test]
    fn an_endpoint_starts_anew_when_a_file_that_it_imported_has_changed() {
        let same = [("a", json!({"v": "a"})), ("b", json!({"v": "b"}))];
        check(&same, &[], &[], &[]);
        check(&same, &["/p/a.py"], &["a"], &[]);
        check(&same, &["/p/shared.py"], &["a", "b"], &[]);
        check(&same, &["/p/unused.py"], &[], &[]);
    }

    #[test]
    fn an_endpoint_starts_anew_when_its_workers_must_be_told_something_else() {
        check(&[("a", json!({"v": "other"})), ("b", json!({"v": "b"}))], &["/p/unused.py"], &["a"], &[]);
    }

    #[test]
    fn endpoints_come_and_go() {
        check(&[("a", json!({"v": "a"})), ("c", json!({"v": "c"}))], &["/p/b.py", "/p/c.py"], &["c"], &["b"]);
        check(&[("other", json!({"v": "a"})), ("b", json!({"v": "b"}))], &["/p/a.py"], &["other"], &["a"]);
    }

    #[test]
    fn settings_are_about_everything() {
        let same = [("a", json!({"v": "a"})), ("b", json!({"v": "b"}))];
        check(&same, &["/p/flash.toml"], &["a", "b"], &[]);
        check(&same, &["/p/pyproject.toml"], &["a", "b"], &[]);
    }

    #[test]
    fn what_is_not_known_may_have_changed() {
        let config = json!(1);
        let running = BTreeMap::from([("a", Running { config: &config, imported: Imported::Unknown })]);
        let wanted = BTreeMap::from([("a", json!(1))]);
        assert!(plan(&running, &wanted, &files(&[])).is_empty());
        assert_eq!(plan(&running, &wanted, &files(&["/p/any.py"])).start, ["a".to_owned()].into());
    }

    #[test]
    fn a_reload_is_told_in_a_line() {
        let line = |changed: &[&str], new: &[&str], gone: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            reloaded(Path::new("/p"), &files(changed), Duration::from_millis(87), &owned(new), &owned(gone))
        };
        assert_eq!(line(&["/p/app.py"], &[], &[]), "reloaded app.py in 87 ms");
        assert_eq!(line(&["/p/a.py", "/elsewhere/b.py"], &[], &[]), "reloaded /elsewhere/b.py, a.py in 87 ms");
        assert_eq!(line(&["/p/a", "/p/b", "/p/c", "/p/d"], &[], &[]), "reloaded 4 files in 87 ms");
        let told = "reloaded app.py in 87 ms; new: GET /a, POST /b; gone: GET /c";
        assert_eq!(line(&["/p/app.py"], &["GET /a", "POST /b"], &["GET /c"]), told);
    }
}
