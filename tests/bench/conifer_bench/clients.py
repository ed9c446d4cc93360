"""Client processes: each drives one connection through a list of prepared statements and times every one."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import multiprocessing
import re
import time
import traceback

import numpy as np
import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import DiagnosticField, ExecStatus

from . import system
from .measure import ThrownAway

#: libpq's number of the format.
BINARY = 1
#: psycopg's placeholders, which the steps are written with.
PLACEHOLDERS = {"%s": PyFormat.AUTO, "%b": PyFormat.BINARY, "%t": PyFormat.TEXT}


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
    #: Client and server process on one core: where they lie else is chance, and waking another core takes longer than the shortest queries.
    one_core: bool = False


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
        with contextlib.ExitStack() as cores, system.connect(load.dsn, load.schema, load.settings) as connection:
            prepared = _Prepared(connection)
            cores.enter_context(system.on_one_core(connection) if load.one_core else contextlib.nullcontext())
            for step in load.warm or itertools.islice(itertools.cycle(load.steps), load.warmup):
                prepared.run(step)
            pipe.send(None)
            ready = True
            start = pipe.recv()
            pipe.send("another client failed" if start is None else _drive(prepared, load, start))
    except Exception:
        if not ready:
            pipe.send(traceback.format_exc())
            pipe.recv()
        pipe.send(traceback.format_exc() if ready else "the same client")


class _Prepared:
    """A connection's statements by libpq itself: a driver's own work, a third of a fast query's time, is the same for every system and no part of any."""

    def __init__(self, connection):
        self._connection = connection
        self._names: dict[tuple, bytes] = {}
        self._ready: dict[int, tuple] = {}

    def run(self, step: Step):
        """Sends the step and waits for its answer."""
        name, values, formats = self._ready.get(id(step)) or self._prepare(step)
        result = self._connection.pgconn.exec_prepared(name, values, formats, BINARY)
        if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            raise psycopg.errors.lookup(result.error_field(DiagnosticField.SQLSTATE).decode())(
                self._connection.pgconn.get_error_message()
            )
        return result

    def first_column(self, result) -> list:
        """What a result's rows begin with."""
        reader = Transformer(self._connection)
        reader.set_pgresult(result)
        return [row[0] for row in reader.load_rows(0, result.ntuples, tuple)]

    def _prepare(self, step: Step) -> tuple:
        writer = Transformer(self._connection)
        formats = [PLACEHOLDERS[found] for found in re.findall("%[sbt%]", step.sql) if found != "%%"]
        values = writer.dump_sequence(step.parameters, formats)
        types = writer.types or ()
        if (step.sql, types) not in self._names:
            name = f"step{len(self._names)}".encode()
            numbers = itertools.count(1)
            command = re.sub("%[sbt%]", lambda found: "%" if found[0] == "%%" else f"${next(numbers)}", step.sql)
            result = self._connection.pgconn.prepare(name, command.encode(), types)
            if result.status != ExecStatus.COMMAND_OK:
                raise psycopg.ProgrammingError(self._connection.pgconn.get_error_message())
            self._names[step.sql, types] = name
        ready = self._names[step.sql, types], values, writer.formats
        self._ready[id(step)] = ready
        return ready


def _drive(prepared, load: Load, start: float) -> Outcome:
    """The measured loop: as little as possible around each statement."""
    clock = time.perf_counter
    kinds, began, took, answers = [], [], [], []
    number, count, run = 0, len(load.steps), prepared.run
    while True:
        step = load.steps[number % count]
        before = clock()
        if load.seconds is None:
            if number == count:
                break
        elif before - start >= load.seconds and number:
            break
        result = run(step)
        took.append(clock() - before)
        began.append(before - start)
        kinds.append(step.kind)
        if load.keep:
            answers.append(prepared.first_column(result))
        number += 1
    return Outcome(np.array(kinds), np.array(began), np.array(took), answers if load.keep else None)
