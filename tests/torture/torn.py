"""Pages as a failing disk leaves them."""

from __future__ import annotations

import pathlib
import random
import re

from server import Server

PAGE, SECTOR = 8192, 512


def tear_pages(server: Server, rng: random.Random, indexes: set[str]) -> tuple[int, int]:
    """Of a killed server's pages that were written since the last checkpoint, overwrites about half in part. How many, and how many of the
    files named `indexes`.

    Only the main forks: the others' pages carry no place in WAL, or none that tells that WAL has them whole.
    """
    redo, torn, of_indexes = redo_location(server), 0, 0
    for path in (server.data / "base").glob("*/*"):
        if not re.fullmatch(r"\d+(\.\d+)?", path.name):
            continue
        count = tear_file(path, redo, rng)
        torn += count
        if str(path.relative_to(server.data)) in indexes:
            of_indexes += count
    return torn, of_indexes


def redo_location(server: Server) -> int:
    """Where recovery will begin."""
    told = server.program("pg_controldata", "-D", server.data).stdout
    high, low = re.search(r"REDO location:\s+([0-9A-F]+)/([0-9A-F]+)", told).groups()
    return int(high, 16) << 32 | int(low, 16)


def tear_file(path: pathlib.Path, redo: int, rng: random.Random) -> int:
    torn = 0
    with path.open("r+b") as file:
        for start in range(0, path.stat().st_size, PAGE):
            file.seek(start)
            head = file.read(8)
            lsn = int.from_bytes(head[:4], "little") << 32 | int.from_bytes(head[4:], "little")
            # The first change after `redo` has the whole page in WAL.
            if lsn > redo and rng.random() < 0.5:
                first, last = sorted(rng.sample(range(PAGE // SECTOR + 1), 2))
                file.seek(start + first * SECTOR)
                file.write(rng.randbytes((last - first) * SECTOR))
                torn += 1
    return torn
