"""Decorating: what is refused, in the guide's words with why and the mend, and what a decorated function stays."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from runpod_flash import (
    ConfigurationError,
    CpuLiveServerless,
    CpuServerlessEndpoint,
    EndpointNotDeployed,
    LiveLoadBalancer,
    LiveServerless,
    LoadBalancerSlsResource,
    NotBuiltYet,
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
    for _ in range(2):  # as a cell that is run again does

        @remote(api, method="GET", path="/again")
        def again() -> None: ...


def test_methods_come_in_any_case(api: LiveLoadBalancer) -> None:
    @remote(api, method="pAtch", path="/x")
    def change() -> None: ...

    assert change.__remote_config__["method"] == "PATCH"  # type: ignore[attr-defined]


def test_a_path_s_parameter_that_the_function_does_not_take_is_a_warning(api: LiveLoadBalancer) -> None:
    def get_user(name: str) -> None: ...

    with pytest.warns(UserWarning, match=r"'user_id', which function .*get_user' does not take"):
        remote(api, method="GET", path="/users/{user_id}")(get_user)


def test_an_unknown_option_names_the_one_that_was_meant(api: LiveLoadBalancer) -> None:
    refused(TypeError, "dependencies", lambda: remote(api, method="GET", path="/x", dependancies=[]))  # type: ignore[call-overload]


def test_a_function_that_is_not_deployed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLASH_TARGET", raising=False)
    deployed = LoadBalancerSlsResource(name="user-service", imageName="image")

    @remote(deployed, method="GET", path="/users")
    def list_users() -> None: ...

    refused(EndpointNotDeployed, "Endpoint URL not available - endpoint may not be deployed", list_users)


def test_endpoint_url_is_read_only() -> None:
    deployed = LoadBalancerSlsResource(name="user-service", imageName="image")
    with pytest.raises(AttributeError, match="endpoint_url"):
        deployed.endpoint_url = "http://elsewhere"  # type: ignore[misc]
    with pytest.raises(ValueError, match="endpoint_url"):
        LoadBalancerSlsResource(name="user-service", imageName="image", endpoint_url="http://elsewhere")  # type: ignore[call-arg]


@pytest.mark.asyncio
@pytest.mark.parametrize("make", QUEUED)
async def test_calling_a_queued_function_says_that_it_is_not_built_yet(make: Callable[[], Any]) -> None:
    @remote(make())
    def work() -> int:
        return 1

    with pytest.raises(NotBuiltYet, match="queue-based calls are not built yet"):
        await work()


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
    assert not inspect.iscoroutinefunction(plain)


def test_local_functions_run_here(api: LiveLoadBalancer) -> None:
    @remote(api, method="POST", path="/local", local=True)
    def here() -> list[int]:
        return kept

    kept: list[int] = []
    assert here() is kept
