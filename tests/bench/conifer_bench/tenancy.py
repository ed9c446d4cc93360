"""pgvector's ways of keeping many tenants apart beyond those of `pgvector`, and a sample of tenants to be asked."""

from __future__ import annotations

import dataclasses

import numpy as np

from .arrangement import Arrangement, copy_binary
from .clients import Step
from .data import Dataset, Truth, exact
from .pgvector import INLINE, Pgvector
from .system import Vector

#: Lower ends of the bins of tenants by their rows.
BINS = (1, 10, 100, 1_000, 10_000)


class ThroughParent(Pgvector):
    """Partitions that an application reaches by the parent's name and the tenant's, as ordinary SQL does."""

    def __init__(self, dimension, metric, table, *, hnsw):
        super().__init__(dimension, metric, table, tenancy="partition", hnsw=hnsw)
        self.name += ", through the parent"

    def _target(self, tenant):
        return self.table

    def _tenant(self, tenant):
        return ["tenant = %b"], [tenant]


class SharedTable(Pgvector):
    """One table for all; an iterative scan goes on until k rows of the tenant are found, or all rows are through."""

    def __init__(self, dimension, metric, table, *, most: int):
        super().__init__(dimension, metric, table, tenancy="column", iterative="strict_order")
        self.most = max(most, 20_000)

    def settings(self, features, k):
        return [setting | {"hnsw.max_scan_tuples": self.most} for setting in super().settings(features, k)]


class TablePerTenant(Pgvector):
    """Tables without a parent: a partition's creation costs the more the more there are, a table's does not."""

    #: Dropped so many at a time: each holds several locks until the transaction ends.
    _AT_ONCE = 100

    def __init__(self, dimension, metric, table, *, hnsw):
        super().__init__(dimension, metric, table, hnsw=hnsw)
        self.name = f"table per tenant, {'HNSW' if hnsw else 'exact'}"

    def create(self, connection, tenants=None):
        for tenant in tenants or []:
            self.add_tenant(connection, tenant)

    def add_tenant(self, connection, tenant):
        name = f"{self.table}_{len(self.partitions)}"
        connection.execute(
            f"CREATE TABLE {name} (id text PRIMARY KEY, embedding vector({self.dimension}) STORAGE main NOT NULL, "
            f"metadata jsonb) WITH ({INLINE})"
        )
        self.partitions[tenant] = name

    def copy(self, connection, rows):
        return sum(
            copy_binary(
                connection, f"{self._target(tenant)} (id, embedding, metadata)", [one[1:] for one in self.records(part)]
            )
            for tenant, part in rows.by_tenant()
        )

    def settle(self, connection):
        for tables in self._some():
            connection.execute(f"VACUUM ANALYZE {tables}")

    def drop(self, connection):
        for tables in self._some():
            connection.execute(f"DROP TABLE IF EXISTS {tables}")
        self.partitions.clear()

    def _some(self):
        tables = list(self.partitions.values())
        return [", ".join(tables[start : start + self._AT_ONCE]) for start in range(0, len(tables), self._AT_ONCE)]

    def _target(self, tenant):
        return self.partitions[tenant]


def bin_of(rows: int) -> str:
    """The bin of a tenant with so many rows."""
    place = int(np.searchsorted(BINS, rows, side="right")) - 1
    low = BINS[place]
    return f"{low:,}–{BINS[place + 1] - 1:,}" if place + 1 < len(BINS) else f"{low:,} and more"


@dataclasses.dataclass
class Question:
    """One query of one tenant, and what there is to be found."""

    tenant: str
    rows: int
    query: np.ndarray
    truth: Truth

    @property
    def bin(self) -> str:
        return bin_of(self.rows)

    def step(self, arrangement: Arrangement, k: int) -> Step:
        return arrangement.query(Vector(self.query), k, self.tenant)


@dataclasses.dataclass
class Sample:
    """Tenants drawn evenly from each bin, so that the few large ones are seen as well as the many small."""

    #: Every tenant of the sample once, in an order that tells nothing; as many such passes as wanted.
    passes: list[list[Question]]
    #: A tenant that is in no pass: what a connection may be warmed with.
    other: Question
    #: Mean rows of a bin's tenants in the sample, and how many these are; the smallest bin first.
    bins: dict[str, tuple[int, int]]


def sample(dataset: Dataset, k: int, a_bin: int, passes: int, seed: int) -> Sample:
    """Draws at most `a_bin` tenants of each bin, and a query for each tenant in each pass."""
    random = np.random.default_rng(seed)
    tenants, counts = np.unique(dataset.tenants, return_counts=True)
    order = random.permutation(len(tenants))
    # One is kept out of the sample: the most frequent size, so that no bin misses it.
    other, order = order[0], order[1:]
    chosen, bins = [], {}
    for low, high in zip(BINS, [*BINS[1:], np.inf], strict=True):
        members = [place for place in order if low <= counts[place] < high][:a_bin]
        if members:
            bins[bin_of(low)] = (round(float(np.mean(counts[members]))), len(members))
            chosen += members

    def question(place) -> Question:
        rows = np.flatnonzero(dataset.tenants == tenants[place])
        query = _query_of(dataset, tenants[place], random)
        truth = exact(dataset, k, rows, [query])
        return Question(dataset.tenant_name(tenants[place]), len(rows), dataset.queries[query], truth)

    asked = [[question(place) for place in random.permutation(chosen)] for _ in range(passes)]
    return Sample(asked, question(other), bins)


def _query_of(dataset: Dataset, tenant, random) -> int:
    """A query of this tenant's, where queries have tenants and one of them is its; else any."""
    if dataset.query_tenants is not None:
        its = np.flatnonzero(dataset.query_tenants == tenant)
        if len(its):
            return int(random.choice(its))
    return int(random.integers(len(dataset.queries)))
