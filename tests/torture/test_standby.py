"""Replicas and promotion: whatever replays a primary's WAL answers as the primary does."""

from __future__ import annotations

import threading
import time

import numpy as np
import psycopg
import pytest
import replica
from changes import DIMENSION, LARGE, SMALL, Changes, stored, text, vectors
from model import Model, contents, verify
from replica import CONFLICTS, PRIMARY, catch_up, refusal, value, wait_at_gate

INDEX = "load"

#: On a replica these fail, whatever their arguments would do.
WRITES = [
    "SELECT pc_create_index('other', 3)",
    "SELECT pc_configure_index('load', 'disabled')",
    "SELECT pc_delete_index('load')",
    "CALL pc_delete_index_in_batches('load')",
    "SELECT pc_create_namespace('load', 'new')",
    "SELECT pc_delete_namespace('load', 'large')",
    "SELECT pc_delete_namespace('load', 'not there')",
    "SELECT pc_rename_namespace('load', 'large', 'new')",
    "SELECT pc_copy_namespace('load', 'large', 'new')",
    "SELECT pc_grant('load', 'large', 'public')",
    "SELECT pc_revoke('load', 'large', 'public')",
    "SELECT pc_set_limits('load', 'large', max_records => 1)",
    "SELECT pc_reset_usage('load')",
    "SELECT pc_upsert('load', 'large', 'x', array_fill(1, ARRAY[200])::vector)",
    "SELECT pc_upsert('load', 'new', 'x', array_fill(1, ARRAY[200])::vector)",
    "SELECT pc_upsert('load', 'large', '[]'::jsonb)",
    "SELECT pc_update('load', 'large', 'not there', set_metadata => '{\"n\": 1}')",
    "SELECT pc_update('load', 'large', filter => '{\"n\": 77}', set_metadata => '{\"n\": 1}')",
    "SELECT pc_delete('load', 'large', '{not there}')",
    "SELECT pc_delete('load', 'large', filter => '{\"n\": 77}')",
    "SELECT pc_delete('load', 'not there', delete_all => true)",
    "SELECT conifer_install_pgvector_casts()",
    "INSERT INTO load (namespace, id) VALUES ('large', 'x')",
]


@pytest.fixture
def primary(make_server):
    return make_server("primary", PRIMARY).init()


@pytest.fixture
def load(primary, seed):
    """A primary with an index that has a large namespace, and whoever changes it."""
    changes = Changes(Model(), INDEX, seed)
    with primary.connect() as connection:
        changes.create(connection)
        for _ in range(2):
            changes.ask(connection, changes.upsert_into(LARGE, 800))
        changes.ask(connection, changes.vacuum())
        assert "tree" in forms(connection)
    return changes


def forms(connection: psycopg.Connection) -> list[str]:
    """What the vector indexes are: flat, or trees."""
    query = """SELECT conifer_inspect(c.oid) ->> 'form' FROM pg_class c JOIN pg_am a ON a.oid = c.relam
               WHERE a.amname = 'conifer' AND c.relkind = 'i'"""
    return [form for (form,) in connection.execute(query).fetchall()]


def query_for(generator: np.random.Generator) -> str:
    return text(vectors(generator, 1)[0])


def nearest(connection: psycopg.Connection, namespace: str, query: str, recall: float, k: int = 20) -> list[tuple[str, float]]:
    connection.execute("SELECT set_config('conifer.recall', %s, false)", [str(recall)])
    return connection.execute("SELECT id, score FROM pc_query(%s, %s, %s::vector, %s)", [INDEX, namespace, query, k]).fetchall()


def look(connection: psycopg.Connection, namespace: str, query: str):
    """Everything that one snapshot tells of a namespace agrees with the rest of it.

    Which rows come at a recall below 1 may change meanwhile, with the lists.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        sql = "SELECT id, (values <-> %s::vector)::double precision ^ 2 FROM load WHERE namespace = %s"
        rows = dict(connection.execute(sql, [query, stored(namespace)]).fetchall())
        exact = nearest(connection, namespace, query, 1)
        near = nearest(connection, namespace, query, 0.9)
        counted = value(connection, "SELECT pc_count(%s, %s)", [INDEX, namespace])
        all_found = nearest(connection, namespace, query, 0.9, 10000)
        assert nearest(connection, namespace, query, 1) == exact
    assert counted == len(rows)
    assert len(exact) == len(near) == min(20, len(rows))
    assert {id for id, _ in all_found} == set(rows) and len(all_found) == len(rows)
    for id, score in exact + near + all_found:
        assert np.isclose(score, rows[id], rtol=1e-4), f"{id}: {score}, not {rows[id]}"
    best = sorted(rows.values())[: len(exact)]
    assert np.allclose([score for _, score in exact], best, rtol=1e-4)


class Reader(threading.Thread):
    """Looks at a server's namespaces for as long as it is let; conflicts with replay are counted, anything else ends it."""

    def __init__(self, server, seed: int):
        super().__init__(daemon=True)
        self.server, self.numbers = server, np.random.default_rng(seed)
        self.over, self.looks, self.conflicts, self.ended = threading.Event(), 0, 0, 0
        self.error: BaseException | None = None

    def run(self):
        try:
            while not self.over.is_set():
                try:
                    self.look_on()
                except CONFLICTS:
                    self.conflicts += 1
                except psycopg.OperationalError:
                    # Of a session ended between two statements the reason is in the server's log alone.
                    self.ended += 1
        except BaseException as error:
            self.error = error

    def look_on(self):
        """On one connection: what it remembers of namespaces and indexes has to follow what is replayed."""
        with self.server.connect() as connection:
            while not self.over.is_set():
                name = self.numbers.choice([LARGE, LARGE, *SMALL])
                look(connection, str(name), query_for(self.numbers))
                self.looks += 1

    def end(self):
        self.over.set()
        self.join()
        if self.error is not None:
            raise self.error


def assert_only_conflicts(log: str, ended: int):
    """Sessions ended because of replay, and for no other reason; no process crashed."""
    for_replay = [line for line in log.splitlines() if "FATAL" in line and "due to conflict with recovery" in line]
    assert len(for_replay) >= ended, log[-4000:]
    assert "terminated by signal" not in log and "PANIC" not in log, log[-4000:]


def answers(connection: psycopg.Connection, namespaces, seed: int) -> dict:
    """What a server says: its records, and what is nearest to some vectors."""
    said: dict = {"records": contents(connection, INDEX)}
    generator = np.random.default_rng(seed)
    for namespace in sorted(namespaces):
        for recall in (0.8, 0.99, 1):
            query = query_for(generator)
            said[namespace, recall] = nearest(connection, namespace, query, recall)
            sql = "SELECT id, score FROM pc_query(%s, %s, %s::vector, 20, filter => '{\"n\": {\"$lt\": 2}}')"
            said[namespace, recall, "filter"] = connection.execute(sql, [INDEX, namespace, query]).fetchall()
            sql = "SELECT id FROM load WHERE namespace = %s ORDER BY values <-> %s::vector LIMIT 20"
            said[namespace, recall, "sql"] = connection.execute(sql, [namespace, query]).fetchall()
    return said


def assert_same_answers(primary, standby, namespaces, seed: int):
    """By new connections: which rows come at a recall below 1 goes by what a backend remembers, and by what autovacuum does."""
    for last in (False, False, False, True):
        with primary.connect() as connection, standby.connect() as other:
            before = value(connection, "SELECT pg_current_wal_insert_lsn()")
            catch_up(connection, other)
            here, there = answers(connection, namespaces, seed), answers(other, namespaces, seed)
            is_quiet = before == value(connection, "SELECT pg_current_wal_insert_lsn()")
        assert here["records"] == there["records"]
        if here == there:
            return
        assert not (is_quiet or last), [key for key in here if here[key] != there[key]]


def test_a_replica_answers_as_its_primary(primary, load, make_server, seed, scaled, record_result):
    """During load, splits, vacuum and reuse of pages, with no feedback from the replica: when the load pauses the answers are the same."""
    # Long enough for most looks, short enough for some conflicts.
    settings = PRIMARY | {"max_standby_streaming_delay": "300ms"}
    standby = replica.follow(primary, make_server("standby", settings))
    readers = [Reader(standby, seed + number) for number in range(2)]
    with primary.connect() as connection:
        for reader in readers:
            reader.start()
        rounds = scaled(60, 3)
        for number in range(rounds):
            end = time.monotonic() + scaled(10, 1.5)
            while time.monotonic() < end and all(reader.is_alive() for reader in readers):
                load.step(connection)
            assert_same_answers(primary, standby, load.namespaces, number)
        for reader in readers:
            reader.end()
        assert all(reader.looks for reader in readers), "nothing was looked at"
        assert_only_conflicts(standby.log(), sum(reader.ended for reader in readers))
        verify(connection, load.model)
        # Killed in the midst of it, it begins replay anew from some point before.
        load.step(connection)
        standby.kill()
        load.ask(connection, load.vacuum())
        standby.start()
        with standby.connect() as other:
            catch_up(connection, other)
            refuses_writes(other)
            verify(other, load.model)
        tells_of_unlogged(connection, load, standby)
    counts = {"looks": sum(reader.looks for reader in readers), "conflicts": sum(reader.conflicts for reader in readers)}
    record_result("standby_load", rounds=rounds, changes=load.counts, **counts)


#: What is read of a namespace.
READS = [
    "SELECT pc_count('load', 'large')",
    "SELECT pc_fetch('load', 'large', '{r1}')",
    "SELECT pc_list('load', 'large')",
    "SELECT pc_facets('load', 'large', 'n')",
    "SELECT pc_fetch_by_metadata('load', 'large', '{}')",
    "SELECT pc_query('load', 'large', array_fill(1, ARRAY[200])::vector)",
    "SELECT pc_query_namespaces('load', '{large}', array_fill(1, ARRAY[200])::vector)",
    "SELECT pc_describe_namespace('load', 'large')",
    "SELECT pc_list_namespaces('load')",
    "SELECT pc_describe_index_stats('load')",
    "SELECT * FROM load WHERE namespace = 'large'",
]


def tells_of_unlogged(connection: psycopg.Connection, load: Changes, standby):
    """Of a namespace whose table is unlogged a replica has nothing, and says so: neither no rows nor an error of the file system's."""
    load.ask(connection, load.upsert_into(LARGE, 10))
    leaf = value(connection, "SELECT leaf::regclass::text FROM conifer.namespaces WHERE namespace = 'large'")
    connection.execute(f"ALTER TABLE {leaf} SET UNLOGGED")
    # A restart makes empty files of what was missing.
    for change in (lambda: None, standby.restart):
        change()
        with standby.connect() as other:
            catch_up(connection, other)
            assert {statement: refusal(other, statement) for statement in READS} == dict.fromkeys(READS, "0A000")
    connection.execute(f"ALTER TABLE {leaf} SET LOGGED")
    with standby.connect() as other:
        catch_up(connection, other)
        verify(other, load.model)


def refuses_writes(standby: psycopg.Connection):
    assert {statement: refusal(standby, statement) for statement in WRITES} == dict.fromkeys(WRITES, "25006")


#: Asked of a row before it is looked at: waits once for a lock that the test holds, so that a search stands still in between.
GATE = """CREATE FUNCTION gate(id text) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL UNSAFE AS $$
BEGIN
    PERFORM pg_advisory_lock_shared(1), pg_advisory_unlock_shared(1);
    RETURN id NOT LIKE 'lost%';
END $$"""


def around(load: Changes, connection: psycopg.Connection, prefix: str, count: int, element: float):
    """Records so far from the origin."""
    records = {f"{prefix}{number}": ((element,) * DIMENSION, {"n": 9, "v": 0}) for number in range(count)}
    statement = "SELECT pc_upsert(%s, %s, %s::text[], %s::text[]::vector[], %s::text[]::jsonb[])"
    arguments = [INDEX, LARGE, list(records), [text(vector) for vector, _ in records.values()], ['{"n": 9, "v": 0}'] * count]
    load.ask(connection, (statement, arguments, lambda: load.namespaces[LARGE].update(records)))


def test_a_search_stands_still_while_pages_are_used_again(primary, load, make_server, scaled):
    """Rows that it has to go back for lie on pages that came after those where it began, which by then come behind them."""
    # With feedback, or replay would end the search on account of rows of the catalogs.
    standby = replica.follow(primary, make_server("standby", PRIMARY | {"hot_standby_feedback": "on"}))
    with primary.connect() as connection, standby.connect() as replayed:
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(GATE)
        for asked in scaled([standby, primary], [standby]):
            with asked.connect() as other, asked.connect() as gatekeeper:
                stand_still(load, connection, replayed, other, gatekeeper)
        verify(connection, load.model)


def stand_still(load: Changes, connection, replayed, other, gatekeeper):
    # The nearest of all, which do not pass the gate: for more the search has to go back.
    around(load, connection, "lost", 40, 0)
    # Lists for so many rows that what follows is no reason to choose others.
    for _ in range(5):
        load.ask(connection, load.upsert_into(LARGE, 900))
    load.ask(connection, load.vacuum())
    for _ in range(3):
        load.ask(connection, load.upsert_into(LARGE, 800))
    # The next nearest, on the last page, which VACUUM leaves where it is.
    around(load, connection, "kept", 30, 0.85)
    connection.execute("ANALYZE load")
    catch_up(connection, replayed)
    gatekeeper.execute("SELECT pg_advisory_lock(1)")
    query = f"""SELECT id FROM load WHERE namespace = 'large' AND gate(id)
                ORDER BY values <-> array_fill(0, ARRAY[{DIMENSION}])::vector LIMIT 30"""
    other.execute("SET enable_seqscan = off; SET enable_sort = off; SET conifer.recall = 0.5")
    plan = "\n".join(line for (line,) in other.execute(f"EXPLAIN {query}"))
    assert "ConiferTopK" in plan and "Vector Index" in plan, plan
    found: list = []
    asking = threading.Thread(target=lambda: found.extend(other.execute(query).fetchall()))
    asking.start()
    wait_at_gate(gatekeeper)
    load.ask(connection, load.vacuum())
    for _ in range(3):
        load.ask(connection, load.upsert_into(LARGE, 900))
    catch_up(connection, replayed)
    gatekeeper.execute("SELECT pg_advisory_unlock(1)")
    asking.join()
    assert sorted(id for (id,) in found) == sorted(f"kept{number}" for number in range(30))


def test_promotion_under_load(primary, load, make_server, scaled, record_result):
    """The primary is killed while changes go on; the promoted standby has all that was acknowledged, and takes further ones."""
    rounds = scaled(8, 1)
    for number in range(rounds):
        standby = replica.follow(primary, make_server(f"standby{number}", PRIMARY))
        with primary.connect() as connection:
            # From here on what is acknowledged is on the standby.
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
            replica.wait_until(lambda c=connection: is_synchronous(c), "the standby is not synchronous")
        killer = threading.Timer(scaled(6, 2.5) * (0.5 + load.choose.random()), primary.kill)
        before = dict(load.counts)
        with primary.connect() as connection, standby.connect() as other:
            connection.execute("SET synchronous_commit = remote_apply")
            look(other, LARGE, query_for(load.numbers))
            killer.start()
            with pytest.raises(psycopg.OperationalError):
                while True:
                    load.step(connection)
            killer.join()
            replica.promote(standby)
            # The same session as before, and what it remembers.
            load.settle(contents(other, INDEX))
            verify(other, load.model)
            other.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            other.execute("SELECT pg_reload_conf()")
            for _ in range(scaled(100, 15)):
                load.step(other)
            load.ask(other, load.vacuum())
            verify(other, load.model)
        assert load.counts != before
        primary = standby
    record_result("standby_promotion", rounds=rounds, changes=load.counts)


def is_synchronous(connection: psycopg.Connection) -> bool:
    return value(connection, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'") == 1
