"""Cold caches: the server's shared buffers emptied, where contrib's pg_buffercache can."""

from __future__ import annotations

from .context import Context

#: What "evicted" means, as the report says it.
MEANING = "all shared buffers were evicted; pages then come from the operating system's cache, not the disk"
#: What the report says where that could not be done.
NOT_KNOWN = "not measured: evicted buffers, for which this server's pg_buffercache has no function"


def can_evict(context: Context) -> bool:
    """Whether this server can drop its buffers: contrib's pg_buffercache of PostgreSQL 18."""
    with context.connect("pgv") as connection:
        found = connection.execute(
            "SELECT FROM pg_available_extension_versions WHERE name = 'pg_buffercache' AND version::numeric >= 1.6"
        ).fetchone()
        if found is not None:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_buffercache SCHEMA public")
        return found is not None


def evict(context: Context):
    with context.connect("pgv") as connection:
        connection.execute("CHECKPOINT")
        connection.execute("SELECT public.pg_buffercache_evict_all()")
