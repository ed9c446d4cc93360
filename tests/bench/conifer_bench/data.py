"""What is searched: vectors, queries, tenants and metadata, and the exact answers to the queries."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib

import numpy as np

METRICS = ("cosine", "dotproduct", "euclidean")
#: Rows whose distances are computed at once.
BLOCK = 20_000


@dataclasses.dataclass
class Rows:
    """Records to be stored: the same for both systems."""

    ids: list[str]
    vectors: np.ndarray
    tenants: list[str] | None = None
    metadata: list[dict] | None = None

    def __len__(self):
        return len(self.ids)

    def pick(self, selection) -> Rows:
        """Some of them, by a slice or an array of positions."""
        positions = np.arange(len(self))[selection]
        return Rows(
            [self.ids[p] for p in positions],
            self.vectors[selection],
            self.tenants and [self.tenants[p] for p in positions],
            self.metadata and [self.metadata[p] for p in positions],
        )

    def together(self) -> Rows:
        """The same rows as one tenant's."""
        return dataclasses.replace(self, tenants=None)

    def batches(self, size: int) -> list[Rows]:
        return [self.pick(slice(start, start + size)) for start in range(0, len(self), size)]

    def by_tenant(self) -> list[tuple[str, Rows]]:
        """Each tenant's rows, in the order of their names."""
        names = np.asarray(self.tenants)
        order = np.argsort(names, kind="stable")
        found, starts = np.unique(names[order], return_index=True)
        return [(str(name), self.pick(part)) for name, part in zip(found, np.split(order, starts[1:]), strict=True)]


@dataclasses.dataclass
class Dataset:
    """`base` and `queries` are float32; `tenants` and `query_tenants` are tenant numbers."""

    name: str
    metric: str
    base: np.ndarray
    queries: np.ndarray
    tenants: np.ndarray | None = None
    query_tenants: np.ndarray | None = None
    metadata: list[dict] | None = None
    #: What must be known to have the same data again: file names, seeds.
    source: str = ""

    def __post_init__(self):
        self.base = np.ascontiguousarray(self.base, np.float32)
        self.queries = np.ascontiguousarray(self.queries, np.float32)
        if self.metric not in METRICS:
            raise ValueError(f"metric {self.metric} is none of {', '.join(METRICS)}")
        if self.base.ndim != 2 or self.queries.ndim != 2 or self.base.shape[1] != self.queries.shape[1]:
            raise ValueError(f"shapes {self.base.shape} and {self.queries.shape} are not those of rows and queries")
        if not (np.isfinite(self.base).all() and np.isfinite(self.queries).all()):
            raise ValueError(f"{self.name} has vectors that are not finite")
        for name, count in (("tenants", len(self)), ("metadata", len(self)), ("query_tenants", len(self.queries))):
            part = getattr(self, name)
            if part is not None and len(part) != count:
                raise ValueError(f"{name} has {len(part)} entries, not {count}")

    def __len__(self):
        return len(self.base)

    @property
    def dimension(self) -> int:
        return self.base.shape[1]

    def tenant_name(self, number) -> str:
        return f"tenant-{number}"

    def rows(self, selection=slice(None)) -> Rows:
        """Records of these rows; a record's id is its row number, so that answers can be compared with the truth."""
        positions = np.arange(len(self))[selection]
        return Rows(
            [str(p) for p in positions],
            # by the selection itself: a slice copies nothing, and a million rows are gigabytes
            self.base[selection],
            None if self.tenants is None else [self.tenant_name(t) for t in self.tenants[positions]],
            self.metadata and [self.metadata[p] for p in positions],
        )

    def head(self, count: int) -> Dataset:
        """Its first rows; loaders have shuffled them."""
        if count >= len(self):
            return self
        return dataclasses.replace(self.pick(np.arange(count)), name=f"{self.name}, first {count}")

    def pick(self, rows: np.ndarray) -> Dataset:
        """These rows, in this order."""
        return dataclasses.replace(
            self,
            base=self.base[rows],
            tenants=None if self.tenants is None else np.asarray(self.tenants)[rows],
            metadata=self.metadata and [self.metadata[row] for row in rows],
        )

    def columns(self, count: int) -> Dataset:
        """Its first columns alone, at norm 1 again where the metric sees only directions."""
        if not 1 <= count <= self.dimension:
            raise ValueError(f"{self.name} has {self.dimension} dimensions: {count} of them cannot be taken")
        said = f"first {count} of {self.dimension} columns"
        base, queries = self.base[:, :count], self.queries[:, :count]
        cut = dataclasses.replace(self, base=base, queries=queries, name=f"{self.name}, {said}")
        if self.metric != "cosine":
            return dataclasses.replace(cut, source=f"{self.source}; {said}")
        # what lay in the other columns alone has no direction left
        cut = dataclasses.replace(cut, source=f"{self.source}; {said}, renormalised").without_zeros()
        return dataclasses.replace(cut, base=normalised(cut.base), queries=normalised(cut.queries))

    def without_zeros(self) -> Dataset:
        """Under cosine a vector of zeros is as near to one as to another: Conifer refuses it, and HNSW leaves it out."""
        if self.metric != "cosine":
            return self
        rows, queries = self.base.any(axis=1), self.queries.any(axis=1)
        if rows.all() and queries.all():
            return self
        return dataclasses.replace(
            self.pick(np.flatnonzero(rows)),
            queries=self.queries[queries],
            query_tenants=None if self.query_tenants is None else self.query_tenants[queries],
            source=f"{self.source}; {(~rows).sum()} rows and {(~queries).sum()} queries of zeros left out",
        )

    def shuffled(self, seed: int) -> Dataset:
        """The same in an order that tells nothing: files are often sorted, and a first part must stand for the whole."""
        order = np.random.default_rng(seed).permutation(len(self))
        return dataclasses.replace(self.pick(order), source=f"{self.source}; rows shuffled with seed {seed}")


def normalised(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def distances(base: np.ndarray, queries: np.ndarray, metric: str) -> np.ndarray:
    """[q, n] in float64, smaller is nearer, as the SQL operators order: squares in the place of Euclidean distances."""
    base, queries = base.astype(np.float64), queries.astype(np.float64)
    products = queries @ base.T
    if metric == "dotproduct":
        return -products
    norms = np.einsum("ij,ij->i", base, base)
    query_norms = np.einsum("ij,ij->i", queries, queries)[:, None]
    if metric == "euclidean":
        return np.maximum(norms + query_norms - 2 * products, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = 1 - products / np.sqrt(norms * query_norms)
    return np.where(np.isnan(found), np.inf, found)


@dataclasses.dataclass
class Truth:
    """The exact nearest rows of each query, ties by row number, and what judges an answer by them."""

    rows: np.ndarray
    distances: np.ndarray
    dataset: Dataset
    #: Which of the data set's queries, one for each line of `rows`.
    queries: np.ndarray

    def nearest(self, k: int) -> Truth:
        """The same with fewer of the nearest: the first k of each line."""
        return dataclasses.replace(self, rows=self.rows[:, :k], distances=self.distances[:, :k])

    def recall(self, found: list[list[int]]) -> float:
        """Mean share of each query's k nearest that were found.

        A row as near as the k-th counts whichever of equals the truth names: real data has many. `found` holds row
        numbers, a list for each query.
        """
        return float(np.mean([self.hits(line, rows) for line, rows in enumerate(found)]))

    def hits(self, line: int, found: list[int]) -> float:
        """The share of one query's nearest that were found; 1 where there are none to find."""
        wanted = int(np.isfinite(self.distances[line]).sum())
        if wanted == 0:
            return 1.0
        found = list(dict.fromkeys(int(row) for row in found))
        if not found:
            return 0.0
        query = self.dataset.queries[self.queries[line]][None]
        near = distances(self.dataset.base[found], query, self.dataset.metric)[0]
        worst = self.distances[line][wanted - 1]
        return min(int((near <= worst + 1e-6 * max(1.0, abs(worst))).sum()), wanted) / wanted


def exact(dataset: Dataset, k: int, rows=None, queries=None, cache: pathlib.Path | None = None) -> Truth:
    """The k nearest of `rows` (row numbers; None: all) to each of `queries` (their numbers; None: all), kept in `cache`.

    Fewer than k rows: lines end in row -1 at an infinite distance.
    """
    rows = np.arange(len(dataset)) if rows is None else np.asarray(rows)
    queries = np.arange(len(dataset.queries)) if queries is None else np.asarray(queries)
    path = cache and cache / f"truth-{_key(dataset, k, rows, queries)}.npz"
    if path and path.exists():
        with np.load(path) as kept:
            return Truth(kept["rows"], kept["distances"], dataset, queries)
    best = np.full((len(queries), k), -1, np.int64)
    near = np.full((len(queries), k), np.inf)
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        new = distances(dataset.base[part], dataset.queries[queries], dataset.metric)
        candidates = np.concatenate([near, new], axis=1)
        numbers = np.concatenate([best, np.broadcast_to(part, new.shape)], axis=1)
        for line in range(len(queries)):
            limit = np.partition(candidates[line], k - 1)[k - 1]
            chosen = np.flatnonzero(candidates[line] <= limit)
            order = np.lexsort((numbers[line][chosen], candidates[line][chosen]))[:k]
            near[line], best[line] = candidates[line][chosen][order], numbers[line][chosen][order]
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, rows=best, distances=near)
        partial.replace(path)
    return Truth(best, near, dataset, queries)


def _key(dataset: Dataset, k: int, rows: np.ndarray, queries: np.ndarray) -> str:
    """Names what the answers depend on, the vectors themselves among it."""
    digest = hashlib.sha256(f"{dataset.metric} {k} {dataset.base.shape}".encode())
    for part in (rows, queries):
        digest.update(np.ascontiguousarray(part).tobytes())
    for vectors, chosen in ((dataset.base, rows), (dataset.queries, queries)):
        # block by block: the copy of a million rows would be gigabytes
        for start in range(0, len(chosen), BLOCK):
            digest.update(np.ascontiguousarray(vectors[chosen[start : start + BLOCK]]).tobytes())
    return digest.hexdigest()[:24]
