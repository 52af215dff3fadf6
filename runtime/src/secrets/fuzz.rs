//! What holds for whatever stands in a secrets file. The fuzz targets check it, and so does a test.

use super::lines::pairs;

/// Reads `text` as a secrets file: what is read is written and read again, and a line that is refused
/// is the first that is wrong.
pub fn secrets(text: &str) {
    match pairs(text) {
        Ok(read) => {
            // Whatever stands at the end of a value, this is the end of its line.
            let line = |(key, value): &(String, String)| format!("{key}={value}\r\n");
            let again: String = read.iter().map(line).collect();
            assert_eq!(pairs(&again), Ok(read));
        }
        Err(number) => {
            let lines: Vec<&str> = text.lines().collect();
            assert!((1..=lines.len()).contains(&number));
            assert!(pairs(&lines[..number - 1].join("\n")).is_ok());
            assert_eq!(pairs(lines[number - 1]), Err(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::mutations;

    #[test]
    fn whatever_stands_in_a_secrets_file_is_read_or_refused() {
        mutations::each("files", 20_000, |input| {
            super::secrets(&String::from_utf8_lossy(input));
        });
    }
}
