-- Functions and operators of the type vector.

-- distances
SELECT '[0,0]'::vector <-> '[3,4]' AS l2, '[1,2]'::vector <#> '[3,4]' AS negative_ip,
       '[1,2]'::vector <=> '[2,4]' AS cosine, '[0,0]'::vector <+> '[3,-4]' AS l1;
SELECT l2_distance('[0,0]'::vector, '[0,1]'), inner_product('[1,2]'::vector, '[3,4]'), cosine_distance('[1,1]'::vector, '[-1,-1]'),
       l1_distance('[1,2]'::vector, '[3,5]');
SELECT vector_l2_squared_distance('[0,0]', '[3,4]'), vector_negative_inner_product('[1,2]', '[3,4]'),
       vector_spherical_distance('[1,0]', '[0,1]'), vector_spherical_distance('[1,1]', '[1,1]');
SELECT '[1,2]'::vector <=> '[0,0]' AS no_direction, '[1,1]'::vector <=> '[1.1,1.1]' AS same_direction;
SELECT '[3e38]'::vector <-> '[-3e38]' AS l2, '[3e38]'::vector <#> '[3e38]' AS negative_ip, '[3e38]'::vector <+> '[-3e38]' AS l1;
SELECT '[1,2]'::vector <-> '[3]';
SELECT '[1,2]'::vector <#> '[3]';
SELECT '[1,2]'::vector <=> '[3]';
SELECT '[1,2]'::vector <+> '[3]';
SELECT vector_l2_squared_distance('[1,2]', '[3]');
SELECT vector_spherical_distance('[1]', '[1,2]');
SELECT NULL::vector <-> '[1]' IS NULL AS strict;

-- arithmetic
SELECT '[1,2,3]'::vector + '[4,5,6]', '[1,2,3]'::vector - '[4,5,6]', '[1,2,3]'::vector * '[4,5,6]', '[1,2]'::vector || '[3]';
SELECT '[3e38]'::vector + '[3e38]';
SELECT '[-3e38]'::vector - '[3e38]';
SELECT '[1e37]'::vector * '[1e37]';
SELECT '[1e-37]'::vector * '[1e-37]';
SELECT '[1e-37,1e37]'::vector * '[1e-37,1e37]';
SELECT '[0,1e-37]'::vector * '[1e-37,0]';
SELECT '[1,2]'::vector + '[3]';
SELECT '[1,2]'::vector - '[3]';
SELECT '[1,2]'::vector * '[3]';
SELECT vector_dims(array_fill(0, ARRAY[10000])::vector || array_fill(0, ARRAY[10000])::vector);
SELECT vector_dims(array_fill(0, ARRAY[10001])::vector || array_fill(0, ARRAY[10000])::vector);

-- one vector
SELECT vector_dims('[1,2,3]'::vector), vector_norm('[3,4]'::vector), vector_norm('[3e37,4e37]'::vector)::real, vector_norm('[0]'::vector);
SELECT l2_normalize('[3,4]'::vector), l2_normalize('[0,0]'::vector), l2_normalize('[3e38]'::vector), l2_normalize('[1e-45,0]'::vector);
SELECT subvector('[1,2,3,4,5]'::vector, 1, 3), subvector('[1,2,3,4,5]'::vector, 3, 2), subvector('[1,2,3,4,5]'::vector, -1, 3);
SELECT subvector('[1,2,3,4,5]'::vector, 3, 9), subvector('[1,2,3,4,5]'::vector, 5, 2147483647);
SELECT subvector('[1,2,3,4,5]'::vector, 1, 0);
SELECT subvector('[1,2,3,4,5]'::vector, 3, -1);
SELECT subvector('[1,2,3,4,5]'::vector, -1, 2);
SELECT subvector('[1,2,3,4,5]'::vector, 6, 1);
SELECT subvector('[1,2,3,4,5]'::vector, -2147483648, 2147483647);
SELECT binary_quantize('[1,0,-1,0.5]'::vector), binary_quantize('[-0,1e-45,2,3,4,5,6,7,8]'::vector);

-- comparison: element by element, then the shorter first
SELECT '[1,2]'::vector < '[1,3]', '[1,2]'::vector < '[1,2]', '[1,2]'::vector < '[1,2,0]', '[2]'::vector < '[1,2]';
SELECT '[1,2]'::vector <= '[1,2]', '[1,2]'::vector = '[1,2]', '[-0]'::vector = '[0]', '[1]'::vector = '[1,0]';
SELECT '[1,2]'::vector <> '[1,2]', '[1,2]'::vector >= '[1,1,9]', '[1,2]'::vector > '[1,2]', '[1,2,3]'::vector > '[1,2]';
SELECT vector_cmp('[1]', '[2]'), vector_cmp('[2]', '[2]'), vector_cmp('[2,1]', '[2]');

-- the operator class
CREATE TABLE item (v vector(2));
INSERT INTO item SELECT ARRAY[i % 7, i % 3]::vector FROM generate_series(1, 100) AS i;
INSERT INTO item VALUES (NULL);
CREATE UNIQUE INDEX ON item (v);
CREATE INDEX item_v ON item (v);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM item WHERE v < '[1,1]';
SELECT count(*) FROM item WHERE v < '[1,1]';
SELECT count(*) FROM item WHERE v >= '[1,1]' AND v <= '[1,2]';
SELECT DISTINCT v FROM item ORDER BY v LIMIT 4;
RESET enable_seqscan;
RESET enable_bitmapscan;
SELECT count(DISTINCT v), min(v::text), max(v::text) FROM item;
SELECT v, count(*) FROM item GROUP BY v ORDER BY v DESC NULLS LAST LIMIT 3;
SELECT count(*) FROM item AS a JOIN item AS b ON a.v = b.v;
SELECT v FROM item ORDER BY v <-> '[3,3]', v LIMIT 3;

-- what the planner is told
SELECT oprname, oprcom::regoperator, oprnegate::regoperator, oprrest, oprjoin, oprcanmerge, oprcanhash,
       obj_description(oid, 'pg_operator')
  FROM pg_operator WHERE oprleft = 'vector'::regtype ORDER BY oprname COLLATE "C";
SELECT opcname, opcdefault, amname, obj_description(pg_opclass.oid, 'pg_opclass')
  FROM pg_opclass JOIN pg_am ON pg_am.oid = opcmethod WHERE opcintype = 'vector'::regtype ORDER BY 1;

DROP TABLE item;
