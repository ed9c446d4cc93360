"""Ways of holding very many tenants: how each makes, drops, lists and counts one among the others, as steps of any client."""

from __future__ import annotations

import abc
import math

import numpy as np

from .clients import Step
from .conifer import Conifer
from .pgvector import INLINE, Pgvector
from .system import Vector

#: Tenants of a page of their list.
PAGE = 100


class Place(abc.ABC):
    """What is asked of an arrangement besides, where tenants are many and come and go."""

    #: So many a client makes before anybody looks at the clock again.
    at_once = 250
    #: So many times more are made by clients at once: where one takes next to nothing, when each began would decide.
    rush = 1
    #: Seconds after which no more are made: where making one takes the longer the more there are, they would never end.
    patience = math.inf

    @property
    def vector(self) -> np.ndarray:
        """That of a tenant's only record."""
        return np.arange(1, self.dimension + 1, dtype=np.float32)

    def first(self, tenant: str) -> Step:
        """A tenant that is not there yet, by its first record."""
        return self.upsert("a", Vector(self.vector), tenant)

    @abc.abstractmethod
    def gone(self, tenant: str) -> Step:
        """A tenant away with all that it has."""

    @abc.abstractmethod
    def page(self, after: str | None = None) -> Step:
        """A page of the list of tenants, from its beginning or from where `middle` says."""

    @abc.abstractmethod
    def middle(self, connection, before: int) -> str:
        """Where a page begins that has so many tenants before it."""

    @abc.abstractmethod
    def counts(self) -> Step:
        """Every tenant with the number of its records."""

    @abc.abstractmethod
    def own(self, connection, tenant: str) -> str | None:
        """The relation that a tenant has for itself."""


class Namespaces(Place, Conifer):
    #: Of a list that is read to its middle.
    _MOST = 10_000

    def gone(self, tenant):
        return Step(f"SELECT pc_delete_namespace('{self.table}', %b)", (tenant,))

    def page(self, after=None):
        return Step(self._page(PAGE), (after,))

    def _page(self, limit):
        columns = "name, record_count, bytes, next_token"
        return f"SELECT {columns} FROM pc_list_namespaces('{self.table}', '', {limit}, %b::text)"

    def middle(self, connection, before):
        token = None
        for start in range(0, before, self._MOST):
            limit = min(self._MOST, before - start)
            token = connection.execute(self._page(limit), (token,)).fetchall()[-1][-1]
        return token

    def counts(self):
        return Step(f"SELECT pc_describe_index_stats('{self.table}')")

    def own(self, connection, tenant):
        found = connection.execute("SELECT pc_describe_namespace(%s, %s) ->> 'relation'", (self.table, tenant))
        return found.fetchone()[0]


class _Tables(Place, Pgvector):
    """What pgvector's ways have in common: tenants are listed by some SELECT and counted by another."""

    @abc.abstractmethod
    def _listed(self) -> str:
        """The names that come after a given one, in their order."""

    def page(self, after=None):
        return Step(f"{self._listed()} LIMIT {PAGE}", (after or "",))

    def middle(self, connection, before):
        return connection.execute(f"{self._listed()} OFFSET {before - 1} LIMIT 1", ("",)).fetchone()[0]

    def counts(self):
        return Step(f"SELECT tenant, count(*) FROM {self.table} GROUP BY tenant")


class Partitions(_Tables):
    """A partition for each tenant, all of them of one parent: each takes the longer to make the more there are."""

    at_once = 25
    patience = 120.0
    #: Dropped by one statement, for each holds its locks until the transaction ends.
    _DROPPED = 100

    def __init__(self, dimension, metric, table):
        super().__init__(dimension, metric, table, tenancy="partition", hnsw=False)

    def add_tenant(self, connection, tenant):
        connection.execute(self._create(tenant))

    def _create(self, tenant):
        name = self._target(tenant)
        return f"CREATE TABLE {name} PARTITION OF {self.table} FOR VALUES IN ('{tenant}') WITH ({INLINE})"

    def _target(self, tenant):
        return f"{self.table}_{tenant}"

    def first(self, tenant):
        """As an application does that knows it to be new: nothing asks whether it is there."""
        literal = "[" + ",".join(f"{value:g}" for value in self.vector) + "]"
        insert = f"INSERT INTO {self._target(tenant)} VALUES ('{tenant}', 'a', '{literal}')"
        return Step(f"DO $$ BEGIN {self._create(tenant)}; {insert}; END $$", kind="upsert")

    def gone(self, tenant):
        return Step(f"DROP TABLE {self._target(tenant)}")

    def own(self, connection, tenant):
        return self._target(tenant)

    def drop(self, connection):
        names = [name for (name,) in connection.execute(self._listed(), ("",)).fetchall()]
        for start in range(0, len(names), self._DROPPED):
            connection.execute(f"DROP TABLE {', '.join(names[start : start + self._DROPPED])}")
        super().drop(connection)

    def _listed(self):
        return (
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
            f"WHERE inhparent = to_regclass('{self.table}') AND relname > %b::name ORDER BY relname"
        )


class Shared(_Tables):
    """One table for all: a tenant is there as soon as it has a record, and has nothing to itself."""

    rush = 10

    def __init__(self, dimension, metric, table):
        super().__init__(dimension, metric, table, tenancy="column", hnsw=False)

    def gone(self, tenant):
        return Step(f"DELETE FROM {self.table} WHERE tenant = %b", (tenant,))

    def own(self, connection, tenant):
        return None

    def _listed(self):
        return f"SELECT DISTINCT tenant FROM {self.table} WHERE tenant > %b ORDER BY tenant"
