"""What a full torture run found, as Markdown: `report.py RESULTS [FAILED…]` reads the figures that the tests wrote down, a folder for each PostgreSQL.

RESULTS also holds what each script of another kind printed, `NAME.log`; of these the last lines are shown. FAILED are the parts that failed.
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import platform
import re
import subprocess
import sys

#: Lines of a log that tell its outcome.
LAST = 12
#: Figures of every test that say how it was run rather than what it found.
HOW = ("full", "seed")


def main(results: pathlib.Path, failed: list[str]):
    versions = sorted((folder.name for folder in results.glob("pg[0-9]*")), reverse=True)
    found = {version: read(results / version) for version in versions}
    print("# What the last full torture run found\n")
    print(f"`make torture`, {datetime.date.today()}, commit `{commit()}`, {platform.machine()}, {len(os.sched_getaffinity(0))} processors, {platform.system()}.\n")
    print(f"Parts that failed: {', '.join(failed)}.\n" if failed else "Nothing failed.\n")
    names = sorted({name for tests in found.values() for name in tests})
    print(f"| test | {' | '.join(versions)} |\n|---|{'---|' * len(versions)}")
    for name in names:
        print(f"| {name} | {' | '.join(cell(found[version].get(name)) for version in versions)} |")
    for log in sorted(results.glob("*.log")):
        print(f"\n## {log.stem}\n\n```text\n" + "\n".join(last_lines(log)) + "\n```")


def read(folder: pathlib.Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def cell(figures: dict | None) -> str:
    if figures is None:
        return "not run"
    how = "" if figures.get("full") else "(short form) "
    return how + "; ".join(said(name, value) for name, value in figures.items() if name not in HOW)


def said(name: str, value) -> str:
    name = name.replace("_", " ")
    if isinstance(value, dict):
        return f"{name}: " + ", ".join(said(key, inner) for key, inner in value.items())
    if isinstance(value, list):
        return f"{name} {', '.join(str(inner) for inner in value) or 'none'}"
    if isinstance(value, float):
        return f"{name} {value:.3g}"
    return f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"


def last_lines(log: pathlib.Path) -> list[str]:
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in log.read_text(errors="replace").splitlines()]
    return [line for line in lines if line and not line.lstrip().startswith("…")][-LAST:]


def commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False, cwd=pathlib.Path(__file__).parent)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2:])
