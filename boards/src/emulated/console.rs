//! The serial line of a machine: commands go in, and what they print comes out, each with a limit of time.

use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How much of what a machine said last is shown with an error.
const TAIL: usize = 1500;

/// A line to a shell that ends each command with `=== NUMBER ended STATUS`, as `init.sh` does.
pub(super) struct Console {
    input: Box<dyn Write + Send>,
    heard: Arc<Heard>,
    /// Commands that were sent. The greeting is the one with number 0.
    sent: u32,
}

/// What a command came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    pub(crate) text: String,
}

#[derive(Default)]
struct Heard {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    text: String,
    ended: bool,
}

impl Console {
    /// Listens in a thread of its own, which ends with the line.
    pub(super) fn new(
        input: impl Write + Send + 'static,
        mut output: impl Read + Send + 'static,
    ) -> Console {
        let heard = Arc::new(Heard::default());
        let listener = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                let length = output.read(&mut bytes).unwrap_or(0);
                let mut state = listener.state();
                // A terminal ends its lines with both characters.
                let text = String::from_utf8_lossy(&bytes[..length]).replace('\r', "");
                state.text.push_str(&text);
                state.ended = length == 0;
                listener.changed.notify_all();
                if length == 0 {
                    return;
                }
            }
        });
        Console {
            input: Box::new(input),
            heard,
            sent: 0,
        }
    }

    /// Waits until the shell is there.
    pub(super) fn greeted(&mut self, limit: Duration) -> Result<()> {
        self.wait(0, limit)
            .map(drop)
            .context("the machine does not boot")
    }

    /// Has the shell do something that may fail.
    pub(super) fn ask(&mut self, command: &str, limit: Duration) -> Result<Answer> {
        self.sent += 1;
        let line = format!("{} {command}\n", self.sent);
        self.input
            .write_all(line.as_bytes())
            .and_then(|()| self.input.flush())
            .with_context(|| format!("the machine is gone; it said last:\n{}", self.tail()))?;
        self.wait(self.sent, limit)
            .with_context(|| format!("`{command}` in the machine"))
    }

    /// Has the shell do something that has to succeed, and answers what it printed.
    pub(super) fn run(&mut self, command: &str, limit: Duration) -> Result<String> {
        let answer = self.ask(command, limit)?;
        if answer.status != 0 {
            bail!(
                "`{command}` ended with {} in the machine: {}",
                answer.status,
                answer.text.trim()
            );
        }
        Ok(answer.text)
    }

    fn wait(&self, number: u32, limit: Duration) -> Result<Answer> {
        let end = Instant::now() + limit;
        let mut state = self.heard.state();
        loop {
            if let Some((answer, length)) = answer(&state.text, number) {
                state.text.drain(..length);
                return Ok(answer);
            }
            let left = end.saturating_duration_since(Instant::now());
            if state.ended || left == Duration::ZERO {
                let why = match state.ended {
                    true => "it ended".to_owned(),
                    false => format!("no answer in {} s", limit.as_secs()),
                };
                bail!("{why}; the machine said last:\n{}", tail(&state.text));
            }
            let waited = self.heard.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn tail(&self) -> String {
        tail(&self.heard.state().text).to_owned()
    }
}

impl Heard {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the command of this number came to, once its end is in the text, and how much of the text that is.
fn answer(text: &str, number: u32) -> Option<(Answer, usize)> {
    let end = format!("=== {number} ended ");
    let at = text.find(&end)?;
    let (status, _) = text[at + end.len()..].split_once('\n')?;
    let answer = Answer {
        status: status.parse().ok()?,
        text: text[..at].to_owned(),
    };
    Some((answer, at + end.len() + status.len() + 1))
}

fn tail(text: &str) -> &str {
    let mut start = text.len().saturating_sub(TAIL);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].trim()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    /// A machine that is a shell of this one, which goes with the test.
    struct Shell(Child);

    impl Shell {
        fn start() -> (Shell, Console) {
            let script = "echo '=== 0 ended 0'; while read -r number line; do eval \"$line\"; \
                          echo \"=== $number ended $?\"; done";
            let mut child = Command::new("sh")
                .args(["-c", script])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            (Shell(child), Console::new(input, output))
        }
    }

    impl Drop for Shell {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn commands_come_back_with_what_they_print_and_how_they_end() {
        let (_shell, mut console) = Shell::start();
        console.greeted(LIMIT).unwrap();
        assert_eq!(
            console.run("echo one; echo two", LIMIT).unwrap(),
            "one\ntwo\n"
        );
        let answer = console.ask("false", LIMIT).unwrap();
        assert_eq!((answer.status, answer.text.as_str()), (1, ""));
        let error = console.run("echo why; (exit 3)", LIMIT).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("ended with 3") && error.ends_with("why"),
            "{error}"
        );
    }

    #[test]
    fn a_machine_that_does_not_answer_or_ends_is_told_apart() {
        let (_shell, mut console) = Shell::start();
        let error = console.ask("echo here; sleep 20", Duration::from_millis(300));
        let error = format!("{:#}", error.unwrap_err());
        assert!(error.contains("no answer in"), "{error}");
        let (_shell, mut console) = Shell::start();
        let error = format!(
            "{:#}",
            console.ask("echo last words; exit", LIMIT).unwrap_err()
        );
        assert!(
            error.contains("it ended") && error.ends_with("last words"),
            "{error}"
        );
    }

    #[test]
    fn an_end_counts_once_its_line_is_whole() {
        let text = "a\n=== 7 ended 0\nrest";
        let (found, length) = answer(text, 7).unwrap();
        assert_eq!(
            (found.status, found.text.as_str(), &text[length..]),
            (0, "a\n", "rest")
        );
        assert_eq!(answer("a\n=== 7 ended 0", 7), None);
        assert_eq!(answer(text, 70), None);
    }
}
