"""Programs without a file: a prompt, `python -c`, standard input, IPython, a notebook. Functions travel by value."""

from __future__ import annotations

import shutil
import sys
import uuid
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from live_programs import LIMIT, LIVE, end, environment, gone, output

#: A prompt goes on after an error; a test must not.
FAILS = "import sys; sys.excepthook = lambda *error: (sys.__excepthook__(*error), __import__('os')._exit(1))\n"
PROGRAM = (LIVE / "at_a_prompt.py").read_text()
FOUND = "it was found\n"


def test_python_c() -> None:
    assert output("-c", PROGRAM) == FOUND


def test_standard_input() -> None:
    assert output("-", stdin=PROGRAM) == FOUND


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize("command", ["- < $1", "/dev/stdin < $1", "<(cat $1)", "<($0 -c 'print(open(\"at_a_prompt.py\").read())')"])
def test_a_script_that_comes_through_a_descriptor(command: str) -> None:
    """It has a name like a file's, under which another process finds nothing, or something else."""
    assert output("at_a_prompt.py", python=["bash", "-c", f"exec $0 {command}", sys.executable]) == FOUND


def test_a_script_that_comes_through_a_named_pipe(tmp_path: Path) -> None:
    """Whoever opened it again would wait for ever."""
    writes = 'mkfifo $1/pipe && (cat at_a_prompt.py > $1/pipe &) && exec "$0" $1/pipe'
    assert output(tmp_path, python=["sh", "-c", writes, sys.executable]) == FOUND


def test_a_prompt() -> None:
    assert "it was found" in output("-i", "-q", stdin=FAILS + PROGRAM)


def test_a_prompt_after_another_script(tmp_path: Path) -> None:
    """The module has a file, and what was typed is not in it."""
    (tmp_path / "empty.py").touch()
    assert "it was found" in output("-i", tmp_path / "empty.py", stdin=FAILS + PROGRAM)


@pytest.mark.parametrize("options", [["everywhere.py"], ["-m", "everywhere"]])
def test_a_prompt_after_a_script_shares_its_state_and_classes(options: list[str]) -> None:
    """`check` wants the state of before, and its own classes."""
    assert output("-i", "-q", *options, stdin=FAILS + "check()\n").count("it holds") == 2


TYPED_AFTERWARDS = """\
class Other:
    def __init__(self, x): self.x = x
    def __eq__(self, other): return self.x == other.x

class Colour(Enum):
    BLUE = 1
    def typed(self): pass

def helper(value): return type(value)

@remote(api, method="POST", path="/typed")
def typed(value): return helper(value) is Other or value is Colour.BLUE, value

for value in (Other(1), Colour.BLUE):
    known, back = typed(value)
    assert known and type(back) is type(value) and back == value, back

assert keep(Point(3))[1]
print("both hold")
"""


def test_what_is_typed_after_a_script_travels_by_value_beside_what_the_script_names() -> None:
    assert "both hold" in output("-i", "-q", "everywhere.py", stdin=FAILS + TYPED_AFTERWARDS)


IPYTHON = ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor", "--no-confirm-exit"]


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Where IPython and Jupyter find none of the user's settings, and keep their own."""
    return {"HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython"), "JUPYTER_PLATFORM_DIRS": "1"}


def test_ipython(home: dict[str, str]) -> None:
    said = output(*IPYTHON, stdin=PROGRAM, **home)
    assert FOUND in said
    assert "Error" not in said  # it goes on after one


def test_a_script_of_ipython(home: dict[str, str]) -> None:
    assert output("-m", "IPython", "at_a_prompt.py", **home) == FOUND
    said = output(
        *IPYTHON, "-i", "at_a_prompt.py", stdin="assert scale(Point(4), Colour.RED)[1:3] == (True, True)\nprint('again')\n", **home
    )
    assert FOUND in said
    assert "again" in said


def test_a_script_that_ipython_runs_again_is_what_it_is_now(home: dict[str, str], tmp_path: Path) -> None:
    """`%run` is for scripts that are being written: the worker must not keep the first."""
    source = "from runpod_flash import LiveLoadBalancer, remote\n" + "api = LiveLoadBalancer(name='again')\n"
    source += "@remote(api, method='POST', path='/which')\ndef which(): return 'first'\nprint('in the script:', which())\n"
    (tmp_path / "script.py").write_text(source)
    typed = "%run script.py\nprint('at the prompt:', which())\n%run at_a_prompt.py\nscale(Point(4), Colour.RED)[1:3]\n"
    edits = f"import pathlib; _ = pathlib.Path('script.py').write_text({source.replace('first', 'second')!r})\n"
    shutil.copy(LIVE / "at_a_prompt.py", tmp_path)
    said = output(*IPYTHON, stdin=typed + edits + typed, cwd=tmp_path, **home)
    for which in ("first", "second"):
        assert f"in the script: {which}\n" in said
        assert f"at the prompt: {which}\n" in said
    assert said.count("Out[") == said.count("(True, True)") == 2
    assert said.count(FOUND) == 2


CELLS = [
    PROGRAM.partition("import asyncio")[0],
    PROGRAM[PROGRAM.index("import asyncio") : PROGRAM.index("try:")],
    """
async def calls():
    try:
        await find()
    except UserNotFound as error:
        return type(error) is UserNotFound, error.args

await check_queue()
await calls()
""",
    "say()",
    """
@remote(api, method="POST", path="/steps")
async def steps(name):
    for step in range(2):
        print(name, step, flush=True)
        await asyncio.sleep(0)
    return name

await asyncio.gather(steps("one"), steps("other"))
""",
    """
import os, signal, sys
@remote(api, method="POST", path="/begin-and-nap")
def begin_and_nap():
    import time
    print("begun")
    time.sleep(60)

class Interrupting(io.StringIO):
    def write(self, text):
        os.kill(os.getpid(), signal.SIGINT)
        return len(text)

try:
    with contextlib.redirect_stdout(Interrupting()):
        begin_and_nap()
except KeyboardInterrupt:
    print("interrupted")
say()
""",
    """
api = LiveLoadBalancer(name="prompt")
@remote(api, method="POST", path="/say")
def say():
    print("said in another way")

say()
""",
    "await find()",
]


def test_a_notebook(home: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a real kernel, driven as Jupyter drives it."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    mark = uuid.uuid4().hex
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    try:
        client = NotebookClient(notebook, timeout=LIMIT, kernel_name="python3")
        with pytest.raises(CellExecutionError) as failed:
            client.execute(env=environment(LIVE_MARK=mark, **home), cwd=str(LIVE))
        gone(mark)
    finally:
        end(mark)
    shown = [_shown(cell) for cell in notebook.cells[:-1]]
    assert shown[:4] == ["", "", "(True, (3,))\n", "said in the worker\n"]
    assert sorted(shown[4].splitlines()) == ["['one', 'other']", "one 0", "one 1", "other 0", "other 1"]
    assert shown[5:] == ["interrupted\nsaid in the worker\n", "said in another way\n"]
    assert failed.value.ename == "UserNotFound"
    assert "in the worker:" in failed.value.traceback
    assert "in find" in failed.value.traceback


def _shown(cell: Any) -> str:
    return "".join(one["text"] if one.output_type == "stream" else one["data"]["text/plain"] + "\n" for one in cell.outputs)
