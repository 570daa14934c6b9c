"""Exceptions on their way from a worker to the caller.

Each travels as it pickles, where what comes out of a round trip is the same; else as its class, `args` and `__dict__`, rebuilt without
`__init__`; else `RemoteError` stands in. The members of a group travel each in its own way. The user's own causes come along, and the worker's traceback ends their chain.
"""

from __future__ import annotations

import pickle

from . import _carry
from ._errors import RemoteError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Causes that travel with an exception, at most: they may form a ring.
_MOST_CAUSES = 16

#: Whatever the class says of its attributes: it may be a frozen dataclass.
_set_cause = BaseException.__dict__["__cause__"].__set__

# How an exception is packed: as it pickles, as its parts, not at all, as a group of others each packed in its own way.
_WHOLE, _PARTS, _NAME, _GROUP = range(4)


class RemoteTraceback(Exception):
    """The traceback of an exception as it was in the worker, as text: the last `__cause__` of what a remote function raised."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"in the worker:\n\n{self.text}"


def pack(error: BaseException, traceback: str) -> bytes:
    """`error`, its causes, and the text of its traceback. Never raises."""
    links: list[tuple[int, bytes, str, str]] = []
    link: BaseException | None = error
    while link is not None and len(links) < _MOST_CAUSES:
        links.append((*_pack_one(link), type_name(link), message(link)))
        try:
            link = link.__cause__
        except BaseException:  # a property of the class
            break
    return pickle.dumps((traceback, links))


def described(error: BaseException) -> str:
    """The class and the text of `error` in one line, whatever its class is like. Never raises."""
    name, text = type_name(error), message(error)
    return f"{name}: {text}" if text else name


def type_name(error: BaseException) -> str:
    """The qualified name of the class of `error`. Never raises."""
    try:
        kind = type(error)
        if kind.__module__ == "builtins" or kind.__module__ in _carry.MAIN_NAMES:
            return _plain(kind.__qualname__)
        return _plain(f"{kind.__module__}.{kind.__qualname__}")
    except BaseException:
        return _plain(type.__dict__["__name__"].__get__(type(error)))


def message(error: BaseException) -> str:
    """The text of `error`. Never raises."""
    try:
        return _plain(str(error))
    except BaseException as problem:
        return f"<no text: __str__ raised {type_name(problem)}>"


def unpack(data: bytes) -> BaseException:
    """The exception, as an instance of this process's own class, ready to be raised."""
    traceback, links = pickle.loads(data)  # noqa: S301 - from the session's own worker
    cause: BaseException = RemoteTraceback(traceback)
    for form, packed, type_name, message in reversed(links):
        error = _unpack_one(form, packed)
        if error is None:
            error = RemoteError(type_name, message, traceback)
        _set_cause(error, cause)
        cause = error
    return cause


def _pack_one(error: BaseException) -> tuple[int, bytes]:
    # An exception's class is the user's: pickling, calling and comparing it may raise anything, SystemExit too, which only says to try the next way.
    try:
        packed = _carry.dumps(error)
        copy = _carry.loads(packed)
        # An exception made by native code may keep what it says elsewhere than in `args`, as pydantic's does.
        if type(copy) is type(error) and (copy.args == error.args or (not error.args and str(copy) == str(error))):
            return _WHOLE, packed
    except BaseException:  # noqa: S110
        pass
    try:
        members = getattr(error, "exceptions", None)
        if isinstance(members, tuple):
            links = [(*_pack_one(member), type_name(member), message(member)) for member in members]
            return _GROUP, _carry.dumps((type(error), error.message, links))  # type: ignore[attr-defined]
    except BaseException:  # noqa: S110
        pass
    try:
        packed = _carry.dumps(_parts(error))
        if type(_rebuild(*_carry.loads(packed))) is type(error):  # type: ignore[misc]
            return _PARTS, packed
    except BaseException:  # noqa: S110
        pass
    return _NAME, b""


def _unpack_one(form: int, packed: bytes) -> BaseException | None:
    """None where this process cannot make it: it has no such class, or the class will not."""
    if form == _NAME:
        return None
    try:
        value = _carry.loads(packed)
        if form == _GROUP:
            return _group(*value)  # type: ignore[misc]
        error = _rebuild(*value) if form == _PARTS else value  # type: ignore[misc]
    except Exception:
        return None
    return error if isinstance(error, BaseException) else None


def _group(kind: Any, message: str, links: list[tuple[int, bytes, str, str]]) -> BaseException:
    members = [_unpack_one(form, packed) or RemoteError(name, said) for form, packed, name, said in links]
    group: BaseException = kind(message, members)
    return group


def _parts(error: BaseException) -> tuple[object, ...]:
    """Class, `args`, what the built-in class beneath takes (an OSError's file, say, is not in `args`), and attributes."""
    _, given, *state = _builtin(type(error)).__reduce__(error)
    return type(error), error.args, given, state[0] if state else None


def _rebuild(kind: type[BaseException], args: tuple[Any, ...], given: tuple[Any, ...], state: dict[str, Any] | None) -> BaseException:
    """An instance without the class's own `__init__`: what that takes need not be what `args` holds."""
    builtin = _builtin(kind)
    error: BaseException = builtin.__new__(kind, *given)
    builtin.__init__(error, *given)
    error.args = args
    BaseException.__setstate__(error, state)
    return error


def _builtin(kind: type[BaseException]) -> Any:
    return next(base for base in kind.__mro__ if base.__module__ == "builtins")


def _plain(text: str) -> str:
    """`text` as a `str` and no subclass: the caller need not have that."""
    return str.__str__(text)
