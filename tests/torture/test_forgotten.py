"""What a crash makes forgotten without harm to any record: which pages of an index are free. It must be found out again."""

import psycopg
import pytest
from model import Model, verify
from server import Server
from watch import check_log

RECORDS = 3000


def write_all(server: Server, model: Model, round: int) -> tuple[int, int]:
    """Every record anew, twice, each time with VACUUM after it; the pages the vector index then has, and how many are known as free."""
    with server.connect() as connection:
        query = "SELECT n.leaf::text, c.oid::regclass::text FROM conifer.namespaces n JOIN pg_index i ON indrelid = n.leaf \
                 JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam WHERE amname = 'conifer'"
        leaf, index = connection.execute(query).fetchone()
        for again in range(2):
            ids = [f"r{number}" for number in range(RECORDS)]
            vectors = [(number + 1.0, round + 0.0, again + 0.0) for number in range(RECORDS)]
            texts = [f"[{number + 1},{round},{again}]" for number in range(RECORDS)]
            connection.execute("SELECT pc_upsert('i', 't', %s::text[], %s::vector[])", [ids, texts])
            model.namespace("i", "t").update({id: (vector, {}) for id, vector in zip(ids, vectors, strict=True)})
            connection.execute(f"VACUUM (INDEX_CLEANUP ON) {leaf}")
        known = "SELECT pg_relation_size(%s::regclass) / 8192, (SELECT count(*) FROM pg_freespace(%s::regclass) WHERE avail > 0)"
        return connection.execute(known, [index, index]).fetchone()


def test_free_pages_are_known_again(server):
    """The free space map is not in WAL: all it says since the last checkpoint is lost."""
    model = Model()
    with server.connect() as connection:
        try:
            connection.execute("CREATE EXTENSION pg_freespacemap")
        except psycopg.errors.FeatureNotSupported:
            pytest.skip("this PostgreSQL has no pg_freespacemap")
        connection.execute("SELECT pc_create_index('i', 3, 'euclidean')")
        connection.execute("SELECT pc_create_namespace('i', 't')")
    for round in range(4):
        pages, known = write_all(server, model, round)
        server.kill()
        server.start()
    with server.connect() as connection:
        verify(connection, model)
    # A few of them are in use.
    assert known > pages * 2 / 3, f"of {pages} pages {known} are known to be free"
    check_log(server)
