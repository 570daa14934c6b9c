"""Results that hypothesis makes up, as expressions: our answer is FastAPI's. `FLASH_TEST_EXAMPLES=5000` makes a long run of it."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from oracle import FAILED, Answer, FastAPI, Ours, Request
from oracle_functions import NAMES, function

#: Expressions of values that some writers of JSON refuse, and others write in their own way.
EDGES = [
    *("float('nan')", "float('inf')", "-float('inf')", "-0.0", "1e300 * 10", "5e-324", "1.0", "1e16", "decimal.Decimal('NaN')", "1j"),
    *("10**4299", "-10**4299", "2**63", "2**64 - 1", "-2**63 - 1", "True", "Level.LOW", "Colour.RED", "Ellipsis", "object()", "len"),
    *(
        "decimal.Decimal('1.50')",
        "decimal.Decimal('1E+400')",
        "decimal.Decimal('1E-400')",
        "decimal.Decimal('-0')",
        "decimal.Decimal(10**40)",
    ),
    *(r"'\ud800'", r"'a\udcff'", r"'\udfff\ud800'", r"'\x00'", r"'\u2028'", r"'\U0001f600'", "'x' * 100_000", "'é' * 70_000", "''"),
    *(r"b'\xff'", "b'a'", "b''", r"'é'.encode()", "bytearray(b'a')", "memoryview(b'a')", r"b'\xed\xa0\x80'", "b'x' * 100_000"),
    *("set()", "{1, 2}", "frozenset('a')", "range(3)", "deque([1])", "iter([1])", "(i for i in 'ab')", "zip('ab', 'cd')", "map(str, 'a')"),
    *("itself([])", "itself({})", "itself(Plain())", "itself(deque())", "Words('a')", "Slotted()", "Plain(a=1, b={2})", "Plain(a=Plain())"),
    *(
        "Item(name='n')",
        "Point(1)",
        "Pair(1)",
        "Box(content=float('nan'))",
        "Box(content=b'a')",
        "datetime.timedelta(1)",
        "uuid.UUID(int=1)",
    ),
    *("deep(200, [])", "deep(600, {})", "deep(700, ())", "deep(1500, [])", "deep(3000, {})", "deep(50, Plain())", "deep(400, deque())"),
]
KEYS = [
    *("'a'", "''", "'1'", "'_s'", "1", "1.0", "True", "None", "-0.0", "float('nan')", "float('inf')", "2**70", "Colour.RED", "Level.LOW"),
    *(r"'\ud800'", "b'a'", r"b'\xff'", "(1, 2)", "()", "datetime.date(2024, 1, 2)", "uuid.UUID(int=1)", "decimal.Decimal('1.5')"),
    *("frozenset({1})", "pathlib.Path('a')", "Words('a')", "len", "'x' * 5000", "decimal.Decimal('1')"),
]


LEAVES = st.one_of(
    st.sampled_from(EDGES),
    st.sampled_from(EDGES),
    st.one_of(st.integers(), st.none(), st.booleans()).map(repr),
    st.floats().map("float('{}')".format),
    st.text(st.characters(), max_size=5).map(ascii),
    st.binary(max_size=3).map(repr),
    st.decimals().map(lambda value: f"decimal.Decimal('{value}')"),
)


def _wrapped(of: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    items = st.lists(of, max_size=3).map(", ".join)
    pairs = st.lists(st.tuples(st.sampled_from(KEYS), of), max_size=3)
    return st.one_of(
        items.map("[{}]".format),
        items.map(lambda text: f"({text},)" if text else "()"),
        items.map("deque([{}])".format),
        items.map("(item for item in [{}])".format),
        pairs.map(lambda made: "{" + ", ".join(f"{key}: {value}" for key, value in made) + "}"),
        of.map("Plain(a={})".format),
        of.map("Box(content={})".format),
        of.map("Point({})".format),
    )


RESULTS = st.recursive(LEAVES, _wrapped, max_leaves=6)
ANNOTATIONS = [
    "",
    "-> Any",
    "-> object",
    "-> dict",
    "-> list",
    "-> Box[Any]",
    "-> list[float]",
    "-> dict[str, Any]",
    "-> pydantic.JsonValue",
    "-> str",
]
EXAMPLES = int(os.environ.get("FLASH_TEST_EXAMPLES", "100"))


@pytest.mark.parametrize("annotation", ANNOTATIONS)
def test_results_that_were_made_up(annotation: str) -> None:
    expression = "None"
    answer = function(annotation, "made_up()")
    answer.__globals__["made_up"] = lambda: eval(expression, dict(NAMES))
    right, ours = FastAPI(answer, "GET"), Ours(answer, "GET")

    def ask(rival: FastAPI | Ours) -> Answer:
        try:
            return rival.ask(Request())
        except AssertionError:  # it has written NaN, which is no JSON
            return FAILED

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=set(Phase) - {Phase.explain})
    @given(RESULTS)
    def judge(made: str) -> None:
        nonlocal expression
        expression = made
        assert ask(ours) == ask(right)

    judge()
