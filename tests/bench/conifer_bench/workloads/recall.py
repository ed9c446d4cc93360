"""(a) Queries a second against recall, over each system's whole range of settings."""

from __future__ import annotations

import itertools

from .. import measure
from ..clients import Load, Step
from ..conifer import Conifer
from ..context import Context
from ..pgvector import Pgvector
from ..progress import part_of
from ..result import cell, label, measured, plan_of, query_load, query_metrics, recall, standing
from ..system import Vector

LETTER = "a"
TITLE = "Recall against queries/s, one namespace"


NOTES = (
    "recall counts a row as near as the k-th whichever of equals it is",
    "one table with HNSW is asked with enable_seqscan off, so that it is the index that answers; plan tells that it did",
)


def sizes(context: Context) -> list[int]:
    """Rows of the namespace."""
    full = len(context.dataset)
    wanted = context.scaled([1_000, 10_000, full], [1_000, 5_000, min(full, 15_000)], [500])
    return sorted({min(n, full) for n in wanted})


def cost(context: Context) -> float:
    return context.scaled(220, 40, 4)


def run(context: Context) -> dict:
    cells = []
    every = sizes(context)
    for number, n in enumerate(every):
        part = part_of(context.progress, number, len(every))
        cells += _at(context, n, [1, context.clients] if n == every[-1] else [1], part)
    setup = {
        "queries": (
            f"the first {_queries(context)} of the data set, each once for recall, then over and over for "
            f"{context.seconds} s a round"
        ),
        "an empty SELECT, the round trip": round_trip(context),
        "sizes": every,
    }
    return measured(globals(), cells, setup, NOTES)


def round_trip(context: Context) -> str:
    """What every query of this client costs before either system has done anything."""
    load = Load(context.dsn, "pc", [Step("SELECT")], seconds=context.seconds)
    return f"{measure.percentile(context.pool.one(load).latencies(), 0.5) * 1e3:.3f} ms, median"


def _queries(context) -> int:
    return min(len(context.dataset.queries), context.scaled(300, 100, 30))


def _at(context: Context, n: int, clients: list[int], progress) -> list[dict]:
    dataset = context.dataset
    arrangements = [
        Conifer(dataset.dimension, dataset.metric),
        Pgvector(dataset.dimension, dataset.metric),
        Pgvector(dataset.dimension, dataset.metric, "item_exact", hnsw=False),
    ]
    progress(f"loading {n} rows", 0.0)
    truth = context.truth(n, queries=range(_queries(context)))
    with standing(context, arrangements, dataset.rows(slice(n)).together()):
        settings = [_settings(context, arrangement) for arrangement in arrangements]
        recalls, plans = {}, {}
        # A B A B: the systems in turn, each through its settings
        order = [key for turn in itertools.zip_longest(*settings) for key in turn if key is not None]
        for arrangement, setting in order:
            progress(f"recall at n = {n}", 0.1)
            key = arrangement.name, label(setting)
            recalls[key] = recall(context, arrangement, setting, truth)
            step = arrangement.query(Vector(dataset.queries[0]), context.k)
            plans[key] = plan_of(context, arrangement, setting, step)
        contestants = {
            (arrangement.name, label(setting), count): _Timed(context, arrangement, setting, count)
            for count in clients
            for arrangement, setting in order
        }
        rounds = measure.in_turns(
            contestants,
            context.rounds,
            context.noise,
            lambda text, done: progress(f"n = {n}, {text}", 0.2 + 0.8 * done),
        )
    return [
        cell(
            contestant.arrangement,
            {"n": n, "k": context.k, "clients": key[2], **contestant.setting, "plan": plans[key[:2]]},
            [{"recall": recalls[key[:2]], **one} for one in rounds[key]],
        )
        for key, contestant in contestants.items()
    ]


def _settings(context, arrangement):
    found = arrangement.settings(context.features, context.k)
    if context.quick and len(found) > 6:
        found = found[:: 5 if context.tiny else 2]
    return [(arrangement, setting) for setting in found]


class _Timed:
    """One setting, driven by so many clients for one round."""

    def __init__(self, context, arrangement, setting, count):
        self.context, self.arrangement, self.setting = context, arrangement, setting
        queries = context.dataset.queries[: _queries(context)]
        # each client begins elsewhere, so that no two ask the same at once
        self.loads = [
            query_load(context, arrangement, [*queries[start:], *queries[:start]], setting, seconds=context.seconds)
            for start in range(0, len(queries), -(-len(queries) // count))
        ]

    def __call__(self) -> dict:
        return query_metrics(self.context.pool.run(self.loads))
