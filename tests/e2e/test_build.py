"""`flash build`: what it packs, says and refuses, and what it locks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from flash_process import PATIENCE, ROOT, Result, environment_of, find_flash

APP = """
from runpod_flash import LiveLoadBalancer, remote

api = LiveLoadBalancer(name="api")

@remote(api, method="GET", path="/hello")
def hello():
    return "hello"
"""


def flash(*arguments: object, at: Path, umask: int = 0o022, **environment: str) -> Result:
    """Runs `flash` in a folder, to its end."""
    command = [str(find_flash()), *map(str, arguments)]
    variables = environment_of("build", **environment)
    done = subprocess.run(command, cwd=at, env=variables, umask=umask, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert "panicked" not in done.stderr, done.stderr
    return Result(done.returncode, done.stdout, done.stderr)


def built(at: Path, *arguments: object, **environment: str) -> dict[str, Any]:
    """What `flash build --json` says of a project that is sound."""
    result = flash("build", "--json", *arguments, at=at, **environment)
    assert result.code == 0, result
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def refused(at: Path, *arguments: object, **environment: str) -> str:
    """What is said of a project that is not built."""
    result = flash("build", *arguments, at=at, **environment)
    assert result.code == 1, result
    assert result.stdout == ""
    for label in ("error: ", "  why: ", "  try: "):
        assert label in result.stderr, result.stderr
    return result.stderr


@contextlib.contextmanager
def reading(command: Sequence[str | Path]) -> Iterator[subprocess.Popen[bytes]]:
    """A program that reads from a pipe; it ends with the test, whatever became of the pipe."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as reader:
        try:
            yield reader
        finally:
            reader.kill()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def unpacked(artifact: Path) -> dict[str, bytes]:
    """What is in an artifact."""
    with tarfile.open(artifact) as archive:
        found = {}
        for member in archive.getmembers():
            content = archive.extractfile(member)
            assert content is not None, f"{member.name} is no file"
            found[member.name] = content.read()
        return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with one endpoint in it, which is a root of its own."""
    root = tmp_path / "shop"
    root.mkdir()
    (root / "flash.toml").write_text('app = "shop"\n')
    (root / "app.py").write_text(APP)
    return root


@pytest.fixture
def wheels(tmp_path: Path) -> Callable[..., None]:
    """Makes a wheel of a name, a version and what it requires, in the folder `wheels`."""
    folder = tmp_path / "wheels"
    folder.mkdir()

    def make(name: str, version: str, *requires: str) -> None:
        about = "".join(f"Requires-Dist: {one}\n" for one in requires)
        with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}/__init__.py", "")
            wheel.writestr(f"{name}-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{about}")
            wheel.writestr(f"{name}-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{name}-{version}.dist-info/RECORD", "")

    make("pydantic", "2.9")
    make("cloudpickle", "3.1")
    return make


# Where packages come from in these tests: the folder of wheels, and nowhere else.
LOCAL = "--no-index\n--find-links ../wheels\n"


def names(report: dict[str, Any]) -> list[str]:
    """What is locked."""
    locked: list[str] = report["dependencies"]
    return locked


def test_the_guides_folder_yields_the_services_and_none_of_the_tests(tmp_path: Path) -> None:
    guide = tmp_path / "guide"
    shutil.copytree(ROOT / "examples/guide", guide, ignore=shutil.ignore_patterns(".flash", "__pycache__"))
    result = flash("build", at=guide)
    assert result.code == 0, result
    first, second = result.stdout.splitlines()
    assert first.startswith("Built guide 3 endpoints, 8 routes, 3 files, 0 dependencies in ")
    assert first.endswith(" ms")
    artifact = guide / ".flash/artifact.tar.gz"
    digest = hashlib.sha256(artifact.read_bytes()).hexdigest()
    assert second == f"  artifact  .flash/artifact.tar.gz  {artifact.stat().st_size / 1000:.1f} kB  sha256 {digest}"
    assert list(unpacked(artifact)) == ["flash_manifest.json", "src/greet.py", "src/process.py", "src/user_service.py"]
    manifest = json.loads(unpacked(artifact)["flash_manifest.json"])
    assert [endpoint["name"] for endpoint in manifest["endpoints"]] == ["example-api", "my-api", "user-service"]


def test_functions_are_counted_by_their_kind(project: Path) -> None:
    queued = (
        "from runpod_flash import LiveServerless, remote\n\nqueue = LiveServerless(name='queue')\n\n@remote(queue)\ndef work():\n    pass\n"
    )
    (project / "queued.py").write_text(queued)
    assert flash("build", at=project).stdout.startswith("Built shop 2 endpoints, 1 route, 1 queue-based function, 2 files, ")
    (project / "app.py").unlink()
    assert flash("build", at=project).stdout.startswith("Built shop 1 endpoint, 1 queue-based function, 1 file, ")


def test_json_says_what_was_built(project: Path) -> None:
    (project / ".env").write_text("KEY=1")
    report = built(project)
    assert isinstance(report.pop("milliseconds"), int)
    artifact = project / ".flash/artifact.tar.gz"
    [warning] = report.pop("warnings")
    assert set(warning) == {"what", "why", "remedy", "at"}
    assert warning["what"] == "`.env` is left out: it looks like a secret"
    assert report == {
        "app": "shop",
        "artifact": str(artifact),
        "digest": hashlib.sha256(artifact.read_bytes()).hexdigest(),
        "bytes": artifact.stat().st_size,
        "python_version": None,
        "endpoints": [{"name": "api", "class": "LiveLoadBalancer", "functions": ["hello"], "routes": ["GET /hello"]}],
        "files": ["app.py"],
        "dependencies": [],
    }


def test_the_same_project_gives_the_same_bytes_wherever_and_whenever_it_is_built(tmp_path: Path) -> None:
    files = {
        "app.py": APP,
        "pack/__init__.py": "",
        "pack/data.csv": "1,2",
        "z.txt": "z",
        "run.sh": "#!/bin/sh\n",
        "flash.toml": 'app = "a"\n',
    }
    one, other = tmp_path / "one", tmp_path / "deep/below/other"
    for root, order in ((one, list(files)), (other, list(reversed(files)))):
        for name in order:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[name])
            os.utime(path, (len(str(root)), 1_000_000))
        (root / "run.sh").chmod(0o700)
    (other / "z.txt").chmod(0o600)
    (other / "pack").chmod(0o700)
    first = built(one)
    second = built(tmp_path, other, "--output", tmp_path / "second.tar.gz", TZ="Asia/Tokyo", LANG="tr_TR.UTF-8")
    assert first["digest"] == second["digest"]
    again = flash("build", "--json", at=one, umask=0o077)
    assert json.loads(again.stdout)["digest"] == first["digest"]
    with tarfile.open(one / ".flash/artifact.tar.gz") as archive:
        kept = {(member.mtime, member.uid, member.gid, member.uname, member.gname) for member in archive}
        assert kept == {(0, 0, 0, "", "")}
        assert {member.name: member.mode for member in archive if member.name.startswith("src/")} == {
            "src/app.py": 0o644,
            "src/pack/__init__.py": 0o644,
            "src/pack/data.csv": 0o644,
            "src/run.sh": 0o755,
            "src/z.txt": 0o644,
        }
    (one / "flash.toml").write_text('app = "a"\nserver = "http://127.0.0.1:1"\n')
    assert built(one)["digest"] == first["digest"], "what is set beside the code is no part of a build"
    (one / "z.txt").write_text("y")
    assert built(one)["digest"] != first["digest"]


def test_every_rule_is_checked_with_its_place(project: Path) -> None:
    for declared, expected in (
        ('method="PTACH", path="/a"', "Invalid HTTP method 'PTACH' must be one of: GET, POST, PUT, DELETE, PATCH"),
        ('method="GET", path="a"', "path must start with '/'"),
        ('method="GET"', "requires both 'method' and 'path'"),
        ('method="GET", path="/ping"', "path '/ping' is reserved"),
        ('method="GET", path="/execute"', "path '/execute' is reserved"),
        ('method="get", path="/hello"', "Route conflict detected: GET /hello defined twice"),
    ):
        (project / "app.py").write_text(f"{APP}\n@remote(api, {declared})\ndef more():\n    ...\n")
        told = refused(project)
        assert expected in told
        assert "at: app.py:1" in told, told
    (project / "app.py").write_text(f'{APP}\n@remote(api, method="post", path="/hello")\ndef more():\n    ...\n')
    assert built(project)["endpoints"][0]["routes"] == ["GET /hello", "POST /hello"]


def test_what_was_built_before_stays_when_a_build_fails(project: Path) -> None:
    before = built(project)["digest"]
    (project / "app.py").write_text(f"{APP}def broken(:\n")
    assert "syntax error" in refused(project)
    artifact = project / ".flash/artifact.tar.gz"
    assert hashlib.sha256(artifact.read_bytes()).hexdigest() == before
    assert sorted(path.name for path in (project / ".flash").iterdir()) == [".gitignore", "artifact.tar.gz"]
    assert (project / ".flash/.gitignore").read_text() == "*\n"


def test_options_say_what_is_left_out_and_where_the_artifact_goes(project: Path) -> None:
    (project / "data").mkdir()
    (project / "data/big.csv").write_text("1")
    (project / "more.txt").write_text("1")
    (project / "other.py").write_text(APP.replace('"api"', '"other"'))
    output = project / "out/build.tar.gz"
    report = built(project, "--exclude", "data/,*.txt", "--exclude", "other.py", "--output", output)
    assert report["files"] == ["app.py"]
    assert report["artifact"] == str(output)
    assert built(project, "--output", output)["files"] == ["app.py", "data/big.csv", "more.txt", "other.py"], "itself it does not pack"
    assert "no pattern" in refused(project, "--exclude", "a[")
    wrong = flash("build", "--python-version", "3.9", at=project)
    assert wrong.code == 2
    assert "3.9 is not supported" in wrong.stderr
    (project / "file").write_text("")
    assert "cannot be written" in refused(project, "--output", project / "file/artifact.tar.gz")


def test_links_stay_and_what_they_lead_to_is_replaced(project: Path, tmp_path: Path) -> None:
    whole = sha256(Path(built(project)["artifact"]).read_bytes())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "old.tar.gz").write_text("old")
    for link, target in (("there", elsewhere / "old.tar.gz"), ("dangling", Path("../elsewhere/new.tar.gz")), ("inner", Path("in.tar.gz"))):
        (project / link).symlink_to(target)
        for _ in range(2):  # the second time what it leads to is there, and not packed
            report = built(project, "--output", project / link, "--exclude", "dangling,there,inner")
            assert report["artifact"] == str(project / link)
            assert report["digest"] == whole
            assert (project / link).is_symlink()
            assert sha256((project / link).read_bytes()) == whole
            assert (project / target).is_file()
            assert not (project / target).is_symlink()
        (project / target).unlink()
    (project / "loop").symlink_to("loop")
    assert "cannot be written" in refused(project, "--output", project / "loop")
    assert (project / "loop").is_symlink()


def test_pipes_and_devices_are_written_to_and_stay_what_they_are(project: Path, tmp_path: Path) -> None:
    whole = sha256(Path(built(project)["artifact"]).read_bytes())
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with reading(["cat", pipe]) as reader:
        report = built(project, "--output", pipe)
        assert stat.S_ISFIFO(pipe.lstat().st_mode)
        assert sha256(reader.communicate(timeout=PATIENCE)[0]) == report["digest"] == whole
    # More than a pipe holds, of which nobody reads all.
    (project / "noise.bin").write_bytes(os.urandom(1 << 20))
    with reading(["head", "-c", "1", pipe]):
        told = refused(project, "--output", pipe)
        assert "cannot be written" in told
        assert "Broken pipe" in told
    assert stat.S_ISFIFO(pipe.lstat().st_mode)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert "it is a socket" in refused(project, "--output", tmp_path / "socket")
        assert stat.S_ISSOCK((tmp_path / "socket").lstat().st_mode)
    assert "it is a directory" in refused(project, "--output", tmp_path)

    null, full = tmp_path / "null", tmp_path / "full"
    try:
        os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(full, stat.S_IFCHR | 0o666, os.makedev(1, 7))
    except PermissionError:
        pytest.skip("only root makes devices")
    assert built(project, "--output", null)["bytes"] > 1 << 20
    assert "No space left" in refused(project, "--output", full)
    assert [node.lstat().st_rdev for node in (null, full)] == [os.makedev(1, 3), os.makedev(1, 7)]


def test_an_artifact_does_not_go_where_what_is_told_of_it_goes(project: Path, tmp_path: Path) -> None:
    assert "standard output" in refused(project, "--output", "-")
    assert not (project / "-").exists()
    built(project, "--output", "./-")
    assert (project / "-").is_file()
    told = tmp_path / "told"
    with told.open("w") as out:
        done = subprocess.run(
            [find_flash(), "build", "--output", told],
            cwd=project,
            env=environment_of("build"),
            stdout=out,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, told.read_text()) == (1, "")
    assert b"standard output" in done.stderr


def test_requirements_of_all_places_are_locked(project: Path, wheels: Callable[..., None]) -> None:
    for name in ("one", "two", "three", "four", "five"):
        wheels(name, "1.0")
        wheels(name, "2.0")
    wheels("one", "3.0", "five<2")
    (project / "requirements.txt").write_text(
        f"{LOCAL}# first\none>=1 \\\n  ; python_version >= '3.8'\n-r more/base.txt\nrunpod-flash==1.0\n-e .\n"
    )
    (project / "more").mkdir()
    (project / "more/base.txt").write_text("two  # second\n-c bounds.txt\n")
    (project / "more/bounds.txt").write_text("two<2\n")
    (project / "pyproject.toml").write_text('[project]\nname = "shop"\ndependencies = ["three==1.0", "openflash"]\n')
    (project / "app.py").write_text(
        APP.replace('path="/hello"', 'path="/hello", dependencies=NEEDS + ["pydantic"]').replace("@remote", 'NEEDS = ["four"]\n@remote')
    )
    result = flash("build", "--json", at=project)
    assert result.code == 0, result
    report = json.loads(result.stdout)
    locked = ["cloudpickle==3.1", "five==1.0", "four==2.0", "one==3.0", "pydantic==2.9", "three==1.0", "two==1.0"]
    assert names(report) == locked
    [warning] = report["warnings"]
    assert warning["what"] == "the requirement `runpod-flash==1.0` is satisfied by openflash"
    assert warning["at"] == "requirements.txt:7"
    inside = unpacked(Path(report["artifact"]))
    lock = inside["requirements.lock"].decode()
    assert [line.split(" ")[0] for line in lock.splitlines() if not line.startswith(" ")] == locked
    assert lock.count("--hash=sha256:") == len(locked)
    assert str(project.parent) not in lock
    assert json.loads(inside["flash_manifest.json"])["python_version"] == report["python_version"]


def test_a_lock_is_kept_until_what_is_required_changes(project: Path, wheels: Callable[..., None], tmp_path: Path) -> None:
    wheels("one", "1.0")
    (project / "requirements.txt").write_text(f"{LOCAL}one\n")
    first = built(project)
    assert "one==1.0" in names(first)
    wheels("one", "2.0")
    wheels("two", "1.0")
    # Neither a newer version, nor a comment, nor the absence of uv makes a difference.
    (project / "requirements.txt").write_text(f"# the same\n{LOCAL}one # it is\n")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "uv").write_text("#!/bin/sh\nexit 9\n")
    (broken / "uv").chmod(0o755)
    again = built(project, PATH=f"{broken}:{os.environ['PATH']}")
    assert names(again) == names(first)
    # What is new is added; what was there keeps its version.
    (project / "requirements.txt").write_text(f"{LOCAL}one\ntwo\n")
    assert "uv ended with" in refused(project, PATH=f"{broken}:{os.environ['PATH']}")
    assert {"one==1.0", "two==1.0"} < set(names(built(project)))
    assert {"one==2.0", "two==1.0"} < set(names(built(project, "--upgrade")))
    (project / "requirements.txt").write_text(LOCAL)
    assert names(built(project)) == []
    assert "requirements.lock" not in unpacked(project / ".flash/artifact.tar.gz")


def test_requirements_are_locked_for_the_python_that_is_asked_for(project: Path, wheels: Callable[..., None]) -> None:
    wheels("one", "1.0", "two; python_version >= '3.13'", "three; python_version < '3.13'")
    wheels("two", "1.0")
    wheels("three", "1.0")
    (project / "requirements.txt").write_text(f"{LOCAL}one\n")
    own = built(project)
    old = built(project, "--python-version", "3.12")
    assert built(project)["python_version"] == own["python_version"] == "{}.{}".format(*sys.version_info), "the other was asked for once"
    new = built(project, "--python-version", "3.13")
    assert [old["python_version"], new["python_version"]] == ["3.12", "3.13"]
    assert "three==1.0" in names(old)
    assert "three==1.0" not in names(new)
    assert new["digest"] != old["digest"]
    assert built(project, "--python-version", "3.12")["digest"] == old["digest"]
    (project / "app.py").write_text(APP.replace('name="api"', 'name="api", python_version="3.12"'))
    assert built(project)["python_version"] == "3.12"
    assert "is for Python 3.12, and --python-version for 3.13" in refused(project, "--python-version", "3.13")


def test_what_cannot_be_locked_is_told_in_uvs_words(project: Path, wheels: Callable[..., None]) -> None:
    wheels("one", "1.0", "missing>=4")
    (project / "requirements.txt").write_text(f"{LOCAL}one\n")
    told = refused(project)
    assert "the requirements cannot be locked" in told
    assert "missing was not found" in told
    (project / "requirements.txt").write_text(f"{LOCAL}one>==1\n")
    assert "one>==1" in refused(project)
    assert sorted(path.name for path in (project / ".flash").iterdir()) == [".gitignore"], "nothing half-made is left"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("./libs/mine", "`./libs/mine` is a path on this machine"),
        ("-e ../elsewhere", "`../elsewhere` is a path on this machine"),
        ("mine @ file:///srv/mine", "`mine @ file:///srv/mine` is a path on this machine"),
        ("-r gone.txt", "gone.txt` cannot be read: No such file"),
        ("--frobnicate yes", "`--frobnicate yes` is not understood"),
        ("-r https://x.example/r.txt", "is not understood"),
    ],
)
def test_requirements_that_no_other_machine_could_install_are_told_with_their_line(project: Path, line: str, expected: str) -> None:
    (project / "requirements.txt").write_text(f"# first\n\n{line}\n")
    told = refused(project)
    assert expected in told
    assert "at: requirements.txt:3" in told


def test_passwords_of_indexes_stay_at_home(project: Path, wheels: Callable[..., None]) -> None:
    wheels("one", "1.0")
    indexes = "--index-url https://me:word@x.example/simple\n--extra-index-url https://${TOKEN}@x.example/\n--only-binary :all:\n"
    (project / "requirements.txt").write_text(f"{LOCAL}{indexes}one\n")
    report = built(project)
    assert [warning["what"] for warning in report["warnings"]] == [
        "the --index-url of the requirements is left out of the build",
        "the --extra-index-url of the requirements is left out of the build",
    ]
    lock = unpacked(Path(report["artifact"]))["requirements.lock"].decode()
    assert lock.startswith("--only-binary :all:\n")
    assert "word" not in lock
    assert "TOKEN" not in lock


def test_without_uv_it_is_said_how_to_get_it(project: Path, tmp_path: Path) -> None:
    (project / "requirements.txt").write_text("one\n")
    alone = tmp_path / "bin"
    alone.mkdir()
    shutil.copy2(find_flash(), alone / "flash")
    variables = environment_of("build", PATH="/nowhere")
    done = subprocess.run(
        [alone / "flash", "build"], cwd=project, env=variables, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1
    assert "error: `uv` is not there" in done.stderr
    assert "try: pip install uv" in done.stderr


def test_imports_that_nothing_brings_are_told_of(project: Path, wheels: Callable[..., None], tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    [packages] = environment.glob("lib/python3*/site-packages")
    for name, distribution in (("here", "here"), ("yaml", "PyYAML"), ("other", "something")):
        (packages / name).mkdir()
        (packages / f"{distribution}-1.0.dist-info").mkdir()
        (packages / f"{distribution}-1.0.dist-info/RECORD").write_text(f"{name}/__init__.py,,\n")
    imports = """
import json, os.path, here, yaml, other.deep
import gone
from numpy.linalg import norm
import app
import runpod_flash
from cloudpickle import dumps
try:
    import perhaps
except ImportError:
    perhaps = None
def later():
    import at_run_time
"""
    (project / "app.py").write_text(imports + APP)

    def unmet() -> list[tuple[str, str]]:
        report = built(project, VIRTUAL_ENV=str(environment))
        return [(warning["what"].split("`")[1], warning["at"]) for warning in report["warnings"]]

    # Without requirements, functions run with what is installed here.
    assert unmet() == [("cloudpickle", "app.py:7"), ("gone", "app.py:3"), ("numpy", "app.py:4")]
    # With them, with those alone.
    wheels("numpy", "2.0")
    wheels("pyyaml", "1.0")
    (project / "requirements.txt").write_text(f"{LOCAL}numpy\nPyYAML\n")
    assert unmet() == [("gone", "app.py:3"), ("here", "app.py:2"), ("other", "app.py:2")]
    told = built(project, VIRTUAL_ENV=str(environment))["warnings"][-1]
    assert told["why"] == "`something` brings it here; functions with requirements run with those alone, and it is none of them"
    # Where modules may be anywhere, nothing is guessed.
    (packages / "more.pth").write_text("/somewhere\n")
    assert unmet() == []


EVERYTHING = """
from runpod_flash import CpuServerlessEndpoint, GpuGroup, LoadBalancerSlsResource, remote

api = LoadBalancerSlsResource(
    name="api", imageName="some/image:1", env={"MODE": "fast"}, workersMin=1, workersMax=3, idleTimeout=60, executionTimeoutMs=5000,
    scalerValue=8, gpus=[GpuGroup.ANY], gpuCount=1, python_version="3.12", cancel_on_disconnect=True,
)
jobs = CpuServerlessEndpoint(name="jobs", imageName="some/image:1")

@remote(api, method="GET", path="/a/{b:path}", system_dependencies=["ffmpeg"])
async def hello(b): ...

@remote(jobs)
class Job: ...
"""


def test_manifests_are_as_the_schema_says(project: Path) -> None:
    schema = json.loads((ROOT / "docs/flash_manifest.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    is_valid = jsonschema.Draft202012Validator(schema).is_valid
    (project / "app.py").write_text(EVERYTHING)
    manifest = json.loads(unpacked(Path(built(project)["artifact"]))["flash_manifest.json"])
    jsonschema.validate(manifest, schema)
    api = next(endpoint for endpoint in manifest["endpoints"] if endpoint["name"] == "api")
    for field in ("image", "env", "workers", "idle_timeout_s", "timeout_ms", "scaler_value", "gpus", "gpu_count", "python"):
        assert field in api, field
    for pointer, value in (
        (("version",), 2),
        (("app",), "a b"),
        (("more",), 1),
        (("endpoints",), []),
        (("endpoints", 0, "class"), "Endpoint"),
        (("endpoints", 0, "workers"), [1]),
        (("endpoints", 0, "functions", 0, "file"), "/etc/x.py"),
        (("endpoints", 0, "functions", 0, "file"), "a/../x.py"),
        (("endpoints", 0, "functions", 0, "method"), "PTACH"),
        (("endpoints", 0, "functions", 0, "more"), 1),
    ):
        wrong = json.loads(json.dumps(manifest))
        *way, last = pointer
        place = wrong
        for key in way:
            place = place[key]
        place[last] = value
        assert not is_valid(wrong), (pointer, value)


def test_an_artifact_unpacks_with_the_tools_of_others(project: Path) -> None:
    """It is a plain tar.gz: sorted, with the manifest first."""
    long = "deep/" * 60 + "file.txt"
    (project / long).parent.mkdir(parents=True)
    (project / long).write_text("far down")
    (project / "größe.txt").write_text("ß")
    artifact = built(project)["artifact"]
    listed = subprocess.run(["tar", "-tzf", artifact, "--quoting-style=literal"], capture_output=True, text=True, check=True).stdout
    assert listed.splitlines() == ["flash_manifest.json", "src/app.py", f"src/{long}", "src/größe.txt"]
    assert unpacked(Path(artifact))[f"src/{long}"] == b"far down"
