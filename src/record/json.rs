//! The records of an upsert in JSON: `{"id": …, "values": […], "metadata": {…}}`, one or an array of them.
//!
//! The parser only finds where each field's text lies, so that every fault can be told with the record's position and id; the
//! numbers are then read from that text straight into `f32`, rounded once (by way of `f64` they would be rounded twice).
#![forbid(unsafe_code)]

use super::rules::check_id;
use crate::error::Error;
use crate::vector::parse_text;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// A record as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonRecord<'a> {
    /// A valid id.
    pub id: Cow<'a, str>,
    /// 1 … 20,000 finite numbers; whether they are as many as the index has is for the caller to check.
    pub values: Vec<f32>,
    /// The text of an object. What is in it is checked once it is `jsonb`.
    pub metadata: Option<&'a str>,
}

/// The records of `json`. A fault in one is an [`Error::Record`] with its position, counted from 1, and its id.
pub fn parse_records(json: &str) -> Result<Vec<JsonRecord<'_>>, Error> {
    let not_json = |error: serde_json::Error| invalid(format!("vectors are not JSON: {error}"));
    let records: Vec<Fields<'_>> = match kind(json) {
        "an array" => serde_json::from_str(json).map_err(not_json)?,
        "an object" => vec![serde_json::from_str(json).map_err(not_json)?],
        other => {
            return Err(invalid(format!(
                "vectors must be an array of records or one record, not {other}"
            )));
        }
    };
    let records = records.iter().zip(1..);
    records
        .map(|(fields, position)| fields.record_at(position))
        .collect()
}

/// One of the records of an array: the faults of [`parse_records`], told with this position.
pub fn parse_record(position: usize, json: &str) -> Result<JsonRecord<'_>, Error> {
    let fields: Fields<'_> = serde_json::from_str(json)
        .map_err(|error| invalid(format!("vectors are not JSON: {error}")))?;
    fields.record_at(position)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::InvalidRecord {
        message: message.into(),
    }
}

/// What a JSON text is, with its article, by its first character.
fn kind(json: &str) -> &'static str {
    match json.trim_start().bytes().next() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// A string that is borrowed from the text unless it has escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The texts of a record's fields, not yet understood.
#[derive(Default)]
struct Fields<'a> {
    id: Option<&'a str>,
    values: Option<&'a str>,
    metadata: Option<&'a str>,
    /// The first field there is no place for.
    unknown: Option<Cow<'a, str>>,
    /// It is no object but this.
    other: Option<&'static str>,
}

impl<'a> Fields<'a> {
    fn id(&self) -> Result<Option<Cow<'a, str>>, Error> {
        let Some(text) = self.id else { return Ok(None) };
        let Text(id) = serde_json::from_str(text)
            .map_err(|_| invalid(format!("id must be a string, not {}", kind(text))))?;
        Ok(Some(id))
    }

    fn record_at(&self, position: usize) -> Result<JsonRecord<'a>, Error> {
        self.record().map_err(|error| {
            let id = self.id().ok().flatten();
            error.of_record(position, id.as_deref())
        })
    }

    fn record(&self) -> Result<JsonRecord<'a>, Error> {
        if let Some(other) = self.other {
            return Err(invalid(format!("a record must be an object, not {other}")));
        }
        let id = self.id()?.ok_or_else(|| invalid("id is missing"))?;
        check_id(&id)?;
        match self.unknown.as_deref() {
            Some("sparse_values" | "sparseValues") => {
                return Err(Error::Unsupported {
                    what: "sparse values",
                });
            }
            Some(name) => return Err(invalid(format!("unknown field \"{name}\""))),
            None => (),
        }
        let values = self.values.ok_or_else(|| invalid("values are missing"))?;
        let metadata = self.metadata.filter(|metadata| kind(metadata) != "null");
        if let Some(found) = metadata.map(kind).filter(|kind| *kind != "an object") {
            return Err(Error::MetadataNotObject { found });
        }
        Ok(JsonRecord {
            id,
            values: parse_values(values)?,
            metadata,
        })
    }
}

fn parse_values(json: &str) -> Result<Vec<f32>, Error> {
    if kind(json) != "an array" {
        return Err(invalid(format!(
            "values must be an array of numbers, not {}",
            kind(json)
        )));
    }
    // A JSON array of numbers is also the text of a vector.
    parse_text(json, None).map_err(|error| match error {
        Error::ElementOutOfRange { .. } => Error::InfinityInVector,
        Error::VectorSyntax { .. } => not_numbers(json),
        other => other,
    })
}

/// Which element is no number.
#[cold]
fn not_numbers(json: &str) -> Error {
    let elements: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
    elements
        .iter()
        .enumerate()
        .find(|(_, element)| kind(element.get()) != "a number")
        .map_or_else(
            || invalid("values must be an array of numbers"),
            |(index, element)| {
                let kind = kind(element.get());
                invalid(format!(
                    "element {} of values is {kind}, not a number",
                    index + 1
                ))
            },
        )
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> FieldsVisitor {
    fn other<E>(kind: &'static str) -> Result<Fields<'de>, E> {
        Ok(Fields {
            other: Some(kind),
            ..Fields::default()
        })
    }
}

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        while let Some(Text(key)) = map.next_key()? {
            let value: &'de RawValue = map.next_value()?;
            let text = Some(value.get());
            match &*key {
                "id" => fields.id = text,
                "values" => fields.values = text,
                "metadata" => fields.metadata = text,
                _ => fields.unknown = fields.unknown.or(Some(key)),
            }
        }
        Ok(fields)
    }

    // The rest only remembers what stood in a record's place.

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Self::other("an array")
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Self::other("a string")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Self::other("a boolean")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Self::other("null")
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Self::other("a number")
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Self::other("a number")
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Self::other("a number")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SqlState;

    #[test]
    fn records_are_read() {
        let json = r#" [{"id":"A","values":[1, 2.5e0 ,-3e-2],"metadata":{"genre": "drama"}},
            {"metadata":null,"values":[0.1],"id":"a\"\u00e9"}] "#;
        let records = parse_records(json).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].id, "A");
        assert!(matches!(records[0].id, Cow::Borrowed(_)));
        assert_eq!(records[0].values, [1.0, 2.5, -0.03]);
        assert_eq!(records[0].metadata, Some("{\"genre\": \"drama\"}"));
        assert_eq!(records[1].id, "a\"é");
        assert_eq!(records[1].values, [0.1]);
        assert_eq!(records[1].metadata, None);

        assert_eq!(parse_records("[]"), Ok(vec![]));
        let one = parse_records(r#"{"id":"A","values":[1]}"#).unwrap();
        assert_eq!((one.len(), &*one[0].id), (1, "A"));
        assert_eq!(
            parse_record(7, r#"{"id":"A","values":[1]}"#).as_ref(),
            Ok(&one[0])
        );
    }

    #[test]
    fn numbers_are_rounded_once() {
        // As f64 this is half-way between two f32; the number itself is above.
        let json = r#"{"id":"A","values":[16777217.0000000000000000000001, 1e-46, 3.4028235677973366e38]}"#;
        let records = parse_records(json).unwrap();
        assert_eq!(records[0].values, [16_777_218.0, 0.0, f32::MAX]);
    }

    #[test]
    fn faults_name_the_record() {
        for (record, expected) in [
            (r#"{"values":[1]}"#, "record 2: id is missing"),
            (
                r#"{"id":7,"values":[1]}"#,
                "record 2: id must be a string, not a number",
            ),
            (
                r#"{"id":"","values":[1]}"#,
                "record 2 (id \"\"): invalid id: \"\"",
            ),
            (r#"{"id":"B"}"#, "record 2 (id \"B\"): values are missing"),
            (
                r#"{"values":"1","id":"B"}"#,
                "record 2 (id \"B\"): values must be an array of numbers, not a string",
            ),
            (
                r#"{"id":"B","values":[1,2,null]}"#,
                "record 2 (id \"B\"): element 3 of values is null, not a number",
            ),
            (
                r#"{"id":"B","values":[[1]]}"#,
                "record 2 (id \"B\"): element 1 of values is an array, not a number",
            ),
            (
                r#"{"id":"B","values":[]}"#,
                "record 2 (id \"B\"): vector must have at least 1 dimension",
            ),
            (
                r#"{"id":"B","values":[1,-1e39]}"#,
                "record 2 (id \"B\"): infinite value not allowed in vector",
            ),
            (
                r#"{"id":"B","value":[1],"values":[1]}"#,
                "record 2 (id \"B\"): unknown field \"value\"",
            ),
            (
                r#"{"id":"B","values":[1],"metadata":["x"]}"#,
                "record 2 (id \"B\"): metadata must be a JSON object, not an array",
            ),
            ("[1]", "record 2: a record must be an object, not an array"),
            (
                "\"x\"",
                "record 2: a record must be an object, not a string",
            ),
            ("null", "record 2: a record must be an object, not null"),
            ("-1.5", "record 2: a record must be an object, not a number"),
        ] {
            let json = format!(r#"[{{"id":"A","values":[1]}},{record}]"#);
            assert_eq!(parse_records(&json).unwrap_err().to_string(), expected);
            assert_eq!(parse_record(2, record).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn what_is_not_supported_says_so() {
        for name in ["sparse_values", "sparseValues"] {
            let json =
                format!(r#"{{"id":"A","values":[1],"{name}":{{"indices":[],"values":[]}}}}"#);
            let error = parse_records(&json).unwrap_err();
            let expected = "record 1 (id \"A\"): sparse values are not supported";
            assert_eq!(error.to_string(), expected);
            assert_eq!(error.sqlstate(), SqlState::FeatureNotSupported);
        }
    }

    #[test]
    fn the_whole_must_be_records() {
        for (json, expected) in [
            (
                "7",
                "vectors must be an array of records or one record, not a number",
            ),
            (
                "null",
                "vectors must be an array of records or one record, not null",
            ),
        ] {
            let error = parse_records(json).unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert_eq!(error.sqlstate(), SqlState::InvalidParameterValue);
        }
        let error = parse_records("[{]").unwrap_err().to_string();
        assert!(error.starts_with("vectors are not JSON: "), "{error}");
    }

    #[test]
    fn the_limit_of_dimensions() {
        let of = |count: usize| {
            let values = vec!["0"; count].join(",");
            parse_records(&format!(r#"{{"id":"A","values":[{values}]}}"#))
                .map(|r| r[0].values.len())
        };
        assert_eq!(of(20_000), Ok(20_000));
        let expected = "record 1 (id \"A\"): vector cannot have more than 20000 dimensions";
        assert_eq!(of(20_001).unwrap_err().to_string(), expected);
    }
}
