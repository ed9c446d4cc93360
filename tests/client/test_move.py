"""Renaming and copying namespaces: what goes with them, rights, altered indexes, and many clients at once."""

from __future__ import annotations

import threading

import psycopg
import pytest

from conftest import OURS
from test_concurrency import WAIT, check_catalog, connect, together

DIMENSION = 4
QUERY = "[100, 2, 0, 1]"


@pytest.fixture
def index(database, request):
    """The name of an index with a namespace `a` of some thousand records, of which some lack the vector or the metadata."""
    name = request.node.name.split("[")[0].replace("test_", "").replace("_", "-")[:45].strip("-")
    with connect(database) as connection:
        connection.execute("SELECT pc_create_index(%s, %s, metric => 'euclidean')", [name, DIMENSION])
        fill(connection, name, "a", 3000)
        yield name
        check_catalog(connection, name)
        check_indexes(connection, name)
        connection.execute("SELECT pc_delete_index(name) FROM pc_list_indexes()")


def fill(connection, index: str, namespace: str, records: int) -> None:
    connection.execute(
        "SELECT pc_upsert(%s, %s, array_agg(g::text), array_agg(array[g, mod(g, 7), mod(g, 5), 1]::real[]::vector), array_agg(CASE WHEN mod(g, 9) > 0 THEN jsonb_build_object('g', g) END))"
        " FROM generate_series(1, %s) g",
        [index, namespace, records],
    )
    root = f'"{index}"'
    connection.execute(f"INSERT INTO {root} VALUES (%s, 'without', NULL, '{{}}')", [namespace])
    connection.execute(f"INSERT INTO {root} VALUES (%s, 'long', %s, %s::jsonb)", [namespace, QUERY, f'{{"x": "{"long " * 1500}"}}'])


def check_indexes(connection, index: str) -> None:
    """Every leaf has the root's indexes, valid, attached and right."""
    leaves = connection.execute("SELECT relation FROM pc_list_namespaces(%s)", [index]).fetchall()
    for (leaf,) in leaves:
        indexes = connection.execute(
            "SELECT indexrelid::regclass::text, amname, indisvalid, relispartition FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam"
            " WHERE indrelid = %s::regclass",
            [leaf],
        ).fetchall()
        assert sorted(row[1] for row in indexes) == ["btree", "conifer"]
        assert all(row[2:] == (True, True) for row in indexes)
        for name, method, _, _ in indexes:
            if method == "conifer":
                assert connection.execute("SELECT * FROM conifer_check(%s::regclass)", [name]).fetchall() == []


def records(connection, index: str, namespace: str) -> list:
    return connection.execute(
        f'SELECT id, "values"::text, metadata FROM "{index}" WHERE namespace = %s ORDER BY id', [namespace]
    ).fetchall()


def nearest(connection, index: str, namespace: str) -> list:
    return connection.execute("SELECT id, score FROM pc_query(%s, %s, %s::vector, 5)", [index, namespace, QUERY]).fetchall()


def leaf_of(connection, index: str, namespace: str) -> str:
    return connection.execute("SELECT relation FROM pc_list_namespaces(%s) WHERE name = %s", [index, namespace]).fetchone()[0]


def refused(connection, state: type, statement: str, *parameters) -> None:
    with pytest.raises(state):
        connection.execute(statement, parameters)


def test_a_copy_has_the_same_records(database, index):
    with connect(database) as connection:
        before = records(connection, index, "a")
        assert connection.execute("SELECT pc_copy_namespace(%s, 'a', 'b')", [index]).fetchone() == (3002,)
        assert records(connection, index, "b") == records(connection, index, "a") == before
        assert nearest(connection, index, "b") == nearest(connection, index, "a")
        # each goes its own way
        connection.execute("SELECT pc_delete(%s, 'b', ids => ARRAY['100'])", [index])
        assert records(connection, index, "a") == before
        # into another index, with another metric
        connection.execute("SELECT pc_create_index('other', %s)", [DIMENSION])
        assert connection.execute("SELECT pc_copy_namespace(%s, 'a', 'a', 'other')", [index]).fetchone() == (3002,)
        assert records(connection, "other", "a") == before
        check_catalog(connection, "other")
        check_indexes(connection, "other")
        # an empty one
        connection.execute("SELECT pc_create_namespace(%s, 'none')", [index])
        assert connection.execute("SELECT pc_copy_namespace(%s, 'none', 'none too')", [index]).fetchone() == (0,)


def test_a_renamed_one_keeps_its_table_and_rights(database, index):
    with connect(database) as connection:
        leaf, before, found = leaf_of(connection, index, "a"), records(connection, index, "a"), nearest(connection, index, "a")
        connection.execute("DROP ROLE IF EXISTS one_tenant")
        connection.execute("CREATE ROLE one_tenant")
        connection.execute(f"GRANT SELECT ON {leaf} TO one_tenant; GRANT USAGE ON SCHEMA {OURS} TO one_tenant")
        connection.execute(f"ALTER TABLE {leaf} SET (autovacuum_enabled = off)")
        # a name of another bucket, one of the same, and a canonical form
        for name in ("z", "größe", "__default__", "a'; --"):
            old = connection.execute("SELECT name FROM pc_list_namespaces(%s)", [index]).fetchone()[0]
            connection.execute("SELECT pc_rename_namespace(%s, %s, %s)", [index, old, name])
            assert leaf_of(connection, index, name) == leaf
            assert records(connection, index, name) == before
            assert nearest(connection, index, name) == found
            assert nearest(connection, index, "a") == []
        storage = connection.execute(
            "SELECT string_agg(attstorage::text, '' ORDER BY attnum) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum BETWEEN 1 AND 4", [leaf]
        )
        assert storage.fetchone() == ("mmmx",)
        options = connection.execute("SELECT reloptions FROM pg_class WHERE oid = %s::regclass", [leaf]).fetchone()[0]
        assert sorted(options) == ["autovacuum_enabled=off", "toast_tuple_target=8160"]
        assert connection.execute("SELECT has_table_privilege('one_tenant', %s, 'SELECT')", [leaf]).fetchone() == (True,)
        connection.execute("SELECT pc_rename_namespace(%s, %s, 'a')", [index, "a'; --"])
        connection.execute("SET ROLE one_tenant")
        assert nearest(connection, index, "a") == found
        connection.execute("RESET ROLE")
        connection.execute("SELECT pc_upsert(%s, 'a', 'new', %s::vector)", [index, QUERY])
        assert nearest(connection, index, "a") != found
        connection.execute(f"REVOKE ALL ON {leaf} FROM one_tenant; REVOKE ALL ON SCHEMA {OURS} FROM one_tenant; DROP ROLE one_tenant")


def test_errors_change_nothing(database, index):
    with connect(database) as connection:
        before = records(connection, index, "a")
        connection.execute("SELECT pc_create_namespace(%s, 'b')", [index])
        for function in ("pc_rename_namespace", "pc_copy_namespace"):
            refused(connection, psycopg.errors.UndefinedObject, f"SELECT {function}(%s, 'none', 'c')", index)
            refused(connection, psycopg.errors.UndefinedObject, f"SELECT {function}('none', 'a', 'c')")
            refused(connection, psycopg.errors.DuplicateObject, f"SELECT {function}(%s, 'a', 'b')", index)
            refused(connection, psycopg.errors.DuplicateObject, f"SELECT {function}(%s, 'a', 'a')", index)
            refused(connection, psycopg.errors.ProgramLimitExceeded, f"SELECT {function}(%s, 'a', repeat('n', 513))", index)
            refused(connection, psycopg.errors.NullValueNotAllowed, f"SELECT {function}(%s, 'a', NULL)", index)
        connection.execute("SELECT pc_create_index('narrow', 3)")
        refused(connection, psycopg.errors.DataException, "SELECT pc_copy_namespace(%s, 'a', 'a', 'narrow')", index)
        # a vector of zeros has no direction
        connection.execute("SELECT pc_create_index('angles', %s)", [DIMENSION])
        connection.execute("SELECT pc_upsert(%s, 'b', 'zero', '[0,0,0,0]'::vector)", [index])
        refused(connection, psycopg.errors.DataException, "SELECT pc_copy_namespace(%s, 'b', 'b', 'angles')", index)
        # all or nothing
        with pytest.raises(psycopg.errors.DivisionByZero), connection.transaction():
            connection.execute("SELECT pc_rename_namespace(%s, 'a', 'c'), pc_copy_namespace(%s, 'b', 'd')", [index, index])
            assert records(connection, index, "c") == before
            connection.execute("SELECT 1 / 0")
        assert records(connection, index, "a") == before
        names = connection.execute("SELECT name FROM pc_list_namespaces(%s)", [index]).fetchall()
        assert names == [("a",), ("b",)]


def test_rights(database, index):
    with connect(database) as connection:
        for role in ("reader", "writer"):
            connection.execute(f"DROP ROLE IF EXISTS {role}")
            connection.execute(f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA {OURS} TO {role}")
        connection.execute(f'GRANT SELECT ON "{index}" TO reader; GRANT SELECT, INSERT ON "{index}" TO writer')
        denied = psycopg.errors.InsufficientPrivilege
        connection.execute("SET ROLE reader")
        for name in ("a", "none"):  # whether there is such a namespace or not
            refused(connection, denied, "SELECT pc_copy_namespace(%s, %s, 'b')", index, name)
            refused(connection, denied, "SELECT pc_rename_namespace(%s, %s, 'b')", index, name)
        connection.execute("SET ROLE writer")
        assert connection.execute("SELECT pc_copy_namespace(%s, 'a', 'b')", [index]).fetchone() == (3002,)
        refused(connection, denied, "SELECT pc_rename_namespace(%s, 'a', 'c')", index)
        # what row security hides is not copied
        connection.execute("RESET ROLE")
        connection.execute(f'ALTER TABLE "{index}" ENABLE ROW LEVEL SECURITY; GRANT DELETE ON "{index}" TO writer')
        connection.execute(f"CREATE POLICY begin_with_1 ON \"{index}\" USING (id LIKE '1%') WITH CHECK (true)")
        connection.execute("SET ROLE writer")
        assert connection.execute("SELECT pc_copy_namespace(%s, 'a', 'd')", [index]).fetchone() == (1111,)
        refused(connection, denied, "SELECT pc_rename_namespace(%s, 'a', 'c')", index)
        connection.execute("RESET ROLE")
        assert connection.execute("SELECT pc_count(%s, 'd')", [index]).fetchone() == (1111,)
        for role in ("reader", "writer"):
            connection.execute(f'REVOKE ALL ON "{index}" FROM {role}; REVOKE ALL ON SCHEMA {OURS} FROM {role}; DROP ROLE {role}')


def test_further_columns_and_triggers(database, index):
    with connect(database) as connection:
        root = f'"{index}"'
        connection.execute(f"ALTER TABLE {root} ADD gone int; ALTER TABLE {root} ADD \"Note\" text; ALTER TABLE {root} ADD length int GENERATED ALWAYS AS (octet_length(id)) STORED")
        connection.execute(f"ALTER TABLE {root} DROP gone")
        connection.execute(f"UPDATE {root} SET \"Note\" = 'of ' || id WHERE id LIKE '2%'")
        everything = f'SELECT id, "values"::text, metadata, "Note", length FROM {root} WHERE namespace = %s ORDER BY id'
        before = connection.execute(everything, ["a"]).fetchall()
        assert any(row[3] for row in before)
        assert connection.execute("SELECT pc_copy_namespace(%s, 'a', 'b')", [index]).fetchone() == (3002,)
        connection.execute("SELECT pc_rename_namespace(%s, 'a', 'c')", [index])
        assert connection.execute(everything, ["b"]).fetchall() == connection.execute(everything, ["c"]).fetchall() == before
        connection.execute("CREATE FUNCTION upper_id() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.id := 'N' || NEW.id; RETURN NEW; END$$")
        connection.execute(f"CREATE TRIGGER t BEFORE INSERT ON {root} FOR EACH ROW EXECUTE FUNCTION upper_id()")
        connection.execute("SELECT pc_copy_namespace(%s, 'c', 'd'), pc_rename_namespace(%s, 'c', 'a')", [index, index])
        assert connection.execute(everything, ["a"]).fetchall() == before
        assert sorted(row[0] for row in connection.execute(everything, ["d"])) == sorted("N" + row[0] for row in before)


def test_renames_in_a_circle_while_others_write(database, index):
    """Every record that a client was told is written is in exactly one namespace at the end, and nobody sees a deadlock."""
    with connect(database) as connection:
        fill(connection, index, "b", 200)
    done = threading.Event()
    swaps = [("a", "b", "c"), ("b", "c", "a")]

    def work(connection, number):
        try:
            if number < 2:
                moved = 0
                for turn in range(12):
                    first, second, third = swaps[(number + turn) % 2]
                    for old, new in ((first, third), (second, first), (third, second)):
                        try:
                            connection.execute("SELECT pc_rename_namespace(%s, %s, %s)", [index, old, new])
                            moved += 1
                        except (psycopg.errors.UndefinedObject, psycopg.errors.DuplicateObject):
                            pass  # the other one was first
                return moved
        finally:
            if number < 2:
                done.set()
        written = []
        turn = 0
        while not done.is_set() or turn < 20:
            turn += 1
            id = f"c{number}-{turn}"
            namespace = "ab"[(turn + number) % 2]
            assert connection.execute("SELECT pc_upsert(%s, %s, %s, %s::vector)", [index, namespace, id, QUERY]).fetchone() == (1,)
            written.append(id)
            connection.execute("SELECT count(*) FROM pc_query(%s, %s, %s::vector, 3)", [index, namespace, QUERY])
            if turn % 7 == 0:
                try:
                    connection.execute("SELECT pc_copy_namespace(%s, %s, %s)", [index, namespace, f"copy {number} {turn}"])
                except psycopg.errors.UndefinedObject:
                    pass
        return written

    results = together(database, 6, work)
    errors = [result for result in results if isinstance(result, Exception)]
    assert errors == []
    assert results[0] + results[1] > 0
    with connect(database) as connection:
        for written in results[2:]:
            for id in written:
                found = connection.execute(f'SELECT count(*) FROM "{index}" WHERE id = %s AND namespace NOT LIKE %s', [id, "copy %"]).fetchone()
                assert found == (1,), id
        assert connection.execute(f"SELECT count(*) FROM \"{index}\" WHERE id = '2999' AND namespace NOT LIKE 'copy %'").fetchone() == (1,)


def test_whoever_waits_for_a_renamed_one_finds_none(database, index):
    """A query that waits sees no such namespace; an upsert that waits makes it anew."""
    with connect(database, autocommit=False) as first:
        first.execute("SELECT pc_rename_namespace(%s, 'a', 'b')", [index])
        results = {}

        def wait(name, statement, *parameters):
            with connect(database) as connection:
                results[name] = connection.execute(statement, parameters).fetchall()

        threads = [
            threading.Thread(target=wait, args=("query", "SELECT id FROM pc_query(%s, 'a', %s::vector, 3)", index, QUERY)),
            threading.Thread(target=wait, args=("upsert", "SELECT pc_upsert(%s, 'a', 'x', %s::vector)", index, QUERY)),
        ]
        for thread in threads:
            thread.start()
        with connect(database) as watcher:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            for _ in range(WAIT * 20):
                if watcher.execute(waiting).fetchone() == (2,):
                    break
                threading.Event().wait(0.05)
            assert watcher.execute(waiting).fetchone() == (2,)
        first.commit()
        for thread in threads:
            thread.join(WAIT)
    with connect(database) as connection:
        assert results["upsert"] == [(1,)]
        assert results["query"] in ([], [("x",)])
        assert records(connection, index, "a") == [("x", "[100,2,0,1]", None)]
        assert len(records(connection, index, "b")) == 3002
