"""Recall of Conifer at each goal, after all that happens to an index: built, grown by upserts, thinned out, vacuumed."""

from __future__ import annotations

import dataclasses

import numpy as np

from . import measure
from .arrangement import BATCH, Arrangement
from .clients import Load
from .conifer import Conifer
from .context import Context
from .data import Truth
from .result import cell, dropped, query_load, workers

GOALS = (0.8, 0.9, 0.95, 0.99)
#: How many of the nearest are asked for.
KS = (10, 100)
#: Share of the rows that is deleted.
DELETED = 0.3

BUILT = "after build"
GROWN = "after growth by upserts and VACUUM"
DELETES = f"after {DELETED:.0%} were deleted"
VACUUMED = f"after {DELETED:.0%} were deleted and VACUUM"


def recalls(context: Context, arrangement: Arrangement, truth: Truth, state: str, n: int, gone=()) -> list[dict]:
    """A cell for each goal and k; an answer that is among the rows that are gone throws the workload away."""
    cells, queries, gone = [], context.dataset.queries[truth.queries], set(gone)
    for k in KS:
        inner, nearest = dataclasses.replace(context, k=k), truth.nearest(k)
        for goal in GOALS:
            setting = {"conifer.recall": goal}
            load = query_load(inner, arrangement, queries, setting, warmup=5, keep=True)
            outcome = context.pool.one(load)
            if any(int(row) in gone for answer in outcome.answers for row in answer):
                raise measure.ThrownAway(f"{state}, conifer.recall {goal}: a deleted row was found")
            metrics = {
                "recall": nearest.recall(outcome.answers),
                "latency_ms": measure.percentile(outcome.latencies(), 0.5) * 1e3,
                "p99_ms": measure.percentile(outcome.latencies(), 0.99) * 1e3,
            }
            cells.append(cell(arrangement, {"n": n, "k": k, "state": state, **setting}, [metrics]))
    return cells


def lived(context: Context, n: int, truth: Truth) -> list[dict]:
    """Built over a half of the rows and grown by upserts to `n`, of which some are deleted then; `truth` is of all of them."""
    dataset = context.dataset
    arrangement = Conifer(dataset.dimension, dataset.metric, "item_lived")
    half, cells = n // 2, []
    try:
        context.progress(f"{GROWN}: upserts", 0.0)
        with context.connect(arrangement.schema) as connection:
            arrangement.create(connection)
            arrangement.load(connection, dataset.rows(slice(half)).together())
            arrangement.index(connection, workers())
            arrangement.settle(connection)
        later = dataset.rows(slice(half, n)).together().batches(BATCH)
        write(context, arrangement, [arrangement.upsert_many(batch) for batch in later])
        settle(context, arrangement)
        context.progress(GROWN, 0.3)
        cells += recalls(context, arrangement, truth, GROWN, n)

        gone = some(context, n, DELETED)
        remaining = context.truth(np.setdiff1d(np.arange(n), gone), k=max(KS), queries=truth.queries)
        context.progress(DELETES, 0.5)
        write(context, arrangement, deletions(arrangement, gone))
        cells += recalls(context, arrangement, remaining, DELETES, n - len(gone), gone)
        settle(context, arrangement)
        context.progress(VACUUMED, 0.8)
        cells += recalls(context, arrangement, remaining, VACUUMED, n - len(gone), gone)
    finally:
        dropped(context, [arrangement])
    return cells


def some(context: Context, n: int, share: float) -> np.ndarray:
    """Row numbers of a share of the first `n`, the same in every run."""
    return np.sort(np.random.default_rng(context.seed).permutation(n)[: int(n * share)])


def deletions(arrangement: Arrangement, gone: np.ndarray) -> list:
    ids = [str(row) for row in gone]
    return [arrangement.delete(ids[start : start + BATCH]) for start in range(0, len(ids), BATCH)]


def write(context: Context, arrangement: Arrangement, steps: list):
    """All of them once, by one client."""
    context.pool.one(Load(context.dsn, arrangement.schema, steps, warmup=0))


def settle(context: Context, arrangement: Arrangement):
    with context.connect(arrangement.schema) as connection:
        arrangement.settle(connection)
