"""Goals: whose cells they are asked of, and when they are kept."""

import pytest
import sample

from conifer_bench import goals


def of(letter, cells):
    return goals.lines(sample.result(letter, cells))


@pytest.mark.parametrize(("recall", "kept"), [(0.9501, True), (0.95, True), (0.9499, False)])
def test_a_recall_is_kept_at_its_goal_and_above(recall, kept):
    parameters = {"state": "after build", "k": 10, "conifer.recall": 0.95}
    (line,) = of("i", [sample.cell("conifer", "namespace", parameters, recall=([recall], ""))])
    assert (line.wanted, line.kept) == (0.95, kept)


@pytest.mark.parametrize(("times", "kept"), [(1.0, True), (1.3, True), (1.31, False)])
def test_a_time_is_kept_below_its_limit(times, kept):
    parameters = {"state": "grown", "conifer.recall": 0.95}
    (line,) = of("g", [sample.cell("conifer", "namespace", parameters, at_rest_times_fresh=([times], "×"))])
    assert (line.wanted, line.kept) == (1.3, kept)


@pytest.mark.parametrize(
    ("metric", "kept", "missed", "unit", "wanted"),
    [
        ("first_upsert_times_1000th", 1.5, 1.51, "×", "≤ 1.5"),
        ("drop_times_1000th", 1.0, 1.6, "×", "≤ 1.5"),
        ("touched_times_100th", 1.1, 1.11, "×", "≤ 1.1"),
        ("untouched_more_ms", 1.5, 1.6, "ms", "≤ 1.50 ms"),
        ("backend_growth_bytes", 64e6, 65e6, "B", "≤ 64.0 MB"),
        ("stats_seconds", 4.9, 5.1, "s", "≤ 5.00 s"),
        ("p99_times_quiet", 2.0, 2.1, "×", "≤ 2"),
    ],
)
def test_what_very_many_tenants_may_cost(metric, kept, missed, unit, wanted):
    given = {"tenants": 100_000, "clients": 1, "tenants asked": 20_000, "records": 1_000, "beside": "a load"}
    cells = [sample.cell("conifer", "namespace per tenant", given, **{metric: ([v], unit)}) for v in (kept, missed)]
    assert [line.kept for line in of("e", cells)] == [True, False]
    assert {line[2] for line in map(goals._said, of("e", cells))} == {wanted}


def test_only_conifers_measured_cells_of_a_state_have_goals():
    parameters = {"state": "after build", "k": 10, "conifer.recall": 0.95}
    recall = {"recall": ([0.5], "")}
    assert of("i", [sample.cell("pgvector", "one table, HNSW", {"state": "x", "k": 10}, **recall)]) == []
    assert of("i", [sample.cell("conifer", "namespace", {"n": 5, "k": 10, "conifer.recall": 0.9}, **recall)]) == []
    assert of("i", [sample.refused("conifer", "namespace", parameters, "not there yet")]) == []
    assert of("a", [sample.cell("conifer", "namespace", parameters, **recall)]) == []
    thrown = sample.result("i", [sample.cell("conifer", "namespace", parameters, **recall)], "thrown away", "an error")
    assert goals.lines(thrown) == [] and goals.table(thrown) == [] and goals.summary([thrown]) == []
