"""What the clients of the linearizability test do, each noting its calls for the judge (linear.py): one method for each kind of call.

Every write puts a value of its own there, a number that nobody writes twice, in the record's vector and in its metadata: a record whose
parts tell two numbers is torn.
"""

from __future__ import annotations

import itertools
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
import psycopg
from linear import NOTHING, Call, Change, Exchange, Read, ReadOther, ReadOutside, ReadSome, Write
from psycopg.types.json import Jsonb

INDEX = "shared"
#: In the last of them nothing is swept away, so that it grows lists.
NAMESPACES = ("a", "b", "c")
IDS = tuple(f"id{number:02}" for number in range(40))
DIMENSION = 128
#: By whose remainder filters choose.
GROUPS = 3
#: Of more that a read has answered, so many ids are noted, chosen anew each time.
NOTED = 6
#: More than there are records.
ALL = 5000

Key = tuple[str, str]
#: Of a transaction under way.
NEVER_ENDS = 1 << 62


def vector_of(value: int) -> str:
    """Its first two elements tell the number, in full."""
    rest = np.random.default_rng(value).integers(-8, 8, DIMENSION - 2) / 8
    return "[" + ",".join(map(str, [value % 4096 / 4096, value // 4096 / 4096, *rest])) + "]"


def metadata_of(value: int) -> dict:
    return {"v": value, "g": value % GROUPS}


def value_of(vector: list[float] | None, metadata: dict) -> int:
    """The number of a record, of whose vector the first two elements are given."""
    value = metadata["v"]
    assert metadata["g"] == value % GROUPS, f"torn: {metadata}"
    if vector is not None:
        told = [round(element * 4096) for element in vector]
        assert told == [value % 4096, value // 4096], f"torn: {vector} {metadata}"
    return value


def now() -> int:
    return time.monotonic_ns()


class Client:
    """One connection, with the history of its calls by namespace and id."""

    def __init__(self, connection: psycopg.Connection, numbers: random.Random, values: Iterator[int], others: dict[int, Client]):
        self.connection, self.numbers, self.values = connection, numbers, values
        #: All clients by their backends, this one too; and when each was last in a transaction of several statements.
        self.others, self.last_transaction = others, 0
        others[connection.info.backend_pid] = self
        self.history: dict[Key, list[Call]] = defaultdict(list)
        self.statements = self.deadlocks = 0
        #: Writes of the transaction under way, to be noted when it has committed, and what its own reads must find.
        self.pending: list[tuple[Key, type[Write], tuple, int]] | None = None
        self.own: dict[Key, int | None] = {}

    # noting

    def ask(self, statement: str, *parameters) -> tuple[int, int, list]:
        start = now()
        rows = self.connection.execute(statement, parameters).fetchall()
        self.statements += 1
        return start, now(), rows

    def wrote(self, key: Key, kind: type[Write], start: int, end: int, value: int | None, *more):
        if self.pending is None:
            self.history[key].append(kind(start, end, value, *more))
        else:
            self.pending.append((key, kind, (value, *more), start))
            self.own[key] = value

    def saw(self, key: Key, call: Call):
        """A call that changed nothing; of what the transaction itself has written it must tell that."""
        if key in self.own:
            assert call.fits(self.own[key]), f"{key}: {call}, and this transaction wrote {self.own[key]}"
        else:
            self.history[key].append(call)

    def saw_rows(self, namespace: str, start: int, end: int, found: dict[str, int], ids: Iterable[str]):
        """All there is of these ids."""
        for id in ids:
            self.saw((namespace, id), Read(start, end, found.get(id, NOTHING)))

    def key(self) -> Key:
        return self.numbers.choice(NAMESPACES), self.numbers.choice(IDS)

    def some_ids(self) -> list[str]:
        return self.numbers.sample(IDS, NOTED)

    # writing

    def upsert(self, key: Key):
        value = next(self.values)
        record = [*key, vector_of(value), Jsonb(metadata_of(value))]
        start, end, rows = self.ask("SELECT pc_upsert(%s, %s, %s, %s::vector, %s)", INDEX, *record)
        assert rows == [(1,)]
        self.wrote(key, Write, start, end, value)

    def upsert_batch(self, key: Key):
        namespace, ids = key[0], sorted(self.numbers.sample(IDS, self.numbers.randrange(2, 12)))
        values = [next(self.values) for _ in ids]
        vectors, metadata = [vector_of(value) for value in values], [Jsonb(metadata_of(value)) for value in values]
        statement = "SELECT pc_upsert(%s, %s, %s::text[], %s::vector[], %s::jsonb[])"
        start, end, rows = self.ask(statement, INDEX, namespace, ids, vectors, metadata)
        assert rows == [(len(ids),)]
        for id, value in zip(ids, values, strict=True):
            self.wrote((namespace, id), Write, start, end, value)

    def update(self, key: Key):
        value = next(self.values)
        record = [*key, vector_of(value), Jsonb(metadata_of(value))]
        start, end, rows = self.ask("SELECT pc_update(%s, %s, %s, %s::vector, %s)", INDEX, *record)
        if rows == [(1,)]:
            self.wrote(key, Change, start, end, value)
        else:
            self.saw(key, Read(start, end, NOTHING))

    def delete(self, key: Key):
        start, end, rows = self.ask("SELECT pc_delete(%s, %s, ARRAY[%s])", INDEX, *key)
        if rows == [(1,)]:
            self.wrote(key, Change, start, end, NOTHING)
        else:
            self.saw(key, Read(start, end, NOTHING))

    def delete_value(self, key: Key):
        """By a filter that one record passes at most: of that one number. Deleted by it, the record was that one."""
        found = self.connection.execute("SELECT metadata FROM pc_fetch(%s, %s, ARRAY[%s])", [INDEX, *key]).fetchone()
        if found is None:
            return
        value = value_of(None, found[0])
        start, end, rows = self.ask("SELECT pc_delete(%s, %s, filter => %s)", INDEX, key[0], Jsonb({"v": value}))
        if rows == [(1,)]:
            self.wrote(key, Exchange, start, end, NOTHING, value)
        else:
            self.saw(key, ReadOther(start, end, value))

    def touch_group(self, key: Key):
        """Metadata that are nobody's number: an update by filter must not bring back what was there before."""
        group = self.numbers.randrange(GROUPS)
        self.ask("SELECT pc_update(%s, %s, filter => %s, set_metadata => '{\"t\": 1}')", INDEX, key[0], Jsonb({"g": group}))

    def sql_update(self, key: Key):
        value = next(self.values)
        statement = f'UPDATE "{INDEX}" SET "values" = %s::vector, metadata = %s WHERE namespace = %s AND id = %s RETURNING 1'
        start, end, rows = self.ask(statement, vector_of(value), Jsonb(metadata_of(value)), *key)
        if rows:
            self.wrote(key, Change, start, end, value)
        else:
            self.saw(key, Read(start, end, NOTHING))

    def sql_delete(self, key: Key):
        statement = f'DELETE FROM "{INDEX}" WHERE namespace = %s AND id = %s RETURNING ("values"::real[])[1:2], metadata'
        start, end, rows = self.ask(statement, *key)
        if rows:
            self.wrote(key, Exchange, start, end, NOTHING, value_of(*rows[0]))
        else:
            self.saw(key, Read(start, end, NOTHING))

    def sweep(self, key: Key):
        namespace = self.numbers.choice(NAMESPACES[:-1])
        start, end, _ = self.ask("SELECT pc_delete(%s, %s, delete_all => true)", INDEX, namespace)
        for id in IDS:
            self.wrote((namespace, id), Write, start, end, NOTHING)

    # reading

    def fetch(self, key: Key):
        ids = self.some_ids()
        start, end, rows = self.ask('SELECT id, ("values"::real[])[1:2], metadata FROM pc_fetch(%s, %s, %s)', INDEX, key[0], ids)
        self.saw_rows(key[0], start, end, {id: value_of(vector, metadata) for id, vector, metadata in rows}, ids)

    def query_all(self, key: Key):
        """As many as there are: what is not among them is not there."""
        value, call = self.numbers.randrange(1000), "pc_query(%s, %s, %s::vector, %s, include_values => true, include_metadata => true)"
        statement = f"SELECT id, (\"values\"::real[])[1:2], metadata FROM {call} WHERE id LIKE 'id%%'"
        start, end, rows = self.ask(statement, INDEX, key[0], vector_of(value), ALL)
        self.saw_rows(key[0], start, end, {id: value_of(vector, metadata) for id, vector, metadata in rows}, self.some_ids())

    def query_near(self, key: Key):
        value, call = self.numbers.randrange(1000), "pc_query(%s, %s, %s::vector, 5, include_values => true, include_metadata => true)"
        start, end, rows = self.ask(f'SELECT id, ("values"::real[])[1:2], metadata FROM {call}', INDEX, key[0], vector_of(value))
        found = {id: value_of(vector, metadata) for id, vector, metadata in rows if id in IDS}
        self.saw_rows(key[0], start, end, found, found)

    def query_group(self, key: Key):
        """All of a group: what is not among them is not there, or of another."""
        group, call = self.numbers.randrange(GROUPS), "pc_query(%s, %s, %s::vector, %s, filter => %s, include_metadata => true)"
        parameters = [INDEX, key[0], vector_of(self.numbers.randrange(1000)), ALL, Jsonb({"g": group, "v": {"$gte": 0}})]
        start, end, rows = self.ask(f"SELECT id, metadata FROM {call}", *parameters)
        found = {id: value_of(None, metadata) for id, metadata in rows if id in IDS}
        assert all(value % GROUPS == group for value in found.values()), found
        for id in self.some_ids():
            seen = Read(start, end, found[id]) if id in found else ReadOutside(start, end, GROUPS, group)
            self.saw((key[0], id), seen)

    def list(self, key: Key):
        start, end, rows = self.ask("SELECT id FROM pc_list(%s, %s, 'id', 10000)", INDEX, key[0])
        there = {id for (id,) in rows}
        for id in self.some_ids():
            self.saw((key[0], id), ReadSome(start, end) if id in there else Read(start, end, NOTHING))

    def count_value(self, key: Key):
        """Is the number there that somebody saw a moment ago?"""
        found = self.connection.execute("SELECT metadata FROM pc_fetch(%s, %s, ARRAY[%s])", [INDEX, *key]).fetchone()
        if found is None:
            return
        value = value_of(None, found[0])
        start, end, rows = self.ask("SELECT pc_count(%s, %s, %s)", INDEX, key[0], Jsonb({"v": value}))
        self.saw(key, Read(start, end, value) if rows == [(1,)] else ReadOther(start, end, value))

    def sql_nearest(self, key: Key):
        statement = f"""SELECT id, ("values"::real[])[1:2], metadata FROM "{INDEX}"
                        WHERE namespace = %s ORDER BY "values" <-> %s::vector LIMIT 5"""
        start, end, rows = self.ask(statement, key[0], vector_of(self.numbers.randrange(1000)))
        found = {id: value_of(vector, metadata) for id, vector, metadata in rows if id in IDS}
        self.saw_rows(key[0], start, end, found, found)

    # transactions

    WRITES = (upsert, update, delete, delete_value, sql_update, sql_delete)
    READS = (fetch, query_all, query_near, query_group, list, count_value, sql_nearest)

    def transaction(self, key: Key):
        """Some statements on ids of their own each, which take effect together at its end, or not at all."""
        keys = sorted({self.key() for _ in range(self.numbers.randrange(2, 5))})
        self.pending, self.own, self.last_transaction = [], {}, NEVER_ENDS
        try:
            with self.connection.transaction(force_rollback=self.numbers.random() < 0.3) as scope:
                for one in keys:
                    self.numbers.choice(self.WRITES)(self, one)
                    self.numbers.choice(self.READS)(self, one)
            end = now()
            if not scope.force_rollback:
                for written, kind, values, start in self.pending:
                    self.history[written].append(kind(start, end, *values))
        finally:
            self.pending, self.own, self.last_transaction = None, {}, now()

    #: How often each is done, of all.
    SHARES = {
        upsert: 12,
        upsert_batch: 6,
        update: 8,
        delete: 6,
        delete_value: 4,
        touch_group: 2,
        sql_update: 4,
        sql_delete: 3,
        sweep: 1,
        fetch: 12,
        query_all: 6,
        query_near: 12,
        query_group: 6,
        list: 4,
        count_value: 4,
        sql_nearest: 4,
        transaction: 6,
    }

    def step(self):
        (kind,) = self.numbers.choices(tuple(self.SHARES), weights=tuple(self.SHARES.values()))
        try:
            kind(self, self.key())
        except psycopg.errors.DeadlockDetected as error:
            self.deadlocks += 1
            assert is_usual(error, self.others), error


def is_usual(error: psycopg.errors.DeadlockDetected, clients: dict[int, Client]) -> bool:
    """Is, or was a moment ago, one of those in it in a transaction of several statements? Whichever of them PostgreSQL has undone."""
    processes = [int(process) for process in re.findall(r"[Pp]rocess (\d+)", error.diag.message_detail)]
    return any(clients[process].last_transaction > now() - 2_000_000_000 for process in processes if process in clients)


def values_of(client: int, clients: int) -> Iterator[int]:
    """Numbers that no other client writes, below 2^24."""
    return itertools.islice(itertools.count(client + 1000, clients), (1 << 24) // clients - 1000)
