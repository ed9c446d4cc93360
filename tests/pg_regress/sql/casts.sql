-- Casts from and to arrays.

SELECT ARRAY[1,2,3]::vector, ARRAY[1.5::real,-2]::vector, ARRAY[0.1::float8,1e-50]::vector, ARRAY[1.23456789,-2]::vector;
SELECT '{16777217,-2147483648}'::int[]::vector, '{0.1,16777217}'::numeric[]::vector;
SELECT ARRAY[1,2,3]::vector(3), ARRAY[1,2,3]::real[]::vector(3);
SELECT '[2:4]={1,2,3}'::int[]::vector;
SELECT ARRAY[1,2,3]::vector(2);
SELECT ARRAY[1,2,3]::numeric[]::vector(2);
SELECT '{}'::real[]::vector;
SELECT '{}'::numeric[]::vector;
SELECT '{{1,2},{3,4}}'::int[]::vector;
SELECT '{{1,2},{3,4}}'::numeric[]::vector;
SELECT '{1,NULL}'::int[]::vector;
SELECT '{1,NULL}'::numeric[]::vector;
SELECT '{NaN}'::real[]::vector;
SELECT '{Infinity}'::float8[]::vector;
SELECT '{1e300}'::float8[]::vector;
SELECT '{NaN}'::numeric[]::vector;
SELECT '{1e300}'::numeric[]::vector;
SELECT vector_dims(array_fill(0, ARRAY[20000])::vector);
SELECT vector_dims(array_fill(0, ARRAY[20001])::vector);
SELECT vector_dims(array_fill(0::numeric, ARRAY[20001])::vector);
SELECT array_to_vector(ARRAY[1,2], 2, false), array_to_vector(ARRAY[1,2], -1, true);

SELECT '[1,-2.5,0.1]'::vector::real[], '[1,-2.5,0.1]'::vector::float8[], '[1,-2.5,0.1]'::vector::numeric[];
SELECT '[0.5,1.5,2.5,-0.5,-1.5,-2.51]'::vector::int[];
SELECT '[2147483520,-2147483648]'::vector::int[];
SELECT '[2147483648]'::vector::int[];
SELECT '[-2147483904]'::vector::int[];
SELECT array_dims('[1,2,3]'::vector::real[]), array_dims('[1,2,3]'::vector::numeric[]), pg_typeof('[1]'::vector::float8[]);
SELECT '[1.25,3]'::vector::numeric(4,1)[];
SELECT v = v::real[]::vector AND v = v::float8[]::vector AS same FROM (SELECT '[0.1,3.4028235e38,1e-45,-0]'::vector AS v) AS t;

-- contexts: real[] is reached by itself, the others where a value is stored
CREATE FUNCTION reals(real[]) RETURNS real RETURN $1[2];
CREATE FUNCTION doubles(float8[]) RETURNS float8 RETURN $1[2];
SELECT reals('[1,2]'::vector);
SELECT doubles('[1,2]'::vector);
SELECT doubles('[1,2]'::vector::float8[]);
CREATE TABLE numbers (i int[], r real[], f float8[], n numeric[], v vector);
INSERT INTO numbers SELECT v, v, v, v, v FROM (SELECT '[1.5,2]'::vector AS v) AS t;
SELECT * FROM numbers;
INSERT INTO numbers (v) SELECT i FROM numbers;
INSERT INTO numbers (v) SELECT r FROM numbers WHERE r IS NOT NULL;
INSERT INTO numbers (v) SELECT f FROM numbers WHERE f IS NOT NULL;
INSERT INTO numbers (v) SELECT n FROM numbers WHERE n IS NOT NULL;
SELECT v FROM numbers;
SELECT ARRAY[1,2] <-> '[1,2]'::vector;
SELECT castsource::regtype, casttarget::regtype, castcontext, castmethod
  FROM pg_cast WHERE 'vector'::regtype IN (castsource, casttarget) ORDER BY castsource::regtype::text COLLATE "C", casttarget::regtype::text COLLATE "C";
DROP TABLE numbers;
DROP FUNCTION reals, doubles;

-- pgvector is not installed here
SELECT conifer_install_pgvector_casts();
