"""Calls that come to the same records wait for each other, and none of them is ever told that it deadlocked: batches of records new and old, updates and
deletes by id and by filter, each a transaction of its own."""

from __future__ import annotations

import random

import psycopg
import pytest
from clients import at_work
from model import Model, contents, verify

INDEX, NAMESPACE = "shared", "n"
DIMENSION = 8
CLIENTS = 6
ZEROS = "array_fill(0.5, ARRAY[8])::vector"

UPSERT = f"""SELECT pc_upsert('{INDEX}', '{NAMESPACE}', array_agg('r' || g ORDER BY random()), array_agg({ZEROS}), array_agg('{{"k": 1}}'::jsonb))
             FROM generate_series(%(first)s::int, %(last)s::int, %(step)s::int) g"""
#: By few and by many, of records that are there and that are not, and in every order they are named in.
CALLS = {
    "upsert": (6, UPSERT),
    "delete": (4, f"SELECT pc_delete('{INDEX}', '{NAMESPACE}', array_agg('r' || g ORDER BY random())) FROM generate_series(%(first)s::int, %(last)s::int, %(step)s::int) g"),
    "update": (2, f"SELECT pc_update('{INDEX}', '{NAMESPACE}', 'r' || %(first)s, {ZEROS})"),
    "update some": (3, f"""SELECT pc_update('{INDEX}', '{NAMESPACE}', filter => '{{"k": 1}}', set_metadata => '{{"k": 2}}')"""),
    "delete some": (2, f"""SELECT pc_delete('{INDEX}', '{NAMESPACE}', filter => '{{"k": 2}}')"""),
}


def some(numbers: random.Random, records: int) -> dict[str, int]:
    """A run of records, every one or every few."""
    first, last = sorted(numbers.choices(range(records), k=2))
    return {"first": first, "last": last, "step": numbers.choice([1, 1, 2, 7])}


# 64 kB, the least there is, cannot hold the places of 6,000 records.
@pytest.mark.parametrize(("records", "work_mem"), [(300, "4MB"), (6000, "64kB")], ids=["few", "many"])
def test_calls_do_not_deadlock(server, records, work_mem, scaled, seed, record_result):
    weights = [weight for weight, _ in CALLS.values()]

    def call(connection: psycopg.Connection, _: int, numbers: random.Random):
        name = numbers.choices(list(CALLS), weights)[0]
        connection.execute(CALLS[name][1], some(numbers, records))

    with server.connect() as connection:
        connection.execute("SELECT pc_create_index(%s, %s, 'euclidean')", [INDEX, DIMENSION])
        connection.execute("ALTER SYSTEM SET deadlock_timeout = '20ms'")
        connection.execute("SELECT pg_reload_conf()")
    done = at_work(server, [call] * CLIENTS, scaled(300, 8), seed, {"work_mem": work_mem})
    record_result(f"deadlocks-{records}", calls=sum(done))
    with server.connect() as connection:
        model = Model()
        model.indexes[INDEX] = contents(connection, INDEX)
        verify(connection, model)
