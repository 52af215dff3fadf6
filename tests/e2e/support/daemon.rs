//! A `zlayer run` process.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::deployment::{deployment, names};
use super::{
    Output, PATIENCE, TempDir, artifact, bundle, eventually, key_dir, pack, private_home, run,
    under_qemu, wait_at_most, zlayer_command, zlayer_words,
};

/// A daemon that serves. It is killed when the value is dropped.
pub(crate) struct Daemon {
    child: Child,
    address: SocketAddr,
    stdout: Arc<Text>,
    stderr: Arc<Text>,
    /// Its HOME and TMPDIR: what it leaves behind goes too.
    _home: TempDir,
}

/// The flags of a daemon that is to be started.
pub(crate) struct Builder {
    /// The plugins' files, in their order, or a bundle alone.
    files: Vec<PathBuf>,
    /// What is said of single plugins, `NAME:SETTING=VALUE` each.
    settings: Vec<String>,
    keys: Option<PathBuf>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    /// The words of a program that becomes the daemon, which is named behind them.
    through: Vec<OsString>,
    /// The folder that is the daemon's root.
    root: Option<PathBuf>,
}

impl Daemon {
    /// Serves a guest with all flags at their defaults.
    pub(crate) fn start(guest: &str) -> Daemon {
        Daemon::builder(guest).start()
    }

    /// A daemon that will serve a guest.
    pub(crate) fn builder(guest: &str) -> Builder {
        Daemon::of(artifact(guest))
    }

    /// A daemon that will be given this file: a plugin, or a bundle.
    pub(crate) fn of(file: impl Into<PathBuf>) -> Builder {
        Builder {
            files: vec![file.into()],
            settings: Vec::new(),
            keys: Some(key_dir().to_owned()),
            args: Vec::new(),
            env: Vec::new(),
            through: Vec::new(),
            root: None,
        }
    }

    /// A daemon that serves what is installed in its data folder.
    pub(crate) fn of_nothing() -> Builder {
        Builder {
            files: Vec::new(),
            ..Daemon::of("")
        }
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for HTTPS.
    pub(crate) fn https(&self) -> SocketAddr {
        let said = self.stdout();
        let address = said
            .lines()
            .find_map(|line| line.strip_prefix("zlayer: HTTPS on https://"));
        let address = address.unwrap_or_else(|| panic!("no HTTPS: {said:?}"));
        address.parse().unwrap()
    }

    /// The process, which is the emulator's under QEMU.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error so far, in whole lines. Of a line that was just written nothing need
    /// be here yet: [`Daemon::wait_for_log`] waits for it.
    pub(crate) fn log(&self) -> String {
        self.stderr.so_far()
    }

    /// What it wrote to standard output so far, in whole lines.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    /// Waits until the log holds `needle`.
    pub(crate) fn wait_for_log(&self, needle: &str) {
        let found = self.stderr.wait_until(|text| text.contains(needle));
        assert!(found, "never logged {needle:?}, only:\n{}", self.log());
    }

    /// Sends a signal, such as 15.
    pub(crate) fn signal(&self, number: i32) {
        let pid = Pid::from_raw(self.pid() as i32).unwrap();
        kill_process(pid, Signal::from_named_raw(number).unwrap()).unwrap();
    }

    /// Waits for its end and answers its exit code, or 128 and the signal that ended it.
    pub(crate) fn wait(&mut self) -> i32 {
        let code = wait_at_most(&mut self.child, PATIENCE);
        let code = code.unwrap_or_else(|| panic!("did not end; its log:\n{}", self.log()));
        self.stdout.wait_until(|_| false);
        self.stderr.wait_until(|_| false);
        code
    }

    /// Ends a daemon that drains, and answers its exit code. The signal is sent again and again, since
    /// those within a second of the first count for the same one.
    pub(crate) fn end_at_once(&mut self, signal: i32) -> i32 {
        eventually("a second signal that ends the daemon", || {
            let has_ended = self.child.try_wait().unwrap().is_some();
            if !has_ended {
                self.signal(signal);
            }
            has_ended
        });
        self.wait()
    }

    /// SIGTERM, then its exit code.
    pub(crate) fn stop(mut self) -> i32 {
        self.signal(15);
        self.wait()
    }

    /// A figure of `/proc/PID/status` in KiB, such as `VmRSS`.
    pub(crate) fn status_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field));
        let line = line.unwrap_or_else(|| panic!("no {field} in\n{status}"));
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            // Shown with the failed test only.
            println!("the daemon's log:\n{}", self.log());
        }
    }
}

impl Builder {
    /// One more word of the command line.
    pub(crate) fn arg(mut self, word: impl Into<OsString>) -> Builder {
        self.args.push(word.into());
        self
    }

    /// More words of the command line.
    pub(crate) fn args<S: Into<OsString>>(mut self, words: impl IntoIterator<Item = S>) -> Builder {
        self.args.extend(words.into_iter().map(Into::into));
        self
    }

    /// One more plugin behind those that there are.
    pub(crate) fn with(self, guest: &str) -> Builder {
        let file = artifact(guest);
        self.with_file(file)
    }

    /// The same with a file of one's own.
    pub(crate) fn with_file(mut self, file: impl Into<PathBuf>) -> Builder {
        self.files.push(file.into());
        self
    }

    /// What a deployment says of one plugin, `NAME:SETTING=VALUE`: see [`deployment`].
    pub(crate) fn plugin(mut self, setting: &str) -> Builder {
        self.settings.push(setting.to_owned());
        self
    }

    /// `--allow-host`: where plugins may send requests, and routers forward them.
    pub(crate) fn allow_host(self, host: impl ToString) -> Builder {
        self.arg("--allow-host").arg(host.to_string())
    }

    /// `--timeout PHASE=DURATION`.
    pub(crate) fn timeout(self, phase: &str, duration: &str) -> Builder {
        self.arg("--timeout").arg(format!("{phase}={duration}"))
    }

    /// `--data-dir`; without it the daemon makes a folder of its own.
    pub(crate) fn data_dir(self, path: impl AsRef<Path>) -> Builder {
        self.arg("--data-dir").arg(path.as_ref())
    }

    /// Trusts the keys in this folder, or those of the (empty) home, instead of the suite's.
    pub(crate) fn keys(mut self, dir: Option<&Path>) -> Builder {
        self.keys = dir.map(Path::to_owned);
        self
    }

    /// An environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Builder {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Has a shell run this first, such as `ulimit`, in the process that becomes the daemon.
    pub(crate) fn after(self, line: &str) -> Builder {
        self.through(["sh", "-c", &format!(r#"{line}; exec "$@""#), "sh"])
    }

    /// Starts it by a program that becomes the daemon: its words, behind which the daemon's come.
    pub(crate) fn through<S: Into<OsString>>(
        mut self,
        words: impl IntoIterator<Item = S>,
    ) -> Builder {
        self.through = words.into_iter().map(Into::into).collect();
        self
    }

    /// Makes `root` the root of the daemon's file system; `/proc` is mounted there, for it alone. All
    /// paths that the daemon is given are seen from there, and [`Builder::can_change_root`] says
    /// whether it can be done.
    pub(crate) fn in_root(mut self, root: &Path) -> Builder {
        self.root = Some(root.to_owned());
        self
    }

    /// Whether this user may give a process a root and mounts of its own.
    pub(crate) fn can_change_root() -> bool {
        let status = std::process::Command::new("unshare")
            .args(["--mount", "chroot", "/", "true"])
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    }

    fn command(mut self, home: &Path) -> std::process::Command {
        let mut command = zlayer_command();
        if let Some((program, words)) = self.through.split_first() {
            let mut first = std::process::Command::new(program);
            first.args(words);
            first.arg(command.get_program()).args(command.get_args());
            command = first;
        }
        if let Some(root) = &self.root {
            let (mut words, programs) = zlayer_words();
            let line = r#"mount -t proc proc "$0/proc" && exec chroot "$0" "$@""#;
            words.extend(["unshare", "--mount", "sh", "-c", line].map(OsString::from));
            words.push(root.into());
            // Both were copied there under their own names, the emulator as well.
            let names = programs.iter().map(|program| program.file_name().unwrap());
            words.extend(names.map(|name| Path::new("/").join(name).into_os_string()));
            command = std::process::Command::new(&words[0]);
            command.args(&words[1..]);
        }
        private_home(&mut command, home);
        let grants = stage_grants(&self.files, &self.settings);
        self.settings.extend(grants);
        command.arg("run");
        match self.settings.is_empty() {
            true => {
                for file in &self.files {
                    // Bundles and deployments are told by what they are called.
                    let is_plugin = file
                        .extension()
                        .is_none_or(|end| end != "zlb" && end != "yaml");
                    command.args(is_plugin.then_some("--wasm")).arg(file);
                }
            }
            false => {
                command.arg(bundle(&deployment(&self.files, &self.settings)));
            }
        }
        if let Some(keys) = self.keys {
            command.arg("--keys").arg(keys);
        }
        if !self.args.iter().any(|word| word == "--port") {
            command.args(["--port", "0"]);
        }
        // Three times the defaults, less than our patience. Who waits for an instance does so for half of
        // `request`, and those that work must not be given up before.
        for phase in ["request=", "stall="].into_iter().filter(|_| under_qemu()) {
            let is_set = |word: &OsString| word.to_string_lossy().starts_with(phase);
            if !self.args.iter().any(is_set) {
                command.arg("--timeout").arg(format!("{phase}90s"));
            }
        }
        command.args(self.args).envs(self.env);
        command
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(self) -> Daemon {
        let home = TempDir::new();
        let mut command = self.command(home.path());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = Text::collect(child.stdout.take().unwrap());
        let stderr = Text::collect(child.stderr.take().unwrap());
        let mut daemon = Daemon {
            child,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            stdout,
            stderr,
            _home: home,
        };
        let address = |text: &str| -> Option<SocketAddr> {
            let mut lines = text.lines();
            let line = lines.find(|line| line.starts_with("zlayer: serving "))?;
            line.rsplit("http://").next()?.parse().ok()
        };
        daemon.stdout.wait_until(|text| address(text).is_some());
        daemon.address = address(&daemon.stdout()).unwrap_or_else(|| {
            // Dropped by the panic, which prints the log.
            panic!("{command:?} does not serve; it said {:?}", daemon.stdout())
        });
        daemon
    }

    /// Packs its deployment, which should be refused before it gets to a device.
    pub(crate) fn fails_to_pack(mut self) -> Output {
        let grants = stage_grants(&self.files, &self.settings);
        self.settings.extend(grants);
        let folder = TempDir::new();
        let [file, made] = ["deployment.yaml", "test.zlb"].map(|name| folder.path().join(name));
        std::fs::write(&file, deployment(&self.files, &self.settings)).unwrap();
        let output = pack(&file, &made);
        assert_eq!(output.code, 1, "was not refused: {output:?}");
        assert!(!made.exists(), "{output:?}");
        output
    }

    /// Starts it though it should refuse, and waits for its end.
    pub(crate) fn fails(self) -> Output {
        let home = TempDir::new();
        let output = run(self.command(home.path()), PATIENCE);
        assert_ne!(output.code, 0, "was not refused: {output:?}");
        output
    }
}

/// What the guests `stages` and `stage-…` are granted unless a test says something else of it: they look for what
/// they are to do in the configuration, and write down in the store what they did, whatever their roles' worlds
/// have them use. And `stages` plays all its roles, which has to be said where it is not alone.
fn stage_grants(files: &[PathBuf], said: &[String]) -> Vec<String> {
    let mut settings = Vec::new();
    for name in names(files) {
        let guest = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        if guest != "stages" && !guest.starts_with("stage-") {
            continue;
        }
        let is_said = |setting: &str| said.iter().any(|word| word.starts_with(setting));
        let roles = format!("{name}:roles=");
        if guest == "stages" && files.len() > 1 && !is_said(&roles) {
            settings.push(format!("{roles}{STAGES}"));
        }
        let allow = format!("{name}:allow=");
        if !is_said(&allow) {
            settings.push(format!("{allow}config,keyvalue,logging"));
        }
    }
    settings
}

/// The roles of the guest `stages`.
const STAGES: &str =
    "handler,transformer,authenticator,rate-limiter,middleware,router,cache,websocket";

/// Bytes that a pipe is to hold: what the daemon writes to one that is full is dropped when its reader
/// has had a moment, and on a busy machine a thread of ours may get none. All may set this much.
const PIPE_BYTES: usize = 1 << 20;

/// Text that a thread reads as it comes, line by line.
#[derive(Default)]
struct Text {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    text: String,
    ended: bool,
}

impl Text {
    fn collect(pipe: impl Read + AsFd + Send + 'static) -> Arc<Text> {
        // A system that has little to spare for pipes gives less.
        let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE_BYTES);
        let text = Arc::new(Text::default());
        let collected = Arc::clone(&text);
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut unread = Vec::new();
            loop {
                let bytes = pipe.fill_buf().unwrap_or_default();
                let count = bytes.len();
                unread.extend_from_slice(bytes);
                // A read may end in the middle of a line, whose rest comes with the next one.
                let whole = match count {
                    0 => unread.len(),
                    _ => unread
                        .iter()
                        .rposition(|&byte| byte == b'\n')
                        .map_or(0, |end| end + 1),
                };
                let lines: Vec<u8> = unread.drain(..whole).collect();
                let mut state = collected.state.lock().unwrap();
                state.text.push_str(&String::from_utf8_lossy(&lines));
                state.ended = count == 0;
                collected.changed.notify_all();
                if count == 0 {
                    return;
                }
                drop(state);
                pipe.consume(count);
            }
        });
        text
    }

    fn so_far(&self) -> String {
        self.state.lock().unwrap().text.clone()
    }

    /// Waits until the text satisfies `found`, or its writer is gone, or patience is at an end.
    fn wait_until(&self, found: impl Fn(&str) -> bool) -> bool {
        let end = Instant::now() + PATIENCE;
        let mut state = self.state.lock().unwrap();
        loop {
            if found(&state.text) {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if state.ended || left == Duration::ZERO {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }
}
