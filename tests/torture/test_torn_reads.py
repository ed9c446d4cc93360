"""Records read while their pages are pruned: what is read of one is of one version of it.

Records are replaced again and again, so that every page is full of dead versions, and whoever comes by moves the live ones together.
Backends are stopped for some milliseconds at random moments, a few of them in the midst of that.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time

from clients import at_work
from model import Model, contents, verify

INDEX, NAMESPACE = "churned", "n"
RECORDS, AT_ONCE = 2000, 100
DIMENSION = 32
WRITERS, READERS = 3, 6
SETTINGS = {"autovacuum": "off"}

WRITE = """SELECT pc_upsert(%(i)s, %(n)s, array_agg('r' || g),
                            array_agg((ARRAY[g, %(v)s %% 65536]::real[] || array_fill(g::real, ARRAY[30]))::vector),
                            array_agg(jsonb_build_object('id', 'r' || g, 'v', %(v)s %% 65536)))
           FROM generate_series(%(f)s, %(f)s + %(r)s - 1) g"""
QUERY = "array_fill(1, ARRAY[32])::vector, 10000, include_values => true, include_metadata => true"
READS = (
    f"pc_query(%(i)s, %(n)s, {QUERY})",
    f"pc_query_namespaces(%(i)s, ARRAY[%(n)s], {QUERY})",
    "pc_fetch_by_metadata(%(i)s, %(n)s, '{\"v\": {\"$gte\": 0}}', 10000)",
    "pc_fetch(%(i)s, %(n)s, ARRAY['r1', 'r200', 'r2000'])",
)
#: How many were read, and those of two versions or of two records.
LOOK = """SELECT count(*), array_agg(format('%%s %%s %%s', id, (values::real[])[1:2], metadata)) FILTER (WHERE
              metadata->>'id' IS DISTINCT FROM id
              OR (values::real[])[1:2] IS DISTINCT FROM ARRAY[substr(id, 2)::real, (metadata->>'v')::real])
          FROM """


def test_a_record_is_read_whole(make_server, scaled, seed, record_result):
    server = make_server(settings=SETTINGS).init()
    parameters = {"i": INDEX, "n": NAMESPACE}
    versions = itertools.count()
    read = [0] * (WRITERS + READERS)

    processes: set[int] = set()

    def write(connection, number, numbers):
        processes.add(connection.info.backend_pid)
        first = numbers.randrange(1, RECORDS - AT_ONCE + 2)
        connection.execute(WRITE, {**parameters, "v": next(versions), "f": first, "r": AT_ONCE})

    def look(connection, number, numbers):
        processes.add(connection.info.backend_pid)
        count, torn = connection.execute(LOOK + numbers.choice(READS), parameters).fetchone()
        assert torn is None, f"torn: {torn}"
        read[number] += count

    def stop(connection, number, numbers):
        """One of the backends, as when the machine has other things to do."""
        if not processes:
            return
        process = numbers.choice(tuple(processes))
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGSTOP)
            time.sleep(0.004)
            os.kill(process, signal.SIGCONT)

    with server.connect() as connection:
        connection.execute("SELECT pc_create_index(%s, %s, 'euclidean')", [INDEX, DIMENSION])
        connection.execute(WRITE, {**parameters, "v": next(versions), "f": 1, "r": RECORDS})
    at_work(server, [write] * WRITERS + [look] * READERS + [stop], scaled(120, 10), seed)
    record_result("torn-reads", records_read=sum(read), batches_written=next(versions))
    with server.connect() as connection:
        model = Model()
        model.indexes[INDEX] = contents(connection, INDEX)
        assert len(model.indexes[INDEX][NAMESPACE]) == RECORDS
        verify(connection, model)
