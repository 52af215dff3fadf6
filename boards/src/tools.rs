//! Programs of others that some checks want: from crates.io, at one version, into the target folder.
//!
//! A machine without crates.io goes on without them, and says so. What fails otherwise is a failure.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::Workspace;
use crate::command::Cmd;

/// A published program.
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
    /// What cargo is told beside that.
    words: &'static str,
}

/// A client of registries, for the test of what it pushes and pulls.
const WKG: Tool = Tool {
    name: "wkg",
    version: "0.16.1",
    words: "",
};

/// Checks the licences and sources of dependencies. Its one feature is for the network, which that needs not.
pub(crate) const CARGO_DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
    words: "--no-default-features",
};

/// All of them, the quickest first.
const ALL: [Tool; 2] = [CARGO_DENY, WKG];

/// Installs those that are missing.
pub(crate) fn install(workspace: &Workspace) -> Result<()> {
    for tool in &ALL {
        match tool.install(workspace)? {
            true => println!("  {tool} is there"),
            // As tests say it, so that the end of a run tells of it.
            false => println!("skipped: {}", tool.missing()),
        }
    }
    let build = workspace.target_dir.join("tools/build");
    // 0.8 GB that nobody needs any more. What cannot be removed is in nobody's way.
    let _ = std::fs::remove_dir_all(build);
    Ok(())
}

/// Those that are missing, as `cargo boards setup --check` says it.
pub(crate) fn missing(workspace: &Workspace) -> Vec<String> {
    let missing = ALL.iter().filter(|tool| !tool.is_there(workspace));
    missing
        .map(|tool| {
            format!(
                "cargo install {tool} into {}",
                workspace.target_dir.join("tools").display()
            )
        })
        .collect()
}

impl Tool {
    /// Where it is, if it is.
    pub(crate) fn program(&self, workspace: &Workspace) -> PathBuf {
        workspace.target_dir.join("tools/bin").join(self.name)
    }

    /// Why it is not there, when [`Tool::install`] has found nothing wrong.
    pub(crate) fn missing(&self) -> String {
        format!("there is no {self}, and crates.io cannot be reached")
    }

    /// Installs it unless it is there; false when crates.io cannot be reached.
    pub(crate) fn install(&self, workspace: &Workspace) -> Result<bool> {
        if self.is_there(workspace) {
            return Ok(true);
        }
        let question = format!("info --quiet {}@{}", self.name, self.version);
        let question = Cmd::new("cargo", &question)
            .env("CARGO_NET_RETRY", "1")
            .env("CARGO_HTTP_TIMEOUT", "30");
        if let Err(said) = question.asked(&workspace.root)? {
            if is_unreachable(&said) {
                return Ok(false);
            }
            // Else a wrong version would take what it checks out of every run, and nobody would know.
            bail!("`{question}` failed, and not for want of a network:\n{said}");
        }
        self.command(workspace).run(&workspace.root)?;
        Ok(true)
    }

    /// Behind everybody else, since only one test waits for it; without optimisation and whatever debuggers want,
    /// since it runs for seconds.
    fn command(&self, workspace: &Workspace) -> Cmd {
        let tools = workspace.target_dir.join("tools");
        let Tool {
            name,
            version,
            words,
        } = self;
        let plain =
            "--debug --config profile.dev.debug=false --config profile.dev.incremental=false";
        Cmd::new(
            "nice",
            &format!("cargo install {name} --version ={version} --locked {words} {plain}"),
        )
        .arg("--root")
        .arg(tools.to_string_lossy())
        .arg("--target-dir")
        .arg(tools.join("build").to_string_lossy())
    }

    /// Whether cargo has put this version there.
    fn is_there(&self, workspace: &Workspace) -> bool {
        let list = workspace.target_dir.join("tools/.crates.toml");
        let list = std::fs::read_to_string(list).unwrap_or_default();
        self.is_listed(&list) && self.program(workspace).is_file()
    }

    fn is_listed(&self, list: &str) -> bool {
        let line = format!("\"{self} (");
        list.lines().any(|one| one.starts_with(&line))
    }
}

/// Whether a failure of cargo's is that of the network, by what it says. The numbers are those of curl: of names, of
/// connections, of time, of TLS and of what breaks off.
fn is_unreachable(said: &str) -> bool {
    const WORDS: [&str; 16] = [
        "network failure",
        "spurious network error",
        "failed to download",
        "download of config.json failed",
        "could not resolve",
        "couldn't resolve",
        "couldn't connect",
        "failed to connect",
        "timed out",
        "timeout was reached",
        "[5]",
        "[6]",
        "[7]",
        "[28]",
        "[35]",
        "[56]",
    ];
    let said = said.to_lowercase();
    WORDS.iter().any(|word| said.contains(word))
}

impl std::fmt::Display for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// `cargo boards deny`: whether the dependencies of all workspaces have the licences and sources that deny.toml
/// allows. Advisories change without us: they are no matter of a commit.
pub(crate) fn deny(workspace: &Workspace, may_skip: bool) -> Result<()> {
    if !CARGO_DENY.install(workspace)? {
        let missing = CARGO_DENY.missing();
        anyhow::ensure!(may_skip, "nothing was checked: {missing}");
        println!("skipped: dependency rules: {missing}");
        return Ok(());
    }
    for manifest in MANIFESTS {
        let program = CARGO_DENY.program(workspace);
        let words = format!(
            "--log-level error --locked --manifest-path {manifest} --config deny.toml check licenses bans sources"
        );
        Cmd::new(program.to_string_lossy(), &words)
            .run(&workspace.root)
            .with_context(|| format!("the dependencies of {manifest}"))?;
    }
    Ok(())
}

/// The workspaces.
const MANIFESTS: [&str; 5] = [
    "Cargo.toml",
    "examples/Cargo.toml",
    "tests/guests/Cargo.toml",
    "wit/rust/Cargo.toml",
    "tests/fuzz/Cargo.toml",
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_tool_is_there_at_its_version_alone() {
        let list = "[v1]\n\"cargo-deny 0.20.2 (registry+https://github.com/rust-lang/crates.io-index)\" = \
                    [\"cargo-deny\"]\n\"wkg 0.16.10 (registry+…)\" = [\"wkg\"]\n";
        assert!(CARGO_DENY.is_listed(list));
        assert!(!WKG.is_listed(list));
        assert!(!WKG.is_there(&Workspace::example()));
    }

    #[test]
    fn a_tool_is_installed_at_its_version_into_the_target_folder() {
        let shown = CARGO_DENY.command(&Workspace::example()).to_string();
        assert!(
            shown.starts_with(
                "nice cargo install cargo-deny --version =0.20.2 --locked --no-default-features --debug "
            ),
            "{shown}"
        );
        assert!(
            shown.ends_with(" --root t/tools --target-dir t/tools/build"),
            "{shown}"
        );
    }

    #[test]
    fn an_unreachable_network_is_told_from_a_tool_that_is_not_to_be_had() {
        for said in [
            "error: download of config.json failed\n\nCaused by:\n  failed to download from `x`",
            "warning: spurious network error (1 try remaining)",
            "[6] Could not resolve hostname (Could not resolve host: x)",
            "[28] Timeout was reached (Connection timed out after 30001 milliseconds)",
        ] {
            assert!(is_unreachable(said), "{said}");
        }
        for said in [
            "error: could not find `wkg@0.16.999` in registry `x`",
            "error: no such command: `info`",
            "error: error in environment variable `CARGO_HTTP_TIMEOUT`: invalid digit found in string",
            "",
        ] {
            assert!(!is_unreachable(said), "{said}");
        }
    }

    #[test]
    fn every_workspace_is_checked() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for manifest in MANIFESTS {
            let lock = root.join(manifest).with_file_name("Cargo.lock");
            assert!(lock.is_file(), "{}", lock.display());
        }
    }
}
