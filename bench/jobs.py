"""What `cargo xtask bench` deploys to measure the queue: endpoints with the smallest job there is, each on one worker."""

import socket

from runpod_flash import LiveServerless, remote

alone = LiveServerless(name="alone", workersMin=1, workersMax=1)
waiting = LiveServerless(name="waiting", workersMin=1, workersMax=1)
beside = LiveServerless(name="beside", workersMin=1, workersMax=1)


def wait_for_the_bench(port: int) -> None:
    """Takes as long as the other end keeps the connection: what comes to this worker's endpoint meanwhile waits."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.recv(1)


@remote(alone)
def nothing() -> None:
    pass


@remote(waiting)
def nothing_waiting(port: int = 0) -> None:
    if port:
        wait_for_the_bench(port)


@remote(beside)
def nothing_beside(port: int = 0) -> None:
    if port:
        wait_for_the_bench(port)
