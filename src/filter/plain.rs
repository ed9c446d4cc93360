//! For tests: the filter language once more, straight from its description, over parsed JSON.
#![forbid(unsafe_code)]

use serde_json::Value;

/// Whether metadata (an object) passes a filter that is of the language.
pub fn matches(filter: &Value, metadata: &Value) -> bool {
    let object = filter.as_object().unwrap();
    object.iter().all(|(key, value)| match key.as_str() {
        "$and" => value
            .as_array()
            .unwrap()
            .iter()
            .all(|c| matches(c, metadata)),
        "$or" => value
            .as_array()
            .unwrap()
            .iter()
            .any(|c| matches(c, metadata)),
        "$not" => !matches(value, metadata),
        field => field_matches(metadata.get(field), value),
    })
}

fn field_matches(found: Option<&Value>, condition: &Value) -> bool {
    let Some(operators) = condition.as_object() else {
        return operator_matches(found, "$eq", condition);
    };
    let mut operators = operators.iter();
    operators.all(|(operator, operand)| operator_matches(found, operator, operand))
}

fn operator_matches(found: Option<&Value>, operator: &str, operand: &Value) -> bool {
    if operator == "$exists" {
        return found.is_some() == operand.as_bool().unwrap();
    }
    let Some(found) = found else {
        return false;
    };
    let single = [found.clone()];
    let elements = found.as_array().map_or(&single[..], Vec::as_slice);
    let operands: Vec<&Value> = match operator {
        "$in" | "$nin" => operand.as_array().unwrap().iter().collect(),
        _ => vec![operand],
    };
    let is_one = |value: &Value| operands.iter().any(|operand| equal(value, operand));
    let has_type = |value: &Value| operands.iter().any(|operand| same_type(value, operand));
    match operator {
        "$eq" | "$in" => elements.iter().any(is_one),
        "$ne" | "$nin" => elements
            .iter()
            .all(|value| !is_one(value) && (operands.is_empty() || has_type(value))),
        _ => elements.iter().any(|value| {
            let bound = operand.as_f64().unwrap();
            value.as_f64().is_some_and(|number| match operator {
                "$gt" => number > bound,
                "$gte" => number >= bound,
                "$lt" => number < bound,
                "$lte" => number <= bound,
                _ => unreachable!("no operator of the language"),
            })
        }),
    }
}

fn same_type(one: &Value, two: &Value) -> bool {
    one.is_string() && two.is_string()
        || one.is_number() && two.is_number()
        || one.is_boolean() && two.is_boolean()
}

fn equal(one: &Value, two: &Value) -> bool {
    match (one.as_f64(), two.as_f64()) {
        (Some(one), Some(two)) => one == two,
        _ => same_type(one, two) && one == two,
    }
}
