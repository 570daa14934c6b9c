"""Resources: what an endpoint is called, how it is called, and what it asks for.

    ServerlessResource
    ├── LoadBalancerSlsResource           LB, called at its deployment
    │   ├── LiveLoadBalancer              LB, called live: in a worker of the script's own server
    │   └── CpuLoadBalancerSlsResource
    │       └── CpuLiveLoadBalancer
    └── ServerlessEndpoint                QB
        ├── LiveServerless
        └── CpuServerlessEndpoint
            └── CpuLiveServerless

The fields keep the names and defaults that programs know. Images, GPUs, data centres, volumes and templates are
labels here: checked and kept, and not acted on.
"""

from __future__ import annotations

import os
import sys

from ._errors import ConfigurationError, FieldError
from ._fields import (
    Declared,
    field,
    flag,
    instance,
    listed,
    locked,
    member,
    optional,
    strings_by_name,
    text,
    whole,
)
from ._rules import check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, ClassVar, Literal

    from ._enums import CpuInstanceType, CudaVersion, DataCenter, GpuGroup, GpuType, ServerlessScalerType, ServerlessType
    from ._jobs import Job
    from ._models import NetworkVolume, PodTemplate

DEFAULT_WORKERS_MIN = 0
DEFAULT_WORKERS_MAX = 1

#: The versions of Python that a function can ask for.
PYTHON_VERSIONS = ("3.10", "3.11", "3.12", "3.13")


def target_of(resource: ServerlessResource) -> Literal["live", "deployed"]:
    """Where a call goes, asked anew at each call.

    `FLASH_TARGET=live` sends every call to the script's own server, and the name of an environment sends every
    call to the deployment there. Without it the resource's class decides.
    """
    target = os.environ.get("FLASH_TARGET")
    if target:
        return "live" if target == "live" else "deployed"
    return "live" if resource._is_live else "deployed"


def _resource_name(name: str, value: object) -> object:
    given = text(name, value)
    if isinstance(given, str):
        check_name(given)
    return given


def _datacenters(name: str, value: object) -> object:
    from ._enums import DataCenter

    found = []
    for item in value if isinstance(value, (list, tuple)) else [value]:
        if not isinstance(item, str):
            raise ConfigurationError(
                f"Invalid datacenter value: {item!r}", why="it is no DataCenter", remedy="datacenter=DataCenter.EU_RO_1"
            )
        try:
            found.append(DataCenter.from_string(item))
        except ValueError as problem:
            raise ConfigurationError(str(problem), why=f"{name} takes these alone", remedy="choose one of them, or leave it out") from None
    return found


def _python_version(name: str, value: object) -> object:
    if text(name, value) not in PYTHON_VERSIONS:
        raise ConfigurationError(
            f"Python {value} is not supported. Supported versions: {', '.join(PYTHON_VERSIONS)}",
            why="workers run on these alone",
            remedy=f"python_version='{PYTHON_VERSIONS[-1]}', or leave it out",
        )
    return value


def _enum(name: str, member_name: str) -> Callable[[], object]:
    """A default that is a member of an enum, found when it is first read."""

    def default() -> object:
        from . import _enums

        return getattr(_enums, name)[member_name]

    return default


def _listed_enum(name: str, member_name: str) -> Callable[[], object]:
    one = _enum(name, member_name)
    return lambda: [one()]


_OPTIONAL_TEXT = optional(text)
_COUNT = optional(whole(0))
_GPUS = optional(listed(member("GpuGroup", "GpuType")))
_INSTANCES = optional(listed(member("CpuInstanceType")))
_SCALER = optional(member("ServerlessScalerType"))
_TYPE = optional(member("ServerlessType"))
_CONCURRENCY = optional(whole(1, 128, refusal="max_concurrency must be between 1 and 128"))


class ServerlessResource(Declared):
    """The fields of every resource. Not used itself: it says neither how it is called nor where."""

    _kind: ClassVar[Literal["LB", "QB"]]
    _is_live: ClassVar[bool] = False

    name: str = field(_resource_name)
    id: str | None = field(_OPTIONAL_TEXT, default=None)
    env: Mapping[str, str] | None = field(optional(strings_by_name), default=None, secret=True)
    imageName: str | None = field(_OPTIONAL_TEXT, default="")
    templateId: str | None = field(_OPTIONAL_TEXT, default=None)
    template: PodTemplate | None = field(optional(instance("PodTemplate")), default=None)
    gpus: Sequence[GpuGroup | GpuType] | None = field(_GPUS, factory=_listed_enum("GpuGroup", "ANY"))
    gpuIds: str | None = field(_OPTIONAL_TEXT, default="")
    gpuCount: int | None = field(_COUNT, default=1)
    instanceIds: Sequence[CpuInstanceType] | None = field(_INSTANCES, default=None)
    cudaVersions: Sequence[CudaVersion] | None = field(optional(listed(member("CudaVersion"))), factory=list)
    allowedCudaVersions: str | None = field(_OPTIONAL_TEXT, default="")
    minCudaVersion: CudaVersion | str | None = field(optional(member("CudaVersion")), factory=_enum("CudaVersion", "V12_8"))
    workersMin: int | None = field(_COUNT, default=DEFAULT_WORKERS_MIN)
    workersMax: int | None = field(_COUNT, default=DEFAULT_WORKERS_MAX)
    workersPFBTarget: int | None = field(_COUNT, default=0)
    idleTimeout: int | None = field(optional(whole(1, 3600, refusal="idleTimeout must be between 1 and 3600 seconds")), default=60)
    executionTimeoutMs: int | None = field(_COUNT, default=0)
    scalerType: ServerlessScalerType | None = field(_SCALER, factory=_enum("ServerlessScalerType", "QUEUE_DELAY"))
    scalerValue: int | None = field(_COUNT, default=4)
    type: ServerlessType | None = field(_TYPE, factory=_enum("ServerlessType", "QB"))
    flashboot: bool | None = field(optional(flag), default=True)
    flashBootType: str | None = field(_OPTIONAL_TEXT, default=None)
    datacenter: DataCenter | Sequence[DataCenter | str] | None = field(optional(_datacenters), default=None)
    locations: str | None = field(_OPTIONAL_TEXT, default=None)
    networkVolume: NetworkVolume | None = field(optional(instance("NetworkVolume")), default=None)
    networkVolumes: Sequence[NetworkVolume] | None = field(optional(listed(instance("NetworkVolume"))), default=None)
    networkVolumeId: str | None = field(_OPTIONAL_TEXT, default=None)
    python_version: str | None = field(optional(_python_version), default=None)
    flashEnvironmentId: str | None = field(_OPTIONAL_TEXT, default=None)
    # What the vendor's cloud assigns: accepted, so that a program which passes them on still runs.
    activeBuildid: str | None = field(_OPTIONAL_TEXT, default=None)
    aiKey: str | None = field(_OPTIONAL_TEXT, default=None, secret=True)
    computeType: str | None = field(_OPTIONAL_TEXT, default=None)
    createdAt: str | None = field(_OPTIONAL_TEXT, default=None)
    hubRelease: str | None = field(_OPTIONAL_TEXT, default=None)
    repo: str | None = field(_OPTIONAL_TEXT, default=None)
    userId: str | None = field(_OPTIONAL_TEXT, default=None)

    @property
    def endpoint_url(self) -> str:
        """The URL of the deployed endpoint, which is asked for where it is not known yet.

        Raises `EndpointNotDeployed` when there is none.
        """
        from . import _deploying

        return _deploying.url_of(self)

    async def deploy(self, *, remove: bool = False) -> ServerlessResource:
        """Build and deploy the project that the endpoint belongs to; `endpoint_url` and `id` are known then.

        The project is what `flash deploy` finds in the folder at or above the file that has a `flash.toml`, a `pyproject.toml` or a `.git`;
        a file that no such folder is above is deployed by itself. Endpoints of the app that are not in it are taken down with `remove`
        alone. Raises `DeploymentFailed`, with all that `flash` said in its `output`.
        """
        from . import _deploying

        await _deploying.deploy(self, remove)
        return self

    async def undeploy(self) -> dict[str, object]:
        """Take the endpoint down, and say which that was. Raises `EndpointNotDeployed` when it is not there, `DeploymentFailed`."""
        from . import _deploying

        return await _deploying.undeploy(self)

    async def is_deployed(self) -> bool:
        """Whether the endpoint is deployed. Asks the server each time."""
        from . import _deploying

        return await _deploying.is_deployed(self)

    def _settle(self) -> None:
        if self.networkVolume is not None or self.networkVolumes:
            volumes = list(self.networkVolumes or ())
            if self.networkVolume is not None and self.networkVolume not in volumes:
                volumes.append(self.networkVolume)
            vars(self).update(networkVolume=volumes[0], networkVolumes=volumes)
        if self.env:
            self._set_environment(self.env)

    def _set_environment(self, env: Mapping[str, str]) -> None:
        """In a worker of this endpoint: what the module does after the resource is made sees its variables, and so do functions."""
        state: Any = sys.modules.get("runpod_flash._worker.state")
        if state is not None and state.endpoint == self.name:
            # What the host has set comes from flash.toml, which is before the code.
            os.environ.update({name: value for name, value in env.items() if name not in state.variables})

    def _contradictions(self) -> Iterator[ConfigurationError]:
        if not (self.imageName or self.template or self.templateId):
            yield ConfigurationError(
                "Either imageName, template, or templateId must be provided",
                why=f"{type(self).__name__} has no image of its own; the Live classes do",
                remedy="imageName='runpod/flash-lb', or any other: it is a label here",
            )
        least, most = self.workersMin, self.workersMax
        if least is not None and most is not None and least > most:
            yield ConfigurationError(
                f"workersMin ({least}) cannot be greater than workersMax ({most})",
                why="that many workers are kept at least, and at most",
                remedy=f"workersMax={least}, or a smaller workersMin",
            )
        if self.networkVolumes:
            yield from self._volumes_misplaced(self.networkVolumes)

    def _volumes_misplaced(self, volumes: Sequence[NetworkVolume]) -> Iterator[ConfigurationError]:
        places: dict[str, str] = {}
        allowed = [item.value for item in self._places()]
        for volume in volumes:
            place = volume.dataCenterId.value
            label = volume.name or volume.id or ""
            if place in places:
                yield ConfigurationError(
                    f"Multiple volumes in datacenter {place} ('{places[place]}' and '{label}'). "
                    "Only one network volume is allowed per datacenter.",
                    why="a worker mounts the volume of its data centre, at one path",
                    remedy="keep one of them there",
                )
            places[place] = label
            if allowed and place not in allowed:
                yield ConfigurationError(
                    f"Network volume datacenter ({place}) is not in the endpoint's datacenter list ({', '.join(allowed)})",
                    why="no worker could mount it",
                    remedy=f"add {place} to datacenter, or choose a volume there",
                )

    def _places(self) -> Sequence[DataCenter]:
        """The data centres asked for, as the check of the field has left them."""
        return self.datacenter or ()  # type: ignore[return-value]

    def _unknown(self, name: str) -> FieldError:
        if name != "endpoint_url":
            return super()._unknown(name)
        return FieldError(
            "endpoint_url is auto-generated after deployment and cannot be manually specified",
            why="the server chooses it when the endpoint is first deployed",
            remedy="leave it out, and read it once the endpoint is deployed",
        )


class LoadBalancerSlsResource(ServerlessResource):
    """A load-balanced endpoint: functions behind routes, called directly over HTTP at their deployment."""

    _kind = "LB"

    scalerType: ServerlessScalerType | None = field(_SCALER, factory=_enum("ServerlessScalerType", "REQUEST_COUNT"))
    type: ServerlessType | None = field(_TYPE, factory=_enum("ServerlessType", "LB"))
    #: Whether an `async def` is cancelled when the caller of a request leaves; else what has begun runs to its end.
    cancel_on_disconnect: bool | None = field(optional(flag), default=False)
    #: How many requests may be in flight on one worker; as many as it has slots (128) where nothing is said.
    max_concurrency: int | None = field(_CONCURRENCY, default=None)

    def _contradictions(self) -> Iterator[ConfigurationError]:
        yield from super()._contradictions()
        given = vars(self)  # Reading a default here would import the enums at every start.
        if "scalerType" in given and self.scalerType is not None and self.scalerType.value != "REQUEST_COUNT":
            yield ConfigurationError(
                f"LoadBalancerSlsResource requires REQUEST_COUNT scaler, not {self.scalerType.value}. "
                "Load-balanced endpoints don't support queue-based scaling.",
                why="requests go straight to workers: there is no queue to wait in",
                remedy="leave scalerType out",
            )
        if "type" in given and self.type is not None and self.type.value != "LB":
            yield ConfigurationError(
                f"LoadBalancerSlsResource type must be LB, got {self.type.value}",
                why="the class says how the endpoint is called",
                remedy="leave type out, or use ServerlessEndpoint for a queue-based endpoint",
            )


class ServerlessEndpoint(ServerlessResource):
    """A queue-based endpoint: jobs wait in a queue, run one at a time a worker, and are tried again when they fail."""

    _kind = "QB"

    #: How many jobs may run at once on one worker; one where nothing is said.
    max_concurrency: int | None = field(_CONCURRENCY, default=None)

    async def run(self, payload: Mapping[str, object]) -> Job:
        """Queue a job at the deployment; `await job.wait()` waits for its end.

        `payload` is a request, `{"input": {...}}`, with `webhook`, `policy` or `function` beside it where wanted; or the input alone.
        """
        from . import _jobs

        return await _jobs.submit(self, payload)

    async def runsync(self, payload: Mapping[str, object], timeout: float | None = None) -> Job:
        """Run a job at the deployment, and wait until it is over: `job.output` has what came of it, `job.error` why nothing did.

        Raises `TimeoutError` where that takes longer than `timeout` seconds; the job goes on.
        """
        from . import _jobs

        return await (await _jobs.submit(self, payload)).wait(timeout)


class _OnCpu(ServerlessResource):
    """What the CPU classes have in common: no GPUs, and the limits of CPU instances."""

    gpus: Sequence[GpuGroup | GpuType] | None = field(_GPUS, default=None)
    gpuCount: int | None = field(_COUNT, default=0)
    minCudaVersion: CudaVersion | str | None = field(optional(member("CudaVersion")), default=None)
    instanceIds: Sequence[CpuInstanceType] | None = field(_INSTANCES, factory=_listed_enum("CpuInstanceType", "CPU3G_2_8"))

    def _contradictions(self) -> Iterator[ConfigurationError]:
        yield from super()._contradictions()
        if self._places():
            from ._enums import CPU_DATACENTERS

            supported = ", ".join(sorted(item.value for item in CPU_DATACENTERS))
            missing = [item.value for item in self._places() if item not in CPU_DATACENTERS]
            if missing:
                yield ConfigurationError(
                    f"CPU endpoints are not available in: {', '.join(missing)}. Supported CPU data centers: {supported}",
                    why="those data centres have no CPU instances",
                    remedy="choose a supported one, or leave datacenter out",
                )
        if self.template is not None and self.instanceIds:
            yield from self._disk_too_large(self.template, self.instanceIds)

    def _disk_too_large(self, template: PodTemplate, instances: Sequence[CpuInstanceType]) -> Iterator[ConfigurationError]:
        from ._models import DEFAULT_DISK_GB

        size = template.containerDiskInGb
        largest = min(item.largest_disk_gb for item in instances)
        if size is not None and size != DEFAULT_DISK_GB and size > largest:
            limits = ", ".join(f"{item.value}: max {item.largest_disk_gb}GB" for item in instances)
            yield ConfigurationError(
                f"Container disk size {size}GB exceeds the maximum allowed for CPU instances. "
                f"Instance limits: {limits}. Maximum allowed: {largest}GB",
                why="an instance's disk grows with its CPUs",
                remedy=f"containerDiskInGb={largest}, or larger instances",
            )


class LiveLoadBalancer(LoadBalancerSlsResource):
    """A load-balanced endpoint for development and tests: calls run in a worker of the script's own server.

    The image is locked: an `imageName` is accepted, so that changing the class is all it takes, and ignored.
    """

    _is_live = True
    imageName: str | None = locked(_OPTIONAL_TEXT, default="runpod/flash-lb")


class CpuLoadBalancerSlsResource(_OnCpu, LoadBalancerSlsResource):
    """A load-balanced endpoint on CPU instances."""


class CpuLiveLoadBalancer(CpuLoadBalancerSlsResource):
    """A load-balanced endpoint on CPU instances, for development and tests. The image is locked."""

    _is_live = True
    imageName: str | None = locked(_OPTIONAL_TEXT, default="runpod/flash-lb-cpu")


class LiveServerless(ServerlessEndpoint):
    """A queue-based endpoint for development and tests. The image is locked."""

    _is_live = True
    imageName: str | None = locked(_OPTIONAL_TEXT, default="runpod/flash")


class CpuServerlessEndpoint(_OnCpu, ServerlessEndpoint):
    """A queue-based endpoint on CPU instances."""


class CpuLiveServerless(CpuServerlessEndpoint):
    """A queue-based endpoint on CPU instances, for development and tests. The image is locked."""

    _is_live = True
    imageName: str | None = locked(_OPTIONAL_TEXT, default="runpod/flash-cpu")
