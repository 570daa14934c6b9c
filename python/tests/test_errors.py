"""The tree of errors: what each says, that each survives a pickle, and that the drawing of the tree is true."""

from __future__ import annotations

import pickle
import re

import pytest

from runpod_flash import FlashError, JobFailed, RemoteError, _errors

ERRORS = [kind for kind in vars(_errors).values() if isinstance(kind, type) and issubclass(kind, FlashError)]


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_says_what_why_and_how_to_mend_it_after_a_pickle_too(kind: type[FlashError]) -> None:
    stands_in = issubclass(kind, RemoteError)
    made = kind("shop.Odd", "text", "trace") if stands_in else kind("what", why="why", remedy="remedy")
    twin = pickle.loads(pickle.dumps(made))  # noqa: S301  # made here
    assert type(twin) is kind
    assert (str(twin), vars(twin)) == (str(made), vars(made))
    if not stands_in:
        assert str(made) == "what\n  why: why\n  try: remedy"


def test_the_stand_in_for_an_exception_names_it() -> None:
    assert str(RemoteError("shop.Odd", "text")) == "shop.Odd: text"
    assert str(RemoteError("shop.Odd", "")) == "shop.Odd"


def test_a_failed_job_says_what_was_raised_and_which_job_it_was() -> None:
    error = JobFailed("shop.Odd", "text", "trace", "a-u1")
    assert str(error) == "remote execution failed: shop.Odd: text\n  try: flash jobs get a-u1"
    assert (error.type_name, error.message, error.traceback, error.job_id) == ("shop.Odd", "text", "trace", "a-u1")
    assert str(JobFailed("", "its worker died")) == "remote execution failed: its worker died"
    own = "what\n  why: why\n  try: remedy"
    assert str(JobFailed("CannotCarry", own, "trace", "a-u1")) == f"remote execution failed: CannotCarry: {own}", "one way to mend it"


def test_the_tree_is_drawn_as_it_is() -> None:
    drawn = dict(re.findall(r"[├└]── (\w+) +\((\w+)\)", _errors.__doc__ or ""))
    assert drawn == {kind.__name__: kind.__bases__[-1].__name__ for kind in ERRORS if kind is not FlashError}
