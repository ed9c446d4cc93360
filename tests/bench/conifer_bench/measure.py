"""Measuring: in turns, several rounds, medians with their spread, and the rounds that cannot be trusted thrown away."""

from __future__ import annotations

import contextlib
import pathlib
import statistics
import sys
import time

import numpy as np


class ThrownAway(Exception):
    """A workload whose figures cannot be trusted; the report says why instead of showing them."""


class NotBuilt(Exception):
    """A workload needs something that one of the systems does not have yet; the report says what."""


def summary(values, unit: str) -> dict:
    """Median and spread over rounds, as the report wants them."""
    values = [float(value) for value in values]
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "rounds": values,
        "unit": unit,
    }


def percentile(values, share: float) -> float:
    return float(np.percentile(np.asarray(values), share * 100))


def summarise(rounds: list[dict], units: dict) -> dict:
    """The metrics of a cell from what its rounds measured: dicts of name to value."""
    return {name: summary([one[name] for one in rounds], units[name]) for name in rounds[0]} if rounds else {}


class Noise:
    """What the machine did beside the bench: a loop of fixed work timed again and again, stolen time, swapping."""

    def __init__(self):
        self.spins: list[float] = []
        self.discarded: list[str] = []
        self._began = _cpu_times()
        self.sample()

    def sample(self):
        """Times the loop, about 20 ms; called between rounds."""
        begun = time.perf_counter()
        total = 0
        for number in range(400_000):
            total += number & 7
        self.spins.append(time.perf_counter() - begun)

    def discard(self, reason: str):
        self.discarded.append(reason)
        print(f"\n!!! THROWN AWAY: {reason}\n", file=sys.stderr, flush=True)

    def statement(self) -> dict:
        """How steady the machine was."""
        now = _cpu_times()
        total = max(sum(now) - sum(self._began), 1)
        median = statistics.median(self.spins)
        low, high = np.percentile(self.spins, [5, 95])
        return {
            "spin_ms": summary([spin * 1e3 for spin in self.spins], "ms"),
            "spin_spread_percent": float((high - low) / median * 100),
            "steal_percent": (now[7] - self._began[7]) / total * 100 if len(now) > 7 else None,
            "discarded": list(self.discarded),
        }


def _cpu_times() -> list[int]:
    """Ticks by kind, of /proc/stat; the eighth is stolen time."""
    with contextlib.suppress(OSError):
        return [int(field) for field in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return [0]


def pages_swapped() -> int:
    """Pages swapped in or out since the machine started."""
    with contextlib.suppress(OSError):
        lines = pathlib.Path("/proc/vmstat").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(("pswpin ", "pswpout ")))
    return 0


def in_turns(contestants: dict, rounds: int, noise: Noise, progress=None) -> dict[object, list]:
    """Calls each contestant once a round, A B A B, and gives what each returned in each round.

    A round during which the machine swapped is thrown away, loudly, and taken again; after as many bad ones as good ones
    were wanted, so is the workload.
    """
    kept: dict[object, list] = {name: [] for name in contestants}
    taken = bad = 0
    while taken < rounds:
        before = pages_swapped()
        results = {}
        for turn, (name, contestant) in enumerate(contestants.items()):
            if progress:
                done = (taken * len(contestants) + turn) / (rounds * len(contestants))
                progress(f"round {taken + 1} of {rounds}: {_said(name)}", done)
            results[name] = contestant()
        noise.sample()
        swapped = pages_swapped() - before
        if swapped:
            bad += 1
            noise.discard(f"a round during which {swapped} pages were swapped")
            if bad >= rounds:
                raise ThrownAway(f"the machine swapped during {bad} rounds")
            continue
        taken += 1
        for name, result in results.items():
            kept[name].append(result)
    return kept


def _said(name) -> str:
    return ", ".join(str(part) for part in name if part != "") if isinstance(name, tuple) else str(name)


class Wal:
    """Bytes of WAL written while the block ran: `with Wal(connection) as wal: …; wal.bytes`."""

    def __init__(self, connection):
        self.connection = connection
        self.bytes = 0

    def __enter__(self):
        self._from = self._position()
        return self

    def __exit__(self, *_):
        self.bytes = self._position() - self._from

    def _position(self) -> int:
        # The insert position, not the flushed one: what a commit has not waited for counts too.
        return int(self.connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()[0])
