"""Autovacuum, which the server of a benchmark has switched off but where it is what is measured."""

from __future__ import annotations

import contextlib
import time

from . import measure
from .context import Context

_WORKERS = "FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND datname = current_database()"


@contextlib.contextmanager
def switched_on(context: Context, settings: dict[str, str]):
    """The server with these settings, of which autovacuum = on is one, and back to what it was; what is under way then goes on to its end."""
    with context.connect("pgv") as connection:
        before = {name: connection.execute(f"SHOW {name}").fetchone()[0] for name in settings}
        try:
            _configure(connection, settings)
            yield
        finally:
            _configure(connection, before)


def is_at_work(connection) -> bool:
    """Whether a worker is in this database."""
    return connection.execute(f"SELECT {_WORKERS}").fetchone() is not None


def end(connection) -> None:
    """What is under way in this database is given up."""
    while is_at_work(connection):
        connection.execute(f"SELECT pg_terminate_backend(pid) {_WORKERS}")
        time.sleep(0.05)


def _configure(connection, settings: dict[str, str]) -> None:
    """Changes settings of the running server, and waits until they hold."""
    for name, value in settings.items():
        connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    connection.execute("SELECT pg_reload_conf()")
    for _ in range(50):
        if connection.execute("SHOW autovacuum").fetchone()[0] == settings["autovacuum"]:
            return
        time.sleep(0.1)
    raise measure.ThrownAway("autovacuum stays as it is: the server's command line sets it")
