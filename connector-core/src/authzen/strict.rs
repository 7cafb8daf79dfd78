//! JSON as decisions may be written in: I-JSON (RFC 7493), where no member appears twice.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Malformed;

/// Parses the whole of `body`; a member that appears twice, at any depth, is an error.
///
/// Whoever takes the last of two and whoever takes the first would read two
/// different answers from the same bytes.
pub(super) fn parse(body: &[u8]) -> Result<Value, Malformed> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = Strict.deserialize(&mut deserializer);
    value
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| Malformed::new(error.to_string()))
}

/// Reads one value, strictly. The parser itself bounds the depth.
#[derive(Clone, Copy)]
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that is none"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(self)?;
            if object.contains_key(&name) {
                return Err(A::Error::custom(format!(
                    "the member {name:?} appears twice"
                )));
            }
            object.insert(name, value);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_the_ordinary_parser_reads_it() {
        for text in [
            "null",
            "[]",
            "[1, -2, 2.5, 1e3, \"\\u00e9\", true, {}]",
            r#"{"a": {"b": [{"a": 1}, {"a": 2}]}, "c": false}"#,
        ] {
            let ordinary: Value = serde_json::from_str(text).unwrap();

            assert_eq!(parse(text.as_bytes()).unwrap(), ordinary);
        }
    }

    #[test]
    fn a_member_that_appears_twice_at_any_depth_is_refused() {
        for text in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"a": 1, "\u0061": 2}"#,
            r#"{"x": [{"y": {"a": 1, "b": 2, "a": 3}}]}"#,
        ] {
            let problem = parse(text.as_bytes()).unwrap_err().to_string();

            assert!(problem.contains("appears twice"), "{text}: {problem}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for body in [
            &b"\xef\xbb\xbf{}"[..],
            b"\xff\xfe{\0}\0",
            b"{} {}",
            b"NaN",
            b"1e999",
            b"{\"a\": \"\xff\"}",
            b"{'a': 1}",
        ] {
            assert!(parse(body).is_err(), "{body:?}");
        }
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes()).is_err());
    }
}
