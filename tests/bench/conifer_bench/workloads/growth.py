"""(g) A namespace that grows from nothing by upserts with autovacuum on: queries and upserts over its rows, and what it is
worth in the end beside a freshly built one; then most of it is deleted."""

from __future__ import annotations

import dataclasses

import numpy as np

from .. import autovacuum, measure, upkeep
from ..arrangement import BATCH, Arrangement
from ..clients import Load
from ..conifer import Conifer
from ..context import Context
from ..pgvector import Pgvector
from ..result import cell, chosen, dropped, measured, no_vector_index, query_load, search_of

LETTER = "g"
TITLE = "Growth from empty, autovacuum on"
#: Autovacuum looks often, so that a run of minutes sees what a table of days sees; its thresholds are PostgreSQL's own.
AUTOVACUUM = {"autovacuum": "on", "autovacuum_naptime": "1s", "autovacuum_vacuum_cost_delay": "0"}

#: The growth's part of the time of a round.
GROWTH = 0.6


def cost(context: Context) -> float:
    return context.scaled(330, 50, 12)


def run(context: Context) -> dict:
    # Growing takes as long as all rounds of another workload: so fewer rounds, each from nothing.
    context = dataclasses.replace(context, rounds=min(context.rounds, context.scaled(2, 1, 1)))
    stops = _stops(context)
    truths = {n: context.truth(n, queries=range(_queries(context))) for n in stops}
    grown: dict[tuple, list[dict]] = {}
    kept: dict[tuple, list[dict]] = {}
    vacuums = []
    with autovacuum.switched_on(context, AUTOVACUUM):
        for number in range(context.rounds):
            round_ = _Round(context, stops, truths)
            for key, found in round_.grow(
                lambda text, done, number=number: _progress(context, number, text, done)
            ).items():
                grown.setdefault(key, []).append(found)
            for key, found in round_.kept.items():
                kept.setdefault(key, []).append(found)
            vacuums.append(round_.vacuums)
            context.noise.sample()
    cells = [
        cell(arrangement, {"n": n, "k": context.k, "clients": 1, "search": search, **dict(setting)}, rounds)
        for (arrangement, search, setting, n), rounds in _by_arrangement(context, grown)
    ]
    cells += [
        cell(arrangement, {"state": state, "k": context.k, "clients": 1, "search": search, **dict(setting)}, rounds)
        for (arrangement, search, setting, state), rounds in _by_arrangement(context, kept)
    ]
    for n in stops:
        cells += no_vector_index(context, {"n": n, "k": context.k, "clients": 1, "search": "vector index"})
    setup = {
        "rows": f"{stops[-1]}, upserted in arrays of {BATCH}, one client; each system's turn is one stop's rows, then its queries",
        "queries": f"{_queries(context)} at each stop, at once after the upserts, autovacuum going on beside them",
        "autovacuum": ", ".join(f"{name} = {value}" for name, value in AUTOVACUUM.items()),
        "index": "pgvector's HNSW is there from the first row, as it must be for a table that is never closed",
        "runs of autovacuum until all had grown (each round)": vacuums,
        "state": (
            f"all rows are in, then {upkeep.DELETED * 100:g} % of them are deleted, drawn evenly: queries at once, when autovacuum "
            f"has had nothing to do for {upkeep.quiet(context):g} s, and after REINDEX, which is what “fresh” means; recall is "
            "that at rest, and runs of autovacuum are all until then"
        ),
        "rounds": context.rounds,
    }
    return measured(globals(), cells, setup)


def _progress(context, number, text, done):
    context.progress(f"round {number + 1} of {context.rounds}: {text}", (number + done) / context.rounds)


def _stops(context: Context) -> list[int]:
    """Numbers of rows at which queries are timed: every tenth of the way, and early on."""
    most = min(len(context.dataset), context.scaled(len(context.dataset), 5_000, 400))
    parts = context.scaled(10, 5, 2)
    early = [n for n in context.scaled([1_000, 3_000], [], []) if n < most // parts]
    return early + [most * part // parts for part in range(1, parts + 1)]


def _queries(context: Context) -> int:
    return min(len(context.dataset.queries), context.scaled(150, 60, 10))


def _arrangements(context: Context) -> list[Arrangement]:
    dataset = context.dataset
    conifer = Conifer(dataset.dimension, dataset.metric)
    if context.alone:
        return [conifer]
    return [
        conifer,
        Pgvector(dataset.dimension, dataset.metric),
        Pgvector(dataset.dimension, dataset.metric, "item_exact", hnsw=False),
    ]


def _by_arrangement(context: Context, grown: dict):
    """Keys with the arrangement itself in the place of its name."""
    named = {arrangement.name: arrangement for arrangement in _arrangements(context)}
    for (name, setting, where), rounds in grown.items():
        arrangement = named[name]
        yield (arrangement, search_of(context, arrangement), setting, where), rounds


class _Round:
    """All arrangements grown from nothing once, stop by stop in turns."""

    def __init__(self, context: Context, stops: list[int], truths: dict):
        self.context, self.stops, self.truths = context, stops, truths
        self.vacuums: dict[str, int] = {}
        #: Metrics by (arrangement, setting, state) of what comes after.
        self.kept: dict[tuple, dict] = {}

    def grow(self, progress) -> dict[tuple, dict]:
        """Metrics by (arrangement, setting, n)."""
        found: dict[tuple, dict] = {}
        arrangements = _arrangements(self.context)
        try:
            for arrangement in arrangements:
                with self.context.connect(arrangement.schema) as connection:
                    arrangement.create(connection)
                    arrangement.index(connection)
            for before, n in zip([0, *self.stops], self.stops, strict=False):
                for arrangement in arrangements:
                    progress(f"{n:,} rows, {arrangement.name}", GROWTH * before / self.stops[-1])
                    speed = self._upsert(arrangement, before, n)
                    for setting in chosen(self.context, arrangement):
                        metrics = {"rows_per_second": speed, **self._ask(arrangement, setting, n)}
                        found[arrangement.name, tuple(setting.items()), n] = metrics
            with self.context.connect("pgv") as connection:
                self.vacuums = {one.name: one.vacuums(connection) for one in arrangements}
            indexed = [one for one in arrangements if search_of(self.context, one) == "vector index"]
            queries = self.truths[self.stops[-1]].queries
            self.kept = upkeep.Upkeep(
                self.context,
                indexed,
                self.stops[-1],
                queries,
                lambda text, done: progress(text, GROWTH + (1 - GROWTH) * done),
            ).run()
        finally:
            dropped(self.context, arrangements)
        return found

    def _upsert(self, arrangement: Arrangement, before: int, n: int) -> float:
        rows = self.context.dataset.rows(slice(before, n)).together()
        steps = [arrangement.upsert_many(batch) for batch in rows.batches(BATCH)]
        outcome = self.context.pool.one(Load(self.context.dsn, arrangement.schema, steps, warmup=0))
        return len(rows) / float(np.sum(outcome.latencies("upsert")))

    def _ask(self, arrangement: Arrangement, setting: dict, n: int) -> dict:
        truth = self.truths[n]
        queries = self.context.dataset.queries[truth.queries]
        load = query_load(self.context, arrangement, queries, setting, warmup=5, keep=True)
        outcome = self.context.pool.one(load)
        return {
            "recall": truth.recall(outcome.answers),
            "latency_ms": measure.percentile(outcome.latencies(), 0.5) * 1e3,
            "p99_ms": measure.percentile(outcome.latencies(), 0.99) * 1e3,
        }
