"""What pc_usage counts: every query, record fetched, written and deleted of each namespace, and nothing else."""

from __future__ import annotations

import psycopg
import pytest

from conftest import OURS
from test_concurrency import connect

QUERY = "SELECT id FROM pc_query('usage', %s, '[1,2,3,4]'::vector)"
COUNTS = ("queries", "records_fetched", "records_upserted", "records_deleted")


@pytest.fixture
def admin(database):
    with connect(database) as connection:
        connection.execute("SELECT pc_create_index('usage', 4, metric => 'euclidean')")
        yield connection
        connection.execute("RESET ALL; RESET ROLE; SELECT pc_delete_index('usage')")
        assert connection.execute("SELECT count(*) FROM conifer.usage_resets").fetchone() == (0,)


def upsert(connection, namespace: str, first: int, beyond: int) -> None:
    connection.execute(
        "SELECT pc_upsert('usage', %s, array_agg('r' || i), array_agg(('[1,2,3,' || i || ']')::vector)) FROM generate_series(%s::int, %s) AS i",
        [namespace, first, beyond - 1],
    )


def usage(connection, namespace: str) -> dict:
    connection.execute("SELECT pg_stat_force_next_flush()")
    cursor = connection.execute("SELECT * FROM pc_usage('usage', %s)", [namespace])
    return dict(zip((column.name for column in cursor.description), cursor.fetchone(), strict=True))


def counts(connection, namespace: str) -> tuple:
    return tuple(usage(connection, namespace)[name] for name in COUNTS)


@pytest.mark.parametrize("records", [10, 3000])
def test_each_operation(admin, records):
    upsert(admin, "t", 0, records)
    upsert(admin, "other", 0, 5)
    assert counts(admin, "t") == (0, 0, records, 0)
    for _ in range(3):
        admin.execute(QUERY, ["t"])
    assert counts(admin, "t") == (3, 0, records, 0)
    admin.execute("SELECT * FROM pc_query_json('usage', 't', '[1,2,3,4]'::vector)")
    admin.execute("SELECT * FROM pc_query_namespaces('usage', ARRAY['t', 'other'], '[1,2,3,4]'::vector)")
    admin.execute("SET enable_bitmapscan = off; ANALYZE usage")
    admin.execute("SELECT id FROM usage WHERE namespace = 't' ORDER BY values <-> '[1,2,3,4]' LIMIT 3")
    assert counts(admin, "t") == (6, 0, records, 0)
    assert counts(admin, "other") == (1, 0, 5, 0)
    admin.execute("SELECT * FROM pc_fetch('usage', 't', ARRAY['r1', 'r2', 'r3', 'none'])")
    assert counts(admin, "t") == (6, 3, records, 0)
    upsert(admin, "t", 0, 4)
    admin.execute("SELECT pc_upsert('usage', 't', 'new', '[1,2,3,4]'::vector)")
    admin.execute("SELECT pc_update('usage', 't', 'new', set_metadata => '{\"a\": 1}')")
    admin.execute("SELECT pc_delete('usage', 't', ids => ARRAY['r1', 'none'])")
    assert counts(admin, "t") == (6, 3, records + 6, 1)
    # Looking at it is no query.
    admin.execute("SELECT * FROM pc_list_namespaces('usage'); SELECT pc_describe_index_stats('usage'); SELECT * FROM conifer.usage")
    account = usage(admin, "t")
    assert tuple(account[name] for name in COUNTS) == (6, 3, records + 6, 1)
    assert account["read_units"] == pytest.approx(6 * 0.25 + 0.3)
    # Inserted once, replaced or changed five times, which counts twice, and deleted once: all below 1 KB.
    assert account["write_units"] == (records + 1) + 2 * 5 + 1
    assert account["record_count"] == records
    assert account["bytes"] == admin.execute("SELECT (pc_describe_namespace('usage', 't')->>'bytes')::bigint").fetchone()[0]
    if admin.info.server_version >= 160000:
        assert account["last_access"] is not None
    assert account["since"] is None


def test_filters_by_every_index(admin):
    upsert(admin, "t", 0, 3000)
    admin.execute("SELECT pc_update('usage', 't', 'r7', set_metadata => '{\"g\": \"x\"}')")
    table = admin.execute("SELECT pc_describe_namespace('usage', 't')->>'relation'").fetchone()[0]
    filtered = "SELECT id FROM pc_query('usage', 't', '[1,2,3,4]'::vector, filter => '{\"g\": \"x\"}')"
    for number, index in enumerate(("", "gin (metadata jsonb_path_ops)", "btree (pc_string(metadata, 'g'))"), 1):
        if index:
            admin.execute(f"CREATE INDEX ON {table} USING {index}")
            counts(admin, "t")  # the scan that built it is reported
            admin.execute("SELECT pc_reset_usage('usage', 't')")
        assert admin.execute(filtered).fetchall() == [("r7",)]
        assert counts(admin, "t")[0] == 1, f"way {number}"


def test_renamed_copied_rebuilt(admin):
    upsert(admin, "t", 0, 100)
    for _ in range(4):
        admin.execute(QUERY, ["t"])
    admin.execute("SELECT pc_rename_namespace('usage', 't', 'u')")
    assert counts(admin, "u")[0] == 4
    admin.execute(QUERY, ["u"])
    assert counts(admin, "u")[0] == 5
    admin.execute("SELECT pc_copy_namespace('usage', 'u', 'copy')")
    assert counts(admin, "copy")[0] == 0
    admin.execute(QUERY, ["copy"])
    assert counts(admin, "copy")[0] == 1


def test_reset(admin):
    upsert(admin, "t", 0, 20)
    upsert(admin, "other", 0, 20)
    admin.execute(QUERY, ["t"])
    admin.execute(QUERY, ["other"])
    counts(admin, "t")  # reported
    with admin.transaction(force_rollback=True):
        admin.execute("SELECT pc_reset_usage('usage', 't')")
        assert usage(admin, "t")["queries"] == 0
    assert usage(admin, "t")["queries"] == 1
    admin.execute("SELECT pc_reset_usage('usage', 't')")
    assert counts(admin, "t") == (0, 0, 0, 0)
    assert counts(admin, "other") == (1, 0, 20, 0)
    assert usage(admin, "t")["since"] is not None
    admin.execute(QUERY, ["t"])
    upsert(admin, "t", 10, 30)
    assert counts(admin, "t") == (1, 0, 20, 0)
    admin.execute("SELECT pc_reset_usage('usage')")
    assert counts(admin, "t") == counts(admin, "other") == (0, 0, 0, 0)
    # PostgreSQL's own statistics begun anew, as after a crash: counting goes on from there.
    table = admin.execute("SELECT pc_describe_namespace('usage', 'other')->>'relation'").fetchone()[0]
    admin.execute("SELECT pg_stat_reset_single_table_counters(%s::regclass)", [table])
    upsert(admin, "other", 0, 3)
    assert usage(admin, "other")["records_upserted"] == 3


def test_whose(admin):
    """A tenant sees its own namespace alone, and resets nothing."""
    admin.execute(f"DROP ROLE IF EXISTS reader; CREATE ROLE reader; GRANT USAGE ON SCHEMA {OURS} TO reader")
    try:
        for namespace in ("own", "other"):
            upsert(admin, namespace, 0, 3)
        admin.execute("SELECT pc_grant('usage', 'own', 'reader', ARRAY['SELECT'])")
        admin.execute("SET ROLE reader")
        assert admin.execute("SELECT namespace FROM pc_usage('usage')").fetchall() == [("own",)]
        assert admin.execute("SELECT index, namespace FROM conifer.usage").fetchall() == [("usage", "own")]
        for name in ("other", "nobody"):
            with pytest.raises(psycopg.errors.UndefinedObject) as error:
                admin.execute("SELECT * FROM pc_usage('usage', %s)", [name])
            assert error.value.diag.message_primary == f'namespace "{name}" does not exist in index "usage"'
        for arguments in ("'usage', 'own'", "'usage'", "'usage', 'nobody'"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                admin.execute(f"SELECT pc_reset_usage({arguments})")
        admin.execute("RESET ROLE; SET conifer.namespace = 'own'")
        assert admin.execute("SELECT namespace FROM pc_usage('usage')").fetchall() == [("own",)]
    finally:
        admin.execute("RESET ROLE; RESET ALL; DROP OWNED BY reader; DROP ROLE reader")


def test_small_namespaces_take_no_page_in_vain(connection):
    """Of 100 records of 384 dimensions five fit a page of the table; their codes a page and the one of an empty index."""
    connection.execute("SELECT pc_create_index('disk', 384)")
    connection.execute("SELECT pc_create_namespace('disk', 'empty')")
    connection.execute(
        "SELECT pc_upsert('disk', 'small', array_agg('r' || i), array_agg(array_fill(i::real, ARRAY[384])::vector)) FROM generate_series(1, 100) AS i"
    )
    pages = connection.execute(
        """
        SELECT namespace, pg_relation_size(leaf) / 8192, pg_total_relation_size(leaf) / 8192,
               (SELECT max(pg_relation_size(indexrelid)) / 8192 FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
                WHERE indrelid = leaf AND amname = 'conifer')
        FROM conifer.namespaces WHERE root = 'disk'::regclass ORDER BY namespace
        """
    ).fetchall()
    assert pages[0] == ("empty", 0, 3, 1)
    assert pages[1][:2] == ("small", 20) and pages[1][2] <= 29 and pages[1][3] == 2
