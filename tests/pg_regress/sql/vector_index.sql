-- The access method conifer on tables of any kind: what it takes, what it refuses, and that it answers as a sort does.

-- vectors all over the place, the same in every run
CREATE FUNCTION vi_vector(n int, dimensions int) RETURNS vector LANGUAGE sql IMMUTABLE AS
$$ SELECT array_agg((hashint4extended(n, j) % 2000) / 1000.0)::real[]::vector FROM generate_series(1, dimensions) j $$;
-- violations of an index, its form, its entries and its dead ones
CREATE FUNCTION vi_state(index regclass) RETURNS text LANGUAGE sql AS
$$ SELECT format('%s violations, %s, %s entries, %s dead', (SELECT count(*) FROM conifer_check(index)), i ->> 'form',
                 i ->> 'entries', i ->> 'dead_entries')
     FROM conifer_inspect(index) i $$;
-- how many rows an index search finds that are as near as the k-th by a sort; and whether it gives k rows in order
CREATE FUNCTION vi_compare(tab regclass, operator text, dimensions int, k int, queries int, qual text DEFAULT 'true')
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  query text := format('SELECT array_agg(d), array_agg(d) IS NOT DISTINCT FROM array_agg(d ORDER BY d) FROM '
                       '(SELECT v %s $1 AS d FROM %s WHERE v IS NOT NULL AND %s ORDER BY v %s $1 LIMIT %s) s',
                       operator, tab, qual, operator, k);
  n int; found float8[]; truth float8[]; ordered bool;
  hits int := 0; total int := 0; faults int := 0;
BEGIN
  FOR n IN 1 .. queries LOOP
    PERFORM set_config('conifer.enable_topk_scan', 'on', true);
    EXECUTE query INTO found, ordered USING vi_vector(-n, dimensions);
    PERFORM set_config('conifer.enable_topk_scan', 'off', true);
    EXECUTE query INTO truth USING vi_vector(-n, dimensions);
    faults := faults + (cardinality(found) IS DISTINCT FROM cardinality(truth) OR NOT ordered)::int;
    hits := hits + (SELECT count(*) FROM unnest(found) f WHERE f <= truth[cardinality(truth)]);
    total := total + coalesce(cardinality(truth), 0);
  END LOOP;
  PERFORM set_config('conifer.enable_topk_scan', 'on', true);
  RETURN format('%s, %s faults', CASE WHEN hits >= 0.98 * total THEN 'recall kept' ELSE format('recall %s of %s', hits, total) END, faults);
END $$;

CREATE TABLE vi_item (id int, v vector(48), m jsonb);
INSERT INTO vi_item SELECT n, CASE WHEN n % 50 = 0 THEN NULL ELSE vi_vector(n, 48) END,
       jsonb_build_object('genre', 'g' || n % 5, 'n', n) FROM generate_series(1, 5000) n;

-- every operator class
CREATE INDEX vi_l2 ON vi_item USING conifer (v vector_l2_ops);
CREATE INDEX vi_ip ON vi_item USING conifer (v vector_ip_ops) INCLUDE (m);
CREATE INDEX vi_cosine ON vi_item USING conifer (v vector_cosine_ops) INCLUDE (m);
VACUUM ANALYZE vi_item;
SELECT i, vi_state(i) FROM unnest('{vi_l2,vi_ip,vi_cosine}'::regclass[]) i;
SELECT o, vi_compare('vi_item', o, 48, 10, 20) FROM unnest('{<->,<#>,<=>}'::text[]) o;
SELECT vi_compare('vi_item', '<->', 48, 100, 5);
SELECT amname, opcname, opcdefault FROM pg_opclass JOIN pg_am a ON a.oid = opcmethod WHERE amname = 'conifer' ORDER BY 2;
SELECT opcname, amvalidate(c.oid) FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod WHERE amname = 'conifer' ORDER BY 1;

-- what EXPLAIN tells
CREATE FUNCTION vi_explain(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) ' || query LOOP
    line := regexp_replace(line, '(rows=\d+)\.00', '\1');
    line := regexp_replace(line, '\[[0-9.,-]+\]', '[…]');
    RETURN NEXT regexp_replace(line, '(Reranked|Removed by Filter): \d+', '\1: N');
  END LOOP;
END $$;
SELECT vi_explain(format('SELECT id FROM vi_item ORDER BY v <-> %L LIMIT 5', vi_vector(-1, 48)));
SELECT vi_explain(format('SELECT id FROM vi_item WHERE id < 4000 ORDER BY v <=> %L LIMIT 5', vi_vector(-1, 48)));
-- without LIMIT, by an operator that no index orders by, descending: not ours
PREPARE vi_descending(vector) AS SELECT id FROM vi_item ORDER BY v <-> $1 DESC LIMIT 5;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE vi_descending('[1]');
-- a recall of 1 looks at every row
SET conifer.recall = 1;
SELECT vi_explain(format('SELECT id FROM vi_item ORDER BY v <-> %L LIMIT 5', vi_vector(-1, 48)));
RESET conifer.recall;
SET conifer.recall = 0.3;
SET conifer.recall = 1.5;

-- filters: k rows whenever k pass, be they few
SELECT vi_compare('vi_item', '<->', 48, 10, 10, 'id % 10 = 3');
SELECT vi_compare('vi_item', '<->', 48, 10, 5, 'id < 40');
SELECT vi_compare('vi_item', '<->', 48, 10, 5, 'id < 4');
SELECT vi_compare('vi_item', '<->', 48, 10, 2, 'id < 0');

-- where no row passes, or none has a vector, the index knows none and the table is asked once
SET statement_timeout = '60s';
SET enable_seqscan = off;
SET enable_sort = off;
CREATE TABLE vi_none (id int, pad text, v vector(3));
ALTER TABLE vi_none ALTER pad SET STORAGE PLAIN;
INSERT INTO vi_none SELECT n, repeat('x', 500), NULL FROM generate_series(1, 1000) n;
CREATE INDEX ON vi_none USING conifer (v vector_l2_ops);
VACUUM ANALYZE vi_none;
SELECT vi_explain('SELECT id FROM vi_none ORDER BY v <-> ''[1,2,3]'' LIMIT 5');
INSERT INTO vi_none SELECT n, repeat('x', 500), '[1,2,3]' FROM generate_series(1, 1000) n;
SELECT vi_explain('SELECT id FROM vi_none WHERE id < 0 ORDER BY v <-> ''[1,2,3]'' LIMIT 5');
DROP TABLE vi_none;
RESET enable_sort;
RESET enable_seqscan;
RESET statement_timeout;

-- whoever asks for more than LIMIT promised gets all rows, each once, those of NULL last
BEGIN;
DECLARE vi_cursor CURSOR FOR SELECT id FROM vi_item ORDER BY v <-> vi_vector(-3, 48) LIMIT 10;
FETCH ALL FROM vi_cursor \g /dev/null
COMMIT;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM vi_item ORDER BY v <-> vi_vector(-3, 48) LIMIT 5000) s;
SELECT count(*) FROM (SELECT v FROM vi_item ORDER BY v <-> vi_vector(-3, 48) LIMIT 4950) s WHERE v IS NULL;
SELECT count(*), count(DISTINCT o.id) FROM
  (SELECT id FROM vi_item ORDER BY v <-> vi_vector(-3, 48) OFFSET 0 LIMIT 3000) o JOIN vi_item i USING (id) WHERE i.id % 400 = 1;
-- a query that is NULL, or without a direction
SELECT count(*) FROM (SELECT id FROM vi_item ORDER BY v <-> NULL LIMIT 5) s;
SELECT count(*) FROM (SELECT id FROM vi_item ORDER BY v <=> array_fill(0, '{48}')::vector LIMIT 5) s;
SELECT id FROM vi_item ORDER BY v <-> '[1,2,3]' LIMIT 5;
-- the same plan twice with other parameters: a rescan
SELECT q, (SELECT array_agg(id) FROM (SELECT id FROM vi_item ORDER BY v <-> vi_vector(q, 48) LIMIT 3) s)
  = (SELECT array_agg(id) FROM (SELECT id FROM vi_item ORDER BY l2_distance(v, vi_vector(q, 48)) + 0, id LIMIT 3) s) AS same
  FROM generate_series(1, 3) q;

-- updates, HOT or not, deletes, an aborted insert, a savepoint
UPDATE vi_item SET m = m || '{"seen": true}' WHERE id % 7 = 0;
UPDATE vi_item SET v = vi_vector(id + 100000, 48) WHERE id % 11 = 0;
BEGIN;
INSERT INTO vi_item SELECT n, vi_vector(n, 48) FROM generate_series(5001, 5100) n;
SELECT vi_compare('vi_item', '<->', 48, 10, 10);
ROLLBACK;
BEGIN;
SAVEPOINT s;
DELETE FROM vi_item WHERE id < 1000;
ROLLBACK TO s;
DELETE FROM vi_item WHERE id BETWEEN 1000 AND 1200;
COMMIT;
SELECT o, vi_compare('vi_item', o, 48, 10, 10) FROM unnest('{<->,<#>,<=>}'::text[]) o;
SELECT count(*) FROM conifer_check('vi_l2');
VACUUM vi_item;
SELECT i, vi_state(i) FROM unnest('{vi_l2,vi_ip,vi_cosine}'::regclass[]) i;
SELECT o, vi_compare('vi_item', o, 48, 10, 10) FROM unnest('{<->,<#>,<=>}'::text[]) o;
-- nine of ten go, and more come than there were
DELETE FROM vi_item WHERE id % 10 <> 0 OR v IS NULL;
VACUUM vi_item;
SELECT i, vi_state(i) FROM unnest('{vi_l2,vi_ip,vi_cosine}'::regclass[]) i;
INSERT INTO vi_item SELECT n, vi_vector(n, 48), '{}' FROM generate_series(10000, 18000) n;
VACUUM vi_item;
SELECT i, vi_state(i) FROM unnest('{vi_l2,vi_ip,vi_cosine}'::regclass[]) i;
SELECT o, vi_compare('vi_item', o, 48, 10, 10) FROM unnest('{<->,<#>,<=>}'::text[]) o;

-- written anew
REINDEX INDEX vi_l2;
REINDEX INDEX CONCURRENTLY vi_ip;
DROP INDEX vi_cosine;
CREATE INDEX CONCURRENTLY vi_cosine ON vi_item USING conifer (v vector_cosine_ops) INCLUDE (m);
SELECT i, vi_state(i) FROM unnest('{vi_l2,vi_ip,vi_cosine}'::regclass[]) i;
SELECT o, vi_compare('vi_item', o, 48, 10, 5) FROM unnest('{<->,<#>,<=>}'::text[]) o;
CLUSTER vi_item USING vi_l2;
VACUUM FULL vi_item;
SELECT i, vi_state(i) FROM unnest('{vi_l2,vi_ip,vi_cosine}'::regclass[]) i;
BEGIN;
TRUNCATE vi_item;
INSERT INTO vi_item SELECT n, vi_vector(n, 48) FROM generate_series(1, 10) n;
SELECT id FROM vi_item ORDER BY v <-> vi_vector(3, 48) LIMIT 1;
ROLLBACK;
SELECT vi_state('vi_l2');
ALTER TABLE vi_item ALTER v TYPE vector(48) USING (v + v);
SELECT i, vi_state(i) FROM unnest('{vi_l2,vi_ip,vi_cosine}'::regclass[]) i;

-- some of the rows
CREATE INDEX vi_some ON vi_item USING conifer (v vector_l2_ops) WHERE id > 17000;
SELECT vi_state('vi_some');
DROP INDEX vi_l2;
ANALYZE vi_item;
PREPARE vi_within(vector) AS SELECT id FROM vi_item WHERE id > 17500 ORDER BY v <-> $1 LIMIT 5;
EXPLAIN (COSTS OFF) EXECUTE vi_within('[1]');
PREPARE vi_beyond(vector) AS SELECT id FROM vi_item WHERE id > 1750 ORDER BY v <-> $1 LIMIT 5;
EXPLAIN (COSTS OFF) EXECUTE vi_beyond('[1]');
SELECT vi_compare('vi_item', '<->', 48, 10, 5, 'id > 17500');
DROP TABLE vi_item;

-- tables of other kinds
CREATE UNLOGGED TABLE vi_unlogged (id int, v vector(16));
CREATE INDEX vi_unlogged_v ON vi_unlogged USING conifer (v vector_l2_ops);
INSERT INTO vi_unlogged SELECT n, vi_vector(n, 16) FROM generate_series(1, 3000) n;
SELECT vi_state('vi_unlogged_v'), vi_compare('vi_unlogged', '<->', 16, 10, 5);
SELECT pg_relation_size('vi_unlogged_v', 'init');
CREATE TEMP TABLE vi_temporary (id int, v vector(16));
CREATE INDEX vi_temporary_v ON vi_temporary USING conifer (v vector_l2_ops);
INSERT INTO vi_temporary SELECT n, vi_vector(n, 16) FROM generate_series(1, 6000) n;
DELETE FROM vi_temporary WHERE id % 2 = 0;
VACUUM vi_temporary;
SELECT vi_state('vi_temporary_v'), vi_compare('vi_temporary', '<->', 16, 10, 5);
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE vi_space LOCATION '';
CREATE INDEX vi_spaced_v ON vi_unlogged USING conifer (v vector_cosine_ops) TABLESPACE vi_space;
ALTER INDEX vi_unlogged_v SET TABLESPACE vi_space;
SELECT i, vi_state(i) FROM unnest('{vi_unlogged_v,vi_spaced_v}'::regclass[]) i;
DROP TABLE vi_unlogged;
DROP TABLESPACE vi_space;

-- partitions
CREATE TABLE vi_root (id int, part int, v vector(16)) PARTITION BY LIST (part);
CREATE INDEX vi_root_v ON vi_root USING conifer (v vector_l2_ops);
CREATE TABLE vi_root_1 PARTITION OF vi_root FOR VALUES IN (1);
CREATE TABLE vi_root_2 PARTITION OF vi_root FOR VALUES IN (2);
INSERT INTO vi_root SELECT n, 1 + n % 2, vi_vector(n, 16) FROM generate_series(1, 8000) n;
ANALYZE vi_root;
SELECT c.oid::regclass, vi_state(c.oid) FROM pg_class c JOIN pg_inherits ON inhrelid = c.oid WHERE inhparent = 'vi_root_v'::regclass ORDER BY 1::text;
SELECT vi_compare('vi_root', '<->', 16, 10, 10);
SELECT vi_compare('vi_root', '<->', 16, 10, 10, 'part = 2');
PREPARE vi_both(vector) AS SELECT id FROM vi_root ORDER BY v <-> $1 LIMIT 5;
EXPLAIN (COSTS OFF) EXECUTE vi_both('[1]');
CREATE MATERIALIZED VIEW vi_view AS SELECT id, v FROM vi_root;
CREATE INDEX vi_view_v ON vi_view USING conifer (v vector_l2_ops);
REFRESH MATERIALIZED VIEW vi_view;
SELECT vi_state('vi_view_v'), vi_compare('vi_view', '<->', 16, 10, 5);

-- vectors in the TOAST table, at the largest dimension and on each side of a page
CREATE TABLE vi_wide (id int, v vector(2500));
INSERT INTO vi_wide SELECT n, vi_vector(n, 2500) FROM generate_series(1, 300) n;
CREATE INDEX vi_wide_v ON vi_wide USING conifer (v vector_l2_ops);
ANALYZE vi_wide;
SELECT vi_state('vi_wide_v'), vi_compare('vi_wide', '<->', 2500, 10, 3);
DELETE FROM vi_wide WHERE id % 3 = 0;
INSERT INTO vi_wide SELECT n, vi_vector(n, 2500) FROM generate_series(1001, 1020) n;
VACUUM vi_wide;
SELECT vi_state('vi_wide_v'), vi_compare('vi_wide', '<->', 2500, 10, 3);
CREATE TABLE vi_widest (id int, v vector(20000));
CREATE INDEX vi_widest_v ON vi_widest USING conifer (v vector_cosine_ops);
INSERT INTO vi_widest SELECT n, vi_vector(n, 20000) FROM generate_series(1, 5) n;
SELECT id FROM vi_widest ORDER BY v <=> vi_vector(3, 20000) LIMIT 1;
SELECT vi_state('vi_widest_v');
-- and the smallest
CREATE TABLE vi_narrow (id int, v vector(1));
CREATE INDEX vi_narrow_v ON vi_narrow USING conifer (v vector_l2_ops);
INSERT INTO vi_narrow SELECT n, vi_vector(n, 1) FROM generate_series(1, 10000) n;
VACUUM ANALYZE vi_narrow;
SELECT vi_state('vi_narrow_v'), vi_compare('vi_narrow', '<->', 1, 10, 5);

-- zeros under cosine have no distance: after all others
CREATE TABLE vi_zero (id int, v vector(8)) WITH (fillfactor = 10);
INSERT INTO vi_zero SELECT n, CASE WHEN n % 3 = 0 THEN array_fill(0, '{8}')::vector ELSE vi_vector(n, 8) END FROM generate_series(1, 1500) n;
CREATE INDEX vi_zero_v ON vi_zero USING conifer (v vector_cosine_ops);
ANALYZE vi_zero;
SELECT vi_compare('vi_zero', '<=>', 8, 10, 5);
SELECT count(*) FILTER (WHERE id % 3 = 0) FROM (SELECT id FROM vi_zero ORDER BY v <=> vi_vector(-1, 8) LIMIT 1000) s;

-- what is refused
CREATE TABLE vi_refused (id int, v vector, w vector(3), m jsonb, t text);
CREATE INDEX ON vi_refused USING conifer (v vector_l2_ops);
CREATE INDEX ON vi_refused USING conifer ((v::vector(3)) vector_l2_ops);
CREATE INDEX ON vi_refused USING conifer (w);
CREATE INDEX ON vi_refused USING conifer (id vector_l2_ops);
CREATE INDEX ON vi_refused USING conifer (w vector_l2_ops) INCLUDE (t);
CREATE INDEX ON vi_refused USING conifer (w vector_l2_ops) INCLUDE (m, t);
CREATE INDEX ON vi_refused USING conifer (w vector_l2_ops, w vector_ip_ops);
CREATE UNIQUE INDEX ON vi_refused USING conifer (w vector_l2_ops);
CREATE INDEX ON vi_refused USING conifer (w vector_l2_ops) WITH (lists = 100);
CREATE INDEX ON vi_refused USING conifer (w vector_l2_ops DESC);
SELECT conifer_check('vi_refused');
SELECT conifer_check(0::oid::regclass);
SELECT conifer_inspect('pg_class_oid_index');
SELECT * FROM conifer_check(NULL);
CREATE INDEX vi_refused_w ON vi_refused USING conifer (w vector_l2_ops);
INSERT INTO vi_refused (w) VALUES ('[1,2]');
CREATE ROLE vi_other;
SET ROLE vi_other;
SELECT conifer_check('vi_refused_w');
SELECT conifer_inspect('vi_refused_w');
RESET ROLE;
DROP ROLE vi_other;
SELECT vi_state('vi_refused_w');
-- metadata of any kind is taken
CREATE INDEX vi_refused_m ON vi_refused USING conifer (w vector_l2_ops) INCLUDE (m);
INSERT INTO vi_refused (w, m) VALUES ('[1,2,3]', '[1]'), ('[1,2,3]', '"x"'), ('[1,2,3]', '{"a": 1e400, "b": {"c": []}}'), ('[1,2,3]', NULL), (NULL, '{}');
SELECT vi_state('vi_refused_m');

-- every leaf of an index has one
SELECT pc_create_index('vi-tenants', 16, 'euclidean') ->> 'name';
SELECT pc_upsert('vi-tenants', 'big', (SELECT array_agg('r' || n) FROM generate_series(1, 3000) n),
                 (SELECT array_agg(vi_vector(n, 16)) FROM generate_series(1, 3000) n));
SELECT pc_upsert('vi-tenants', 'small', 'one', vi_vector(1, 16));
CREATE FUNCTION vi_leaf(tenant text) RETURNS regclass LANGUAGE sql AS
$$ SELECT i.indexrelid::regclass FROM conifer.namespaces n JOIN pg_index i ON i.indrelid = n.leaf
     JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam AND amname = 'conifer' WHERE namespace = tenant $$;
SELECT vi_state(vi_leaf('big')), vi_state(vi_leaf('small')), pg_relation_size(vi_leaf('small'));
CREATE FUNCTION vi_agree(tenant text, k int) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE by_index text; by_scan text;
BEGIN
  PERFORM set_config('conifer.recall', '0.999', true);
  SELECT string_agg(id || ':' || score, ',') INTO by_index FROM pc_query('vi-tenants', tenant, vi_vector(-5, 16), k);
  PERFORM set_config('conifer.recall', '1', true);
  SELECT string_agg(id || ':' || score, ',') INTO by_scan FROM pc_query('vi-tenants', tenant, vi_vector(-5, 16), k);
  PERFORM set_config('conifer.recall', '0.99', true);
  RETURN by_index = by_scan;
END $$;
SELECT vi_agree('big', 10), vi_agree('big', 100), vi_agree('big', 3000), vi_agree('small', 10);
SELECT pc_update('vi-tenants', 'big', 'r7', vi_vector(-5, 16));
SELECT pc_delete('vi-tenants', 'big', '{r1,r2,r3}'::text[]);
SELECT id, score FROM pc_query('vi-tenants', 'big', vi_vector(-5, 16), 1);
SELECT vi_agree('big', 10);
SELECT count(*) FROM conifer_check(vi_leaf('big'));
SELECT pc_delete_index('vi-tenants');
DROP FUNCTION vi_leaf, vi_agree;
DROP MATERIALIZED VIEW vi_view;
DROP TABLE vi_root, vi_wide, vi_widest, vi_narrow, vi_zero, vi_refused, vi_temporary;
DROP FUNCTION vi_vector, vi_state, vi_compare, vi_explain;
