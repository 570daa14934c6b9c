"""Decorating: what is refused, in the guide's words with why and the mend, and what a decorated function stays."""

from __future__ import annotations

import functools
import inspect
import pickle
import re
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runpod_flash import (
    CannotCarry,
    ConfigurationError,
    CpuLiveServerless,
    CpuServerlessEndpoint,
    EndpointNotDeployed,
    FlashWarning,
    LiveLoadBalancer,
    LiveServerless,
    LoadBalancerSlsResource,
    ServerlessEndpoint,
    remote,
)

QUEUED: list[Callable[[], Any]] = [
    lambda: LiveServerless(name="q"),
    lambda: CpuLiveServerless(name="q"),
    lambda: ServerlessEndpoint(name="q", imageName="image"),
    lambda: CpuServerlessEndpoint(name="q", imageName="image"),
]


@pytest.fixture
def api() -> LiveLoadBalancer:
    return LiveLoadBalancer(name="user-service")


def refused(kind: type[Exception], words: str, act: Callable[[], object]) -> None:
    """`act` is refused with these words, and the error says why and how to mend it."""
    with pytest.raises(kind, match=re.escape(words)) as caught:
        act()
    assert re.search(r"\n  why: .+\n  try: .+", str(caught.value))


@pytest.mark.parametrize("given", [{}, {"method": "POST"}, {"path": "/api/process"}])
def test_a_route_needs_both_method_and_path(api: LiveLoadBalancer, given: dict[str, Any]) -> None:
    refused(ValueError, "requires both 'method' and 'path'", lambda: remote(api, **given))


def test_a_mistyped_method_is_refused(api: LiveLoadBalancer) -> None:
    words = "Invalid HTTP method 'PTACH' must be one of: GET, POST, PUT, DELETE, PATCH"
    refused(ValueError, words, lambda: remote(api, method="PTACH", path="/x"))


def test_a_relative_path_is_refused(api: LiveLoadBalancer) -> None:
    refused(ValueError, "path must start with '/'", lambda: remote(api, method="GET", path="x"))


@pytest.mark.parametrize("path", ["/ping", "/execute"])
def test_reserved_paths_are_refused(api: LiveLoadBalancer, path: str) -> None:
    refused(ValueError, path, lambda: remote(api, method="GET", path=path))


def test_two_functions_on_one_route_are_refused_when_the_second_is_decorated(api: LiveLoadBalancer) -> None:
    @remote(api, method="POST", path="/api/process")
    def first() -> None: ...

    def second() -> None: ...

    words = "Route conflict detected: POST /api/process defined twice"
    refused(ConfigurationError, words, lambda: remote(api, method="post", path="/api/process")(second))


def test_parameters_of_other_names_are_the_same_route(api: LiveLoadBalancer) -> None:
    @remote(api, method="GET", path="/users/{user_id}")
    def first(user_id: int) -> None: ...

    def second(name: str) -> None: ...

    refused(ConfigurationError, "defined twice", lambda: remote(api, method="GET", path="/users/{name}")(second))


def test_the_same_function_may_be_decorated_again(api: LiveLoadBalancer) -> None:
    for _ in range(2):  # as a factory that is called again does

        @remote(api, method="GET", path="/again")
        def again() -> None: ...


REDECORATED = "@remote(api, method='GET', path='/a')\ndef f(): ..."


def run(source: str, name: str, file: str = "", **names: object) -> None:
    """Runs `source` as the body of the module `name`, as an import, a reload or a cell does."""
    exec(compile(source, file or f"/{name}.py", "exec"), {"__name__": name, "remote": remote, **names})


def test_a_reloaded_function_keeps_its_route_wherever_it_moved_in_the_file(api: LiveLoadBalancer) -> None:
    run(REDECORATED, "reloaded", api=api)
    run("\n\n" + REDECORATED, "reloaded", api=api)


def test_a_cell_that_is_run_again_is_another_file_of_one_module(api: LiveLoadBalancer) -> None:
    for cell in ("/tmp/1.py", "/tmp/2.py"):
        run(REDECORATED, "notebook", cell, api=api)


def test_a_script_may_be_imported_by_its_name_too(api: LiveLoadBalancer) -> None:
    for name in ("__main__", "script"):
        run(REDECORATED, name, "/script.py", api=api)


def test_functions_of_one_name_in_two_modules_have_routes_of_their_own(api: LiveLoadBalancer) -> None:
    run(REDECORATED, "one_module", api=api)
    words = "Route conflict detected: GET /a defined twice"
    refused(ConfigurationError, words, lambda: run(REDECORATED, "another_module", api=api))


def test_modules_made_from_text_are_not_one_file(api: LiveLoadBalancer) -> None:
    run(REDECORATED, "one_text", "<string>", api=api)
    words = "Route conflict detected: GET /a defined twice"
    refused(ConfigurationError, words, lambda: run(REDECORATED, "another_text", "<string>", api=api))


def test_a_pasted_function_is_a_route_conflict_though_it_has_the_same_name(api: LiveLoadBalancer) -> None:
    pasted = f"{REDECORATED}\n{REDECORATED}"
    refused(ConfigurationError, "Route conflict detected: GET /a defined twice", lambda: run(pasted, "pasted", api=api))


def test_two_functions_of_one_name_are_refused_since_a_worker_would_find_one_only(api: LiveLoadBalancer) -> None:
    source = f"{REDECORATED}\n{REDECORATED.replace('/a', '/b')}"
    refused(ConfigurationError, "function 'f' is defined twice", lambda: run(source, "same_names", api=api))


def test_methods_come_in_any_case(api: LiveLoadBalancer) -> None:
    @remote(api, method="pAtch", path="/x")
    def change() -> None: ...

    assert change.__remote_config__["method"] == "PATCH"  # type: ignore[attr-defined]


def test_a_path_s_parameter_that_the_function_does_not_take_is_a_warning(api: LiveLoadBalancer) -> None:
    def get_user(name: str) -> None: ...

    with pytest.warns(FlashWarning, match=r"'user_id', which function .*get_user' does not take\n  why: .+\n  try: "):
        remote(api, method="GET", path="/users/{user_id}")(get_user)


def test_what_a_function_takes_is_not_guessed_at(api: LiveLoadBalancer) -> None:
    def anything(**names: object) -> None: ...

    def signed() -> None: ...

    signed.__signature__ = inspect.signature(lambda x: x)  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path, function in (("/a/{x}", anything), ("/b/{x}", signed), ("/c/{x}", len)):
            remote(api, method="GET", path=path)(function)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"methd": "GET"}, "remote() got unknown keyword argument: 'methd' (Did you mean 'method'?)"),
        (
            {"foo": 1, "depndencies": []},
            "remote() got unknown keyword arguments: 'depndencies' (Did you mean 'dependencies'?), 'foo'",
        ),
    ],
)
def test_an_unknown_option_names_the_one_that_was_meant(api: LiveLoadBalancer, options: dict[str, Any], words: str) -> None:
    refused(TypeError, words, lambda: remote(api, **options))


def test_options_by_position_come_in_the_guide_s_order_or_in_that_of_older_programs(api: LiveLoadBalancer) -> None:
    guide: Any = remote(api, "POST", "/guide", ["numpy"], ["ffmpeg"], True)(lambda: None)
    older: Any = remote(api, ["numpy"], ["ffmpeg"], method="POST", path="/older")(lambda: None)
    for decorated in (guide, older):
        assert decorated.__remote_config__["dependencies"] == ["numpy"]
        assert decorated.__remote_config__["system_dependencies"] == ["ffmpeg"]
    anything: Any = remote
    refused(TypeError, "multiple values for argument 'method'", lambda: anything(api, "POST", "/x", method="GET"))
    refused(TypeError, "at most 6 positional arguments (7 given)", lambda: anything(api, "POST", "/x", [], [], True, False))


def test_a_route_may_not_yield(api: LiveLoadBalancer) -> None:
    def parts() -> Iterator[int]:
        yield 1

    async def slowly() -> AsyncIterator[int]:
        yield 1

    for function in (parts, slowly):
        refused(ConfigurationError, "yields, and a route answers with one value", lambda f=function: remote(api, "GET", "/a")(f))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (type("Model", (), {}), "class 'Model' cannot be decorated with @remote of a LiveLoadBalancer"),
        (3, "@remote decorates functions. Got: int"),
        (functools.partial(print), "@remote decorates functions. Got: partial"),
        (type("Named", (), {"__qualname__": "named"})(), "@remote decorates functions. Got: Named"),
    ],
)
def test_only_functions_are_decorated(api: LiveLoadBalancer, target: Any, words: str) -> None:
    refused(ConfigurationError, words, lambda: remote(api, method="GET", path="/x")(target))


def test_a_function_has_one_endpoint(api: LiveLoadBalancer) -> None:
    once = remote(api, method="GET", path="/x")(lambda: None)
    words = "is decorated with @remote twice"
    refused(ConfigurationError, words, lambda: remote(api, method="GET", path="/y")(once))


@pytest.mark.parametrize(
    ("resource", "shown"),
    [(LiveLoadBalancer, "the class LiveLoadBalancer"), (dict, "the class dict"), (refused, "function 'refused'"), ("my-api", "str")],
)
def test_what_is_no_resource_is_named(resource: Any, shown: str) -> None:
    refused(ConfigurationError, f"remote() takes a resource first. Got: {shown}", lambda: remote(resource))


@pytest.mark.parametrize("packages", ["numpy", ["numpy", 2]])
def test_packages_are_lists_of_names(api: LiveLoadBalancer, packages: Any) -> None:
    words = f"dependencies must be a list of strings. Got: {packages!r}"
    refused(ConfigurationError, words, lambda: remote(api, method="GET", path="/x", dependencies=packages))


def test_a_function_that_is_not_deployed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLASH_TARGET", raising=False)
    monkeypatch.setenv("FLASH_SERVER", "http://127.0.0.1:9")  # where nobody listens
    deployed = LoadBalancerSlsResource(name="user-service", imageName="image")

    @remote(deployed, method="GET", path="/users")
    def list_users() -> None: ...

    refused(EndpointNotDeployed, "Endpoint URL not available - endpoint may not be deployed", list_users)


@pytest.mark.asyncio
@pytest.mark.parametrize("make", QUEUED)
async def test_a_queued_function_is_awaited_and_called_at_its_deployment_or_live(make: Callable[[], Any], tmp_path: Path) -> None:
    @remote(make())
    def work() -> int:
        return 1

    assert inspect.iscoroutinefunction(work)
    if isinstance(make(), (LiveServerless, CpuLiveServerless)):
        assert await work() == 1
    else:
        with pytest.raises(EndpointNotDeployed, match="Endpoint URL not available - endpoint may not be deployed\n  why: .+\n  try: "):
            await work()


@pytest.mark.parametrize("make", QUEUED)
def test_a_queued_class_stays_what_it_was_for_readers_and_editors(make: Callable[[], Any]) -> None:
    @remote(make())
    class Model:
        """Predicts."""

        def __init__(self, size: int) -> None:
            raise AssertionError("it is made in the worker")

        def predict(self, x: int) -> int:
            """One thing."""
            return x

        def parts(self) -> Iterator[int]:
            yield 1

        def _own(self) -> int:
            return 1

        @staticmethod
        def helper() -> int:
            return 2

    assert (Model.__name__, Model.__doc__, Model.helper()) == ("Model", "Predicts.", 2)
    model = Model(3)
    assert isinstance(model, Model) and model._own() == 1
    assert inspect.iscoroutinefunction(model.predict) and model.predict.__doc__ == "One thing."
    assert not inspect.iscoroutinefunction(model.parts) and hasattr(model.parts(), "__aiter__")
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'size'"):
        Model()  # type: ignore[call-arg]
    refused(AttributeError, "'size' here", lambda: model.size)  # type: ignore[attr-defined]
    refused(CannotCarry, "cannot be carried elsewhere", lambda: pickle.dumps(model))
    refused(ConfigurationError, "decorated with @remote twice", lambda: remote(make())(Model))


def test_two_functions_of_one_name_on_a_queue_based_endpoint_are_refused(tmp_path: Path) -> None:
    queue = LiveServerless(name="q")
    functions = []
    for name in ("a", "b"):
        source = tmp_path / f"{name}.py"
        source.write_text("def work(): ...\n")
        module = {"__name__": name}
        exec(compile(source.read_text(), source, "exec"), module)
        functions.append(module["work"])
    decorate: Any = remote(queue)
    decorate(functions[0])
    refused(ConfigurationError, "endpoint 'q' has two functions of the name 'work'", lambda: decorate(functions[1]))


@pytest.mark.parametrize("retries", [-1, 101, 1.5, True, "2"])
def test_retries_are_a_number_and_of_queues_alone(api: LiveLoadBalancer, retries: Any) -> None:
    words = f"retries must be a whole number between 0 and 100. Got: {retries!r}"
    refused(ConfigurationError, words, lambda: remote(LiveServerless(name="q"), retries=retries))
    anything: Any = remote
    refused(ConfigurationError, "retries are not for", lambda: anything(api, method="GET", path="/", retries=1))


@pytest.mark.parametrize(("method", "path"), [("POST", "/a"), ("POST", None), (None, "/a")])
def test_routes_of_queued_functions_are_ignored_aloud(method: str | None, path: str | None) -> None:
    anything: Any = remote
    words = rf"HTTP routing parameters \(method={method}, path={path}\) are only used with LoadBalancerSlsResource, "
    with pytest.warns(FlashWarning, match=words + "but resource_config is LiveServerless. They will be ignored.") as caught:
        anything(LiveServerless(name="q"), method=method, path=path)
    assert caught[0].filename == __file__


def test_a_decorated_function_stays_what_it_was_for_readers_and_editors(api: LiveLoadBalancer) -> None:
    @remote(api, method="POST", path="/def")
    def plain(x: int, y: int = 3) -> int:
        """Adds."""
        return x + y

    @remote(api, method="POST", path="/async")
    async def waiting(x: int) -> int:
        return x

    assert str(inspect.signature(plain)) == "(x: 'int', y: 'int' = 3) -> 'int'"
    assert (plain.__doc__, plain.__name__, plain.__module__) == ("Adds.", "plain", __name__)
    assert inspect.iscoroutinefunction(waiting)
    assert plain.__wrapped__(1) == 4  # type: ignore[attr-defined]
    assert not inspect.iscoroutinefunction(plain)


def test_local_functions_run_here(api: LiveLoadBalancer) -> None:
    @remote(api, method="POST", path="/local", local=True)
    def here() -> list[int]:
        return kept

    kept: list[int] = []
    assert here() is kept

    @remote(LiveServerless(name="q"), local=True)
    def here_too() -> list[int]:
        return kept

    assert here_too() is kept


def test_a_worker_finds_marks_on_what_was_decorated(api: LiveLoadBalancer) -> None:
    routed: Any = remote(api, method="get", path="/x")(lambda: None)
    local: Any = remote(api, method="GET", path="/local", local=True)(lambda: None)
    anything: Any = remote
    queued = anything(LiveServerless(name="q"))(lambda: None)
    assert routed.__remote_config__ == {
        "resource_config": api,
        "method": "GET",
        "path": "/x",
        "dependencies": None,
        "system_dependencies": None,
        "retries": None,
        "is_lb_route_handler": True,
    }
    assert routed.__is_lb_route_handler__ is True and local.__flash_local__ is True
    assert not hasattr(routed, "__flash_local__") and not hasattr(queued, "__is_lb_route_handler__")
    assert queued.__remote_config__["is_lb_route_handler"] is False and not hasattr(queued, "__flash_local__")
