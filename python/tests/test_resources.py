"""Resources: their fields and defaults, and what their checks say."""

from __future__ import annotations

import copy
import pickle
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runpod_flash import (
    CPU_DATACENTERS,
    ConfigurationError,
    CpuInstanceType,
    CpuLiveLoadBalancer,
    CpuLiveServerless,
    CpuLoadBalancerSlsResource,
    CpuServerlessEndpoint,
    CudaVersion,
    DataCenter,
    EndpointNotDeployed,
    FieldError,
    FlashWarning,
    GpuGroup,
    GpuType,
    KeyValuePair,
    LiveLoadBalancer,
    LiveServerless,
    LoadBalancerSlsResource,
    NetworkVolume,
    OptionError,
    PodTemplate,
    ServerlessEndpoint,
    ServerlessScalerType,
    ServerlessType,
    remote,
)
from runpod_flash._resources import target_of

LOAD_BALANCED: list[Any] = [LiveLoadBalancer, CpuLiveLoadBalancer, LoadBalancerSlsResource, CpuLoadBalancerSlsResource]
QUEUE_BASED: list[Any] = [LiveServerless, CpuLiveServerless, ServerlessEndpoint, CpuServerlessEndpoint]
ON_CPU: list[Any] = [CpuLiveLoadBalancer, CpuLoadBalancerSlsResource, CpuLiveServerless, CpuServerlessEndpoint]

IMAGES = {
    LiveLoadBalancer: "runpod/flash-lb",
    CpuLiveLoadBalancer: "runpod/flash-lb-cpu",
    LiveServerless: "runpod/flash",
    CpuLiveServerless: "runpod/flash-cpu",
}

#: What every class has unless it says otherwise.
DEFAULTS: dict[str, object] = {
    "max_concurrency": None,
    "id": None,
    "env": None,
    "templateId": None,
    "template": None,
    "gpus": [GpuGroup.ANY],
    "gpuIds": "",
    "gpuCount": 1,
    "instanceIds": None,
    "cudaVersions": [],
    "allowedCudaVersions": "",
    "minCudaVersion": CudaVersion.V12_8,
    "workersMin": 0,
    "workersMax": 1,
    "workersPFBTarget": 0,
    "idleTimeout": 60,
    "executionTimeoutMs": 0,
    "scalerType": ServerlessScalerType.QUEUE_DELAY,
    "scalerValue": 4,
    "type": ServerlessType.QB,
    "flashboot": True,
    "flashBootType": None,
    "datacenter": None,
    "locations": None,
    "networkVolume": None,
    "networkVolumes": None,
    "networkVolumeId": None,
    "python_version": None,
    "flashEnvironmentId": None,
    "activeBuildid": None,
    "aiKey": None,
    "computeType": None,
    "createdAt": None,
    "hubRelease": None,
    "repo": None,
    "userId": None,
}
ON_LOAD_BALANCED = {
    "scalerType": ServerlessScalerType.REQUEST_COUNT,
    "type": ServerlessType.LB,
    "cancel_on_disconnect": False,
}
ON_CPU_INSTANCES = {"gpus": None, "gpuCount": 0, "minCudaVersion": None, "instanceIds": [CpuInstanceType.CPU3G_2_8]}


def make(kind: Any = LoadBalancerSlsResource, **fields: Any) -> Any:
    return kind(**{"name": "api", "imageName": "image", **fields})


def refused(words: str, act: Callable[[], object]) -> ConfigurationError:
    """`act` is refused with a ValueError of these words, that says why and how to mend it."""
    with pytest.raises(ValueError, match="^" + re.escape(words)) as caught:
        act()
    assert isinstance(caught.value, ConfigurationError)
    assert re.search(r"\n  why: .+\n  try: .+", str(caught.value))
    return caught.value


@pytest.mark.parametrize("kind", LOAD_BALANCED + QUEUE_BASED)
def test_every_field_has_its_default(kind: Any) -> None:
    resource = make(kind)
    expected = {
        "name": "api",
        "imageName": IMAGES.get(kind, "image"),
        **DEFAULTS,
        **(ON_LOAD_BALANCED if kind in LOAD_BALANCED else {}),
        **(ON_CPU_INSTANCES if kind in ON_CPU else {}),
    }
    assert {name: getattr(resource, name) for name in expected} == expected
    assert set(expected) == set(resource._fields)


def test_a_default_list_is_each_resource_s_own() -> None:
    first, second = make(), make()
    first.gpus.append(GpuGroup.ADA_24)
    assert second.gpus == [GpuGroup.ANY]


@pytest.mark.parametrize("kind", IMAGES)
def test_the_image_of_a_live_class_is_locked(kind: Any) -> None:
    resource = kind(name="api", imageName="my/own:1")
    resource.imageName = "my/own:2"
    assert resource.imageName == IMAGES[kind]


@pytest.mark.parametrize("kind", [LoadBalancerSlsResource, ServerlessEndpoint, CpuLoadBalancerSlsResource, CpuServerlessEndpoint])
def test_a_deployed_class_needs_an_image_or_a_template(kind: Any) -> None:
    refused("Either imageName, template, or templateId must be provided", lambda: kind(name="api"))
    kind(name="api", templateId="t")
    kind(name="api", template=PodTemplate())


VOLUMES = [NetworkVolume(name="v"), NetworkVolume(id="an-id")]
LARGE = PodTemplate(containerDiskInGb=100)


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        (LiveLoadBalancer, {"name": "a/b"}, "endpoint name 'a/b' has the character '/'"),
        (LiveLoadBalancer, {"name": 5}, "name must be a string. Got: int"),
        (LiveLoadBalancer, {"workersMin": 5}, "workersMin (5) cannot be greater than workersMax (1)"),
        (LiveLoadBalancer, {"workersMax": -1}, "workersMax must be 0 or more"),
        (LiveLoadBalancer, {"workersMax": 1.5}, "workersMax must be a whole number. Got: float"),
        (LiveLoadBalancer, {"workersMax": "many"}, "workersMax must be a whole number. Got: str"),
        (LiveLoadBalancer, {"idleTimeout": 0}, "idleTimeout must be between 1 and 3600 seconds"),
        (LiveLoadBalancer, {"idleTimeout": 3601}, "idleTimeout must be between 1 and 3600 seconds"),
        (LiveLoadBalancer, {"flashboot": "no"}, "flashboot must be True or False. Got: str"),
        (LiveLoadBalancer, {"minCudaVersion": "10.0"}, "'10.0' is not a valid CudaVersion"),
        (LiveLoadBalancer, {"gpus": GpuGroup.ANY}, "gpus must be a list. Got: GpuGroup"),
        (LiveLoadBalancer, {"gpus": ["fast"]}, "'fast' is not a valid GpuGroup or GpuType"),
        (LiveLoadBalancer, {"env": {"A": 1}}, "env['A'] must be a string. Got: int"),
        (LiveLoadBalancer, {"env": {1: "A"}}, "env[1] must be a string. Got: int"),
        (LiveLoadBalancer, {"env": "A=1"}, "env must be a dict of strings. Got: str"),
        (LiveLoadBalancer, {"template": "t"}, "template must be a PodTemplate. Got: str"),
        (LiveLoadBalancer, {"datacenter": "mars"}, "Unknown datacenter 'mars'. Valid datacenters: US-CA-2, "),
        (LiveLoadBalancer, {"datacenter": 5}, "Invalid datacenter value: 5"),
        (LiveLoadBalancer, {"python_version": "3.9"}, "Python 3.9 is not supported. Supported versions: 3.10, 3.11, 3.12, 3.13"),
        (CpuLiveLoadBalancer, {"instanceIds": ["cpu9"]}, "'cpu9' is not a valid CpuInstanceType"),
        (
            CpuLiveLoadBalancer,
            {"datacenter": ["US-CA-2", "EU-RO-1"]},
            "CPU endpoints are not available in: US-CA-2. Supported CPU data centers: EU-RO-1",
        ),
        (
            CpuLiveLoadBalancer,
            {"instanceIds": ["cpu3c-1-2"], "template": LARGE},
            "Container disk size 100GB exceeds the maximum allowed for CPU instances. "
            "Instance limits: cpu3c-1-2: max 10GB. Maximum allowed: 10GB",
        ),
        (
            LiveLoadBalancer,
            {"networkVolume": VOLUMES[0], "datacenter": DataCenter.US_CA_2},
            "Network volume datacenter (EU-RO-1) is not in the endpoint's datacenter list (US-CA-2)",
        ),
        (
            LiveLoadBalancer,
            {"networkVolumes": VOLUMES},
            "Multiple volumes in datacenter EU-RO-1 ('v' and 'an-id'). Only one network volume is allowed per datacenter.",
        ),
        (
            LoadBalancerSlsResource,
            {"scalerType": ServerlessScalerType.QUEUE_DELAY},
            "LoadBalancerSlsResource requires REQUEST_COUNT scaler, not QUEUE_DELAY. "
            "Load-balanced endpoints don't support queue-based scaling.",
        ),
        (LoadBalancerSlsResource, {"type": "QB"}, "LoadBalancerSlsResource type must be LB, got QB"),
    ],
    ids=lambda value: "" if isinstance(value, type) else str(value)[:40],
)
def test_a_wrong_field_is_refused_when_given_and_when_set(kind: Any, fields: dict[str, Any], words: str) -> None:
    refused(words, lambda: make(kind, **fields))
    *before, (last, value) = fields.items()
    resource = make(kind, **dict(before))
    for _ in range(2):  # Never set, and with a value of its own: reading it gives it its default.
        refused(words, lambda: setattr(resource, last, value))
        assert resource == make(kind, **dict(before))


def test_a_field_without_a_default_must_be_given() -> None:
    missing: Any = LiveLoadBalancer
    refused("LiveLoadBalancer requires 'name'", missing)


def test_all_that_is_wrong_is_said_at_once() -> None:
    problem = refused("LiveLoadBalancer has 2 invalid fields", lambda: make(LiveLoadBalancer, idleTimeout=0, gpus=["fast"]))
    assert "idleTimeout must be" in str(problem) and "'fast' is not" in str(problem)


def test_a_field_of_another_version_is_ignored_aloud() -> None:
    with pytest.warns(FlashWarning, match=r"no field 'workerMax' \(Did you mean 'workersMax'\?\)\n  why: .+\n  try: ") as caught:
        resource = make(LiveLoadBalancer, workerMax=3)
    assert resource.workersMax == 1
    assert caught[0].filename == __file__


def test_a_field_that_does_not_exist_cannot_be_set() -> None:
    resource = make()
    words = "LoadBalancerSlsResource has no field 'workerMax' (Did you mean 'workersMax'?)"
    problem = refused(words, lambda: setattr(resource, "workerMax", 3))
    assert isinstance(problem, FieldError) and isinstance(problem, AttributeError)
    assert problem.remedy == "write 'workersMax'"
    far = refused("LoadBalancerSlsResource has no field 'zzz'", lambda: setattr(resource, "zzz", 3))
    assert far.remedy and "workersMax" in far.remedy


def test_endpoint_url_is_read_only() -> None:
    words = "endpoint_url is auto-generated after deployment and cannot be manually specified"
    refused(words, lambda: make(endpoint_url="http://elsewhere"))
    refused(words, lambda: setattr(make(), "endpoint_url", "http://elsewhere"))


@pytest.fixture
def nowhere() -> Iterator[str]:
    """The URL of a server that is not there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("kind", [LoadBalancerSlsResource, LiveLoadBalancer])
def test_there_is_no_url_without_a_deployment(monkeypatch: pytest.MonkeyPatch, nowhere: str, kind: Any) -> None:
    monkeypatch.setenv("FLASH_SERVER", nowhere)
    with pytest.raises(EndpointNotDeployed, match="Endpoint URL not available - endpoint may not be deployed\n  why: .+\n  try: "):
        _ = make(kind).endpoint_url


@pytest.mark.parametrize(
    ("kind", "target", "expected"),
    [
        *[(kind, None, "live" if kind in IMAGES else "deployed") for kind in LOAD_BALANCED + QUEUE_BASED],
        (LoadBalancerSlsResource, "", "deployed"),
        (LoadBalancerSlsResource, "live", "live"),
        (LiveLoadBalancer, "live", "live"),
        (LiveLoadBalancer, "production", "deployed"),
    ],
)
def test_the_class_decides_where_a_call_goes_unless_the_target_is_set(
    monkeypatch: pytest.MonkeyPatch, kind: Any, target: str | None, expected: str
) -> None:
    if target is None:
        monkeypatch.delenv("FLASH_TARGET", raising=False)
    else:
        monkeypatch.setenv("FLASH_TARGET", target)
    assert target_of(make(kind)) == expected


@pytest.mark.asyncio
async def test_jobs_of_an_endpoint_that_is_not_deployed_are_refused() -> None:
    resource = make(ServerlessEndpoint)
    for act in (resource.run, resource.runsync):
        with pytest.raises(EndpointNotDeployed, match="endpoint may not be deployed\n  why: .+\n  try: "):
            await act({"x": 1})
    with pytest.raises(ConfigurationError, match="'api' is called live, and has no jobs to ask for\n  why: .+\n  try: "):
        await make(LiveServerless).run({"x": 1})
    for wrong in ([1], {"x": object()}, {"x": float("nan")}):
        with pytest.raises(ConfigurationError, match="the payload of a job is .+\n  why: .+\n  try: "):
            await resource.run(wrong)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"workersMax": "3"}, 3),
        ({"workersMax": 3.0}, 3),
        ({"workersMin": 1}, 1),
        ({"workersMin": None}, None),
        ({"idleTimeout": 1}, 1),
        ({"idleTimeout": 3600}, 3600),
        ({"gpus": ["AMPERE_16", GpuType.L4, "NVIDIA L4"]}, [GpuGroup.AMPERE_16, GpuType.L4, GpuType.L4]),
        ({"minCudaVersion": "12.4"}, CudaVersion.V12_4),
        ({"datacenter": "eu_ro_1"}, [DataCenter.EU_RO_1]),
        ({"datacenter": [DataCenter.EU_RO_1, "US-CA-2"]}, [DataCenter.EU_RO_1, DataCenter.US_CA_2]),
        ({"template": {"name": "t"}}, PodTemplate(name="t")),
        ({"networkVolume": NetworkVolume(name="v")}, NetworkVolume(name="v")),
    ],
    ids=str,
)
def test_a_value_is_kept_in_its_own_type(given: dict[str, Any], kept: object) -> None:
    resource = make(**given)
    assert getattr(resource, next(iter(given))) == kept


def test_one_volume_and_the_list_of_volumes_are_one() -> None:
    one = make(networkVolume=NetworkVolume(name="v"))
    listed = make(networkVolumes=[NetworkVolume(name="v")])
    both = make(networkVolume=NetworkVolume(name="v"), networkVolumes=[NetworkVolume(name="v")], datacenter="EU-RO-1")
    for resource in (one, listed, both):
        assert (resource.networkVolumes, resource.networkVolume) == ([NetworkVolume(name="v")], NetworkVolume(name="v"))


@pytest.mark.parametrize("size", [None, 20, 64])  # 64 is what templates have when nobody says otherwise
def test_a_disk_that_fits_its_instances_is_accepted(size: int | None) -> None:
    make(CpuLiveLoadBalancer, template=PodTemplate(containerDiskInGb=size))
    make(CpuLiveLoadBalancer, template=LARGE, instanceIds=None)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "either 'name' or 'id' must be provided"),
        ({"name": "  "}, "name must not be empty or whitespace-only"),
        ({"name": "v", "size": 9}, "size must be between 10 and 4096"),
        ({"name": "v", "size": 4097}, "size must be between 10 and 4096"),
        ({"name": "v", "sise": 10}, "NetworkVolume has no field 'sise' (Did you mean 'size'?)"),
        ({"name": "v", "datacenter": "mars"}, "'mars' is not a valid DataCenter"),
    ],
    ids=str,
)
def test_a_wrong_volume_is_refused(fields: dict[str, Any], words: str) -> None:
    refused(words, lambda: NetworkVolume(**fields))


def test_a_volume_s_data_centre_has_two_names() -> None:
    assert NetworkVolume(name="v").dataCenterId is DataCenter.EU_RO_1
    assert NetworkVolume(name="v", datacenter=DataCenter.US_CA_2).dataCenterId is DataCenter.US_CA_2
    both = NetworkVolume(name="v", datacenter=DataCenter.US_CA_2, dataCenterId=DataCenter.EU_CZ_1)
    assert both.dataCenterId is DataCenter.EU_CZ_1


def test_a_volume_s_size_has_limits() -> None:
    assert [NetworkVolume(name="v", size=size).size for size in (10, 4096)] == [10, 4096]


def test_a_template_has_its_defaults() -> None:
    template = PodTemplate()
    assert (template.containerDiskInGb, template.env, template.config, template.advancedStart) == (64, [], {}, False)
    assert PodTemplate(config={"a": 1}).config == {"a": 1}
    refused("config must be a dict. Got: str", lambda: PodTemplate(config="a"))  # type: ignore[arg-type]
    assert PodTemplate(env=[{"key": "A", "value": "1"}]).env == [KeyValuePair(key="A", value="1")]  # type: ignore[list-item]


def test_data_centres_and_gpus_list_themselves() -> None:
    assert list(CPU_DATACENTERS) == [DataCenter.EU_RO_1]
    assert len(DataCenter.all()) == 11
    assert GpuGroup.ANY not in GpuGroup.all() and len(GpuGroup.all()) == 11
    assert GpuType.ANY not in GpuType.all() and len(GpuType.all()) == 20


def test_a_resource_shows_what_was_given_and_no_secrets() -> None:
    resource = make(
        env={"TOKEN": "s3cret"}, aiKey="s3cret", workersMax=3, template=PodTemplate(env=[KeyValuePair(key="A", value="s3cret")])
    )
    assert "s3cret" not in repr(resource)
    assert "env={'TOKEN': '***'}" in repr(resource) and "aiKey='***'" in repr(resource)
    resource.aiKey = None
    assert "aiKey" not in repr(resource)
    assert repr(make(workersMax=3)) == "LoadBalancerSlsResource(name='api', imageName='image', workersMax=3)"


def test_resources_are_equal_by_value() -> None:
    assert make() == make() and make() != make(workersMax=2) and make() != make(LiveLoadBalancer)


def test_a_copy_or_a_pickle_holds_the_fields_and_no_routes() -> None:
    resource = LiveLoadBalancer(name="api", workersMax=3)
    remote(resource, method="GET", path="/x")(lambda: None)
    for twin in (copy.copy(resource), copy.deepcopy(resource), pickle.loads(pickle.dumps(resource))):  # noqa: S301  # made here
        assert twin == resource
        remote(twin, method="GET", path="/x")(lambda: None)


def test_a_field_without_its_name_is_refused() -> None:
    with pytest.raises(OptionError, match="^LiveLoadBalancer takes its fields by name") as refused:
        LiveLoadBalancer("app")  # type: ignore[arg-type]
    assert refused.value.remedy == "LiveLoadBalancer(name='app')"
