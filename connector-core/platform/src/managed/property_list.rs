//! A property list, as text or binary, as settings.

use std::io::{self, Cursor};

use plist::{Dictionary, Value};

use super::Given;

/// Returns every value, by its name; names within names are joined by dots.
pub(super) fn values(bytes: &[u8]) -> io::Result<Vec<(String, Given)>> {
    let value = Value::from_reader(Cursor::new(bytes)).map_err(io::Error::other)?;
    let Value::Dictionary(dictionary) = value else {
        return Err(io::Error::other("it is no dictionary"));
    };
    let mut values = Vec::new();
    collect("", dictionary, MAX_DEPTH, &mut values)?;
    Ok(values)
}

fn collect(
    prefix: &str,
    dictionary: Dictionary,
    depth: usize,
    values: &mut Vec<(String, Given)>,
) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::other("it is nested too deeply"));
    }
    for (name, value) in dictionary {
        // What a profile says about itself.
        if prefix.is_empty() && name.starts_with("Payload") {
            continue;
        }
        let dotted = match prefix {
            "" => name,
            _ => format!("{prefix}.{name}"),
        };
        if let Value::Dictionary(inner) = value {
            collect(&dotted, inner, depth - 1, values)?;
        } else {
            values.push((dotted, given(value)));
        }
    }
    Ok(())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum may grow, and whatever comes is no setting"
)]
fn given(value: Value) -> Given {
    match value {
        Value::Array(items) => {
            let texts = items.into_iter().map(Value::into_string);
            let texts: Option<Vec<String>> = texts.collect();
            texts.map_or(
                Given::Other("a list of other things than texts"),
                Given::List,
            )
        }
        Value::Boolean(flag) => Given::Flag(flag),
        Value::Integer(number) => number
            .as_unsigned()
            .map_or(Given::Other("a negative number"), Given::Number),
        Value::String(text) => Given::Text(text),
        Value::Data(_) => Given::Other("binary data"),
        Value::Date(_) => Given::Other("a date"),
        Value::Real(_) => Given::Other("a fraction"),
        _ => Given::Other("something that no setting is"),
    }
}

/// A section and a name; more is no setting.
const MAX_DEPTH: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
  <key>PayloadUUID</key><string>x</string>
  <key>always_on.enabled</key><true/>
  <key>pause</key><dict><key>limit</key><integer>30</integer></dict>
  <key>control_plane.dns_suffixes</key><array><string>corp.test</string></array>
  <key>managed.by</key><string>Corp IT</string>
  <key>log.level</key><real>1.5</real>
</dict></plist>"#;

    #[test]
    fn a_profile_is_read_as_text_and_as_binary() {
        let value = Value::from_reader_xml(PROFILE.as_bytes()).unwrap();
        let mut binary = Vec::new();
        value.to_writer_binary(&mut binary).unwrap();
        assert!(binary.starts_with(b"bplist00"));

        for bytes in [PROFILE.as_bytes(), &binary] {
            let mut values = values(bytes).unwrap();
            values.sort_by(|one, other| one.0.cmp(&other.0));

            let expected = [
                ("always_on.enabled", Given::Flag(true)),
                (
                    "control_plane.dns_suffixes",
                    Given::List(vec!["corp.test".into()]),
                ),
                ("log.level", Given::Other("a fraction")),
                ("managed.by", Given::Text("Corp IT".into())),
                ("pause.limit", Given::Number(30)),
            ];
            assert_eq!(
                values,
                expected.map(|(name, given)| (name.to_owned(), given))
            );
        }
    }

    #[test]
    fn what_is_no_profile_is_an_error() {
        let deep = format!(
            "<plist>{}{}</plist>",
            "<dict><key>a</key>".repeat(2000),
            "</dict>".repeat(2000)
        );
        for bytes in [
            &b""[..],
            b"bplist00",
            b"<plist><array/></plist>",
            b"<plist><dict>",
            deep.as_bytes(),
        ] {
            assert!(values(bytes).is_err());
        }
    }
}
