//! Every message a user can be told, with its SQLSTATE and, where the user can act, a hint.
//!
//! Messages are lower case without a full stop and carry the numbers; hints are sentences. `pg::report` turns
//! these into PostgreSQL errors.
#![forbid(unsafe_code)]

use thiserror::Error as ThisError;

/// The SQLSTATEs Conifer raises (PostgreSQL manual, appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlState {
    /// 22000: a value breaks a rule of its type (dimension mismatch, NaN, infinity).
    DataException,
    /// 22003: a result is outside the range of its type.
    NumericValueOutOfRange,
    /// 22004: NULL where a value is needed.
    NullValueNotAllowed,
    /// 22023: an argument outside what the function takes.
    InvalidParameterValue,
    /// 22P02: text that is not of its type.
    InvalidTextRepresentation,
    /// 22P03: bytes that are not of its type.
    InvalidBinaryRepresentation,
    /// 08P01: a binary message of the wrong length.
    ProtocolViolation,
    /// 2202E: an array of the wrong shape.
    ArraySubscriptError,
    /// 0A000: a thing Conifer does not do.
    FeatureNotSupported,
    /// 42501: not permitted.
    InsufficientPrivilege,
    /// 42704: no such index or namespace.
    UndefinedObject,
    /// 42809: an object of another kind.
    WrongObjectType,
    /// 42710: the name is taken.
    DuplicateObject,
    /// 54000: beyond a fixed limit.
    ProgramLimitExceeded,
    /// 53400: beyond a limit that was set.
    ConfigurationLimitExceeded,
    /// 55000: the object is not in a state that allows it (deletion protection).
    ObjectNotInPrerequisiteState,
    /// 40001: a concurrent change that this isolation level cannot pass over.
    SerializationFailure,
    /// XX002: stored bytes that break their format.
    IndexCorrupted,
}

/// What can go wrong, in a user's words.
#[derive(Clone, Debug, PartialEq, ThisError)]
pub enum Error {
    // -- vector values (wording and SQLSTATE as pgvector's, so that clients see no difference) --
    #[error("expected {expected} dimensions, not {actual}")]
    DimensionMismatch { expected: usize, actual: usize },
    #[error("different vector dimensions {left} and {right}")]
    DifferentDimensions { left: usize, right: usize },
    #[error("vector must have at least 1 dimension")]
    NoDimensions,
    #[error("vector cannot have more than {max} dimensions")]
    TooManyDimensions { max: usize },
    #[error("NaN not allowed in vector")]
    NanInVector,
    #[error("infinite value not allowed in vector")]
    InfinityInVector,
    #[error("\"{text}\" is out of range for type vector")]
    ElementOutOfRange { text: String },
    #[error("invalid input syntax for type vector: \"{text}\"")]
    VectorSyntax { text: String },
    #[error("array must be 1-D")]
    ArrayNotOneDimensional,
    #[error("an array of vectors must have one dimension")]
    VectorArrayDimensions,
    #[error("array must not contain nulls")]
    NullInArray,
    #[error("expected unused to be 0, not {actual}")]
    UnusedNotZero { actual: i16 },
    #[error("insufficient data left in message")]
    InsufficientMessage,
    #[error("invalid type modifier")]
    InvalidTypmod,
    #[error("dimensions for type vector must be at least 1")]
    TypmodTooSmall,
    #[error("dimensions for type vector cannot exceed {max}")]
    TypmodTooLarge { max: usize },
    #[error("value out of range: overflow")]
    Overflow,
    #[error("value out of range: underflow")]
    Underflow,
    #[error("expected the state of an aggregate over vectors")]
    AggregateState,
    #[error("integer out of range")]
    IntegerOutOfRange,

    // -- names and arguments --
    #[error("index \"{name}\" does not exist")]
    UnknownIndex { name: String },
    #[error("index \"{name}\" already exists")]
    DuplicateIndex { name: String },
    #[error("namespace \"{namespace}\" already exists in index \"{index}\"")]
    DuplicateNamespace { index: String, namespace: String },
    #[error("namespace \"{namespace}\" does not exist in index \"{index}\"")]
    UnknownNamespace { index: String, namespace: String },
    /// An argument that is not of its allowed set or range; `hint` says what is.
    #[error("invalid {what}: \"{value}\"")]
    InvalidArgument {
        what: &'static str,
        value: String,
        hint: String,
    },
    /// Arguments that do not go together.
    #[error("{problem}")]
    ArgumentsDisagree { problem: String, hint: &'static str },
    #[error("{what} must not be null")]
    NullArgument { what: &'static str },
    #[error("{what} of {actual} bytes is longer than {max}")]
    TooLong {
        what: &'static str,
        actual: usize,
        max: usize,
    },
    #[error("index \"{name}\" is protected from deletion")]
    DeletionProtected { name: String },
    /// Of more namespaces than the lock table has room for.
    #[error(
        "this statement is about more than {most} tables of namespaces, too many for the lock table"
    )]
    StatementTooBroad { most: usize },
    #[error("index \"{name}\" has {namespaces} namespaces, too many to drop in one transaction")]
    IndexTooBroad { name: String, namespaces: usize },
    /// `locks`: the setting with which there would be room.
    #[error(
        "this statement would lock all {namespaces} namespaces of index \"{name}\", too many for the lock table"
    )]
    DdlTooBroad {
        name: String,
        namespaces: usize,
        locks: usize,
    },
    #[error("permission denied for index \"{name}\"")]
    PermissionDenied { name: String },
    /// Of a namespace, in records or bytes.
    #[error("namespace \"{namespace}\" would have {actual} {what}, more than its limit of {limit}")]
    LimitExceeded {
        namespace: String,
        what: &'static str,
        limit: i64,
        actual: u64,
    },
    #[error("this session is for namespace \"{namespace}\" only")]
    Pinned { namespace: String },

    // -- records --
    /// A record of a batch that cannot be written; the batch is refused whole.
    #[error("record {position}{}: {source}", .id.as_ref().map(|id| format!(" (id \"{id}\")")).unwrap_or_default())]
    Record {
        position: usize,
        id: Option<String>,
        source: Box<Error>,
    },
    #[error("{what} are not supported")]
    Unsupported { what: &'static str },
    #[error("{message}")]
    InvalidRecord { message: String },
    #[error("a vector of zeros has no direction under the cosine metric")]
    ZeroVector,
    #[error("metadata field \"{field}\" {problem}")]
    InvalidMetadata {
        field: String,
        problem: &'static str,
    },
    #[error("metadata must be a JSON object, not {found}")]
    MetadataNotObject { found: &'static str },
    #[error("metadata of {actual} bytes is larger than {max}")]
    MetadataTooLarge { actual: usize, max: usize },

    // -- filters --
    #[error("invalid filter at {path}: {problem}")]
    InvalidFilter { path: String, problem: String },

    // -- the access method --
    #[error("{problem}")]
    IndexShape { problem: &'static str },
    #[error("column does not have dimensions")]
    ColumnWithoutDimensions,
    #[error("\"{name}\" is not a conifer index")]
    NotAnIndex { name: String },
    #[error("must be owner of index {name}")]
    NotOwner { name: String },
    #[error(
        "what was found in index {name} may come from the changes that were replayed meanwhile"
    )]
    ReplayedMeanwhile { name: String },

    // -- stored bytes --
    #[error("corrupted data: {what}")]
    Corrupted { what: String },
    /// An index written by another version.
    #[error("index format {found} is unknown to this version of conifer, which knows {known}")]
    UnknownFormat { found: u32, known: u32 },
    #[error("could not serialize access due to concurrent update")]
    ConcurrentUpdate,
}

impl Error {
    /// This error as the fault of a batch's record, counted from 1.
    #[must_use]
    pub fn of_record(self, position: usize, id: Option<&str>) -> Self {
        Self::Record {
            position,
            id: id.map(str::to_owned),
            source: Box::new(self),
        }
    }

    /// The SQLSTATE it is raised with. A record's error keeps the code of its cause.
    #[must_use]
    pub fn sqlstate(&self) -> SqlState {
        use Error as E;
        match self {
            E::DimensionMismatch { .. }
            | E::DifferentDimensions { .. }
            | E::NoDimensions
            | E::NanInVector
            | E::InfinityInVector
            | E::ArrayNotOneDimensional
            | E::UnusedNotZero { .. }
            | E::ZeroVector => SqlState::DataException,
            E::TooManyDimensions { .. }
            | E::TooLong { .. }
            | E::MetadataTooLarge { .. }
            | E::StatementTooBroad { .. }
            | E::IndexTooBroad { .. }
            | E::DdlTooBroad { .. } => SqlState::ProgramLimitExceeded,
            E::ElementOutOfRange { .. } => SqlState::NumericValueOutOfRange,
            E::VectorSyntax { .. } => SqlState::InvalidTextRepresentation,
            E::VectorArrayDimensions => SqlState::ArraySubscriptError,
            E::NullInArray => SqlState::NullValueNotAllowed,
            E::InsufficientMessage => SqlState::ProtocolViolation,
            E::AggregateState | E::InvalidTypmod | E::TypmodTooSmall | E::TypmodTooLarge { .. } => {
                SqlState::InvalidParameterValue
            }
            E::Overflow | E::Underflow | E::IntegerOutOfRange => SqlState::NumericValueOutOfRange,
            E::UnknownIndex { .. } | E::UnknownNamespace { .. } => SqlState::UndefinedObject,
            E::DuplicateIndex { .. } | E::DuplicateNamespace { .. } => SqlState::DuplicateObject,
            E::InvalidArgument { .. }
            | E::ArgumentsDisagree { .. }
            | E::InvalidRecord { .. }
            | E::InvalidMetadata { .. }
            | E::MetadataNotObject { .. }
            | E::InvalidFilter { .. } => SqlState::InvalidParameterValue,
            E::Unsupported { .. } => SqlState::FeatureNotSupported,
            E::LimitExceeded { .. } => SqlState::ConfigurationLimitExceeded,
            E::NullArgument { .. } => SqlState::NullValueNotAllowed,
            E::DeletionProtected { .. } | E::ReplayedMeanwhile { .. } => {
                SqlState::ObjectNotInPrerequisiteState
            }
            E::PermissionDenied { .. } | E::Pinned { .. } => SqlState::InsufficientPrivilege,
            E::Record { source, .. } => source.sqlstate(),
            E::IndexShape { .. } => SqlState::FeatureNotSupported,
            E::ColumnWithoutDimensions => SqlState::InvalidParameterValue,
            E::NotAnIndex { .. } => SqlState::WrongObjectType,
            E::NotOwner { .. } => SqlState::InsufficientPrivilege,
            E::Corrupted { .. } | E::UnknownFormat { .. } => SqlState::IndexCorrupted,
            E::ConcurrentUpdate => SqlState::SerializationFailure,
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        use Error as E;
        match self {
            E::InvalidArgument { hint, .. } => Some(hint.clone()),
            E::ArgumentsDisagree { hint, .. } => Some((*hint).into()),
            E::UnknownIndex { .. } => {
                Some("SELECT * FROM pc_list_indexes() shows the indexes of this database.".into())
            }
            E::DuplicateIndex { .. } => {
                Some("Choose another name, or drop the old index with pc_delete_index.".into())
            }
            E::StatementTooBroad { .. } => Some(
                "Name the namespace in WHERE (namespace = '…'), use the functions, or raise max_locks_per_transaction. \
                 With plan_cache_mode = force_generic_plan a parameter is no name."
                    .into(),
            ),
            E::IndexTooBroad { name, .. } => Some(format!(
                "CALL pc_delete_index_in_batches('{}') drops them in several.",
                name.replace('\'', "''")
            )),
            E::DdlTooBroad { locks, .. } => Some(format!(
                "Set max_locks_per_transaction to {locks} or more and restart the server, or use ONLY if the table alone is meant."
            )),
            E::LimitExceeded { .. } => Some(
                "Delete records, or have the owner of the index raise the limit with pc_set_limits."
                    .into(),
            ),
            E::Pinned { .. } => Some("The setting conifer.namespace says so.".into()),
            E::ReplayedMeanwhile { .. } => {
                Some("Ask again, or pause replay with pg_wal_replay_pause() first.".into())
            }
            E::DeletionProtected { name } => Some(format!(
                "Use pc_configure_index('{}', deletion_protection => 'disabled') first.",
                name.replace('\'', "''")
            )),
            E::ZeroVector => {
                Some("Leave the record out, or use the metric dotproduct or euclidean.".into())
            }
            E::InvalidRecord { .. } => {
                Some("A record is an object of id, values and, if you like, metadata.".into())
            }
            E::InvalidFilter { .. } => Some(
                "A filter is an object of fields: {\"genre\": \"drama\", \"year\": {\"$gte\": 2000}}. \
                 A field takes a string, number or boolean, or an object of $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin \
                 and $exists; $and, $or and $not combine filters."
                    .into(),
            ),
            E::InvalidMetadata { .. } => {
                Some("Metadata values are strings, numbers, booleans and lists of strings.".into())
            }
            E::ColumnWithoutDimensions => {
                Some("Declare the column as vector(n), n being the dimensions.".into())
            }
            E::Record { source, .. } => source.hint(),
            E::UnknownFormat { .. } => {
                Some("REINDEX the index with the version that is installed.".into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_records_error_names_it_and_keeps_the_cause() {
        let error = Error::Record {
            position: 3,
            id: Some("A".into()),
            source: Box::new(Error::DimensionMismatch {
                expected: 8,
                actual: 7,
            }),
        };
        assert_eq!(
            error.to_string(),
            "record 3 (id \"A\"): expected 8 dimensions, not 7"
        );
        assert_eq!(error.sqlstate(), SqlState::DataException);
    }
}
