//! Who the caller is, what they may do, and running the extension's own DDL as somebody else.

use super::relation::Oid;
use pgrx::pg_sys;
use std::ffi::CStr;

/// A right on a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    Select,
    Insert,
    Update,
    Delete,
}

impl Privilege {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Select, Self::Insert, Self::Update, Self::Delete];

    /// As SQL has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }

    fn raw(self) -> pg_sys::AclMode {
        let mode = match self {
            Privilege::Select => pg_sys::ACL_SELECT,
            Privilege::Insert => pg_sys::ACL_INSERT,
            Privilege::Update => pg_sys::ACL_UPDATE,
            Privilege::Delete => pg_sys::ACL_DELETE,
        };
        mode as pg_sys::AclMode
    }
}

/// The role whose rights count.
pub fn current_user() -> Oid {
    // SAFETY: reads a global.
    unsafe { pg_sys::GetUserId() }
}

/// Has the caller every one of these rights on the whole table? No, if it was dropped meanwhile.
pub fn has_privileges(table: Oid, privileges: &[Privilege]) -> bool {
    let user = current_user();
    privileges.iter().all(|privilege| {
        let mut is_missing = false;
        // SAFETY: answers for any OID; with is_missing a dropped relation is no error.
        let result = unsafe {
            pg_sys::pg_class_aclcheck_ext(table, user, privilege.raw(), &raw mut is_missing)
        };
        result == pg_sys::AclResult::ACLCHECK_OK
    })
}

/// Has the caller each of these rights on the table or on one of its columns? Who has not is told nothing about its rows.
pub fn has_some_privileges(table: Oid, privileges: &[Privilege]) -> bool {
    if super::relation::owner(table).is_none() {
        return false;
    }
    let user = current_user();
    privileges.iter().all(|privilege| {
        has_privileges(table, &[*privilege])
            // SAFETY: the relation is there, as its owner was found.
            || unsafe {
                pg_sys::pg_attribute_aclcheck_all(
                    table,
                    user,
                    privilege.raw(),
                    pg_sys::AclMaskHow::ACLMASK_ANY,
                ) == pg_sys::AclResult::ACLCHECK_OK
            }
    })
}

/// Is the caller the table's owner, or a member of the owner?
pub fn owns(table: Oid) -> bool {
    match super::relation::owner(table) {
        // SAFETY: both OIDs name roles.
        Some(owner) => unsafe { pg_sys::has_privs_of_role(current_user(), owner) },
        None => false,
    }
}

/// Were rights on the table granted or taken back, whatever they are now?
pub fn has_own_rights(table: Oid) -> bool {
    let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
    // SAFETY: a syscache tuple is valid until released; the attribute is one of its catalog's.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(table));
        if tuple.is_null() {
            return false;
        }
        let mut is_null = true;
        let column = pg_sys::Anum_pg_class_relacl as pg_sys::AttrNumber;
        pg_sys::SysCacheGetAttr(cache, tuple, column, &raw mut is_null);
        pg_sys::ReleaseSysCache(tuple);
        !is_null
    }
}

/// Does row security restrict what the caller sees of the table?
pub fn has_row_security(table: Oid) -> bool {
    // SAFETY: takes any relation OID; InvalidOid means the current user. With noError it does not complain under
    // row_security = off: the SQL path raises that error.
    let status = unsafe { pg_sys::check_enable_rls(table, pg_sys::InvalidOid, true) };
    status == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
}

/// Who was in force before [`as_role`]; again on drop.
struct Restore {
    user: Oid,
    context: i32,
    settings: i32,
}

impl Drop for Restore {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // (sub)transaction abort restores user, context and settings
        }
        // SAFETY: the values that NewGUCNestLevel and GetUserIdAndSecContext gave.
        unsafe {
            pg_sys::AtEOXact_GUC(false, self.settings);
            pg_sys::SetUserIdAndSecContext(self.user, self.context);
        }
    }
}

/// Runs `work` with the rights of `role`, as PostgreSQL runs CREATE INDEX or VACUUM of another's table: code of either side that comes to run meanwhile
/// (triggers, constraints, expressions of indexes) can neither reach into the time after, by deferred triggers, cursors or temporary tables, nor become
/// another role; and names it does not qualify are PostgreSQL's own, whatever the caller's search path says. An error inside restores the caller through
/// the transaction's abort.
pub fn as_role<T>(role: Oid, work: impl FnOnce() -> T) -> T {
    let mut user = pg_sys::InvalidOid;
    let mut context = 0;
    // SAFETY: the pointers are to locals and to constants, which end in NUL; the role exists, since it owns something locked by the caller. The setting is
    // made at a level of its own, as RestrictSearchPath of PostgreSQL 17 does.
    let _restore = unsafe {
        pg_sys::GetUserIdAndSecContext(&raw mut user, &raw mut context);
        let restricted =
            pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
        pg_sys::SetUserIdAndSecContext(role, context | restricted as i32);
        let settings = pg_sys::NewGUCNestLevel();
        pg_sys::set_config_option(
            c"search_path".as_ptr(),
            c"pg_catalog, pg_temp".as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
        Restore {
            user,
            context,
            settings,
        }
    };
    work()
}

/// May the role create tables in the schema?
pub fn may_create_in(schema: &CStr, role: Oid) -> bool {
    // SAFETY: schema names are looked up, unknown ones answer InvalidOid; the ACL check takes any OID.
    unsafe {
        let schema = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        schema != pg_sys::InvalidOid
            && super::compat::schema_aclcheck(schema, role, pg_sys::ACL_CREATE as pg_sys::AclMode)
    }
}

/// Owner of a schema.
pub fn schema_owner(schema: &CStr) -> Option<Oid> {
    // SAFETY: a syscache tuple is valid until released; pg_namespace rows have Form_pg_namespace's layout.
    unsafe {
        let oid = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::NAMESPACEOID as i32,
            pg_sys::Datum::from(oid),
        );
        if tuple.is_null() {
            return None;
        }
        let owner = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_namespace>()).nspowner;
        pg_sys::ReleaseSysCache(tuple);
        Some(owner)
    }
}

/// A role's name, quoted for SQL.
pub fn role_name(role: Oid) -> String {
    // SAFETY: an unknown role raises an error; the result is a palloc'd C string.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, false);
        CStr::from_ptr(pg_sys::quote_identifier(name))
            .to_string_lossy()
            .into_owned()
    }
}
