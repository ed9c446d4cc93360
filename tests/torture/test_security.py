"""Whose rights code runs with: attacks of owners and tenants on who is more powerful, and what a role without rights can learn.

Code of an attacker notes in a table who it ran as. It must never have been anybody but whom the README's section Security names.
"""

from __future__ import annotations

import pathlib
import re
import uuid

import psycopg
import pytest
from model import Model, verify
from server import SCHEMA

README = pathlib.Path(__file__).parents[2] / "README.md"
#: Indexes are made in the first of these.
PATH = f"public, {SCHEMA}"
DENIED = psycopg.errors.InsufficientPrivilege
#: A record of each tenant.
A, B = {"a": ((1.0, 0.0), {"g": "x"})}, {"b": ((0.0, 1.0), {"g": "y"})}

#: `note` says who runs it, now and when deferred; it is called by functions that look harmless to PostgreSQL.
ROLES = "CREATE ROLE mallory LOGIN; CREATE ROLE landlord LOGIN; CREATE ROLE tenant LOGIN"
LOOT = """
GRANT USAGE ON SCHEMA ours TO PUBLIC; GRANT ALL ON SCHEMA public TO PUBLIC;
CREATE TABLE public.loot (way text, who name);
GRANT ALL ON public.loot TO PUBLIC;
CREATE SEQUENCE public.run;
GRANT ALL ON SEQUENCE public.run TO PUBLIC;
SET SESSION AUTHORIZATION mallory;
CREATE TABLE public.fuse (way text);
GRANT ALL ON public.fuse TO PUBLIC;
CREATE FUNCTION public.explode() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.loot VALUES (TG_ARGV[0], current_user);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON public.fuse DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.explode('deferred');
CREATE FUNCTION public.note(way text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_catalog.nextval('public.run');
    INSERT INTO public.loot VALUES (way, current_user);
    BEGIN
        INSERT INTO public.fuse VALUES (way);
    EXCEPTION WHEN insufficient_privilege THEN NULL;
    END;
    BEGIN
        SET ROLE postgres;
        INSERT INTO public.loot VALUES ('SET ROLE', current_user);
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    RETURN true;
END $$;
CREATE FUNCTION public.calm(way text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN public.note(way); END';
CREATE FUNCTION public.note_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM public.note(TG_ARGV[0]); RETURN coalesce(NEW, OLD); END';
RESET SESSION AUTHORIZATION;
"""


@pytest.fixture(scope="module")
def prepared(shared_server):
    """A server with the roles of the plays."""
    with shared_server.connect() as connection:
        connection.execute(ROLES)
    return shared_server


@pytest.fixture
def admin(prepared):
    """A superuser's connection to a database of its own that mallory has prepared."""
    name = f"play_{uuid.uuid4().hex[:12]}"
    prepared.create_database(name)
    with prepared.connect(name) as connection:
        connection.execute(LOOT)
        connection.execute(f"SET search_path = {PATH}")
        yield connection


def as_role(connection: psycopg.Connection, role: str, *statements: str) -> list:
    """Runs statements as a role; the rows of the last."""
    connection.execute(f"SET SESSION AUTHORIZATION {role}")
    try:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []
    finally:
        connection.execute("RESET SESSION AUTHORIZATION; RESET ROLE")


def make(connection: psycopg.Connection, owner: str, name: str = "i"):
    """An index of `owner` with two tenants' records."""
    as_role(
        connection,
        owner,
        f"SELECT pc_create_index('{name}', 2, 'euclidean')",
        f"""SELECT pc_upsert('{name}', 't', 'a', '[1,0]', '{{"g": "x"}}'), pc_upsert('{name}', 'u', 'b', '[0,1]', '{{"g": "y"}}')""",
    )


def leaf_of(connection: psycopg.Connection, namespace: str, name: str = "i") -> str:
    return connection.execute("SELECT pc_describe_namespace(%s, %s) ->> 'relation'", [name, namespace]).fetchone()[0]


def run_as(connection: psycopg.Connection) -> set[str]:
    """As whom the attacker's code has run so far."""
    return {who for (who,) in connection.execute("SELECT DISTINCT who FROM public.loot").fetchall()}


def attempts(connection: psycopg.Connection) -> int:
    """How often the attacker's code was run, rolled back or not."""
    return connection.execute("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM public.run").fetchone()[0]


def finish(connection: psycopg.Connection, index: str = "i", **namespaces: dict):
    model = Model()
    model.indexes[index] = namespaces
    verify(connection, model)


def test_an_owners_constraint_in_a_superusers_rename(admin):
    """Rewriting the rows evaluates the owner's CHECK: as the owner, with no way out of that."""
    make(admin, "mallory")
    as_role(admin, "mallory", "ALTER TABLE public.i ADD CONSTRAINT trap CHECK (public.note(namespace))")
    admin.execute("TRUNCATE public.loot")
    before = attempts(admin)
    admin.execute("SELECT pc_rename_namespace('i', 't', 'v')")
    assert attempts(admin) > before, "the attack did not take place"
    assert run_as(admin) == {"mallory"}
    finish(admin, v=A, u=B)


def test_an_owners_code_in_what_a_superuser_reads(admin):
    """Reading and looking over runs nothing of the owner's as the reader, but what looking over needs, as the owner."""
    make(admin, "mallory")
    as_role(
        admin,
        "mallory",
        "ALTER TABLE public.i ADD CONSTRAINT trap CHECK (public.note('check')), ALTER COLUMN metadata SET DEFAULT to_jsonb(public.note('default'))",
        "CREATE TRIGGER trap BEFORE INSERT OR UPDATE OR DELETE ON public.i FOR EACH ROW EXECUTE FUNCTION public.note_row('trigger')",
        "CREATE INDEX ON public.i (public.calm(id))",
        "CREATE POLICY trap ON public.i USING (public.note('policy'))",
        "ALTER TABLE public.i ENABLE ROW LEVEL SECURITY",
        'CREATE INDEX partial ON public.i USING conifer ("values" vector_l2_ops) WHERE public.calm(id)',
    )
    admin.execute("TRUNCATE public.loot")
    before = attempts(admin)
    for call in (
        "id FROM pc_query('i', 't', '[1,0]')",
        "id FROM pc_query('i', 't', '[1,0]', filter => '{\"g\": \"x\"}')",
        "id FROM pc_query_namespaces('i', vector => '[1,0]', prefix => '')",
        "id FROM pc_fetch('i', 't', '{a}')",
        "id FROM pc_list('i', 't')",
        "id FROM pc_fetch_by_metadata('i', 't', '{\"g\": \"x\"}')",
        "value FROM pc_facets('i', 't', 'g')",
        "pc_count('i', 't')",
        "pc_describe_index_stats('i')",
        "name FROM pc_list_namespaces('i')",
        "namespace FROM pc_usage('i')",
        "pc_describe_index('i')",
        "index FROM conifer.usage",
    ):
        assert admin.execute("SELECT " + call).fetchall() != [], call
    assert run_as(admin) == set() and attempts(admin) == before
    partial = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'i' AND relam = (SELECT oid FROM pg_am WHERE amname = 'conifer')"
    for (name,) in admin.execute(partial).fetchall():
        assert admin.execute("SELECT * FROM conifer_check(%s)", [name]).fetchall() == []
        admin.execute("SELECT conifer_inspect(%s)", [name])
    assert attempts(admin) > before, "the attack did not take place"
    assert run_as(admin) == {"mallory"}
    finish(admin, t=A, u=B)


CARELESS = """
CREATE FUNCTION public.careless(what text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN lower(what) IS NOT NULL; END';
"""
SHADOW = [
    "CREATE SCHEMA IF NOT EXISTS evil AUTHORIZATION tenant; GRANT ALL ON SCHEMA evil TO PUBLIC",
    """CREATE FUNCTION evil.lower(what text) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM public.note(''lower''); RETURN what; END'""",
]


@pytest.mark.parametrize("landlord", ["landlord", "postgres"])
@pytest.mark.parametrize("what", ["CREATE INDEX ON public.i (public.careless(id))", "ALTER TABLE public.i ADD CHECK (public.careless(namespace))"])
def test_a_tenants_search_path_under_an_owners_code(admin, landlord, what):
    """An owner's function that trusts the search path: where it runs as the owner, a tenant's path is not there to be trusted."""
    make(admin, landlord)
    as_role(admin, landlord, CARELESS, what, "GRANT ALL ON public.i TO tenant")
    for statement in SHADOW:
        admin.execute(statement)
    before = attempts(admin)
    path = f"SET search_path = evil, pg_catalog, {SCHEMA}"
    as_role(admin, "tenant", path, "SELECT pc_rename_namespace('i', 't', 'v')")
    as_role(admin, "tenant", path, "SELECT pc_copy_namespace('i', 'v', 'w')")
    as_role(admin, "tenant", path, "SELECT pc_create_namespace('i', 'x')")
    as_role(admin, "tenant", path, "SELECT pc_upsert('i', 'w', 'c', '[1,2]'::ours.vector), pc_delete('i', 'w', ids => '{c}')")
    assert admin.execute("SHOW search_path").fetchone()[0] == f"evil, pg_catalog, {SCHEMA}"
    admin.execute(f"SET search_path = {PATH}")
    assert attempts(admin) > before, "not even as the tenant: the attack did not take place"
    assert run_as(admin) <= {"tenant"}
    finish(admin, v=A, w=A, u=B, x={})


def test_triggers_of_who_may_make_them_on_a_namespace(admin):
    """TRIGGER on a namespace's table gives no owner's rights to who calls the functions that work as the owner."""
    make(admin, "landlord")
    leaf = leaf_of(admin, "t")
    as_role(admin, "landlord", f"GRANT ALL ON {leaf} TO tenant")
    for event in ("TRUNCATE", "DELETE", "INSERT", "UPDATE"):
        as_role(admin, "tenant", f"CREATE TRIGGER on_{event} BEFORE {event} ON {leaf} FOR EACH STATEMENT EXECUTE FUNCTION public.note_row('{event}')")
    before = attempts(admin)
    assert as_role(admin, "tenant", "SELECT pc_delete('i', 't', delete_all => true)") == [(1,)]
    assert attempts(admin) > before, "the attack did not take place"
    assert run_as(admin) == {"tenant"}
    finish(admin, t={}, u=B)


def test_a_role_is_given_back_after_errors(admin):
    """An error while a function works as the owner leaves the caller with its own role, path and rights, in a subtransaction as well."""
    make(admin, "landlord")
    as_role(
        admin,
        "landlord",
        "ALTER TABLE public.i ADD CHECK (1 / (octet_length(namespace) - 3) IS NOT NULL)",
        "GRANT ALL ON public.i TO tenant",
    )
    attempt = """
        DO $$ BEGIN
            FOR n IN 1..20 LOOP
                BEGIN
                    PERFORM ours.pc_rename_namespace('i', 't', 'abc');
                    RAISE EXCEPTION 'renamed';
                EXCEPTION WHEN division_by_zero THEN NULL;
                END;
                ASSERT current_user = 'tenant' AND current_setting('search_path') = 'public, ours';
            END LOOP;
        END $$"""
    as_role(admin, "tenant", attempt)
    with pytest.raises(psycopg.errors.DivisionByZero):
        as_role(admin, "tenant", "SELECT pc_rename_namespace('i', 't', 'abc')")
    assert admin.execute("SELECT current_user::text, current_setting('search_path')").fetchone() == ("postgres", PATH)
    with pytest.raises(DENIED):
        as_role(admin, "tenant", "SELECT pc_set_limits('i', 't', 5)")
    finish(admin, t=A, u=B)


def test_a_former_owner_gets_no_new_tenants(admin):
    """Tables of namespaces that are made later belong to whom the index belongs to then."""
    make(admin, "mallory")
    admin.execute("ALTER TABLE public.i OWNER TO landlord")
    as_role(admin, "landlord", "SELECT pc_upsert('i', 'v' || n, 'c', '[1,2]'::ours.vector) FROM generate_series(1, 3) n, pc_create_namespace('i', 'w')")
    # in a bucket that mallory made
    same_bucket = admin.execute(
        """SELECT name FROM (SELECT 'n' || n AS name FROM generate_series(1, 20000) n) names
           WHERE satisfies_hash_partition('public.i'::regclass, 1024, (SELECT remainder FROM conifer.buckets b JOIN pg_inherits ON inhparent = b.bucket::oid
               WHERE inhrelid = %s::regclass), name::conifer.namespace_name) LIMIT 2""",
        [leaf_of(admin, "t")],
    ).fetchall()
    new, copy = (name for (name,) in same_bucket)
    as_role(admin, "landlord", f"SELECT pc_upsert('i', '{new}', 'c', '[1,2]'::ours.vector), pc_copy_namespace('i', '{new}', '{copy}')")
    owners = "SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = ANY (SELECT leaf FROM conifer.namespaces WHERE namespace NOT IN ('t', 'u'))"
    assert admin.execute(owners).fetchall() == [("landlord",)]
    for name in (new, copy):
        with pytest.raises(DENIED):
            as_role(admin, "mallory", f"SELECT * FROM {leaf_of(admin, name)}")
    c = {"c": ((1.0, 2.0), {})}
    finish(admin, t=A, u=B, v1=c, v2=c, v3=c, w={}, **{new: c, copy: c})


@pytest.mark.parametrize(
    "call",
    [
        "SELECT pc_delete('i', 't', delete_all => true)",
        "SELECT pc_delete_namespace('i', 't')",
        "SELECT pc_delete_index('i')",
        "CALL pc_delete_index_in_batches('i')",
    ],
)
@pytest.mark.parametrize("rights", ["", "GRANT SELECT ON {leaf} TO tenant"])
def test_a_table_taken_out_of_an_index_is_out_of_reach(admin, call, rights):
    """What works as the owner of a namespace's table does not touch one that was detached and given to somebody else."""
    make(admin, "mallory")
    leaf = leaf_of(admin, "t")
    parent = admin.execute("SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = %s::regclass", [leaf]).fetchone()[0]
    admin.execute(f"ALTER TABLE {parent} DETACH PARTITION {leaf}; ALTER TABLE {leaf} OWNER TO landlord; {rights.format(leaf=leaf)}")
    as_role(admin, "mallory", call)
    assert admin.execute(f"SELECT id FROM {leaf}").fetchall() == [("a",)]
    admin.execute(f"DROP TABLE {leaf}")
    if "index" in call:
        verify(admin, Model())
    else:
        finish(admin, u=B)


def test_security_definers_are_those_of_the_readme(admin):
    """Every function that PostgreSQL runs as somebody else, and none without a fixed search path, stands in the README with its reason."""
    there = admin.execute(
        """SELECT p.oid::regprocedure::text, p.proconfig FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
           WHERE p.prosecdef"""
    ).fetchall()
    section = README.read_text().split("### Who runs what", 1)[1].split("\n## ", 1)[0]
    listed = re.findall(r"^\| `(conifer\.[^`]*)` \|", section, re.MULTILINE)
    assert sorted(listed) == sorted(name for name, _ in there) and listed
    for name, settings in there:
        assert settings and any(setting.startswith("search_path=pg_catalog, pg_temp") for setting in settings), name
