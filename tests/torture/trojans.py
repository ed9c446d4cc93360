"""A schema of impostors: everything that PostgreSQL's own catalog and the extension have, under the same names, and each tells when it is used.

Whoever uses one finds its way into the sequence `public.sprung_count`, which no rollback sets back, and gets an error.
"""

from __future__ import annotations

import psycopg
from server import SCHEMA

#: What every impostor does. The sequence and the function are named in full: they work under any search path.
TRAP = """
CREATE SEQUENCE public.sprung_count;
CREATE FUNCTION public.sprung(who pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_catalog.nextval('public.sprung_count'::pg_catalog.regclass);
    RAISE EXCEPTION 'an impostor was used: %', who USING ERRCODE = 'TR0JN';
END $$;
GRANT USAGE ON SCHEMA public TO PUBLIC;
GRANT ALL ON SEQUENCE public.sprung_count TO PUBLIC;
"""

#: Functions, operators, types and relations of these schemas get impostors in {schema}; those that PostgreSQL does not take are left out and counted.
#: Temporary schemas have types and relations only: PostgreSQL looks for nothing else there.
IMPOSTORS = """
DO $do$
DECLARE
    found record;
    made integer := 0;
    refused integer := 0;
    statement text;
BEGIN
    SET LOCAL search_path = pg_catalog;
    SET LOCAL client_min_messages = error;
    FOR statement IN
        SELECT format('CREATE FUNCTION {schema}.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', proname, oidvectortypes(proargtypes),
                      CASE WHEN proretset THEN 'SETOF ' ELSE '' END || format_type(prorettype, NULL),
                      format('BEGIN PERFORM public.sprung(%L); END', proname))
          FROM pg_proc
         WHERE NOT {is_temporary} AND pronamespace IN ('pg_catalog'::regnamespace, '{ours}'::regnamespace, 'conifer'::regnamespace)
        UNION ALL
        -- operators want functions of their own: some of those above are there with other types
        SELECT format('CREATE FUNCTION {schema}.op_%s(%s) RETURNS %s LANGUAGE plpgsql AS %L', number, arguments, result,
                      format('BEGIN PERFORM public.sprung(%L); END', oprname))
               || format('; CREATE OPERATOR {schema}.%s (%s FUNCTION = {schema}.op_%s)', oprname, sides, number)
          FROM (SELECT row_number() OVER () AS number, oprname, format_type(oprresult, NULL) AS result,
                       concat_ws(', ', lefts.name, rights.name) AS arguments,
                       concat('LEFTARG = ' || lefts.name || ', ', 'RIGHTARG = ' || rights.name || ', ') AS sides
                  FROM pg_operator
                  CROSS JOIN LATERAL unnest(CASE oprleft WHEN 0 THEN ARRAY[NULL] WHEN 'text'::regtype THEN ARRAY['text', 'conifer.record_id', 'conifer.namespace_name']
                                            ELSE ARRAY[format_type(oprleft, NULL)] END) AS lefts (name)
                  CROSS JOIN LATERAL unnest(CASE oprright WHEN 0 THEN ARRAY[NULL] ELSE ARRAY[format_type(oprright, NULL)] END) AS rights (name)
                 WHERE NOT {is_temporary} AND oprnamespace IN ('pg_catalog'::regnamespace, '{ours}'::regnamespace)) AS operators
        UNION ALL
        SELECT format('CREATE DOMAIN {schema}.%I AS %s CHECK (public.sprung(%L))', typname, format_type(oid, NULL), typname)
          FROM pg_type
         WHERE typtype IN ('b', 'd') AND typelem = 0 AND typnamespace IN ('pg_catalog'::regnamespace, '{ours}'::regnamespace, 'conifer'::regnamespace)
        UNION ALL
        SELECT format('CREATE VIEW {schema}.%I AS SELECT public.sprung(%L) AS oid', relname, relname)
          FROM pg_class
         WHERE relkind IN ('r', 'v', 'S') AND relnamespace IN ('pg_catalog'::regnamespace, 'conifer'::regnamespace)
    LOOP
        BEGIN
            EXECUTE statement;
            made := made + 1;
        EXCEPTION WHEN OTHERS THEN
            refused := refused + 1;
        END;
    END LOOP;
    EXECUTE format('COMMENT ON SCHEMA public IS %L', made || ' made, ' || refused || ' refused');
END
$do$
"""


def lay(connection: psycopg.Connection):
    """What impostors need; once in a database, by a superuser."""
    connection.execute(TRAP)


def put(connection: psycopg.Connection, schema: str) -> int:
    """Fills a schema with impostors; how many. `pg_temp` is the session's own."""
    is_temporary = str(schema == "pg_temp").lower()
    connection.execute(IMPOSTORS.format(schema=schema, ours=SCHEMA, is_temporary=is_temporary))
    said = connection.execute("SELECT pg_catalog.obj_description('public'::pg_catalog.regnamespace, 'pg_namespace')").fetchone()[0]
    return int(said.split()[0])


def sprung(connection: psycopg.Connection) -> int:
    """How often an impostor was used."""
    return connection.execute("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM public.sprung_count").fetchone()[0]
