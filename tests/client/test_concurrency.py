"""Many clients at once: first upserts, the same ids, dropping while writing, isolation levels.

Every test ends with the same question: do catalog, tables and answers agree?
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.types.json import Jsonb

from conftest import OURS

WAIT = 30  # seconds until a client that should go on counts as stuck


def connect(dsn: str, autocommit: bool = True) -> psycopg.Connection:
    return psycopg.connect(dsn, options=f"-c search_path={OURS},public", autocommit=autocommit)


@pytest.fixture
def index(database, request):
    """The name of an index made for the test, checked and dropped after it."""
    name = request.node.name.split("[")[0].replace("test_", "").replace("_", "-")[:45].strip("-")
    with connect(database) as connection:
        connection.execute("SELECT pc_create_index(%s, 2)", [name])
        yield name
        check_catalog(connection, name)
        connection.execute("SELECT pc_delete_index(%s)", [name])
        left = connection.execute(
            "SELECT (SELECT count(*) FROM conifer.namespaces) + (SELECT count(*) FROM conifer.buckets)"
            " + (SELECT count(*) FROM pg_class WHERE relnamespace = 'conifer_data'::regnamespace)"
        ).fetchone()
        assert left == (0,)


def check_catalog(connection, index: str) -> None:
    """Each namespace has one leaf, each leaf one namespace, and each leaf is its root's partition."""
    named = connection.execute(
        "SELECT n.leaf::oid, n.namespace FROM conifer.namespaces n JOIN conifer.indexes i USING (root) WHERE i.name = %s",
        [index],
    ).fetchall()
    leaves = connection.execute(
        "SELECT relid::oid FROM pg_partition_tree(%s::regclass) WHERE isleaf AND level = 2",
        [f'"{index}"'],
    ).fetchall()
    assert sorted(leaf for leaf, _ in named) == sorted(leaf for (leaf,) in leaves)
    for leaf, namespace in named:
        bound = connection.execute(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = %s", [leaf]
        ).fetchone()[0]
        assert bound == f"FOR VALUES IN ('{namespace}')"


def together(dsn: str, clients: int, work: Callable[[psycopg.Connection, int], object]) -> list:
    """Runs `work(connection, number)` in so many clients, begun at one moment; their results or errors."""
    gate = threading.Barrier(clients)

    def client(number: int):
        with connect(dsn) as connection:
            connection.execute("SELECT count(*) FROM pc_list_indexes()")  # the library is loaded
            gate.wait(WAIT)
            try:
                return work(connection, number)
            except psycopg.Error as error:
                return error

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(client, range(clients)))


def upsert(connection, index, namespace, id, vector, metadata=None) -> int:
    query = "SELECT pc_upsert(%s, %s, %s, %s::vector, %s::jsonb)"
    metadata = None if metadata is None else Jsonb(metadata)
    return connection.execute(query, [index, namespace, id, str(vector), metadata]).fetchone()[0]


def ids(connection, index, namespace) -> list[str]:
    query = 'SELECT id FROM pc_list(%s, %s, "limit" => 100000)'
    return [id for (id,) in connection.execute(query, [index, namespace])]


@contextmanager
def blocked(dsn: str, work: Callable[[psycopg.Connection], object]):
    """Runs `work` in a client that must come to wait for a lock; yields its future once it does."""
    with connect(dsn) as connection, ThreadPoolExecutor(1) as pool:
        pid = connection.info.backend_pid
        future = pool.submit(work, connection)
        with connect(dsn) as observer:
            deadline = time.monotonic() + WAIT
            while not observer.execute("SELECT pg_blocking_pids(%s) <> '{}'", [pid]).fetchone()[0]:
                assert not future.done(), f"did not wait: {future.result()}"
                assert time.monotonic() < deadline
                time.sleep(0.01)
        yield future


def test_first_upserts_of_one_namespace(database, index):
    for round in range(10):
        name = f"tenant {round}"
        results = together(
            database, 16, lambda c, n: upsert(c, index, name, f"r{n:02}", [1, n], {"client": n})
        )
        assert results == [1] * 16
        with connect(database) as connection:
            assert ids(connection, index, name) == [f"r{n:02}" for n in range(16)]
            found = connection.execute(
                f'SELECT count(*), count(DISTINCT tableoid) FROM "{index}" WHERE namespace = %s', [name]
            )
            assert found.fetchone() == (16, 1)


def test_the_same_ids(database, index):
    """Whole batches of equal ids in different orders: no deadlock, no torn record, no second row."""
    many = [f"r{n:02}" for n in range(40)]
    rounds = 25

    def work(connection, client):
        for round in range(rounds):
            order = many if (client + round) % 2 else many[::-1]
            records = [
                {"id": id, "values": [client + 1, round + 1], "metadata": {"by": client, "round": round}}
                for id in order
            ]
            query = "SELECT pc_upsert(%s, 't', %s)"
            assert connection.execute(query, [index, Jsonb(records)]).fetchone() == (len(many),)
        return "done"

    assert together(database, 8, work) == ["done"] * 8
    with connect(database) as connection:
        assert ids(connection, index, "t") == many
        query = "SELECT id, values::real[], metadata FROM pc_fetch(%s, 't', %s)"
        rows = connection.execute(query, [index, many]).fetchall()
        assert len(rows) == len(many)
        for _, (by, round), metadata in rows:
            # each record is whole: of one batch, and of its writer's last
            assert metadata == {"by": by - 1, "round": round - 1}
            assert round == rounds
        # batches lock ids in one order, so the last to come wrote them all
        assert len({metadata["by"] for _, _, metadata in rows}) == 1


def test_counter_loses_no_update(database, index):
    """Metadata merged by concurrent updates: each keeps the keys of the others."""
    with connect(database) as connection:
        upsert(connection, index, "t", "A", [1, 1])

    def work(connection, client):
        for step in range(20):
            query = "SELECT pc_update(%s, 't', 'A', set_metadata => %s)"
            row = connection.execute(query, [index, Jsonb({f"k{client}-{step}": step})]).fetchone()
            assert row == (1,)

    assert together(database, 8, work) == [None] * 8
    with connect(database) as connection:
        query = "SELECT metadata FROM pc_fetch(%s, 't', '{A}')"
        (metadata,) = connection.execute(query, [index]).fetchone()
        assert metadata == {f"k{c}-{s}": s for c in range(8) for s in range(20)}


@pytest.mark.parametrize("trigger", [False, True], ids=["direct", "sql"])
def test_upserts_and_delete_all(database, index, trigger):
    """Offboarding while others write, query, list and use plain SQL: nobody fails, nobody deadlocks."""
    if trigger:  # writes then go through SQL on the root
        with connect(database) as connection:
            connection.execute(
                "CREATE OR REPLACE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
            )
            connection.execute(
                f'CREATE TRIGGER t AFTER INSERT ON "{index}" FOR EACH ROW EXECUTE FUNCTION public.nothing()'
            )

    def work(connection, client):
        for step in range(60):
            if client < 3:
                upsert(connection, index, "t", f"{client}-{step}", [1, step])
            elif client < 5:
                connection.execute("SELECT pc_delete(%s, 't', delete_all => true)", [index])
            elif client == 5:
                connection.execute("SELECT * FROM pc_query(%s, 't', '[1,0]', include_values => true)", [index])
                connection.execute("SELECT pc_describe_index_stats(%s)", [index])
            elif client == 6:
                connection.execute("SELECT * FROM pc_list_namespaces(%s)", [index])
                connection.execute("SELECT pc_delete(%s, 't', %s)", [index, [f"0-{step}", f"1-{step}"]])
            else:
                connection.execute(f'SELECT count(*) FROM "{index}" WHERE namespace = %s', ["t"])
                connection.execute(f'UPDATE "{index}" SET metadata = %s WHERE namespace = %s', ["{}", "t"])

    assert together(database, 8, work) == [None] * 8
    with connect(database) as connection:
        check_catalog(connection, index)
        count = connection.execute(f'SELECT count(*) FROM "{index}"').fetchone()[0]
        assert len(ids(connection, index, "t")) == count
        assert upsert(connection, index, "t", "last", [1, 1]) == 1
        assert "last" in ids(connection, index, "t")


def test_first_upserts_of_many_namespaces(database, index):
    def work(connection, client):
        for n in range(200):  # each client begins elsewhere: two meet at every namespace
            name = f"tenant-{(n + 25 * client) % 200}"
            assert upsert(connection, index, name, f"c{client}", [1, client]) == 1

    assert together(database, 8, work) == [None] * 8
    with connect(database) as connection:
        query = 'SELECT name, record_count FROM pc_list_namespaces(%s, "limit" => 1000)'
        listed = connection.execute(query, [index]).fetchall()
        assert listed == sorted((f"tenant-{n}", 8) for n in range(200))


def test_a_rival_that_rolls_back(database, index):
    """A first upsert waits for another's; when that one is undone, it makes the namespace itself."""
    with connect(database, autocommit=False) as rival:
        upsert(rival, index, "t", "rival", [1, 1])
        with blocked(database, lambda c: upsert(c, index, "t", "mine", [1, 2])) as waiting:
            rival.rollback()
            assert waiting.result(WAIT) == 1
    with connect(database) as connection:
        assert ids(connection, index, "t") == ["mine"]


def test_a_rival_that_commits(database, index):
    with connect(database, autocommit=False) as rival:
        upsert(rival, index, "t", "rival", [1, 1])
        with blocked(database, lambda c: upsert(c, index, "t", "mine", [1, 2])) as waiting:
            rival.commit()
            assert waiting.result(WAIT) == 1
    with connect(database) as connection:
        assert ids(connection, index, "t") == ["mine", "rival"]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("first", ["upsert", "update", "delete"])
@pytest.mark.parametrize("second", ["upsert", "update", "delete"])
def test_a_fixed_snapshot(database, index, level, first, second):
    """A record changed after the snapshot was taken cannot be written under it: 40001, and nothing happened.

    But to put a new record where one was deleted is an insert, as INSERT … ON CONFLICT would make it.
    """
    writes = {
        "upsert": "SELECT pc_upsert(%(index)s, 't', 'A', %(vector)s::vector)",
        "update": "SELECT pc_update(%(index)s, 't', 'A', vector => %(vector)s::vector)",
        "delete": "SELECT pc_delete(%(index)s, 't', '{A}')",
    }
    with connect(database) as other, connect(database) as fixed:
        upsert(other, index, "t", "A", [1, 0])
        fixed.execute(f"BEGIN ISOLATION LEVEL {level}")
        assert ids(fixed, index, "t") == ["A"]
        other.execute(writes[first], {"index": index, "vector": "[2,0]"})
        if (first, second) == ("delete", "upsert"):
            fixed.execute(writes[second], {"index": index, "vector": "[3,0]"})
            fixed.execute("COMMIT")
            expected = [("[3,0]",)]
        else:
            with pytest.raises(psycopg.errors.SerializationFailure):
                fixed.execute(writes[second], {"index": index, "vector": "[3,0]"})
            fixed.execute("ROLLBACK")
            expected = [] if first == "delete" else [("[2,0]",)]
        rows = other.execute("SELECT values::text FROM pc_fetch(%s, 't', '{A}')", [index]).fetchall()
        assert rows == expected


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_fixed_snapshot_and_an_unseen_insert(database, index, level):
    with connect(database) as other, connect(database) as fixed:
        upsert(other, index, "t", "A", [1, 0])
        fixed.execute(f"BEGIN ISOLATION LEVEL {level}")
        assert ids(fixed, index, "t") == ["A"]
        upsert(other, index, "t", "B", [1, 0])
        assert ids(fixed, index, "t") == ["A"]
        with pytest.raises(psycopg.errors.SerializationFailure):
            upsert(fixed, index, "t", "B", [2, 0])


def test_a_fixed_snapshot_sees_its_own_writes(database, index):
    with connect(database) as fixed:
        fixed.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        for step in range(3):
            assert upsert(fixed, index, "t", "A", [1, step]) == 1
        assert fixed.execute("SELECT pc_update(%s, 't', 'A', '[7,7]')", [index]).fetchone() == (1,)
        query = "SELECT values::text FROM pc_query(%s, 't', '[1,1]', include_values => true)"
        assert fixed.execute(query, [index]).fetchall() == [("[7,7]",)]
        assert fixed.execute("SELECT pc_delete(%s, 't', '{A}')", [index]).fetchone() == (1,)
        assert fixed.execute(query, [index]).fetchall() == []
        fixed.execute("COMMIT")


def test_an_id_renamed_meanwhile(database, index):
    """Who waited for a record that then bears another id finds it gone, as a statement of SQL would."""
    calls = {
        "update": "SELECT pc_update(%s, 't', 'A', vector => '[9,9]')",
        "delete": "SELECT pc_delete(%s, 't', '{A}')",
    }
    for call in calls.values():
        with connect(database, autocommit=False) as rival:
            upsert(rival, index, "t", "A", [1, 1])
            rival.commit()
            rival.execute(f'UPDATE "{index}" SET id = %s WHERE namespace = %s AND id = %s', ["B", "t", "A"])
            with blocked(database, lambda c: c.execute(call, [index]).fetchone()) as waiting:
                rival.commit()
                assert waiting.result(WAIT) == (0,)
            rows = rival.execute("SELECT id, values::text FROM pc_fetch(%s, 't', '{A,B}')", [index]).fetchall()
            assert rows == [("B", "[1,1]")]
            rival.execute("SELECT pc_delete(%s, 't', '{B}')", [index])


def test_one_name_by_two_clients(database):
    def work(connection, client):
        for round in range(20):
            try:
                connection.execute("SELECT pc_create_index(%s, %s)", [f"same-{round}", client + 1])
                created[round].append(client)
            except psycopg.errors.DuplicateObject as error:
                assert error.diag.message_primary == f'index "same-{round}" already exists'

    created: list[list[int]] = [[] for _ in range(20)]
    assert together(database, 4, work) == [None] * 4
    assert [len(clients) for clients in created] == [1] * 20
    with connect(database) as connection:
        rows = connection.execute("SELECT name, dimension FROM pc_list_indexes()").fetchall()
        assert sorted(rows) == sorted((f"same-{n}", clients[0] + 1) for n, clients in enumerate(created))
        connection.execute("SELECT pc_delete_index(name) FROM pc_list_indexes()")


def test_an_index_dropped_while_it_is_written(database):
    """Writers of a dropped index are told it does not exist, or make it anew; what is left is whole."""

    def work(connection, client):
        for _ in range(30):
            try:
                if client == 0:
                    connection.execute("SELECT pc_create_index('brief', 2)")
                elif client == 1:
                    connection.execute("SELECT pc_delete_index('brief')")
                else:
                    upsert(connection, "brief", f"t{client}", "A", [1, 1])
                    connection.execute("SELECT * FROM pc_query('brief', 't2', '[1,1]')")
            except (psycopg.errors.UndefinedObject, psycopg.errors.DuplicateObject) as error:
                assert error.diag.message_primary in (
                    'index "brief" does not exist',
                    'index "brief" already exists',
                )

    assert together(database, 6, work) == [None] * 6
    with connect(database) as connection:
        if connection.execute("SELECT count(*) FROM pc_list_indexes()").fetchone() == (1,):
            check_catalog(connection, "brief")
            connection.execute("SELECT pc_delete_index('brief')")
        rows = connection.execute("SELECT count(*) FROM conifer.namespaces").fetchone()
        assert rows == (0,)
