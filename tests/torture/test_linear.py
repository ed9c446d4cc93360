"""Random calls and statements of eight clients on shared namespaces, with VACUUM and the growth of lists behind them: every record's
history must be one that a single register could have had (linear.py), call by call; and what is there at the end what the history
leaves.

That is what READ COMMITTED promises of each statement and each record. Across records a statement sees one snapshot, which is checked
elsewhere.
"""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator

import psycopg
from clients import at_work
from linear import NOTHING, Call, Read, check
from linear_clients import DIMENSION, IDS, INDEX, NAMESPACES, Client, Key, value_of, values_of, vector_of
from model import Model, contents, verify

CLIENTS = 8
#: Records that nobody else writes, so that there are enough for lists.
FILLING = 1500
SETTINGS = {"conifer.tree_rows": "1000", "deadlock_timeout": "100ms", "autovacuum_naptime": "1s"}


def fill(connection, number: int, numbers: random.Random):
    """Replaces some hundred of the filling, wherever it was swept away; then VACUUM, which makes lists and drops what is dead."""
    namespace, first = numbers.choice(NAMESPACES), numbers.randrange(0, FILLING, 500)
    ids = [f"filling {n}" for n in range(first, first + 500)]
    vectors = [vector_of(numbers.randrange(1 << 20)) for _ in ids]
    metadata = '{"v": -3, "g": 0}'
    upsert = "SELECT pc_upsert(%s, %s, %s::text[], %s::vector[], array_fill(%s::jsonb, ARRAY[500]))"
    with contextlib.suppress(psycopg.errors.DeadlockDetected):  # with a transaction of several statements
        connection.execute(upsert, [INDEX, namespace, ids, vectors, metadata])
    vacuum(connection, truncate=numbers.random() < 0.1)
    time.sleep(0.5)


def vacuum(connection, truncate: bool):
    """To truncate a table VACUUM waits for all locks on it, up to five seconds."""
    try:
        connection.execute(f'VACUUM (TRUNCATE {truncate}) "{INDEX}"')
    except psycopg.errors.InternalError_ as error:
        # PostgreSQL lists the partitions of partitions without a lock on them (find_all_inheritors in pg_inherits.c), and one that is
        # dropped meanwhile ends the statement.
        if not re.search("cache lookup failed for relation [0-9]+$", error.diag.message_primary):
            raise


def test_every_record_is_one_register(make_server, scaled, seed, record_result):
    server = make_server(settings=SETTINGS).init()
    with server.connect() as connection:
        connection.execute("SELECT pc_create_index(%s, %s, 'euclidean')", [INDEX, DIMENSION])
    values = [values_of(number, CLIENTS) for number in range(CLIENTS)]
    calls, statements, deadlocks, begun = Counter(), 0, 0, time.monotonic()
    left: dict[Key, int | None] = {}
    # A round's history begins with what the one before has left; so it need not be kept.
    for number in range(scaled(30, 1)):
        clients = one_round(server, values, scaled(60, 20), f"{seed} {number}")
        statements += sum(client.statements for client in clients)
        deadlocks += sum(client.deadlocks for client in clients)
        with server.connect() as connection:
            last, lists = final_reads(connection), lists_of(connection)
        histories = together(clients, last)
        violations = {key: found for key, history in histories.items() if (found := check(history, left.get(key, NOTHING)))}
        assert violations == {}, "\n".join(f"{key}: {found}" for key, found in violations.items())
        left = {key: call.value for key, call in last.items()}
        calls += Counter(type(call).__name__ for history in histories.values() for call in history)
    seconds = round(time.monotonic() - begun)
    record_result("linear", statements=statements, seconds=seconds, calls=dict(calls), deadlocks=deadlocks, violations=0, lists=lists)
    assert all(calls[kind] > 0 for kind in ("Write", "Change", "Exchange", "Read", "ReadSome", "ReadOther", "ReadOutside")), calls
    with server.connect() as connection:
        connection.execute(f'VACUUM "{INDEX}"')
        model = Model()
        model.indexes[INDEX] = contents(connection, INDEX)
        verify(connection, model)


def one_round(server, values: list[Iterator[int]], seconds: float, seed: str) -> list[Client]:
    """Has all clients at work for a while."""
    clients: dict[int, Client] = {}
    by_process: dict[int, Client] = {}

    def step(connection, number, numbers):
        if number not in clients:
            clients[number] = Client(connection, numbers, values[number], by_process)
        clients[number].step()

    at_work(server, [step] * CLIENTS + [fill], seconds, seed)
    return list(clients.values())


def final_reads(connection) -> dict[Key, Call]:
    """A read of every record when all is done."""
    start = time.monotonic_ns()
    found = {
        (namespace, id): value_of(vector, metadata)
        for namespace, id, vector, metadata in connection.execute(
            f'SELECT namespace, id, ("values"::real[])[1:2], metadata FROM "{INDEX}" WHERE id LIKE %s', ["id%"]
        ).fetchall()
    }
    end = time.monotonic_ns()
    return {(namespace, id): Read(start, end, found.get((namespace, id), NOTHING)) for namespace in NAMESPACES for id in IDS}


def together(clients, last: dict[Key, Call]) -> dict[Key, list[Call]]:
    """All that was done to each record, by all clients."""
    histories: dict[Key, list[Call]] = defaultdict(list)
    for client in clients:
        for key, calls in client.history.items():
            histories[key] += calls
    for key, call in last.items():
        histories[key].append(call)
    return histories


def lists_of(connection) -> dict[str, int]:
    """How many lists each namespace's vector index has come to."""
    rows = connection.execute(
        """SELECT n.namespace, (conifer_inspect(c.oid::regclass)->>'lists')::int
           FROM conifer.namespaces n JOIN pg_index x ON x.indrelid = n.leaf JOIN pg_class c ON c.oid = x.indexrelid AND c.relkind = 'i'
           WHERE c.relam = (SELECT oid FROM pg_am WHERE amname = 'conifer')"""
    ).fetchall()
    return dict(rows)
