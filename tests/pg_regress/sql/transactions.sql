-- Everything the functions do is part of the transaction: rollback, savepoints, read-only, cursors, own writes.
SELECT pc_create_index('tx', 2) ->> 'name' AS name;
SELECT pc_upsert('tx', 'kept', id => 'A', vector => '[1,0]');

-- an index undone
BEGIN;
SELECT pc_create_index('undone', 2) ->> 'name' AS name;
SELECT pc_upsert('undone', 't', id => 'A', vector => '[1,0]');
SELECT id FROM pc_query('undone', 't', '[1,0]');
ROLLBACK;
SELECT pc_upsert('undone', 't', id => 'A', vector => '[1,0]');
SELECT id FROM pc_query('undone', 't', '[1,0]');
SELECT to_regclass('undone') IS NULL AS gone;
-- its name can be used again, for another table
SELECT pc_create_index('undone', 3) ->> 'dimension' AS dimension;
SELECT pc_upsert('undone', 't', id => 'A', vector => '[1,0]');
SELECT pc_upsert('undone', 't', id => 'A', vector => '[1,0,0]');
SELECT pc_delete_index('undone');

-- a first upsert undone, whole and to a savepoint
BEGIN;
SELECT pc_upsert('tx', 'new', id => 'A', vector => '[1,0]');
ROLLBACK;
SELECT name, record_count FROM pc_list_namespaces('tx');
BEGIN;
SAVEPOINT one;
SELECT pc_upsert('tx', 'new', id => 'A', vector => '[1,0]');
ROLLBACK TO one;
SELECT id FROM pc_query('tx', 'new', '[1,0]');
SELECT pc_upsert('tx', 'new', id => 'B', vector => '[1,0]');
SAVEPOINT two;
SELECT pc_upsert('tx', 'new', id => 'B', vector => '[2,0]');
SELECT pc_upsert('tx', 'new', id => 'C', vector => '[2,0]');
SELECT pc_delete('tx', 'kept', ARRAY['A']);
ROLLBACK TO two;
SELECT id, values FROM pc_query('tx', 'new', '[1,0]', include_values => true);
COMMIT;
SELECT id, values FROM pc_query('tx', 'new', '[1,0]', include_values => true);
SELECT id FROM pc_list('tx', 'kept');

-- offboarding undone; and a tenant who leaves and comes back within a transaction
BEGIN;
SELECT pc_delete('tx', 'new', delete_all => true);
SELECT id FROM pc_query('tx', 'new', '[1,0]');
SAVEPOINT gone;
SELECT pc_upsert('tx', 'new', id => 'D', vector => '[1,0]');
SELECT id FROM pc_query('tx', 'new', '[1,0]');
ROLLBACK TO gone;
SELECT id FROM pc_query('tx', 'new', '[1,0]');
SELECT pc_upsert('tx', 'new', id => 'E', vector => '[1,0]');
SELECT id FROM pc_query('tx', 'new', '[1,0]');
ROLLBACK;
SELECT id FROM pc_query('tx', 'new', '[1,0]');
BEGIN;
SELECT pc_delete_index('tx');
SELECT id FROM pc_query('tx', 'new', '[1,0]');
ROLLBACK;
SELECT id FROM pc_query('tx', 'new', '[1,0]');

-- an error undoes the statement it is in, and a handler goes on
DO $$
BEGIN
    PERFORM pc_upsert('tx', 'handled', id => 'A', vector => '[1,0]');
    BEGIN
        PERFORM pc_upsert('tx', 'other', id => 'A', vector => '[1,0]');
        PERFORM pc_upsert('tx', 'other', id => 'B', vector => '[1,0,0]');
    EXCEPTION WHEN data_exception THEN
        RAISE WARNING '% %', SQLSTATE, SQLERRM;
    END;
    PERFORM pc_upsert('tx', 'handled', id => 'B', vector => '[0,1]');
END
$$;
SELECT name, record_count FROM pc_list_namespaces('tx');

-- each statement sees what the transaction wrote before it
BEGIN;
SELECT pc_upsert('tx', 'own', '[{"id": "A", "values": [1, 0]}, {"id": "B", "values": [0, 1]}]');
SELECT id FROM pc_query('tx', 'own', '[1,0]');
SELECT pc_update('tx', 'own', 'B', vector => '[2,1]');
SELECT pc_delete('tx', 'own', ARRAY['A']);
SELECT pc_upsert('tx', 'own', id => 'A', vector => '[1,1]');
SELECT id, values FROM pc_query('tx', 'own', '[1,0]', include_values => true);
SELECT count(*) FROM tx WHERE namespace = 'own';
INSERT INTO tx VALUES ('own', 'C', '[1,0]');
SELECT id FROM pc_query('tx', 'own', '[1,0]');
ROLLBACK;

-- a function that queries sees the state its statement began with; one that writes sees its own writes
CREATE FUNCTION upsert_and_count() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pc_upsert('tx', 'loop', id => n::text, vector => ARRAY[n, 1]::vector) FROM generate_series(1, 50) n;
    RETURN (SELECT count(*) FROM pc_query('tx', 'loop', '[1,1]', top_k => 100));
END
$$;
SELECT upsert_and_count();
WITH written AS (SELECT pc_upsert('tx', 'loop', id => 'late', vector => '[1,1]') AS count)
SELECT count, (SELECT count(*) FROM pc_query('tx', 'loop', '[1,1]', top_k => 100)) FROM written;
SELECT count(*) FROM pc_query('tx', 'loop', '[1,1]', top_k => 100);
SELECT pc_upsert('tx', 'loop', id => id, vector => '[7,7]') FROM tx WHERE namespace = 'loop' AND id < '11' ORDER BY id;
SELECT count(*) FROM pc_query('tx', 'loop', '[7,7]', top_k => 100, include_values => true) WHERE values = '[7,7]';
DROP FUNCTION upsert_and_count();

-- cursors: what was found stays found
BEGIN;
DECLARE best CURSOR FOR SELECT id, score FROM pc_query('tx', 'handled', '[1,0]');
DECLARE back SCROLL CURSOR FOR SELECT id FROM pc_query('tx', 'handled', '[1,0]');
FETCH 1 FROM best;
SELECT pc_delete('tx', 'handled', ARRAY['A', 'B']);
FETCH ALL FROM best;
FETCH 2 FROM back;
FETCH BACKWARD 1 FROM back;
SELECT pc_delete('tx', 'handled', delete_all => true);
FETCH BACKWARD ALL FROM back;
CLOSE best;
ROLLBACK;
DECLARE held CURSOR WITH HOLD FOR SELECT id FROM pc_list('tx', 'handled');
SELECT pc_delete('tx', 'handled', delete_all => true);
FETCH ALL FROM held;
CLOSE held;

-- a read-only transaction reads, and refuses each function that writes
BEGIN READ ONLY;
SELECT id FROM pc_query('tx', 'kept', '[1,0]');
SELECT id FROM pc_fetch('tx', 'kept', ARRAY['A']);
SELECT id FROM pc_list('tx', 'kept');
SELECT pc_describe_index_stats('tx') -> 'total_record_count' AS records;
DO $$
DECLARE
    call text;
BEGIN
    FOREACH call IN ARRAY ARRAY[
        'pc_create_index(''other'', 2)', 'pc_configure_index(''tx'')', 'pc_delete_index(''tx'')',
        'pc_create_namespace(''tx'', ''other'')', 'pc_delete_namespace(''tx'', ''kept'')',
        'pc_upsert(''tx'', ''kept'', ''[]'')', 'pc_upsert(''tx'', ''kept'', ''A'', ''[1,0]'')',
        'pc_upsert(''tx'', ''kept'', ''A''::text, ''[1,0]''::vector)', 'pc_upsert(''tx'', ''kept'', ARRAY[''A''], ARRAY[''[1,0]'']::vector[])',
        'pc_update(''tx'', ''kept'', ''A'', ''[1,0]'')', 'pc_delete(''tx'', ''kept'', ARRAY[''A''])', 'pc_delete(''tx'', ''kept'', delete_all => true)'
    ] LOOP
        BEGIN
            EXECUTE 'SELECT ' || call;
            RAISE WARNING '%: not refused', call;
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING '% %', SQLSTATE, SQLERRM;
        END;
    END LOOP;
END
$$;
ROLLBACK;

-- nothing is left of what was dropped
SELECT pc_delete_index('tx');
SELECT (SELECT count(*) FROM conifer.namespaces) AS namespaces, (SELECT count(*) FROM conifer.buckets) AS buckets,
    (SELECT count(*) FROM pg_class WHERE relnamespace = 'conifer_data'::regnamespace) AS relations;
