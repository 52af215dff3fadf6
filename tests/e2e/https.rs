//! TLS for clients. The certificates are those of the runtime's own tests; see
//! `runtime/src/server/tls/tests.rs` for what they are for.

/// What a client of the library rustls does.
pub(crate) mod client;
/// Files that are no use, and flags that do not fit together.
mod files;
/// Who gets in: versions, ciphers, names, protocols, clients that mean harm.
mod handshake;
/// What a connection costs.
mod memory;
/// Programs that others wrote, as clients.
mod peers;
/// The same place over TLS, for those who come without.
mod redirect;
/// Certificates that change while the daemon runs.
mod reload;
/// What goes on over TLS once hands are shaken.
mod requests;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::{Builder, Daemon, TempDir};

/// A file of the runtime's own tests.
pub(crate) fn source(name: &str) -> PathBuf {
    let files = "../runtime/src/server/tls/tests/files";
    Path::new(env!("CARGO_MANIFEST_DIR")).join(files).join(name)
}

/// Copies of certificates, and of keys that nobody else may read.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Files {
        Files(TempDir::new())
    }

    /// Copies a file of the tests as `name`, in one step.
    fn put(&self, from: &str, name: &str) -> PathBuf {
        self.write(name, &fs::read(source(from)).unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.0.path().join(name);
        let new = file.with_extension("new");
        fs::write(&new, bytes).unwrap();
        fs::set_permissions(&new, PermissionsExt::from_mode(0o600)).unwrap();
        fs::rename(&new, &file).unwrap();
        file
    }

    /// The flags with which these certificates are served, on a port that the system chooses.
    pub(crate) fn serve(&self, daemon: Builder, names: &[&str]) -> Builder {
        let mut daemon = daemon.args(["--tls-port", "0"]);
        for name in names {
            let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
            daemon = daemon
                .arg("--tls-cert")
                .arg(self.put(&certificate, &certificate));
            daemon = daemon.arg("--tls-key").arg(self.put(&key, &key));
        }
        daemon
    }
}

/// A daemon that serves a guest over TLS, with the certificate for `localhost`.
fn start(guest: &str) -> (Daemon, Files) {
    let files = Files::new();
    let daemon = files.serve(Daemon::builder(guest), &["first"]).start();
    (daemon, files)
}
