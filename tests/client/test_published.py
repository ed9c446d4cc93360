"""An index whose table is published: what needs no replica identity goes on without one, the rest is refused as PostgreSQL refuses it."""

from __future__ import annotations

import psycopg
import pytest

from test_concurrency import connect

BATCH = "SELECT pc_upsert('published', 't', array_agg('r' || i), array_agg(('[1,' || i || ']')::vector)) FROM generate_series(%s::int, %s) AS i"


@pytest.fixture
def admin(database):
    with connect(database) as connection:
        connection.execute("SET client_min_messages = error")  # wal_level need not be logical
        connection.execute("SELECT pc_create_index('published', 2)")
        connection.execute("CREATE PUBLICATION p FOR TABLE published")
        yield connection
        connection.execute("DROP PUBLICATION p; SELECT pc_delete_index('published')")


@pytest.mark.parametrize("records", [1, 20])
def test_without_a_replica_identity(admin, records):
    assert admin.execute(BATCH, [1, records]).fetchone() == (records,)
    assert admin.execute(BATCH, [101, 100 + records]).fetchone() == (records,)
    for statement, parameters in (
        (BATCH, [records, 50 + records]),
        ("SELECT pc_upsert('published', 't', 'r1', '[3,3]'::vector)", None),
        ("SELECT pc_update('published', 't', 'r1', '[3,3]'::vector)", None),
        ("SELECT pc_delete('published', 't', ids => ARRAY['r1'])", None),
    ):
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="replica identity"):
            admin.execute(statement, parameters)
    assert admin.execute("SELECT pc_count('published', 't')").fetchone() == (2 * records,)
    assert admin.execute("SELECT id FROM pc_query('published', 't', '[1,1]'::vector, 1)").fetchone() == ("r1",)


def test_with_one(admin):
    admin.execute("ALTER TABLE published REPLICA IDENTITY FULL")
    for _ in range(2):
        assert admin.execute(BATCH, [1, 20]).fetchone() == (20,)
    assert admin.execute("SELECT pc_update('published', 't', 'r1', '[3,3]'::vector)").fetchone() == (1,)
    assert admin.execute("SELECT pc_delete('published', 't', ids => ARRAY['r1', 'r2'])").fetchone() == (2,)
