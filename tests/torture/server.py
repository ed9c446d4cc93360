"""Servers of the tests' own, made to be broken: their data lie in a directory each, and they can be killed at any moment."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import time

import psycopg
from psycopg.conninfo import make_conninfo

#: Where conifer is installed in the tests' databases, as in the client tests: not in `public`.
SCHEMA = "ours"
DATABASE = "torture"

#: Of every server; a test's own come after.
SETTINGS = {
    "listen_addresses": "''",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "log_min_messages": "warning",
    "log_line_prefix": "'%m [%p] %a '",
    # Killed processes lose nothing that was written to files; only a machine that fails does.
    "fsync": "off",
}


def account() -> str | None:
    """The account that servers run under: PostgreSQL refuses to run as root. None for one's own."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def run(*command: str | os.PathLike, check: bool = True, timeout: float = 600, **options) -> subprocess.CompletedProcess:
    """A program of PostgreSQL's under that account; its output is text, and in the error if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        user=account(),
        cwd="/",
        timeout=timeout,
        check=False,
        **options,
    )
    if check and done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done


#: The option of prctl (linux/prctl.h).
PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """Servers become this process's children, to be waited for when they were killed: PostgreSQL takes one that nobody has waited for, which
    in some containers nobody does, for a running server."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


adopt_orphans()


class Server:
    """One data directory and the server on it; sockets lie beside the data."""

    def __init__(self, programs: pathlib.Path, directory: pathlib.Path, settings: dict[str, str] | None = None):
        self.programs, self.directory = programs, directory
        self.settings = {**SETTINGS, **(settings or {})}
        self.data = directory / "data"
        self.log_file = directory / "log"

    # its life

    def init(self, *options: str) -> Server:
        """A new, empty cluster with the test's database in it; running."""
        self.make_directory()
        self.program("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", *options)
        self.start()
        self.create_database()
        return self

    def make_directory(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        if account():
            shutil.chown(self.directory, account())

    def start(self, timeout: int = 120):
        """Comes back when it takes connections, recovery included."""
        settings = {**self.settings, "unix_socket_directories": str(self.directory)}
        words = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self.program("pg_ctl", "start", "-w", "-s", "-t", str(timeout), "-D", self.data, "-l", self.log_file, "-o", words)

    def wait(self, starts: bool = False, timeout: float = 120):
        """Until it takes connections again after a crash of its own; `starts`: it is started if it has given up, or waits for a recovery that has."""
        end = time.monotonic() + timeout
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError as error:
                assert time.monotonic() < end, f"the server does not come back\n{self.log()[-2000:]}"
                if starts and self._waits_in_vain(str(error)):
                    self.kill()
                if starts and self.pid() is None:
                    self.start()
                time.sleep(0.05)

    def _waits_in_vain(self, refusal: str) -> bool:
        """A recovery that fails at once may end before PostgreSQL 18's postmaster has read that it began: it then waits for one that is no more, with no
        library of ours in it."""
        postmaster = self.pid()
        if postmaster is None or "not yet accepting connections" not in refusal:
            return False
        return not any("startup" in _command(child) for child in _children(postmaster))

    def stop(self, mode: str = "fast"):
        self.program("pg_ctl", "stop", "-w", "-s", "-m", mode, "-D", self.data)

    def restart(self, mode: str = "fast"):
        self.stop(mode)
        self.start()

    def kill(self):
        """SIGKILL for the server and all its processes at once, as when the machine's power goes."""
        postmaster = self.pid()
        if postmaster is None:
            return
        os.kill(postmaster, signal.SIGSTOP)  # it starts no more processes meanwhile
        processes = [*_children(postmaster), postmaster]
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        end = time.monotonic() + 60
        while any(_is_alive(process) for process in processes):
            assert time.monotonic() < end, "killed processes do not go"
            time.sleep(0.01)
        for process in processes:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process, 0)

    def destroy(self):
        """Kills it and removes what it wrote."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def pid(self) -> int | None:
        """The postmaster's, None if it does not run."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return None
        return pid if _is_alive(pid) else None

    # talking to it

    def program(self, name: str, *arguments, **options) -> subprocess.CompletedProcess:
        """A program of this server's version, e.g. `pg_dump`."""
        return run(self.programs / name, *arguments, **options)

    def dsn(self, database: str = DATABASE, **options: str) -> str:
        return make_conninfo(host=str(self.directory), user="postgres", dbname=database, **options)

    def connect(self, database: str = DATABASE, autocommit: bool = True, **options: str) -> psycopg.Connection:
        """A connection whose search path finds Conifer's type."""
        dsn = self.dsn(database, options=f"-c search_path={SCHEMA},public", **options)
        return psycopg.connect(dsn, autocommit=autocommit)

    def create_database(self, name: str = DATABASE):
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        with psycopg.connect(self.dsn(name), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {SCHEMA}; CREATE EXTENSION conifer SCHEMA {SCHEMA}")

    def is_debug_build(self) -> bool:
        """Is the Conifer that is installed one with debug assertions?"""
        with self.connect() as connection:
            connection.execute("LOAD 'conifer'")
            return connection.execute("SELECT current_setting('conifer.stop_points', true) IS NOT NULL").fetchone()[0]

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def major(self) -> int:
        return int(self.program("postgres", "--version").stdout.split()[2].split(".")[0])


def _children(postmaster: int) -> list[int]:
    found = []
    for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name in parentheses may hold anything; the state and the parent come after it.
            if int(status.read_text().rpartition(")")[2].split()[1]) == postmaster:
                found.append(int(status.parent.name))
    return found


def _command(process: int) -> str:
    """As it shows itself; empty when it has ended."""
    try:
        return pathlib.Path(f"/proc/{process}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def _is_alive(process: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
