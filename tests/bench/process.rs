//! A server's process: started, timed, weighed and ended.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// A server that is silent for longer has hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What a response that is counted begins with.
pub(crate) const GOOD: &[u8] = b"HTTP/1.1 200";

/// How long a server gets to end when it is asked to, before it is killed.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A running server, ended when it is dropped.
pub(crate) struct Server {
    child: Child,
    started: Instant,
    port: u16,
    log: PathBuf,
}

impl Server {
    /// Starts what `command` makes for a free port. What it writes goes to `log`, for the error
    /// message if it fails.
    pub(crate) fn start(
        log: &Path,
        command: impl FnOnce(u16) -> Result<Command>,
    ) -> Result<Server> {
        let port = free_port()?;
        let mut command = command(port)?;
        let file = File::create(log).with_context(|| log.display().to_string())?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file);
        let started = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Server {
            child,
            started,
            port,
            log: log.to_owned(),
        })
    }

    /// Connects until it listens, sends `request`, and waits for the start of the response, which must
    /// be a good one: the time since the process was started.
    pub(crate) fn first_response(&mut self, request: &[u8]) -> Result<Duration> {
        let mut attempt = 0u32;
        let mut stream = loop {
            // No pause: it would be part of what is measured.
            if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
                break stream;
            }
            attempt = attempt.wrapping_add(1);
            if attempt.is_multiple_of(256) {
                self.check()?;
            }
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut first = [0; GOOD.len()];
        let read = stream
            .write_all(request)
            .and_then(|()| stream.read_exact(&mut first));
        let took = self.started.elapsed();
        read.map_err(|error| anyhow!(error).context(self.last_log("it did not respond")))?;
        if first != GOOD {
            let first = String::from_utf8_lossy(&first).into_owned();
            bail!(self.last_log(&format!("it responded with {first:?}")));
        }
        Ok(took)
    }

    /// Its port on the loopback address.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it has had so far, in bytes, shared libraries and files included.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    /// The memory that it has now, in bytes, shared libraries and files included.
    pub(crate) fn memory(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// Does `work`, and tells how much processor time the server used meanwhile, in microseconds.
    pub(crate) fn processor_us<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
        let before = self.processor_time()?;
        let done = work()?;
        let used = self.processor_time()?.saturating_sub(before);
        Ok((done, used.as_secs_f64() * 1e6))
    }

    /// Processor time that it has used so far, in the kernel and outside.
    fn processor_time(&self) -> Result<Duration> {
        let stat = self.proc("stat")?;
        // The name in parentheses may hold anything, so fields are counted behind it. User and
        // system time are the 14th and 15th of all (proc_pid_stat(5)), the state being the third.
        let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let ticks: Vec<u64> = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|count| count.parse().ok())
            .collect();
        ensure!(ticks.len() == 2, "no times in the process's stat");
        let second = rustix::param::clock_ticks_per_second() as f64;
        Ok(Duration::from_secs_f64(
            (ticks[0] + ticks[1]) as f64 / second,
        ))
    }

    /// Waits until it has a thread of this name.
    pub(crate) fn wait_for_thread(&mut self, name: &str) -> Result<()> {
        loop {
            let tasks = PathBuf::from(format!("/proc/{}/task", self.child.id()));
            for task in fs::read_dir(&tasks).with_context(|| tasks.display().to_string())? {
                // A thread may end while the list is read.
                let comm = fs::read_to_string(task?.path().join("comm")).unwrap_or_default();
                if comm.trim_end() == name {
                    return Ok(());
                }
            }
            self.check()
                .with_context(|| format!("waiting for its thread {name}"))?;
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Asks it to end and waits.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("SIGTERM")?;
        let asked = Instant::now();
        while asked.elapsed() < LAST_WORDS {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(2));
        }
        // Some servers wait for clients longer than that; dropping kills.
        Ok(())
    }

    /// Fails when it has ended, or has taken too long since it was started.
    fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!(self.last_log(&format!("it ended: {status}")));
        }
        if self.started.elapsed() > PATIENCE {
            bail!(self.last_log(&format!("nothing within {PATIENCE:?}")));
        }
        Ok(())
    }

    fn last_log(&self, what: &str) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        format!("{what}; it wrote:\n{log}")
    }

    /// A field of the process's status, in bytes.
    fn status(&self, field: &str) -> Result<u64> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kibibytes = line.and_then(|rest| rest.trim().strip_suffix("kB"));
        let kibibytes = kibibytes.and_then(|count| count.trim().parse::<u64>().ok());
        Ok(kibibytes.with_context(|| format!("no {field} in the process's status"))? << 10)
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).context(path)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on.
///
/// It lies below the ports that the kernel hands out: a client that connects over and over to a
/// free port of that range can be given the very port, and then talks to itself.
fn free_port() -> Result<u16> {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    (first..first + 2_000)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .context("no free port between 20000 and 32000")
}

/// What a command prints on standard output; it is killed when it takes longer than `limit`.
pub(crate) fn wait_for_output(mut command: Command, limit: Duration) -> Result<String> {
    let name = command.get_program().display().to_string();
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let started = Instant::now();
    // Short outputs only: they fit into the pipe, so that the child never waits for a reader.
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > limit {
            // Fails only when it has just ended.
            let _ = child.kill();
            let _ = child.wait();
            bail!("{name} took longer than {limit:?}");
        }
        thread::sleep(Duration::from_millis(5));
    };
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut text)?;
    }
    ensure!(status.success(), "{name}: {status}\n{text}");
    Ok(text)
}

/// The program of this name on PATH, or where Debian keeps daemons.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path: OsString = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// The first line of `PROGRAM --version`.
pub(crate) fn version(program: &Path) -> Result<String> {
    let mut command = Command::new(program);
    command.arg("--version");
    let text = wait_for_output(command, PATIENCE)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
