-- What the owner of an index, or its server's administrator, changes behind the functions' backs.
CREATE ROLE altered_alice;
CREATE ROLE altered_bob;
GRANT CREATE ON SCHEMA public TO altered_alice, altered_bob;
SET ROLE altered_alice;

-- other types: the functions go through SQL, which knows them or says so
SELECT pc_create_index('altered', 2) ->> 'name';
SELECT pc_upsert('altered', 'a', '[{"id": "1", "values": [1, 0]}, {"id": "2", "values": [0, 1]}]');
ALTER TABLE altered ALTER id TYPE bigint USING id::text::bigint;
SELECT * FROM pc_list('altered', 'a');
SELECT id, score FROM pc_query('altered', 'a', '[1,0]');
SELECT pc_delete('altered', 'a', ARRAY['1']);
SELECT pc_upsert('altered', 'a', '3', '[1,1]');
SELECT pc_describe_index_stats('altered') -> 'total_record_count';
SELECT pc_delete_index('altered');

SELECT pc_create_index('altered', 2) ->> 'name';
SELECT pc_upsert('altered', 'a', '1', '[1,0]');
DROP INDEX altered_values_metadata_idx;
SELECT id FROM pc_query('altered', 'a', '[1,0]');
ALTER TABLE altered ALTER "values" TYPE real[];
SELECT pc_upsert('altered', 'a', '2', '[1,1]');
SELECT id FROM pc_query('altered', 'a', '[1,0]');
SELECT pc_delete_index('altered');

-- another order of ids
SELECT pc_create_index('altered', 2) ->> 'name';
DROP INDEX altered_namespace_id_idx;
CREATE UNIQUE INDEX ON altered (namespace, id DESC);
SELECT pc_upsert('altered', 'a', '[{"id": "r1", "values": [1, 0]}, {"id": "r2", "values": [0, 1]}, {"id": "r3", "values": [1, 1]}]');
SELECT id, next_token IS NOT NULL AS more FROM pc_list('altered', 'a', "limit" => 2);
SELECT id FROM pc_fetch('altered', 'a', ARRAY['r3', 'r1']);
SELECT pc_delete_index('altered');

-- an extra column and another name
SELECT pc_create_index('altered', 2) ->> 'name';
SELECT pc_upsert('altered', 'a', '1', '[1,0]');
ALTER TABLE altered ADD note text DEFAULT 'new';
ALTER TABLE altered RENAME TO altered_table;
SELECT pc_upsert('altered', 'a', '2', '[0,1]');
SELECT pc_upsert('altered', 'b', '3', '[0,1]');
SELECT namespace, id, "values", note FROM altered_table ORDER BY id;

-- another owner: of the root alone, since PostgreSQL does not ask its partitions
RESET ROLE;
ALTER TABLE altered_table OWNER TO altered_bob;
SET ROLE altered_bob;
SELECT count(*) FROM (SELECT pc_upsert('altered', 'tenant' || n, 'x', '[1,0]') FROM generate_series(1, 20) n) s;
SELECT pc_delete_namespace('altered', 'a'), pc_delete_namespace('altered', 'tenant7');
SELECT count(*) FROM pc_list_namespaces('altered');
RESET ROLE;
SELECT count(*) FROM altered_table;

-- a leaf taken out of the index is no longer the index's
SELECT format('ALTER TABLE %s DETACH PARTITION %s', inhparent::regclass, leaf) AS detach
  FROM conifer.namespaces JOIN pg_inherits ON inhrelid = leaf WHERE namespace = 'b' \gset
:detach;
SELECT id FROM pc_query('altered', 'b', '[0,1]');
SELECT pc_upsert('altered', 'b', '4', '[0,1]');
SELECT id FROM pc_query('altered', 'b', '[0,1]');
SELECT pc_delete_index('altered');

-- tables gone while event triggers were off: names are free again
SELECT pc_create_index('altered', 2) ->> 'name';
SELECT pc_upsert('altered', 'a', '1', '[1,0]');
SET session_replication_role = replica;
SELECT format('DROP TABLE %s', leaf) AS drop_leaf FROM conifer.namespaces WHERE namespace = 'a' \gset
:drop_leaf;
RESET session_replication_role;
SELECT id FROM pc_query('altered', 'a', '[1,0]');
SELECT pc_upsert('altered', 'a', '2', '[1,0]');
SELECT id FROM pc_query('altered', 'a', '[1,0]');
SET session_replication_role = replica;
DROP TABLE altered;
RESET session_replication_role;
SELECT id FROM pc_query('altered', 'a', '[1,0]');
SELECT pc_create_index('altered', 3) ->> 'dimension';
SET session_replication_role = replica;
SELECT pc_delete_index('altered');
RESET session_replication_role;
SELECT count(*) FROM conifer.indexes WHERE name = 'altered';

-- a first upsert locks the root against other DDL only: its readers go on
SELECT pc_create_index('altered', 2) ->> 'name';
BEGIN;
SELECT pc_upsert('altered', 'first', '1', '[1,0]');
SELECT mode FROM pg_locks WHERE relation = 'altered'::regclass AND mode IN ('AccessExclusiveLock', 'ShareUpdateExclusiveLock');
COMMIT;
SELECT pc_delete_index('altered');

DROP OWNED BY altered_alice, altered_bob;
DROP ROLE altered_alice, altered_bob;
