"""The progress bar: what is being measured, how much is done, and the time left."""

from __future__ import annotations

import sys
import time

import tqdm


class Progress:
    """Weighs workloads by what each is expected to cost, and learns from those that are done how far off that was."""

    def __init__(self, costs: dict[str, float]):
        self.costs = costs
        self.done: dict[str, float] = {}
        self._began = time.perf_counter()
        self._said = 0.0

    def __enter__(self):
        # On a terminal a bar; in a log a line now and then.
        self._bar = tqdm.tqdm(
            total=100,
            disable=not sys.stderr.isatty(),
            bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed}{postfix}",
        )
        return self

    def __exit__(self, *_):
        self._bar.close()

    def of(self, letter: str, title: str):
        """What a workload calls with a text and the share of itself that is done."""

        def progress(text: str, fraction: float):
            self.done[letter] = self.costs[letter] * min(max(fraction, 0.0), 1.0)
            self._show(f"{letter}: {title}: {text}")

        progress("begins", 0.0)
        return progress

    def finish(self, letter: str):
        self.done[letter] = self.costs[letter]
        self._show(f"{letter}: done")

    def _show(self, text: str):
        total, done = sum(self.costs.values()), sum(self.done.values())
        elapsed = time.perf_counter() - self._began
        # At first the estimate alone, then more and more what it took so far.
        share = done / total if total else 1.0
        pace = (elapsed / done) if done else 1.0
        left = (total - done) * (share * pace + (1 - share) * (1 + pace) / 2)
        self._bar.set_description_str(text[:90])
        self._bar.set_postfix_str(f"{_clock(left)} left")
        self._bar.update(share * 100 - self._bar.n)
        if self._bar.disable and (elapsed - self._said > 15 or share == 1):
            self._said = elapsed
            print(f"{share * 100:3.0f} %, {_clock(left)} left: {text}", file=sys.stderr, flush=True)


def part_of(progress, number: int, count: int):
    """The progress of one of `count` equal parts, for who knows only of that part."""
    return lambda text, fraction: progress(text, (number + fraction) / count)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
