"""Made-up figures in the form of a run's raw.json, for the tests of comparison, report and plots."""

from conifer_bench.measure import summary


def cell(system, arrangement, parameters, **metrics):
    """A measured cell; a metric is (rounds, unit)."""
    return {
        "system": system,
        "arrangement": arrangement,
        "parameters": parameters,
        "metrics": {name: summary(rounds, unit) for name, (rounds, unit) in metrics.items()},
    }


def refused(system, arrangement, parameters, reason):
    return {
        "system": system,
        "arrangement": arrangement,
        "parameters": parameters,
        "metrics": {},
        "status": "not built",
        "reason": reason,
    }


def result(letter, cells, status="measured", reason=None, **more):
    return {
        "workload": letter,
        "title": f"workload {letter}",
        "status": status,
        "reason": reason,
        "setup": {},
        "cells": cells,
        "notes": [],
        **more,
    }


def recall_curves():
    cells = []
    for n, speed in ((1000, 4000.0), (62436, 1500.0)):
        for ef, recall, share in ((10, 0.90, 2.0), (40, 0.96, 1.0), (100, 0.995, 0.4)):
            rounds = [speed * share * wobble for wobble in (0.98, 1.0, 1.02)]
            cells.append(
                cell(
                    "pgvector",
                    "one table, HNSW",
                    {"n": n, "k": 10, "clients": 1, "hnsw.ef_search": ef},
                    recall=([recall] * 3, ""),
                    queries_per_second=(rounds, "1/s"),
                )
            )
        ours = 9000.0 if n == 1000 else 80.0
        cells.append(
            cell(
                "conifer",
                "namespace per tenant",
                {"n": n, "k": 10, "clients": 1},
                recall=([1.0] * 3, ""),
                queries_per_second=([ours * 0.99, ours, ours * 1.01], "1/s"),
            )
        )
    return cells


def tenants():
    return [
        cell(
            system,
            arrangement,
            {"data": "made", "warmth": warmth, "tenant rows": label, "mean rows": mean},
            latency_ms=([base * mean**0.5 * wobble for wobble in (0.9, 1.0, 1.1)], "ms"),
            p99_ms=([base * mean**0.5 * 3], "ms"),
            recall=([1.0], ""),
        )
        for warmth in ("hot", "first touch", "evicted")
        for label, mean in (("1–9", 4), ("10–99", 40), ("100–999", 300))
        for system, arrangement, base in (
            ("conifer", "namespace per tenant", 0.01),
            ("pgvector", "partition per tenant, exact", 0.02),
            ("pgvector", "shared table, HNSW, iterative scan", 0.2),
        )
    ]


def filters():
    cells = [
        cell(
            system,
            arrangement,
            {"filter": "eq", "selectivity": selectivity, "correlated": False},
            latency_ms=([base * selectivity**0.3] * 3, "ms"),
            recall=([recall] * 3, ""),
            complete=([1.0] * 3, ""),
        )
        for selectivity in (0.5, 0.01)
        for system, arrangement, base, recall in (
            ("conifer", "namespace per tenant", 9.0, 1.0),
            ("pgvector", "one table, HNSW, iterative scan", 1.0, 0.97),
            ("pgvector", "one table, exact", 20.0, 1.0),
        )
    ]
    parameters = {"filter": "range", "selectivity": 0.5, "correlated": False}
    cells.append(refused("conifer", "namespace per tenant", parameters, "pc_query refuses $gte"))
    figures = {"latency_ms": ([2.0] * 3, "ms"), "recall": ([0.99] * 3, "")}
    return [*cells, cell("pgvector", "one table, exact", parameters, **figures)]


def growth():
    """While it grows; then, when autovacuum is at rest, beside a freshly built index, which Conifer is too far from once."""
    cells = [
        cell(
            system,
            arrangement,
            {"n": n, "search": "vector index"},
            latency_ms=([n * base], "ms"),
            p99_ms=([n * base * 2], "ms"),
            recall=([1.0], ""),
            rows_per_second=([1e6 * base], "1/s"),
        )
        for n in (1000, 2000, 3000)
        for system, arrangement, base in (("conifer", "namespace", 1e-4), ("pgvector", "one table, HNSW", 2e-4))
    ]
    for state, times in (("grown from empty by upserts", 1.2), ("then 90 % deleted", 1.5)):
        for system, arrangement, setting in (
            ("conifer", "namespace", {"conifer.recall": 0.95}),
            ("pgvector", "one table, HNSW", {"hnsw.ef_search": 40}),
        ):
            figures = {"at_rest_ms": ([times], "ms"), "fresh_ms": ([1.0], "ms"), "at_rest_times_fresh": ([times], "×")}
            cells.append(cell(system, arrangement, {"state": state, **setting}, recall=([0.96], ""), **figures))
    return cells


def scaling():
    """A Conifer without a vector index: its queries and inserts grow in proportion, and there is nothing to build."""
    cells = []
    for n in (1000, 10_000, 100_000):
        times = {"latency_ms": ([0.001 * n] * 3, "ms"), "recall": ([1.0] * 3, ""), "insert_ms": ([0.1], "ms")}
        cells.append(cell("conifer", "namespace per tenant", {"n": n, "search": "exact scan"}, **times))
        cells.append(
            refused("conifer", "namespace per tenant", {"n": n, "search": "vector index"}, "no vector index yet")
        )
        times["latency_ms"] = ([0.001 * n**0.25] * 3, "ms")
        built = {"build_seconds": ([n * 1e-4], "s"), "vector_index_bytes": ([n * 500], "B")}
        cells.append(cell("pgvector", "one table, HNSW", {"n": n, "search": "vector index"}, **times, **built))
    return cells


def index():
    """The vector index itself: one goal of recall is missed."""
    cells = [
        cell("conifer", "namespace", {"n": 1000, "k": k, "state": "after build", "conifer.recall": goal}, **figures)
        for k in (10, 100)
        for goal, recall in ((0.8, 0.86), (0.99, 0.9899 if k == 100 else 0.99))
        for figures in [{"recall": ([recall], ""), "latency_ms": ([0.1], "ms")}]
    ]
    for system, arrangement, setting, base in (
        ("conifer", "namespace", {"conifer.recall": 0.9}, 1.0),
        ("pgvector", "one table, HNSW", {"hnsw.ef_search": 40}, 3.0),
    ):
        times = {name: ([base], "ms") for name in ("latency_ms", "first_ms", "evicted_ms")}
        held = {"backend_bytes": ([base * 2e6], "B"), "build_seconds": ([base], "s")}
        cells.append(cell(system, arrangement, {"n": 1000, **setting}, recall=([0.95], ""), **times, **held))
        for since, wal in (("long before", 2e3), ("just before", 9e3)):
            parameters = {"n": 1000, "last checkpoint": since}
            cells.append(cell(system, arrangement, parameters, wal_bytes_per_row=([base * wal], "B")))
    return cells


def raw(**options):
    """A whole run."""
    return {
        "environment": {
            "date": "2026-01-02",
            "commit": "0123456789ab",
            "postgresql": "PostgreSQL 18.6 on x",
            "settings": {"shared_buffers": "1GB"},
        },
        "noise": {"spin_spread_percent": 3.2, "steal_percent": 0.1, "discarded": []},
        "options": {"quick": False, "rounds": 3, "command": "make bench", **options},
        "results": [
            result("a", recall_curves()),
            result("d", [], "not built", "no mixed workload yet"),
            result("e", tenants()),
            result("f", filters()),
            result("g", growth()),
            result("h", scaling()),
            result("i", index()),
        ],
    }
