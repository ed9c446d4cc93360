"""One scene for each operation of several steps: what is there before, and the statement that takes the steps.

Each has an index of its own, so that several can be played side by side. A statement that is stopped has changed no record when the server has been
killed, but for those that say otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import psycopg
from load import DIMENSION, TREE_ROWS
from model import Model, Record
from vectors import Numbers, as_text

#: Records of which an index learns, and of which it has a centre.
SOME = 600

#: Of these a tree has one entry each …
FEW_LISTS = TREE_ROWS + 300

#: … of these two, and more in the list of new ones than may stay there.
LISTS = 4300

SPACE = "tenant"


class Stage:
    """An index of one scene, and what is in it."""

    def __init__(self, connection: psycopg.Connection, model: Model, index: str, seed: int):
        self.connection, self.model, self.index = connection, model, index
        self.numbers = Numbers(seed, DIMENSION)

    def create(self):
        self.connection.execute("SELECT pc_create_index(%s, %s, 'euclidean')", [self.index, DIMENSION])
        self.model.indexes[self.index] = {}

    def records(self, namespace: str = SPACE) -> dict[str, Record]:
        return self.model.namespace(self.index, namespace)

    def upsert(self, count: int, namespace: str = SPACE, near: tuple[float, ...] | None = None):
        """More records; all at the same place or close to it if `near` is given."""
        ids = [f"r{number}" for number in range(len(self.records(namespace)), len(self.records(namespace)) + count)]
        vectors = [self.numbers.vector() if near is None else self.close_to(near) for _ in ids]
        query = "SELECT pc_upsert(%s, %s, %s::text[], %s::vector[])"
        self.connection.execute(query, [self.index, namespace, ids, [as_text(vector) for vector in vectors]])
        self.records(namespace).update({id: (vector, {}) for id, vector in zip(ids, vectors, strict=True)})

    def close_to(self, near: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(value + self.numbers.random.randint(0, 64) / 64 for value in near)

    def delete(self, which: Callable[[Record], bool], namespace: str = SPACE):
        ids = [id for id, record in self.records(namespace).items() if which(record)]
        self.connection.execute("SELECT pc_delete(%s, %s, %s::text[])", [self.index, namespace, ids])
        for id in ids:
            del self.records(namespace)[id]

    def delete_share(self, share: float):
        self.delete(lambda _: self.numbers.random.random() < share)

    def leaf(self, namespace: str = SPACE) -> str:
        query = "SELECT leaf::text FROM conifer.namespaces n JOIN conifer.indexes i USING (root) WHERE i.name = %s AND namespace = %s"
        return self.connection.execute(query, [self.index, namespace]).fetchone()[0]

    def vacuum(self) -> str:
        # Nobody else: the statement's own process is to be stopped. And every dead row's entry is to go, however few there are.
        return f"VACUUM (PARALLEL 0, INDEX_CLEANUP ON) {self.leaf()}"

    def reindex(self) -> str:
        return f"REINDEX TABLE {self.leaf()}"

    def do(self, statement: str):
        self.connection.execute(statement)


@dataclasses.dataclass(frozen=True)
class Scene:
    """Prepares a stage and answers the statement. `takes`: namespaces may be gone when it was stopped. `after_crash`: the statement is
    to be stopped at this point first, then killed with the server, and given anew."""

    name: str
    prepare: Callable[[Stage], str]
    takes: bool = False
    after_crash: str | None = None


def create_index(stage: Stage) -> str:
    return f"SELECT pc_create_index('{stage.index}', {DIMENSION})"


def first_upsert(stage: Stage) -> str:
    stage.create()
    return f"SELECT pc_upsert('{stage.index}', 'new', 'a', '[1,2,3,4,5,6,7,8]')"


def upsert(stage: Stage) -> str:
    stage.create()
    stage.upsert(20)
    return (
        f"SELECT pc_upsert('{stage.index}', '{SPACE}', array_agg('n' || n), array_agg('[1,2,3,4,5,6,7,8]'::vector)) "
        "FROM generate_series(1, 600) n"
    )


def copy(stage: Stage) -> str:
    stage.create()
    stage.upsert(SOME)
    return f"SELECT pc_copy_namespace('{stage.index}', '{SPACE}', 'copy')"


def copy_of_few(stage: Stage) -> str:
    stage.create()
    stage.upsert(30)
    return f"SELECT pc_copy_namespace('{stage.index}', '{SPACE}', 'copy')"


def rename(stage: Stage) -> str:
    stage.create()
    stage.upsert(FEW_LISTS)
    stage.do(f"SELECT pc_set_limits('{stage.index}', '{SPACE}', 100000)")
    return f"SELECT pc_rename_namespace('{stage.index}', '{SPACE}', 'other')"


def delete_namespace(stage: Stage) -> str:
    stage.create()
    stage.upsert(30)
    return f"SELECT pc_delete_namespace('{stage.index}', '{SPACE}')"


def delete_all_with_rights(stage: Stage) -> str:
    stage.create()
    stage.upsert(30)
    stage.do(f"SELECT pc_grant('{stage.index}', '{SPACE}', 'pg_monitor')")
    return f"SELECT pc_delete('{stage.index}', '{SPACE}', delete_all => true)"


def delete_index(stage: Stage) -> str:
    stage.create()
    stage.upsert(30)
    stage.upsert(30, "other")
    return f"SELECT pc_delete_index('{stage.index}')"


def delete_in_batches(stage: Stage) -> str:
    stage.create()
    for number in range(5):
        stage.upsert(3, f"t{number}")
    return f"CALL pc_delete_index_in_batches('{stage.index}', 2)"


def reindex(stage: Stage) -> str:
    stage.create()
    stage.upsert(LISTS)
    return stage.reindex()


def recentre(stage: Stage) -> str:
    stage.create()
    stage.upsert(SOME)
    return stage.vacuum()


def thin_out(stage: Stage) -> str:
    stage.create()
    stage.upsert(SOME)
    stage.do(stage.vacuum())
    stage.delete_share(0.4)
    return stage.vacuum()


def grow(stage: Stage) -> str:
    stage.create()
    stage.upsert(LISTS)
    return stage.vacuum()


def take_up(stage: Stage) -> str:
    """More than sixteen pages of new ones, and less than a half more than there were."""
    stage.create()
    stage.upsert(2 * LISTS)
    stage.do(stage.reindex())
    stage.upsert(LISTS - 200)
    return stage.vacuum()


def remove_from_lists(stage: Stage) -> str:
    stage.create()
    stage.upsert(LISTS)
    stage.do(stage.reindex())
    stage.delete_share(0.3)
    return stage.vacuum()


def merge(stage: Stage) -> str:
    """All of one region go: their lists have nothing left."""
    stage.create()
    stage.upsert(LISTS)
    stage.upsert(700, near=(30.0,) * DIMENSION)
    stage.do(stage.reindex())
    stage.delete(lambda record: record[0][-1] > 20 and stage.numbers.random.random() < 0.95)
    return stage.vacuum()


def split(stage: Stage) -> str:
    """Many new ones where one list was."""
    stage.create()
    stage.upsert(2 * LISTS)
    stage.do(stage.reindex())
    stage.upsert(LISTS - 200, near=(5.0,) * DIMENSION)
    return stage.vacuum()


def choose_again(stage: Stage) -> str:
    stage.create()
    stage.upsert(FEW_LISTS)
    stage.do(stage.reindex())
    stage.upsert(2 * FEW_LISTS)
    return stage.vacuum()


def no_choice(stage: Stage) -> str:
    """More than there were, and all alike: no two centroids."""
    stage.create()
    stage.upsert(FEW_LISTS)
    stage.do(stage.reindex())
    stage.delete(lambda _: True)
    stage.do(f"VACUUM {stage.leaf()}")
    query = "SELECT pc_upsert(%s, %s, %s::text[], %s::vector[])"
    alike = (1.0,) * DIMENSION
    ids = [f"alike{number}" for number in range(3 * FEW_LISTS)]
    stage.connection.execute(query, [stage.index, SPACE, ids, [as_text(alike)] * len(ids)])
    stage.records().update({id: (alike, {}) for id in ids})
    return stage.vacuum()


SCENES = [
    Scene("recentre", recentre),
    Scene("thin-out", thin_out),
    Scene("grow", grow),
    Scene("take-up", take_up),
    Scene("remove-from-lists", remove_from_lists),
    Scene("merge", merge),
    Scene("split", split),
    Scene("choose-again", choose_again),
    Scene("no-choice", no_choice),
    Scene("strays", grow, after_crash="after grown tree named"),
    Scene("reindex", reindex),
    Scene("upsert", upsert),
    Scene("first-upsert", first_upsert),
    Scene("create-index", create_index),
    Scene("copy", copy),
    Scene("copy-of-few", copy_of_few),
    Scene("rename", rename),
    Scene("delete-namespace", delete_namespace),
    Scene("delete-all", delete_all_with_rights),
    Scene("delete-index", delete_index),
    Scene("delete-in-batches", delete_in_batches, takes=True),
]
