"""More namespaces than one statement can lock and than one backend remembers: what must not grow with them, and what is refused."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from conftest import OURS
from test_concurrency import check_catalog, connect

INDEX = "many"
#: Beyond half the lock table of a server with default settings at three locks a namespace, and beyond what a backend remembers.
NAMESPACES = 1800
TOO_BROAD = psycopg.errors.ProgramLimitExceeded


@pytest.fixture(scope="module")
def admin(database):
    with connect(database) as connection:
        each, clients = (int(connection.execute(f"SHOW {name}").fetchone()[0]) for name in ("max_locks_per_transaction", "max_connections"))
        if each * clients > 2 * NAMESPACES * 4:
            pytest.skip("a server with a larger lock table")
        connection.execute("SELECT pc_create_index('many', 2, metric => 'euclidean')")
        for first in range(0, NAMESPACES, 100):
            connection.execute(
                "SELECT pc_upsert('many', 'n' || i, ARRAY['a', 'b'], ARRAY[('[1,' || i || ']')::vector, '[0,0]']) FROM generate_series(%s::int, %s) AS i",
                [first, first + 99],
            )
        yield connection


def query(connection, number: int) -> list[tuple]:
    return connection.execute("SELECT id, score FROM pc_query('many', %s, %s::vector)", [f"n{number}", f"[1,{number}]"]).fetchall()


def relations_cached(connection) -> int:
    """Index entries in the relation cache: each has a memory context of this name."""
    return connection.execute("SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'index info'").fetchone()[0]


def test_a_backend_lets_go_of_cold_namespaces(admin, database):
    with connect(database) as connection:
        held = []
        for number in range(NAMESPACES):
            assert query(connection, number)[0] == ("a", 0.0)
            # One that is used all the time is never let go of.
            if number % 100 == 0:
                assert query(connection, 7)[0] == ("a", 0.0)
                held.append(relations_cached(connection))
        assert held[-1] < 2 * 1024 + 200 < 2 * NAMESPACES
        assert max(held[-5:]) - min(held[-5:]) < 100
        # Writing to those let go of, and reading them again.
        for number in (0, 1, 500, NAMESPACES - 1):
            connection.execute("SELECT pc_upsert('many', %s, 'c', '[9,9]'::vector)", [f"n{number}"])
            assert [id for id, _ in query(connection, number)].count("c") == 1
            connection.execute("SELECT pc_delete('many', %s, ids => ARRAY['c'])", [f"n{number}"])
        before = relations_cached(connection)
        connection.execute("SELECT pc_describe_index_stats('many'); SELECT * FROM pc_usage('many')").fetchall()
        connection.execute("""SELECT * FROM pc_list_namespaces('many', "limit" => 2000)""").fetchall()
        assert relations_cached(connection) <= before + 20


def test_within_an_open_scan(admin, database):
    """Leaves that are let go of while a statement reads them stay open for it."""
    with connect(database) as connection:
        rows = connection.execute(
            "SELECT i, (SELECT id FROM pc_query('many', 'n' || i, '[0,0]'::vector, 1)), l.id"
            "  FROM many AS l, generate_series(0, %s) AS i WHERE l.namespace = 'n0' AND l.id = 'a'",
            [NAMESPACES - 1],
        ).fetchall()
        assert rows == [(number, "b", "a") for number in range(NAMESPACES)]


def test_all_at_once_by_functions(admin):
    stats = admin.execute("SELECT pc_describe_index_stats('many')").fetchone()[0]
    assert stats["total_record_count"] == 2 * NAMESPACES and len(stats["namespaces"]) == NAMESPACES
    sizes = dict(admin.execute("SELECT name, bytes FROM pc_list_namespaces('many', 'n17', 5)").fetchall())
    for name, size in sizes.items():
        table = f"(SELECT leaf FROM conifer.namespaces WHERE namespace = '{name}')"
        assert admin.execute(f"SELECT pg_total_relation_size({table})").fetchone() == (size,)
    found = admin.execute("SELECT namespace, id FROM pc_query_namespaces('many', prefix => '', vector => '[1,1234]'::vector, top_k => 1)").fetchall()
    assert found == [("n1234", "a")]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) FROM many",
        "UPDATE many SET metadata = NULL",
        "DELETE FROM many",
        "SELECT m.id FROM many AS m JOIN generate_series(1, 2) AS i ON m.namespace = 'n' || i",
        "SELECT pc_delete_index('many')",
        "DROP TABLE many",
        "DROP TABLE IF EXISTS nothing, many CASCADE",
        "DROP INDEX many_namespace_id_idx",
        "TRUNCATE many",
        "LOCK TABLE many IN ACCESS SHARE MODE",
        "ANALYZE many",
        "VACUUM (ANALYZE) many (id)",
        "CREATE INDEX ON many (metadata)",
        "REINDEX TABLE many",
        "REINDEX INDEX many_namespace_id_idx",
        "ALTER TABLE many ADD COLUMN more text",
        "ALTER TABLE many ENABLE ROW LEVEL SECURITY, ADD CHECK (id <> '')",
        "ALTER TABLE many RENAME COLUMN metadata TO m",
        "CREATE TRIGGER t BEFORE UPDATE ON many FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ],
)
def test_too_broad(admin, statement):
    with pytest.raises(TOO_BROAD) as error:
        admin.execute(statement)
    assert error.value.diag.message_hint
    assert "out of shared memory" not in str(error.value)
    assert admin.execute("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()").fetchone()[0] < 20


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE many ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE many OWNER TO postgres",
        "ALTER TABLE ONLY many ALTER COLUMN metadata SET DEFAULT '{}'",
        "CREATE POLICY all_of_them ON many USING (true)",
        "GRANT SELECT ON many TO pg_monitor",
        "COMMENT ON TABLE many IS 'tenants'",
        "CREATE TRIGGER t AFTER UPDATE ON many EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE INDEX ON ONLY many (metadata)",
        "DROP TABLE IF EXISTS nothing",
        "ALTER TABLE many RENAME TO fewer",
    ],
)
def test_of_the_table_alone(admin, statement):
    """What locks no leaf is not refused."""
    with admin.transaction(force_rollback=True):
        admin.execute(statement)


@pytest.mark.parametrize(
    "grant, statement, state",
    [
        ("USAGE ON SCHEMA public", "TRUNCATE many", "42501"),
        ("USAGE ON SCHEMA public", "DROP TABLE many", "42501"),
        ("USAGE ON SCHEMA public", "LOCK TABLE many", "42501"),
        ("USAGE ON SCHEMA public", "SELECT count(*) FROM many", "42501"),
        ("USAGE ON SCHEMA public", "EXPLAIN SELECT count(*) FROM (SELECT * FROM many OFFSET 0) AS m", "42501"),
        ("SELECT (id) ON many", "SELECT namespace FROM many", "42501"),
        ("SELECT ON many", "DELETE FROM many", "42501"),
        ("SELECT ON many", "SELECT count(*) FROM many", "54000"),
        ("SELECT (id) ON many", "SELECT id FROM many", "54000"),
        ("SELECT ON many", "LOCK TABLE many IN ACCESS SHARE MODE", "54000"),
        ("SELECT ON many", "DROP TABLE many", "42501"),
    ],
)
def test_others_are_not_told_how_many_there_are(admin, grant, statement, state):
    with admin.transaction(force_rollback=True):
        admin.execute(f"CREATE ROLE counter; GRANT USAGE ON SCHEMA {OURS}, public TO counter; GRANT {grant} TO counter; SET LOCAL ROLE counter")
        with pytest.raises(psycopg.Error) as error, admin.transaction():
            admin.execute(statement)
        assert error.value.sqlstate == state
        assert str(NAMESPACES) not in str(error.value)


def test_before_conifer_was_used(admin, database):
    """A connection's first statement is refused likewise where the library is loaded beforehand."""
    dsn = make_conninfo(database, options="-c search_path=ours,public -c session_preload_libraries=conifer")
    with psycopg.connect(dsn, autocommit=True) as connection, pytest.raises(TOO_BROAD) as error:
        connection.execute("TRUNCATE many")
    assert "max_locks_per_transaction to " in error.value.diag.message_hint


def test_narrow_enough(admin):
    assert admin.execute("SELECT count(*) FROM many WHERE namespace = 'n3'").fetchone() == (2,)
    assert admin.execute("SELECT count(*) FROM many WHERE namespace IN ('n3', 'n5')").fetchone() == (4,)
    names = [f"n{number}" for number in range(200)]
    assert admin.execute("SELECT count(*) FROM many WHERE namespace = ANY (%s)", [names]).fetchone() == (400,)


def test_prepared_statements(admin):
    """PostgreSQL tries a plan for any parameters at the sixth execution: none that opens all namespaces is made."""
    admin.execute("PREPARE one AS SELECT id FROM many WHERE namespace = $1 ORDER BY id")
    admin.execute("PREPARE within AS WITH w AS (SELECT * FROM (SELECT * FROM many WHERE namespace = $1) AS m) SELECT id FROM w ORDER BY id")
    admin.execute("PREPARE change AS UPDATE many SET metadata = $2 WHERE namespace = $1 AND id = 'a'")
    for number in range(12):
        for name in ("one", "within"):
            assert admin.execute(f"EXECUTE {name} ('n{number}')").fetchall() == [("a",), ("b",)]
        assert admin.execute(f"EXECUTE change ('n{number}', NULL)").rowcount == 1
    counted = admin.execute(
        "CREATE FUNCTION pg_temp.sizes() RETURNS bigint LANGUAGE plpgsql AS $$"
        " DECLARE total bigint := 0; name text;"
        " BEGIN FOR i IN 0..19 LOOP name := 'n' || i; total := total + (SELECT count(*) FROM many WHERE namespace = name); END LOOP; RETURN total; END $$;"
        "SELECT pg_temp.sizes()"
    )
    counted.nextset()
    assert counted.fetchone() == (40,)
    admin.execute("SET plan_cache_mode = force_generic_plan")
    for call in ("one ('n1')", "within ('n1')", "change ('n1', NULL)"):
        with pytest.raises(TOO_BROAD):
            admin.execute(f"EXECUTE {call}")
    admin.execute("RESET plan_cache_mode")
    assert admin.execute("EXECUTE one ('n1')").fetchall() == [("a",), ("b",)]


def test_deleted_in_batches(admin, database):
    """What was dropped stays dropped when it is broken off, and it goes on from there."""
    check_catalog_of_some(admin)
    for call, state in (
        ("CALL pc_delete_index_in_batches('none')", "42704"),
        ("CALL pc_delete_index_in_batches('many', 0)", "22023"),
        ("CALL pc_delete_index_in_batches(NULL)", "22004"),
    ):
        with pytest.raises(psycopg.Error) as error:
            admin.execute(call)
        assert error.value.sqlstate == state
    with pytest.raises(psycopg.errors.InvalidTransactionTermination), admin.transaction():
        admin.execute("CALL pc_delete_index_in_batches('many', 5)")
    left = "SELECT count(*) FROM conifer.namespaces"
    assert admin.execute(left).fetchone() == (NAMESPACES,)
    admin.execute("SELECT pc_configure_index('many', deletion_protection => 'enabled')")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        admin.execute("CALL pc_delete_index_in_batches('many')")
    admin.execute("SELECT pc_configure_index('many', deletion_protection => 'disabled')")
    with connect(database) as blocker, connect(database) as worker:
        blocker.execute("BEGIN; SELECT * FROM pc_query('many', 'n1500', '[1,2]'::vector)")
        worker.execute("SET lock_timeout = '200ms'; SET client_min_messages = warning")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            worker.execute("CALL pc_delete_index_in_batches('many', 50)")
        rest = admin.execute(left).fetchone()[0]
        assert 0 < rest < NAMESPACES and rest % 50 == 0
        assert query(admin, 1500)[0] == ("a", 0.0)
        blocker.execute("COMMIT")
        worker.execute("CALL pc_delete_index_in_batches('many')")
    assert admin.execute(left).fetchone() == (0,)
    assert admin.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'conifer_data'::regnamespace").fetchone() == (0,)
    with pytest.raises(psycopg.errors.UndefinedObject):
        query(admin, 1500)


def check_catalog_of_some(connection) -> None:
    connection.execute("SELECT pc_create_index('few', 2)")
    connection.execute("SELECT pc_upsert('few', 'n' || i, 'a', '[1,1]'::vector) FROM generate_series(1, 3) AS i")
    check_catalog(connection, "few")
    connection.execute("CALL pc_delete_index_in_batches('few', 2)")
    assert connection.execute("SELECT count(*) FROM conifer.indexes WHERE name = 'few'").fetchone() == (0,)
