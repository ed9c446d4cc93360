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

-- joins with other tables, from SQL and from the functions
CREATE TABLE article (id text PRIMARY KEY, title text);
INSERT INTO article VALUES ('B', 'Bees'), ('C', 'Cats');
SELECT title, values FROM article JOIN plain USING (id) WHERE namespace = 't' ORDER BY values <-> '[7,7]';
SELECT title, score FROM pc_query('plain', 't', '[1,0]') JOIN article USING (id) ORDER BY score DESC, id;
SELECT title, found.id FROM article, LATERAL pc_query('plain', 't', id => article.id, top_k => 1) AS found ORDER BY title;
DROP TABLE article;

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
DROP TRIGGER log_write ON plain;

-- so do triggers for each statement, and rules
TRUNCATE log;
CREATE FUNCTION log_statement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (tg_op || ' ' || tg_level); RETURN NULL; END $$;
CREATE TRIGGER log_statement AFTER INSERT OR UPDATE OR DELETE ON plain FOR EACH STATEMENT EXECUTE FUNCTION log_statement();
SELECT pc_upsert('plain', 't', id => 'B', vector => '[1,1]');
SELECT pc_update('plain', 't', 'B', set_metadata => '{"x": 3}');
SELECT pc_delete('plain', 't', ARRAY['B']);
SELECT entry FROM log;
DROP FUNCTION log_statement() CASCADE;
TRUNCATE log;
CREATE RULE log_delete AS ON DELETE TO plain DO ALSO INSERT INTO log VALUES ('rule');
SELECT pc_upsert('plain', 't', id => 'B', vector => '[1,1]');
SELECT pc_delete('plain', 't', ARRAY['B']);
SELECT entry FROM log;
DROP RULE log_delete ON plain;

-- a trigger may change the record, or keep it out
CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.id = 'no' THEN RETURN NULL; END IF;
    new.metadata := coalesce(new.metadata, '{}') || '{"seen": true}';
    RETURN new;
END
$$;
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION guard();
SELECT pc_upsert('plain', 't', ARRAY['B', 'no'], ARRAY['[1,1]', '[2,2]']::vector[]);
SELECT id, metadata FROM pc_fetch('plain', 't', ARRAY['B', 'C', 'no']);
DROP FUNCTION guard() CASCADE;

-- a further column, with a default and a check: the functions leave it alone, and its rules hold
ALTER TABLE plain ADD COLUMN source text DEFAULT 'unknown' CHECK (source <> 'bad');
SELECT pc_upsert('plain', 't', ARRAY['B', 'F'], ARRAY['[1,1]', '[2,2]']::vector[]);
UPDATE plain SET source = 'web' WHERE namespace = 't' AND id = 'B';
SELECT pc_upsert('plain', 't', id => 'B', vector => '[3,3]');
SELECT pc_update('plain', 't', 'B', set_metadata => '{"x": 4}');
SELECT pc_update('plain', 't', 'B', vector => '[4,4]');
SELECT id, values, metadata, source FROM plain WHERE namespace = 't' ORDER BY id;
SELECT id, values FROM pc_query('plain', 't', '[4,4]', top_k => 2, include_values => true);
SELECT id, metadata FROM pc_fetch('plain', 't', ARRAY['B']);
SELECT id FROM pc_list('plain', 't');
SELECT pc_delete('plain', 't', ARRAY['F']);
SELECT pc_upsert('plain', 'later', id => 'A', vector => '[1,1]');
SELECT namespace, id, source FROM plain WHERE namespace = 'later';
ALTER TABLE plain DROP COLUMN source;
SELECT pc_upsert('plain', 'later', id => 'B', vector => '[2,2]');
SELECT id FROM pc_query('plain', 'later', '[1,1]');

-- a check on what the functions write
ALTER TABLE plain ADD CONSTRAINT genre CHECK (metadata ? 'genre') NOT VALID;
DO $$
BEGIN
    PERFORM pc_upsert('plain', 't', ARRAY['G', 'H'], ARRAY['[1,1]', '[2,2]']::vector[], ARRAY['{"genre": "x"}', '{"x": 1}']::jsonb[]);
EXCEPTION WHEN check_violation THEN
    RAISE WARNING 'check violation';
END
$$;
SELECT pc_upsert('plain', 't', id => 'G', vector => '[1,1]', metadata => '{"genre": "x"}');
SELECT id FROM pc_fetch('plain', 't', ARRAY['G', 'H']);
ALTER TABLE plain DROP CONSTRAINT genre;

-- without the unique index the functions have no way to replace a record, and say so
DO $$
BEGIN
    EXECUTE format('DROP INDEX %s', (SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'plain'::regclass AND indisunique));
END
$$;
\set VERBOSITY sqlstate
SELECT pc_upsert('plain', 't', id => 'G', vector => '[1,1]');
\set VERBOSITY terse
SELECT id FROM pc_query('plain', 't', '[1,1]', top_k => 1);
SELECT id FROM pc_fetch('plain', 't', ARRAY['G']);
SELECT pc_delete('plain', 't', ARRAY['G']);
SELECT pc_delete_index('plain');
DROP TABLE log;
DROP FUNCTION log_write();
