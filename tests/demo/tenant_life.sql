\echo
\echo 'A tenant''s whole life in Conifer: one index, one namespace per tenant.'
\echo
CREATE EXTENSION conifer;
\echo
\echo '1. Create a serverless index: 8 dimensions, cosine similarity.'
\echo
SELECT jsonb_pretty(pc_create_index('multitenant-app', 8, metric => 'cosine',
    spec => '{"serverless": {"cloud": "aws", "region": "us-east-1"}}')) AS index;

\echo '2. Isolate tenants: the first upsert into a namespace creates it, in a table partition of its own.'
\echo
SELECT pc_upsert('multitenant-app', 'tenant1', '[
    {"id": "A", "values": [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]},
    {"id": "B", "values": [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]},
    {"id": "C", "values": [0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3]},
    {"id": "D", "values": [0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4]}
]') AS upserted;
SELECT pc_upsert('multitenant-app', 'tenant2', '[
    {"id": "E", "values": [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]},
    {"id": "F", "values": [0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]},
    {"id": "G", "values": [0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]},
    {"id": "H", "values": [0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8]}
]') AS upserted;

\echo '   Update record A of tenant1.'
\echo
SELECT pc_update('multitenant-app', 'tenant1', 'A',
    vector => '[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]') AS updated;
SELECT id, values FROM pc_fetch('multitenant-app', 'tenant1', ARRAY['A']);

\echo '3. Query tenant2, and nobody else: the three records most similar to a vector.'
\echo
SELECT id, score, values FROM pc_query('multitenant-app', 'tenant2',
    '[0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]', top_k => 3, include_values => true);

\echo '   The same as Pinecone answers it.'
\echo
SELECT jsonb_pretty(pc_query_json('multitenant-app', 'tenant2',
    '[0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]', top_k => 3)) AS answer;

\echo '4. What a hosted service cannot give: it is a table. Plain SQL finds the same records ...'
\echo
SELECT id, values <=> '[0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]' AS distance FROM "multitenant-app"
WHERE namespace = 'tenant1' ORDER BY values <=> '[0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]' LIMIT 3;

\echo '   ... with a plan node that keeps k rows instead of sorting all, once a tenant has more than a few (here 1,000, upserted as arrays) ...'
\echo
SELECT pc_upsert('multitenant-app', 'tenant3', array_agg('doc' || i), array_agg(v)) AS upserted
FROM (SELECT i, array_agg(sin(i * j))::vector AS v
      FROM generate_series(1, 1000) AS i, generate_series(1, 8) AS j GROUP BY i) AS generated;
ANALYZE "multitenant-app";
EXPLAIN (COSTS OFF) SELECT id FROM "multitenant-app"
WHERE namespace = 'tenant3' ORDER BY values <=> '[0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]' LIMIT 3;

\echo '   ... joins with the rest of your data ...'
\echo
CREATE TABLE documents (id text PRIMARY KEY, title text NOT NULL);
INSERT INTO documents VALUES ('E', 'Elm'), ('F', 'Fir'), ('G', 'Ginkgo'), ('H', 'Hemlock');
SELECT title, score FROM pc_query('multitenant-app', 'tenant2',
    '[0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]', top_k => 2) JOIN documents USING (id) ORDER BY score DESC, id;

\echo '   ... and takes part in transactions: a mistake is rolled back, both the record and the table.'
\echo
BEGIN;
SELECT pc_delete('multitenant-app', 'tenant2', delete_all => true) AS deleted;
DELETE FROM documents;
SELECT count(*) AS left_in_tenant2 FROM "multitenant-app" WHERE namespace = 'tenant2';
ROLLBACK;
SELECT count(*) AS left_in_tenant2 FROM "multitenant-app" WHERE namespace = 'tenant2';

\echo '5. Who is there?'
\echo
SELECT name, record_count, relation FROM pc_list_namespaces('multitenant-app');
SELECT jsonb_pretty(pc_describe_index_stats('multitenant-app')) AS stats;

\echo '6. Offboard tenant1: its partition is dropped, in constant time and with its disk space.'
\echo
SELECT pc_delete('multitenant-app', 'tenant1', delete_all => true) AS deleted;
SELECT jsonb_pretty(pc_describe_index_stats('multitenant-app')) AS stats;

\echo 'That was a tenant''s whole life. README.md tells the rest.'
