//! Figures and lists as people read them.

use std::fmt::Write as _;

/// A size in bytes, as kilobytes or megabytes of a thousand.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..10_000_000 => format!("{} KB", (bytes + 500) / 1_000),
        _ => format!("{} MB", (bytes + 500_000) / 1_000_000),
    }
}

/// A size of memory in bytes, as wasm counts it: in KiB and MiB.
pub(crate) fn memory(bytes: u64) -> String {
    if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}

/// Lines of `label  value`, with the values in one column. A value of several lines, or
/// none, keeps its column.
pub(crate) fn table(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for (label, value) in rows {
        let mut label = *label;
        for line in if value.is_empty() {
            vec!["none"]
        } else {
            value.lines().collect()
        } {
            // As above.
            let _ = writeln!(text, "{label:width$}{line}");
            label = "";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(size(999), "999 bytes");
        assert_eq!(size(349_400), "349 KB");
        assert_eq!(size(25_000_000), "25 MB");
        assert_eq!(memory(65_536), "64 KiB");
        assert_eq!(memory(17 << 20), "17 MiB");
        assert_eq!(memory((1 << 20) + 65_536), "1088 KiB");
    }

    #[test]
    fn tables_line_up() {
        let rows = [("a", "1\n2".to_owned()), ("long", String::new())];
        assert_eq!(table(&rows), "a     1\n      2\nlong  none\n");
    }
}
