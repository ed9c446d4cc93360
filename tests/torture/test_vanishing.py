"""Every function against whoever drops, renames, copies, makes anew or alters what it is about: it answers, or says in its own words what
is not there.

No internal error (XX000), no deadlock (README, Transactions), nothing but the SQLSTATEs that the README names.
"""

from __future__ import annotations

import random
import re
from collections import Counter, deque
from dataclasses import dataclass, field

import psycopg
import pytest
from clients import at_work
from model import Model, check_catalog, contents, verify

INDEXES = ("brief", "guarded", "lasting")
NAMESPACES = ("a", "b", "c", "d")
ROLES = ("anna", "bert")
ROWS = 1500  # of a namespace at most: enough for a vector index with lists
DIMENSION = 64

#: What a function may answer instead: no such index or namespace, or one of that name already.
TOLD = {"42704", "42710"}
#: … that writes: more than a limit allows.
REFUSED = TOLD | {"53400"}
#: A statement on a table that is named: it may be gone.
GONE = {"42P01", "42704"}

READS = {
    "query": "SELECT * FROM pc_query(%(i)s, %(n)s, %(v)s::vector, 5, include_values => true, include_metadata => true)",
    "query near a record": "SELECT * FROM pc_query(%(i)s, %(n)s, id => %(id)s)",
    "query with a filter": "SELECT * FROM pc_query(%(i)s, %(n)s, %(v)s::vector, 5, filter => '{\"k\": {\"$in\": [1, 2]}}')",
    "query as json": "SELECT pc_query_json(%(i)s, %(n)s, %(v)s::vector, include_metadata => true)",
    "query all": "SELECT * FROM pc_query_namespaces(%(i)s, NULL, %(v)s::vector, 5, include_values => true, prefix => '')",
    "query some": "SELECT * FROM pc_query_namespaces(%(i)s, '{a,b,c,d}', %(v)s::vector, 50, include_metadata => true)",
    "fetch": "SELECT * FROM pc_fetch(%(i)s, %(n)s, ARRAY[%(id)s, 'r1', 'r2'])",
    "list": "SELECT * FROM pc_list(%(i)s, %(n)s, 'r')",
    "fetch by metadata": "SELECT * FROM pc_fetch_by_metadata(%(i)s, %(n)s, '{\"k\": 1}')",
    "count": "SELECT pc_count(%(i)s, %(n)s)",
    "count some": "SELECT pc_count(%(i)s, %(n)s, '{\"k\": {\"$gt\": 2}}')",
    "facets": "SELECT * FROM pc_facets(%(i)s, %(n)s, 'k')",
    "describe": "SELECT pc_describe_index(%(i)s)",
    "statistics": "SELECT pc_describe_index_stats(%(i)s)",
    "indexes": "SELECT * FROM pc_list_indexes()",
    "namespaces": "SELECT * FROM pc_list_namespaces(%(i)s)",
    "describe namespace": "SELECT pc_describe_namespace(%(i)s, %(n)s)",
    "usage": "SELECT * FROM pc_usage(%(i)s, %(n)s)",
    "all usage": "SELECT * FROM pc_usage(%(i)s)",
    "usage of all": "SELECT * FROM conifer.usage",
}

WRITES = {
    "upsert": "SELECT pc_upsert(%(i)s, %(n)s, %(id)s, %(v)s::vector, '{\"k\": 1}')",
    "upsert many": """SELECT pc_upsert(%(i)s, %(n)s, array_agg('r' || g), array_agg(%(v)s::vector),
                                            array_agg(jsonb_build_object('k', g %% 5)))
                      FROM generate_series(1, %(rows)s) g""",
    "update": "SELECT pc_update(%(i)s, %(n)s, %(id)s, %(v)s::vector, '{\"u\": true}')",
    "update some": "SELECT pc_update(%(i)s, %(n)s, filter => '{\"k\": 2}', set_metadata => '{\"w\": 1}')",
    "delete": "SELECT pc_delete(%(i)s, %(n)s, ARRAY[%(id)s, 'r3'])",
    "delete some": "SELECT pc_delete(%(i)s, %(n)s, filter => '{\"k\": 3}')",
}

#: By functions, from here on: what makes the others look for what is gone.
DISTURBANCES = {
    "delete all": "SELECT pc_delete(%(i)s, %(n)s, delete_all => true)",
    "delete namespace": "SELECT pc_delete_namespace(%(i)s, %(n)s)",
    "create namespace": "SELECT pc_create_namespace(%(i)s, %(n)s)",
    "rename": "SELECT pc_rename_namespace(%(i)s, %(n)s, %(other)s)",
    "copy": "SELECT pc_copy_namespace(%(i)s, %(n)s, %(other)s)",
    "limits": "SELECT pc_set_limits(%(i)s, %(n)s, max_records => 100000)",
    "general limits": "SELECT pc_set_limits(%(i)s, max_bytes => 1000000000)",
    "no limits": "SELECT pc_set_limits(%(i)s, %(n)s)",
    "grant": "SELECT pc_grant(%(i)s, %(n)s, 'anna')",
    "revoke": "SELECT pc_revoke(%(i)s, %(n)s, 'anna')",
    "reset": "SELECT pc_reset_usage(%(i)s)",
    "configure": "SELECT pc_configure_index(%(i)s, tags => '{\"a\": \"b\"}')",
    "delete index": "SELECT pc_delete_index('brief')",
    "delete in batches": "CALL pc_delete_index_in_batches('brief', 2)",
    "create index": f"SELECT pc_create_index('brief', {DIMENSION}, 'euclidean')",
}

#: By statements on tables found a moment before.
STATEMENTS = {
    "reindex": "REINDEX INDEX CONCURRENTLY {vector_index}",
    "reindex table": "REINDEX TABLE {leaf}",
    "owner": 'ALTER TABLE "{index}" OWNER TO {role}',
    "owner of a leaf": "ALTER TABLE {leaf} OWNER TO {role}",
    "drop a leaf": "DROP TABLE {leaf}",
    "truncate a leaf": "TRUNCATE {leaf}",
    "vacuum": "VACUUM (ANALYZE) {leaf}",
    "vacuum full": "VACUUM FULL {leaf}",
    "rename a leaf": "ALTER TABLE {leaf} RENAME TO leaf_{number}",
    "drop a root": "DROP TABLE IF EXISTS brief",
    "inspect": "SELECT conifer_inspect('{vector_index}')",
    "check": "SELECT * FROM conifer_check('{vector_index}')",
}

FIND_LEAF = """SELECT format('conifer_data.%%I', leaf.relname), format('conifer_data.%%I', vectors.relname)
               FROM conifer.namespaces n JOIN conifer.indexes i USING (root) JOIN pg_class leaf ON leaf.oid = n.leaf
               JOIN pg_index x ON x.indrelid = n.leaf JOIN pg_class vectors ON vectors.oid = x.indexrelid
               JOIN pg_am a ON a.oid = vectors.relam
               WHERE i.name = %s AND a.amname = 'conifer' ORDER BY random() LIMIT 1"""


@dataclass
class Outcomes:
    """How often each statement was answered, and with which SQLSTATE it was refused."""

    #: The last two statements of each backend.
    recent: dict[int, deque[str]] = field(default_factory=dict)
    #: Backends that alter tables by statements of their own, whose locks PostgreSQL takes in its own order.
    meddlers: set[int] = field(default_factory=set)
    answers: Counter = field(default_factory=Counter)
    refusals: Counter = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)

    def run(self, connection: psycopg.Connection, name: str, statement: str, parameters: dict | None, allowed: set[str]):
        self.recent.setdefault(connection.info.backend_pid, deque(maxlen=2)).append(name)
        try:
            connection.execute(statement, parameters)
            self.answers[name] += 1
        except psycopg.Error as error:
            self.refusals[name, error.sqlstate] += 1
            if error.sqlstate not in allowed and not self.is_usual(error):
                self.unexpected.append(f"{name}: {error.sqlstate} {error} [{parameters and parameters['i']}]")

    def is_usual(self, error: psycopg.Error) -> bool:
        """Is it a deadlock that the README does not exclude: with DDL on the tables themselves, or of writes by filter under row security?"""
        if error.sqlstate != "40P01":
            return False
        processes = {int(number) for number in re.findall(r"[Pp]rocess (\d+)", error.diag.message_detail or "")}
        # The other one goes on, and may have come to its next statement.
        names = {name for process in processes for name in self.recent.get(process, ())}
        return bool(processes & self.meddlers or names & {"update some", "delete some"})


def some(numbers: random.Random) -> dict:
    """Parameters for any of the statements."""
    name, other = numbers.sample(NAMESPACES, 2)
    vector = "[" + ",".join(f"{numbers.gauss(0, 1):.3f}" for _ in range(DIMENSION)) + "]"
    index = numbers.choice(INDEXES)
    return {"i": index, "n": name, "other": other, "id": f"r{numbers.randrange(ROWS)}", "v": vector, "rows": numbers.randrange(1, ROWS)}


def caller(outcomes: Outcomes, statements: dict[str, str], allowed: set[str]):
    """A client that calls one function after the other."""

    def step(connection, number, numbers):
        name = numbers.choice(list(statements))
        outcomes.run(connection, name, statements[name], some(numbers), allowed)

    return step


def meddler(outcomes: Outcomes):
    """A client that alters tables."""

    def step(connection, number, numbers):
        outcomes.meddlers.add(connection.info.backend_pid)
        index = numbers.choice(INDEXES)
        found = connection.execute(FIND_LEAF, [index]).fetchone()
        if not found:
            return
        leaf, vector_index = found
        name = numbers.choice(list(STATEMENTS))
        words = {"leaf": leaf, "vector_index": vector_index, "index": index}
        words |= {"role": numbers.choice(ROLES), "number": numbers.randrange(1 << 40)}
        # Who looks into an index that is gone is told that it is none.
        allowed = GONE | {"42809"} if name in ("inspect", "check") else GONE
        outcomes.run(connection, name, STATEMENTS[name].format(**words), None, allowed)

    return step


@pytest.fixture
def indexes(server):
    """Three indexes: one that comes and goes, one with row security, and one that stays; with roles that own them in turns."""
    with server.connect() as connection:
        for role in ROLES:
            connection.execute(f"CREATE ROLE {role}; GRANT USAGE, CREATE ON SCHEMA public, ours TO {role}")
        connection.execute("CREATE ROLE reader; GRANT USAGE ON SCHEMA ours TO reader")
        for index in INDEXES:
            connection.execute("SELECT pc_create_index(%s, %s, 'euclidean')", [index, DIMENSION])
        connection.execute(
            """ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
               CREATE POLICY most ON guarded TO reader USING (id <> 'r none') WITH CHECK (true);
               GRANT SELECT, INSERT, UPDATE, DELETE ON brief, guarded, lasting TO reader;
               ALTER DEFAULT PRIVILEGES IN SCHEMA ours GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO reader"""
        )
    return server


@pytest.mark.parametrize("parallel", [False, True], ids=["alone", "workers"])
def test_nothing_but_what_is_documented(indexes, parallel, scaled, seed, record_result):
    server, outcomes = indexes, Outcomes()
    settings = {"conifer.tree_rows": "1000"}
    if parallel:
        settings["debug_parallel_query" if server.major >= 16 else "force_parallel_mode"] = "on"

    def as_reader(step):
        def stepping(connection, number, numbers):
            connection.execute("SET ROLE reader")
            step(connection, number, numbers)

        return stepping

    reads, writes = caller(outcomes, READS, TOLD), caller(outcomes, WRITES, REFUSED)
    steps = [reads, reads, as_reader(reads), writes, as_reader(writes)]
    steps += [caller(outcomes, DISTURBANCES, TOLD), caller(outcomes, DISTURBANCES, TOLD), meddler(outcomes)]
    done = at_work(server, steps, scaled(240, 10), seed, settings)
    assert outcomes.unexpected == [], "\n".join(outcomes.unexpected)
    # In ten seconds of a busy machine not everything has had its turn.
    assert scaled({"query", "upsert", "rename", "delete index", "copy", "vacuum"}, {"query", "upsert"}) <= outcomes.answers.keys()
    record_result(f"vanishing-{'workers' if parallel else 'alone'}", statements=sum(done), refused=sum(outcomes.refusals.values()))
    with server.connect() as connection:
        check_catalog(connection)
        model = Model()
        for (name,) in connection.execute("SELECT name FROM pc_list_indexes()").fetchall():
            model.indexes[name] = contents(connection, name)
        verify(connection, model)
