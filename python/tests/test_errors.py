"""The tree of errors: what each says, that each survives a pickle, and that the drawing of the tree is true."""

from __future__ import annotations

import pickle
import re

import pytest

from runpod_flash import FlashError, RemoteError, _errors

ERRORS = [kind for kind in vars(_errors).values() if isinstance(kind, type) and issubclass(kind, FlashError)]


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_says_what_why_and_how_to_mend_it_after_a_pickle_too(kind: type[FlashError]) -> None:
    made = RemoteError("shop.Odd", "text", "trace") if kind is RemoteError else kind("what", why="why", remedy="remedy")
    twin = pickle.loads(pickle.dumps(made))  # noqa: S301  # made here
    assert type(twin) is kind
    assert (str(twin), vars(twin)) == (str(made), vars(made))
    if kind is not RemoteError:
        assert str(made) == "what\n  why: why\n  try: remedy"


def test_the_stand_in_for_an_exception_names_it() -> None:
    assert str(RemoteError("shop.Odd", "text")) == "shop.Odd: text"
    assert str(RemoteError("shop.Odd", "")) == "shop.Odd"


def test_the_tree_is_drawn_as_it_is() -> None:
    drawn = dict(re.findall(r"[├└]── (\w+) +\((\w+)\)", _errors.__doc__ or ""))
    assert drawn == {kind.__name__: kind.__bases__[-1].__name__ for kind in ERRORS if kind is not FlashError}
