"""A mixed load by several clients, of which it is known record by record what they have written.

Each client has namespaces and an index of its own, and ids of its own in a namespace that all share, so it alone says what is in them. A statement or
transaction is acknowledged, has failed, or is *in doubt*: the connection was lost while it ran. `settle` finds out which of the latter took effect:
each wholly or not at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import threading
import time
from collections.abc import Callable

import psycopg
from model import Model, Record, contents, difference
from server import Server
from vectors import Numbers, as_text

#: index → namespace → id → record
State = dict[str, dict[str, dict[str, Record]]]

COMMON, SHARED = "common", "shared"

#: Clients' vectors are short, so that thousands of them are written and compared in no time; pages hold some 240 entries whatever is below 64.
DIMENSION = 8

#: From so many records on a namespace has lists; of so many that VACUUM puts some into lists in one more step.
TREE_ROWS, MANY = 1000, 4300

SETTINGS = {
    "conifer.tree_rows": str(TREE_ROWS),
    "autovacuum_naptime": "1s",
    "max_prepared_transactions": "10",
    "checkpoint_timeout": "30s",
}


@dataclasses.dataclass
class Step:
    """A statement, and what the client's state is after it."""

    sql: str
    parameters: list
    after: State


@dataclasses.dataclass
class Prepared:
    """A transaction in two phases: how it is to end, what is there then, and whether the first phase was acknowledged."""

    gid: str
    end: str
    after: State
    promised: bool = False


#: Clients' transactions have several operations that lock tables, in any order: PostgreSQL then ends one of two that wait for each other.
DEADLOCK = "40P01"

DISK_FULL = "53100"


def changed(state: State, index: str, namespace: str, records: dict[str, Record] | None) -> State:
    """The state with other records in a namespace; None: without the namespace."""
    namespaces = dict(state[index])
    namespaces.pop(namespace, None)
    if records is not None:
        namespaces[namespace] = records
    return {**state, index: namespaces}


class Client:
    """One connection after another, and what they have written."""

    def __init__(self, load: Load, number: int):
        self.load, self.number = load, number
        self.numbers = Numbers(load.seed * 1000 + number, DIMENSION)
        self.random: random.Random = self.numbers.random
        self.own = f"own-{number}"
        #: What is acknowledged; and what may be there instead, if something is in doubt.
        self.state: State = {COMMON: {SHARED: {}}}
        self.doubt: State | None = None
        self.prepared: Prepared | None = None
        self.failure: BaseException | None = None

    # what it does

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
        metadata = [psycopg.types.json.Jsonb(metadata) for _, metadata in new.values()]
        after = changed(state, index, namespace, state[index].get(namespace, {}) | new)
        return Step("SELECT pc_upsert(%s, %s, %s::text[], %s::vector[], %s::jsonb[])", [index, namespace, ids, vectors, metadata], after)

    def upsert_many(self, state: State) -> Step:
        return self.upsert(state, self.random.randint(TREE_ROWS, MANY))

    def upsert_json(self, state: State) -> Step:
        index, namespace = self.place(state)
        new = {id: self.record() for id in self.ids(self.random.randint(1, 8))}
        vectors = [{"id": id, "values": list(values), "metadata": metadata} for id, (values, metadata) in new.items()]
        after = changed(state, index, namespace, state[index].get(namespace, {}) | new)
        return Step("SELECT pc_upsert(%s, %s, %s)", [index, namespace, psycopg.types.json.Jsonb(vectors)], after)

    def update(self, state: State) -> Step | None:
        place = self.existing(state)
        records = state[place[0]][place[1]] if place else {}
        if not records:
            return None
        id, values = self.random.choice(sorted(records)), self.numbers.vector()
        metadata = records[id][1] | {"u": self.random.randrange(1000)}
        after = changed(state, *place, records | {id: (values, metadata)})
        set_metadata = psycopg.types.json.Jsonb({"u": metadata["u"]})
        return Step("SELECT pc_update(%s, %s, %s, %s::vector, %s)", [*place, id, as_text(values), set_metadata], after)

    def filtered(self, state: State) -> tuple[tuple[str, str], psycopg.types.json.Jsonb, set[str]] | None:
        """A namespace, a filter, and the ids that pass it. Not the shared one: others' records would pass too."""
        place = self.existing(state, shared=False)
        if place is None:
            return None
        group = self.random.randrange(20)
        ids = {id for id, (_, metadata) in state[place[0]][place[1]].items() if metadata.get("g") == group}
        return place, psycopg.types.json.Jsonb({"g": group}), ids

    def update_by_filter(self, state: State) -> Step | None:
        if (found := self.filtered(state)) is None:
            return None
        place, filter, ids = found
        records, mark = state[place[0]][place[1]], self.random.randrange(1000)
        new = {id: (records[id][0], records[id][1] | {"f": mark}) for id in ids}
        set_metadata = psycopg.types.json.Jsonb({"f": mark})
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
            [psycopg.types.json.Jsonb(metadata), place[1], ids],
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

    # how it does it

    def run(self):
        """Until the load is told to end, or the connection is lost."""
        try:
            with self.load.server.connect() as connection, contextlib.suppress(psycopg.OperationalError):
                while not self.load.ends.is_set():
                    self.act(connection)
        except psycopg.OperationalError:
            pass  # there was none, or no longer one
        except BaseException as failure:  # told by `join`
            self.failure = failure

    def act(self, connection: psycopg.Connection):
        kind = self.random.random()
        if kind < 0.70:
            step = self.choose(self.state)
            self.attempt(connection, step.sql, step.parameters, step.after)
        elif kind < 0.85:
            self.transaction(connection)
        else:
            self.maintain(connection)

    def attempt(self, connection: psycopg.Connection, sql: str, parameters: list, after: State) -> bool:
        """One statement in a transaction of its own, or the one that ends a transaction. Whether it succeeded."""
        try:
            connection.execute(sql, parameters)
        except psycopg.Error as error:
            if is_lost(connection, error):
                self.doubt = after
                raise psycopg.OperationalError("lost") from error
            self.load.note_error(error)
            return False
        self.state = after
        self.load.note("acknowledged")
        return True

    def transaction(self, connection: psycopg.Connection):
        """Some statements together, some of them undone by a savepoint; committed, rolled back, or in two phases."""
        state, gid = self.state, f"c{self.number}"
        try:
            connection.execute("BEGIN")
            for _ in range(self.random.randint(1, 4)):
                step = self.choose(state)
                undone = self.random.random() < 0.2
                if undone:
                    connection.execute("SAVEPOINT s")
                connection.execute(step.sql, step.parameters)
                if undone:
                    connection.execute("ROLLBACK TO s; RELEASE s")
                else:
                    state = step.after
        except psycopg.Error as error:
            # Lost or not, it was never told to commit.
            if is_lost(connection, error):
                raise psycopg.OperationalError("lost") from error
            self.load.note_error(error)
            connection.execute("ROLLBACK")
            return
        match self.random.random():
            case end if end < 0.6:
                self.attempt(connection, "COMMIT", [], state)
            case end if end < 0.8:
                self.attempt(connection, "ROLLBACK", [], self.state)
            case _:
                self.in_two_phases(connection, gid, state)
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            connection.execute("ROLLBACK")

    def in_two_phases(self, connection: psycopg.Connection, gid: str, state: State):
        end, after = self.random.choice((("COMMIT", state), ("ROLLBACK", self.state)))
        self.prepared = Prepared(gid, end, after)
        if self.attempt(connection, f"PREPARE TRANSACTION '{gid}'", [], self.state):
            self.prepared.promised = True
            while not self.attempt(connection, f"{end} PREPARED '{gid}'", [], after):
                time.sleep(0.05)  # it is promised, and what made it fail may pass
        self.prepared = None

    def maintain(self, connection: psycopg.Connection):
        """What changes no record."""
        leaf = self.leaf(connection)
        index = f"(SELECT i.indexrelid::regclass FROM pg_index i JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam \
                   WHERE indrelid = '{leaf}'::regclass AND amname = 'conifer' AND indisvalid)"
        match self.random.randrange(10):
            case 0:
                sql = "CHECKPOINT"
            case 1 if leaf:
                sql = f"VACUUM (FULL) {leaf}"
            case 2 if leaf:
                sql = f"REINDEX TABLE {leaf}"
            case 3 if leaf and self.number == 0:
                # Another's would wait for this one's snapshot, and this one for it.
                sql = f"REINDEX INDEX CONCURRENTLY {connection.execute(f'SELECT {index}').fetchone()[0]}"
            case _ if leaf:
                sql = f"VACUUM {leaf}"
            case _:
                return
        self.attempt(connection, sql, [], self.state)

    def leaf(self, connection: psycopg.Connection) -> str | None:
        place = self.existing(self.state)
        if place is None:
            return None
        query = "SELECT leaf FROM conifer.namespaces n JOIN conifer.indexes i USING (root) WHERE i.name = %s AND namespace = %s"
        row = connection.execute(query, list(place)).fetchone()
        return row[0] if row else None

    # what became of it

    def mine(self, found: State) -> State:
        """Of all that is there what this client has written."""
        mine = {}
        for index in (COMMON, self.own):
            if index in found:
                mine[index] = {
                    name: {id: record for id, record in records.items() if id.startswith(f"c{self.number}/")}
                    for name, records in found[index].items()
                    if name == SHARED or name.startswith(f"c{self.number}-")
                }
        return mine


class Load:
    """The clients, and what all of them together have written."""

    def __init__(self, server: Server, seed: int, clients: int = 4, allowed: frozenset[str] = frozenset()):
        self.server, self.seed = server, seed
        #: SQLSTATEs that statements may fail with.
        self.allowed = allowed | {DEADLOCK}
        self.counts: dict[str, int] = {}
        self.clients = [Client(self, number) for number in range(clients)]
        self.threads: list[threading.Thread] = []
        self.ends = threading.Event()

    def prepare(self):
        """What all share."""
        with self.server.connect() as connection:
            connection.execute("SELECT pc_create_index(%s, %s)", [COMMON, DIMENSION])
            connection.execute("SELECT pc_create_namespace(%s, %s)", [COMMON, SHARED])

    def start(self):
        self.ends.clear()
        self.threads = [threading.Thread(target=client.run) for client in self.clients]
        for thread in self.threads:
            thread.start()

    def join(self):
        """Waits for the clients, which end when their connections are lost or `ends` is set. What went wrong in one is raised here."""
        for thread in self.threads:
            thread.join(300)
            assert not thread.is_alive(), "a client hangs"
        for client in self.clients:
            if client.failure is not None:
                raise client.failure

    def note(self, what: str):
        self.counts[what] = self.counts.get(what, 0) + 1

    def note_error(self, error: psycopg.Error):
        # CHECKPOINT tells its reason in the log only.
        of_checkpoint = DISK_FULL in self.allowed and str(error).startswith("checkpoint request failed")
        if error.sqlstate not in self.allowed and not of_checkpoint:
            raise AssertionError(f"{error.sqlstate}: {error}") from error
        self.note(f"failed with {error.sqlstate}")

    def settle(self, connection: psycopg.Connection):
        """After a crash: ends prepared transactions, and finds out of each statement in doubt whether it took effect. Anything between is an error."""
        there = {gid for (gid,) in connection.execute("SELECT gid FROM pg_prepared_xacts").fetchall()}
        for client in self.clients:
            if (prepared := client.prepared) is not None:
                if prepared.gid in there:
                    connection.execute(f"{prepared.end} PREPARED '{prepared.gid}'")
                    there.remove(prepared.gid)
                    prepared.promised = True
                if prepared.promised:
                    client.state, client.doubt = prepared.after, None
                client.prepared = None
        assert there == set(), "prepared transactions of nobody"
        drop_invalid_indexes(connection)
        indexes = [name for (name,) in connection.execute("SELECT name FROM pc_list_indexes()").fetchall()]
        found = {index: contents(connection, index) for index in indexes}
        for client in self.clients:
            if client.doubt is not None:
                mine, what = client.mine(found), "in doubt, not there"
                if mine != client.state:
                    assert mine == client.doubt, describe(client, mine)
                    client.state, what = client.doubt, "in doubt, there"
                self.note(what)
            client.doubt = None

    def model(self) -> Model:
        model = Model()
        for client in self.clients:
            for index, namespaces in client.state.items():
                model.indexes.setdefault(index, {})
                for name, records in namespaces.items():
                    model.namespace(index, name).update(records)
        return model


def drop_invalid_indexes(connection: psycopg.Connection):
    """What REINDEX CONCURRENTLY leaves behind when it does not come to its end, as its manual says."""
    names = connection.execute("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid").fetchall()
    for (name,) in names:
        connection.execute(f"DROP INDEX {name}")


def describe(client: Client, mine: State) -> str:
    """What neither state has, in few words."""
    lines = [f"client {client.number}: neither wholly there nor wholly not"]
    for what, state in (("before", client.state), ("after", client.doubt)):
        lines.append(f"against {what}: indexes {sorted(state)}, found {sorted(mine)}")
        lines += [difference(index, state[index], mine[index]) for index in state.keys() & mine.keys() if state[index] != mine[index]]
    return "\n".join(lines)


def is_lost(connection: psycopg.Connection, error: psycopg.Error) -> bool:
    """Whether the server has gone, rather than refused: 57P01, 57P02 and 57P03 are its last words, and a refusal of new connections."""
    return connection.broken or error.sqlstate in ("57P01", "57P02", "57P03")
