//! The programs, the compiled guests, and daemons with what is to be measured.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::chain::{Chain, SECOND_MIDDLEWARE};
use crate::load::connect;
use crate::ours::Ours;
use crate::process::{Server, free_port, wait_for_output};

/// Every guest that is measured. `hello` comes first: it is what the programs are found with.
const GUESTS: [&str; 10] = [
    "hello",
    "echo",
    "full-plugin",
    "jwt-authenticator",
    "exact-limiter",
    "middleware",
    "smart-cache",
    "router",
    "header-transformer",
    "stage-router",
];

/// What all daemons are started with: nobody is over a limit, instances stay, and log records, which
/// are no stage's cost, are below the level.
const FLAGS: [&str; 10] = [
    "--reuse",
    "1000000000",
    "--config",
    "api_key=bench",
    "--config",
    "LOG_LEVEL=error",
    "--config",
    // As `exact-limiter` spells 127.0.0.1.
    "rate_limits.127.2e0.2e0.2e1=1000000000000",
    "--secret",
    "jwt_secret=bench-secret",
];

/// Signed with HS256 and `bench-secret`; it does not expire.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJiZW5jaCIsInJvbGUiOiJyZWFkZXIifQ.uixr8qcNYmChU2zi8me3DHCJXnHhz5KiqkQ_sVKivF4";

/// How long the daemon may take to tell its status.
const STATUS_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

/// Programs, and a folder that goes with this value.
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) ours: Ours,
    artifacts: BTreeMap<String, PathBuf>,
}

impl Place {
    /// Makes the folder and compiles the guests.
    pub(crate) fn new() -> Result<Place> {
        let folder = tempfile::Builder::new()
            .prefix("zlayer-bench-")
            .tempdir()
            .context("cannot make a temporary folder")?;
        let ours = Ours::new(GUESTS[0], folder.path())?;
        let mut artifacts = BTreeMap::new();
        for name in GUESTS {
            let guest = ours.guest.with_file_name(format!("{name}.wasm"));
            artifacts.insert(name.to_owned(), ours.compile(&guest)?);
        }
        // A plugin's name is its file's.
        let second = folder.path().join(format!("{SECOND_MIDDLEWARE}.wasm"));
        fs::copy(ours.guest.with_file_name("middleware.wasm"), &second)
            .with_context(|| second.display().to_string())?;
        artifacts.insert(SECOND_MIDDLEWARE.to_owned(), ours.compile(&second)?);
        Ok(Place {
            folder,
            ours,
            artifacts,
        })
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the daemon with the guests named, in this order, each given its `settings`.
    pub(crate) fn daemon(&self, guests: &[&str], settings: &[&str]) -> Result<Server> {
        let port = free_port()?;
        let mut command = self.ours.run(port, &self.data());
        command.args(FLAGS);
        for name in guests {
            let artifact = self.artifacts.get(*name);
            let artifact = artifact.with_context(|| format!("{name} is not compiled"))?;
            command.arg("--wasm").arg(artifact);
        }
        for setting in settings {
            command.args(["--plugin", setting]);
        }
        Server::start(command, port, &self.path("daemon.log"))
    }

    /// Starts the daemon with a chain; `None` when one of its stages takes no part in this daemon.
    pub(crate) fn chain(&self, chain: &Chain) -> Result<Option<Server>> {
        let mut guests = chain.stages.to_vec();
        guests.push(chain.handler.guest());
        let mut server = self.daemon(&guests, chain.settings)?;
        server.first_answer(&request(chain.path))?;
        let order = self.order()?;
        if !chain.stages.iter().all(|guest| order.contains(guest)) {
            return Ok(None);
        }
        ensure!(
            has_age(server.port(), &request(chain.path))? == chain.is_cached,
            "whether the cache answers is not as the chain says"
        );
        Ok(Some(server))
    }

    /// What the running daemon says of its pipeline.
    fn order(&self) -> Result<String> {
        let mut command: Command = self.ours.program();
        command.args(["status", "--data-dir"]).arg(self.data());
        let status = wait_for_output(command, STATUS_LIMIT).context("zlayer status")?;
        let lines = status
            .lines()
            .skip_while(|line| !line.starts_with("pipeline"));
        let lines = lines.take_while(|line| !line.starts_with("plugin "));
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }
}

/// Whether an answer says how old it is, as one from a cache has to (RFC 9111, section 5.1).
fn has_age(port: u16, request: &[u8]) -> Result<bool> {
    let mut stream = connect(port)?;
    stream.write_all(request).context("sending a request")?;
    let mut head = String::new();
    for line in BufReader::new(stream).lines() {
        match line.context("reading an answer")?.to_ascii_lowercase() {
            line if line.is_empty() => break,
            line => head = head + &line + "\n",
        }
    }
    Ok(head.contains("\nage:"))
}

/// What clients send: a GET that every stage lets pass.
pub(crate) fn request(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nAccept: */*\r\n\r\n"
    )
    .into_bytes()
}
