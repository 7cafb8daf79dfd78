//! A value of the registry, as a setting.

use super::Given;

/// Reads a value of a kind, as the registry has it.
pub(super) fn given(kind: u32, data: &[u8]) -> Given {
    match kind {
        TEXT | EXPANDABLE_TEXT => Given::Text(text(data)),
        NUMBER => match data.try_into() {
            Ok(bytes) => Given::Number(u32::from_le_bytes(bytes).into()),
            Err(_) => Given::Other("a number of another length"),
        },
        LONG_NUMBER => match data.try_into() {
            Ok(bytes) => Given::Number(u64::from_le_bytes(bytes)),
            Err(_) => Given::Other("a number of another length"),
        },
        TEXTS => {
            let joined = text(data);
            let texts = joined.split('\0').filter(|text| !text.is_empty());
            Given::List(texts.map(str::to_owned).collect())
        }
        _ => Given::Other("a value of another kind"),
    }
}

/// Reads UTF-16, without the zeros at its end.
fn text(data: &[u8]) -> String {
    let units: Vec<u16> = data
        .chunks_exact(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .collect();
    let text = String::from_utf16_lossy(&units);
    text.trim_end_matches('\0').to_owned()
}

const TEXT: u32 = 1;
const EXPANDABLE_TEXT: u32 = 2;
const NUMBER: u32 = 4;
const TEXTS: u32 = 7;
const LONG_NUMBER: u32 = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_group_policies_write_them() {
        assert_eq!(given(1, &wide("Corp IT\0")), Given::Text("Corp IT".into()));
        assert_eq!(given(4, &[1, 0, 0, 0]), Given::Number(1));
        assert_eq!(given(11, &[30, 0, 0, 0, 0, 0, 0, 0]), Given::Number(30));
        assert_eq!(
            given(7, &wide("corp.test\0corp.example\0\0")),
            Given::List(vec!["corp.test".into(), "corp.example".into()])
        );
        assert_eq!(given(7, &[]), Given::List(vec![]));
    }

    #[test]
    fn torn_values_are_no_settings_and_never_a_panic() {
        for (kind, data) in [
            (4, &[1][..]),
            (4, &[]),
            (11, &[1, 0, 0, 0]),
            (3, &[1]),
            (99, &[]),
        ] {
            assert!(matches!(given(kind, data), Given::Other(_)), "{kind}");
        }
        assert_eq!(given(1, &[0x41, 0, 0x42]), Given::Text("A".into()));
        assert_eq!(given(1, &[0, 0xd8]), Given::Text("\u{fffd}".into()));
    }

    fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }
}
