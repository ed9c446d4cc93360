"""Python clients: psycopg with pgvector's adapter reads and writes Conifer's `vector` as it does pgvector's."""

from __future__ import annotations

import struct

import numpy as np
import psycopg
import pytest
from conftest import OURS
from pgvector import Vector
from pgvector.psycopg import register_vector

#: Awkward numbers, as the adapter sends them, and 1,536 more.
VALUES = [
    [1.0],
    [1.5, -2.25, 0.0],
    [-0.0, 3.4028234663852886e38, 1.1754943508222875e-38, 1.401298464324817e-45],
    [0.1, 1 / 3, 1e-7, 16777216.0, 123456792.0],
    np.random.default_rng(7).standard_normal(1536).astype(np.float32).tolist(),
    np.linspace(-1, 1, 20_000, dtype=np.float32).tolist(),
]
FORMATS = [False, True]  # text, binary


@pytest.fixture
def registered(connection):
    """A connection that knows the type by its name on the search path, and a table `t (id, v)`."""
    register_vector(connection)
    connection.execute("CREATE TEMP TABLE t (id int, v vector)")
    return connection


def bits(vector: Vector | list[float]) -> bytes:
    """The float4 bits: −0 and 0 differ."""
    elements = vector if isinstance(vector, list) else vector.to_list()
    return struct.pack(f"{len(elements)}f", *elements)


@pytest.mark.parametrize("binary", FORMATS)
@pytest.mark.parametrize("value", VALUES, ids=len)
def test_parameter_and_result(registered, value, binary):
    placeholder = "%b" if binary else "%t"
    with registered.cursor(binary=binary) as cursor:
        cursor.execute(f"SELECT {placeholder}, vector_dims({placeholder})", [Vector(value), Vector(value)])
        back, dim = cursor.fetchone()
    assert isinstance(back, Vector)
    assert bits(back) == bits(value)
    assert dim == len(value)


@pytest.mark.parametrize("binary", FORMATS)
def test_numpy_and_null(registered, binary):
    array = np.array([1.5, 2.5, -3.5], dtype=np.float32)
    with registered.cursor(binary=binary) as cursor:
        cursor.execute("INSERT INTO t VALUES (1, %s), (2, NULL)", [array])
        cursor.execute("SELECT v FROM t ORDER BY id")
        (first,), (second,) = cursor.fetchall()
    assert np.array_equal(first.to_numpy(), array)
    assert second is None


@pytest.mark.parametrize("binary_out", FORMATS)
@pytest.mark.parametrize("binary_in", FORMATS)
def test_copy(registered, binary_in, binary_out):
    form = "(FORMAT BINARY)" if binary_in else ""
    with registered.cursor() as cursor:
        with cursor.copy(f"COPY t (id, v) FROM STDIN {form}") as copy:
            copy.set_types(["int4", "vector"])
            for id, value in enumerate(VALUES):
                copy.write_row([id, Vector(value)])
            copy.write_row([len(VALUES), None])
        form = "(FORMAT BINARY)" if binary_out else ""
        with cursor.copy(f"COPY (SELECT id, v FROM t ORDER BY id) TO STDOUT {form}") as copy:
            copy.set_types(["int4", "vector"])
            rows = list(copy.rows())
    assert [row[0] for row in rows] == list(range(len(VALUES) + 1))
    assert [bits(row[1]) for row in rows[:-1]] == [bits(value) for value in VALUES]
    assert rows[-1][1] is None


def test_copied_bytes_are_pgvectors_format(registered):
    registered.execute("INSERT INTO t VALUES (1, '[1,-2.5]')")
    with registered.cursor().copy("COPY t (v) TO STDOUT (FORMAT BINARY)") as copy:
        stream = b"".join(copy)
    row = struct.pack(">hi", 1, 12) + struct.pack(">HH2f", 2, 0, 1.0, -2.5)
    assert stream == b"PGCOPY\n\xff\r\n\0" + bytes(8) + row + struct.pack(">h", -1)


@pytest.mark.parametrize("binary", FORMATS)
def test_prepared_statements(registered, binary):
    rng = np.random.default_rng(11)
    rows = rng.standard_normal((20, 8)).astype(np.float32)
    insert = "INSERT INTO t VALUES (%s, %b)" if binary else "INSERT INTO t VALUES (%s, %t)"
    with registered.cursor(binary=binary) as cursor:
        for id, row in enumerate(rows):
            cursor.execute(insert, [id, row], prepare=True)
        query = "SELECT id, v <-> %s FROM t ORDER BY v <-> %s LIMIT 3"
        for row in rows[:8]:  # beyond the five custom plans, to the generic one
            cursor.execute(query, [row, row], prepare=True)
            found = cursor.fetchall()
            exact = np.sqrt(((rows.astype(np.float64) - row) ** 2).sum(axis=1))
            assert [id for id, _ in found] == np.argsort(exact)[:3].tolist()
            assert np.allclose([d for _, d in found], np.sort(exact)[:3], rtol=1e-6)
        names = cursor.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
    assert names == (2,)


@pytest.mark.parametrize("binary", FORMATS)
def test_array_of_vectors(registered, binary):
    values = [Vector([i, i / 7]) for i in range(1000)]
    with registered.cursor(binary=binary) as cursor:
        cursor.execute("SELECT %s::vector[], cardinality(%s::vector[])", [values, values])
        back, count = cursor.fetchone()
    assert count == 1000
    assert back == values


@pytest.mark.parametrize("binary", FORMATS)
def test_errors_reach_the_client(registered, binary):
    registered.execute("CREATE TEMP TABLE two (v vector(2))")
    placeholder = "%b" if binary else "%t"
    cases = [
        ([1.0, 2.0, 3.0], "22000", "expected 2 dimensions, not 3"),
        ([float("nan"), 1.0], "22000", "NaN not allowed in vector"),
        ([1.0, float("inf")], "22000", "infinite value not allowed in vector"),
        ([0.0] * 20_001, "54000", "vector cannot have more than 20000 dimensions"),
    ]
    for value, state, message in cases:
        with pytest.raises(psycopg.Error) as caught, registered.transaction():
            registered.execute(f"INSERT INTO two VALUES ({placeholder})", [Vector(value)])
        assert (caught.value.sqlstate, caught.value.diag.message_primary) == (state, message)
    assert registered.execute("SELECT count(*) FROM two").fetchone() == (0,)


def test_the_type_is_ours(connection):
    """What these tests talk to is Conifer's type and no other."""
    row = connection.execute(
        """SELECT n.nspname, e.extname FROM pg_type t
             JOIN pg_namespace n ON n.oid = t.typnamespace
             JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
             JOIN pg_extension e ON e.oid = d.refobjid
            WHERE t.oid = 'vector'::regtype"""
    ).fetchone()
    assert row == (OURS, "conifer")
