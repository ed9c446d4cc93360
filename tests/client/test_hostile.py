"""Hostile callers: generated arguments of every kind for every function, and a search path full of impostors.

Whatever is asked, the answer is a result or an error meant for users; a refused call changes nothing.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter

import psycopg
import pytest
from psycopg.types.json import set_json_loads

from conftest import OURS

SEED = 20_261_122
CALLS = 3000

# What functions may answer: data exceptions, unknown or taken names, rights, limits, states. PostgreSQL's own among them are
# 22P02 and 22P05 (JSON) and 42P07 (a table of the index's name is there).
EXPECTED = {
    "22000", "22003", "22004", "22023", "2202E", "22P02", "22P05", "0A000", "42501", "42704", "42710", "42P07", "53400", "54000", "55000",
}  # fmt: skip

STRINGS = [
    None, "", " ", "'", '"', "\\", "''", '""', "$1", "%s", "--", ";", "\n", "\x01", "é", "🦀", "\u202eabc", "e\u0301", "NULL", "null",
    "__default__", "__DEFAULT__", "default", "select", "values", "pg_class", "public", "conifer", "conifer_data", "t", "T", "t ",
    "t'); DROP TABLE a; --", "a\"; DROP SCHEMA conifer CASCADE; --", "$$; SELECT 1; $$", "{t}", "a,b", "(a)", "\\x00", "\\'", "E'\\''",
    "a" * 45, "a" * 46, "n" * 62, "n" * 63, "n" * 64, "é" * 32, "n" * 512, "é" * 256, "n" * 513, "é" * 257, "n" * 100_000, "-", "-a", "a-", "0", "A",
]  # fmt: skip
INTEGERS = [None, -(2**31), -1, 0, 1, 2, 3, 7, 100, 10_000, 10_001, 20_000, 20_001, 2**31 - 1]
LIMITS = [*INTEGERS, -(2**63), 2**63 - 1]
VECTORS = [
    None, "[1,2]", "[1,2]", "[0,0]", "[-0,0]", "[1]", "[1,2,3]", "[3.4e38,3.4e38]", "[-3.4e38,3.4e38]", "[1e-45,0]", "[1e-38,1e38]",
    "[" + ",".join(["1"] * 20_000) + "]",
]  # fmt: skip
DEEP = "[" * 3000 + "]" * 3000
JSON = [
    None, "null", "true", "0", "1e400", '"x"', "[]", "{}", "[null]", "[[]]", "[{}]", '{"a": 1}', '{"a": "b"}', '{"a": null}', '{"a": []}', '{"a": ["x", 1]}',
    '{"a": {"b": 1}}', '{"$a": 1}', '{"a": 1e308}', '{"a": -1e-400}', '{"": ""}', '{"a": "\'; DROP TABLE a; --"}', '{"a": "\\u00e9\\ud83e\\udd80"}',
    '{"a": {"$eq": 1}}', '{"a": {"$eq": [1]}}', '{"a": {"$ne": 1}}', '{"$and": []}', '{"$or": [{"a": 1}]}', '{"a": {"$eq": 1, "$eq": 2}}', '{"a": {}}',
    '{"serverless": {}}', '{"serverless": null}', '{"pod": {}}', '{"team": ""}', '{"team": "x"}', '{"a b": "x"}', '{"serverless": {"cloud": "\\""}}',
    json.dumps({"a": "x" * 50_000}), json.dumps({"k" * 50_000: 1}), json.dumps({f"k{n}": n for n in range(3000)}), DEEP, f'{{"a": {DEEP}}}',
    '{"id": "A", "values": [1, 2]}', '[{"id": "A", "values": [1, 2]}, {"id": "B", "values": [1]}]', '[{"id": "A", "values": [1, 2], "metadata": {"a": {}}}]',
    '[{"id": "A", "values": [1, null]}]', '[{"id": null, "values": [1, 2]}]', '[{"id": 7, "values": [1, 2]}]', '[{"id": "A", "values": {}}]',
    '[{"id": "A", "values": [1e999, 2]}]', '[{"id": "A", "values": [1e-999, 1]}]', '[{"id": "A", "values": [0, 0]}]', '[{"id": "A", "values": []}]',
    '[{"id": "A", "values": [1, 2], "sparse_values": {"indices": [1], "values": [1]}}]', '[{"id": "", "values": [1, 2]}]',
    '[{"id": "A", "values": [1, 2], "metadata": null}]', '[{"id": "A", "values": [1, 2], "extra": 1}]', '[{"id": "\\u001f", "values": [1, 2]}]',
    json.dumps([{"id": f"r{n}", "values": [1, n]} for n in range(300)]), json.dumps([{"id": "x" * 513, "values": [1, 2]}]),
]  # fmt: skip
TEXT_ARRAYS = [
    None, "{}", "{A}", "{A,B}", "{A,A}", "{NULL}", "{A,NULL}", '{""}', "{{A,B},{C,D}}", "[0:1]={A,B}", '{"\'; --","\\"","é"}',
    "{" + "x" * 513 + "}", "{" + ",".join(f"r{n}" for n in range(2000)) + "}",
]  # fmt: skip
VECTOR_ARRAYS = [
    None, "{}", '{"[1,2]"}', '{"[1,2]","[3,4]"}', "{NULL}", '{"[1,2]",NULL}', '{"[1]"}', '{"[1,2]","[1]"}', '{"[0,0]","[1,1]"}',
    '{{"[1,2]","[1,2]"},{"[1,2]","[1,2]"}}', '[0:1]={"[1,2]","[1,2]"}',
]  # fmt: skip
JSONB_ARRAYS = [None, "{}", "{NULL}", "{NULL,NULL}", '{"{\\"a\\": 1}"}', '{"{\\"a\\": 1}",NULL}', '{"[]"}', '{"{\\"a\\": null}","{}"}']
BOOLEANS = [None, True, False]

INDEX, NAMESPACE, ID = ["a", "a", "b", "c", *STRINGS], ["t", "t", "u", *STRINGS], ["A", "A", *STRINGS]
FUNCTIONS = [
    ("pc_create_index", [("name", "text", STRINGS), ("dimension", "integer", INTEGERS), ("metric", "text", ["cosine", "dotproduct", "COSINE", *STRINGS]),
                         ("spec", "jsonb", JSON), ("deletion_protection", "text", ["enabled", "disabled", *STRINGS]), ("tags", "jsonb", JSON)], 2),
    ("pc_describe_index", [("name", "text", INDEX)], 1),
    ("pc_configure_index", [("name", "text", INDEX), ("deletion_protection", "text", ["enabled", "disabled", *STRINGS]), ("tags", "jsonb", JSON)], 1),
    ("pc_delete_index", [("name", "text", STRINGS)], 1),
    ("pc_describe_index_stats", [("index", "text", INDEX)], 1),
    ("pc_create_namespace", [("index", "text", INDEX), ("namespace", "text", NAMESPACE)], 2),
    ("pc_describe_namespace", [("index", "text", INDEX), ("namespace", "text", NAMESPACE)], 2),
    ("pc_list_namespaces", [("index", "text", INDEX), ("prefix", "text", STRINGS), ("limit", "bigint", LIMITS), ("pagination_token", "text", STRINGS)], 1),
    ("pc_delete_namespace", [("index", "text", INDEX), ("namespace", "text", NAMESPACE)], 2),
    ("pc_grant", [("index", "text", INDEX), ("namespace", "text", NAMESPACE), ("role", "text", STRINGS), ("privileges", "text[]", TEXT_ARRAYS)], 3),
    ("pc_revoke", [("index", "text", INDEX), ("namespace", "text", NAMESPACE), ("role", "text", STRINGS), ("privileges", "text[]", TEXT_ARRAYS)], 3),
    ("pc_set_limits", [("index", "text", INDEX), ("namespace", "text", NAMESPACE), ("max_records", "bigint", LIMITS), ("max_bytes", "bigint", LIMITS)], 1),
    ("pc_usage", [("index", "text", INDEX), ("namespace", "text", NAMESPACE)], 1),
    ("pc_reset_usage", [("index", "text", INDEX), ("namespace", "text", NAMESPACE)], 1),
    ("conifer.delete_some_namespaces", [("name", "text", STRINGS), ("most", "integer", INTEGERS)], 2),
    ("pc_rename_namespace", [("index", "text", INDEX), ("namespace", "text", NAMESPACE), ("new_name", "text", NAMESPACE)], 3),
    ("pc_copy_namespace", [("index", "text", INDEX), ("namespace", "text", NAMESPACE), ("new_name", "text", NAMESPACE), ("to_index", "text", INDEX)], 3),
    ("pc_upsert", [("index", "text", INDEX), ("namespace", "text", NAMESPACE), ("vectors", "jsonb", JSON)], 3),
    ("pc_upsert", [("index", "text", INDEX), ("namespace", "text", NAMESPACE), ("id", "text", ID), ("vector", "vector", VECTORS), ("metadata", "jsonb", JSON)], 4),
    ("pc_upsert", [("index", "text", INDEX), ("namespace", "text", NAMESPACE), ("id", "text", ID), ("vector", "text", [*VECTORS, *STRINGS, "[NaN,1]", "[1,inf]"]),
                   ("metadata", "text", [*JSON, *STRINGS])], 4),
    ("pc_upsert", [("index", "text", INDEX), ("namespace", "text", NAMESPACE), ("ids", "text[]", TEXT_ARRAYS), ("vectors", "vector[]", VECTOR_ARRAYS),
                   ("metadata", "jsonb[]", JSONB_ARRAYS)], 4),
    ("pc_query", [("index", "text", INDEX), ("namespace", "text", NAMESPACE), ("vector", "vector", VECTORS), ("top_k", "integer", INTEGERS), ("filter", "jsonb", JSON),
                  ("include_values", "boolean", BOOLEANS), ("include_metadata", "boolean", BOOLEANS), ("id", "text", ID)], 2),
    ("pc_query_json", [("index", "text", INDEX), ("namespace", "text", NAMESPACE), ("vector", "vector", VECTORS), ("top_k", "integer", INTEGERS),
                       ("filter", "jsonb", JSON), ("include_values", "boolean", BOOLEANS), ("include_metadata", "boolean", BOOLEANS), ("id", "text", ID)], 2),
    ("pc_query_namespaces", [("index", "text", INDEX), ("namespaces", "text[]", TEXT_ARRAYS), ("vector", "vector", VECTORS), ("top_k", "integer", INTEGERS),
                             ("filter", "jsonb", JSON), ("include_values", "boolean", BOOLEANS), ("include_metadata", "boolean", BOOLEANS), ("prefix", "text", STRINGS)], 1),
    ("pc_fetch", [("index", "text", INDEX), ("namespace", "text", NAMESPACE), ("ids", "text[]", TEXT_ARRAYS)], 3),
    ("pc_list", [("index", "text", INDEX), ("namespace", "text", NAMESPACE), ("prefix", "text", STRINGS), ("limit", "bigint", LIMITS), ("pagination_token", "text", STRINGS)], 2),
    ("pc_update", [("index", "text", INDEX), ("namespace", "text", NAMESPACE), ("id", "text", ID), ("vector", "vector", VECTORS), ("set_metadata", "jsonb", JSON),
                   ("filter", "jsonb", JSON), ("remove_metadata", "text[]", TEXT_ARRAYS), ("dry_run", "boolean", BOOLEANS)], 2),
    ("pc_delete", [("index", "text", INDEX), ("namespace", "text", NAMESPACE), ("ids", "text[]", TEXT_ARRAYS), ("delete_all", "boolean", BOOLEANS),
                   ("filter", "jsonb", JSON)], 2),
    ("pc_matches", [("metadata", "jsonb", JSON), ("filter", "jsonb", JSON)], 2),
    ("pc_number", [("metadata", "jsonb", JSON), ("field", "text", STRINGS)], 2),
    ("pc_string", [("metadata", "jsonb", JSON), ("field", "text", STRINGS)], 2),
    ("pc_merge_metadata", [("metadata", "jsonb", JSON), ("set_metadata", "jsonb", JSON), ("remove_metadata", "text[]", TEXT_ARRAYS)], 1),
    ("pc_count", [("index", "text", INDEX), ("namespace", "text", NAMESPACE), ("filter", "jsonb", JSON)], 2),
    ("pc_fetch_by_metadata", [("index", "text", INDEX), ("namespace", "text", NAMESPACE), ("filter", "jsonb", JSON), ("limit", "bigint", LIMITS),
                              ("pagination_token", "text", STRINGS)], 3),
    ("pc_facets", [("index", "text", INDEX), ("namespace", "text", NAMESPACE), ("field", "text", STRINGS), ("filter", "jsonb", JSON), ("limit", "bigint", LIMITS)], 3),
]  # fmt: skip

# Everything the functions keep, in one value.
STATE = """
CREATE FUNCTION public.state() RETURNS text LANGUAGE plpgsql AS $$
DECLARE root regclass; part text; state text;
BEGIN
    SELECT string_agg(i::text, '|' ORDER BY name) INTO state FROM conifer.indexes i;
    SELECT concat(state, string_agg(n::text, '|' ORDER BY leaf::oid)) INTO state FROM conifer.namespaces n;
    SELECT concat(state, string_agg(b::text, '|' ORDER BY bucket::oid)) INTO state FROM conifer.buckets b;
    SELECT concat(state, string_agg(l::text, '|' ORDER BY l.root::oid, namespace)) INTO state FROM conifer.limits l;
    SELECT concat(state, string_agg(u::text, '|' ORDER BY leaf::oid)) INTO state FROM conifer.usage_resets u;
    SELECT concat(state, count(*)) INTO state FROM pg_class WHERE relkind IN ('r', 'p', 'i', 'I');
    FOR root IN SELECT i.root FROM conifer.indexes i ORDER BY name LOOP
        EXECUTE format('SELECT md5(string_agg(r::text, %L ORDER BY namespace, id)) FROM %s r', '|', root) INTO part;
        state := concat(state, part);
    END LOOP;
    RETURN md5(state);
END $$;
"""


def open_connection(dsn: str) -> psycopg.Connection:
    return psycopg.connect(dsn, options=f"-c search_path={OURS},public", autocommit=True)


@pytest.fixture
def session(database):
    with open_connection(database) as connection:
        connection.execute("SELECT pc_create_index('a', 2)")
        connection.execute("SELECT pc_create_index('b', 2, metric => 'euclidean')")
        connection.execute("SELECT pc_create_index('c', 20000, metric => 'dotproduct')")
        for index in "ab":
            for namespace in "tu":
                records = [{"id": id, "values": [1, n], "metadata": {"a": n}} for n, id in enumerate("ABC")]
                connection.execute("SELECT pc_upsert(%s, %s, %s::jsonb)", [index, namespace, json.dumps(records)])
        yield connection
        connection.execute("DO $$ BEGIN PERFORM pc_configure_index(name, 'disabled'), pc_delete_index(name) FROM pc_list_indexes(); END $$")
        connection.execute("DROP SCHEMA IF EXISTS impostors CASCADE")


def generate(rng: random.Random) -> tuple[str, list]:
    """One call as SQL with its parameters."""
    name, parameters, required = rng.choice(FUNCTIONS)
    given = [
        parameter for number, parameter in enumerate(parameters) if number < required or rng.random() < 0.4
    ]
    arguments = ", ".join(f'"{parameter}" => %s::{type}' for parameter, type, _ in given)
    # mostly what passes, so that the hostile argument is reached; never parameters psycopg itself refuses
    values = [pool[0] if pool[0] is not None and rng.random() < 0.5 else rng.choice(pool) for _, _, pool in given]
    return f"SELECT * FROM {name}({arguments})", values


def test_generated_calls(database, session):
    session.execute(STATE)
    set_json_loads(str, session)  # some come back deeper than Python's parser goes
    rng = random.Random(SEED)
    pid = session.info.backend_pid
    seen: Counter[str] = Counter()
    state = session.execute("SELECT public.state()").fetchone()
    for number in range(CALLS):
        query, values = generate(rng)
        call = f"call {number}: {query} {[repr(value)[:80] for value in values]}"
        try:
            session.execute(query, values).fetchall()
            seen["00000"] += 1
            state = session.execute("SELECT public.state()").fetchone()
        except psycopg.Error as error:
            assert error.sqlstate in EXPECTED, f"{call}: {error.sqlstate} {error}"
            message = error.diag.message_primary
            assert message and not re.search(r"panick|unwrap|\.rs:|src/", message), f"{call}: {message}"
            seen[error.sqlstate] += 1
            assert session.execute("SELECT public.state()").fetchone() == state, f"written by {call}"
    assert session.info.backend_pid == pid and session.execute("SELECT 1").fetchone() == (1,)
    # it reached both sides of the rules
    assert seen["00000"] > CALLS / 10
    assert {"22000", "22004", "22023", "42704", "42710", "54000"} <= set(seen), seen


def names(limit: int) -> list[str]:
    return [name for name in STRINGS if name and len(name.encode()) <= limit]


def test_any_name_is_only_a_name(session):
    """Each namespace and id of up to 512 bytes works, and none is another."""
    wanted = sorted(set(names(512)) - {"t"}, key=str.encode)
    for number, name in enumerate(wanted):
        query = "SELECT pc_upsert('a', %s, %s, ARRAY[1, %s]::real[]::vector)"
        assert session.execute(query, [name, name, number]).fetchone() == (1,)
        assert session.execute("SELECT pc_upsert('a', 't', %s, '[1,1]'::vector)", [name]).fetchone() == (1,)
    listed = session.execute("SELECT name, record_count FROM pc_list_namespaces('a')").fetchall()
    ids = sorted({"A", "B", "C", *wanted}, key=str.encode)
    expected = {name: 1 for name in wanted} | {"t": len(ids), "u": 3}
    assert listed == sorted(expected.items(), key=lambda item: item[0].encode())
    assert [id for (id,) in session.execute("SELECT id FROM pc_list('a', 't')")] == ids
    for name in wanted:
        one = [(name,)]
        assert session.execute("SELECT id FROM pc_query('a', %s, '[1,1]')", [name]).fetchall() == one
        assert session.execute("SELECT id FROM pc_query('a', %s, id => %s)", [name, name]).fetchall() == one
        assert session.execute("SELECT id FROM pc_fetch('a', %s, ARRAY[%s])", [name, name]).fetchall() == one
        assert session.execute("SELECT id FROM pc_list('a', %s, %s)", [name, name]).fetchall() == one
        answer = session.execute("SELECT pc_query_json('a', %s, '[1,1]')", [name]).fetchone()[0]
        assert (answer["namespace"], answer["matches"][0]["id"]) == (name, name)
        assert session.execute("SELECT id FROM a WHERE namespace = %s", [name]).fetchall() == one
        assert session.execute("SELECT pc_update('a', %s, %s, '[2,2]')", [name, name]).fetchone() == (1,)
        assert session.execute("SELECT pc_delete('a', %s, ARRAY[%s])", [name, name]).fetchone() == (1,)
        assert session.execute("SELECT pc_delete_namespace('a', %s)", [name]).fetchone() == (True,)
    listed = session.execute("SELECT name FROM pc_list_namespaces('a')").fetchall()
    assert listed == [("t",), ("u",)]


# Things of the names our own statements use, all wrong. `impostors` comes before pg_catalog in the path.
IMPOSTORS = f"""
CREATE SCHEMA impostors;
SET LOCAL search_path = pg_catalog;
CREATE FUNCTION impostors.no(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE FUNCTION impostors.no(conifer.namespace_name, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE FUNCTION impostors.no(conifer.record_id, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE FUNCTION impostors.no(oid, oid) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE FUNCTION impostors.no(bigint, bigint) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE FUNCTION impostors.zero({OURS}.vector, {OURS}.vector) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT 0.0::float8';
CREATE FUNCTION impostors.starts_with(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE FUNCTION impostors.starts_with(conifer.record_id, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE FUNCTION impostors.current_schema() RETURNS name LANGUAGE sql AS 'SELECT ''nowhere''::name';
CREATE FUNCTION impostors.pc_matches(jsonb, jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE FUNCTION impostors.pc_merge_metadata(jsonb, jsonb, text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT ''{{}}''::jsonb';
CREATE FUNCTION impostors.format(text, variadic text[]) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''SELECT 1/0''';
CREATE AGGREGATE impostors.count(*) (SFUNC = int8inc, STYPE = bigint, INITCOND = 1000);
CREATE DOMAIN impostors.text AS pg_catalog.text CHECK (VALUE = 'x');
CREATE DOMAIN impostors.jsonb AS pg_catalog.jsonb CHECK (VALUE = '1');
CREATE DOMAIN impostors.regclass AS pg_catalog.regclass CHECK (VALUE = 0::oid::regclass);
CREATE DOMAIN impostors.oid AS pg_catalog.oid CHECK (VALUE = 0);
CREATE DOMAIN impostors.vector AS pg_catalog.text CHECK (VALUE = 'x');
CREATE DOMAIN impostors.namespace_name AS pg_catalog.text CHECK (VALUE = 'x');
CREATE DOMAIN impostors.record_id AS pg_catalog.text CHECK (VALUE = 'x');
CREATE TABLE impostors.indexes (name pg_catalog.text);
CREATE TABLE impostors.namespaces (namespace pg_catalog.text);
CREATE TABLE impostors.pg_class (oid pg_catalog.oid);
CREATE TABLE impostors.conifer (x integer);
""" + "".join(
    f"CREATE OPERATOR impostors.{operator} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = impostors.{function});\n"
    for operators, left, right, function in [
        (["=", ">", ">=", "<", "^@"], "text", "text", "no"),
        (["=", ">", ">="], "conifer.namespace_name", "text", "no"),
        (["=", ">", ">="], "conifer.record_id", "text", "no"),
        (["="], "oid", "oid", "no"),
        (["="], "bigint", "bigint", "no"),
        (["<->", "<=>", "<#>"], f"{OURS}.vector", f"{OURS}.vector", "zero"),
    ]
    for operator in operators
)

# A tenant's life: each statement's rows are compared. {0} is the index.
LIFE = [
    """SELECT {ours}.pc_upsert('{0}', 't', '[{{"id": "A", "values": [1, 0], "metadata": {{"g": "x"}}}}, {{"id": "B", "values": [0, 1]}}, {{"id": "C", "values": [1, 1]}}]'::pg_catalog.jsonb)""",
    "SELECT {ours}.pc_upsert('{0}', 't', 'A'::pg_catalog.text, '[2,1]'::{ours}.vector, '{{\"g\": \"x\"}}'::pg_catalog.jsonb)",
    "SELECT {ours}.pc_upsert('{0}', 'u', ARRAY['A','D']::pg_catalog.text[], ARRAY['[1,0]','[3,1]']::{ours}.vector[])",
    "SELECT id, score FROM {ours}.pc_query('{0}', 't', '[1,0]'::{ours}.vector)",
    "SELECT id, score FROM {ours}.pc_query('{0}', 't', '[1,0]'::{ours}.vector, filter => '{{\"g\": \"x\"}}'::pg_catalog.jsonb)",
    "SELECT {ours}.pc_query_json('{0}', 't', id => 'B', include_values => true, include_metadata => true)",
    "SELECT namespace, id, score FROM {ours}.pc_query_namespaces('{0}', ARRAY['t','u']::pg_catalog.text[], '[1,0]'::{ours}.vector, filter => '{{}}'::pg_catalog.jsonb)",
    "SELECT namespace, id, metadata FROM {ours}.pc_query_namespaces('{0}', prefix => '', vector => '[1,0]'::{ours}.vector, include_metadata => true)",
    "SELECT id, metadata FROM {ours}.pc_fetch('{0}', 't', ARRAY['C','A']::pg_catalog.text[])",
    "SELECT * FROM {ours}.pc_list('{0}', 't', 'A')",
    "SELECT * FROM {ours}.pc_list('{0}', 't', \"limit\" => 1)",
    "SELECT * FROM {ours}.pc_list('{0}', 't', pagination_token => 'QQ')",
    "SELECT {ours}.pc_update('{0}', 't', 'B', vector => '[5,5]'::{ours}.vector, set_metadata => '{{\"h\": 1}}'::pg_catalog.jsonb)",
    "SELECT id, metadata FROM {ours}.pc_fetch('{0}', 't', ARRAY['B']::pg_catalog.text[])",
    "SELECT {ours}.pc_delete('{0}', 't', ARRAY['A','none']::pg_catalog.text[])",
    "SELECT {ours}.pc_count('{0}', 't'), {ours}.pc_count('{0}', 't', '{{\"h\": {{\"$in\": [1, 2]}}}}'::pg_catalog.jsonb)",
    "SELECT id, metadata, next_token FROM {ours}.pc_fetch_by_metadata('{0}', 't', '{{}}'::pg_catalog.jsonb, 1)",
    "SELECT id, metadata, next_token FROM {ours}.pc_fetch_by_metadata('{0}', 't', '{{}}'::pg_catalog.jsonb, pagination_token => 'QQ')",
    "SELECT * FROM {ours}.pc_facets('{0}', 't', 'h', '{{\"h\": {{\"$in\": [1, 2]}}}}'::pg_catalog.jsonb)",
    "SELECT {ours}.pc_update('{0}', 't', filter => '{{\"h\": {{\"$in\": [1, 2]}}}}'::pg_catalog.jsonb, dry_run => true)",
    "SELECT {ours}.pc_update('{0}', 't', filter => '{{\"h\": {{\"$in\": [1, 2]}}}}'::pg_catalog.jsonb, set_metadata => '{{\"i\": 1}}'::pg_catalog.jsonb, remove_metadata => ARRAY['h']::pg_catalog.text[])",
    "SELECT id, metadata FROM {ours}.pc_fetch('{0}', 't', ARRAY['A','B','C']::pg_catalog.text[])",
    "SELECT {ours}.pc_delete('{0}', 't', filter => '{{\"i\": 1}}'::pg_catalog.jsonb)",
    "SELECT name, record_count FROM {ours}.pc_list_namespaces('{0}')",
    "SELECT {ours}.pc_describe_index_stats('{0}') #> '{{namespaces,t,record_count}}'",
    "SELECT {ours}.pc_delete('{0}', 'u', delete_all => true)",
    "SELECT name, record_count FROM {ours}.pc_list_namespaces('{0}')",
    "SELECT {ours}.pc_create_namespace('{0}', 'v') -> 'name'",
    "SELECT {ours}.pc_delete_namespace('{0}', 'v')",
    "SELECT {ours}.pc_copy_namespace('{0}', 't', 'w')",
    "SELECT {ours}.pc_rename_namespace('{0}', 'w', 'x') -> 'name'",
    "SELECT id, metadata FROM {ours}.pc_fetch('{0}', 'x', ARRAY['A','B','C']::pg_catalog.text[])",
    "SELECT {ours}.pc_configure_index('{0}', tags => '{{\"x\": \"y\"}}'::pg_catalog.jsonb) -> 'tags'",
    "SELECT {ours}.pc_set_limits('{0}', 'x', 7::pg_catalog.int8), {ours}.pc_reset_usage('{0}')",
    "SELECT namespace, record_count, max_records FROM {ours}.pc_usage('{0}')",
    "SELECT index, namespace, record_count FROM conifer.usage",
    "SELECT {ours}.pc_delete_index('{0}')",
]  # fmt: skip


def live(connection, index: str, metric: str, way: str) -> list:
    """What each statement of a life answers; `way` is how records are reached."""
    query = f"SELECT {OURS}.pc_create_index(%s::pg_catalog.text, 2, metric => %s::pg_catalog.text) ->> 'relation'"
    root = connection.execute(query, [index, metric]).fetchone()[0]
    if way == "trigger":
        connection.execute(f"CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON {root} FOR EACH ROW EXECUTE FUNCTION public.nothing()")
    elif way == "row security":
        connection.execute(f"ALTER TABLE {root} ENABLE ROW LEVEL SECURITY; ALTER TABLE {root} FORCE ROW LEVEL SECURITY")
        connection.execute(f"CREATE POLICY p ON {root} USING (true)")
    answers = []
    for statement in LIFE:
        answers.append(connection.execute(statement.format(index, ours=OURS)).fetchall())
    return answers


@pytest.mark.parametrize("metric", ["cosine", "dotproduct", "euclidean"])
@pytest.mark.parametrize("way", ["direct", "trigger", "row security"])
def test_search_path(database, session, metric, way):
    """Objects of the same names first in the search path change no answer, whichever way records are reached."""
    session.execute("CREATE ROLE conifer_hostile")
    try:
        session.execute(f"GRANT USAGE ON SCHEMA {OURS}, public TO conifer_hostile; GRANT CREATE ON SCHEMA public TO conifer_hostile")
        session.execute(
            "CREATE OR REPLACE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
        )
        with session.transaction():
            session.execute(IMPOSTORS)
        session.execute("GRANT ALL ON SCHEMA impostors TO conifer_hostile")
        session.execute("SET ROLE conifer_hostile")  # row security does not bind superusers
        session.execute("SET search_path = public")
        honest = live(session, "plain", metric, way)
        assert honest[3] != [] and honest[6] != [] and honest[8] != [] and honest[14] == [(1,)] and honest[20] == [(1,)]
        for path in ["impostors, pg_catalog, public", f"impostors, {OURS}, pg_catalog", "impostors"]:
            session.execute(f"SET search_path = {path}")
            assert live(session, "plain", metric, way) == honest, path
            session.execute(f"SELECT {OURS}.pc_create_index('batches'::pg_catalog.text, 2)")
            session.execute(f"SELECT {OURS}.pc_create_namespace('batches'::pg_catalog.text, 't'::pg_catalog.text)")
            session.execute(f"CALL {OURS}.pc_delete_index_in_batches('batches'::pg_catalog.text)")
    finally:
        session.execute("RESET ROLE")
        session.execute(f"SET search_path = {OURS}, public")
        session.execute("DROP SCHEMA IF EXISTS impostors CASCADE")
        session.execute("DROP OWNED BY conifer_hostile; DROP ROLE conifer_hostile")


@pytest.mark.parametrize(
    "statement, field, wanted",
    [
        ("DO $$ BEGIN PERFORM 1 / 0; END $$", "context", "inline_code_block"),
        ("CALL pc_delete_index_in_batches('none')", "context", "pc_delete_index_in_batches"),
        ("EXPLAIN ANALYZE INSERT INTO told VALUES (1), (1)", "constraint_name", "told_pkey"),
        ("CREATE TABLE told (a integer, b integer, a text)", "sqlstate", "42701"),
        ("EXPLAIN SELECT nothing FROM told", "statement_position", "16"),
    ],
)
def test_what_errors_of_others_tell_is_kept(connection, statement, field, wanted):
    """The hooks that watch statements being planned and executed take nothing off the errors that come by."""
    connection.execute("SELECT pc_list_indexes(); CREATE TEMPORARY TABLE IF NOT EXISTS told (a integer PRIMARY KEY)")
    with pytest.raises(psycopg.Error) as error:
        connection.execute(statement)
    assert wanted in getattr(error.value.diag, field)
