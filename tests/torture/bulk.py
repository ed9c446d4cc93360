"""Many records at once: made from a seed, and loaded by COPY in binary form."""

from __future__ import annotations

import json
import struct

import numpy as np
import psycopg
from model import Record


def vectors(count: int, dimension: int, seed: int) -> np.ndarray:
    """Clustered, and of eighths: what comes back as text is the same number."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((64, dimension)) * 2
    rows = centres[generator.integers(0, 64, count)] + generator.standard_normal((count, dimension))
    return (np.round(rows * 8) / 8).astype(np.float32)


def records(count: int, dimension: int, seed: int) -> dict[str, Record]:
    """Records `r0`, `r1` …; field `n` is the number, `g` one of ten groups."""
    rows = vectors(count, dimension, seed).tolist()
    return {f"r{number}": (tuple(row), {"n": number, "g": f"g{number % 10}"}) for number, row in enumerate(rows)}


def load(connection: psycopg.Connection, index: str, namespace: str, records: dict[str, Record]):
    """Puts records into a namespace that is there."""
    name = _field(namespace.encode())
    with connection.cursor().copy(f'COPY "{index}" (namespace, id, "values", metadata) FROM STDIN (FORMAT BINARY)') as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0))
        for id, (values, metadata) in records.items():
            vector = struct.pack("!HH", len(values), 0) + np.array(values, dtype=">f4").tobytes()
            document = b"\x01" + json.dumps(metadata).encode()
            copy.write(struct.pack("!h", 4) + name + _field(id.encode()) + _field(vector) + _field(document))
        copy.write(struct.pack("!h", -1))


def _field(data: bytes) -> bytes:
    return struct.pack("!i", len(data)) + data
