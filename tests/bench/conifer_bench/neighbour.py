"""Whether tenants are fair to each other: one is asked while another of the same index is loaded at full speed, and while autovacuum is at that load."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator

import numpy as np

from . import autovacuum, generate, measure
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
#: PostgreSQL's own manners, but that it looks soon.
AUTOVACUUM = {"autovacuum": "on", "autovacuum_naptime": "1s"}
#: Pieces that the least time is measured in, and statements that a client is given for one: more than it gets through.
_PIECES, _AHEAD = 4, 100

SETUP = {
    "a neighbour's load": (
        f"one client asks a tenant of {RECORDS:,} records again and again, and so it does while another upserts {BATCH:,} a "
        f"statement into other tenants, for {LEAST:g} s or longer; then while autovacuum is at those, with its own cost settings "
        "and looking every second"
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

    def __call__(self) -> dict[str, dict]:
        """The metrics of a round by what was beside the queries; nothing of autovacuum where it was done too soon."""
        quiet = _metrics(self.context.pool.one(self._queries(self.least)).took)
        beside = {"another tenant's load": self._loaded(), "autovacuum of that load": self._vacuumed()}
        times = {
            name: metrics | {"p99_times_quiet": metrics["p99_ms"] / quiet["p99_ms"]} for name, metrics in beside.items() if metrics
        }
        return {"nothing": quiet} | times

    def cells(self, rounds: list[dict[str, dict]]) -> list[dict]:
        given = {"k": self.context.k, "clients": 1, **self.setting, "records": RECORDS}
        return [
            cell(self.arrangement, given | {"beside": beside}, [found[beside] for found in rounds])
            for beside in rounds[0]
            if all(beside in found for found in rounds)
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

    def _vacuumed(self) -> dict | None:
        """Pieces at whose beginning and end autovacuum was at work; None if there was none within the time that is waited."""
        context, took, seconds = self.context, [], self.least / _PIECES
        patience = context.scaled(10 * self.least, 5 * self.least, 1.5)
        begun = time.perf_counter()
        with autovacuum.switched_on(context, AUTOVACUUM), context.connect("pgv") as connection:
            while sum(map(np.sum, took)) < self.least and time.perf_counter() - begun < patience:
                was_at_work = autovacuum.is_at_work(connection)
                asked = context.pool.one(self._queries(seconds))
                if was_at_work and autovacuum.is_at_work(connection):
                    took.append(asked.took)
            autovacuum.end(connection)
        return _metrics(np.concatenate(took)) if took else None

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
