"""What ought to be in a database, kept outside of it; and the comparison, record by record, that every test ends with."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
import psycopg

#: What a record holds: its elements as they were written, and its metadata.
Record = tuple[tuple[float, ...] | None, dict]


class Model:
    """Indexes by name, each with its namespaces by name, each with its records by id."""

    def __init__(self):
        self.indexes: dict[str, dict[str, dict[str, Record]]] = {}

    def namespace(self, index: str, namespace: str) -> dict[str, Record]:
        """Its records, to be changed; it is made if it is not there."""
        return self.indexes.setdefault(index, {}).setdefault(namespace, {})


def contents(connection: psycopg.Connection, index: str) -> dict[str, dict[str, Record]]:
    """What an index holds, as plain SQL and the list of namespaces tell."""
    found: dict[str, dict[str, Record]] = {}
    query = 'SELECT name, record_count FROM pc_list_namespaces(%s, "limit" => 10000)'
    listed = dict(connection.execute(query, [index]).fetchall())
    for name in listed:
        rows = connection.execute(
            f'SELECT id, "values"::real[], coalesce(metadata, \'{{}}\') FROM "{index}" WHERE namespace = %s', [name]
        ).fetchall()
        found[name] = {id: (None if values is None else tuple(values), metadata) for id, values, metadata in rows}
        assert len(found[name]) == len(rows), f"{index}/{name}: one id in two records"
        assert listed[name] == len(rows), f"{index}/{name}: {listed[name]} records counted, {len(rows)} there"
    return found


def check_indexes(connection: psycopg.Connection):
    """conifer_check on every vector index of the database."""
    names = connection.execute(
        """SELECT c.oid::regclass::text FROM pg_class c JOIN pg_am a ON a.oid = c.relam
           WHERE a.amname = 'conifer' AND c.relkind = 'i'"""
    ).fetchall()
    for (name,) in names:
        violations = connection.execute("SELECT * FROM conifer_check(%s::regclass)", [name]).fetchall()
        assert violations == [], f"{name}: {violations}"


def check_catalog(connection: psycopg.Connection):
    """The extension's catalog names exactly the leaves that PostgreSQL has."""
    missing = connection.execute(
        """SELECT n.namespace FROM conifer.namespaces n LEFT JOIN pg_class c ON c.oid = n.leaf
           WHERE c.oid IS NULL OR NOT c.relispartition"""
    ).fetchall()
    strangers = connection.execute(
        """SELECT c.relname FROM pg_class c LEFT JOIN conifer.namespaces n ON n.leaf = c.oid
           WHERE c.relnamespace = 'conifer_data'::regnamespace AND c.relkind = 'r' AND n.leaf IS NULL"""
    ).fetchall()
    assert (missing, strangers) == ([], [])


def check_answers(connection: psycopg.Connection, index: str, namespace: str, records: dict[str, Record], seed: int = 0):
    """pc_query at full recall gives the nearest there are, and at the usual recall only records that are there, with their own scores."""
    vectors = {id: values for id, (values, _) in records.items() if values is not None}
    if not vectors:
        return
    names = list(vectors)
    matrix = np.array([vectors[name] for name in names], dtype=np.float64)
    query = np.random.default_rng(seed).standard_normal(matrix.shape[1]).astype(np.float32)
    metric = connection.execute("SELECT metric FROM conifer.indexes WHERE name = %s", [index]).fetchone()[0]
    scores = dict(zip(names, _scores(matrix, query.astype(np.float64), metric), strict=True))
    best = sorted(scores.values(), reverse=metric != "euclidean")[:10]
    vector = "[" + ",".join(str(float(element)) for element in query) + "]"
    for recall in ("1.0", "0.95"):
        connection.execute("SELECT set_config('conifer.recall', %s, false)", [recall])
        found = connection.execute("SELECT id, score FROM pc_query(%s, %s, %s::vector, 10)", [index, namespace, vector]).fetchall()
        assert len(found) == len(best), f"{index}/{namespace}: {len(found)} found, {len(best)} wanted"
        for position, (id, score) in enumerate(found):
            assert id in scores, f"{index}/{namespace}: {id} found, and not there"
            assert np.isclose(score, scores[id], rtol=1e-4, atol=1e-5), f"{index}/{namespace}: {id} {score} {scores[id]}"
            assert recall != "1.0" or np.isclose(score, best[position], rtol=1e-4, atol=1e-5)
    connection.execute("RESET conifer.recall")


def _scores(matrix: np.ndarray, query: np.ndarray, metric: str) -> np.ndarray:
    match metric:
        case "dotproduct":
            return matrix @ query
        case "cosine":
            return matrix @ query / (np.linalg.norm(matrix, axis=1) * np.linalg.norm(query))
        case "euclidean":
            return ((matrix - query) ** 2).sum(axis=1)
    raise AssertionError(metric)


def verify(connection: psycopg.Connection, model: Model, indexes: Iterable[str] | None = None):
    """Everything: the catalog, every vector index, every record, and what queries answer."""
    check_catalog(connection)
    check_indexes(connection)
    there = {name for (name,) in connection.execute("SELECT name FROM pc_list_indexes()").fetchall()}
    wanted = set(model.indexes if indexes is None else indexes)
    assert there == wanted
    for index in sorted(wanted):
        expected = model.indexes[index]
        found = contents(connection, index)
        assert found == expected, difference(index, expected, found)
        for number, (namespace, records) in enumerate(sorted(expected.items())):
            check_answers(connection, index, namespace, records, number)


def difference(index: str, expected: dict, found: dict) -> str:
    """What differs, in few words."""
    lines = [f"{index}: namespaces missing {sorted(expected.keys() - found.keys())}, too many {sorted(found.keys() - expected.keys())}"]
    for namespace in sorted(expected.keys() & found.keys()):
        for id in sorted(expected[namespace].keys() | found[namespace].keys()):
            one, other = expected[namespace].get(id), found[namespace].get(id)
            if one != other:
                lines.append(f"{namespace}/{id}: wanted {json.dumps(one)[:200]}, found {json.dumps(other)[:200]}")
    return "\n".join(lines[:20])
