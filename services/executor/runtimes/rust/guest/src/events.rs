//! From the head and body of a request to the event that a handler sees.

use serde_json::{Map, Value};

use crate::base64;

/// A new event. The body is null in it when empty; one that is not UTF-8 is base64 beside it. Path parameters are merged into
/// the event's own level as well, where they win over fields of the same name (the request id is also `context.request_id`).
pub fn event_of(
    head: &[u8],
    body: &[u8],
    env: &Map<String, Value>,
    secrets: &Map<String, Value>,
) -> Result<Value, serde_json::Error> {
    let mut event: Map<String, Value> = serde_json::from_slice(head)?;
    let told: Vec<(&str, Value)> = ["traceparent", "user", "trigger"]
        .into_iter()
        .filter_map(|name| event.remove(name).map(|value| (name, value)))
        .filter(|(_, value)| !matches!(value, Value::Null) && value != "")
        .collect();
    let id = event.get("id").cloned().unwrap_or_default();
    if let Some(Value::Object(context)) = event.get_mut("context") {
        context.insert("request_id".into(), id);
        context.extend(told.into_iter().map(|(name, value)| (name.to_string(), value)));
    }
    event.insert("env".into(), Value::Object(env.clone()));
    event.insert("secrets".into(), Value::Object(secrets.clone()));
    event.insert("body".into(), Value::Null);
    if !body.is_empty() {
        match std::str::from_utf8(body) {
            Ok(text) => event.insert("body".into(), text.into()),
            Err(_) => {
                event.insert("body_base64".into(), base64::encode(body).into());
                event.insert("is_base64".into(), true.into())
            }
        };
    }
    if let Some(session) = event.get("headers").and_then(|headers| headers.get("cookie")).map(session_of) {
        event.insert("session".into(), session);
    }
    let params = event.get("params").cloned().unwrap_or_default();
    event.insert("path_params".into(), params.clone());
    if let Value::Object(params) = params {
        event.extend(params);
    }
    Ok(Value::Object(event))
}

fn session_of(cookie: &Value) -> Value {
    let raw = match cookie {
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "),
        other => other.as_str().unwrap_or_default().to_string(),
    };
    let mut cookies = Map::new();
    for (name, value) in raw.split(';').filter_map(|pair| pair.trim().split_once('=')) {
        if !name.is_empty() && !cookies.contains_key(name) {
            cookies.insert(name.to_string(), value.trim_matches('"').into());
        }
    }
    let id = ["session_id", "sessionid", "sid"].iter().find_map(|name| cookies.get(*name).filter(|value| *value != "").cloned());
    let mut session = Map::new();
    session.insert("id".into(), id.unwrap_or_default());
    session.insert("raw".into(), raw.into());
    session.insert("cookies".into(), Value::Object(cookies));
    Value::Object(session)
}
