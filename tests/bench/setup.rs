//! What is measured, and what it needs: programs, compiled guests, a configuration file.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::ours::{COMPILE_LIMIT, Ours, version};
use crate::process::{on_path, wait_for_output};

/// Requests that one instance serves where instances are reused: more than a run asks for.
const REUSE: &str = "1000000";

/// The wasmtime that the daemon links, and whose command line is the peer.
const PEER_VERSION: &str = "48.0.8";

/// A server, one way of running it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// The daemon: a fresh instance for each request.
    Zlayer,
    /// The daemon: instances that are reused.
    ZlayerReuse,
    /// `wasmtime serve`: a fresh instance for each request.
    Wasmtime,
    /// `wasmtime serve`: instances that are reused.
    WasmtimeReuse,
    /// nginx, one process, answering the same bytes from its configuration.
    Nginx,
}

impl Contender {
    /// As the table's columns are headed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::Zlayer => "zlayer",
            Contender::ZlayerReuse => "zlayer reuse",
            Contender::Wasmtime => "wasmtime",
            Contender::WasmtimeReuse => "wasmtime reuse",
            Contender::Nginx => "nginx",
        }
    }
}

/// Everything that the servers are started with.
pub(crate) struct Setup {
    /// Goes with this value, and all that is in it.
    folder: TempDir,
    ours: Ours,
    wasmtime: Option<Peer>,
    nginx: Option<PathBuf>,
    /// The load generator, if it is to be used.
    pub(crate) wrk: Option<PathBuf>,
    /// A line on everything that is not here or not as it should be.
    pub(crate) remarks: Vec<String>,
    /// What was found, with versions.
    pub(crate) versions: Vec<String>,
}

/// `wasmtime` and the guest that it compiled for itself.
struct Peer {
    program: PathBuf,
    artifact: PathBuf,
}

impl Setup {
    /// Finds the programs and compiles the guest. Without the daemon it fails; each of the others
    /// is left out with a remark.
    pub(crate) fn new(use_wrk: bool) -> Result<Setup> {
        let folder = tempfile::Builder::new()
            .prefix("zlayer-bench-")
            .tempdir()
            .context("cannot make a temporary folder")?;
        let ours = Ours::new("hello", folder.path())?;
        let guest = ours.guest.clone();
        let mut setup = Setup {
            versions: vec![ours.version.clone()],
            ours,
            folder,
            wasmtime: None,
            nginx: None,
            wrk: None,
            remarks: Vec::new(),
        };
        setup.find_wasmtime(&guest)?;
        setup.nginx = on_path("nginx");
        if setup.nginx.is_none() {
            setup.remark("nginx is not on PATH nor in /usr/sbin: left out (Debian: nginx-light)");
        }
        if use_wrk {
            setup.wrk = on_path("wrk");
            if setup.wrk.is_none() {
                setup.remark("wrk is not on PATH: this program's own load generator is used");
            }
        }
        Ok(setup)
    }

    /// Who takes part, each of ours followed by its peer.
    pub(crate) fn contenders(&self) -> Vec<Contender> {
        let all = [
            Contender::Zlayer,
            Contender::Wasmtime,
            Contender::ZlayerReuse,
            Contender::WasmtimeReuse,
            Contender::Nginx,
        ];
        let takes_part = |contender: &Contender| match contender {
            Contender::Zlayer | Contender::ZlayerReuse => true,
            Contender::Wasmtime | Contender::WasmtimeReuse => self.wasmtime.is_some(),
            Contender::Nginx => self.nginx.is_some(),
        };
        all.into_iter().filter(takes_part).collect()
    }

    /// A place for a file or folder of this run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command that starts `contender` on the loopback address. `data` is the daemon's data
    /// folder; the others have none.
    pub(crate) fn command(&self, contender: Contender, port: u16, data: &Path) -> Result<Command> {
        let missing = || format!("{} is missing", contender.name());
        Ok(match contender {
            Contender::Zlayer | Contender::ZlayerReuse => {
                let mut command = self.ours.serve(port, data);
                if contender == Contender::ZlayerReuse {
                    command.args(["--reuse", REUSE]);
                }
                command
            }
            Contender::Wasmtime | Contender::WasmtimeReuse => {
                let peer = self.wasmtime.as_ref().with_context(missing)?;
                let mut command = Command::new(&peer.program);
                command
                    .args(["serve", "--allow-precompiled", "--addr"])
                    .arg(format!("127.0.0.1:{port}"));
                if contender == Contender::WasmtimeReuse {
                    command.args(["--max-instance-reuse-count", REUSE]);
                }
                command.arg(&peer.artifact);
                command
            }
            Contender::Nginx => {
                let mut command = Command::new(self.nginx.as_ref().with_context(missing)?);
                command
                    .arg("-p")
                    .arg(self.folder.path())
                    .arg("-c")
                    .arg(self.nginx_configuration(port)?);
                command
            }
        })
    }

    fn remark(&mut self, text: &str) {
        self.remarks.push(text.to_owned());
    }

    fn find_wasmtime(&mut self, guest: &Path) -> Result<()> {
        let found = env::var_os("WASMTIME_BIN").map(PathBuf::from);
        let Some(program) = found.or_else(|| on_path("wasmtime")) else {
            self.remark(&format!(
                "wasmtime is not on PATH nor in WASMTIME_BIN: left out, and no ratio can be given \
                 (cargo install wasmtime-cli --version {PEER_VERSION} --locked)"
            ));
            return Ok(());
        };
        let found = version(&program)?;
        if !found
            .split_whitespace()
            .any(|word| word.trim_end_matches(',') == PEER_VERSION)
        {
            self.remark(&format!(
                "the peer is {found}; the targets are against {PEER_VERSION}"
            ));
        }
        let artifact = self.path("hello.wasmtime.cwasm");
        let mut command = Command::new(&program);
        command.arg("compile").arg("-o").arg(&artifact).arg(guest);
        wait_for_output(command, COMPILE_LIMIT).context("wasmtime cannot compile the guest")?;
        self.wasmtime = Some(Peer { program, artifact });
        self.versions.push(found);
        Ok(())
    }

    /// One process without a master answers from its event loop as one worker does.
    fn nginx_configuration(&self, port: u16) -> Result<PathBuf> {
        let path = self.path("nginx.conf");
        let folder = self.folder.path().display();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n  access_log off;\n  keepalive_requests 1000000000;\n\
             \x20 client_body_temp_path {folder}/body;\n  proxy_temp_path {folder}/proxy;\n\
             \x20 fastcgi_temp_path {folder}/fastcgi;\n  uwsgi_temp_path {folder}/uwsgi;\n\
             \x20 scgi_temp_path {folder}/scgi;\n  default_type application/json;\n\
             \x20 server {{\n    listen 127.0.0.1:{port};\n    location / {{ return 200 '{BODY}'; }}\n  }}\n}}\n"
        );
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    }
}

/// What the guest answers to `GET /`, and so what everyone must answer.
pub(crate) const BODY: &str = r#"{"method":"GET","path":"/"}"#;
