"""Dumps, pg_upgrade and logical replication: what arrives elsewhere is what was here, and answers as it did."""

from __future__ import annotations

import contextlib
import copy
import os
import pathlib

import numpy as np
import psycopg
import pytest
from changes import LARGE, Changes, text, vectors
from model import Model, verify
from replica import PRIMARY, value, wait_until
from server import DATABASE, SCHEMA, run

#: Indexes and their metrics.
INDEXES = {"cosine": "cosine", "dotproduct": "dotproduct", "euclidean": "euclidean"}
#: Names that say where a leaf's table is: PostgreSQL's own `--table-and-children` came with version 16.
TABLES_OF = ["-t", "{}", "-t", "conifer_data.{}_*"]


@pytest.fixture
def source(make_server):
    return make_server("source", PRIMARY | {"wal_level": "logical"}).init()


@pytest.fixture
def filled(source, seed):
    """Some changes of some indexes, one of which has a tree: what there is, by index whoever changes it."""
    return fill(source, seed)


def fill(server, seed: int, steps: int = 8) -> dict[str, Changes]:
    model = Model()
    made = {}
    with server.connect() as connection:
        for number, (index, metric) in enumerate(INDEXES.items()):
            changes = made[index] = Changes(model, index, seed + number)
            changes.create(connection, metric)
            changes.ask(connection, changes.upsert_into("café \"x\"", 40))
            for _ in range(steps):
                changes.step(connection)
        grown = made["euclidean"]
        for _ in range(2):
            grown.ask(connection, grown.upsert_into(LARGE, 600))
        grown.ask(connection, grown.vacuum())
    return made


def answers(connection: psycopg.Connection, model: Model) -> dict:
    """The nearest there are: found exactly, so that it does not matter how an index grew."""
    found = {}
    generator = np.random.default_rng(1)
    connection.execute("SET conifer.recall = 1")
    for index, namespaces in model.indexes.items():
        for namespace in namespaces:
            query = text(vectors(generator, 1)[0])
            sql = "SELECT id, score, metadata FROM pc_query(%s, %s, %s::vector, 15, include_metadata => true)"
            found[index, namespace] = connection.execute(sql, [index, namespace, query]).fetchall()
    connection.execute("RESET conifer.recall")
    return found


def empty_database(server, name: str, with_conifer: bool = False):
    """One for a dump to be restored into, as PostgreSQL makes it, or with the extension."""
    if with_conifer:
        server.create_database(name)
        return
    with server.connect("postgres") as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')


def at(server, database: str = DATABASE) -> list[str]:
    """Where a program of PostgreSQL's finds a database."""
    return ["-h", str(server.directory), "-U", "postgres", "-d", database]


@pytest.fixture
def folder(make_server) -> pathlib.Path:
    """For files of programs that run under the servers' account."""
    place = make_server("files")
    place.make_directory()
    return place.directory


def psql(server, database: str, file: pathlib.Path):
    server.program("psql", *at(server, database), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f", file)


def by_custom_format(server, folder, database):
    server.program("pg_dump", *at(server), "-Fc", "-f", folder / "dump")
    server.program("pg_restore", *at(server, database), "--exit-on-error", folder / "dump")


def by_parallel_jobs(server, folder, database):
    server.program("pg_dump", *at(server), "-Fd", "-j2", "-f", folder / "dump.d")
    server.program("pg_restore", *at(server, database), "--exit-on-error", "-j2", folder / "dump.d")


def by_text(server, folder, database):
    server.program("pg_dump", *at(server), "-f", folder / "dump.sql")
    psql(server, database, folder / "dump.sql")


def by_rows_through_the_root(server, folder, database):
    server.program("pg_dump", *at(server), "--load-via-partition-root", "--rows-per-insert=100", "-f", folder / "root.sql")
    psql(server, database, folder / "root.sql")


def by_schema_then_data(server, folder, database):
    server.program("pg_dump", *at(server), "-s", "-f", folder / "schema.sql")
    server.program("pg_dump", *at(server), "-a", "-f", folder / "data.sql")
    psql(server, database, folder / "schema.sql")
    psql(server, database, folder / "data.sql")


def by_sections(server, folder, database):
    server.program("pg_dump", *at(server), "-Fc", "-f", folder / "sections")
    for section in ("pre-data", "data", "post-data"):
        server.program("pg_restore", *at(server, database), "--exit-on-error", f"--section={section}", folder / "sections")


def twice_with_clean(server, folder, database):
    """The second time in the place of the first."""
    server.program("pg_dump", *at(server), "-Fc", "-f", folder / "clean")
    for options in ([], ["--clean", "--if-exists"]):
        server.program("pg_restore", *at(server, database), "--exit-on-error", *options, folder / "clean")


#: Ways to copy a whole database; the first few are tried each time.
COPIES = [by_schema_then_data, twice_with_clean, by_parallel_jobs, by_custom_format, by_text, by_rows_through_the_root, by_sections]


def test_a_restored_dump_is_the_same(source, filled, folder, scaled):
    has_no_indexes_by_schema_alone(source, folder)
    model = next(iter(filled.values())).model
    with source.connect() as connection:
        before = answers(connection, model)
    for way in COPIES[: scaled(len(COPIES), 2)]:
        empty_database(source, way.__name__)
        way(source, folder, way.__name__)
        goes_on(source, way.__name__, model, before)


def goes_on(server, database: str, model: Model, before: dict):
    """What was restored is what there was, and can be changed and maintained like it."""
    model = copy.deepcopy(model)
    with server.connect(database) as connection:
        verify(connection, model)
        assert answers(connection, model) == before
        for index in INDEXES:
            changes = Changes(model, index, 1)
            changes.made = 1_000_000
            for _ in range(6):
                changes.step(connection)
            changes.ask(connection, changes.vacuum())
        verify(connection, model)
    with server.connect("postgres") as connection:
        connection.execute(f'DROP DATABASE "{database}"')


def has_no_indexes_by_schema_alone(source, folder):
    """Tables there are, but the functions know of no index: the catalog's rows are data."""
    empty_database(source, "schema")
    source.program("pg_dump", *at(source), "-s", "-f", folder / "schema.sql")
    psql(source, "schema", folder / "schema.sql")
    with source.connect("schema") as connection:
        assert value(connection, "SELECT count(*) FROM pc_list_indexes()") == 0
        assert value(connection, "SELECT count(*) FROM cosine") == 0
        with pytest.raises(psycopg.errors.UndefinedObject):
            connection.execute("SELECT pc_upsert('cosine', 'a', 'x', '[1]')")


def make_namespaces(connection: psycopg.Connection, other: psycopg.Connection, index: str):
    """Elsewhere, those that there are here."""
    names = "SELECT namespace FROM conifer.namespaces WHERE root = %s::regclass"
    for (name,) in connection.execute(names, [index]).fetchall():
        other.execute("SELECT pc_create_namespace(%s, %s)", [index, name])


def test_one_index_alone(source, filled, folder):
    """Dumped as data through its root, into an index made for it with the same namespaces, beside others."""
    index = "euclidean"
    model = Model()
    model.indexes[index] = filled[index].model.indexes[index]
    tables = [word.format(index) for word in TABLES_OF]
    source.program("pg_dump", *at(source), "-a", "--load-via-partition-root", *tables, "-f", folder / "one.sql")
    empty_database(source, "one", with_conifer=True)
    with source.connect() as connection, source.connect("one") as other:
        # Others, so that no table here has the name it has there.
        other.execute("SELECT pc_create_index('other', 3), pc_upsert('other', 'a', 'x', '[1,2,3]'::vector)")
        other.execute("SELECT pc_create_index(%s, 200, 'euclidean')", [index])
        make_namespaces(connection, other, index)
        before = answers(connection, model)
    psql(source, "one", folder / "one.sql")
    with source.connect("one") as other:
        other.execute("SELECT pc_delete_index('other')")
        verify(other, model)
        assert answers(other, model) == before


# pg_upgrade


@pytest.fixture
def newer_programs(programs) -> pathlib.Path:
    path = os.environ.get("CONIFER_TEST_BIN_NEWER")
    if not path:
        pytest.skip("CONIFER_TEST_BIN_NEWER names no programs of a newer PostgreSQL to upgrade to")
    return pathlib.Path(path)


@pytest.mark.parametrize("mode", ["--link", "--copy"])
def test_pg_upgrade_keeps_indexes_valid(make_server, newer_programs, seed, full, mode):
    if mode == "--copy" and not full:
        pytest.skip("at full length only")
    old = make_server("old").init()
    if old.major >= 18:
        pytest.skip("pg_upgrade is tested from an older version")
    made = fill(old, seed)
    model = made["euclidean"].model
    with old.connect() as connection:
        before = answers(connection, model)
        files = index_files(connection)
        take_off_version_marks(connection)
    old.stop()
    new = make_server("new", programs=newer_programs)
    new.make_directory()
    checksums = ["--no-data-checksums"] if new.major >= 18 else []
    new.program("initdb", "-D", new.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", *checksums)
    words = ["-b", old.programs, "-B", new.programs, "-d", old.data, "-D", new.data, "-U", "postgres", "-s", new.directory]
    for more in (["--check"], [mode]):
        # It writes where it stands, and tells the reason of a failure in a log.
        tail = '|| { tail -n 20 "$0"/data/pg_upgrade_output.d/*/log/*dump*; exit 1; }'
        run("sh", "-c", f'cd "$0" && "$@" {tail}', new.directory, new.programs / "pg_upgrade", *words, *more)
    new.start()
    with new.connect() as connection:
        # The very files: nothing was built anew.
        assert index_files(connection) == files
        verify(connection, model)
        assert answers(connection, model) == before
        for changes in made.values():
            for _ in range(6):
                changes.step(connection)
            changes.ask(connection, changes.vacuum())
        verify(connection, model)
        for index in INDEXES:
            connection.execute("SELECT pc_delete_index(%s)", [index])
        connection.execute(f"DROP EXTENSION conifer; DROP SCHEMA {SCHEMA}")


def take_off_version_marks(connection: psycopg.Connection):
    """Some minor releases of 15 put an option `pg_attver` on the columns of every table, Conifer's or not, which some of 18 do not know.

    Between two such no database with any table can be upgraded. What is tested here is what is Conifer's.
    """
    connection.execute(
        """UPDATE pg_attribute SET attoptions = (SELECT array_agg(o) FROM unnest(attoptions) o WHERE o NOT LIKE 'pg_attver=%')
           WHERE attoptions::text LIKE '%pg_attver=%'"""
    )


def index_files(connection: psycopg.Connection) -> list:
    query = """SELECT c.relname, c.relfilenode, i.indisvalid
               FROM pg_class c JOIN pg_am a ON a.oid = c.relam JOIN pg_index i ON indexrelid = c.oid
               WHERE a.amname = 'conifer' AND c.relkind = 'i' ORDER BY 1"""
    return connection.execute(query).fetchall()


# logical replication


@contextlib.contextmanager
def subscribed(publisher, subscriber, index: str, via_root: bool = True):
    """A subscriber's copy of an index, made there with its namespaces before."""
    with publisher.connect() as connection, subscriber.connect() as other:
        connection.execute(f'ALTER TABLE "{index}" REPLICA IDENTITY FULL')
        leaves = "SELECT leaf::regclass::text FROM conifer.namespaces WHERE root = %s::regclass"
        for (leaf,) in connection.execute(leaves, [index]).fetchall():
            connection.execute(f"ALTER TABLE {leaf} REPLICA IDENTITY FULL")
        connection.execute(f'CREATE PUBLICATION moved FOR TABLE "{index}" WITH (publish_via_partition_root = {via_root})')
        other.execute("SELECT pc_create_index(%s, 200, 'euclidean')", [index])
        make_namespaces(connection, other, index)
        other.execute(f"CREATE SUBSCRIPTION moved CONNECTION '{publisher.dsn()}' PUBLICATION moved")
        yield connection, other
        other.execute("DROP SUBSCRIPTION moved")


def arrive(connection: psycopg.Connection, other: psycopg.Connection):
    """Waits until the subscriber has all that was committed."""
    synced = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'"
    wait_until(lambda: value(other, synced) == 0, "the subscription's first copy does not end")
    written = value(connection, "SELECT pg_current_wal_lsn()")
    confirmed = "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = 'moved'"
    wait_until(lambda: value(connection, confirmed, [written]), f"the subscriber does not come to {written}")


def test_logical_replication_of_an_index(source, make_server, seed):
    """By its root. The records of a namespace made later come when it was made on the subscriber too."""
    index = "euclidean"
    subscriber = make_server("subscriber", PRIMARY).init()
    changes = Changes(Model(), index, seed)
    with source.connect() as connection:
        changes.create(connection)
        changes.ask(connection, changes.upsert_into(LARGE, 1200))
        changes.ask(connection, changes.upsert_into("a", 60))
    with subscribed(source, subscriber, index) as (connection, other):
        arrive(connection, other)
        verify(other, changes.model)
        for kind in [lambda: changes.upsert_into("a", 50, 0.5), changes.update, changes.delete, changes.delete_some, changes.vacuum]:
            for _ in range(3):
                changes.ask(connection, kind())
        changes.ask(connection, changes.upsert_into(LARGE, 900, 0.3))
        arrive(connection, other)
        verify(other, changes.model)
        # A new one: refused there until it is made.
        changes.ask(connection, changes.upsert_into("new", 20))
        changes.ask(connection, changes.upsert_into("new", 20, 1))
        wait_until(lambda: "no partition of relation" in subscriber.log(), "the subscriber takes what it has no namespace for")
        other.execute("SELECT pc_create_namespace(%s, 'new')", [index])
        arrive(connection, other)
        verify(other, changes.model)
        # What is DDL does not go over.
        connection.execute("SELECT pc_delete_namespace(%s, 'new')", [index])
        arrive(connection, other)
        verify(other, changes.model)
        other.execute("SELECT pc_delete_namespace(%s, 'new')", [index])
        changes.namespaces.pop("new")
        verify(connection, changes.model)
        verify(other, changes.model)


def test_logical_replication_by_leaves(source, make_server, seed, full):
    """Not by its root each table goes to one of its own name: there if the index was made in the same order, and else told of at once."""
    if not full:
        pytest.skip("at full length only")
    index = "euclidean"
    changes = Changes(Model(), index, seed)
    with source.connect() as connection:
        changes.create(connection)
        changes.ask(connection, changes.upsert_into("a", 60))
    with subscribed(source, make_server("same", PRIMARY).init(), index, via_root=False) as (connection, other):
        changes.ask(connection, changes.upsert_into("a", 50, 0.5))
        changes.ask(connection, changes.upsert_into("a", 50, 0.5))
        arrive(connection, other)
        verify(other, changes.model)
    with source.connect() as connection:
        connection.execute("DROP PUBLICATION moved")
    different = make_server("different", PRIMARY).init()
    with different.connect() as other:
        other.execute("SELECT pc_create_index('first', 3), pc_create_namespace('first', 'a'), pc_delete_index('first')")
    with pytest.raises(psycopg.errors.UndefinedTable):
        with subscribed(source, different, index, via_root=False):
            pass


def test_what_replaces_records_needs_a_replica_identity(source, seed):
    """Without one PostgreSQL refuses updates and deletes of what is published, by the functions as by SQL."""
    changes = Changes(Model(), "cosine", seed)
    with source.connect() as connection:
        changes.create(connection, "cosine")
        changes.ask(connection, changes.upsert_into("a", 10))
        connection.execute("CREATE PUBLICATION moved FOR TABLE cosine WITH (publish_via_partition_root = true)")
        ids = list(changes.namespaces["a"])
        for statement in (
            "SELECT pc_delete('cosine', 'a', %s::text[])",
            "DELETE FROM cosine WHERE namespace = 'a' AND id = ANY (%s)",
        ):
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
                connection.execute(statement, [ids])
        verify(connection, changes.model)
