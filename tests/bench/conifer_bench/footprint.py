"""What one tenant takes on disk: bytes and files, while it is empty and with some records."""

from __future__ import annotations

from . import generate
from .arrangement import ONLY
from .context import Context
from .places import Namespaces, Partitions, Place, Shared
from .result import cell, dropped

RECORDS = 100
#: Tenants of a shared table: what one takes there is its share.
_SHARING = 20

SETUP = {
    "a tenant on disk": (
        f"with indexes, TOAST and all forks, as made and not vacuumed; records of {generate.DIMENSION} dimensions; in a shared "
        f"table the share of each of {_SHARING}"
    ),
}


def run(context: Context) -> list[dict]:
    made = generate.generate(RECORDS, metric=context.dataset.metric, queries=1, seed=context.seed, metadata=False)
    rows, shape = made.rows().together(), (made.dimension, made.metric, "disk")
    places = [Partitions(*shape), Namespaces(*shape), Shared(*shape[:2], "disk_shared")]
    cells = []
    try:
        for place in places:
            with context.connect(place.schema) as connection:
                place.create(connection, [ONLY])
                apart = place.own(connection, ONLY) is not None
                if apart:
                    cells.append(cell(place, {"records": 0}, [_own(connection, place)]))
                for tenant in [ONLY] if apart else [f"n{number}" for number in range(_SHARING)]:
                    step = place.upsert_many(rows, tenant)
                    connection.execute(step.sql, step.parameters)
                found = _own(connection, place) if apart else _share(connection, place)
                cells.append(cell(place, {"records": RECORDS}, [found]))
    finally:
        dropped(context, places)
    return cells


def _share(connection, place: Place) -> dict:
    sizes = place.sizes(connection)
    return {"tenant_bytes": (sizes.table + sizes.indexes) / _SHARING}


def _own(connection, place: Place) -> dict:
    """Of the relation that the tenant has for itself; a file for each fork of each relation that is there."""
    row = connection.execute(
        """
        WITH leaf AS (SELECT oid, reltoastrelid FROM pg_class WHERE oid = %s::regclass),
        main AS (SELECT oid FROM leaf UNION ALL SELECT reltoastrelid FROM leaf WHERE reltoastrelid <> 0),
        every AS (SELECT oid FROM main UNION ALL SELECT indexrelid FROM pg_index JOIN main ON indrelid = main.oid)
        SELECT (SELECT pg_total_relation_size(oid) FROM leaf), count(file.size)
        FROM every, unnest(ARRAY['', '_fsm', '_vm', '_init']) AS fork,
             pg_stat_file(pg_relation_filepath(oid) || fork, true) AS file
        """,
        (place.own(connection, ONLY),),
    ).fetchone()
    return {"tenant_bytes": int(row[0]), "tenant_files": row[1]}
