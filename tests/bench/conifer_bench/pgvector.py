"""pgvector's ways of holding rows: one table or a partition for each tenant, with HNSW or exact."""

from __future__ import annotations

from psycopg.types.json import Jsonb

from .arrangement import ONLY, Arrangement, copy_binary, metadata_array, timed
from .clients import Step
from .system import Vectors

OPERATORS = {"cosine": "<=>", "dotproduct": "<#>", "euclidean": "<->"}
CLASSES = {"cosine": "vector_cosine_ops", "dotproduct": "vector_ip_ops", "euclidean": "vector_l2_ops"}
EF_SEARCH = (10, 20, 40, 60, 100, 150, 200, 400, 600, 1000)
M, EF_CONSTRUCTION = 16, 64
#: Keeps a row of up to a page whole, so that a query reads no TOAST: the better choice for every arrangement here.
INLINE = "toast_tuple_target = 8160"


class Pgvector(Arrangement):
    """`tenancy`: None (no tenants), "column" (one table) or "partition" (one for each tenant)."""

    system = "pgvector"
    schema = "pgv"

    def __init__(self, dimension, metric, table="item", *, tenancy=None, hnsw=True, iterative=None):
        super().__init__(dimension, metric, table)
        self.tenancy, self.hnsw = tenancy, hnsw
        #: hnsw.iterative_scan: needed where rows that the index finds are then filtered away.
        self.iterative = iterative or ("relaxed_order" if hnsw and tenancy == "column" else None)
        if hnsw and tenancy is None:
            # Else the planner would leave the index for a sequential scan that is slower, at a high ef_search and few
            # rows; that scan has an arrangement of its own.
            self.session = {"enable_seqscan": "off"}
        self.partitions: dict[str, str] = {}
        self.name = self._name()

    def _name(self):
        base = {None: "one table", "column": "shared table", "partition": "partition per tenant"}[self.tenancy]
        parts = [base, "HNSW" if self.hnsw else "exact"]
        if self.iterative:
            parts.append("iterative scan")
        return ", ".join(parts)

    # storing

    def create(self, connection, tenants=None):
        columns = f"id text NOT NULL, embedding vector({self.dimension}) STORAGE main NOT NULL, metadata jsonb"
        if self.tenancy is None:
            connection.execute(f"CREATE TABLE {self.table} ({columns}, PRIMARY KEY (id)) WITH ({INLINE})")
            return
        columns = f"tenant text NOT NULL, {columns}, PRIMARY KEY (tenant, id)"
        if self.tenancy == "column":
            connection.execute(f"CREATE TABLE {self.table} ({columns}) WITH ({INLINE})")
            return
        connection.execute(f"CREATE TABLE {self.table} ({columns}) PARTITION BY LIST (tenant)")
        for tenant in tenants or [ONLY]:
            self.add_tenant(connection, tenant)

    def add_tenant(self, connection, tenant: str):
        """A partition for one more; with its vector index, if `index` has been called."""
        name = f"{self.table}_{len(self.partitions)}"
        connection.execute(f"CREATE TABLE {name} PARTITION OF {self.table} FOR VALUES IN ('{tenant}') WITH ({INLINE})")
        self.partitions[tenant] = name

    def load(self, connection, rows):
        return self.copy(connection, rows)

    def copy(self, connection, rows):
        records = self.records(rows)
        columns = "tenant, id, embedding, metadata"
        if self.tenancy is None:
            records, columns = [record[1:] for record in records], "id, embedding, metadata"
        return copy_binary(connection, f"{self.table} ({columns})", records)

    def index(self, connection, workers=0):
        connection.execute(f"SET max_parallel_maintenance_workers = {workers}")
        # On a partitioned table's partitions one by one: CREATE INDEX on the whole builds each without workers.
        tables = list(self.partitions.values()) or [self.table]
        return self._build(connection, [self._create_index(table) for table in tables] if self.hnsw else [])

    def rebuild(self, connection, workers=0):
        connection.execute(f"SET max_parallel_maintenance_workers = {workers}")
        tables = list(self.partitions.values()) or [self.table]
        return self._build(connection, [f"REINDEX INDEX {table}_hnsw" for table in tables] if self.hnsw else [])

    def _build(self, connection, statements):
        """What it says is kept: that a graph outgrew maintenance_work_mem, from where on a build is many times slower."""
        notices = []

        def keep(diagnostic):
            notices.append(diagnostic.message_primary)

        connection.add_notice_handler(keep)
        try:
            return timed(connection, statements)
        finally:
            connection.remove_notice_handler(keep)
            self.notices = tuple(notices)

    def _create_index(self, table):
        return (
            f"CREATE INDEX {table}_hnsw ON {table} USING hnsw (embedding {CLASSES[self.metric]}) "
            f"WITH (m = {M}, ef_construction = {EF_CONSTRUCTION})"
        )

    def settle(self, connection):
        connection.execute(f"VACUUM ANALYZE {self.table}")

    def drop(self, connection):
        connection.execute(f"DROP TABLE IF EXISTS {self.table}")
        self.partitions.clear()

    # asking

    def settings(self, features, k):
        if not self.hnsw:
            return [{}]
        more = {"hnsw.iterative_scan": self.iterative} if self.iterative else {}
        # with ef_search below k HNSW cannot return k rows
        return [{"hnsw.ef_search": ef, **more} for ef in EF_SEARCH if ef >= k]

    def query(self, vector, k, tenant=ONLY, where=None):
        conditions, parameters = self._tenant(tenant)
        if where is not None:
            conditions.append(self.condition(where))
        clause = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        return Step(
            f"SELECT id FROM {self._target(tenant)} {clause}ORDER BY embedding {OPERATORS[self.metric]} %b LIMIT {k}",
            (*parameters, vector),
        )

    def condition(self, where: dict) -> str:
        """A filter as SQL: of a table that was made to be filtered."""
        raise NotImplementedError(f"{self.name} is asked without filters")

    def _target(self, tenant):
        """A partition is addressed by its own name: the cheapest, and open to an application that knows its tenants."""
        return self.partitions[tenant] if self.tenancy == "partition" else self.table

    def _tenant(self, tenant):
        return (["tenant = %b"], [tenant]) if self.tenancy == "column" else ([], [])

    # writing

    def _insert(self, tenant, source):
        columns, key = (
            ("id, embedding, metadata", "id")
            if self.tenancy is None
            else (
                "tenant, id, embedding, metadata",
                "tenant, id",
            )
        )
        return (
            f"INSERT INTO {self._target(tenant)} ({columns}) {source} ON CONFLICT ({key}) "
            "DO UPDATE SET embedding = EXCLUDED.embedding, metadata = EXCLUDED.metadata"
        )

    def upsert(self, id, vector, tenant=ONLY, metadata=None):
        values = (id, vector, None if metadata is None else Jsonb(metadata))
        if self.tenancy is not None:
            return Step(self._insert(tenant, "VALUES (%b, %b, %b, %b::jsonb)"), (tenant, *values), "upsert")
        return Step(self._insert(tenant, "VALUES (%b, %b, %b::jsonb)"), values, "upsert")

    def delete(self, ids, tenant=ONLY):
        conditions, parameters = self._tenant(tenant)
        condition = " AND ".join([*conditions, "id = ANY (%b::text[])"])
        return Step(f"DELETE FROM {self._target(tenant)} WHERE {condition}", (*parameters, ids), "delete")

    def upsert_many(self, rows, tenant=ONLY):
        values = (rows.ids, Vectors(rows.vectors), metadata_array(rows))
        unnest = "unnest(%b::text[], %b, %b::jsonb[])"
        if self.tenancy is not None:
            return Step(self._insert(tenant, f"SELECT %b::text, * FROM {unnest}"), (tenant, *values), "upsert")
        return Step(self._insert(tenant, f"SELECT * FROM {unnest}"), values, "upsert")
