"""Random changes of one index, made by one connection, and a model that has them too."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable

import numpy as np
import psycopg
from model import Model, Record

#: Of vectors: a page of the vector index holds some 140 entries of so many dimensions, so that a few thousand records are many pages.
DIMENSION = 200
#: The namespace that becomes large enough for lists; the others stay small.
LARGE = "large"
SMALL = ("a", "b", "c", "d'quoted\"", "")
#: A namespace of more rows than this is emptied, so that a run of any length stays small.
MOST = 9000

#: What is asked of the server, and what it does to the model.
Change = tuple[str, list, Callable[[], None]]


def vectors(generator: np.random.Generator, count: int, dimension: int = DIMENSION) -> list[tuple[float, ...]]:
    """Around a few centres; of two decimals, so that a real's text is that of the number here."""
    centres = np.random.default_rng(7).standard_normal((12, dimension))
    made = centres[generator.integers(0, len(centres), count)] + 0.6 * generator.standard_normal((count, dimension))
    return [tuple(row) for row in np.round(made, 2).tolist()]


def text(vector: tuple[float, ...]) -> str:
    return "[" + ",".join(map(str, vector)) + "]"


def stored(name: str) -> str:
    """The name under which a namespace is listed."""
    return name or "__default__"


class Changes:
    """A writer of `index`: nobody else changes it."""

    def __init__(self, model: Model, index: str, seed: int):
        self.model, self.index = model, index
        self.choose = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.made = 0
        #: The model's part of a change that was asked for and not acknowledged.
        self.in_doubt: Callable[[], None] | None = None
        self.counts: dict[str, int] = {}

    def create(self, connection: psycopg.Connection, metric: str = "euclidean"):
        connection.execute("SELECT pc_create_index(%s, %s, %s)", [self.index, DIMENSION, metric])
        self.model.indexes[self.index] = {}

    def step(self, connection: psycopg.Connection):
        """One change, acknowledged; after an error it is in doubt."""
        kinds = {self.upsert: 40, self.delete: 10, self.delete_some: 4, self.update: 8, self.empty: 2, self.drop: 2}
        kinds |= {self.rename: 4, self.copy: 2, self.make: 3, self.vacuum: 12, self.reindex: 1, self.tag: 1}
        kind = self.choose.choices(list(kinds), list(kinds.values()))[0]
        self.ask(connection, kind())
        self.counts[kind.__name__] = self.counts.get(kind.__name__, 0) + 1

    def ask(self, connection: psycopg.Connection, change: Change):
        statement, arguments, apply = change
        self.in_doubt = apply
        connection.execute(statement, arguments)
        self.in_doubt = None
        apply()

    def settle(self, found: dict[str, dict[str, Record]]):
        """After a failure: the change in doubt was made if what is there says so. Whether it is all there is for the test to compare."""
        if self.in_doubt is not None and found != self.model.indexes[self.index]:
            self.in_doubt()
        self.in_doubt = None

    @property
    def namespaces(self) -> dict[str, dict[str, Record]]:
        return self.model.indexes[self.index]

    # changes

    def upsert(self) -> Change:
        if self.choose.random() < 0.3:
            name, count = LARGE, self.choose.randint(300, 900)
        else:
            name, count = stored(self.choose.choice(SMALL)), self.choose.randint(1, 60)
        if len(self.namespaces.get(name, ())) > MOST:
            return self.empty(name)
        return self.upsert_into(name, count, self.choose.random() * 0.4)

    def upsert_into(self, name: str, count: int, share_old: float = 0.0) -> Change:
        """So many records, of which a share replaces others."""
        there = list(self.namespaces.get(name, ()))
        old = self.choose.sample(there, min(int(count * share_old), len(there)))
        ids = old + [f"r{self.made + number}" for number in range(count - len(old))]
        self.made += count
        metadata = [{"n": self.choose.randrange(10), "v": self.made} for _ in ids]
        records = dict(zip(ids, zip(vectors(self.numbers, len(ids)), metadata, strict=True), strict=True))
        statement = "SELECT pc_upsert(%s, %s, %s::text[], %s::text[]::vector[], %s::text[]::jsonb[])"
        arguments = [self.index, name, ids, [text(vector) for vector, _ in records.values()], list(map(json.dumps, metadata))]
        return statement, arguments, lambda: self.namespaces.setdefault(name, {}).update(records)

    def delete(self) -> Change:
        name = self.any_namespace()
        there = list(self.namespaces.get(name, ()))
        ids = self.choose.sample(there, min(len(there), self.choose.randint(1, 200)))

        def apply():
            for id in ids:
                del self.namespaces[name][id]

        return "SELECT pc_delete(%s, %s, %s::text[])", [self.index, name, ids or ["none"]], apply

    def delete_some(self) -> Change:
        """By filter: a share of a namespace."""
        name, limit = self.any_namespace(), self.choose.randrange(1, 8)

        def apply():
            kept = {id: record for id, record in self.namespaces.get(name, {}).items() if not record[1]["n"] < limit}
            if name in self.namespaces:
                self.namespaces[name] = kept

        return "SELECT pc_delete(%s, %s, filter => %s::jsonb)", [self.index, name, json.dumps({"n": {"$lt": limit}})], apply

    def update(self) -> Change:
        name, number = self.any_namespace(), self.choose.randrange(10)
        self.made += 1
        mark = self.made

        def apply():
            records = self.namespaces.get(name, {})
            for id, (vector, metadata) in list(records.items()):
                if metadata["n"] == number:
                    records[id] = (vector, {**metadata, "v": mark})

        filter, metadata = json.dumps({"n": number}), json.dumps({"v": mark})
        statement = "SELECT pc_update(%s, %s, filter => %s::jsonb, set_metadata => %s::jsonb)"
        return statement, [self.index, name, filter, metadata], apply

    def empty(self, name: str | None = None) -> Change:
        name = self.any_namespace() if name is None else name
        statement = "SELECT pc_delete(%s, %s, delete_all => true)"
        return statement, [self.index, name], lambda: self.namespaces.pop(name, None)

    def drop(self) -> Change:
        name = stored(self.choose.choice(SMALL))
        return "SELECT pc_delete_namespace(%s, %s)", [self.index, name], lambda: self.namespaces.pop(name, None)

    def make(self) -> Change:
        name = stored(self.choose.choice(SMALL))
        if name in self.namespaces:
            return self.upsert()
        return "SELECT pc_create_namespace(%s, %s)", [self.index, name], lambda: self.namespaces.setdefault(name, {})

    def rename(self) -> Change:
        return self.moved("SELECT pc_rename_namespace(%s, %s, %s)", lambda name: self.namespaces.pop(name))

    def copy(self) -> Change:
        return self.moved("SELECT pc_copy_namespace(%s, %s, %s)", lambda name: copy.copy(self.namespaces[name]))

    def moved(self, statement: str, taken: Callable[[str], dict[str, Record]]) -> Change:
        """A namespace under another name: of one that has it to one that nobody has."""
        there = [name for name in self.namespaces if name != LARGE]
        free = [stored(name) for name in SMALL if stored(name) not in self.namespaces]
        if not there or not free:
            return self.upsert()
        name, new = self.choose.choice(there), self.choose.choice(free)

        def apply():
            self.namespaces[new] = taken(name)

        return statement, [self.index, name, new], apply

    def vacuum(self) -> Change:
        return f'VACUUM "{self.index}"', [], lambda: None

    def reindex(self) -> Change:
        return f'REINDEX TABLE "{self.index}"', [], lambda: None

    def tag(self) -> Change:
        tags = json.dumps({"t": str(self.made)})
        return "SELECT pc_configure_index(%s, tags => %s::jsonb)", [self.index, tags], lambda: None

    def any_namespace(self) -> str:
        return self.choose.choice([LARGE, *map(stored, SMALL)])
