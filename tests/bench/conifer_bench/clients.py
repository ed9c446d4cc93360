"""Client processes: each drives one connection through a list of prepared statements and times every one."""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
import time
import traceback

import numpy as np

from . import system
from .measure import ThrownAway


@dataclasses.dataclass
class Step:
    """One statement with its parameters, as every client sends it: prepared, binary both ways, a transaction of its own."""

    sql: str
    parameters: tuple = ()
    #: What it counts as: latencies are told apart by it.
    kind: str = "query"


@dataclasses.dataclass
class Load:
    """What one client does: its steps over and over for `seconds`, or all of them once if that is None."""

    dsn: str
    #: Whose connection: `pc` or `pgv`.
    schema: str
    steps: list[Step]
    #: Settings of the connection: name to value.
    settings: dict = dataclasses.field(default_factory=dict)
    seconds: float | None = None
    #: So many steps are run before the clock starts (the plan, the caches); 0 for a cold start.
    warmup: int = 20
    #: What is run before the clock starts instead of the steps themselves, where running those twice would not be the same.
    warm: list[Step] = dataclasses.field(default_factory=list)
    #: Keep what each step answered: for recall.
    keep: bool = False


@dataclasses.dataclass
class Outcome:
    """What one client saw; arrays have an entry for each step it ran, in order."""

    kinds: np.ndarray
    #: Seconds from the common start to the step's own.
    began: np.ndarray
    #: Seconds the step took.
    took: np.ndarray
    #: First column of each answer, where `keep` was set.
    answers: list[list] | None

    def latencies(self, kind="query") -> np.ndarray:
        return self.took[self.kinds == kind]


class Clients:
    """A pool of client processes, started once and before any connection is."""

    def __init__(self, count: int):
        # spawn, not fork: a child must share no socket with us
        context = multiprocessing.get_context("spawn")
        self._workers = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            self._workers.append((process, ours))

    def __len__(self):
        return len(self._workers)

    def run(self, loads: list[Load]) -> list[Outcome]:
        """Drives all loads at once, one client each; an error in any of them throws the workload away."""
        if len(loads) > len(self._workers):
            raise ValueError(f"{len(loads)} loads for {len(self._workers)} clients")
        pipes = [pipe for _, pipe in self._workers[: len(loads)]]
        for pipe, load in zip(pipes, loads, strict=True):
            pipe.send(load)
        problems = [problem for pipe in pipes if (problem := pipe.recv()) is not None]
        for pipe in pipes:
            # all are connected and warm: the clock starts for all of them now
            pipe.send(None if problems else time.perf_counter())
        answers = [pipe.recv() for pipe in pipes]
        problems = problems or [answer for answer in answers if isinstance(answer, str)]
        if problems:
            raise ThrownAway("a client failed:\n" + "\n".join(problems))
        return answers

    def one(self, load: Load) -> Outcome:
        return self.run([load])[0]

    def close(self):
        for process, pipe in self._workers:
            pipe.close()
            process.join(5)
            if process.is_alive():
                process.terminate()


def queries_per_second(outcomes: list[Outcome], kind="query") -> float:
    """Steps of all clients over the time from the common start to the last one's end."""
    count = sum(len(outcome.latencies(kind)) for outcome in outcomes)
    return count / max(float((outcome.began + outcome.took).max()) for outcome in outcomes)


def _serve(pipe):
    """A client process: takes loads until the pipe is closed."""
    while True:
        try:
            load = pipe.recv()
        except EOFError:
            return
        _one(pipe, load)


def _one(pipe, load: Load):
    """Exactly two answers whatever happens: readiness (None, or what is wrong), then the outcome (or what went wrong)."""
    ready = False
    try:
        with system.connect(load.dsn, load.schema, load.settings) as connection:
            run = _runner(connection)
            for step in load.warm or itertools.islice(itertools.cycle(load.steps), load.warmup):
                run(step)
            pipe.send(None)
            ready = True
            start = pipe.recv()
            pipe.send("another client failed" if start is None else _drive(run, load, start))
    except Exception:
        if not ready:
            pipe.send(traceback.format_exc())
            pipe.recv()
        pipe.send(traceback.format_exc() if ready else "the same client")


def _runner(connection):
    cursor = connection.cursor(binary=True)

    def run(step):
        cursor.execute(step.sql, step.parameters, prepare=True)
        return cursor.fetchall() if cursor.description else None

    return run


def _drive(run, load: Load, start: float) -> Outcome:
    """The measured loop: as little as possible around each statement."""
    clock = time.perf_counter
    kinds, began, took, answers = [], [], [], []
    number, count = 0, len(load.steps)
    while True:
        step = load.steps[number % count]
        before = clock()
        if load.seconds is None:
            if number == count:
                break
        elif before - start >= load.seconds and number:
            break
        rows = run(step)
        took.append(clock() - before)
        began.append(before - start)
        kinds.append(step.kind)
        if load.keep:
            answers.append([row[0] for row in rows])
        number += 1
    return Outcome(np.array(kinds), np.array(began), np.array(took), answers if load.keep else None)
