"""The disk becomes full under load: statements fail with 53100, or the server ends where it cannot go on; with room again all is there."""

import time

import pytest
from load import DISK_FULL, SETTINGS, Load
from model import verify
from server import Server
from volume import CannotMount, Volume, volume
from watch import check_log

#: With room for an empty cluster, WAL and some load.
MEGABYTES = 256

WAL = {"max_wal_size": "32MB", "min_wal_size": "4MB", "wal_recycle": "off"}


@pytest.fixture
def disk(kind, rounds, make_server):
    """A server not yet initialised whose data directory is a volume."""
    if rounds == 0:
        pytest.skip("of the full form only")
    server = make_server(settings={**SETTINGS, **WAL})
    server.make_directory()
    try:
        with volume(kind, server.data, MEGABYTES) as disk:
            try:
                yield server, disk
            finally:
                server.kill()
    except CannotMount as reason:
        pytest.skip(f"no {kind} volume: {reason}")


def fill_up(server: Server, disk: Volume, load: Load, failures: int):
    """Keeps the disk full under load until so many statements have failed of it, or the server has."""
    end = time.monotonic() + 300
    before = load.counts.get(f"failed with {DISK_FULL}", 0)
    while load.counts.get(f"failed with {DISK_FULL}", 0) - before < failures and any(thread.is_alive() for thread in load.threads):
        assert time.monotonic() < end, "nobody notices that the disk is full"
        disk.fill()
        time.sleep(0.05)


@pytest.fixture
def rounds(scaled, short) -> int:
    return scaled(20, short)


@pytest.mark.parametrize(
    ("kind", "where", "short"),
    [("tmpfs", "WAL on it", 1), ("ext4", "WAL elsewhere", 1), ("tmpfs", "WAL elsewhere", 0), ("ext4", "WAL on it", 0)],
)
def test_full_disk(disk, seed, scaled, record_result, kind, where, rounds):
    server, volume = disk
    waldir = ["--waldir", str(server.directory / "wal")] if where == "WAL elsewhere" else []
    server.init("--wal-segsize=1", *waldir)
    load = Load(server, seed, allowed=frozenset({DISK_FULL}))
    load.prepare()
    for _ in range(rounds):
        load.start()
        time.sleep(0.5)
        fill_up(server, volume, load, scaled(50, 10))
        volume.make_room()
        load.ends.set()
        load.join()
        server.wait(starts=True)
        with server.connect() as connection:
            load.settle(connection)
            verify(connection, load.model())
            connection.execute("VACUUM")
            verify(connection, load.model())
    panicked = "PANIC" in server.log()
    failed = load.counts.get(f"failed with {DISK_FULL}", 0)
    assert failed > 0 or panicked
    # Not for WAL alone: a checkpoint, too, ends the server when it finds no room (replorigin_checkpoint.tmp).
    check_log(server, expected="No space left on device|signal 6:")
    record_result(f"full-disk-{kind}-{where.replace(' ', '-')}", rounds=rounds, panicked=panicked, **load.counts)
