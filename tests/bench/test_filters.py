"""The metadata that filters are asked on: exactly the promised shares pass, and all words for a filter mean the same."""

import numpy as np
import pytest
from conifer_bench import filters, generate
from conifer_bench.data import distances

N = 2000


@pytest.fixture(scope="module")
def dataset():
    return generate.generate(N, 16, queries=5, metadata=False)


@pytest.fixture(scope="module")
def metadata(dataset):
    return filters.made_metadata(dataset, seed=3)


def every_filter():
    for value in filters.SHARES:
        yield from (filters.equality(value, False), filters.equality(value, True))
        yield from (filters.membership(value), filters.span(value, N), filters.both(value))


@pytest.mark.parametrize("one", list(every_filter()), ids=lambda one: f"{one.kind}-{one.value}-{one.correlated}")
def test_exactly_the_share_passes(one, metadata):
    assert sum(filters.passes(one, entry) for entry in metadata) == round(one.selectivity * N)


def test_each_of_two_equalities_holds_for_more_than_both(metadata):
    for value, share in filters.SHARES.items():
        expected = round(share * N) + round(filters.EXTRA[value] * N)
        assert sum(entry["shape"] == value for entry in metadata) == expected
        assert sum(entry["size"] == value for entry in metadata) == expected


def test_correlated_rows_are_nearest_to_one_of_them(dataset, metadata):
    near = np.array([entry["near"] for entry in metadata])
    chosen = np.isin(near, ["thousandth", "hundredth"])
    radii = distances(dataset.base, dataset.base[near == "thousandth"], dataset.metric)
    # one of the smallest share is the anchor: everything that passes is nearer to it than anything that does not
    assert any(row[chosen].max() <= row[~chosen].min() for row in radii)


def test_the_same_seed_makes_the_same(dataset, metadata):
    assert filters.made_metadata(dataset, seed=3) == metadata
    assert filters.made_metadata(dataset, seed=4) != metadata


def test_a_table_says_which_filters_its_index_serves():
    b_tree, gin, plain = (filters.FilteredTable(4, "cosine", "t", by=by) for by in ("B-tree", "GIN", None))
    equal, listed, ranged = filters.equality("half", False), filters.membership("half"), filters.span("half", N)
    assert [b_tree.serves(one) for one in (equal, listed, ranged)] == [True, False, True]
    assert [gin.serves(one) for one in (equal, listed, ranged)] == [True, True, False]
    assert b_tree.condition(equal) == "class = 'half'" and gin.condition(equal) == 'metadata @> \'{"class": "half"}\''
    namespace = filters.FilteredNamespace(4, "cosine", by="B-tree")
    assert [namespace.serves(one) for one in (equal, listed, ranged)] == [True, False, True]
    assert plain.condition(listed) == '(metadata @> \'{"tags": ["half-0"]}\' OR metadata @> \'{"tags": ["half-1"]}\')'


def test_filters_on_own_metadata_are_passed_by_about_the_share():
    random = np.random.default_rng(5)
    values = [f"s{size}" for size in (5000, 1000, 100, 10) for _ in range(size)]
    values += [f"other {number // 2}" for number in range(10_000 - len(values))]
    own = [
        {
            "section": values[row],
            "architecture": "all" if row % 2 else "amd64",
            "maintainer_domain": values[-1 - row],
            "installed_size": int(random.integers(0, 100_000)),
            "tags": [values[row], "common"] if row % 3 else [],
        }
        for row in range(len(values))
    ]
    found = filters.own(own)
    assert {(one.kind, one.value) for one in found} >= {("own, section", value) for value in filters.SHARES}
    assert {one.kind for one in found if one.is_range} == {"own, size"}
    for one in found:
        share = sum(filters.passes(one, entry) for entry in own) / len(own)
        assert one.selectivity / 1.7 <= share <= one.selectivity * 1.7, one
    ranged = next(one for one in found if one.is_range)
    assert ranged.jsonb.startswith("(metadata ->> 'installed_size')::int >= ")
    listed = next(one for one in found if one.kind == "own, tags")
    assert listed.columns is None and "[" in listed.jsonb
