"""Vectors of small whole numbers: what is written is what is read, whatever way it takes."""

from __future__ import annotations

import random


#: Elements that are not zero: the others of a long vector cost nothing to make and to write.
GIVEN = 8


def as_text(values: tuple[float, ...]) -> str:
    return "[" + ",".join(f"{value:.9g}" for value in values[:GIVEN]) + ",0" * (len(values) - GIVEN) + "]"


class Numbers:
    """Vectors from a seed."""

    def __init__(self, seed: int | str, dimension: int):
        self.random = random.Random(seed)
        self.dimension = dimension

    def vector(self) -> tuple[float, ...]:
        """Never of zeros alone, which have no direction."""
        return self.filled(self.random.randint(1, 9), *(self.random.randint(-9, 9) for _ in range(GIVEN - 1)))

    def near(self, middle: tuple[float, ...]) -> tuple[float, ...]:
        return self.filled(*(value + self.random.randint(0, 64) / 64 for value in middle[:GIVEN]))

    def filled(self, *values: float) -> tuple[float, ...]:
        return (*map(float, values), *(0.0,) * (self.dimension - GIVEN))
