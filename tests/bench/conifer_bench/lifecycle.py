"""Recall of Conifer at each goal, after all that happens to an index: built, grown by upserts, thinned out, vacuumed."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable

import numpy as np

from . import measure
from .arrangement import BATCH, Arrangement
from .clients import Load, Step
from .conifer import Conifer
from .context import Context
from .data import Truth
from .result import cell, dropped, query_load, workers

GOALS = (0.8, 0.9, 0.95, 0.99)
#: How many of the nearest are asked for.
KS = (10, 100)
#: Statements that are made and handed to a client at once: all of a million rows would be gigabytes, twice.
AT_ONCE = 50
#: Share of the rows that is deleted.
DELETED = 0.3

BUILT = "after build"
GROWN = "after growth by upserts, and VACUUM"
DELETES = f"after {DELETED * 100:g} % were deleted"
VACUUMED = f"{DELETES}, and VACUUM"


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
        write(context, arrangement, map(arrangement.upsert_many, later))
        settle(context, arrangement)
        context.progress(GROWN, 0.3)
        cells += recalls(context, arrangement, truth, GROWN, n)

        gone = some(context, n, DELETED)
        remaining = context.truth(np.setdiff1d(np.arange(n), gone), k=max(KS), queries=truth.queries)
        context.progress(DELETES, 0.5)
        delete(context, arrangement, gone)
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


def delete(context: Context, arrangement: Arrangement, gone: np.ndarray):
    """These rows, in batches, by one client."""
    ids = [str(row) for row in gone]
    write(context, arrangement, (arrangement.delete(ids[at : at + BATCH]) for at in range(0, len(ids), BATCH)))


def write(context: Context, arrangement: Arrangement, steps: Iterable[Step]):
    """All of them once, by one client."""
    steps = iter(steps)
    while part := list(itertools.islice(steps, AT_ONCE)):
        context.pool.one(Load(context.dsn, arrangement.schema, part, warmup=0))


def settle(context: Context, arrangement: Arrangement):
    with context.connect(arrangement.schema) as connection:
        arrangement.settle(connection)
