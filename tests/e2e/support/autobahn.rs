//! The Autobahn test suite, as the Python package `kosoku` has it.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Daemon, TempDir, run};

/// How long the suite may take.
const SUITE: Duration = Duration::from_secs(600);

/// The program.
pub(crate) struct Autobahn(OsString);

impl Autobahn {
    /// What a test says that does not find it.
    pub(crate) const MISSING: &str = "there is no kosoku on the PATH (pip install kosoku)";

    /// The suite's own, else the machine's.
    pub(crate) fn find() -> Option<Autobahn> {
        let own = std::env::var_os("ZLAYER_KOSOKU").filter(|path| Path::new(path).exists());
        let kosoku = own.unwrap_or_else(|| "kosoku".into());
        let found = Command::new(&kosoku)
            .arg("--help")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let works = found.is_ok_and(|status| status.success());
        works.then_some(Autobahn(kosoku))
    }

    /// Runs the cases that `words` choose, all of which have to pass.
    pub(crate) fn passes(&self, daemon: &Daemon, words: &[&str], count: usize) {
        let reports = TempDir::new();
        let mut suite = Command::new(&self.0);
        suite
            .args(["-m", "fuzzingclient", "-o"])
            .arg(reports.path())
            .args(words)
            .arg(daemon.addr().to_string());
        let output = run(suite, SUITE);
        assert_eq!(output.code, 0, "{output:?}");
        let verdict = format!("{count} cases passed");
        assert!(output.stdout.contains(&verdict), "{output:?}");
    }
}
