"""The report's plots, as small SVG files that are the same for the same figures.

White ground and dark ink whatever the page's theme; colours of Okabe and Ito, which colour-blind readers can tell apart,
and another marker for each arrangement besides.
"""

from __future__ import annotations

import pathlib

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt  # noqa: E402 - the backend must be chosen before
from matplotlib import ticker  # noqa: E402

from . import comparison  # noqa: E402
from .compared import COMPARISONS  # noqa: E402

STYLE = {
    "svg.hashsalt": "conifer",
    "svg.fonttype": "none",  # text stays text: small, searchable
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
CONIFER = ("#0072b2", "#56b4e9")
PGVECTOR = ("#d55e00", "#e69f00", "#cc79a7", "#009e73", "#555555", "#f0e442")
_NAMES = {"conifer": "Conifer", "pgvector": "pgvector"}
MARKERS = "osD^vPX*"


class Styles:
    """One look for each arrangement, the same in all panels of a plot."""

    def __init__(self):
        self.seen: dict[tuple[str, str], dict] = {}

    def of(self, system: str, arrangement: str) -> dict:
        key = (system, arrangement)
        if key not in self.seen:
            colours = CONIFER if system == "conifer" else PGVECTOR
            number = sum(1 for other, _ in self.seen if other == system)
            self.seen[key] = {
                "color": colours[number % len(colours)],
                "marker": MARKERS[(number + (0 if system == "conifer" else 1)) % len(MARKERS)],
                "linestyle": "-" if system == "conifer" else "--",
                "label": f"{_NAMES[system]}: {arrangement}",
                "zorder": 3 if system == "conifer" else 2,
            }
        return self.seen[key]


def series(cells: list[dict], x, y) -> dict[tuple[str, str], list]:
    """Points (x, y, low, high) of each arrangement; `x` takes a cell, `y` is a metric's name."""
    found: dict[tuple[str, str], list] = {}
    for cell in cells:
        if comparison.measured(cell) and y in cell["metrics"] and x(cell) is not None:
            entry = cell["metrics"][y]
            found.setdefault((cell["system"], cell["arrangement"]), []).append(
                (x(cell), entry["median"], entry["min"], entry["max"])
            )
    return {key: sorted(points) for key, points in found.items()}


def draw(axes, found: dict, styles: Styles):
    """Lines through the medians, with the rounds' spread as thin bars."""
    for (system, arrangement), points in found.items():
        style = styles.of(system, arrangement)
        xs, ys, lows, highs = zip(*points, strict=True)
        axes.plot(xs, ys, **style)
        axes.vlines(xs, lows, highs, color=style["color"], linewidth=0.8, zorder=1)


def label_axes(axes, x: str, y: str, title: str = "", log_x=False, log_y=True):
    if log_x:
        axes.set_xscale("log")
    if log_y:
        axes.set_yscale("log")
    for axis, log in ((axes.xaxis, log_x), (axes.yaxis, log_y)):
        if log:
            axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5), numticks=9))
            axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: _tick(value)))
            axis.set_minor_locator(ticker.NullLocator())
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, fontsize=9)


def _tick(value: float) -> str:
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{name}"
    return f"{value:g}"


def panels(count: int, columns: int = 4):
    """Panels in rows of at most `columns`, which share a legend below."""
    columns = min(count, columns)
    rows = -(-count // columns)
    size = (max(2.9 * columns, 5.2), 2.6 * rows)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False)
    axes = list(grid.flat)
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def finish(figure, styles: Styles):
    """The legend below all panels, one entry for each arrangement, Conifer first."""
    handles: dict[str, object] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    order = sorted(handles, key=lambda label: (not label.startswith("Conifer"), label))
    columns = min(len(order), 2)
    lines = -(-len(order) // columns) if order else 0
    width, height = figure.get_size_inches()
    below = 0.2 * lines + 0.1
    figure.set_size_inches(width, height + below)
    figure.legend([handles[label] for label in order], order, loc="lower center", ncol=max(columns, 1), fontsize=8)
    figure.tight_layout(rect=(0, below / (height + below), 1, 1))
    return figure


def recall(result: dict):
    """Queries/s against recall, a panel for each n and number of clients; up and to the right is better."""
    panes = list(dict.fromkeys((cell["parameters"]["n"], cell["parameters"]["clients"]) for cell in result["cells"]))
    figure, axes = panels(len(panes))
    styles = Styles()
    for axis, (n, clients) in zip(axes, panes, strict=True):
        cells = [c for c in result["cells"] if (c["parameters"]["n"], c["parameters"]["clients"]) == (n, clients)]
        draw(axis, series(cells, comparison.recall_of, "queries_per_second"), styles)
        label_axes(axis, "recall@10", "queries/s", f"n = {n:,}, {clients} client{'s' * (clients > 1)}")
    return finish(figure, styles)


def tenants(result: dict):
    """Median latency by size of the tenant: a row of panels for each set, a column for each kind of warmth."""
    cells = [cell for cell in result["cells"] if "tenant rows" in cell["parameters"]]
    pairs = list(dict.fromkeys((c["parameters"]["data"], c["parameters"]["warmth"]) for c in cells))
    figure, axes = panels(len(pairs), columns=3)
    styles = Styles()
    for axis, (data, warmth) in zip(axes, pairs, strict=True):
        chosen = [c for c in cells if c["parameters"]["data"] == data and c["parameters"]["warmth"] == warmth]
        draw(axis, series(chosen, lambda cell: cell["parameters"]["mean rows"], "latency_ms"), styles)
        label_axes(axis, "rows of the tenant", "ms, median", f"{data}, {warmth}", log_x=True)
    return finish(figure, styles)


def filters(result: dict):
    """Median latency by selectivity, of each system's best at the recall asked for; a panel for each filter."""
    wanted = next(one for one in COMPARISONS if one.workload == "f")
    rows = comparison.rows(result, wanted)
    kinds = list(dict.fromkeys((row.given["filter"], row.given["correlated"]) for row in rows))
    figure, axes = panels(len(kinds))
    styles = Styles()
    for axis, (kind, correlated) in zip(axes, kinds, strict=True):
        chosen = [row for row in rows if (row.given["filter"], row.given["correlated"]) == (kind, correlated)]
        for system in comparison.SYSTEMS:
            if points := best_points(chosen, system, "selectivity", "latency_ms", 100):
                draw(axis, {(system, f"best at recall ≥ {wanted.recall:g}"): points}, styles)
        label_axes(
            axis, "rows that pass, %", "ms, median", f"{kind}, {'' if correlated else 'un'}correlated", log_x=True
        )
    return finish(figure, styles)


def growth(result: dict):
    """Query time and recall while the rows come in."""
    # those of a state are of what came after
    cells = [cell for cell in result["cells"] if "state" not in cell["parameters"]]
    figure, axes = panels(3)
    styles = Styles()
    kinds = (
        ("latency_ms", "query, ms, median", True),
        ("p99_ms", "query, ms, p99", True),
        ("recall", "recall@10", False),
    )
    for axis, (name, label, log) in zip(axes, kinds, strict=True):
        draw(axis, series(cells, lambda cell: cell["parameters"]["n"], name), styles)
        label_axes(axis, "rows", label, log_y=log)
        axis.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: _tick(value)))
    return finish(figure, styles)


def scaling(result: dict):
    """How each cost grows with n, at each system's best; the fitted slopes stand in the titles."""
    wanted = [(one, rows) for one in COMPARISONS if one.workload == "h" and (rows := comparison.rows(result, one))]
    figure, axes = panels(len(wanted), columns=3)
    styles = Styles()
    for axis, (one, rows) in zip(axes, wanted, strict=True):
        for system in comparison.SYSTEMS:
            if points := best_points(rows, system, "n", one.metric):
                draw(axis, {(system, "at its best"): points}, styles)
        slopes = comparison.slopes(rows)
        fitted = [f"{_NAMES[system]} n^{found.exponent:.2f}" for system, found in slopes.items() if found]
        units = [cell["metrics"][one.metric]["unit"] for row in rows for cell in row.best.values() if cell]
        label_axes(axis, "n", f"{one.what} ({units[0]})", ", ".join(fitted), log_x=True)
    return finish(figure, styles)


def best_points(rows, system: str, x: str, metric: str, scale=1) -> list[tuple]:
    """A system's best at each value of a given parameter: (x, median, min, max), without what a log axis cannot show."""
    found = []
    for row in rows:
        if row.best[system]:
            entry = row.best[system]["metrics"][metric]
            if entry["median"] > 0:
                found.append((row.given[x] * scale, entry["median"], entry["min"], entry["max"]))
    return sorted(found)


#: File name and drawing of the workloads that have a plot.
PLOTS = {
    "a": ("recall", recall),
    "e": ("tenants", tenants),
    "f": ("filters", filters),
    "g": ("growth", growth),
    "h": ("scaling", scaling),
}


def write_all(raw: dict, directory: pathlib.Path) -> dict[str, str]:
    """Draws what was measured into `directory`; the file's name for the letter of each workload that has a plot."""
    written = {}
    for result in raw["results"]:
        letter = result["workload"]
        if letter not in PLOTS or result["status"] != "measured" or not any(map(comparison.measured, result["cells"])):
            continue
        name, drawing = PLOTS[letter]
        with matplotlib.rc_context(STYLE):
            figure = drawing(result)
            # No date in the file: it would change with every run.
            figure.savefig(directory / f"{name}.svg", metadata={"Date": None, "Creator": None})
            plt.close(figure)
        written[letter] = f"{name}.svg"
    return written
