-- An index from creation to deletion.
\pset format unaligned
SELECT pc_create_index('films', 3);
SELECT pc_create_index('songs', dimension => 2, metric => 'dotproduct',
    spec => '{"serverless": {"cloud": "aws", "region": "us-east-1"}}', deletion_protection => 'enabled', tags => '{"team": "a", "env": "test"}');
SELECT * FROM pc_list_indexes();
SELECT pc_describe_index('songs') = (SELECT pc_describe_index(name) FROM pc_list_indexes() WHERE name = 'songs') AS same;

-- tags are merged, and an empty value removes one
SELECT pc_configure_index('songs', tags => '{"env": "", "owner": "b"}') -> 'tags' AS tags;
SELECT pc_configure_index('songs') -> 'tags' AS tags;

-- what is protected stays
SELECT pc_delete_index('songs');
SELECT pc_configure_index('songs', deletion_protection => 'disabled') ->> 'deletion_protection' AS protection;
SELECT pc_delete_index('songs');
SELECT name FROM pc_list_indexes();

-- the table: no constraint on it, and metadata leaves the row before the vector does
SELECT column_name, domain_name, data_type FROM information_schema.columns WHERE table_name = 'films' ORDER BY ordinal_position;
SELECT attname, attstorage, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = 'films'::regclass AND attnum > 0 ORDER BY attnum;
SELECT pc_upsert('films', 't', id => 'A', vector => '[1,2,3]');
SELECT count(*) AS constraints FROM pg_constraint WHERE conrelid IN (SELECT relid FROM pg_partition_tree('films'));

-- a name is one index in a database, whatever the schema; a table of that name is in the way
CREATE SCHEMA elsewhere;
SET search_path = elsewhere, public;
SELECT pc_create_index('films', 3);
CREATE TABLE elsewhere.taken ();
SELECT pc_create_index('taken', 3);
SELECT pc_create_index('there', 3) ->> 'relation' AS relation;
RESET search_path;
SELECT pc_upsert('there', 't', id => 'A', vector => '[1,2,3]');
SELECT id FROM elsewhere.there WHERE namespace = 't';
DROP SCHEMA elsewhere CASCADE;
SELECT name FROM pc_list_indexes();

-- no index in a temporary schema
CREATE TEMPORARY TABLE scratch ();
SET search_path = pg_temp;
DO $$
BEGIN
    PERFORM public.pc_create_index('films2', 3);
EXCEPTION WHEN invalid_parameter_value THEN
    RAISE WARNING '%', regexp_replace(SQLERRM, '[0-9]+', 'N');
END
$$;
RESET search_path;

-- metrics, dimensions and names at their limits
SELECT pc_create_index(repeat('n', 45), 20000, metric => 'euclidean') ->> 'dimension' AS dimension;
SELECT pc_create_index('1', 1) ->> 'metric' AS metric;
SELECT pc_upsert('1', 'select', id => 'values', vector => '[1]');
SELECT id, score FROM pc_query('1', 'select', '[2]');
SELECT pc_delete_index('1'), pc_delete_index(repeat('n', 45));

-- an index goes with its namespaces, and so does one whose table is dropped
SELECT pc_delete_index('films');
SELECT pc_create_index('films', 3) ->> 'name' AS name;
SELECT pc_upsert('films', 't', id => 'A', vector => '[1,2,3]');
DROP TABLE films;
SELECT count(*) AS indexes FROM pc_list_indexes();
SELECT count(*) AS rows FROM conifer.namespaces;
SELECT count(*) AS rows FROM conifer.buckets;
SELECT count(*) AS relations FROM pg_class WHERE relnamespace = 'conifer_data'::regnamespace;
