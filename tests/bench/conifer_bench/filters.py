"""Filters of known selectivity: the metadata that makes them so, the same question to each system, pgvector's tables for them."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
import re

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
        """The share that passes; of own metadata about that."""
        return SHARES[self.value]

    @property
    def is_range(self) -> bool:
        return any(isinstance(wanted, dict) and "$in" not in wanted for wanted in self.conifer.values())


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
    return all(_holds(entry.get(key), wanted) for key, wanted in filter.conifer.items())


def _holds(value, wanted) -> bool:
    values = value if isinstance(value, list) else [value]
    if not isinstance(wanted, dict):
        return wanted in values
    if "$in" in wanted:
        return not set(wanted["$in"]).isdisjoint(values)
    return value is not None and wanted["$gte"] <= value < wanted["$lt"]


#: The fields of debian-minilm384 that are asked for, and what a filter's share may be of the share it stands for.
OWN = ("section", "architecture", "maintainer_domain", "installed_size", "tags")
_ABOUT = 1.6


def own(metadata: list[dict]) -> list[Filter]:
    """Filters on the data's own metadata, for each share those that about so many rows pass."""
    counts = {field: collections.Counter() for field in OWN}
    for entry in metadata:
        for field, counter in counts.items():
            value = entry.get(field, [])
            counter.update(value if isinstance(value, list) else [value])
    sizes = sorted(entry.get("installed_size", 0) for entry in metadata)
    found = []
    for name, share in SHARES.items():
        wanted = share * len(metadata)
        for field in ("section", "maintainer_domain"):
            if value := _nearest(counts[field], wanted):
                found.append(_own("own, " + field, name, {field: value}, f"{field} = '{value}'"))
        if value := _nearest(counts["tags"], wanted):
            found.append(_own("own, tags", name, {"tags": value}, None))
        # There are fewer ties among the larger ones.
        first = len(metadata) * 2 // 5
        low = sizes[first]
        high = max(sizes[first + round(wanted)], low + 1)
        span = {"installed_size": {"$gte": low, "$lt": high}}
        found.append(_own("own, size", name, span, f"installed_size >= {low} AND installed_size < {high}"))
        pairs = collections.Counter((entry.get("section"), entry.get("architecture")) for entry in metadata)
        if pair := _nearest(pairs, wanted):
            both = f"section = '{pair[0]}' AND architecture = '{pair[1]}'"
            found.append(_own("own, section and architecture", name, dict(zip(("section", "architecture"), pair)), both))
    return found


def _nearest(counter: collections.Counter, wanted: float):
    """The value that about so many have; None if there is none."""
    value, count = min(counter.items(), key=lambda pair: (abs(math.log(pair[1] / wanted)), str(pair[0])))
    return value if 1 / _ABOUT <= count / wanted <= _ABOUT else None


def _own(kind: str, name: str, asked: dict, columns: str | None) -> Filter:
    ranged = any(isinstance(wanted, dict) for wanted in asked.values())
    by_list = {key: [value] if key == "tags" else value for key, value in asked.items()}
    jsonb = re.sub(r"\b(installed_size)\b", r"(metadata ->> '\1')::int", columns) if ranged else _contains(by_list)
    return Filter(kind, name, False, asked, jsonb, columns)


def _contains(part: dict) -> str:
    return f"metadata @> '{json.dumps(part)}'"


#: Columns of made metadata and of the data's own, and what B-tree indexes there are on them.
MADE = (
    {"class": "text", "near": "text", "number": "int", "shape": "text", "size": "text"},
    ["class", "near", "number", "shape, size"],
)
OWN_COLUMNS = (
    {"section": "text", "architecture": "text", "maintainer_domain": "text", "installed_size": "int"},
    ["section, architecture", "maintainer_domain", "installed_size"],
)


def _indexes(by: str | None, columns, expression) -> list[str]:
    """An arrangement's ordinary indexes; `expression` makes one of a column's name and type."""
    types, b_trees = columns
    keys = [[expression(name, types[name]) for name in b_tree.split(", ")] for b_tree in b_trees]
    return {
        None: [],
        "B-tree": [f"btree ({', '.join(key)})" for key in keys],
        "GIN": ["gin (metadata jsonb_path_ops)"],
    }[by]


def _field(name: str, kind: str) -> str:
    """A field as Conifer's B-tree indexes have it."""
    return f"pc_number(metadata, '{name}')" if kind == "int" else f"pc_string(metadata, '{name}') COLLATE \"C\""


def _serves(by: str | None, filter: Filter) -> bool:
    """Whether the index can be used; else the arrangement is no more than the one without."""
    return not (by == "B-tree" and filter.columns is None or by == "GIN" and filter.is_range)


class FilteredNamespace(Conifer):
    """One namespace; `by`: no index but its own, or ordinary ones on the metadata, "B-tree" or "GIN"."""

    def __init__(self, dimension, metric, table="item", *, by=None, columns=MADE):
        super().__init__(dimension, metric, table)
        self._by = by
        self._indexes = _indexes(by, columns, _field)
        if by:
            self.name = f"{self.name}, {by}"

    def index(self, connection, workers=0):
        seconds = super().index(connection, workers)
        more = [f'CREATE INDEX ON "{self.table}" USING {one}' for one in self._indexes]
        return seconds + timed(connection, more)

    def settings(self, features, k):
        return [setting for setting in super().settings(features, k) if 0.9 <= setting.get("conifer.recall", 0.9) < 1]

    def serves(self, filter: Filter) -> bool:
        """Whether its index can be used; else it is no more than the namespace without one."""
        return _serves(self._by, filter)


class FilteredTable(Pgvector):
    """One table whose metadata is there as jsonb and as typed columns; `by`: None, "B-tree" or "GIN"."""

    def __init__(self, dimension, metric, table, *, hnsw=False, by=None, iterative=None, settings=None, columns=MADE):
        super().__init__(dimension, metric, table, hnsw=hnsw, iterative=iterative)
        self.by, self._settings = by, settings or [{}]
        self.columns, _ = columns
        self._indexes = _indexes(by, columns, lambda name, kind: name)
        if by:
            self.name = f"one table, {by}, then exact"

    def create(self, connection, tenants=None):
        super().create(connection, tenants)
        for name, kind in self.columns.items():
            connection.execute(
                f"ALTER TABLE {self.table} ADD {name} {kind} GENERATED ALWAYS AS ((metadata ->> '{name}')::{kind}) STORED"
            )

    def index(self, connection, workers=0):
        seconds = super().index(connection, workers)
        return seconds + timed(
            connection, [f"CREATE INDEX ON {self.table} USING {one}" for one in self._indexes]
        )

    def settings(self, features, k):
        return self._settings

    def condition(self, where: Filter) -> str:
        """Typed columns where there are any: they are cheaper to look at than jsonb."""
        return where.jsonb if self.by == "GIN" or where.columns is None else where.columns

    def serves(self, filter: Filter) -> bool:
        """Whether its index can be used; else it is no more than the table without one."""
        return _serves(self.by, filter)
