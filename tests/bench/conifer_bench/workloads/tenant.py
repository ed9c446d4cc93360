"""(e) Many tenants of very unequal size: a random one a query, hot and cold; what one more costs, and all of them as they become very many."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import time

import numpy as np

from .. import cold, footprint, generate, measure, neighbour, scale
from ..arrangement import Arrangement
from ..clients import Clients, Load, Outcome
from ..conifer import Conifer
from ..context import Context
from ..pgvector import Pgvector
from ..progress import part_of
from ..result import cell, chosen, measured, plan_of, standing
from ..tenancy import Question, Sample, SharedTable, TablePerTenant, ThroughParent, sample

LETTER = "e"
TITLE = "Tenants: a random one a query, hot and cold"
#: Of the made tenants: low, so that time goes into there being many.
DIMENSION = 64
#: How warm things are, and what that means.
WARMTH = {
    "hot": "this connection has asked each of the tenants before, several passes",
    "first touch": "a new connection, warm by a query of another tenant, asks each tenant for the first time; buffers are hot",
    "evicted": f"the same after {cold.MEANING}",
}
#: What is measured of tenants in number, each in a module of its own.
_MANY = (scale, footprint, neighbour)


def cost(context: Context) -> float:
    return context.scaled(900, 100, 20)


def run(context: Context) -> dict:
    tenants, rows = context.scaled((5_000, 100_000), (1_000, 10_000), (60, 600))
    given = context.dataset.head(context.scaled(len(context.dataset), 10_000, 600))
    made = generate.generate(rows, DIMENSION, queries=200, tenants=tenants, seed=context.seed, metadata=False)
    sets = {f"{len(np.unique(made.tenants)):,} made tenants": (made, _many)}
    if given.tenants is not None:
        sets = {f"{len(np.unique(given.tenants))} tenants of {context.dataset.name}": (given, _few)} | sets
    cells, evicts = [], cold.can_evict(context)
    count = len(sets) + 1 + len(_MANY)
    for number, (name, (dataset, arrangements)) in enumerate(sets.items()):
        progress = part_of(context.progress, number, count)
        inner = dataclasses.replace(context, dataset=dataset, progress=progress)
        cells += _ask(inner, name, arrangements(inner), evicts)
    cells += _create(dataclasses.replace(context, progress=part_of(context.progress, len(sets), count)))
    with contextlib.closing(Clients(scale.CLIENTS)) as pool:
        for number, part in enumerate(_MANY, len(sets) + 1):
            cells += part.run(
                dataclasses.replace(context, pool=pool, progress=part_of(context.progress, number, count))
            )
    setup = {
        "data": ", ".join(f"{name}: {len(dataset):,} × {dataset.dimension}" for name, (dataset, _) in sets.items()),
        "tenants": "drawn evenly from bins by their rows (the few large ones would hardly be seen otherwise), one client",
        **WARMTH,
        "a new tenant's place": "an empty namespace, partition or table, median of the last 50 made before there are so many",
        **scale.SETUP,
        **footprint.SETUP,
        **neighbour.SETUP,
    }
    return measured(globals(), cells, setup, [] if evicts else [cold.NOT_KNOWN])


def _few(context: Context) -> list[Arrangement]:
    shape = context.dataset.dimension, context.dataset.metric
    return [
        Conifer(*shape),
        Pgvector(*shape, "item_exact", tenancy="partition", hnsw=False),
        ThroughParent(*shape, "item_parent", hnsw=False),
        Pgvector(*shape, "item_hnsw", tenancy="partition"),
        SharedTable(*shape, "item_shared", most=len(context.dataset)),
        Pgvector(*shape, "item_plain", tenancy="column", hnsw=False),
    ]


def _many(context: Context) -> list[Arrangement]:
    """Not partitions: so many would take hours to make, which is measured apart."""
    shape = context.dataset.dimension, context.dataset.metric
    return [
        Conifer(*shape),
        TablePerTenant(*shape, "item_exact", hnsw=False),
        TablePerTenant(*shape, "item_hnsw", hnsw=True),
        SharedTable(*shape, "item_shared", most=len(context.dataset)),
        Pgvector(*shape, "item_plain", tenancy="column", hnsw=False),
    ]


def _ask(context: Context, name: str, arrangements: list[Arrangement], evicts: bool) -> list[dict]:
    """All arrangements with the same tenants, asked in turns."""
    context.progress(f"loading {name} into {len(arrangements)} arrangements", 0.0)
    a_bin, passes = context.scaled((40, 6), (20, 4), (3, 2))
    asked = sample(context.dataset, context.k, a_bin, passes, context.seed)
    with standing(context, arrangements, context.dataset.rows()):
        contestants = {
            (arrangement, tuple(setting.items())): _Asked(context, arrangement, setting, asked, evicts)
            for arrangement in arrangements
            for setting in chosen(context, arrangement)
        }
        rounds = measure.in_turns(
            contestants, context.rounds, context.noise, lambda text, done: context.progress(name, 0.7 + 0.3 * done)
        )
        plans = {
            (key, label): plan_of(context, key[0], dict(key[1]), question.step(key[0], context.k))
            for key in contestants
            for label, question in {question.bin: question for question in asked.passes[0]}.items()
        }
    cells = []
    for (arrangement, setting), results in rounds.items():
        common = {"data": name, "k": context.k, "clients": 1, **dict(setting)}
        firsts = [{"first_ms": result.pop("first_ms")} for result in results]
        cells.append(cell(arrangement, common, firsts))
        for warmth, label in results[0]:
            mean, count = asked.bins[label]
            parameters = {**common, "warmth": warmth, "tenant rows": label, "mean rows": mean, "tenants asked": count}
            parameters["plan"] = plans[(arrangement, setting), label]
            cells.append(cell(arrangement, parameters, [result[warmth, label] for result in results]))
    return cells


class _Asked:
    """One arrangement and setting: hot, at first touch, and after an eviction."""

    #: Connections whose very first query is timed.
    FIRST = 5

    def __init__(self, context, arrangement: Arrangement, setting: dict, asked: Sample, evicts: bool):
        self.context, self.arrangement, self.setting, self.asked, self.evicts = (
            context,
            arrangement,
            setting,
            asked,
            evicts,
        )

    def __call__(self) -> dict:
        once, every = self.asked.passes[0], [one for part in self.asked.passes for one in part]
        warm = self._steps([self.asked.other])
        first = [self._load([question], []).took[0] for question in once[: self.FIRST]]
        found = {"first_ms": statistics.median(first) * 1e3}
        kinds = {"hot": (every, self._steps(once)), "first touch": (once, warm)}
        if self.evicts:
            kinds["evicted"] = (once, warm)
        for warmth, (questions, before) in kinds.items():
            if warmth == "evicted":
                cold.evict(self.context)
            found |= {(warmth, label): metrics for label, metrics in self._by_bin(questions, before).items()}
        return found

    def _steps(self, questions: list[Question]) -> list:
        return [question.step(self.arrangement, self.context.k) for question in questions]

    def _load(self, questions, warm) -> Outcome:
        steps = self._steps(questions)
        settings = self.arrangement.session | self.setting
        load = Load(self.context.dsn, self.arrangement.schema, steps, settings, warmup=0, warm=warm, keep=True)
        return self.context.pool.one(load)

    def _by_bin(self, questions: list[Question], warm) -> dict[str, dict]:
        outcome = self._load(questions, warm)
        found = {}
        for label in self.asked.bins:
            places = [place for place, question in enumerate(questions) if question.bin == label]
            took = outcome.took[places] * 1e3
            hits = [questions[place].truth.hits(0, outcome.answers[place]) for place in places]
            found[label] = {
                "recall": float(np.mean(hits)),
                "latency_ms": measure.percentile(took, 0.5),
                "p99_ms": measure.percentile(took, 0.99),
            }
        return found


def _create(context: Context) -> list[dict]:
    """What the place of one more tenant costs, by how many there are; nothing is stored."""
    counts = context.scaled((100, 1_000, 2_000), (100, 400), (60,))
    shape = context.dataset.dimension, context.dataset.metric
    ways = {
        Conifer(*shape, "place"): _namespace,
        Pgvector(*shape, "place", tenancy="partition", hnsw=False): Pgvector.add_tenant,
        TablePerTenant(*shape, "place_alone", hnsw=False): TablePerTenant.add_tenant,
    }
    cells = []
    for number, (arrangement, add) in enumerate(ways.items()):
        context.progress(f"makes {counts[-1]} places, {arrangement.name}", number / len(ways))
        with context.connect(arrangement.schema) as connection:
            try:
                arrangement.create(connection, ["the first"])
                took = [_timed(add, arrangement, connection, f"tenant-{place}") for place in range(counts[-1])]
            finally:
                arrangement.drop(connection)
        for count in counts:
            metrics = {"create_ms": statistics.median(took[count - 50 : count]) * 1e3}
            cells.append(cell(arrangement, {"tenants": count}, [metrics]))
    return cells


def _namespace(arrangement: Conifer, connection, tenant: str):
    connection.execute("SELECT pc_create_namespace(%s, %s)", (arrangement.table, tenant))


def _timed(add, arrangement, connection, tenant) -> float:
    begun = time.perf_counter()
    add(arrangement, connection, tenant)
    return time.perf_counter() - begun
