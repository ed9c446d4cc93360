"""pc_query_namespaces against the answers of pc_query in each namespace, merged here: sizes, filters, rights, row security."""

from __future__ import annotations

import json
import random

import psycopg
import pytest

#: Records of each namespace: none, few, and so many that its vector index is used.
SIZES = [0, 1, 3, 40, 200, 800, 3000]
DIMENSION = 8
GENRES = ["drama", "crime", "comedy", "western"]


@pytest.fixture(scope="module", params=["alone", "with workers"])
def session(database, request):
    with psycopg.connect(database, autocommit=True, options="-c search_path=ours,public") as connection:
        connection.execute("SELECT pc_create_index('several', %s::integer, metric => 'euclidean')", [DIMENSION])
        rng = random.Random(17)
        for number, size in enumerate(SIZES):
            connection.execute("SELECT pc_create_namespace('several', %s)", [f"n{number}"])
            ids = [f"r{one}" for one in range(size)]
            vectors = [vector(rng) for _ in ids]
            metadata = [json.dumps({"genre": rng.choice(GENRES), "number": rng.randrange(100)}) for _ in ids]
            connection.execute(
                "SELECT pc_upsert('several', %s, %s::text[], %s::vector[], %s::jsonb[])",
                [f"n{number}", ids, vectors, metadata],
            )
        if request.param == "with workers":
            forced = "debug_parallel_query" if connection.info.server_version >= 160000 else "force_parallel_mode"
            connection.execute(f"SET {forced} = on; SET max_parallel_workers_per_gather = 2")
        else:
            connection.execute("SET max_parallel_workers_per_gather = 0")
        yield connection
        connection.execute("SELECT pc_delete_index('several')")


def vector(rng: random.Random) -> str:
    # whole numbers, so that there are ties
    return str([rng.randrange(6) for _ in range(DIMENSION)])


def merged(session, names: list[str], query: str, k: int, filter: str | None) -> list[tuple]:
    rows = []
    for name in names:
        found = session.execute(
            "SELECT id, score, values::text, metadata FROM pc_query('several', %s, %s::vector, %s::integer, %s::jsonb, true, true)",
            [name, query, k, filter],
        )
        rows += [(score, id, name, values, metadata) for id, score, values, metadata in found]
    rows.sort(key=lambda row: row[:3])
    return rows[:k]


def asked(session, names: list[str] | None, query: str, k: int, filter: str | None, prefix=None) -> list[tuple]:
    found = session.execute(
        "SELECT score, id, namespace, values::text, metadata"
        " FROM pc_query_namespaces('several', %s::text[], %s::vector, %s::integer, %s::jsonb, true, true, %s)"
        # What is not to be done in parallel, or else one worker would be forced to do all of it, and has no workers itself.
        " WHERE pg_current_xact_id() IS NOT NULL",
        [names, query, k, filter, prefix],
    )
    return found.fetchall()


def test_it_is_the_best_of_all(session):
    rng = random.Random(5)
    session.execute("SET conifer.recall = 1")
    for _ in range(150):
        names = rng.sample([f"n{number}" for number in range(len(SIZES))], rng.randrange(1, len(SIZES) + 1))
        query, k = vector(rng), rng.choice([1, 5, 50, 2000])
        filter = rng.choice([None, {"genre": rng.choice(GENRES)}, {"number": {"$lt": 3}}, {"number": 5, "genre": "drama"}])
        filter = filter and json.dumps(filter)
        assert asked(session, names, query, k, filter) == merged(session, names, query, k, filter)
    session.execute("RESET conifer.recall")


def launched(session) -> int:
    """Workers begun so far in this database, which PostgreSQL tells since 18."""
    session.execute("SELECT pg_stat_force_next_flush()")
    query = "SELECT parallel_workers_launched FROM pg_stat_database WHERE datname = current_database()"
    return session.execute(query).fetchone()[0]


def test_workers_are_begun_where_they_are_wanted(session, request):
    if session.info.server_version < 180000:
        pytest.skip("does not tell")
    before = launched(session)
    asked(session, None, "[1,1,1,1,1,1,1,1]", 5, None, "")
    with_workers = session.execute("SHOW debug_parallel_query").fetchone() == ("on",)
    assert (launched(session) > before) == with_workers


def test_what_the_transaction_wrote(session):
    """Namespaces, records and an index of its own that are not committed, and errors: nothing is left behind."""
    query = "[9,9,9,9,9,9,9,9]"
    with session.transaction(force_rollback=True):
        for name in ("n3", "new1", "new2"):
            session.execute("SELECT pc_upsert('several', %s, 'near', %s::vector)", [name, query])
        session.execute("SELECT pc_delete_namespace('several', 'n2')")
        with pytest.raises(psycopg.errors.DataException), session.transaction():
            asked(session, None, "[1]", 5, None, "")
        found = asked(session, None, query, 3, None, "n")
        assert [row[:3] for row in found] == [(0.0, "near", name) for name in ("n3", "new1", "new2")]
        assert not {row[2] for row in asked(session, None, query, 10_000, None, "n")} & {"n2"}
    assert asked(session, None, query, 1, None, "n")[0][1] != "near"


@pytest.mark.parametrize("index", [None, "gin (metadata)"])
def test_recall_is_kept(session, index):
    rng = random.Random(6)
    names = [f"n{number}" for number in range(len(SIZES))]
    if index:  # tells which records match, instead of those looked at before
        session.execute(f"CREATE INDEX several_metadata ON several USING {index}")
    hits = wanted = 0
    for _ in range(100):
        query = vector(rng)
        filter = rng.choice([None, json.dumps({"genre": rng.choice(GENRES)})])
        session.execute("SET conifer.recall = 1")
        exact = asked(session, None, query, 10, filter, "")
        session.execute("SET conifer.recall = 0.99")
        found = asked(session, None, query, 10, filter, "n")
        assert len(found) == 10 and len({row[1:3] for row in found}) == 10
        # whichever of equals it is
        hits += sum(row[0] <= exact[-1][0] for row in found)
        wanted += 10
    session.execute("RESET conifer.recall")
    if index:
        session.execute("DROP INDEX several_metadata")
    assert hits / wanted >= 0.98, (hits, wanted)


def test_more_namespaces_than_locks(session):
    """Each is given back before the next is asked."""
    names = [f"n{number}" for number in range(len(SIZES))]
    with session.transaction():
        asked(session, names, "[1,1,1,1,1,1,1,1]", 10, None)
        held = session.execute(
            "SELECT count(*) FROM pg_locks JOIN conifer.namespaces ON leaf = relation WHERE pid = pg_backend_pid()"
        )
        assert held.fetchone() == (0,)


def test_rights_on_one_namespace(session):
    leaf = session.execute("SELECT relation FROM pc_list_namespaces('several', 'n4')").fetchone()[0]
    session.execute("CREATE ROLE several_tenant")
    try:
        session.execute(f"GRANT USAGE ON SCHEMA ours TO several_tenant; GRANT SELECT ON {leaf} TO several_tenant")
        session.execute("SET ROLE several_tenant")
        query = "[1,1,1,1,1,1,1,1]"
        own = asked(session, ["n4"], query, 5, None)
        assert len(own) == 5 and asked(session, None, query, 5, None, "") == own
        for others in (["n4", "n5"], ["none"]):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                asked(session, others, query, 5, None)
        session.execute("RESET ROLE")
        # by row security a part of each
        session.execute("GRANT SELECT ON several TO several_tenant")
        session.execute("ALTER TABLE several ENABLE ROW LEVEL SECURITY")
        session.execute("CREATE POLICY part ON several TO several_tenant USING (namespace = 'n5' AND id < 'r3')")
        session.execute("SET ROLE several_tenant")
        found = asked(session, ["n4", "n5"], query, 1000, None)
        assert found == merged(session, ["n5"], query, 1000, None) and 0 < len(found) < 1000
        assert {row[2] for row in found} == {"n5"} and all(row[1] < "r3" for row in found)
    finally:
        session.execute("RESET ROLE")
        session.execute("DROP POLICY IF EXISTS part ON several")
        session.execute("ALTER TABLE several DISABLE ROW LEVEL SECURITY")
        session.execute("DROP OWNED BY several_tenant")
        session.execute("DROP ROLE several_tenant")
