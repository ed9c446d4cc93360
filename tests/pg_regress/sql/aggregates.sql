-- Aggregates: avg and sum.

SELECT avg(v), sum(v) FROM unnest(ARRAY['[1,2,3]'::vector, '[3,5,7]']) AS v;
SELECT avg(v), sum(v) FROM unnest(ARRAY['[1,2,3]'::vector, NULL, '[3,5,8]', NULL]) AS v;
SELECT avg(v), sum(v) FROM unnest(ARRAY[NULL]::vector[]) AS v;
SELECT avg(v) IS NULL AS avg, sum(v) IS NULL AS sum FROM unnest(ARRAY[]::vector[]) AS v;
SELECT avg(v), sum(v) FROM unnest(ARRAY['[-0,0.1]'::vector]) AS v;
SELECT avg(v) FROM unnest(ARRAY['[1,2]'::vector, '[3]']) AS v;
SELECT sum(v) FROM unnest(ARRAY['[1,2]'::vector, '[3]']) AS v;
SELECT avg(v) FROM unnest(ARRAY['[3e38]'::vector, '[3e38]']) AS v;
SELECT sum(v) FROM unnest(ARRAY['[3e38]'::vector, '[3e38]']) AS v;

-- groups and windows: a state is changed in place, and only its own
SELECT g, avg(v), sum(v), count(*) FROM (SELECT i % 3 AS g, ARRAY[i, -i]::vector AS v FROM generate_series(1, 10) AS i) AS t GROUP BY g ORDER BY g;
SELECT i, avg(ARRAY[i, 1]::vector) OVER (ORDER BY i), avg(ARRAY[i, 1]::vector) OVER (ORDER BY i ROWS 1 PRECEDING) FROM generate_series(1, 4) AS i;
SELECT g, avg(v) FROM (SELECT i % 2 AS g, ARRAY[i]::vector AS v FROM generate_series(1, 4) AS i) AS t GROUP BY ROLLUP (g) ORDER BY g;

-- the support functions called by themselves leave their arguments alone
SELECT s, vector_accum(s, '[1,2]'), vector_combine(s, s), vector_avg(s) FROM (VALUES ('{2,1.5,3}'::float8[])) AS t (s);
SELECT vector_accum('{0}', '[1,2]'), vector_combine('{0}', '{2,1}'), vector_combine('{2,1}', '{0}'), vector_combine('{0}', '{0}'), vector_avg('{0}');
SELECT vector_accum('{1,2}', '[1,2]');
SELECT vector_combine('{1,2}', '{1,2,3}');
SELECT vector_combine('{1,1.7e308}', '{1,1.7e308}');
SELECT vector_avg('{}');
SELECT vector_avg('{1}');
SELECT vector_avg('{{1,2}}');
SELECT vector_avg('{1,NULL}');
SELECT vector_avg('{1,1e300}');

-- parallel plans, empty workers included
CREATE TABLE item (v vector(2));
INSERT INTO item SELECT ARRAY[i % 100, -i % 100]::vector FROM generate_series(1, 10000) AS i;
ANALYZE item;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT avg(v), sum(v) FROM item;
SELECT avg(v), sum(v) FROM item;
SELECT avg(v), sum(v) FROM item WHERE v < '[-1,0]';
SELECT avg(v), sum(v) FROM item WHERE v < '[2,0]';
DROP TABLE item;
