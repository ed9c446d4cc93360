"""Turns, medians, and what is thrown away."""

import pytest

from conifer_bench import measure


@pytest.fixture
def noise():
    return measure.Noise()


def test_summary_has_median_and_spread():
    found = measure.summary([3, 1, 10], "ms")
    assert (found["median"], found["min"], found["max"], found["unit"]) == (3, 1, 10, "ms")


def test_contestants_take_turns(noise):
    order = []
    contestants = {name: lambda name=name: order.append(name) or len(order) for name in "AB"}
    assert measure.in_turns(contestants, 3, noise) == {"A": [1, 3, 5], "B": [2, 4, 6]}
    assert order == list("ABABAB")
    assert len(noise.spins) == 4


def test_a_round_that_saw_swapping_is_taken_again_and_said(noise, monkeypatch, capsys):
    pages = iter([0, 0, 0, 8, 8, 8])  # before and after each of three rounds: the second swaps
    monkeypatch.setattr(measure, "pages_swapped", lambda: next(pages))
    calls = []
    found = measure.in_turns({"A": lambda: calls.append(1) or len(calls)}, 2, noise)
    assert found == {"A": [1, 3]}
    assert noise.statement()["discarded"] == ["a round during which 8 pages were swapped"]
    assert "THROWN AWAY" in capsys.readouterr().err


def test_swapping_without_end_throws_the_workload_away(noise, monkeypatch):
    pages = iter(range(100))
    monkeypatch.setattr(measure, "pages_swapped", lambda: next(pages))
    with pytest.raises(measure.ThrownAway, match="swapped during 3 rounds"):
        measure.in_turns({"A": int}, 3, noise)


def test_noise_states_its_spread(noise):
    for _ in range(4):
        noise.sample()
    stated = noise.statement()
    assert len(stated["spin_ms"]["rounds"]) == 5 and stated["spin_spread_percent"] >= 0
