"""What clients of a mixed load do: statements, each with what the client's records are after it."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

from model import Record
from psycopg.types.json import Jsonb
from vectors import Numbers, as_text

#: index → namespace → id → record
State = dict[str, dict[str, dict[str, Record]]]

COMMON, SHARED = "common", "shared"

#: Clients' vectors are short, so that thousands of them are written and compared in no time; a page holds some 240 entries of any below 64.
DIMENSION = 8

#: From so many records on a namespace has lists; of so many that VACUUM puts some into lists in one more step.
TREE_ROWS, MANY = 1000, 4300


@dataclasses.dataclass
class Step:
    """A statement, and what the client's state is after it."""

    sql: str
    parameters: list
    after: State


def changed(state: State, index: str, namespace: str, records: dict[str, Record] | None) -> State:
    """The state with other records in a namespace; None: without the namespace."""
    namespaces = dict(state[index])
    namespaces.pop(namespace, None)
    if records is not None:
        namespaces[namespace] = records
    return {**state, index: namespaces}


class Operations:
    """Of one client, whose names and ids nobody else has."""

    def __init__(self, number: int, seed: int):
        self.number = number
        self.numbers = Numbers(seed, DIMENSION)
        self.random: random.Random = self.numbers.random
        self.own = f"own-{number}"

    def steps(self) -> list[tuple[int, Callable[[State], Step | None]]]:
        """Each with how often it comes."""
        return [
            (20, self.upsert),
            (8, self.upsert_json),
            (2, self.upsert_many),
            (8, self.update),
            (4, self.update_by_filter),
            (4, self.update_by_sql),
            (8, self.delete),
            (3, self.delete_by_filter),
            (2, self.delete_all),
            (2, self.create_namespace),
            (4, self.rename),
            (3, self.copy),
            (2, self.toggle_index),
        ]

    def choose(self, state: State) -> Step:
        """The next that is possible now."""
        weights, makers = zip(*self.steps(), strict=True)
        while True:
            step = self.random.choices(makers, weights)[0](state)
            if step is not None:
                return step

    def name(self) -> str:
        return f"c{self.number}-{self.random.randrange(3)}"

    def place(self, state: State) -> tuple[str, str]:
        """An index and one of the client's namespaces of it, which need not be there; now and then the shared one."""
        index = self.random.choice(sorted(state))
        if index == COMMON and self.random.random() < 0.2:
            return index, SHARED
        return index, self.name()

    def existing(self, state: State, shared: bool = True) -> tuple[str, str] | None:
        places = [(index, name) for index in state for name in state[index] if shared or name != SHARED]
        return self.random.choice(sorted(places)) if places else None

    def ids(self, count: int) -> list[str]:
        return [f"c{self.number}/{number}" for number in self.random.sample(range(3 * MANY), count)]

    def some_ids(self, records: dict[str, Record], most: int) -> list[str]:
        """Some that are there and one that may not be."""
        there = self.random.sample(sorted(records), min(len(records), self.random.randint(1, most)))
        return sorted({*there, *self.ids(1)})

    def record(self) -> Record:
        return self.numbers.vector(), {"g": self.random.randrange(20), "t": ["x", f"c{self.number}"]}

    def upsert(self, state: State, count: int | None = None) -> Step:
        index, namespace = self.place(state)
        new = {id: self.record() for id in self.ids(count or self.random.randint(1, 60))}
        ids, vectors = list(new), [as_text(values) for values, _ in new.values()]
        metadata = [Jsonb(metadata) for _, metadata in new.values()]
        after = changed(state, index, namespace, state[index].get(namespace, {}) | new)
        return Step("SELECT pc_upsert(%s, %s, %s::text[], %s::vector[], %s::jsonb[])", [index, namespace, ids, vectors, metadata], after)

    def upsert_many(self, state: State) -> Step:
        return self.upsert(state, self.random.randint(TREE_ROWS, MANY))

    def upsert_json(self, state: State) -> Step:
        index, namespace = self.place(state)
        new = {id: self.record() for id in self.ids(self.random.randint(1, 8))}
        vectors = [{"id": id, "values": list(values), "metadata": metadata} for id, (values, metadata) in new.items()]
        after = changed(state, index, namespace, state[index].get(namespace, {}) | new)
        return Step("SELECT pc_upsert(%s, %s, %s)", [index, namespace, Jsonb(vectors)], after)

    def update(self, state: State) -> Step | None:
        place = self.existing(state)
        records = state[place[0]][place[1]] if place else {}
        if not records:
            return None
        id, values = self.random.choice(sorted(records)), self.numbers.vector()
        metadata = records[id][1] | {"u": self.random.randrange(1000)}
        after = changed(state, *place, records | {id: (values, metadata)})
        set_metadata = Jsonb({"u": metadata["u"]})
        return Step("SELECT pc_update(%s, %s, %s, %s::vector, %s)", [*place, id, as_text(values), set_metadata], after)

    def filtered(self, state: State) -> tuple[tuple[str, str], Jsonb, set[str]] | None:
        """A namespace, a filter, and the ids that pass it. Not the shared one: others' records would pass too."""
        place = self.existing(state, shared=False)
        if place is None:
            return None
        group = self.random.randrange(20)
        ids = {id for id, (_, metadata) in state[place[0]][place[1]].items() if metadata.get("g") == group}
        return place, Jsonb({"g": group}), ids

    def update_by_filter(self, state: State) -> Step | None:
        if (found := self.filtered(state)) is None:
            return None
        place, filter, ids = found
        records, mark = state[place[0]][place[1]], self.random.randrange(1000)
        new = {id: (records[id][0], records[id][1] | {"f": mark}) for id in ids}
        set_metadata = Jsonb({"f": mark})
        return Step(
            "SELECT pc_update(%s, %s, filter => %s, set_metadata => %s)",
            [*place, filter, set_metadata],
            changed(state, *place, records | new),
        )

    def update_by_sql(self, state: State) -> Step | None:
        place = self.existing(state)
        records = state[place[0]][place[1]] if place else {}
        if not records:
            return None
        ids, metadata = self.some_ids(records, 10), {"s": self.random.randrange(1000)}
        new = {id: (records[id][0], metadata) for id in ids if id in records}
        return Step(
            f'UPDATE "{place[0]}" SET metadata = %s WHERE namespace = %s AND id = ANY (%s)',
            [Jsonb(metadata), place[1], ids],
            changed(state, *place, records | new),
        )

    def delete(self, state: State) -> Step | None:
        place = self.existing(state)
        if place is None:
            return None
        records = state[place[0]][place[1]]
        ids = self.some_ids(records, max(10, len(records) // 3))
        left = {id: record for id, record in records.items() if id not in set(ids)}
        return Step("SELECT pc_delete(%s, %s, %s::text[])", [*place, ids], changed(state, *place, left))

    def delete_by_filter(self, state: State) -> Step | None:
        if (found := self.filtered(state)) is None:
            return None
        place, filter, ids = found
        left = {id: record for id, record in state[place[0]][place[1]].items() if id not in ids}
        return Step("SELECT pc_delete(%s, %s, filter => %s)", [*place, filter], changed(state, *place, left))

    def delete_all(self, state: State) -> Step | None:
        place = self.existing(state, shared=False)
        if place is None:
            return None
        sql = self.random.choice(("pc_delete(%s, %s, delete_all => true)", "pc_delete_namespace(%s, %s)"))
        return Step(f"SELECT {sql}", list(place), changed(state, *place, None))

    def create_namespace(self, state: State) -> Step | None:
        index, namespace = self.random.choice(sorted(state)), self.name()
        if namespace in state[index]:
            return None
        return Step("SELECT pc_create_namespace(%s, %s)", [index, namespace], changed(state, index, namespace, {}))

    def rename(self, state: State) -> Step | None:
        place, name = self.existing(state, shared=False), self.name()
        if place is None or name in state[place[0]]:
            return None
        index, namespace = place
        after = changed(changed(state, *place, None), index, name, state[index][namespace])
        return Step("SELECT pc_rename_namespace(%s, %s, %s)", [index, namespace, name], after)

    def copy(self, state: State) -> Step | None:
        place, to, name = self.existing(state, shared=False), self.random.choice(sorted(state)), self.name()
        if place is None or name in state[to]:
            return None
        after = changed(state, to, name, state[place[0]][place[1]])
        return Step("SELECT pc_copy_namespace(%s, %s, %s, to_index => %s)", [*place, name, to], after)

    def toggle_index(self, state: State) -> Step:
        """Creates the client's own index, or drops it with all its namespaces."""
        if self.own in state:
            after = {index: namespaces for index, namespaces in state.items() if index != self.own}
            return Step("SELECT pc_delete_index(%s)", [self.own], after)
        metric = self.random.choice(("cosine", "dotproduct", "euclidean"))
        return Step("SELECT pc_create_index(%s, %s, %s)", [self.own, DIMENSION, metric], {**state, self.own: {}})
