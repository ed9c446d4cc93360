"""The tests' own tools: a comparison that finds nothing would pass anything."""

import psycopg
import pytest
from model import Model, verify

INDEXES = ("cosine", "dotproduct", "euclidean")


@pytest.fixture
def filled(server):
    """A server with some records, and what they are."""
    model = Model()
    with server.connect() as connection:
        for metric in INDEXES:
            connection.execute("SELECT pc_create_index(%s, 4, %s)", [metric, metric])
            for number in range(30):
                vector = (number + 1.0, 0.5, -2.0, number % 3 + 0.0)
                connection.execute("SELECT pc_upsert(%s, 't', %s, %s::real[]::vector)", [metric, f"r{number}", list(vector)])
                model.namespace(metric, "t")[f"r{number}"] = (vector, {})
    return server, model


def test_what_is_there_outlives_a_kill(filled):
    server, model = filled
    with server.connect() as connection:
        verify(connection, model)
    server.kill()
    server.start()
    with server.connect() as connection:
        verify(connection, model)


@pytest.mark.parametrize(
    "damage",
    [
        "SELECT pc_delete('cosine', 't', '{r7}')",
        "SELECT pc_upsert('cosine', 't', 'more', '[1,2,3,4]')",
        "SELECT pc_update('euclidean', 't', 'r7', '[1,2,3,4]')",
        "SELECT pc_update('dotproduct', 't', 'r7', set_metadata => '{\"a\": 1}')",
        "SELECT pc_upsert('cosine', 'other', 'r7', '[1,2,3,4]')",
        "SELECT pc_delete('cosine', 't', delete_all => true)",
        "SELECT pc_delete_index('cosine')",
        "DELETE FROM conifer.namespaces",
    ],
)
def test_what_is_amiss_is_found(filled, damage):
    server, model = filled
    with server.connect() as connection:
        connection.execute(damage)
        with pytest.raises((AssertionError, psycopg.Error)):
            verify(connection, model)
