"""Data sets from files: a directory of .npy or .fvecs, an ann-benchmarks .hdf5, and the sample of this repository."""

from __future__ import annotations

import gzip
import json
import pathlib

import numpy as np

from .data import Dataset

#: Bases of file names, in the order they are looked for: (rows, queries).
_PAIRS = (
    ("base_minilm384_f16", "queries_minilm384_f16"),
    ("base_i8", "queries_f16"),
    ("base", "queries"),
    ("base", "query"),
)
#: What ann-benchmarks calls its distances.
_HDF5_METRICS = {"angular": "cosine", "euclidean": "euclidean", "dot": "dotproduct"}
#: Queries that are used; more would cost time and add nothing.
QUERIES = 1000


def load(path: pathlib.Path, seed: int, metric: str | None = None) -> Dataset:
    """The data set at `path`, its rows shuffled; `metric` where the files do not tell it (default cosine)."""
    if path.suffix in (".hdf5", ".h5"):
        dataset = _hdf5(path, metric)
    elif path.is_dir():
        dataset = _directory(path, metric or "cosine")
    elif path.suffix == ".fvecs":
        dataset = _single(path, metric or "cosine", seed)
    else:
        raise FileNotFoundError(f"{path} is neither a directory nor an .hdf5 or .fvecs file")
    if metric and dataset.metric != metric:
        raise ValueError(f"{path} says its metric is {dataset.metric}, not {metric}")
    return dataset.without_zeros().shuffled(seed)


def fvecs(path: pathlib.Path) -> np.ndarray:
    """Vectors of a file in which each is its dimension (int32) and its float32 elements."""
    raw = np.fromfile(path, "<i4")
    if not len(raw) or raw[0] < 1 or len(raw) % (raw[0] + 1):
        raise ValueError(f"{path} is not an .fvecs file")
    table = raw.reshape(-1, raw[0] + 1)
    if (table[:, 0] != raw[0]).any():
        raise ValueError(f"{path} has vectors of several dimensions")
    return table[:, 1:].view("<f4").astype(np.float32)


def _directory(path: pathlib.Path, metric: str) -> Dataset:
    for base_name, query_name in _PAIRS:
        base, queries = _vectors(path, base_name), _vectors(path, query_name)
        if base is not None and queries is not None:
            break
    else:
        names = ", ".join(f"{base} and {query}" for base, query in _PAIRS)
        raise FileNotFoundError(f"{path} has none of these as .npy or .fvecs: {names}")
    return Dataset(
        name=path.name,
        metric=metric,
        base=base,
        queries=queries[:QUERIES],
        tenants=_array(path / "base_tenant.npy"),
        query_tenants=_array(path / "queries_tenant.npy", QUERIES),
        metadata=_metadata(path / "base.jsonl.gz"),
        source=f"{path.name}/{base_name}",
    )


def _vectors(path: pathlib.Path, name: str) -> np.ndarray | None:
    found = _array(path / f"{name}.npy")
    if found is None and (path / f"{name}.fvecs").exists():
        found = fvecs(path / f"{name}.fvecs")
    return found


def _array(path: pathlib.Path, count: int | None = None) -> np.ndarray | None:
    return np.load(path)[:count] if path.exists() else None


#: What describes a row's place in its file and not the thing itself.
_NOT_METADATA = ("row", "id", "tenant")


def _metadata(path: pathlib.Path) -> list[dict] | None:
    """One flat JSON object a row, as both systems store it; nulls are left out."""
    if not path.exists():
        return None
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [
            {key: value for key, value in json.loads(line).items() if value is not None and key not in _NOT_METADATA}
            for line in lines
        ]


def _hdf5(path: pathlib.Path, metric: str | None) -> Dataset:
    import h5py  # only where such a file is given

    with h5py.File(path) as file:
        told = file.attrs.get("distance")
        told = told.decode() if isinstance(told, bytes) else told
        if told is not None and told not in _HDF5_METRICS:
            raise ValueError(f"{path}: {told} is a distance that Conifer does not have")
        return Dataset(
            name=path.stem,
            metric=_HDF5_METRICS[told] if told else metric or "cosine",
            base=file["train"][:],
            queries=file["test"][:QUERIES],
            source=path.name,
        )


def _single(path: pathlib.Path, metric: str, seed: int) -> Dataset:
    """One file of vectors only: some of them are taken out to be the queries."""
    vectors = fvecs(path)
    count = min(QUERIES, len(vectors) // 10)
    if not count:
        raise ValueError(f"{path} has too few vectors to take queries from")
    order = np.random.default_rng(seed).permutation(len(vectors))
    return Dataset(
        name=path.stem,
        metric=metric,
        base=vectors[np.sort(order[count:])],
        queries=vectors[order[:count]],
        source=f"{path.name}, {count} of its vectors taken out as queries with seed {seed}",
    )
