"""pg_dump and pg_restore: a restored database gives the same answers and goes on working.

CONIFER_TEST_BINDIR names the directory of the server's programs; without it pg_dump is taken from the path if it is of the
server's version.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import uuid

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from conftest import OURS


def program(name: str, server: str) -> str:
    found = shutil.which(name, path=os.environ.get("CONIFER_TEST_BINDIR") or os.environ.get("PATH"))
    if found is None:
        pytest.skip(f"no {name} here: set CONIFER_TEST_BINDIR")
    with psycopg.connect(server) as connection:
        wanted = connection.info.server_version // 10000
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(re.search(r"\) (\d+)", version)[1]) != wanted:
        pytest.skip(f"{found} is not of the server's version {wanted}: {version.strip()}")
    return found


def connect(dsn: str) -> psycopg.Connection:
    return psycopg.connect(dsn, options=f"-c search_path={OURS},app,public", autocommit=True)


@pytest.fixture
def restored(server):
    """Makes empty databases; drops them afterwards."""
    names: list[str] = []

    def make() -> str:
        names.append(f"conifer_restored_{uuid.uuid4().hex[:12]}")
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(names[-1])))
        return make_conninfo(server, dbname=names[-1])

    with psycopg.connect(server, autocommit=True) as admin:
        yield make
        for name in names:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


NAMESPACES = ["tenant1", "tenant2", "", "O'Neill \"& sons\"", "日本", "empty"]


def fill(connection: psycopg.Connection) -> None:
    connection.execute("CREATE SCHEMA app")
    connection.execute("SET search_path = app, ours, public")
    connection.execute("SELECT pc_create_index('first', 3, tags => '{\"team\": \"a\"}', deletion_protection => 'enabled')")
    connection.execute("SELECT pc_create_index('second', 3000, metric => 'euclidean', spec => '{\"serverless\": {\"cloud\": \"aws\"}}')")
    for number, namespace in enumerate(NAMESPACES[:-1]):
        for index, width in [("first", 3), ("second", 3000)]:
            records = [
                {
                    "id": f"r{n}",
                    "values": [1 / (n + number + dimension + 1) for dimension in range(width)],
                    "metadata": {"n": n, "text": "x" * 100 * n} if n % 3 else None,
                }
                for n in range(20)
            ]
            connection.execute("SELECT pc_upsert(%s, %s, %s)", [index, namespace, Jsonb(records)])
    connection.execute("SELECT pc_create_namespace('first', 'empty'), pc_create_namespace('second', 'empty')")
    connection.execute("SELECT pc_delete('first', 'tenant1', '{r1,r2}')")
    connection.execute("DO $$ BEGIN CREATE ROLE conifer_reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    connection.execute("GRANT SELECT ON first TO conifer_reader")


def answers(connection: psycopg.Connection) -> dict[str, object]:
    """Everything a user can ask, but for what a copy may differ in: sizes and when it was made."""
    found: dict[str, object] = {}
    for index, width in [("first", 3), ("second", 3000)]:
        found[index] = connection.execute("SELECT pc_describe_index(%s)", [index]).fetchone()
        query = "SELECT name, record_count FROM pc_list_namespaces(%s)"
        found[f"{index} namespaces"] = connection.execute(query, [index]).fetchall()
        columns = "SELECT attname, atttypid::regtype::text, atttypmod, attstorage, attcollation::regcollation::text FROM pg_attribute"
        query = f"{columns} WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum"
        found[f"{index} columns"] = connection.execute(query, [index]).fetchall()
        query = "SELECT reloptions FROM pg_class JOIN conifer.namespaces ON oid = leaf WHERE root = %s::regclass ORDER BY namespace"
        found[f"{index} options"] = connection.execute(query, [index]).fetchall()
        for namespace in NAMESPACES:
            vector = str([1.0] * width)
            for filter in [None, '{"n": 7}']:
                query = "SELECT *, values::text, metadata::text FROM pc_query(%s, %s, %s::vector, 20, %s::jsonb, true, true)"
                rows = connection.execute(query, [index, namespace, vector, filter]).fetchall()
                found[f"{index} {namespace} {filter}"] = rows
            query = f"SELECT id, values::text, metadata::text FROM app.{index} WHERE namespace = %s ORDER BY id COLLATE \"C\""
            found[f"{index} {namespace} sql"] = connection.execute(query, [namespace or "__default__"]).fetchall()
    query = "SELECT i.name, n.namespace, n.created_at FROM conifer.namespaces n JOIN conifer.indexes i USING (root) ORDER BY 1, 2"
    found["catalog"] = connection.execute(query).fetchall()
    return found


def go_on(connection: psycopg.Connection) -> None:
    """What a copy must be able to do: write, make namespaces in old and new buckets, drop, protect."""
    assert connection.execute("SELECT pc_upsert('first', 'tenant1', 'new', '[1,2,3]'::vector)").fetchone() == (1,)
    for n in range(30):
        query = "SELECT pc_upsert('first', %s, 'new', '[1,2,3]'::vector)"
        assert connection.execute(query, [f"new {n}"]).fetchone() == (1,)
    assert connection.execute("SELECT count(*) FROM first WHERE id = 'new'").fetchone() == (31,)
    assert connection.execute("SELECT pc_delete('second', '日本', delete_all => true)").fetchone() == (20,)
    assert connection.execute("SELECT count(*) FROM second WHERE namespace = '日本'").fetchone() == (0,)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        connection.execute("SELECT pc_delete_index('first')")
    connection.execute("SELECT pc_configure_index('first', 'disabled')")
    assert connection.execute("SELECT pc_delete_index('first')").fetchone() == (True,)
    connection.execute("DROP TABLE second")
    query = "SELECT (SELECT count(*) FROM conifer.namespaces), (SELECT count(*) FROM conifer.buckets), (SELECT count(*) FROM conifer.indexes)"
    assert connection.execute(query).fetchone() == (0, 0, 0)


def run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr


def test_dump_and_restore(server, database, restored, tmp_path):
    """As SQL text, and as an archive restored by two workers."""
    pg_dump, pg_restore, psql = (program(name, server) for name in ("pg_dump", "pg_restore", "psql"))
    with connect(database) as connection:
        fill(connection)
        before = answers(connection)
        assert len(before["first tenant1 None"]) == 18 and len(before["second 日本 {\"n\": 7}"]) == 1

    text, archive = str(tmp_path / "dump.sql"), str(tmp_path / "dump")
    run(pg_dump, "-d", database, "-f", text)
    run(pg_dump, "-d", database, "-Fd", "-j2", "-f", archive)
    by_text, by_archive = restored(), restored()
    run(psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", by_text, "-f", text)
    run(pg_restore, "-j2", "--exit-on-error", "-d", by_archive, archive)
    for copy in (by_text, by_archive):
        with connect(copy) as connection:
            assert answers(connection) == before
            go_on(connection)
    # a copy of a copy: what was made after the restore has names of its own
    with connect(database) as connection:
        assert answers(connection) == before
        go_on(connection)
        connection.execute("DROP OWNED BY conifer_reader; DROP ROLE IF EXISTS conifer_reader")
