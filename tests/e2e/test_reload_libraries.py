"""What a reload costs: the project's own modules, while libraries stay imported. And where that would not be the same, all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flash_process import Flash, wait_for

Serve = Callable[..., Flash]
Edit = Callable[[str], None]

HEAD = "import os\nfrom runpod_flash import LiveLoadBalancer, remote\n\napi = LiveLoadBalancer(name='app')\n\n"
VERSION = "\n@remote(api, method='GET', path='/version')\ndef version() -> list[str]:\n    return ['{version}', library.name]\n"


class Project:
    """A project with an endpoint, and a place where libraries are installed. Each import of `library` leaves a line."""

    def __init__(self, folder: Path) -> None:
        self.app = folder / "project/app.py"
        self.app.parent.mkdir()
        self.places = folder / "lib/site-packages"
        self.places.mkdir(parents=True)
        self.journal = folder / "journal"
        self.journal.touch()
        self.library("first")

    def library(self, name: str, more: str = "") -> None:
        """Installs the library, in another version perhaps."""
        text = f"import os\nname = {name!r}\nwith open({str(self.journal)!r}, 'a') as journal:\n    journal.write(name + '\\n')\n"
        (self.places / "library.py").write_text(text + more)

    def imports(self) -> int:
        """How often it was imported."""
        return len(self.journal.read_text().split())

    def write(self, version: str, before: str = "") -> None:
        """Writes the program."""
        self.app.write_text(HEAD + before + "import library\n" + VERSION.format(version=version))

    def serve(self, serve: Serve) -> Flash:
        """Serves it, with the libraries on Python's path."""
        return serve(self.app, PYTHONPATH=str(self.places), FLASH_LOG="flash_workers::libraries=debug")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def wait_until_ahead(flash: Flash, times: int = 1) -> None:
    """Waits until libraries have been imported ahead so many times."""
    wait_for(lambda: sum("imported ahead" in line for line in flash.stderr) == times, f"libraries to be imported ahead\n{flash.told()}")


def answer(flash: Flash) -> list[str]:
    told: list[str] = flash.request("GET", "/lb/app/version").json()
    return told


def wait_for_answer(flash: Flash, version: str, library: str) -> None:
    wait_for(lambda: answer(flash) == [version, library], f"{version} with {library} in\n{flash.told()}")


def test_libraries_are_imported_once_for_all_reloads(serve: Serve, project: Project) -> None:
    project.write("v0")
    flash = project.serve(serve)
    wait_until_ahead(flash)
    assert project.imports() == 2, "by the first version, and ahead"
    for number in range(1, 6):
        project.write(f"v{number}")
        wait_for_answer(flash, f"v{number}", "first")
    assert project.imports() == 2
    # Nothing of this is said twice.
    assert "Traceback" not in flash.told()


def test_a_library_that_comes_later_is_imported_ahead_from_then_on(serve: Serve, project: Project) -> None:
    project.write("v0", before="library = type('', (), {'name': 'none'})\nif False:\n    ")
    flash = project.serve(serve)
    assert answer(flash) == ["v0", "none"]
    assert project.imports() == 0
    project.write("v1")
    wait_for_answer(flash, "v1", "first")
    wait_until_ahead(flash)
    project.write("v2")
    wait_for_answer(flash, "v2", "first")
    assert project.imports() == 2


def test_what_is_installed_anew_is_imported_anew(serve: Serve, project: Project) -> None:
    project.write("v0")
    flash = project.serve(serve)
    wait_until_ahead(flash)
    project.library("second", more="# of another length\n")
    (project.places / "library-2.dist-info").mkdir()
    project.write("v1")
    wait_for_answer(flash, "v1", "second")
    wait_until_ahead(flash, 2)
    project.write("v2")
    wait_for_answer(flash, "v2", "second")
    assert project.imports() == 4


def test_a_program_that_sets_the_environment_imports_all_of_it_afresh(serve: Serve, project: Project) -> None:
    project.library("first", more="name = os.environ.get('CHOICE', 'unset')\n")
    project.write("v0", before="os.environ['CHOICE'] = 'set'\n")
    flash = project.serve(serve)
    assert answer(flash) == ["v0", "set"]
    for number in (1, 2):
        project.write(f"v{number}", before="os.environ['CHOICE'] = 'set'\n")
        wait_for_answer(flash, f"v{number}", "set")
    assert project.imports() == 3


def test_a_program_that_comes_to_set_the_environment_gets_what_a_start_would_give(serve: Serve, project: Project) -> None:
    project.library("first", more="name = os.environ.get('CHOICE', 'unset')\n")
    project.write("v0")
    flash = project.serve(serve)
    wait_until_ahead(flash)
    project.write("v1", before="os.environ['CHOICE'] = 'set'\n")
    wait_for(lambda: answer(flash)[0] == "v1", f"the new version\n{flash.told()}")
    assert answer(flash) == ["v1", "set"]


def test_a_library_that_is_unsafe_to_fork_is_imported_afresh(serve: Serve, project: Project) -> None:
    project.library(
        "first", more="import threading\nthreading.Thread(target=threading.Event().wait, name='eternal', daemon=True).start()\n"
    )
    project.write("v0")
    flash = project.serve(serve)
    unsafe = r"importing the modules of app left the thread `eternal`, so its workers are not forked but import afresh"
    flash.wait_for_line(unsafe)
    wait_for(lambda: any("not fit to be forked" in line for line in flash.stderr), f"an attempt to import it ahead\n{flash.told()}")
    project.write("v1")
    wait_for_answer(flash, "v1", "first")
    wait_for(lambda: sum("`eternal`" in line for line in flash.stdout) == 2, f"the same to be told of the new version\n{flash.told()}")


def test_a_module_that_is_unsafe_to_fork_is_noticed_after_the_libraries(serve: Serve, project: Project) -> None:
    project.write("v0")
    flash = project.serve(serve)
    wait_until_ahead(flash)
    thread = "import threading\nthreading.Thread(target=threading.Event().wait, name='mine', daemon=True).start()\n"
    project.write("v1", before=thread)
    flash.wait_for_line(r"importing the modules of app left the thread `mine`, so its workers are not forked")
    wait_for_answer(flash, "v1", "first")


def test_a_library_that_cannot_be_imported_by_itself_is_left_to_the_program(serve: Serve, project: Project) -> None:
    needy = "import sys\nname = getattr(sys, 'left_by_library', name)\nsys.left_by_library = 'second'\n"
    needy += "if not hasattr(sys, 'ready_for_library'):\n    raise RuntimeError('not ready')\n"
    project.library("first", more=needy)
    project.write("v0", before="import sys\nsys.ready_for_library = True\n")
    flash = project.serve(serve)
    wait_for(lambda: any("cannot be imported by themselves" in line for line in flash.stderr), "an attempt to import it ahead")
    for number in (1, 2):
        project.write(f"v{number}", before="import sys\nsys.ready_for_library = True\n")
        wait_for_answer(flash, f"v{number}", "first")
    assert "not ready" not in flash.told()
    assert project.imports() == 4, "three versions, and one attempt ahead"


def test_numpy_draws_differently_in_each_version(serve: Serve, project: Project) -> None:
    """It is imported ahead, and all versions begin with what it drew then."""
    numbers = "import numpy.random\n\n@remote(api, method='GET', path='/draw')\ndef draw() -> float:\n    return numpy.random.random()\n\n"
    project.write("v0", before=numbers)
    flash = project.serve(serve)
    wait_until_ahead(flash)
    drawn = [flash.request("GET", "/lb/app/draw").json()]
    for number in (1, 2, 3):
        project.write(f"v{number}", before=numbers)
        wait_for_answer(flash, f"v{number}", "first")
        drawn.append(flash.request("GET", "/lb/app/draw").json())
    assert len(set(drawn)) == 4, drawn


def test_the_processes_of_libraries_end_with_their_users(serve: Serve, project: Project) -> None:
    project.write("v0")
    flash = project.serve(serve)
    wait_until_ahead(flash)
    for number in (1, 2, 3):
        (project.places / f"package-{number}").mkdir()
        project.write(f"v{number}")
        wait_for_answer(flash, f"v{number}", "first")
        wait_until_ahead(flash, number + 1)
    wait_for(lambda: len(flash.children()) == 4, "the others to end: a base, the libraries, a zygote and a worker stay")


def test_an_endpoint_outlasts_the_libraries_that_it_was_forked_from(serve: Serve, project: Project) -> None:
    """They are imported ahead anew for what another endpoint imports; who came from the ones before stays, with its state."""
    pid = "\n@remote(api, method='GET', path='/pid')\ndef pid() -> int:\n    return os.getpid()\n"
    other = project.app.with_name("other.py")
    (project.places / "further.py").touch()
    (project.app.parent / "flash.toml").touch()
    other.write_text(HEAD.replace("'app'", "'other'") + "import library\n" + pid)
    project.write("v0", before=pid)
    flash = serve(project.app.parent, PYTHONPATH=str(project.places), FLASH_LOG="flash_workers::libraries=debug")
    wait_until_ahead(flash)
    project.write("v1", before=pid)
    wait_for_answer(flash, "v1", "first")
    worker = flash.request("GET", "/lb/app/pid").json()

    def other_worker() -> int:
        found: int = flash.request("GET", "/lb/other/pid").json()
        return found

    before = other_worker()
    other.write_text(other.read_text() + "import further\n")
    wait_for(lambda: other_worker() != before, "the other endpoint's new version")
    wait_until_ahead(flash, 2)
    wait_for(lambda: len(flash.children()) == 7, "a base, two of libraries, and a zygote and a worker of each endpoint")
    assert flash.request("GET", "/lb/app/pid").json() == worker
    assert "died" not in flash.told()


def test_a_program_that_sets_the_environment_leaves_the_others_theirs(serve: Serve, project: Project, tmp_path: Path) -> None:
    journal = tmp_path / "journal of the program"
    sets = f"os.environ['CHOICE'] = 'set'\nwith open({str(journal)!r}, 'a') as journal:\n    journal.write('x')\n"
    (project.app.parent / "flash.toml").touch()
    project.write("v0", before=sets)
    other = project.app.with_name("other.py")
    other.write_text(project.app.read_text().replace("'app'", "'other'").replace(sets, ""))
    flash = serve(project.app.parent, PYTHONPATH=str(project.places), FLASH_LOG="flash_workers::libraries=debug")
    wait_until_ahead(flash)
    assert project.imports() == 3, "by both endpoints, and ahead"
    # The other one comes from what was imported ahead; this one imports all of it, and itself once.
    other.write_text(other.read_text().replace("v0", "v1"))
    wait_for(lambda: flash.request("GET", "/lb/other/version").json() == ["v1", "first"], "the other's new version")
    assert project.imports() == 3
    before = len(journal.read_text())
    project.write("v1", before=sets)
    wait_for_answer(flash, "v1", "first")
    assert (project.imports(), len(journal.read_text())) == (4, before + 1)
