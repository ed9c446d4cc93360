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
SELECT pc_query('errors', 't', '[1,2]', filter => '{"x": {"$gt": 1}}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_query('errors', 't', '[1,2]', filter => '{"$or": [{"x": 1}]}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_query('errors', 't', '[1,2]', filter => '{"x": null}');
\echo :LAST_ERROR_SQLSTATE
SELECT pc_query('errors', 't', '[1,2]', filter => '[]');
\echo :LAST_ERROR_SQLSTATE

-- nothing was written, and nothing by a transaction that may not
SELECT id, values, metadata FROM pc_fetch('errors', 't', ARRAY['A', 'B']);
BEGIN READ ONLY;
SELECT pc_upsert('errors', 't', id => 'A', vector => '[1,2]');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT pc_configure_index('errors', deletion_protection => 'disabled') ->> 'name' AS name;
SELECT pc_delete_index('errors');
