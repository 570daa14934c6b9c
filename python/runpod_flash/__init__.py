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
        EndpointNotDeployed,
        ExecutionTimeout,
        FieldError,
        FlashError,
        FunctionNotFound,
        ModuleNotLoaded,
        NotBuiltYet,
        RemoteError,
        SessionError,
        WorkerLost,
    )
    from ._models import (
        KeyValuePair,
        NetworkVolume,
        PodTemplate,
    )
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
    "EndpointNotDeployed",
    "ExecutionTimeout",
    "FieldError",
    "FlashError",
    "FunctionNotFound",
    "GpuGroup",
    "GpuType",
    "KeyValuePair",
    "LiveLoadBalancer",
    "LiveServerless",
    "LoadBalancerSlsResource",
    "ModuleNotLoaded",
    "NetworkVolume",
    "NotBuiltYet",
    "PodTemplate",
    "RemoteError",
    "ServerlessEndpoint",
    "ServerlessScalerType",
    "ServerlessType",
    "SessionError",
    "WorkerLost",
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
    """Say so when `runpod-flash` is installed in the same place: both write into one folder, and the files mix."""
    if "runpod_flash._worker" in sys.orig_argv:  # The script has said it.
        return
    place = os.path.dirname(os.path.dirname(__file__))
    try:
        clash = any(name.startswith("runpod_flash-") and name.endswith(".dist-info") for name in os.listdir(place))
    except OSError:  # A zip file, say: nothing is installed beside it.
        return
    if clash:
        import warnings

        warnings.warn(
            "the distribution `runpod-flash` is installed beside `openflash`\n"
            f"  why: both are imported as `runpod_flash`, and their files mix in {place}\n"
            "  try: pip uninstall -y runpod-flash\n"
            "       pip install --force-reinstall --no-deps openflash",
            stacklevel=3,
        )


_warn_of_the_vendors_package()
