use super::*;

struct Place {
    directory: tempfile::TempDir,
    store: Sqlite,
}

fn place() -> Place {
    let directory = tempfile::tempdir().expect("there is room for a temporary directory");
    let store = Sqlite::open(&directory.path().join("state.db")).expect("a new one can be opened");
    for digest in ["a", "b", "c", "d"] {
        add_build(&store, digest, 1);
    }
    Place { directory, store }
}

fn event(text: &str) -> Event {
    Event { time: Timestamp(7), text: text.into() }
}

fn new(app: &str, environment: &str, build: &str, endpoints: &[&str]) -> NewDeployment {
    let endpoints = endpoints.iter().map(|name| (*name).to_owned()).collect();
    let (app, environment, build) = (app.into(), environment.into(), build.into());
    NewDeployment { app, environment, build, settings: "{}".into(), endpoints, held: Vec::new(), created: Timestamp(5) }
}

fn add_build(store: &Sqlite, digest: &str, created: i64) {
    let (digest, app, created) = (digest.into(), "shop".into(), Timestamp(created));
    store.add_build(&Build { digest, bytes: 1, app, endpoints: vec!["x".into()], created }).unwrap();
}

fn begin(store: &Sqlite, new: &NewDeployment) -> (u64, Vec<String>) {
    match store.begin(new).unwrap() {
        Begun::Rolling(id, endpoints) => (id, endpoints.into_iter().map(|endpoint| endpoint.id).collect()),
        Begun::NoBuild => panic!("there is no build {}", new.build),
        Begun::Busy(id) => panic!("{id} rolls"),
    }
}

fn deploy(store: &Sqlite, new: &NewDeployment) -> (u64, Vec<String>) {
    let (id, ids) = begin(store, new);
    assert!(store.make_current(id, &new.endpoints, &event("serves")).unwrap());
    (id, ids)
}

fn state(store: &Sqlite, id: u64) -> State {
    store.deployment(id).unwrap().unwrap().state
}

#[test]
fn one_deployment_at_a_time_rolls_in_an_environment() {
    let place = place();
    let (first, _) = begin(&place.store, &new("shop", "production", "a", &["api"]));
    assert_eq!(place.store.begin(&new("shop", "production", "b", &["api"])).unwrap(), Begun::Busy(first));
    begin(&place.store, &new("shop", "staging", "b", &["api"]));
    place.store.fail(first, "{}", "", &event("failed")).unwrap();
    begin(&place.store, &new("shop", "production", "b", &["api"]));
}

#[test]
fn a_deployment_takes_the_place_of_the_one_before() {
    let place = place();
    let (first, _) = deploy(&place.store, &new("shop", "production", "a", &["api", "old"]));
    let (second, _) = deploy(&place.store, &new("shop", "production", "b", &["api"]));
    assert_eq!((state(&place.store, first), state(&place.store, second)), (State::Superseded, State::Current));
    let served: Vec<_> = place.store.endpoints().unwrap().into_iter().map(|endpoint| (endpoint.id, endpoint.deployment)).collect();
    assert_eq!(served, [("api".to_owned(), Some(second))]);
    assert_eq!(place.store.environments(Some("shop")).unwrap()[0].current, Some((second, "b".into())));
}

#[test]
fn what_failed_or_was_switched_is_settled() {
    let place = place();
    let (id, _) = begin(&place.store, &new("shop", "production", "a", &["api"]));
    place.store.fail(id, r#"{"why": 1}"#, "last words", &event("failed")).unwrap();
    assert!(!place.store.make_current(id, &["api".into()], &event("late")).unwrap());
    let failed = place.store.deployment(id).unwrap().unwrap();
    assert_eq!((failed.state, failed.problem.as_deref(), &*failed.output), (State::Failed, Some(r#"{"why": 1}"#), "last words"));
    assert_eq!(failed.events, [event("failed")]);
    let (id, _) = deploy(&place.store, &new("shop", "production", "a", &["api"]));
    place.store.fail(id, "{}", "", &event("late")).unwrap();
    assert_eq!(state(&place.store, id), State::Current);
}

#[test]
fn an_id_is_the_name_where_it_is_free_and_is_kept() {
    let place = place();
    assert_eq!(deploy(&place.store, &new("shop", "production", "a", &["api", "b"])).1, ["api", "b"]);
    assert_eq!(deploy(&place.store, &new("shop", "staging", "a", &["api"])).1, ["api-shop"]);
    assert_eq!(deploy(&place.store, &new("shop", "test", "a", &["api"])).1, ["api-shop-test"]);
    assert_eq!(deploy(&place.store, &new("other", "api-shop-test", "a", &["api-shop-test"])).1, ["api-shop-test-other"]);
    assert_eq!(deploy(&place.store, &new("shop", "production", "c", &["b"])).1, ["b"]);
    assert_eq!(deploy(&place.store, &new("shop", "production", "d", &["b", "api"])).1, ["b", "api"], "it comes back under its id");
}

#[test]
fn an_id_that_jobs_are_kept_of_is_who_had_it_last_alone() {
    let place = place();
    let held = |held: &[&str], new| NewDeployment { held: held.iter().map(|id| (*id).to_owned()).collect(), ..new };
    assert_eq!(deploy(&place.store, &new("shop", "production", "a", &["r"])).1, ["r"]);
    place.store.remove_app("shop").unwrap();
    let other = new("other", "production", "a", &["r"]);
    assert_eq!(deploy(&place.store, &held(&["r"], other.clone())).1, ["r-other"]);
    assert_eq!(deploy(&place.store, &held(&["r"], new("shop", "staging", "a", &["r"]))).1, ["r-shop"]);
    assert_eq!(deploy(&place.store, &held(&["r"], new("shop", "production", "a", &["r"]))).1, ["r"], "it is its own");
    // It had another one than it would get now, and has jobs there.
    place.store.remove_app("shop").unwrap();
    place.store.remove_app("other").unwrap();
    assert_eq!(deploy(&place.store, &held(&["r-other"], other.clone())).1, ["r-other"]);
    // Once there are none, it is anybody's; where nobody knows whose they are, nobody's.
    place.store.remove_app("other").unwrap();
    assert_eq!(deploy(&place.store, &other).1, ["r"]);
    assert_eq!(deploy(&place.store, &held(&["x"], new("shop", "production", "a", &["x"]))).1, ["x-shop"]);
}

#[test]
fn endpoints_of_a_file_from_before_are_known_to_have_had_their_ids() {
    let place = place();
    deploy(&place.store, &new("shop", "production", "a", &["r"]));
    place.store.lock().execute_batch("DROP TABLE owners; PRAGMA user_version = 2").unwrap();
    let path = place.directory.path().join("state.db");
    drop(place.store);
    let store = Sqlite::open(&path).unwrap();
    store.remove_app("shop").unwrap();
    let again = NewDeployment { held: vec!["r".into()], ..new("shop", "production", "a", &["r"]) };
    assert_eq!(deploy(&store, &again).1, ["r"]);
}

#[test]
fn an_id_whose_first_deployment_failed_is_free() {
    let place = place();
    let (id, _) = begin(&place.store, &new("shop", "production", "a", &["api"]));
    place.store.fail(id, "{}", "", &event("failed")).unwrap();
    assert_eq!(deploy(&place.store, &new("other", "production", "a", &["api"])).1, ["api"]);
}

#[test]
fn what_rolled_when_the_server_ended_has_failed() {
    let place = place();
    let (served, _) = deploy(&place.store, &new("shop", "production", "a", &["api"]));
    let (id, _) = begin(&place.store, &new("shop", "production", "b", &["api", "new"]));
    let path = place.directory.path().join("state.db");
    drop(place.store);
    let store = Sqlite::open(&path).unwrap();
    assert_eq!(store.fail_rolling("{}", &event("ended")).unwrap(), 1);
    assert_eq!((state(&store, id), state(&store, served)), (State::Failed, State::Current));
    assert_eq!(store.ids("shop", "production").unwrap().len(), 1);
}

#[test]
fn removing_takes_all_that_is_within() {
    let place = place();
    let (id, _) = deploy(&place.store, &new("shop", "production", "a", &["api", "b"]));
    deploy(&place.store, &new("shop", "staging", "a", &["api"]));
    let freed = |endpoints: Option<Vec<Endpoint>>| endpoints.map(|all| all.into_iter().map(|endpoint| endpoint.id).collect::<Vec<_>>());
    let removed = || freed(place.store.remove_endpoint("shop", "production", "b").unwrap().map(|endpoint| vec![endpoint]));
    assert_eq!(removed(), Some(vec!["b".into()]));
    assert_eq!(removed(), None);
    assert_eq!(freed(place.store.remove_environment("shop", "production").unwrap()), Some(vec!["api".into()]));
    assert_eq!(freed(place.store.remove_environment("shop", "production").unwrap()), None);
    assert_eq!(place.store.deployment(id).unwrap(), None);
    assert_eq!(freed(place.store.remove_app("shop").unwrap()), Some(vec!["api-shop".into()]));
    assert_eq!(freed(place.store.remove_app("shop").unwrap()), None);
    assert_eq!((place.store.apps().unwrap(), place.store.endpoints().unwrap()), (vec![], vec![]));
    let (next, ids) = deploy(&place.store, &new("other", "production", "a", &["api"]));
    assert!(next > id, "a number is never given twice");
    assert_eq!(ids, ["api"]);
}

#[test]
fn builds_that_no_recent_deployment_needs_are_collected() {
    let place = place();
    add_build(&place.store, "fresh", 100);
    assert_eq!(place.store.begin(&new("shop", "production", "unknown", &["api"])).unwrap(), Begun::NoBuild);
    for build in ["a", "b", "c"] {
        deploy(&place.store, &new("shop", "production", build, &["api"]));
    }
    let mut collected = place.store.collect_builds(2, Timestamp(50)).unwrap();
    collected.sort();
    assert_eq!(collected, ["a", "d"]);
    assert_eq!(place.store.builds().unwrap().len(), 3);
}

#[test]
fn keys_are_remembered_and_revoked() {
    let place = place();
    let key = Key { id: "k1".into(), name: "ci".into(), scope: "deploy".into(), hash: [7; 32], created: Timestamp(1) };
    place.store.add_key(&key).unwrap();
    assert_eq!(place.store.keys().unwrap(), [key]);
    assert!(place.store.remove_key("k1").unwrap() && !place.store.remove_key("k1").unwrap());
}

#[test]
fn the_file_is_its_owners_alone() {
    let place = place();
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let mode = fs::metadata(place.directory.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_file_of_another_release_is_refused_and_left_alone() {
    for (version, words) in [(schema::VERSION + 1, "is of a newer release"), (1, "is of an older release")] {
        let place = place();
        let path = place.directory.path().join("state.db");
        place.store.lock().pragma_update(None, "user_version", version).unwrap();
        drop(place.store);
        let before = fs::read(&path).unwrap();
        let Err(error) = Sqlite::open(&path) else { panic!("schema {version} was opened") };
        assert!(matches!(error, Error::OtherRelease { found, known: schema::VERSION, .. } if found == version), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[test]
fn a_file_that_is_not_as_this_release_makes_it_is_refused_with_what_to_do() {
    let check = |change: &str, why: &str, remedy: Option<&str>| {
        let place = place();
        let path = place.directory.path().join("state.db");
        place.store.lock().execute_batch(change).unwrap();
        drop(place.store);
        let before = fs::read(&path).unwrap();
        let Err(error) = Sqlite::open(&path) else { panic!("it was opened after {change}") };
        assert!(error.to_string().ends_with("is not as this version of flash makes it"), "{error}");
        assert_eq!(error.why(), why);
        let number = "PRAGMA user_version = ";
        assert!(remedy.map_or(!error.remedy().contains(number), |remedy| error.remedy().contains(remedy)), "{}", error.remedy());
        assert_eq!(fs::read(&path).unwrap(), before);
    };
    let back = format!("'PRAGMA user_version = {}'", schema::VERSION);
    let tables = "`apps`, `builds`, `deployments`, `endpoints`, `environments`, `events`, `keys`, `owners`";
    let why = format!("its `user_version` is 0, as that of an empty file, and yet it has tables: {tables}");
    check("PRAGMA user_version = 0", &why, Some(&back));
    check("PRAGMA user_version = -1", "its `user_version` is -1, which no version of flash writes", Some(&back));
    check("PRAGMA user_version = -1; DROP TABLE keys", "its `user_version` is -1, which no version of flash writes", None);
    check("DROP TABLE keys", "it has no table `keys`, which all of its schema's number (3) have", None);
    check("ALTER TABLE keys DROP COLUMN hash", "it has no column `hash` in table `keys`, which all of its schema's number (3) have", None);
}

#[test]
fn a_file_that_was_written_is_opened_again() {
    let place = place();
    deploy(&place.store, &new("shop", "production", "a", &["api"]));
    drop(place.store);
    let store = Sqlite::open(&place.directory.path().join("state.db")).unwrap();
    assert_eq!(store.endpoints().unwrap().len(), 1);
}

#[test]
fn what_is_no_database_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let text = "this is a diary\n".repeat(1000);
    fs::write(&path, &text).unwrap();
    assert!(matches!(Sqlite::open(&path), Err(Error::Damaged { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_file_that_lost_its_bytes_is_no_new_one() {
    let place = place();
    let (path, trace) = (place.directory.path().join("state.db"), place.directory.path().join("token"));
    drop(place.store);
    fs::write(&path, "").unwrap();
    let Err(error) = Sqlite::open_again(&path, &trace) else { panic!("it was opened") };
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(error.why().contains("token"), "{}", error.why());
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    fs::rename(&path, path.with_extension("damaged")).unwrap();
    assert!(Sqlite::open_again(&path, &trace).is_ok(), "it was moved away, as the error says");
}

#[test]
fn a_damaged_file_is_found_before_anything_is_served() {
    let place = place();
    for index in 0..200 {
        deploy(&place.store, &new(&format!("app{index}"), "production", "a", &["api"]));
    }
    let path = place.directory.path().join("state.db");
    drop(place.store);
    let mut bytes = fs::read(&path).unwrap();
    let (page, end) = (4096, bytes.len());
    bytes[3 * page..end].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    assert!(matches!(Sqlite::open(&path), Err(Error::Damaged { .. })));
}

#[test]
fn nothing_is_written_once_a_file_of_it_is_gone() {
    for name in ["state.db", "state.db-wal"] {
        let place = place();
        let (id, _) = deploy(&place.store, &new("shop", "production", "a", &["api"]));
        let path = place.directory.path().join(name);
        fs::rename(&path, path.with_extension("away")).unwrap();
        for replaced in [false, true] {
            if replaced {
                fs::write(&path, "").unwrap();
            }
            let refused = place.store.begin(&new("shop", "production", "b", &["api"]));
            assert!(matches!(&refused, Err(Error::Removed { path: gone }) if *gone == path), "{name}: {refused:?}");
        }
        assert_eq!(state(&place.store, id), State::Current, "what was read before can be read still");
        fs::rename(path.with_extension("away"), &path).unwrap();
        begin(&place.store, &new("shop", "production", "b", &["api"]));
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    let place = place();
    let (id, _) = deploy(&place.store, &new("shop", "production", "a", &["api"]));
    let pages: u32 = place.store.lock().pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    place.store.lock().pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    let settings = "x".repeat(1 << 20);
    let refused = place.store.begin(&NewDeployment { settings, ..new("shop", "production", "b", &["api", "new"]) });
    assert!(matches!(refused, Err(Error::Full)), "{refused:?}");
    assert_eq!(state(&place.store, id), State::Current);
    assert_eq!(place.store.ids("shop", "production").unwrap().len(), 1);
}
