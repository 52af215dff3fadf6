//! Reads the text of a secrets file.

/// The pairs of a secrets file, a line `KEY=VALUE` for each. Empty lines and those that begin with `#`
/// are skipped. The value is all that follows the first `=`, with blanks and quotes; blanks around the
/// key are removed.
///
/// # Errors
///
/// The number of the first line that is none, and nothing of what it says.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, usize> {
    let mut pairs = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_start = line.trim_start();
        if line_start.is_empty() || line_start.starts_with('#') {
            continue;
        }
        let (key, value) = line
            .split_once('=')
            .map(|(key, value)| (key.trim(), value))
            .filter(|(key, _)| !key.is_empty())
            .ok_or(index + 1)?;
        pairs.push((key.to_owned(), value.to_owned()));
    }
    Ok(pairs)
}
