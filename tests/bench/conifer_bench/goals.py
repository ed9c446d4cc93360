"""Goals that Conifer has to keep whatever pgvector does: each beside what was measured."""

from __future__ import annotations

import dataclasses

from . import comparison, wording


@dataclasses.dataclass(frozen=True)
class Goal:
    """A figure of Conifer's cells that has a least or a greatest value."""

    workload: str
    #: As the table says it: "recall".
    what: str
    #: Name of the metric in the cells.
    metric: str
    #: "higher": at least what is wanted; "lower": at most.
    better: str
    #: The value, or the name of the parameter that holds it.
    wanted: float | str
    #: What tells one line from another; cells without one of these have no part in it.
    by: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Line:
    """A goal at one cell."""

    goal: Goal
    given: dict
    wanted: float
    found: dict

    @property
    def kept(self) -> bool:
        median = self.found["median"]
        return median >= self.wanted if self.goal.better == "higher" else median <= self.wanted


_TENANTS = ("tenants",)
_MADE = ("tenants", "clients")
#: A grown or thinned-out index may take this many times a freshly built one's time for a query.
TIMES_FRESH = 1.3
#: What one of very many tenants may take beside one of a thousand to be made or dropped, beside one of a hundred to be asked.
TIMES_1000TH, TIMES_100TH = 1.5, 1.1
#: And a tenant's 99th percentile while another is loaded or vacuumed, beside its quiet one.
TIMES_QUIET = 2.0

GOALS = [
    Goal("e", "first upsert, times one of 1,000's", "first_upsert_times_1000th", "lower", TIMES_1000TH, _MADE),
    Goal("e", "drop, times one of 1,000's", "drop_times_1000th", "lower", TIMES_1000TH, _MADE),
    Goal("e", "query, asked before, times one of 100's", "touched_times_100th", "lower", TIMES_100TH, _TENANTS),
    Goal("e", "query, never asked before, beyond that", "untouched_more_ms", "lower", 1.5, _TENANTS),
    Goal("e", "growth of a backend", "backend_growth_bytes", "lower", 64e6, ("tenants", "tenants asked")),
    Goal("e", "counts of all tenants", "stats_seconds", "lower", 5.0, _TENANTS),
    Goal("e", "p99 beside others' work, times quiet", "p99_times_quiet", "lower", TIMES_QUIET, ("beside",)),
    Goal("g", "query, times a freshly built index's", "at_rest_times_fresh", "lower", TIMES_FRESH, ("state",)),
    Goal("g", "mean recall@10", "recall", "higher", "conifer.recall", ("state",)),
    Goal("i", "mean recall", "recall", "higher", "conifer.recall", ("state", "k")),
]


def lines(result: dict) -> list[Line]:
    """Every goal of a workload, at each of Conifer's cells that has the figure."""
    found = []
    for goal in GOALS:
        if goal.workload != result["workload"] or result["status"] != "measured":
            continue
        for cell in result["cells"]:
            parameters = cell["parameters"]
            known = comparison.measured(cell) and goal.metric in cell["metrics"] and set(goal.by) <= parameters.keys()
            wanted = parameters.get(goal.wanted) if isinstance(goal.wanted, str) else goal.wanted
            if cell["system"] == "conifer" and known and wanted is not None:
                given = {name: parameters[name] for name in goal.by} | wording.setting(cell)
                found.append(Line(goal, given, wanted, cell["metrics"][goal.metric]))
    return found


def _wanted(line: Line) -> str:
    unit = line.found["unit"]
    text = wording.figure(line.wanted, unit) if unit in ("B", "ms", "s") else f"{line.wanted:g}"
    return f"{'≥' if line.goal.better == 'higher' else '≤'} {text}"


def table(result: dict) -> list[str]:
    """A workload's goals, with what became of each; nothing where it has none."""
    every = lines(result)
    if not every:
        return []
    header = ["goal of Conifer", "given", "wanted", "found", ""]
    return wording.table(header, [[*_said(line), "kept" if line.kept else "**MISSED**"] for line in every])


def _said(line: Line) -> list[str]:
    found = wording.metric(line.found, line.goal.metric)
    return [line.goal.what, wording.parameters(line.given), _wanted(line), found]


def summary(results: list[dict]) -> list[str]:
    """How many were kept, and each that was missed."""
    every = [(result["workload"], line) for result in results for line in lines(result)]
    if not every:
        return []
    missed = [(letter, line) for letter, line in every if not line.kept]
    said = [f"Of {len(every)} goals of its own, Conifer keeps {len(every) - len(missed)} and misses {len(missed)}."]
    for letter, line in missed:
        what, given, wanted, found = _said(line)
        said.append(f"* **MISSED** ({letter}) {what}, {given}: {found}, wanted {wanted}")
    return [*said, ""]
