"""Tenants of one record each in one place, made and dropped as they are needed: a crowd that grows, and what is asked of it."""

from __future__ import annotations

import statistics
import time

from . import memory
from .clients import Load, Step
from .context import Context
from .places import Place
from .system import Vector

#: Tenants whose queries, and tenants whose making, warm a connection.
_WARM = 5
#: How often a page of the list is asked for; the counts of all, each time by a new connection.
_PAGES, _COUNTS = 20, 3


class Crowd:
    """They are numbered: the next number is made next, the lowest is dropped next, and all between are there."""

    def __init__(self, context: Context, place: Place):
        self.context, self.pool, self.place = context, context.pool, place
        self.low = self.high = 0
        #: Seconds that filling has taken.
        self.spent = 0.0

    def __len__(self):
        return self.high - self.low

    # making and dropping

    def fill(self, count: int, progress=None) -> bool:
        """Makes what is missing, all clients at once; whether there are so many then, before the place's patience ended."""
        while (missing := count - len(self)) > 0 and self.spent < self.place.patience:
            if progress:
                progress(f"{self.place.name}: {len(self):,} tenants", len(self) / count)
            begun = time.perf_counter()
            new = self._new(min(missing, self.place.at_once * len(self.pool)))
            loads = [self._load(self._firsts(new[client :: len(self.pool)])) for client in range(len(self.pool))]
            self.pool.run([load for load in loads if load.steps])
            self.spent += time.perf_counter() - begun
        return len(self) >= count

    def first_upsert(self, count: int) -> float:
        """Of so many tenants made by one client, in ms: the mean, since one in so many also makes what others then share."""
        load = self._load(self._firsts(self._new(count)), self._firsts(self._new(_WARM)))
        return statistics.fmean(self.pool.one(load).took) * 1e3

    def first_upserts_at_once(self, count: int) -> float:
        """Of so many tenants made by all clients, or a multiple of that, in ms: what one more took all of them together."""
        each = count * self.place.rush // len(self.pool)
        loads = [
            self._load(self._firsts(self._new(each)), self._firsts(self._new(_WARM))) for _ in range(len(self.pool))
        ]
        ends = [float((outcome.began + outcome.took).max()) for outcome in self.pool.run(loads)]
        return max(ends) / (each * len(loads)) * 1e3

    def drop(self, count: int) -> float:
        """Of so many of the oldest dropped by one client, in ms: the median."""
        warm = self._goners(1)
        return statistics.median(self.pool.one(self._load(self._goners(count), warm)).took) * 1e3

    def shrink(self, count: int):
        """Drops the oldest until there are no more than so many."""
        if len(self) > count:
            self.pool.one(self._load(self._goners(len(self) - count)))

    # asking

    def ask(self, count: int, passes: int) -> dict:
        """Medians of a connection that asks so many tenants for the first time, and then again and again."""
        chosen = self._some(count + _WARM)
        steps, warm = self._queries(chosen[_WARM:]), self._queries(chosen[:_WARM])
        took = self.pool.one(self._load(steps * (1 + passes), warm, one_core=True)).took * 1e3
        untouched, touched = statistics.median(took[:count]), statistics.median(took[count:])
        return {"touched_ms": touched, "untouched_ms": untouched, "untouched_more_ms": untouched - touched}

    def page(self, after: str | None) -> dict:
        step = self.place.page(after)
        return {"list_ms": statistics.median(self.pool.one(self._load([step] * _PAGES, [step])).took) * 1e3}

    def middle(self) -> str:
        with self.context.connect(self.place.schema) as connection:
            return self.place.middle(connection, len(self) // 2)

    def counts(self) -> dict:
        loads = [self._load([self.place.counts()]) for _ in range(_COUNTS)]
        return {"stats_seconds": statistics.median(float(self.pool.one(load).took[0]) for load in loads)}

    def backend_growth(self, few: int, many: int) -> int:
        """Bytes by which the backend that has asked so many tenants is larger than it was after a few."""
        steps, held = self._queries(self._some(many)), []
        with self.context.connect(self.place.schema, self.place.session) as connection:
            for part in (steps[:few], steps[few:]):
                for step in part:
                    connection.execute(step.sql, step.parameters, binary=True).fetchall()
                held.append(memory.held_bytes(connection))
        return held[1] - held[0]

    # steps

    def _new(self, count: int) -> list[str]:
        self.high += count
        return [_name(number) for number in range(self.high - count, self.high)]

    def _some(self, count: int) -> list[str]:
        """So many of those that are there, in an order that tells nothing."""
        return [_name(number) for number in self.low + self.context.rng.permutation(len(self))[:count]]

    def _firsts(self, tenants: list[str]) -> list[Step]:
        return [self.place.first(tenant) for tenant in tenants]

    def _goners(self, count: int) -> list[Step]:
        self.low += count
        return [self.place.gone(_name(number)) for number in range(self.low - count, self.low)]

    def _queries(self, tenants: list[str]) -> list[Step]:
        vector = Vector(self.place.vector)
        return [self.place.query(vector, self.context.k, tenant) for tenant in tenants]

    def _load(self, steps: list[Step], warm=(), one_core=False) -> Load:
        """All steps once; what warms comes before, or nothing does."""
        return Load(
            self.context.dsn, self.place.schema, steps, self.place.session, warmup=0, warm=list(warm), one_core=one_core
        )


def _name(number: int) -> str:
    return f"n{number}"
