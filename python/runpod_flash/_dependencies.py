"""What functions depend on and this interpreter lacks. A session installs it where the functions run; `flash run` and deployments have
done so before."""

from __future__ import annotations

import sys

from . import _requirements, _sites
from ._errors import ConfigurationError, DependencyMissing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

#: Requirements that were found satisfied; what is installed is not expected to go.
_satisfied: set[str] = set()


class Needs:
    """What the functions of an endpoint depend on, all together, for they share a worker; something of it is missing here."""

    __slots__ = ("declared", "missing", "requirements")

    def __init__(self, declared: object, requirements: list[str], missing: frozenset[str]) -> None:
        #: What it was made of.
        self.declared = declared
        self.requirements = requirements
        self.missing = missing

    def are_missed_by(self, dependencies: Iterable[str]) -> bool:
        """Whether something of what is missing is among these."""
        return not self.missing.isdisjoint(dependencies)


#: By the endpoint. One where nothing is missing has nothing to say to the host.
_needs: dict[str, Needs] = {}


def needs(function: Callable[..., object], endpoint: str, dependencies: Sequence[str]) -> Needs | None:
    """What is to be told of the endpoint's dependencies, `dependencies` being those of `function`; None where all are installed here.
    Raises ConfigurationError for what names nothing."""
    if not _satisfied.issuperset(dependencies):
        _check_names(function, dependencies)
    declared = _sites.dependencies[endpoint]
    known = _needs.get(endpoint)
    if known is None or known.declared is not declared:
        requirements = sorted({one for several in declared.values() for one in several if _requirements.can_be_installed(one)})
        known = _needs[endpoint] = Needs(declared, requirements, frozenset(_missing(requirements)))
    return known if known.missing else None


def look_again(endpoint: str) -> None:
    """Something was missing, and may be there at the next call."""
    _needs.pop(endpoint, None)


def not_installed(function: str, needs: Needs, failure: dict[str, str]) -> DependencyMissing:
    """The error where `failure`, in the host's words, is why they cannot be installed."""
    missing = [one for one in needs.requirements if one in needs.missing]
    why = failure["why"].replace("\n", "\n       ")
    return DependencyMissing(
        f"`{function}` needs {', '.join(missing)}",
        why=f"{sys.executable} does not have {'it' if len(missing) == 1 else 'them'}, and {failure['error']}: {why}",
        remedy=f"{failure['try']}; or install by hand: {_install(missing)}",
    )


def check(function: Callable[..., object], dependencies: list[str]) -> None:
    """In a worker, where everything should be. Raises DependencyMissing, with the command that installs what is missing;
    ConfigurationError for what names nothing."""
    _check_names(function, dependencies)
    missing = _requirements.missing(dependencies)
    if missing:
        raise DependencyMissing(
            f"`{function.__qualname__}` needs {', '.join(missing)}",
            why=f"its workers run in {sys.executable}, which does not have {'it' if len(missing) == 1 else 'them'}",
            remedy=_install(missing),
        )


def _check_names(function: Callable[..., object], dependencies: Sequence[str]) -> None:
    for one in dependencies:
        if _requirements.names_nothing(one):
            raise ConfigurationError(
                f"dependencies of `{function.__qualname__}` has {one!r}, which names no package",
                why="a requirement begins with a distribution's name, a letter or a digit, or it is a URL or a path",
                remedy="write it as pip takes it: 'numpy', 'numpy>=2', 'numpy @ https://...'",
            )


def _missing(requirements: list[str]) -> list[str]:
    from . import _overlay

    missing = _requirements.missing((one for one in requirements if one not in _satisfied), _overlay.path_beneath())
    _satisfied.update(one for one in requirements if one not in missing)
    return missing


def _install(missing: list[str]) -> str:
    import shlex
    from importlib.util import find_spec

    packages = " ".join(map(shlex.quote, missing))
    python = shlex.quote(sys.executable)
    if find_spec("pip") is None:
        return f"uv pip install --python {python} {packages}"
    return f"{python} -m pip install {packages}"
