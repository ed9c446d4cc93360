"""Hostile values and statements: literals of every type, and expressions over whatever an extension brings, in every place where SQL takes one.

What there is to call is read from the catalog, so that new functions, operators, casts, aggregates and settings are covered by themselves.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable

import psycopg

#: Relations of the test's database that functions of a regclass are given: each exists, hardly any is what is wanted.
RELATIONS = [
    "kept", "flat_index", "tree_index", "leaf_btree", "partitioned_index", "a_view", "a_matview", "a_sequence", "a_temp", "pg_toast.a_toast",
    "pg_class", "pg_class_oid_index", "conifer.indexes", "no_such_relation",
]  # fmt: skip

NAMES = [
    "", " ", "'", '"', "\\", "''", "$1", "%s%n", "--", ";", "\n", "\x01", "\x7f", "é", "🦀", "\u202eabc", "e\u0301", "\\x00", "\\u0000", "NULL", "null",
    "select", "user", "all", "pg_class", "conifer", "__default__", "t'); DROP TABLE kept; --", "n" * 63, "n" * 64, "é" * 32, "n" * 512, "é" * 257, "x" * 200_000,
]  # fmt: skip
NUMBERS = ["0", "1", "2", "-1", "7", "100", "10001", "20001", "2147483647", "-2147483648", "9223372036854775807", "-9223372036854775808"]
FLOATS = [*NUMBERS, "'NaN'", "'Infinity'", "'-Infinity'", "1e-45", "1e308", "-0.0", "3.5e38", "1e-400"]
VECTORS = [
    "[1,2]", "[1,2]", "[0,0]", "[-0,0]", "[1]", "[1,2,3]", "[3.4e38,3.4e38]", "[1e-45,1e-38]", "[NaN,1]", "[1,Infinity]", "[1e39,1]", "[]", "", "[", "[1,]", "[,1]",
    "1,2", "[1 2]", "[1,2]x", "[1e,2]", "[0x1,2]", "[" + "1," * 19_999 + "1]", "[" + "1," * 20_000 + "1]", "[" * 5000, "[" + "9" * 5000 + "]", "[1,2\x01]",
]  # fmt: skip
DEEP = "[" * 2000 + "]" * 2000
JSON = [
    "null", "true", "0", "1e400", '"x"', "[]", "{}", "[null]", '{"a": 1}', '{"a": "b"}', '{"a": null}', '{"a": {"b": 1}}', '{"$and": []}', '{"$or": [{"a": 1}]}',
    '{"a": {"$eq": 1}}', '{"a": {"$in": [1, "x", true, null]}}', '{"a": {"$gt": 1e308}}', '{"a": {"$exists": 1}}', '{"$not": {"$not": {}}}', '{"a": 1, "a": 2}',
    '{"": ""}', '{"a": "\\u0000"}', '{"a": "\\ud800"}', '{"a": ' + "9" * 5000 + "}", '{"a": -1e-131000}', DEEP, '{"a": ' + DEEP + "}", "nonsense", '{"a"', "",
    '{"$and": [' * 70 + "{}" + "]}" * 70, json.dumps({"k" * 50_000: 1}), json.dumps({f"k{n}": n for n in range(2000)}), '{"a": ["x", "y"]}', '{"a": [1]}',
    '[{"id": "A", "values": [1, 2]}]', '[{"id": "A", "values": [1]}]', '[{"id": "", "values": [1, null]}]', '[{"id": "A", "values": [1, 2], "metadata": {"a": {}}}]',
    '[{"id": "A", "id": "B", "values": [1, 2], "values": [3, 4]}]', '{"id": "A", "values": [1e999, 2]}', json.dumps([{"id": f"r{n}", "values": [1, n]} for n in range(99)]),
]  # fmt: skip
#: What stands in the parentheses of `vector(…)`.
MODIFIERS = ["0", "-1", "2", "20000", "20001", "2147483647", "2147483648", "NULL", "'x'", "1, 2", "'2'", "2.5"]
ROW_COUNTS = ["NULL", "0", "1", "5", "10000", "-1", "9223372036854775807", "1e30", "'x'", "(SELECT NULL::bigint)", "(SELECT 3)", "ALL", "2.5", "random()::int + 1"]
OPTIONS = ["", "", "", "WITH (lists = 1)", "WITH (fillfactor = 10)", "WITH (conifer = 'x')", "WITH (\"a b\" = 1)", "TABLESPACE nowhere", "WHERE id > 'a'", "WHERE false"]
KEYS = [
    "values vector_cosine_ops", "values vector_l2_ops", "values vector_ip_ops", "values", "id vector_l2_ops", "metadata", "(values) vector_l2_ops", "(values + values) vector_l2_ops",
    "values vector_l2_ops DESC", "values vector_l2_ops NULLS FIRST", "values vector_l2_ops, values vector_ip_ops", "values vector_l2_ops (n = 1)", 'values COLLATE "C"',
    "id text_ops", "ctid", "values no_such_ops", "(NULL::vector(2)) vector_l2_ops", "values vector_ops",
]  # fmt: skip
INCLUDES = ["", "", "INCLUDE (metadata)", "INCLUDE (id)", "INCLUDE (metadata, metadata)", "INCLUDE (values)", "INCLUDE ((1))", "INCLUDE (nothing)"]


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@dataclasses.dataclass
class Callables:
    """What an extension brings; types as SQL names them."""

    functions: list[tuple[str, list[str], list[str], int, str, str]]
    operators: list[tuple[str, str | None, str]]
    casts: list[tuple[str, str]]
    types: list[str]
    settings: list[str]

    @classmethod
    def of(cls, connection: psycopg.Connection, extension: str) -> Callables:
        owned = f"""d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
                    AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = {quoted(extension)})"""

        def rows(query: str, catalog: str) -> list[tuple]:
            depend = f"JOIN pg_depend d ON d.objid = o.oid AND d.classid = '{catalog}'::regclass AND {owned}"
            return connection.execute(f"{query} FROM {catalog} o {depend} WHERE true").fetchall()

        return cls(
            functions=rows(
                """SELECT o.oid::regproc::text, ARRAY(SELECT format_type(t, NULL) FROM unnest(o.proargtypes) WITH ORDINALITY a(t, n) ORDER BY n),
                          coalesce(o.proargnames, '{}'), o.pronargdefaults, o.prokind::text, format_type(o.prorettype, NULL)""",
                "pg_proc",
            ),
            operators=rows(
                """SELECT format('OPERATOR(%s.%s)', o.oprnamespace::regnamespace, o.oprname),
                          CASE WHEN o.oprleft <> 0 THEN format_type(o.oprleft, NULL) END, format_type(o.oprright, NULL)""",
                "pg_operator",
            ),
            casts=rows("SELECT format_type(o.castsource, NULL), format_type(o.casttarget, NULL)", "pg_cast"),
            types=[name for (name,) in rows("SELECT format_type(o.oid, NULL)", "pg_type")],
            # One of them is not shown with the others.
            settings=sorted(
                {"conifer.tree_rows"} | {name for (name,) in connection.execute(f"SELECT name FROM pg_settings WHERE name LIKE '{extension}.%'")}
            ),
        )


class Generator:
    """Statements, each from the seed and its number alone."""

    def __init__(self, callables: Callables, tokens: list[str]):
        self.callables, self.tokens = callables, tokens
        self.rng = random.Random()
        self.contexts: list[Callable[[], str]] = [
            self.plain, self.plain, self.plain, self.plain, self.filtering, self.aggregated, self.prepared, self.in_block, self.in_workers, self.in_function,
            self.in_cursor, self.in_table, self.in_index, self.in_order, self.in_order, self.copied, self.indexed, self.indexed, self.modified, self.set, self.written,
            self.in_lateral, self.in_set,
        ]  # fmt: skip

    def statement(self, seed: int, number: int) -> str:
        self.rng.seed(f"{seed} {number}")
        return self.rng.choice(self.contexts)()

    # values

    def pick(self, *pool: str) -> str:
        return self.rng.choice(pool)

    def one_of(self, pool: list[str], mild: int) -> str:
        """Mostly one of the first, which pass more often: so that what comes behind the first refusal is reached."""
        return self.rng.choice(pool[:mild] if self.rng.random() < 0.7 else pool)

    def value(self, of: str) -> str:
        """A literal of a type, or of another one."""
        dice = self.rng.random()
        if dice < 0.08:
            return f"NULL::{of}" if of not in ("internal", "cstring") and not of.startswith("any") else "NULL"
        if dice < 0.11:
            return self.pick("NULL", "1", "'x'", "'{}'", "ARRAY[]::text[]", "row(1, NULL)", "now()", "B'101'", "'\\x00'::bytea", "true")
        if of.endswith("[]"):
            return self.array(of[:-2])
        return self.scalar(of)

    def scalar(self, of: str) -> str:
        plain = of.rpartition(".")[2]
        match plain:
            case "internal":
                return "NULL"
            case "vector":
                return f"{quoted(self.one_of(VECTORS, 4))}::{of}{self.pick('', '', '', '', '(2)', '(3)')}"
            case "jsonb" | "json":
                return f"{quoted(self.one_of(JSON, len(JSON) // 2))}::{of}"
            case "integer" | "bigint" | "smallint" | "oid":
                return f"({self.pick(*NUMBERS)})::{of}"
            case "real" | "double precision" | "numeric":
                return f"{self.pick(*FLOATS)}::{of}"
            case "boolean":
                return self.pick("true", "false")
            case "regclass":
                return f"{quoted(self.pick(*RELATIONS))}::regclass" if self.rng.random() < 0.8 else f"{self.pick(*NUMBERS[:8])}::oid::regclass"
            case "bytea":
                return f"'\\x{self.rng.randbytes(self.rng.randrange(20)).hex()}'::bytea"
            case "name" | "text" | "character varying" | "namespace_name" | "record_id":
                return f"{quoted(self.name())}::{of}"
            case "cstring" | "unknown":
                return quoted(self.pick(*VECTORS, *NAMES))
            case "record" | "anyelement" | "anynonarray":
                return self.pick("row(1)", "1", "'x'::text")
        return f"{quoted(self.pick(*NAMES, *VECTORS))}::{of}"

    def name(self) -> str:
        dice = self.rng.random()
        if dice < 0.45:
            return self.pick("kept", "kept", "other", "t", "u", "r1", "r7", "cosine", "enabled")
        if dice < 0.6 and self.tokens:
            return self.forged(self.rng.choice(self.tokens))
        return self.pick(*NAMES)

    def forged(self, token: str) -> str:
        at = self.rng.randrange(len(token))
        return self.pick(token, token[:at], token + "A", token[:at] + self.pick("A", "=", "-", "é", "z") + token[at + 1 :], token[::-1])

    def array(self, of: str) -> str:
        one = [self.scalar(of) for _ in range(self.rng.randrange(1, 4))]
        listed = ", ".join(one)
        return self.pick(
            f"ARRAY[]::{of}[]", f"ARRAY[{listed}]::{of}[]", f"ARRAY[{listed}]::{of}[]", f"ARRAY[{one[0]}, NULL]::{of}[]", f"ARRAY[[{one[0]}], [{one[0]}]]::{of}[]",
            f"array_fill({one[0]}, ARRAY[2], ARRAY[0])", f"array_fill({one[0]}, ARRAY[2], ARRAY[-7])", f"array_fill({one[0]}, ARRAY[2, 2])", f"array_fill({one[0]}, ARRAY[3000])",
        )  # fmt: skip

    # expressions

    def call(self) -> str:
        calls = [function for function in self.callables.functions if function[4] in "fa"]
        function, types, names, defaults, _, _ = self.rng.choice(calls)
        given = len(types) - self.rng.randrange(defaults + 1)
        arguments = [self.value(of) for of in types[:given]]
        # By name behind the first ones, where there are names.
        by_name = self.rng.randrange(given + 1) if len(names) >= len(types) else given
        words = [value if at < by_name else f'"{names[at]}" => {value}' for at, value in enumerate(arguments)]
        return f"{function}({', '.join(words)})"

    def expression(self) -> str:
        dice = self.rng.random()
        if dice < 0.6:
            return self.call()
        if dice < 0.8:
            operator, left, right = self.rng.choice(self.callables.operators)
            return f"({self.value(left) if left else ''} {operator} {self.pick('', '', '', 'ANY')} ({self.value(right)}))"
        if dice < 0.92 and self.callables.casts:
            source, target = self.rng.choice(self.callables.casts)
            return f"(({self.value(source)})::{target}{self.pick('', '', '[]', '(3)') if target.endswith('vector') else ''})"
        return f"({self.value(self.rng.choice(self.callables.types))})"

    def vector(self) -> str:
        return self.pick("'[1,2]'", "'[1,2]'::vector", self.value("vector"), "(SELECT values FROM kept LIMIT 1)", "values", "NULL", "'[1]'")

    def distance(self) -> str:
        return f"values {self.pick('<->', '<=>', '<#>')} {self.vector()}"

    # statements

    def plain(self) -> str:
        return f"SELECT {self.pick('', '* FROM ')}{self.expression()}"

    def filtering(self) -> str:
        return f"SELECT id FROM {self.pick('kept', 'plain')} WHERE ({self.expression()})::text {self.pick('IS NOT NULL', '= id', '> namespace')} LIMIT 5"

    def aggregated(self) -> str:
        over = self.pick("", "FILTER (WHERE id > 'r3')", "OVER (ORDER BY id)", "OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)", "WITHIN GROUP (ORDER BY id)")
        name, types, *_ = self.rng.choice([found for found in self.callables.functions if found[4] == "a"])
        argument = self.pick("values", "DISTINCT values", "values ORDER BY id DESC", "NULL", self.value(types[0]))
        return f"SELECT {name}({argument}) {over} FROM {self.pick('kept', 'plain', 'plain WHERE false')} {self.pick('', 'GROUP BY namespace', 'GROUP BY ROLLUP (namespace, id)')}"

    def prepared(self) -> str:
        types = ["vector", "jsonb", "text", "bigint"]
        query = self.pick(
            f"SELECT id FROM kept WHERE namespace = $3 AND pc_matches(metadata, $2) ORDER BY {self.distance()} LIMIT $4",
            "SELECT id FROM plain WHERE pc_matches(metadata, $2) ORDER BY values <-> $1 LIMIT $4",
            "SELECT * FROM pc_query('kept', $3, $1, ($4 % 10)::int, $2)",
            "SELECT * FROM pc_list('kept', $3, $3, $4, $3)",
            "SELECT $1 + $1, $1 <-> '[1,2]', $1::real[], vector_dims($1)",
        )
        arguments = ", ".join(self.value(of) for of in types)
        mode = self.pick("force_generic_plan", "force_custom_plan")
        return f"DEALLOCATE ALL; SET LOCAL plan_cache_mode = {mode}; PREPARE p ({', '.join(types)}) AS {query}; EXECUTE p ({arguments}); EXECUTE p ({arguments})"

    def in_block(self) -> str:
        one, other = self.expression(), self.expression()
        return f"""DO $block$ BEGIN BEGIN PERFORM {one}; EXCEPTION WHEN others THEN IF SQLSTATE LIKE 'XX%' THEN RAISE; END IF; END;
            BEGIN PERFORM {other}; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END; PERFORM {one}; END $block$"""

    def in_workers(self) -> str:
        query = self.pick(
            f"SELECT count({self.expression()}) FROM plain", f"SELECT id FROM plain WHERE ({self.expression()})::text <> id ORDER BY {self.distance()} LIMIT 3",
            f"SELECT avg(values), sum(values) FROM plain WHERE ({self.expression()}) IS NULL",
        )  # fmt: skip
        return f"SET LOCAL {{parallel}} = on; SET LOCAL parallel_setup_cost = 0; SET LOCAL min_parallel_table_scan_size = 0; {query}"

    def in_function(self) -> str:
        kind = self.pick("IMMUTABLE", "IMMUTABLE STRICT PARALLEL SAFE", "STABLE", "VOLATILE")
        body = f"SELECT ({self.expression()})::text"
        return f"CREATE FUNCTION pg_temp.f() RETURNS text {kind} LANGUAGE sql AS $body$ {body} $body$; SELECT pg_temp.f(), count(pg_temp.f()) FROM plain WHERE id > pg_temp.f()"

    def in_cursor(self) -> str:
        query = self.pick(f"SELECT id FROM plain ORDER BY {self.distance()} LIMIT {self.pick(*ROW_COUNTS)}", f"SELECT {self.expression()} FROM plain", f"SELECT * FROM {self.call()}")
        moves = "; ".join(self.pick("FETCH 2 FROM c", "FETCH ALL FROM c", "MOVE 1 IN c", "FETCH BACKWARD 2 FROM c", "FETCH ABSOLUTE 1 FROM c") for _ in range(3))
        return f"DECLARE c {self.pick('', 'SCROLL', 'NO SCROLL')} CURSOR {self.pick('', 'WITH HOLD')} FOR {query}; {moves}; CLOSE c"

    def in_table(self) -> str:
        column = self.pick(
            f"x text DEFAULT ({self.expression()})::text", f"x text GENERATED ALWAYS AS (({self.expression()})::text) STORED", f"CHECK (({self.expression()}) IS NOT NULL)",
            f"x vector({self.pick(*MODIFIERS)}) DEFAULT {self.vector()}", f"x vector(2) GENERATED ALWAYS AS ({self.pick('values + values', 'l2_normalize(values)', 'values')}) STORED",
        )  # fmt: skip
        return f"CREATE TEMP TABLE made (id text, values vector(2), {column}) ON COMMIT DROP; INSERT INTO made (id, values) VALUES ('a', '[1,2]'), ('b', NULL); SELECT * FROM made"

    def in_index(self) -> str:
        method = self.pick("btree", "btree", "gin", "hash", "conifer", "brin", "gist")
        return f"CREATE INDEX made_index ON plain USING {method} (({self.expression()})); SELECT id FROM plain WHERE ({self.expression()}) IS NOT NULL LIMIT 3"

    def in_order(self) -> str:
        where = self.pick("", "WHERE namespace = 't'", "WHERE namespace = ANY ('{t,u,NULL}')", "WHERE pc_matches(metadata, '{\"a\": 1}')", f"WHERE ({self.expression()}) IS NULL")
        tail = self.pick("", "", "FOR UPDATE", "FOR SHARE SKIP LOCKED", "WITH TIES")
        limit = f"LIMIT {self.pick(*ROW_COUNTS)}" if tail != "WITH TIES" else f"FETCH FIRST ({self.pick(*ROW_COUNTS)}) ROWS WITH TIES"
        return f"""SELECT {self.pick('id', '*', 'values', 'ctid, tableoid', self.distance())} FROM {self.pick('kept', 'plain', '{leaf}')} {where}
            ORDER BY {self.distance()} {self.pick('', '', 'DESC', 'NULLS FIRST', ', id')} {limit} OFFSET {self.pick('0', '0', *ROW_COUNTS)} {tail if tail != 'WITH TIES' else ''}"""

    def copied(self) -> str:
        return f"COPY (SELECT {self.expression()}) TO STDOUT {self.pick('', '(FORMAT csv)', '(FORMAT binary)')}"

    def indexed(self) -> str:
        unique = self.pick("", "", "", "UNIQUE")
        return f"CREATE {unique} INDEX made_index ON {self.pick('plain', 'plain', 'kept', '{leaf}', 'a_matview', 'a_view')} USING conifer ({self.pick(*KEYS)}) {self.pick(*INCLUDES)} {self.pick(*OPTIONS)}"

    def modified(self) -> str:
        return self.pick(
            f"SELECT {self.vector() if self.rng.random() < 0.5 else quoted('[1,2]')}::vector({self.pick(*MODIFIERS)}){self.pick('', '[]')} FROM plain",
            f"ALTER TABLE plain ALTER values TYPE vector({self.pick(*MODIFIERS)})",
            f"ALTER TABLE kept ALTER values TYPE {self.pick('vector', 'text', 'real[]', 'vector(3)')} USING values::{self.pick('text', 'real[]', 'vector(3)')}",
        )

    def set(self) -> str:
        setting = self.rng.choice(self.callables.settings + ["conifer.no_such_setting"])
        value = self.pick("0", "1", "0.5", "0.99", "-1", "2", "'NaN'", "on", "'t'", "DEFAULT", "1e400", "'x'", "1000", "300", "2147483648", quoted(self.pick(*NAMES[:30])))
        return f"SET LOCAL {setting} = {value}; SELECT * FROM pc_query('kept', 't', '[1,2]'); {self.in_order()}; SELECT {self.call()}"

    def written(self) -> str:
        return self.pick(
            f"INSERT INTO kept (namespace, id, values, metadata) VALUES ({self.value('text')}, {self.value('text')}, {self.vector().replace('values', 'NULL')}, {self.value('jsonb')})",
            f"UPDATE kept SET namespace = {self.value('text')} WHERE id < 'r3'", f"UPDATE kept SET id = {self.value('text')}, values = {self.vector()} WHERE id = 'r1'",
            f"DELETE FROM kept WHERE id IN (SELECT id FROM kept ORDER BY {self.distance()} LIMIT {self.pick(*ROW_COUNTS)})", "TRUNCATE {leaf}", "DROP TABLE {leaf}",
            "ALTER TABLE kept DETACH PARTITION {leaf}", f"INSERT INTO {{leaf}} SELECT namespace, id || 'x', {self.vector()}, metadata FROM kept WHERE id > 'r5'",
            f"MERGE INTO kept k USING plain p ON k.id = p.id AND k.namespace = 't' WHEN MATCHED THEN UPDATE SET values = {self.vector().replace('values', 'p.values')}",
            f"INSERT INTO kept SELECT * FROM plain ON CONFLICT (namespace, id) DO UPDATE SET values = {self.vector().replace('values', 'excluded.values')}",
            "ALTER TABLE kept DROP COLUMN metadata", "ALTER TABLE kept ADD COLUMN more int DEFAULT 7; SELECT pc_upsert('kept', 't', 'r1', '[3,4]')", "ALTER INDEX flat_index SET (x = 1)",
            "DROP EXTENSION conifer", "DROP TYPE vector CASCADE", "REINDEX INDEX flat_index", "ANALYZE plain", "CLUSTER plain USING flat_index",
            "ALTER EXTENSION conifer SET SCHEMA public; SELECT public.pc_list_indexes()", "DROP SCHEMA conifer_data CASCADE", "DELETE FROM conifer.namespaces",
        )  # fmt: skip

    def in_lateral(self) -> str:
        return f"SELECT * FROM kept k, LATERAL (SELECT id, {self.distance().replace('values', 'p.values')} FROM plain p ORDER BY p.values <-> k.values LIMIT {self.pick('1', '2', 'k.id::int', '(SELECT 2)')}) x LIMIT 7"

    def in_set(self) -> str:
        return f"WITH x AS ({self.pick('', 'SELECT 1 UNION ALL ')}SELECT count(*) FROM {self.call()}) SELECT * FROM x, (VALUES ({self.expression()})) v"
