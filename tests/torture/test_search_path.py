"""A search path full of impostors: each function, operator, type and relation of PostgreSQL's and of the extension's comes first in an attacker's form.

Whatever is done through the extension's functions, by whomever, none of them is ever used, and every answer is the same as without.
"""

from __future__ import annotations

import itertools

import psycopg
import pytest
import trojans
from model import Model, verify
from server import SCHEMA

#: Too few impostors would prove little: PostgreSQL has some thousand functions and 800 operators.
LEAST = {"evil": 3500, "pg_temp": 150}
PATHS = ["evil, pg_catalog, public", f"evil, pg_catalog, {SCHEMA}", "evil", f"pg_temp, {SCHEMA}, pg_catalog", ""]

#: Nothing here is looked up by the search path: functions are qualified, literals take the types of their arguments.
LIFE = [
    "SELECT 1 FROM o.pc_create_namespace('{i}', 'empty')",
    """SELECT o.pc_upsert('{i}', 't', '[{{"id": "A", "values": [1, 0], "metadata": {{"g": "x", "n": 1}}}}, {{"id": "B", "values": [0, 1]}}]')""",
    "SELECT o.pc_upsert('{i}', 't', 'C', '[1,1]', '{{\"g\": \"x\"}}')",
    "SELECT o.pc_upsert('{i}', 'u', ids => '{{A,D}}', vectors => '{{\"[1,0]\",\"[3,1]\"}}')",
    "SELECT id, score FROM o.pc_query('{i}', 't', '[1,0]', filter => '{{\"g\": \"x\"}}', include_values => true, include_metadata => true)",
    "SELECT id, score FROM o.pc_query('{i}', 't', id => 'A')",
    "SELECT o.pc_query_json('{i}', 't', '[1,0]', include_metadata => true)",
    "SELECT namespace, id, score FROM o.pc_query_namespaces('{i}', prefix => '', vector => '[1,0]')",
    "SELECT namespace, id, score FROM o.pc_query_namespaces('{i}', '{{t,u}}', '[1,0]', filter => '{{\"g\": \"x\"}}')",
    "SELECT id, metadata FROM o.pc_fetch('{i}', 't', '{{A,C}}')",
    "SELECT id, metadata FROM o.pc_fetch_by_metadata('{i}', 't', '{{\"n\": {{\"$gte\": 1}}}}')",
    "SELECT * FROM o.pc_list('{i}', 't', 'A')",
    "SELECT * FROM o.pc_facets('{i}', 't', 'g')",
    "SELECT o.pc_count('{i}', 't', '{{\"g\": {{\"$in\": [\"x\"]}}}}')",
    "SELECT o.pc_update('{i}', 't', 'B', vector => '[5,5]', set_metadata => '{{\"h\": 1}}')",
    "SELECT o.pc_update('{i}', 't', filter => '{{\"g\": \"x\"}}', set_metadata => '{{\"h\": 2}}', remove_metadata => '{{n}}')",
    "SELECT o.pc_delete('{i}', 't', ids => '{{C}}')",
    "SELECT o.pc_delete('{i}', 'u', filter => '{{\"$not\": {{\"g\": \"x\"}}}}')",
    "SELECT o.pc_copy_namespace('{i}', 't', 'copy')",
    "SELECT 1 FROM o.pc_rename_namespace('{i}', 'copy', 'renamed')",
    "SELECT id, metadata FROM o.pc_fetch('{i}', 'renamed', '{{A,B}}')",
    "SELECT name, record_count FROM o.pc_list_namespaces('{i}')",
    "SELECT 1 FROM o.pc_describe_namespace('{i}', 't')",
    "SELECT 1 FROM o.pc_describe_index_stats('{i}')",
    "SELECT namespace, record_count FROM o.pc_usage('{i}')",
    "SELECT o.pc_matches('{{\"a\": 1}}', '{{\"a\": 1}}'), o.pc_number('{{\"a\": 1}}', 'a'), o.pc_string('{{\"a\": \"b\"}}', 'a')",
    "SELECT o.pc_merge_metadata('{{\"a\": 1}}', '{{\"b\": 2}}', '{{a}}')",
    "SELECT id FROM roots.\"{i}\" WHERE namespace OPERATOR(pg_catalog.=) 't' AND o.pc_matches(metadata, '{{\"g\": \"x\"}}') ORDER BY \"values\" OPERATOR(o.<->) '[1,0]' LIMIT 3",
    "SELECT o.pc_delete('{i}', 'renamed', delete_all => true)",
    "SELECT o.pc_delete_namespace('{i}', 'empty')",
]  # fmt: skip
#: For owners alone.
OWNERS = [
    "SELECT 1 FROM o.pc_describe_index('{i}')",
    "SELECT 1 FROM o.pc_configure_index('{i}', tags => '{{\"a\": \"b\"}}')",
    "SELECT o.pc_set_limits('{i}', 't', 100), o.pc_set_limits('{i}', max_bytes => 1000000000)",
    "SELECT o.pc_reset_usage('{i}')",
    "SELECT o.pc_grant('{i}', 't', 'tenant'), o.pc_revoke('{i}', 't', 'tenant')",
    "VACUUM roots.\"{i}\"",
    "ANALYZE roots.\"{i}\"",
    "REINDEX TABLE roots.\"{i}\"",
    "CREATE INDEX ON roots.\"{i}\" (o.pc_string(metadata, 'g') COLLATE pg_catalog.\"C\", o.pc_number(metadata, 'n'))",
    "SELECT id FROM o.pc_query('{i}', 't', '[1,0]', filter => '{{\"g\": \"x\"}}')",
]  # fmt: skip


#: What row security that binds the caller forbids, and what follows from it.
WHOLE = ("pc_rename_namespace", "pc_delete_namespace", "renamed")


def statements_for(role: str, way: str) -> list[str]:
    if role != "tenant":
        return [*LIFE, *OWNERS]
    return [statement for statement in LIFE if way == "direct" or not any(word in statement for word in WHOLE)]


@pytest.fixture
def trapped(server):
    """A server with impostors, an owner of indexes and a tenant with rights on them."""
    with server.connect() as connection:
        connection.execute("CREATE ROLE owner; CREATE ROLE tenant; CREATE SCHEMA roots AUTHORIZATION owner; CREATE SCHEMA evil")
        connection.execute(f"GRANT ALL ON SCHEMA evil TO PUBLIC; GRANT USAGE ON SCHEMA {SCHEMA}, roots TO PUBLIC; GRANT CREATE ON SCHEMA roots TO owner")
        trojans.lay(connection)
        assert trojans.put(connection, "evil") >= LEAST["evil"]
    return server


def lived(connection: psycopg.Connection, index: str, statements: list[str]) -> list:
    """What each statement answers."""
    answers = []
    for statement in statements:
        cursor = connection.execute(statement.replace("o.", f"{SCHEMA}.").format(i=index))
        answers.append(cursor.fetchall() if cursor.description else [])
    return answers


def make_index(connection: psycopg.Connection, index: str, way: str):
    """An index of `owner` with rights for `tenant`; records of the second way are reached by SQL."""
    connection.execute("SET SESSION AUTHORIZATION owner; SET search_path = roots")
    connection.execute(f"SELECT {SCHEMA}.pc_create_index('{index}', 2, 'euclidean')")
    connection.execute(f'GRANT ALL ON roots."{index}" TO tenant')
    if way == "by SQL":
        connection.execute(f'ALTER TABLE roots."{index}" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY')
        connection.execute(f'CREATE POLICY everything ON roots."{index}" USING (true)')
    connection.execute("RESET SESSION AUTHORIZATION")


def test_impostors_are_never_used(trapped, scaled):
    """By a superuser, the owner and a tenant, with impostors before PostgreSQL's own and among temporary objects."""
    paths = scaled(PATHS, PATHS[::2])
    for role, way in itertools.product(("postgres", "owner", "tenant"), ("direct", "by SQL")):
        statements = statements_for(role, way)
        with trapped.connect() as connection:
            expected = under_path(connection, role, way, f"{role}0", "pg_catalog", statements)
            assert all(expected[4:8]) and sum(map(bool, expected)) > len(LIFE) / 2, "a life without answers proves nothing"
            assert trojans.put(connection, "pg_temp") >= LEAST["pg_temp"]
            for number, path in enumerate(paths, 1):
                assert under_path(connection, role, way, f"{role}{number}", path, statements) == expected, (role, way, path)
            assert trojans.sprung(connection) == 0
    impostors_do_work(trapped)


def impostors_do_work(server):
    """What is not qualified does meet them: the test above can fail."""
    with server.connect() as connection:
        connection.execute("SET search_path = evil, pg_catalog")
        for number, statement in enumerate(
            ["SELECT lower('A'::pg_catalog.text)", "SELECT 'a'::pg_catalog.text = 'b'::pg_catalog.text", "SELECT 'a'::text", "SELECT * FROM pg_class"]
        ):
            with pytest.raises(psycopg.Error) as caught:
                connection.execute(statement)
            assert caught.value.sqlstate == "TR0JN", statement
            assert trojans.sprung(connection) == number + 1


def under_path(connection: psycopg.Connection, role: str, way: str, index: str, path: str, statements: list[str]) -> list:
    """What a life of a role answers under a search path, in an index of its own that is gone afterwards."""
    make_index(connection, index, way)
    connection.execute(f"SET SESSION AUTHORIZATION {role}")
    connection.execute("SELECT pg_catalog.set_config('search_path', %s, false)", [path])
    answers = lived(connection, index, statements)
    connection.execute("RESET SESSION AUTHORIZATION")
    check_and_drop(connection, index)
    return answers


def check_and_drop(connection: psycopg.Connection, index: str):
    """Still under the hostile path."""
    for (name,) in connection.execute(
        """SELECT indexrelid::pg_catalog.oid FROM pg_catalog.pg_index JOIN pg_catalog.pg_class ON pg_class.oid OPERATOR(pg_catalog.=) indexrelid
           WHERE relkind OPERATOR(pg_catalog.=) 'i'::pg_catalog."char" AND relname OPERATOR(pg_catalog.~~) '%%values_metadata_idx'"""
    ).fetchall():
        assert connection.execute(f"SELECT * FROM {SCHEMA}.conifer_check(%s::pg_catalog.oid::pg_catalog.regclass)", [name]).fetchall() == []
        connection.execute(f"SELECT {SCHEMA}.conifer_inspect(%s::pg_catalog.oid::pg_catalog.regclass)", [name])
    if index.endswith("1"):
        connection.execute(f"CALL {SCHEMA}.pc_delete_index_in_batches('{index}')")
    else:
        connection.execute(f"SELECT {SCHEMA}.pc_delete_index('{index}')")


def test_extension_is_made_among_impostors(trapped):
    """CREATE EXTENSION into a schema where an attacker was first: it fails or it works, but uses nothing of his."""
    with trapped.connect() as connection:
        connection.execute("DROP EXTENSION conifer CASCADE")
        connection.execute("SET search_path = evil, pg_catalog")
        connection.execute("DO $$ BEGIN CREATE EXTENSION conifer SCHEMA evil; EXCEPTION WHEN duplicate_function OR duplicate_object THEN NULL; END $$")
        connection.execute("RESET search_path")
        connection.execute("DROP EXTENSION IF EXISTS conifer CASCADE; CREATE SCHEMA other")
        # Names that are not taken.
        connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}; CREATE EXTENSION conifer SCHEMA {SCHEMA}")
        assert trojans.sprung(connection) == 0
        connection.execute(f"SET search_path = {SCHEMA}, public; SELECT pc_create_index('a', 2)")
        connection.execute("SELECT pc_upsert('a', 't', 'x', '[1,2]')")
        model = Model()
        model.namespace("a", "t")["x"] = ((1.0, 2.0), {})
        verify(connection, model)
