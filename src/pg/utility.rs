//! Utility statements that lock a partitioned table with all its partitions, told of before they do (tcop/utility.c).

use super::pg_list::members;
use super::relation::Oid;
use pgrx::pg_guard;
use pgrx::pg_sys::{self, AlterTableType as Alter, NodeTag, ObjectType};
use std::ffi::{CStr, c_char};
use std::sync::OnceLock;

/// What a statement is going to do with a table and all its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// Locks them, with their indexes.
    Locked,
    Dropped,
}

/// Is told of each table that a statement names and whose partitions it locks, if it has any.
pub type Watch = fn(Oid, Whole);

struct Installed {
    previous: pg_sys::ProcessUtility_hook_type,
    watch: Watch,
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// Has `watch` called before such a statement is executed. Only the first call counts.
pub fn install_watch(watch: Watch) {
    // SAFETY: libraries are loaded on the backend's only thread.
    let previous = unsafe { pg_sys::ProcessUtility_hook };
    if INSTALLED.set(Installed { previous, watch }).is_ok() {
        // SAFETY: as above; the function is of the hook's type.
        unsafe { pg_sys::ProcessUtility_hook = Some(process_utility) }
    }
}

/// PostgreSQL's own, without pgrx's guard, which would take CONTEXT and the like off every error that a statement raises.
mod unguarded {
    use pgrx::pg_sys::{
        DestReceiver, ParamListInfo, PlannedStmt, ProcessUtilityContext, QueryCompletion,
        QueryEnvironment,
    };
    use std::ffi::c_char;

    unsafe extern "C-unwind" {
        pub(super) fn standard_ProcessUtility(
            statement: *mut PlannedStmt,
            text: *const c_char,
            is_read_only: bool,
            context: ProcessUtilityContext::Type,
            parameters: ParamListInfo,
            environment: *mut QueryEnvironment,
            destination: *mut DestReceiver,
            completion: *mut QueryCompletion,
        );
    }
}

/// "Hook for plugins to get control in ProcessUtility()". Errors leave by one jump over its frame, which owns nothing.
#[expect(
    ffi_unwind_calls,
    reason = "called by PostgreSQL, over a frame without destructors"
)]
unsafe extern "C-unwind" fn process_utility(
    statement: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    is_read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    parameters: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    let previous = INSTALLED.get().and_then(|installed| installed.previous);
    let next = previous.unwrap_or(unguarded::standard_ProcessUtility);
    // SAFETY: the hook's own arguments, during its call, given on to PostgreSQL or another library.
    unsafe {
        look_at(statement);
        next(
            statement,
            text,
            is_read_only,
            context,
            parameters,
            environment,
            destination,
            completion,
        );
    }
}

/// Tells the watch of what a statement is about, and raises its error.
#[pg_guard]
unsafe extern "C-unwind" fn look_at(statement: *mut pg_sys::PlannedStmt) {
    if let Some(installed) = INSTALLED.get() {
        // SAFETY: the statement about to be executed.
        unsafe {
            each_whole(
                &mut |table, whole| (installed.watch)(table, whole),
                (*statement).utilityStmt,
            )
        };
    }
}

/// Tells of the tables that a statement names and locks with their partitions.
///
/// # Safety
/// A live statement.
unsafe fn each_whole(tell: &mut dyn FnMut(Oid, Whole), statement: *const pg_sys::Node) {
    // SAFETY: by the caller's promise; a node's tag says which struct it is, and the lists' members are as nodes/parsenodes.h says.
    unsafe {
        let mut named = |relation: *const pg_sys::RangeVar, whole| {
            if let Some(table) = find(relation) {
                tell(table, whole);
            }
        };
        // With ONLY, a statement is about the table named.
        let mut unless_only = |relation: *const pg_sys::RangeVar| {
            if relation.as_ref().is_some_and(|relation| relation.inh) {
                named(relation, Whole::Locked);
            }
        };
        match (*statement).type_ {
            NodeTag::T_AlterTableStmt => {
                let statement = &*statement.cast::<pg_sys::AlterTableStmt>();
                let mut commands = members::<pg_sys::AlterTableCmd>(statement.cmds);
                if commands.any(|command| !stays_at_table((*command).subtype)) {
                    unless_only(statement.relation);
                }
            }
            NodeTag::T_RenameStmt => {
                let statement = &*statement.cast::<pg_sys::RenameStmt>();
                if statement.renameType == ObjectType::OBJECT_COLUMN {
                    unless_only(statement.relation);
                }
            }
            NodeTag::T_TruncateStmt => {
                let statement = &*statement.cast::<pg_sys::TruncateStmt>();
                members(statement.relations).for_each(|relation| unless_only(relation));
            }
            NodeTag::T_LockStmt => {
                let statement = &*statement.cast::<pg_sys::LockStmt>();
                members(statement.relations).for_each(|relation| unless_only(relation));
            }
            NodeTag::T_IndexStmt => {
                unless_only((*statement.cast::<pg_sys::IndexStmt>()).relation);
            }
            NodeTag::T_CreateTrigStmt => {
                let statement = &*statement.cast::<pg_sys::CreateTrigStmt>();
                if statement.row {
                    named(statement.relation, Whole::Locked);
                }
            }
            NodeTag::T_ReindexStmt => {
                let statement = &*statement.cast::<pg_sys::ReindexStmt>();
                if !statement.relation.is_null() {
                    named(statement.relation, Whole::Locked);
                }
            }
            NodeTag::T_VacuumStmt => {
                let statement = &*statement.cast::<pg_sys::VacuumStmt>();
                if !statement.is_vacuumcmd || has_option(statement.options, c"analyze") {
                    members::<pg_sys::VacuumRelation>(statement.rels)
                        .for_each(|entry| named((*entry).relation, Whole::Locked));
                }
            }
            NodeTag::T_DropStmt => {
                let statement = &*statement.cast::<pg_sys::DropStmt>();
                let whole = match statement.removeType {
                    ObjectType::OBJECT_TABLE => Whole::Dropped,
                    ObjectType::OBJECT_INDEX => Whole::Locked,
                    _ => return,
                };
                for name in members::<pg_sys::List>(statement.objects) {
                    named(pg_sys::makeRangeVarFromNameList(name), whole);
                }
            }
            _ => {}
        }
    }
}

/// The table of that name, or of the index of that name; None if there is none. Nothing is locked: the statement itself looks again.
///
/// # Safety
/// A live name or null.
unsafe fn find(relation: *const pg_sys::RangeVar) -> Option<Oid> {
    if relation.is_null() {
        return None; // all tables of the database, each for itself
    }
    let missing_ok = pg_sys::RVROption::RVR_MISSING_OK;
    // SAFETY: by the caller's promise; the functions answer InvalidOid for what is not there, or is no index.
    let (oid, table) = unsafe {
        let lock = pg_sys::NoLock as pg_sys::LOCKMODE;
        let oid = pg_sys::RangeVarGetRelidExtended(
            relation,
            lock,
            missing_ok,
            None,
            std::ptr::null_mut(),
        );
        (oid, pg_sys::IndexGetRelation(oid, true))
    };
    let found = if table == pg_sys::InvalidOid {
        oid
    } else {
        table
    };
    (found != pg_sys::InvalidOid).then_some(found)
}

/// Does that kind of ALTER TABLE lock the table alone, or with it those that it names?
fn stays_at_table(command: Alter::Type) -> bool {
    matches!(
        command,
        Alter::AT_ChangeOwner
            | Alter::AT_SetOptions
            | Alter::AT_ResetOptions
            | Alter::AT_ClusterOn
            | Alter::AT_DropCluster
            | Alter::AT_SetAccessMethod
            | Alter::AT_SetTableSpace
            | Alter::AT_SetRelOptions
            | Alter::AT_ResetRelOptions
            | Alter::AT_ReplaceRelOptions
            | Alter::AT_EnableRule
            | Alter::AT_EnableAlwaysRule
            | Alter::AT_EnableReplicaRule
            | Alter::AT_DisableRule
            | Alter::AT_ReplicaIdentity
            | Alter::AT_EnableRowSecurity
            | Alter::AT_DisableRowSecurity
            | Alter::AT_ForceRowSecurity
            | Alter::AT_NoForceRowSecurity
            | Alter::AT_AttachPartition
            | Alter::AT_DetachPartition
            | Alter::AT_DetachPartitionFinalize
    )
}

/// Is an option given, and not as false?
///
/// # Safety
/// A live list of `DefElem`.
unsafe fn has_option(options: *const pg_sys::List, name: &CStr) -> bool {
    // SAFETY: by the caller's promise; names are C strings.
    unsafe {
        members::<pg_sys::DefElem>(options).any(|option| {
            CStr::from_ptr((*option).defname) == name && pg_sys::defGetBoolean(option)
        })
    }
}
