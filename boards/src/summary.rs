//! What a run did, shown at its end.

use std::fmt::Write;
use std::time::Duration;

/// What was done, how long it took, how it went.
#[derive(Default)]
pub(crate) struct Summary {
    lines: Vec<(String, Duration, bool)>,
}

impl Summary {
    /// Notes that a step has ended.
    pub(crate) fn add(&mut self, step: &str, took: Duration, ok: bool) {
        self.lines.push((step.to_owned(), took, ok));
    }

    /// A line for each step, and one for all of the `planned` ones.
    pub(crate) fn table(&self, planned: usize) -> String {
        let mut text = String::new();
        let mut total = Duration::ZERO;
        for (name, time, ok) in &self.lines {
            total += *time;
            let result = if *ok { "ok" } else { "FAILED" };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:<36} {:>7.1} s  {result}", time.as_secs_f64());
        }
        let passed = self.lines.iter().filter(|(_, _, ok)| *ok).count();
        let _ = write!(
            text,
            "{:<36} {:>7.1} s  {passed} of {planned} steps passed",
            "total",
            total.as_secs_f64()
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_tells_how_far_it_came() {
        let summary = Summary {
            lines: vec![
                ("formatting".into(), Duration::from_millis(1250), true),
                ("lints".into(), Duration::from_secs(60), false),
            ],
        };
        let text = summary.table(7);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("formatting ") && lines[0].ends_with("    1.2 s  ok"));
        assert!(lines[1].ends_with("   60.0 s  FAILED"));
        assert!(lines[2].ends_with("   61.2 s  1 of 7 steps passed"));
    }
}
