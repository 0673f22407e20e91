//! Named values as the tools that look inside print them: in the text form of Kafka's own tools, or as JSON. JSON keeps
//! the order of the names, and takes no more than this.

use std::fmt::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    /// In text what is UTF-8 of them, with replacement characters; in JSON a string, or `{"base64": …}` if they are not.
    Bytes(Bytes),
    /// In text as Java prints it.
    OptionalLong(Option<i64>),
    List(Vec<Value>),
    /// JSON, also in text.
    Object(Fields),
}

pub(super) type Fields = Vec<(&'static str, Value)>;

/// `name: value name: value`, as Kafka's dump tool prints a line.
pub(super) fn text_line(fields: &Fields) -> String {
    let mut line = String::new();
    for (name, value) in fields {
        let space = if line.is_empty() { "" } else { " " };
        // Writing to a String does not fail.
        let _ = write!(line, "{space}{name}: {}", Text(value));
    }
    line
}

/// A value in text.
pub(super) struct Text<'a>(pub(super) &'a Value);

/// A value in JSON.
pub(super) struct Json<'a>(pub(super) &'a Value);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Text(text) => f.write_str(text),
            Value::Bytes(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
            Value::OptionalLong(None) => f.write_str("OptionalLong.empty"),
            Value::OptionalLong(Some(long)) => write!(f, "OptionalLong[{long}]"),
            Value::List(values) => {
                f.write_char('[')?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{}", if index == 0 { "" } else { "," }, Text(value))?;
                }
                f.write_char(']')
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Object(_) => Json(self.0).fmt(f),
        }
    }
}

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null | Value::OptionalLong(None) => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) | Value::OptionalLong(Some(value)) => write!(f, "{value}"),
            Value::Text(text) => quoted(f, text),
            Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => quoted(f, text),
                Err(_) => write!(f, "{{\"base64\":\"{}\"}}", BASE64.encode(bytes)),
            },
            Value::List(values) => {
                f.write_char('[')?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{}", if index == 0 { "" } else { "," }, Json(value))?;
                }
                f.write_char(']')
            }
            Value::Object(fields) => {
                f.write_char('{')?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}\"{name}\":{}", if index == 0 { "" } else { "," }, Json(value))?;
                }
                f.write_char('}')
            }
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            // DEL and the C1 controls need no escape in JSON, but a terminal acts on them.
            control if control.is_control() => write!(f, "\\u{:04x}", control as u32)?,
            other => f.write_char(other)?,
        }
    }
    f.write_char('"')
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Value {
        Value::Int(value.into())
    }
}

impl From<i16> for Value {
    fn from(value: i16) -> Value {
        Value::Int(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Value {
        Value::Int(value.into())
    }
}

/// Sizes and positions: no file is longer than an i64 counts.
impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(value)
    }
}

impl From<StrBytes> for Value {
    fn from(value: StrBytes) -> Value {
        Value::Text(value.to_string())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Value {
        Value::List(values.into_iter().map(Into::into).collect())
    }
}

impl From<Fields> for Value {
    fn from(fields: Fields) -> Value {
        Value::Object(fields)
    }
}

/// Bytes where a JSON document has no other form for them, as Kafka's JSON converters write them.
pub(super) fn base64(bytes: &[u8]) -> Value {
    Value::Text(BASE64.encode(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_lossy_and_json_is_not() {
        let fields = vec![
            ("text", Value::from("a b")),
            ("bytes", Value::Bytes(Bytes::from_static(b"a\xff"))),
            ("empty", Value::OptionalLong(None)),
            ("some", Value::OptionalLong(Some(3))),
            ("list", Value::from(vec!["a", "b"])),
            ("object", Value::from(vec![("n", Value::from(None::<i64>)), ("b", Value::from(true))])),
        ];
        assert_eq!(
            text_line(&fields),
            "text: a b bytes: a\u{fffd} empty: OptionalLong.empty some: OptionalLong[3] list: [a,b] object: {\"n\":null,\"b\":true}"
        );
        assert_eq!(
            Json(&Value::Object(fields)).to_string(),
            r#"{"text":"a b","bytes":{"base64":"Yf8="},"empty":null,"some":3,"list":["a","b"],"object":{"n":null,"b":true}}"#
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_by_a_json_parser(text in any::<String>()) {
            let json = Json(&Value::Text(text.clone())).to_string();
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            prop_assert!(!json.contains(char::is_control));
        }

        #[test]
        fn any_bytes_are_read_back_from_json(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let json = Json(&Value::Bytes(bytes.clone().into())).to_string();
            let read = match serde_json::from_str::<serde_json::Value>(&json).unwrap() {
                serde_json::Value::String(text) => text.into_bytes(),
                object => BASE64.decode(object["base64"].as_str().unwrap()).unwrap(),
            };
            prop_assert_eq!(read, bytes);
        }
    }
}
