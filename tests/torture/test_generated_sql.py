"""Tens of thousands of generated statements with hostile arguments: each is answered or refused with an error meant for users, and changes nothing."""

from __future__ import annotations

import re
from collections import Counter

import psycopg
import pytest
from hostile_sql import Callables, Generator
from model import Model, verify

STATEMENTS = {"full": 40_000, "short": 2_000}
#: A statement that takes longer is cancelled. Hostile is not expensive: hardly any may.
PATIENCE = "20s"
#: Words of programs, not for users. The last are how Rust's standard library speaks of slices and integers.
INTERNAL_WORDS = r"panick|unwrap|\.rs\b|src/|RefCell|borrow|Option::|Result::|out of bounds|range (start|end) index|overflow when|called `"


@pytest.fixture
def furnished(server):
    """A server with an index of two namespaces, whose records are known, and with relations of all kinds."""
    model = Model()
    with server.connect() as connection:
        connection.execute("SELECT pc_create_index('kept', 2, 'euclidean')")
        for namespace, count in (("t", 400), ("u", 9)):
            for number in range(count):
                vector = (number % 17 + 1.0, number % 5 - 2.0)
                metadata = {"a": number % 3, "g": "x"}
                connection.execute("SELECT pc_upsert('kept', %s, %s, %s::real[]::vector, jsonb_build_object('a', %s::int, 'g', 'x'))",
                                   [namespace, f"r{number}", list(vector), number % 3])  # fmt: skip
                model.namespace("kept", namespace)[f"r{number}"] = (vector, metadata)
        connection.execute("""
            CREATE TABLE plain AS SELECT namespace::text, id::text, values, metadata FROM kept;
            CREATE UNIQUE INDEX leaf_btree ON plain (namespace, id);
            CREATE INDEX flat_index ON plain USING conifer (values vector_cosine_ops) INCLUDE (metadata);
            CREATE TABLE many AS SELECT n, ARRAY[sin(n), cos(n * 7)]::vector(2) AS values FROM generate_series(1, 3000) n;
            SET conifer.tree_rows = 1000;
            CREATE INDEX tree_index ON many USING conifer (values vector_l2_ops);
            RESET conifer.tree_rows;
            CREATE TABLE parted (n int, values vector(2)) PARTITION BY RANGE (n);
            CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (10);
            CREATE INDEX partitioned_index ON parted USING conifer (values vector_l2_ops);
            CREATE VIEW a_view AS SELECT * FROM plain;
            CREATE MATERIALIZED VIEW a_matview AS SELECT * FROM plain;
            CREATE SEQUENCE a_sequence;
            ANALYZE plain""")
    return server, model


class Session:
    """A connection that generated statements are put to, each in a transaction of its own that is rolled back."""

    def __init__(self, server, seed: int):
        self.server, self.seed = server, seed
        self.connection = server.connect(autocommit=False)
        self.pid = self.connection.info.backend_pid
        self.seen: Counter[str] = Counter()
        self.connection.execute(f"CREATE TEMP TABLE a_temp (values vector(2)); SET statement_timeout = '{PATIENCE}'")
        self.connection.commit()
        self.leaf = self.one("SELECT leaf::text FROM conifer.namespaces WHERE namespace = 't'")
        # Forged ones begin as good ones.
        tokens = [
            """SELECT next_token FROM pc_list('kept', 't', "limit" => 3) WHERE next_token IS NOT NULL""",
            """SELECT next_token FROM pc_list_namespaces('kept', "limit" => 1) WHERE next_token IS NOT NULL""",
            """SELECT next_token FROM pc_fetch_by_metadata('kept', 't', '{"g": "x"}', "limit" => 3) WHERE next_token IS NOT NULL""",
        ]
        self.generator = Generator(Callables.of(self.connection, "conifer"), [self.one(token) for token in tokens])
        self.parallel = "debug_parallel_query" if server.major >= 16 else "force_parallel_mode"
        self.connection.rollback()

    def one(self, query: str) -> str:
        return self.connection.execute(query).fetchone()[0]

    def put(self, number: int):
        """One statement, and what may come of it."""
        statement = self.generator.statement(self.seed, number).replace("{leaf}", self.leaf).replace("{parallel}", self.parallel)
        told = f"statement {number} of seed {self.seed}: {statement[:3000]}"
        try:
            self.run(statement)
            self.seen["00000"] += 1
        except psycopg.Error as error:
            state, message = error.sqlstate, error.diag.message_primary or ""
            assert state, f"{told}\n{error}\n{self.server.log()[-3000:]}"
            assert not state.startswith("XX"), f"{told}\n{state} {message}"
            text = " ".join(filter(None, [message, error.diag.message_detail, error.diag.message_hint]))
            # What the caller wrote may stand in it.
            assert not re.search(INTERNAL_WORDS, text) or re.search(INTERNAL_WORDS, statement), f"{told}\n{state} {text}"
            self.seen[state] += 1
        self.connection.rollback()

    def run(self, statement: str):
        cursor = self.connection.cursor()
        if statement.startswith("COPY"):
            with cursor.copy(statement) as copy:
                for _ in copy:
                    pass
            return
        # The simple protocol takes several at once. What comes back is not parsed: that is psycopg's own affair.
        result = self.connection.pgconn
        self.connection.execute("SELECT 1")  # begins the transaction
        answer = result.exec_(statement.replace("\0", "").encode())
        if answer.status not in OK:
            raise psycopg.errors.error_from_result(answer)


OK = {psycopg.pq.ExecStatus.COMMAND_OK, psycopg.pq.ExecStatus.TUPLES_OK, psycopg.pq.ExecStatus.EMPTY_QUERY, psycopg.pq.ExecStatus.SINGLE_TUPLE}


def test_generated_statements(furnished, scaled, seed, record_result):
    server, model = furnished
    wanted = scaled(STATEMENTS["full"], STATEMENTS["short"])
    session = Session(server, seed)
    for number in range(wanted):
        session.put(number)
        if number % (wanted // 8) == 0:
            with server.connect() as connection:
                verify(connection, model)
    assert session.connection.info.backend_pid == session.pid
    # The same process still knows what is there.
    session.connection.autocommit = True
    session.connection.execute("RESET ALL; SET search_path = ours, public")
    verify(session.connection, model)
    seen = session.seen
    assert seen["00000"] > wanted / 20 and len(seen) > 15, seen
    assert seen["57014"] <= wanted / 200, seen
    assert "PANIC" not in server.log() and "was terminated by signal" not in server.log()
    record_result("generated_sql", statements=wanted, sqlstates=dict(seen.most_common()))


def binary_vectors(rng) -> list[bytes]:
    """Bytes in the place of a vector in COPY's binary form."""
    good = b"\x00\x02\x00\x00" + b"\x3f\x80\x00\x00" * 2
    lengths = [good[:at] for at in range(len(good))]
    dimensions = [bytes([high, low]) + good[2:] for high in (0, 0x7F, 0x80, 0xFF) for low in (0, 1, 3, 0xFF)]
    elements = [good[:4] + bits + good[8:] for bits in (b"\x7f\xc0\x00\x00", b"\x7f\x80\x00\x00", b"\xff\x80\x00\x00", b"\x00\x00\x00\x01")]
    return [good, good + b"\0", b"", *lengths, *dimensions, *elements, *[rng.randbytes(rng.randrange(40)) for _ in range(50)], b"\x4e\x20\0\0" + b"\0" * 80_000]


def test_binary_copy(furnished, seed):
    """COPY … FROM in binary form: a vector of any bytes is taken or refused."""
    import random

    server, model = furnished
    seen: Counter[str] = Counter()
    with server.connect() as connection:
        for field in binary_vectors(random.Random(seed)):
            data = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\1" + len(field).to_bytes(4, "big") + field + b"\xff\xff"
            try:
                with connection.cursor().copy("COPY many (values) FROM STDIN (FORMAT binary)") as copy:
                    copy.write(data)
                seen["00000"] += 1
            except psycopg.Error as error:
                assert error.sqlstate and not error.sqlstate.startswith("XX"), f"{field!r}: {error.sqlstate} {error}"
                seen[error.sqlstate] += 1
        assert connection.execute("SELECT count(*) FROM many WHERE n IS NULL").fetchone() == (seen["00000"],)
        verify(connection, model)
    assert seen["00000"] >= 2 and len(seen) >= 3, seen
