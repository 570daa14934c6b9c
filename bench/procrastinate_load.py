"""`procrastinate_load.py CLIENTS SECONDS QUEUE`: clients that defer a job and wait for its end, of which they are told.

`procrastinate_load.py prepare` makes the tables.
"""

import asyncio
import sys
import time

from job_times import told
from procrastinate_app import app, conninfo, nothing, prepare
from psycopg import AsyncConnection

PATIENCE = 60


class Ends:
    """Who waits for which job; what ended before anybody waited for it."""

    def __init__(self) -> None:
        self.ended: dict[int, str] = {}
        self.waiting: dict[int, asyncio.Future[str]] = {}

    async def listen(self, line: AsyncConnection) -> None:
        async for notice in line.notifies():
            job, status = notice.payload.split(" ")
            if waits := self.waiting.pop(int(job), None):
                waits.set_result(status)
            else:
                self.ended[int(job)] = status

    async def of(self, job: int) -> None:
        status = self.ended.pop(job, None)
        if status is None:
            self.waiting[job] = asyncio.get_running_loop().create_future()
            status = await asyncio.wait_for(self.waiting[job], PATIENCE)
        if status != "succeeded":
            raise RuntimeError(f"a job of Procrastinate has {status}")


async def load(clients: int, seconds: float, queue: str) -> str:
    times: list[float] = []
    ends = Ends()
    job = nothing.configure(queue=queue)

    async def client(end: float) -> None:
        while (start := time.perf_counter()) < end:
            await ends.of(await job.defer_async())
            times.append(time.perf_counter() - start)

    async with app.open_async(), await AsyncConnection.connect(conninfo, autocommit=True) as line:
        await line.execute("LISTEN bench_ended")
        listening = asyncio.create_task(ends.listen(line))
        try:
            await ends.of(await job.defer_async())
            begun = time.perf_counter()
            await asyncio.gather(*(client(begun + seconds) for _ in range(clients)))
            took = time.perf_counter() - begun
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
    return told(took, times)


if __name__ == "__main__":
    if sys.argv[1:] == ["prepare"]:
        asyncio.run(prepare())
    else:
        print(asyncio.run(load(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])))
