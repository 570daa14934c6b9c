"""`celery_load.py CLIENTS SECONDS`: clients that `delay()` a job and `get()` its end.

Each is a thread, which Celery gives a connection and a consumer of results of its own.
"""

import sys
import threading
import time

from celery_app import nothing
from job_times import told

PATIENCE = 60


def load(clients: int, seconds: float) -> str:
    times: list[float] = []
    troubles: list[BaseException] = []
    ready = threading.Barrier(clients + 1)
    begun = 0.0

    def client() -> None:
        try:
            nothing.delay().get(timeout=PATIENCE)  # its connections are there then
            ready.wait(PATIENCE)
            end = time.perf_counter() + seconds
            while (start := time.perf_counter()) < end:
                nothing.delay().get(timeout=PATIENCE)
                times.append(time.perf_counter() - start)
        except BaseException as trouble:
            troubles.append(trouble)
            ready.abort()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        ready.wait(PATIENCE)
        begun = time.perf_counter()
    except threading.BrokenBarrierError:
        pass  # whoever broke it says why
    for thread in threads:
        thread.join()
    if troubles:
        sys.exit(f"a job of Celery did not come to its end: {troubles[0]!r}")
    return told(time.perf_counter() - begun, times)


if __name__ == "__main__":
    print(load(int(sys.argv[1]), float(sys.argv[2])))
