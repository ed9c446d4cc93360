-- Filters: the language, and the functions that count, read, tally, change and delete by it.
SELECT pc_create_index('films', 2) ->> 'name' AS name;
SELECT pc_upsert('films', 't', '[
    {"id": "A", "values": [1, 0], "metadata": {"genre": "drama", "year": 2020, "tags": ["x", "y"]}},
    {"id": "B", "values": [0, 1], "metadata": {"genre": "comedy", "year": 2021, "good": true}},
    {"id": "C", "values": [1, 1], "metadata": {"genre": ["drama", "crime"], "year": 1999.5}},
    {"id": "D", "values": [2, 1], "metadata": {"genre": [], "year": "2020"}},
    {"id": "E", "values": [1, 2]},
    {"id": "F", "values": [3, 1], "metadata": {}}
]');

-- every operator; what is of another type, or missing, matches nothing
SELECT filter, pc_count('films', 't', filter) AS count,
    (SELECT string_agg(id, '' ORDER BY id) FROM pc_fetch_by_metadata('films', 't', filter)) AS fetched,
    (SELECT string_agg(id, '' ORDER BY id) FROM pc_query('films', 't', '[1,1]', filter => filter)) AS queried,
    (SELECT string_agg(id, '' ORDER BY id) FROM films WHERE namespace = 't' AND pc_matches(metadata, filter)) AS matched
FROM unnest('{
    "{}",
    "{\"genre\": \"drama\"}",
    "{\"genre\": {\"$eq\": \"drama\"}, \"year\": 2020}",
    "{\"genre\": {\"$ne\": \"drama\"}}",
    "{\"year\": {\"$ne\": 2020}}",
    "{\"year\": {\"$gt\": 2020}}",
    "{\"year\": {\"$gte\": 1999.5, \"$lt\": 2021}}",
    "{\"year\": {\"$lte\": 1999.5}}",
    "{\"genre\": {\"$in\": [\"crime\", \"comedy\", 1]}}",
    "{\"genre\": {\"$in\": []}}",
    "{\"genre\": {\"$nin\": [\"crime\", \"comedy\"]}}",
    "{\"genre\": {\"$nin\": []}}",
    "{\"good\": {\"$exists\": true}}",
    "{\"good\": {\"$exists\": false}}",
    "{\"$or\": [{\"good\": true}, {\"tags\": \"y\"}]}",
    "{\"$and\": [{\"genre\": \"drama\"}, {\"genre\": \"crime\"}]}",
    "{\"$not\": {\"genre\": \"drama\"}}",
    "{\"$not\": {\"$not\": {\"genre\": \"drama\"}}}"
}'::jsonb[]) AS filter;
-- another filter at each call of one place, and the same again
SELECT pc_matches('{"a": 1}', filter) FROM (VALUES (1, '{"a": 1}'::jsonb), (2, '{"a": 2}'), (3, '{"a": 1}'), (4, '{"a": 1}'), (5, '{"a": 2}')) AS t (n, filter) ORDER BY n;
SELECT pc_matches(NULL, '{}') AS yes, pc_matches(NULL, '{"a": {"$exists": false}}') AS missing, pc_matches(NULL, '{"a": 1}') AS no;

-- counts
SELECT pc_count('films', 't') AS all, pc_count('films', 't', '{}') AS empty_filter, pc_count('films', 'none') AS none, pc_count('films', 'none', '{"a": 1}') AS none_either;

-- pages, each from the token of the one before
CREATE TABLE pages (page int, id text, metadata jsonb, next_token text);
DO $$
DECLARE token text; page int := 0;
BEGIN
    LOOP
        page := page + 1;
        INSERT INTO pages SELECT page, f.id, f.metadata, f.next_token
        FROM pc_fetch_by_metadata('films', 't', '{"year": {"$exists": true}}', 3, pagination_token => token) f;
        SELECT p.next_token INTO token FROM pages p WHERE p.page = (SELECT max(q.page) FROM pages q) ORDER BY p.id COLLATE "C" DESC LIMIT 1;
        EXIT WHEN token IS NULL OR page > 5;
    END LOOP;
END
$$;
SELECT * FROM pages ORDER BY id;
DROP TABLE pages;
SELECT id, values, metadata, next_token FROM pc_fetch_by_metadata('films', 't', '{"genre": "crime"}');
SELECT count(*) FROM pc_fetch_by_metadata('films', 'none', '{}');

-- values of a field with how many records have each
SELECT * FROM pc_facets('films', 't', 'genre');
SELECT * FROM pc_facets('films', 't', 'year');
SELECT * FROM pc_facets('films', 't', 'year', filter => '{"year": {"$gt": 0}}', "limit" => 2);
SELECT * FROM pc_facets('films', 't', 'good');
SELECT * FROM pc_facets('films', 't', 'none');
SELECT * FROM pc_facets('films', 'none', 'genre');
SELECT pc_create_namespace('films', 'odd') ->> 'name' AS name;
INSERT INTO films SELECT 'odd', n::text, NULL, m FROM unnest('{
    "{\"v\": 1.0}", "{\"v\": 1}", "{\"v\": [\"a\", \"a\", \"b\"]}", "{\"v\": \"a\"}", "{\"v\": false}", "{\"v\": 1e400}", "{\"v\": -1e400}",
    "{\"v\": null}", "{\"v\": {\"w\": 1}}", "{\"v\": \"\\\"\\\\n\"}", "{\"v\": 0.1}", "{\"v\": -0.0}", "{\"v\": 1e20}", "[]", "7"}'::jsonb[]) WITH ORDINALITY AS u (m, n);
SELECT * FROM pc_facets('films', 'odd', 'v');

-- fields set and removed
SELECT pc_merge_metadata('{"a": 1, "b": 2}', '{"b": 3, "c": 4}', ARRAY['a', 'none']);
SELECT pc_merge_metadata(NULL, '{"b": 3}') AS set, pc_merge_metadata(NULL, remove_metadata => ARRAY['a']) IS NULL AS still_none, pc_merge_metadata('{"a": 1}', remove_metadata => ARRAY['a']) AS emptied;
SELECT pc_update('films', 't', 'A', set_metadata => '{"seen": true}', remove_metadata => ARRAY['tags', 'none']);
SELECT pc_update('films', 't', 'A', vector => '[5,5]', remove_metadata => ARRAY['genre']);
SELECT id, values, metadata FROM pc_fetch('films', 't', ARRAY['A']);
SELECT pc_update('films', 't', filter => '{"year": {"$gt": 2000}}', dry_run => true) AS would_be, pc_update('films', 't', filter => '{"year": {"$gt": 2000}}', set_metadata => '{"new": true}', dry_run => true) AS would_be_too;
SELECT id, metadata FROM films WHERE metadata ? 'new';
SELECT pc_update('films', 't', filter => '{"year": {"$gt": 2000}}', set_metadata => '{"new": true, "year": 1}', remove_metadata => ARRAY['seen']);
SELECT id, metadata FROM films WHERE metadata ? 'new' ORDER BY id;
SELECT pc_update('films', 't', filter => '{"none": 1}', set_metadata => '{"x": 1}') AS nothing, pc_update('films', 'none', filter => '{"none": 1}', set_metadata => '{"x": 1}') AS nowhere;
SELECT pc_update('films', 't', filter => '{"genre": {"$exists": false}}', set_metadata => '{"was": "bare"}') AS bare;
SELECT id, metadata FROM pc_fetch('films', 't', ARRAY['E', 'F']);
-- one record that cannot take it, and none is changed
SELECT pc_update('films', 't', filter => '{"year": 1}', set_metadata => '{"a": 1}') AS first;
SELECT pc_update('films', 't', filter => '{"a": 1}', set_metadata => jsonb_build_object('big', repeat('x', 40900)));
SELECT count(*) FROM films WHERE metadata ? 'big';
-- dry_run writes nothing, so it may be done where nothing may be written
BEGIN READ ONLY;
SELECT pc_update('films', 't', filter => '{"year": 1}', set_metadata => '{"a": 2}', dry_run => true);
SELECT pc_update('films', 't', filter => '{"year": 1}', set_metadata => '{"a": 2}');
ROLLBACK;

-- delete
SELECT pc_delete('films', 't', filter => '{"was": "bare"}');
SELECT pc_delete('films', 't', filter => '{"was": "bare"}') AS again, pc_delete('films', 'none', filter => '{"was": "bare"}') AS nowhere;
SELECT id FROM pc_list('films', 't');
BEGIN;
SELECT pc_upsert('films', 't', id => 'own', vector => '[1,2]', metadata => '{"mine": 1}');
SELECT pc_update('films', 't', filter => '{"mine": 1}', set_metadata => '{"mine": 2}');
SELECT pc_count('films', 't', '{"mine": 2}');
SELECT pc_delete('films', 't', filter => '{"mine": 2}');
SELECT pc_count('films', 't', '{"mine": 2}');
ROLLBACK;

-- more records than work_mem has room to remember
SELECT pc_create_namespace('films', 'many') ->> 'name' AS name;
INSERT INTO films SELECT 'many', 'r' || n, '[1,2]', jsonb_build_object('n', n) FROM generate_series(1, 6000) AS n;
SET work_mem = '64kB';
SELECT pc_update('films', 'many', filter => '{"n": {"$gt": 1000}}', set_metadata => '{"seen": true}');
SELECT pc_count('films', 'many', '{"seen": true}'), pc_count('films', 'many', '{"n": {"$lte": 1000}, "seen": {"$exists": false}}') AS others;
SELECT pc_delete('films', 'many', filter => '{"seen": true}');
SELECT pc_count('films', 'many') AS left, pc_count('films', 'many', '{"n": {"$lte": 1000}}') AS others;
RESET work_mem;
SELECT pc_delete_namespace('films', 'many');

-- a trigger takes effect: the same by statements on the root
CREATE FUNCTION keep_b() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.id = 'B' THEN RETURN NULL; END IF; RETURN COALESCE(NEW, OLD); END $$;
CREATE TRIGGER keep_b BEFORE UPDATE OR DELETE ON films FOR EACH ROW EXECUTE FUNCTION keep_b();
SELECT pc_count('films', 't', '{"year": {"$gt": 0}}');
SELECT pc_update('films', 't', filter => '{"year": {"$gt": 0}}', set_metadata => '{"x": 1}', remove_metadata => ARRAY['a', 'new']);
SELECT id, metadata FROM films WHERE namespace = 't' ORDER BY id;
SELECT pc_update('films', 't', 'A', set_metadata => '{"x": 2}', remove_metadata => ARRAY['year']), pc_update('films', 't', 'B', set_metadata => '{"x": 2}') AS kept;
SELECT pc_delete('films', 't', filter => '{"genre": {"$exists": true}}');
SELECT id, metadata FROM films WHERE namespace = 't' ORDER BY id;
DROP FUNCTION keep_b CASCADE;

-- row security: only what is visible counts, is changed, goes
CREATE ROLE conifer_viewer;
GRANT SELECT, UPDATE, DELETE ON films TO conifer_viewer;
SELECT pc_upsert('films', 'rls', '[
    {"id": "A", "values": [1, 0], "metadata": {"team": "red", "v": 1}},
    {"id": "B", "values": [0, 1], "metadata": {"team": "blue", "v": 1}},
    {"id": "C", "values": [1, 1], "metadata": {"team": "red", "v": 2}}
]');
ALTER TABLE films ENABLE ROW LEVEL SECURITY;
CREATE POLICY red ON films TO conifer_viewer USING (metadata ->> 'team' = 'red');
SET ROLE conifer_viewer;
SELECT pc_count('films', 'rls') AS all, pc_count('films', 'rls', '{"v": 1}') AS ones;
SELECT id, next_token IS NULL AS last FROM pc_fetch_by_metadata('films', 'rls', '{"v": {"$exists": true}}', 1);
SELECT * FROM pc_facets('films', 'rls', 'team');
SELECT id FROM pc_query('films', 'rls', '[1,0]', filter => '{"v": 1}');
SELECT pc_update('films', 'rls', filter => '{"v": 1}', set_metadata => '{"v": 3}', dry_run => true) AS would_be;
SELECT pc_update('films', 'rls', filter => '{"v": 1}', set_metadata => '{"v": 3}');
SELECT pc_update('films', 'rls', filter => '{"v": 3}', set_metadata => '{"team": "blue"}');
SELECT pc_delete('films', 'rls', filter => '{"v": {"$exists": true}}');
RESET ROLE;
SELECT id, metadata FROM films WHERE namespace = 'rls';
ALTER TABLE films DISABLE ROW LEVEL SECURITY;

-- rights: to read is not to write, and on single columns PostgreSQL decides
REVOKE UPDATE, DELETE ON films FROM conifer_viewer;
SET ROLE conifer_viewer;
SELECT pc_count('films', 'rls', '{"v": 1}');
SELECT pc_update('films', 'rls', filter => '{"v": 1}', dry_run => true);
SELECT pc_update('films', 'rls', filter => '{"v": 1}', set_metadata => '{"v": 3}');
SELECT pc_delete('films', 'rls', filter => '{"v": 1}');
RESET ROLE;
REVOKE SELECT ON films FROM conifer_viewer;
GRANT SELECT (namespace, metadata) ON films TO conifer_viewer;
SET ROLE conifer_viewer;
SELECT pc_count('films', 'rls', '{"v": 1}');
SELECT * FROM pc_facets('films', 'rls', 'v');
SELECT id FROM pc_fetch_by_metadata('films', 'rls', '{"v": 1}');
RESET ROLE;
REVOKE ALL ON films FROM conifer_viewer;
SET ROLE conifer_viewer;
SELECT pc_count('films', 'none');
SELECT * FROM pc_facets('films', 'none', 'v');
SELECT id FROM pc_fetch_by_metadata('films', 'none', '{}');
RESET ROLE;
DROP OWNED BY conifer_viewer;
DROP ROLE conifer_viewer;
SELECT pc_delete_index('films');
