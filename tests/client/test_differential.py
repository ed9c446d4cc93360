"""Conifer's `vector` against pgvector's: generated expressions through both types in one server.

Every expression must give the same value (distances: within the rounding of a float4 sum) or the same SQLSTATE.
"""

from __future__ import annotations

import struct
from collections import Counter

import psycopg
import pytest
from psycopg.pq import ExecStatus

from agreement import Answer, agree, interval
from conftest import OURS, THEIRS
from expressions import FAMILIES, Case, binary_messages, generate

SEED = 20_260_801
PARAMETERS = 1000  # sent as binary parameters
COPIES = 600  # sent through COPY BINARY

# One round trip for many expressions: each is evaluated in a subtransaction of its own.
EVALUATE = """
CREATE FUNCTION public.evaluate(expressions text[], path text)
RETURNS TABLE (value text, state text, message text) LANGUAGE plpgsql AS $$
DECLARE expression text;
BEGIN
    PERFORM set_config('search_path', path, true);
    FOREACH expression IN ARRAY expressions LOOP
        value := NULL; state := NULL; message := NULL;
        BEGIN
            EXECUTE 'SELECT (' || expression || ')::text' INTO value;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
        END;
        RETURN NEXT;
    END LOOP;
END $$;
"""


@pytest.fixture(scope="module")
def session(both):
    with psycopg.connect(both, autocommit=True) as connection:
        connection.execute(EVALUATE)
        yield connection


def answers(session, expressions: list[str], schema: str) -> list[Answer]:
    """What one of the types answers to each expression."""
    query = "SELECT * FROM public.evaluate(%s::text[], %s)"
    rows = []
    for start in range(0, len(expressions), 1000):
        rows += session.execute(query, [expressions[start : start + 1000], schema]).fetchall()
    assert len(rows) == len(expressions)
    return rows


def disagreements(cases: list[Case], ours: list[Answer], theirs: list[Answer]) -> list[str]:
    """One line for each case that the two types answer differently."""
    return [
        f"{case.expression[:300]}\n    ours   {left}\n    theirs {right}"
        + (f"\n    between {interval(*case.distance)}" if case.distance else "")
        for case, left, right in zip(cases, ours, theirs, strict=True)
        if not agree(case, left, right)
    ]


def report(found: list[str]) -> str:
    return f"{len(found)} disagreements:\n" + "\n".join(found[:20])


def test_expressions(session, capsys):
    named = generate(SEED)
    assert len(named) + PARAMETERS + COPIES >= 10_000
    cases = [case for _, case in named]
    expressions = [case.expression for case in cases]
    ours, theirs = (answers(session, expressions, schema) for schema in (OURS, THEIRS))
    found = disagreements(cases, ours, theirs)

    summary = Counter((family, "error" if answer[1] else "value") for (family, _), answer in zip(named, ours))
    loose = sum(1 for case in cases if case.distance and is_loose(case))
    with capsys.disabled():
        print(f"\n{len(cases)} expressions, seed {SEED}; {loose} distances too extreme to bound")
        for family in FAMILIES:
            print(f"  {family:<12} {summary[family, 'value']:>5} values {summary[family, 'error']:>5} errors")
    assert not found, report(found)

    # The run is worth something only if it met values and errors of every kind.
    states = {answer[1] for answer in ours}
    assert {"22P02", "22003", "22000", "22004", "22023", "54000"} <= states, states
    assert not {"XX000", "42883", "42601"} & states, states
    values = sum(1 for answer in ours if answer[1] is None)
    assert 0.5 < values / len(cases) < 0.9
    distances = sum(1 for case in cases if case.distance)
    assert loose < 0.15 * distances, "most distances must be bounded"


def is_loose(case: Case) -> bool:
    """Whether nearly every answer would be accepted."""
    low, high, may_be_nan = interval(*case.distance)
    return may_be_nan or high - low > 1e30 or (case.distance[0] == "cosine" and high - low > 1e-3)


def test_messages(session):
    """Not only the SQLSTATE but the words are pgvector's, but for its smaller limit."""
    cases = [case for family, case in generate(SEED + 1) if family in ("text", "modifier", "arithmetic", "cast", "function")]
    expressions = [case.expression for case in cases]
    ours, theirs = (answers(session, expressions, schema) for schema in (OURS, THEIRS))
    pairs = {
        (left[2], right[2].replace("16000", "20000"))
        for left, right in zip(ours, theirs, strict=True)
        if left[1] is not None and right[1] is not None
    }
    assert len(pairs) > 300
    assert not [pair for pair in pairs if pair[0] != pair[1]][:10]


def test_binary_parameters(session, capsys):
    messages = binary_messages(SEED, PARAMETERS)
    ours, theirs = (parameters(session, messages, schema) for schema in (OURS, THEIRS))
    found = [
        f"{message.hex()}\n    ours   {left}\n    theirs {right}"
        for message, left, right in zip(messages, ours, theirs, strict=True)
        if left[:2] != right[:2]
    ]
    counts = Counter(answer[1] for answer in ours)
    with capsys.disabled():
        print(f"\n{len(messages)} binary parameters: {dict(counts)}")
    assert not found, report(found)
    assert {None, "08P01", "22P03", "22000"} <= set(counts)


def parameters(session, messages: list[bytes], schema: str) -> list[Answer]:
    """Each message as a binary parameter, answered in text and binary together."""
    oid = session.execute("SELECT %s::regtype::oid", [f"{schema}.vector"]).fetchone()[0]
    statement = f"SELECT $1::text || ' ' || {schema}.vector_send($1)::text".encode()
    return [
        answer_of(session.pgconn.exec_params(statement, [message], param_types=[oid], param_formats=[1]))
        for message in messages
    ]


def test_copy_binary(session, capsys):
    messages = binary_messages(SEED + 2, COPIES)
    ours, theirs = (copies(session, messages, schema) for schema in (OURS, THEIRS))
    found = [
        f"{message.hex()}\n    ours   {left}\n    theirs {right}"
        for message, left, right in zip(messages, ours, theirs, strict=True)
        if left != right
    ]
    counts = Counter(answer if len(answer) == 5 else "value" for answer in ours)
    with capsys.disabled():
        print(f"\n{len(messages)} messages through COPY BINARY: {dict(counts)}")
    assert not found, report(found)
    assert {"value", "08P01", "22P03", "22000"} <= set(counts)


def copies(session, messages: list[bytes], schema: str) -> list[str]:
    """Each message as a row of COPY BINARY into a table: what is stored then, or the SQLSTATE."""
    table = f"public.copied_{schema}"
    session.execute(f"CREATE TABLE {table} (v {schema}.vector)")
    results = []
    for message in messages:
        row = struct.pack(">hi", 1, len(message)) + message
        stream = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0) + row + struct.pack(">h", -1)
        try:
            with session.transaction(), session.cursor() as cursor:
                with cursor.copy(f"COPY {table} FROM STDIN BINARY") as copy:
                    copy.write(stream)
                with cursor.copy(f"COPY {table} TO STDOUT BINARY") as copy:
                    out = b"".join(copy)
                cursor.execute(f"DELETE FROM {table} RETURNING v::text || ' ' || length(%s::bytea)", [out])
                results.append(f"{cursor.fetchone()[0]} {out.hex()}")
        except psycopg.Error as error:
            results.append(error.sqlstate)
    return results


def answer_of(result) -> Answer:
    """A libpq result of one value as an answer."""
    if result.status == ExecStatus.TUPLES_OK:
        return result.get_value(0, 0).decode(), None, None
    field = psycopg.pq.DiagnosticField
    return None, result.error_field(field.SQLSTATE).decode(), result.error_field(field.MESSAGE_PRIMARY).decode()


def test_casts_between_the_types(session):
    """Installed after pgvector by a call; the same bytes on both sides."""
    session.execute(f"SET search_path = {OURS}, public")
    assert session.execute("SELECT conifer_install_pgvector_casts()").fetchone() == (True,)
    assert session.execute("SELECT conifer_install_pgvector_casts()").fetchone() == (True,)
    row = session.execute(
        f"""SELECT {THEIRS}.vector_send('[1,-2.5,1e-40]'::vector::{THEIRS}.vector),
                   vector_send('[1,-2.5,1e-40]'::{THEIRS}.vector::vector),
                   '[1,2,3]'::{THEIRS}.vector::vector(3)::text"""
    ).fetchone()
    assert row[0] == row[1] == struct.pack(">HH3f", 3, 0, 1, -2.5, 1e-40)
    assert row[2] == "[1,2,3]"
    with pytest.raises(psycopg.errors.DataException, match="expected 2 dimensions, not 3"):
        session.execute(f"SELECT '[1,2,3]'::{THEIRS}.vector::vector(2)")
    # Neither extension owns them: dropping pgvector leaves Conifer alone.
    with session.transaction(force_rollback=True):
        session.execute("DROP EXTENSION vector CASCADE")
        assert session.execute("SELECT '[1]'::vector::text").fetchone() == ("[1]",)
    session.execute("RESET search_path")


def test_the_comparison_can_fail(session):
    """Answers that are nearly right are told apart."""
    exact = Case("'[1,2]'::vector")
    assert not agree(exact, ("[1,2]", None, None), ("[1,2.0000002]", None, None))
    assert not agree(exact, ("[1,2]", None, None), (None, None, None))
    assert not agree(exact, (None, "22000", ""), (None, "22P02", ""))
    assert not agree(exact, (None, "22000", ""), ("[1,2]", None, None))
    near = Case("", ("l2", [0.0, 0.0], [3.0, 4.0]))
    for value, same in [("5", True), ("5.0000005", True), ("5.00001", False), ("NaN", False), ("Infinity", False)]:
        assert agree(near, (value, None, None), ("5", None, None)) == same, value
    overflow = Case("", ("l2", [1e38, 0.0], [-1e38, 0.0]))
    assert agree(overflow, ("Infinity", None, None), ("Infinity", None, None))
    assert not agree(overflow, ("2e38", None, None), ("Infinity", None, None))

    # A type whose operators are mixed up: the L1 distance under the L2 distance's name.
    cases = [case for family, case in generate(SEED) if case.distance and case.distance[0] == "l2"][:200]
    right = answers(session, [case.expression for case in cases], THEIRS)
    mixed = [c.expression.replace("<->", "<+>").replace("l2_distance", "l1_distance") for c in cases]
    wrong = answers(session, mixed, OURS)
    assert len(disagreements(cases, wrong, right)) > 100
