"""A role without rights learns nothing, a condition sees no hidden row, and a name with quotes is only a name."""

from __future__ import annotations

import uuid

import psycopg
import pytest
from model import Model, verify
from psycopg import sql
from server import SCHEMA

#: By the type of an argument, unless its name says more. The index and the namespace are filled in.
VALUES = {"text": "x", "text[]": "{a}", "jsonb": '{"g": "x"}', "jsonb[]": "{NULL}", "integer": "5", "bigint": "5", "boolean": "false"}
NAMED = {"vectors": '[{"id": "x", "values": [1, 2]}]', "role": "stranger", "privileges": "{SELECT}", "new_name": "new", "namespaces": "{of-a-tenant}", "prefix": "", "metric": "cosine"}
#: What stands in the catalog for everybody to see: names of indexes and what they are like.
PUBLIC = {"pc_list_indexes", "pc_describe_index"}
#: These make an index of the caller's own, or need none.
OWN = {"pc_create_index", "pc_matches", "pc_number", "pc_string", "pc_merge_metadata", "pc_matches_support"}
#: Arguments with defaults that exclude others are left out in turn.
LEFT_OUT = (set(), {"id", "filter", "prefix", "delete_all", "dry_run"}, {"vector", "ids", "filter", "namespaces", "delete_all", "dry_run"}, {"id", "ids", "vector", "delete_all"})
#: A namespace of another's, and a name that was never used.
OTHERS, NOBODYS = "of-a-tenant", "never-used"


@pytest.fixture
def admin(shared_server):
    """A superuser's connection to a new database with an index `i` of two namespaces."""
    name = f"rights_{uuid.uuid4().hex[:12]}"
    shared_server.create_database(name)
    with shared_server.connect(name) as connection:
        connection.execute("DO $$ BEGIN CREATE ROLE stranger; CREATE ROLE tenant; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        connection.execute(f"GRANT USAGE ON SCHEMA {SCHEMA} TO PUBLIC; GRANT ALL ON SCHEMA public TO PUBLIC; SET search_path = public, {SCHEMA}")
        connection.execute("SELECT pc_create_index('i', 2, 'euclidean')")
        connection.execute("""SELECT pc_upsert('i', n, 'a', '[1,2]', '{"g": "x"}') FROM unnest(ARRAY['t', %s]) n""", [OTHERS])
        yield connection


def verified(connection: psycopg.Connection):
    model = Model()
    for name in ("t", OTHERS):
        model.namespace("i", name)["a"] = ((1.0, 2.0), {"g": "x"})
    verify(connection, model)


def calls(connection: psycopg.Connection) -> list[tuple[str, sql.Composed]]:
    """Every function and procedure of the extension that takes an index, with all its arguments; {namespace} is left open."""
    rows = connection.execute(
        """SELECT p.proname, p.prokind, p.pronamespace::regnamespace::text, p.pronargs - p.pronargdefaults, coalesce(p.proargnames[:p.pronargs], '{}'),
                  ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, n) ORDER BY n)
             FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
            WHERE p.proname LIKE 'pc\\_%' OR p.proname LIKE 'conifer\\_%' OR p.pronamespace = 'conifer'::regnamespace ORDER BY p.oid"""
    ).fetchall()
    found = []
    for name, kind, schema, required, names, types in rows:
        if name in PUBLIC | OWN or not {"index", "name"} & set(names) or "regclass" in types:
            continue
        arguments = [sql.SQL("{} => {}::{}").format(sql.Identifier(n), argument(n, t), sql.SQL(t)) for n, t in zip(names, types, strict=True)]
        for left_out in LEFT_OUT:
            given = [a for number, (n, a) in enumerate(zip(names, arguments, strict=True)) if number < required or n not in left_out]
            call = sql.SQL("{}.{}({})").format(sql.Identifier(schema), sql.Identifier(name), sql.SQL(", ").join(given))
            found.append((name, sql.SQL("CALL {}" if kind == "p" else "SELECT * FROM {}").format(call)))
    return found


def argument(name: str, type: str) -> sql.Composable:
    match name:
        case "index" | "name" | "to_index":
            return sql.Literal("i")
        case "namespace":
            return sql.Placeholder("namespace")
    if name == "ids" or (name == "id" and type == "text"):
        return sql.Literal("{a}" if name == "ids" else "a")
    value = (not type.endswith("vector[]") and NAMED.get(name)) or VALUES.get(type)
    if value is None:
        value = '{"[1,2]"}' if type.endswith("[]") else "[1,2]"
    return sql.Literal(value)


def outcome(connection: psycopg.Connection, call: sql.Composed, namespace: str) -> tuple[str, str]:
    """What a stranger is told: rows, or SQLSTATE and message."""
    try:
        with connection.transaction(force_rollback=True):
            rows = connection.execute(call, {"namespace": namespace}).fetchall()
            return "rows", str(rows).replace(namespace, "?")
    except psycopg.Error as error:
        return error.sqlstate, str(error).replace(namespace, "?")


def test_a_role_without_rights_learns_nothing(admin):
    """The answer for another's namespace is the answer for one that was never used, or that permission is denied."""
    listed = calls(admin)
    assert len({name for name, _ in listed}) > 25
    told = set()
    admin.execute("SET ROLE stranger")
    for name, call in listed:
        text = call.as_string(admin)
        one, other = outcome(admin, call, OTHERS), outcome(admin, call, NOBODYS)
        assert one == other, text
        state, message = one
        assert state in {"rows", "42501", "42704", "22023", "22004", "22P02", "22000", "2D000"}, (text, one)
        told.add(state)
        assert state != "rows" or message in {"[]", "[(0,)]", "[(False,)]"} or name == "pc_describe_index_stats", (text, one)
    stats = admin.execute("SELECT pc_describe_index_stats('i')").fetchone()[0] if can(admin, "SELECT pc_describe_index_stats('i')") else {}
    assert stats.get("namespaces", {}) == {} and stats.get("total_record_count", 0) == 0
    assert admin.execute("SELECT * FROM conifer.usage").fetchall() == []
    admin.execute("RESET ROLE")
    assert {"42501"} <= told
    verified(admin)


def can(connection: psycopg.Connection, query: str) -> bool:
    try:
        connection.execute(query)
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def test_conditions_see_no_hidden_rows(admin):
    """A cheap function of the caller's, which tells what it is asked, is asked of no row that row security hides; whichever plan is taken."""
    admin.execute("CREATE TABLE public.told (id text); GRANT ALL ON public.told TO tenant; GRANT ALL ON i TO tenant")
    admin.execute("""SELECT pc_upsert('i', 't', 'a' || n, ('[' || n || ',1]')::vector, '{"g": "x"}') FROM generate_series(1, 2000) n""")
    admin.execute("CREATE POLICY own ON i TO tenant USING (id < 'a2'); ALTER TABLE i ENABLE ROW LEVEL SECURITY")
    admin.execute("ANALYZE i")
    admin.execute("SET ROLE tenant")
    admin.execute(
        """CREATE FUNCTION public.tell(id text) RETURNS boolean COST 0.0001 LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.told VALUES (id); RETURN true; END'"""
    )
    condition = "WHERE namespace = 't' AND public.tell(id)"
    for setting in ("on", "off"):
        admin.execute("SELECT set_config('conifer.enable_topk_scan', %s, false)", [setting])
        for query in (
            f"SELECT id FROM i {condition} ORDER BY \"values\" <-> '[5,5]' LIMIT 3",
            f"SELECT id FROM i {condition} AND pc_matches(metadata, '{{\"g\": \"x\"}}') ORDER BY \"values\" <-> '[5,5]' LIMIT 3",
            f"SELECT id FROM i {condition} AND \"values\" <-> '[5,5]' < 100 ORDER BY \"values\" <-> '[5,5]' LIMIT 3",
            "SELECT id FROM pc_query('i', 't', '[5,5]', 3) WHERE public.tell(id)",
        ):
            assert len(admin.execute(query).fetchall()) == 3, query
    admin.execute("RESET ROLE; RESET conifer.enable_topk_scan")
    assert admin.execute("SELECT count(*) > 0, bool_and(id < 'a2') FROM public.told").fetchone() == (True, True)
    admin.execute("SELECT pc_delete('i', 't', ids => array_agg(id)) FROM i WHERE namespace = 't' AND id <> 'a'")
    verified(admin)


QUOTED = "o'u\"r$$s; --"


def test_names_with_quotes_are_only_names(shared_server):
    """Of the extension's schema, the index's schema, its owner and who gets rights on it."""
    database = f"quotes_{uuid.uuid4().hex[:12]}"
    shared_server.create_database(database)
    names = {key: sql.Identifier(f"{QUOTED} {key}") for key in ("roots", "owner", "tenant")}
    # PostgreSQL allows an extension's schema no quotes.
    names["ours"] = sql.Identifier("our S;")

    def run(statement: str):
        return connection.execute(sql.SQL(statement).format(**names))

    with shared_server.connect(database) as connection:
        run(f"DROP EXTENSION conifer CASCADE; DROP SCHEMA {SCHEMA} CASCADE; CREATE SCHEMA {{ours}}; CREATE EXTENSION conifer SCHEMA {{ours}}")
        run("CREATE ROLE {owner}; CREATE ROLE {tenant}; CREATE SCHEMA {roots} AUTHORIZATION {owner}; GRANT USAGE ON SCHEMA {ours}, {roots} TO PUBLIC")
        run("SET SESSION AUTHORIZATION {owner}")
        run("SET search_path = {roots}, {ours}")
        run("SELECT pc_create_index('i', 2, 'euclidean')")
        connection.execute("SELECT pc_upsert('i', %s, %s, '[1,2]'::vector)", [QUOTED, QUOTED])
        connection.execute("SELECT pc_grant('i', %s, %s)", [QUOTED, f"{QUOTED} tenant"])
        run("SET SESSION AUTHORIZATION {tenant}")
        assert connection.execute("SELECT pc_delete('i', %s, ids => ARRAY[%s])", [QUOTED, QUOTED]).fetchone() == (1,)
        run("SET SESSION AUTHORIZATION {owner}")
        connection.execute("CREATE INDEX ON i (pc_string(metadata, 'g')); ALTER TABLE i ADD CHECK (namespace <> 'never')")
        connection.execute("SELECT pc_upsert('i', %s, 'x', '[1,2]'::vector), pc_copy_namespace('i', %s, 'copy')", [QUOTED, QUOTED])
        connection.execute("SELECT pc_rename_namespace('i', %s, %s)", [QUOTED, f"{QUOTED} new"])
        assert connection.execute("SELECT id FROM i WHERE namespace = %s ORDER BY \"values\" <-> '[1,2]' LIMIT 1", [f"{QUOTED} new"]).fetchall() == [("x",)]
        connection.execute("SELECT pc_delete('i', %s, delete_all => true)", [f"{QUOTED} new"])
        run("RESET SESSION AUTHORIZATION")
        model = Model()
        model.indexes["i"] = {"copy": {"x": ((1.0, 2.0), {})}, f"{QUOTED} new": {}}
        verify(connection, model)
        connection.execute("CALL pc_delete_index_in_batches('i')")
