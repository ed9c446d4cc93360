"""The report, from the raw figures alone: `python -m conifer_bench.report raw.json [--to DIRECTORY]` writes report.md and its plots."""

from __future__ import annotations

import argparse
import json
import pathlib

from . import comparison, goals, plot, wording
from .compared import COMPARISONS
from .comparison import SYSTEMS, Row

#: Tables with more lines than this are folded.
FOLD = 16


def compared(result: dict) -> list[list[Row]]:
    """The rows of every comparison of a workload that has any."""
    if result["status"] != "measured":
        return []
    found = (comparison.rows(result, one) for one in COMPARISONS if one.workload == result["workload"])
    return [rows for rows in found if rows]


def why_unusable(raw: dict) -> list[str]:
    """What keeps a run from being shown as the state of things; nothing if it may be."""
    options = raw["options"]
    problems = []
    if options.get("quick") or options.get("tiny"):
        problems.append("it is a quick run: short rounds, small n")
    if options.get("only"):
        problems.append(f"only these workloads were run: {options['only']}")
    if options.get("alone"):
        problems.append("(g) and (i) were run without pgvector")
    problems += [
        f"({result['workload']}) was thrown away: {result['reason']}"
        for result in raw["results"]
        if result["status"] == "thrown away"
    ]
    return problems


def summary(raw: dict) -> list[str]:
    """The one table that a hurried reader sees, with the tally below it."""
    lines, tally = [], dict.fromkeys(("win", "loss", "even", "none"), 0)
    for result in raw["results"]:
        label = f"({result['workload']})"
        if result["status"] != "measured":
            lines.append([label, result["title"], "", f"**{result['status']}**: {result['reason']}", "", "", ""])
            continue
        for rows in compared(result):
            for row in rows:
                tally[row.verdict] += 1
            lines += [[label, *_summary_line(row)] for row in comparison.headlines(rows)]
            if rows[0].comparison.fitted:
                fitted = [_slope(one) for one in comparison.slopes(rows).values()]
                lines.append(
                    [label, f"{rows[0].comparison.what}: slope in n", "", "at its best for each n", *fitted, ""]
                )
    header = ["", "what", "recall@k", "pgvector's best", "pgvector", "Conifer", "Conifer is"]
    return [
        *wording.table(header, lines),
        f"Of all {sum(tally.values())} comparisons below, Conifer wins {tally['win']}, loses {tally['loss']}, is even with pgvector "
        f"in {tally['even']} (the rounds overlap or differ by less than {comparison.LEAST_DIFFERENCE:.0%}), and in "
        f"{tally['none']} one of them has no figure. Each system stands at the best of its arrangements and settings that "
        "reaches the recall; the figure after “at” is the recall it had.",
        "",
        *goals.summary(raw["results"]),
    ]


def _summary_line(row: Row) -> list[str]:
    what = ", ".join(part for part in (row.comparison.what, wording.given(row)) if part)
    recall = "" if row.comparison.recall is None else f"≥ {row.comparison.recall:g}"
    return [
        what,
        recall,
        wording.arrangement(row, "pgvector"),
        wording.system_figure(row, "pgvector"),
        wording.system_figure(row, "conifer"),
        wording.verdict(row),
    ]


def losses(raw: dict) -> list[str]:
    """Every comparison that was lost, whether or not the summary shows it, the worst first."""
    lost = [
        (result["workload"], row)
        for result in raw["results"]
        for rows in compared(result)
        for row in rows
        if row.verdict == "loss"
    ]
    if not lost:
        return ["None of the comparisons was lost.", ""]
    lost.sort(key=lambda entry: entry[1].factor)
    header = ["", "what", "recall@k", "pgvector's best", "pgvector", "Conifer", "Conifer is"]
    return fold(f"{len(lost)} comparisons", wording.table(header, [[f"({x})", *_summary_line(row)] for x, row in lost]))


def fold(title: str, lines: list[str]) -> list[str]:
    """Hides a long table behind its title."""
    if len(lines) <= FOLD:
        return lines
    return [f"<details><summary>{title}</summary>", "", *lines, "</details>", ""]


def section(result: dict, plots: dict[str, str]) -> list[str]:
    """One workload: what was done, how it ended, the comparisons, every cell."""
    letter = result["workload"]
    lines = [f"## ({letter}) {result['title']}", ""]
    if result["status"] != "measured":
        lines += [f"**{result['status'].upper()}**: {result['reason']}", ""]
    lines += [f"* {name}: {wording.parameter(value)}" for name, value in (result.get("setup") or {}).items()]
    lines += [f"* {note}" for note in result.get("notes") or []]
    lines.append("")
    if letter in plots:
        lines += [f"![{result['title']}]({plots[letter]})", ""]
    groups = compared(result)
    if groups:
        header = ["what", "given", "recall@k", "pgvector's best", "pgvector", "Conifer's best", "Conifer", "Conifer is"]
        lines += wording.table(header, [_detail(row) for rows in groups for row in rows])
    lines += growth_of_costs(groups)
    lines += fold("goals of Conifer", goals.table(result))
    if result["cells"]:
        lines += fold(f"all {len(result['cells'])} cells", cells(result))
    return lines


def _detail(row: Row) -> list[str]:
    return [
        row.comparison.what,
        wording.given(row),
        "" if row.comparison.recall is None else f"≥ {row.comparison.recall:g}",
        wording.arrangement(row, "pgvector"),
        wording.system_figure(row, "pgvector", spread=True),
        wording.arrangement(row, "conifer"),
        wording.system_figure(row, "conifer", spread=True),
        wording.verdict(row),
    ]


def growth_of_costs(groups: list[list[Row]]) -> list[str]:
    """Fitted slopes of the comparisons that ask for them."""
    fitted = [(rows[0].comparison.what, comparison.slopes(rows)) for rows in groups if rows[0].comparison.fitted]
    if not fitted:
        return []
    return [
        "Cost ≈ n^slope, fitted by least squares of the logarithms through each system's best at each n, with the "
        "standard error (0: no growth; 1: in proportion to n):",
        "",
        *wording.table(["cost", *SYSTEMS], [[what, *map(_slope, found.values())] for what, found in fitted]),
    ]


def _slope(fitted: comparison.Slope | None) -> str:
    if fitted is None:
        return "no fit: fewer than two points above 0"
    error = "" if fitted.error is None else f" ± {fitted.error:.2f}"
    return f"{fitted.exponent:.2f}{error} ({fitted.points} points)"


def cells(result: dict) -> list[str]:
    """All cells of a workload; what all of them have in common is said once."""
    every = result["cells"]
    parameters = list(dict.fromkeys(name for cell in every for name in cell["parameters"]))
    common = [name for name in parameters if len({repr(cell["parameters"].get(name)) for cell in every}) == 1]
    varying = [name for name in parameters if name not in common]
    metrics = list(dict.fromkeys(name for cell in every for name in cell.get("metrics") or {}))
    lines = []
    for cell in every:
        line = [cell["system"], cell["arrangement"], *(wording.parameter(cell["parameters"].get(n)) for n in varying)]
        if comparison.measured(cell):
            line += [wording.metric(cell["metrics"][n], n) if n in cell["metrics"] else "" for n in metrics]
        else:
            line += [f"{cell['status']}: {cell.get('reason', '')}"] + [""] * (len(metrics) - 1)
        lines.append(line)
    said = [f"{name} {wording.parameter(every[0]['parameters'].get(name))}" for name in common]
    header = ["system", "arrangement", *varying, *(name.replace("_", " ") for name in metrics)]
    before = ["In all cells: " + ", ".join(said) + ".", ""] if said and len(every) > 1 else []
    return [*before, *wording.table(header, lines)]


def flat(entry, prefix="") -> list[tuple[str, str]]:
    """Nested settings as pairs of dotted name and value."""
    if isinstance(entry, dict) and {"median", "rounds"} <= entry.keys():
        return [(prefix, wording.metric(entry))]
    if isinstance(entry, dict):
        return [pair for name, inner in entry.items() for pair in flat(inner, f"{prefix}.{name}".strip("."))]
    if isinstance(entry, (list, tuple)):
        return [(prefix, "; ".join(map(str, entry)) or "none")]
    return [(prefix, f"{entry:.3g}" if isinstance(entry, float) else str(entry))]


def circumstances(raw: dict) -> list[str]:
    """Machine, versions, settings, options, noise."""
    lines = ["## Machine, versions, settings", ""]
    for title, part in (("environment", raw["environment"]), ("options", raw["options"]), ("noise", raw["noise"])):
        lines += wording.table([title, ""], [list(pair) for pair in flat(part)])
    return lines


def noise(raw: dict) -> list[str]:
    """How far the machine itself can be trusted, in a sentence."""
    stated = raw["noise"]
    words = []
    if "spin_spread_percent" in stated:
        words.append(f"a loop of fixed work varied by {stated['spin_spread_percent']:.0f} % (5th to 95th percentile)")
    if stated.get("steal_percent") is not None:
        words.append(f"{stated['steal_percent']:.1f} % of the processors' time was stolen by other guests")
    discarded = stated.get("discarded") or []
    words.append(f"{len(discarded)} rounds or workloads were thrown away")
    return [
        "The machine's noise while it ran: " + "; ".join(words) + ".",
        *(f"* thrown away: {one}" for one in discarded),
        "",
    ]


def heading(raw: dict) -> list[str]:
    environment, options = raw["environment"], raw["options"]
    lines = [
        "# Conifer beside pgvector",
        "",
        f"Measured {environment.get('date', 'at an unknown time')} at commit `{environment.get('commit', 'unknown')}` by "
        f"`{options.get('command', 'python -m conifer_bench')}`: Conifer {environment.get('conifer', '?')} and pgvector "
        f"{environment.get('pgvector', '?')} in one server ({environment.get('postgresql', '?').split(' on ')[0]}), "
        f"{environment.get('cpu', '?')}, {environment.get('cores', '?')} cores, SIMD path {environment.get('simd', '?')}. "
        f"Runs in turns A B A B, {options.get('rounds', '?')} rounds, medians with the rounds' least and greatest.",
        "",
    ]
    problems = why_unusable(raw)
    if problems:
        lines += ["> **Not a result to be quoted**: " + "; ".join(problems) + ".", ""]
    return lines + noise(raw)


def render(raw: dict, plots: dict[str, str]) -> str:
    """The whole report; `plots` holds a path for the letter of each workload that has one."""
    lines = [*heading(raw), "## Summary", "", *summary(raw), "## Losses", "", *losses(raw)]
    for result in raw["results"]:
        lines += section(result, plots)
    return "\n".join([*lines, *circumstances(raw)]).rstrip() + "\n"


def write(raw: dict, directory: pathlib.Path) -> pathlib.Path:
    """report.md and the plots beside it."""
    directory.mkdir(parents=True, exist_ok=True)
    plots = plot.write_all(raw, directory)
    path = directory / "report.md"
    path.write_text(render(raw, plots), encoding="utf-8")
    return path


def read(path: pathlib.Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def main():
    parser = argparse.ArgumentParser(prog="python -m conifer_bench.report", description=__doc__)
    parser.add_argument("raw", type=pathlib.Path, help="the raw.json of a run")
    parser.add_argument("--to", type=pathlib.Path, help="where report.md and the plots go (default: beside raw.json)")
    arguments = parser.parse_args()
    print(write(read(arguments.raw), arguments.to or arguments.raw.parent))


if __name__ == "__main__":
    main()
