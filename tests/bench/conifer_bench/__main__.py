"""Runs the bench: `python -m conifer_bench` against a server that has both extensions; `make bench` starts one."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import pathlib
import sys
import time

import numpy as np

from . import generate, loaders, measure, report, system
from .clients import Clients
from .context import Context
from .progress import Progress
from .workloads import WORKLOADS

SAMPLE = pathlib.Path(__file__).parents[2] / "data" / "debian-minilm384-sample"


def arguments(given=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="conifer_bench", description="Conifer beside pgvector, in one server.")
    add = parser.add_argument
    add("--dsn", default="", help="a superuser's connection to a server that has both extensions (default: libpq's)")
    add("--data", type=pathlib.Path, help="a directory of .npy or .fvecs, an .fvecs or an ann-benchmarks .hdf5; "
        "'sample' for the repository's own, 'made' for made vectors (default)")  # fmt: skip
    add("--metric", choices=["cosine", "dotproduct", "euclidean"], help="where the data do not tell it")
    add("--rows", type=int, help="use the first so many rows only; how many, for made data")
    add("--dimension", type=int, help=f"of made data (default: {generate.DIMENSION})")
    add("--columns", type=int, help="use the first so many columns only, renormalised under cosine")
    add("--out", type=pathlib.Path, default=pathlib.Path("target/bench"), help="where report, plots and JSON go")
    add("--cache", type=pathlib.Path, help="where exact answers are kept (default: OUT/cache)")
    add("--quick", action="store_true", help="within five minutes, with wider error")
    add("--tiny", action="store_true", help="within seconds, to test the bench itself: its figures mean nothing")
    add("--rounds", type=int, help="how often each measurement is taken, A B A B")
    add("--workloads", default="", help="letters, such as a,c (default: all)")
    add("--alone", action="store_true", help="g and i without pgvector, whose growth to a million rows takes hours")
    add("--clients", type=int, default=2)
    add("--seed", type=int, default=1)
    add("--command", default=None, help="what the report names as the command that repeats it")
    found = parser.parse_args(given)
    found.quick = found.quick or found.tiny
    found.rounds = found.rounds or (1 if found.tiny else 2 if found.quick else 3)
    letters = {module.LETTER for module in WORKLOADS}
    found.letters = sorted(letters if not found.workloads else set(found.workloads.lower().replace(" ", "").split(",")))
    if unknown := set(found.letters) - letters:
        parser.error(f"no workload {', '.join(sorted(unknown))}: there are {', '.join(sorted(letters))}")
    if found.dimension and not is_made(found):
        parser.error("--dimension is of made data; of others --columns takes the first columns")
    return found


def is_made(options) -> bool:
    return options.data is None or str(options.data) == "made"


def dataset(options):
    """What is searched: made or from files, the first rows and columns of it if so wished."""
    if is_made(options):
        rows = options.rows or (2_000 if options.tiny else 60_000)
        dimension = options.dimension or generate.DIMENSION
        found = generate.generate(rows, dimension, metric=options.metric or "cosine", seed=options.seed)
    else:
        path = SAMPLE if str(options.data) == "sample" else options.data
        found = loaders.load(path, options.seed, options.metric)
        found = found.head(options.rows) if options.rows else found
    return found.columns(options.columns) if options.columns else found


class Record:
    """All that the run has found so far, written after every workload so that a broken run loses nothing."""

    def __init__(self, options, data):
        self.path = options.out / "raw.json"
        self.document = {
            "environment": {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")},
            "options": {
                "command": options.command or " ".join(["python -m conifer_bench", *sys.argv[1:]]),
                "quick": options.quick,
                "tiny": options.tiny,
                "only": options.workloads or None,
                "alone": options.alone,
                "rounds": options.rounds,
                "clients": options.clients,
                "k": Context.k,
                "seed": options.seed,
                "dataset": {
                    "name": data.name, "source": data.source, "metric": data.metric, "rows": len(data),
                    "dimension": data.dimension, "queries": len(data.queries),
                    "tenants": None if data.tenants is None else len(np.unique(data.tenants)),
                },
            },
            "noise": {},
            "results": [],
        }  # fmt: skip

    def write(self, **more):
        for part, entries in more.items():
            self.document[part].update(entries)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.document, indent=1, default=_plain, allow_nan=False) + "\n")
        partial.replace(self.path)

    def add(self, result: dict):
        self.document["results"].append(result)
        self.write()


def _plain(value):
    """numpy's numbers as JSON's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} cannot be written as JSON")


def run_workload(module, context: Context) -> dict:
    """One workload's result, whatever becomes of it: an error throws away this workload and not the others."""
    begun = time.perf_counter()
    result = {"workload": module.LETTER, "title": module.TITLE, "setup": {}, "cells": [], "notes": []}
    try:
        result = module.run(context)
    except measure.NotBuilt as missing:
        result |= {"status": "not built", "reason": str(missing)}
    except Exception as error:
        # Not only ThrownAway: figures that an error cut short are not to be trusted, and the other workloads' are.
        context.noise.discard(f"workload {module.LETTER}: {type(error).__name__}: {error}")
        result |= {"status": "thrown away", "reason": f"{type(error).__name__}: {error}"}
    return result | {"seconds": time.perf_counter() - begun}


def main(given=None) -> int:
    options = arguments(given)
    pool = Clients(options.clients)
    data = dataset(options)
    record = Record(options, data)
    try:
        dsn = system.prepare(options.dsn)
        context = Context(
            dsn=dsn,
            dataset=data,
            features=system.features(dsn),
            pool=pool,
            cache=options.cache or options.out / "cache",
            noise=measure.Noise(),
            quick=options.quick,
            tiny=options.tiny,
            rounds=options.rounds,
            clients=options.clients,
            seed=options.seed,
            alone=options.alone,
        )
        record.write(environment=system.facts(dsn) | {"this Conifer has": context.features.as_dict()})
        modules = [module for module in WORKLOADS if module.LETTER in options.letters]
        with Progress({module.LETTER: module.cost(context) for module in modules}) as progress:
            for module in modules:
                context.progress = progress.of(module.LETTER, module.TITLE)
                system.checkpoint(dsn)
                record.add(run_workload(module, context))
                progress.finish(module.LETTER)
        record.write(noise=context.noise.statement())
        system.drop(options.dsn)
    finally:
        pool.close()
    report.write(record.document, options.out)
    print(f"report: {os.path.relpath(options.out / 'report.md')}")
    thrown = [result for result in record.document["results"] if result["status"] == "thrown away"]
    for result in thrown:
        print(f"workload {result['workload']} was thrown away: {result['reason']}", file=sys.stderr)
    return 1 if thrown else 0


if __name__ == "__main__":
    sys.exit(main())
