"""The report and its plots, rebuilt from raw figures."""

import json
import xml.etree.ElementTree as xml

import pytest
import sample
from conifer_bench import report, wording


def line_with(text, *parts):
    found = [line for line in text.splitlines() if all(part in line for part in parts)]
    assert found, f"no line with {parts}"
    return found[0]


@pytest.fixture(scope="module")
def text():
    return report.render(sample.raw(), {})


def test_the_summary_names_the_best_arrangement_and_marks_losses(text):
    won = line_with(text, "(a)", "n 1,000", "0.95")
    assert "one table, HNSW, ef_search 40" in won and "2.25 × better" in won
    lost = line_with(text, "(a)", "n 62,436", "0.95")
    assert "**LOSS: 18.8 × worse**" in lost and "80.0/s at 1.000" in lost


def test_every_loss_is_listed_the_worst_first(text):
    part = text.split("## Losses")[1].split("\n## ")[0]
    lost = [line for line in part.splitlines() if "LOSS" in line]
    factors = [float(line.split("LOSS: ")[1].split(" ×")[0].replace(",", "")) for line in lost]
    assert factors == sorted(factors, reverse=True) and len(factors) >= 3
    tally = int(text.split("loses ")[1].split(",")[0])
    assert tally == len(lost)


def test_what_is_not_built_says_so(text):
    assert "**not built**: no mixed workload yet" in line_with(text, "(d)", "|")
    assert "**NOT BUILT**: no mixed workload yet" in text
    assert "not built: pc_query refuses $gte" in line_with(text, "range, 50 %")


def test_slopes_stand_in_the_report(text):
    assert "| 0.25 ± 0.00 (3 points) | 1.00 ± 0.00 (3 points) |" in line_with(text, "(h)", "query, median: slope")
    line = line_with(text.split("## (h)")[1], "| query, median | 0.25")
    assert "1.00 ± 0.00 (3 points)" in line


def test_what_was_not_built_is_no_win(text):
    line = line_with(text.split("## (h)")[1], "| index bytes | n 1,000")
    assert "not built: no vector index yet" in line and line.endswith("| — |")


def test_goals_are_kept_or_missed(text):
    assert line_with(text, "| mean recall | after build, k 10, conifer.recall 0.99").endswith(
        "| ≥ 0.99 | 0.990 | kept |"
    )
    assert line_with(text, "| mean recall | after build, k 100, conifer.recall 0.99").endswith("| **MISSED** |")
    assert line_with(text, "| query, times", "grown from empty").endswith("| ≤ 1.3 | 1.20 × | kept |")
    assert line_with(text, "| query, times", "then 90 % deleted").endswith("| ≤ 1.3 | 1.50 × | **MISSED** |")


def test_the_summary_names_every_goal_that_was_missed(text):
    part = text.split("## Summary")[1].split("\n## ")[0]
    assert "Of 8 goals of its own, Conifer keeps 6 and misses 2." in part
    missed = [line for line in part.splitlines() if line.startswith("* **MISSED**")]
    assert ["(g)" in line for line in missed] == [True, False]
    assert missed[0].endswith("then 90 % deleted, conifer.recall 0.95: 1.50 ×, wanted ≤ 1.3")


def test_what_an_index_has_been_through_is_not_mixed_with_what_it_is_at_its_best(text):
    # Conifer's cells after build are ten times faster, at recalls of their own
    assert "| 1.00 ms at 0.950 | 3.00 × better |" in line_with(text, "| (i) | query, median, n 1,000")
    assert "last checkpoint just before" in line_with(text, "| (i) | WAL a row of many", "27.0 kB")


def test_circumstances(text):
    assert "| settings.shared_buffers | 1GB |" in text
    assert "2026-01-02" in text and "`0123456789ab`" in text and "`make bench`" in text
    assert "varied by 3 %" in text


def test_a_quick_or_broken_run_says_that_it_is_not_to_be_quoted(text):
    assert "Not a result to be quoted" not in text
    assert "it is a quick run" in report.render(sample.raw(quick=True), {})
    broken = sample.raw()
    broken["results"][0].update(status="thrown away", reason="a client failed", cells=[])
    broken["noise"]["discarded"] = ["a client failed"]
    rendered = report.render(broken, {})
    assert "(a) was thrown away: a client failed" in rendered and "**THROWN AWAY**: a client failed" in rendered
    assert "* thrown away: a client failed" in rendered


def test_every_table_has_as_many_cells_as_its_header(text):
    width = None
    for line in text.splitlines():
        if not line.startswith("|"):
            width = None
            continue
        count = line.replace("\\|", "").count("|")
        width = width or count
        assert count == width, line


def test_written_from_the_raw_file_with_its_plots(tmp_path):
    (tmp_path / "raw.json").write_text(json.dumps(sample.raw()))
    path = report.write(report.read(tmp_path / "raw.json"), tmp_path)
    names = ("recall", "tenants", "filters", "growth", "scaling")
    for name in names:
        drawing = tmp_path / f"{name}.svg"
        assert xml.parse(drawing).getroot().tag.endswith("svg")
        assert f"({name}.svg)" in path.read_text()
        assert drawing.stat().st_size < 100_000
    first = {name: (tmp_path / f"{name}.svg").read_bytes() for name in names}
    report.write(report.read(tmp_path / "raw.json"), tmp_path)
    assert first == {name: (tmp_path / f"{name}.svg").read_bytes() for name in names}, "the plots churn"


def test_plots_show_both_systems(tmp_path):
    report.write(sample.raw(), tmp_path)
    for name in ("recall", "tenants", "filters", "growth", "scaling"):
        drawn = (tmp_path / f"{name}.svg").read_text()
        assert "Conifer" in drawn and "pgvector" in drawn


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.01234, "ms", "0.0123 ms"),
        (4.5678, "ms", "4.57 ms"),
        (1486.2, "1/s", "1,486/s"),
        (122_300_000, "B", "122 MB"),
        (999, "B", "999 B"),
        (832.134, "B", "832 B"),
        (0, "s", "0 s"),
    ],
)
def test_figures(value, unit, text):
    assert wording.figure(value, unit) == text


def test_spread():
    from conifer_bench.measure import summary

    assert wording.metric(summary([1.0, 2.0, 4.0], "ms")) == "2.00 ms (1.00 … 4.00)"
    assert wording.metric(summary([900.0, 1000.0, 2e6], "B")) == "1.00 kB (900 B … 2.00 MB)"
    assert wording.metric(summary([2.0], "ms")) == "2.00 ms"
