"""Limits on namespaces: exact for one client, never passed by many, and no obstacle to what adds nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from conftest import OURS
from test_concurrency import connect

EXCEEDED = psycopg.errors.ConfigurationLimitExceeded


@pytest.fixture
def admin(database):
    with connect(database) as connection:
        connection.execute("SELECT pc_create_index('limits', 4, metric => 'euclidean')")
        yield connection
        connection.execute("RESET ALL; SELECT pc_delete_index('limits')")
        assert connection.execute("SELECT count(*) FROM conifer.limits").fetchone() == (0,)


def upsert(connection, namespace: str, *ids: str, metadata: str | None = None) -> int:
    return connection.execute(
        "SELECT pc_upsert('limits', %s, %s, array_fill('[1,2,3,4]'::vector, ARRAY[%s]), array_fill(%s::jsonb, ARRAY[%s]))",
        [namespace, list(ids), len(ids), metadata, len(ids)],
    ).fetchone()[0]


def limit(connection, namespace: str | None, records: int | None = None, size: int | None = None) -> None:
    connection.execute("SELECT pc_set_limits('limits', %s, %s, %s)", [namespace, records, size])


def count(connection, namespace: str) -> int:
    return connection.execute("SELECT pc_count('limits', %s)", [namespace]).fetchone()[0]


def ids(first: int, beyond: int) -> list[str]:
    return [f"r{number:04}" for number in range(first, beyond)]


def test_records(admin):
    limit(admin, "t", records=10)
    upsert(admin, "t", *ids(0, 9))
    with pytest.raises(EXCEEDED) as error:
        upsert(admin, "t", *ids(9, 11))
    assert error.value.diag.message_primary == 'namespace "t" would have 11 records, more than its limit of 10'
    assert "pc_set_limits" in error.value.diag.message_hint
    assert count(admin, "t") == 9  # the call was refused whole
    upsert(admin, "t", "r0009")
    upsert(admin, "t", *ids(0, 10))  # what replaces adds nothing
    upsert(admin, "t", *ids(0, 10))
    for call in (
        lambda: upsert(admin, "t", "new"),
        lambda: upsert(admin, "t", *ids(5, 20)),
        lambda: admin.execute("SELECT pc_upsert('limits', 't', '[{\"id\": \"new\", \"values\": [1,2,3,4]}]'::jsonb)"),
    ):
        with pytest.raises(EXCEEDED):
            call()
    assert count(admin, "t") == 10
    admin.execute("SELECT pc_delete('limits', 't', ids => ARRAY['r0000'])")
    upsert(admin, "t", "new")
    assert count(admin, "t") == 10
    # Other namespaces are not limited, and a limit below what is there takes nothing away.
    upsert(admin, "free", *ids(0, 200))
    limit(admin, "free", records=50)
    upsert(admin, "free", *ids(0, 200))
    with pytest.raises(EXCEEDED):
        upsert(admin, "free", "new")
    assert count(admin, "free") == 200
    limit(admin, "free")
    upsert(admin, "free", "new")


def test_one_transaction(admin):
    """What a transaction wrote and deleted itself counts as it left it; what it rolled back does not."""
    limit(admin, "t", records=5)
    with admin.transaction():
        upsert(admin, "t", *ids(0, 5))
        admin.execute("SELECT pc_delete('limits', 't', ids => ARRAY['r0001', 'r0002'])")
        upsert(admin, "t", "a", "b")
        with pytest.raises(EXCEEDED), admin.transaction():
            upsert(admin, "t", "c")
        with admin.transaction(force_rollback=True):
            admin.execute("SELECT pc_delete('limits', 't', ids => ARRAY['a'])")
            upsert(admin, "t", "d")
        with pytest.raises(EXCEEDED), admin.transaction():
            upsert(admin, "t", "e")
    assert count(admin, "t") == 5


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
def test_uncommitted_records_of_others_count(admin, database, isolation):
    limit(admin, "t", records=10)
    upsert(admin, "t", *ids(0, 8))
    with connect(database, autocommit=False) as other, connect(database) as mine:
        upsert(other, "t", "x", "y")
        mine.execute(f"SET default_transaction_isolation = '{isolation}'")
        with pytest.raises(EXCEEDED):
            upsert(mine, "t", "z")
        upsert(mine, "t", *ids(0, 8))
        other.rollback()
        upsert(mine, "t", "z")
        # Records that another is replacing are not counted twice.
        upsert(other, "t", *ids(0, 8))
        upsert(mine, "t", "z2")
        # Those that another deletes are there until it commits.
        other.commit()
        other.execute("SELECT pc_delete('limits', 't', ids => ARRAY['z'])")
        with pytest.raises(EXCEEDED):
            upsert(mine, "t", "z3")
        other.commit()
        upsert(mine, "t", "z3")
    assert count(admin, "t") == 10


@pytest.mark.parametrize("batch", [1, 10])
def test_many_clients(admin, database, batch):
    """Never more than the limit, whoever commits; and the limit is reached."""
    limit(admin, "t", records=200)

    def write(client: int) -> int:
        refused = 0
        with connect(database) as connection:
            for number in range(0, 60, batch):
                try:
                    upsert(connection, "t", *(f"{client}-{number + i}" for i in range(batch)))
                    if number % 20 == 0:
                        upsert(connection, "t", f"{client}-{number}")
                except EXCEEDED:
                    refused += 1
        return refused

    with ThreadPoolExecutor(8) as pool:
        refused = sum(pool.map(write, range(8)))
    there = count(admin, "t")
    assert refused > 0
    assert 200 - 8 * batch <= there <= 200
    for number in range(200 - there):
        upsert(admin, "t", f"rest-{number}")
    with pytest.raises(EXCEEDED):
        upsert(admin, "t", "one more")


def test_bytes(admin):
    big = '{"t": "' + "".join(chr(33 + i * 7 % 90).replace('"', "q").replace("\\", "b") for i in range(2000)) + '"}'
    upsert(admin, "t", *ids(0, 20), metadata=big)
    size = admin.execute("SELECT (pc_describe_namespace('limits', 't')->>'bytes')::bigint").fetchone()[0]
    limit(admin, "t", size=size + 100_000)
    with pytest.raises(EXCEEDED) as error:
        upsert(admin, "t", *ids(100, 200), metadata=big)
    assert "bytes, more than its limit of" in error.value.diag.message_primary
    assert count(admin, "t") == 20
    # The space of what was refused is there to be used again, and deleting always goes.
    table = admin.execute("SELECT pc_describe_namespace('limits', 't')->>'relation'").fetchone()[0]
    admin.execute(f"VACUUM {table}")
    upsert(admin, "t", "small")
    with pytest.raises(EXCEEDED):
        for i in range(100):
            admin.execute(
                "SELECT pc_update('limits', 't', %s, set_metadata => %s::jsonb)",
                [f"r{i % 20:04}", big.replace('"t"', f'"t{i}"')],
            )
    with pytest.raises(EXCEEDED):
        for i in range(100):
            admin.execute("SELECT pc_update('limits', 't', filter => '{\"t\": {\"$exists\": true}}', set_metadata => %s::jsonb)", [big.replace('"t"', f'"u{i}"')])
    admin.execute("SELECT pc_delete('limits', 't', ids => ARRAY['r0000'])")
    limit(admin, "t")
    upsert(admin, "t", *ids(100, 200), metadata=big)


def test_of_the_index(admin, database):
    with connect(database) as other:
        upsert(other, "a", "1", "2")
        limit(admin, None, records=3)
        limit(admin, "b", records=5)
        upsert(other, "a", "3")
        for namespace, most in (("a", 3), ("b", 5), ("c", 3)):
            upsert(other, namespace, *ids(0, most - count(other, namespace)))
            with pytest.raises(EXCEEDED):
                upsert(other, namespace, "more")
        limit(admin, None)
        upsert(other, "a", "more")
        with pytest.raises(EXCEEDED):
            upsert(other, "b", "more")
        assert upsert(other, "__default__", *ids(0, 9)) == 9


def test_they_go_with_the_namespace(admin):
    limit(admin, "t", records=3)
    upsert(admin, "t", "1", "2")
    admin.execute("SELECT pc_rename_namespace('limits', 't', 'u')")
    upsert(admin, "t", *ids(0, 9))
    upsert(admin, "u", "3")
    with pytest.raises(EXCEEDED):
        upsert(admin, "u", "4")
    # A copy keeps to what its own name may hold.
    admin.execute("SELECT pc_copy_namespace('limits', 't', 'copy')")
    limit(admin, "small", records=8)
    with pytest.raises(EXCEEDED):
        admin.execute("SELECT pc_copy_namespace('limits', 't', 'small')")
    limit(admin, "small", records=9)
    assert admin.execute("SELECT pc_copy_namespace('limits', 't', 'small')").fetchone() == (9,)
    # Emptied it is still limited; deleted by the owner it is not.
    admin.execute("SELECT pc_delete('limits', 'u', delete_all => true)")
    upsert(admin, "u", *ids(0, 3))
    with pytest.raises(EXCEEDED):
        upsert(admin, "u", "4")
    admin.execute("SELECT pc_delete_namespace('limits', 'u')")
    upsert(admin, "u", *ids(0, 9))


def test_through_row_security(admin):
    """The way of plain statements on the root keeps to them too."""
    admin.execute(f"DROP ROLE IF EXISTS writer; CREATE ROLE writer; GRANT USAGE ON SCHEMA {OURS} TO writer")
    try:
        admin.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON limits TO writer")
        admin.execute("ALTER TABLE limits ENABLE ROW LEVEL SECURITY")
        admin.execute("CREATE POLICY all_rows ON limits USING (true)")
        limit(admin, "t", records=4)
        upsert(admin, "t", "1")
        admin.execute("SET ROLE writer")
        upsert(admin, "t", *ids(0, 3))
        upsert(admin, "t", *ids(0, 3))
        with pytest.raises(EXCEEDED):
            upsert(admin, "t", "5")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            limit(admin, "t", records=400)
        admin.execute("RESET ROLE")
        assert count(admin, "t") == 4
    finally:
        admin.execute("RESET ROLE; DROP OWNED BY writer; DROP ROLE writer")


def test_wrong_arguments(admin):
    for arguments, state in (
        ("NULL", "22004"),
        ("'none', 't', 5", "42704"),
        ("'limits', 't', -1", "22023"),
        ("'limits', 't', max_bytes => -1", "22023"),
    ):
        with pytest.raises(psycopg.Error) as error:
            admin.execute(f"SELECT pc_set_limits({arguments})")
        assert error.value.sqlstate == state
    admin.execute("SET conifer.namespace = 't'")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        limit(admin, None, records=1)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        limit(admin, "other", records=1)
    limit(admin, "t", records=1)
