"""`docs/differences.json`: what the host has a part in differs from FastAPI as it is listed. `python/tests` has the others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flash_process import ROOT, Flash

sys.path.append(str(ROOT / "python/tests"))

from oracle import Answer, Difference, FastAPI, answer_of, differences
from oracle_functions import SHOWN, function

HERE = [difference for difference in differences() if difference.over_http]


@pytest.fixture(scope="module")
def flash(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flash]:
    program = f"import sys\nsys.path.append({str(ROOT / 'python/tests')!r})\nfrom oracle_functions import *\n"
    program += 'from runpod_flash import LiveLoadBalancer, remote\napi = LiveLoadBalancer(name="app")\n'
    for index, difference in enumerate(HERE):
        program += f'\n@remote(api, method="{difference.method}", path="/{index}")\n'
        program += f"def answer{index}({difference.signature}):\n    return {difference.returns or SHOWN}\n"
    path: Path = tmp_path_factory.mktemp("differences") / "app.py"
    path.write_text(program)
    flash = Flash(path)
    try:
        flash.wait_until_listed()
        yield flash
        assert flash.terminate() == 0, flash.told()
        flash.wait_until_alone()
    finally:
        flash.destroy()


@pytest.mark.parametrize("difference", HERE, ids=lambda difference: f"{difference.method} {difference.signature}")
def test_what_is_listed_differs_as_listed(flash: Flash, difference: Difference) -> None:
    made = function(difference.signature, difference.returns or SHOWN)
    right = FastAPI(made, difference.method).ask_to_the_letter(difference.request)
    ours = ask(flash, difference)
    assert right != ours, "this is no difference any more: take it out of docs/differences.json"
    assert (str(right.status), str(ours.status)) == (difference.fastapi, difference.ours)


def ask(flash: Flash, difference: Difference) -> Answer:
    request = difference.request
    headers = dict(request.headers) if request.content is None else {"Content-Type": request.content, **dict(request.headers)}
    headers["Content-Length"] = str(len(request.body))
    answer = flash.request(request.method or difference.method, f"/lb/app/{HERE.index(difference)}", request.body, headers)
    others = [(name.lower(), value) for name, value in answer.headers.items() if name.lower() not in ("date", "x-request-id")]
    return answer_of(answer.status, others, answer.body)
