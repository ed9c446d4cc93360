//! The text form against what pgvector 0.8 and PostgreSQL print and refuse (observed on a server, case by case).
#![forbid(unsafe_code)]

use super::*;
use crate::error::SqlState;
use proptest::prelude::*;

fn parse(text: &str) -> Result<Vec<f32>, String> {
    parse_text(text, None).map_err(|error| error.to_string())
}

fn written(elements: &[f32]) -> String {
    let mut text = String::new();
    write_text(elements, &mut text);
    text
}

#[test]
fn accepted_texts() {
    let cases: &[(&str, &[f32])] = &[
        ("[1]", &[1.0]),
        ("[1,2.5,-3e-2]", &[1.0, 2.5, -0.03]),
        (" \t\n\r\u{b}\u{c}[ 1 ,\t2 ] \n", &[1.0, 2.0]),
        (
            "[+1,-0,.5,1.,1.e2,1E+2]",
            &[1.0, -0.0, 0.5, 1.0, 100.0, 100.0],
        ),
        ("[0x1p3,0X1.8P1,-0xA,0x.8]", &[8.0, 3.0, -10.0, 0.5]),
        ("[1e-45,7e-46,1e-400]", &[1e-45, 0.0, 0.0]),
        ("[0x1p-149,0x1p-150,0x1.000001p-150]", &[1e-45, 0.0, 1e-45]),
        ("[0x1.0000010000000000000001p0]", &[1.0 + f32::EPSILON]),
        (
            "[0x1.000001p0,0x1.000003p0]",
            &[1.0, 1.0 + 2.0 * f32::EPSILON],
        ),
        ("[16777217,16777219]", &[16_777_216.0, 16_777_220.0]),
        ("[16777217.0000000000000000000001]", &[16_777_218.0]),
        // As f64 these two are the half-way point itself.
        (
            "[16777217.00000000001,16777216.99999999999]",
            &[16_777_218.0, 16_777_216.0],
        ),
        ("[3.4028235677973366e38]", &[f32::MAX]),
        (
            "[0.0000000000000000000000000000012345678901234567890]",
            &[1.234_567_9e-30],
        ),
    ];
    for (text, expected) in cases {
        let bits = |v: &[f32]| v.iter().map(|f| f.to_bits()).collect::<Vec<_>>();
        let got = parse(text).unwrap();
        assert_eq!(bits(&got), bits(expected), "{text}");
    }
}

#[test]
fn refused_texts() {
    let syntax = [
        "",
        "  ",
        "1,2]",
        "[1",
        "[1,2",
        "[1,2]x",
        "[1]]",
        "[[1]]",
        "{1}",
        "[1,,2]",
        "[,1]",
        "[1,]",
        "[1 2]",
        "[+-1]",
        "[.]",
        "[-]",
        "[1e]",
        "[1e+]",
        "[0x]",
        "[0xg]",
        "[0x.p1]",
        "[1_0]",
        "[in]",
        "[é]",
        "[\u{a0}1]",
        "[1;2]",
    ];
    for text in syntax {
        let expected = format!("invalid input syntax for type vector: \"{text}\"");
        assert_eq!(parse(text), Err(expected));
        let state = parse_text(text, Some(3)).unwrap_err().sqlstate();
        assert_eq!(state, SqlState::InvalidTextRepresentation);
    }
    for (text, element) in [
        ("[1e39]", "1e39"),
        ("[ -4e38abc", "-4e38"),
        ("[1, 1e5000 ,nan]", "1e5000"),
        ("[0x1p128]", "0x1p128"),
        ("[0x1.ffffffp127]", "0x1.ffffffp127"),
        ("[1e99999999999999999999]", "1e99999999999999999999"),
    ] {
        let expected = format!("\"{element}\" is out of range for type vector");
        assert_eq!(parse(text), Err(expected));
        let state = parse_text(text, None).unwrap_err().sqlstate();
        assert_eq!(state, SqlState::NumericValueOutOfRange);
    }
    for text in ["[nan]", "[-NaN]", "[nan(1)]", "[1,nan,4e38]", "[nanx"] {
        assert_eq!(parse(text), Err("NaN not allowed in vector".into()));
    }
    for text in ["[inf]", "[-Infinity]", "[+INF]", "[infx", "[inf,nan]"] {
        assert_eq!(
            parse(text),
            Err("infinite value not allowed in vector".into())
        );
    }
}

#[test]
fn numbers_of_elements() {
    for text in ["[]", " [ ] ", "[]x"] {
        assert_eq!(parse_text(text, Some(3)), Err(Error::NoDimensions));
    }
    let of = |count: usize, last: &str| format!("[{}{last}]", "1,".repeat(count - 1));
    assert_eq!(parse(&of(MAX_DIMENSIONS, "1")).map(|v| v.len()), Ok(20_000));
    // The limit is met before the element beyond it is read.
    for beyond in ["1", "x", ""] {
        let error = parse_text(&of(MAX_DIMENSIONS + 1, beyond), Some(3)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "vector cannot have more than 20000 dimensions"
        );
        assert_eq!(error.sqlstate(), SqlState::ProgramLimitExceeded);
    }
    let mismatch = Error::DimensionMismatch {
        expected: 3,
        actual: 2,
    };
    assert_eq!(parse_text("[1,2]", Some(3)), Err(mismatch));
    assert_eq!(parse_text("[1,nan]", Some(3)), Err(Error::NanInVector));
}

#[test]
fn written_as_postgresql_prints_real() {
    for (value, expected) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-2.5, "-2.5"),
        (0.1, "0.1"),
        (999_999.0, "999999"),
        (999_999.94, "999999.94"),
        (1e6, "1e+06"),
        (-1_234_567.0, "-1.234567e+06"),
        (1_048_576.1, "1.0485761e+06"),
        (0.0001, "0.0001"),
        (0.000_123_45, "0.00012345"),
        (1.5e-5, "1.5e-05"),
        (1e-45, "1e-45"),
        (f32::MIN_POSITIVE, "1.1754944e-38"),
        (f32::MAX, "3.4028235e+38"),
        (16_777_216.0, "1.6777216e+07"),
        (2_097_152.0, "2.097152e+06"),
        (1e20, "1e+20"),
        (1e10, "1e+10"),
        // 8.589973e9 reads back as this, but lies on the half-way point.
        (8_589_973_504.0, "8.589974e+09"),
        // A power of two: the neighbour below is half as far as the one above.
        (35_184_372_088_832.0, "3.5184372e+13"),
    ] {
        assert_eq!(written(&[value]), format!("[{expected}]"));
    }
    assert_eq!(written(&[1.0, -0.5, 3e8]), "[1,-0.5,3e+08]");
}

#[test]
fn elements_are_checked() {
    let mut elements = vec![f32::MAX; 37];
    elements[3] = -1e-45;
    assert_eq!(check_elements(&elements), Ok(()));
    elements[36] = f32::NEG_INFINITY;
    assert_eq!(check_elements(&elements), Err(Error::InfinityInVector));
    elements[20] = f32::NAN;
    assert_eq!(check_elements(&elements), Err(Error::NanInVector));
    elements[7] = f32::INFINITY;
    assert_eq!(check_elements(&elements), Err(Error::InfinityInVector));
}

proptest! {
    #[test]
    fn every_float_reads_back(bits in any::<u32>()) {
        let value = f32::from_bits(bits);
        prop_assume!(value.is_finite());
        let back = parse(&written(&[value])).unwrap();
        prop_assert_eq!(back[0].to_bits(), bits);
    }

    #[test]
    fn any_decimal_is_correctly_rounded(
        whole in "[0-9]{0,22}",
        fraction in "[0-9]{1,22}",
        exponent in -60i32..60,
    ) {
        let text = format!("{whole}.{fraction}e{exponent}");
        let expected: f32 = text.parse().unwrap();
        match parse(&format!("[{text}]")) {
            Ok(got) => prop_assert_eq!(got[0].to_bits(), expected.to_bits()),
            Err(_) => prop_assert!(expected.is_infinite()),
        }
    }

    #[test]
    fn no_text_makes_it_fail(text in "[\\[\\], 0-9a-fxpnEe.+-]{0,24}|\\PC{0,12}") {
        if let Ok(elements) = parse(&text) {
            prop_assert!(check_elements(&elements).is_ok());
        }
    }
}
