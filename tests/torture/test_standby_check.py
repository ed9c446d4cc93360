"""What a check of a standby's index says while the primary's WAL is replayed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import replica
from replica import PRIMARY, catch_up, refusal, value, wait_at_gate

#: The index is of rows that pass it: asked of each row of the table, and waits for a lock that the test holds.
PASSES = """CREATE FUNCTION passes(n int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE AS $$
BEGIN
    PERFORM pg_advisory_lock_shared(2), pg_advisory_unlock_shared(2);
    RETURN n >= 0;
END $$"""
ROWS = 50
CHECKED = {"autovacuum": "off", "hot_standby_feedback": "on"}


def test_a_finding_counts_only_if_nothing_was_replayed(make_server):
    """Steps of the primary's VACUUM that are replayed while a standby's index is checked may look like damage. So of an index that has lost
    entries a check tells what is missing when replay stood still, and asks to be called again when not; of a sound one that it is sound."""
    primary = make_server("primary", PRIMARY | CHECKED).init()
    with primary.connect() as connection:
        connection.execute(PASSES)
        connection.execute("CREATE TABLE rows (n int, v vector(3)); CREATE INDEX checked ON rows USING conifer (v vector_l2_ops) WHERE passes(n)")
        add_rows(connection)
        connection.execute("CHECKPOINT")
        file = value(connection, "SELECT pg_relation_filepath('checked')")
        before = (primary.data / file).read_bytes()
        standby = replica.follow(primary, make_server("standby", PRIMARY | CHECKED))
        add_rows(connection)
        with standby.connect() as other:
            catch_up(connection, other)
            assert check_while_replaying(connection, standby) is None
            connection.execute("CHECKPOINT")
            catch_up(connection, other)
        # What was written since the checkpoint is in the files then, and is not replayed once more.
        standby.stop()
        (standby.data / file).write_bytes(before)
        standby.start()
        with standby.connect() as other:
            catch_up(connection, other)
            # As the refusal's hint says: the primary notes something by itself now and then.
            other.execute("SELECT pg_wal_replay_pause()")
            replica.wait_until(lambda: value(other, "SELECT pg_get_wal_replay_pause_state()") == "paused", "replay does not pause")
            found = other.execute("SELECT violation FROM conifer_check('checked')").fetchall()
            other.execute("SELECT pg_wal_replay_resume()")
        # Of both times that rows were added since.
        assert [violation.endswith("has no entry") for (violation,) in found] == [True] * (2 * ROWS), found
        assert check_while_replaying(connection, standby) == "55000"


def add_rows(connection: psycopg.Connection):
    connection.execute(f"INSERT INTO rows SELECT n, format('[%s,1,2]', n)::vector FROM generate_series(1, {ROWS}) n")


def check_while_replaying(primary: psycopg.Connection, standby) -> str | None:
    """The SQLSTATE with which a check of the standby's index is refused that began before rows were added, and ends after; none if it is not."""
    # The lock goes first, or a check would wait for ever when something here fails.
    with ThreadPoolExecutor(1) as pool, standby.connect() as checking, standby.connect() as gatekeeper:
        gatekeeper.execute("SELECT pg_advisory_lock(2)")
        asked = pool.submit(refusal, checking, "SELECT conifer_check('checked')")
        wait_at_gate(gatekeeper)
        add_rows(primary)
        catch_up(primary, gatekeeper)
        gatekeeper.execute("SELECT pg_advisory_unlock(2)")
        return asked.result()
