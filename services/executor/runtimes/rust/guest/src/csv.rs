//! Rows to CSV, for answers whose content type is `text/csv` and whose body is an array.

use serde_json::Value;

/// Objects go under a header line of all their keys, arrays cell by cell, anything else alone in its row.
pub fn csv_of(rows: &[Value]) -> String {
    let mut columns: Vec<&String> = Vec::new();
    for key in rows.iter().filter_map(Value::as_object).flat_map(|row| row.keys()) {
        if !columns.contains(&key) {
            columns.push(key);
        }
    }
    let mut text = String::new();
    if !columns.is_empty() {
        line(&mut text, columns.iter().map(|name| quoted(name.to_string())));
    }
    for row in rows {
        match row {
            Value::Object(cells) => line(&mut text, columns.iter().map(|name| cell(cells.get(*name).unwrap_or(&Value::Null)))),
            Value::Array(cells) => line(&mut text, cells.iter().map(cell)),
            alone => line(&mut text, std::iter::once(cell(alone))),
        }
    }
    text
}

fn line(text: &mut String, cells: impl Iterator<Item = String>) {
    for (number, cell) in cells.enumerate() {
        if number > 0 {
            text.push(',');
        }
        text.push_str(&cell);
    }
    text.push('\n');
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => quoted(text.clone()),
        other => quoted(other.to_string()),
    }
}

fn quoted(text: String) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}
