"""Exact queries and bulk upserts of Conifer beside pgvector, in one server, in turns.

    CONIFER_TEST_DSN=… python tests/bench/first_light.py [--data DIR] [--rounds N]

Data: a directory with base_minilm384_f16.npy, base_tenant.npy and queries_minilm384_f16.npy; else clustered vectors made
from a seed. Prints a Markdown table; times are medians over rounds, with the spread between rounds.
"""

import argparse
import os
import pathlib
import statistics
import time

import numpy as np
import psycopg
from psycopg import sql


class Vector:
    """A float4 vector, sent in pgvector's binary format."""

    def __init__(self, values):
        self.payload = (
            len(values).to_bytes(2, "big") + b"\0\0" + np.asarray(values, ">f4").tobytes()
        )


class Vectors:
    """An array of float4 vectors in the same format, made in one piece as Vector's payload is: before the clock starts."""

    def __init__(self, rows, element_oid):
        count, dimension = rows.shape
        row = [("size", ">i4"), ("dim", ">i2"), ("unused", ">i2"), ("values", ">f4", dimension)]
        elements = np.zeros(count, np.dtype(row))
        elements["size"], elements["dim"], elements["values"] = 4 + 4 * dimension, dimension, rows
        header = np.array([1, 0, element_oid, count, 1], ">i4")
        self.payload = header.tobytes() + elements.tobytes()


class VectorDumper(psycopg.adapt.Dumper):
    format = psycopg.pq.Format.BINARY

    def dump(self, value):
        return value.payload


def vector_adapters(connection, schema):
    """Lets Vector be sent as the type of this schema, alone and in arrays."""
    info = psycopg.types.TypeInfo.fetch(connection, sql.Identifier(schema, "vector"))
    info.register(connection)
    for kind, oid in ((Vector, info.oid), (Vectors, info.array_oid)):
        dumper = type("VectorDumper", (VectorDumper,), {"oid": oid})
        connection.adapters.register_dumper(kind, dumper)
    return info.oid


def load(directory):
    """Vectors, tenant of each, queries."""
    if directory and (directory / "base_tenant.npy").exists():
        base = np.load(directory / "base_minilm384_f16.npy").astype("f4")
        queries = np.load(directory / "queries_minilm384_f16.npy").astype("f4")
        return base, np.load(directory / "base_tenant.npy"), queries
    random = np.random.default_rng(1)
    centres = random.normal(size=(200, 384)).astype("f4")
    def draw(count):
        cells = random.integers(0, len(centres), count)
        return centres[cells] + random.normal(scale=0.5, size=(count, 384)).astype("f4")
    tenants = np.minimum(random.zipf(1.4, 20_000), 40)
    return draw(20_000), tenants, draw(200)


def prepare(dsn):
    """Both extensions in a database of their own, each in its schema."""
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS conifer_bench")
        admin.execute("CREATE DATABASE conifer_bench")
    dsn = psycopg.conninfo.make_conninfo(dsn, dbname="conifer_bench")
    with psycopg.connect(dsn, autocommit=True) as connection:
        for schema, extension in (("pc", "conifer"), ("pgv", "vector")):
            connection.execute(f"CREATE SCHEMA {schema}")
            connection.execute(f"CREATE EXTENSION {extension} SCHEMA {schema}")
    return dsn


def connect(dsn, schema):
    connection = psycopg.connect(
        dsn, autocommit=True, options=f"-c search_path={schema} -c max_parallel_workers_per_gather=0"
    )
    vector_adapters(connection, schema)
    return connection


def copy_pgvector(connection, rows, text):
    """COPY of all rows into a table with the primary key (tenant, id) and no vector index."""
    connection.execute("DROP TABLE IF EXISTS item")
    connection.execute(
        "CREATE TABLE item (tenant text, id text, embedding vector(384), PRIMARY KEY (tenant, id))"
    )
    copy_format = "TEXT" if text else "BINARY"
    begun = time.perf_counter()
    with connection.cursor().copy(f"COPY item FROM STDIN (FORMAT {copy_format})") as copy:
        for tenant, ids, vectors in rows:
            for item, vector in zip(ids, vectors):
                if text:
                    copy.write(f"{tenant}\t{item}\t{vector}\n")
                else:
                    copy.write_row((tenant, item, vector))
        # The header and trailer of COPY BINARY are written by psycopg.
    return time.perf_counter() - begun


def upsert_conifer(connection, batches):
    """pc_upsert of the same rows in arrays of 1,000, one transaction as the COPY is."""
    begun = time.perf_counter()
    with connection.transaction():
        for batch in batches:
            connection.execute("SELECT pc_upsert('items', %b, %b::text[], %b)", batch, prepare=True)
    return time.perf_counter() - begun


def in_batches(rows, element_oid):
    """(namespace, ids, vectors) of at most 1,000 records each."""
    return [
        (tenant, ids[start : start + 1000], Vectors(vectors[start : start + 1000], element_oid))
        for tenant, ids, vectors in rows
        for start in range(0, len(ids), 1000)
    ]


def median_query(connection, statement, tenant, queries):
    """Median and result ids of one statement over the queries, prepared."""
    times, found = [], []
    for query in queries:
        begun = time.perf_counter()
        rows = connection.execute(statement, (tenant, query), prepare=True, binary=True).fetchall()
        times.append(time.perf_counter() - begun)
        found.append([row[0] for row in rows])
    return statistics.median(times), found


def spread(values):
    return f"{statistics.median(values):.3f} ({min(values):.3f} … {max(values):.3f})"


def bulk(dsn, rows, rounds):
    """The bulk loads in turns; leaves both loaded."""
    conifer, pgvector = connect(dsn, "pc"), connect(dsn, "pgv")
    texts = [
        (t, ids, ["[" + ",".join(map(repr, v.tolist())) + "]" for v in vectors])
        for t, ids, vectors in rows
    ]
    binary = [(t, ids, [Vector(v) for v in vectors]) for t, ids, vectors in rows]
    batches = in_batches(rows, vector_adapters(conifer, "pc"))
    times = {"text": [], "binary": [], "upsert": []}
    for _ in range(rounds):
        times["text"].append(copy_pgvector(pgvector, texts, True))
        times["binary"].append(copy_pgvector(pgvector, binary, False))
        if conifer.execute("SELECT 1 FROM pc_list_indexes()").fetchone():
            conifer.execute("SELECT pc_delete_index('items')")
        conifer.execute("SELECT pc_create_index('items', 384, metric => 'cosine')")
        times["upsert"].append(upsert_conifer(conifer, batches))
    print("| bulk load, s | pgvector COPY text | pgvector COPY binary | pc_upsert, arrays of 1,000 |")
    print("|---|---|---|---|")
    count = sum(len(ids) for _, ids, _ in rows)
    print(f"| {count} rows | " + " | ".join(spread(times[key]) for key in times) + " |\n")


def partitions(dsn, rows):
    """pgvector with each tenant in a partition of its own, as DESIGN compares."""
    with connect(dsn, "pgv") as connection:
        connection.execute("DROP TABLE IF EXISTS part")
        connection.execute(
            "CREATE TABLE part (tenant text, id text, embedding vector(384)) PARTITION BY LIST (tenant)"
        )
        for number, (tenant, _, _) in enumerate(rows):
            connection.execute(f"CREATE TABLE part_{number} PARTITION OF part FOR VALUES IN ('{tenant}')")
        connection.execute("INSERT INTO part SELECT * FROM item")
        connection.execute("ALTER TABLE part ALTER embedding SET STORAGE main")
        connection.execute("VACUUM ANALYZE part")
    with connect(dsn, "pc") as connection:
        connection.execute("VACUUM ANALYZE items")


def exact_queries(dsn, rows, queries, rounds, sizes):
    """Exact top 10 of tenants near the sizes asked for, in turns."""
    partitions(dsn, rows)
    conifer, pgvector = connect(dsn, "pc"), connect(dsn, "pgv")
    print("| exact top 10, ms a query | rows | pgvector in the partition | pc_query | SELECT 1 | faster |")
    print("|---|---|---|---|---|---|")
    for size in sizes:
        number = min(range(len(rows)), key=lambda i: abs(len(rows[i][1]) - size))
        tenant, ids, _ = rows[number]
        ours, theirs, nothing = [], [], []
        for _ in range(rounds):
            a, found_a = median_query(
                pgvector,
                f"SELECT id FROM part_{number} WHERE tenant = %b ORDER BY embedding <=> %b LIMIT 10",
                tenant,
                queries,
            )
            b, found_b = median_query(
                conifer, "SELECT id FROM pc_query('items', %b, %b, 10)", tenant, queries
            )
            c, _ = median_query(conifer, "SELECT 1 WHERE %b::text IS NOT NULL AND %b IS NOT NULL", tenant, queries)
            theirs.append(a * 1e3)
            ours.append(b * 1e3)
            nothing.append(c * 1e3)
            agree = np.mean([len(set(x) & set(y)) / len(x) for x, y in zip(found_a, found_b)])
            assert agree > 0.999, f"the systems disagree: {agree}"
        factor = statistics.median(t / o for t, o in zip(theirs, ours))
        print(
            f"| {tenant} | {len(ids)} | {spread(theirs)} | {spread(ours)} | {spread(nothing)} | {factor:.1f} × |"
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--queries", type=int, default=200)
    arguments = parser.parse_args()
    base, tenants, queries = load(arguments.data)
    rows = []
    for tenant in np.unique(tenants):
        chosen = np.flatnonzero(tenants == tenant)
        rows.append((f"tenant-{tenant}", [f"item-{i}" for i in chosen], base[chosen]))
    queries = [Vector(query) for query in queries[: arguments.queries]]
    dsn = prepare(os.environ["CONIFER_TEST_DSN"])
    with psycopg.connect(dsn) as connection:
        version = connection.execute("SHOW server_version").fetchone()[0]
        extensions = connection.execute("SELECT extname, extversion FROM pg_extension ORDER BY 1").fetchall()
    print(f"PostgreSQL {version}; {extensions}; {len(base)} vectors; medians of {arguments.rounds} rounds\n")
    bulk(dsn, rows, arguments.rounds)
    exact_queries(dsn, rows, queries, arguments.rounds, (15, 100, 400, 1800, 6600))


if __name__ == "__main__":
    main()
