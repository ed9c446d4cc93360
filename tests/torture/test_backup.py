"""Recovery to a point and base backups: what is restored is what the primary had then, and can be gone on with."""

from __future__ import annotations

import copy
import threading

import psycopg
import pytest
import replica
from changes import LARGE, Changes
from model import Model, verify
from replica import PRIMARY, value

INDEX = "load"


def test_recovery_to_a_point(make_server, seed, scaled):
    """What is restored from a base backup and archived WAL is what the primary had at that point, whatever came later."""
    directory = make_server("archive").directory
    primary = make_server("primary", PRIMARY | replica.make_archive(directory)).init()
    changes = Changes(Model(), INDEX, seed)
    with primary.connect() as connection:
        changes.create(connection)
        changes.ask(connection, changes.upsert_into(LARGE, 1500))
        backup = make_server("backup")
        replica.back_up(primary, backup, "-X", "none")
        changes.ask(connection, changes.upsert_into(LARGE, 900))
        changes.ask(connection, changes.vacuum())
        for _ in range(scaled(200, 12)):
            changes.step(connection)
        then = copy.deepcopy(changes.model)
        points = {
            "name": value(connection, "SELECT 'then' FROM pg_create_restore_point('then')"),
            "lsn": value(connection, "SELECT pg_current_wal_insert_lsn()"),
            "time": value(connection, "SELECT clock_timestamp()::text"),
        }
        for _ in range(scaled(100, 12)):
            changes.step(connection)
        # With the last change's commit behind the point, whatever it was.
        changes.ask(connection, changes.upsert_into(LARGE, 100))
        value(connection, "SELECT pg_switch_wal()")
        primary.stop()
    for target in scaled(points, ["time"]):
        restored = replica.restore(backup, make_server("restored"), directory, **{target: points[target]})
        changes.model = copy.deepcopy(then)
        with restored.connect() as connection:
            verify(connection, changes.model)
            for _ in range(scaled(50, 5)):
                changes.step(connection)
            changes.ask(connection, changes.vacuum())
            verify(connection, changes.model)
        restored.kill()


def test_base_backup_during_a_split(make_server, scaled, seed):
    """Taken while VACUUM makes a tree and moves entries: the copy is sound, and the next VACUUM mends what was half done."""
    primary = make_server("primary", PRIMARY).init()
    changes = Changes(Model(), INDEX, seed)
    with primary.connect() as connection:
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("SELECT pg_reload_conf()")
        changes.create(connection)
        for _ in range(scaled(8, 4)):
            changes.ask(connection, changes.upsert_into(LARGE, 900))
    for number in range(scaled(6, 1)):
        vacuum = threading.Thread(target=slow_vacuum, args=[primary])
        vacuum.start()
        copy_of_it = make_server(f"copy{number}", PRIMARY)
        with primary.connect() as connection:
            running = "SELECT count(*) FROM pg_stat_progress_vacuum WHERE index_vacuum_count > 0 OR phase = 'cleaning up indexes'"
            replica.wait_until(lambda c=connection: value(c, running) == 1, "VACUUM does not come to the index")
            replica.back_up(primary, copy_of_it, "-X", "stream")
            assert value(connection, running) == 1, "VACUUM was over before the backup"
            connection.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_progress_vacuum")
            vacuum.join()
            copy_of_it.start()
            with copy_of_it.connect() as other:
                verify(other, changes.model)
                changes.ask(other, changes.vacuum())
                verify(other, changes.model)
            copy_of_it.kill()
            # So that the next VACUUM has work again.
            changes.ask(connection, changes.upsert_into(LARGE, 900))


def slow_vacuum(server):
    """Sleeps between pages, so that it takes longer than a backup; to be cancelled."""
    with server.connect() as connection:
        connection.execute("SET vacuum_cost_delay = '20ms'; SET vacuum_cost_limit = 10; SET vacuum_cost_page_miss = 1")
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute(f'VACUUM "{INDEX}"')
