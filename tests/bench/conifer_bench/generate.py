"""Made data of any size: clustered as embeddings are, with tenants of very unequal size and metadata of known shares."""

from __future__ import annotations

import numpy as np

from .data import Dataset

#: As many as the sentence embeddings have that the bench is run on most.
DIMENSION = 384
#: Share of the rows that hold each value of the metadata key "share"; the rest hold "rest".
SHARES = {"half": 0.5, "tenth": 0.1, "hundredth": 0.01, "thousandth": 0.001}


def generate(
    n: int,
    d: int = DIMENSION,
    metric: str = "cosine",
    queries: int = 1000,
    tenants: int = 100,
    seed: int = 1,
    name="made",
    metadata=True,
) -> Dataset:
    """`n` rows and `queries` of the same distribution; the first rows are the same for every larger `n`.

    Each row is a centre, chosen by a power law among some thousands, plus noise that lies mostly in a subspace of some
    dozens of dimensions: uniform noise in all dimensions would make every pair of vectors equally far, which no real
    embeddings are. Norms differ, by a sixth of their mean and more, as an inner product sees.
    """
    centres = _centres(d, seed)
    return Dataset(
        name=f"{name}-{n}x{d}",
        metric=metric,
        base=_draw(n, centres, seed + 1),
        queries=_draw(queries, centres, seed + 2),
        tenants=tenant_numbers(n, tenants, seed + 3),
        query_tenants=tenant_numbers(queries, tenants, seed + 4),
        metadata=shares(n, seed + 5) if metadata else None,
        source=f"generate(n={n}, d={d}, metric={metric}, queries={queries}, tenants={tenants}, seed={seed})",
    )


def tenant_numbers(n: int, tenants: int, seed: int) -> np.ndarray:
    """A tenant for each row: the i-th largest has a share of 1/i."""
    weights = 1 / np.arange(1, tenants + 1)
    return np.random.default_rng(seed).choice(tenants, n, p=weights / weights.sum())


def shares(n: int, seed: int) -> list[dict]:
    """Metadata in which one value of `share` is held by a half of the rows, another by a tenth, and so on."""
    draw = np.random.default_rng(seed).random(n)
    limits = np.cumsum(list(SHARES.values()))
    names = [*SHARES, "rest"]
    return [
        {"share": names[place], "number": int(number)}
        for place, number in zip(np.searchsorted(limits, draw, side="right"), (draw * 1e6), strict=True)
    ]


_BLOCK = 10_000


def _centres(d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    centres = random.normal(size=(2000, d)).astype(np.float32)
    # 40 directions shared by all clusters, each weaker than the one before
    directions = random.normal(size=(min(40, d), d)).astype(np.float32)
    directions *= (1.5 / np.sqrt(np.arange(1, len(directions) + 1)))[:, None].astype(np.float32)
    return centres, directions


def _draw(n: int, made_of, seed: int) -> np.ndarray:
    """Drawn in blocks, each with a seed of its own, so that a longer draw begins with a shorter one."""
    centres, directions = made_of
    weights = 1 / np.sqrt(np.arange(1, len(centres) + 1))
    weights /= weights.sum()
    found = np.empty((n, centres.shape[1]), np.float32)
    for start in range(0, n, _BLOCK):
        random = np.random.default_rng([seed, start])
        chosen = random.choice(len(centres), _BLOCK, p=weights)
        block = centres[chosen] + random.normal(size=(_BLOCK, len(directions))).astype(np.float32) @ directions
        block += 0.3 * random.standard_normal(block.shape, np.float32)
        part = found[start : start + _BLOCK]
        part[:] = block[: len(part)]
    return found
