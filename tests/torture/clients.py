"""Clients at work at the same time, each in a thread with a connection of its own, until the time is up or one of them fails."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
from server import Server

#: What a client does again and again: with its connection, its number and its own random numbers.
Step = Callable[[psycopg.Connection, int, random.Random], None]

#: Seconds after which a statement counts as stuck.
STUCK = 60


def at_work(server: Server, steps: list[Step], seconds: float, seed: int | str, settings: dict[str, str] | None = None) -> list[int]:
    """Has one client for each of `steps` repeat its own; how often each did. The first exception ends all of them and is raised."""
    end = time.monotonic() + seconds
    failed = threading.Event()

    def client(number: int) -> int:
        numbers, done = random.Random(f"{seed} {number}"), 0
        try:
            with server.connect() as connection:
                for name, value in {"statement_timeout": f"{STUCK}s", **(settings or {})}.items():
                    connection.execute("SELECT set_config(%s, %s, false)", [name, value])
                while time.monotonic() < end and not failed.is_set():
                    steps[number](connection, number, numbers)
                    done += 1
        except BaseException:
            failed.set()
            raise
        return done

    with ThreadPoolExecutor(len(steps)) as pool:
        return list(pool.map(client, range(len(steps))))
