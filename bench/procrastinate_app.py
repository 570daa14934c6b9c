"""The smallest job as Procrastinate has it, and its tables."""

import os

from procrastinate import App, PsycopgConnector
from psycopg import AsyncConnection

CONNECTIONS = 16
"""As many as the worker and the load have each: with more PostgreSQL does no more."""

conninfo = os.environ["BENCH_POSTGRES"]
app = App(connector=PsycopgConnector(conninfo=conninfo, min_size=CONNECTIONS, max_size=CONNECTIONS))

TELL = """
CREATE FUNCTION bench_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('bench_ended', NEW.id || ' ' || NEW.status);
    RETURN NULL;
END $$;
CREATE TRIGGER bench_tell AFTER UPDATE OF status ON procrastinate_jobs
    FOR EACH ROW WHEN (NEW.status NOT IN ('todo', 'doing')) EXECUTE FUNCTION bench_tell();
"""
"""Procrastinate tells nobody of a job's end. This does, as it tells workers of new jobs itself."""


@app.task(name="nothing")
async def nothing() -> None:
    pass


async def prepare() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
    async with await AsyncConnection.connect(conninfo, autocommit=True) as line:
        await line.execute(TELL)
