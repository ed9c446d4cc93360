-- Which queries Custom Scan (ConiferTopK) takes, and what EXPLAIN says of it.

CREATE TABLE topk_item (id int, grp int, v vector(3));
INSERT INTO topk_item
  SELECT n, n % 10, CASE WHEN n % 100 = 0 THEN NULL ELSE ARRAY[n % 7, n % 11, n % 13]::vector END
  FROM generate_series(1, 2000) n;
ANALYZE topk_item;

-- versions of PostgreSQL print some things in their own way: fractions of rows, the names of InitPlans, further fields of JSON
CREATE FUNCTION topk_explain(options text, query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF' || options || ') ' || query LOOP
    line := regexp_replace(line, '(rows=\d+)\.00', '\1');
    line := replace(line, 'InitPlan 1 (returns $0)', 'InitPlan 1');
    RETURN NEXT replace(line, '(InitPlan 1).col1', '$0');
  END LOOP;
END $$;
CREATE FUNCTION topk_explain_json(query text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
  EXECUTE 'EXPLAIN (COSTS OFF, FORMAT JSON) ' || query INTO plan;
  RETURN (plan -> 0 -> 'Plan' -> 'Plans' -> 0)::jsonb - 'Disabled';
END $$;

-- a leaf; either side of the operator; every operator
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY v <=> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY '[1,2,3]' <-> v LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY v <#> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY v <+> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY l2_distance(v, '[1,2,3]') LIMIT 5;

-- quals, OFFSET, more keys, names of tables
EXPLAIN (COSTS OFF) SELECT id FROM topk_item WHERE grp <> 3 AND id > 10 ORDER BY v <-> '[1,2,3]' LIMIT 5 OFFSET 2;
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY v <-> '[1,2,3]', id LIMIT 5;
EXPLAIN (COSTS OFF, VERBOSE) SELECT id, v <-> '[1,2,3]' AS d, ctid FROM topk_item ORDER BY d LIMIT 5;
SELECT jsonb_pretty(topk_explain_json($$SELECT id FROM topk_item WHERE grp < 8 ORDER BY v <-> '[1,2,3]' LIMIT 5$$));
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY v <-> '[1,2,3]' FETCH FIRST 5 ROWS WITH TIES;
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY v <-> '[1,2,3]' LIMIT 5 FOR UPDATE SKIP LOCKED;

-- parameters
PREPARE topk_query (vector, bigint) AS SELECT id FROM topk_item ORDER BY v <=> $1 LIMIT $2;
SET plan_cache_mode = force_custom_plan;
EXPLAIN (COSTS OFF) EXECUTE topk_query ('[1,2,3]', 5);
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE topk_query ('[1,2,3]', 5);
RESET plan_cache_mode;
SELECT topk_explain('', $$SELECT id FROM topk_item ORDER BY v <=> (SELECT v FROM topk_item WHERE id = 1) LIMIT 5$$);
EXPLAIN (COSTS OFF) SELECT o.id, i.id FROM topk_item o,
  LATERAL (SELECT id FROM topk_item i WHERE i.grp = o.grp ORDER BY i.v <-> o.v LIMIT 2) i WHERE o.id < 3;

-- partitions: one leaf, several
CREATE TABLE topk_root (namespace text COLLATE "C", id int, v vector(3)) PARTITION BY HASH (namespace);
CREATE TABLE topk_bucket PARTITION OF topk_root FOR VALUES WITH (MODULUS 1, REMAINDER 0) PARTITION BY LIST (namespace);
CREATE TABLE topk_a PARTITION OF topk_bucket FOR VALUES IN ('a');
CREATE TABLE topk_b PARTITION OF topk_bucket FOR VALUES IN ('b');
CREATE TABLE topk_c PARTITION OF topk_bucket FOR VALUES IN ('c');
INSERT INTO topk_root SELECT chr(97 + n % 3), n, ARRAY[n % 7, n % 11, n % 13]::vector FROM generate_series(1, 3000) n;
ANALYZE topk_root;
EXPLAIN (COSTS OFF) SELECT id FROM topk_root WHERE namespace = 'b' ORDER BY v <=> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM topk_root WHERE namespace IN ('a', 'c') ORDER BY v <=> '[1,2,3]' LIMIT 5;
SELECT id, namespace, v <=> '[1,2,3]' AS d FROM topk_root WHERE namespace = 'b' ORDER BY d, id LIMIT 3;
SELECT id, namespace, v <=> '[1,2,3]' AS d FROM topk_root ORDER BY d, id LIMIT 3;

-- switched off
SET conifer.enable_topk_scan = off;
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY v <=> '[1,2,3]' LIMIT 5;
RESET conifer.enable_topk_scan;

-- not taken, and why
SET client_min_messages = debug1;
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY v <=> '[1,2,3]';
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY v <=> '[1,2,3]' LIMIT ALL;
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY v <=> '[1,2,3]' DESC LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY v <=> '[1,2,3]' NULLS FIRST LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM topk_item WHERE random() < 2 ORDER BY v <=> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY v <=> v LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY (v + v) <=> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM topk_item TABLESAMPLE SYSTEM (100) ORDER BY v <=> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY v LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY (v <=> '[1,2,3]')::numeric LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY id, v <=> '[1,2,3]' LIMIT 5;
RESET client_min_messages;

-- an operator family of one's own
CREATE FUNCTION topk_cmp(float8, float8) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT sign($2 - $1)::int';
CREATE FUNCTION topk_lt(float8, float8) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 > $2';
CREATE OPERATOR <<<< (LEFTARG = float8, RIGHTARG = float8, FUNCTION = topk_lt);
CREATE OPERATOR CLASS topk_reverse FOR TYPE float8 USING btree AS OPERATOR 1 <<<<, OPERATOR 3 =, FUNCTION 1 topk_cmp(float8, float8);
SET client_min_messages = debug1;
EXPLAIN (COSTS OFF) SELECT id FROM topk_item ORDER BY v <=> '[1,2,3]' USING <<<< LIMIT 5;
RESET client_min_messages;

-- order: numbers, NaN, NULL; ties come out once each
CREATE TABLE topk_order (id int, v vector(2));
INSERT INTO topk_order VALUES (1, NULL), (2, '[0,0]'), (3, '[1,0]'), (4, '[0,1]'), (5, '[-1,0]'), (6, NULL), (7, '[0,0]'), (8, '[2,0]'), (9, '[1,0]');
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT id FROM topk_order ORDER BY v <=> '[1,0]' LIMIT 20;
SELECT id, v <=> '[1,0]' AS d FROM topk_order ORDER BY v <=> '[1,0]' LIMIT 20;
SELECT id, v <#> '[-0,0]' AS d FROM topk_order ORDER BY v <#> '[-0,0]' LIMIT 20;
SELECT id FROM topk_order ORDER BY v <-> (SELECT NULL::vector) LIMIT 20;
SELECT array_agg(id ORDER BY id) FROM (SELECT id FROM topk_order ORDER BY v <=> '[1,0]' LIMIT 2) three_tie_for_the_first;
SELECT id FROM topk_order ORDER BY v <=> '[1,0]' LIMIT 0;
SELECT id FROM topk_order ORDER BY v <=> '[1,0]' LIMIT 3 OFFSET 8;
SELECT id FROM topk_order ORDER BY v <=> '[1,0,0]' LIMIT 3;
SELECT id FROM topk_order ORDER BY '[1,0,0]' <=> v LIMIT 3;
RESET enable_sort;

-- EXPLAIN ANALYZE
\set analyze ', ANALYZE, TIMING OFF, SUMMARY OFF, BUFFERS OFF'
SELECT topk_explain(:'analyze', $$SELECT id FROM topk_item WHERE grp < 4 ORDER BY v <-> '[1,2,3]' LIMIT 5$$);
-- a join that throws rows away asks for more than LIMIT says
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
SET enable_sort = off;
CREATE TABLE topk_few AS SELECT 7 AS grp;
ANALYZE topk_few;
SELECT topk_explain(:'analyze', $$SELECT t.id FROM topk_item t JOIN topk_few f ON f.grp = t.grp ORDER BY t.v <-> '[1,2,3]' LIMIT 120$$);
-- one scan for each outer row
SELECT topk_explain(:'analyze', $$SELECT o.id, i.id FROM topk_item o,
  LATERAL (SELECT id FROM topk_item i WHERE i.grp = o.grp ORDER BY i.v <-> o.v LIMIT 2) i WHERE o.id < 4$$);
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_material;
RESET enable_sort;

-- the settings
SELECT name, setting, vartype, context, boot_val FROM pg_settings WHERE name LIKE 'conifer.enable\_topk%';
SET conifer.no_such_setting = 1;

DROP TABLE topk_item, topk_root, topk_order, topk_few;
DROP FUNCTION topk_explain, topk_explain_json;
DROP OPERATOR FAMILY topk_reverse USING btree;
DROP OPERATOR <<<< (float8, float8);
DROP FUNCTION topk_cmp, topk_lt;
