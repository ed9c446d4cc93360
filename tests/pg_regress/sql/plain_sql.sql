-- The root is a table like any other.
SELECT pc_create_index('plain', 2) ->> 'name' AS name;
SELECT pc_create_namespace('plain', 't') ->> 'name' AS name;
COPY plain (namespace, id, values, metadata) FROM stdin;
t	A	[1,2]	{"x": 1}
t	B	[3,4]	\N
\.
INSERT INTO plain (namespace, id, values) VALUES ('t', 'C', ARRAY[5, 6]);
INSERT INTO plain VALUES ('t', 'C', '[7,8]') ON CONFLICT (namespace, id) DO UPDATE SET values = excluded.values;
UPDATE plain SET metadata = '{"x": 2}' WHERE namespace = 't' AND id = 'B';
DELETE FROM plain WHERE namespace = 't' AND id = 'A';
SELECT * FROM plain ORDER BY id;
COPY (SELECT * FROM plain ORDER BY id) TO stdout;

-- what the table refuses
\set VERBOSITY sqlstate
INSERT INTO plain VALUES ('t', 'B', '[1,2]');
\set VERBOSITY terse
INSERT INTO plain VALUES ('t', NULL, '[1,2]');
INSERT INTO plain VALUES ('t', '', '[1,2]');
INSERT INTO plain VALUES ('t', 'D', '[1,2,3]');
INSERT INTO plain VALUES ('t', 'D', '[1,NaN]');
INSERT INTO plain VALUES (NULL, 'D', '[1,2]');
INSERT INTO plain VALUES (repeat('t', 513), 'D', '[1,2]');

-- a namespace of that name must be there: its bucket and its leaf
DO $$
BEGIN
    INSERT INTO plain VALUES ('nowhere', 'D', '[1,2]');
EXCEPTION WHEN check_violation THEN
    RAISE WARNING 'no partition';
END
$$;

-- what SQL wrote the functions read
SELECT id, score FROM pc_query('plain', 't', '[7,8]', filter => '{"x": 2}');

-- triggers on the root fire for the functions' writes too
CREATE TABLE log (entry text);
CREATE FUNCTION log_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO log VALUES (tg_op || ' ' || coalesce(new.id, old.id));
    RETURN coalesce(new, old);
END
$$;
CREATE TRIGGER log_write AFTER INSERT OR UPDATE OR DELETE ON plain FOR EACH ROW EXECUTE FUNCTION log_write();
SELECT pc_upsert('plain', 't', ARRAY['B', 'E'], ARRAY['[1,1]', '[2,2]']::vector[]);
SELECT pc_update('plain', 't', 'E', vector => '[3,3]');
SELECT pc_delete('plain', 't', ARRAY['E']);
SELECT entry FROM log;
SELECT pc_delete_index('plain');
DROP TABLE log;
DROP FUNCTION log_write();
