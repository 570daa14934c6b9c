"""Imports a project's modules and makes routes of its functions, before any request."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from contextlib import contextmanager

from .._errors import CalledWhileImporting
from . import failures, state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import Any, NoReturn, TypedDict

    from typing_extensions import NotRequired

    from .inputs import Job
    from .routes import Route

    class Module(TypedDict):
        """A file, and how it is imported: its name, with `import_base` on the path."""

        name: str
        file: str
        import_base: str
        #: All folders that its own imports begin at, `import_base` among them; that one alone where it is left out.
        import_path: NotRequired[list[str]]

    class Declared(TypedDict):
        """A function, as the scan found it."""

        module: Module
        qualname: str
        #: Of a route.
        method: NotRequired[str]
        path: NotRequired[str]
        #: Of a function that is called by jobs.
        job: NotRequired[bool]

    class Host(TypedDict):
        """Where calls to other live endpoints go."""

        port: int
        token: str

    class Deployment(TypedDict):
        """Where calls to other endpoints of the app's environment go."""

        url: str
        token: str
        #: The server's URL for everybody else.
        public: str

    class Config(TypedDict):
        """What the host says of a worker's endpoint. A live one has no functions: they come with the calls."""

        endpoint: str
        functions: list[Declared]
        inline: bool
        #: How many jobs run at a time; where it is left out, the host sends no more than may run.
        slots: NotRequired[int]
        #: Environment variables, for the modules to find when they are imported; none where it is left out.
        env: NotRequired[dict[str, str]]
        #: Whether the sources are reloaded when they change, for which the host must know what is imported.
        reload: bool
        host: Host | None
        #: Of a deployed endpoint, in place of `host`.
        deployment: NotRequired[Deployment]
        #: The packages that stand before those of the interpreter; a live worker is told with its first call.
        overlay: NotRequired[str | None]


#: What is told of a place: file and line, and the text of that line.
_Place = tuple[str, "str | None"]

#: Whether the modules are those of a deployment, whose files are where nobody has put them by hand.
_is_deployed = False


class CannotLoad(Exception):
    """The modules do not import or are not what the scan promised. `report`: error, why, try, where it is, the line there, and a traceback,
    each of the last three or None; and `others` of the same kind, where there are any."""

    def __init__(self, what: str, why: str, remedy: str, *, at: _Place | None = None, trace: str | None = None) -> None:
        super().__init__(what)
        where, line = at or (None, None)
        self.report: dict[str, Any] = {"error": what, "why": why, "try": remedy, "at": where, "line": line, "traceback": trace}


#: So many functions that cannot be served are told one by one: what is told has to fit into a packet.
_MOST_TOLD = 20


def _all_of(failed: list[CannotLoad]) -> CannotLoad:
    """All that is wrong, as one: the first, with the others."""
    first, *others = failed
    told = [other.report for other in others[: _MOST_TOLD - 1]]
    if more := len(others) - len(told):
        told.append(CannotLoad(f"{more} further functions cannot be served", "for reasons of their own", "mend those above first").report)
    first.report["others"] = told
    return first


def routes(config: Config) -> list[Route | Job]:
    """The routes of `config["functions"]`, or what its jobs call, in that order; none for a live endpoint, which imports with its first call."""
    global _is_deployed
    state.endpoint, _is_deployed = config["endpoint"], "deployment" in config
    if not config["functions"]:
        return []
    if overlay := config.get("overlay"):
        from .. import _overlay

        _overlay.stand_before(overlay)
    state.variables = config.get("env", {})
    os.environ.update(state.variables)
    found: list[Route | Job] = []
    failed: list[CannotLoad] = []
    for declared in config["functions"]:
        try:
            module = _import(declared["module"])
        except CannotLoad as problem:
            # A module is not run a second time for its next function.
            raise _all_of([*failed, problem]) from problem.__cause__
        try:
            found.append(_made(module, declared, config["inline"]))
        except CannotLoad as problem:
            failed.append(problem)
    if failed:
        raise _all_of(failed) from failed[0].__cause__
    return found


def _made(module: ModuleType, declared: Declared, inline: bool) -> Route | Job:
    """The route of a function, or what its jobs call."""
    from .inputs import Job
    from .routes import Route

    stub = _resolve(module, declared)
    local = getattr(stub, "__flash_local__", False)  # it is the function itself, whatever wraps it
    function = stub if local else getattr(stub, "__wrapped__", None)
    promised = getattr(stub, "__remote_config__", None)
    if not callable(function) or promised is None:
        raise _not_as_scanned(declared, "it is not decorated with `@remote` any more", stub)
    method, path = declared.get("method"), declared.get("path")
    if (promised["method"], promised["path"]) != (method, path):
        raise _not_as_scanned(declared, f"it serves {promised['method']} {promised['path']} when imported", function)
    try:
        made: Route | Job
        if method is None or path is None:
            made = Job(function, inline)
        else:
            made = Route(function, method, path)
            _warn_of_wrapped(made, function, declared)
        _warn_of_missing(function, promised["dependencies"], promised["system_dependencies"])
        return made
    except Exception as error:
        why, remedy = _said(error)
        raise CannotLoad(
            f"`{declared['qualname']}` cannot serve {'jobs' if method is None else f'{method} {path}'}",
            why,
            remedy or "change its signature",
            at=_place(declared, function),
        ) from error


def start(found: list[Route | Job]) -> None:
    """Makes the instances of classes, for a deployment to know that it can. Raises `CannotLoad`."""
    for job in found:
        try:
            job.start()
        except BaseException as error:
            why, remedy = _said(error)
            if not remedy and isinstance(error, TypeError) and "__init__()" in str(error):
                remedy = "give each parameter of `__init__` a default: a deployed class is made without arguments"
            raise CannotLoad(
                f"no `{job.name}` could be made",
                f"{type(error).__name__}: {why}",
                remedy or "mend its `__init__`, which runs once a worker, before the first job",
                trace=failures.trimmed(error),
            ) from error


def _warn_of_wrapped(route: Route, function: Callable[..., object], declared: Declared) -> None:
    """A model that may be None is no body, in the reference as here: sent as if it were, all of it would be dropped in silence."""
    from . import signatures

    if route.plan.body != "fields" or len(in_body := route.plan.at("body")) != 1:
        return
    (annotation,) = (argument.annotation for argument in signatures.read(function) if argument.name == in_body[0].name)
    if any(signatures.is_model(branch) for branch in signatures.branches(annotation)):
        key = in_body[0].key
        place, line = _place(declared, function)
        print(
            f"warning: `{in_body[0].name}` of `{route.name}` is a key of the body, and not the body itself\n"
            f"   at: {place}\n         {line}\n"
            "  why: a pydantic model alone is the body only if it must be there; this may be something else\n"
            f'  try: send {{"{key}": {{...}}}}, or annotate it with the model alone',
            file=sys.stderr,
        )


def _warn_of_missing(function: Callable[..., object], dependencies: list[str] | None, system: list[str] | None) -> None:
    """Whatever imports them at the module's level has failed before; who does in the function would fail at the first request."""
    from .. import _dependencies
    from .._errors import ConfigurationError, DependencyMissing

    try:
        _dependencies.check(function, dependencies or [])
    except (DependencyMissing, ConfigurationError) as error:
        print(f"warning: {error}", file=sys.stderr)
    if system:
        from .. import _system

        if absent := _system.absent(system):
            what, why, remedy = _system.told(function.__qualname__, absent)
            print(f"warning: {what}\n  why: {why}\n  try: {remedy}", file=sys.stderr)


def _import(module: Module) -> ModuleType:
    _find_from(module)
    try:
        with state.imports(), _exit_told(module):
            imported = importlib.import_module(module["name"])
    except BaseException as error:
        what = f"cannot import module '{module['name']}'"
        why, remedy = _said(error)
        if isinstance(error, CalledWhileImporting):  # which says its line itself
            raise CannotLoad(what, f"{type(error).__name__}: {why}", remedy or "") from error
        place = failures.raised_at(error)
        if isinstance(error, KeyError) and place is None and module["name"] not in sys.modules:
            raise CannotLoad(
                what,
                "it takes itself out of `sys.modules` while it is imported, and Python's import then has nothing to return",
                "leave `sys.modules[__name__]` where it is",
                at=(_shown(module["file"], module), None),
            ) from error
        raising, line, text = (module["file"], None, None) if place is None else place
        raising = _shown(raising, module)
        raise CannotLoad(
            what,
            # Python has nothing to say of some, and of others no more than a status.
            f"{type(error).__name__}: {why or 'it was raised while the module was imported'}",
            remedy or _remedy(error, raising),
            at=(raising if line is None else f"{raising}:{line}", text),
            trace=failures.trimmed(error),
        ) from error
    file = getattr(imported, "__file__", None)
    if file is None or not _same(file, module["file"]):
        raise CannotLoad(
            f"cannot import module '{module['name']}'",
            f"the name stands for {file or 'a built-in module'}, not for {module['file']}",
            "rename the file",
        )
    return imported


#: Sends the report of what ends this process while it imports modules; set where somebody waits for it.
last_words: Callable[[dict[str, Any]], None] | None = None


@contextmanager
def _exit_told(module: Module) -> Iterator[None]:
    """Has `os._exit` tell where it was called: it ends the process, and leaves nothing that would."""
    real, importer = os._exit, os.getpid()
    importing = True

    def _exit(status: int) -> NoReturn:
        if importing and last_words is not None and os.getpid() == importer:  # a forked child may end as it likes
            place = failures.called_from(sys._getframe(1))
            file, line, text = (module["file"], None, None) if place is None else place
            shown = _shown(file, module)
            what = f"cannot import module '{module['name']}'"
            why = f"os._exit({status!r}) was called while it was imported"
            at = (shown if line is None else f"{shown}:{line}", text)
            last_words(CannotLoad(what, why, _remedy(SystemExit(), shown), at=at).report)
        real(status)

    os._exit = _exit
    try:
        yield
    finally:
        importing = False
        if os._exit is _exit:
            os._exit = real


#: What stands at the end of `sys.path` for modules that are imported from elsewhere.
_at_the_end: set[str] = set()


def _find_from(module: Module) -> None:
    """Has imports look in the module's folders: up to its base before all that is installed, and in the further ones after that, so that a
    project's `docs` or `redis`, say, stands for nothing that a script beside them never meant."""
    base = module["import_base"]
    path = module.get("import_path") or [base]
    end = path.index(base) + 1
    for folder in reversed(path[:end]):
        if folder in _at_the_end:
            _at_the_end.remove(folder)
            sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.insert(0, folder)
    for folder in path[end:]:
        if folder not in sys.path:
            sys.path.append(folder)
            _at_the_end.add(folder)


def _remedy(error: BaseException, file: str) -> str:
    """How to mend what `file` raised while it was imported."""
    if isinstance(error, SystemExit):
        return f'what serves does not end: put what ends the program in {file} under `if __name__ == "__main__":`'
    if isinstance(error, ImportError) and not failures.is_of_project(error):
        return f"install what {file} needs for {sys.executable}, or mend it"
    return f"mend {file}"


def _shown(file: str, module: Module) -> str:
    """A file as `flash` names it: from where it was started, or, of a deployment, from the project's root."""
    base = os.path.realpath(module["import_base"]) if _is_deployed else os.getcwd()
    try:
        relative = os.path.relpath(os.path.realpath(file) if _is_deployed else file, base)
    except (OSError, ValueError):  # the directory is gone, or the path is no path
        return file
    return file if relative.startswith(os.pardir) else relative


def _same(one: str, other: str) -> bool:
    """Whether two paths are one file. By the paths first: a file that is being saved is another one at every look, or none."""
    try:
        return os.path.realpath(one) == os.path.realpath(other) or os.path.samefile(one, other)
    except OSError:
        return False


def _resolve(module: ModuleType, declared: Declared) -> object:
    value: object = module
    for name in declared["qualname"].split("."):
        value = getattr(value, name, None)
    if value is None:
        raise _not_as_scanned(declared, "the imported module has no such name", None)
    return value


def _said(error: BaseException) -> tuple[str, str | None]:
    """What happened and why, in one line, and how to mend it where the error is one of ours and knows."""
    what, *rest = str(error).split("\n")
    parts = dict(line.strip().split(": ", 1) for line in rest if line.startswith(("  why: ", "  try: ")))
    return ": ".join(filter(None, (what, parts.get("why")))), parts.get("try")


def _not_as_scanned(declared: Declared, why: str, found: object) -> CannotLoad:
    return CannotLoad(
        f"`{declared['qualname']}` of {declared['module']['file']} is not what the file says",
        why,
        "define the function at module level, and leave its name to it",
        at=_place(declared, found),
    )


def _place(declared: Declared, found: object) -> _Place:
    """Where the function begins, its decorators included; its file alone where it is none of Python's."""
    while (inner := getattr(found, "__wrapped__", None)) is not None:
        found = inner
    module = declared["module"]
    code = getattr(found, "__code__", None)
    if code is None:
        return _shown(module["file"], module), None
    line = failures.line_of(code.co_filename, code.co_firstlineno)
    return f"{_shown(code.co_filename, module)}:{code.co_firstlineno}", line


class Surroundings:
    """What must not change while modules are imported, or else forking would not be safe."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._descriptors = _descriptors()
        self._tasks = _tasks()

    def changes(self) -> list[str]:
        """What changed, each as a phrase for the log; empty when forking is safe."""
        found = [f"the thread `{thread.name}`" for thread in threading.enumerate() if thread not in self._threads]
        if not found and _tasks() > self._tasks and not _known_to_restart():
            found.append("operating-system threads of a library")
        for descriptor, target in _descriptors().items():
            if self._descriptors.get(descriptor) != target and _is_shared_state(descriptor, target):
                found.append(f"the open descriptor `{target}`")
        accelerator: Any = sys.modules.get("torch.cuda")
        if accelerator is not None and accelerator.is_initialized():
            found.append("an initialised accelerator")
        return found


def _tasks() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the one that lists the directory
            continue
    return found


def _is_shared_state(descriptor: int, target: str) -> bool:
    """Two processes that share `descriptor` after a fork would get in each other's way."""
    if target == os.devnull or target.startswith(("/proc/", "/sys/", "/dev/urandom")):
        return False
    if not target.startswith("/"):
        return True  # a socket, a pipe, an epoll
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY


def _known_to_restart() -> bool:
    """OpenBLAS and OpenMP stop their threads before a fork and start them again on both sides."""
    try:
        with open("/proc/self/maps", encoding="utf-8") as maps:
            text = maps.read()
    except OSError:
        return False
    return any(library in text for library in ("openblas", "libgomp", "libomp", "libiomp"))
