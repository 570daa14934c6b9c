"""What callers of deployed queue-based endpoints read where a job is not taken."""

from __future__ import annotations

import json

import pytest

from runpod_flash import EndpointNotDeployed, LiveLoadBalancer, LiveServerless, LoadBalancerSlsResource, ServerlessEndpoint
from runpod_flash._jobs import _refusal
from runpod_flash._lookup import Endpoint, _not_deployed, place_of
from runpod_flash._replies import Reply


@pytest.mark.parametrize(
    ("status", "said", "remedy"),
    [
        (400, {"error": "`policy.ttl` is 1; it is from 1000 to 604800000", "field": "policy.ttl"}, "send another `policy.ttl`"),
        (400, {"error": "`webhook` is no URL: `x`", "field": "webhook"}, "send another `webhook`"),
        (
            400,
            {"error": "the endpoint has no function `f`; it has `g`", "field": "function"},
            "deploy the code that is here (`flash deploy`)",
        ),
        (400, {"error": "not allowed for QB API"}, "deploy the code that is here (`flash deploy`)"),
        (404, {"error": "there is no endpoint `e`"}, "deploy the code that is here (`flash deploy`)"),
    ],
)
def test_a_job_that_is_not_taken_says_how_to_mend_what_is_wrong(status: int, said: dict[str, str], remedy: str) -> None:
    error = _refusal(Endpoint("e", "http://127.0.0.1:1/v2/e"), Reply(status, {}, json.dumps(said).encode()))
    assert said["error"] in str(error)
    assert str(error).partition("\n  try: ")[2].startswith(remedy)


@pytest.mark.parametrize(("kind", "live"), [(ServerlessEndpoint, LiveServerless), (LoadBalancerSlsResource, LiveLoadBalancer)])
def test_what_is_not_deployed_is_called_live_by_the_class_of_its_kind(monkeypatch: pytest.MonkeyPatch, kind: type, live: type) -> None:
    monkeypatch.delenv("FLASH_TARGET", raising=False)
    error = _not_deployed(place_of(kind(name="e", imageName="any"), None), "it is not there")
    assert type(error) is EndpointNotDeployed
    assert f"use a {live.__name__}, to call it live" in str(error)
