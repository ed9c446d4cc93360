"""(b) What it takes to have all rows ready to be searched: time, bytes on disk, bytes of WAL."""

from __future__ import annotations

from .. import measure
from ..conifer import Conifer
from ..context import Context
from ..pgvector import EF_CONSTRUCTION, M, Pgvector
from ..progress import part_of
from ..result import build, cell, measured, no_vector_index, notices, search_of, workers

LETTER = "b"
TITLE = "Load and build: time, bytes, WAL"


def sizes(context: Context) -> list[int]:
    full = len(context.dataset)
    return sorted({min(n, full) for n in context.scaled([10_000, full], [min(full, 10_000)], [500])})


def cost(context: Context) -> float:
    return context.scaled(80 * context.rounds, 8 * context.rounds, 3)


def run(context: Context) -> dict:
    cells, notes = [], []
    every = [(n, False) for n in sizes(context)]
    if context.dataset.tenants is not None:
        every.insert(-1, (every[-1][0], True))
    for number, (n, apart) in enumerate(every):
        found, said = _at(context, n, apart, part_of(context.progress, number, len(every)))
        cells += found
        notes += said
    setup = {
        "load": (
            "into what is made for it, partitions and the unique index among it, in one transaction: Conifer by pc_upsert "
            "in arrays of 1,000, pgvector by COPY BINARY; making it counts"
        ),
        "HNSW": f"m = {M}, ef_construction = {EF_CONSTRUCTION}, built over the loaded table",
        "bytes": "table with its TOAST; all indexes, the unique one on the id among them",
    }
    return measured(globals(), cells, setup, dict.fromkeys(notes))


def _at(context: Context, n: int, apart: bool, progress) -> tuple[list[dict], list[str]]:
    """Of `n` rows, all of one tenant or each tenant's kept apart: cells, and what the server said."""
    dataset = context.dataset
    rows = dataset.rows(slice(n))
    if not apart:
        rows = rows.together()
    tenants = len(set(rows.tenants)) if apart else 1
    parallel, tenancy = workers(), "partition" if apart else None
    attempts = [(Conifer(dataset.dimension, dataset.metric), parallel)]
    for hnsw, count in ((True, 0), (True, parallel), (False, 0)):
        attempts.append((Pgvector(dataset.dimension, dataset.metric, tenancy=tenancy, hnsw=hnsw), count))
    contestants = {
        (arrangement.name, count): _Attempt(context, arrangement, rows, count) for arrangement, count in attempts
    }
    rounds = measure.in_turns(contestants, context.rounds, context.noise, progress)
    cells = [
        cell(one.arrangement, {"n": n, "tenants": tenants, "search": one.search, "workers": key[1]}, rounds[key])
        for key, one in contestants.items()
    ]
    cells += no_vector_index(context, {"n": n, "tenants": tenants, "search": "vector index", "workers": parallel})
    return cells, notices([arrangement for arrangement, _ in attempts])


class _Attempt:
    """One build from nothing."""

    def __init__(self, context, arrangement, rows, count):
        self.context, self.arrangement, self.rows, self.count = context, arrangement, rows, count
        self.search = search_of(context, arrangement)

    def __call__(self) -> dict:
        with self.context.connect(self.arrangement.schema) as connection:
            try:
                built = build(connection, self.arrangement, self.rows, self.count)
                sizes = self.arrangement.sizes(connection)
            finally:
                self.arrangement.drop(connection)
        return {
            "load_seconds": built.load_seconds,
            "build_seconds": built.build_seconds,
            "ready_seconds": built.load_seconds + built.build_seconds,
            "table_bytes": sizes.table,
            "index_bytes": sizes.indexes,
            "vector_index_bytes": sizes.vector_index,
            "wal_bytes": built.load_wal + built.build_wal,
        }
