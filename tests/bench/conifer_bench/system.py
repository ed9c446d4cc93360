"""The two systems in one database: connections, vectors in binary, plans, and what must be told about where this ran."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import subprocess

import numpy as np
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

#: Conifer and pgvector, by the schema of a database that holds each.
SCHEMAS = {"pc": "conifer", "pgv": "vector"}
DATABASE = "conifer_bench"


class Vector:
    """A float4 vector, in the binary format that both systems take."""

    def __init__(self, values):
        self.payload = len(values).to_bytes(2, "big") + b"\0\0" + np.asarray(values, ">f4").tobytes()


class Vectors:
    """An array of float4 vectors in the same format, made in one piece and before the clock starts."""

    def __init__(self, rows: np.ndarray):
        count, dimension = rows.shape
        row = [("size", ">i4"), ("dim", ">i2"), ("unused", ">i2"), ("values", ">f4", (dimension,))]
        elements = np.zeros(count, np.dtype(row))
        elements["size"], elements["dim"], elements["values"] = 4 + 4 * dimension, dimension, rows
        self.count, self.elements = count, elements.tobytes()

    def payload_of(self, element_oid: int) -> bytes:
        return np.array([1, 0, element_oid, self.count, 1], ">i4").tobytes() + self.elements


class _Binary(psycopg.adapt.Dumper):
    format = psycopg.pq.Format.BINARY


def _register(connection, schema: str):
    """Lets Vector and Vectors be sent as the type of this schema."""
    info = psycopg.types.TypeInfo.fetch(connection, sql.Identifier(schema, "vector"))

    class VectorDumper(_Binary):
        oid = info.oid

        def dump(self, value):
            return value.payload

    class VectorsDumper(_Binary):
        oid = info.array_oid

        def dump(self, value):
            return value.payload_of(info.oid)

    connection.adapters.register_dumper(Vector, VectorDumper)
    connection.adapters.register_dumper(Vectors, VectorsDumper)


def connect(dsn: str, schema: str, settings=(), **options) -> psycopg.Connection:
    """A connection that finds one system's `vector`, commits each statement, and keeps every statement it prepares."""
    connection = psycopg.connect(dsn, autocommit=True, **options)
    connection.prepared_max = None
    connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
    # A setting of an extension is known, and checked, only once its library is loaded.
    connection.execute("SELECT '[1]'::vector")
    for name, value in dict(settings).items():
        connection.execute("SELECT set_config(%s, %s, false)", (name, str(value)))
    _register(connection, schema)
    return connection


def prepare(dsn: str) -> str:
    """A new database with both extensions, each in its schema; its connection string."""
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        admin.execute(f"CREATE DATABASE {DATABASE}")
    dsn = make_conninfo(dsn, dbname=DATABASE)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for schema, extension in SCHEMAS.items():
            connection.execute(f"CREATE SCHEMA {schema}")
            connection.execute(f"CREATE EXTENSION {extension} SCHEMA {schema}")
    return dsn


def checkpoint(dsn: str):
    """So that none falls into what is measured next."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CHECKPOINT")


def drop(dsn: str):
    """Away with the database that `prepare` made."""
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


@dataclasses.dataclass
class Features:
    """What the Conifer under test has, asked of it."""

    #: The access method `conifer`: a vector index on a leaf.
    access_method: bool
    #: The setting `conifer.recall`: queries that trade recall for time.
    recall_setting: bool
    #: Filter operators that pc_query takes.
    filters: frozenset[str]

    def as_dict(self) -> dict:
        return {
            "access method conifer": self.access_method,
            "conifer.recall": self.recall_setting,
            "filters": sorted(self.filters),
        }


_FILTERS = {
    "$eq": {"a": 1},
    "$in": {"a": {"$in": [1, 2]}},
    "$gt": {"a": {"$gt": 1}},
    "$gte": {"a": {"$gte": 1}},
    "$lt": {"a": {"$lt": 1}},
    "$lte": {"a": {"$lte": 1}},
    "$and": {"$and": [{"a": 1}, {"b": 2}]},
    "$or": {"$or": [{"a": 1}, {"b": 2}]},
}


def features(dsn: str) -> Features:
    with connect(dsn, "pc") as connection:

        def has(query):
            return connection.execute(query).fetchone() is not None

        taken = set()
        connection.execute("SELECT pc_create_index('probe', 2, metric => 'euclidean')")
        for name, example in _FILTERS.items():
            try:
                connection.execute(
                    "SELECT * FROM pc_query('probe', 'nobody', '[1,2]'::vector, 1, %s::jsonb)", (json.dumps(example),)
                )
                taken.add(name)
            except psycopg.errors.InvalidParameterValue:
                pass
        connection.execute("SELECT pc_delete_index('probe')")
        return Features(
            access_method=has("SELECT FROM pg_am WHERE amname = 'conifer'"),
            recall_setting=has("SELECT FROM pg_settings WHERE name = 'conifer.recall'"),
            filters=frozenset(taken),
        )


def plan(connection, step) -> dict:
    """The plan of a step, executed."""
    cursor = connection.execute(f"EXPLAIN (ANALYZE, COSTS OFF, BUFFERS OFF, FORMAT JSON) {step.sql}", step.parameters)
    return cursor.fetchone()[0][0]["Plan"]


def nodes(tree: dict) -> list[str]:
    """The nodes of a plan, top down, with the index each reads."""
    name = tree["Node Type"]
    if tree.get("Custom Plan Provider"):
        name = f"{name} ({tree['Custom Plan Provider']})"
    if tree.get("Index Name"):
        name = f"{name} on {tree['Index Name']}"
    return [name] + [below for child in tree.get("Plans", []) for below in nodes(child)]


#: Settings of the server without which figures cannot be compared.
_SETTINGS = (
    "server_version shared_buffers maintenance_work_mem work_mem effective_cache_size max_wal_size checkpoint_timeout "
    "wal_level wal_compression full_page_writes fsync synchronous_commit autovacuum jit max_worker_processes "
    "max_parallel_workers max_parallel_maintenance_workers max_parallel_workers_per_gather huge_pages_status "
    "plan_cache_mode random_page_cost"
).split()


def facts(dsn: str) -> dict:
    """Versions, settings and the machine."""
    with connect(dsn, "pc") as connection:
        settings = dict(
            connection.execute(
                "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY (%s) ORDER BY name", (_SETTINGS,)
            ).fetchall()
        )
        extensions = dict(
            connection.execute(
                "SELECT extname, extversion FROM pg_extension WHERE extname = ANY (%s)", (list(SCHEMAS.values()),)
            ).fetchall()
        )
        simd = connection.execute("SELECT conifer_simd()").fetchone()[0]
        version = connection.execute("SELECT version()").fetchone()[0]
    return {
        "postgresql": version,
        "conifer": extensions["conifer"],
        "pgvector": extensions["vector"],
        "simd": simd,
        "settings": settings,
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "psycopg": psycopg.__version__,
        "commit": commit(),
    }


def _cpu() -> str:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commit() -> str:
    """The commit under test, with a mark if the files differ from it."""
    here = pathlib.Path(__file__).parent
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=here, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown (no git here)"


@contextlib.contextmanager
def on_one_core(connection):
    """This process and the connection's server process on the last core it may use, until this one goes on; nothing where that cannot be had."""
    try:
        before = os.sched_getaffinity(0)
        last = {max(before)}
        os.sched_setaffinity(connection.info.backend_pid, last)
        os.sched_setaffinity(0, last)
    except (AttributeError, OSError):
        yield
        return
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
