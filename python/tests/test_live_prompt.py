"""Programs without a file: a prompt, `python -c`, standard input, a notebook. Functions travel by value."""

from __future__ import annotations

from pathlib import Path

from live_programs import LIVE, output

#: A prompt goes on after an error; a test must not.
FAILS = "import sys; sys.excepthook = lambda *error: (sys.__excepthook__(*error), __import__('os')._exit(1))\n"
PROGRAM = (LIVE / "at_a_prompt.py").read_text()


def test_python_c() -> None:
    assert output("-c", PROGRAM) == "it was found\n"


def test_standard_input() -> None:
    assert output("-", stdin=PROGRAM) == "it was found\n"


def test_a_prompt() -> None:
    assert "it was found" in output("-i", "-q", stdin=FAILS + PROGRAM)


def test_a_prompt_after_a_script(tmp_path: Path) -> None:
    """The module has a file, and what was typed is not in it."""
    (tmp_path / "empty.py").touch()
    assert "it was found" in output("-i", tmp_path / "empty.py", stdin=FAILS + PROGRAM)


def test_a_notebook() -> None:
    """Cells run in `__main__`, from files that are none."""
    cells = PROGRAM.split("import asyncio\n")
    runner = (
        "import sys, __main__\n"
        "for number, cell in enumerate(sys.argv[1:]):\n"
        "    exec(compile(cell, f'<ipython-input-{number}>', 'exec'), vars(__main__))\n"
    )
    assert output("-c", runner, cells[0], "import asyncio\n" + cells[1]) == "it was found\n"
