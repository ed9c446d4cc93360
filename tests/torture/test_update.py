"""ALTER EXTENSION conifer UPDATE: a database that an older version made is afterwards what a fresh one is, with all that was in it.

For each released version there is the script that installed it, `sql/released/conifer--VERSION.sql`, and from it on a chain of
`sql/conifer--A--B.sql`. As long as nothing has been released, a version is pretended that lacks some of today's functions, so that the way
itself is tested.
"""

from __future__ import annotations

import pathlib
import re
import shutil

import psycopg
import pytest
from changes import LARGE, Changes
from model import Model, verify
from server import DATABASE, SCHEMA, Server

SQL = pathlib.Path(__file__).parents[2] / "sql"
PRETENDED = "0.0.0-pretended"
#: What the pretended version does not have: functions that nothing else depends on.
LATER = ("pc_count", "conifer_simd")
#: Where the special area's format byte is on a page (src/layout/FORMAT.md).
FORMAT_AT = 8168 + 19


def released() -> list[str]:
    return sorted(re.sub(r"^conifer--(.*)\.sql$", r"\1", path.name) for path in (SQL / "released").glob("conifer--*.sql"))


@pytest.fixture
def extensions(programs):
    """The folder of extensions of the programs' server; what the test puts there is taken away again."""
    server = Server(programs, pathlib.Path("/nowhere"))
    folder = pathlib.Path(server.program("pg_config", "--sharedir").stdout.strip()) / "extension"
    before = set(folder.iterdir())
    yield folder
    for path in set(folder.iterdir()) - before:
        path.unlink()


@pytest.fixture(params=[*released(), PRETENDED])
def old_version(request, extensions) -> str:
    """The name of a version that can be installed and updated from."""
    if request.param == PRETENDED:
        pretend(extensions)
    else:
        shutil.copy(SQL / "released" / f"conifer--{request.param}.sql", extensions)
    return request.param


def pretend(extensions: pathlib.Path):
    """An older version out of today's: its script without some functions, and an upgrade script that makes them."""
    current = today(extensions)
    script = (extensions / f"conifer--{current}.sql").read_text()
    makes = "\n".join(statement for name in LATER for statement in functions(script, name))
    drops = "".join(f"\nDROP FUNCTION {name};" for name in LATER)
    (extensions / f"conifer--{PRETENDED}.sql").write_text(script + drops + "\n")
    comments = "\n".join(line for line in re.findall(r"^COMMENT ON FUNCTION .*?;$", script, re.M | re.S) if is_later(line))
    (extensions / f"conifer--{PRETENDED}--{current}.sql").write_text(makes + "\n" + comments + "\n")


def is_later(comment: str) -> bool:
    return any(comment.startswith(f"COMMENT ON FUNCTION {name}(") for name in LATER)


def today(extensions: pathlib.Path) -> str:
    return re.search(r"default_version *= *'([^']+)'", (extensions / "conifer.control").read_text())[1]


def functions(script: str, name: str) -> list[str]:
    """The statements of a script that make the functions of a name."""
    return re.findall(rf'^CREATE +FUNCTION +"{name}"\([^;]*;', script, re.M)


def install(server: Server, version: str):
    """The database's extension in that version, in the place of today's."""
    with server.connect() as connection:
        connection.execute(f"DROP EXTENSION conifer; CREATE EXTENSION conifer SCHEMA {SCHEMA} VERSION '{version}'")


def members(connection: psycopg.Connection) -> dict[str, tuple]:
    """All that belongs to the extension, and what each is: definition, owner, rights, comment."""
    query = """
        SELECT pg_describe_object(d.classid, d.objid, 0), p.prosrc, pg_get_functiondef(p.oid), p.proacl::text, c.relacl::text,
               (SELECT array_agg((attname, atttypid::regtype, atttypmod, attnotnull, attcollation::regcollation) ORDER BY attnum)::text
                  FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
               obj_description(d.objid, d.classid::regclass::name)
          FROM pg_depend d
          LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid AND p.prokind <> 'a'
          LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
         WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
           AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'conifer')"""
    found = {row[0]: tuple(row[1:]) for row in connection.execute(query).fetchall()}
    query = """SELECT unnest(extconfig)::regclass::text, unnest(extcondition) FROM pg_extension WHERE extname = 'conifer'"""
    found["configuration"] = tuple(sorted(connection.execute(query).fetchall()))
    return found


def test_an_update_leaves_what_a_fresh_one_has(server, old_version, extensions, seed):
    with server.connect() as connection:
        fresh = members(connection)
    install(server, old_version)
    made = Changes(Model(), "updated", seed)
    with server.connect() as connection:
        assert members(connection) != fresh or old_version == today(extensions)
        made.create(connection)
        made.ask(connection, made.upsert_into(LARGE, 900))
        for _ in range(20):
            made.step(connection)
        # A session that used the old version goes on with the new one.
        connection.execute("ALTER EXTENSION conifer UPDATE")
        now = members(connection)
        assert {what: now.get(what) for what in fresh.keys() | now.keys() if now.get(what) != fresh.get(what)} == {}
        verify(connection, made.model)
        for _ in range(20):
            made.step(connection)
        verify(connection, made.model)
    with server.connect() as connection:
        verify(connection, made.model)
    moves(server, made.model)


def moves(server: Server, model: Model):
    """What was updated can be dumped, into a database of today's version."""
    with server.connect("postgres") as connection:
        connection.execute("CREATE DATABASE restored TEMPLATE template0")
    dump = server.directory / "dump"
    words = ["-h", server.directory, "-U", "postgres", "-d"]
    server.program("pg_dump", *words, DATABASE, "-Fc", "-f", dump)
    server.program("pg_restore", *words, "restored", "--exit-on-error", dump)
    with server.connect("restored") as connection:
        verify(connection, model)


def test_every_upgrade_script_comes_from_a_released_version():
    """A chain from each release to the next, so that every one of them can be updated to today's."""
    steps = [re.fullmatch(r"conifer--(.+)--(.+)\.sql", path.name).groups() for path in SQL.glob("conifer--*--*.sql")]
    assert sorted(before for before, _ in steps) == released()


def test_an_index_of_another_format_is_refused(make_server, seed):
    """With an error that says so, and what to do; REINDEX does it."""
    server = make_server()
    server.make_directory()
    # A page with another byte is one whose checksum is wrong, where there are any.
    server.init(*(["--no-data-checksums"] if server.major >= 18 else []))
    changes = Changes(Model(), "other", seed)
    with server.connect() as connection:
        changes.create(connection)
        changes.ask(connection, changes.upsert_into(LARGE, 1200))
        query = """SELECT pg_relation_filepath(c.oid), c.oid::regclass::text FROM pg_class c JOIN pg_am a ON a.oid = c.relam
                   WHERE a.amname = 'conifer' AND c.relkind = 'i'"""
        file, index = connection.execute(query).fetchone()
    server.stop()
    with (server.data / file).open("r+b") as pages:
        pages.seek(FORMAT_AT)
        known = pages.read(1)[0]
        pages.seek(FORMAT_AT)
        pages.write(bytes([known + 1]))
    server.start()
    with server.connect() as connection:
        arguments = ["other", LARGE, "[" + "1," * 199 + "1]"]
        for statement, values in (
            ("SELECT * FROM pc_query(%s, %s, %s::vector)", arguments),
            ("SELECT pc_upsert(%s, %s, 'x', %s::vector)", arguments),
            ("SELECT conifer_check(%s::regclass)", [index]),
        ):
            with pytest.raises(psycopg.errors.IndexCorrupted, match=f"index format {known + 1} is unknown") as error:
                connection.execute(statement, values)
            assert "REINDEX" in error.value.diag.message_hint
        connection.execute(f"REINDEX INDEX {index}")
        verify(connection, changes.model)
