"""Conifer's one way of holding rows: an index, a namespace for each tenant."""

from __future__ import annotations

import time

from psycopg.types.json import Jsonb

from .arrangement import BATCH, ONLY, Arrangement, copy_binary, metadata_array, timed
from .clients import Step
from .system import Vectors

#: Goals of recall, from the loosest that the setting takes to exact.
RECALLS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.985, 0.99, 0.995, 0.999, 1.0)


class Conifer(Arrangement):
    system = "conifer"
    schema = "pc"
    name = "namespace per tenant"

    def __init__(self, dimension: int, metric: str, table: str = "item"):
        # the name of an index has no underscores
        super().__init__(dimension, metric, table.replace("_", "-"))

    def create(self, connection, tenants=None):
        connection.execute("SELECT pc_create_index(%s, %s, metric => %s)", (self.table, self.dimension, self.metric))
        for tenant in tenants or [ONLY]:
            connection.execute("SELECT pc_create_namespace(%s, %s)", (self.table, tenant))

    def load(self, connection, rows):
        parts = rows.by_tenant() if rows.tenants else [(ONLY, rows)]
        steps = [self.upsert_many(batch, tenant) for tenant, part in parts for batch in part.batches(BATCH)]
        begun = time.perf_counter()
        with connection.transaction():
            for step in steps:
                connection.execute(step.sql, step.parameters, prepare=True)
        return time.perf_counter() - begun

    def index(self, connection, workers=0):
        """Nothing to build while the leaves have no vector index: then queries read all of a namespace."""
        names = connection.execute(
            """
            SELECT indexrelid::regclass::text FROM pg_partition_tree(%s::regclass) JOIN pg_index ON indrelid = relid
            JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
            WHERE isleaf AND amname = 'conifer'
            """,
            (f'"{self.table}"',),
        ).fetchall()
        connection.execute(f"SET max_parallel_maintenance_workers = {workers}")
        return timed(connection, [f"REINDEX INDEX {name}" for (name,) in names])

    def settle(self, connection):
        connection.execute(f'VACUUM ANALYZE "{self.table}"')

    def settings(self, features, k):
        return [{"conifer.recall": goal} for goal in RECALLS] if features.recall_setting else [{}]

    def query(self, vector, k, tenant=ONLY, where=None):
        if where is None:
            return Step(f"SELECT id FROM pc_query('{self.table}', %b, %b, {k})", (tenant, vector))
        return Step(f"SELECT id FROM pc_query('{self.table}', %b, %b, {k}, %b::jsonb)", (tenant, vector, Jsonb(where)))

    def upsert(self, id, vector, tenant=ONLY, metadata=None):
        return Step(
            f"SELECT pc_upsert('{self.table}', %b, %b, %b, %b::jsonb)",
            (tenant, id, vector, None if metadata is None else Jsonb(metadata)),
            "upsert",
        )

    def upsert_many(self, rows, tenant=ONLY):
        return Step(
            f"SELECT pc_upsert('{self.table}', %b, %b::text[], %b, %b::jsonb[])",
            (tenant, rows.ids, Vectors(rows.vectors), metadata_array(rows)),
            "upsert",
        )

    def delete(self, ids, tenant=ONLY):
        return Step(f"SELECT pc_delete('{self.table}', %b, ids => %b::text[])", (tenant, ids), "delete")

    def copy(self, connection, rows):
        return copy_binary(connection, f'"{self.table}" (namespace, id, values, metadata)', self.records(rows))

    def drop(self, connection):
        """In batches: all at once would need a lock for each namespace."""
        found = connection.execute("SELECT FROM pc_list_indexes() WHERE name = %s", (self.table,))
        if found.fetchone() is not None:
            connection.execute("CALL pc_delete_index_in_batches(%s)", (self.table,))
