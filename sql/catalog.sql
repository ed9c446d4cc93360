-- The extension's schemas, the domains of an index's columns, and the catalog of indexes and namespaces.
-- All names are qualified: roots and leaves are found by OID, never by the search path.

DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
        RAISE feature_not_supported USING
            MESSAGE = pg_catalog.format('conifer needs a database in UTF8, not in %s', pg_catalog.getdatabaseencoding()),
            HINT = 'Create the database with ENCODING ''UTF8''.';
    END IF;
END
$$;

CREATE SCHEMA conifer;
COMMENT ON SCHEMA conifer IS 'Conifer: catalog of indexes and namespaces';
CREATE SCHEMA conifer_data;
COMMENT ON SCHEMA conifer_data IS 'Conifer: one table for each namespace of each index';
-- For the domains, and for roles with rights on single leaves.
GRANT USAGE ON SCHEMA conifer, conifer_data TO PUBLIC;

-- Domains rather than NOT NULL and CHECK on the tables: no leaf may own a row of pg_constraint, which PostgreSQL reads
-- whole for every new partition.
CREATE DOMAIN conifer.namespace_name AS pg_catalog.text COLLATE pg_catalog."C" NOT NULL
    CHECK (pg_catalog.octet_length(VALUE) OPERATOR(pg_catalog.<=) 512);
COMMENT ON DOMAIN conifer.namespace_name IS 'name of a namespace: at most 512 bytes';
CREATE DOMAIN conifer.record_id AS pg_catalog.text COLLATE pg_catalog."C" NOT NULL
    CHECK (pg_catalog.octet_length(VALUE) OPERATOR(pg_catalog.>=) 1
           AND pg_catalog.octet_length(VALUE) OPERATOR(pg_catalog.<=) 512);
COMMENT ON DOMAIN conifer.record_id IS 'id of a record: 1 to 512 bytes';

CREATE TABLE conifer.indexes (
    root                regclass    NOT NULL,
    name                text        COLLATE "C" NOT NULL,
    dimension           integer     NOT NULL,
    metric              text        NOT NULL,
    spec                jsonb       NOT NULL,
    deletion_protection text        NOT NULL,
    tags                jsonb       NOT NULL,
    created_at          timestamptz NOT NULL
);
CREATE UNIQUE INDEX indexes_name ON conifer.indexes (name);
CREATE UNIQUE INDEX indexes_root ON conifer.indexes (root);
COMMENT ON TABLE conifer.indexes IS 'one row for each index: its root table and what it was created with';

CREATE TABLE conifer.buckets (
    root      regclass NOT NULL,
    remainder integer  NOT NULL,
    bucket    regclass NOT NULL
);
CREATE UNIQUE INDEX buckets_root_remainder ON conifer.buckets (root, remainder);
CREATE INDEX buckets_bucket ON conifer.buckets (bucket);
COMMENT ON TABLE conifer.buckets IS 'the hash partitions between a root and its leaves';

CREATE TABLE conifer.namespaces (
    root       regclass    NOT NULL,
    namespace  text        COLLATE "C" NOT NULL,
    leaf       regclass    NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX namespaces_root_namespace ON conifer.namespaces (root, namespace);
CREATE INDEX namespaces_leaf ON conifer.namespaces (leaf);
COMMENT ON TABLE conifer.namespaces IS 'one row for each namespace: its index and its leaf';

CREATE TABLE conifer.limits (
    root        regclass NOT NULL,
    namespace   text     COLLATE "C" NOT NULL,
    max_records bigint,
    max_bytes   bigint
);
CREATE UNIQUE INDEX limits_root_namespace ON conifer.limits (root, namespace);
COMMENT ON TABLE conifer.limits IS 'what namespaces may hold; a row without a name is for all namespaces of the index';

CREATE TABLE conifer.usage_resets (
    leaf     regclass    NOT NULL,
    scans    bigint      NOT NULL,
    fetched  bigint      NOT NULL,
    inserted bigint      NOT NULL,
    updated  bigint      NOT NULL,
    deleted  bigint      NOT NULL,
    reset_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX usage_resets_leaf ON conifer.usage_resets (leaf);
COMMENT ON TABLE conifer.usage_resets IS 'the counts of leaves when their usage was last reset';

CREATE SEQUENCE conifer.relation_number;
COMMENT ON SEQUENCE conifer.relation_number IS 'numbers in the names of buckets and leaves';

-- The functions read and write these tables themselves; roles need no rights on them. Names of tenants are not public.
GRANT SELECT ON conifer.indexes TO PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('conifer.indexes', '');
SELECT pg_catalog.pg_extension_config_dump('conifer.buckets', '');
SELECT pg_catalog.pg_extension_config_dump('conifer.namespaces', '');
SELECT pg_catalog.pg_extension_config_dump('conifer.limits', '');
SELECT pg_catalog.pg_extension_config_dump('conifer.relation_number', '');

-- DROP TABLE on a root, a bucket or a leaf (or on their schema or owner) takes the catalog rows along. It runs with the
-- rights of the extension's owner because whoever may drop the table need not have rights on the catalog.
CREATE FUNCTION conifer.forget_dropped() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    dropped oid[];
BEGIN
    SELECT array_agg(objid) INTO dropped FROM pg_event_trigger_dropped_objects()
     WHERE classid = 'pg_catalog.pg_class'::regclass AND objsubid = 0 AND object_type = 'table';
    -- Dropping the extension drops the catalog too.
    IF dropped IS NULL OR to_regclass('conifer.namespaces') IS NULL THEN
        RETURN;
    END IF;
    DELETE FROM conifer.namespaces WHERE leaf::oid = ANY (dropped);
    DELETE FROM conifer.usage_resets WHERE leaf::oid = ANY (dropped);
    DELETE FROM conifer.buckets WHERE bucket::oid = ANY (dropped);
    DELETE FROM conifer.namespaces WHERE root::oid = ANY (dropped);
    DELETE FROM conifer.buckets WHERE root::oid = ANY (dropped);
    DELETE FROM conifer.limits WHERE root::oid = ANY (dropped);
    DELETE FROM conifer.indexes WHERE root::oid = ANY (dropped);
END
$$;
COMMENT ON FUNCTION conifer.forget_dropped() IS 'removes catalog rows of dropped tables';
REVOKE ALL ON FUNCTION conifer.forget_dropped() FROM PUBLIC;
CREATE EVENT TRIGGER conifer_forget_dropped ON sql_drop
    WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED')
    EXECUTE FUNCTION conifer.forget_dropped();
-- Under session_replication_role = replica too: the tables go there as well.
ALTER EVENT TRIGGER conifer_forget_dropped ENABLE ALWAYS;
