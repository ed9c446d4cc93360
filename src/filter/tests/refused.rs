//! What is no filter of the language is one error that names the place.
#![forbid(unsafe_code)]

use super::super::{MAX_CONDITIONS, MAX_LEVELS, MAX_VALUES};
use super::parse;
use crate::error::SqlState;

const OPERATORS: [&str; 9] = [
    "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists",
];
const WRAPPERS: [(&str, &str, &str); 4] = [
    ("", "", "$"),
    (r#"{"$and":[{"ok":1},"#, "]}", "$.$and[1]"),
    (r#"{"$or":["#, "]}", "$.$or[0]"),
    (r#"{"$not":"#, "}", "$.$not"),
];

fn check(filter: &str, path: &str, problem: &str) {
    let error = parse(filter).expect_err(filter);
    let expected = format!("invalid filter at {path}: {problem}");
    assert_eq!(error.to_string(), expected, "{filter}");
    assert_eq!(error.sqlstate(), SqlState::InvalidParameterValue);
    assert!(error.hint().unwrap().contains("$exists"));
}

/// Filters that are refused, with the path below the place they stand at and the problem.
fn malformed() -> Vec<(String, String, String)> {
    let mut cases = Vec::new();
    let mut add = |filter: &str, path: &str, problem: &str| {
        cases.push((filter.to_owned(), path.to_owned(), problem.to_owned()));
    };
    let kinds = [
        ("null", "null"),
        ("[]", "a list"),
        (r#"["x"]"#, "a list"),
        ("{}", "an object"),
    ];
    for (json, kind) in kinds {
        for operator in ["$eq", "$ne"] {
            let problem =
                format!("the value to equal must be a string, number or boolean, not {kind}");
            let filter = format!(r#"{{"f":{{"{operator}":{json}}}}}"#);
            add(&filter, &format!(".f.{operator}"), &problem);
        }
    }
    for (json, kind) in &kinds[..3] {
        let problem = format!("the value to equal must be a string, number or boolean, not {kind}");
        add(&format!(r#"{{"f":{json}}}"#), ".f", &problem);
    }
    let not_numbers = [
        ("\"x\"", "a string"),
        ("true", "a boolean"),
        ("[1]", "a list"),
        ("null", "null"),
    ];
    for operator in ["$gt", "$gte", "$lt", "$lte"] {
        for (json, kind) in not_numbers {
            let problem = format!("the value to compare with must be a number, not {kind}");
            let filter = format!(r#"{{"f":{{"{operator}":{json}}}}}"#);
            add(&filter, &format!(".f.{operator}"), &problem);
        }
    }
    for operator in ["$in", "$nin"] {
        for (json, kind) in [
            ("1", "a number"),
            ("\"x\"", "a string"),
            ("{}", "an object"),
        ] {
            let filter = format!(r#"{{"f":{{"{operator}":{json}}}}}"#);
            let problem = format!("a list is needed, not {kind}");
            add(&filter, &format!(".f.{operator}"), &problem);
        }
        for (json, kind) in [
            ("true", "a boolean"),
            ("null", "null"),
            ("[]", "a list"),
            ("{}", "an object"),
        ] {
            let filter = format!(r#"{{"f":{{"{operator}":["a",1,{json}]}}}}"#);
            let problem = format!("a value of the list must be a string or number, not {kind}");
            add(&filter, &format!(".f.{operator}[2]"), &problem);
        }
    }
    for (json, kind) in [
        ("1", "a number"),
        ("\"true\"", "a string"),
        ("null", "null"),
    ] {
        let filter = format!(r#"{{"f":{{"$exists":{json}}}}}"#);
        let problem = format!("true or false is needed, not {kind}");
        add(&filter, ".f.$exists", &problem);
    }
    for operator in OPERATORS {
        let filter = format!(r#"{{"{operator}":1}}"#);
        let problem = "this operator must stand inside a field's object";
        add(&filter, &format!(".{operator}"), problem);
    }
    for operator in ["$and", "$or"] {
        for (json, kind) in [("1", "a number"), ("{}", "an object")] {
            let filter = format!(r#"{{"{operator}":{json}}}"#);
            let problem = format!("a list is needed, not {kind}");
            add(&filter, &format!(".{operator}"), &problem);
        }
        let filter = format!(r#"{{"{operator}":[]}}"#);
        add(&filter, &format!(".{operator}"), "the list is empty");
        let filter = format!(r#"{{"{operator}":[{{"a":1}},{{}}]}}"#);
        add(&filter, &format!(".{operator}[1]"), "the object is empty");
        let filter = format!(r#"{{"{operator}":[{{"a":1}},7]}}"#);
        let problem = "an object is needed, not a number";
        add(&filter, &format!(".{operator}[1]"), problem);
    }
    for operator in ["$and", "$or", "$not"] {
        let filter = format!(r#"{{"f":{{"{operator}":[{{"$eq":1}}]}}}}"#);
        let problem = "this operator must stand outside of fields";
        add(&filter, &format!(".f.{operator}"), problem);
    }
    let problem = "an object is needed, not a list";
    add(r#"{"$not":[{"a":1}]}"#, ".$not", problem);
    add(r#"{"$not":{}}"#, ".$not", "the object is empty");
    add(r#"{"f":{}}"#, ".f", "an operator is missing");
    add(r#"{"f":{"g":1}}"#, ".f.g", "metadata has no nested fields");
    for name in ["$", "$regex", "$EQ", "$nor", "$all"] {
        let unknown = "there is no such operator";
        add(&format!(r#"{{"{name}":1}}"#), &format!(".{name}"), unknown);
        let filter = format!(r#"{{"f":{{"{name}":1}}}}"#);
        add(&filter, &format!(".f.{name}"), unknown);
    }
    // Names that are shown in quotes, or not whole.
    for (name, shown) in [
        ("a b", r#""a b""#.to_owned()),
        ("", r#""""#.to_owned()),
        ("a.b", r#""a.b""#.to_owned()),
        ("größe", "größe".to_owned()),
        (&"x".repeat(65), format!("{}…", "x".repeat(64))),
    ] {
        let filter = format!(r#"{{"{name}":{{}}}}"#);
        add(&filter, &format!(".{shown}"), "an operator is missing");
    }
    cases
}

#[test]
fn each_with_its_path() {
    let cases = malformed();
    let mut count = 0;
    for (filter, path, problem) in &cases {
        for (before, after, place) in WRAPPERS {
            check(
                &format!("{before}{filter}{after}"),
                &format!("{place}{path}"),
                problem,
            );
            count += 1;
        }
    }
    assert!(count >= 200, "{count}");
}

#[test]
fn a_filter_that_is_no_object() {
    for filter in ["[]", "null", "1", "\"x\"", "true"] {
        check(filter, "$", "a filter must be a JSON object");
    }
}

#[test]
fn at_the_limits_and_beyond() {
    let values = |count: usize| format!(r#"{{"f":{{"$nin":[{}1]}}}}"#, "1,".repeat(count - 1));
    assert!(parse(&values(MAX_VALUES)).is_ok());
    let problem = "10001 values are more than 10000";
    check(&values(MAX_VALUES + 1), "$.f.$nin", problem);

    let nested = |levels: usize| {
        let (open, close) = (r#"{"$not":"#.repeat(levels), "}".repeat(levels));
        format!(r#"{open}{{"f":1}}{close}"#)
    };
    assert!(parse(&nested(MAX_LEVELS)).is_ok());
    check(
        &nested(MAX_LEVELS + 1),
        &format!("${}", ".$not".repeat(MAX_LEVELS + 1)),
        "nested more than 64 levels deep",
    );

    // The list itself is a condition.
    let clauses = |count: usize| {
        format!(
            r#"{{"$or":[{}{{"f":1}}]}}"#,
            r#"{"f":1},"#.repeat(count - 1)
        )
    };
    assert!(parse(&clauses(MAX_CONDITIONS - 1)).is_ok());
    check(
        &clauses(MAX_CONDITIONS),
        "$.$or[99999].f",
        "more than 100000 conditions",
    );
}
