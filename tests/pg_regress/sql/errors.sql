-- What a user can do wrong: message, SQLSTATE and hint.
\set VERBOSITY default
SELECT pc_create_index('errors', 2, deletion_protection => 'enabled') ->> 'name' AS name;
SELECT pc_upsert('errors', 't', id => 'A', vector => '[1,2]');

-- indexes
SELECT pc_create_index('Errors', 2);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_create_index(repeat('a', 46), 2);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_create_index('errors', 2);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_create_index('other', 0);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_create_index('other', 20001);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_create_index('other', 2, metric => 'hamming');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_create_index('other', 2, spec => '{"pod": {}}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_create_index('other', 2, deletion_protection => 'on');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_create_index('other', 2, tags => '{"a b": "c"}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_create_index('other', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_describe_index('none');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_delete_index('errors');
\echo :LAST_ERROR_SQLSTATE

-- namespaces
SELECT pc_create_namespace('errors', 't');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_describe_namespace('errors', 'none');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_create_namespace('errors', repeat('n', 513));
\echo :LAST_ERROR_SQLSTATE
SELECT pc_create_namespace('errors', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_list_namespaces('errors', "limit" => 0);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_list_namespaces('errors', pagination_token => '?');
\echo :LAST_ERROR_SQLSTATE

-- records
SELECT pc_upsert('errors', 't', '[{"id": "A", "values": [1, 2]}, {"id": "B", "values": [1]}]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', '[{"id": "A", "values": [1, 2]}, {"id": "B", "values": [0, 0]}]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', '[{"id": "A", "values": [1, 1e39]}]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', '[{"values": [1, 2]}]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', '[{"id": "", "values": [1, 2]}]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', '[{"id": "A"}]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', '[{"id": "A", "values": [1, "2"]}]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', '[{"id": "A", "values": [1, 2], "colour": 1}]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', '[7]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', '[{"id": "A", "values": [1, 2], "metadata": {"x": null}}]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', '[{"id": "A", "values": [1, 2], "metadata": {"x": {"y": 1}}}]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', '[{"id": "A", "values": [1, 2], "metadata": {"x": [1]}}]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', '[{"id": "A", "values": [1, 2], "metadata": {"$x": 1}}]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', '[{"id": "A", "values": [1, 2], "metadata": [1]}]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', id => 'A', vector => '[1,2]', metadata => jsonb_build_object('x', repeat('y', 41000)));
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY sqlstate
SELECT pc_upsert('errors', 't', id => repeat('i', 513), vector => '[1,2]');
\set VERBOSITY default
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', ARRAY['A', 'B'], ARRAY['[1,2]']::vector[]);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', ARRAY['A', NULL], ARRAY['[1,2]', '[1,2]']::vector[]);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', id => 'A', vector => NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_update('errors', 't', 'A');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_update('errors', 't', 'A', vector => '[1,2,3]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_update('errors', 't', 'A', set_metadata => '{"x": null}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_delete('errors', 't');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_delete('errors', 't', ARRAY['A'], delete_all => true);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_fetch('errors', 't', NULL);
\echo :LAST_ERROR_SQLSTATE

SELECT pc_upsert('errors', 't', '7');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', NULL::jsonb);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', '[{"id": 7, "values": [1, 2]}]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', '[{"id": "A", "values": "[1,2]"}]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', '[{"id": "A", "values": []}]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', '[{"id": "A", "values": [1, 2], "sparse_values": {"indices": [1], "values": [1]}}]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', 'A', '[1;2]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', 'A', '[1,NaN]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', 'A', '[1,2]', '{');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', NULL, '[1,2]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', NULL::text[], ARRAY['[1,2]']::vector[]);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', ARRAY['A'], NULL::vector[]);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', ARRAY['A', 'B'], ARRAY['[1,2]', NULL]::vector[]);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', ARRAY['A', 'B'], ARRAY[['[1,2]', '[1,2]']]::vector[]);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', ARRAY['A', 'B'], ARRAY['[1,2]', '[1,2]']::vector[], ARRAY['{}']::jsonb[]);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 't', ARRAY['A', 'B'], ARRAY['[1,2]', '[1,2]']::vector[], ARRAY[NULL, '{"x": null}']::jsonb[]);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', NULL, 'A', '[1,2]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert(NULL, 't', 'A', '[1,2]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('none', 't', 'A', '[1,2]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_update('errors', 't', NULL, vector => '[1,2]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_update('errors', 't', 'A', vector => '[0,0]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_update('errors', 't', 'A', set_metadata => '[]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_upsert('errors', 'large', 'A', '[1,2]', jsonb_build_object('x', repeat('y', 40000))::text) AS written;
SELECT pc_update('errors', 'large', 'A', set_metadata => jsonb_build_object('z', repeat('y', 40000)));
\echo :LAST_ERROR_SQLSTATE
SELECT pc_delete('errors', 't', ARRAY['A', NULL]);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_delete(NULL, 't', ARRAY['A']);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_fetch('errors', 't', ARRAY['A', NULL]);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_list('errors', 't', "limit" => -1);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_list('errors', 't', pagination_token => '');
\echo :LAST_ERROR_SQLSTATE

-- queries
SELECT pc_query('none', 't', '[1,2]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_query('errors', 't', '[1,2,3]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_query('errors', 't', '[0,0]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_query('errors', 't', '[1,2]', top_k => 0);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_query('errors', 't', '[1,2]', top_k => 10001);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_query('errors', 't');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_query('errors', 't', '[1,2]', id => 'A');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_query('errors', 't', '[1,2]', filter => '{"x": {"$gt": "a"}}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_query('errors', 't', '[1,2]', filter => '{"$or": [{"x": 1}, {"$nor": []}]}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_query('errors', 't', '[1,2]', filter => '{"x": null}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_query('errors', 't', '[1,2]', filter => '[]');
\echo :LAST_ERROR_SQLSTATE

SELECT pc_query('errors', 't', '[1,2]', top_k => NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_query('errors', 't', id => '');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_query('errors', NULL, '[1,2]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_query_json('errors', 'none', '[1,2,3]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_query('errors', 't', '[1,2]', filter => '{"x": {"y": 1}}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_query('errors', 't', '[1,2]', filter => '{"x": ["y"]}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_matches('{}', NULL);
\echo :LAST_ERROR_SQLSTATE

-- filters
SELECT pc_matches('{}', '{"x": {"$gt": 1, "$like": "y"}}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_matches(NULL, '7');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_merge_metadata('{"a": 1}', '{"a": null}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_merge_metadata('{"a": 1}', '{"a": 2}', ARRAY['b', 'a']);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_merge_metadata('{"a": 1}', remove_metadata => ARRAY['a', NULL]);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_merge_metadata('[1]', '{"a": 2}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_merge_metadata('7', remove_metadata => ARRAY['a']);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_count('none', 't');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_count(NULL, 't');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_count('errors', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_count('errors', 't', '{"x": {"$in": 1}}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_count('errors', 'none', '{"x": {"$exists": 1}}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_fetch_by_metadata('errors', 't', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_fetch_by_metadata('errors', 't', '{"$and": []}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_fetch_by_metadata('errors', 't', '{}', "limit" => 0);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_fetch_by_metadata('errors', 't', '{}', "limit" => 10001);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_fetch_by_metadata('errors', 't', '{}', pagination_token => '!');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_facets('errors', 't', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_facets('errors', 't', 'x', '{"$not": []}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_facets('errors', 't', 'x', "limit" => -1);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_facets('errors', 't', 'x', "limit" => 10001);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_delete('errors', 't');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_delete('errors', 't', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_delete('errors', 't', filter => '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_delete('errors', 'none', filter => '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_delete('errors', 't', filter => '{"x": {"$ne": null}}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_delete('errors', 't', ARRAY['A'], filter => '{"x": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_delete('errors', 't', delete_all => true, filter => '{"x": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_update('errors', 't', filter => '{}', set_metadata => '{"x": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_update('errors', 't', filter => '{}', dry_run => true);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_update('errors', 't', filter => '{"x": {"y": 1}}', set_metadata => '{"x": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_update('errors', 't', filter => '{"x": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_update('errors', 't', filter => '{"x": 1}', vector => '[1,2]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_update('errors', 't', filter => '{"x": 1}', set_metadata => '{"x": [1]}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_update('errors', 't', filter => '{"x": 1}', set_metadata => '{"x": 1}', remove_metadata => ARRAY['x']);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_update('errors', 't', 'A', filter => '{"x": 1}', set_metadata => '{"x": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_update('errors', 't', set_metadata => '{"x": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_update('errors', 't', dry_run => true);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_update('errors', 't', 'A', set_metadata => '{"x": 1}', dry_run => true);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_update('errors', 't', 'A', remove_metadata => ARRAY[NULL]);
\echo :LAST_ERROR_SQLSTATE

-- the rest of indexes
SELECT pc_create_index(NULL, 2);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_create_index('other', 2, metric => NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_create_index('other', 2, spec => NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_create_index('other', 2, tags => '{"a": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_create_index('other', 2, tags => jsonb_build_object('a', repeat('b', 121)));
\echo :LAST_ERROR_SQLSTATE
SELECT pc_configure_index('errors', deletion_protection => 'off');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_configure_index('none');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_delete_index('none');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_describe_index_stats('none');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_delete_namespace('none', 't');
\echo :LAST_ERROR_SQLSTATE

-- limits, usage, rights, the pin, deletion in batches
SELECT pc_set_limits('errors', 't', 1);
SELECT pc_upsert('errors', 't', id => 'B', vector => '[1,2]');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_set_limits('errors', 't', -1);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_set_limits('errors', 't', max_bytes => -1);
\echo :LAST_ERROR_SQLSTATE
SELECT pc_set_limits('errors', 't');
SELECT * FROM pc_usage('errors', 'none');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_reset_usage('none');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_grant('errors', 't', 'public', '{TRUNCATE}');
\echo :LAST_ERROR_SQLSTATE
SET conifer.namespace = 'u';
SELECT pc_count('errors', 't');
\echo :LAST_ERROR_SQLSTATE
RESET conifer.namespace;
CALL pc_delete_index_in_batches('errors', 0);
\echo :LAST_ERROR_SQLSTATE
CALL pc_delete_index_in_batches('errors');
\echo :LAST_ERROR_SQLSTATE
CALL pc_delete_index_in_batches('none');
\echo :LAST_ERROR_SQLSTATE
SELECT name, tags, deletion_protection FROM pc_list_indexes();
SELECT name, record_count FROM pc_list_namespaces('errors');

-- nothing was written, and nothing by a transaction that may not
SELECT id, values, metadata FROM pc_fetch('errors', 't', ARRAY['A', 'B']);
BEGIN READ ONLY;
SELECT pc_upsert('errors', 't', id => 'A', vector => '[1,2]');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT pc_configure_index('errors', deletion_protection => 'disabled') ->> 'name' AS name;
SELECT pc_delete_index('errors');
