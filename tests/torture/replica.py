"""Base backups and the servers made of them: a standby that follows its primary, and one restored to a point."""

from __future__ import annotations

import pathlib
import time

import psycopg
from server import Server, run

#: A primary whose replicas get everything soon. Autovacuum works while the tests do.
PRIMARY = {
    "wal_level": "replica",
    "max_wal_senders": "8",
    "wal_keep_size": "256MB",
    "hot_standby_feedback": "off",
    "autovacuum_naptime": "1s",
    # Lists from so few rows on.
    "conifer.tree_rows": "1000",
}

#: What a query on a standby may be told when replay goes on without it: 40001, and 40P01 where it was waiting for a lock itself.
CONFLICTS = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)


def back_up(primary: Server, to: Server, *options: str):
    """A base backup of a running server as another's data directory."""
    to.make_directory()
    primary.program("pg_basebackup", "-h", primary.directory, "-U", "postgres", "-D", to.data, "-c", "fast", "--no-sync", *options)


def follow(primary: Server, standby: Server) -> Server:
    """Starts a standby of a running primary."""
    back_up(primary, standby, "-R", "-X", "stream")
    standby.start()
    return standby


def restore(backup: Server, restored: Server, archive: pathlib.Path, **target: str) -> Server:
    """Starts a copy of a base backup, recovered from an archive of WAL to a target (`name`, `time` …) and no farther."""
    restored.make_directory()
    run("cp", "-a", backup.data, restored.data)
    run("touch", restored.data / "recovery.signal")
    settings = {"restore_command": f"'cp {archive}/%f %p'", "recovery_target_action": "promote"}
    settings |= {f"recovery_target_{what}": f"'{value}'" for what, value in target.items()}
    restored.settings = restored.settings | settings
    restored.start()
    with restored.connect() as connection:
        wait_until(lambda: not value(connection, "SELECT pg_is_in_recovery()"), "recovery does not end")
    return restored


def make_archive(directory: pathlib.Path) -> dict[str, str]:
    """A folder for archived WAL, and the settings that fill it."""
    directory.mkdir(parents=True)
    directory.chmod(0o777)
    return {"archive_mode": "on", "archive_command": f"'cp %p {directory}/%f'"}


def value(connection: psycopg.Connection, query: str, arguments: list | None = None):
    return connection.execute(query, arguments).fetchone()[0]


def wait_until(is_so, otherwise: str, seconds: float = 120):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, otherwise
        time.sleep(0.02)


def catch_up(primary: psycopg.Connection, standby: psycopg.Connection):
    """Waits until the standby has replayed all that the primary has written by now."""
    written = value(primary, "SELECT pg_current_wal_insert_lsn()")
    replayed = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
    wait_until(lambda: value(standby, replayed, [written]), f"the standby does not come to {written}")


def promote(standby: Server):
    standby.program("pg_ctl", "promote", "-w", "-s", "-D", standby.data)


def refusal(connection: psycopg.Connection, statement: str) -> str | None:
    """The SQLSTATE it ends with, none if it does not fail."""
    try:
        connection.execute(statement)
    except psycopg.Error as error:
        return error.sqlstate
    return None


def wait_at_gate(gatekeeper: psycopg.Connection):
    """Until somebody waits for an advisory lock that the test holds."""
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    wait_until(lambda: value(gatekeeper, waits) == 1, "nothing comes to the gate")
