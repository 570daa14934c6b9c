//! Whatever a file holds, scanning it ends with a project or with messages.
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod common;

use common::{API, Tree, guide, refused};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use proptest::sample::Index;

fn survives(content: &[u8]) {
    let tree = Tree::new([]);
    tree.write("app.py", content);
    for target in ["app.py", ""] {
        match tree.scan(target) {
            Ok(project) => assert!(!project.endpoints.is_empty()),
            Err(problems) => assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.to_string().is_empty())),
        }
    }
}

/// Words that bring a text near to a declaration.
const WORDS: [&str; 30] = [
    "from runpod_flash import LiveLoadBalancer, remote\n",
    "api = ",
    "LiveLoadBalancer(",
    "name='a'",
    ")",
    "\n",
    "@remote(",
    "api",
    ", ",
    "method='GET'",
    "path=",
    "'/a/{b}'",
    "def f(",
    "):",
    " ...",
    "    ",
    "class C:",
    "if x:",
    "else:",
    "f'{",
    "}'",
    "*",
    "**",
    "+",
    "[",
    "]",
    "import a.b as c",
    "from . import *",
    "try:",
    "except:",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn bytes(content in prop::collection::vec(any::<u8>(), 0..400)) {
        survives(&[API.as_bytes(), &content].concat());
        survives(&content);
    }

    #[test]
    fn words(chosen in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..40)) {
        survives(chosen.concat().as_bytes());
    }

    #[test]
    fn programs_cut_short_and_patched(from in any::<Index>(), to in any::<Index>(), with in "[\\PC\n\t]{0,6}") {
        let program = std::fs::read(guide("user_service.py")).unwrap();
        let (start, end) = (from.index(program.len()), to.index(program.len()));
        survives(&program[..start]);
        survives(&[&program[..start.min(end)], with.as_bytes(), &program[start.max(end)..]].concat());
    }
}

#[test]
fn what_python_does_not_compile_is_refused() {
    let check = |text: String| {
        let told = refused(&format!("{API}{text}\n"));
        assert!(told.starts_with("error: `app.py` nests too deeply\n   at: app.py:"), "{told}");
    };
    check(format!("x = {}1", "-".repeat(200_000)));
    check(format!("x = {}", "f(a, ".repeat(20_000)));
    check((0..150).map(|level| format!("{}if a:\n", " ".repeat(level))).collect());
}

#[test]
fn deep_nesting_ends() {
    let check = |text: String| survives(format!("{API}{text}\n@remote(api, 'GET', x)\ndef f(): ...\n").as_bytes());
    // Below the limit, where the tree is walked and dropped, and above it.
    for deep in [9_000, 20_000] {
        check(format!("x = {}{}", "[".repeat(deep), "]".repeat(deep)));
        check(format!("x = '/a'{}", " + '/a'".repeat(deep)));
        check(format!("x = a{}", ".a".repeat(deep)));
        check(format!("x = a{}", "()".repeat(deep)));
        check(format!("x = [{}]", "(1, -2), ".repeat(deep)));
        check(format!("x = {}", "f(a, ".repeat(deep)));
        for operator in ["-", "not ", "await ", "lambda: ", "lambda a, b: ", "1 if 1 else ", "a ** ", "a := "] {
            check(format!("x = {}1", operator.repeat(deep)));
        }
        check(format!("match a:\n  case {}: pass", "[".repeat(deep)));
        check(format!("match a:\n  case {}{}: pass", "A(b=".repeat(deep), ")".repeat(deep)));
        check("a\n".repeat(deep));
    }
    check(format!("x = {}", "f'{".repeat(1_000)));
    check((0..500).map(|level| format!("{}if a:\n", " ".repeat(level))).collect());
}
