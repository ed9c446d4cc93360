"""The filter language in a few lines of Python, and made metadata and filters to compare Conifer with it."""

from __future__ import annotations

import random
from collections import Counter

#: Few values, so that filters match; with pairs that are equal only as doubles, or only if types are not told apart.
NUMBERS = [0, 1, 2, 3, -1, 2.5, 10**300, -7.25, 9007199254740992, 9007199254740993, 0.1, 123456789012345678901234567890]
STRINGS = ["a", "b", "c", "1", "true", "", "größe", "日本", "a b", '"\\', "x" * 600]
FIELDS = ["genre", "year", "tags", "ok", "größe", "a.b", ""]
SCALARS = [*NUMBERS, *STRINGS, True, False]


def kind(value) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"


def key(value):
    """What a value is to a filter: numbers are doubles, and nothing equals a value of another type."""
    return (kind(value), float(value) if kind(value) == "number" else value)


def passes(metadata: dict | None, filter: dict) -> bool:
    """Does a record's metadata pass the filter?"""
    return all(clause_holds(metadata or {}, name, value) for name, value in filter.items())


def clause_holds(metadata: dict, name: str, value) -> bool:
    if name == "$and":
        return all(passes(metadata, clause) for clause in value)
    if name == "$or":
        return any(passes(metadata, clause) for clause in value)
    if name == "$not":
        return not passes(metadata, value)
    tests = value if isinstance(value, dict) else {"$eq": value}
    return all(test_holds(metadata, name, operator, operand) for operator, operand in tests.items())


def test_holds(metadata: dict, field: str, operator: str, operand) -> bool:
    if operator == "$exists":
        return (field in metadata) == operand
    if field not in metadata:
        return False
    value = metadata[field]
    elements = [key(element) for element in (value if isinstance(value, list) else [value])]
    if operator in ("$gt", "$gte", "$lt", "$lte"):
        bound = float(operand)
        compare = {"$gt": float.__gt__, "$gte": float.__ge__, "$lt": float.__lt__, "$lte": float.__le__}[operator]
        return any(type == "number" and compare(number, bound) for type, number in elements)
    operands = {key(value) for value in (operand if operator in ("$in", "$nin") else [operand])}
    if operator in ("$eq", "$in"):
        return any(element in operands for element in elements)
    types = {type for type, _ in operands}
    return not operands or all(element[0] in types and element not in operands for element in elements)


def facets(all_metadata, field: str) -> list[tuple]:
    """The distinct values of a field with how many records have each, in pc_facets' order."""
    counts = Counter()
    for metadata in all_metadata:
        if metadata is not None and field in metadata:
            value = metadata[field]
            counts.update({key(element) for element in (value if isinstance(value, list) else [value])})
    rank = {"boolean": 0, "number": 1, "string": 2}

    def place(item):
        (type, value), count = item
        return (-count, rank[type], value.encode() if type == "string" else value)

    return sorted(counts.items(), key=place)


def make_metadata(rng: random.Random) -> dict | None:
    if rng.random() < 0.05:
        return None
    metadata = {}
    for field in FIELDS:
        if rng.random() < 0.6:
            metadata[field] = rng.choice(SCALARS[:8] if rng.random() < 0.5 else SCALARS)
            if rng.random() < 0.3:
                metadata[field] = [rng.choice(STRINGS) for _ in range(rng.randrange(4))]
    return metadata


def make_test(rng: random.Random):
    """What is asked of one field."""
    if rng.random() < 0.3:
        return rng.choice(SCALARS)
    test = {}
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        operator = rng.choice(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists"])
        if operator in ("$eq", "$ne"):
            test[operator] = rng.choice(SCALARS)
        elif operator in ("$in", "$nin"):
            test[operator] = [rng.choice(NUMBERS + STRINGS) for _ in range(rng.choice([0, 1, 2, 5, 40]))]
        elif operator == "$exists":
            test[operator] = rng.random() < 0.7
        else:
            test[operator] = rng.choice(NUMBERS)
    return test


def make_filter(rng: random.Random, depth: int = 3) -> dict:
    """A filter with one clause or more."""
    filter = {}
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        logic = rng.random()
        if depth == 0 or logic < 0.6:
            filter[rng.choice([*FIELDS, "none"])] = make_test(rng)
        elif logic < 0.72:
            filter["$not"] = make_filter(rng, depth - 1)
        else:
            clauses = [make_filter(rng, depth - 1) for _ in range(rng.randint(1, 3))]
            filter["$and" if logic < 0.84 else "$or"] = clauses
    return filter


def malformed() -> list[tuple[dict, str]]:
    """Filters that are none, with the path of what is wrong."""
    bad = []
    for field, shown in [("f", "f"), ("größe", "größe"), ("a b", '"a b"'), ("", '""')]:
        for operator in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte"):
            bad += [({field: {operator: operand}}, f".{shown}.{operator}") for operand in (None, ["x"], {"x": 1})]
        for operator in ("$in", "$nin"):
            bad += [({field: {operator: operand}}, f".{shown}.{operator}") for operand in (None, 1, {})]
            bad += [({field: {operator: ["x", 1, operand]}}, f".{shown}.{operator}[2]") for operand in (True, None, [])]
        bad += [({field: {"$exists": operand}}, f".{shown}.$exists") for operand in (None, 1, "true", [])]
        bad += [({field: operand}, f".{shown}") for operand in (None, ["x"], {})]
        bad += [({field: {"$like": 1}}, f".{shown}.$like"), ({field: {"$and": []}}, f".{shown}.$and")]
    for operator in ("$and", "$or"):
        bad += [({operator: operand}, f".{operator}") for operand in (None, 1, {}, [])]
        bad += [({operator: [{"x": 1}, operand]}, f".{operator}[1]") for operand in (None, 1, {}, [])]
    bad += [({"$not": operand}, ".$not") for operand in (None, 1, {}, [])]
    bad += [({operator: 1}, f".{operator}") for operator in ("$eq", "$in", "$exists", "$nor", "$", "$text")]
    nested = [({"$or": [{"x": 1}, {"$not": filter}]}, f".$or[1].$not{path}") for filter, path in bad]
    return [(filter, f"${path}") for filter, path in bad + nested]
