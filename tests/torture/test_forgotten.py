"""What a crash makes forgotten without harm to any record: which pages of an index are free. It must be found out again."""

import pytest
from model import Model, verify
from server import Server
from watch import check_log

RECORDS = 3000


def write_all(server: Server, model: Model, round: int) -> int:
    """Every record anew, twice, each time with VACUUM after it; the pages the vector index then has."""
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
        return connection.execute("SELECT pg_relation_size(%s::regclass) / 8192", [index]).fetchone()[0]


@pytest.mark.parametrize("crashes", [True, False])
def test_an_index_does_not_grow_by_crashes(make_server, crashes):
    server, model = make_server(settings={"autovacuum": "off"}).init(), Model()
    with server.connect() as connection:
        connection.execute("SELECT pc_create_index('i', 3, 'euclidean')")
        connection.execute("SELECT pc_create_namespace('i', 't')")
    pages = []
    for round in range(6):
        pages.append(write_all(server, model, round))
        if crashes:
            server.kill()
            server.start()
    with server.connect() as connection:
        verify(connection, model)
    # What is free when it crashes is found by the VACUUM after the next; meanwhile others are used.
    assert pages[-1] <= 2 * pages[1], pages
    check_log(server)
