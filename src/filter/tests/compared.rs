//! Generated filters and metadata: the evaluator against a plain one, and signatures against the evaluator.
#![forbid(unsafe_code)]

use super::super::{Filter, plain, signature};
use crate::record::jsonb::{self, build};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Few and alike, so that filters match often. 1, 1.0 and 1e0 are one number, -0.0 and 0 another.
fn number() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(0),
        json!(-0.0),
        json!(1),
        json!(1.0),
        json!(1e0),
        json!(-1.5),
        json!(2020),
        json!(1e15),
    ])
}

fn text() -> impl Strategy<Value = Value> {
    let texts = ["", "a", "b", "A", "é", "日本", "1", "true", "a b"];
    prop::sample::select(texts.map(Value::from).to_vec())
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![text(), number(), any::<bool>().prop_map(Value::from)]
}

fn field() -> impl Strategy<Value = String> {
    prop::sample::select(["a", "b", "c", "größe"].map(String::from).to_vec())
}

fn metadata() -> impl Strategy<Value = Value> {
    let list = prop::collection::vec(text(), 0..4).prop_map(Value::from);
    // By plain SQL there can be anything.
    let odd = prop::collection::vec(scalar(), 0..4).prop_map(Value::from);
    let value = prop_oneof![
        6 => scalar(),
        3 => list,
        1 => odd,
        1 => Just(Value::Null),
        1 => Just(json!({"a": 1})),
    ];
    prop::collection::btree_map(field(), value, 0..4)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

fn condition() -> impl Strategy<Value = Value> {
    let values = || {
        let value = prop_oneof![text(), number()];
        prop::collection::vec(value, 0..6).prop_map(Value::from)
    };
    let operator = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        prop::sample::select(names)
    };
    let pair = prop_oneof![
        (operator(&["$eq", "$ne"]), scalar()),
        (operator(&["$gt", "$gte", "$lt", "$lte"]), number()),
        (operator(&["$in", "$nin"]), values()),
        (operator(&["$exists"]), any::<bool>().prop_map(Value::from)),
    ];
    let operators = prop::collection::vec(pair, 1..3)
        .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>()));
    prop_oneof![1 => scalar(), 3 => operators]
}

fn filter() -> impl Strategy<Value = Value> {
    let fields = prop::collection::btree_map(field(), condition(), 1..3)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()));
    fields.prop_recursive(4, 24, 3, |inner| {
        let list = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            list().prop_map(|list| json!({ "$and": list })),
            list().prop_map(|list| json!({ "$or": list })),
            inner.clone().prop_map(|one| json!({ "$not": one })),
            (list(), field(), condition())
                .prop_map(|(list, field, condition)| json!({ "$or": list, field: condition })),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn it_is_what_the_description_says(filter in filter(), metadata in metadata()) {
        let parsed = Filter::parse(&build::of_value(&filter)).unwrap();
        let bytes = build::of_value(&metadata);
        let found = parsed.matches(Some(jsonb::parse(&bytes).unwrap())).unwrap();
        prop_assert_eq!(found, plain::matches(&filter, &metadata));

        let needed = parsed.needed();
        let of_record = signature::of_metadata(Some(&bytes)).unwrap();
        prop_assert!(!found || needed.admits(of_record), "{:?}", needed);
        prop_assert!(!needed.is_all() || needed.admits(0));
    }

    #[test]
    fn thirty_two_at_once_are_as_one_by_one(filter in filter(), mut signatures: [u64; 32]) {
        let needed = Filter::parse(&build::of_value(&filter)).unwrap().needed();
        for signature in &mut signatures[..16] {
            *signature |= signature.rotate_left(17) | signature.rotate_left(31); // fuller ones
        }
        let mut expected = 0;
        for (lane, signature) in signatures.iter().enumerate() {
            expected |= u32::from(needed.admits(*signature)) << lane;
        }
        prop_assert_eq!(needed.admitted(&signatures), expected);
    }
}
