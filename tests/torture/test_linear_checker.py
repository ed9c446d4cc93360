"""The judge of histories, before it judges any: good ones pass, and what a database must never do is found."""

from __future__ import annotations

import itertools
import random

import pytest
from linear import NOTHING, Change, Exchange, Read, ReadOther, ReadOutside, ReadSome, Write, check

GOOD = {
    "nothing": [],
    "one after the other": [Write(1, 2, 10), Read(3, 4, 10), Write(5, 6, NOTHING), Read(7, 8, NOTHING)],
    "a read beside a write sees it": [Write(1, 9, 10), Read(2, 3, 10)],
    "a read beside a write does not see it yet": [Write(1, 9, 10), Read(2, 3, NOTHING)],
    "two writes at once, the second last": [Write(1, 4, 10), Write(2, 5, 20), Read(6, 7, 20)],
    "two writes at once, the first last": [Write(1, 4, 10), Write(2, 5, 20), Read(6, 7, 10)],
    "a write that ends late": [Write(1, 20, 10), Read(2, 3, NOTHING), Read(4, 5, 10), Read(6, 7, 10)],
    "what begins when another ends may be before it": [Write(1, 5, 10), Read(5, 6, NOTHING)],
    "a change of what is there": [Write(1, 2, 10), Change(3, 4, 20), Read(5, 6, 20), Change(7, 8, NOTHING)],
    "a change of what another writes": [Write(1, 9, 10), Change(2, 3, 20), Read(10, 11, 20)],
    "deleted and written anew beside a read of nothing": [
        Write(1, 2, 10),
        Change(3, 8, NOTHING),
        Write(4, 9, 20),
        Read(5, 7, NOTHING),
        Read(10, 11, 20),
    ],
    "exchanges in the order of their values": [Write(1, 2, 10), Exchange(3, 9, 30, 20), Exchange(3, 9, 20, 10), Read(10, 11, 30)],
    "what is not there": [Write(1, 2, 10), ReadOther(3, 4, 20), ReadOutside(5, 6, 3, 0), ReadSome(7, 8)],
    "reads in turns beside writes in turns": [Write(1, 20, 10), Write(1, 20, 20), Read(2, 3, 10), Read(4, 5, 20)],
}

BAD = {
    "a stale read": [Write(1, 2, 10), Write(3, 4, 20), Read(5, 6, 10)],
    "a read of what was never written": [Write(1, 2, 10), Read(3, 4, 20)],
    "a read from the future": [Read(1, 2, 10), Write(3, 4, 10)],
    "a lost write": [Write(1, 2, 10), Read(3, 4, NOTHING)],
    "a lost write beside a read": [Write(1, 2, 10), Write(3, 9, 20), Read(4, 5, 20), Read(6, 7, 10)],
    "a record that comes back": [Write(1, 2, 10), Change(3, 4, NOTHING), Read(5, 6, 10)],
    "a record that comes back after all were deleted": [Write(1, 2, 10), Write(3, 4, NOTHING), Write(5, 6, 20), Read(7, 8, 10)],
    "a lost update": [Write(1, 2, 10), Exchange(3, 6, 20, 10), Exchange(4, 7, 30, 10)],
    "a change of nothing": [Write(1, 2, NOTHING), Change(3, 4, 20)],
    "two that both deleted one record": [Write(1, 2, 10), Change(3, 8, NOTHING), Change(4, 9, NOTHING)],
    "reads that go back and forth": [Write(1, 20, 10), Write(1, 20, 20), Read(2, 3, 10), Read(4, 5, 20), Read(6, 7, 10)],
    "a value that is said not to be there": [Write(1, 2, 10), ReadOther(3, 4, 10)],
    "a value of a remainder that is said not to be there": [Write(1, 2, 10), ReadOutside(3, 4, 3, 1)],
    "nothing, where something is said to be": [Write(1, 2, 10), Write(3, 4, NOTHING), ReadSome(5, 6)],
}


@pytest.mark.parametrize("name", GOOD)
def test_what_can_be(name):
    assert check(GOOD[name]) is None


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be(name):
    violation = check(BAD[name])
    assert violation is not None
    assert violation.call in BAD[name]


def by_trying_all(history) -> bool:
    """The definition: is there an order of all calls, none before one that had ended when it began, in which each fits?"""
    for order in itertools.permutations(history):
        if any(later.end < earlier.start for earlier, later in itertools.combinations(order, 2)):
            continue
        held = NOTHING
        for call in order:
            if not call.fits(held):
                break
            held = call.after(held)
        else:
            return True
    return False


def some_history(numbers: random.Random) -> list:
    history = []
    for _ in range(numbers.randrange(1, 7)):
        start = numbers.randrange(12)
        end = start + numbers.randrange(6)
        value = numbers.choice([NOTHING, 1, 2])
        history.append(
            numbers.choice(
                [
                    Write(start, end, value),
                    Read(start, end, value),
                    Change(start, end, value),
                    Exchange(start, end, value, numbers.choice([NOTHING, 1, 2])),
                    ReadSome(start, end),
                    ReadOther(start, end, 1),
                    ReadOutside(start, end, 2, 1),
                ]
            )
        )
    return history


def test_against_the_definition(seed):
    numbers = random.Random(seed)
    verdicts = []
    for _ in range(3000):
        history = some_history(numbers)
        verdicts.append(check(history) is None)
        assert verdicts[-1] == by_trying_all(history), history
    assert 300 < sum(verdicts) < 2700
