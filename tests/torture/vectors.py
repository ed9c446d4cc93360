"""Vectors of small whole numbers: what is written is what is read, whatever way it takes."""

from __future__ import annotations

import random


def as_text(values: tuple[float, ...]) -> str:
    return "[" + ",".join(f"{value:g}" for value in values) + "]"


class Numbers:
    """Vectors from a seed."""

    def __init__(self, seed: int, dimension: int):
        self.random = random.Random(seed)
        self.dimension = dimension

    def vector(self) -> tuple[float, ...]:
        """Never of zeros, which have no direction."""
        return (self.random.randint(1, 9) + 0.0, *(self.random.randint(-9, 9) + 0.0 for _ in range(self.dimension - 1)))
