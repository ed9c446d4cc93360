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

-- an index goes with its namespaces, and so does one whose table is dropped
SELECT pc_delete_index('films');
SELECT pc_create_index('films', 3) ->> 'name' AS name;
SELECT pc_upsert('films', 't', id => 'A', vector => '[1,2,3]');
DROP TABLE films;
SELECT count(*) AS indexes FROM pc_list_indexes();
SELECT count(*) AS rows FROM conifer.namespaces;
SELECT count(*) AS rows FROM conifer.buckets;
SELECT count(*) AS relations FROM pg_class WHERE relnamespace = 'conifer_data'::regnamespace;
