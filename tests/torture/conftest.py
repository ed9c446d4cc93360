"""Settings and servers of the torture tests.

CONIFER_TEST_BIN is the folder of PostgreSQL's programs with Conifer installed. TORTURE_FULL=1 runs them at full length (`make torture`), otherwise a
short form of each runs (`make test`). TORTURE_SEED repeats a run; TORTURE_RESULTS is a folder for what a full run measured.
CONIFER_TEST_BIN_NEWER, if there is one, is the folder of a newer PostgreSQL's programs with Conifer, for pg_upgrade.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random
import tempfile

import pytest
from server import Server

FULL = os.environ.get("TORTURE_FULL") == "1"
SHORT_SEED = 2026
#: Of a server's log when its test failed.
LAST_LINES = 60
HAS_FAILED = pytest.StashKey[bool]()


def pytest_configure():
    seed_of_run()  # before processes are started that are to have the same


def pytest_report_header() -> str:
    return f"torture: {'full' if FULL else 'short'}, seed {seed_of_run()}"


def seed_of_run() -> int:
    # Kept in the environment: each full run differs, and its header says how to repeat it; the short form is the same each time.
    return int(os.environ.setdefault("TORTURE_SEED", str(random.SystemRandom().randrange(1 << 31) if FULL else SHORT_SEED)))


@pytest.fixture(scope="session")
def full() -> bool:
    return FULL


@pytest.fixture(scope="session")
def seed() -> int:
    return seed_of_run()


@pytest.fixture(scope="session")
def scaled():
    """scaled(full, short): the one that this run is to use."""
    return lambda full, short: full if FULL else short


@pytest.fixture(scope="session")
def programs() -> pathlib.Path:
    path = os.environ.get("CONIFER_TEST_BIN")
    if not path:
        pytest.exit("set CONIFER_TEST_BIN to the folder of PostgreSQL's programs", returncode=2)
    return pathlib.Path(path)


@contextlib.contextmanager
def servers(programs: pathlib.Path):
    """make(name='primary', settings=None, programs=None): a Server not yet initialised; all are destroyed at the end."""
    made: list[Server] = []

    def make(name: str = "primary", settings: dict[str, str] | None = None, programs: pathlib.Path = programs) -> Server:
        # A short path: sockets lie there, and their paths may have 107 bytes.
        directory = pathlib.Path(tempfile.mkdtemp(prefix="conifer-torture.", dir="/tmp")) / name
        directory.parent.chmod(0o755)
        made.append(Server(programs, directory, settings))
        return made[-1]

    try:
        yield make, made
    finally:
        for server in made:
            server.destroy()
            server.directory.parent.rmdir()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Remembers that a test has failed, for the fixture that then shows what its servers said."""
    report = yield
    item.stash[HAS_FAILED] = item.stash.get(HAS_FAILED, False) or report.failed
    return report


@pytest.fixture
def make_server(programs, request):
    """make_server(name='primary', settings=None, programs=None): a Server not yet initialised; destroyed after the test, the end of its log told if that failed."""
    with servers(programs) as (make, made):
        yield make
        if request.node.stash.get(HAS_FAILED, False):
            for server in made:
                print(f"-- the log of {server.directory.name}:", *server.log().splitlines()[-LAST_LINES:], sep="\n")


@pytest.fixture
def server(make_server) -> Server:
    """A running server with an empty database."""
    return make_server().init()


@pytest.fixture(scope="module")
def shared_server(programs):
    """A running server for all tests of a file that leave it whole."""
    with servers(programs) as (make, _):
        yield make().init()


@pytest.fixture(scope="session")
def record_result():
    """record_result(name, **figures): what a full run found, for RESULTS.md."""

    def record(name: str, **figures):
        folder = os.environ.get("TORTURE_RESULTS")
        if folder:
            path = pathlib.Path(folder) / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"full": FULL, "seed": seed_of_run(), **figures}, indent=1) + "\n")

    return record
