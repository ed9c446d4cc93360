//! A query's answer as the JSON text Pinecone sends.
#![forbid(unsafe_code)]

use crate::vector::write_float;

/// The answer to one query.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The records found, best first.
    pub matches: &'a [Match<'a>],
    /// The namespace that was asked.
    pub namespace: &'a str,
    /// What the query cost.
    pub read_units: f64,
}

/// One record found.
#[derive(Clone, Copy, Debug)]
pub struct Match<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its score.
    pub score: f32,
    /// Its vector, if asked for.
    pub values: Option<&'a [f32]>,
    /// The JSON text of its metadata, if it has any and it was asked for.
    pub metadata: Option<&'a str>,
}

impl Response<'_> {
    /// `{"matches": [{"id", "score", "values", "metadata"}], "namespace", "usage": {"read_units"}}`. Values not asked for
    /// are an empty array; metadata not asked for, or null, is left out.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(64 + self.matches.len() * 64);
        out.push_str("{\"matches\":");
        write_array(self.matches, &mut out, Match::write);
        out.push_str(",\"namespace\":");
        write_string(self.namespace, &mut out);
        out.push_str(",\"usage\":{\"read_units\":");
        // Display of f64 is the shortest text, and never in scientific notation.
        out.push_str(&self.read_units.to_string());
        out.push_str("}}");
        out
    }
}

impl Match<'_> {
    fn write(&self, out: &mut String) {
        out.push_str("{\"id\":");
        write_string(self.id, out);
        out.push_str(",\"score\":");
        write_number(self.score, out);
        out.push_str(",\"values\":");
        write_array(self.values.unwrap_or_default(), out, |value, out| {
            write_number(*value, out);
        });
        if let Some(metadata) = self.metadata.filter(|json| json.trim() != "null") {
            out.push_str(",\"metadata\":");
            out.push_str(metadata);
        }
        out.push('}');
    }
}

fn write_array<T>(items: &[T], out: &mut String, write: impl Fn(&T, &mut String)) {
    out.push('[');
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(']');
}

/// A number, or null for what JSON has no number for (the score of a stored vector of zeros, an overflow).
fn write_number(number: f32, out: &mut String) {
    if number.is_finite() {
        write_float(number, out);
    } else {
        out.push_str("null");
    }
}

fn write_string(string: &str, out: &mut String) {
    // Display of a JSON string is its text, quoted and escaped.
    out.push_str(&serde_json::Value::from(string).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_pinecone_answers() {
        let matches = [
            Match {
                id: "a\"1\n",
                score: 0.1,
                values: Some(&[1.0, -2.5, 1e-7]),
                metadata: Some("{\"genre\": \"drama\"}"),
            },
            Match {
                id: "é",
                score: 1.5e7,
                values: None,
                metadata: None,
            },
            Match {
                id: "c",
                score: f32::NAN,
                values: None,
                metadata: Some("null"),
            },
        ];
        let response = Response {
            matches: &matches,
            namespace: "tenant1",
            read_units: 0.25,
        };
        assert_eq!(
            response.to_json(),
            concat!(
                r#"{"matches":[{"id":"a\"1\n","score":0.1,"values":[1,-2.5,1e-07],"metadata":{"genre": "drama"}},"#,
                r#"{"id":"é","score":1.5e+07,"values":[]},{"id":"c","score":null,"values":[]}],"#,
                r#""namespace":"tenant1","usage":{"read_units":0.25}}"#
            )
        );
        let parsed: serde_json::Value = serde_json::from_str(&response.to_json()).unwrap();
        assert_eq!(parsed["matches"][1]["score"], 1.5e7);
    }

    #[test]
    fn nothing_found() {
        let response = Response {
            matches: &[],
            namespace: "__default__",
            read_units: 1.0,
        };
        assert_eq!(
            response.to_json(),
            r#"{"matches":[],"namespace":"__default__","usage":{"read_units":1}}"#
        );
    }
}
