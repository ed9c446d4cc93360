-- Namespaces: made by the first upsert or by hand, listed in C order a page at a time, dropped whole.
SELECT pc_create_index('spaces', 2) ->> 'name' AS name;
SELECT pc_create_namespace('spaces', 'b') - 'relation' AS model;
SELECT pc_create_namespace('spaces', 'b');
SELECT pc_upsert('spaces', 'B', id => '1', vector => '[1,0]');
SELECT pc_upsert('spaces', 'ä', id => '1', vector => '[1,0]');
SELECT pc_upsert('spaces', 'b', id => '1', vector => '[1,0]');
SELECT pc_upsert('spaces', 'b2', ARRAY['1', '2'], ARRAY['[1,0]', '[0,1]']::vector[]);

-- the default namespace has two names
SELECT pc_upsert('spaces', '', id => '1', vector => '[1,0]');
SELECT pc_upsert('spaces', '__default__', id => '2', vector => '[1,0]');
SELECT name, record_count, next_token IS NULL AS last FROM pc_list_namespaces('spaces');

SELECT name FROM pc_list_namespaces('spaces', prefix => 'b');
SELECT name, next_token IS NULL AS last FROM pc_list_namespaces('spaces', "limit" => 2);
SELECT name FROM pc_list_namespaces('spaces', pagination_token =>
    (SELECT next_token FROM pc_list_namespaces('spaces', "limit" => 2) WHERE next_token IS NOT NULL));
SELECT name, next_token IS NULL AS last FROM pc_list_namespaces('spaces', prefix => 'b', "limit" => 2);

SELECT pc_describe_namespace('spaces', 'b2') -> 'record_count' AS records;
SELECT pc_describe_index_stats('spaces') #- '{bytes}' #- '{namespaces,b,bytes}' #- '{namespaces,B,bytes}' #- '{namespaces,b2,bytes}'
    #- '{namespaces,ä,bytes}' #- '{namespaces,__default__,bytes}' AS stats;

-- each is a table of its own, whose name comes from the list
SELECT tableoid::regclass = (pc_describe_namespace('spaces', 'b2') ->> 'relation')::regclass AS own
FROM spaces WHERE namespace = 'b2' AND id = '2';
SELECT count(DISTINCT relation) AS relations FROM pc_list_namespaces('spaces');

-- SQL on the root looks into that table alone
DO $$
DECLARE
    plan json;
BEGIN
    EXECUTE $q$EXPLAIN (FORMAT JSON) SELECT id FROM spaces WHERE namespace = 'b2'$q$ INTO plan;
    RAISE WARNING '% table', (SELECT count(*) FROM regexp_matches(plan::text, '"Relation Name"', 'g'));
END
$$;
-- and no leaf has a constraint, nor a row of another tenant
SELECT count(*) AS constraints FROM pg_constraint WHERE conrelid IN (SELECT relid FROM pg_partition_tree('spaces'));
SELECT count(*) AS strays FROM spaces s JOIN conifer.namespaces n ON n.leaf = s.tableoid WHERE s.namespace <> n.namespace;
-- a token from before the prefix begins at the prefix, one from behind it ends the list
SELECT name FROM pc_list_namespaces('spaces', prefix => 'b', pagination_token => 'Qg');
SELECT name FROM pc_list_namespaces('spaces', prefix => 'b', pagination_token => 'eg');
SELECT name FROM pc_list_namespaces('spaces', prefix => 'none');

-- the three ways out
SELECT pc_delete('spaces', 'b2', delete_all => true);
SELECT pc_delete_namespace('spaces', 'b');
SELECT pc_delete_namespace('spaces', 'b');
DO $$ BEGIN EXECUTE format('DROP TABLE %s', pc_describe_namespace('spaces', 'B') ->> 'relation'); END $$;
SELECT name FROM pc_list_namespaces('spaces');
SELECT count(*) FROM spaces WHERE namespace IN ('b', 'b2', 'B');

-- and in again
SELECT pc_upsert('spaces', 'b2', id => '3', vector => '[1,0]');
SELECT id FROM pc_list('spaces', 'b2');

-- dropping and making are part of the transaction
BEGIN;
SELECT pc_delete_namespace('spaces', 'b2');
SELECT pc_upsert('spaces', 'b2', id => '4', vector => '[1,0]');
SELECT pc_upsert('spaces', 'new', id => '1', vector => '[1,0]');
SELECT name, record_count FROM pc_list_namespaces('spaces');
ROLLBACK;
SELECT name, record_count FROM pc_list_namespaces('spaces');
SELECT id FROM pc_list('spaces', 'b2');

-- a table dropped without the event trigger leaves no loop behind: the namespace is gone, and can be made again
DO $$ BEGIN
    ALTER EVENT TRIGGER conifer_forget_dropped DISABLE;
    EXECUTE format('DROP TABLE %s', pc_describe_namespace('spaces', 'b2') ->> 'relation');
    ALTER EVENT TRIGGER conifer_forget_dropped ENABLE ALWAYS;
END $$;
SELECT id FROM pc_list('spaces', 'b2');
SELECT pc_delete('spaces', 'b2', ARRAY['3']);
SELECT pc_describe_namespace('spaces', 'b2');
SELECT name FROM pc_list_namespaces('spaces', 'b');
SELECT pc_upsert('spaces', 'b2', id => '5', vector => '[1,0]');
SELECT id FROM pc_list('spaces', 'b2');
-- under session_replication_role = replica the trigger fires as ever
DO $$ BEGIN
    SET LOCAL session_replication_role = replica;
    EXECUTE format('DROP TABLE %s', pc_describe_namespace('spaces', 'b2') ->> 'relation');
END $$;
SELECT count(*) AS rows FROM conifer.namespaces WHERE namespace = 'b2';
SELECT pc_delete_index('spaces');
