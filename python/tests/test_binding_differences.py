"""`docs/differences.json`: every difference from FastAPI that is listed is one, and is as listed."""

from __future__ import annotations

import pytest

from oracle import Answer, Difference, FastAPI, Ours, differences
from oracle_functions import SHOWN, function
from runpod_flash._worker.routes import Unroutable

HERE = [difference for difference in differences() if not difference.over_http]


@pytest.mark.parametrize("difference", HERE, ids=lambda difference: f"{difference.method} {difference.signature}")
def test_what_is_listed_differs_as_listed(difference: Difference) -> None:
    made = function(difference.signature, difference.returns or SHOWN)
    right = ours = None
    try:
        right = FastAPI(made, difference.method, difference.path).ask_to_the_letter(difference.request)
    except (AssertionError, RuntimeError) as error:
        assert not isinstance(error, RecursionError)
    try:
        ours = Ours(made, difference.method, difference.path).ask(difference.request)
    except Unroutable:
        pass
    assert right != ours, "this is no difference any more: take it out of docs/differences.json"
    assert status(right) in difference.fastapi.split(" or ")
    assert status(ours) == difference.ours


def status(answer: Answer | None) -> str:
    return str(answer.status) if answer else "refused"
