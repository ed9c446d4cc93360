"""Each system's ways of holding the same rows: how they are stored, indexed, asked, and written to."""

from __future__ import annotations

import abc
import dataclasses
import time

from psycopg.types.json import Jsonb

from .clients import Step
from .data import Rows
from .system import Features, Vector

#: The tenant of rows that have none.
ONLY = "everyone"
BATCH = 1000


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Bytes on disk: the rows themselves with their TOAST, all indexes, and of these the vector index."""

    table: int
    indexes: int
    vector_index: int


class Arrangement(abc.ABC):
    """One way of one system. Pickled only as the steps it makes."""

    system: str
    schema: str
    name: str
    #: Settings of every connection that asks, whatever it trades.
    session: dict = {}
    #: What the server said to the last build of a vector index.
    notices: tuple = ()

    def __init__(self, dimension: int, metric: str, table: str = "item"):
        self.dimension, self.metric, self.table = dimension, metric, table

    @abc.abstractmethod
    def create(self, connection, tenants=None):
        """An empty table, with a place for each of these tenants (their names) if it keeps them apart."""

    @abc.abstractmethod
    def load(self, connection, rows: Rows) -> float:
        """All rows in one transaction by the fastest way in; the seconds it took."""

    @abc.abstractmethod
    def index(self, connection, workers: int = 0) -> float:
        """Builds the vector index, if it has one, over the rows that are there; the seconds it took."""

    def rebuild(self, connection, workers: int = 0) -> float:
        """Builds a vector index that is there anew; the seconds it took."""
        return self.index(connection, workers)

    @abc.abstractmethod
    def settle(self, connection):
        """VACUUM ANALYZE: what a served table has had."""

    @abc.abstractmethod
    def settings(self, features: Features, k: int) -> list[dict]:
        """Its whole range of trading recall for time: settings of a connection, the cheapest first."""

    @abc.abstractmethod
    def query(self, vector: Vector, k: int, tenant: str = ONLY, where: dict | None = None) -> Step:
        """The ids of the k nearest of a tenant, under a filter in the language of pc_query."""

    @abc.abstractmethod
    def upsert(self, id: str, vector: Vector, tenant: str = ONLY, metadata: dict | None = None) -> Step:
        """One record in or replaced."""

    @abc.abstractmethod
    def upsert_many(self, rows: Rows, tenant: str = ONLY) -> Step:
        """Records of one tenant in or replaced by one statement."""

    @abc.abstractmethod
    def delete(self, ids: list[str], tenant: str = ONLY) -> Step:
        """Records of one tenant out, by one statement."""

    @abc.abstractmethod
    def copy(self, connection, rows: Rows) -> float:
        """New records by COPY BINARY; the seconds it took."""

    def records(self, rows: Rows) -> list[tuple]:
        """Tenant, id, vector and metadata of each row, ready to be sent."""
        tenants = rows.tenants or [ONLY] * len(rows)
        metadata = metadata_array(rows) or [None] * len(rows)
        return list(zip(tenants, rows.ids, map(Vector, rows.vectors), metadata, strict=True))

    @property
    def root(self) -> str:
        """The table, with its partitions if it has any, as SQL names it."""
        return f'{self.schema}."{self.table}"'

    def sizes(self, connection) -> Sizes:
        return measure_sizes(connection, self.root)

    def vacuums(self, connection) -> int:
        """How often autovacuum has vacuumed it: that it was on does not say that it ran."""
        row = connection.execute(
            """
            SELECT coalesce(sum(autovacuum_count), 0) FROM pg_stat_all_tables
            WHERE relid IN (SELECT relid FROM pg_partition_tree(%(root)s::regclass) UNION SELECT %(root)s::regclass)
            """,
            {"root": self.root},
        ).fetchone()
        return int(row[0])

    @abc.abstractmethod
    def drop(self, connection): ...


def metadata_array(rows: Rows) -> list | None:
    """The metadata of rows as an array parameter."""
    return rows.metadata and [Jsonb(entry) for entry in rows.metadata]


def copy_binary(connection, target: str, records: list[tuple]) -> float:
    """COPY of records that are ready to be sent; the seconds it took."""
    begun = time.perf_counter()
    with connection.cursor().copy(f"COPY {target} FROM STDIN (FORMAT BINARY)") as copy:
        for record in records:
            copy.write_row(record)
    return time.perf_counter() - begun


def timed(connection, statements: list[str]) -> float:
    """Seconds that statements took."""
    begun = time.perf_counter()
    for statement in statements:
        connection.execute(statement)
    return time.perf_counter() - begun


def measure_sizes(connection, root: str) -> Sizes:
    """Of a table with all its partitions; the root of a partitioned one has no bytes itself."""
    row = connection.execute(
        """
        SELECT sum(pg_table_size(relid)), sum(pg_indexes_size(relid)), coalesce(sum((
            SELECT sum(pg_relation_size(indexrelid)) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
            JOIN pg_am ON pg_am.oid = relam WHERE indrelid = relid AND amname IN ('hnsw', 'conifer'))), 0)
        FROM (SELECT relid FROM pg_partition_tree(%(root)s::regclass) UNION SELECT %(root)s::regclass) AS tree
        """,
        {"root": root},
    ).fetchone()
    return Sizes(*map(int, row))
