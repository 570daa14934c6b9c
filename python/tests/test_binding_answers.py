"""What functions return and raise: our answer is FastAPI's."""

from __future__ import annotations

import warnings

import pytest

from oracle import FAILED, FastAPI, Ours, Request, listed_returns
from oracle_functions import function
from runpod_flash._worker.routes import Route, Unroutable, Unserialisable

#: Python expressions.
RESULTS = r"""
None; True; 0; -1; 2**70; 1.5; -0.0; 1e16; 1e-7; 1e22; 5e-324; 0.1 + 0.2; 1.0; ''; 'é'; '\u2028 </script>'; '\x00\x7f"\\'; '\U0001f600'
[]; {}; [1, [2.0, 'a', None]]; (1, 2); {'a': (1, [2])}; {'b': 1, 'a': 2}; {1: 2}; {None: 1}; {True: 1, 1.5: 2}; {'a': {1: {2: 3}}}
{1: 'a', '1': 'b'}; {Colour.RED: 1}; {datetime.date(2024, 1, 2): 1}; {uuid.UUID(int=1): 1}; {(1, 2): 3}; {b'a': 1}; {1.0: 2}; {Level.LOW: 1}
{'_sa_x': 1, 'b': 2}; {'a': {'_sa': 1}}; {'_s': 1}; {1: {'_sab': 2, 3: 4}}
set(); {1}; frozenset({'a'}); deque([1, 2]); range(3); (i for i in range(3)); [(i for i in range(2))]; iter([1]); map(str, [1]); zip([1], [2])
[{1}, (2,)]; OrderedDict(a=1); defaultdict(int, a=1); types.MappingProxyType({'a': 1}); types.SimpleNamespace(a=1, b=[2])
b''; b'abc'; b'\xff'; bytearray(b'a'); memoryview(b'a'); [b'a', 'b']
datetime.datetime(2024, 1, 2, 3, 4, 5); datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc); datetime.datetime(2024, 1, 2, 3, 4, 5, 600)
datetime.date(2024, 1, 2); datetime.time(3, 4); datetime.timedelta(days=1, microseconds=5); [datetime.date(2024, 1, 2)]; datetime.timezone.utc
decimal.Decimal('1.50'); decimal.Decimal('3'); decimal.Decimal('1E+3'); decimal.Decimal('NaN'); decimal.Decimal('Infinity'); [decimal.Decimal('0.1')]
uuid.UUID(int=5); pathlib.Path('a/b'); pathlib.PureWindowsPath('a'); ipaddress.ip_address('::1'); ipaddress.ip_network('10.0.0.0/30'); re.compile('a+')
re.compile(b'a'); Colour.RED; Level.HIGH; [Colour.ONE]; {'a': Level.LOW}; Colour; int; len; lambda: 1; object(); Plain(a=1, b=[2]); Plain(); Plain(a=Plain(b=1))
Slotted(); Words('a'); [Words('a')]; {Words('a'): 1}; 1j; Ellipsis; NotImplemented; ValueError('a'); math; fastapi.FastAPI; Plain(_sa_a=1, b=2)
float('nan'); float('inf'); [1, float('-inf')]; {'a': float('nan')}; (float('nan'),); {float('nan'): 1}
'\ud800'; ['\udc00']; {'\ud800': 1}; [[[]]] * 3; Pair(1); [Pair(1)]; Address(street='s')
Point(1); Point(1, float('nan')); [Point(2)]; {'a': Point(3)}; Point; Point(x={1, 2}); Point(x=datetime.date(2024, 1, 2)); Point(x=Item(name='n'))
Item(name='n'); Item(name='n', tags={'a'}); [Item(name='n')]; {'a': Item(name='n')}; Item; Tree(value=1, children=[Tree(value=2)]); Aliased(firstName='f')
Item(name='n', price=float('nan')); Item(name='n', price=float('inf')); Box(content=1); Box(content={1: b'a'}); Box(content=Plain(a=1)); Box(content=1.0)
Box(content=datetime.timedelta(hours=1)); Box(content=decimal.Decimal('1.5')); Box(content=float('nan')); Box(content=b'\xff'); Box(content=pydantic.SecretStr('s'))
deep(300, []); deep(600, {}); deep(800, ()); deep(400, deque()); deep(200, Plain()); deep(2000, []); [deep(700, {'a': 1}), Colour.RED]; {1: deep(600, [])}
itself([]); itself({}); itself(Plain()); [itself([])]; {1: itself({})}; itself(deque()); 'x' * 300_000; '\ud800' * 1000; 10**4299; {1: 10**5000}; [10**5000, Colour.RED]
-10**5000; 10**5000; {'a': [10**5000]}; remote_function; [remote_function]; {'a': remote_function}
Many([1, 2]); Open(a=1, b={1}); Private(a=1); Pricey(net=2); Item.model_construct(name=5); [Box(content=Colour.RED)]; Cat(kind='cat', lives=9)
pydantic.SecretStr('s'); pydantic.SecretBytes(b's'); pydantic.AnyUrl('http://x.io'); [pydantic.SecretStr('s')]; pydantic.TypeAdapter(pydantic.HttpUrl).validate_python('http://x.io/a')
fastapi.Response(b'abc'); fastapi.Response('é', 201, {'X-A': 'b'}, 'text/plain'); fastapi.responses.JSONResponse({'a': 1}, 202); fastapi.Response(status_code=204)
fastapi.responses.PlainTextResponse('a'); fastapi.responses.HTMLResponse('<p>', headers={'set-cookie': 'a=b'}); fastapi.responses.RedirectResponse('/a')
fastapi.Response(); fastapi.Response(None, 200, {'Content-Type': 'a/b'}); fastapi.Response('a', media_type='text/csv;charset=x'); fastapi.Response(b'a', 500)
fastapi.Response(status_code=304, headers={'etag': '"a"'}); fastapi.Response(status_code=205); fastapi.responses.JSONResponse(None); fastapi.responses.JSONResponse('é', 404)
fastapi.responses.JSONResponse({'a': float('nan')}); fastapi.responses.RedirectResponse('/é a?b=c#d', 301); starlette.responses.Response(memoryview(b'ab'), media_type='a/b')
cookies(fastapi.Response('a'), 'a', 'b'); cookies(fastapi.responses.JSONResponse([1]), 'a'); cookies(fastapi.responses.StreamingResponse(iter('ab')), 'a')
fastapi.responses.StreamingResponse(iter(['a', b'b', 'é'])); fastapi.responses.StreamingResponse(iter([])); fastapi.responses.StreamingResponse(slowly('a', b'b'), 206, {'X-A': 'b'}, 'text/plain')
fastapi.responses.StreamingResponse(breaks()); fastapi.responses.StreamingResponse(breaks(b'a')); fastapi.responses.StreamingResponse(iter([1])); fastapi.responses.StreamingResponse(iter('a'), background=starlette.background.BackgroundTask(print))
fastapi.responses.FileResponse(HERE); fastapi.responses.FileResponse(HERE, 201, filename='é.txt'); fastapi.responses.FileResponse('/nowhere'); fastapi.responses.FileResponse('/')
fastapi.responses.JSONResponse(1, background=starlette.background.BackgroundTask(print)); Greeting; Greeting(); Silent(); [fastapi.Response('a')]; {'a': fastapi.responses.FileResponse(HERE)}
throw(starlette.exceptions.HTTPException(404)); throw(starlette.exceptions.HTTPException(400, 'a', {'set-cookie': 'a=b'})); throw(Teapot())
throw(fastapi.exceptions.RequestValidationError([{'type': 'a', 'loc': ('body', 1), 'msg': 'b', 'input': datetime.date(2024, 1, 2)}])); throw(fastapi.exceptions.RequestValidationError([]))
throw(fastapi.exceptions.ResponseValidationError([])); throw(fastapi.exceptions.WebSocketException(1000))
throw(ValueError('a')); throw(KeyError()); throw(fastapi.HTTPException(418)); throw(fastapi.HTTPException(404, 'no such'))
throw(fastapi.HTTPException(400, {'a': [1]})); throw(fastapi.HTTPException(401, 'x', {'WWW-Authenticate': 'Basic'})); throw(fastapi.HTTPException(204, 'x'))
throw(fastapi.HTTPException(http.HTTPStatus.NOT_FOUND)); throw(fastapi.HTTPException(http.HTTPStatus.NO_CONTENT)); fastapi.Response('a', http.HTTPStatus.CREATED)
throw(fastapi.HTTPException(599)); throw(fastapi.HTTPException(200)); throw(fastapi.HTTPException(400, None)); throw(fastapi.HTTPException(304)); throw(fastapi.HTTPException(400, 'é')); throw(fastapi.HTTPException(500, 'mine'))
throw(fastapi.HTTPException(400, float('nan'))); throw(fastapi.HTTPException(400, datetime.date(2024, 1, 2))); throw(fastapi.HTTPException(400, '\ud800'))
throw(fastapi.HTTPException(400, 'a', {'content-type': 'text/plain'})); throw(fastapi.HTTPException(400, headers={'X-A': 'b', 'x-b': 'c'}))
throw(pydantic.ValidationError.from_exception_data('a', [])); throw(StopIteration()); throw(StopAsyncIteration()); throw(RuntimeError('a'))
"""
ANNOTATIONS = """
None; Any; object; int; str; float; bool; dict; list; dict[str, int]; list[int]; tuple[int, str]; set[int]; Optional[int]; Union[int, str]; bytes
datetime.date; datetime.datetime; decimal.Decimal; Colour; Level; Item; list[Item]; Optional[Item]; dict[str, Item]; Point; list[Point]; Pair; Address
Aliased; Box[int]; Many; Open; Private; Pricey; Tree; Annotated[int, Field(gt=0)]; Literal['a', None]; fastapi.Response; fastapi.responses.JSONResponse
Cat; Box[Any]; Box[object]; Iterable[int]; pydantic.SecretStr; Plain; Union[Item, fastapi.Response]; 'Item'; 'list[int]'
"""


def entries(table: str) -> list[str]:
    return [entry for line in table.strip().splitlines() for entry in line.split("; ")]


RETURNS = [returns for returns in entries(RESULTS) if ("", returns) not in listed_returns()]


@pytest.mark.parametrize("prefix", ["def", "async def"])
@pytest.mark.parametrize("returns", RETURNS)
def test_a_result_without_annotation(returns: str, prefix: str) -> None:
    made = function("", returns, prefix=prefix)
    assert Ours(made, "GET").ask(Request()) == FastAPI(made, "GET").ask(Request())


@pytest.mark.parametrize("annotation", entries(ANNOTATIONS))
def test_a_result_with_annotation(annotation: str) -> None:
    wrong = []
    for returns in entries(RESULTS):
        made = function(f"-> {annotation}", returns)
        try:
            right = FastAPI(made, "GET").ask(Request())
        except Exception:
            with pytest.raises(Unroutable, match="the return annotation `.*` of `answer` is no type of a JSON answer"):
                Ours(made, "GET")
            return
        ours = Ours(made, "GET").ask(Request())
        if ours != right and (f"-> {annotation}", returns) not in listed_returns() and ("", returns) not in listed_returns():
            wrong.append(f"{returns}\n  FastAPI: {right}\n  ours: {ours}")
    assert not wrong, "\n".join([*wrong[:10], f"{len(wrong)} in all"])


@pytest.mark.parametrize("annotation", ["int", "Item", "list[Item]", "Point", "Optional[Item]", "set[int]", "None", "fastapi.Response"])
@pytest.mark.parametrize(
    "returns", ["1", "'a'", "{'name': 'n', 'more': 1}", "[Item(name='n')]", "Point(1)", "None", "{3}", "fastapi.Response('a')"]
)
def test_an_annotation_counts_where_the_body_is_of_fields_as_elsewhere(annotation: str, returns: str) -> None:
    made = function(f"x: int -> {annotation}", returns)
    assert Ours(made).ask(Request(b'{"x":1}')) == FastAPI(function(f"-> {annotation}", returns), "GET").ask(Request())


@pytest.mark.parametrize("annotation", ["dict", "dict[str, Any]", "Any", "object", "Plain", "'Nowhere'"])
def test_an_annotation_that_says_nothing_of_what_is_within_changes_nothing(annotation: str) -> None:
    """In the reference it counts for nothing there: what is written is what was."""
    for returns in ("{'a': Plain(b={1}), 'c': [decimal.Decimal('1.5')]}", "{}", "fastapi.Response('a')"):
        made = function(f"x: int -> {annotation}", returns)
        assert Ours(made).ask(Request(b'{"x":1}')) == FastAPI(function("x: int", returns)).ask(Request(b'{"x":1}'))


def test_an_annotation_that_says_nothing_of_what_is_within_is_checked() -> None:
    made = function("x: int -> dict", "[x]")
    assert Ours(made).ask(Request(b'{"x":1}')) == FAILED


@pytest.mark.parametrize(
    ("returns", "kind"),
    [
        ("object()", "`object`"),
        ("[1, {'a': len}]", "`builtin_function_or_method`"),
        ("float('nan')", "Out of range float values are not JSON compliant"),
        ("(lambda a: a.append(a) or a)([])", "contains itself"),
        ("b'\\xff'", "can't decode byte 0xff"),
        ("Slotted()", "`oracle_functions.Slotted`"),
        ("remote_function", "a `function` has no form in JSON"),
        ("{1: 2, (1, 2): 3}", "a key of it is a `tuple`, `(1, 2)`"),
        ("[{frozenset({1}): 3}]", "a key of it is a `frozenset`, `frozenset({1})`"),
    ],
)
def test_what_cannot_be_sent_is_named(returns: str, kind: str) -> None:
    route = Route(function("", returns), "GET", "/")
    with pytest.raises(Unserialisable, match="`answer` returned a `.*` that cannot be sent as JSON") as raised:
        route.encode(route.function())
    assert kind in str(raised.value)
    assert "try: return" in str(raised.value)


@pytest.mark.parametrize(("annotation", "returns"), [("", "slowly_made()"), ("", "{'a': [slowly_made()]}"), ("-> int", "slowly_made()")])
def test_what_was_not_awaited_is_told_as_that(annotation: str, returns: str) -> None:
    async def slowly_made() -> int:
        return 1

    made = function(annotation, returns)
    made.__globals__["slowly_made"] = slowly_made
    route = Route(made, "GET", "/")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(Unserialisable) as raised:
            route.encode(route.function())
    told = str(raised.value)
    assert "why: it is a `coroutine`, which gives its result once it is awaited" in told
    assert told.endswith("slowly_made(...), in an `async def`")
    assert "try: return await " in told
    assert warned == []


def test_a_result_that_breaks_its_annotation_is_told() -> None:
    route = Route(function("-> list[int]", "[1, 'a']"), "GET", "/")
    with pytest.raises(Unserialisable, match=r"`answer` returned a `list`.*`list\[int\]`") as raised:
        route.encode(route.function())
    assert "try: " in str(raised.value)


@pytest.mark.parametrize("detail", ["None", "'a'", "{'a': 1}", "object()"])
@pytest.mark.parametrize("headers", ["None", "{'X-A': 'b'}", "{'X-A': 5}", "'abc'", "[('a', 'b')]"])
@pytest.mark.parametrize("status", ["418", "99", "1000", "'404'", "None", "True", "204"])
def test_an_exception_that_asks_for_an_answer_gets_it_or_is_a_failure(status: str, headers: str, detail: str) -> None:
    made = function("", f"throw(Refused({status}, {detail}, {headers}))")
    answer = Ours(made, "GET").ask(Request())
    if status not in ("418", "204") or headers in ("'abc'", "[('a', 'b')]") or (detail == "object()" and status == "418"):
        assert answer == FAILED
    else:
        assert answer.status == int(status)
        assert answer.headers == (() if headers == "None" else (("x-a", headers.split(": ")[1].strip("'}")),))
