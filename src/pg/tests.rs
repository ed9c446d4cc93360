//! What needs a backend and what SQL cannot see: direct reads and writes of a leaf against PostgreSQL's own.

use super::heap::{self, Snapshot};
use super::json::JsonbOut;
use super::leaf::RecordReader;
use super::relation::{LockMode, Oid, Relation};
use super::transaction::{self, WriteSnapshot};
use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use super::*;

    /// Runs SQL.
    fn run(statement: &str) {
        Spi::run(statement).expect(statement);
    }

    /// One value of a query.
    fn get<T: FromDatum + IntoDatum>(query: &str) -> T {
        Spi::get_one(query).expect(query).expect(query)
    }

    /// The open leaf of namespace `t`.
    fn leaf(index: &str) -> Relation {
        let oid: Oid = get(&format!(
            "SELECT leaf::oid FROM conifer.namespaces WHERE namespace = 't' AND root = '{index}'::regclass"
        ));
        Relation::open(oid, LockMode::AccessShare)
    }

    /// The ids a scan finds under a snapshot, in C order.
    fn scanned(leaf: &Relation, snapshot: Snapshot<'_>) -> Vec<String> {
        let reader = RecordReader::new(leaf);
        let mut ids = Vec::new();
        heap::scan(leaf, snapshot, |_, row| {
            ids.push(reader.read(row)?.id.into_owned());
            Ok(())
        })
        .unwrap();
        ids.sort();
        ids
    }

    /// The ids SQL finds now, in C order.
    fn selected(index: &str) -> Vec<String> {
        get(&format!(
            "SELECT coalesce(array_agg(id::text ORDER BY id), '{{}}') FROM {index} WHERE namespace = 't'"
        ))
    }

    /// Scan, count and SQL agree on what is there now; answers how many rows that is.
    fn agree(index: &str) -> usize {
        let leaf = leaf(index);
        let snapshot = WriteSnapshot::push();
        let expected = selected(index);
        assert_eq!(scanned(&leaf, snapshot.get()), expected);
        assert_eq!(heap::count(&leaf, snapshot.get()), expected.len() as u64);
        let estimate = heap::estimate_count(&leaf, snapshot.get(), u32::MAX);
        assert_eq!(estimate, expected.len() as u64);
        expected.len()
    }

    /// Some four rows a page: 490 dimensions.
    fn create_scan() {
        run("SELECT pc_create_index('scan', 490, metric => 'dotproduct')");
        run("SELECT pc_create_namespace('scan', 't')");
        run(
            "INSERT INTO scan SELECT 't', n, array_fill(n, ARRAY[490]) FROM generate_series(1, 200) n",
        );
    }

    #[pg_test]
    fn a_scan_sees_what_sql_sees() {
        create_scan();
        assert_eq!(agree("scan"), 200);
        run("DELETE FROM scan WHERE namespace = 't' AND id::int % 3 = 0");
        assert_eq!(agree("scan"), 134);
        run(
            "UPDATE scan SET values = array_fill(0, ARRAY[490]) WHERE namespace = 't' AND id::int % 5 = 0",
        );
        assert_eq!(agree("scan"), 134);
        // rows of an aborted subtransaction, inserted, updated and deleted
        run("DO $$ BEGIN
             INSERT INTO scan SELECT 't', 'x' || n, array_fill(n, ARRAY[490]) FROM generate_series(1, 50) n;
             UPDATE scan SET metadata = '{}' WHERE namespace = 't' AND id::int % 7 = 0;
             DELETE FROM scan WHERE namespace = 't' AND id < '2';
             RAISE EXCEPTION 'undo';
         EXCEPTION WHEN OTHERS THEN NULL; END $$");
        assert_eq!(agree("scan"), 134);
        // locked rows are there
        run(
            "SELECT count(*) FROM (SELECT id FROM scan WHERE namespace = 't' FOR UPDATE) AS locked",
        );
        assert_eq!(agree("scan"), 134);
        run("TRUNCATE scan");
        assert_eq!(agree("scan"), 0);
    }

    #[pg_test]
    fn an_old_snapshot_sees_the_old_rows() {
        create_scan();
        let leaf = leaf("scan");
        let old = WriteSnapshot::push();
        let before = selected("scan");
        run("DELETE FROM scan WHERE namespace = 't' AND id::int % 2 = 0");
        run("UPDATE scan SET id = 'new' || id WHERE namespace = 't' AND id::int % 3 = 0");
        run(
            "SELECT pc_upsert('scan', 't', id => 'late', vector => array_fill(1, ARRAY[490])::vector)",
        );
        assert_eq!(scanned(&leaf, old.get()), before);
        assert_eq!(heap::count(&leaf, old.get()), 200);
        drop(old);
        assert_eq!(agree("scan"), 101);
    }

    #[pg_test]
    fn an_estimate_is_near_and_bounded() {
        create_scan();
        run("DELETE FROM scan WHERE namespace = 't' AND id::int % 2 = 0");
        let leaf = leaf("scan");
        let snapshot = WriteSnapshot::push();
        assert_eq!(leaf.blocks(), 50); // four rows a page, of which two are left
        assert_eq!(heap::estimate_count(&leaf, snapshot.get(), 10), 100);
        assert_eq!(heap::estimate_count(&leaf, snapshot.get(), 50), 100);
    }

    /// Every way a value can be stored: NULL, with a short header, plain, compressed in the row, out of line.
    #[pg_test]
    fn records_are_read_however_they_are_stored() {
        run("SELECT pc_create_index('wide', 3000, metric => 'dotproduct')");
        run("SELECT pc_create_index('slim', 3, metric => 'dotproduct')");
        for (index, dimensions) in [("wide", 3000), ("slim", 3)] {
            run(&format!("SELECT pc_create_namespace('{index}', 't')"));
            // as in a table an owner altered: ids too are compressed, or leave the row before a vector that does not fit it
            run(&format!(
                "ALTER TABLE {index} ALTER COLUMN id SET STORAGE EXTENDED"
            ));
            run(&format!(
            "INSERT INTO {index} SELECT 't', left(kind::text || has || id, 512), CASE WHEN has THEN
                    (SELECT array_agg(1 / (n + length(id))::real ORDER BY n) FROM generate_series(1, {dimensions}) n)::vector END,
                 CASE kind WHEN 1 THEN '{{}}' WHEN 2 THEN jsonb_build_object('k', id) WHEN 3 THEN jsonb_build_object('k', repeat('v', 200))
                    WHEN 4 THEN jsonb_build_object('k', repeat('v', 20000))
                    WHEN 5 THEN (SELECT jsonb_object_agg(n, md5(n || id)) FROM generate_series(1, 600) n) END
             FROM (VALUES ('a'), (repeat('x', 120)), (repeat('y', 121)), (repeat('z', 512))) AS ids (id),
                 (VALUES (true), (false)) AS vectors (has), generate_series(0, 5) AS kind"
        ));
            let leaf = leaf(index);
            let reader = RecordReader::new(&leaf);
            let snapshot = WriteSnapshot::push();
            let (mut rows, mut scratch) = (0, Vec::new());
            heap::scan(&leaf, snapshot.get(), |_, row| {
                let record = reader.read(row)?;
                let id = pgrx::spi::quote_literal(&*record.id);
                let stored = |what: &str| {
                    format!("SELECT {what} FROM {index} WHERE namespace = 't' AND id = {id}")
                };
                let vector: Option<Vec<f32>> = Spi::get_one(&stored("values::real[]")).unwrap();
                assert_eq!(record.with_values(<[f32]>::to_vec)?, vector);
                assert_eq!(
                    reader.with_values(row, &mut scratch, <[f32]>::to_vec)?,
                    vector
                );
                let metadata: Option<String> = Spi::get_one(&stored("metadata::text")).unwrap();
                let text = |payload: &[u8]| JsonbOut::from_payload(payload).to_text();
                assert_eq!(record.with_metadata(|payload| payload.map(text)), metadata);
                rows += 1;
                Ok(())
            })
            .unwrap();
            assert_eq!(rows, 4 * 2 * 6);
        }
        // they were stored in all these ways: vectors and metadata out of line, metadata compressed in the row
        let toast = |index: &str| -> i64 {
            get(&format!(
                "SELECT pg_relation_size(reltoastrelid) / 8192 FROM pg_class JOIN conifer.namespaces ON oid = leaf WHERE root = '{index}'::regclass"
            ))
        };
        assert!(toast("wide") > 24 && toast("slim") > 4);
        let compressed: i64 =
            get("SELECT count(*) FROM slim WHERE pg_column_compression(metadata) IS NOT NULL");
        assert!(compressed >= 8);
    }

    #[pg_test]
    fn namespaces_hash_as_postgresql_hashes_them() {
        run("SELECT pc_create_index('hashed', 2)");
        let mut names: Vec<String> = [
            "",
            "a",
            "A",
            "__default__",
            "日本",
            "é",
            "e\u{301}",
            " ",
            "\u{1}",
            "🦀",
        ]
        .map(String::from)
        .into();
        names.extend((0..300).map(|n| format!("tenant{n}")));
        names.extend((1..40).map(|n| "x".repeat(n * 13)));
        let mut buckets = std::collections::HashSet::new();
        for name in names {
            let remainder = transaction::partition_hash(&name) % 1024;
            let satisfies = format!(
                "SELECT satisfies_hash_partition('hashed'::regclass, 1024, {remainder}, {}::conifer.namespace_name)",
                pgrx::spi::quote_literal(&name)
            );
            assert!(get::<bool>(&satisfies), "{name}");
            buckets.insert(remainder);
        }
        assert!(buckets.len() > 250); // it spreads them
    }

    /// Replacing a record by its like is a HOT update where the page has room. One of other metadata needs an entry in the vector index.
    #[pg_test]
    fn replacing_a_record_is_hot() {
        run("SELECT pc_create_index('hot', 8)");
        let upsert = "SELECT pc_upsert('hot', 't', id => n::text, vector => array_fill(n, ARRAY[8])::vector) FROM generate_series(1, 10) n";
        run(upsert);
        let leaf = leaf("hot").oid().to_u32();
        let counter =
            |name: &str| get::<i64>(&format!("SELECT pg_stat_get_xact_tuples_{name}({leaf})"));
        assert_eq!((counter("inserted"), counter("updated")), (10, 0));
        run(upsert);
        run("SELECT pc_update('hot', 't', '3', set_metadata => '{\"x\": 1}')");
        assert_eq!(
            (
                counter("inserted"),
                counter("updated"),
                counter("hot_updated")
            ),
            (10, 11, 10)
        );
        run("SELECT pc_delete('hot', 't', '{1,2}')");
        assert_eq!(counter("deleted"), 2);
    }

    /// And where it has none, the new version gets its own index entry.
    #[pg_test]
    fn replacing_a_record_of_a_full_page() {
        create_scan();
        let before = leaf("scan").blocks();
        for vector in ["array_fill(n, ARRAY[490])", "array_fill(-n, ARRAY[490])"] {
            run(&format!(
                "SELECT pc_upsert('scan', 't', array_agg(n::text), array_agg({vector}::vector)) FROM generate_series(1, 200) n"
            ));
        }
        assert!(leaf("scan").blocks() >= 2 * before);
        assert_eq!(agree("scan"), 200);
        run("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off");
        for n in [1, 99, 200] {
            let by_index = format!(
                "SELECT count(*) FROM scan WHERE namespace = 't' AND id = '{n}' AND values = array_fill(-{n}, ARRAY[490])::vector"
            );
            assert_eq!(get::<i64>(&by_index), 1);
            let updated =
                format!("SELECT pc_update('scan', 't', '{n}', set_metadata => '{{\"n\": {n}}}')");
            assert_eq!(get::<i64>(&updated), 1);
        }
        assert_eq!(
            get::<i64>("SELECT count(*) FROM scan WHERE metadata IS NOT NULL"),
            3
        );
    }
}
