"""The README's SQL and Python blocks do what it says: run in order, outputs compared where the README shows one."""

import os
import pathlib
import re
import subprocess
import sys

import psycopg
import pytest
from psycopg import sql

README = pathlib.Path(__file__).parents[2] / "README.md"
DATABASE = "conifer_readme"
FENCE = re.compile(r"^```(sql|python)\n(.*?)^```\n(?:\n?```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def blocks():
    """Each block as (line, language, code, shown output or None)."""
    text = README.read_text()
    return [
        (text.count("\n", 0, match.start()) + 1, match[1], match[2], match[3])
        for match in FENCE.finditer(text)
    ]


@pytest.fixture(scope="module")
def database():
    """An empty database; it and the roles that the README makes go afterwards."""
    with psycopg.connect(os.environ["CONIFER_TEST_DSN"], autocommit=True) as connection:
        roles = "SELECT array_agg(rolname::text) FROM pg_roles"
        before = connection.execute(roles).fetchone()[0]
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
        connection.execute(f"CREATE DATABASE {DATABASE}")
        info = connection.info
        yield dict(os.environ, PGHOST=info.host, PGPORT=str(info.port), PGUSER=info.user, PGDATABASE=DATABASE)
        connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
        for role in set(connection.execute(roles).fetchone()[0]) - set(before):
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def run_sql(code, environment, stop):
    command = ["psql", "--no-psqlrc", "--quiet", "--pset", "pager=off", "--set", f"ON_ERROR_STOP={stop}"]
    done = subprocess.run(
        command, input=code, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.returncode, done.stdout


def run_python(code, environment):
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.returncode, done.stdout


def trimmed(output):
    """Lines without trailing blanks and without empty lines, which psql prints after a table."""
    return [line.rstrip() for line in output.splitlines() if line.strip()]


def test_the_readme_has_blocks_with_outputs():
    found = blocks()
    assert len(found) >= 10
    assert sum(shown is not None for *_, shown in found) >= 5


def test_every_block_does_what_the_readme_shows(database):
    for line, language, code, shown in blocks():
        expects_error = shown is not None and "ERROR:" in shown
        if language == "sql":
            status, output = run_sql(code, database, 0 if expects_error else 1)
        else:
            status, output = run_python(code, database)
        assert status == 0, f"README.md line {line}:\n{code}\n{output}"
        if shown is not None:
            assert trimmed(output) == trimmed(shown), f"README.md line {line}:\n{code}"
