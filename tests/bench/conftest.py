"""The server that the bench's own test runs on."""

import os

import psycopg
import pytest


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
