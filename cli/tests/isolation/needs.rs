//! What programs need works, however far their workers are kept apart.

use flash_workers::{Level, Outcome, ResourceLimits};
use serde_json::json;

use crate::trial::{Setup, levels, python, strongest};

/// Runs each code at each level, which must give `said` a true value.
async fn check<const N: usize>(codes: [&str; N]) {
    for level in levels() {
        let trial = Setup::of(level).start();
        for code in codes {
            let said = trial.value(code).await;
            assert!(said.as_bool() == Some(true), "at level {level}: {said}\n{code}");
        }
        trial.end().await;
    }
}

#[tokio::test]
async fn the_environment_is_exactly_what_is_listed() {
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "the server's own has more");
    for level in levels() {
        let trial = Setup::of(level).start();
        let mut found = trial.value("import os; said = dict(os.environ)").await;
        let found = found.as_object_mut().unwrap();
        let temporary = found.remove("TMPDIR").unwrap();
        assert!(temporary.as_str().unwrap().starts_with(trial.path("workers/runs").to_str().unwrap()), "{temporary}");
        let home = trial.path("workers/homes/probe");
        let mut expected = json!({
            "HOME": home,
            "XDG_CACHE_HOME": home.join(".cache"),
            "PATH": format!("{}:/usr/local/bin:/usr/bin:/bin", python().parent().unwrap().display()),
            "LANG": std::env::var("LANG").unwrap_or("C.UTF-8".into()),
            "USER": "flash",
            "LOGNAME": "flash",
            "MODEL": "small",
        });
        if let Ok(zone) = std::env::var("TZ") {
            expected["TZ"] = zone.into();
        }
        assert_eq!(json!(found), expected, "at level {level}");
        trial.end().await;
    }
}

#[tokio::test]
async fn relative_paths_name_what_is_in_the_sources_and_what_it_writes() {
    check(["import json, os\n\
        assert json.load(open('data.json')) == [1, 2]\n\
        open('written.txt', 'w').write('x')\n\
        os.mkdir('made')\n\
        said = sorted(os.listdir('.')) == ['app.py', 'data.json', 'made', 'written.txt'] and open('written.txt').read() == 'x'"])
    .await;
}

#[tokio::test]
async fn home_lasts_and_the_rest_goes_with_the_workers() {
    let trial = Setup::of(strongest()).start();
    let code = "import os, pathlib, tempfile\n\
        cache = pathlib.Path(os.environ['XDG_CACHE_HOME']); cache.mkdir(); (cache / 'model').write_text('x')\n\
        tempfile.mkdtemp()\n\
        said = pathlib.Path.home() == cache.parent";
    assert_eq!(trial.value(code).await, true);
    let (cached, runs) = (trial.path("workers/homes/probe/.cache/model"), trial.path("workers/runs"));
    assert!(cached.is_file());
    assert_eq!(runs.read_dir().unwrap().count(), 1);
    let _home = trial.end().await;
    while runs.read_dir().unwrap().count() > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await; // the base zygote ends by itself
    }
    assert!(cached.is_file());
}

#[tokio::test]
async fn temporary_files_and_shared_memory_work() {
    check([
        "import tempfile; f = tempfile.NamedTemporaryFile(); f.write(b'x'); said = tempfile.gettempdir() != '/tmp'",
        "from multiprocessing import shared_memory\n\
         memory = shared_memory.SharedMemory(create=True, size=64); memory.buf[0] = 7\n\
         other = shared_memory.SharedMemory(name=memory.name); said = other.buf[0] == 7\n\
         other.close(); memory.close(); memory.unlink()",
    ])
    .await;
}

#[tokio::test]
async fn processes_can_be_started_in_all_ways() {
    const POOL: &str = "import multiprocessing, operator\n\
        said = True\n\
        for method in ('fork', 'spawn', 'forkserver'):\n    \
            with multiprocessing.get_context(method).Pool(2) as pool:\n        \
                said = said and pool.map(operator.neg, [1, 2]) == [-1, -2]";
    const MANAGER: &str = "import multiprocessing\n\
        with multiprocessing.Manager() as manager:\n    shared = manager.dict(); shared['a'] = 1; said = dict(shared) == {'a': 1}";
    check([
        "import subprocess; said = subprocess.run('cat /proc/self/status > /dev/null; echo done > /dev/stderr', shell=True).returncode == 0",
        POOL,
        MANAGER,
    ])
    .await;
}

#[tokio::test]
async fn libraries_find_what_they_need() {
    check([
        "import numpy; said = bool((numpy.ones((200, 200)) @ numpy.ones((200, 200)))[0, 0] == 200)",
        // An interpreter has certificates of its own, or the system's, or none.
        "import os, ssl\n\
         places = ssl.get_default_verify_paths()\n\
         ssl.create_default_context()\n\
         said = not os.path.exists('/etc/ssl/certs/ca-certificates.crt') or len(open('/etc/ssl/certs/ca-certificates.crt').read()) > 0",
        "import socket; said = socket.gethostbyname('localhost') == '127.0.0.1' and len(open('/etc/resolv.conf').read()) > 0",
        "import zoneinfo; said = str(zoneinfo.ZoneInfo('Asia/Tokyo').utcoffset(__import__('datetime').datetime(2020, 1, 1))) == '9:00:00'",
        "import locale; said = locale.setlocale(locale.LC_ALL, '') != ''",
        "import getpass, os; said = getpass.getuser() == 'flash' and os.path.expanduser('~') == os.environ['HOME']",
        "import os; said = bool(os.listdir('/proc/self/task')) and bool(os.listdir('/sys/devices/system/cpu'))",
        "said = 'MemTotal' in open('/proc/meminfo').read()",
        "import os; os.urandom(4); open('/dev/null', 'w').write('x'); said = len(open('/dev/urandom', 'rb').read(4)) == 4",
        "import ctypes, ctypes.util; said = ctypes.CDLL(ctypes.util.find_library('m')).cosf is not None",
        "import asyncio; said = asyncio.run(asyncio.sleep(0, True))",
    ])
    .await;
}

#[tokio::test]
async fn a_pseudo_terminal_is_had_by_a_user_of_one_s_own() {
    for level in levels().into_iter().filter(|level| level.user) {
        let trial = Setup::of(level).start();
        let code = "import os, pty; leader, follower = pty.openpty(); os.write(follower, b'x'); said = os.read(leader, 1) == b'x'";
        assert_eq!(trial.value(code).await, true, "at level {level}");
        trial.end().await;
    }
}

#[tokio::test]
async fn limits_hold() {
    for level in levels() {
        let limits = ResourceLimits { open_files: 200_000, processes: 333, processors: Some(1), memory: None };
        let trial = Setup { limits, ..Setup::of(level) }.start();
        let code = "import os, resource as r\n\
            said = [r.getrlimit(r.RLIMIT_CORE), r.getrlimit(r.RLIMIT_NPROC)[1], len(os.sched_getaffinity(0))]";
        let said = trial.value(code).await;
        assert_eq!(said[0], json!([0, 0]), "at level {level}");
        assert_eq!(said[1] == json!(333), level.user, "at level {level}: {said}");
        assert_eq!(said[2], 1, "at level {level}");
        trial.end().await;
    }
}

#[tokio::test]
async fn a_fork_bomb_of_one_endpoint_reaches_its_limit() {
    let Some(level) = levels().into_iter().find(|level| level.user) else { return };
    let limits = ResourceLimits { processes: 64, ..ResourceLimits::of(1) };
    let trial = Setup { limits, ..Setup::of(level) }.start();
    let code = "import os, signal\n\
        children = []\n\
        try:\n    \
            while len(children) < 500:\n        \
                pid = os.fork()\n        \
                if pid == 0:\n            signal.pause()\n        \
                children.append(pid)\n\
        except BlockingIOError:\n    said = len(children)\n\
        finally:\n    \
            for pid in children:\n        os.kill(pid, 9); os.waitpid(pid, 0)";
    let count = trial.value(code).await.as_u64().unwrap();
    assert!((1..64).contains(&count), "{count}");
    trial.end().await;
}

#[tokio::test]
async fn a_worker_that_uses_more_memory_than_it_may_is_ended_with_what_it_started() {
    for level in levels() {
        let limits = ResourceLimits { memory: Some(256 << 20), ..ResourceLimits::of(1) };
        let trial = Setup { limits, ..Setup::of(level) }.start();
        assert_eq!(trial.value("kept = b'x' * (64 << 20); said = len(kept)").await, 64 << 20, "at level {level}");
        // Reserved and not used, it does not count.
        assert_eq!(trial.value("import mmap; kept = mmap.mmap(-1, 8 << 30); said = len(kept)").await, 8_u64 << 30, "at level {level}");
        let hog = "import subprocess, sys\n\
            hog = subprocess.Popen([sys.executable, '-c', 'kept = bytearray(b\"x\" * (1 << 20)) * 512; print(1, flush=True); input()'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n\
            open('hog', 'w').write(str(hog.pid))\n\
            hog.wait()";
        let outcome = trial.outcome(hog).await;
        assert!(matches!(outcome, Outcome::Lost(_)), "at level {level}: {outcome:?}");
        let printed = trial.printed();
        assert!(printed.contains("and may use 256 MiB: it is ended"), "at level {level}: {printed}");
        // The next one finds what the one before wrote, and no such process; that nobody has reaped it is not its fault.
        let code = "import os\ntry:\n    said = open(f'/proc/{open(\"hog\").read()}/stat').read().rpartition(') ')[2][0] != 'Z'\nexcept (FileNotFoundError, ProcessLookupError):\n    said = False";
        while trial.value(code).await == json!(true) {}
        trial.end().await;
    }
}

#[tokio::test]
async fn a_process_that_has_left_its_worker_is_ended_when_it_uses_more_memory_than_a_worker_may() {
    for level in levels() {
        let limits = ResourceLimits { memory: Some(256 << 20), ..ResourceLimits::of(1) };
        let trial = Setup { limits, ..Setup::of(level) }.start();
        let leaves = "import os, subprocess, sys, time\n\
            hog = 'import os, signal; open(\"hog\", \"w\").write(str(os.getpid())); kept = b\"x\" * (512 << 20); signal.pause()'\n\
            subprocess.run(['sh', '-c', 'setsid \"$0\" -c \"$1\" > /dev/null 2>&1 &', sys.executable, hog], check=True)\n\
            while not (os.path.exists('hog') and open('hog').read()):\n    time.sleep(0.005)\n\
            said = os.getpid()";
        let worker = trial.value(leaves).await;
        // Its status is taken as well, or it would be there.
        while trial.value("import os; said = os.path.exists('/proc/' + open('hog').read())").await == json!(true) {}
        let printed = trial.printed();
        assert!(printed.contains("flash: what workers have left behind used "), "at level {level}: {printed}");
        assert_eq!(trial.value("import os; said = os.getpid()").await, worker, "at level {level}: the worker is there still");
        trial.end().await;
    }
}

#[tokio::test]
async fn workers_that_were_forked_from_one_zygote_are_limited_each_by_itself() {
    let limits = ResourceLimits { memory: Some(256 << 20), ..ResourceLimits::of(2) };
    let trial = Setup { limits, workers: 2, ..Setup::of(strongest()) }.start();
    let stays = "import os, time\n\
        kept = b'x' * (160 << 20)\n\
        open('stays', 'w').close()\n\
        while not os.path.exists('done'):\n    time.sleep(0.005)\n\
        said = len(kept)";
    let grows = "import os, time\n\
        while not os.path.exists('stays'):\n    time.sleep(0.005)\n\
        kept = b'x' * (160 << 20)\n\
        more = b'x' * (160 << 20)\n\
        time.sleep(600)";
    trial.until_ready(2).await;
    let (stayed, _) = tokio::join!(trial.value(stays), async {
        assert!(matches!(trial.outcome(grows).await, Outcome::Lost(_)));
        trial.value("open('done', 'w').close()").await
    });
    assert_eq!(stayed, 160 << 20);
    trial.end().await;
}

#[tokio::test]
async fn each_worker_has_as_many_processors_as_it_may_keep_busy() {
    let limits = ResourceLimits { processors: Some(1), ..ResourceLimits::of(2) };
    let trial = Setup { limits, ..Setup::of(strongest()) }.start();
    let code = "import os; said = list(os.sched_getaffinity(0))";
    let first = trial.value(code).await;
    assert_eq!(first.as_array().unwrap().len(), 1);
    assert!(matches!(trial.outcome("import os; os.kill(os.getpid(), 9)").await, Outcome::Lost(_)));
    let second = trial.value(code).await;
    assert_eq!(second.as_array().unwrap().len(), 1);
    let alone = std::thread::available_parallelism().unwrap().get() == 1;
    assert!(alone || first != second, "the next worker has the next one: {first}, {second}");
    trial.end().await;
}

#[tokio::test]
async fn the_order_for_a_launcher_does_not_show_in_arguments() {
    let trial = Setup { environment: &[("KEY", "of-its-own")], ..Setup::of(strongest()) }.start();
    let commands = trial.value("import os; said = [open(f'/proc/{pid}/cmdline').read() for pid in (os.getpid(), os.getppid())]").await;
    assert!(!commands.to_string().contains("of-its-own"), "{commands}");
    let _: Level = strongest();
    trial.end().await;
}
