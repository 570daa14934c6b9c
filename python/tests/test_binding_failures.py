"""What users see of a traceback is their own code."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from oracle_functions import function
from runpod_flash._worker import failures
from runpod_flash._worker.routes import Rejected, Route


def raised(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BaseException:
    """What importing a module of this code raises."""
    (tmp_path / "users_own.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "users_own", raising=False)
    with pytest.raises(BaseException) as info:  # noqa: PT011 - whatever it is
        importlib.import_module("users_own")
    return info.value.with_traceback(info.value.__traceback__.tb_next if info.value.__traceback__ else None)


@pytest.mark.parametrize(
    ("code", "last"),
    [
        ("def f():\n    return 1 / 0\nf()\n", "ZeroDivisionError: division by zero"),
        ("import absent_module\n", "ModuleNotFoundError: No module named 'absent_module'"),
        ("x = (\n", "SyntaxError: '(' was never closed"),
        ("class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E\n", "users_own.E: <exception str() failed>"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
    ],
)
def test_only_the_users_frames_are_left(code: str, last: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = failures.trimmed(raised(code, tmp_path, monkeypatch))
    assert text.rstrip().splitlines()[-1] == last
    assert "users_own.py" in text
    assert "importlib" not in text


def test_our_frames_between_the_users_go_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from runpod_flash._worker.routes import Route\nclass Type:\n    @classmethod\n"
    code += "    def __get_pydantic_core_schema__(cls, *_):\n        raise KeyError('mine')\n"
    code += "def f(x: Type): ...\nRoute(f, 'POST', '/')\n"
    text = failures.trimmed(raised(code, tmp_path, monkeypatch))
    assert "Route(f, 'POST', '/')" in text and "raise KeyError('mine')" in text
    assert "_worker" not in text.replace("runpod_flash._worker.signatures.Unroutable", "").replace("from runpod_flash._worker.routes", "")


def test_causes_contexts_and_groups_are_trimmed() -> None:
    route = Route(function("x: int"), "POST", "/")

    def rejected() -> BaseException:
        try:
            route.bind((), b"", b"", None)
        except Exception as error:
            return error
        raise AssertionError

    try:
        try:
            raise rejected()
        except Exception:
            raise KeyError("second") from rejected()
    except KeyError as caught:
        error: BaseException = caught
    if sys.version_info >= (3, 11):
        error = ExceptionGroup("group", [error])  # type: ignore[arg-type]  # noqa: F821 - not a name of Python 3.10
    text = failures.trimmed(error)
    assert "KeyError: 'second'" in text and "Rejected" in text
    assert "routes.py" not in text


def test_a_chain_of_any_length_is_told() -> None:
    error: Exception = ValueError("first")
    for number in range(3000):
        following = ValueError(str(number))
        following.__cause__ = error
        error = following
    text = failures.trimmed(error)
    assert text.startswith("ValueError: first") and text.rstrip().endswith("ValueError: 2999")


def test_where_no_frame_is_the_users_ours_stay() -> None:
    with pytest.raises(Rejected) as info:
        Route(function("x: int"), "POST", "/").bind((), b"", b"", None)
    outermost = info.value.__traceback__
    assert outermost is not None
    assert "routes.py" in failures.trimmed(info.value.with_traceback(outermost.tb_next))


def test_where_the_cause_has_the_users_frames_ours_are_gone_from_what_was_raised_from_it() -> None:
    route = Route(function("x: int"), "POST", "/")
    with pytest.raises(Rejected) as info:
        route.bind((), b"", b"", None)
    ours = info.value.with_traceback(info.tb.tb_next)
    assert "routes.py" in failures.trimmed(ours)
    try:
        next(iter([]))
    except StopIteration as error:
        ours.__cause__ = error
    text = failures.trimmed(ours)
    assert "next(iter([]))" in text and "routes.py" not in text
