-- Writing and reading records.
SELECT pc_create_index('records', 2) ->> 'name' AS name;

-- upsert replaces the whole record; the last of two equal ids wins
SELECT pc_upsert('records', 't', '[
    {"id": "A", "values": [1, 2], "metadata": {"x": 1}},
    {"id": "B", "values": [0.1, 1e-3], "metadata": {"s": "ü", "b": true, "l": ["p", "q"], "n": 12345678901234567890}},
    {"id": "A", "values": [3, 4]}
]');
SELECT * FROM pc_fetch('records', 't', ARRAY['B', 'none', 'A']) ORDER BY id;
SELECT pc_upsert('records', 't', '{"id": "B", "values": [5, 6]}');
SELECT * FROM pc_fetch('records', 't', ARRAY['B']);
SELECT pc_upsert('records', 't', ARRAY['C', 'D', 'C'], ARRAY['[1,1]', '[2,2]', '[3,3]']::vector[], ARRAY['{"x": 1}', NULL, '{"x": 3}']::jsonb[]);
SELECT * FROM pc_fetch('records', 't', ARRAY['C', 'D']) ORDER BY id;
SELECT pc_upsert('records', 't', '[]');
SELECT pc_upsert('records', 'empty', '{}'::text[], '{}'::vector[]);

-- update: vector replaced, metadata merged
SELECT pc_update('records', 't', 'C', vector => '[9,9]');
SELECT pc_update('records', 't', 'C', set_metadata => '{"y": 2}');
SELECT pc_update('records', 't', 'D', set_metadata => '{"y": 2}');
SELECT pc_update('records', 't', 'C', vector => '[8,8]', set_metadata => '{"x": "one"}');
SELECT pc_update('records', 't', 'none', vector => '[8,8]');
SELECT pc_update('records', 'none', 'C', vector => '[8,8]');
SELECT * FROM pc_fetch('records', 't', ARRAY['C', 'D']) ORDER BY id;

-- the four forms of upsert are one: named, positional, typed, untyped
SELECT pc_upsert('records', 'forms', '{"id": "1", "values": [1, 2], "metadata": {"x": 1}}');
SELECT pc_upsert('records', 'forms', '2', '[1,2]', '{"x": 1}');
SELECT pc_upsert('records', 'forms', '3'::text, '[1,2]'::vector, '{"x": 1}'::jsonb);
SELECT pc_upsert('records', 'forms', '{4}'::text[], ARRAY['[1,2]'::vector], ARRAY['{"x": 1}'::jsonb]);
SELECT pc_upsert('records', 'forms', '5', ARRAY[1, 2]::vector);
SELECT count(*) AS records, count(DISTINCT (values, metadata)) AS different FROM pc_fetch('records', 'forms', '{1,2,3,4}');
-- the last of equal ids wins with all its parts, in each form
SELECT pc_upsert('records', 'forms', '[{"id": "1", "values": [1, 1]}, {"id": "2", "values": [2, 2]}, {"id": "1", "values": [3, 3], "metadata": {"last": true}}]');
SELECT pc_upsert('records', 'forms', '{3,4,3}'::text[], ARRAY['[1,1]', '[2,2]', '[3,3]']::vector[], ARRAY['{"x": 1}', '{"x": 2}', NULL]::jsonb[]);
-- fetch answers in the order asked, each id once
SELECT * FROM pc_fetch('records', 'forms', '{3,1,none,4,1,2}');
SELECT * FROM pc_fetch('records', 'forms', '{}');
-- an update that merges nothing, or into nothing
SELECT pc_update('records', 'forms', '3', set_metadata => '{}');
SELECT pc_update('records', 'forms', '1', set_metadata => '{"a": [], "last": false}');
SELECT pc_update('records', 'forms', '4', vector => '[4,4]');
SELECT * FROM pc_fetch('records', 'forms', '{1,3,4}');

-- list: ids in C order, by pages
SELECT pc_upsert('records', 't', ARRAY['c', 'Ca', 'é'], ARRAY['[1,1]', '[2,2]', '[3,3]']::vector[]);
SELECT id, next_token IS NULL AS last FROM pc_list('records', 't');
SELECT id, next_token IS NULL AS last FROM pc_list('records', 't', prefix => 'C');
SELECT id, next_token IS NULL AS last FROM pc_list('records', 't', "limit" => 3);
SELECT id FROM pc_list('records', 't', pagination_token =>
    (SELECT next_token FROM pc_list('records', 't', "limit" => 3) WHERE next_token IS NOT NULL));
SELECT id FROM pc_list('records', 'none');

SELECT id, next_token FROM pc_list('records', 't', "limit" => NULL, prefix => NULL) LIMIT 1;
SELECT id FROM pc_list('records', 't', prefix => 'C', pagination_token => 'Qg');
SELECT id FROM pc_list('records', 't', prefix => 'C', pagination_token => 'eg');
-- pages of one, put together, are the whole list
WITH RECURSIVE pages AS (
    SELECT id, next_token FROM pc_list('records', 't', "limit" => 1)
    UNION ALL
    SELECT next.id, next.next_token FROM pages, pc_list('records', 't', "limit" => 1, pagination_token => pages.next_token) AS next
     WHERE pages.next_token IS NOT NULL
)
SELECT array_agg(id) = (SELECT array_agg(id) FROM pc_list('records', 't')) AS same FROM pages;

-- delete
SELECT pc_delete('records', 't', ARRAY['A', 'none', 'A', 'B']);
SELECT pc_delete('records', 't', ARRAY['A']);
SELECT pc_delete('records', 'none', ARRAY['A']);
SELECT pc_delete('records', 'none', delete_all => true);
SELECT id FROM pc_list('records', 't');
SELECT pc_delete('records', 't', delete_all => true);
SELECT id FROM pc_list('records', 't');

-- a bad record refuses the whole batch
SELECT pc_upsert('records', 't', '[{"id": "A", "values": [1, 2]}, {"id": "B", "values": [1, 2, 3]}]');
SELECT name FROM pc_list_namespaces('records');
SELECT pc_delete_index('records');
