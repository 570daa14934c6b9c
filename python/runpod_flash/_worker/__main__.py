"""The base zygote: `flash` starts it with its control channel as standard input."""

from __future__ import annotations

import json
import os
import resource
import socket
import sys


def main() -> None:
    """Moves the channel away from descriptor 0, says HELLO, and forks on command until the host goes away."""
    channel = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    control = socket.socket(fileno=channel)

    from . import frames, output, title, zygote

    output.install()

    options = json.loads(sys.argv[1])
    zygote.end_with_parent(options["parent"])
    title.show("base zygote", options["endpoint"])
    if options["open_files"] is not None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (options["open_files"], most))
    report: dict[str, object] = {"python": sys.version.split()[0], "executable": sys.executable, "pid": os.getpid()}
    if options["routes"]:
        try:
            import pydantic

            report["pydantic"] = pydantic.VERSION
            from .. import _remote, _resources  # noqa: F401 - imported here so that forked processes need not
            from . import inputs, jobs, load, routes, serve  # noqa: F401 - as above

            pydantic.TypeAdapter(int)  # has pydantic import what it puts off until it is used
        except ImportError as error:
            report["missing"] = str(error)
    else:
        from . import load, serve  # noqa: F401 - as above, without what only routes need
    control.send(frames.encode(frames.HELLO, 0, bytes((frames.VERSION,)) + json.dumps(report).encode()))
    zygote.serve(control, zygote.Held(), adopts=True)


main()
