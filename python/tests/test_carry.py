"""Values on their way: by name where both sides have one, by value where not; exceptions whole, in parts, or as a stand-in."""

from __future__ import annotations

import math
import pickle
import sys
import threading
from collections import namedtuple
from enum import Enum
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runpod_flash import RemoteError, _carry, _raised

Renamed = namedtuple("Renamed_", "x")  # noqa: PYI024 - its name is not the one that it is bound to


class Colour(Enum):
    RED = 1


class Computed(Exception):
    def __init__(self, user: str, *, code: int) -> None:
        super().__init__(f"{user}: {code}")
        self.user, self.code = user, code


class Doubled(Exception):
    """Its `__init__` can be called with its `args`, and would change them."""

    def __init__(self, text: str) -> None:
        super().__init__(f"<{text}>")


class Strange(Exception):
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Unpicklable(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class OldFile(OSError):
    def __init__(self, path: str) -> None:
        super().__init__(2, "No such file", path)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_like)
def test_plain_values_come_back(value: object) -> None:
    assert _carry.loads(_carry.dumps(value)) == value


@pytest.mark.parametrize("value", [Colour, Colour.RED, math.sin, test_plain_values_come_back, Renamed, str])
def test_what_has_a_name_travels_by_it(value: object) -> None:
    assert _carry.loads(_carry.dumps(value)) is value


def test_an_instance_of_a_class_with_another_name_keeps_its_class() -> None:
    assert type(_carry.loads(_carry.dumps(Renamed(1)))) is Renamed


def test_plain_data_is_as_small_as_pickle_makes_it() -> None:
    value = list(range(1000))
    assert _carry.dumps(value) == pickle.dumps(value, 5)


def test_functions_without_a_name_travel_by_value() -> None:
    factor = 3
    copy: Any = _carry.loads(_carry.dumps(lambda x: x * factor))
    assert copy(2) == 6


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A `__main__` with a file and a class, and the copy of it that a worker has."""
    modules = []
    for name in ("__main__", "__mp_main__"):
        module = ModuleType(name)
        module.__file__ = __file__
        module.C = type("C", (), {"__module__": name})  # type: ignore[attr-defined]
        module.lambda_ = eval("lambda: C", vars(module))  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
        modules.append(module)
    return modules[1]


def test_each_side_finds_the_scripts_names_in_its_own_module(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    main: Any = sys.modules["__main__"]
    sent = _carry.dumps([main.C, main.C()])
    monkeypatch.setattr(_carry, "main_module", lambda: script)
    cls, instance = _carry.loads(sent)  # type: ignore[misc]
    assert cls is script.C
    assert type(instance) is script.C
    back = _carry.dumps(instance)
    monkeypatch.undo()
    with monkeypatch.context() as again:
        again.setattr(_carry, "main_module", lambda: main)
        assert type(_carry.loads(back)) is main.C


def test_by_value_a_function_still_names_what_a_script_defines(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    main: Any = sys.modules["__main__"]
    sent = _carry.dumps(main.lambda_)
    monkeypatch.setattr(_carry, "main_module", lambda: script)
    copy: Any = _carry.loads(sent)
    assert copy() is script.C


def test_at_a_prompt_everything_travels_by_value(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    main: Any = sys.modules["__main__"]
    sent = _carry.dumps(main.C)
    monkeypatch.delattr(main, "C")
    monkeypatch.setattr(_carry, "main_module", lambda: script)
    assert _carry.loads(sent).__name__ == "C"  # type: ignore[attr-defined]


def journey(error: BaseException) -> BaseException:
    return _raised.unpack(_raised.pack(error, "the traceback"))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a", 1),
        Computed("eve", code=7),
        Doubled("text"),
        OldFile("/no/such/file"),
        FileNotFoundError(2, "No such file", "name"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        SystemExit(3),
        KeyboardInterrupt(),
        StopIteration(1),
    ],
)
def test_an_exception_keeps_its_class_its_args_and_its_attributes(error: BaseException) -> None:
    copy = journey(error)
    assert type(copy) is type(error)
    assert copy.args == error.args
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)


def test_an_exception_that_will_not_be_compared_or_shown_still_comes() -> None:
    copy = journey(Strange(1))
    assert type(copy) is Strange
    assert copy.args == (1,)


def test_what_cannot_travel_has_a_stand_in() -> None:
    error = journey(Unpicklable("held"))
    assert isinstance(error, RemoteError)
    assert (error.type_name, error.message, error.traceback) == (f"{__name__}.Unpicklable", "held", "the traceback")


def test_a_class_that_is_not_here_has_a_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = _raised.pack(Computed("eve", code=7), "the traceback")
    monkeypatch.delattr(sys.modules[__name__], "Computed")
    error = _raised.unpack(packed)
    assert isinstance(error, RemoteError)
    assert error.message == "eve: 7"


def test_the_traceback_ends_the_chain_and_the_users_causes_stay() -> None:
    error, cause, root = ValueError(1), KeyError(2), OSError(3)
    error.__cause__, cause.__cause__ = cause, root
    copy = journey(error)
    assert copy.__cause__ is not None
    assert copy.__cause__.__cause__ is not None
    assert [type(copy), type(copy.__cause__), type(copy.__cause__.__cause__)] == [ValueError, KeyError, OSError]
    last = copy.__cause__.__cause__.__cause__
    assert isinstance(last, _raised.RemoteTraceback)
    assert "the traceback" in str(last)
    assert last.__cause__ is None


def test_a_ring_of_causes_ends() -> None:
    one, two = ValueError(1), ValueError(2)
    one.__cause__, two.__cause__ = two, one
    assert journey(one).args == (1,)


def test_notes_travel() -> None:
    error = ValueError(1)
    error.__notes__ = ["a note"]  # as `add_note` does, from Python 3.11 on
    assert journey(error).__notes__ == ["a note"]
