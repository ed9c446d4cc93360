"""A fresh database with Conifer in schema `ours` and, where a test asks for it, pgvector in schema `theirs`.

CONIFER_TEST_DSN names a superuser's connection to a running server on which both extensions are available.
"""

import os
import uuid

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

OURS = "ours"
THEIRS = "theirs"


@pytest.fixture(scope="session")
def server() -> str:
    """The connection string of the server."""
    dsn = os.environ.get("CONIFER_TEST_DSN")
    if not dsn:
        pytest.exit("set CONIFER_TEST_DSN to a superuser's connection string", returncode=2)
    return dsn


@pytest.fixture(scope="module")
def database(server):
    """The connection string of a new database with Conifer in it; dropped afterwards."""
    name = f"conifer_client_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            dsn = make_conninfo(server, dbname=name)
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(f"CREATE SCHEMA {OURS}; CREATE EXTENSION conifer SCHEMA {OURS}")
            yield dsn
        finally:
            admin.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )


@pytest.fixture(scope="module")
def both(database):
    """The same with pgvector beside it, of the version whose behaviour is compared with."""
    with psycopg.connect(database, autocommit=True) as connection:
        query = "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'"
        version = connection.execute(query).fetchone()
        if version is None or not version[0].startswith("0.8."):
            pytest.skip(f"needs pgvector 0.8 on the server, found {version and version[0]}")
        connection.execute(f"CREATE SCHEMA {THEIRS}; CREATE EXTENSION vector SCHEMA {THEIRS}")
    return database


@pytest.fixture
def connection(database):
    """A connection whose search path finds Conifer's `vector`."""
    with psycopg.connect(database, options=f"-c search_path={OURS},public") as connection:
        yield connection
