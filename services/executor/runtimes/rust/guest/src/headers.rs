//! The headers of an answer: what may go on the wire, and what is not a handler's to say.

use serde_json::Value;

/// Why what the handler returned describes no possible answer.
pub struct InvalidResponse(pub String);

/// Headers of the connection, which belongs to the gateway; they are dropped.
const NOT_ITS_OWN: [&str; 11] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

#[derive(Default)]
pub struct Headers {
    /// Names are in lower case.
    pub pairs: Vec<(String, String)>,
    /// The content type among them, or empty.
    pub content_type: String,
}

impl Headers {
    /// Takes an object, where an array as value gives several headers and null none, or an array of pairs.
    pub fn of(headers: Option<&Value>) -> Result<Headers, InvalidResponse> {
        let mut list = Headers::default();
        match headers {
            None | Some(Value::Null) => {}
            Some(Value::Object(named)) => {
                for (name, value) in named {
                    list.add(name, value)?;
                }
            }
            Some(Value::Array(pairs)) => {
                for pair in pairs {
                    match pair.as_array().map(Vec::as_slice) {
                        Some([Value::String(name), value]) => list.add(name, value)?,
                        _ => return Err(InvalidResponse("headers must be an object or a list of [name, value]".into())),
                    }
                }
            }
            Some(other) => return Err(InvalidResponse(format!("headers must be an object, not {other}"))),
        }
        Ok(list)
    }

    fn add(&mut self, name: &str, value: &Value) -> Result<(), InvalidResponse> {
        let name = name.to_lowercase();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)) {
            return Err(InvalidResponse(format!("not a header name: {name:?}")));
        }
        if NOT_ITS_OWN.contains(&name.as_str()) {
            return Ok(());
        }
        for each in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
            let Some(text) = text_of(&name, each)? else { continue };
            if name == "content-type" {
                if !self.content_type.is_empty() {
                    continue;
                }
                self.content_type.clone_from(&text);
            }
            self.pairs.push((name.clone(), text));
        }
        Ok(())
    }
}

fn text_of(name: &str, value: &Value) -> Result<Option<String>, InvalidResponse> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        _ => return Err(InvalidResponse(format!("header {name}: {value} is not a header value"))),
    };
    if text.chars().any(|each| each.is_ascii_control() && each != '\t') {
        return Err(InvalidResponse(format!("header {name}: control characters are not allowed")));
    }
    if text.chars().any(|each| each > '\u{ff}') {
        return Err(InvalidResponse(format!("header {name}: only latin-1 characters are allowed")));
    }
    Ok(Some(text.trim().to_string()))
}
