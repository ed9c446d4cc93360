"""A role with rights on one namespace, and a session pinned to one: every function with the name of another tenant, and with one that was never used."""

from __future__ import annotations

import psycopg
import pytest

from conftest import OURS
from test_concurrency import connect

INDEX = "rights"
#: Another tenant's namespace, and one that nobody has: whoever has no rights on either must see no difference.
OTHER, NOBODY = "other", "nobody"
DENIED = psycopg.errors.InsufficientPrivilege

#: Every function that takes the name of a namespace. {0} is the name, {1} one to make.
CALLS = [
    "pc_create_namespace('rights', '{0}')",
    "pc_describe_namespace('rights', '{0}')",
    "pc_delete_namespace('rights', '{0}')",
    "pc_rename_namespace('rights', '{0}', '{1}')",
    "pc_copy_namespace('rights', '{0}', '{1}')",
    "pc_set_limits('rights', '{0}', 5)",
    "namespace FROM pc_usage('rights', '{0}')",
    "pc_reset_usage('rights', '{0}')",
    "pc_grant('rights', '{0}', 'tenant')",
    "pc_revoke('rights', '{0}', 'tenant')",
    "pc_upsert('rights', '{0}', 'x', '[1,2]'::vector)",
    "pc_upsert('rights', '{0}', ARRAY['x'], ARRAY['[1,2]'::vector])",
    "pc_upsert('rights', '{0}', '[{{\"id\": \"x\", \"values\": [1, 2]}}]'::jsonb)",
    "id FROM pc_query('rights', '{0}', '[1,2]'::vector)",
    "id FROM pc_query('rights', '{0}', id => 'a')",
    "id FROM pc_query('rights', '{0}', '[1,2]'::vector, filter => '{{\"g\": \"x\"}}')",
    "pc_query_json('rights', '{0}', '[1,2]'::vector)",
    "id FROM pc_query_namespaces('rights', ARRAY['{0}'], '[1,2]'::vector)",
    "id FROM pc_query_namespaces('rights', prefix => '{0}', vector => '[1,2]'::vector)",
    "id FROM pc_fetch('rights', '{0}', ARRAY['a'])",
    "* FROM pc_list('rights', '{0}')",
    "pc_update('rights', '{0}', 'a', set_metadata => '{{\"h\": 1}}')",
    "pc_update('rights', '{0}', filter => '{{\"g\": \"x\"}}', set_metadata => '{{\"h\": 1}}')",
    "pc_delete('rights', '{0}', ids => ARRAY['a'])",
    "pc_delete('rights', '{0}', filter => '{{\"g\": \"x\"}}')",
    "pc_delete('rights', '{0}', delete_all => true)",
    "pc_count('rights', '{0}')",
    "id FROM pc_fetch_by_metadata('rights', '{0}', '{{\"g\": \"x\"}}')",
    "* FROM pc_facets('rights', '{0}', 'g')",
    "name FROM pc_list_namespaces('rights', '{0}')",
]  # fmt: skip


@pytest.fixture
def admin(database):
    with connect(database) as connection:
        connection.execute(f"DROP ROLE IF EXISTS tenant; CREATE ROLE tenant; GRANT USAGE ON SCHEMA {OURS} TO tenant")
        connection.execute("SELECT pc_create_index('rights', 2, metric => 'euclidean')")
        for name in ("own", OTHER):
            connection.execute(
                "SELECT pc_upsert('rights', %s, ARRAY['a', 'b'], ARRAY['[1,2]', '[3,4]']::vector[], ARRAY['{\"g\": \"x\"}', NULL]::jsonb[])", [name]
            )
        yield connection
        connection.execute("RESET ROLE")
        connection.execute("SELECT pc_delete_index('rights')")
        connection.execute(f"REVOKE ALL ON SCHEMA {OURS} FROM tenant; DROP OWNED BY tenant; DROP ROLE tenant")


def outcome(connection, call: str, name: str, new: str = "new") -> tuple:
    """Rows, or SQLSTATE and message; the name itself does not count."""
    try:
        with connection.transaction(force_rollback=True):
            rows = connection.execute("SELECT " + call.format(name, new)).fetchall()
            return ("rows", str(rows).replace(name, "?"))
    except psycopg.Error as error:
        return (error.sqlstate, str(error).replace(name, "?"))


def test_granted_rights_reach_one_namespace(admin):
    admin.execute("SELECT pc_grant('rights', 'own', 'tenant')")
    everything = admin.execute("SELECT * FROM rights ORDER BY namespace, id").fetchall()
    leaf_of_other = admin.execute("SELECT pc_describe_namespace('rights', 'other') ->> 'relation'").fetchone()[0]
    index_of_other = admin.execute(
        "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam"
        " WHERE indrelid = %s::regclass AND amname = 'conifer'", [leaf_of_other],
    ).fetchone()[0]  # fmt: skip
    admin.execute("SET ROLE tenant")
    query = "SELECT id FROM pc_query('rights', 'own', '[1,2]'::vector)"
    assert admin.execute(query).fetchall() == [("a",), ("b",)]
    assert admin.execute("SELECT pc_upsert('rights', 'own', 'c', '[0,0]'::vector), pc_delete('rights', 'own', ids => ARRAY['b'])").fetchone() == (1, 1)
    assert admin.execute(query).fetchall() == [("a",), ("c",)]
    assert admin.execute("SELECT name, record_count FROM pc_list_namespaces('rights')").fetchall() == [("own", 2)]
    stats = admin.execute("SELECT pc_describe_index_stats('rights')").fetchone()[0]
    assert list(stats["namespaces"]) == ["own"] and stats["total_record_count"] == 2
    for call in CALLS:
        assert outcome(admin, call, OTHER) == outcome(admin, call, NOBODY), call
        assert outcome(admin, call, OTHER)[0] in ("42501", "42704", "rows"), call
        assert outcome(admin, call, OTHER)[1] in ("[]", "[(0,)]") or outcome(admin, call, OTHER)[0] != "rows", call
    # nor by plain SQL
    for sql in ("SELECT * FROM rights", "EXPLAIN SELECT * FROM rights WHERE namespace = 'other'", f"EXPLAIN SELECT * FROM {leaf_of_other}"):
        with pytest.raises(DENIED):
            admin.execute(sql)
    # nor by what the extension keeps: the names of indexes are public, of usage there is the tenant's own
    relations = "SELECT relname FROM pg_class WHERE relnamespace = 'conifer'::regnamespace AND relkind IN ('r', 'v', 'S') ORDER BY 1"
    relations = [name for (name,) in admin.execute(relations).fetchall()]
    assert {"buckets", "indexes", "limits", "namespaces", "relation_number", "usage", "usage_resets"} == set(relations)
    for name in set(relations) - {"indexes", "usage"}:
        with pytest.raises(DENIED):
            admin.execute(f"SELECT * FROM conifer.{name}")
    assert admin.execute("SELECT namespace FROM conifer.usage").fetchall() == [("own",)]
    for name in ("conifer_inspect", "conifer_check"):
        with pytest.raises(DENIED):
            admin.execute(f"SELECT * FROM {name}(%s::regclass)", [index_of_other])
    admin.execute("RESET ROLE")
    after = admin.execute("SELECT * FROM rights WHERE namespace <> 'own' ORDER BY namespace, id").fetchall()
    assert after == [row for row in everything if row[0] != "own"]


def test_a_tenant_that_deletes_all_goes_on(admin):
    """Who may not make a namespace keeps the one it has, empty."""
    admin.execute("SELECT pc_grant('rights', 'own', 'tenant')")
    admin.execute("SET ROLE tenant")
    upsert = "SELECT pc_upsert('rights', 'own', 'c', '[0,0]'::vector)"
    with admin.transaction(force_rollback=True):
        assert admin.execute("SELECT pc_delete('rights', 'own', delete_all => true)").fetchone() == (2,)
        assert admin.execute("SELECT pc_count('rights', 'own')").fetchone() == (0,)
    for before, after in ((2, 0), (1, 0)):
        assert admin.execute("SELECT pc_delete('rights', 'own', delete_all => true)").fetchone() == (before,)
        assert admin.execute("SELECT name, record_count FROM pc_list_namespaces('rights')").fetchall() == [("own", after)]
        assert admin.execute(upsert).fetchone() == (1,)
        assert admin.execute("SELECT id FROM pc_query('rights', 'own', '[1,2]'::vector)").fetchall() == [("c",)]
    assert admin.execute("SELECT pc_delete_namespace('rights', 'own')").fetchone() == (True,)
    with pytest.raises(DENIED):
        admin.execute(upsert)
    admin.execute("RESET ROLE")
    assert admin.execute("SELECT name FROM pc_list_namespaces('rights')").fetchall() == [(OTHER,)]


def test_rights_are_taken_back_and_given_one_by_one(admin):
    admin.execute("SELECT pc_grant('rights', 'own', 'tenant', '{select}'), pc_grant('rights', 'other', 'tenant', '{ALL}')")
    admin.execute("SET ROLE tenant")
    assert admin.execute("SELECT count(*) FROM pc_query('rights', 'own', '[1,2]'::vector)").fetchone() == (2,)
    for statement in ("pc_upsert('rights', 'own', 'c', '[0,0]'::vector)", "pc_delete('rights', 'own', ids => ARRAY['a'])"):
        with pytest.raises(DENIED):
            admin.execute("SELECT " + statement)
    admin.execute("SELECT pc_upsert('rights', 'other', 'c', '[0,0]'::vector)")
    admin.execute("RESET ROLE")
    admin.execute("SELECT pc_revoke('rights', 'own', 'tenant'), pc_revoke('rights', 'other', 'tenant', '{INSERT,UPDATE,DELETE}')")
    admin.execute("SET ROLE tenant")
    with pytest.raises(DENIED):
        admin.execute("SELECT count(*) FROM pc_query('rights', 'own', '[1,2]'::vector)")
    assert admin.execute("SELECT count(*) FROM pc_query('rights', 'other', '[1,2]'::vector)").fetchone() == (3,)
    with pytest.raises(DENIED):
        admin.execute("SELECT pc_upsert('rights', 'other', 'd', '[0,0]'::vector)")
    # only the owner grants
    with pytest.raises(DENIED):
        admin.execute("SELECT pc_grant('rights', 'other', 'tenant')")
    admin.execute("RESET ROLE")
    admin.execute("SELECT pc_grant('rights', 'own', 'public', '{SELECT}')")
    admin.execute("SET ROLE tenant")
    assert admin.execute("SELECT count(*) FROM pc_query('rights', 'own', '[1,2]'::vector)").fetchone() == (2,)


def test_errors(admin):
    errors = psycopg.errors
    for call, error in {
        "pc_grant('rights', 'none', 'tenant')": errors.UndefinedObject,
        "pc_grant('none', 'own', 'tenant')": errors.UndefinedObject,
        "pc_grant('rights', 'own', 'no such role')": errors.UndefinedObject,
        "pc_grant('rights', 'own', '')": errors.InvalidParameterValue,
        "pc_grant('rights', 'own', repeat('t', 64))": errors.InvalidParameterValue,
        "pc_grant('rights', 'own', 'tenant', '{TRUNCATE}')": errors.InvalidParameterValue,
        "pc_grant('rights', 'own', 'tenant', '{SELECT,NULL}')": errors.NullValueNotAllowed,
        "pc_grant('rights', 'own', NULL)": errors.NullValueNotAllowed,
        "pc_revoke('rights', 'own', 'tenant', NULL)": errors.NullValueNotAllowed,
    }.items():
        with pytest.raises(error):
            admin.execute("SELECT " + call)
    admin.execute("SELECT pc_grant('rights', 'own', 'tenant', '{}')")
    assert admin.execute("SELECT relacl FROM pg_class WHERE oid = (SELECT relation FROM pc_list_namespaces('rights', 'own'))").fetchone() == (None,)


def test_a_pinned_session_knows_one_namespace(admin, database):
    admin.execute("GRANT ALL ON rights TO tenant")
    admin.execute("ALTER ROLE tenant LOGIN; ALTER ROLE tenant SET conifer.namespace = 'own'")
    with psycopg.connect(database, user="tenant", autocommit=True, options=f"-c search_path={OURS},public") as tenant:
        assert tenant.execute("SELECT id FROM pc_query('rights', 'own', '[1,2]'::vector)").fetchall() == [("a",), ("b",)]
        assert tenant.execute("SELECT name FROM pc_list_namespaces('rights')").fetchall() == [("own",)]
        assert tenant.execute("SELECT name FROM pc_list_namespaces('rights', pagination_token => 'b3du')").fetchall() == []  # behind own
        assert list(tenant.execute("SELECT pc_describe_index_stats('rights')").fetchone()[0]["namespaces"]) == ["own"]
        assert tenant.execute("SELECT DISTINCT namespace FROM pc_query_namespaces('rights', prefix => '', vector => '[1,2]'::vector)").fetchall() == [("own",)]
        for call in CALLS:
            if "prefix" in call or "pc_list_namespaces" in call:
                assert outcome(tenant, call, OTHER) == ("rows", "[]"), call
                continue
            assert outcome(tenant, call, OTHER) == outcome(tenant, call, NOBODY), call
            assert outcome(tenant, call, OTHER)[0] == "42501", call
        with pytest.raises(DENIED, match="this session is for namespace"):
            tenant.execute("SELECT pc_rename_namespace('rights', 'own', 'new')")
        for call in ("pc_create_index('more', 2)", "pc_delete_index('rights')", "pc_configure_index('rights', tags => '{\"a\": \"b\"}')"):
            with pytest.raises(DENIED, match="this session is for namespace"):
                tenant.execute("SELECT " + call)
        # and does not get free
        for statement in ("SET conifer.namespace = 'other'", "SET conifer.namespace = ''", "RESET conifer.namespace", "ALTER ROLE tenant SET conifer.namespace = ''"):
            with pytest.raises(DENIED):
                tenant.execute(statement)
        tenant.execute("DISCARD ALL")
        tenant.execute(f"SET search_path = {OURS}, public")
        assert outcome(tenant, "pc_count('rights', '{0}')", OTHER)[0] == "42501"
        # what row security goes by it
        admin.execute("ALTER TABLE rights ENABLE ROW LEVEL SECURITY")
        admin.execute("CREATE POLICY pinned ON rights USING (namespace = current_setting('conifer.namespace'))")
        assert tenant.execute("SELECT DISTINCT namespace FROM rights").fetchall() == [("own",)]
        assert tenant.execute("SELECT id FROM pc_query('rights', 'own', '[1,2]'::vector)").fetchall() == [("a",), ("b",)]
    # nor does who may not set it by doing so before the library is loaded
    admin.execute("ALTER TABLE rights DISABLE ROW LEVEL SECURITY; ALTER ROLE tenant RESET conifer.namespace")
    with psycopg.connect(database, user="tenant", autocommit=True, options=f"-c search_path={OURS},public -c conifer.namespace=other") as session:
        assert session.execute("SELECT pc_count('rights', 'own')").fetchone() == (2,)
        assert session.execute("SHOW conifer.namespace").fetchone() == ("",)
    # '' and __default__ are one
    admin.execute("SET conifer.namespace = '__default__'")
    assert admin.execute("SELECT pc_upsert('rights', '', 'x', '[1,1]'::vector)").fetchone() == (1,)
    with pytest.raises(DENIED):
        admin.execute("SELECT pc_count('rights', 'own')")
    admin.execute("RESET conifer.namespace")
