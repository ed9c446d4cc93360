"""(f) Queries under a filter that half, a tenth, a hundredth or a thousandth of the rows pass."""

from __future__ import annotations

import dataclasses

import numpy as np
from .. import filters, measure
from ..arrangement import Arrangement
from ..clients import Load
from ..context import Context
from ..filters import Filter, FilteredNamespace, FilteredTable
from ..result import cell, measured, plan_of, standing
from ..system import Vector

LETTER = "f"
TITLE = "Filters: 50, 10, 1 and 0.1 % of the rows pass"
#: Of pgvector's HNSW: the default, and two for more recall.
EF_SEARCH = (40, 200, 600)


def cost(context: Context) -> float:
    return context.scaled(300, 40, 5)


def run(context: Context) -> dict:
    n = min(len(context.dataset), context.scaled(len(context.dataset), 10_000, 1_000))
    dataset = context.dataset.head(n)
    metadata = filters.made_metadata(dataset, context.seed)
    made = dataclasses.replace(context, dataset=dataclasses.replace(dataset, metadata=metadata))
    cells = _measured(made, _filters(made, n), _arrangements(made, n, filters.MADE))
    if dataset.metadata and set(filters.OWN) <= dataset.metadata[0].keys():
        own = dataclasses.replace(context, dataset=dataset)
        arrangements = _arrangements(own, n, filters.OWN_COLUMNS)
        cells += _measured(own, filters.own(dataset.metadata), arrangements)
    context = made
    setup = {
        "data": f"{context.dataset.name}, {n} rows, one namespace; metadata made with seed {context.seed}, exactly these shares",
        "correlated": "the rows that pass are those nearest to one row; else they lie anywhere",
        "own": "filters on the data's own metadata, which about these shares pass",
        "two equalities": "each alone holds for more rows (60, 15, 2 and 0.6 %)",
        "queries": f"{_queries(context)}, one client, on one core with its server process, each once a round; `complete`: the share that had {context.k} rows",
        "pgvector": "typed columns generated from the metadata, but for lists and for GIN; iterative scans may go through all rows",
    }
    return measured(globals(), cells, setup)


def _measured(context: Context, every: list[Filter], arrangements: list[Arrangement]) -> list[dict]:
    n = len(context.dataset)
    asked = [one for one in every if one.selectivity * n >= context.k]
    context.progress(f"loading {n} rows {len(arrangements)} times", 0.0)
    cells = []
    # The two orders of an iterative scan are settings: they share a table.
    tables = list({arrangement.table: arrangement for arrangement in arrangements}.values())
    with standing(context, tables, context.dataset.rows().together()):
        for number, one in enumerate(asked):
            context.progress(f"{one.kind}, {one.selectivity:.1%}", 0.3 + 0.7 * number / len(asked))
            cells += _under(context, one, arrangements)
    return cells


def _queries(context: Context) -> int:
    return min(len(context.dataset.queries), context.scaled(60, 25, 5))


def _filters(context: Context, n: int) -> list[Filter]:
    """All at every selectivity; in a quick run only one kind of them."""
    every = list(filters.SHARES)
    some = context.scaled(every, ["hundredth"], ["tenth"])
    found = [filters.equality(value, False) for value in every]
    found += [filters.equality(value, True) for value in some]
    found += [filters.membership(value) for value in some]
    found += [filters.span(value, n) for value in some]
    return found + [filters.both(value) for value in some]


def _arrangements(context: Context, n: int, columns) -> list[Arrangement]:
    dimension, metric = context.dataset.dimension, context.dataset.metric
    iterative = [
        FilteredTable(
            dimension,
            metric,
            "item_hnsw",
            hnsw=True,
            iterative=order,
            columns=columns,
            # by default it gives up after 20,000 rows, with fewer than k found
            settings=[
                {"hnsw.ef_search": ef, "hnsw.iterative_scan": order, "hnsw.max_scan_tuples": max(n, 20_000)}
                for ef in EF_SEARCH
            ],
        )
        for order in ("relaxed_order", "strict_order")
    ]
    return [
        FilteredNamespace(dimension, metric),
        FilteredNamespace(dimension, metric, "item_gin", by="GIN"),
        FilteredNamespace(dimension, metric, "item_btree", by="B-tree", columns=columns),
        *iterative,
        FilteredTable(dimension, metric, "item_btree", by="B-tree", columns=columns),
        FilteredTable(dimension, metric, "item_gin", by="GIN", columns=columns),
        FilteredTable(dimension, metric, "item_exact", columns=columns),
    ]


def _under(context: Context, one: Filter, arrangements: list[Arrangement]) -> list[dict]:
    """One filter: every arrangement and setting in turns."""
    rows = np.flatnonzero([filters.passes(one, entry) for entry in context.dataset.metadata])
    truth = context.truth(rows, queries=range(_queries(context)))
    parameters = {
        "filter": one.kind,
        "selectivity": one.selectivity,
        "correlated": one.correlated,
        "n": len(context.dataset),
        "k": context.k,
        "clients": 1,
    }
    contestants, plans = {}, {}
    for arrangement in arrangements:
        if not arrangement.serves(one):
            continue
        for setting in arrangement.settings(context.features, context.k):
            step = _step(context, arrangement, one, context.dataset.queries[0])
            plans[arrangement, repr(setting)] = plan_of(context, arrangement, setting, step)
            contestants[arrangement, repr(setting)] = _Asked(context, arrangement, setting, one, truth)
    rounds = measure.in_turns(contestants, context.rounds, context.noise)
    return [
        cell(contestant.arrangement, {**parameters, **contestant.setting, "plan": plans[key]}, rounds[key])
        for key, contestant in contestants.items()
    ]


def _step(context: Context, arrangement: Arrangement, one: Filter, query):
    where = one.conifer if arrangement.system == "conifer" else one
    return arrangement.query(Vector(query), context.k, where=where)


class _Asked:
    """One arrangement and setting under one filter."""

    def __init__(self, context, arrangement, setting, one, truth):
        self.context, self.arrangement, self.setting, self.truth = context, arrangement, setting, truth
        steps = [_step(context, arrangement, one, context.dataset.queries[number]) for number in truth.queries]
        settings = arrangement.session | setting
        self.load = Load(context.dsn, arrangement.schema, steps, settings, warmup=3, keep=True, one_core=True)

    def __call__(self) -> dict:
        outcome = self.context.pool.one(self.load)
        return {
            "recall": self.truth.recall(outcome.answers),
            "complete": float(np.mean([len(answer) == self.context.k for answer in outcome.answers])),
            "latency_ms": measure.percentile(outcome.latencies(), 0.5) * 1e3,
        }
