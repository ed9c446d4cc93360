-- pc_matches in ordinary SQL: what the plan node makes of it, what EXPLAIN says, that answers are those of a sort.

CREATE TABLE filtered (id int, v vector(8), metadata jsonb);
INSERT INTO filtered
  SELECT n, ARRAY[n % 7, n % 11, n % 13, n % 17, n % 19, n % 23, n % 29, n % 31]::vector,
    jsonb_build_object('class', 'c' || n % 50, 'number', n, 'tags', jsonb_build_array('t' || (n * 7919 % 1009) % 3, 'u' || n % 100), 'name', 'n' || n)
  FROM generate_series(1, 6000) n;
INSERT INTO filtered SELECT 7000 + n, '[1,2,3,4,5,6,7,8]', NULL FROM generate_series(1, 5) n;
INSERT INTO filtered SELECT 8000 + n, NULL, '{"class": "c1"}' FROM generate_series(1, 3) n;
CREATE INDEX filtered_v ON filtered USING conifer (v vector_l2_ops) INCLUDE (metadata);
ANALYZE filtered;

-- versions of PostgreSQL print some things in their own way
CREATE FUNCTION filter_explain(options text, query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF' || options || ') ' || query LOOP
    line := regexp_replace(line, '(rows=\d+)\.00', '\1');
    CONTINUE WHEN line ~ 'Buffers:|Planning|Execution|Memory';
    RETURN NEXT regexp_replace(line, '(Scanned|Excluded|Read|Reranked|by Filter): [1-9]\d*', '\1: n');
  END LOOP;
END $$;

-- what the planner expects, by ANALYZE's sample or by the form of the filter
CREATE FUNCTION filter_expects(relation text, filter text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
  EXECUTE format('EXPLAIN (FORMAT JSON) SELECT FROM %I WHERE pc_matches(metadata, %L)', relation, filter) INTO plan;
  RETURN plan -> 0 -> 'Plan' ->> 'Plan Rows';
END $$;
SELECT filter, filter_expects('filtered', filter) / rows BETWEEN 0.4 AND 2.5 AS close
  FROM (VALUES ('{"tags": "t1"}', 2000), ('{"tags": {"$in": ["t1", "t2"]}}', 4000), ('{"number": {"$gte": 1500}}', 4500),
    ('{"class": {"$ne": "c1"}}', 5880), ('{"$not": {"tags": "t1"}}', 4000), ('{"class": {"$exists": true}}', 6000), ('{}', 6000)) a(filter, rows);
SELECT filter_expects('filtered', '{"name": "n1"}') BETWEEN 1 AND 100 AS few, filter_expects('filtered', '{"class": 1, "class": []}') AS guessed;
CREATE TABLE unknown_item (metadata jsonb);
INSERT INTO unknown_item SELECT metadata FROM filtered WHERE id <= 2000;
VACUUM unknown_item;
SELECT filter_expects('unknown_item', '{"name": "n1"}'), filter_expects('unknown_item', '{"number": {"$gte": 1, "$lt": 9}}');

-- a constant, a parameter, two of them; with another qual
SELECT filter_explain('', $$SELECT id FROM filtered WHERE pc_matches(metadata, '{"class": "c7"}') ORDER BY v <-> '[1,2,3,4,5,6,7,8]' LIMIT 5$$);
PREPARE filtered_query (jsonb) AS
  SELECT id FROM filtered WHERE pc_matches(metadata, $1) ORDER BY v <-> '[1,2,3,4,5,6,7,8]', id LIMIT 5;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE filtered_query ('{"class": "c7"}');
EXECUTE filtered_query ('{"class": "c7"}');
EXECUTE filtered_query ('{"class": "c8"}');
EXECUTE filtered_query ('{"tags": {"$in": ["u5", "u6"]}, "number": {"$lt": 3000}}');
EXECUTE filtered_query ('{"class": {"$eq": ["c7"]}}');
EXECUTE filtered_query (NULL);
RESET plan_cache_mode;
SELECT filter_explain('', $$SELECT id FROM filtered WHERE pc_matches(metadata, '{"class": "c7"}') AND pc_matches(metadata, '{"tags": "t1"}') AND id > 5
  ORDER BY v <-> '[1,2,3,4,5,6,7,8]' LIMIT 5$$);
-- not asked of the signatures: below OR, of another column, of the row
SELECT filter_explain('', $$SELECT id FROM filtered WHERE pc_matches(metadata, '{"class": "c7"}') OR id < 5 ORDER BY v <-> '[1,2,3,4,5,6,7,8]' LIMIT 5$$);
SELECT filter_explain('', $$SELECT id FROM filtered WHERE pc_matches(metadata || '{"a": 1}', '{"class": "c7"}') ORDER BY v <-> '[1,2,3,4,5,6,7,8]' LIMIT 5$$);
-- for each row of another table
SELECT o.n, i.id FROM generate_series(1, 3) o(n),
  LATERAL (SELECT id FROM filtered WHERE pc_matches(metadata, jsonb_build_object('class', 'c' || o.n))
    ORDER BY v <-> '[1,2,3,4,5,6,7,8]', id LIMIT 2) i;

-- what it did
SELECT filter_explain(', ANALYZE, TIMING OFF, SUMMARY OFF', $$SELECT id FROM filtered WHERE pc_matches(metadata, '{"class": "c7"}')
  ORDER BY v <-> '[1,2,3,4,5,6,7,8]' LIMIT 5$$);
SELECT filter_explain(', ANALYZE, TIMING OFF, SUMMARY OFF', $$SELECT id FROM filtered WHERE pc_matches(metadata, '{"number": {"$lt": 3}}')
  ORDER BY v <-> '[1,2,3,4,5,6,7,8]' LIMIT 5$$);
SET conifer.recall = 1;
SELECT filter_explain(', ANALYZE, TIMING OFF, SUMMARY OFF', $$SELECT id FROM filtered WHERE pc_matches(metadata, '{"class": "c7"}')
  ORDER BY v <-> '[1,2,3,4,5,6,7,8]' LIMIT 5$$);
RESET conifer.recall;

-- the same rows as by a sort, rows without metadata and without a vector among them, after changes too
CREATE FUNCTION filter_differences(k int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE filter text; by_node int[]; by_sort int[];
BEGIN
  FOREACH filter IN ARRAY ARRAY['{}', '{"class": "c7"}', '{"class": "c1"}', '{"class": {"$ne": "c7"}}', '{"class": "none"}',
    '{"tags": "u5"}', '{"tags": {"$in": ["u5", "u6", "u7"]}, "class": "c5"}', '{"number": {"$gte": 100, "$lt": 130}}', '{"number": {"$gte": 1000, "$lt": 1500}}',
    '{"$not": {"class": "c7"}}', '{"$or": [{"class": "c7"}, {"name": "n33"}]}', '{"class": {"$exists": false}}',
    '{"$or": [{"class": "c7"}, {"number": {"$lt": 50}}]}', '{"name": "n4711"}'] LOOP
    EXECUTE format('SELECT array_agg(id) FROM (SELECT id FROM filtered WHERE pc_matches(metadata, %L)
      ORDER BY v <-> ''[3,1,4,1,5,9,2,6]'', id LIMIT %s) found', filter, k) INTO by_node;
    PERFORM set_config('conifer.enable_topk_scan', 'off', true);
    EXECUTE format('SELECT array_agg(id) FROM (SELECT id FROM filtered WHERE pc_matches(metadata, %L)
      ORDER BY v <-> ''[3,1,4,1,5,9,2,6]'', id LIMIT %s) found', filter, k) INTO by_sort;
    PERFORM set_config('conifer.enable_topk_scan', 'on', true);
    IF by_node IS DISTINCT FROM by_sort THEN
      RETURN NEXT format('%s: %s, not %s', filter, by_node, by_sort);
    END IF;
  END LOOP;
END $$;
SET conifer.recall = 0.9999;
SELECT filter_differences(10);
SELECT filter_differences(200);
UPDATE filtered SET metadata = metadata || '{"class": "c7"}' WHERE id % 11 = 0;
DELETE FROM filtered WHERE id % 5 = 0;
SELECT filter_differences(10);
VACUUM filtered;
SELECT filter_differences(10);

-- a GIN index tells the few rows that match, where they are few
SET enable_bitmapscan = off;
CREATE INDEX filtered_m ON filtered USING gin (metadata jsonb_path_ops);
SELECT filter_differences(10);
SELECT filter_explain(', ANALYZE, TIMING OFF, SUMMARY OFF', $$SELECT id FROM filtered WHERE pc_matches(metadata, '{"name": "n4711"}')
  ORDER BY v <-> '[1,2,3,4,5,6,7,8]' LIMIT 1$$);
SELECT filter_explain(', ANALYZE, TIMING OFF, SUMMARY OFF', $$SELECT id FROM filtered WHERE pc_matches(metadata, '{"$or": [{"class": "c8"}, {"name": "n4711"}], "tags": "t1", "number": {"$gt": 100}}')
  ORDER BY v <-> '[1,2,3,4,5,6,7,8]' LIMIT 5$$);
DROP INDEX filtered_m;
CREATE INDEX filtered_m ON filtered USING gin (metadata);
SELECT filter_differences(10);
INSERT INTO filtered SELECT 9000 + n, '[1,1,1,1,1,1,1,1]', '{"class": "none"}' FROM generate_series(1, 3) n;
DELETE FROM filtered WHERE id % 7 = 0;
SELECT filter_differences(10);
DROP INDEX filtered_m;
-- of some rows only, or of something else, it tells nothing
CREATE INDEX filtered_m ON filtered USING gin (metadata) WHERE id < 10;
SELECT filter_differences(10);
DROP INDEX filtered_m;
CREATE INDEX filtered_m ON filtered USING gin ((metadata - 'class'));
SELECT filter_differences(10);
DROP INDEX filtered_m;

-- a B-tree index tells the rows of few numbers, and those with lists of numbers
CREATE INDEX filtered_n ON filtered (pc_number(metadata, 'number'));
INSERT INTO filtered VALUES (9100, '[1,2,3,4,5,6,7,8]', '{"number": [1, 5000, "x"]}'), (9101, '[1,2,3,4,5,6,7,8]', '{"number": ["5000"]}'),
  (9102, '[1,2,3,4,5,6,7,8]', '{"number": "5000"}');
SELECT filter_differences(10);
SELECT filter_explain(', ANALYZE, TIMING OFF, SUMMARY OFF', $$SELECT id FROM filtered WHERE pc_matches(metadata, '{"number": {"$gte": 5000, "$lt": 5004}}')
  ORDER BY v <-> '[9,9,9,9,9,9,9,9]' LIMIT 3$$);
-- more of them, and only their codes are searched
SELECT filter_explain(', ANALYZE, TIMING OFF, SUMMARY OFF', $$SELECT id FROM filtered WHERE pc_matches(metadata, '{"number": {"$gte": 1000, "$lt": 1500}}')
  ORDER BY v <-> '[9,9,9,9,9,9,9,9]' LIMIT 3$$);
SELECT id FROM filtered WHERE pc_matches(metadata, '{"number": {"$gte": 5000, "$lt": 5004}}') ORDER BY v <-> '[9,9,9,9,9,9,9,9]' LIMIT 3;
SELECT id FROM filtered WHERE pc_matches(metadata, '{"$and": [{"number": {"$in": [5000, 4999]}}, {"number": 5000}]}') ORDER BY v <-> '[9,9,9,9,9,9,9,9]' LIMIT 3;
SELECT id FROM filtered WHERE pc_matches(metadata, '{"number": {"$gt": 5997.5}}') ORDER BY v <-> '[9,9,9,9,9,9,9,9]' LIMIT 3;
SELECT id FROM filtered WHERE pc_matches(metadata, '{"number": {"$lt": 1.5}}') ORDER BY v <-> '[9,9,9,9,9,9,9,9]' LIMIT 3;
SELECT id FROM filtered WHERE pc_matches(metadata, '{"number": {"$lt": 7, "$gt": 7}}') ORDER BY v <-> '[9,9,9,9,9,9,9,9]' LIMIT 3;
-- of another field, or another expression, it tells nothing
DROP INDEX filtered_n;
CREATE INDEX filtered_n ON filtered (pc_number(metadata, 'class'));
CREATE INDEX filtered_o ON filtered (pc_number(metadata || '{"a": 1}', 'number'));
SELECT filter_explain(', ANALYZE, TIMING OFF, SUMMARY OFF', $$SELECT id FROM filtered WHERE pc_matches(metadata, '{"number": {"$gte": 5000, "$lt": 5004}}')
  ORDER BY v <-> '[1,2,3,4,5,6,7,8]' LIMIT 3$$);
DROP INDEX filtered_n, filtered_o;
DELETE FROM filtered WHERE id > 9099;
SELECT pc_number('{"a": 1.5}', 'a') AS number, pc_number('{"a": -0}', 'a') AS zero, pc_number('{"a": "1"}', 'a') AS text, pc_number('{"a": ["1"]}', 'a') AS texts,
  pc_number('{"a": ["1", 2]}', 'a') AS list, pc_number('{"b": 1}', 'a') AS missing, pc_number('[1]', 'a') AS no_object, pc_number('{"a": 1e400}', 'a') AS large,
  pc_number(NULL, 'a') AS none, pc_number('{"": 7}', '') AS unnamed;
-- and on strings, on several fields together; with lists of strings, empty and long ones
CREATE INDEX filtered_s ON filtered (pc_string(metadata, 'name'));
CREATE INDEX filtered_b ON filtered (pc_string(metadata, 'class') COLLATE "C", pc_number(metadata, 'number'), pc_string(metadata, 'name'));
INSERT INTO filtered VALUES (9100, '[1,2,3,4,5,6,7,8]', '{"name": [1, "n4711"], "number": [5000, 5001]}'), (9101, '[1,2,3,4,5,6,7,8]', '{"name": ""}'),
  (9102, '[1,2,3,4,5,6,7,8]', jsonb_build_object('name', repeat('n', 501))), (9103, '[1,2,3,4,5,6,7,8]', '{"class": ["c7", "c8"], "number": 77, "name": "n4711"}'),
  (9104, NULL, '{"name": "n4711"}');
SELECT filter_differences(10);
SELECT filter_explain(', ANALYZE, TIMING OFF, SUMMARY OFF', $$SELECT id FROM filtered WHERE pc_matches(metadata, '{"name": {"$in": ["n4711", "n4712"]}}')
  ORDER BY v <-> '[9,9,9,9,9,9,9,9]' LIMIT 3$$);
SELECT filter_explain(', ANALYZE, TIMING OFF, SUMMARY OFF', $$SELECT id FROM filtered WHERE pc_matches(metadata, '{"class": "c7", "number": {"$gte": 70, "$lt": 80}}')
  ORDER BY v <-> '[9,9,9,9,9,9,9,9]' LIMIT 3$$);
SELECT id FROM filtered WHERE pc_matches(metadata, '{"name": "n4711"}') ORDER BY v <-> '[9,9,9,9,9,9,9,9]' LIMIT 9;
SELECT id FROM filtered WHERE pc_matches(metadata, '{"name": ""}') ORDER BY v <-> '[9,9,9,9,9,9,9,9]' LIMIT 9;
SELECT id FROM filtered WHERE pc_matches(metadata, jsonb_build_object('name', repeat('n', 501))) ORDER BY v <-> '[9,9,9,9,9,9,9,9]' LIMIT 9;
SELECT id FROM filtered WHERE pc_matches(metadata, '{"class": {"$in": ["c7", "none"]}, "number": 77}') ORDER BY v <-> '[9,9,9,9,9,9,9,9]' LIMIT 9;
-- all rows that pass, one without a vector last, and the table is not read
SELECT filter_explain(', ANALYZE, TIMING OFF, SUMMARY OFF', $$SELECT id FROM filtered WHERE pc_matches(metadata, '{"name": "n4711"}') ORDER BY v <-> '[9,9,9,9,9,9,9,9]' LIMIT 50$$);
SELECT id FROM filtered WHERE pc_matches(metadata, '{"name": "n4711"}') ORDER BY v <-> '[9,9,9,9,9,9,9,9]' LIMIT 50;
-- one that was dropped is not asked again
DROP INDEX filtered_s;
SELECT filter_differences(10);
SELECT filter_explain(', ANALYZE, TIMING OFF, SUMMARY OFF', $$SELECT id FROM filtered WHERE pc_matches(metadata, '{"class": "c7", "number": {"$gte": 70, "$lt": 80}}')
  ORDER BY v <-> '[9,9,9,9,9,9,9,9]' LIMIT 3$$);
DROP INDEX filtered_b;
DELETE FROM filtered WHERE id > 9099;
SELECT pc_string('{"a": "x"}', 'a') AS string, pc_string('{"a": 1}', 'a') AS number, pc_string('{"a": ["x", 1]}', 'a') AS list, pc_string('{"a": [1]}', 'a') AS numbers,
  pc_string('{"a": ""}', 'a') AS empty, length(pc_string(jsonb_build_object('a', repeat('x', 500)), 'a')) AS longest, pc_string(jsonb_build_object('a', repeat('x', 501)), 'a') AS long,
  pc_string('["a"]', 'a') AS no_object, pc_string(NULL, 'a') AS none;
RESET enable_bitmapscan;
RESET conifer.recall;

-- a partition's own index
CREATE TABLE filtered_root (namespace text, id int, v vector(8), metadata jsonb) PARTITION BY LIST (namespace);
CREATE TABLE filtered_a PARTITION OF filtered_root FOR VALUES IN ('a');
CREATE TABLE filtered_b PARTITION OF filtered_root FOR VALUES IN ('b');
INSERT INTO filtered_root SELECT chr(97 + id % 2), id, v, metadata FROM filtered WHERE id < 7000;
CREATE INDEX ON filtered_root USING conifer (v vector_l2_ops) INCLUDE (metadata);
ANALYZE filtered_root;
SELECT filter_explain('', $$SELECT id FROM filtered_root WHERE namespace = 'a' AND pc_matches(metadata, '{"class": "c8"}')
  ORDER BY v <-> '[1,2,3,4,5,6,7,8]' LIMIT 5$$);

-- an index without the column, or with another first, has no signatures for it
CREATE TABLE unsigned_item AS SELECT * FROM filtered;
CREATE INDEX ON unsigned_item USING conifer (v vector_l2_ops);
ANALYZE unsigned_item;
SELECT filter_explain('', $$SELECT id FROM unsigned_item WHERE pc_matches(metadata, '{"class": "c8"}')
  ORDER BY v <-> '[1,2,3,4,5,6,7,8]' LIMIT 5$$);
DROP INDEX unsigned_item_v_idx;
ALTER TABLE unsigned_item ADD other jsonb;
CREATE INDEX ON unsigned_item USING conifer (v vector_l2_ops) INCLUDE (other);
SELECT filter_explain('', $$SELECT id FROM unsigned_item WHERE pc_matches(metadata, '{"class": "c8"}')
  ORDER BY v <-> '[1,2,3,4,5,6,7,8]' LIMIT 5$$);

-- a leaky function never sees what row security hides, by the index or by the table
CREATE ROLE filter_reader;
CREATE FUNCTION leak(id int) RETURNS boolean LANGUAGE plpgsql STABLE COST 0.0000001 AS $$
BEGIN
  IF id % 2 = 1 THEN RAISE WARNING 'saw %', id; END IF;
  RETURN true;
END $$;
ALTER TABLE filtered ENABLE ROW LEVEL SECURITY;
CREATE POLICY even ON filtered USING (id % 2 = 0);
GRANT SELECT ON filtered TO filter_reader;
SELECT filter_expects('filtered', '{"tags": "t1"}') > 500 AS known;
SET ROLE filter_reader;
-- whom policies hide rows from, the statistics are hidden from too
SELECT filter_expects('filtered', '{"tags": "t1"}') > 500 AS known;
SET enable_seqscan = off;
SELECT count(*) FROM (SELECT id FROM filtered WHERE leak(id) AND pc_matches(metadata, '{"class": "c7"}')
  ORDER BY v <-> '[1,2,3,4,5,6,7,8]' LIMIT 20) found;
SELECT filter_explain('', $$SELECT id FROM filtered WHERE leak(id) AND pc_matches(metadata, '{"class": "c7"}')
  ORDER BY v <-> '[1,2,3,4,5,6,7,8]' LIMIT 20$$);
SET conifer.recall = 1;
SELECT count(*) FROM (SELECT id FROM filtered WHERE leak(id) AND pc_matches(metadata, '{"class": "c7"}')
  ORDER BY v <-> '[1,2,3,4,5,6,7,8]' LIMIT 20) found;
RESET conifer.recall;
RESET enable_seqscan;
RESET ROLE;

DROP TABLE filtered, filtered_root, unsigned_item, unknown_item;
DROP FUNCTION leak, filter_explain, filter_expects, filter_differences;
DROP ROLE filter_reader;
