"""One scene for each operation of several steps: what is there before, and the statement that takes the steps.

Each has an index of its own, so that several can be played side by side. A statement that is stopped has changed no record when the server
has been killed, but for those that say otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import psycopg
from model import Model, Record
from operations import DIMENSION, TREE_ROWS
from vectors import Numbers, as_text

#: Records of which an index learns, and of which it has a centre.
SOME = 600

#: An index of these has lists.
LISTS = TREE_ROWS + 300

#: Of vectors this long some fifty fit a page, and seventeen pages of new ones are put into lists.
LONG, PAGES_OF_LONG = 1024, 17 * 55

SPACE = "tenant"


class Stage:
    """An index of one scene, and what is in it."""

    def __init__(self, connection: psycopg.Connection, model: Model, index: str, seed: str):
        self.connection, self.model, self.index = connection, model, index
        self.numbers = Numbers(seed, DIMENSION)

    def create(self, dimension: int = DIMENSION):
        self.numbers.dimension = dimension
        self.connection.execute("SELECT pc_create_index(%s, %s, 'euclidean')", [self.index, dimension])
        self.model.indexes[self.index] = {}

    def records(self, namespace: str = SPACE) -> dict[str, Record]:
        return self.model.namespace(self.index, namespace)

    def upsert(self, count: int, namespace: str = SPACE, near: tuple[float, ...] | None = None):
        """More records; all close to each other if `near` is given."""
        ids = [f"r{number}" for number in range(len(self.records(namespace)), len(self.records(namespace)) + count)]
        vectors = [self.numbers.vector() if near is None else self.numbers.near(near) for _ in ids]
        self.write(dict(zip(ids, vectors, strict=True)), namespace)

    def write(self, vectors: dict[str, tuple[float, ...]], namespace: str = SPACE):
        query = "SELECT pc_upsert(%s, %s, %s::text[], %s::vector[])"
        self.connection.execute(query, [self.index, namespace, list(vectors), [as_text(vector) for vector in vectors.values()]])
        self.records(namespace).update({id: (vector, {}) for id, vector in vectors.items()})

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
    stage.upsert(LISTS)
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
    stage.upsert(LISTS, near=(30.0,) * 8)
    stage.do(stage.reindex())
    stage.delete(lambda record: record[0][7] > 20 and stage.numbers.random.random() < 0.98)
    return stage.vacuum()


def split(stage: Stage) -> str:
    """Many new ones where one list was, and not so many more in all that all lists are chosen anew."""
    stage.create(LONG)
    stage.upsert(2 * PAGES_OF_LONG + 100)
    stage.do(stage.reindex())
    stage.upsert(PAGES_OF_LONG, near=(5.0,) * 8)
    return stage.vacuum()


def choose_again(stage: Stage) -> str:
    """Nearly twice as many as there were; VACUUM counts them when some are dead."""
    stage.create()
    stage.upsert(LISTS)
    stage.do(stage.reindex())
    stage.upsert(LISTS)
    stage.delete_share(0.05)
    return stage.vacuum()


def no_choice(stage: Stage) -> str:
    """More than there were, too large for centroids."""
    stage.create()
    stage.upsert(LISTS)
    stage.do(stage.reindex())
    stage.delete_share(0.8)
    stage.write({f"large{number}": (1e16, *stage.numbers.vector()[1:]) for number in range(2 * LISTS)})
    return stage.vacuum()


SCENES = [
    Scene("recentre", recentre),
    Scene("thin-out", thin_out),
    Scene("grow", grow),
    Scene("remove-from-lists", remove_from_lists),
    Scene("merge", merge),
    Scene("split", split),
    Scene("choose-again", choose_again),
    Scene("no-choice", no_choice),
    Scene("strays", grow, after_crash="before grown tree named"),
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
