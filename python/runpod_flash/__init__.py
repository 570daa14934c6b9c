"""Flash: decorate Python functions, and they run on endpoints.

    from runpod_flash import LiveLoadBalancer, remote

    api = LiveLoadBalancer(name="example-api")

    @remote(api, method="POST", path="/api/greet")
    async def greet_user(name: str):
        return {"message": f"Hello, {name}!"}

Importing this does next to nothing: each name is loaded when it is first asked for. What `__all__` does not list
may change.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._enums import (
        CPU_DATACENTERS,
        CpuInstanceType,
        CudaVersion,
        DataCenter,
        GpuGroup,
        GpuType,
        ServerlessScalerType,
        ServerlessType,
    )
    from ._errors import (
        CalledWhileImporting,
        CannotCarry,
        ConfigurationError,
        DependencyMissing,
        DeploymentFailed,
        EndpointError,
        EndpointNotDeployed,
        EndpointUnreachable,
        ExecutionTimeout,
        FieldError,
        FlashError,
        FlashWarning,
        FunctionNotFound,
        JobCancelled,
        JobFailed,
        ModuleNotLoaded,
        OptionError,
        RemoteError,
        SessionError,
        WorkerLost,
    )
    from ._jobs import Job
    from ._models import (
        KeyValuePair,
        NetworkVolume,
        PodTemplate,
    )
    from ._progress import progress
    from ._remote import remote
    from ._resources import (
        DEFAULT_WORKERS_MAX,
        DEFAULT_WORKERS_MIN,
        CpuLiveLoadBalancer,
        CpuLiveServerless,
        CpuLoadBalancerSlsResource,
        CpuServerlessEndpoint,
        LiveLoadBalancer,
        LiveServerless,
        LoadBalancerSlsResource,
        ServerlessEndpoint,
    )
    from ._stub import LoadBalancerSlsStub

    __version__: str

__all__ = [
    "CPU_DATACENTERS",
    "CalledWhileImporting",
    "CannotCarry",
    "ConfigurationError",
    "CpuInstanceType",
    "CpuLiveLoadBalancer",
    "CpuLiveServerless",
    "CpuLoadBalancerSlsResource",
    "CpuServerlessEndpoint",
    "CudaVersion",
    "DEFAULT_WORKERS_MAX",
    "DEFAULT_WORKERS_MIN",
    "DataCenter",
    "DependencyMissing",
    "DeploymentFailed",
    "EndpointError",
    "EndpointNotDeployed",
    "EndpointUnreachable",
    "ExecutionTimeout",
    "FieldError",
    "FlashError",
    "FlashWarning",
    "FunctionNotFound",
    "GpuGroup",
    "GpuType",
    "KeyValuePair",
    "LiveLoadBalancer",
    "LiveServerless",
    "LoadBalancerSlsResource",
    "LoadBalancerSlsStub",
    "ModuleNotLoaded",
    "NetworkVolume",
    "JobCancelled",
    "JobFailed",
    "Job",
    "OptionError",
    "PodTemplate",
    "RemoteError",
    "ServerlessEndpoint",
    "ServerlessScalerType",
    "ServerlessType",
    "SessionError",
    "WorkerLost",
    "progress",
    "remote",
]

#: Where each name lives.
_HOMES = {
    **dict.fromkeys(
        (
            "CPU_DATACENTERS",
            "CpuInstanceType",
            "CudaVersion",
            "DataCenter",
            "GpuGroup",
            "GpuType",
            "ServerlessScalerType",
            "ServerlessType",
        ),
        "_enums",
    ),
    **dict.fromkeys(("KeyValuePair", "NetworkVolume", "PodTemplate"), "_models"),
    **dict.fromkeys(
        (
            "DEFAULT_WORKERS_MAX",
            "DEFAULT_WORKERS_MIN",
            "CpuLiveLoadBalancer",
            "CpuLiveServerless",
            "CpuLoadBalancerSlsResource",
            "CpuServerlessEndpoint",
            "LiveLoadBalancer",
            "LiveServerless",
            "LoadBalancerSlsResource",
            "ServerlessEndpoint",
        ),
        "_resources",
    ),
    "LoadBalancerSlsStub": "_stub",
    "progress": "_progress",
    "Job": "_jobs",
    "remote": "_remote",
}


def _load(name: str) -> object:
    if name == "__version__":
        return _version()
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, "_errors")
    value: object = getattr(__import__(f"{__name__}.{home}", fromlist=[name]), name)
    globals()[name] = value
    return value


if not TYPE_CHECKING:  # A checker that sees it takes every name for one of ours.
    __getattr__ = _load


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("openflash")
    except metadata.PackageNotFoundError:  # Run from its sources.
        return "0+unknown"


def _warn_of_the_vendors_package() -> None:
    """Say so when `runpod-flash` is installed in this environment too: both are imported by one name."""
    here = os.path.dirname(os.path.dirname(__file__))
    places = [here, *(place for place in sys.path if place.endswith(("site-packages", "dist-packages")))]
    clash = next((place for place in places if _holds_the_vendors_package(place)), None)
    if clash is not None:
        from . import _installed
        from ._errors import warn

        warn(
            "the distribution `runpod-flash` is installed beside `openflash`",
            why=f"both are imported as `runpod_flash`; the other one is in {clash}",
            remedy=f"pip uninstall -y runpod-flash\n       {_installed.again(None)}",
        )


def _holds_the_vendors_package(place: str) -> bool:
    try:
        names = os.listdir(place)
    except OSError:  # It does not exist, or is a zip file: pip installs nothing there.
        return False
    return any(name.startswith("runpod_flash-") and name.endswith(".dist-info") for name in names)


_warn_of_the_vendors_package()
