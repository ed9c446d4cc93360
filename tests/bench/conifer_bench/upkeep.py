"""What autovacuum alone makes of an index that grew or was thinned out: its query time beside a freshly built one's."""

from __future__ import annotations

import time

import numpy as np

from . import autovacuum, lifecycle, measure
from .arrangement import Arrangement
from .context import Context
from .data import Truth
from .result import chosen, query_load, recall, workers

#: Share of the rows that is deleted in the end.
DELETED = 0.9
#: What the index has been through.
GROWN = "grown from empty by upserts"
THINNED = f"then {DELETED * 100:g} % deleted"


def quiet(context: Context) -> float:
    """Seconds without a worker after which autovacuum, which looks every second, has nothing left to do."""
    return context.scaled(10, 5, 3)


def patience(context: Context) -> float:
    """Seconds after which its work is not waited for any longer."""
    return context.scaled(3600, 60, 20)


def at_rest(context: Context) -> float:
    """Waits until autovacuum has nothing left to do in this database; the seconds until then."""
    begun = last = time.perf_counter()
    with context.connect("pgv") as connection:
        while (now := time.perf_counter()) - last < quiet(context):
            if autovacuum.is_at_work(connection):
                last = now
            if now - begun > patience(context):
                raise measure.ThrownAway(f"autovacuum was still at work after {patience(context)} s")
            time.sleep(0.05)
    return last - begun


class Upkeep:
    """All arrangements with an index, from where their growth has ended; each step is taken by all before the next."""

    def __init__(self, context: Context, arrangements: list[Arrangement], n: int, queries: np.ndarray, progress):
        self.context, self.arrangements, self.queries, self.progress = context, arrangements, queries, progress
        self.gone = lifecycle.some(context, n, DELETED)
        self.kept = np.setdiff1d(np.arange(n), self.gone)
        self.n = n

    def run(self) -> dict[tuple, dict]:
        """Metrics by (arrangement, setting, state)."""
        found = self._state(GROWN, self.context.truth(self.n, queries=self.queries))
        self.progress("deletes", 0.5)
        remaining = self.context.truth(self.kept, queries=self.queries)
        for arrangement in self.arrangements:
            lifecycle.delete(self.context, arrangement, self.gone)
        return found | self._state(THINNED, remaining)

    def _state(self, state: str, truth: Truth) -> dict[tuple, dict]:
        """At once, with autovacuum going on beside the queries; when it is at rest; and on an index built anew."""
        keys = [(one, tuple(setting.items())) for one in self.arrangements for setting in chosen(self.context, one)]
        at_once = {key: self._latency(*key) for key in keys}
        self.progress(f"{state}: autovacuum", 0.1)
        seconds = at_rest(self.context)
        runs = self._vacuums()
        rested = {key: self._latency(*key) for key in keys}
        recalls = {(one, setting): recall(self.context, one, dict(setting), truth) for one, setting in keys}
        self.progress(f"{state}: built anew", 0.3)
        for arrangement in self.arrangements:
            with self.context.connect(arrangement.schema) as connection:
                arrangement.rebuild(connection, workers())
        fresh = {key: self._latency(*key) for key in keys}
        return {
            (arrangement.name, setting, state): {
                "recall": recalls[arrangement, setting],
                "at_once_ms": at_once[arrangement, setting],
                "at_rest_ms": rested[arrangement, setting],
                "fresh_ms": fresh[arrangement, setting],
                "at_once_times_fresh": at_once[arrangement, setting] / fresh[arrangement, setting],
                "at_rest_times_fresh": rested[arrangement, setting] / fresh[arrangement, setting],
                "at_rest_after_seconds": seconds,
                "autovacuum_runs": runs[arrangement],
            }
            for arrangement, setting in keys
        }

    def _vacuums(self) -> dict[Arrangement, int]:
        with self.context.connect("pgv") as connection:
            return {one: one.vacuums(connection) for one in self.arrangements}

    def _latency(self, arrangement: Arrangement, setting: tuple) -> float:
        """Median in ms, of the queries over and over."""
        queries = self.context.dataset.queries[self.queries]
        load = query_load(self.context, arrangement, queries, dict(setting), seconds=self.context.seconds)
        return measure.percentile(self.context.pool.one(load).latencies(), 0.5) * 1e3
