-- The type vector: text, binary, type modifier, storage.

-- text form
SELECT '[1,2,3]'::vector;
SELECT ' [ 1 , -2.5e-1,3.] '::vector;
SELECT '[0.1,0.333333343,1e-7,123456789,1e15,1e16,-0]'::vector;
SELECT '[3.4028235e38,1.1754944e-38,1e-45]'::vector;
SELECT '[0x10,1e+2,.5]'::vector;
SELECT '[1,2,3'::vector;
SELECT '1,2,3]'::vector;
SELECT '[1,2,3]9'::vector;
SELECT '[1,,3]'::vector;
SELECT '[1,2,]'::vector;
SELECT '[1 2]'::vector;
SELECT '[hello]'::vector;
SELECT ''::vector;
SELECT '['::vector;
SELECT '[]'::vector;
SELECT '[ ]'::vector;
SELECT '[NaN]'::vector;
SELECT '[1,Infinity]'::vector;
SELECT '[-inf]'::vector;
SELECT '[4e38]'::vector;
SELECT '[1e-46]'::vector;
SELECT vector_dims(('[' || repeat('1,', 19999) || '1]')::vector);
SELECT vector_dims(('[' || repeat('1,', 20000) || '1]')::vector);

-- binary form: number of dimensions, zero, the elements
SELECT vector_send('[1,-2.5,0]');

-- type modifier
SELECT '[1,2,3]'::vector(3);
SELECT '[1,2,3]'::vector(2);
SELECT '[1,2]'::vector::vector(3);
SELECT '[1]'::vector(0);
SELECT '[1]'::vector(-1);
SELECT '[1]'::vector(20000);
SELECT '[1]'::vector(20001);
SELECT '[1]'::vector(1,2);
SELECT '[1]'::vector('x');
SELECT format_type('vector'::regtype, 3), format_type('vector'::regtype, -1);
SELECT typlen, typbyval, typalign, typstorage, typcategory, typnotnull FROM pg_type WHERE oid = 'vector'::regtype;

-- columns: the modifier holds on every way in
CREATE TABLE item (id int, v vector(3));
INSERT INTO item VALUES (1, '[1,2,3]'), (2, NULL), (3, ARRAY[4,5,6]);
INSERT INTO item VALUES (4, '[1,2]');
INSERT INTO item VALUES (4, ARRAY[1,2]);
INSERT INTO item SELECT 4, '[1,2,3,4]'::vector;
UPDATE item SET v = v || '[7]';
COPY item FROM stdin;
4	[7,8,9]
5	\N
\.
COPY item FROM stdin;
6	[7,8]
\.
SELECT * FROM item ORDER BY id;
COPY item TO stdout;

-- any width: short header, inline, out of line
CREATE TABLE wide (dim int, v vector);
INSERT INTO wide SELECT dim, array_fill(dim::real, ARRAY[dim])::vector FROM unnest(ARRAY[1, 29, 30, 31, 500, 2500, 20000]) AS dim;
SELECT dim, vector_dims(v), vector_norm(v)::real = (dim * sqrt(dim::float8))::real AS same, pg_column_size(v), pg_column_compression(v)
  FROM wide ORDER BY dim;
ALTER TABLE wide ALTER COLUMN v SET STORAGE EXTENDED;
INSERT INTO wide SELECT -dim, v FROM wide WHERE dim = 20000;
UPDATE wide SET v = v + v WHERE dim = -20000;
SELECT dim, vector_dims(v), (v::real[])[20000], pg_column_size(v) < 20000 AS compressed FROM wide WHERE dim = -20000;

-- in arrays, rows and domains
SELECT ARRAY['[1,2]', NULL, '[3]']::vector[];
SELECT '{"[1,2]","[3]"}'::vector[];
SELECT '{"[1,2]","[x]"}'::vector[];
SELECT ('{"[1,2]","[3]"}'::vector(2)[])[1];
SELECT ROW('[1,2]'::vector, 3);
CREATE DOMAIN pair AS vector(2) NOT NULL CHECK (vector_norm(VALUE) > 0);
SELECT '[3,4]'::pair;
SELECT '[0,0]'::pair;
SELECT '[1,2,3]'::pair;

-- which one it is depends on the CPU
SELECT conifer_simd() IN ('avx512', 'avx2', 'neon', 'scalar') AS known;

-- every function of the extension says what it is for, and how it may be run
SELECT p.oid::regprocedure AS silent
  FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'conifer'
 WHERE obj_description(p.oid, 'pg_proc') IS NULL
 ORDER BY 1;
SELECT p.oid::regprocedure AS function, provolatile, proparallel, proisstrict
  FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'conifer'
 WHERE 'vector'::regtype = ANY (prorettype || proargtypes::oid[]) AND proname NOT LIKE 'pc\_%' AND prokind = 'f'
   AND (provolatile, proparallel, proisstrict) <> ('i', 's', true)
 ORDER BY 1;

DROP DOMAIN pair;
DROP TABLE item, wide;
