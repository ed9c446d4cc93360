"""How the report writes figures, settings and verdicts."""

from __future__ import annotations

import math

from .comparison import Row

_DECIMAL = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def number(value: float) -> str:
    """Three significant digits, or whole thousands: 0.0123, 4.56, 1,486."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(2 - math.floor(math.log10(abs(value))), 0)
    return f"{value:,.{digits}f}"


def _scaled(value: float, unit: str) -> tuple[str, str]:
    """The digits and the unit behind them; bytes in decimal multiples."""
    if unit == "B":
        for name, size in _DECIMAL:
            if abs(value) >= size:
                return number(value / size), f" {name}"
        return f"{value:.0f}", " B"
    return number(value), unit[1:] if unit.startswith("1/") else f" {unit}".rstrip()


def figure(value: float, unit: str) -> str:
    """A value with its unit."""
    return "".join(_scaled(value, unit))


def metric(entry: dict, name: str = "", spread: bool = True) -> str:
    """A metric of a cell: its median, and what the rounds lay between."""
    if name in ("recall", "complete"):
        return f"{entry['median']:.3f}"
    text = figure(entry["median"], entry["unit"])
    if not spread or len(entry["rounds"]) < 2 or entry["min"] == entry["max"]:
        return text
    ends = [_scaled(entry[end], entry["unit"]) for end in ("min", "max")]
    same = len({unit for _, unit in [*ends, _scaled(entry["median"], entry["unit"])]}) == 1
    low, high = (digits if same else digits + unit for digits, unit in ends)
    return f"{text} ({low} … {high})"


def parameter(value) -> str:
    """A parameter's value: numbers with thousands set apart, settings as name and value."""
    if isinstance(value, dict):
        return ", ".join(f"{name.split('.')[-1]} {parameter(inner)}" for name, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(parameter, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


#: Parameters whose value tells what it is.
_SPEAKING = ("data", "filter", "way", "state")


def given(row: Row) -> str:
    """What a row of a comparison stands for."""
    return parameters(row.given)


def parameters(given: dict) -> str:
    """Parameters by name and value; those that are None go without saying."""
    words = []
    for name, value in given.items():
        if name == "selectivity":
            words.append(f"{value * 100:g} %")
        elif name == "correlated":
            words.append("correlated" if value else "uncorrelated")
        elif value is not None:
            words.append(parameter(value) if name in _SPEAKING else f"{name} {parameter(value)}")
    return ", ".join(words)


def setting(cell: dict) -> dict:
    """The settings a cell was measured at: the parameters with a dot in their names, as PostgreSQL has for extensions."""
    return {name: value for name, value in cell["parameters"].items() if "." in name}


def arrangement(row: Row, system: str) -> str:
    """A system's best arrangement, with the setting if that was chosen for its recall."""
    cell = row.best[system]
    if cell is None:
        return "—"
    settings = setting(cell) if row.comparison.recall is not None else {}
    # no choice between more and less recall: how far a scan may go is the same in all cells
    settings.pop("hnsw.max_scan_tuples", None)
    words = [cell["arrangement"], parameter(settings) if settings else "", _workers(cell["parameters"].get("workers"))]
    return ", ".join(filter(None, words))


def _workers(count: int | None) -> str:
    return f"{count} parallel workers" if count else ""


def verdict(row: Row) -> str:
    """Who is ahead and by how much; a loss stands out."""
    if row.verdict == "none":
        return "—"
    if row.verdict == "even":
        return f"even ({number(row.factor)} ×)"
    if row.verdict == "win":
        return "better (from 0)" if math.isinf(row.factor) else f"{number(row.factor)} × better"
    return "**LOSS (to 0)**" if row.factor == 0 else f"**LOSS: {number(1 / row.factor)} × worse**"


def system_figure(row: Row, system: str, spread: bool = False) -> str:
    """The figure of a system at its best, with the recall it was reached at; or why there is none."""
    cell = row.best[system]
    if cell is None:
        return row.reasons[system]
    name = row.comparison.metric
    text = metric(cell["metrics"][name], name, spread)
    if row.comparison.recall is not None:
        text += f" at {cell['metrics']['recall']['median']:.3f}"
    return text


def table(header: list[str], lines: list[list[str]]) -> list[str]:
    """A Markdown table."""

    def line(cells):
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return [line(header), "|" + "---|" * len(header), *(line(cells) for cells in lines), ""]
