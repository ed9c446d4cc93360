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

-- list: ids in C order, by pages
SELECT pc_upsert('records', 't', ARRAY['c', 'Ca', 'é'], ARRAY['[1,1]', '[2,2]', '[3,3]']::vector[]);
SELECT id, next_token IS NULL AS last FROM pc_list('records', 't');
SELECT id, next_token IS NULL AS last FROM pc_list('records', 't', prefix => 'C');
SELECT id, next_token IS NULL AS last FROM pc_list('records', 't', "limit" => 3);
SELECT id FROM pc_list('records', 't', pagination_token =>
    (SELECT next_token FROM pc_list('records', 't', "limit" => 3) WHERE next_token IS NOT NULL));
SELECT id FROM pc_list('records', 'none');

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
