"""(d) Queries and upserts at once: nine queries to an upsert, several clients, a closed loop."""

from __future__ import annotations

import numpy as np

from .. import measure
from ..arrangement import Arrangement
from ..clients import Load
from ..conifer import Conifer
from ..context import Context
from ..pgvector import Pgvector
from ..result import cell, label, measured, query_metrics, recall, standing
from ..system import Vector

LETTER = "d"
TITLE = "Mixed: 90 % queries, 10 % upserts"
#: Of pgvector: the default, and higher ones for the recall that exact answers are compared with.
EF_SEARCH = (40, 100, 200)
UPSERTS = 0.1
#: Half of the upserts are new records, half replace one that is there.
NEW = 0.5


def cost(context: Context) -> float:
    return context.scaled(100, 20, 3)


def run(context: Context) -> dict:
    dataset = context.dataset
    n = min(len(dataset) * 9 // 10, context.scaled(len(dataset), 13_500, 500))
    conifer, hnsw = Conifer(dataset.dimension, dataset.metric), Pgvector(dataset.dimension, dataset.metric)
    exact = Pgvector(dataset.dimension, dataset.metric, "item_exact", hnsw=False)
    pairs = [(conifer, setting) for setting in _goals(conifer.settings(context.features, context.k))]
    pairs += [(hnsw, {"hnsw.ef_search": ef}) for ef in EF_SEARCH] + [(exact, {})]
    context.progress(f"loading {n} rows", 0.0)
    queries = range(min(len(dataset.queries), context.scaled(300, 100, 20)))
    truth = context.truth(n, queries=queries)
    with standing(context, [conifer, hnsw, exact], dataset.rows(slice(n)).together()):
        recalls = {(a.name, label(s)): recall(context, a, s, truth) for a, s in pairs}
        contestants = {(a.name, label(s)): _Mixed(context, a, s, n) for a, s in pairs}
        rounds = measure.in_turns(contestants, context.rounds, context.noise, context.progress)
    cells = [
        cell(
            one.arrangement,
            {"n": n, "k": context.k, "clients": context.clients, **one.setting},
            [{"recall": recalls[key], **metrics} for metrics in rounds[key]],
        )
        for key, one in contestants.items()
    ]
    setup = {
        "load": (
            f"{context.clients} clients, each with one connection, send the next statement when the last is answered; "
            "each statement a transaction"
        ),
        "upserts": "half new records, half replace one; rows held out of the load give the vectors",
        "recall": "of the queries alone, before the writing begins",
    }
    return measured(globals(), cells, setup)


def _goals(settings: list[dict]) -> list[dict]:
    """Of a range, what a user would choose among."""
    return [s for s in settings if s.get("conifer.recall", 0.99) in (0.95, 0.99, 1.0)]


class _Mixed:
    """One arrangement and setting under the mixed load."""

    def __init__(self, context, arrangement: Arrangement, setting, n):
        self.context, self.arrangement, self.setting, self.n = context, arrangement, setting, n
        self.new = n

    def __call__(self) -> dict:
        context, settings = self.context, self.arrangement.session | self.setting
        outcomes = context.pool.run(
            [
                Load(context.dsn, self.arrangement.schema, self._steps(), settings, seconds=2 * context.seconds)
                for _ in range(context.clients)
            ]
        )
        upserts = np.concatenate([outcome.latencies("upsert") for outcome in outcomes])
        return {
            **query_metrics(outcomes),
            "upsert_ms": measure.percentile(upserts, 0.5) * 1e3,
            "upsert_p99_ms": measure.percentile(upserts, 0.99) * 1e3,
        }

    def _steps(self) -> list:
        """Enough for a round at any speed that is to be expected; a client that gets through begins again."""
        context, dataset = self.context, self.context.dataset
        random = np.random.default_rng([context.seed, self.new])
        queries = [self.arrangement.query(Vector(query), context.k) for query in dataset.queries]
        spare = np.arange(self.n, len(dataset))
        steps = []
        for writes in random.random(context.scaled(20_000, 8_000, 100)) < UPSERTS:
            if not writes:
                steps.append(queries[random.integers(len(queries))])
                continue
            row = dataset.rows([random.choice(spare)])
            steps.append(
                self.arrangement.upsert(
                    self._id(random), Vector(row.vectors[0]), metadata=row.metadata and row.metadata[0]
                )
            )
        return steps

    def _id(self, random) -> str:
        if random.random() >= NEW:
            return str(random.integers(self.n))
        self.new += 1
        return str(self.new)
