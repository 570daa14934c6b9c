"""A signal's handler makes a call while this script's first one starts the session."""

import os
import signal

from runpod_flash import LiveLoadBalancer, _session, remote

api = LiveLoadBalancer(name="signalled")


@remote(api, method="POST", path="/echo")
def echo(value):
    return value, os.getpid()


def main():
    """However the two sessions come about, one is left for all calls."""
    spawn, came = _session._spawn, []

    def interrupted(*arguments):
        _session._spawn = spawn
        signal.raise_signal(signal.SIGUSR1)
        return spawn(*arguments)

    signal.signal(signal.SIGUSR1, lambda *_: came.append(echo("in the handler")))
    _session._spawn = interrupted
    came.append(echo("first"))
    came.append(echo("second"))
    print([value for value, _ in came])
    assert len({worker for _, worker in came}) == 1, came


if __name__ == "__main__":
    main()
