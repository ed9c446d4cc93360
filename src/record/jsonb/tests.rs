//! Real `jsonb` bytes (read with pageinspect from PostgreSQL 18), generated ones, and damaged ones.
#![forbid(unsafe_code)]

use super::build::{jsonb, of_value};
use super::*;
use proptest::prelude::*;
use serde_json::Value as Json;

/// Reads everything, as JSON.
fn decode(value: Value<'_>) -> Result<Json, Error> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => truth.into(),
        Value::String(string) => String::from_utf8_lossy(string).into(),
        Value::Number(number) => number.to_f64()?.into(),
        Value::Array(array) => {
            let elements = array.iter().map(|element| decode(element?));
            elements.collect::<Result<Vec<_>, _>>()?.into()
        }
        Value::Object(object) => {
            let mut pairs = serde_json::Map::new();
            for pair in object.iter() {
                let (key, value) = pair?;
                pairs.insert(String::from_utf8_lossy(key).into(), decode(value)?);
            }
            pairs.into()
        }
    })
}

fn text(json: &Json) -> String {
    json.to_string()
}

fn read(bytes: &[u8]) -> Json {
    parse(bytes).and_then(decode).unwrap()
}

#[cfg(target_endian = "little")]
mod stored {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
        let pairs = hex.as_bytes().chunks(2);
        pairs
            .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
            .collect()
    }

    /// 37 keys `k00` … `k36`: strings `v0`, `v2` … at even ones, booleans `i > 20` at odd ones. Has three stored offsets.
    const WIDE: &str = "250000200300008003000000030000000300000003000000030000000300000003000000030000000300000003000000\
     030000000300000003000000030000000300000003000000030000000300000003000000030000000300000003000000\
     030000000300000003000000030000000300000003000000030000000300000003000000630000800300000003000000\
     030000000300000002000000000000200200000000000020020000000000002002000000000000200200000000000020\
     030000000000002003000000000000200300000000000020030000000000002003000000000000200300000000000030\
     0300000000000030030000000000003003000000940000b0030000000000003003000000000000300300000000000030\
     0300000000000030030000006b30306b30316b30326b30336b30346b30356b30366b30376b30386b30396b31306b3131\
     6b31326b31336b31346b31356b31366b31376b31386b31396b32306b32316b32326b32336b32346b32356b32366b3237\
     6b32386b32396b33306b33316b33326b33336b33346b33356b3336763076327634763676387631307631327631347631\
     36763138763230763232763234763236763238763330763332763334763336";

    const NUMBERS: &str = "0100002001000080c10000506e0000000c000040060000900a00001008000010080000100c0000100800001008000010\
     160000100c0000100c000010120000100e000010180000000080000020000000008001002000000000a0010020000000\
     ff80e803300000008180d2042e162823200000000580010020000000fe830a005800000007800c00800dd21ed2042e16\
     3423800dd21e00002800000000004b0001000000280000002c01b5ff0100000040000000ffa8b80b000000000000a00f\
     3800000003802f23c8076215e103";

    #[test]
    fn documents() {
        for (hex, json) in [
            ("00000020", "{}"),
            ("00000040", "[]"),
            ("01000050040000806c6f6e65", "\"lone\""),
            ("01000050080000902000000000802a00", "42"),
            (
                "05000040080000900100000000000030000000401b00005020000000008001007800000001000020010000800b00001061000000\
                 2000000000800100",
                r#"[1,"x",true,null,{"a":1}]"#,
            ),
            (
                "07000020020000800200000003000000040000000400000004000000050000000000002000000030000000402e00005011000050\
                 09000010050000006e6f6f6b6e696c64656570746167737965617267656e72650100002001000080210000507800000002000040\
                 080000900a00001020000000008001002800000080a0020088130000020000400100008002000000616263002000000000\
                 80e4076472616d61",
                r#"{"genre":"drama","year":2020,"ok":true,"no":false,"nil":null,"tags":["a","bc"],"deep":{"x":[1,-2.5]}}"#,
            ),
        ] {
            let stored = bytes(hex);
            let expected: Json = serde_json::from_str(json).unwrap();
            // By the text of numbers as f64.
            assert_eq!(read(&stored), read(&jsonb(json)));
            assert_eq!(text(&read(&stored)).replace(".0", ""), text(&expected));
            assert_eq!(
                stored,
                jsonb(json),
                "what the tests build is what PostgreSQL builds"
            );
        }
    }

    #[test]
    fn more_keys_than_a_stride() {
        let stored = bytes(WIDE);
        let Ok(Value::Object(object)) = parse(&stored) else {
            panic!("an object")
        };
        assert_eq!(object.len(), 37);
        for (i, pair) in object.iter().enumerate() {
            let (key, value) = pair.unwrap();
            assert_eq!(key, format!("k{i:02}").as_bytes());
            let found = object.get(key).unwrap().unwrap();
            for value in [value, found] {
                match value {
                    Value::String(string) => assert_eq!(string, format!("v{i}").as_bytes()),
                    Value::Bool(truth) => assert_eq!((truth, i % 2), (i > 20, 1)),
                    other => panic!("{other:?}"),
                }
            }
        }
        for absent in ["", "k", "k37", "k000", "a00", "z00"] {
            assert!(object.get(absent.as_bytes()).unwrap().is_none());
        }
        assert_eq!(of_value(&read(&stored)), stored);
    }

    #[test]
    fn numbers() {
        let stored = bytes(NUMBERS);
        let Ok(Value::Object(object)) = parse(&stored) else {
            panic!("an object")
        };
        let Ok(Some(Value::Array(array))) = object.get(b"n") else {
            panic!("an array")
        };
        let got: Vec<f64> = array
            .iter()
            .map(|number| match number.unwrap() {
                Value::Number(number) => number.to_f64().unwrap(),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            0.0,
            1.0,
            -1.0,
            0.1,
            12_345_678.9,
            1e20,
            1e-7,
            123_456_789_012_345_678_901_234_567_890.0,
            1e300,
            1e-300,
            -0.300_000_000_000_000_04,
            9_007_199_254_740_992.0,
        ];
        assert_eq!(got, expected);
    }
}

/// The datum of a number, as it comes with a one-byte length header and as special values come.
#[cfg(target_endian = "little")]
#[test]
fn other_forms_of_numbers() {
    let of = |datum: &[u8]| Number::new(datum).and_then(Number::to_f64);
    assert_eq!(of(&[0x0b, 0x00, 0x80, 0x2a, 0x00]), Ok(42.0));
    assert_eq!(of(&[0x07, 0x00, 0xd0]), Ok(f64::INFINITY));
    assert_eq!(of(&[0x07, 0x00, 0xf0]), Ok(f64::NEG_INFINITY));
    assert!(of(&[0x07, 0x00, 0xc0]).unwrap().is_nan());
    for damaged in [
        &[][..],
        &[0x01],
        &[0x03],
        &[0x07, 0x00],
        &[0x0b, 0x00, 0x80, 0x10, 0x27],
        &[0x09, 0x00, 0x80, 0x2a],
        &[0x22, 0, 0, 0, 0, 0x80, 1, 0],
    ] {
        assert!(
            matches!(of(damaged), Err(Error::Corrupted { .. })),
            "{damaged:?}"
        );
    }
}

fn any_json() -> impl Strategy<Value = Json> {
    let number = prop_oneof![
        any::<i32>().prop_map(f64::from),
        (-1e9..1e9f64),
        (0u32..1000, -6i32..6).prop_map(|(m, e)| f64::from(m) * 10f64.powi(e)),
    ];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        number.prop_map(Json::from),
        "\\PC{0,10}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 80, 40, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..40).prop_map(Json::from),
            prop::collection::btree_map("[a-z$é]{0,4}", inner, 0..40)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_built_is_read(json in any_json()) {
        let bytes = of_value(&json);
        prop_assert_eq!(read(&bytes), json.clone());
        if let (Ok(Value::Object(object)), Json::Object(pairs)) = (parse(&bytes), &json) {
            for (key, value) in pairs {
                let found = object.get(key.as_bytes()).unwrap().unwrap();
                prop_assert_eq!(&decode(found).unwrap(), value);
            }
        }
    }

    /// Whatever the bytes, reading ends with a value or with `Corrupted`.
    #[test]
    fn damage_is_an_error_at_worst(
        json in any_json(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let mut bytes = of_value(&json);
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        match parse(&bytes).and_then(decode) {
            Ok(_) | Err(Error::Corrupted { .. }) => (),
            Err(other) => prop_assert!(false, "{other:?}"),
        }
        if let Ok(Value::Object(object)) = parse(&bytes) {
            let _ = object.get(b"abc");
        }
    }
}
