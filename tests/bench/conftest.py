"""The server that the bench's own test runs on, and what a workload is given there."""

import os

import psycopg
import pytest

from conifer_bench import clients, generate, measure, system
from conifer_bench.context import Context


@pytest.fixture(scope="session")
def server() -> str:
    """A superuser's connection to a server with both extensions; tests that need it are skipped where there is none."""
    dsn = os.environ.get("CONIFER_TEST_DSN")
    if not dsn:
        pytest.skip("set CONIFER_TEST_DSN to a superuser's connection string")
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT name FROM pg_available_extensions WHERE name IN ('conifer', 'vector')"
        ).fetchall()
    missing = {"conifer", "vector"} - {name for (name,) in found}
    if missing:
        pytest.skip(f"needs {', '.join(sorted(missing))} on the server")
    return dsn


@pytest.fixture
def context(server, tmp_path):
    """What a workload is given, with a few made rows."""
    pool = clients.Clients(1)
    dsn = system.prepare(server)
    try:
        yield Context(
            dsn,
            generate.generate(3000, 32, queries=20),
            system.features(dsn),
            pool,
            tmp_path,
            measure.Noise(),
            tiny=True,
        )
    finally:
        pool.close()
        system.drop(server)
