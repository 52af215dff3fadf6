//! `cargo boards demo`: from a plugin's source to an answer over HTTP, on this machine.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use argh::FromArgs;

use crate::Workspace;
use crate::build::{QUICK_PROFILE, device_binary};
use crate::command::Cmd;
use crate::plan::Scope;
use crate::setup::prepare;
use crate::target::Target;

/// How long the daemon may take to listen, to answer and to stop. It needs milliseconds.
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
    let port = free_port()?;
    let mut daemon = Daemon::start(&run.clone().arg(port.to_string()), root)?;
    let answer = daemon.fetch(port)?;
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
}

impl Daemon {
    fn start(cmd: &Cmd, root: &Path) -> Result<Daemon> {
        println!("$ {cmd}");
        let child = cmd
            .process()
            .current_dir(root)
            .stdin(Stdio::null())
            .spawn()
            .context("the daemon does not start")?;
        Ok(Daemon { child })
    }

    /// Asks once the daemon listens, and returns the whole answer, head and body.
    fn fetch(&mut self, port: u16) -> Result<String> {
        let started = Instant::now();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = loop {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => break stream,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => bail!("cannot connect to the daemon: {error}"),
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended with {status} before it listened");
            }
            ensure!(
                started.elapsed() < PATIENCE,
                "the daemon does not listen after {} s",
                PATIENCE.as_secs()
            );
            std::thread::sleep(Duration::from_millis(10));
        };
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

/// A loopback port that nothing listens on at this moment.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free loopback port")?;
    Ok(listener.local_addr()?.port())
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
    use super::*;

    fn shell(script: &str) -> Daemon {
        Daemon::start(&Cmd::new("sh", "-c").arg(script), Path::new(".")).unwrap()
    }

    #[test]
    fn a_daemon_that_ends_before_it_listens_is_reported_with_its_status() {
        let error = shell("exit 7")
            .fetch(free_port().unwrap())
            .unwrap_err()
            .to_string();
        assert!(error.contains("exit status: 7"), "{error}");
    }

    #[test]
    fn the_answer_is_read_to_its_end() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut head = [0; 512];
            let length = stream.read(&mut head).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            stream.write_all(b"hi").unwrap();
            head[..length].to_vec()
        });
        // The child stands for the daemon: it stays until it is asked to go.
        let mut daemon = shell("trap 'exit 0' TERM; while :; do sleep 0.05; done");
        assert_eq!(daemon.fetch(port).unwrap(), "HTTP/1.1 200 OK\r\n\r\nhi");
        assert!(
            server
                .join()
                .unwrap()
                .starts_with(b"GET /hello?from=demo HTTP/1.1\r\nHost: 127")
        );
        // The shell has had time to set its trap: it answers like a daemon that drains.
        std::thread::sleep(Duration::from_millis(100));
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
