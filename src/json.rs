//! JSON documents, looked into by key. Of each value only its type is checked here; what is missing or null is empty. One
//! parser for all documents is a third of the code of one for each.

use std::collections::BTreeMap;

use miniserde::json::{self, Number, Value};

use crate::error::{Error, Result};

/// The most that a document may have, in bytes.
pub(crate) const MOST: u64 = 4 << 20;

pub(crate) fn parse(what: &str, text: &[u8]) -> Result<Value> {
    let text = std::str::from_utf8(text).ok().and_then(|text| json::from_str(text).ok());
    text.ok_or_else(|| Error::new(format_args!("{what} is not JSON")))
}

/// The value of a key in an object; None also for null.
pub(crate) fn get<'a>(value: &'a Value, key: &str) -> Result<Option<&'a Value>> {
    match value {
        Value::Object(object) => Ok(object.get(key).filter(|value| !matches!(value, Value::Null))),
        _ => Err(wrong(key, "in an object")),
    }
}

pub(crate) fn text(value: &Value, key: &str) -> Result<String> {
    match get(value, key)? {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(wrong(key, "a string")),
    }
}

pub(crate) fn number(value: &Value, key: &str) -> Result<u64> {
    match get(value, key)? {
        Some(Value::Number(Number::U64(number))) => Ok(*number),
        _ => Err(wrong(key, "a number from 0 on")),
    }
}

pub(crate) fn list<'a>(value: &'a Value, key: &str) -> Result<&'a [Value]> {
    match get(value, key)? {
        None => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(wrong(key, "a list")),
    }
}

pub(crate) fn texts(value: &Value, key: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for one in list(value, key)? {
        match one {
            Value::String(text) => found.push(text.clone()),
            _ => return Err(wrong(key, "a list of strings")),
        }
    }
    Ok(found)
}

/// The keys of an object that stands for a set, as {"80/tcp": {}}.
pub(crate) fn keys(value: &Value, key: &str) -> Result<Vec<String>> {
    match get(value, key)? {
        None => Ok(Vec::new()),
        Some(Value::Object(object)) => Ok(object.keys().cloned().collect()),
        Some(_) => Err(wrong(key, "an object")),
    }
}

pub(crate) fn map(value: &Value, key: &str) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    if let Some(inner) = get(value, key)? {
        for name in keys(value, key)? {
            let text = text(inner, &name)?;
            found.insert(name, text);
        }
    }
    Ok(found)
}

fn wrong(key: &str, what: &str) -> Error {
    Error::new(format_args!("{} is not {what}", shown(key.as_bytes())))
}

/// A name out of somebody else's file, fit for a terminal and of a bearable length.
pub(crate) fn shown(name: &[u8]) -> String {
    const MOST: usize = 120;
    let text = String::from_utf8_lossy(&name[..name.len().min(MOST)]);
    // What would move the cursor of a terminal.
    let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    match name.len() {
        0 => "(without a name)".into(),
        1..=MOST => text,
        _ => text + "…",
    }
}
