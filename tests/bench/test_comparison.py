"""The report's arithmetic: best arrangements, factors, verdicts, slopes."""

import math

import pytest
import sample
from conifer_bench import comparison
from conifer_bench.comparison import Comparison

QPS = Comparison("a", "queries/s", "queries_per_second", "higher", by=("n",), recall=0.95)
LATENCY = Comparison("x", "query", "latency_ms", "lower", recall=0.95)


def one_row(cells, compared=LATENCY):
    rows = comparison.rows(sample.result("x", cells), compared)
    assert len(rows) == 1
    return rows[0]


def timed(system, rounds, recall=1.0, arrangement="some"):
    return sample.cell(system, arrangement, {}, latency_ms=(rounds, "ms"), recall=([recall], ""))


def test_the_best_setting_is_the_fastest_that_reaches_the_recall():
    small, large = comparison.rows(sample.result("a", sample.recall_curves()), QPS)
    assert small.given == {"n": 1000} and large.given == {"n": 62436}
    # ef_search 10 is faster but finds 0.90
    assert small.best["pgvector"]["parameters"]["hnsw.ef_search"] == 40
    assert small.factor == pytest.approx(9000 / 4000)
    assert (small.verdict, large.verdict) == ("win", "loss")
    assert large.factor == pytest.approx(80 / 1500)


def test_lower_is_better_for_times():
    row = one_row(
        [timed("conifer", [2.0] * 3), timed("pgvector", [6.0] * 3), timed("pgvector", [4.0] * 3, arrangement="other")]
    )
    assert row.best["pgvector"]["arrangement"] == "other"
    assert row.factor == pytest.approx(2.0) and row.verdict == "win"


def test_a_system_that_misses_the_recall_has_no_figure():
    row = one_row([timed("conifer", [1.0]), timed("pgvector", [0.1], recall=0.94)])
    assert row.best["pgvector"] is None and row.factor is None and row.verdict == "none"
    assert row.reasons["pgvector"] == "recall 0.95 not reached (at most 0.940)"


def test_an_unknown_recall_reaches_nothing():
    cells = [timed("conifer", [1.0]), sample.cell("pgvector", "some", {}, latency_ms=([0.1], "ms"))]
    assert one_row(cells).best["pgvector"] is None


def test_overlapping_rounds_are_even_whatever_the_medians():
    assert one_row([timed("conifer", [1.0, 2.0, 3.0]), timed("pgvector", [2.5, 4.0, 5.0])]).verdict == "even"
    assert one_row([timed("conifer", [1.0, 2.0, 2.4]), timed("pgvector", [2.5, 4.0, 5.0])]).verdict == "win"


@pytest.mark.parametrize(("ours", "verdict"), [(0.94, "win"), (0.96, "even"), (1.04, "even"), (1.06, "loss")])
def test_hardly_a_difference_is_even(ours, verdict):
    assert one_row([timed("conifer", [ours]), timed("pgvector", [1.0])]).verdict == verdict


def test_nothing_against_something():
    assert one_row([timed("conifer", [0.0]), timed("pgvector", [1.0])]).factor == math.inf
    assert one_row([timed("conifer", [1.0]), timed("pgvector", [0.0])]).verdict == "loss"
    assert one_row([timed("conifer", [0.0]), timed("pgvector", [0.0])]).verdict == "even"


def test_a_cell_not_built_says_so_and_is_not_dropped():
    by = Comparison("f", "query", "latency_ms", "lower", ("filter", "selectivity", "correlated"), 0.95)
    rows = comparison.rows(sample.result("f", sample.filters()), by)
    refused = [row for row in rows if row.given["filter"] == "range"]
    assert len(refused) == 1 and refused[0].reasons["conifer"] == "not built: pc_query refuses $gte"
    assert refused[0].verdict == "none" and refused[0].value("pgvector") == 2.0


def test_only_cells_of_the_place_asked_for():
    where = Comparison("e", "hot", "latency_ms", "lower", ("tenant rows",), 0.95, (("warmth", "hot"),))
    rows = comparison.rows(sample.result("e", sample.tenants()), where)
    assert [row.given["tenant rows"] for row in rows] == ["1–9", "10–99", "100–999"]
    assert {row.best["pgvector"]["parameters"]["warmth"] for row in rows} == {"hot"}


def test_headlines():
    rows = comparison.rows(sample.result("a", sample.recall_curves()), QPS)
    assert comparison.headlines(rows) == rows
    last = Comparison("a", "queries/s", "queries_per_second", "higher", by=("n",), headline="last")
    rows = comparison.rows(sample.result("a", sample.recall_curves()), last)
    assert [row.given["n"] for row in comparison.headlines(rows)] == [62436]
    small = Comparison(
        "a", "queries/s", "queries_per_second", "higher", by=("n",), headline=lambda given: given["n"] < 2000
    )
    rows = comparison.rows(sample.result("a", sample.recall_curves()), small)
    assert [row.given["n"] for row in comparison.headlines(rows)] == [1000]
    assert comparison.headlines([]) == []


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 1.7])
def test_a_slope_is_the_exponent(exponent):
    fitted = comparison.slope([(n, 3 * n**exponent) for n in (10, 100, 1000)])
    assert (
        fitted.exponent == pytest.approx(exponent) and fitted.error == pytest.approx(0, abs=1e-6) and fitted.points == 3
    )


def test_a_slope_has_an_error():
    # logarithms to base 10: (0, 0), (1, 2), (2, 2): slope 1, residuals −1/3, 2/3, −1/3
    fitted = comparison.slope([(1, 1), (10, 100), (100, 100)])
    assert fitted.exponent == pytest.approx(1.0) and fitted.error == pytest.approx(math.sqrt(2 / 3 / 2))


def test_no_slope_of_too_little():
    assert comparison.slope([(10, 1)]) is None
    assert comparison.slope([(10, 0), (100, 0), (1000, 0)]) is None
    assert comparison.slope([(10, 1), (10, 2)]) is None
    assert comparison.slope([(10, 1), (100, 10)]).error is None


def test_slopes_follow_each_system_at_its_best():
    rows = comparison.rows(
        sample.result("h", sample.scaling()), Comparison("h", "query", "latency_ms", "lower", ("n",), 0.95)
    )
    found = comparison.slopes(rows)
    assert found["conifer"].exponent == pytest.approx(1.0) and found["pgvector"].exponent == pytest.approx(0.25)
