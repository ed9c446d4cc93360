//! For tests: the bytes PostgreSQL stores for a JSON text (held against real ones in `tests.rs`).
#![forbid(unsafe_code)]

use super::*;
use serde_json::Value as Json;

/// The `jsonb` of a JSON text, without its length header.
#[cfg(test)]
pub fn jsonb(json: &str) -> Vec<u8> {
    of_value(&serde_json::from_str(json).unwrap())
}

/// The same of a parsed one (serde_json's parser may be a unit off in the last place of a float).
pub fn of_value(json: &Json) -> Vec<u8> {
    match json {
        Json::Array(_) | Json::Object(_) => encode(json),
        scalar => encode_container(ARRAY | SCALAR | 1, &[scalar]),
    }
}

fn encode(json: &Json) -> Vec<u8> {
    match json {
        Json::Array(array) => {
            let elements: Vec<_> = array.iter().collect();
            encode_container(ARRAY | array.len() as u32, &elements)
        }
        Json::Object(object) => {
            let mut pairs: Vec<_> = object.iter().collect();
            pairs.sort_by_key(|(key, _)| (key.len(), key.as_bytes().to_vec()));
            let keys: Vec<_> = pairs
                .iter()
                .map(|(key, _)| Json::from(key.as_str()))
                .collect();
            let values = pairs.iter().map(|(_, value)| *value);
            let entries: Vec<_> = keys.iter().chain(values).collect();
            encode_container(OBJECT | object.len() as u32, &entries)
        }
        _ => unreachable!("only containers are encoded on their own"),
    }
}

fn encode_container(header: u32, entries: &[&Json]) -> Vec<u8> {
    let mut table = header.to_ne_bytes().to_vec();
    let mut data = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let start = data.len();
        let kind = match entry {
            Json::Null => TYPE_NULL,
            Json::Bool(false) => TYPE_FALSE,
            Json::Bool(true) => TYPE_TRUE,
            Json::String(string) => {
                data.extend(string.as_bytes());
                TYPE_STRING
            }
            Json::Number(number) => {
                data.resize(start.next_multiple_of(4), 0);
                data.extend(numeric(&number.to_string()));
                TYPE_NUMBER
            }
            container => {
                data.resize(start.next_multiple_of(4), 0);
                data.extend(encode(container));
                TYPE_CONTAINER
            }
        };
        let place = if index % 32 == 0 {
            HAS_OFFSET | data.len() as u32
        } else {
            (data.len() - start) as u32
        };
        table.extend((kind | place).to_ne_bytes());
    }
    table.extend(data);
    table
}

/// The datum of a number in the short form.
fn numeric(text: &str) -> Vec<u8> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (0x2000u16, text),
        None => (0, text),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // The number is `digits` · 10^power; zeros are added until that power is one of 10,000.
    let mut digits = format!("{whole}{fraction}");
    let mut power = exponent.parse::<i32>().unwrap() - fraction.len() as i32;
    while power.rem_euclid(4) != 0 {
        digits.push('0');
        power -= 1;
    }
    let padding = digits.len().next_multiple_of(4) - digits.len();
    let digits = "0".repeat(padding) + &digits;
    let mut groups: Vec<u16> = digits
        .as_bytes()
        .chunks(4)
        .map(|group| str::from_utf8(group).unwrap().parse().unwrap())
        .collect();
    let mut weight = power / 4 + groups.len() as i32 - 1;
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    let scale = u16::try_from(fraction.len()).unwrap();
    let header = 0x8000 | sign | scale << 7 | (weight as u16 & 0x7f);
    let length = 4 + 2 * (1 + groups.len()) as u32;
    let length = if cfg!(target_endian = "little") {
        length << 2
    } else {
        length
    };
    let mut datum = length.to_ne_bytes().to_vec();
    for word in [header].iter().chain(&groups) {
        datum.extend(word.to_ne_bytes());
    }
    datum
}
