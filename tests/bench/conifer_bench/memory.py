"""Memory of one of the server's processes, read from this machine's /proc: not known of a server that runs elsewhere."""

from __future__ import annotations

import pathlib

#: What the report says where it could not be read.
NOT_KNOWN = "not known: memory of a backend, for the server does not run on this machine"


def private_bytes(connection) -> int | None:
    """Resident memory that the backend of a connection shares with nobody: shared buffers and program text are not in it."""
    info = connection.info
    directory = pathlib.Path("/proc") / str(info.backend_pid)
    try:
        title = (directory / "cmdline").read_text(errors="replace")
        status = (directory / "status").read_text()
    except OSError:
        return None
    # on another machine, or in a container of its own, the same number is some other process's
    if not title.startswith("postgres: ") or f" {info.user} {info.dbname} " not in title:
        return None
    return anonymous(status)


def anonymous(status: str) -> int | None:
    """RssAnon of a /proc/…/status, in bytes."""
    found = [line.split() for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(found[0][1]) * 1024 if found else None


def held_bytes(connection) -> int:
    """The same, or what the backend's memory contexts have where that cannot be read: differences of it tell how it grows."""
    known = private_bytes(connection)
    if known is not None:
        return known
    return int(connection.execute("SELECT sum(total_bytes) FROM pg_backend_memory_contexts").fetchone()[0])
