"""Writers of a namespace against whoever makes, drops, renames or copies it, or drops the index under them.

The clients keep what they were told and when: each call with a moment before it and one after. At the end that
history tells of every record whether it must be there, must not be there, or may.
"""

from __future__ import annotations

import math
import threading
import time
import zlib
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass

import psycopg
import pytest
from psycopg.types.json import Jsonb

from conftest import OURS
from test_concurrency import WAIT, blocked, check_catalog, connect, index, together  # noqa: F401 - a fixture
from test_move import check_indexes

BATCH = 10  # records of a group, which are written by one call: enough to be inserted together


@dataclass(frozen=True)
class Call:
    """What was answered, and moments before and after."""

    start: int
    end: int
    answer: list | psycopg.Error

    @property
    def failed(self) -> bool:
        return isinstance(self.answer, psycopg.Error)

    def is_before(self, other: Call) -> bool:
        return self.end < other.start


@dataclass(frozen=True)
class Write:
    group: str
    version: int
    call: Call


def call(connection, statement: str, *parameters) -> Call:
    start = time.monotonic_ns()
    try:
        cursor = connection.execute(statement, parameters)
        answer = cursor.fetchall() if cursor.description else []  # CALL tells nothing
    except psycopg.Error as error:
        answer = error
    return Call(start, time.monotonic_ns(), answer)


def group_of(name: str, version: int) -> list[dict]:
    metadata = {"group": name, "version": version}
    ids = [f"{name}/{n}" for n in range(BATCH)]
    return [{"id": id, "values": vector_of(id, version), "metadata": metadata} for id in ids]


def vector_of(id: str, version: int) -> list[int]:
    high, low = divmod(zlib.crc32(f"{id} {version}".encode()), 1 << 16)
    return [1 + high, 1 + low]


def write(connection, index: str, namespace: str, group: str, version: int = 0) -> Write:
    records = Jsonb(group_of(group, version))
    return Write(group, version, call(connection, "SELECT pc_upsert(%s, %s, %s)", index, namespace, records))


def read(connection, index: str, namespace: str) -> Call:
    statement = f'SELECT id, "values"::real[], metadata FROM "{index}" WHERE namespace = %s'
    return call(connection, statement, namespace)


def fetch(connection, index: str, namespace: str) -> Call:
    statement = "SELECT id, values::real[], metadata FROM pc_fetch_by_metadata(%s, %s, %s, 10000)"
    return call(connection, statement, index, namespace, Jsonb({"version": {"$gte": 0}}))


def errors_of(calls: Iterable[Call]) -> list[str]:
    return [f"{call.answer.sqlstate} {call.answer}" for call in calls if call.failed]


def groups(rows: list[tuple[str, list[float], dict]]) -> dict[str, int]:
    """The groups among these rows and their versions; each is whole, and as it was written at one time."""
    found = defaultdict(list)
    for id, vector, metadata in rows:
        found[metadata["group"]].append({"id": id, "values": vector, "metadata": metadata})
    versions = {name: records[0]["metadata"]["version"] for name, records in found.items()}
    for name, records in found.items():
        records.sort(key=lambda record: record["id"])
        assert records == group_of(name, versions[name]), "torn, or twice"
    return versions


def histories(writes: list[Write]) -> dict[str, list[Write]]:
    """The writes of each group; one client makes them, one after the other, with growing versions."""
    found = defaultdict(list)
    for written in writes:
        found[written.group].append(written)
    return found


def check_read(
    asked: Call, found: dict[str, int], written: dict[str, list[Write]], drops: Iterable[Call] = ()
) -> None:
    """May these groups be what a call found, after those writes and drops of everything?

    What overlaps in time may have come in either order.
    """
    gone = max((drop.start for drop in drops if drop.is_before(asked)), default=0)  # with all written before
    going = max((drop.end for drop in drops if drop.start <= asked.end), default=0)  # perhaps, if begun before
    assert found.keys() <= written.keys(), "nobody was told that this is written"
    for group, history in written.items():
        done = bisect_left(history, asked.start, key=lambda write: write.call.end)
        last = history[done - 1] if done else None
        if group not in found:
            assert last is None or last.call.start <= going, f"{last} is lost at {asked.start}"
            continue
        seen = next(write for write in reversed(history) if write.version == found[group])
        assert seen.call.start <= asked.end, f"{seen} is there too early, at {asked.end}"
        assert last is None or last.version <= seen.version, f"{seen} is there at {asked.start}, after {last}"
        assert seen.call.end >= gone, f"{seen} is there at {asked.start}, after all was dropped"


def make_trigger(connection, index: str) -> None:
    """Makes writes and copies go through SQL on the root."""
    connection.execute(
        "CREATE OR REPLACE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
    )
    connection.execute(
        f'CREATE TRIGGER t AFTER INSERT ON "{index}" FOR EACH ROW EXECUTE FUNCTION public.nothing()'
    )


def until(condition: Callable[[], bool]) -> None:
    """Waits for the other clients to come so far."""
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "stuck"
        time.sleep(0.001)


@pytest.mark.parametrize("undone", [False, True], ids=["kept", "undone"])
def test_first_upserts_with_shared_ids(database, index, undone):
    """Sixteen make one namespace at once, of records of their own and two of everybody's. A few roll back."""
    clients, rounds, shared = 16, 60, ["all 0", "all 1"]
    gate = threading.Barrier(clients)

    def own(client: int) -> list[str]:
        return [f"client {client:02} {n}" for n in range(BATCH)]

    def is_undone(client: int, round: int) -> bool:
        return undone and (client + round) % 4 == 0

    def work(connection, client):
        calls = []
        for round in range(rounds):
            ids = (own(client) + shared)[:: (-1) ** client]
            records = [{"id": id, "values": [1, client], "metadata": {"by": client}} for id in ids]
            gate.wait(WAIT)
            with connection.transaction(force_rollback=is_undone(client, round)) if undone else nullcontext():
                statement = "SELECT pc_upsert(%s, %s, %s)"
                calls.append(call(connection, statement, index, f"tenant {round}", Jsonb(records)))
        return calls

    results = together(database, clients, work)
    assert errors_of(call for calls in results for call in calls) == []
    assert all(call.answer == [(BATCH + len(shared),)] for calls in results for call in calls)
    with connect(database) as connection:
        check_catalog(connection, index)
        for round in range(rounds):
            rows = connection.execute(
                f'SELECT id, "values"::text, metadata, tableoid FROM "{index}" WHERE namespace = %s ORDER BY id',
                [f"tenant {round}"],
            ).fetchall()
            kept = [client for client in range(clients) if not is_undone(client, round)]
            assert [row[0] for row in rows] == shared + [id for client in kept for id in own(client)]
            assert len({leaf for *_, leaf in rows}) == 1
            for id, vector, metadata, _ in rows:
                assert metadata["by"] in kept
                assert id in own(metadata["by"]) + shared
                assert vector == f"[1,{metadata['by']}]"
            # whoever wrote the one last wrote the other last
            assert len({metadata["by"] for id, _, metadata, _ in rows if id in shared}) == 1
        names = connection.execute("SELECT name, record_count FROM pc_list_namespaces(%s)", [index]).fetchall()
        count = len(shared) + BATCH * (clients - (clients // 4 if undone else 0))
        assert names == sorted((f"tenant {round}", count) for round in range(rounds))


@pytest.mark.parametrize("function", ["pc_delete", "pc_delete_namespace"])
def test_upserts_while_all_is_deleted(database, index, function):
    """What was written after a deletion stays, what was written before it does not come back, and nobody fails.

    Records that are written once only are counted too: each was either deleted once or is still there.
    """
    once = function == "pc_delete"
    statement = f"SELECT {function}(%s, 't'{', delete_all => true' if once else ''})"
    writers, deleters, deletions = 5, 2, 120
    running = [True] * deleters
    writes: list[Write] = []
    drops: list[Call] = []
    reads: list[Call] = []

    def work(connection, client):
        if client < deleters:
            try:
                for _ in range(deletions):
                    known = len(writes)
                    until(lambda: len(writes) > known + 2)
                    drops.append(call(connection, statement, index))
            finally:
                running[client] = False
            return
        step = 0
        while any(running) or step == 0:
            if client == deleters:
                ask = read if step % 2 else fetch
                reads.append(ask(connection, index, "t"))
                until(lambda: len(drops) > step or not any(running))
            else:
                group = f"{client}-{step if once else step % 4}"
                writes.append(write(connection, index, "t", group, step))
            step += 1

    assert together(database, writers + deleters + 1, work) == [None] * (writers + deleters + 1)
    assert errors_of([*(write.call for write in writes), *drops, *reads]) == []
    assert len(drops) == deleters * deletions
    with connect(database) as connection:
        check_catalog(connection, index)
        reads.append(read(connection, index, "t"))
        written = histories(writes)
        for asked in reads:
            check_read(asked, groups(asked.answer), written, drops)
        deleted = sum(drop.answer[0][0] for drop in drops)
        assert deleted > 0
        if once:
            assert deleted + len(reads[-1].answer) == BATCH * len(writes)
        check_indexes(connection, index)


@pytest.mark.parametrize("trigger", [False, True], ids=["direct", "sql"])
def test_upserts_while_a_namespace_goes_to_and_fro(database, index, trigger):
    """Whoever upserts finds the namespace or makes it anew; a record is in one of them, with all of its batch.

    Renaming to a name that was made meanwhile is refused; then the one or the other is put aside.
    """
    writers, movers, turns = 4, 2, 15
    running = [True] * movers
    writes: list[Write] = []
    moves: list[Call] = []
    if trigger:
        with connect(database) as connection:
            make_trigger(connection, index)

    def work(connection, client):
        def move(old, new):
            moves.append(call(connection, "SELECT pc_rename_namespace(%s, %s, %s)", index, old, new))

        if client < movers:
            try:
                until(lambda: {"a", "b"} <= {write.group[0] for write in writes})
                for turn in range(turns):
                    until(lambda: len(writes) > 3 * turn)
                    if client == 0:
                        move("a", "b")
                        move("b", "a")
                    else:
                        move("ab"[turn % 2], f"aside {turn}")
            finally:
                running[client] = False
            return
        step = 0
        while any(running) or step == 0:
            namespace = "b" if client == movers else "a"
            until(lambda: len(writes) < 10 * (len(moves) + 1) or not any(running))
            writes.append(write(connection, index, namespace, f"{namespace} {client}-{step}"))
            step += 1

    assert together(database, writers + movers, work) == [None] * (writers + movers)
    assert errors_of(write.call for write in writes) == []
    refusals = (psycopg.errors.DuplicateObject, psycopg.errors.UndefinedObject)
    assert errors_of(move for move in moves if not isinstance(move.answer, refusals)) == []
    assert not all(move.failed for move in moves)
    with connect(database) as connection:
        check_catalog(connection, index)
        rows = connection.execute(f'SELECT namespace, id, "values"::real[], metadata FROM "{index}"').fetchall()
        names = {namespace for namespace, *_ in rows}
        assert names <= {"a", "b"} | {f"aside {turn}" for turn in range(turns)}
        found = [group for name in names for group in groups([row[1:] for row in rows if row[0] == name])]
        assert sorted(found) == sorted(write.group for write in writes)
        check_indexes(connection, index)


def test_updates_and_deletes_while_a_namespace_goes_to_and_fro(database, index):
    """They find the namespace under one of its names, or nothing; what they were told is done stays done."""
    clients, turns, own, passing = 5, 151, 32, 40
    done = threading.Event()
    told: list[list[tuple[str, str | None]]] = [[] for _ in range(clients)]
    with connect(database) as connection:
        ids = [f"{client}-{n}" for client in range(clients) for n in range(own)]
        ids += [f"{client}-passing-{n}" for client in range(clients) for n in range(passing)]
        records = [{"id": id, "values": [1, 1], "metadata": {"id": id}} for id in ids]
        connection.execute("SELECT pc_upsert(%s, 'a', %s)", [index, Jsonb(records)])

    def move(connection):
        moves = []
        try:
            for turn in range(turns):
                known = sum(map(len, told))
                until(lambda: sum(map(len, told)) > known + 2)
                old, new = "ab"[turn % 2], "ba"[turn % 2]
                moves.append(call(connection, "SELECT pc_rename_namespace(%s, %s, %s)", index, old, new))
        finally:
            done.set()
        return moves

    def work(connection, client):
        if client == clients:
            return move(connection)
        calls = []
        step = 0
        while not done.is_set():
            deletes, n = divmod(step, 5)
            namespace = "ab"[len(calls) % 2]
            if n == 4 and deletes < passing:
                id, key = f"{client}-passing-{deletes}", None
                asked = call(connection, "SELECT pc_delete(%s, %s, %s)", index, namespace, [id])
            else:
                id, key = f"{client}-{step % own}", f"step {step}"
                statement = "SELECT pc_update(%s, %s, %s, set_metadata => %s)"
                asked = call(connection, statement, index, namespace, id, Jsonb({key: step}))
            calls.append(asked)
            if asked.answer == [(1,)]:
                told[client].append((id, key))
                step += 1
        return calls

    results = together(database, clients + 1, work)
    assert errors_of(call for calls in results for call in calls) == []
    assert all(call.answer in ([(0,)], [(1,)]) for calls in results[:clients] for call in calls)
    with connect(database) as connection:
        expected = {id: {"id"} for id in ids}
        for id, key in (pair for pairs in told for pair in pairs):
            if key is None:
                del expected[id]
            else:
                expected[id].add(key)
        rows = connection.execute(f'SELECT namespace, id, metadata FROM "{index}"').fetchall()
        assert sorted(id for _, id, _ in rows) == sorted(expected)
        assert {namespace for namespace, *_ in rows} == {"ab"[turns % 2]}
        for _, id, metadata in rows:
            assert metadata.keys() == expected[id]
        check_indexes(connection, index)


@pytest.fixture
def another(database):
    """The name of a second index, with another metric."""
    with connect(database) as connection:
        connection.execute("SELECT pc_create_index('another', 2, metric => 'euclidean')")
        yield "another"
        connection.execute("SELECT pc_delete_index('another')")


@pytest.mark.parametrize("trigger", [False, True], ids=["direct", "sql"])
def test_upserts_while_a_namespace_is_copied(database, index, another, trigger):
    """A copy is the namespace at one moment of the call: each transaction is in it as a whole or not at all."""
    writers, copiers, copies = 4, 2, 20
    running = [True] * copiers
    writes: list[Write] = []
    copied: dict[tuple[str, str], Call] = {}
    targets = [index, another]
    if trigger:
        with connect(database) as connection:
            for target in targets:
                make_trigger(connection, target)

    def write_in_parts(connection, group, version) -> Write:
        start = time.monotonic_ns()
        with connection.transaction():
            calls = [
                call(connection, "SELECT pc_upsert(%s, 't', %s)", index, Jsonb(record))
                for record in group_of(group, version)
            ]
        failed = [call for call in calls if call.failed]
        return Write(group, version, Call(start, time.monotonic_ns(), (failed or calls)[0].answer))

    def work(connection, client):
        if client < copiers:
            try:
                for n in range(copies):
                    known = len(writes)
                    until(lambda: len(writes) > known + 2)
                    place = (targets[client], f"copy {n}")
                    copied[place] = call(
                        connection, "SELECT pc_copy_namespace(%s, 't', %s, %s)", index, place[1], place[0]
                    )
            finally:
                running[client] = False
            return
        step = 0
        while any(running) or step == 0:
            until(lambda: len(writes) < 20 * (len(copied) + 1) or not any(running))
            group = f"{client}-{step % 20}"  # new ones at first, then replaced
            if step % 3:
                writes.append(write(connection, index, "t", group, step))
            else:
                writes.append(write_in_parts(connection, group, step))
            step += 1

    assert together(database, writers + copiers, work) == [None] * (writers + copiers)
    assert errors_of([*(write.call for write in writes), *copied.values()]) == []
    assert len(copied) == copiers * copies
    written = histories(writes)
    with connect(database) as connection:
        for (target, namespace), asked in copied.items():
            rows = read(connection, target, namespace).answer
            assert asked.answer == [(len(rows),)]
            check_read(asked, groups(rows), written)
        asked = read(connection, index, "t")
        check_read(asked, groups(asked.answer), written)
        for target in targets:
            check_catalog(connection, target)
            check_indexes(connection, target)


@pytest.mark.parametrize("trigger", [False, True], ids=["direct", "sql"])
def test_an_index_made_anew_under_its_clients(database, index, trigger):
    """Once dropped there is no such index, and nothing of it; made anew, with another metric, it is used at once."""
    clients, rounds, some = 8, 12, 10
    scores = {  # against [1,1]
        "cosine": lambda x, y: (x + y) / math.sqrt(2 * (x * x + y * y)),
        "dotproduct": lambda x, y: x + y,
        "euclidean": lambda x, y: (x - 1) ** 2 + (y - 1) ** 2,
    }
    metrics = [list(scores)[round % len(scores)] for round in range(rounds + 1)]
    done = threading.Event()
    succeeded, refused = [0] * clients, [0] * clients
    drops: list[Call] = []
    creations: list[Call] = []
    if trigger:
        with connect(database) as connection:
            make_trigger(connection, index)

    def all_come_on(counts: list[int]) -> None:
        known = list(counts)
        until(lambda: all(now >= before + some for now, before in zip(counts, known, strict=True)))

    def drop_and_create(connection):
        try:
            for metric in metrics[1:]:
                all_come_on(succeeded)
                drops.append(call(connection, "SELECT pc_delete_index(%s)", index))
                assert errors_of(drops) == []
                all_come_on(refused)
                left = connection.execute(
                    "SELECT (SELECT count(*) FROM conifer.namespaces) + (SELECT count(*) FROM conifer.buckets)"
                    " + (SELECT count(*) FROM pg_class WHERE relnamespace = 'conifer_data'::regnamespace)"
                )
                assert left.fetchone() == (0,)
                start = time.monotonic_ns()
                with connection.transaction():
                    created = call(connection, "SELECT pc_create_index(%s, 2, %s)", index, metric)
                    if trigger:
                        make_trigger(connection, index)
                creations.append(Call(start, time.monotonic_ns(), created.answer))
            all_come_on(succeeded)
        finally:
            done.set()

    def work(connection, client):
        if client == clients:
            return drop_and_create(connection)
        calls: list[Call] = []
        writes: list[Write] = []
        reads: list[Call] = []
        queries: list[Call] = []

        def ask(asked: Call) -> Call:
            calls.append(asked)
            (refused if asked.failed else succeeded)[client] += 1
            return asked

        def query(namespace: str) -> Call:
            columns, options = "score, values::real[]", "include_values => true"
            statement = f"SELECT {columns} FROM pc_query(%s, %s, '[1,1]', {BATCH}, {options})"
            return ask(call(connection, statement, index, namespace))

        step = 0
        while not done.is_set():
            written = write(connection, index, f"of {client}", f"{client}-{step % 50}", step)
            if not ask(written.call).failed:
                writes.append(written)
            reads.append(ask(fetch(connection, index, f"of {client}")))
            asked = query(f"of {client}")
            queries.append(Call(written.call.start, asked.end, asked.answer))
            # everybody's, and one that was not there yet
            for namespace in ("of all", f"{step % 20} of {client}"):
                ask(write(connection, index, namespace, f"{client}-{step}").call)
                query(namespace)
            step += 1
        return calls, writes, reads, queries

    *results, nothing = together(database, clients + 1, work)
    assert nothing is None
    assert errors_of(creations) == []
    assert len(drops) == len(creations) == rounds

    def is_within(asked: Call, start: int, end: int) -> bool:
        return start < asked.start and asked.end < end

    for asked in (asked for calls, *_ in results for asked in calls):
        gaps = zip(drops, creations, strict=True)
        if asked.failed:
            assert isinstance(asked.answer, psycopg.errors.UndefinedObject), errors_of([asked])
            assert asked.answer.diag.message_primary == f'index "{index}" does not exist'
            near = [drop.start <= asked.end and asked.start <= made.end for drop, made in gaps]
            assert any(near), "it was there"
        else:
            assert not any(is_within(asked, drop.end, made.start) for drop, made in gaps), "it was not there"
    starts = [0, *(made.end for made in creations)]
    ends = [*(drop.start for drop in drops), time.monotonic_ns()]
    for metric, start, end in zip(metrics, starts, ends, strict=True):
        answers = [ask.answer for *_, queries in results for ask in queries if is_within(ask, start, end)]
        assert len(answers) >= clients
        for answer in answers:
            expected = [scores[metric](*values) for _, values in answer]
            assert len(answer) == BATCH and [score for score, _ in answer] == pytest.approx(expected)
    with connect(database) as connection:
        check_indexes(connection, index)
        for client, (_, writes, reads, _) in enumerate(results):
            written = histories(writes)
            for asked in [*reads, read(connection, index, f"of {client}")]:
                if not asked.failed:
                    check_read(asked, groups(asked.answer), written, drops)


@pytest.fixture
def reader(database):
    """A role that may use Conifer, and reads what it is granted."""
    with connect(database) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute(f"CREATE ROLE reader; GRANT USAGE ON SCHEMA {OURS} TO reader")
        yield "reader"
        connection.execute("DROP OWNED BY reader; DROP ROLE reader")


@pytest.mark.parametrize("deletion", ["SELECT pc_delete_index(%s)", "CALL pc_delete_index_in_batches(%s, 3)"], ids=["whole", "batches"])
@pytest.mark.parametrize("kind", ["create", "copy", "rename", "row security"])
def test_an_index_dropped_while_namespaces_are_made_or_read(database, reader, kind, deletion):
    """Nobody waits in a circle with the drop: a call is done before it, or what it needs is gone."""
    clients, rounds, name = 5, 10, "short-lived"
    statements = {
        "create": ("SELECT pc_create_namespace(%s, %s)", "new"),
        "copy": ("SELECT pc_copy_namespace(%s, %s, %s)", "own", "new"),
        "rename": ("SELECT pc_rename_namespace(%s, %s, %s)", "own", "new"),
        "row security": ("SELECT id FROM pc_query(%s, %s, '[1,1]')", "own"),
    }
    statement, *needed = statements[kind]
    done = threading.Event()
    succeeded = [0] * clients

    def drop(connection):
        calls = []
        try:
            for _ in range(rounds):
                with connection.transaction():
                    calls.append(call(connection, "SELECT pc_create_index(%s, 2)", name))
                    connection.execute(
                        f'ALTER TABLE "{name}" ENABLE ROW LEVEL SECURITY; GRANT SELECT ON "{name}" TO {reader};'
                        f' CREATE POLICY everything ON "{name}" USING (true)'
                    )
                known = list(succeeded)
                until(lambda: all(now > before for now, before in zip(succeeded, known, strict=True)))
                calls.append(call(connection, deletion, name))
                assert errors_of(calls) == []
        finally:
            done.set()
        return calls

    def work(connection, client):
        if client == clients:
            return drop(connection)
        calls = []
        step = 0
        while not done.is_set():
            names = {"own": f"of {client}", "new": f"{step} of {client}"}
            calls.append(write(connection, name, names["own"], f"{client}").call)
            connection.execute(f"SET ROLE {reader if kind == 'row security' else 'NONE'}")
            calls.append(call(connection, statement, name, *(names[which] for which in needed)))
            connection.execute("RESET ROLE")
            succeeded[client] += not calls[-1].failed
            calls.append(call(connection, "SELECT pc_delete_namespace(%s, %s)", name, names["new"]))
            step += 1
        return calls

    try:
        *results, drops = together(database, clients + 1, work)
    finally:
        with connect(database) as connection:
            left = connection.execute("SELECT pc_delete_index(name) FROM pc_list_indexes()").fetchall()
    assert len(drops) == 2 * rounds and left == []
    unknown = psycopg.errors.UndefinedObject
    assert errors_of(call for calls in results for call in calls if not isinstance(call.answer, unknown)) == []


def test_first_upserts_under_a_long_name(database):
    """PostgreSQL shortens names that it makes for the indexes of namespaces: no two may come to the same."""
    clients, rounds = 8, 30
    name = "a-name-of-45-characters-as-long-as-it-may-be1"
    with connect(database) as connection:
        connection.execute("SELECT pc_create_index(%s, 2)", [name])

    def work(connection, client):
        calls = []
        for round in range(rounds):
            namespace = f"{client}-{round % 3}"
            calls.append(write(connection, name, namespace, f"{client}-{round}").call)
            if round < rounds - 3:
                calls.append(call(connection, "SELECT pc_delete_namespace(%s, %s)", name, namespace))
        return calls

    results = together(database, clients, work)
    with connect(database) as connection:
        check_catalog(connection, name)
        check_indexes(connection, name)
        connection.execute("SELECT pc_delete_index(%s)", [name])
    assert errors_of(call for calls in results for call in calls) == []


def test_whoever_waited_for_a_renamed_one_lets_go_of_it(database, index):
    """An upsert that waited for a rename makes the namespace anew, and keeps no lock on the renamed one."""

    def begin(connection):
        connection.execute("BEGIN")
        return write(connection, index, "a", "new").call

    with connect(database, autocommit=False) as mover, connect(database) as watcher:
        write(watcher, index, "a", "old")
        mover.execute("SELECT pc_rename_namespace(%s, 'a', 'b')", [index])
        with blocked(database, begin) as waiting:
            mover.commit()
            assert errors_of([waiting.result(WAIT)]) == []
            locked = watcher.execute(
                "SELECT n.name, l.mode FROM pc_list_namespaces(%s) n JOIN pg_locks l ON l.relation = n.relation"
                " WHERE l.mode = 'RowExclusiveLock'",
                [index],
            )
            assert locked.fetchall() == []
