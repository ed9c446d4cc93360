"""(h) How each cost grows with the number of rows: query, build, index bytes, insert; the report fits the slopes."""

from __future__ import annotations

import dataclasses

import numpy as np

from .. import generate, measure
from ..clients import Load
from ..conifer import Conifer
from ..context import Context
from ..pgvector import Pgvector
from ..result import (
    UNITS,
    built,
    cell,
    dropped,
    measured,
    no_vector_index,
    query_load,
    query_metrics,
    reaching,
    search_of,
    workers,
)
from ..system import Vector

LETTER = "h"
TITLE = "How each cost grows with n"
GOAL = 0.95
#: Small, so that a million of them can be loaded and indexed in minutes.
DIMENSION = 64


def sizes(context: Context) -> list[int]:
    return context.scaled([1_000, 10_000, 100_000, 1_000_000], [1_000, 4_000, 12_000], [300, 900])


def cost(context: Context) -> float:
    return context.scaled(480, 30, 4)


def run(context: Context) -> dict:
    every = sizes(context)
    spare = _inserts(context) * (context.rounds + 1)
    queries = context.scaled(200, 100, 20)
    made = generate.generate(every[-1] + spare, DIMENSION, queries=queries, seed=context.seed, metadata=False)
    context = dataclasses.replace(context, dataset=made)
    cells = []
    # By rows, roughly: most of the time goes into the largest.
    weights = np.cumsum([0.0] + [2000 + n for n in every])
    report = context.progress
    for number, n in enumerate(every):
        start, end = weights[number : number + 2] / weights[-1]

        def progress(text, fraction, n=n, start=start, end=end):
            report(f"n = {n:,}: {text}", start + fraction * (end - start))

        cells += _at(dataclasses.replace(context, progress=progress), n)
    setup = {
        "data": f"{made.source}; each n is its first n rows",
        "queries": f"{queries}, at the cheapest setting whose recall@{context.k} reaches {GOAL}, {context.seconds / 2:g} s a round",
        "build": f"over the loaded table, {workers()} parallel workers beside the leader; once for each n",
        "insert": f"{_inserts(context)} new rows a round into the full table, one a statement and transaction; median",
    }
    return measured(globals(), cells, setup)


def _inserts(context: Context) -> int:
    return context.scaled(300, 100, 20)


def _at(context: Context, n: int) -> list[dict]:
    """One n: each arrangement is built alone, then all are asked and written to in turns."""
    rows = context.dataset.rows(slice(n)).together()
    arrangements = [
        Conifer(DIMENSION, context.dataset.metric),
        Pgvector(DIMENSION, context.dataset.metric),
        Pgvector(DIMENSION, context.dataset.metric, "item_exact", hnsw=False),
    ]
    index = {}
    try:
        for number, arrangement in enumerate(arrangements):
            context.progress(f"builds {arrangement.name}", number * 0.2)
            index[arrangement] = built(context, arrangement, rows)
        truth = context.truth(n)
        context.progress("asks", 0.6)
        contestants = {}
        for arrangement in arrangements:
            setting, recall = reaching(context, arrangement, truth, GOAL)
            contestants[arrangement] = _Contestant(context, arrangement, setting, recall, n)
        rounds = measure.in_turns(
            contestants,
            context.rounds,
            context.noise,
            lambda text, done: context.progress("asks and inserts", 0.6 + 0.4 * done),
        )
    finally:
        dropped(context, arrangements)
    cells = []
    for arrangement, contestant in contestants.items():
        search = search_of(context, arrangement)
        found = cell(
            arrangement,
            {"n": n, "k": context.k, "clients": 1, "search": search, **contestant.setting},
            rounds[arrangement],
        )
        if search == "vector index":
            # Without a vector index there is nothing that was built: no figure, not a figure of 0.
            found["metrics"] |= measure.summarise([index[arrangement]], UNITS)
        cells.append(found)
    return cells + no_vector_index(context, {"n": n, "k": context.k, "clients": 1, "search": "vector index"})


class _Contestant:
    """One arrangement at the setting it was found to need: queries, then inserts of rows that no round has taken."""

    def __init__(self, context, arrangement, setting, recall, n):
        self.context, self.arrangement, self.setting, self.recall = context, arrangement, setting, recall
        self.next = n
        self.load = query_load(context, arrangement, context.dataset.queries, setting, seconds=context.seconds / 2)

    def __call__(self) -> dict:
        outcomes = self.context.pool.run([self.load])
        return {"recall": self.recall, **query_metrics(outcomes), "insert_ms": self._insert()}

    def _insert(self) -> float:
        count = _inserts(self.context)
        rows = self.context.dataset.rows(slice(self.next, self.next + count))
        self.next += count
        steps = [self.arrangement.upsert(id, Vector(vector)) for id, vector in zip(rows.ids, rows.vectors, strict=True)]
        warm = steps[: len(steps) // 10]
        load = Load(self.context.dsn, self.arrangement.schema, steps[len(warm) :], warm=warm)
        return measure.percentile(self.context.pool.one(load).latencies("upsert"), 0.5) * 1e3
