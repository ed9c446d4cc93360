-- What each function of indexes, namespaces and records is for.

COMMENT ON FUNCTION pc_create_index(text, integer, text, jsonb, text, jsonb) IS
    'creates an index: a partitioned table of its name in the current schema; answers the index model';
COMMENT ON FUNCTION pc_describe_index(text) IS 'the index model';
COMMENT ON FUNCTION pc_list_indexes() IS 'all indexes, by name';
COMMENT ON FUNCTION pc_configure_index(text, text, jsonb) IS
    'changes deletion protection and tags (merged; an empty value removes a tag); answers the index model';
COMMENT ON FUNCTION pc_delete_index(text) IS 'drops an index with all its namespaces';
CREATE FUNCTION conifer.delete_some_namespaces(name text, most integer) RETURNS integer
    LANGUAGE c AS 'MODULE_PATHNAME', 'delete_some_namespaces_wrapper';
COMMENT ON FUNCTION conifer.delete_some_namespaces(text, integer) IS
    'drops up to so many namespaces of an index that is being deleted; how many';
CREATE FUNCTION conifer.refuse_generic_plan() RETURNS boolean
    LANGUAGE c AS 'MODULE_PATHNAME', 'refuse_generic_plan_wrapper';
COMMENT ON FUNCTION conifer.refuse_generic_plan() IS 'an error: the plan of a statement on more namespaces than can be locked';
-- A transaction for each batch: dropped in one, 100,000 namespaces would need more locks than the server has room for. Nothing is left of what was committed;
-- called again after a crash it goes on with the rest. It must not SET search_path, or it could not commit.
CREATE PROCEDURE pc_delete_index_in_batches(name text, batch_size integer DEFAULT NULL)
    LANGUAGE plpgsql AS $$
DECLARE
    dropped integer;
    total   bigint := 0;
BEGIN
    LOOP
        dropped := conifer.delete_some_namespaces(name, batch_size);
        EXIT WHEN dropped OPERATOR(pg_catalog.=) 0;
        COMMIT;
        total := total OPERATOR(pg_catalog.+) dropped;
        RAISE NOTICE '% namespaces of index "%" dropped', total, name;
    END LOOP;
    PERFORM @extschema@.pc_delete_index(name);
END
$$;
COMMENT ON PROCEDURE pc_delete_index_in_batches(text, integer) IS
    'drops an index of any number of namespaces, in a transaction for each batch; call it again to go on after a crash';

COMMENT ON FUNCTION pc_describe_index_stats(text) IS
    'exact record counts and bytes of the namespaces the caller may read, and their totals';

COMMENT ON FUNCTION pc_create_namespace(text, text) IS 'creates an empty namespace; an error if it exists';
COMMENT ON FUNCTION pc_describe_namespace(text, text) IS 'name, record count, bytes and table of a namespace';
COMMENT ON FUNCTION pc_list_namespaces(text, text, bigint, text) IS
    'a page of the namespaces the caller may read, by name; next_token on the last row continues';
COMMENT ON FUNCTION pc_rename_namespace(text, text, text) IS 'gives a namespace another name';
COMMENT ON FUNCTION pc_copy_namespace(text, text, text, text) IS
    'copies a namespace to a new one, of the same index or another; how many records';
COMMENT ON FUNCTION pc_grant(text, text, text, text[]) IS 'grants rights on one namespace to a role';
COMMENT ON FUNCTION pc_revoke(text, text, text, text[]) IS 'takes rights on one namespace back from a role';
COMMENT ON FUNCTION pc_set_limits(text, text, bigint, bigint) IS
    'sets how many records and bytes a namespace may hold, or each namespace of the index that has no limits of its own';
COMMENT ON FUNCTION pc_usage(text, text) IS
    'what was read and written in the namespaces the caller may read, and what they take';
COMMENT ON FUNCTION pc_reset_usage(text, text) IS 'begins the counts of pc_usage anew, of one namespace or of all';
COMMENT ON FUNCTION pc_delete_namespace(text, text) IS 'drops a namespace with its records; whether there was one';

COMMENT ON FUNCTION pc_upsert(text, text, jsonb) IS
    'inserts or replaces records given as JSON, one object or an array; answers how many';
COMMENT ON FUNCTION pc_upsert(text, text, text, vector, jsonb) IS 'inserts or replaces one record';
COMMENT ON FUNCTION pc_upsert(text, text, text, text, text) IS
    'inserts or replaces one record whose vector and metadata are given as text';
COMMENT ON FUNCTION pc_upsert(text, text, text[], vector[], jsonb[]) IS
    'inserts or replaces records given as arrays of equal length; answers how many';
COMMENT ON FUNCTION pc_update(text, text, text, vector, jsonb, jsonb, text[], boolean) IS
    'replaces the vector of a record, or sets and removes metadata fields of it or of all records that pass a filter; answers how many';
COMMENT ON FUNCTION pc_delete(text, text, text[], boolean, jsonb) IS
    'deletes records by id, those that pass a filter, or the whole namespace; answers how many records went';

COMMENT ON FUNCTION pc_query(text, text, vector, integer, jsonb, boolean, boolean, text) IS
    'the records of a namespace most similar to a vector, or to a stored record, best first';
COMMENT ON FUNCTION pc_query_namespaces(text, text[], vector, integer, jsonb, boolean, boolean, text) IS
    'the records of several namespaces together that are nearest to a vector';
COMMENT ON FUNCTION pc_query_json(text, text, vector, integer, jsonb, boolean, boolean, text) IS
    'the same as pc_query, as the JSON of Pinecone''s answer';
COMMENT ON FUNCTION pc_fetch(text, text, text[]) IS 'records by id, in the order given; missing ones are left out';
COMMENT ON FUNCTION pc_list(text, text, text, bigint, text) IS
    'a page of ids in C order; next_token on the last row continues';
COMMENT ON FUNCTION pc_fetch_by_metadata(text, text, jsonb, bigint, text) IS
    'a page of the records that pass a filter, in C order of ids; next_token on the last row continues';
COMMENT ON FUNCTION pc_count(text, text, jsonb) IS 'how many records a namespace has, or how many pass a filter';
COMMENT ON FUNCTION pc_facets(text, text, text, jsonb, bigint) IS
    'the values of a metadata field and how many records have each, the most frequent first';
COMMENT ON FUNCTION pc_matches(jsonb, jsonb) IS 'whether metadata passes a filter';
COMMENT ON FUNCTION pc_number(jsonb, text) IS 'the number that filters compare of a metadata field, for B-tree indexes';
COMMENT ON FUNCTION pc_string(jsonb, text) IS 'the string that filters compare of a metadata field, for B-tree indexes';
COMMENT ON FUNCTION pc_matches_support(internal) IS 'for the planner: what share of the rows pc_matches lets through';
COMMENT ON FUNCTION pc_merge_metadata(jsonb, jsonb, text[]) IS
    'metadata with fields set and removed, as pc_update changes it';

CREATE VIEW conifer.usage AS
    SELECT indexes.name AS index, usage.*
      FROM pc_list_indexes() AS indexes, LATERAL pc_usage(indexes.name) AS usage;
COMMENT ON VIEW conifer.usage IS 'pc_usage of all indexes';
GRANT SELECT ON conifer.usage TO PUBLIC;

COMMENT ON FUNCTION conifer_simd() IS 'the instruction set that distances are computed with on this machine';
COMMENT ON FUNCTION conifer_check(regclass) IS
    'what is wrong with a conifer index, a row for each violation; VACUUM of its table waits meanwhile';
COMMENT ON FUNCTION conifer_inspect(regclass) IS 'what a conifer index is made of: form, entries, pages, bytes, what it learned';
