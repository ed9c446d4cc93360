"""(c) Writing into a full table: one record at a time, arrays of 1,000, COPY, and the WAL of a row."""

from __future__ import annotations

from .. import measure
from ..arrangement import Arrangement
from ..clients import Load
from ..conifer import Conifer
from ..context import Context
from ..data import Rows
from ..pgvector import Pgvector
from ..result import cell, measured, no_vector_index, search_of, standing
from ..system import Vector

LETTER = "c"
TITLE = "Writing into a full table"

#: Ways in, each with rows of its own; "replaced" writes over records that are there.
WAYS = ("one by one", "one by one, replaced", "arrays of 1,000", "COPY")
#: Rows written before the clock starts.
WARM = 5


def cost(context: Context) -> float:
    return context.scaled(80, 12, 3)


def counts(context: Context) -> dict[str, int]:
    """Rows a round by each way."""
    one, many = context.scaled((300, 2000), (200, 1000), (20, 50))
    return {"one by one": one, "one by one, replaced": one, "arrays of 1,000": many, "COPY": many}


def run(context: Context) -> dict:
    dataset = context.dataset
    a_round = sum(counts(context).values()) + WARM * len(WAYS)
    held_out = a_round * context.rounds
    total = min(len(dataset), context.scaled(len(dataset), 15_000, 1_000))
    n = total - held_out
    if n < total // 2:
        raise measure.ThrownAway(f"{total} rows are too few to hold {held_out} of them out")
    arrangements = [
        Conifer(dataset.dimension, dataset.metric),
        Pgvector(dataset.dimension, dataset.metric),
        Pgvector(dataset.dimension, dataset.metric, "item_exact", hnsw=False),
    ]
    context.progress(f"loading {n} rows", 0.0)
    with standing(context, arrangements, dataset.rows(slice(n)).together()):
        contestants = {
            (arrangement.name, way): _Writer(context, arrangement, way, n, total)
            for way in WAYS
            for arrangement in arrangements
        }
        rounds = measure.in_turns(contestants, context.rounds, context.noise, context.progress)
    cells = [
        cell(one.arrangement, {"n": n, "way": key[1], "search": one.search}, rounds[key])
        for key, one in contestants.items()
    ]
    for way in WAYS:
        cells += no_vector_index(context, {"n": n, "way": way, "search": "vector index"})
    setup = {
        "rows a round": counts(context),
        "rows": f"{n} loaded, indexed and vacuumed; then rows that were held out, each statement a transaction, one client",
        "WAL": "no checkpoint falls into the workload, so full-page images are those of new pages only",
    }
    return measured(globals(), cells, setup)


class _Writer:
    """One way into one arrangement; each round takes rows that none has taken, the same for every arrangement."""

    def __init__(self, context, arrangement: Arrangement, way, n, total):
        self.context, self.arrangement, self.way = context, arrangement, way
        self.search = search_of(context, arrangement)
        self.n = n
        self.count = counts(context)[way] + WARM
        # behind the rounds of the ways before
        before = WAYS[: WAYS.index(way)]
        self.next = n + sum(counts(context)[other] + WARM for other in before) * context.rounds
        self.rounds = 0

    def __call__(self) -> dict:
        rows = self._take()
        with self.context.connect(self.arrangement.schema) as connection, measure.Wal(connection) as wal:
            seconds = self._write(connection, rows)
        return {
            "rows_per_second": (len(rows) - WARM) / seconds,
            "wal_bytes_per_row": wal.bytes / len(rows),
        }

    def _take(self) -> Rows:
        rows = self.context.dataset.rows(slice(self.next, self.next + self.count)).together()
        self.next += self.count
        if self.way == "one by one, replaced":
            # new vectors under the ids of records that are there
            start = self.rounds * self.count
            rows.ids = [str((start + number) % self.n) for number in range(self.count)]
        self.rounds += 1
        return rows

    def _write(self, connection, rows: Rows) -> float:
        warm, rest = rows.pick(slice(WARM)), rows.pick(slice(WARM, None))
        if self.way == "COPY":
            self.arrangement.copy(connection, warm)
            return self.arrangement.copy(connection, rest)
        if self.way == "arrays of 1,000":
            return self._drive(
                [self.arrangement.upsert_many(warm)], map(self.arrangement.upsert_many, rest.batches(1000))
            )
        return self._drive(self._singles(warm), self._singles(rest))

    def _singles(self, rows: Rows) -> list:
        metadata = rows.metadata or [None] * len(rows)
        return [
            self.arrangement.upsert(id, Vector(vector), metadata=entry)
            for id, vector, entry in zip(rows.ids, rows.vectors, metadata, strict=True)
        ]

    def _drive(self, warm, steps) -> float:
        outcome = self.context.pool.one(Load(self.context.dsn, self.arrangement.schema, list(steps), warm=list(warm)))
        return float(outcome.began[-1] + outcome.took[-1])
