//! What a run did, shown at its end.

use std::fmt::Write;
use std::time::Duration;

/// What was done, how long it took, how it went.
#[derive(Default)]
pub(crate) struct Summary {
    lines: Vec<Line>,
}

struct Line {
    step: String,
    took: Duration,
    ok: bool,
    /// What its tests came to, if it has any.
    tests: Option<String>,
}

impl Summary {
    /// Notes that a step has ended.
    pub(crate) fn add(&mut self, step: &str, took: Duration, ok: bool, tests: Option<String>) {
        self.lines.push(Line {
            step: step.to_owned(),
            took,
            ok,
            tests,
        });
    }

    /// A line for each step, and one for all of the `planned` ones, which took so long together: less than
    /// their sum where some ran side by side.
    pub(crate) fn table(&self, planned: usize, took: Duration) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let result = if line.ok { "ok" } else { "FAILED" };
            let tests = line.tests.as_deref().unwrap_or_default();
            let line = format!(
                "{:<36} {:>9}  {result:<6}  {tests}",
                line.step,
                time(line.took)
            );
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", line.trim_end());
        }
        let passed = self.lines.iter().filter(|line| line.ok).count();
        let _ = write!(
            text,
            "{:<36} {:>9}  {passed} of {planned} steps passed",
            "all",
            time(took)
        );
        text
    }
}

/// Minutes and seconds.
fn time(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    let minutes = (seconds / 60.0).floor();
    match minutes > 0.0 {
        true => format!(
            "{minutes:.0} m {:02.0} s",
            (seconds - 60.0 * minutes).floor()
        ),
        false => format!("{seconds:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_tells_how_far_it_came() {
        let mut summary = Summary::default();
        summary.add("formatting", Duration::from_millis(1250), true, None);
        let tests = Some("7 passed, 1 failed".to_owned());
        summary.add("unit tests", Duration::from_millis(125_900), false, tests);
        let text = summary.table(7, Duration::from_secs(126));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("formatting ") && lines[0].ends_with("    1.2 s  ok"));
        assert!(lines[1].ends_with("   2 m 05 s  FAILED  7 passed, 1 failed"));
        assert!(lines[2].ends_with("   2 m 06 s  1 of 7 steps passed"));
    }
}
