"""The smallest job as Celery has it.

A job is acknowledged once its result is written (`acks_late`), as ours is: a worker that dies loses none. The worker takes as many jobs from Redis
ahead as there are clients: with the default of four it does half as many.
"""

import os

from celery import Celery

url = os.environ["BENCH_REDIS"]
app = Celery("celery_app", broker=url, backend=url)
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=64, worker_enable_remote_control=False, worker_send_task_events=False)


@app.task(name="nothing")
def nothing() -> None:
    pass
