//! (to be written)
#![forbid(unsafe_code)]
use crate::error::Error;
pub const MAX_DIMENSIONS: usize = 20_000;
pub fn parse_text(text: &str, expected: Option<usize>) -> Result<Vec<f32>, Error> {
    let syntax = || Error::VectorSyntax { text: text.into() };
    let inner = text
        .trim()
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .ok_or_else(syntax)?;
    let v: Vec<f32> = inner
        .split(',')
        .map(|t| t.trim().parse().map_err(|_| syntax()))
        .collect::<Result<_, _>>()?;
    match expected {
        Some(e) if e != v.len() => Err(Error::DimensionMismatch {
            expected: e,
            actual: v.len(),
        }),
        _ => Ok(v),
    }
}
pub fn write_text(v: &[f32], out: &mut String) {
    *out += &format!("{v:?}").replace(' ', "");
}
pub fn check_elements(v: &[f32]) -> Result<(), Error> {
    if v.iter().any(|x| x.is_nan()) {
        return Err(Error::NanInVector);
    }
    if v.iter().any(|x| x.is_infinite()) {
        return Err(Error::InfinityInVector);
    }
    Ok(())
}
