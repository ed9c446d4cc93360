//! The SQL files that make the catalog and describe the functions.
#![forbid(unsafe_code)]

use pgrx::extension_sql_file;

extension_sql_file!("../../sql/catalog.sql", name = "catalog");

extension_sql_file!(
    "../../sql/functions.sql",
    name = "functions",
    requires = [
        "vector_type",
        index::pc_create_index,
        index::pc_describe_index,
        index::pc_list_indexes,
        index::pc_configure_index,
        index::pc_delete_index,
        index::pc_describe_index_stats,
        inspect::conifer_check,
        inspect::conifer_inspect,
        machine::conifer_simd,
        namespace::pc_create_namespace,
        namespace::pc_describe_namespace,
        namespace::pc_list_namespaces,
        namespace::pc_delete_namespace,
        namespace::pc_rename_namespace,
        namespace::pc_copy_namespace,
        limits::pc_set_limits,
        usage::pc_usage,
        usage::pc_reset_usage,
        rights::pc_grant,
        rights::pc_revoke,
        write::pc_upsert_json,
        write::pc_upsert_one,
        write::pc_upsert_text,
        write::pc_upsert_arrays,
        write::pc_update,
        write::pc_delete,
        query::pc_query,
        query::pc_query_json,
        query::pc_query_namespaces,
        query::pc_fetch,
        query::pc_list,
        filter::pc_count,
        filter::pc_facets,
        filter::pc_fetch_by_metadata,
        filter::pc_matches,
        filter::pc_merge_metadata,
    ]
);
