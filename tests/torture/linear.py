"""Is a history of calls on one register linearizable? That is: could each call have taken effect in one instant between its beginning and
its end?

The register is a record of one id: it holds a value, or nothing. Of each call a history keeps when it began and ended, what the register
must have held for it to be answered as it was, and what it held after. Calls that failed and were undone are left out.

Just-in-time linearization (G. Lowe, Testing for linearizability, 2017): calls are looked at in the order in which they begin and end,
along with every situation there can be: what the register holds, and which of the calls under way have taken effect. When a call ends it
must have taken effect, in the situations that remain. There are few of them, for there are as few calls under way as there are clients.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: What a register holds where there is no record.
NOTHING = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call: what it is about by its classes below, begun and ended at moments of one clock."""

    start: int
    end: int

    def fits(self, held: int | None) -> bool:
        """May the register have held this?"""
        return True

    def after(self, held: int | None) -> int | None:
        """What it holds then."""
        return held


@dataclass(frozen=True, slots=True)
class Write(Call):
    """Puts a value there, whatever was."""

    value: int | None

    def after(self, held):
        return self.value


@dataclass(frozen=True, slots=True)
class Change(Write):
    """Puts a value there, or nothing, and answered that there was a record."""

    def fits(self, held):
        return held is not NOTHING


@dataclass(frozen=True, slots=True)
class Exchange(Write):
    """Puts a value there, or nothing, and answered which value there was."""

    old: int | None

    def fits(self, held):
        return held == self.old


@dataclass(frozen=True, slots=True)
class Read(Call):
    """Answered what is there."""

    value: int | None

    def fits(self, held):
        return held == self.value


@dataclass(frozen=True, slots=True)
class ReadSome(Call):
    """Answered that there is a record."""

    def fits(self, held):
        return held is not NOTHING


@dataclass(frozen=True, slots=True)
class ReadOther(Call):
    """Answered that this value is not there."""

    value: int

    def fits(self, held):
        return held != self.value


@dataclass(frozen=True, slots=True)
class ReadOutside(Call):
    """Answered that there is no value of this remainder."""

    modulus: int
    remainder: int

    def fits(self, held):
        return held is NOTHING or held % self.modulus != self.remainder


@dataclass(frozen=True)
class Violation:
    """A call that cannot have taken effect between its beginning and its end, and what the register may have held when it ended."""

    call: Call
    held: tuple[int | None, ...]
    under_way: tuple[Call, ...]

    def __str__(self) -> str:
        return f"{self.call} with {self.held} there, beside {list(self.under_way)}"


def check(history: Iterable[Call], initially: int | None = NOTHING) -> Violation | None:
    """The first call that does not fit, if any."""
    calls = list(history)
    # What ends in the moment in which another begins may have come after it.
    begin = [(call.start, 0, number) for number, call in enumerate(calls)]
    end = [(call.end, 1, number) for number, call in enumerate(calls)]
    events = sorted(begin + end)
    under_way: dict[int, Call] = {}
    situations: set[tuple[int | None, frozenset[int]]] = {(initially, frozenset())}
    for _, ends, number in events:
        call = calls[number]
        assert call.start <= call.end, call
        if not ends:
            under_way[number] = call
            continue
        remaining = _taken_effect(situations, under_way, number)
        if not remaining:
            held = {held for held, _ in situations}
            beside = [other for key, other in under_way.items() if key != number]
            return Violation(call, tuple(held), tuple(beside))
        del under_way[number]
        situations = {(held, done - {number}) for held, done in remaining}
    return None


def _taken_effect(situations, under_way: dict[int, Call], number: int) -> set[tuple[int | None, frozenset[int]]]:
    """The situations in which the call of that number has taken effect: after those before, and any others under way, in any order."""
    call, found, seen, open_ones = under_way[number], set(), set(situations), list(situations)
    while open_ones:
        held, done = open_ones.pop()
        if number in done:
            found.add((held, done))
            continue
        if call.fits(held):
            found.add((call.after(held), done | {number}))
        for other, candidate in under_way.items():
            if other == number or other in done or not candidate.fits(held):
                continue
            after = (candidate.after(held), done | {other})
            if after not in seen:
                seen.add(after)
                open_ones.append(after)
    return found
