//! Texts as Windows takes and gives them: in 16-bit units, with a zero at the end.

use std::ffi::OsStr;
use std::os::windows::ffi::OsStrExt;

/// Writes `text` as the system wants it.
pub(crate) fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

/// Reads what the system has written, up to its zero and at most `longest` units.
///
/// # Safety
///
/// At `text` there are units that can be read, up to a zero or `longest` of them.
#[expect(unsafe_code, reason = "the system's interface")]
pub(crate) unsafe fn read(text: *const u16, longest: usize) -> Vec<u16> {
    (0..longest)
        .map(|index| {
            // SAFETY: the caller's text ends with zero, and nothing behind that is read.
            let unit = unsafe { text.add(index) };
            // SAFETY: as above.
            unsafe { unit.read() }
        })
        .take_while(|unit| *unit != 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_end_with_the_only_zero_that_is_added() {
        assert_eq!(wide(""), [0]);
        assert_eq!(wide("a\u{1f511}"), [0x61, 0xd83d, 0xdd11, 0]);
    }

    #[test]
    #[expect(unsafe_code, reason = "the system's interface")]
    fn nothing_is_read_behind_the_zero_or_the_longest_length() {
        let units = [0x61, 0x62, 0, 0x63];

        // SAFETY: there is a zero, and more than one unit.
        let [whole, cut] = [9, 1].map(|longest| unsafe { read(units.as_ptr(), longest) });

        assert_eq!(whole, [0x61, 0x62]);
        assert_eq!(cut, [0x61]);
    }
}
