"""A mixed load by several clients, of which it is known record by record what they have written.

Each client has namespaces and an index of its own, and ids of its own in a namespace that all share, so it alone says what is in them. A
statement or transaction is acknowledged, has failed, or is *in doubt*: the connection was lost while it ran. `settle` finds out which of
these took effect: each wholly or not at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time

import psycopg
from model import Model, contents, difference
from operations import COMMON, DIMENSION, SHARED, TREE_ROWS, Operations, State
from server import Server

SETTINGS = {
    "conifer.tree_rows": str(TREE_ROWS),
    "autovacuum_naptime": "1s",
    "max_prepared_transactions": "10",
    "checkpoint_timeout": "30s",
}


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


class Client(Operations):
    """One connection after another, and what they have written."""

    def __init__(self, load: Load, number: int):
        super().__init__(number, load.seed * 1000 + number)
        self.load = load
        #: What is acknowledged; and what may be there instead, if something is in doubt.
        self.state: State = {COMMON: {SHARED: {}}}
        self.doubt: State | None = None
        self.prepared: Prepared | None = None
        self.failure: BaseException | None = None

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
        """After a crash: ends prepared transactions, and finds out of each statement in doubt whether it took effect, whole or not."""
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
