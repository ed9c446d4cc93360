"""Very many tenants: every way of holding them makes, drops, lists and counts the same ones."""

import math

import pytest

from conifer_bench import scale
from conifer_bench.context import Context
from conifer_bench.crowd import Crowd
from conifer_bench.places import Namespaces, Partitions, Shared


@pytest.fixture(params=[Namespaces, Partitions, Shared])
def crowd(context, request):
    """Thirty tenants of one record, beside the one that a place is made with if it keeps them apart."""
    place = request.param(8, "cosine", "many")
    with context.connect(place.schema) as connection:
        try:
            place.create(connection, ["first"])
            crowd = Crowd(context, place)
            assert crowd.fill(30)
            yield crowd
        finally:
            place.drop(connection)


def run(crowd, step) -> list:
    with crowd.context.connect(crowd.place.schema) as connection:
        return connection.execute(step.sql, step.parameters, binary=True).fetchall()


def stored(crowd) -> list[str]:
    """The tenants that have the record, by its table itself."""
    place = crowd.place
    column = "namespace" if place.system == "conifer" else "tenant"
    with crowd.context.connect(place.schema) as connection:
        return sorted(name for (name,) in connection.execute(f"SELECT {column} FROM {place.root}").fetchall())


def names(low, high) -> list[str]:
    return sorted(f"n{number}" for number in range(low, high))


def test_tenants_are_made_and_the_oldest_dropped(crowd):
    assert stored(crowd) == names(0, 30)
    assert crowd.first_upsert(3) > 0
    assert stored(crowd) == names(0, 38), "three, and five that warm"
    assert crowd.drop(4) > 0
    assert len(crowd) == 33 and stored(crowd) == names(5, 38)
    assert crowd.fill(40) and stored(crowd) == names(5, 45)
    crowd.shrink(12)
    assert stored(crowd) == names(33, 45)
    assert crowd.first_upserts_at_once(4) > 0
    assert len(stored(crowd)) == len(crowd) == 12 + 4 * crowd.place.rush + 5 * len(crowd.pool)


def test_the_list_goes_on_from_its_middle(crowd):
    whole = [row[0].removeprefix("many_") for row in run(crowd, crowd.place.page())]
    assert [name for name in whole if name != "first"] == names(0, 30)
    rest = [row[0].removeprefix("many_") for row in run(crowd, crowd.place.page(crowd.middle()))]
    assert rest == whole[15:]


def test_every_tenant_is_counted(crowd):
    found = run(crowd, crowd.place.counts())
    if crowd.place.system == "conifer":
        found = [(name, of["record_count"]) for name, of in found[0][0]["namespaces"].items()]
    assert sorted(pair for pair in found if pair[0] != "first") == [(name, 1) for name in names(0, 30)]


def test_each_tenant_answers_with_its_own_record(crowd):
    step = crowd._queries(["n7"])[0]
    assert run(crowd, step) == [("a",)]
    assert run(crowd, crowd._queries(["first"])[0]) == []
    found = crowd.ask(10, passes=2)
    assert found["untouched_more_ms"] == pytest.approx(found["untouched_ms"] - found["touched_ms"])
    assert crowd.backend_growth(5, 20) >= 0


def test_what_a_tenant_has_for_itself_is_a_relation(crowd):
    with crowd.context.connect(crowd.place.schema) as connection:
        own = crowd.place.own(connection, "n3")
        if own is not None:
            assert connection.execute(f"SELECT count(*) FROM {own}").fetchone() == (1,)


def test_nothing_is_left_of_those_that_are_dropped(crowd):
    with crowd.context.connect(crowd.place.schema) as connection:
        for _ in range(2):
            crowd.place.drop(connection)
            left = "SELECT relname FROM pg_class WHERE relname ~ '^many' AND relkind IN ('r', 'p')"
            assert connection.execute(left).fetchall() == []


def test_making_ends_where_patience_does(crowd):
    crowd.place.patience = crowd.spent
    assert not crowd.fill(1_000) and len(crowd) == 30


def test_partitions_end_before_the_others_do():
    full = Context("", None, None, None, None, None)
    assert scale.marks(full, 4_000) == [1_000, 4_000]
    assert scale.marks(full, math.inf)[-1] == 100_000 and scale.base(full) in scale.marks(full, 4_000)
    for context in (Context("", None, None, None, None, None, quick=True, tiny=tiny) for tiny in (False, True)):
        assert scale.base(context) in scale.marks(context, math.inf)
