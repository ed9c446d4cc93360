"""What a server's log must not have in it, whatever was done to the server."""

from __future__ import annotations

import re

from server import Server

#: Broken invariants of PostgreSQL's or Rust's, and what the tests themselves never do to a process: they kill by SIGKILL, which is 9.
FAULTS = re.compile(
    r"PANIC:|TRAP:|panicked at|signal (4|6|7|8|11):|leak|still pinned|invalid page|damaged|could not (read|find) .*block|"
    r"invalid memory alloc|WAL contains references to invalid pages"
)


def check_log(server: Server, expected: str | None = None):
    """No line tells of a fault; but for those that have `expected` in them."""
    lines = [line for line in server.log().splitlines() if FAULTS.search(line)]
    faults = [line for line in lines if expected is None or not re.search(expected, line)]
    assert faults == [], "\n".join(faults[:20])
