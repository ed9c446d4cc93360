"""Whether tenants are fair to each other: one is asked while another of the same index is loaded at full speed."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator

import numpy as np

from . import generate, measure
from .arrangement import BATCH, Arrangement
from .clients import Load, Step
from .conifer import Conifer
from .context import Context
from .result import cell, chosen, query_load, standing
from .tenancy import SharedTable

#: Records of the tenant that is asked.
RECORDS = 1_000
#: Seconds that queries are measured beside the load at least, and that one arrangement is loaded at most.
LEAST, MOST = 3.0, 60.0
#: Records that an HNSW index is given at most: it takes a second and more for a thousand.
SHARED_MOST = 20_000
#: Pieces that the least time is measured in, and statements that a client is given for one: more than it gets through.
_PIECES, _AHEAD = 4, 100

SETUP = {
    "a neighbour's load": (
        f"one client asks a tenant of {RECORDS:,} records again and again, and so it does while another upserts {BATCH:,} a "
        f"statement into other tenants, for {LEAST:g} s or longer"
    ),
}


def run(context: Context) -> list[dict]:
    count = context.scaled(100_000, 20_000, 500)
    made = generate.generate(
        RECORDS + count, metric=context.dataset.metric, queries=100, seed=context.seed, metadata=False
    )
    inner = dataclasses.replace(context, dataset=made)
    rows = made.rows(slice(RECORDS)).together()
    conifer = Conifer(made.dimension, made.metric, "fair")
    shared = SharedTable(made.dimension, made.metric, "fair_shared", most=len(made))
    cells = []
    with standing(inner, [conifer, shared], rows):
        for arrangement, rounds, most in ((shared, 1, min(count, SHARED_MOST)), (conifer, context.rounds, count)):
            context.progress(f"a neighbour's load, {arrangement.name}", len(cells) / 4)
            one = _Neighbours(inner, arrangement, most)
            cells += one.cells([one() for _ in range(rounds)])
    return cells


class _Neighbours:
    """A tenant that is asked, and those that are loaded beside it: each of `count` records, one after the other."""

    def __init__(self, context: Context, arrangement: Arrangement, count: int):
        self.context, self.arrangement, self.count = context, arrangement, count
        self.setting = chosen(context, arrangement)[0]
        self.batch = min(BATCH, count)
        self.statements = self._statements()
        self.least = context.scaled(LEAST, LEAST, 0.2)

    def __call__(self) -> tuple[dict, dict]:
        """Quiet and beside the load, each as the metrics of a round."""
        quiet = _metrics(self.context.pool.one(self._queries(self.least)).took)
        beside = self._loaded()
        return quiet, beside | {"p99_times_quiet": beside["p99_ms"] / quiet["p99_ms"]}

    def cells(self, rounds: list[tuple[dict, dict]]) -> list[dict]:
        given = {"k": self.context.k, "clients": 1, **self.setting, "records": RECORDS}
        return [
            cell(self.arrangement, given | {"beside": beside}, list(metrics))
            for beside, metrics in zip(("nothing", "another tenant's load"), zip(*rounds, strict=True), strict=True)
        ]

    def _loaded(self) -> dict:
        """Pieces, each of a query client and a loading one: nothing is asked that no load is beside, for that ends last."""
        context, took, ahead, records, loading = self.context, [], [], 0, 0.0
        begun = time.perf_counter()
        while records < self.count or sum(map(np.sum, took)) < self.least:
            if time.perf_counter() - begun > MOST:
                break
            ahead += itertools.islice(self.statements, _AHEAD - len(ahead))
            load = Load(context.dsn, self.arrangement.schema, ahead, warmup=0, seconds=self.least / _PIECES)
            asked, loaded = context.pool.run([self._queries(load.seconds), load])
            took.append(asked.took)
            records += len(loaded.took) * self.batch
            loading += float(loaded.began[-1] + loaded.took[-1])
            del ahead[: len(loaded.took)]
        return _metrics(np.concatenate(took)) | {"rows_per_second": records / loading}

    def _queries(self, seconds: float) -> Load:
        return query_load(self.context, self.arrangement, self.context.dataset.queries, self.setting, seconds=seconds)

    def _statements(self) -> Iterator[Step]:
        """Each new tenant gets all records, in batches."""
        batches = self.context.dataset.rows(slice(RECORDS, RECORDS + self.count)).together().batches(self.batch)
        for number in itertools.count():
            for batch in batches:
                yield self.arrangement.upsert_many(batch, f"load-{number}")


def _metrics(took: np.ndarray) -> dict:
    return {"latency_ms": measure.percentile(took, 0.5) * 1e3, "p99_ms": measure.percentile(took, 0.99) * 1e3}
