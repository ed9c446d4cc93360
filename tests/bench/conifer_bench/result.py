"""What workloads share: an arrangement that stands with its rows in it, and the cells of a result."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time

from . import measure, system
from .arrangement import Arrangement
from .clients import Load, Outcome, Step, queries_per_second
from .conifer import Conifer
from .context import Context
from .data import Rows, Truth
from .system import Vector

#: Units of the metrics by name.
UNITS = {
    "recall": "",
    "queries_per_second": "1/s",
    "latency_ms": "ms",
    "p99_ms": "ms",
    "upsert_ms": "ms",
    "upsert_p99_ms": "ms",
    "rows_per_second": "1/s",
    "wal_bytes_per_row": "B",
    "load_seconds": "s",
    "build_seconds": "s",
    "ready_seconds": "s",
    "table_bytes": "B",
    "index_bytes": "B",
    "vector_index_bytes": "B",
    "wal_bytes": "B",
    "complete": "",
    "first_ms": "ms",
    "create_ms": "ms",
    "first_upsert_ms": "ms",
    "first_upsert_times_1000th": "×",
    "drop_ms": "ms",
    "drop_times_1000th": "×",
    "touched_ms": "ms",
    "touched_times_100th": "×",
    "untouched_ms": "ms",
    "untouched_more_ms": "ms",
    "list_ms": "ms",
    "stats_seconds": "s",
    "backend_growth_bytes": "B",
    "drop_all_seconds": "s",
    "tenant_bytes": "B",
    "tenant_files": "",
    "p99_times_quiet": "×",
    "insert_ms": "ms",
    "page_images_per_row": "",
    "evicted_ms": "ms",
    "backend_bytes": "B",
    "backend_idle_bytes": "B",
    "at_once_ms": "ms",
    "at_rest_ms": "ms",
    "fresh_ms": "ms",
    "at_once_times_fresh": "×",
    "at_rest_times_fresh": "×",
    "at_rest_after_seconds": "s",
    "autovacuum_runs": "",
}


def workers() -> int:
    """Parallel workers of an index build: with the leader, one for each core."""
    return max(len(os.sched_getaffinity(0)) - 1, 0)


@dataclasses.dataclass
class Standing:
    """An arrangement with rows in it, and what it took to make."""

    arrangement: Arrangement
    load_seconds: float
    build_seconds: float
    load_wal: int
    build_wal: int


def build(connection, arrangement: Arrangement, rows: Rows, parallel: int) -> Standing:
    """Creates it, with a place for each tenant of the rows, loads and indexes it."""
    tenants = rows.tenants and sorted(set(rows.tenants))
    with measure.Wal(connection) as load_wal:
        begun = time.perf_counter()
        arrangement.create(connection, tenants)
        load_seconds = time.perf_counter() - begun
        load_seconds += arrangement.load(connection, rows)
    with measure.Wal(connection) as build_wal:
        build_seconds = arrangement.index(connection, parallel)
    return Standing(arrangement, load_seconds, build_seconds, load_wal.bytes, build_wal.bytes)


def built(context: Context, arrangement: Arrangement, rows: Rows) -> dict:
    """Builds it with a worker for each core, vacuums it and leaves it standing; what its index took, as metrics."""
    with context.connect(arrangement.schema) as connection:
        standing = build(connection, arrangement, rows, workers())
        arrangement.settle(connection)
        return {
            "build_seconds": standing.build_seconds,
            "vector_index_bytes": arrangement.sizes(connection).vector_index,
        }


def dropped(context: Context, arrangements: list[Arrangement]):
    """Away with all of them, also with what an error left half made."""
    for arrangement in arrangements:
        with context.connect(arrangement.schema) as connection:
            arrangement.drop(connection)


def notices(arrangements) -> list[str]:
    """What the server said to their builds, as notes."""
    said = [f"build of {one.system}, {one.name}: {notice}" for one in arrangements for notice in one.notices]
    return list(dict.fromkeys(said))


@contextlib.contextmanager
def standing(context: Context, arrangements: list[Arrangement], rows: Rows):
    """All of them loaded with the rows, indexed and vacuumed; dropped at the end, whatever happens."""
    with contextlib.ExitStack() as stack:
        for arrangement in arrangements:
            connection = stack.enter_context(context.connect(arrangement.schema))
            stack.callback(arrangement.drop, connection)
            build(connection, arrangement, rows, workers())
            arrangement.settle(connection)
        yield


def query_load(context: Context, arrangement: Arrangement, queries, setting: dict, **more) -> Load:
    """Each of these queries (vectors) as one client's load."""
    steps = [arrangement.query(Vector(query), context.k) for query in queries]
    return Load(context.dsn, arrangement.schema, steps, arrangement.session | setting, **more)


def recall(context: Context, arrangement: Arrangement, setting: dict, truth: Truth) -> float:
    """What a setting finds of the truth's queries; every one of them is run once."""
    load = query_load(context, arrangement, context.dataset.queries[truth.queries], setting, warmup=0, keep=True)
    return truth.recall(context.pool.one(load).answers)


def reaching(context: Context, arrangement: Arrangement, truth: Truth, goal: float) -> tuple[dict, float]:
    """The cheapest setting whose recall reaches the goal, and that recall; if none does, the dearest."""
    for setting in arrangement.settings(context.features, context.k):
        found = recall(context, arrangement, setting, truth)
        if found >= goal:
            break
    return setting, found


#: Of a range of settings, what a user would choose among: the default and one for more recall.
CHOICES = {"hnsw.ef_search": (40, 100), "conifer.recall": (0.95, 0.99)}


def chosen(context: Context, arrangement: Arrangement) -> list[dict]:
    """Of an arrangement's range of settings, those of CHOICES."""
    found = arrangement.settings(context.features, context.k)
    return [one for one in found if all(value in CHOICES.get(name, (value,)) for name, value in one.items())]


def plan_of(context: Context, arrangement: Arrangement, setting: dict, step: Step) -> str:
    """What PostgreSQL chose: that an index was there does not say that it was used."""
    with context.connect(arrangement.schema, arrangement.session | setting) as connection:
        return " / ".join(name for name in system.nodes(system.plan(connection, step)) if name != "Limit")


def query_metrics(outcomes: list[Outcome]) -> dict:
    """Queries a second of all clients, and the latencies of all their queries."""
    took = [value for outcome in outcomes for value in outcome.latencies()]
    return {
        "queries_per_second": queries_per_second(outcomes),
        "latency_ms": measure.percentile(took, 0.5) * 1e3,
        "p99_ms": measure.percentile(took, 0.99) * 1e3,
    }


def label(setting: dict) -> str:
    """A setting in a few words."""
    return ", ".join(f"{name.split('.')[-1]} {value}" for name, value in setting.items())


def cell(arrangement: Arrangement, parameters: dict, rounds: list[dict]) -> dict:
    """A cell from what each of its rounds measured."""
    return {
        "system": arrangement.system,
        "arrangement": arrangement.name,
        "parameters": parameters,
        "metrics": measure.summarise(rounds, UNITS),
    }


def no_vector_index(context: Context, parameters: dict) -> list[dict]:
    """The cell that says so, while this Conifer has no vector index."""
    if context.features.access_method:
        return []
    missing = {"status": "not built", "reason": "Conifer has no vector index yet: its queries are exact scans"}
    return [cell(Conifer(1, "cosine"), parameters, []) | missing]


def search_of(context: Context, arrangement: Arrangement) -> str:
    """Whether an arrangement scans all rows or has a vector index: only like is compared with like."""
    indexed = arrangement.hnsw if arrangement.system == "pgvector" else context.features.access_method
    return "vector index" if indexed else "exact scan"


def measured(module, cells: list[dict], setup: dict, notes=()) -> dict:
    """A workload's result."""
    return {
        "workload": module["LETTER"],
        "title": module["TITLE"],
        "status": "measured",
        "reason": None,
        "setup": setup,
        "cells": cells,
        "notes": list(notes),
    }
