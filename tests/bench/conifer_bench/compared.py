"""What the report compares, workload by workload: one line for each figure a reader decides by."""

from __future__ import annotations

from .comparison import Comparison

#: The recall at which approximate answers are compared, unless the workload says otherwise.
RECALL = 0.95

_TENANT = ("data", "tenant rows")
_FILTER = ("filter", "selectivity", "correlated")


def _warmth(name: str):
    return (("warmth", name),)


def _clients(count: int):
    return (("clients", count),)


def _page(name: str):
    return (("page", name),)


#: Writes into an index cost more than writes beside none: each is compared with its like.
_INDEXED = (("search", "vector index"),)
_EXACT = (("search", "exact scan"),)


_CHECKPOINT = ("last checkpoint",)
#: Queries of all rows, not of what an index has been through.
_SERVED = (("state", None),)


def _typical(given: dict) -> bool:
    """Tenants of the size that most have."""
    return given["tenant rows"] == "10–99"


def _some_filters(given: dict) -> bool:
    """Equality at every selectivity, the others at one."""
    return not given["correlated"] and (given["filter"] == "equality" or given["selectivity"] == 0.01)


COMPARISONS = [
    Comparison("a", "queries/s", "queries_per_second", "higher", ("n", "clients"), RECALL),
    Comparison("a", "queries/s", "queries_per_second", "higher", ("n", "clients"), 0.99, headline="last"),
    Comparison("b", "load and build", "ready_seconds", "lower", ("n", "tenants"), None, _INDEXED, "last"),
    Comparison("b", "build of the vector index", "build_seconds", "lower", ("n", "tenants"), None, _INDEXED, "last"),
    Comparison("b", "vector index, bytes", "vector_index_bytes", "lower", ("n", "tenants"), None, _INDEXED, "last"),
    Comparison("b", "WAL of load and build", "wal_bytes", "lower", ("n", "tenants"), None, _INDEXED, "last"),
    Comparison("b", "load, no vector index", "ready_seconds", "lower", ("n", "tenants"), None, _EXACT, "last"),
    Comparison("b", "table bytes, no vector index", "table_bytes", "lower", ("n", "tenants"), None, _EXACT, "last"),
    Comparison("b", "WAL of the load, no vector index", "wal_bytes", "lower", ("n", "tenants"), None, _EXACT, "last"),
    Comparison("c", "rows/s into the index", "rows_per_second", "higher", ("way",), None, _INDEXED),
    Comparison("c", "WAL a row, with the index's", "wal_bytes_per_row", "lower", ("way",), None, _INDEXED),
    Comparison("c", "rows/s, no vector index", "rows_per_second", "higher", ("way",), None, _EXACT),
    Comparison("c", "WAL a row, no vector index", "wal_bytes_per_row", "lower", ("way",), None, _EXACT),
    Comparison("d", "query, median", "latency_ms", "lower", ("n",), RECALL),
    Comparison("d", "query, p99", "p99_ms", "lower", ("n",), RECALL),
    Comparison("d", "upsert, median", "upsert_ms", "lower", ("n",), RECALL),
    Comparison("d", "upsert, p99", "upsert_p99_ms", "lower", ("n",), RECALL),
    Comparison("e", "hot tenant, median", "latency_ms", "lower", _TENANT, RECALL, _warmth("hot")),
    Comparison("e", "hot tenant, p99", "p99_ms", "lower", _TENANT, RECALL, _warmth("hot"), "none"),
    Comparison("e", "first touch, median", "latency_ms", "lower", _TENANT, RECALL, _warmth("first touch"), _typical),
    Comparison("e", "evicted, median", "latency_ms", "lower", _TENANT, RECALL, _warmth("evicted"), _typical),
    Comparison("e", "first query of a connection", "first_ms", "lower", ("data",)),
    Comparison("e", "a new tenant's place", "create_ms", "lower", ("tenants",), headline="last"),
    Comparison("e", "first upsert of a tenant", "first_upsert_ms", "lower", ("tenants",), None, _clients(1), "last"),
    Comparison("e", "the same, 8 clients at once", "first_upsert_ms", "lower", ("tenants",), None, _clients(8), "last"),
    Comparison("e", "drop of a tenant", "drop_ms", "lower", ("tenants",), headline="last"),
    Comparison("e", "drop of all tenants", "drop_all_seconds", "lower", ("tenants",), headline="last"),
    Comparison("e", "tenant asked before", "touched_ms", "lower", ("tenants",), headline="last"),
    Comparison("e", "tenant never asked before", "untouched_ms", "lower", ("tenants",), headline="last"),
    Comparison("e", "list of tenants, its first page", "list_ms", "lower", ("tenants",), None, _page("first"), "last"),
    Comparison("e", "list of tenants, in its middle", "list_ms", "lower", ("tenants",), None, _page("middle"), "last"),
    Comparison("e", "counts of all tenants", "stats_seconds", "lower", ("tenants",), headline="last"),
    Comparison("e", "growth of a backend", "backend_growth_bytes", "lower", ("tenants asked",), headline="last"),
    Comparison("e", "bytes of a tenant", "tenant_bytes", "lower", ("records",)),
    Comparison("e", "p99 beside others' work, times the quiet one", "p99_times_quiet", "lower", ("beside",)),
    Comparison("f", "filtered query, median", "latency_ms", "lower", _FILTER, 0.99, headline=_some_filters),
    Comparison("f", "filtered query, median", "latency_ms", "lower", _FILTER, RECALL, headline="none"),
    Comparison("g", "query while it grows, median", "latency_ms", "lower", ("n",), RECALL, headline="last"),
    Comparison("g", "query while it grows, p99", "p99_ms", "lower", ("n",), RECALL, headline="last"),
    Comparison("g", "upserts into the growing index", "rows_per_second", "higher", ("n",), None, _INDEXED, "last"),
    Comparison("g", "upserts, no vector index", "rows_per_second", "higher", ("n",), None, _EXACT, "last"),
    Comparison("g", "query when autovacuum is at rest", "at_rest_ms", "lower", ("state",), RECALL),
    Comparison("h", "query, median", "latency_ms", "lower", ("n",), RECALL, headline="last", fitted=True),
    Comparison("h", "index build", "build_seconds", "lower", ("n",), None, _INDEXED, "last", True),
    Comparison("h", "index bytes", "vector_index_bytes", "lower", ("n",), None, _INDEXED, "last", True),
    Comparison("h", "insert into the index, a row", "insert_ms", "lower", ("n",), None, _INDEXED, "last", True),
    Comparison("h", "insert, no vector index, a row", "insert_ms", "lower", ("n",), None, _EXACT, "last", True),
    # (b) has these two in the summary
    Comparison("i", "build of the vector index", "build_seconds", "lower", ("n",), headline="none"),
    Comparison("i", "vector index, bytes", "vector_index_bytes", "lower", ("n",), headline="none"),
    Comparison("i", "insert of many rows, a row", "insert_ms", "lower", _CHECKPOINT),
    Comparison("i", "WAL a row of many", "wal_bytes_per_row", "lower", _CHECKPOINT),
    Comparison("i", "query, median", "latency_ms", "lower", ("n",), RECALL, _SERVED),
    Comparison("i", "first query of a connection", "first_ms", "lower", ("n",), RECALL),
    Comparison("i", "first query of a connection, evicted", "evicted_ms", "lower", ("n",), RECALL),
    Comparison("i", "memory of a backend", "backend_bytes", "lower", ("n",), RECALL),
]
