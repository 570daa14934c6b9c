"""Forms over HTTP: the gateway takes them apart, a worker binds them, and the answer is the one that FastAPI gives to the same bytes."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from python_multipart.multipart import MultipartParser, MultipartState, parse_options_header

from flash_process import ROOT, Flash

sys.path.append(str(ROOT / "python/tests"))

from oracle import JSON, Answer, FastAPI, Request, answer_of
from oracle_functions import SHOWN, function

SIGNATURES = [
    "f: bytes",
    "f: bytes, a: str",
    "f: bytes, a: int = 3, b: Optional[str] = None",
    "f: Optional[bytes] = None, a: list[str] = []",
    "f: list[bytes], a: str = 'd', b: set[int] = set()",
    "f: Optional[list[bytes]] = None, g: bytes = b'', a: bool = False",
    "f: Annotated[bytes, Field(max_length=5)], a: datetime.date, b: Colour = Colour.RED",
    "f: bytes, a: decimal.Decimal, b: uuid.UUID = None",
    "f: bytes, a: pydantic.Json[list[int]] = [], b: dict = {}",
    "f: bytes, item: Optional[Item] = None",
    "f: Annotated[bytes, Field(alias='a b;c')], a: Annotated[str, Field(alias='é')] = ''",
    "f: bytes, g: bytes, a: tuple[int, str] = (1, 'a')",
]
URL_ENCODED = "application/x-www-form-urlencoded"


class Served(NamedTuple):
    """A running `flash run` that has a route for each signature, and FastAPI with the same functions."""

    flash: Flash
    connection: http.client.HTTPConnection
    oracles: dict[str, FastAPI]

    def ours(self, signature: str, request: Request) -> Answer:
        route = list(self.oracles).index(signature)
        headers = {} if request.content is None else {"Content-Type": request.content}
        self.connection.request("POST", f"/lb/app/{route}", request.body, headers)
        response = self.connection.getresponse()
        answer = answer_of(response.status, [("content-type", response.getheader("content-type", ""))], response.read())
        assert answer.status < 500, f"{request}\n{self.flash.told()}"
        return answer


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    program = f"import sys\nsys.path.append({str(ROOT / 'python/tests')!r})\nfrom oracle_functions import *\n"
    program += 'from runpod_flash import LiveLoadBalancer, remote\napi = LiveLoadBalancer(name="app")\n'
    for index, signature in enumerate(SIGNATURES):
        prefix = "async def" if index % 2 else "def"
        program += f'\n@remote(api, method="POST", path="/{index}")\n{prefix} answer{index}({signature}):\n    return {SHOWN}\n'
    path: Path = tmp_path_factory.mktemp("forms") / "app.py"
    path.write_text(program)
    flash = Flash(path)
    try:
        flash.wait_until_listed()
        with flash.connect() as connection:
            yield Served(flash, connection, {signature: FastAPI(function(signature)) for signature in SIGNATURES})
        assert flash.terminate() == 0, flash.told()
        flash.wait_until_alone()
    finally:
        flash.destroy()


# -- forms as they should be ---------------------------------------------------------------------------------------------

NAMES = st.sampled_from([*"ffffgabx", "name", "tags", "price", "a b;c", "é", "", 'q"', "back\\slash"])
TEXTS = st.one_of(
    st.sampled_from(
        ["", "5", "3.5", "true", "red", "[1, 2]", "2024-01-02", "12345678-1234-4678-9234-567812345678", "--", "\r\n", "é", "a=b&c"]
    ),
    st.text(max_size=8),
)
CONTENTS = st.one_of(TEXTS.map(lambda text: text.encode("utf-8", "replace")), st.binary(max_size=40))
FILENAMES = st.sampled_from(["", "a.txt", "a b.bin", "é.png", "x; name=y", "C:\\dir\\n.txt", "\\\\host\\n.txt", "日本", "a'b", "=", ";"])
TYPES = st.sampled_from(["text/plain", "image/png; x=y", "", "application/octet-stream", "é/ü"])
EXTRAS = ["Content-Transfer-Encoding: binary", "X-Empty:", "x-more:   spaces  ", "Content-Length: 3", "X-Bytes: \xff\x01"]


def parameter(name: str, value: str, style: int) -> str:
    """A parameter of a header: quoted, with escapes, or bare where its value can be."""
    if style == 1 and value and not set(value) & set('";\\ \r\n='):
        return f"{name}={value}"
    if style == 2:
        return f"{name.upper()} = " + '"' + value.replace('"', '\\"') + '"'
    return f'{name}="' + value.replace('"', '\\"') + '"'


@st.composite
def part(draw: st.DrawFn) -> bytes:
    style = draw(st.sampled_from([0, 0, 0, 1, 2]))
    parameters = [parameter("name", draw(NAMES), style)]
    content = draw(CONTENTS)
    headers = draw(st.lists(st.sampled_from(EXTRAS), max_size=2))
    if draw(st.booleans()):
        parameters.append(parameter("filename", draw(FILENAMES), style))
        if draw(st.booleans()):
            headers.append("Content-Type: " + draw(TYPES))
        if draw(st.booleans()):
            parameters.append("filename*=UTF-8''other")
    if draw(st.booleans()):
        parameters.reverse()
    label = draw(st.sampled_from(["Content-Disposition: ", "content-disposition:", "CONTENT-DISPOSITION:  "]))
    headers.insert(
        draw(st.integers(0, len(headers))), label + draw(st.sampled_from(["form-data; ", "form-data;", "file ; "])) + "; ".join(parameters)
    )
    head = "".join(f"{header}\r\n" for header in headers)
    # As browsers write it, or as others do.
    return (
        head.encode("latin-1" if draw(st.integers(0, 5)) == 0 and head.isascii() is False and _is_latin1(head) else "utf-8")
        + b"\r\n"
        + content
    )


def _is_latin1(text: str) -> bool:
    return all(ord(character) < 256 for character in text)


@st.composite
def multipart(draw: st.DrawFn) -> Request:
    boundary = draw(st.sampled_from(["x", "----WebKitFormBoundary7MA4YWxk", "a'b()+_,-./:=? z", "0" * 70]))
    parts = draw(st.lists(part(), max_size=6))
    if draw(st.booleans()):
        parts += [
            b'Content-Disposition: form-data; name="f"; filename="f"\r\n\r\nfile',
            b'Content-Disposition: form-data; name="a"\r\n\r\n5',
        ]
    body = b""
    for one in parts:
        body += b"--" + boundary.encode() + b"\r\n" + one + b"\r\n"
    body += b"--" + boundary.encode() + b"--" + draw(st.sampled_from([b"\r\n", b"", b"\r\nan end", b" "]))
    body = draw(st.sampled_from([b"", b"", b"\r\n"])) + body
    content = draw(st.sampled_from(["multipart/form-data; ", "Multipart/Form-Data;", "multipart/form-data; charset=UTF-8; "]))
    content += draw(
        st.sampled_from([f'boundary="{boundary}"', f'BOUNDARY="{boundary}"'] + [f"boundary={boundary}"] * (" " not in boundary))
    )
    return Request(body, content + draw(st.sampled_from(["", ";", "; charset=latin-1", " "])))


@st.composite
def url_encoded(draw: st.DrawFn) -> Request:
    pieces = [
        b"f=",
        b"a=",
        b"b=",
        b"f",
        b"=",
        b"&",
        b"+",
        b"%",
        b"%20",
        b"%C3%A9",
        b"%ff",
        b"5",
        b"x",
        b"\xc3\xa9",
        b"\xff",
        b";",
        b"name=n",
        b"tags=",
        b"%00",
    ]
    body = b"".join(draw(st.lists(st.one_of(st.sampled_from(pieces), st.binary(max_size=2)), max_size=16)))
    return Request(body, draw(st.sampled_from([URL_ENCODED, URL_ENCODED + "; charset=utf-8", URL_ENCODED.upper()])))


EXAMPLES = int(os.environ.get("FLASH_TEST_EXAMPLES", "150"))
# Before 0.0.34, python-multipart did not know its own content type in capital letters, and more.
judged = pytest.mark.skipif(parse_options_header("A/B; c=d")[0] != b"a/b", reason="this python-multipart is too old to judge by")
often = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=set(Phase) - {Phase.explain})


@judged
@often
@given(st.sampled_from(SIGNATURES), st.one_of(multipart(), multipart(), url_encoded()))
def test_a_form_is_answered_as_fastapi_answers_it(served: Served, signature: str, request_: Request) -> None:
    right = served.oracles[signature].ask(request_)
    ours = served.ours(signature, request_)
    # Where FastAPI fails on bad input, ours is refused (docs/differences.json).
    assert ours == right or (right.status == 500 and ours.status == 422), f"{signature}\n{request_}"


# -- and as they should not ----------------------------------------------------------------------------------------------

SCRAPS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"-",
    b"--",
    b"--x",
    b"\r\n--x",
    b"\r\n--x--",
    b":",
    b" ",
    b"\t",
    b'"',
    b";",
    b"=",
    b"\x00",
    b"\xff",
    b"name",
    b"Content-Disposition",
]


@st.composite
def broken(draw: st.DrawFn) -> Request:
    request = draw(multipart())
    body = request.body
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(body)))
        scrap = draw(st.one_of(st.just(b""), st.sampled_from(SCRAPS), st.binary(max_size=2)))
        body = body[:at] + scrap + body[at + draw(st.integers(0, 4)) :]
    if draw(st.integers(0, 3)) == 0:
        body = body[: draw(st.integers(0, len(body)))]
    return request._replace(body=body)


@judged
@often
@given(st.sampled_from(SIGNATURES), broken())
def test_a_form_that_is_broken_is_refused_or_means_what_it_means_to_fastapi(served: Served, signature: str, request_: Request) -> None:
    right, ours = served.oracles[signature].ask(request_), served.ours(signature, request_)
    if ours.status == 400:
        # FastAPI takes what came before the form broke off (docs/differences.json); else it refuses as well.
        assert right.status == 400 or breaks_off(request_), f"{signature}\n{request_}\n{right}"
    else:
        assert ours == right or (right.status == 500 and ours.status == 422), f"{signature}\n{request_}"


def breaks_off(request: Request) -> bool:
    """Whether FastAPI's parser waits for more in the end."""
    parser = MultipartParser(parse_options_header(request.content)[1][b"boundary"])
    parser.write(request.body)
    return parser.state != MultipartState.END


# -- limits --------------------------------------------------------------------------------------------------------------


FIELD = "--x\r\nContent-Disposition: form-data; name=a\r\n{}\r\n{}\r\n"
FILE = '--x\r\nContent-Disposition: form-data; name=f; filename="f"\r\n\r\n{}\r\n'
MULTIPART = "multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    ("within", "beyond", "content", "told"),
    [
        (FIELD.format("", "") * 1000, FIELD.format("", "") * 1001, MULTIPART, "more than the 1000 fields"),
        (FILE.format("") * 1000, FILE.format("") * 1001, MULTIPART, "more than the 1000 files"),
        (
            FIELD.format("", "y" * (1 << 20)),
            FIELD.format("", "y" * ((1 << 20) + 1)),
            MULTIPART,
            "field 1 of the form is longer than the 1048576",
        ),
        ("a=5&" * 1000, "a=5&" * 1001, URL_ENCODED, "more than the 1000 fields"),
        ("a=" + "y" * ((1 << 20) - 1), "a=" + "y" * (1 << 20), URL_ENCODED, "field 1 of the form is longer than the 1048576"),
        (
            FIELD.format("x: " + "y" * 4000 + "\r\n", ""),
            FIELD.format("x: " + "y" * (16 << 10) + "\r\n", ""),
            MULTIPART,
            "the head of part 1 is longer than the 16384",
        ),
    ],
    ids=["fields", "files", "field", "encoded fields", "encoded field", "head"],
)
def test_limits_are_told_and_are_fastapis(served: Served, within: str, beyond: str, content: str, told: str) -> None:
    signature = "f: Optional[bytes] = None, a: list[str] = []"
    oracle, end = served.oracles[signature], "--x--" * (content == MULTIPART)
    good, bad = (Request((text + end).encode(), content) for text in (within, beyond))
    assert oracle.ask(good) == served.ours(signature, good)
    answer = served.ours(signature, bad)
    assert oracle.ask(bad).status == answer.status == 400
    assert told in str(answer.body)


@pytest.mark.parametrize(
    "content", [MULTIPART, URL_ENCODED, "multipart/form-data", "multipart/mixed; boundary=x", "text/plain", JSON, "", None]
)
@pytest.mark.parametrize("body", [b"", b"--x--", b"f=1", b"{}"])
def test_what_is_no_form_by_its_type_has_no_fields(served: Served, content: str | None, body: bytes) -> None:
    for signature in ("f: bytes", "f: Optional[bytes] = None, a: list[str] = []"):
        right, ours = served.oracles[signature].ask(Request(body, content)), served.ours(signature, Request(body, content))
        assert ours == right or (ours.status == right.status == 400)


def test_files_may_be_large(served: Served) -> None:
    content = os.urandom(20 << 20)
    request = Request(FILE.format("").encode().removesuffix(b"\r\n") + content + b"\r\n--x--", MULTIPART)
    assert served.ours("f: bytes", request) == Answer(200, ("object", ("f", ["bytes", repr(content)])))


def test_a_route_that_takes_json_gets_a_form_as_it_came(serve: Callable[..., Flash], program: Callable[..., Path]) -> None:
    flash = serve(program('@remote(api, method="POST", path="/a")\ndef a(x: int):\n    return x\n'))
    for body, content in ((b"x=5", URL_ENCODED), (FILE.encode() + b"--x--", MULTIPART), (b"", MULTIPART), (b"x=5", "multipart/form-data")):
        right = FastAPI(function("x: int")).ask(Request(body, content))
        answer = flash.request("POST", "/lb/app/a", body, {"Content-Type": content})
        assert answer_of(answer.status, [("content-type", answer.headers["content-type"])], answer.body) == right
