"""Arguments of calls of deployed functions: what arrives is what was passed, or the call is refused before anything is sent.

Every type, in every place of a request that it can have, over all methods, with values that hypothesis makes up, against `flash run`.
`FLASH_TEST_EXAMPLES=500` makes a long run of it.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import round_trips
from flash_process import Flash
from round_trips import PLACES, TYPES, name_of, served, unpacked
from runpod_flash import CannotCarry, LoadBalancerSlsStub
from runpod_flash._carried import is_same

EXAMPLES = int(os.environ.get("FLASH_TEST_EXAMPLES", "15"))

TEXT = st.one_of(
    st.text(max_size=5), st.sampled_from(["", "a/b", ".", "..", "a b", "?", "#", "%2F", "é", "\0", "+", "&=", "null", "5", "ping"])
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda of: st.one_of(st.lists(of, max_size=3), st.dictionaries(TEXT, of, max_size=3)),
    max_leaves=5,
)
ZONES = st.sampled_from([None, *(__import__("datetime").timezone(__import__("datetime").timedelta(hours=hours)) for hours in (0, 2, -7))])
#: Where `from_type` would make what is of the type by its name alone, or too little.
SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "None": st.none(),
    "str": TEXT,
    "list": st.lists(JSON, max_size=3),
    "dict": st.dictionaries(st.one_of(TEXT, st.integers()), JSON, max_size=3),
    "Any": st.one_of(JSON, st.binary(max_size=3), st.tuples(st.integers()), st.datetimes(), st.builds(object)),
    "datetime.datetime": st.datetimes(timezones=ZONES),
    "datetime.time": st.times(),
    "decimal.Decimal": st.decimals(allow_nan=False, allow_infinity=False),
    "pathlib.PurePosixPath": TEXT.map(round_trips.pathlib.PurePosixPath),
    "Aliased": st.builds(round_trips.Aliased, firstName=TEXT, Other=st.integers()),
    "Stamped": st.builds(round_trips.Stamped),
    "Secret": st.builds(round_trips.Secret, shown=st.integers(), hidden=st.integers(0, 2)),
    "Item": st.builds(round_trips.Item, name=TEXT),
    "Optional[Item]": st.one_of(st.none(), st.builds(round_trips.Item, name=TEXT, price=st.floats(), tags=st.sets(TEXT, max_size=2))),
    "bytes": st.binary(max_size=20),
}

#: What a JSON body of one object carries in all cases.
ALWAYS = frozenset(TYPES) - {
    "list",
    "dict",
    "Any",
    "Secret",
    "bytes",
    "list[bytes]",
    "Optional[Item]",
    "Item",
    "datetime.timedelta",
    "Aliased",
}


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ModuleType, str]]:
    """The module of the functions, and the URL at which they are served."""
    folder = tmp_path_factory.mktemp("round-trips")
    shutil.copy(round_trips.__file__, folder)
    (folder / "round_trip_functions.py").write_text(round_trips.source())
    flash = Flash(folder / "round_trip_functions.py", "--no-reload")
    sys.path.insert(0, str(folder))
    try:
        flash.wait_until_listed()
        yield importlib.import_module("round_trip_functions"), f"http://127.0.0.1:{flash.port}/lb/round-trips"
        assert flash.terminate() == 0, flash.told()
    finally:
        sys.path.remove(str(folder))
        flash.destroy()


@pytest.mark.parametrize(("place", "kind", "number"), served())
def test_an_argument_arrives_as_it_was_passed_or_is_refused(functions: tuple[ModuleType, str], place: str, kind: str, number: int) -> None:
    module, url = functions
    function = getattr(module, name_of(place, number))
    stub = LoadBalancerSlsStub(url)
    beside = {"item": round_trips.Item(name="beside")} if place == "beside a model" else {"file": b"1"} if place == "beside bytes" else {}
    is_object = place in ("POST", "PUT", "PATCH", "DELETE", "default")

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=set(Phase) - {Phase.explain})
    @given(SPECIAL[kind] if kind in SPECIAL else st.from_type(TYPES[kind]))
    def judge(value: object) -> None:
        try:
            answer = stub.call(function, **beside, x=value)
        except CannotCarry as refusal:
            assert f"argument 'x' of `{function.__name__}`" in str(refusal)
            # In a path it may be the value that does not fit, whatever its type.
            assert type(value).__qualname__ in refusal.what or " in its path: " in refusal.what
            assert not (is_object and kind in ALWAYS), refusal
        else:
            got = unpacked(answer)
            assert is_same(got, value), (got, value)

    judge()


def test_every_place_has_functions() -> None:
    assert {place for place, _, _ in served()} == set(PLACES)
    assert len(served()) > 300
