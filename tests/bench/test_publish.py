"""What goes on record, and what may not."""

import copy
import json

import pytest
import sample
from conifer_bench import publish


@pytest.fixture
def raw():
    found = copy.deepcopy(sample.raw())
    found["environment"] |= {
        "date": "2026-01-02T03:04:05+00:00",
        "commit": "0123456789ab",
        "postgresql": "PostgreSQL 18.6 on some machine",
        "pgvector": "0.8.6",
        "cores": 2,
        "cpu": "a CPU",
        "simd": "avx2",
    }
    found["options"] = {"dataset": {"rows": 62436, "dimension": 384, "name": "some"}, "quick": False, "tiny": False}
    for result in found["results"]:
        if result["status"] == "thrown away":
            result |= {"status": "measured"}
    return found


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "tests" / "bench").mkdir(parents=True)
    (tmp_path / "README.md").write_text(f"above\n{publish.BEGIN}\nold figures\n{publish.END}\nbelow\n")
    return tmp_path


def test_a_full_run_replaces_the_figures_and_nothing_else(raw, repository):
    assert publish.problems(raw) == []
    for _ in range(2):
        publish.publish(raw, repository)
    text = (repository / "README.md").read_text()
    assert text.startswith(f"above\n{publish.BEGIN}\nMeasured 2026-01-02 at commit `0123456789ab`: 62,436 vectors")
    assert text.endswith(f"{publish.END}\nbelow\n") and "old figures" not in text and "LOSS" in text
    results = (repository / "tests" / "bench" / "RESULTS.md").read_text()
    for line in [*results.splitlines(), *text.splitlines()]:
        if line.startswith("!["):
            path = line.split("](")[1].rstrip(")")
            assert (repository / path).exists() or (repository / "tests" / "bench" / path).exists(), path


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("options", {"quick": True}),
        ("options", {"only": "a"}),
        ("options", {"alone": True}),
        ("environment", {"commit": "0123456789ab-dirty"}),
    ],
)
def test_other_runs_are_refused(raw, part, change, tmp_path, capsys):
    raw[part] |= change
    (tmp_path / "raw.json").write_text(json.dumps(raw))
    assert publish.main([str(tmp_path / "raw.json")]) == 1
    assert "not published" in capsys.readouterr().err


def test_the_readme_of_this_repository_has_the_place():
    text = (publish.REPOSITORY / "README.md").read_text()
    assert text.count(publish.BEGIN) == text.count(publish.END) == 1
