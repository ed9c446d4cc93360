"""Tenants of one record each as they become very many: what making, dropping, asking, listing and counting them costs."""

from __future__ import annotations

import contextlib
import math
import time

from . import measure
from .context import Context
from .crowd import Crowd
from .places import Namespaces, Partitions, Place, Shared
from .progress import part_of
from .result import cell

#: Of the one record.
DIMENSION = 8
#: Clients that make tenants at once.
CLIENTS = 8
#: How often the tenants of a sample are asked after the first time.
PASSES = 4
#: Tenants that a backend has asked when what it holds is read first.
WARM = 20

SETUP = {
    "many tenants": f"of one record of {DIMENSION} dimensions; one connection a client, the catalogs vacuumed and analysed",
    "first upsert": f"of a tenant that is new: the mean of one client; of {CLIENTS} at once, the time for all over how many",
    "asked before, or not": "medians of a connection that has asked others, beside an index of few tenants in turns",
    "list": "a page of 100, with the number of records and the bytes of each by Conifer, names alone by pgvector",
    "counts of all": "the first statement of a connection, median of 3",
}


def handful(context: Context) -> int:
    """Tenants of the small index that a large one is asked beside."""
    return context.scaled(100, 100, 40)


def base(context: Context) -> int:
    """Tenants among which one more is made, to be compared with making it among many."""
    return context.scaled(1_000, 1_000, 60)


def marks(context: Context, most: float) -> list[int]:
    """How many there are when they are measured; most of these a partitioned table reaches as well."""
    return [mark for mark in context.scaled((1_000, 4_000, 100_000), (600, 1_000, 3_000), (60, 120)) if mark <= most]


def run(context: Context) -> list[dict]:
    """By a pool of CLIENTS; pgvector's partitions come first, that the figures stand in the order of the numbers of tenants."""
    ways = {Partitions: context.scaled(4_000, 600, 60), Shared: math.inf, Namespaces: math.inf}
    cells = []
    for number, (kind, most) in enumerate(ways.items()):
        places = [kind(DIMENSION, context.dataset.metric, name) for name in ("many", "many_few")]
        with contextlib.ExitStack() as stack:
            for place in places:
                connection = stack.enter_context(context.connect(place.schema))
                stack.callback(place.drop, connection)
                place.create(connection, ["first"])
            progress = part_of(context.progress, number, len(ways))
            growth = _Growth(context, *(Crowd(context, place) for place in places), progress)
            growth.run(marks(context, most))
            cells += growth.cells
    return cells


class _Growth:
    """One way of holding them: measured at each mark, and dropped after the last."""

    def __init__(self, context: Context, crowd: Crowd, few: Crowd, progress):
        self.context, self.crowd, self.few, self.progress = context, crowd, few, progress
        self.place: Place = crowd.place
        self.cells: list[dict] = []
        #: Figures of making and dropping at the base, by name and number of clients.
        self._base: dict[tuple, float] = {}

    def run(self, marks: list[int]):
        self.few.fill(handful(self.context))
        for mark in marks:
            reached = self.crowd.fill(mark, self.progress)
            self._measure(mark if reached else len(self.crowd), last=not reached or mark == marks[-1])
            if not reached:
                break

    def _measure(self, tenants: int, last: bool):
        self.progress(f"{self.place.name}: measures among {tenants:,} tenants", 1.0)
        _vacuum(self.context, self.place)
        self._asked(tenants)
        for page, after in {"first": None, "middle": self.crowd.middle()}.items():
            self._cell({"tenants": tenants, "page": page}, [self.crowd.page(after)])
        self._cell({"tenants": tenants}, [self.crowd.counts()])
        if last:
            asked = min(self.context.scaled(20_000, 2_000, 60), len(self.crowd))
            growth = {"backend_growth_bytes": self.crowd.backend_growth(WARM, asked)}
            self._cell({"tenants": tenants, "tenants asked": asked}, [growth])
        self._made_and_dropped(tenants)
        if last:
            self._all_dropped(tenants)

    def _asked(self, tenants: int):
        """Few and many in turns: what differs between them is not what the machine did meanwhile."""
        count = min(self.context.scaled(200, 200, 20), tenants // 2)
        rounds = measure.in_turns(
            {
                "few": lambda: self.few.ask(len(self.few) // 2, PASSES),
                "many": lambda: self.crowd.ask(count, PASSES),
            },
            self.context.rounds,
            self.context.noise,
        )
        for one, other in zip(rounds["many"], rounds["few"], strict=True):
            one["touched_times_100th"] = one["touched_ms"] / other["touched_ms"]
        if not self.cells:
            self._cell({"tenants": len(self.few), "clients": 1}, rounds["few"])
        self._cell({"tenants": tenants, "clients": 1}, rounds["many"])

    def _made_and_dropped(self, tenants: int):
        made, dropped = self.context.scaled((200, 100), (200, 100), (16, 10))
        figures = {
            ("first_upsert", CLIENTS): self.crowd.first_upserts_at_once(made),
            ("first_upsert", 1): self.crowd.first_upsert(made),
            ("drop", 1): self.crowd.drop(dropped),
        }
        self.crowd.shrink(tenants)
        if tenants == base(self.context):
            self._base = figures
        for (name, clients), value in figures.items():
            metrics = {f"{name}_ms": value}
            if tenants > base(self.context) and self._base:
                metrics[f"{name}_times_1000th"] = value / self._base[name, clients]
            self._cell({"tenants": tenants, "clients": clients}, [metrics])

    def _all_dropped(self, tenants: int):
        with self.context.connect(self.place.schema) as connection:
            begun = time.perf_counter()
            self.place.drop(connection)
            self._cell({"tenants": tenants}, [{"drop_all_seconds": time.perf_counter() - begun}])

    def _cell(self, parameters: dict, rounds: list[dict]):
        self.cells.append(cell(self.place, parameters, rounds))


def _vacuum(context: Context, place: Place):
    """What autovacuum, which is off, does to catalogs that grow; not to each tenant, of which there are too many."""
    with context.connect(place.schema) as connection:
        found = connection.execute(
            """
            SELECT string_agg(oid::regclass::text, ', ') FROM pg_class WHERE relkind = 'r' AND NOT relispartition
            AND relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'conifer', %s))
            """,
            (place.schema,),
        )
        connection.execute(f"VACUUM ANALYZE {found.fetchone()[0]}")
