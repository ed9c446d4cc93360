"""Filters of known selectivity: the metadata that makes them so, the same question to each system, pgvector's tables for them."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from .arrangement import timed
from .conifer import Conifer
from .data import Dataset, distances
from .generate import SHARES
from .pgvector import Pgvector

#: Of two equalities each holds for some more rows, one of which the other does not hold: so many, as a share of all.
EXTRA = {"half": 0.1, "tenth": 0.05, "hundredth": 0.01, "thousandth": 0.005}
REST = "rest"


@dataclasses.dataclass(frozen=True)
class Filter:
    """One question, in each system's words."""

    kind: str
    value: str
    correlated: bool
    #: In the language of pc_query.
    conifer: dict
    #: On the metadata as jsonb, in the form that a GIN index serves.
    jsonb: str
    #: On typed columns, in the form that a B-tree index serves; None where the column is a list.
    columns: str | None

    @property
    def selectivity(self) -> float:
        return SHARES[self.value]


def made_metadata(dataset: Dataset, seed: int) -> list[dict]:
    """Metadata for every row, of which exactly the shares pass; `near` goes by the distance to one of the rows."""
    n = len(dataset)
    random = np.random.default_rng(seed)
    anchor = dataclasses.replace(dataset, queries=dataset.base[random.integers(n)][None], query_tenants=None)
    nearest = np.argsort(distances(dataset.base, anchor.queries, dataset.metric)[0], kind="stable")
    # The smallest share nearest to the anchor.
    near = _blocks(nearest, dict(reversed(SHARES.items())))
    plain = _blocks(random.permutation(n), SHARES)
    number = random.permutation(n)
    tags = _blocks(random.permutation(n), SHARES)
    shape, size = _pairs(random.permutation(n))
    common = random.integers(0, 20, (n, 2))
    return [
        {
            "class": plain[row],
            "near": near[row],
            "number": int(number[row]),
            # of those with a tag of the share, one half has it as the one value and the other as the other
            "tags": [f"{tags[row]}-{row % 2}", *(f"common-{other}" for other in common[row])],
            "shape": shape[row],
            "size": size[row],
        }
        for row in range(n)
    ]


def _blocks(order: np.ndarray, shares: dict[str, float]) -> list[str]:
    """A value for each row: the first rows of the order have the first, and so on; what is left has `rest`."""
    found = np.full(len(order), REST, object)
    start = 0
    for value, share in shares.items():
        end = start + round(share * len(order))
        found[order[start:end]] = value
        start = end
    return found.tolist()


def _pairs(order: np.ndarray) -> tuple[list[str], list[str]]:
    """Two values for each row: both hold for the share, and each for EXTRA more."""
    shape, size = (np.full(len(order), REST, object) for _ in range(2))
    start = 0
    for value, share in SHARES.items():
        both, more = round(share * len(order)), round(EXTRA[value] * len(order))
        shape[order[start : start + both + more]] = value
        size[order[start : start + both]] = value
        size[order[start + both + more : start + both + 2 * more]] = value
        start += both + 2 * more
    return shape.tolist(), size.tolist()


def equality(value: str, correlated: bool) -> Filter:
    key = "near" if correlated else "class"
    return Filter("equality", value, correlated, {key: value}, _contains({key: value}), f"{key} = '{value}'")


def membership(value: str) -> Filter:
    """One of two values in a list."""
    wanted = [f"{value}-0", f"{value}-1"]
    either = " OR ".join(_contains({"tags": [one]}) for one in wanted)
    return Filter("$in on a list", value, False, {"tags": {"$in": wanted}}, f"({either})", None)


def span(value: str, n: int) -> Filter:
    """A range of numbers."""
    low = n // 5
    high = low + round(SHARES[value] * n)
    jsonb = f"(metadata ->> 'number')::int >= {low} AND (metadata ->> 'number')::int < {high}"
    asked = {"number": {"$gte": low, "$lt": high}}
    return Filter("range", value, False, asked, jsonb, f"number >= {low} AND number < {high}")


def both(value: str) -> Filter:
    """Two equalities, each of which holds for more rows than both."""
    asked = {"shape": value, "size": value}
    return Filter("two equalities", value, False, asked, _contains(asked), f"shape = '{value}' AND size = '{value}'")


def passes(filter: Filter, entry: dict) -> bool:
    """Whether a row with this metadata passes: for the exact answers, written apart from both systems."""
    if filter.kind == "$in on a list":
        return not set(filter.conifer["tags"]["$in"]).isdisjoint(entry["tags"])
    if filter.kind == "range":
        return filter.conifer["number"]["$gte"] <= entry["number"] < filter.conifer["number"]["$lt"]
    return all(entry[key] == value for key, value in filter.conifer.items())


def _contains(part: dict) -> str:
    return f"metadata @> '{json.dumps(part)}'"


class FilteredNamespace(Conifer):
    """One namespace; `by`: no index but its own, or ordinary ones on the metadata, "B-tree" or "GIN"."""

    _INDEXES = {
        None: [],
        "B-tree": ["btree (pc_number(metadata, 'number'))"],
        "GIN": ["gin (metadata jsonb_path_ops)"],
    }

    def __init__(self, dimension, metric, table="item", *, by=None):
        super().__init__(dimension, metric, table)
        self._by = by
        if by:
            self.name = f"{self.name}, {by}"

    def index(self, connection, workers=0):
        seconds = super().index(connection, workers)
        more = [f'CREATE INDEX ON "{self.table}" USING {one}' for one in self._INDEXES[self._by]]
        return seconds + timed(connection, more)

    def settings(self, features, k):
        return [setting for setting in super().settings(features, k) if 0.9 <= setting.get("conifer.recall", 0.9) < 1]

    def serves(self, filter: Filter) -> bool:
        """Whether its index can be used; else it is no more than the namespace without one."""
        return self._by is None or (self._by == "B-tree") == (filter.kind == "range")


class FilteredTable(Pgvector):
    """One table whose metadata is there as jsonb and as typed columns; `by`: None, "B-tree" or "GIN"."""

    COLUMNS = {"class": "text", "near": "text", "number": "int", "shape": "text", "size": "text"}
    _INDEXES = {
        None: [],
        "B-tree": ["btree (class)", "btree (near)", "btree (number)", "btree (shape, size)"],
        "GIN": ["gin (metadata jsonb_path_ops)"],
    }

    def __init__(self, dimension, metric, table, *, hnsw=False, by=None, iterative=None, settings=None):
        super().__init__(dimension, metric, table, hnsw=hnsw, iterative=iterative)
        self.by, self._settings = by, settings or [{}]
        if by:
            self.name = f"one table, {by}, then exact"

    def create(self, connection, tenants=None):
        super().create(connection, tenants)
        for name, kind in self.COLUMNS.items():
            connection.execute(
                f"ALTER TABLE {self.table} ADD {name} {kind} GENERATED ALWAYS AS ((metadata ->> '{name}')::{kind}) STORED"
            )

    def index(self, connection, workers=0):
        seconds = super().index(connection, workers)
        return seconds + timed(
            connection, [f"CREATE INDEX ON {self.table} USING {one}" for one in self._INDEXES[self.by]]
        )

    def settings(self, features, k):
        return self._settings

    def condition(self, where: Filter) -> str:
        """Typed columns where there are any: they are cheaper to look at than jsonb."""
        return where.jsonb if self.by == "GIN" or where.columns is None else where.columns

    def serves(self, filter: Filter) -> bool:
        """Whether its index can be used; else it is no more than the table without one."""
        return not (self.by == "B-tree" and filter.columns is None or self.by == "GIN" and filter.kind == "range")
