"""(i) The vector index itself, all rows in one namespace: build, inserts and their WAL, cold queries, memory, recall at each goal."""

from __future__ import annotations

import dataclasses
import statistics
import time

from .. import cold, lifecycle, measure, memory, system
from ..arrangement import Arrangement
from ..conifer import Conifer
from ..context import Context
from ..data import Truth
from ..pgvector import Pgvector
from ..progress import part_of
from ..result import (
    UNITS,
    built,
    cell,
    dropped,
    measured,
    notices,
    plan_of,
    query_load,
    query_metrics,
    reaching,
    workers,
)
from ..system import Vector

LETTER = "i"
TITLE = "The vector index itself"
#: The recall at which the two are asked.
GOAL = 0.95
#: Connections of a round whose very first query is timed, warm and after an eviction.
FIRST, EVICTED = 10, 5
#: How much of the table was written since the last checkpoint, and what that means for its WAL.
SINCE = {
    "long before": "all pages were written since the last checkpoint, so that only new ones go into the WAL whole",
    "just before": "each round's statement follows a checkpoint, so that every page it changes goes into the WAL whole",
}


def cost(context: Context) -> float:
    return context.scaled(260, 30, 4)


def sizes(context: Context) -> tuple[int, int]:
    """Rows that are built over, and rows that each statement inserts then."""
    total = min(len(context.dataset), context.scaled(len(context.dataset), 10_000, 900))
    statements = len(SINCE) * context.rounds
    count = min(total // 7 // statements, context.scaled(5_000, 1_000, 50))
    return total - statements * count, count


def run(context: Context) -> dict:
    if not (context.features.access_method and context.features.recall_setting):
        raise measure.NotBuilt("Conifer has no vector index yet: its queries are exact scans")
    n, count = sizes(context)
    context.progress("exact answers", 0.0)
    truth = context.truth(n, k=max(lifecycle.KS), queries=range(_queries(context)))
    cells, notes = _served(dataclasses.replace(context, progress=part_of(context.progress, 0, 2)), n, count, truth)
    cells += lifecycle.lived(dataclasses.replace(context, progress=part_of(context.progress, 1, 2)), n, truth)
    setup = {
        "rows": f"{n:,} loaded, indexed with {workers()} parallel workers beside the leader, vacuumed",
        "recall": f"of {len(truth.queries)} queries, each once; (a) has the whole curve of both",
        lifecycle.GROWN: "built over a half of the rows, the other half upserted; the deleted rows are drawn evenly",
        "at the recall": f"hot, cold and memory at the cheapest setting whose recall@{context.k} reaches {GOAL}",
        "first query": "of a new connection that has loaded the extension and asked nothing, median",
        "evicted": f"the same after {cold.MEANING}",
        "memory": f"private to the backend after {2 * _queries(context)} queries; idle: before the first",
        "inserts": f"{count:,} new rows in one statement of a new connection, once a round, into the full index",
        **{f"last checkpoint {name}": meaning for name, meaning in SINCE.items()},
        "full_page_writes": _full_page_writes(context),
    }
    return measured(globals(), cells, setup, notes)


def _queries(context: Context) -> int:
    return min(len(context.dataset.queries), context.scaled(1000, 200, 20))


def _full_page_writes(context: Context) -> str:
    with context.connect("pgv") as connection:
        return connection.execute("SHOW full_page_writes").fetchone()[0]


def _served(context: Context, n: int, count: int, truth: Truth) -> tuple[list[dict], list[str]]:
    """Both stand side by side: recall and hot queries first, then inserts; evictions last, for they need checkpoints."""
    dataset = context.dataset
    rows = dataset.rows(slice(n)).together()
    conifer, hnsw = Conifer(dataset.dimension, dataset.metric), Pgvector(dataset.dimension, dataset.metric)
    arrangements = [conifer] if context.alone else [conifer, hnsw]
    try:
        index = {}
        for number, arrangement in enumerate(arrangements):
            context.progress(f"builds {arrangement.name}", 0.1 + 0.2 * number)
            index[arrangement] = built(context, arrangement, rows)
        context.progress(lifecycle.BUILT, 0.5)
        cells = lifecycle.recalls(context, conifer, truth, lifecycle.BUILT, n)
        near = truth.nearest(context.k)
        asked = {one: _Asked(context, one, *reaching(context, one, near, GOAL), truth) for one in arrangements}
        step = {one: one.query(Vector(dataset.queries[0]), context.k) for one in arrangements}
        plans = {one: plan_of(context, one, asked[one].setting, step[one]) for one in arrangements}
        hot = measure.in_turns({one: asked[one].hot for one in arrangements}, context.rounds, context.noise)
        writes, start = {}, n
        for since in SINCE:
            context.progress(f"inserts, last checkpoint {since}", 0.7)
            inserts = {
                (one, since): _Inserts(context, one, start, count, checkpoint=since == "just before")
                for one in arrangements
            }
            writes |= measure.in_turns(inserts, context.rounds, context.noise)
            start += count * context.rounds
        evicted, evicts = {}, cold.can_evict(context)
        if evicts:
            context.progress("evicted", 0.9)
            for arrangement in arrangements:
                lifecycle.settle(context, arrangement)
            evicted = measure.in_turns({one: asked[one].evicted for one in arrangements}, context.rounds, context.noise)
    finally:
        dropped(context, arrangements)
    for arrangement, rounds in hot.items():
        parameters = {"n": n, "k": context.k, "clients": 1, "workers": workers(), **asked[arrangement].setting}
        parameters["plan"] = plans[arrangement]
        found = cell(arrangement, parameters, rounds)
        found["metrics"] |= measure.summarise([index[arrangement]], UNITS)
        found["metrics"] |= measure.summarise(evicted.get(arrangement, []), UNITS)
        cells.append(found)
    for (arrangement, since), rounds in writes.items():
        cells.append(cell(arrangement, {"n": n, "last checkpoint": since, "rows a statement": count}, rounds))
    unknown = [] if evicts else [cold.NOT_KNOWN]
    unknown += [] if all("backend_bytes" in rounds[0] for rounds in hot.values()) else [memory.NOT_KNOWN]
    return cells, [*notices(arrangements), *unknown]


class _Asked:
    """One arrangement at the setting it was found to need."""

    def __init__(self, context, arrangement: Arrangement, setting: dict, recall: float, truth: Truth):
        self.context, self.arrangement, self.setting, self.recall = context, arrangement, setting, recall
        self.queries = context.dataset.queries[truth.queries]
        self.next = 0

    def hot(self) -> dict:
        """Asked over and over, then the first queries of new connections, and what a backend came to hold."""
        load = query_load(self.context, self.arrangement, self.queries, self.setting, seconds=self.context.seconds)
        outcome = self.context.pool.run([load])
        first = statistics.median(self._first() for _ in range(FIRST))
        return {"recall": self.recall, **query_metrics(outcome), "first_ms": first, **self._memory()}

    def evicted(self) -> dict:
        return {"evicted_ms": statistics.median(self._evicted() for _ in range(EVICTED))}

    def _evicted(self) -> float:
        cold.evict(self.context)
        return self._first()

    def _first(self) -> float:
        """Of a new connection, each time another query, in ms."""
        query = self.queries[self.next % len(self.queries)]
        self.next += 1
        load = query_load(self.context, self.arrangement, [query], self.setting, warmup=0)
        return float(self.context.pool.one(load).took[0]) * 1e3

    def _memory(self) -> dict:
        settings = self.arrangement.session | self.setting
        with self.context.connect(self.arrangement.schema, settings) as connection:
            idle = memory.private_bytes(connection)
            for query in [*self.queries, *self.queries]:
                step = self.arrangement.query(Vector(query), self.context.k)
                connection.execute(step.sql, step.parameters, prepare=True, binary=True).fetchall()
            after = memory.private_bytes(connection)
        return {} if None in (idle, after) else {"backend_idle_bytes": idle, "backend_bytes": after}


class _Inserts:
    """Rows that were held out, so many by one statement of a new connection each round."""

    def __init__(self, context, arrangement: Arrangement, start: int, count: int, checkpoint: bool):
        self.context, self.arrangement, self.next, self.count = context, arrangement, start, count
        self.checkpoint = checkpoint

    def __call__(self) -> dict:
        rows = self.context.dataset.rows(slice(self.next, self.next + self.count)).together()
        self.next += self.count
        step = self.arrangement.upsert_many(rows)
        if self.checkpoint:
            system.checkpoint(self.context.dsn)
        with self.context.connect(self.arrangement.schema) as connection:
            images = _page_images(connection)
            with measure.Wal(connection) as wal:
                begun = time.perf_counter()
                connection.execute(step.sql, step.parameters)
                seconds = time.perf_counter() - begun
            images = _page_images(connection) - images
        return {
            "wal_bytes_per_row": wal.bytes / len(rows),
            "page_images_per_row": images / len(rows),
            "insert_ms": seconds * 1e3 / len(rows),
        }


def _page_images(connection) -> int:
    """Pages that went into the WAL whole since the server's statistics began; this connection's own are all counted."""
    connection.execute("SELECT pg_stat_force_next_flush()")
    return connection.execute("SELECT wal_fpi FROM pg_stat_wal").fetchone()[0]
