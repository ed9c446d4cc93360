"""The server killed while processes stand at every named place of every operation of several steps; then it goes on working.

Places are src/stop_point.rs's. Only builds with debug assertions have them. Each scene is played to its end once, to learn which places it
comes to; then again for each place, and is stopped there. A dozen stand side by side before the server is killed. The short form plays two
dozen, others each time, and also fails if a place is come to by no scene.
"""

from __future__ import annotations

import dataclasses
import random
import time

import psycopg
import pytest
from load import SETTINGS
from model import Model, contents, verify
from scenarios import SCENES, Scene, Stage
from server import Server
from watch import check_log

#: So many processes stand before the server is killed.
TOGETHER = 12

#: A seed of vectors with which the scenes come to all places.
VECTORS = 5

#: So many are played in the short form.
FEW = 2 * TOGETHER

#: An index of nobody's scene, in which something is committed while all stand: so WAL up to there outlives the server.
BYSTANDER = "bystander"


@dataclasses.dataclass
class Stop:
    """A scene, the place at which it is to be stopped, and which time it is there."""

    scene: Scene
    place: str
    time: int

    def __str__(self) -> str:
        return f"{self.scene.name} {self.place}:{self.time}"


class Theatre:
    """A server and the indexes of the scenes being played on it."""

    def __init__(self, server: Server, seed: int):
        self.server, self.model, self.random = server, Model(), random.Random(seed)
        self.made = 0
        with server.connect() as connection:
            connection.execute("SELECT pc_create_index(%s, 2)", [BYSTANDER])
        self.model.indexes[BYSTANDER] = {}

    def stage(self, connection: psycopg.Connection, scene: Scene) -> Stage:
        self.made += 1
        # The same vectors whenever it is played, and in every run: whether a list is split depends on them.
        return Stage(connection, self.model, f"{scene.name}-{self.made}", f"{VECTORS}/{scene.name}")

    def prepare(self, scenes: list[Scene]) -> tuple[list[Stage], list[str]]:
        """The stages and the statements; of those that go on after a crash, after it."""
        with self.server.connect() as connection:
            stages = [self.stage(connection, scene) for scene in scenes]
            statements = [scene.prepare(stage) for scene, stage in zip(scenes, stages, strict=True)]
        crashed = [
            (statement, scene.after_crash) for scene, statement in zip(scenes, statements, strict=True) if scene.after_crash is not None
        ]
        if crashed:
            for statement, place in crashed:
                self.stand(statement, f"{place}:1")
            self.crash()
        return stages, statements

    def stand(self, statement: str, place: str):
        """Has a process execute it until it stands at the place."""
        connection = self.server.connect()
        connection.execute("SELECT set_config('conifer.stop_point', %s, false)", [place])
        # Not waited for: it never ends.
        connection.pgconn.send_query(statement.encode())
        line = f"[{connection.info.backend_pid}] stopped {place}\n"
        end = time.monotonic() + 60
        while line not in self.server.log():
            assert time.monotonic() < end, f"{statement} does not come to {place}"
            connection.pgconn.consume_input()
            assert connection.pgconn.is_busy(), f"{statement} ended without coming to {place}: {connection.pgconn.get_result()}"
            time.sleep(0.01)

    def crash(self, checkpoint: bool = False):
        """Kills the server when WAL is on disk up to what the last process did."""
        with self.server.connect() as connection:
            records = self.model.namespace(BYSTANDER, "t")
            id, vector = f"r{len(records)}", (1.0, len(records) + 0.0)
            connection.execute("SELECT pc_upsert(%s, 't', %s, %s::real[]::vector)", [BYSTANDER, id, list(vector)])
            records[id] = (vector, {})
            if checkpoint:
                self.checkpoint(connection)
        self.server.kill()
        self.server.start()

    def checkpoint(self, connection: psycopg.Connection):
        """As much of one as comes about: it waits for pages that are locked by who stands, and is given up."""
        connection.execute("SET statement_timeout = 1000")
        try:
            connection.execute("CHECKPOINT")
        except psycopg.errors.QueryCanceled:
            pass
        connection.execute("RESET statement_timeout")

    def look_over(self, partly: list[str]):
        """Compares everything. Of the indexes named `partly` whole namespaces may be gone."""
        with self.server.connect() as connection:
            there = {name for (name,) in connection.execute("SELECT name FROM pc_list_indexes()").fetchall()}
            for index in partly:
                if index not in there:
                    del self.model.indexes[index]
                    continue
                left = contents(connection, index)
                self.model.indexes[index] = {name: records for name, records in self.model.indexes[index].items() if name in left}
            verify(connection, self.model)

    def go_on(self, stages: list[Stage]):
        """Work on what a crash has left, and the end of it."""
        with self.server.connect() as connection:
            for stage in stages:
                stage.connection = connection
                if stage.index not in self.model.indexes:
                    stage.create()
                for namespace in [*self.model.indexes[stage.index], "later"]:
                    stage.upsert(50, namespace)
            connection.execute("VACUUM")
            for stage in stages:
                for namespace in self.model.indexes[stage.index]:
                    stage.upsert(50, namespace)
            verify(connection, self.model)
            for stage in stages:
                connection.execute("SELECT pc_delete_index(%s)", [stage.index])
                del self.model.indexes[stage.index]

    def rehearse(self) -> list[dict[str, int]]:
        """For each scene how often it comes to each place, played to its end."""
        stages, statements = self.prepare(SCENES)
        reached = []
        for statement in statements:
            with self.server.connect() as connection:
                connection.execute(statement)
                reached.append({place: times for place, times in places(connection).items() if times > 0})
        with self.server.connect() as connection:
            for stage in stages:
                connection.execute("SELECT pc_delete_index(name) FROM pc_list_indexes() WHERE name = %s", [stage.index])
                self.model.indexes.pop(stage.index, None)
        return reached

    def play(self, stops: list[Stop], checkpoint: bool):
        """All of them up to where they are to be stopped; a crash; and on from there."""
        stages, statements = self.prepare([stop.scene for stop in stops])
        for stop, statement in zip(stops, statements, strict=True):
            self.stand(statement, f"{stop.place}:{stop.time}")
        self.crash(checkpoint)
        self.look_over([stage.index for stop, stage in zip(stops, stages, strict=True) if stop.scene.takes])
        self.go_on(stages)


def places(connection: psycopg.Connection) -> dict[str, int]:
    """Every place, and how often this process was there."""
    shown = connection.execute("SHOW conifer.stop_points").fetchone()[0]
    return {place: int(times) for place, _, times in (word.rpartition("=") for word in shown.split(","))}


def chosen(reached: list[dict[str, int]], rng: random.Random, all_of_them: bool) -> list[Stop]:
    """Each place in a scene that comes to it; or in every such scene, the first time it is there and half way through."""
    if all_of_them:
        return [
            Stop(scene, place, time)
            for scene, times in zip(SCENES, reached, strict=True)
            for place in times
            for time in sorted({1, half_way(times[place])})
        ]
    stops = []
    for place in sorted({place for times in reached for place in times}):
        number = rng.choice([number for number, times in enumerate(reached) if place in times])
        stops.append(Stop(SCENES[number], place, rng.choice((1, half_way(reached[number][place])))))
    return stops


def half_way(times: int) -> int:
    return (times + 1) // 2


def test_every_place(make_server, seed, full, record_result):
    server = make_server(settings={**SETTINGS, "autovacuum": "off"}).init()
    with server.connect() as connection:
        connection.execute("LOAD 'conifer'")
        try:
            known = places(connection)
        except psycopg.errors.UndefinedObject:
            pytest.skip("Conifer was built without debug assertions: it has no stop points")
    theatre = Theatre(server, seed)
    reached = theatre.rehearse()
    never = known.keys() - {place for times in reached for place in times}
    assert never == set(), "places that no scene comes to"
    stops = chosen(reached, theatre.random, full)
    theatre.random.shuffle(stops)
    stops = stops if full else stops[:FEW]
    for number, first in enumerate(range(0, len(stops), TOGETHER)):
        # VACUUM first: what others hold open keeps dead rows alive.
        some = sorted(stops[first : first + TOGETHER], key=lambda stop: SCENES.index(stop.scene))
        try:
            theatre.play(some, checkpoint=number % 2 == 1)
        except Exception as error:
            error.add_note(f"stopped: {', '.join(map(str, some))}")
            raise
    check_log(server)
    record_result("crash-stop-points", places=len(known), stops=len(stops))
