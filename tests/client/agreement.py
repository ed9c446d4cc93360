"""When two answers to one expression count as the same.

Distances are sums of float4 products whose order of summing is free, so they agree within the rounding of such a sum:
a sum of n terms has an error of at most n·2⁻²⁴·Σ|term| (and n·2⁻¹⁴⁹ by underflow). Everything else must be equal.
"""

from __future__ import annotations

import math

import numpy as np

from expressions import Case

UNIT = 2.0**-24
STEP = 2.0**-149
MAX = float(np.finfo(np.float32).max)

#: An answer: (value as text or None for NULL, SQLSTATE or None, message or None)
Answer = tuple[str | None, str | None, str | None]


def agree(case: Case, ours: Answer, theirs: Answer) -> bool:
    """Whether the two answers are the same, as far as they can be told apart."""
    if ours[1] is not None or theirs[1] is not None:
        return ours[1] == theirs[1]
    if case.distance is None or ours[0] is None or theirs[0] is None:
        return ours[0] == theirs[0]
    low, high, may_be_nan = interval(*case.distance)
    return all(within(float(value), low, high, may_be_nan) for value in (ours[0], theirs[0]))


def within(value: float, low: float, high: float, may_be_nan: bool) -> bool:
    """Whether a value is a possible result."""
    return may_be_nan if math.isnan(value) else low <= value <= high


def interval(kind: str, left: list[float], right: list[float]) -> tuple[float, float, bool]:
    """The least and the greatest value a distance summed in float4 can have, and whether it can be NaN."""
    a, b = np.array(left, np.float64), np.array(right, np.float64)
    match kind:
        case "norm":
            exact = math.sqrt(float(a @ a))
            return exact * (1 - 1e-12), exact * (1 + 1e-12), False
        case "l2":
            low, high, nan = total((a - b) ** 2, 3)
            return math.sqrt(max(low, 0.0)) * (1 - 1e-15), math.sqrt(high) * (1 + 1e-15), nan
        case "l2_squared":
            return total((a - b) ** 2, 3)
        case "l1":
            return total(abs(a - b), 1)
        case "inner_product":
            return total(a * b, 1)
        case "negative_inner_product":
            low, high, nan = total(a * b, 1)
            return -high, -low, nan
        case "spherical":
            low, high, nan = total(a * b, 1)
            low, high = clamp(low), clamp(high)
            return math.acos(high) / math.pi - 1e-15, math.acos(low) / math.pi + 1e-15, nan
        case "cosine":
            return cosine(a, b)
    raise ValueError(kind)


def total(terms: np.ndarray, roundings: int) -> tuple[float, float, bool]:
    """Bounds of a sum of terms, each rounded so many times before it is added."""
    n = len(terms)
    relative, absolute = 1.001 * (n + roundings) * UNIT, (n + roundings) * STEP
    up, down = math.fsum(terms[terms > 0]), math.fsum(terms[terms < 0])
    margin = relative * (up - down) + absolute
    low, high = up + down - margin, up + down + margin
    # A sum that may pass the largest float4 on its way may become infinite; with both signs, not a number.
    up, down = up * (1 + relative), down * (1 + relative)
    may_pass_up, may_pass_down = up > MAX, down < -MAX
    one_sign = up == 0 or down == 0
    if may_pass_up:
        low, high = math.inf if one_sign and low > MAX else min(low, MAX), math.inf
    if may_pass_down:
        low, high = -math.inf, -math.inf if one_sign and high < -MAX else max(high, -MAX)
    return low, high, may_pass_up and may_pass_down


def cosine(a: np.ndarray, b: np.ndarray) -> tuple[float, float, bool]:
    """Bounds of 1 − Σab / √(Σa²·Σb²), each sum in float4."""
    dot_low, dot_high, nan = total(a * b, 1)
    norms = [total(x * x, 1) for x in (a, b)]
    if nan or any(low <= 0 or high > MAX for low, high, _ in norms) or max(-dot_low, dot_high) > MAX:
        # A sum may be zero or infinite: 0/0 and ∞/∞ are possible, and any quotient.
        return 0.0, 2.0, True
    low = math.sqrt(norms[0][0] * norms[1][0])
    high = math.sqrt(norms[0][1] * norms[1][1])
    similarity_low = min(dot_low / low, dot_low / high)
    similarity_high = max(dot_high / low, dot_high / high)
    return 1 - clamp(similarity_high) - 1e-15, 1 - clamp(similarity_low) + 1e-15, False


def clamp(x: float) -> float:
    return max(-1.0, min(1.0, x))
