"""Indexes that change hands, and rights and limits that several set at once."""

from __future__ import annotations

import contextlib

import psycopg
import pytest

from test_concurrency import check_catalog, connect, index, together  # noqa: F401 - a fixture
from test_move import check_indexes

ROLES = ("first_owner", "second_owner", "reader_of_one")
NAMES = [f"tenant {number}" for number in range(12)]  # of as many buckets, about


@pytest.fixture
def roles(database):
    with connect(database) as connection:
        for role in ROLES:
            connection.execute(f"CREATE ROLE {role}")
            connection.execute(f"GRANT USAGE, CREATE ON SCHEMA {connection.execute('SELECT current_schema()').fetchone()[0]} TO {role}")
        yield ROLES
        for role in ROLES:
            connection.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")


def owners(connection, index) -> dict[str, tuple[str, str]]:
    """Of each namespace the owner of its leaf, and of its bucket."""
    rows = connection.execute(
        """SELECT n.namespace, pg_get_userbyid(leaf.relowner), pg_get_userbyid(bucket.relowner)
           FROM conifer.namespaces n JOIN conifer.indexes i USING (root) JOIN pg_class leaf ON leaf.oid = n.leaf
           JOIN pg_inherits h ON h.inhrelid = leaf.oid JOIN pg_class bucket ON bucket.oid = h.inhparent WHERE i.name = %s""",
        [index],
    ).fetchall()
    return {name: (leaf, bucket) for name, leaf, bucket in rows}


def test_an_index_that_has_changed_hands(database, index, roles):
    """Its new owner does with all of its namespaces what the old one did, in old buckets and new; who had rights on the old has none."""
    old, new, _ = roles
    with connect(database) as connection:
        connection.execute(f'ALTER TABLE "{index}" OWNER TO {old}')
        connection.execute(f"SET ROLE {old}")
        for name in NAMES[:6]:
            connection.execute("SELECT pc_upsert(%s, %s, 'A', '[1,2]')", [index, name])
        connection.execute("RESET ROLE")
        connection.execute(f'ALTER TABLE "{index}" OWNER TO {new}')
        connection.execute(f"SET ROLE {new}")
        for name in NAMES[6:]:
            connection.execute("SELECT pc_upsert(%s, %s, 'A', '[1,2]')", [index, name])
        # To and fro between buckets of both, into the names that were there before, and copies beside.
        for one, other in zip(NAMES[:6], NAMES[6:], strict=True):
            connection.execute("SELECT pc_rename_namespace(%s, %s, 'aside')", [index, one])
            connection.execute("SELECT pc_rename_namespace(%s, %s, %s)", [index, other, one])
            connection.execute("SELECT pc_rename_namespace(%s, 'aside', %s)", [index, other])
            connection.execute("SELECT pc_delete(%s, %s, delete_all => true)", [index, one])
            assert connection.execute("SELECT pc_copy_namespace(%s, %s, %s)", [index, other, one]).fetchone() == (1,)
        connection.execute("RESET ROLE")
        found = owners(connection, index)
        assert found.keys() == set(NAMES)
        assert set(found.values()) == {(new, new)}
        check_catalog(connection, index)
        check_indexes(connection, index)
        connection.execute(f"SET ROLE {old}")
        for name in NAMES:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT pc_fetch(%s, %s, '{A}')", [index, name])
        connection.execute("RESET ROLE")
        connection.execute(f'ALTER TABLE "{index}" OWNER TO CURRENT_USER')


def test_first_namespaces_of_a_new_owner(database, roles):
    """Many at once: only one of them grants the owner what it needs in the extension's schema."""
    with connect(database) as connection:
        for round in range(10):
            name, owner = f"granted-{round}", roles[round % 2]
            connection.execute("SELECT pc_create_index(%s, 2)", [name])
            connection.execute(f'ALTER TABLE "{name}" OWNER TO {owner}')
            connection.execute(f"REVOKE ALL ON SCHEMA conifer_data FROM {owner}")

            def work(client, number, name=name):
                return client.execute("SELECT pc_upsert(%s, %s, 'A', '[1,2]')", [name, NAMES[number]]).fetchone()

            upserts = together(database, 6, work)
            assert upserts == [(1,)] * 6
            connection.execute("SELECT pc_delete_index(%s)", [name])


def test_rights_given_and_taken_at_once(database, index, roles):
    """Each call does its part: of two that change the rights on one namespace neither fails."""
    with connect(database) as connection:
        connection.execute("SELECT pc_upsert(%s, 't', 'A', '[1,2]')", [index])

        def work(client, number):
            for step in range(100):
                call = "pc_grant" if (number + step) % 2 else "pc_revoke"
                client.execute(f"SELECT {call}(%s, 't', %s, ARRAY['SELECT'])", [index, roles[number % 3]])

        assert together(database, 6, work) == [None] * 6


def test_limits_while_the_index_is_dropped(database):
    """Who sets limits is told that there is no index, or has set them; nothing is left of them in the catalog."""

    def work(client, number):
        for step in range(40):
            with contextlib.suppress(psycopg.errors.UndefinedObject, psycopg.errors.DuplicateObject):
                if number == 0:
                    client.execute("SELECT pc_create_index('limited', 2)")
                    client.execute("SELECT pc_upsert('limited', 't', 'A', '[1,2]')")
                    client.execute("SELECT pc_delete_index('limited')" if step % 2 else 'DROP TABLE IF EXISTS "limited"')
                else:
                    client.execute("SELECT pc_set_limits('limited', %s, max_records => 7)", [[None, "t"][number % 2]])
                    client.execute("SELECT pc_configure_index('limited', tags => '{\"a\": \"b\"}')")
                    client.execute("SELECT pc_reset_usage('limited')")

    assert together(database, 5, work) == [None] * 5
    with connect(database) as connection:
        connection.execute("SELECT pc_delete_index(name) FROM pc_list_indexes() WHERE name = 'limited'")
        orphans = "SELECT count(*) FROM conifer.limits l WHERE NOT EXISTS (SELECT FROM conifer.indexes i WHERE i.root = l.root)"
        assert connection.execute(orphans).fetchone() == (0,)
