"""The rows of a query are the same with and without Custom Scan (ConiferTopK).

Some hundreds of generated queries run twice on a server, with conifer.enable_topk_scan on and off. CONIFER_TEST_DSN
names a server and a superuser; the test makes a database of its own. CONIFER_TEST_SEED repeats a failure.
"""

import math
import os
import random
import threading
import time
import uuid

import psycopg
import pytest

DSN = os.environ["CONIFER_TEST_DSN"]
SEED = int(os.environ.get("CONIFER_TEST_SEED", "20240607"))
OPERATORS = ["<->", "<#>", "<=>", "<+>"]
DIM, WIDE = 8, 3000
ROWS = 1500

# -- data ---------------------------------------------------------------------------------------------------------


def vector_text(rng, dim=DIM):
    return "[" + ",".join(f"{rng.uniform(-1, 1):.4f}" for _ in range(dim)) + "]"


def stored_vector(rng, number, seen):
    """Mostly random; some NULL, zero (NaN under cosine) and duplicate vectors."""
    if number % 47 == 0:
        return None
    if number % 53 == 0:
        return "[" + ",".join(["0"] * DIM) + "]"
    if number % 11 == 0 and seen:
        return rng.choice(seen)
    seen.append(vector_text(rng))
    return seen[-1]


SCHEMA = f"""
CREATE TABLE item (id int PRIMARY KEY, ns text NOT NULL, grp int NOT NULL, price numeric, v vector({DIM}), note text);
CREATE TABLE grp (grp int PRIMARY KEY, name text, q vector({DIM}));
CREATE TABLE wide (id int PRIMARY KEY, grp int, v vector({WIDE}));
CREATE TABLE nothing (id int, grp int, v vector({DIM}));
CREATE TABLE part (id int NOT NULL, ns text COLLATE "C" NOT NULL, grp int, v vector({DIM})) PARTITION BY HASH (ns);
CREATE TABLE part_0 PARTITION OF part FOR VALUES WITH (MODULUS 2, REMAINDER 0) PARTITION BY LIST (ns);
CREATE TABLE part_1 PARTITION OF part FOR VALUES WITH (MODULUS 2, REMAINDER 1) PARTITION BY LIST (ns);
CREATE TABLE guarded (id int PRIMARY KEY, owner text, grp int, v vector({DIM}));
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON guarded USING (owner = current_setting('test.owner'));
"""


def create_leaves(connection, namespaces):
    """A leaf for each namespace, in whichever hash partition takes it."""
    for name in namespaces:
        for bucket in (0, 1):
            takes = connection.execute(
                f"SELECT satisfies_hash_partition('part'::regclass, 2, {bucket}, %s::text)", [name]
            ).fetchone()[0]
            if takes:
                connection.execute(f"CREATE TABLE part_{name} PARTITION OF part_{bucket} FOR VALUES IN ('{name}')")


def fill(connection):
    rng = random.Random(7)
    seen = []
    items = [
        (number, f"n{number % 5}", number % 23, number % 97, stored_vector(rng, number, seen), "x" * (number % 300))
        for number in range(1, ROWS + 1)
    ]
    cursor = connection.cursor()
    cursor.executemany("INSERT INTO item VALUES (%s, %s, %s, %s, %s::text::vector, %s)", items)
    cursor.executemany(
        "INSERT INTO grp VALUES (%s, %s, %s::text::vector)",
        [(g, f"g{g}", None if g == 4 else vector_text(rng)) for g in range(30)],
    )
    create_leaves(connection, [f"n{n}" for n in range(5)])
    connection.execute("INSERT INTO part SELECT id, ns, grp, v FROM item WHERE id <= 900")
    connection.execute(f"INSERT INTO guarded SELECT id, 'o' || id % 3, grp, v FROM item WHERE id <= 600")
    cursor.executemany(
        "INSERT INTO wide VALUES (%s, %s, %s::text::vector)",
        [(n, n % 3, None if n == 9 else vector_text(rng, WIDE)) for n in range(1, 61)],
    )


@pytest.fixture(scope="module")
def tables():
    """The connection string of a database with the tables above, and a role that may read them."""
    name, role = f"topk_{uuid.uuid4().hex[:8]}", f"reader_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(DSN, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        admin.execute(f"CREATE ROLE {role}")
    # No statement may wait for ever when a check fails half-way.
    dsn = psycopg.conninfo.make_conninfo(DSN, dbname=name, options="-c statement_timeout=30s")
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION conifer")
            connection.execute(SCHEMA)
            connection.execute("BEGIN")
            fill(connection)
            connection.execute("COMMIT")
            connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
            connection.execute("VACUUM ANALYZE")
        yield dsn, role
    finally:
        with psycopg.connect(DSN, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
            admin.execute(f"DROP ROLE {role}")


# -- running a query both ways ------------------------------------------------------------------------------------

NODE = "Custom Scan (ConiferTopK)"


class Pair:
    """One connection, and how often the node was planned in each family of queries."""

    def __init__(self, dsn):
        self.connection = psycopg.connect(dsn, autocommit=True, prepare_threshold=None)
        self.connection.execute("SELECT '[1]'::vector")  # loads the library, and with it the setting
        self.connection.execute("SET jit = off")
        self.used, self.asked = 0, 0

    def switch(self, on):
        self.connection.execute(f"SET conifer.enable_topk_scan = {'on' if on else 'off'}")
        # The tables are small; a sort may be estimated cheaper by a hair.
        self.connection.execute(f"SET enable_sort = {'off' if on else 'on'}")

    def plan(self, sql):
        return "\n".join(row[0] for row in self.connection.execute(f"EXPLAIN (COSTS OFF) {sql}").fetchall())

    def count(self, sql, must_use=False):
        """Notes whether the node is used when on; checks that it is not when off."""
        self.switch(False)
        assert NODE not in self.plan(sql), sql
        self.switch(True)
        plan = self.plan(sql)
        if "NULL::vector" not in sql and "WHERE false" not in sql:  # those are folded away before there is a scan
            self.asked += 1
            self.used += NODE in plan
        assert NODE in plan or not must_use, f"{sql}\n{plan}"

    def outcome(self, run):
        """The rows, or the error's SQLSTATE and message."""
        try:
            return run(self.connection)
        except psycopg.Error as error:
            if not self.connection.autocommit or self.connection.info.transaction_status.name == "INERROR":
                self.connection.execute("ROLLBACK")
            return (error.sqlstate, error.diag.message_primary)

    def both(self, run):
        self.switch(True)
        on = self.outcome(run)
        self.switch(False)
        return on, self.outcome(run)

    def compare(self, sql, exact, distances=0):
        """Runs a query both ways. Not `exact`: rows tied with the first or last distance may differ."""
        on, off = self.both(lambda connection: connection.execute(sql).fetchall())
        assert_same(on, off, exact, distances, sql)
        return on


def key(row):
    return tuple("NaN" if isinstance(cell, float) and math.isnan(cell) else repr(cell) for cell in row)


def assert_same(on, off, exact, distance_at, sql):
    if isinstance(off, tuple) or isinstance(on, tuple):
        assert on == off, sql
        return
    assert len(on) == len(off), f"{sql}\n{len(on)} rows, not {len(off)}"
    if exact:
        assert [key(row) for row in on] == [key(row) for row in off], sql
        return
    distance = lambda row: key((row[distance_at],))
    assert [distance(row) for row in on] == [distance(row) for row in off], sql
    ambiguous = {distance(row) for row in off[:1] + off[-1:]}
    settled = lambda rows: sorted(key(row) for row in rows if distance(row) not in ambiguous)
    assert settled(on) == settled(off), sql


@pytest.fixture
def pair(tables):
    pair = Pair(tables[0])
    yield pair
    pair.connection.close()
    if pair.asked:
        print(f"ConiferTopK in {pair.used} of {pair.asked} plans")
        assert pair.used * 10 >= pair.asked * 9, f"only {pair.used} of {pair.asked} plans used the node"


# -- generated queries --------------------------------------------------------------------------------------------

QUALS = [
    "true", "grp = 3", "grp < 12 AND price > 20", "note LIKE 'xx%'", "id % 2 = 0", "v IS NOT NULL", "price IS NULL",
    "ns IN ('n1', 'n2')", "id = ANY (ARRAY[1, 5, 9, 700])", "grp IN (SELECT grp FROM grp WHERE name > 'g2')",
    "v <-> '[1,0,0,0,0,0,0,0]' < 1.6", "EXISTS (SELECT 1 FROM grp g WHERE g.grp = t.grp AND g.q IS NOT NULL)",
    "id <> 47 AND length(note) < 250", "false", "id < 1000000",
]  # fmt: skip


class Queries:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def query_vector(self):
        kind = self.rng.random()
        if kind < 0.04:
            return "NULL::vector"
        if kind < 0.08:
            return "'[0,0,0,0,0,0,0,0]'::vector"
        return f"'{vector_text(self.rng)}'::vector"

    def distance(self, column="t.v", vector=None):
        sides = [column, vector or self.query_vector()]
        self.rng.shuffle(sides)
        return f"({sides[0]} {self.rng.choice(OPERATORS)} {sides[1]})"

    def limit(self):
        text = f"LIMIT {self.rng.choice([0, 1, 1, 3, 10, 10, 50, 200, 5000])}"
        if self.rng.random() < 0.3:
            text += f" OFFSET {self.rng.choice([0, 1, 7, 120, 3000])}"
        return text

    def qual(self):
        return self.rng.choice(QUALS)


def seeds(count):
    return [pytest.param(SEED + n, id=str(SEED + n)) for n in range(count)]


@pytest.mark.parametrize("seed", seeds(8))
def test_quals_limits_and_offsets(pair, seed):
    queries = Queries(seed)
    for _ in range(20):
        distance, exact = queries.distance(), queries.rng.random() < 0.5
        order = f"{distance}, id" if exact else distance
        sql = f"SELECT {distance} AS d, id, ctid FROM item t WHERE {queries.qual()} ORDER BY {order} {queries.limit()}"
        pair.count(sql)
        pair.compare(sql, exact)


@pytest.mark.parametrize("seed", seeds(2))
def test_with_ties(pair, seed):
    queries = Queries(seed)
    for _ in range(12):
        distance = queries.distance()
        sql = f"""SELECT {distance} AS d, id FROM item t WHERE {queries.qual()}
                  ORDER BY {distance} FETCH FIRST {queries.rng.choice([1, 5, 40])} ROWS WITH TIES"""
        pair.count(sql)
        on, off = pair.both(lambda connection: sorted(map(key, connection.execute(sql).fetchall())))
        assert on == off, sql


@pytest.mark.parametrize("seed", seeds(3))
def test_joins_ask_for_more_than_k(pair, seed):
    queries = Queries(seed)
    pair.connection.execute("SET enable_hashjoin = off")
    pair.connection.execute("SET enable_mergejoin = off")
    for _ in range(10):
        distance = queries.distance()
        kind = queries.rng.choice(["JOIN", "LEFT JOIN"])
        threshold = queries.rng.choice(["g.name > 'g1'", "g.name = 'g7'", "g.q IS NOT NULL AND g.grp > 21"])
        sql = f"""SELECT {distance} AS d, t.id, g.name FROM item t {kind} grp g ON g.grp = t.grp AND {threshold}
                  WHERE t.id > 3 ORDER BY {distance}, t.id {queries.limit()}"""
        pair.count(sql)
        pair.compare(sql, exact=True)


@pytest.mark.parametrize("seed", seeds(3))
def test_lateral_and_correlated(pair, seed):
    queries = Queries(seed)
    for _ in range(6):
        k, low = queries.rng.choice([1, 2, 5]), queries.rng.randrange(1, 1400)
        inner = queries.distance("i.v", "o.v")
        sql = f"""SELECT o.id, x.d, x.id FROM item o,
                  LATERAL (SELECT {inner} AS d, i.id FROM item i WHERE i.grp = o.grp ORDER BY {inner}, i.id LIMIT {k}) x
                  WHERE o.id BETWEEN {low} AND {low + 25} ORDER BY o.id, x.d, x.id"""
        pair.count(sql)
        pair.compare(sql, exact=True)
        sql = f"""SELECT o.id, ARRAY(SELECT i.id FROM item i WHERE i.grp < o.grp ORDER BY {inner}, i.id LIMIT {k} OFFSET 1)
                  FROM item o WHERE o.id BETWEEN {low} AND {low + 25} ORDER BY o.id"""
        pair.count(sql)
        pair.compare(sql, exact=True)


@pytest.mark.parametrize("seed", seeds(3))
def test_ctes_and_subqueries(pair, seed):
    queries = Queries(seed)
    for _ in range(8):
        distance, limit = queries.distance(), queries.limit()
        materialized = queries.rng.choice(["MATERIALIZED", "NOT MATERIALIZED"])
        inner = f"SELECT {distance} AS d, id, grp FROM item t WHERE {queries.qual()} ORDER BY {distance}, id {limit}"
        for sql in [
            f"WITH best AS {materialized} ({inner}) SELECT * FROM best ORDER BY d, id",
            f"SELECT count(*), min(d), max(d) FROM ({inner}) best",
            f"SELECT g.name, best.d, best.id FROM ({inner}) best JOIN grp g USING (grp) ORDER BY best.d, best.id",
            f"({inner}) UNION ALL ({inner})",
        ]:
            pair.count(sql)
            pair.compare(sql, exact=True)


@pytest.mark.parametrize("seed", seeds(3))
def test_cursors(pair, seed):
    queries = Queries(seed)
    for _ in range(8):
        distance = queries.distance()
        sql = f"SELECT {distance} AS d, id FROM item t WHERE {queries.qual()} ORDER BY {distance}, id {queries.limit()}"
        scroll = queries.rng.choice(["NO SCROLL", "SCROLL", ""])
        moves = [f"FETCH {queries.rng.choice([1, 2, 5, 30])} FROM c" for _ in range(4)]
        if scroll == "SCROLL":
            moves += ["FETCH BACKWARD 7 FROM c", "FETCH ABSOLUTE 3 FROM c", "MOVE ABSOLUTE 0 FROM c"]
        moves += ["FETCH ALL FROM c"]

        def run(connection):
            rows = []
            connection.execute("BEGIN")
            connection.execute(f"DECLARE c {scroll} CURSOR FOR {sql}")
            for move in moves:
                cursor = connection.execute(move)
                rows.append(cursor.fetchall() if cursor.description else cursor.statusmessage)
            connection.execute("COMMIT")
            return [(repr([key(row) for row in part]),) for part in rows]

        pair.count(sql)
        on, off = pair.both(run)
        assert_same(on, off, True, 0, f"{scroll} {sql}")


def test_a_cursor_sees_its_own_snapshot(pair):
    """Rows changed after the cursor was opened, in later passes as in the first one."""
    distance = "t.v <-> '[1,1,1,1,1,1,1,1]'::vector"
    sql = f"SELECT {distance} AS d, t.id FROM item t JOIN grp g ON g.grp = t.grp AND g.name > 'g3' ORDER BY {distance}, t.id LIMIT 300"
    pair.connection.execute("SET enable_hashjoin = off")
    pair.connection.execute("SET enable_mergejoin = off")

    def run(connection):
        connection.execute("BEGIN")
        connection.execute(f"DECLARE c CURSOR FOR {sql}")
        rows = connection.execute("FETCH 5 FROM c").fetchall()
        connection.execute("UPDATE item SET v = NULL WHERE id % 2 = 0")
        connection.execute("DELETE FROM item WHERE id % 3 = 0")
        connection.execute("INSERT INTO item SELECT id + 100000, ns, grp, price, '[1,1,1,1,1,1,1,1]', note FROM item LIMIT 50")
        rows += connection.execute("FETCH ALL FROM c").fetchall()
        connection.execute("ROLLBACK")
        return rows

    pair.count(sql, must_use=True)
    on, off = pair.both(run)
    assert len(off) == 300
    assert_same(on, off, True, 0, sql)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan", "auto"])
@pytest.mark.parametrize("seed", seeds(2))
def test_prepared_statements(pair, seed, mode):
    queries = Queries(seed)
    pair.connection.execute(f"SET plan_cache_mode = {mode}")
    for number in range(5):
        distance = queries.distance(vector="$1")
        limit = queries.rng.choice(["LIMIT $2", "LIMIT $2 OFFSET $3", "LIMIT $2 + 1 OFFSET abs($3)"])
        sql = f"""SELECT {distance} AS d, id FROM item t WHERE grp > $3 AND {queries.qual()}
                  ORDER BY {distance}, id {limit}"""
        arguments = [
            f"{queries.query_vector()}, {queries.rng.choice(['0', '1', '5', '60', '4000', 'NULL'])}, {queries.rng.randrange(20)}"
            for _ in range(7)
        ] + [f"{queries.query_vector()}, -1, 2", "'[1,2]', 3, 4"]

        def run(connection):
            connection.execute("DEALLOCATE ALL")
            connection.execute(f"PREPARE q (vector, bigint, int) AS {sql}")
            outcomes = []
            for argument in arguments:
                outcomes.append((repr(pair.outcome(lambda c: list(map(key, c.execute(f"EXECUTE q ({argument})").fetchall())))),))
            return outcomes

        on, off = pair.both(run)
        assert_same(on, off, True, 0, sql)
        pair.switch(True)
        run(pair.connection)
        if "AND false" not in sql:
            pair.asked += 1
            pair.used += NODE in pair.plan(f"EXECUTE q ('{vector_text(queries.rng)}', 5, 1)")


def test_parameters_from_initplans(pair):
    for id in [1, 2, 47, 53, 60, -1]:  # 47: NULL, 53: zeros, -1: no row
        for operator in OPERATORS:
            distance = f"t.v {operator} (SELECT v FROM item WHERE id = {id})"
            for sql in [
                f"SELECT {distance} AS d, id FROM item t ORDER BY {distance}, id LIMIT 9",
                f"SELECT {distance} AS d, id FROM item t ORDER BY {distance} LIMIT (SELECT count(*) FROM grp WHERE grp < 6)",
                f"SELECT {distance} AS d, id FROM item t WHERE grp = (SELECT max(grp) FROM grp WHERE grp < {abs(id) % 20 + 1}) ORDER BY {distance}, id LIMIT 5",
            ]:
                pair.count(sql, must_use=True)
                pair.compare(sql, exact=", id" in sql.split("ORDER BY")[1])


@pytest.mark.parametrize("clause", ["FOR UPDATE", "FOR SHARE", "FOR NO KEY UPDATE SKIP LOCKED", "FOR UPDATE SKIP LOCKED", "FOR UPDATE NOWAIT"])
def test_row_locks(tables, pair, clause):
    """Another session holds locks on more of the nearest rows than the node keeps at first."""
    queries = Queries(SEED)
    with psycopg.connect(tables[0]) as other:
        for held in [0, 40] if "SKIP" in clause or "NOWAIT" in clause else [0]:
            distance = queries.distance(vector=f"'{vector_text(queries.rng)}'::vector")
            other.execute(f"SELECT id FROM item t WHERE v IS NOT NULL ORDER BY {distance} LIMIT {held} FOR UPDATE").fetchall()
            sql = f"SELECT {distance} AS d, id FROM item t WHERE grp <> 5 ORDER BY {distance} LIMIT 6 {clause}"
            pair.count(sql, must_use=True)
            pair.compare(sql, exact=False)
            other.rollback()


def test_row_security(tables, pair):
    role = tables[1]
    queries = Queries(SEED)
    pair.connection.execute("SET test.owner = 'o1'")
    # A function that would tell what it sees, were it called on rows of others.
    pair.connection.execute(
        "CREATE OR REPLACE FUNCTION tell(o text) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS "
        "$$BEGIN IF o <> current_setting('test.owner') THEN RAISE 'leaked %', o; END IF; RETURN true; END$$ IMMUTABLE"
    )
    pair.connection.execute(f"SET ROLE {role}")
    for _ in range(15):
        distance = queries.distance()
        sql = f"SELECT {distance} AS d, id, owner FROM guarded t WHERE grp > {queries.rng.randrange(12)} AND tell(owner) ORDER BY {distance}, id {queries.limit()}"
        pair.count(sql)
        rows = pair.compare(sql, exact=True)
        assert all(row[2] == "o1" for row in rows), rows
    with pytest.raises(psycopg.errors.RaiseException, match="leaked"):
        pair.connection.execute("SELECT count(*) FROM item WHERE tell(ns)")


def test_changes_in_the_same_transaction(pair):
    queries = Queries(SEED)
    for change in [
        "UPDATE item SET v = '[9,9,9,9,9,9,9,9]' WHERE id % 5 = 0",
        "DELETE FROM item WHERE grp < 8",
        "UPDATE item SET note = note || 'y'",
        "INSERT INTO item SELECT id + 5000, ns, grp, price, v, note FROM item",
        "TRUNCATE item",
        "DELETE FROM item",
        "ALTER TABLE item ADD COLUMN extra int DEFAULT 3",
        "ALTER TABLE item DROP COLUMN ns",
    ]:
        pair.connection.execute("BEGIN")
        pair.connection.execute(change)
        for _ in range(6):
            distance = queries.distance()
            sql = f"SELECT {distance} AS d, t.* FROM item t WHERE grp < 15 ORDER BY {distance}, id {queries.limit()}"
            pair.count(sql)
            pair.compare(sql, exact=True)
        pair.connection.execute("ROLLBACK")


@pytest.mark.parametrize("seed", seeds(3))
def test_partitions(pair, seed):
    queries = Queries(seed)
    for _ in range(12):
        qual = queries.rng.choice(
            ["ns = 'n2'", "ns = 'n2' AND grp > 4", "ns IN ('n1', 'n4')", "true", "grp = 7", "ns = 'unknown'", "ns > 'n2'"]
        )
        distance = queries.distance()
        sql = f"SELECT {distance} AS d, id, ns, tableoid::regclass::text FROM part t WHERE {qual} ORDER BY {distance}, id {queries.limit()}"
        if "unknown" not in sql:
            pair.count(sql)
        pair.compare(sql, exact=True)
        leaf = sql.replace("FROM part t", "FROM part_n2 t")
        pair.count(leaf)
        pair.compare(leaf, exact=True)


def test_pruning_at_run_time(pair):
    pair.connection.execute("SET plan_cache_mode = force_generic_plan")
    sql = "SELECT t.v <-> $2 AS d, id FROM part t WHERE ns = $1 ORDER BY t.v <-> $2, id LIMIT $3"

    def run(connection):
        connection.execute("DEALLOCATE ALL")
        connection.execute(f"PREPARE q (text, vector, int) AS {sql}")
        return [
            row
            for n in range(6)
            for row in connection.execute(f"EXECUTE q ('n{n}', '[{n},0,1,0,1,0,1,0]', {n + 2})").fetchall()
        ]

    on, off = pair.both(run)
    assert len(off) == 2 + 3 + 4 + 5 + 6
    assert_same(on, off, True, 0, sql)


@pytest.mark.parametrize("table", ["wide", "nothing", "temporary", "unlogged", "materialized"])
def test_other_tables(pair, table):
    queries = Queries(SEED)
    dim = WIDE if table == "wide" else DIM
    pair.connection.execute(
        {
            "temporary": "CREATE TEMP TABLE temporary AS SELECT * FROM item",
            "unlogged": "CREATE UNLOGGED TABLE unlogged AS SELECT * FROM item",
            "materialized": "CREATE MATERIALIZED VIEW materialized AS SELECT * FROM item",
        }.get(table, "SELECT 1")
    )
    for _ in range(12):
        distance = queries.distance(vector=f"'{vector_text(queries.rng, dim)}'::vector")
        sql = f"SELECT {distance} AS d, id FROM {table} t WHERE grp < 9 ORDER BY {distance}, id {queries.limit()}"
        pair.count(sql)
        pair.compare(sql, exact=True)
    if table == "wide":
        (stored,) = pair.connection.execute("SELECT pg_table_size(reltoastrelid) FROM pg_class WHERE relname = 'wide'").fetchone()
        assert stored > 60 * WIDE * 4 / 2, "the vectors were to lie in the TOAST table"


@pytest.mark.parametrize("seed", seeds(2))
def test_grouping_and_windows(pair, seed):
    """Where LIMIT counts something else than rows of the table, and orders are wanted below it."""
    queries = Queries(seed)
    for _ in range(6):
        distance, qual, limit = queries.distance(), queries.qual(), queries.limit()
        for sql in [
            f"SELECT DISTINCT ON ({distance}) {distance} AS d, id FROM item t WHERE {qual} ORDER BY {distance}, id {limit}",
            f"SELECT {distance} AS d, count(*), min(id) FROM item t WHERE {qual} GROUP BY {distance} ORDER BY {distance} {limit}",
            f"SELECT {distance} AS d, id, rank() OVER (ORDER BY {distance}) FROM item t WHERE {qual} ORDER BY {distance}, id {limit}",
            f"SELECT id FROM grp JOIN item t USING (grp) WHERE EXISTS (SELECT 1 FROM item t WHERE {qual} ORDER BY {distance} LIMIT 1) ORDER BY id",
        ]:
            pair.switch(False)
            pair.compare(sql, exact=True)


def test_orders_the_node_does_not_have(pair):
    queries = Queries(SEED)
    for direction in ["DESC", "DESC NULLS LAST", "NULLS FIRST", "DESC NULLS FIRST"]:
        for _ in range(4):
            distance = queries.distance()
            sql = f"SELECT {distance} AS d, id FROM item t WHERE {queries.qual()} ORDER BY {distance} {direction}, id {queries.limit()}"
            pair.compare(sql, exact=True)


def test_changes_made_from_a_query(pair):
    queries = Queries(SEED)
    for _ in range(8):
        distance = queries.distance(vector=f"'{vector_text(queries.rng)}'::vector")
        nearest = f"SELECT id FROM item t WHERE grp > 2 ORDER BY {distance}, id LIMIT {queries.rng.choice([1, 5, 60])}"
        for sql in [
            f"UPDATE item SET v = '[0,0,0,0,0,0,0,1]' WHERE id IN ({nearest}) RETURNING id",
            f"DELETE FROM item WHERE id = ANY (ARRAY({nearest})) RETURNING id",
            f"INSERT INTO grp SELECT id + 100, 'from' || id FROM ({nearest}) n RETURNING grp",
            f"WITH gone AS (DELETE FROM item t WHERE id IN ({nearest} FOR UPDATE) RETURNING *) "
            f"SELECT id FROM gone UNION ALL ({nearest})",
        ]:

            def run(connection):
                connection.execute("BEGIN")
                rows = sorted(connection.execute(sql).fetchall())
                left = connection.execute("SELECT count(*), sum(id) FROM item WHERE v IS NOT NULL").fetchall()
                connection.execute("ROLLBACK")
                return rows + left

            pair.count(sql)
            on, off = pair.both(run)
            assert_same(on, off, True, 0, sql)


def test_a_loop_that_changes_what_it_reads(pair):
    pair.connection.execute("""
        CREATE OR REPLACE FUNCTION walk(q vector, k int) RETURNS SETOF int LANGUAGE plpgsql AS $$
        DECLARE found int;
        BEGIN
          FOR found IN SELECT id FROM item ORDER BY v <-> q, id LIMIT k LOOP
            UPDATE item SET v = q WHERE id = found + 1;
            DELETE FROM item WHERE id = found + 2;
            RETURN NEXT found;
          END LOOP;
        END $$""")

    def run(connection):
        connection.execute("BEGIN")
        rows = connection.execute("SELECT walk(q, 60) FROM (VALUES ('[.5,0,.5,0,.5,0,.5,0]'::vector), ('[1,1,1,1,0,0,0,0]')) t (q)").fetchall()
        connection.execute("ROLLBACK")
        return rows

    on, off = pair.both(run)
    assert len(off) == 120
    assert_same(on, off, True, 0, "walk")


def test_a_held_cursor_outlives_its_transaction(pair):
    sql = "SELECT id FROM item t ORDER BY v <-> '[1,0,1,0,1,0,1,0]', id LIMIT 90"

    def run(connection):
        connection.execute("BEGIN")
        connection.execute(f"DECLARE held CURSOR WITH HOLD FOR {sql}")
        rows = connection.execute("FETCH 10 FROM held").fetchall()
        connection.execute("COMMIT")
        rows += connection.execute("FETCH ALL FROM held").fetchall()
        connection.execute("CLOSE held")
        return rows

    pair.count(sql, must_use=True)
    on, off = pair.both(run)
    assert len(off) == 90
    assert_same(on, off, True, 0, sql)


def test_errors_are_the_operators_own(pair):
    for expression in ["t.v <=> '[1,2]'", "'[1,2]' <=> t.v", "t.v <-> (SELECT '[1,2,3]'::vector)"]:
        sql = f"SELECT id FROM item t ORDER BY {expression} LIMIT 3"
        pair.count(sql, must_use=True)
        on, off = pair.both(lambda connection: connection.execute(sql).fetchall())
        assert on == off and on[0] == "22000" and on[1].startswith("different vector dimensions"), (on, off)
    # In the middle of a pass: an error of a condition, and a cancelled scan.
    pair.connection.execute("CREATE FUNCTION slow(int) RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.01); RETURN $1; END'")
    for qual, state in [("1 / (id - 700) < 5", "22012"), ("slow(id) > 0", "57014")]:
        sql = f"SELECT id FROM item t WHERE {qual} ORDER BY t.v <-> '[1,2,3,4,5,6,7,8]' LIMIT 3"
        pair.count(sql, must_use=True)
        pair.connection.execute("SET statement_timeout = '200ms'")
        on, off = pair.both(lambda connection: connection.execute(sql).fetchall())
        assert on == off and on[0] == state, (on, off)
        pair.connection.execute("RESET statement_timeout")
    # No row needs the distance: no error.
    for qual in ["false", "id < 0", "v IS NULL"]:
        sql = f"SELECT id FROM item t WHERE {qual} ORDER BY t.v <=> '[1,2]', id LIMIT 3"
        pair.compare(sql, exact=True)
    sql = "SELECT id FROM item t ORDER BY t.v <=> '[1,2,3,4,5,6,7,8]' LIMIT -1"
    on, off = pair.both(lambda connection: connection.execute(sql).fetchall())
    assert on == off and on[0] == "2201W", (on, off)


def test_small_work_mem_makes_several_passes(pair):
    """64 kB hold 4,096 entries; a table of more rows is then read in several passes, with the same result."""
    pair.connection.execute("CREATE TEMP TABLE many AS SELECT n AS id, ('[' || sin(n) || ',' || cos(n * 7) || ']')::vector AS v FROM generate_series(1, 15000) n")
    pair.connection.execute("ANALYZE many")
    pair.connection.execute("SET work_mem = '64kB'")
    sql = "SELECT t.v <-> '[0.3,0.1]' AS d, id FROM many t ORDER BY t.v <-> '[0.3,0.1]' LIMIT 14000"
    pair.count(sql, must_use=True)
    pair.compare(sql, exact=False)
    pair.switch(True)
    plan = "\n".join(row[0] for row in pair.connection.execute(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {sql}"))
    assert "Passes: 4" in plan, plan
    assert "Rows Scanned: 60000" in plan, plan


def test_operators_of_another_extension_are_left_alone(both):
    """pgvector's operators have the same names and behave alike; each extension's plans are for its own type only."""
    with psycopg.connect(both, autocommit=True) as connection:
        for schema, taken in [("ours", True), ("theirs", False)]:
            connection.execute(f"CREATE TABLE of_{schema} AS SELECT ARRAY[n, 1]::{schema}.vector AS v FROM generate_series(1, 900) n")
            connection.execute(f"ANALYZE of_{schema}")
            sql = f"SELECT v FROM of_{schema} ORDER BY v OPERATOR({schema}.<->) '[3,3]' LIMIT 3"
            plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {sql}"))
            assert (NODE in plan) == taken, plan


def test_the_extension_comes_and_goes(server):
    """The operators are looked up once per connection, and again when they have changed."""
    name = f"topk_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        with psycopg.connect(psycopg.conninfo.make_conninfo(server, dbname=name), autocommit=True) as connection:
            connection.execute("LOAD 'conifer'")
            connection.execute("CREATE TABLE plain AS SELECT n FROM generate_series(1, 900) n")
            for _ in range(2):
                connection.execute("SELECT n FROM plain ORDER BY n LIMIT 1")  # plans without the extension
                connection.execute("CREATE EXTENSION conifer")
                connection.execute("CREATE TABLE t AS SELECT ARRAY[n, 1]::vector AS v FROM generate_series(1, 900) n")
                connection.execute("ANALYZE t")
                sql = "SELECT v FROM t ORDER BY v <-> '[3,3]' LIMIT 1"
                assert NODE in "\n".join(row[0] for row in connection.execute(f"EXPLAIN {sql}"))
                assert connection.execute(sql).fetchone() == ("[3,1]",)
                connection.execute("DROP EXTENSION conifer CASCADE")
                connection.execute("DROP TABLE t")
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


# -- concurrent updates: EvalPlanQual -------------------------------------------------------------------------------

CONFLICTS = {
    "row still passes, elsewhere": "UPDATE item SET v = '[5,5,5,5,5,5,5,5]', note = 'moved' WHERE id = {nearest}",
    "row no longer passes": "UPDATE item SET grp = 99, note = 'gone' WHERE id = {nearest}",
    "row is deleted": "DELETE FROM item WHERE id = {nearest}",
    "row passes unchanged": "UPDATE item SET note = 'touched' WHERE id = {nearest}",
    "key is NULL now": "UPDATE item SET v = NULL WHERE id = {nearest}",
}


def locked_rows(dsn, on, conflict, isolation):
    """The rows that FOR UPDATE gives when a concurrent change of the nearest row commits while it waits.

    The query has no ties: it is far from the zero vectors, and every eleventh row is a copy of another.
    """
    query = "'[0.9,0.8,-0.7,0.6,0.9,-0.8,0.7,0.5]'::vector"
    nearest_first = f"FROM item t WHERE grp < 50 AND id % 11 <> 0 ORDER BY v <-> {query}"
    sql = f"SELECT id, grp, note, v <-> {query} AS d {nearest_first} LIMIT 4 FOR UPDATE"
    with psycopg.connect(dsn) as writer, psycopg.connect(dsn, autocommit=True) as observer:
        pair = Pair(dsn)
        with pair.connection:
            pair.switch(on)
            assert (NODE in pair.plan(sql)) == on
            nearest = writer.execute(f"SELECT id {nearest_first} LIMIT 1").fetchone()[0]
            before = writer.execute("SELECT * FROM item WHERE id = %s", [nearest]).fetchone()
            writer.execute(CONFLICTS[conflict].format(nearest=nearest))
            rows = read_while_blocked(pair, sql, isolation, observer, writer)
        writer.execute("DELETE FROM item WHERE id = %s", [nearest])
        writer.execute("INSERT INTO item VALUES (%s, %s, %s, %s, %s::text::vector, %s)", before)
        writer.commit()
    return nearest, rows


def read_while_blocked(pair, sql, isolation, observer, writer):
    """What `sql` gives if the writer commits only when the reader waits for it."""
    rows = []
    pair.connection.execute(f"BEGIN ISOLATION LEVEL {isolation}")
    reader = threading.Thread(
        target=lambda: rows.append(pair.outcome(lambda c: list(map(key, c.execute(sql).fetchall()))))
    )
    reader.start()
    try:
        wait_until_blocked(observer, pair.connection.info.backend_pid, rows)
    finally:
        writer.commit()
        reader.join()
    pair.connection.execute("ROLLBACK")
    return rows[0]


def wait_until_blocked(observer, pid, rows):
    for _ in range(300):
        if observer.execute("SELECT cardinality(pg_blocking_pids(%s))", [pid]).fetchone()[0]:
            return
        time.sleep(0.02)
    raise AssertionError(f"the reader never waited for the writer: {rows}")


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
@pytest.mark.parametrize("conflict", CONFLICTS)
def test_for_update_waits_and_rechecks(tables, conflict, isolation):
    with_node = locked_rows(tables[0], True, conflict, isolation)
    without = locked_rows(tables[0], False, conflict, isolation)
    assert with_node == without
    nearest, rows = without
    if isolation == "REPEATABLE READ":
        assert rows[0] == "40001"
        return
    ids = [int(row[0]) for row in rows]
    assert len(rows) == 4
    if conflict in ("row no longer passes", "row is deleted"):
        assert nearest not in ids
    else:
        assert nearest == ids[0]
