"""Every function that takes a filter, against a plain evaluator over all records; and many writers by filter at once."""

from __future__ import annotations

import math
import random

import psycopg
import pytest
from psycopg.types.json import Jsonb

import filters
from test_concurrency import blocked, connect, together, upsert

SEED = 20261127
DIMENSION = 48
#: The records of a namespace, the filters asked of it, and from how many rows on its index is a tree. Seven functions and a
#: query in plain SQL are asked each filter: over 10,000 cases.
SHAPES = {"small": (250, 1000, 1_000_000), "tree": (1400, 460, 1000), "gin": (1400, 150, 1000), "btree": (1400, 150, 1000)}


class Namespace:
    """A namespace, and what should be in it."""

    def __init__(self, connection, index: str, name: str, rng: random.Random):
        self.queries = 0
        self.connection, self.index, self.name, self.rng = connection, index, name, rng
        self.records: dict[str, tuple[list[float], dict | None]] = {}

    def call(self, query: str, *parameters) -> list[tuple]:
        return self.connection.execute(query, [self.index, self.name, *parameters]).fetchall()

    def upsert(self, ids) -> None:
        """Makes or replaces records."""
        for id in ids:
            vector = [self.rng.randrange(-50, 50) + 0.5 for _ in range(DIMENSION)]
            self.records[id] = (vector, filters.make_metadata(self.rng))
        new = [{"id": id, "values": self.records[id][0], "metadata": self.records[id][1] or {}} for id in ids]
        for record in new:
            if self.records[record["id"]][1] is None:
                del record["metadata"]
        assert self.call("SELECT pc_upsert(%s, %s, %s)", Jsonb(new)) == [(len(new),)]

    def delete(self, ids) -> None:
        assert self.call("SELECT pc_delete(%s, %s, %s::text[])", ids) == [(len(ids),)]
        for id in ids:
            del self.records[id]

    def passing(self, filter: dict) -> list[str]:
        """Their ids in C order."""
        found = [id for id, (_, metadata) in self.records.items() if filters.passes(metadata, filter)]
        return sorted(found, key=str.encode)

    def squared_distance(self, id: str, query: list[float]) -> float:
        return sum((a - b) ** 2 for a, b in zip(self.records[id][0], query, strict=True))

    def check_all(self, filter: dict) -> list[str]:
        """Asks every function that changes nothing for good, and one that is undone."""
        expected = self.passing(filter)
        self.check_query(filter, expected)
        self.check_order_by(filter, expected)
        assert self.call("SELECT pc_count(%s, %s, %s)", Jsonb(filter)) == [(len(expected),)]
        self.check_pages(filter, expected)
        self.check_facets(filter, expected)
        matched = self.connection.execute(
            f'SELECT id FROM "{self.index}" WHERE namespace = %s AND pc_matches(metadata, %s) ORDER BY id',
            [self.name, Jsonb(filter)],
        )
        assert [id for (id,) in matched] == expected
        update = "SELECT pc_update(%s, %s, filter => %s, set_metadata => '{\"x\": 1}', dry_run => true)"
        assert self.call(update, Jsonb(filter)) == [(len(expected),)]
        self.check_delete(filter, expected)
        return expected

    def check_query(self, filter: dict, expected: list[str]) -> None:
        """Exactly k rows come, all of which pass; they are the nearest if all that pass are asked for."""
        query = [self.rng.randrange(-50, 50) + 0.0 for _ in range(DIMENSION)]
        k = self.rng.choice([1, 10, len(self.records)])
        self.queries += 1
        exactly = self.queries % 5 == 0
        self.connection.execute("SELECT set_config('conifer.recall', %s, false)", ["1" if exactly else "0.95"])
        rows = self.call("SELECT id, score FROM pc_query(%s, %s, %s::vector, %s, %s)", str(query), k, Jsonb(filter))
        assert len(rows) == min(k, len(expected))
        assert {id for id, _ in rows} <= set(expected) and len({id for id, _ in rows}) == len(rows)
        # sums of quarters below 2^24: exact in single precision too
        exact = sorted((self.squared_distance(id, query), id.encode()) for id in expected)
        assert all(score == self.squared_distance(id, query) for id, score in rows)
        assert [(score, id.encode()) for id, score in rows] == sorted((score, id.encode()) for id, score in rows)
        if exactly or k >= len(expected):
            assert [(score, id.encode()) for id, score in rows] == exact[:k]

    def check_order_by(self, filter: dict, expected: list[str]) -> None:
        """The same by ORDER BY and LIMIT, from the plan node."""
        query = [self.rng.randrange(-50, 50) + 0.0 for _ in range(DIMENSION)]
        k = self.rng.choice([1, 10, len(self.records)])
        rows = self.connection.execute(
            f'SELECT id, values <-> %s::vector AS d FROM "{self.index}" WHERE namespace = %s AND pc_matches(metadata, %s)'
            " ORDER BY d LIMIT %s",
            [str(query), self.name, Jsonb(filter), k],
        ).fetchall()
        assert len(rows) == min(k, len(expected))
        assert {id for id, _ in rows} <= set(expected) and len({id for id, _ in rows}) == len(rows)
        assert all(distance == math.sqrt(self.squared_distance(id, query)) for id, distance in rows)
        assert [distance for _, distance in rows] == sorted(distance for _, distance in rows)

    def uses_signatures(self) -> bool:
        plan = self.connection.execute(
            f'EXPLAIN SELECT id FROM "{self.index}" WHERE namespace = %s AND pc_matches(metadata, %s)'
            " ORDER BY values <-> %s::vector LIMIT 3",
            [self.name, Jsonb({"genre": "a"}), str([0.0] * DIMENSION)],
        )
        return any("Signature Filter" in line for (line,) in plan)

    def check_pages(self, filter: dict, expected: list[str]) -> None:
        limit, token, found = self.rng.choice([7, 100, 10_000]), None, []
        fetch = "SELECT * FROM pc_fetch_by_metadata(%s, %s, %s, %s, %s)"
        while True:
            page = self.call(fetch, Jsonb(filter), limit, token)
            found += page
            token = page[-1][3] if page else None
            assert all(row[3] is None for row in page[:-1])
            assert len(page) == limit if token is not None else len(page) <= limit
            if token is None:
                break
        assert [row[0] for row in found] == expected
        for id, values, metadata, _ in found[:20]:
            assert (values, metadata) == (as_text(self.records[id][0]), self.records[id][1])

    def check_facets(self, filter: dict, expected: list[str]) -> None:
        field, limit = self.rng.choice(filters.FIELDS), self.rng.choice([1, 5, 10_000])
        rows = self.call("SELECT * FROM pc_facets(%s, %s, %s, %s, %s)", field, Jsonb(filter), limit)
        wanted = filters.facets([self.records[id][1] for id in expected], field)
        assert [(filters.key(value), count) for value, count in rows] == wanted[:limit]

    def check_delete(self, filter: dict, expected: list[str]) -> None:
        with self.connection.transaction(force_rollback=True):
            delete = "SELECT pc_delete(%s, %s, filter => %s)"
            assert self.call(delete, Jsonb(filter)) == [(len(expected),)]
            left = [id for (id,) in self.call('SELECT id FROM pc_list(%s, %s, "limit" => 100000)')]
            assert set(left) == set(self.records) - set(expected)

    def update(self, filter: dict) -> None:
        """A change for good."""
        expected = self.passing(filter)
        set_metadata = filters.make_metadata(self.rng) or {"ok": True}
        remove = [field for field in filters.FIELDS if field not in set_metadata and self.rng.random() < 0.3]
        update = "SELECT pc_update(%s, %s, filter => %s, set_metadata => %s, remove_metadata => %s::text[])"
        assert self.call(update, Jsonb(filter), Jsonb(set_metadata), remove) == [(len(expected),)]
        for id in expected:
            vector, metadata = self.records[id]
            kept = {field: value for field, value in (metadata or {}).items() if field not in remove}
            self.records[id] = (vector, kept | set_metadata)

    def check_records(self) -> None:
        """Is everything there, and nothing else?"""
        rows = self.call("SELECT id, values, metadata FROM pc_fetch(%s, %s, %s::text[])", list(self.records))
        assert {row[0]: row[1:] for row in rows} == {
            id: (as_text(vector), metadata) for id, (vector, metadata) in self.records.items()
        }


def as_text(vector: list[float]) -> str:
    return "[" + ",".join(f"{value:g}" for value in vector) + "]"


@pytest.fixture
def session(database):
    with connect(database) as connection:
        connection.execute("SELECT pc_create_index('filtered', %s, metric => 'euclidean')", [DIMENSION])
        yield connection
        connection.execute("SELECT pc_delete_index('filtered')")


@pytest.mark.parametrize("shape", SHAPES)
def test_all_functions_against_all_records(session, shape):
    """Filters and metadata from a seed; between them records come, change and go, and VACUUM writes the index anew."""
    records, count, tree_rows = SHAPES[shape]
    rng = random.Random(f"{SEED} {shape}")
    session.execute("SELECT set_config('conifer.tree_rows', %s, false)", [str(tree_rows)])
    namespace = Namespace(session, "filtered", shape, rng)
    namespace.upsert([f"r{number}" for number in range(records)])
    leaf = session.execute("SELECT relation FROM pc_list_namespaces('filtered')").fetchone()[0]
    index = session.execute(
        "SELECT c.oid::regclass::text, c.oid FROM pg_index i JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam"
        " WHERE indrelid = %s::regclass AND amname = 'conifer'",
        [leaf],
    ).fetchone()[0]
    if shape == "gin":  # which tells the rows that match, where they are few
        session.execute("CREATE INDEX ON filtered USING gin (metadata jsonb_path_ops)")
    if shape == "btree":
        for field in filters.FIELDS:
            session.execute(f"CREATE INDEX ON filtered (pc_number(metadata, '{field}'))")
            session.execute(f"CREATE INDEX ON filtered (pc_string(metadata, '{field}'), pc_number(metadata, 'year'))")
        session.execute("CREATE INDEX ON filtered (pc_string(metadata, 'tags') COLLATE \"C\", pc_string(metadata, 'genre') COLLATE \"C\")")
    session.execute("SET enable_sort = off")  # nobody tells the planner how large the leaf is
    assert namespace.uses_signatures()
    some, forms = 0, set()
    for number in range(count):
        filter = filters.make_filter(rng)
        try:
            found = namespace.check_all(filter)
        except AssertionError as error:
            raise AssertionError(f"filter {number} of {shape}: {filter}") from error
        some += 0 < len(found) < len(namespace.records)
        if number % 10 == 5:
            namespace.upsert([f"r{rng.randrange(records * 2)}" for _ in range(1)])
            namespace.delete(rng.sample(sorted(namespace.records), 1))
        if number % 40 == 20:
            fitting = filters.make_filter(rng)
            if len(namespace.passing(fitting)) < len(namespace.records) / 10:
                namespace.update(fitting)
        if number % 100 == 50:
            namespace.check_records()
            session.execute(f"VACUUM {leaf}")
            forms.add(session.execute("SELECT conifer_inspect(%s::regclass) ->> 'form'", [index]).fetchone()[0])
            assert session.execute("SELECT * FROM conifer_check(%s::regclass)", [index]).fetchall() == []
    namespace.check_records()
    if shape == "gin":
        assert asks(session, leaf, shape, '{"genre": "rare"}')
    if shape == "btree":
        assert asks(session, leaf, shape, '{"year": {"$gt": 88, "$lt": 99}}')
        assert asks(session, leaf, shape, '{"genre": "rare"}')
        assert asks(session, leaf, shape, '{"tags": {"$in": ["rare", "rarer"]}, "genre": "rare"}')
    # it was not all or nothing that passed, and the index had the form meant
    assert some > count / 2
    assert forms == {"flat" if shape == "small" else "tree"}


def asks(session, leaf: str, method: str, filter: str) -> bool:
    """Does pc_query ask an ordinary index for a record that one in a thousand is?"""
    session.execute(
        "SELECT pc_upsert('filtered', %s, 'rare', %s::vector, '{\"genre\": \"rare\", \"year\": 90, \"tags\": [\"rarer\"]}')",
        [method, str([0.5] * DIMENSION)],
    )
    query = "SELECT id FROM pc_query('filtered', %s, %s::vector, 3, %s)"
    scans = (
        "SELECT sum(idx_scan) FROM pg_stat_all_indexes s JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam"
        " JOIN pg_index i USING (indexrelid) WHERE s.relid = %s::regclass AND amname = %s AND NOT indisunique"
    )
    counts = []
    for _ in range(2):
        session.execute("SELECT pg_stat_force_next_flush()")
        session.execute("SELECT pg_stat_clear_snapshot()")
        counts.append(session.execute(scans, [leaf, method]).fetchone()[0])
        assert session.execute(query, [method, str([0.0] * DIMENSION), filter]).fetchall() == [("rare",)]
    return counts[1] > counts[0]


CALLS = [
    "SELECT pc_matches('{}', %s)",
    "SELECT pc_count('filtered', 't', %s)",
    "SELECT pc_query('filtered', 't', id => 'none', filter => %s)",
    "SELECT pc_query_json('filtered', 'none', id => 'none', filter => %s)",
    "SELECT pc_fetch_by_metadata('filtered', 't', %s)",
    "SELECT pc_facets('filtered', 'none', 'f', %s)",
    "SELECT pc_update('filtered', 't', filter => %s, set_metadata => '{\"x\": 1}')",
    "SELECT pc_update('filtered', 'none', filter => %s, dry_run => true)",
    "SELECT pc_delete('filtered', 't', filter => %s)",
]


def test_malformed_filters(session):
    """Each is one error that names its place, whichever function is given it, and changes nothing."""
    namespace = Namespace(session, "filtered", "t", random.Random(SEED))
    namespace.upsert(["A", "B", "C"])
    bad = filters.malformed()
    assert len(bad) >= 200
    for number, (filter, path) in enumerate(bad):
        call = CALLS[number % len(CALLS)]
        with pytest.raises(psycopg.errors.InvalidParameterValue) as raised:
            session.execute(call, [Jsonb(filter)])
        message = raised.value.diag.message_primary
        assert message.startswith(f"invalid filter at {path}: "), f"{filter}: {message}"
        assert raised.value.diag.message_hint
    namespace.check_records()


@pytest.fixture(params=["direct", "by statements"])
def one_record(session, request, database):
    """A record of metadata {"state": "old"}, reached directly or, the index having a trigger, by statements on its root."""
    if request.param == "by statements":
        session.execute(
            "CREATE OR REPLACE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
        )
        session.execute(
            "CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON filtered FOR EACH ROW EXECUTE FUNCTION public.nothing()"
        )
    upsert(session, "filtered", "t", "A", [1.0] * DIMENSION, {"state": "old"})
    return database


UPDATE = "SELECT pc_update('filtered', 't', filter => '{\"state\": \"old\"}', set_metadata => '{\"seen\": true}')"
DELETE = "SELECT pc_delete('filtered', 't', filter => '{\"state\": \"old\"}')"
#: What the first writer does, and what metadata is then left by an update that waited for it, and by a delete.
MEANWHILE = [
    ("SELECT pc_update('filtered', 't', 'A', set_metadata => '{\"state\": \"new\"}')", {"state": "new"}, {"state": "new"}),
    ("SELECT pc_update('filtered', 't', 'A', set_metadata => '{\"n\": 1}')", {"state": "old", "n": 1, "seen": True}, None),
    ("SELECT pc_delete('filtered', 't', ARRAY['A'])", None, None),
]  # fmt: skip


@pytest.mark.parametrize("statement", [UPDATE, DELETE])
@pytest.mark.parametrize("meanwhile, after_update, after_delete", MEANWHILE)
@pytest.mark.parametrize("commits", [True, False])
def test_a_record_changed_meanwhile_is_looked_at_again(
    one_record, session, statement, meanwhile, after_update, after_delete, commits
):
    """Read committed: who waited goes by what the other has made of the record."""
    with connect(one_record, autocommit=False) as first:
        assert first.execute(meanwhile).fetchone() == (1,)
        with blocked(one_record, lambda second: second.execute(statement).fetchone()) as future:
            first.commit() if commits else first.rollback()
            written = future.result(30)
    left = session.execute("SELECT metadata FROM pc_fetch('filtered', 't', ARRAY['A'])").fetchone()
    if not commits:
        after_update, after_delete = {"state": "old", "seen": True}, None
    wanted = after_update if statement == UPDATE else after_delete
    assert left == (None if wanted is None else (wanted,))
    untouched = commits and ("new" in meanwhile or "delete" in meanwhile)
    assert written == ((0,) if untouched else (1,))


@pytest.mark.parametrize("statement", [UPDATE, DELETE])
def test_repeatable_read_does_not_pass_over_a_change(one_record, statement):
    def second(connection):
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT pc_count('filtered', 't')")
        with pytest.raises(psycopg.errors.SerializationFailure):
            connection.execute(statement)
        connection.execute("ROLLBACK")

    with connect(one_record, autocommit=False) as first:
        first.execute(MEANWHILE[0][0])
        with blocked(one_record, second) as future:
            first.commit()
            future.result(30)


def test_writers_by_filter_lose_nothing(session, database):
    """Each of many updates adds its mark to every record: none overwrites another's."""
    vectors = [{"id": f"r{n}", "values": [1] * DIMENSION, "metadata": {"all": 1}} for n in range(50)]
    session.execute("SELECT pc_upsert('filtered', 't', %s)", [Jsonb(vectors)])
    update = "SELECT pc_update('filtered', 't', filter => '{\"all\": 1}', set_metadata => %s)"
    done = together(database, 8, lambda c, n: c.execute(update, [Jsonb({f"by{n}": True})]).fetchone())
    assert done == [(50,)] * 8
    facet = "SELECT count FROM pc_facets('filtered', 't', %s)"
    assert [session.execute(facet, [f"by{n}"]).fetchone() for n in range(8)] == [(50,)] * 8
