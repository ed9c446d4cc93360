-- Whose rights count: those on the root for every namespace, those on a leaf for that one, and row security.
CREATE ROLE conifer_owner;
CREATE ROLE conifer_app;
CREATE ROLE conifer_tenant;
CREATE ROLE conifer_stranger;
CREATE ROLE conifer_reader;
CREATE ROLE conifer_columns;
CREATE SCHEMA owned AUTHORIZATION conifer_owner;
GRANT USAGE ON SCHEMA owned TO PUBLIC;

-- anybody who may create a table may have an index
SET search_path = owned, public;
SET ROLE conifer_owner;
SELECT pc_create_index('shared', 2) ->> 'relation' AS relation;
SELECT pc_upsert('shared', 't1', id => 'A', vector => '[1,0]');
SELECT pc_upsert('shared', 't2', id => 'B', vector => '[1,0]');
GRANT SELECT, INSERT, UPDATE, DELETE ON shared TO conifer_app;
DO $$
BEGIN
    EXECUTE format('GRANT SELECT ON %s TO conifer_tenant', pc_describe_namespace('shared', 't1') ->> 'relation');
END
$$;

-- rights on the root: everything but the index itself
SET ROLE conifer_app;
SELECT pc_upsert('shared', 't3', id => 'C', vector => '[1,0]');
SELECT name FROM pc_list_namespaces('shared');
SELECT id FROM pc_query('shared', 't2', '[1,0]');
SELECT pc_delete('shared', 't3', delete_all => true);
SELECT pc_configure_index('shared', deletion_protection => 'enabled');
SELECT pc_delete_index('shared');

-- rights on one leaf: that namespace, and only what was granted
SET ROLE conifer_tenant;
SELECT name FROM pc_list_namespaces('shared');
SELECT id FROM pc_query('shared', 't1', '[1,0]');
SELECT id FROM pc_query('shared', 't2', '[1,0]');
SELECT id FROM pc_fetch('shared', 't2', ARRAY['B']);
SELECT pc_upsert('shared', 't1', id => 'A', vector => '[1,0]');
SELECT pc_upsert('shared', 't4', id => 'A', vector => '[1,0]');
SELECT pc_delete_namespace('shared', 't1');
SELECT id FROM shared WHERE namespace = 't1';
SELECT pc_describe_index_stats('shared') #> '{namespaces,t1,record_count}' AS records;
-- of another namespace they do not learn whether it is there
SELECT id FROM pc_query('shared', 'none', '[1,0]');
SELECT pc_describe_namespace('shared', 't2');
SELECT pc_describe_namespace('shared', 'none');

-- none
SET ROLE conifer_stranger;
SELECT name FROM pc_list_namespaces('shared');
SELECT pc_query('shared', 't1', '[1,0]');
SELECT pc_delete('shared', 't1', ARRAY['A']);
SELECT pc_query('shared', 'none', '[1,0]');
SELECT pc_query_json('shared', 't1', '[1,0]');
SELECT pc_query('shared', 't1', id => 'A');
SELECT pc_fetch('shared', 't1', ARRAY['A']);
SELECT pc_fetch('shared', 'none', ARRAY['A']);
SELECT pc_list('shared', 't1');
SELECT pc_list('shared', 'none');
SELECT pc_upsert('shared', 't1', id => 'A', vector => '[1,0]');
SELECT pc_upsert('shared', 'none', id => 'A', vector => '[1,0]');
SELECT pc_update('shared', 't1', 'A', vector => '[1,0]');
SELECT pc_update('shared', 'none', 'A', vector => '[1,0]');
SELECT pc_delete('shared', 'none', ARRAY['A']);
SELECT pc_delete('shared', 't1', delete_all => true);
SELECT pc_delete('shared', 'none', delete_all => true);
SELECT pc_create_namespace('shared', 't1');
SELECT pc_create_namespace('shared', 'none');
SELECT pc_delete_namespace('shared', 't1');
SELECT pc_delete_namespace('shared', 'none');
SELECT pc_describe_namespace('shared', 't1');
SELECT pc_describe_index_stats('shared') -> 'namespaces' AS namespaces;
SELECT pc_create_index('theirs', 2);

-- rights to read the root: to read, and nothing else
RESET ROLE;
GRANT SELECT ON owned.shared TO conifer_reader;
SET ROLE conifer_reader;
SELECT id FROM pc_query('shared', 't2', '[1,0]');
SELECT id FROM pc_query('shared', 'none', '[1,0]');
SELECT pc_describe_index_stats('shared') -> 'total_record_count' AS records;
SELECT pc_upsert('shared', 't1', id => 'A', vector => '[1,0]');
SELECT pc_upsert('shared', 'none', id => 'A', vector => '[1,0]');
SELECT pc_update('shared', 't1', 'A', vector => '[1,0]');
SELECT pc_delete('shared', 't1', ARRAY['A']);
SELECT pc_delete('shared', 't1', delete_all => true);

-- rights on some columns: PostgreSQL decides
RESET ROLE;
GRANT SELECT (namespace, id) ON owned.shared TO conifer_columns;
SET ROLE conifer_columns;
SELECT id FROM pc_list('shared', 't2');
SELECT id FROM shared WHERE namespace = 't2';
SELECT id FROM pc_query('shared', 't2', '[1,0]');

-- row security
SET ROLE conifer_owner;
ALTER TABLE shared ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible ON shared TO conifer_app USING (namespace = 't1') WITH CHECK (namespace = 't1' AND id <> 'X');
SET ROLE conifer_app;
SELECT id FROM shared;
SELECT id FROM pc_query('shared', 't1', '[1,0]');
SELECT id FROM pc_query('shared', 't2', '[1,0]');
SELECT id FROM pc_fetch('shared', 't2', ARRAY['B']);
SELECT pc_upsert('shared', 't1', id => 'D', vector => '[0,1]');
SELECT pc_upsert('shared', 't1', id => 'X', vector => '[0,1]');
SELECT id FROM pc_list('shared', 't1');
SELECT id FROM pc_list('shared', 't2');
SELECT pc_query_json('shared', 't2', '[1,0]') -> 'matches' AS matches;
SELECT id FROM pc_query('shared', 't2', id => 'B');
SELECT name, record_count FROM pc_list_namespaces('shared');
SELECT pc_describe_index_stats('shared') -> 'total_record_count' AS records;
SELECT pc_describe_namespace('shared', 't2');
-- who may create a namespace learns that it did, and sees it listed with its first visible record
SELECT pc_create_namespace('shared', 'fresh') - 'bytes' - 'relation' AS created;
SELECT name FROM pc_list_namespaces('shared');
SELECT pc_update('shared', 't2', 'B', vector => '[0,1]');
SELECT pc_update('shared', 't1', 'D', set_metadata => '{"x": 1}');
SELECT pc_upsert('shared', 't2', id => 'E', vector => '[0,1]');
SELECT pc_upsert('shared', 't1', '[{"id": "E", "values": [1, 1]}, {"id": "X", "values": [1, 1]}]');
SELECT pc_delete_namespace('shared', 't1');
SELECT pc_delete_namespace('shared', 't2');
SELECT pc_delete('shared', 't2', ARRAY['B']);
SELECT pc_delete('shared', 't2', delete_all => true);
SELECT pc_delete('shared', 't1', delete_all => true);
RESET ROLE;
SELECT namespace, id FROM shared ORDER BY 1, 2;


-- rights on a leaf do not go round the policies of its root
SET ROLE conifer_tenant;
SELECT id FROM pc_query('shared', 't1', '[1,0]');
SELECT name FROM pc_list_namespaces('shared');
-- the owner is not bound
SET ROLE conifer_owner;
SELECT id FROM pc_query('shared', 't2', '[1,0]');
SELECT pc_delete_namespace('shared', 't2');
RESET ROLE;

RESET search_path;
DROP SCHEMA owned CASCADE;
SELECT count(*) AS indexes FROM conifer.indexes;
DROP OWNED BY conifer_owner, conifer_app, conifer_tenant, conifer_stranger, conifer_reader, conifer_columns;
DROP ROLE conifer_owner, conifer_app, conifer_tenant, conifer_stranger, conifer_reader, conifer_columns;
