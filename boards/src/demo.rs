//! `cargo boards demo`: from a plugin's source to an answer over HTTP, on this machine.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use argh::FromArgs;

use crate::Workspace;
use crate::build::device_binary;
use crate::command::Cmd;
use crate::plan::Scope;
use crate::setup::prepare;
use crate::target::{BuildTarget, QUICK_PROFILE, Target};

/// How long the daemon may take to answer and to stop. It needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// The answer is shorter than this many bytes; more is an error.
const MAX_ANSWER: u64 = 64 * 1024;

/// Builds a plugin, compiles it for all targets, serves it here and fetches one answer.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "demo")]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn main(_args: &Args, workspace: &Workspace) -> Result<()> {
    let host = Target::host().with_context(|| {
        format!(
            "the daemon does not run on {} machines",
            std::env::consts::ARCH
        )
    })?;
    let root = &workspace.root;
    heading("1. what building needs");
    prepare(root, Scope::Host)?;

    heading("2. the plugin, the precompiler and the daemon");
    crate::guests::main(root)?;
    Cmd::new("cargo", "build --release --package zlayer-precompile").run(root)?;
    device_binary(host, QUICK_PROFILE, workspace)?;

    heading("3. the plugin as machine code, signed");
    let out = workspace.root.join("target/demo");
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let names: Vec<&str> = Target::ALL.iter().map(|target| target.name()).collect();
    Cmd::new(text(&workspace.precompile()), "build")
        .arg(text(&workspace.guests().join("hello.wasm")))
        .arg("--target")
        .arg(names.join(","))
        .arg("-o")
        .arg(text(&out))
        .run(root)?;

    heading("4. served");
    let artifact = text(&out.join(format!("hello.{host}.cwasm")));
    let zlayer = text(&host.binary(&workspace.target_dir, QUICK_PROFILE));
    let run = Cmd::new(&zlayer, "run --wasm").arg(&artifact).arg("--port");
    // The system chooses a free port, and the daemon tells which.
    let mut daemon = Daemon::start(&run.clone().arg("0"), root)?;
    let answer = daemon.fetch()?;
    daemon.stop()?;
    println!("{}", answer.trim_end());
    ensure!(
        answer.starts_with("HTTP/1.1 200"),
        "the plugin's answer is not a 200"
    );

    heading("done; by hand it goes on like this");
    println!("{}", run.arg("8080"));
    println!("curl -i http://127.0.0.1:8080/hello");
    println!("{} info {artifact}", text(&workspace.precompile()));
    println!("cargo boards build --target aarch64        # the device binary for an ARM board");
    Ok(())
}

/// The daemon as a child, which does not outlive this value.
struct Daemon {
    child: Child,
    /// Its standard output, open as long as it runs: it must be able to write there.
    said: BufReader<ChildStdout>,
}

impl Daemon {
    fn start(cmd: &Cmd, root: &Path) -> Result<Daemon> {
        println!("$ {cmd}");
        let mut child = cmd
            .process()
            .current_dir(root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the daemon does not start")?;
        let said = child.stdout.take().context("the daemon has no output")?;
        let said = BufReader::new(said);
        Ok(Daemon { child, said })
    }

    /// Reads where it listens, from the line that it prints once it does.
    fn address(&mut self) -> Result<SocketAddr> {
        let mut line = String::new();
        while self.said.read_line(&mut line)? > 0 {
            if let Some((_, address)) = line.trim_end().rsplit_once(" on http://") {
                print!("{line}");
                return address
                    .parse()
                    .with_context(|| format!("'{address}' is no address"));
            }
            line.clear();
        }
        let status = self.child.wait()?;
        bail!("the daemon ended with {status} before it listened")
    }

    /// Asks once the daemon listens, and returns the whole answer, head and body.
    fn fetch(&mut self) -> Result<String> {
        let address = self.address()?;
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
            .context("cannot connect to the daemon")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let request = format!(
            "GET /hello?from=demo HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        );
        stream
            .write_all(request.as_bytes())
            .context("the daemon takes no request")?;
        let mut answer = Vec::new();
        stream
            .take(MAX_ANSWER + 1)
            .read_to_end(&mut answer)
            .context("the daemon gives no whole answer")?;
        ensure!(
            answer.len() as u64 <= MAX_ANSWER,
            "the answer is over {MAX_ANSWER} bytes long"
        );
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Asks the daemon to stop, as a service manager would, and waits for it.
    fn stop(mut self) -> Result<()> {
        let id = self.child.id().to_string();
        Cmd::new("kill", "-TERM")
            .arg(id)
            .process()
            .status()
            .context("cannot run `kill`")?;
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                ensure!(
                    status.success(),
                    "asked to stop, the daemon ended with {status}"
                );
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!(
            "asked to stop, the daemon still runs after {} s",
            PATIENCE.as_secs()
        )
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail when it has ended already: nothing is left to do then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn heading(text: &str) {
    println!("\n==== {text}");
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    fn shell(script: &str) -> Daemon {
        Daemon::start(&Cmd::new("sh", "-c").arg(script), Path::new(".")).unwrap()
    }

    #[test]
    fn a_daemon_that_ends_before_it_listens_is_reported_with_its_status() {
        let error = shell("echo something else; exit 7")
            .fetch()
            .unwrap_err()
            .to_string();
        assert!(error.contains("exit status: 7"), "{error}");
    }

    #[test]
    fn the_answer_is_read_to_its_end() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut head = [0; 512];
            let length = stream.read(&mut head).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            stream.write_all(b"hi").unwrap();
            head[..length].to_vec()
        });
        // The child stands for the daemon: it says where it listens once its trap is set, and
        // stays until it is asked to go.
        let mut daemon = shell(&format!(
            "trap 'exit 0' TERM; echo zlayer: serving x on http://{address}; while :; do sleep 0.05; done"
        ));
        assert_eq!(daemon.fetch().unwrap(), "HTTP/1.1 200 OK\r\n\r\nhi");
        assert!(
            server
                .join()
                .unwrap()
                .starts_with(b"GET /hello?from=demo HTTP/1.1\r\nHost: 127")
        );
        daemon.stop().unwrap();
    }

    #[test]
    fn no_process_is_left_when_the_demo_fails() {
        let daemon = shell("exec sleep 600");
        let folder = format!("/proc/{}", daemon.child.id());
        assert!(Path::new(&folder).exists());
        drop(daemon);
        assert!(!Path::new(&folder).exists());
    }
}
