"""Memory of a backend: read where it can be, and not known where it cannot."""

import types

import psycopg
import pytest

from conifer_bench import memory


def test_private_memory_is_the_anonymous_part():
    status = "Name:\tpostgres\nVmRSS:\t   90000 kB\nRssAnon:\t    1820 kB\nRssShmem:\t   70000 kB\n"
    assert memory.anonymous(status) == 1820 * 1024
    assert memory.anonymous("Name:\tkthreadd\n") is None


@pytest.mark.parametrize("pid", ["self", 2**31 - 1])
def test_another_process_of_that_number_is_not_taken_for_a_backend(pid):
    info = types.SimpleNamespace(backend_pid=pid, user="postgres", dbname="postgres")
    assert memory.private_bytes(types.SimpleNamespace(info=info)) is None


def test_a_backend_that_holds_more_has_more(server):
    with psycopg.connect(server) as connection:
        before = memory.private_bytes(connection)
        if before is None:
            pytest.skip("the server does not run on this machine")
        connection.execute("CREATE TEMP TABLE held AS SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
        assert 2**19 < before < memory.private_bytes(connection) < 2**29
