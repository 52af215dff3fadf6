//! The compiled guests, and daemons with what is to be measured.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::client::Client;
use crate::pipeline::chain::{Chain, SECOND_MIDDLEWARE};
use crate::process::{Server, wait_for_output};
use crate::workshop::Workshop;

/// Every guest that is measured.
const GUESTS: [&str; 10] = [
    "hello",
    "echo",
    "full-plugin",
    "jwt-authenticator",
    "per-client-limiter",
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
    "rate_limits.default=1000000000000",
    "--secret",
    "jwt_secret=bench-secret",
];

/// Signed with HS256 and `bench-secret`; it does not expire.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJiZW5jaCIsInJvbGUiOiJyZWFkZXIifQ.uixr8qcNYmChU2zi8me3DHCJXnHhz5KiqkQ_sVKivF4";

/// How long the daemon may take to tell its status.
const STATUS_LIMIT: Duration = Duration::from_secs(10);

/// The compiled guests, and where their daemons are started.
pub(crate) struct Plugins {
    /// Programs and a folder.
    pub(crate) workshop: Workshop,
    artifacts: BTreeMap<&'static str, PathBuf>,
}

impl Plugins {
    /// Compiles the guests.
    pub(crate) fn new(workshop: Workshop) -> Result<Plugins> {
        let mut artifacts = BTreeMap::new();
        for name in GUESTS {
            artifacts.insert(name, workshop.compile(&workshop.guest(name)?)?);
        }
        // A plugin's name is its file's.
        let second = workshop.path(&format!("{SECOND_MIDDLEWARE}.wasm"));
        fs::copy(workshop.guest("middleware")?, &second)
            .with_context(|| second.display().to_string())?;
        artifacts.insert(SECOND_MIDDLEWARE, workshop.compile(&second)?);
        Ok(Plugins {
            workshop,
            artifacts,
        })
    }

    /// Starts the daemon with the guests named, in this order, and with what is said of single ones in
    /// `settings`.
    pub(crate) fn daemon(&self, guests: &[&str], settings: &[&str]) -> Result<Server> {
        let mut artifacts = Vec::new();
        for name in guests {
            let artifact = self.artifacts.get(name);
            artifacts.push(
                artifact
                    .with_context(|| format!("{name} is not compiled"))?
                    .as_path(),
            );
        }
        let mut settings = settings.to_vec();
        // Of several plugins only those see secrets that are given to them by name.
        if guests.contains(&"jwt-authenticator") {
            settings.push("jwt-authenticator:secrets=jwt_secret");
        }
        if settings.is_empty() {
            return self.workshop.daemon(&artifacts, &self.data(), &FLAGS);
        }
        let bundle = self.workshop.pack(&artifacts, &settings)?;
        self.workshop.daemon(&[&bundle], &self.data(), &FLAGS)
    }

    /// Starts the daemon with a chain. All its stages must take part, or something else is measured.
    pub(crate) fn chain(&self, chain: &Chain) -> Result<Server> {
        let mut guests = chain.stages.to_vec();
        guests.push(chain.handler.guest());
        let mut server = self.daemon(&guests, chain.settings)?;
        let request = request(chain.path);
        server.first_response(&request)?;
        let order = self.order()?;
        for guest in chain.stages {
            ensure!(
                order.contains(guest),
                "{guest} takes no part in this daemon's pipeline:\n{order}"
            );
        }
        // A response from a cache says how old it is (RFC 9111, section 5.1).
        let mut client = Client::connect(server.port())?;
        let is_cached = client.send(&request)?.field("age").is_some();
        ensure!(
            is_cached == chain.is_cached,
            "whether the response comes from the cache is not as the chain says"
        );
        Ok(server)
    }

    /// What the running daemon says of its pipeline.
    fn order(&self) -> Result<String> {
        let mut command = self.workshop.program();
        command.args(["status", "--data-dir"]).arg(self.data());
        let status = wait_for_output(command, STATUS_LIMIT).context("zlayer status")?;
        let lines = status
            .lines()
            .skip_while(|line| !line.starts_with("pipeline"));
        let lines = lines.take_while(|line| !line.starts_with("plugin "));
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    fn data(&self) -> PathBuf {
        self.workshop.path("data")
    }
}

/// What clients send: a GET that every stage lets pass.
pub(crate) fn request(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nAccept: */*\r\n\r\n"
    )
    .into_bytes()
}
