//! `flash.toml` from text to values, and what is said of one that is wrong.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use flash_manifest::{
    Diagnostic, Endpoint, EnvironmentName, FlashToml, Location, Overrides, ResourceClass, Rollout, SettingKey, Settings, Workers,
};
use proptest::prelude::{any, proptest};

const WHOLE: &str = r#"
app = "shop"
server = "https://flash.example.org/"

[endpoints.user-service]
workers = [0, 3]
timeout = "60s"
idle_timeout = "5m"
max_concurrency = 64
gpu = 1
cpu = 2
memory = "2GiB"
image = "example/image:1"
env = { MODE = "fast", LEVEL = "1" }
public = true
scaler = { type = "REQUEST_COUNT", value = 8 }
rollout = "replace"

[environments.staging]
server = "http://127.0.0.1:8000"
[environments.staging.endpoints.user-service]
workers = 1
env.MODE = "slow"
"#;

fn read(text: &str) -> FlashToml {
    FlashToml::read(text, Path::new("flash.toml")).unwrap_or_else(|problems| panic!("{text}\n{}", told(&problems)))
}

fn refused(text: &str) -> Vec<Diagnostic> {
    FlashToml::read(text, Path::new("flash.toml")).expect_err(text)
}

fn told(problems: &[Diagnostic]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn environment(name: &str) -> EnvironmentName {
    name.parse().expect("a good name")
}

fn endpoint(name: &str) -> Endpoint {
    Endpoint {
        name: name.parse().expect("a good name"),
        class: ResourceClass::LoadBalancerSlsResource,
        workers: Workers::new(1, 2).ok(),
        idle_timeout: None,
        max_concurrency: None,
        scaler_value: None,
        timeout: Some(Duration::from_secs(10)),
        env: [("MODE", "code"), ("OWN", "code")].map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        image: None,
        gpus: Vec::new(),
        gpu_count: None,
        python: None,
        cancel_on_disconnect: false,
        functions: Vec::new(),
        location: Location { file: Path::new("app.py").into(), line: 4 },
    }
}

#[test]
fn every_key_is_read() {
    let settings = read(WHOLE);
    assert_eq!(settings.app().map(|app| (app.value.as_str(), app.location.line)), Some(("shop", 2)));
    let expected = Overrides {
        workers: Some([0, 3]),
        timeout_ms: Some(60_000),
        idle_timeout_s: Some(300),
        max_concurrency: Some(64),
        gpu: Some(1),
        cpu: Some(2),
        memory_mib: Some(2048),
        image: Some("example/image:1".into()),
        env: BTreeMap::from([("MODE".into(), "fast".into()), ("LEVEL".into(), "1".into())]),
        public: Some(true),
        scaler_value: Some(8),
        rollout: Some(Rollout::Replace),
    };
    assert!(SettingKey::ALL.into_iter().all(|key| expected.sets(key)), "this test is of every key");
    assert_eq!(settings.overrides("user-service", None), expected);
    assert_eq!(settings.overrides("user-service", Some(&environment("production"))), expected);
    assert_eq!(settings.overrides("other", None), Overrides::default());
}

#[test]
fn an_environment_is_stronger_and_adds_its_variables() {
    let settings = read(WHOLE);
    let staging = settings.overrides("user-service", Some(&environment("staging")));
    assert_eq!((staging.workers, staging.gpu), (Some([0, 1]), Some(1)));
    assert_eq!(staging.env, BTreeMap::from([("MODE".into(), "slow".into()), ("LEVEL".into(), "1".into())]));
    let server = |name: &str| settings.server(Some(&environment(name))).map(|(url, origin)| format!("{url} by {origin}"));
    assert_eq!(server("staging").as_deref(), Some("http://127.0.0.1:8000 by flash.toml:20 (staging)"));
    assert_eq!(server("production").as_deref(), Some("https://flash.example.org by flash.toml:3"));
    assert_eq!(settings.server(None).map(|(url, _)| url.as_str()), Some("https://flash.example.org"));
    assert_eq!(settings.environments().map(EnvironmentName::as_str).collect::<Vec<_>>(), ["staging"]);
}

#[test]
fn every_value_has_its_origin() {
    let (settings, endpoint) = (read(WHOLE), endpoint("user-service"));
    let origins = |name: Option<&str>| {
        let environment = name.map(environment);
        let origins = settings.origins(&endpoint, environment.as_ref());
        move |key| origins.of(key).to_string()
    };
    let staging = origins(Some("staging"));
    assert_eq!(staging(SettingKey::Workers), "flash.toml:22 (staging)");
    assert_eq!(staging(SettingKey::Timeout), "flash.toml:7");
    assert_eq!(staging(SettingKey::Env), "flash.toml:23 (staging)");
    assert_eq!(origins(Some("production"))(SettingKey::Workers), "flash.toml:6");
    let of_variables = settings.origins(&endpoint, Some(&environment("staging")));
    let of_variable = |name| of_variables.of_variable(name).to_string();
    assert_eq!(["MODE", "LEVEL", "OWN"].map(of_variable), ["flash.toml:23 (staging)", "flash.toml:14", "app.py:4"]);
    let bare = FlashToml::default().origins(&endpoint, None);
    let (code, default): (Vec<_>, Vec<_>) = SettingKey::ALL.into_iter().partition(|key| bare.of(*key).to_string() == "app.py:4");
    assert_eq!(code, [SettingKey::Workers, SettingKey::Timeout, SettingKey::Env]);
    assert!(default.into_iter().all(|key| bare.of(key).to_string() == "default"));
}

#[test]
fn what_is_set_holds_else_what_the_code_says_else_a_default() {
    let (set, endpoint) = (read(WHOLE), endpoint("user-service"));
    let shown = |settings: &Settings| {
        let one = |key: SettingKey| format!("{key}: {}", settings.shown(key).unwrap_or_default());
        SettingKey::ALL.map(one).join("; ")
    };
    assert_eq!(
        shown(&Settings::of(&endpoint, &set.overrides("user-service", None))),
        "workers: 0 to 3; timeout: 60 s; idle_timeout: 5 min; max_concurrency: 64; scaler: REQUEST_COUNT 8; gpu: 1; cpu: 2; memory: 2 GiB; \
         image: example/image:1; env: LEVEL, MODE, OWN; public: true; rollout: replace"
    );
    let of_code = Settings::of(&endpoint, &Overrides::default());
    assert_eq!(
        shown(&of_code),
        "workers: 1 to 2; timeout: 10 s; idle_timeout: 60 s; max_concurrency: 128; scaler: REQUEST_COUNT 4; gpu: 0; cpu: ; memory: ; image: ; \
         env: MODE, OWN; public: false; rollout: beside"
    );
    assert_eq!(of_code.env["MODE"], "code");
    assert_eq!(Settings::of(&endpoint, &set.overrides("user-service", None)).env["MODE"], "fast");
    let nothing = Endpoint { workers: None, timeout: None, ..endpoint };
    let default = Settings::of(&nothing, &Overrides::default());
    assert_eq!((default.workers, default.timeout), (Workers::default(), Duration::from_secs(30)));
}

#[test]
fn values_are_written_in_several_ways() {
    let check = |line: &str, expected: Overrides| {
        assert_eq!(read(&format!("[endpoints.a]\n{line}\n")).overrides("a", None), expected, "{line}");
    };
    let none = Overrides::default;
    check("workers = 3", Overrides { workers: Some([0, 3]), ..none() });
    check("timeout = 60", Overrides { timeout_ms: Some(60_000), ..none() });
    check("timeout = 0.25", Overrides { timeout_ms: Some(250), ..none() });
    check("timeout = \"250ms\"", Overrides { timeout_ms: Some(250), ..none() });
    check("idle_timeout = 90", Overrides { idle_timeout_s: Some(90), ..none() });
    check("memory = \"512 MiB\"", Overrides { memory_mib: Some(512), ..none() });
    check("cpu = 0x2", Overrides { cpu: Some(2), ..none() });
    check("scaler = { value = 2 }", Overrides { scaler_value: Some(2), ..none() });
    check("scaler = { type = \"REQUEST_COUNT\" }", none());
    check("gpu = 0", Overrides { gpu: Some(0), ..none() });
    check("public = false", Overrides { public: Some(false), ..none() });
    check("rollout = \"beside\"", Overrides { rollout: Some(Rollout::Beside), ..none() });
    check("", none());
    check("[endpoints.\"b.c\"]\ngpu = 1\n[environments.x]", none());
    assert_eq!(read("\u{feff}[endpoints.\"b.c\"]\r\ngpu = 1\r\n").overrides("b.c", None), Overrides { gpu: Some(1), ..none() });
    assert_eq!(read(""), FlashToml::default());
}

/// The one thing that is said of a text, and the line it is said of.
fn check(text: &str, line: u32, what: &str) -> Diagnostic {
    let problems = refused(text);
    let [problem] = problems.as_slice() else { panic!("{text}\n{}", told(&problems)) };
    assert_eq!(problem.what, what, "{text}");
    assert_eq!(problem.location.as_ref().map(|location| location.line), Some(line), "{text}");
    let excerpt = text.lines().nth(line as usize - 1).map(str::trim);
    assert_eq!(problem.excerpt.as_deref(), excerpt);
    assert!(!problem.why.is_empty() && !problem.remedy.is_empty());
    problem.clone()
}

#[test]
fn unknown_keys_are_refused_with_what_was_meant() {
    let check = |text: &str, line, what: &str, remedy: &str| assert_eq!(check(text, line, what).remedy, remedy);
    check("ap = 'x'", 1, "unknown key `ap` in flash.toml (Did you mean `app`?)", "write `app`");
    check("[endpoint.a]\ngpu = 1", 1, "unknown key `endpoint` in flash.toml (Did you mean `endpoints`?)", "write `endpoints`");
    check("[tool]", 1, "unknown key `tool` in flash.toml", "take it out; the keys are: app, server, endpoints, environments");
    check(
        "app = 'x'\nmemory = '1GiB'",
        2,
        "unknown key `memory` in flash.toml",
        "put it below [endpoints.NAME], the section of the endpoint that it is for",
    );
    check("[endpoints.a]\nwokers = 1", 2, "unknown key `wokers` in [endpoints.a] (Did you mean `workers`?)", "write `workers`");
    check(
        "[endpoints.a]\nidleTimeout = 1",
        2,
        "unknown key `idleTimeout` in [endpoints.a] (Did you mean `idle_timeout`?)",
        "write `idle_timeout`",
    );
    check(
        "[endpoints.a]\nqwertz = 1",
        2,
        "unknown key `qwertz` in [endpoints.a]",
        "take it out; the keys are: workers, timeout, idle_timeout, max_concurrency, scaler, gpu, cpu, memory, image, env, public, rollout",
    );
    check("[endpoints.a]\nscaler = { valu = 1 }", 2, "unknown key `valu` in scaler (Did you mean `value`?)", "write `value`");
    check("[environments.x]\nservr = 'http://a'", 2, "unknown key `servr` in [environments.x] (Did you mean `server`?)", "write `server`");
    check(
        "[environments.x.endpoints.a]\ngpus = 1",
        2,
        "unknown key `gpus` in [environments.x.endpoints.a] (Did you mean `gpu`?)",
        "write `gpu`",
    );
    check("[endpoints.a.b]\ngpu = 1", 1, "unknown key `b` in [endpoints.a]", "write a name with a dot in quotes: \"a.b\"");
    check(
        "[endpoints.a]\n\"x\\ny\" = 1",
        2,
        "unknown key `x\\x0ay` in [endpoints.a]",
        "take it out; the keys are: workers, timeout, idle_timeout, max_concurrency, scaler, gpu, cpu, memory, image, env, public, rollout",
    );
}

#[test]
fn wrong_values_are_refused_in_words() {
    let of_endpoint = |line: &str, what: &str| {
        check(&format!("[endpoints.a]\n{line}"), 2, what);
        check(&format!("[environments.x.endpoints.a]\n{line}"), 2, what);
    };
    let workers = "workers must be a whole number, or a list of two: at least, and at most";
    of_endpoint("workers = '3'", &format!("{workers}. Got: \"3\""));
    of_endpoint("workers = [1, 2, 3]", workers);
    of_endpoint("workers = [0, 1.5]", workers);
    of_endpoint("workers = -1", &format!("{workers}. Got: -1"));
    of_endpoint("workers = [3, 1]", "workers is [3, 1]: the first cannot be greater than the second");
    of_endpoint("workers = 0", "workers allows none at all");
    of_endpoint("workers = 1025", "workers allows 1025, more than 1024");
    let time = "must be a time, as \"60s\", \"5m\" or a number of seconds. Got:";
    of_endpoint("timeout = '1 fortnight'", &format!("timeout {time} \"1 fortnight\""));
    of_endpoint("timeout = true", &format!("timeout {time} true"));
    of_endpoint("timeout = -1", &format!("timeout {time} -1"));
    of_endpoint("timeout = nan", &format!("timeout {time} nan"));
    of_endpoint("timeout = 1979-05-27", &format!("timeout {time} a date"));
    of_endpoint("timeout = 0", "timeout must be between 1 ms and 24 h. Got: 0 s");
    of_endpoint("timeout = '9999h'", "timeout is too large. Got: \"9999h\"");
    of_endpoint("idle_timeout = '2h'", "idle_timeout must be between 1 s and 1 h. Got: 2 h");
    of_endpoint("idle_timeout = '1500ms'", "idle_timeout must be whole seconds. Got: \"1500ms\"");
    of_endpoint("max_concurrency = 129", "max_concurrency must be between 1 and 128. Got: 129");
    of_endpoint("max_concurrency = 70000", "max_concurrency must be between 1 and 128. Got: 70000");
    of_endpoint("gpu = 'A100'", "gpu must be a whole number, 0 or more. Got: \"A100\"");
    of_endpoint("cpu = 1.5", "cpu must be a whole number, 1 or more. Got: 1.5");
    of_endpoint("memory = 2048", "memory must be a text with a unit, as \"512MiB\". Got: 2048");
    of_endpoint("memory = '2G'", "memory must be a text with a unit, as \"512MiB\". Got: \"2G\"");
    of_endpoint("memory = '1MiB'", "memory must be 64 MiB or more. Got: 1 MiB");
    of_endpoint("image = ''", "image is no image's name: ``");
    of_endpoint("image = 3", "image must be a text. Got: 3");
    of_endpoint("env = ['A']", "env must be a table of texts. Got: a list");
    of_endpoint("env = { A = 1 }", "env.A must be a text. Got: a number");
    of_endpoint("env = { 'A=B' = 'x' }", "the environment variable 'A=B' has the character '=' in its name");
    of_endpoint("public = 'yes'", "public must be true or false. Got: \"yes\"");
    of_endpoint("rollout = 'replaces'", "rollout must be \"beside\" or \"replace\". Got: \"replaces\"");
    of_endpoint("rollout = true", "rollout must be \"beside\" or \"replace\". Got: true");
    of_endpoint("scaler = 4", "scaler must be a table. Got: 4");
    of_endpoint("scaler = { value = 0 }", "the scaler's value must be 1 or more. Got: 0");
    of_endpoint("scaler = { value = 'x' }", "the scaler's value must be a whole number, 1 or more. Got: \"x\"");
    of_endpoint("scaler = { type = 'REQUEST_COUNTS' }", "there is no scaler `REQUEST_COUNTS` (Did you mean `REQUEST_COUNT`?)");
    check("app = 3", 1, "app must be a text. Got: 3");
    check("app = 'a b'", 1, "app name 'a b' has the character ' '");
    check("server = 'flash.example.org'", 1, "`flash.example.org` is no server's URL: it does not begin with http:// or https://");
    check("endpoints = 3", 1, "endpoints must be a table. Got: 3");
    check("[[endpoints]]\ngpu = 1", 1, "endpoints must be one table, and no list of them. Got: a list");
    check("[endpoints]\na = 1", 2, "endpoints.a must be a table. Got: 1");
    check("[endpoints.'a b']", 1, "endpoint name 'a b' has the character ' '");
    check("environments.x = 1", 1, "environments.x must be a table. Got: 1");
    check("[environments.live]", 1, "environment name 'live' is taken");
}

#[test]
fn everything_wrong_is_told_in_the_order_of_the_lines() {
    let problems = refused("sever = 'http://a'\n[endpoints.b]\ngpu = 'x'\ncpu = 0\n[endpoints.a]\nx = 1\n");
    let lines: Vec<_> = problems.iter().filter_map(|problem| Some(problem.location.as_ref()?.line)).collect();
    assert_eq!(lines, [1, 3, 4, 6], "{}", told(&problems));
}

#[test]
fn what_is_no_toml_is_shown_with_its_line() {
    let problems = refused("app = 'x'\n[endpoints.a\n");
    assert!(problems[0].what.starts_with("`flash.toml` is not as it should be: "), "{}", told(&problems));
    assert_eq!(problems[0].location.as_ref().map(ToString::to_string).as_deref(), Some("flash.toml:2"));
    let twice = refused("[endpoints.a]\ngpu = 1\ngpu = 2\n");
    assert_eq!(twice[0].location.as_ref().map(|location| location.line), Some(3), "{}", told(&twice));
}

#[test]
fn endpoints_that_the_project_does_not_have_are_refused() {
    let settings = read("[endpoints.user-servce]\ngpu = 1\n[endpoints.user-service]\n[environments.x.endpoints.jobs]\n");
    let endpoints = [endpoint("user-service"), endpoint("other")];
    assert_eq!(
        told(&settings.strangers(endpoints.iter())),
        "error: the project has no endpoint 'user-servce' (Did you mean 'user-service'?)\n   at: flash.toml:1\n         [endpoints.user-servce]\n  \
         why: settings are for endpoints that the code declares\n  try: write 'user-service'\n\
         error: the project has no endpoint 'jobs'\n   at: flash.toml:4\n         [environments.x.endpoints.jobs]\n  \
         why: settings are for endpoints that the code declares\n  try: take it out; the endpoints are: user-service, other"
    );
}

#[test]
fn values_of_variables_are_not_told() {
    let problems = refused("[endpoints.a]\nserver = 'http://u:hunter2@h'\n[environments.x]\nserver = 'http://u:hunter2@h'\n");
    for problem in problems {
        assert!(!format!("{}{}{}", problem.what, problem.why, problem.remedy).contains("hunter2"), "{problem}");
    }
}

proptest! {
    #[test]
    fn any_text_is_judged_without_panic(text in any::<String>(), line in "[a-z_]{0,9} ?= ?[0-9a-z\\[\\]{}'\".,-]{0,12}") {
        for text in [text, format!("[endpoints.a]\n{line}"), format!("[endpoints.a]\nworkers = {line}"), line] {
            if let Err(problems) = FlashToml::read(&text, Path::new("flash.toml")) {
                assert!(!problems.is_empty());
                assert!(problems.iter().all(|problem| problem.location.is_some()));
            }
        }
    }
}

fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/flash_toml.md");
    std::fs::read_to_string(page).expect("the page is in the repository")
}

/// What stands in fences of a kind.
fn blocks<'page>(page: &'page str, kind: &str) -> Vec<&'page str> {
    let fence = format!("```{kind}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().expect("a fence ends")).collect()
}

#[test]
fn the_pages_examples_are_right() {
    let page = page();
    let examples = blocks(&page, "toml");
    assert_eq!(examples.len(), page.matches("```toml").count());
    assert!(examples.len() > 1);
    let set = |key: SettingKey| {
        examples.iter().any(|example| ["user-service", "render"].iter().any(|name| read(example).overrides(name, None).sets(key)))
    };
    assert!(SettingKey::ALL.into_iter().all(set), "an example has every key");
}

#[test]
fn the_pages_tables_have_every_key_and_no_other() {
    let page = page();
    let row = |line: &str| line.strip_prefix("| `").and_then(|rest| Some(rest.split_once('`')?.0.to_owned()));
    let mut found: Vec<String> = page.lines().filter_map(row).collect();
    found.sort_unstable();
    let mut known: Vec<&str> =
        SettingKey::ALL.map(SettingKey::as_str).into_iter().chain(["app", "server", "endpoints", "environments"]).collect();
    known.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn the_pages_error_is_what_is_told() {
    let page = page();
    let shown = blocks(&page, "text").concat();
    assert_eq!(shown.trim_end(), told(&refused("[endpoints.user-service]\nwokers = 3\n")));
}

#[test]
fn the_pages_defaults_hold() {
    let page = page();
    let of = Settings::of(&Endpoint { workers: None, timeout: None, ..endpoint("a") }, &Overrides::default());
    let cell = |key: &str| {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{key}`"))).expect(key);
        row.split(" | ").nth(2).expect("a default").trim_matches(['`', '"']).to_owned()
    };
    assert_eq!(cell("workers"), format!("[{}, {}]", of.workers.least(), of.workers.most()));
    assert_eq!(cell("timeout"), format!("{}s", of.timeout.as_secs()));
    assert_eq!(cell("idle_timeout"), format!("{}s", of.idle_timeout.as_secs()));
    assert_eq!(cell("max_concurrency"), of.max_concurrency.to_string());
    assert_eq!(cell("scaler"), format!("REQUEST_COUNT`, {}", of.scaler_value));
    assert_eq!(cell("gpu"), of.gpu.to_string());
    assert_eq!(cell("public"), of.public.to_string());
    assert_eq!(cell("rollout"), of.rollout.as_str());
}
