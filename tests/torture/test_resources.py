"""Whatever takes long ends within 100 ms of being told to, by pg_cancel_backend or statement_timeout, and leaves everything as it was."""

from __future__ import annotations

import random
import statistics

import bulk
import pytest
from cancelling import Canceller, Operation
from model import Model, verify

#: What the extension promises.
WITHIN = 0.1
#: A build with debug assertions, hardly optimised, takes so many times as long from one look at interrupts to the next.
TIMES_IN_DEBUG = 10
#: A moment at which an operation took longer is tried so often again: what a busy machine delays is not late each time.
AGAIN = 4

VECTOR = "(SELECT \"values\" FROM big WHERE namespace = 't' AND id = 'r1')"
NEW_INDEX = "CREATE INDEX ON rows USING conifer (v vector_l2_ops) INCLUDE (m)"
SERIAL, THREADS = {"max_parallel_maintenance_workers": "0"}, {"max_parallel_maintenance_workers": "2"}
TREE = {"conifer.tree_rows": "1000"}
EXACT = {"conifer.recall": "1"}
SHARED = {"max_parallel_workers_per_gather": "2"}
FLAT_AGAIN = "SET conifer.tree_rows = 2147483647; REINDEX INDEX grown; RESET conifer.tree_rows"
DOOMED = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM conifer.indexes WHERE name = 'doomed') THEN
        PERFORM pc_create_index('doomed', 2);
    END IF;
    PERFORM pc_upsert('doomed', 'd' || n, 'x', '[1,2]'::vector) FROM generate_series(1, (SELECT count(*) / 4 FROM pc_list_namespaces('many', "limit" => 10000))) n;
END $$
"""

OPERATIONS = [
    Operation("CREATE INDEX, one thread", NEW_INDEX, SERIAL | TREE),
    Operation("CREATE INDEX, threads", NEW_INDEX, THREADS | TREE),
    *(
        Operation(f"CREATE INDEX, {name}, {phase}", NEW_INDEX, settings | TREE, phase=phase)
        for name, settings in (("one thread", SERIAL), ("threads", THREADS))
        for phase in ("sampling rows", "choosing lists", "encoding rows", "learning what recall takes")
    ),
    Operation("CREATE INDEX of one list", NEW_INDEX, SERIAL | {"conifer.tree_rows": "2147483647"}),
    Operation("REINDEX", "REINDEX INDEX grown", THREADS | TREE),
    Operation("VACUUM that grows lists", "VACUUM grown_rows", TREE, FLAT_AGAIN, in_transaction=False),
    Operation("VACUUM that removes", "VACUUM grown_rows", TREE, "DELETE FROM grown_rows WHERE n % 3 = 0; INSERT INTO grown_rows SELECT * FROM rows WHERE n % 3 = 0", False),
    Operation("INSERT into a vector index", "INSERT INTO grown_rows SELECT * FROM rows"),
    Operation("pc_upsert, new", "SELECT pc_upsert('big', 'new', ids, vectors) FROM arrays"),
    Operation("pc_upsert, replacing", "SELECT pc_upsert('big', 't', ids, vectors) FROM arrays"),
    Operation("pc_upsert, JSON", "SELECT pc_upsert('big', 'new', records) FROM documents"),
    Operation("pc_query, exact", f"SELECT pc_query('big', 't', {VECTOR}, 10000)", EXACT),
    Operation("pc_query, many", f"SELECT count(*) FROM generate_series(1, 500), pc_query('big', 't', {VECTOR}, 100)"),
    Operation("pc_query, filtered", f"""SELECT pc_query('big', 't', {VECTOR}, 100, '{{"$not": {{"n": {{"$gt": 10}}}}}}')"""),
    Operation("pc_query_namespaces, many", "SELECT count(*) FROM pc_query_namespaces('many', prefix => '', vector => '[1,2]', top_k => 10000)"),
    Operation("pc_query_namespaces, shared", f"SELECT count(*) FROM pc_query_namespaces('big', ARRAY['t', 'u'], {VECTOR}, 1000)", EXACT | SHARED),
    Operation("pc_count", """SELECT pc_count('big', 't', '{"$or": [{"g": "none"}, {"n": {"$lt": 0}}]}')"""),
    Operation("pc_facets", "SELECT pc_facets('big', 't', 'n', \"limit\" => 10000)"),
    Operation("pc_fetch_by_metadata", """SELECT pc_fetch_by_metadata('big', 't', '{"g": {"$ne": "none"}}', 10000)"""),
    Operation("pc_fetch", "SELECT count(*) FROM arrays, pc_fetch('big', 't', ids)"),
    Operation("pc_list", "SELECT count(*) FROM generate_series(1, 20), pc_list('big', 't', \"limit\" => 10000)"),
    Operation("pc_update by filter", """SELECT pc_update('big', 't', filter => '{"g": {"$ne": "none"}}', set_metadata => '{"h": 1}')"""),
    Operation("pc_delete by filter", """SELECT pc_delete('big', 't', filter => '{"g": {"$ne": "none"}}')"""),
    Operation("pc_delete by ids", "SELECT pc_delete('big', 't', ids => ids) FROM arrays"),
    Operation("pc_copy_namespace", "SELECT pc_copy_namespace('big', 't', 'copy')", TREE),
    Operation("pc_rename_namespace", "SELECT pc_rename_namespace('big', 't', 'new')", TREE),
    Operation("pc_list_namespaces", "SELECT pc_list_namespaces('many', \"limit\" => 10000)"),
    Operation("pc_describe_index_stats", "SELECT pc_describe_index_stats('many')"),
    Operation("pc_usage", "SELECT pc_usage('many')"),
    Operation("first upserts", "SELECT pc_upsert('many', 'new' || n, 'x', '[1,2]'::vector) FROM generate_series(1, 200) n"),
    Operation("conifer_check", "SELECT conifer_check('grown')"),
    Operation("conifer_inspect", "SELECT conifer_inspect('grown')"),
    Operation("top-k in SQL, exact", f"SELECT id FROM big WHERE namespace = 't' ORDER BY \"values\" <-> {VECTOR} LIMIT 10000", EXACT),
    Operation("top-k in SQL, all rows", f"SELECT count(*) FROM (SELECT id FROM big WHERE namespace = 't' ORDER BY \"values\" <-> {VECTOR} LIMIT 1000000) AS r"),
    Operation("aggregates", "SELECT avg(v), sum(v) FROM rows"),
    Operation("pc_delete_index", "SELECT pc_delete_index('many')"),
    Operation("pc_delete_index_in_batches", "CALL pc_delete_index_in_batches('doomed', 10)", {}, DOOMED, in_transaction=False),
]  # fmt: skip


@pytest.fixture
def filled(make_server, scaled):
    """A server with a large namespace, many small ones and plain tables; and what ought to be there."""
    server = make_server(settings={"max_locks_per_transaction": "1000", "autovacuum": "off", "maintenance_work_mem": "256MB"}).init()
    model = Model()
    rows, dimension, namespaces = scaled((80_000, 128, 2000), (15_000, 64, 250))
    records = bulk.records(rows, dimension, 7)
    with server.connect() as connection:
        connection.execute("SELECT pc_create_index('big', %s, 'euclidean'), pc_create_index('many', 2)", [dimension])
        for name, part in (("t", records), ("u", dict(list(records.items())[: rows // 2]))):
            connection.execute("SELECT pc_create_namespace('big', %s)", [name])
            bulk.load(connection, "big", name, part)
            model.namespace("big", name).update(part)
        connection.execute("SELECT pc_upsert('many', 'm' || n, 'x', '[1,2]'::vector) FROM generate_series(1, %s) n", [namespaces])
        for number in range(1, namespaces + 1):
            model.namespace("many", f"m{number}")["x"] = ((1.0, 2.0), {})
        make_tables(connection)
    return server, model


def make_tables(connection):
    """The same vectors in tables of no index, and as arguments."""
    connection.execute("""CREATE TABLE rows AS SELECT (metadata ->> 'n')::int AS n, "values" AS v, metadata AS m FROM big WHERE namespace = 't'""")
    connection.execute("ALTER TABLE rows ALTER v TYPE vector(%s)" % connection.execute("SELECT vector_dims(v) FROM rows LIMIT 1").fetchone()[0])
    connection.execute("CREATE TABLE grown_rows (LIKE rows); INSERT INTO grown_rows SELECT * FROM rows")
    connection.execute("SET conifer.tree_rows = 1000; CREATE INDEX grown ON grown_rows USING conifer (v vector_l2_ops); RESET conifer.tree_rows")
    connection.execute("CREATE TABLE arrays AS SELECT array_agg('r' || n) AS ids, array_agg(v) AS vectors FROM rows")
    connection.execute(
        "CREATE TABLE documents AS SELECT jsonb_agg(jsonb_build_object('id', 'r' || n, 'values', v::real[], 'metadata', m)) AS records FROM rows WHERE n < 20000"
    )
    connection.execute("ANALYZE")


def measure(canceller: Canceller, operation: Operation, attempts: int, rng: random.Random, within: float) -> list[float]:
    """How long it took to end, at moments spread over its duration; a late one is tried again at the same moment, and the earliest counts."""
    duration = canceller.duration(operation)
    latencies = []
    for number in range(attempts):
        after = duration * rng.uniform(number, number + 1) / attempts / (4 if operation.phase else 1)
        breaks = canceller.by_timeout if number % 2 and not operation.phase else canceller.by_cancel
        found = []
        while len(found) < AGAIN:
            latency = breaks(operation, after)
            if latency is not None:
                found.append(latency)
                if latency <= within:
                    break
            else:
                after /= 2
                if after < 0.0005:
                    break
        if found:
            latencies.append(min(found))
    return latencies


def test_everything_long_ends_when_told(filled, scaled, seed, record_result):
    server, model = filled
    rng = random.Random(seed)
    canceller = Canceller(server)
    figures, late, never = {}, {}, []
    within = WITHIN * (TIMES_IN_DEBUG if server.is_debug_build() else 1)
    for operation in OPERATIONS:
        latencies = measure(canceller, operation, scaled(8, 2), rng, within)
        if not latencies:
            never.append(operation.name)
            continue
        median, worst = statistics.median(latencies), max(latencies)
        figures[operation.name] = {"median_ms": round(median * 1000, 1), "worst_ms": round(worst * 1000, 1), "attempts": len(latencies)}
        if worst > within:
            late[operation.name] = figures[operation.name]
        record_result("cancel", operations=figures, over_too_soon=never)
    with server.connect() as connection:
        connection.execute("SELECT pc_delete_index('doomed') FROM conifer.indexes WHERE name = 'doomed'")
        verify(connection, model)
    canceller.close()
    assert late == {}
    # Phases of a small build, and reading what is small, may be over before anybody can say so.
    assert len(figures) >= len(OPERATIONS) * scaled(0.9, 0.6), never
