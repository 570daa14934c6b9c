"""Programs without a file: a prompt, `python -c`, standard input, a notebook. Functions travel by value."""

from __future__ import annotations

from live_programs import LIVE, output

PROGRAM = (LIVE / "at_a_prompt.py").read_text()


def test_python_c() -> None:
    assert output("-c", PROGRAM) == "it was found\n"


def test_standard_input() -> None:
    assert output("-", stdin=PROGRAM) == "it was found\n"


def test_a_prompt() -> None:
    failed = "import sys; sys.excepthook = lambda *error: (sys.__excepthook__(*error), __import__('os')._exit(1))\n"
    assert "it was found" in output("-i", "-q", stdin=failed + PROGRAM)


def test_a_notebook() -> None:
    """Cells run in `__main__`, from files that are none."""
    cells = PROGRAM.split("import asyncio\n")
    runner = (
        "import sys, __main__\n"
        "for number, cell in enumerate(sys.argv[1:]):\n"
        "    exec(compile(cell, f'<ipython-input-{number}>', 'exec'), vars(__main__))\n"
    )
    assert output("-c", runner, cells[0], "import asyncio\n" + cells[1]) == "it was found\n"
