//! Debian's docker-registry, on loopback and with a store of its own.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A registry that ends with this value.
pub(crate) struct DockerRegistry {
    child: Child,
    /// `127.0.0.1` and its port.
    pub(crate) address: String,
}

impl DockerRegistry {
    /// Starts it with its store in a new folder; with `htpasswd` it knows the names and passwords in it alone.
    pub(crate) fn start(program: &Path, folder: &Path, htpasswd: Option<&str>) -> DockerRegistry {
        fs::create_dir(folder).unwrap();
        let store = folder.join("store");
        let mut configuration = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n  \
             secret: tests\n",
            store.display()
        );
        if let Some(lines) = htpasswd {
            let file = folder.join("htpasswd");
            fs::write(&file, lines).unwrap();
            configuration += &format!(
                "auth:\n  htpasswd:\n    realm: tests\n    path: {}\n",
                file.display()
            );
        }
        let file = folder.join("config.yml");
        fs::write(&file, configuration).unwrap();
        let mut child = Command::new(program)
            .arg("serve")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (found, heard) = mpsc::channel();
        // Reads on until it ends, so that it never waits for a reader.
        std::thread::spawn(move || {
            let mut said = String::new();
            for line in lines.map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let address = rest.split(['"', ',']).next().unwrap_or_default();
                    let _ = found.send(Ok(address.to_owned()));
                }
                said = format!("{said}{line}\n");
            }
            let _ = found.send(Err(said));
        });
        let address = match heard.recv_timeout(PATIENCE) {
            Ok(Ok(address)) => address,
            other => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("docker-registry does not start: {other:?}");
            }
        };
        DockerRegistry { child, address }
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
