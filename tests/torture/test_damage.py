"""Pages of real index files are damaged while the server is down. What is then asked is answered rightly or refused as damage; and REINDEX mends it.

Right is what names records that are there, with their own scores, nearest first; of damage to codes fewer of the nearest may be found. What is read from the
table itself, as at a recall of 1, is exact whatever the index holds.
"""

from __future__ import annotations

import dataclasses
import pathlib
import random
import struct
from collections import Counter

import numpy as np
import psycopg
import pytest
from model import Model, Record, verify

PAGE = 8192
#: Where pages say what they are (`src/layout/FORMAT.md`), and where the first page's body and entries begin.
SPECIAL, BODY = PAGE - 24, 24
DIMENSION = 16
#: Damaged, as Conifer and PostgreSQL say it.
DAMAGED = {"XX001", "XX002"}
#: Namespaces and their records: a table of some rows is looked through without its index, the largest gets lists.
SIZES = {"small": 30, "flat": 700, "tree": 1800}
METRICS = ("cosine", "dotproduct", "euclidean")


@dataclasses.dataclass
class Target:
    """A namespace's vector index."""

    index: str
    namespace: str
    leaf: str
    name: str


@pytest.fixture
def stage(make_server):
    """A server without page checksums, indexes of each metric and form on it, and what they hold."""
    server = make_server(settings={"autovacuum": "off", "checkpoint_timeout": "1h"})
    # Checksums tell of all such damage, and would hide what is told without them.
    server.init(*(["--no-data-checksums"] if server.major >= 18 else []))
    model, rng = Model(), np.random.default_rng(1)
    with server.connect() as connection:
        connection.execute("SET conifer.tree_rows = 1000")
        for metric in METRICS:
            connection.execute("SELECT pc_create_index(%s, %s, %s)", [metric, DIMENSION, metric])
            for namespace, count in SIZES.items():
                fill(connection, model.namespace(metric, namespace), metric, namespace, rng.standard_normal((count, DIMENSION)))
        for target in targets(connection):
            connection.execute(f"VACUUM ANALYZE {target.leaf}")
        # Some rows that came after the lists were made, and holes.
        for metric in METRICS:
            for namespace in ("flat", "tree"):
                records = model.namespace(metric, namespace)
                fill(connection, records, metric, namespace, rng.standard_normal((100, DIMENSION)), "late")
                gone = [f"r{number}" for number in range(0, 200, 7)]
                connection.execute("SELECT pc_delete(%s, %s, %s::text[])", [metric, namespace, gone])
                for id in gone:
                    del records[id]
        for target in targets(connection):
            connection.execute(f"VACUUM {target.leaf}")
        verify(connection, model)
    return server, model


def fill(connection, records: dict[str, Record], index: str, namespace: str, rows: np.ndarray, prefix: str = "r"):
    vectors = [[float(element) for element in row] for row in rounded(rows)]
    ids = [f"{prefix}{number}" for number in range(len(vectors))]
    metadata = [f'{{"a": {number % 5}}}' for number in range(len(vectors))]
    query = "SELECT pc_upsert(%s, %s, %s::text[], %s::vector[], %s::jsonb[])"
    connection.execute(query, [index, namespace, ids, [str(vector) for vector in vectors], metadata])
    for number, (id, vector) in enumerate(zip(ids, vectors, strict=True)):
        records[id] = (tuple(vector), {"a": number % 5})


def rounded(numbers: np.ndarray) -> np.ndarray:
    """To what single precision and its shortest decimal form tell exactly."""
    return np.round(numbers * 32) / 32


def targets(connection) -> list[Target]:
    rows = connection.execute(
        """SELECT i.name, n.namespace, n.leaf::text, x.indexrelid::regclass::text FROM conifer.namespaces n JOIN conifer.indexes i ON i.root = n.root
           JOIN pg_index x ON x.indrelid = n.leaf JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_am a ON a.oid = c.relam
           WHERE a.amname = 'conifer' ORDER BY 1, 2"""
    ).fetchall()
    found = [Target(*row) for row in rows]
    assert len(found) == len(SIZES) * len(METRICS)
    return found


def damage(file: pathlib.Path, rng: random.Random) -> str:
    """Damages a page, and says how."""
    data = bytearray(file.read_bytes())
    blocks = len(data) // PAGE
    block = rng.choice([0, rng.randrange(blocks), rng.randrange(blocks)])
    start = block * PAGE
    at = rng.choice([SPECIAL + rng.randrange(24), BODY + rng.randrange(232), rng.randrange(400), rng.randrange(PAGE)])
    kind = rng.choice(["bit", "bit", "bytes", "range", "number", "number", "number", "header", "zeros", "swap", "copy", "tail", "cut", "other"])
    match kind:
        case "bit":
            data[start + at] ^= 1 << rng.randrange(8)
        case "bytes":
            for _ in range(8):
                data[start + rng.randrange(PAGE)] = rng.randrange(256)
        case "range":
            end = min(at + rng.randrange(300), PAGE)
            data[start + at : start + end] = rng.choice([b"\0", b"\xff", b"\x55"]) * (end - at)
        case "number":
            width = rng.choice([2, 4, 8])
            at -= at % width
            number = rng.choice([0, 1, blocks, blocks - 1, rng.randrange(blocks), 2**32 - 1, 2**31, 2**64 - 1, 131_072, rng.randrange(2**64)])
            data[start + at : start + at + width] = struct.pack("<Q", number)[:width]
        case "header":
            # pd_lower, pd_upper and pd_special as PostgreSQL itself finds them possible.
            lower = rng.randrange(24, SPECIAL)
            data[start + 12 : start + 18] = struct.pack("<HHH", lower, rng.choice([lower, SPECIAL, PAGE]), rng.choice([SPECIAL, PAGE]))
        case "zeros":
            data[start : start + PAGE] = bytes(PAGE)
        case "swap" | "copy":
            other = rng.randrange(blocks) * PAGE
            page = data[other : other + PAGE]
            if kind == "swap":
                data[other : other + PAGE] = data[start : start + PAGE]
            data[start : start + PAGE] = page
        case "tail":
            data[start + at : start + PAGE] = bytes(PAGE - at)
        case "cut":
            del data[max(start, PAGE) + rng.choice([0, 0, at]) :]
        case "other":
            data[start : start + PAGE] = rng.randbytes(PAGE)
    file.write_bytes(data)
    return f"{kind} at {at} of block {block} of {blocks}"


class Patient:
    """A damaged index, and what is done with it."""

    def __init__(self, server, target: Target, records: dict[str, Record], seen: Counter, told: str):
        self.server, self.target, self.records, self.seen, self.told = server, target, records, seen, told
        self.vectors = {id: np.array(values) for id, (values, _) in records.items()}

    def attempt(self, connection: psycopg.Connection, query: str, parameters: list | None = None) -> list | None:
        """The answer; None if it was refused as damage, which nothing else may be."""
        try:
            cursor = connection.execute(query, parameters or [])
            rows = cursor.fetchall() if cursor.description else []
            self.seen["answered"] += 1
            return rows
        except psycopg.Error as error:
            assert error.sqlstate in DAMAGED, f"{self.told}: {query}: {error.sqlstate} {error}\n{self.server.log()[-3000:]}"
            self.seen[error.sqlstate] += 1
            return None

    def suffer(self, connection: psycopg.Connection, rng: random.Random):
        work = [self.query, self.query, self.query, self.order, self.insert, self.update, self.delete, self.vacuum, self.vacuum, self.look, self.by_filter]
        for step in rng.sample(work, 7):
            step(connection, rng)
        self.exact(connection, rng)

    def scores(self, query: np.ndarray) -> dict[str, float]:
        match self.target.index:
            case "dotproduct":
                return {id: float(vector @ query) for id, vector in self.vectors.items()}
            case "cosine":
                return {id: float(vector @ query / np.linalg.norm(vector) / np.linalg.norm(query)) for id, vector in self.vectors.items()}
        return {id: float(((vector - query) ** 2).sum()) for id, vector in self.vectors.items()}

    def check(self, rows: list, query: np.ndarray, most: int, only=lambda id: True):
        scores = self.scores(query)
        found = [score for _, score in rows]
        assert len({id for id, _ in rows}) == len(rows) <= most, f"{self.told}: a record twice, or too many: {rows[:20]}"
        assert found == sorted(found, reverse=self.target.index != "euclidean"), self.told
        for id, score in rows:
            assert id in scores and only(id) and np.isclose(score, scores[id], rtol=1e-4, atol=1e-5), f"{self.told}: {id} {score} {scores.get(id)}"

    def query(self, connection, rng, recall: str = "0.95"):
        k, query = rng.choice([1, 10, 300]), vector_of(rng)
        filter, only = rng.choice([(None, lambda id: True), ('{"a": 2}', lambda id: self.records[id][1]["a"] == 2)])
        self.attempt(connection, f"SET conifer.recall = {recall}")
        rows = self.attempt(connection, "SELECT id, score FROM pc_query(%s, %s, %s::vector, %s, filter => %s::jsonb)",
                            [self.target.index, self.target.namespace, text_of(query), k, filter])  # fmt: skip
        if rows is not None:
            self.check(rows, query, k, only)
        return rows, query, k, only

    def exact(self, connection, rng):
        rows, query, k, only = self.query(connection, rng, "1")
        assert rows is not None, f"{self.told}: the table was not read alone"
        best = sorted((score for id, score in self.scores(query).items() if only(id)), reverse=self.target.index != "euclidean")[:k]
        assert np.allclose([score for _, score in rows], best, rtol=1e-4, atol=1e-5), self.told

    def order(self, connection, rng):
        operator = {"cosine": "<=>", "dotproduct": "<#>", "euclidean": "<->"}[self.target.index]
        rows = self.attempt(connection, f'SELECT id FROM {self.target.leaf} ORDER BY "values" {operator} %s::vector LIMIT 20', [text_of(vector_of(rng))])
        assert rows is None or {id for (id,) in rows} <= self.records.keys() and len(set(rows)) == len(rows), f"{self.told}: {rows}"

    def insert(self, connection, rng):
        for number in range(rng.choice([1, 3, 60])):
            id, vector = f"new{rng.randrange(10**9)}", vector_of(rng)
            if self.attempt(connection, "SELECT pc_upsert(%s, %s, %s, %s::vector)", [self.target.index, self.target.namespace, id, text_of(vector)]) is not None:
                self.records[id] = (tuple(float(element) for element in vector), {})
                self.vectors[id] = vector
            elif number > 2:
                break
        # A record without metadata passes no filter: it has the field of those that pass none.
        for id, (values, metadata) in list(self.records.items()):
            self.records[id] = (values, metadata or {"a": 0})
        self.attempt(connection, "SELECT pc_update(%s, %s, filter => '{\"a\": {\"$exists\": false}}', set_metadata => '{\"a\": 0}')", [self.target.index, self.target.namespace])

    def update(self, connection, rng):
        id, vector = rng.choice(list(self.records)), vector_of(rng)
        if self.attempt(connection, "SELECT pc_update(%s, %s, %s, %s::vector)", [self.target.index, self.target.namespace, id, text_of(vector)]) is not None:
            self.records[id] = (tuple(float(element) for element in vector), self.records[id][1])
            self.vectors[id] = vector

    def delete(self, connection, rng):
        gone = rng.sample(list(self.records), min(20, len(self.records) // 4))
        if self.attempt(connection, "SELECT pc_delete(%s, %s, %s::text[])", [self.target.index, self.target.namespace, gone]) is not None:
            for id in gone:
                del self.records[id], self.vectors[id]

    def vacuum(self, connection, rng):
        self.attempt(connection, f"VACUUM (INDEX_CLEANUP ON) {self.target.leaf}")

    def look(self, connection, rng):
        function = rng.choice(["conifer_check", "conifer_inspect"])
        self.attempt(connection, f"SELECT * FROM {function}(%s::regclass)", [self.target.name])

    def by_filter(self, connection, rng):
        rows = self.attempt(connection, "SELECT pc_count(%s, %s, '{\"a\": 2}')", [self.target.index, self.target.namespace])
        assert rows == [(sum(metadata["a"] == 2 for _, metadata in self.records.values()),)], self.told


def vector_of(rng: random.Random) -> np.ndarray:
    return rounded(np.array([rng.gauss(0, 1) for _ in range(DIMENSION)]))


def text_of(vector: np.ndarray) -> str:
    return str([float(element) for element in vector])


def test_damaged_files(stage, scaled, seed, record_result):
    server, model = stage
    rng, seen = random.Random(seed), Counter()
    cycles = scaled(150, 5)
    for cycle in range(cycles):
        with server.connect() as connection:
            chosen = targets(connection)
            path = "SELECT pg_relation_filepath(%s::regclass)"
            files = [server.data / connection.execute(path, [target.name]).fetchone()[0] for target in chosen]
        server.stop()
        damages = ["; ".join(damage(file, rng) for _ in range(rng.choice([1, 1, 3]))) for file in files]
        server.start()
        with server.connect() as connection:
            connection.execute("SET statement_timeout = '60s'; SET conifer.tree_rows = 1000")
            pid = connection.info.backend_pid
            for target, how in zip(chosen, damages, strict=True):
                told = f"cycle {cycle} of seed {seed}, {target.index}/{target.namespace}: {how}"
                records = model.namespace(target.index, target.namespace)
                Patient(server, target, records, seen, told).suffer(connection, rng)
                seen["damaged"] += 1
            assert connection.info.backend_pid == pid
            connection.execute("RESET ALL; SET search_path = ours, public")
            for target in chosen:
                connection.execute(f"REINDEX INDEX {target.name}")
            for index in METRICS:
                refill(connection, model, index)
        if cycle % 10 == 0 or cycle == cycles - 1:
            with server.connect() as connection:
                verify(connection, model)
    assert "PANIC" not in server.log() and "was terminated by signal" not in server.log()
    assert seen["XX002"] > cycles and seen["answered"] > cycles * 10, seen
    record_result("damaged_files", cycles=cycles, **seen)


def refill(connection, model: Model, index: str):
    """As many records as there were, so that the forms stay what they are."""
    for namespace, count in SIZES.items():
        records = model.namespace(index, namespace)
        if len(records) < count * 3 // 4:
            fill(connection, records, index, namespace, np.random.default_rng(len(records)).standard_normal((count, DIMENSION)), "again")
