"""The arithmetic of the report: which cells are comparable, the best of each system, the factor between them, slopes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

#: pgvector's arrangements are chosen among; so are Conifer's, should it have several.
SYSTEMS = ("pgvector", "conifer")

#: A factor nearer to 1 than this is no difference, however narrow the rounds' spread was.
LEAST_DIFFERENCE = 0.05


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One figure of a workload, for which each system is taken at its best arrangement and setting."""

    workload: str
    #: As the table says it: "queries/s".
    what: str
    #: Name of the metric in the cells.
    metric: str
    better: str
    #: Parameters that are given, not chosen: one row for each of their combinations.
    by: tuple[str, ...] = ()
    #: Only cells that find at least this share of the nearest are candidates; None: recall plays no part.
    recall: float | None = None
    #: Only cells with these parameters.
    where: tuple[tuple[str, object], ...] = ()
    #: Which rows stand in the summary: "all", "none", "last" (the largest n), or what a function says of the row's `given`.
    headline: str | Callable[[dict], bool] = "all"
    #: Whether the workload asks how this grows with n.
    fitted: bool = False


@dataclasses.dataclass
class Row:
    """A comparison for one combination of its parameters; a system without a usable cell has the reason instead."""

    comparison: Comparison
    given: dict
    best: dict[str, dict | None]
    reasons: dict[str, str]

    def value(self, system: str) -> float | None:
        cell = self.best[system]
        return None if cell is None else cell["metrics"][self.comparison.metric]["median"]

    @property
    def factor(self) -> float | None:
        """How many times better Conifer is: above 1 it wins, below it loses, whichever way the metric counts."""
        ours, theirs = self.value("conifer"), self.value("pgvector")
        if ours is None or theirs is None:
            return None
        if ours == theirs:
            return 1.0
        over, under = (ours, theirs) if self.comparison.better == "higher" else (theirs, ours)
        return math.inf if under == 0 else over / under

    @property
    def verdict(self) -> str:
        """`win`, `loss`, `even` (the rounds overlap, or hardly differ) or `none` (one of them has no figure)."""
        factor = self.factor
        if factor is None:
            return "none"
        if overlap(*(self.best[system]["metrics"][self.comparison.metric] for system in SYSTEMS)):
            return "even"
        if 1 / (1 + LEAST_DIFFERENCE) < factor < 1 + LEAST_DIFFERENCE:
            return "even"
        return "win" if factor > 1 else "loss"


def overlap(one: dict, other: dict) -> bool:
    """Whether a round of each may have been the other's; figures of a single round have no spread to overlap by."""
    if len(one["rounds"]) < 2 or len(other["rounds"]) < 2:
        return False
    return one["min"] <= other["max"] and other["min"] <= one["max"]


def measured(cell: dict) -> bool:
    return cell.get("status", "measured") == "measured"


def recall_of(cell: dict) -> float | None:
    metric = cell["metrics"].get("recall")
    return metric and metric["median"]


def rows(result: dict, comparison: Comparison) -> list[Row]:
    """A row for each combination of the given parameters, in the order in which the workload measured them."""
    groups: dict[tuple, list[dict]] = {}
    for cell in result["cells"]:
        parameters = cell["parameters"]
        if any(parameters.get(name) != value for name, value in comparison.where):
            continue
        if measured(cell) and comparison.metric not in cell["metrics"]:
            continue
        groups.setdefault(tuple(parameters.get(name) for name in comparison.by), []).append(cell)
    found = []
    for values, cells in groups.items():
        best, reasons = {}, {}
        for system in SYSTEMS:
            best[system], reasons[system] = choose([c for c in cells if c["system"] == system], comparison)
        # A group for which nobody has the figure belongs to another comparison of the workload.
        if any(best.values()) or any(measured(cell) for cell in cells):
            found.append(Row(comparison, dict(zip(comparison.by, values, strict=True)), best, reasons))
    return found


def choose(cells: list[dict], comparison: Comparison) -> tuple[dict | None, str]:
    """The best of one system's cells, or None and why there is none."""
    candidates = [cell for cell in cells if measured(cell)]
    if not candidates:
        reasons = dict.fromkeys(cell.get("reason") or cell["status"] for cell in cells)
        return None, "not built: " + "; ".join(reasons) if reasons else "not measured"
    if comparison.recall is not None:
        # A cell without a recall cannot show that it answers well enough, so it is no candidate.
        recalls = [recall_of(cell) or 0.0 for cell in candidates]
        reached = [cell for cell, recall in zip(candidates, recalls, strict=True) if recall >= comparison.recall]
        if not reached:
            return None, f"recall {comparison.recall:g} not reached (at most {max(recalls):.3f})"
        candidates = reached

    def figure(cell):
        return cell["metrics"][comparison.metric]["median"]

    pick = max if comparison.better == "higher" else min
    return pick(candidates, key=figure), ""


def headlines(found: list[Row]) -> list[Row]:
    """The rows of one comparison that the summary shows."""
    wanted = found[0].comparison.headline if found else "none"
    if callable(wanted):
        return [row for row in found if wanted(row.given)]
    return {"all": found, "none": [], "last": found[-1:]}[wanted]


@dataclasses.dataclass(frozen=True)
class Slope:
    """cost ≈ n^exponent over these points, fitted by least squares of the logarithms."""

    exponent: float
    #: Standard error of the exponent; None with two points, through which every line goes.
    error: float | None
    points: int


def slope(points: list[tuple[float, float]]) -> Slope | None:
    """Fits the exponent; None where fewer than two different n have a cost above 0."""
    usable = [(math.log(n), math.log(cost)) for n, cost in points if n > 0 and cost > 0]
    if len({x for x, _ in usable}) < 2:
        return None
    count = len(usable)
    mean_x = sum(x for x, _ in usable) / count
    mean_y = sum(y for _, y in usable) / count
    spread = sum((x - mean_x) ** 2 for x, _ in usable)
    exponent = sum((x - mean_x) * (y - mean_y) for x, y in usable) / spread
    error = None
    if count > 2:
        residual = sum((y - mean_y - exponent * (x - mean_x)) ** 2 for x, y in usable)
        error = math.sqrt(residual / (count - 2) / spread)
    return Slope(exponent, error, count)


def slopes(found: list[Row]) -> dict[str, Slope | None]:
    """How one comparison's figure grows with n, for each system at its best."""
    return {
        system: slope([(row.given["n"], value) for row in found if (value := row.value(system)) is not None])
        for system in SYSTEMS
    }
