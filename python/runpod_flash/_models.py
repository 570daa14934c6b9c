"""The things that resource fields hold: volumes, templates and their environment variables."""

from __future__ import annotations

from ._enums import DataCenter
from ._errors import ConfigurationError
from ._fields import Declared, field, flag, instance, listed, mapping, member, optional, text, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: The disk of a template that names none, in GB; on CPU instances it means as much as they may have.
DEFAULT_DISK_GB = 64


def _volume_name(name: str, value: object) -> object:
    given = text(name, value)
    if isinstance(given, str) and not given.strip():
        raise ConfigurationError(
            "name must not be empty or whitespace-only",
            why="a volume is found by its name",
            remedy="name it, as in NetworkVolume(name='models')",
        )
    return given


class NetworkVolume(Declared):
    """A disk that outlives workers. `size` is in GB; `datacenter` is another name for `dataCenterId`."""

    _strict = True

    name: str | None = field(optional(_volume_name), default=None)
    id: str | None = field(optional(text), default=None)
    size: int | None = field(optional(whole(10, 4096)), default=100)
    datacenter: DataCenter | None = field(optional(member("DataCenter")), default=None)
    dataCenterId: DataCenter = field(member("DataCenter"), factory=lambda: DataCenter.EU_RO_1)

    def _settle(self) -> None:
        if self.datacenter is not None and "dataCenterId" not in vars(self):
            vars(self)["dataCenterId"] = self.datacenter

    def _contradictions(self) -> Iterator[ConfigurationError]:
        if not self.name and not self.id:
            yield ConfigurationError(
                "either 'name' or 'id' must be provided",
                why="a volume is found by one of them",
                remedy="NetworkVolume(name='models')",
            )


class KeyValuePair(Declared):
    """An environment variable of a template."""

    key: str = field(text)
    value: str = field(text, secret=True)


class PodTemplate(Declared):
    """What a worker's container is made from. `containerDiskInGb` is in GB."""

    advancedStart: bool = field(flag, default=False)
    config: Mapping[str, object] = field(mapping, factory=dict)
    containerDiskInGb: int | None = field(optional(whole(0)), default=DEFAULT_DISK_GB)
    containerRegistryAuthId: str = field(text, default="")
    dockerArgs: str = field(text, default="")
    env: Sequence[KeyValuePair] | None = field(optional(listed(instance("KeyValuePair"))), factory=list)
    imageName: str = field(text, default="")
    name: str = field(text, default="")
    ports: str = field(text, default="")
    startScript: str = field(text, default="")
