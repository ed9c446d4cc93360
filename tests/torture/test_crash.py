"""Servers and backends killed under a mixed load: what was acknowledged is there afterwards, nothing else is, and every index is whole."""

import contextlib
import os
import random
import signal
import time

import psycopg
import pytest
from load import SETTINGS, Load
from model import verify
from server import Server
from torn import tear_pages
from watch import check_log


def kill_server(server: Server, _: random.Random):
    server.kill()
    server.start()


def stop_immediately(server: Server, _: random.Random):
    server.restart("immediate")


def kill_backend(server: Server, rng: random.Random):
    """One of the clients' or a worker: the server then restarts itself, and recovers."""
    end = time.monotonic() + 60
    query = "SELECT pid FROM pg_stat_activity WHERE backend_type IN ('client backend', 'autovacuum worker') AND pid <> pg_backend_pid()"
    # Its death is noticed when this connection is lost. A worker may have ended before it was killed: then another one.
    with server.connect() as connection, contextlib.suppress(psycopg.OperationalError):
        while True:
            victim = rng.choice([pid for (pid,) in connection.execute(query).fetchall()])
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            noticed = time.monotonic() + 5
            while time.monotonic() < noticed:
                connection.execute("SELECT pg_sleep(0.01)")
            assert time.monotonic() < end, "nobody notices that a backend was killed"
    server.wait()


def cycles(server: Server, seed: int, count: int, crash, enough=lambda: True) -> Load:
    """Load, crash, comparison; so often, on the same data, and up to ten times as often until it is `enough`."""
    load, rng = Load(server, seed), random.Random(seed)
    load.prepare()
    for number in range(10 * count):
        if number >= count and enough():
            break
        load.start()
        time.sleep(rng.uniform(0.2, 2.0))
        crash(server, rng)
        load.ends.set()
        load.join()
        with server.connect() as connection:
            load.settle(connection)
            verify(connection, load.model())
    work_on(server, load)
    check_log(server)
    return load


def work_on(server: Server, load: Load):
    """What was damaged without being seen is come upon here."""
    load.start()
    time.sleep(0.5)
    load.ends.set()
    load.join()
    with server.connect() as connection:
        connection.execute("VACUUM")
        verify(connection, load.model())


#: WAL that tells of fewer changes, and pages written to files long before their transactions end.
SPARING = {"wal_level": "minimal", "max_wal_senders": "0", "shared_buffers": "2MB"}


@pytest.mark.parametrize(
    ("name", "crash", "settings", "full", "short"),
    [
        ("killed server", kill_server, {}, 200, 3),
        ("killed server with little WAL", kill_server, SPARING, 50, 1),
        ("killed backend", kill_backend, {}, 50, 1),
        ("immediate stop", stop_immediately, {}, 50, 1),
    ],
)
def test_nothing_is_lost(make_server, seed, scaled, record_result, name, crash, settings, full, short):
    server = make_server(settings={**SETTINGS, **settings}).init()
    count = scaled(full, short)
    load = cycles(server, seed, count, crash)
    assert load.counts["acknowledged"] >= count
    record_result(f"crash-{name.replace(' ', '-')}", cycles=count, **load.counts)


def test_torn_pages_are_mended(make_server, seed, scaled, record_result):
    """As when power fails while pages are written: of those changed since the last checkpoint a part is lost, and WAL has them whole."""
    server = make_server(settings={**SETTINGS, "shared_buffers": "2MB", "full_page_writes": "on"}).init("--data-checksums")
    torn = []

    def tear(server: Server, rng: random.Random):
        with server.connect() as connection:
            query = "SELECT pg_relation_filepath(c.oid) FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE amname = 'conifer'"
            indexes = {path for (path,) in connection.execute(query).fetchall()}
        server.kill()
        torn.append(tear_pages(server, rng, indexes))
        server.start()

    count = scaled(50, 2)
    # A crash right after a checkpoint tears few pages, and perhaps none of an index.
    load = cycles(server, seed, count, tear, enough=lambda: any(of_indexes for _, of_indexes in torn))
    pages, of_indexes = (sum(some) for some in zip(*torn, strict=True))
    assert pages > 0
    assert of_indexes > 0, "no page of a vector index was torn"
    record_result("crash-torn-pages", cycles=len(torn), pages=pages, pages_of_vector_indexes=of_indexes, **load.counts)
