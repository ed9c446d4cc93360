"""Statements broken off at chosen moments, and how long each took to end after it was told to."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import psycopg
from server import Server


class Operation(NamedTuple):
    """A statement that takes its time."""

    name: str
    statement: str
    #: Settings of the transaction, or of the session where there can be none.
    settings: dict[str, str] = {}
    #: Done before, and not broken off.
    before: str = ""
    #: False: what it has done before it was broken off stays.
    in_transaction: bool = True
    #: As pg_stat_progress_create_index names the phase that it is to be broken off in.
    phase: str = ""


class Canceller:
    """Runs operations on one connection and breaks them off from another."""

    def __init__(self, server: Server):
        self.worker, self.other = server.connect(), server.connect()
        self.pid = self.worker.info.backend_pid

    def close(self):
        self.worker.close()
        self.other.close()

    def run(self, operation: Operation, timeout: float | None = None, watch: Callable[[], None] | None = None) -> bool:
        """Whether it was broken off. `watch` runs beside it, in a thread."""
        if operation.before:
            self.worker.execute(operation.before)
        settings = dict(operation.settings)
        if timeout is not None:
            settings["statement_timeout"] = str(max(1, round(timeout * 1000)))
        with self._settings(operation, settings):
            thread = threading.Thread(target=watch) if watch else None
            if thread:
                thread.start()
            self.began = time.monotonic()
            try:
                self.worker.execute(operation.statement)
                return False
            except psycopg.errors.QueryCanceled:
                return True
            finally:
                self.ended = time.monotonic()
                self.over = True
                if thread:
                    thread.join()

    @contextlib.contextmanager
    def _settings(self, operation: Operation, settings: dict[str, str]):
        """With the settings, in a transaction that is rolled back if there may be one."""
        self.over = False
        if operation.in_transaction:
            self.worker.execute("BEGIN")
        for name, value in settings.items():
            self.worker.execute("SELECT set_config(%s, %s, %s)", [name, value, operation.in_transaction])
        try:
            yield
        finally:
            self._undisturbed("ROLLBACK" if operation.in_transaction else "SELECT")
            for name in settings:
                self._undisturbed(f"RESET {name}")

    def _undisturbed(self, statement: str):
        """Again, until neither a cancel that came too late for the operation breaks it off, nor the limit of time that is still on."""
        while True:
            try:
                self.worker.execute(statement)
            except psycopg.errors.QueryCanceled:
                continue
            return

    def duration(self, operation: Operation) -> float:
        """How long it takes from beginning to end."""
        assert not self.run(operation), operation.name
        return self.ended - self.began

    def by_timeout(self, operation: Operation, after: float) -> float | None:
        """Seconds beyond a statement_timeout; None if it was over before."""
        after = max(0.001, round(after, 3))
        return self.ended - self.began - after if self.run(operation, timeout=after) else None

    def by_cancel(self, operation: Operation, after: float) -> float | None:
        """Seconds between pg_cancel_backend, that long after its beginning or that of its phase, and its end; None if it was over before."""
        told = []

        def watch():
            if operation.phase and not self._await_phase(operation.phase):
                return
            time.sleep(after)
            if not self.over:
                told.append(time.monotonic())
                self.other.execute("SELECT pg_cancel_backend(%s)", [self.pid])

        return self.ended - told[0] if self.run(operation, watch=watch) else None

    def _await_phase(self, phase: str) -> bool:
        query = "SELECT phase FROM pg_stat_progress_create_index WHERE pid = %s"
        while not self.over:
            row = self.other.execute(query, [self.pid]).fetchone()
            if row and row[0].endswith(phase):
                return True
        return False
