"""Puts a full run on record: tests/bench/RESULTS.md, its plots, and the README's table.

`make bench PUBLISH=1` calls it after the run; `python -m conifer_bench.publish raw.json` does so later.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

from . import plot, report

REPOSITORY = pathlib.Path(__file__).parents[3]
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
#: The plots that the README shows: of these workloads.
SHOWN = ("a", "e")


def problems(raw: dict) -> list[str]:
    """Why a run may not stand for the state of things."""
    found = report.why_unusable(raw)
    if raw["environment"]["commit"].endswith("-dirty") or "unknown" in raw["environment"]["commit"]:
        found.append(f"nobody can go back to the files it was run with: {raw['environment']['commit']}")
    return found


def publish(raw: dict, repository: pathlib.Path = REPOSITORY):
    """Writes RESULTS.md and the plots, and the README between its marks."""
    bench = repository / "tests" / "bench"
    results = bench / "results"
    results.mkdir(exist_ok=True)
    drawn = plot.write_all(raw, results)
    plots = {letter: f"results/{name}" for letter, name in drawn.items()}
    (bench / "RESULTS.md").write_text(report.render(raw, plots), encoding="utf-8")
    readme = repository / "README.md"
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{readme} has no place for the table: {BEGIN} … {END}")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n{_excerpt(raw, plots)}\n{END}{after}", encoding="utf-8")


def _excerpt(raw: dict, plots: dict[str, str]) -> str:
    """What the README says of the run."""
    environment, dataset = raw["environment"], raw["options"]["dataset"]
    lines = [
        f"Measured {environment['date'][:10]} at commit `{environment['commit']}`: {dataset['rows']:,} vectors of "
        f"{dataset['dimension']} dimensions ({dataset['name']}), {environment['postgresql'].split(' on ')[0]}, pgvector "
        f"{environment['pgvector']}, {environment['cores']} cores of {environment['cpu']}, {environment['simd']}.",
        "",
        *report.summary(raw),
    ]
    titles = {result["workload"]: result["title"] for result in raw["results"]}
    lines += [f"![{titles[letter]}](tests/bench/{plots[letter]})" for letter in SHOWN if letter in plots]
    return "\n".join(lines)


def main(given=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m conifer_bench.publish", description=__doc__)
    parser.add_argument("raw", type=pathlib.Path, help="the raw.json of a full run at a commit")
    raw = report.read(parser.parse_args(given).raw)
    if found := problems(raw):
        print("not published: " + "; ".join(found), file=sys.stderr)
        return 1
    publish(raw)
    return 0


if __name__ == "__main__":
    sys.exit(main())
