"""A backend that goes on for ever: its memory, its files and what it holds stay as they are, whatever is asked of it and however it fails."""

from __future__ import annotations

import functools
import itertools
import os
import pathlib
import re
import statistics

import bulk
import psycopg
import pytest
from model import Model, verify
from psycopg import sql

#: Figures are taken so often in a run; the first of them are of a backend that still fills its caches.
SAMPLES, WARM_UP = 12, 4
#: Growth from the first third behind the warm-up to the last: of what PostgreSQL counts and of what the system counts, where a page kept is no leak.
CONTEXT_BYTES, RESIDENT_BYTES = 128 << 10, 3 << 20
#: In the server's log, of anything that was not given back.
LEAKS = re.compile(r"leak|still referenced|not released|unexpected.*snapshot|you don't own a lock|TRAP|PANIC|FATAL")

DIMENSION = 16
VECTOR = "[" + ",".join(["0.5"] * DIMENSION) + "]"

#: Statements of one kind, each run by the thousand; {n} is a number that changes.
WORK = {
    "queries": [
        f"SELECT id, score FROM pc_query('i', 't', '{VECTOR}', 10)",
        f"SELECT id FROM pc_query('i', 't', '{VECTOR}', 10, filter => '{{{{\"g\": \"g{{n}}\"}}}}', include_values => true, include_metadata => true)",
        "SELECT id FROM pc_query('i', 't', id => 'r{n}')",
        f"SELECT pc_query_json('i', 's', '{VECTOR}', 5, include_metadata => true)",
        f"SELECT id FROM pc_query_namespaces('i', ARRAY['s', 't', 'none'], '{VECTOR}')",
        f"SELECT id FROM i WHERE namespace = 't' ORDER BY \"values\" <-> '{VECTOR}' LIMIT 5",
        "SELECT id FROM pc_fetch('i', 't', ARRAY['r{n}', 'none'])",
        "SELECT id FROM pc_list('i', 's', 'r{n}', 5)",
        "SELECT pc_count('i', 's', '{{\"g\": {{\"$in\": [\"g{n}\"]}}}}')",
    ],
    "writes": [
        f"SELECT pc_upsert('i', 'w', 'w{{n}}', '{VECTOR}'::vector, '{{{{\"a\": 1}}}}')",
        "SELECT pc_update('i', 'w', 'w{n}', set_metadata => '{{\"b\": \"x\"}}')",
        "SELECT pc_update('i', 'w', filter => '{{\"a\": {{\"$gt\": 5}}}}', set_metadata => '{{\"b\": 2}}')",
        f"SELECT pc_upsert('i', 'w', ARRAY['w{{n}}', 'v'], ARRAY['{VECTOR}', '{VECTOR}']::vector[])",
        "SELECT pc_delete('i', 'w', ids => ARRAY['w{n}'])",
        f"""SELECT pc_upsert('i', 'w', '[{{{{"id": "j", "values": {VECTOR}, "metadata": {{{{"a": [\"x\"]}}}}}}}}]'::jsonb)""",
        "SELECT pc_delete('i', 'w', filter => '{{\"a\": 1}}')",
    ],
}  # fmt: skip

#: How a backend is asked: each statement parsed anew, by prepared statements, by many in a transaction.
WAYS = ("each anew", "prepared", "in transactions")

SUBTRANSACTIONS = ", in subtransactions"
#: A table made and taken back leaves some in PostgreSQL's own caches, by OIDs that are never used again: Conifer is to add nothing to that.
FIRST_UPSERT, PARTITION = "first upsert rolled back", "partition of a plain table rolled back"

#: Each is an error of this kind, every time.
ERRORS = {
    "vector that is none": ("SELECT pc_query('i', 't', '[1,x]')", "22P02"),
    "vector with NaN": ("SELECT pc_upsert('i', 't', 'x', '[NaN]')", "22000"),
    "dimension": ("SELECT pc_query('i', 't', '[1,2]')", "22000"),
    "dimension in a batch": (f"SELECT pc_upsert('i', 't', ARRAY['a', 'b'], ARRAY['{VECTOR}', '[1]']::vector[])", "22000"),
    "JSON of records": ("""SELECT pc_upsert('i', 't', '[{"id": "x", "values": ["a"]}]'::jsonb)""", "22023"),
    "filter": (f"""SELECT pc_query('i', 't', '{VECTOR}', filter => '{{"a": {{"$no": 1}}}}')""", "22023"),
    "filter that is no JSON": ("SELECT pc_count('i', 't', '{')", "22P02"),
    "metadata": (f"""SELECT pc_upsert('i', 't', 'x', '{VECTOR}', '{{"a": null}}')""", "22023"),
    "unknown index": (f"SELECT pc_query('none', 't', '{VECTOR}')", "42704"),
    "unknown namespace": ("SELECT pc_describe_namespace('i', 'none')", "42704"),
    "namespace that is there": ("SELECT pc_create_namespace('i', 't')", "42710"),
    "limit": (f"SELECT pc_upsert('i', 'limited', 'x', '{VECTOR}'::vector)", "53400"),
    "no rights": ("SELECT denied()", "42501"),
    "division in the midst of a query": (f"SELECT 1 / (count(*) - 10) FROM pc_query('i', 't', '{VECTOR}', 10)", "22012"),
    "division in a plan node": (f"SELECT 1 / (n - n) FROM (SELECT length(id) AS n FROM i WHERE namespace = 't' ORDER BY \"values\" <-> '{VECTOR}' LIMIT 3) AS r", "22012"),
    "division in a condition": (f"SELECT id FROM i WHERE namespace = 't' AND 1 / (length(id) - length(id)) = 1 ORDER BY \"values\" <-> '{VECTOR}' LIMIT 3", "22012"),
    FIRST_UPSERT: (f"SELECT pc_upsert('i', 'new', 'x', '{VECTOR}'::vector) / 0", "22012"),
    PARTITION: ("DO $$ BEGIN CREATE TABLE part PARTITION OF parts FOR VALUES IN ('new'); PERFORM 1 / 0; END $$", "22012"),
    # One message, one transaction: the setting goes with the error, and what is measured has no limit.
    "time out": (f"SET statement_timeout = 1; SELECT count(*) FROM generate_series(1, 1000000), pc_query('i', 't', '{VECTOR}', 100)", "57014"),
}  # fmt: skip

SETUP = """
CREATE ROLE nobody_much;
GRANT USAGE ON SCHEMA ours TO nobody_much;
CREATE FUNCTION denied() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = ours AS $$ SELECT count(*) FROM pc_query('i', 't', id => 'r1') $$;
ALTER FUNCTION denied() OWNER TO nobody_much;
CREATE TABLE parts (namespace text COLLATE "C", id text COLLATE "C", "values" vector, metadata jsonb) PARTITION BY LIST (namespace);
CREATE UNIQUE INDEX ON parts (namespace, id);
"""


@pytest.fixture
def filled(make_server):
    """A server with an index of a large, a small, an empty and a full namespace, and what is in it."""
    server = make_server(settings={"autovacuum_naptime": "5s", "autovacuum_vacuum_cost_delay": "0"}).init()
    model = Model()
    with server.connect() as connection:
        connection.execute("SELECT pc_create_index('i', %s, 'euclidean')", [DIMENSION])
        connection.execute(SETUP)
        for name, count in (("t", 3000), ("s", 30), ("w", 0), ("limited", 0)):
            connection.execute("SELECT pc_create_namespace('i', %s)", [name])
            model.namespace("i", name).update(bulk.records(count, DIMENSION, 3))
            bulk.load(connection, "i", name, model.namespace("i", name))
        connection.execute("SELECT pc_set_limits('i', 'limited', max_records => 0)")
        connection.execute("SET conifer.tree_rows = 1000")
        connection.execute("VACUUM ANALYZE i")
    return server, model


def memory(connection: psycopg.Connection) -> tuple[int, int]:
    """What this backend uses: by PostgreSQL's count of memory contexts, and by the system's, without what is shared."""
    contexts = connection.execute("SELECT sum(used_bytes)::bigint FROM pg_backend_memory_contexts").fetchone()[0]
    report = pathlib.Path(f"/proc/{connection.info.backend_pid}/smaps_rollup").read_text()
    resident = re.search(r"^Anonymous: +(\d+) kB", report, re.MULTILINE)[1]
    return contexts, int(resident) * 1024


def open_files(connection: psycopg.Connection) -> int:
    return len(os.listdir(f"/proc/{connection.info.backend_pid}/fd"))


def grown(connection: psycopg.Connection, times: int, work) -> tuple[int, int]:
    """By how many bytes the backend grows while `work(number)` is done so often, after it has warmed up."""
    figures = []
    for number in range(times):
        work(number)
        if (number + 1) % max(1, times // SAMPLES) == 0:
            figures.append(memory(connection))
    behind = figures[WARM_UP:]
    third = max(1, len(behind) // 3)
    contexts, resident = (
        int(statistics.median(column[-third:]) - statistics.median(column[:third])) for column in zip(*behind, strict=True)
    )
    return contexts, resident


def judge(figures: dict[str, tuple[int, int]]):
    leaking = {name: grown for name, grown in figures.items() if grown[0] > CONTEXT_BYTES or grown[1] > RESIDENT_BYTES}
    assert leaking == {}, "bytes of memory contexts, and resident"


def beyond(grown: tuple[int, int], plain: tuple[int, int], share: int = 1) -> tuple[int, int]:
    """What there is more than `share` times what PostgreSQL's own takes."""
    return tuple(more - share * max(0, own) for more, own in zip(grown, plain, strict=True))


def finish(server, model: Model):
    """Nothing amiss in the data, and nothing said in the log of what was not given back."""
    with server.connect() as connection:
        verify(connection, model)
    said = [line for line in server.log().splitlines() if LEAKS.search(line)]
    assert said == []


def said_of(figures: dict[str, tuple[int, int]], **more) -> dict:
    return {"grown_bytes_contexts_and_resident": figures, **more}


def test_work_leaks_nothing(filled, scaled, record_result):
    """A million queries, and a hundred thousand writes, each way by a backend of its own."""
    server, model = filled
    times = {"queries": scaled(350_000, 2400), "writes": scaled(35_000, 600)}
    figures = {}
    for kind, way in itertools.product(WORK, WAYS):
        with server.connect(autocommit=way != "in transactions") as connection:
            connection.prepare_threshold = 0 if way == "prepared" else None
            figures[f"{kind}, {way}"] = grown(connection, times[kind], functools.partial(one_of, connection, WORK[kind]))
            connection.execute("SELECT pc_delete('i', 'w', ids => array_agg(id)) FROM i WHERE namespace = 'w' HAVING count(*) > 0")
            connection.commit()
    record_result("leaks-work", **said_of(figures, statements_each=times))
    judge(figures)
    finish(server, model)


def one_of(connection: psycopg.Connection, statements: list[str], number: int):
    """Does the next of some statements; outside of autocommit a hundred are a transaction."""
    connection.execute(statements[number % len(statements)].format(n=number // len(statements) % 10))
    if number % 100 == 99:
        connection.commit()


def caught(connection: psycopg.Connection, statement: str, state: str):
    """Runs it for its error."""
    with pytest.raises(psycopg.Error) as error:
        connection.execute(statement)
    assert error.value.sqlstate == state, (statement, error.value)


def in_block(statement: str, state: str, times: int) -> str:
    """The same error so many times in exception blocks of one statement: a subtransaction each."""
    body = f"EXECUTE {sql.quote(statement)}"
    return f"""DO $block$ BEGIN
        FOR n IN 1..{times} LOOP
            BEGIN
                {body};
                RAISE EXCEPTION 'no error';
            EXCEPTION WHEN SQLSTATE '{state}' THEN NULL;
            END;
        END LOOP;
    END $block$"""


def test_errors_leak_nothing(filled, scaled, record_result):
    """Of each kind, at top level and in subtransactions."""
    server, model = filled
    times, per_block = scaled((100_000, 100), (120, 10))
    figures = {}
    for kind, (statement, state) in ERRORS.items():
        # A new backend for each kind: what one has left is not another's room.
        with server.connect() as connection:
            if kind == "time out":
                figures[kind] = grown(connection, max(SAMPLES, times // 50), lambda _: caught(connection, statement, state))
                continue
            # A table made and taken back takes a hundred times as long as the others.
            so_many = times // 20 if kind in (FIRST_UPSERT, PARTITION) else times
            figures[kind] = grown(connection, max(SAMPLES, so_many), lambda _: caught(connection, statement, state))
            block = in_block(statement, state, per_block)
            figures[kind + SUBTRANSACTIONS] = grown(connection, max(SAMPLES, so_many // per_block), lambda _: connection.execute(block))
    record_result("leaks-errors", **said_of(figures, errors_of_each_kind=times))
    for way in ("", SUBTRANSACTIONS):
        figures[FIRST_UPSERT + way] = beyond(figures[FIRST_UPSERT + way], figures.pop(PARTITION + way))
    judge(figures)
    finish(server, model)


def test_namespaces_and_indexes_come_and_go(filled, scaled, record_result):
    """Made and dropped in one backend, always as new tables: of these PostgreSQL's own caches keep some kilobytes each, and Conifer adds nothing."""
    server, model = filled

    def plain(connection: psycopg.Connection, _: int):
        connection.execute("CREATE TABLE part PARTITION OF parts FOR VALUES IN ('x'); INSERT INTO parts VALUES ('x', 'x'); DROP TABLE part")

    def namespaces(connection: psycopg.Connection, turn: int):
        number = turn % 4  # few names, lest new buckets count as growth
        connection.execute(f"SELECT pc_upsert('i', 'n{number}', 'x', '{VECTOR}'::vector)")
        connection.execute(f"SELECT pc_rename_namespace('i', 'n{number}', 'm{number}'), pc_count('i', 'm{number}')")
        connection.execute(f"SELECT pc_copy_namespace('i', 'm{number}', 'o{number}')")
        connection.execute(f"SELECT id FROM pc_query('i', 'o{number}', '{VECTOR}')")
        connection.execute(f"SELECT pc_delete('i', 'm{number}', delete_all => true), pc_delete_namespace('i', 'o{number}')")

    def indexes(connection: psycopg.Connection, number: int):
        connection.execute(f"SELECT pc_create_index('other{number}', 2)")
        connection.execute(f"SELECT pc_upsert('other{number}', 't', 'x', '[1,2]'::vector)")
        connection.execute(f"SELECT pc_delete_index('other{number}')")

    times, figures = scaled(1500, 48), {}
    for work in (plain, namespaces, indexes):
        with server.connect() as connection:
            figures[work.__name__] = grown(connection, times, functools.partial(work, connection))
    record_result("leaks-namespaces", **said_of(figures, rounds=times))
    # A round of the others makes, writes anew and drops three or four tables.
    own = figures.pop("plain")
    judge({name: beyond(grown, own, share=4) for name, grown in figures.items()})
    finish(server, model)


def test_files_are_bounded(make_server, scaled, record_result):
    """A backend that goes through many namespaces opens no more files than it may, and caches no more tables than it says."""
    server = make_server(settings={"max_files_per_process": "80", "max_locks_per_transaction": "500"}).init()
    model = Model()
    namespaces, most = scaled(3000, 200), 0
    with server.connect() as connection:
        connection.execute("SELECT pc_create_index('i', 2)")
        connection.execute("SELECT pc_upsert('i', 'n' || n, 'x', '[1,2]'::vector) FROM generate_series(1, %s) n", [namespaces])
    for number in range(1, namespaces + 1):
        model.namespace("i", f"n{number}")["x"] = ((1.0, 2.0), {})
    with server.connect() as connection:
        for _ in range(2):
            for number in range(1, namespaces + 1):
                assert connection.execute("SELECT id FROM pc_query('i', %s, '[1,2]'::vector)", [f"n{number}"]).fetchall() == [("x",)]
                if number % 3 == 0:
                    connection.execute("SELECT pc_upsert('i', %s, 'x', '[1,2]'::vector)", [f"n{number}"])
                if number % 20 == 0:
                    most = max(most, open_files(connection))
        assert len(connection.execute("SELECT * FROM pc_query_namespaces('i', prefix => 'n', vector => '[1,2]', top_k => 10000)").fetchall()) == namespaces
        most = max(most, open_files(connection))
        contexts, resident = memory(connection)
    record_result("files", namespaces=namespaces, most_open=most, contexts=contexts, resident=resident)
    assert most <= 110
    finish(server, model)
