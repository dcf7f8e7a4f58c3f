//! From what a handler returns to status, header list and body.

use serde_json::{Map, Value};

use crate::base64;
use crate::csv::csv_of;
use crate::headers::{Headers, InvalidResponse};

/// An object with one of these keys describes an answer; any other is the answer.
const ENVELOPE: [&str; 8] =
    ["status", "statusCode", "headers", "body", "body_base64", "is_base64", "isBase64Encoded", "proxy"];

/// Says that the body describes what the gateway is to fetch.
const PROXY_HEAD: &[u8] = br#"{"proxy":true}"#;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const BINARY: &str = "application/octet-stream";
const BINARY_TYPES: [&str; 5] = [BINARY, "application/pdf", "application/zip", "application/gzip", "application/wasm"];
const BINARY_FAMILIES: [&str; 4] = ["image/", "audio/", "video/", "font/"];
const HTML_STARTS: [&str; 5] = ["<!doctype html", "<html", "<head", "<body", "<!--"];

/// What goes out; `head` is the header list as JSON.
pub struct Answer {
    pub status: u16,
    pub head: Vec<u8>,
    pub body: Vec<u8>,
}

pub fn answer_of(value: &Value) -> Result<Answer, InvalidResponse> {
    match value {
        Value::Object(map) if ENVELOPE.iter().any(|key| map.contains_key(*key)) => from_envelope(map),
        _ => finished(200, Headers::default(), Body::Value(value)),
    }
}

enum Body<'a> {
    Value(&'a Value),
    Bytes(Vec<u8>),
}

fn from_envelope(map: &Map<String, Value>) -> Result<Answer, InvalidResponse> {
    match map.get("proxy") {
        None | Some(Value::Null) => {}
        Some(wanted @ Value::Object(_)) => {
            return Ok(Answer { status: 200, head: PROXY_HEAD.to_vec(), body: wanted.to_string().into_bytes() });
        }
        Some(other) => return Err(InvalidResponse(format!("proxy must be an object, not {:.60}", other.to_string()))),
    }
    let status = map.get("status").or_else(|| map.get("statusCode")).map_or(Ok(200), status_in)?;
    let headers = Headers::of(map.get("headers"))?;
    let body = map.get("body").unwrap_or(&Value::Null);
    let encoded = map.get("body_base64").filter(|value| !value.is_null());
    let marked = ["is_base64", "isBase64Encoded"].iter().any(|key| map.get(*key).is_some_and(is_true));
    if marked || (body.is_null() && encoded.is_some()) {
        return finished(status, headers, Body::Bytes(decoded(encoded.unwrap_or(body))?));
    }
    finished(status, headers, Body::Value(body))
}

fn status_in(value: &Value) -> Result<u16, InvalidResponse> {
    match value.as_u64() {
        Some(status @ 200..=599) => Ok(status as u16),
        _ => Err(InvalidResponse(format!("status must be an integer from 200 to 599, not {:.60}", value.to_string()))),
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

fn decoded(value: &Value) -> Result<Vec<u8>, InvalidResponse> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => base64::decode(text).ok_or_else(|| InvalidResponse("the body is not base64".into())),
        other => Err(InvalidResponse(format!("a base64 body must be text, not {other}"))),
    }
}

fn finished(status: u16, mut headers: Headers, body: Body) -> Result<Answer, InvalidResponse> {
    let (bytes, natural_type) = match body {
        _ if status == 204 || status == 304 => (Vec::new(), ""),
        Body::Bytes(bytes) => (bytes, BINARY),
        Body::Value(value) => written(value, &headers.content_type),
    };
    if !bytes.is_empty() && headers.content_type.is_empty() {
        headers.pairs.push(("content-type".into(), natural_type.into()));
    }
    let pairs = headers.pairs.into_iter().map(|(name, value)| Value::from(vec![name, value])).collect();
    Ok(Answer { status, head: Value::Array(pairs).to_string().into_bytes(), body: bytes })
}

/// A body as bytes, and the content type that it has when the handler named none.
fn written(value: &Value, content_type: &str) -> (Vec<u8>, &'static str) {
    match value {
        Value::Null => (Vec::new(), ""),
        Value::String(text) if is_binary(content_type) => (bytes_in(text), BINARY),
        Value::String(text) => (text.as_bytes().to_vec(), if is_html(text) { HTML } else { TEXT }),
        Value::Bool(_) | Value::Number(_) => (value.to_string().into_bytes(), TEXT),
        Value::Array(rows) if content_type.starts_with("text/csv") => (csv_of(rows).into_bytes(), ""),
        Value::Array(_) | Value::Object(_) => (value.to_string().into_bytes(), JSON),
    }
}

fn is_html(text: &str) -> bool {
    let start: String = text.trim_start().chars().take(15).collect::<String>().to_ascii_lowercase();
    if HTML_STARTS.iter().any(|each| start.starts_with(each)) {
        return true;
    }
    let mut first = start.chars();
    let opens = first.next() == Some('<') && first.next().is_some_and(|each| each.is_ascii_alphabetic());
    opens && start.len() > 2 && text.trim_end().ends_with('>')
}

fn is_binary(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    kind != "image/svg+xml"
        && (BINARY_TYPES.contains(&kind.as_str()) || BINARY_FAMILIES.iter().any(|family| kind.starts_with(family)))
}

/// The bytes that a text of one character per byte stands for; else its UTF-8.
fn bytes_in(text: &str) -> Vec<u8> {
    let bytes: Result<Vec<u8>, _> = text.chars().map(|each| u8::try_from(u32::from(each))).collect();
    bytes.unwrap_or_else(|_| text.as_bytes().to_vec())
}
