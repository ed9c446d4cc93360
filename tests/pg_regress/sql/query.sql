-- Queries: exact scores, their order and ties, filters, what is returned.
SELECT pc_create_index('by-cosine', 2) ->> 'name' AS name;
SELECT pc_create_index('by-product', 2, metric => 'dotproduct') ->> 'name' AS name;
SELECT pc_create_index('by-distance', 2, metric => 'euclidean') ->> 'name' AS name;
SELECT index, pc_upsert(index, 't', '[
    {"id": "A", "values": [1, 0], "metadata": {"genre": "drama", "year": 2020}},
    {"id": "B", "values": [0, 1], "metadata": {"genre": "comedy", "year": 2020}},
    {"id": "C", "values": [-1, 0], "metadata": {"genre": ["drama", "crime"], "year": 2021}},
    {"id": "a", "values": [2, 0], "metadata": {"genre": "drama", "good": true}},
    {"id": "D", "values": [3, 4]}
]') FROM unnest(ARRAY['by-cosine', 'by-product', 'by-distance']) AS index;
SELECT id, score FROM pc_query('by-cosine', 't', '[2,0]');
SELECT id, score FROM pc_query('by-product', 't', '[2,0]');
SELECT id, score FROM pc_query('by-distance', 't', '[2,0]');

-- k, and the neighbours of a stored record
SELECT id, score FROM pc_query('by-distance', 't', '[2,0]', top_k => 2);
SELECT id, score FROM pc_query('by-distance', 't', id => 'A', top_k => 3);
SELECT id, score FROM pc_query('by-distance', 't', id => 'none');
SELECT id, score FROM pc_query('by-distance', 'none', '[2,0]');

-- only what is asked for
SELECT * FROM pc_query('by-distance', 't', '[2,0]', top_k => 1);
SELECT * FROM pc_query('by-distance', 't', '[2,0]', top_k => 2, include_values => true);
SELECT * FROM pc_query('by-distance', 't', '[2,0]', top_k => 2, include_metadata => true);

-- equality on metadata; on a list one equal element is enough
SELECT id FROM pc_query('by-distance', 't', '[2,0]', filter => '{"genre": "drama"}');
SELECT id FROM pc_query('by-distance', 't', '[2,0]', filter => '{"genre": "drama", "year": 2020.0}');
SELECT id FROM pc_query('by-distance', 't', '[2,0]', filter => '{"year": "2020"}');
SELECT id FROM pc_query('by-distance', 't', '[2,0]', filter => '{"good": true}', top_k => 3);
SELECT id FROM pc_query('by-distance', 't', '[2,0]', filter => '{"genre": "none"}');
SELECT pc_matches('{"genre": ["drama", "crime"]}', '{"genre": "crime"}') AS yes, pc_matches(NULL, '{"genre": "crime"}') AS no;

-- Pinecone's answer
SELECT jsonb_pretty(pc_query_json('by-cosine', 't', '[2,0]', top_k => 2, include_values => true, include_metadata => true));
SELECT pc_query_json('by-cosine', 'none', '[2,0]');
SELECT pc_query_json('by-cosine', '', '[2,0]', top_k => 1);

-- several namespaces together: the best of all, ties by id and then by namespace
SELECT pc_upsert('by-distance', namespace, '[{"id": "A", "values": [1, 1], "metadata": {"genre": "drama"}}, {"id": "B", "values": [0, 1]}]') FROM unnest(ARRAY['u', 'v', 'ua']) AS namespace;
SELECT pc_create_namespace('by-distance', 'empty') ->> 'name' AS name;
SELECT * FROM pc_query_namespaces('by-distance', ARRAY['t', 'u', 'v'], '[2,0]', top_k => 4);
SELECT namespace, id FROM pc_query_namespaces('by-distance', ARRAY['v', 'none', 'u', 'v', 'empty'], '[2,0]', filter => '{"genre": "drama"}');
SELECT * FROM pc_query_namespaces('by-distance', prefix => 'u', vector => '[2,0]', top_k => 3, include_values => true, include_metadata => true);
SELECT count(*), count(DISTINCT namespace) FROM pc_query_namespaces('by-distance', prefix => '', vector => '[2,0]', top_k => 100);
SELECT * FROM pc_query_namespaces('by-distance', prefix => 'x', vector => '[2,0]');
SELECT * FROM pc_query_namespaces('by-distance', '{}', '[2,0]');
SELECT * FROM pc_query_namespaces('by-distance', NULL, '[2,0]');
SELECT * FROM pc_query_namespaces('by-distance', '{t}', '[2,0]', prefix => 't');
SELECT * FROM pc_query_namespaces('by-distance', '{t}');
SELECT * FROM pc_query_namespaces('by-distance', '{t}', '[2,0,1]');
SELECT * FROM pc_query_namespaces('by-distance', '{t,NULL}', '[2,0]');

-- records of plain SQL that pc_upsert would refuse have no score under cosine
INSERT INTO "by-cosine" VALUES ('t', 'zero', '[0,0]'), ('t', 'null', NULL);
SELECT id, score FROM pc_query('by-cosine', 't', '[2,0]');
SELECT pc_query_json('by-cosine', 't', '[2,0]') -> 'matches' -> -1 AS last;
SELECT pc_delete_index(name) FROM pc_list_indexes();
