"""Which tenants are asked, and in which bin of sizes each stands."""

import numpy as np
import pytest
from conifer_bench import generate, tenancy


@pytest.mark.parametrize(
    ("rows", "label"),
    [(1, "1–9"), (9, "1–9"), (10, "10–99"), (999, "100–999"), (9_999, "1,000–9,999"), (10_000, "10,000 and more")],
)
def test_bins(rows, label):
    assert tenancy.bin_of(rows) == label


@pytest.fixture(scope="module")
def dataset():
    return generate.generate(2_000, 16, queries=30, tenants=200, metadata=False)


@pytest.fixture(scope="module")
def asked(dataset):
    return tenancy.sample(dataset, k=5, a_bin=4, passes=3, seed=7)


def test_every_pass_asks_the_same_tenants_once_each(asked):
    names = [sorted(question.tenant for question in part) for part in asked.passes]
    assert len(names) == 3 and names[0] == names[1] == names[2]
    assert len(set(names[0])) == len(names[0])


def test_bins_are_drawn_evenly_and_described(asked):
    for label, (mean, count) in asked.bins.items():
        rows = [question.rows for question in asked.passes[0] if question.bin == label]
        assert len(rows) == count <= 4 and mean == round(np.mean(rows))
    assert list(asked.bins) == ["1–9", "10–99", "100–999"]


def test_the_tenant_that_warms_is_not_asked(asked):
    assert asked.other.tenant not in {question.tenant for part in asked.passes for question in part}


def test_what_is_to_be_found_is_the_tenants_own(dataset, asked):
    for question in asked.passes[0]:
        found = question.truth.rows[0]
        found = found[found >= 0]
        assert len(found) == min(question.rows, 5)
        assert {dataset.tenant_name(dataset.tenants[row]) for row in found} == {question.tenant}


def test_a_tenants_own_queries_are_preferred(dataset):
    own = tenancy._query_of(dataset, dataset.query_tenants[3], np.random.default_rng(1))
    assert dataset.query_tenants[own] == dataset.query_tenants[3]
