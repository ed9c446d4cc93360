"""What a workload is given to work with."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np

from . import data, measure, system
from .clients import Clients


@dataclasses.dataclass
class Context:
    #: A database with both extensions, Conifer in schema `pc` and pgvector in schema `pgv`.
    dsn: str
    dataset: data.Dataset
    #: What this Conifer has: see `system.Features`.
    features: system.Features
    #: The client processes: `context.pool.run([Load, …])`.
    pool: Clients
    cache: pathlib.Path
    noise: measure.Noise
    progress: Callable[[str, float], None] = lambda text, fraction: None
    quick: bool = False
    #: For the bench's own test: seconds in all, figures without meaning. Implies `quick`.
    tiny: bool = False
    rounds: int = 5
    k: int = 10
    clients: int = 2
    seed: int = 1
    #: Without pgvector, in those workloads in which it would take hours of a million rows.
    alone: bool = False

    def __post_init__(self):
        self.rng = np.random.default_rng(self.seed)

    def scaled(self, full, quick, tiny):
        """One of three, by how long the run may take."""
        return tiny if self.tiny else quick if self.quick else full

    @property
    def seconds(self) -> float:
        """How long one cell is measured in one round."""
        return self.scaled(1.0, 0.4, 0.05)

    def truth(self, rows=None, k=None, queries=None) -> data.Truth:
        """Exact answers: among all rows, the first `rows` (a number) or those `rows` (an array of row numbers)."""
        if isinstance(rows, (int, np.integer)):
            rows = np.arange(rows)
        return data.exact(self.dataset, k or self.k, rows, queries, self.cache)

    def connect(self, schema: str, settings=(), **options):
        """A connection for preparing and looking; load is driven by `pool`."""
        return system.connect(self.dsn, schema, settings, **options)
