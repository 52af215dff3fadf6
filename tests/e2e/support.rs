//! What the tests are written with.

mod admin;
mod autobahn;
mod client;
mod daemon;
mod deployment;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::{Duration, Instant};

pub(crate) use admin::{ask, ask_raw, ask_tcp, at_rest};
pub(crate) use autobahn::Autobahn;
pub(crate) use client::{Client, Response, get, request};
pub(crate) use daemon::{Builder, Daemon};

/// Ends what hangs. No test expects anything to be quick: a device's processor may be emulated.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Compiling takes longer where the compiler itself was built without optimisation.
const COMPILE_PATIENCE: Duration = Duration::from_secs(600);

/// What a program that has ended left behind.
#[derive(Debug)]
pub(crate) struct Output {
    /// Its exit code, or 128 and the signal that ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The device's target, as `zlayer-precompile build --target` takes it.
pub(crate) fn target() -> &'static str {
    setting("ZLAYER_TARGET")
}

/// Whether the daemon's processor is emulated: sizes and times say nothing then.
pub(crate) fn under_qemu() -> bool {
    !setting("ZLAYER_RUNNER").trim().is_empty()
}

/// A time limit that a test waits for, and that an honest request stays well within: it takes some
/// milliseconds, but a busy machine may leave it alone for half a second, or an emulator on one take some
/// seconds to make an instance; and a stage has only half of the time.
pub(crate) fn brief() -> &'static str {
    if under_qemu() { "15s" } else { "2s" }
}

/// An address that refuses connections. It is of a loopback network that nothing else here listens in: at
/// 127.0.0.1 a daemon of another test could be given the port.
pub(crate) fn refusing() -> SocketAddr {
    let listener = TcpListener::bind(("127.82.69.70", 0)).unwrap();
    listener.local_addr().unwrap()
}

/// The folder of the guests, `NAME.wasm` each.
pub(crate) fn guests() -> PathBuf {
    PathBuf::from(setting("ZLAYER_GUESTS"))
}

/// A setting of the suite. All are wanted always, so that none is forgotten.
fn setting(name: &'static str) -> &'static str {
    static SETTINGS: LazyLock<Mutex<HashMap<&'static str, &'static str>>> =
        LazyLock::new(Mutex::default);
    let value = std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run the end-to-end tests with `cargo boards test`")
    });
    let mut settings = SETTINGS.lock().unwrap();
    // Leaked once a name, to be handed out without a lifetime.
    settings.entry(name).or_insert_with(|| value.leak())
}

/// The device binary as a command, through the runner where there is one.
pub(crate) fn zlayer_command() -> Command {
    let binary = setting("ZLAYER_BIN");
    let mut words = setting("ZLAYER_RUNNER").split_whitespace();
    match words.next() {
        None => Command::new(binary),
        Some(runner) => {
            let mut command = Command::new(runner);
            command.args(words).arg(binary);
            command
        }
    }
}

/// The same as words: what watches over the emulator, and then the emulator, if there is one, and the
/// binary, which are all that has to be in a root of its own.
pub(crate) fn zlayer_words() -> (Vec<OsString>, Vec<PathBuf>) {
    let command = zlayer_command();
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let mut outside: Vec<OsString> = words.map(ToOwned::to_owned).collect();
    let programs = if under_qemu() { 2 } else { 1 };
    let inside = outside.split_off(outside.len() - programs);
    (outside, inside.into_iter().map(PathBuf::from).collect())
}

/// Runs `zlayer` with these arguments until it ends.
pub(crate) fn zlayer<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    let home = TempDir::new();
    let mut command = zlayer_command();
    command.args(args);
    private_home(&mut command, home.path());
    run(command, PATIENCE)
}

/// Runs `zlayer-precompile` with these arguments until it ends, in a home of its own.
pub(crate) fn precompile<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    let home = TempDir::new();
    precompile_at(home.path(), args)
}

/// Runs `zlayer-precompile` as a user whose home is `home`, where the development key is kept.
pub(crate) fn precompile_at<S: AsRef<std::ffi::OsStr>>(
    home: &Path,
    args: impl IntoIterator<Item = S>,
) -> Output {
    let mut command = Command::new(setting("ZLAYER_PRECOMPILE"));
    command.args(args);
    private_home(&mut command, home);
    run(command, COMPILE_PATIENCE)
}

/// Keeps a program away from the keys and folders of whoever runs the tests.
pub(crate) fn private_home(command: &mut Command, home: &Path) {
    command
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home.join(".config"))
        .env("TMPDIR", home)
        .env_remove("XDG_CACHE_HOME")
        .env_remove("CREDENTIALS_DIRECTORY")
        .env_remove("ZLAYER_LOG");
}

/// The folder with the suite's public key, which every [`Daemon`] trusts.
pub(crate) fn key_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = suite_dir().join("keys");
        let words = ["keygen", "--name", "suite", "-o"].map(PathBuf::from);
        let made = precompile(words.iter().chain([&dir]));
        assert_eq!(made.code, 0, "no key for the suite: {made:?}");
        dir
    })
}

/// The suite's secret key, for `zlayer-precompile --key`.
pub(crate) fn key_file() -> PathBuf {
    key_dir().join("suite.key")
}

/// `guest` compiled for the suite's target and signed with its key; done once a run.
pub(crate) fn artifact(guest: &str) -> PathBuf {
    type Slot = Arc<OnceLock<PathBuf>>;
    static MADE: LazyLock<Mutex<HashMap<String, Slot>>> = LazyLock::new(Mutex::default);
    let slot = Arc::clone(MADE.lock().unwrap().entry(guest.to_owned()).or_default());
    let make = || {
        let source = guests().join(format!("{guest}.wasm"));
        let dir = suite_dir().join("artifacts");
        fs::create_dir_all(&dir).unwrap();
        let mut words: Vec<PathBuf> = vec!["build".into(), source];
        words.extend(["--target", target(), "-o"].map(PathBuf::from));
        words.extend([dir.clone(), "--key".into(), key_file()]);
        let built = precompile(&words);
        assert_eq!(built.code, 0, "cannot compile {guest}: {built:?}");
        dir.join(format!("{guest}.{}.cwasm", target()))
    };
    slot.get_or_init(make).clone()
}

/// A bundle of the deployment with this text, signed with the suite's key; packed once a run.
pub(crate) fn bundle(text: &str) -> PathBuf {
    static MADE: LazyLock<Mutex<HashMap<String, PathBuf>>> = LazyLock::new(Mutex::default);
    if let Some(made) = MADE.lock().unwrap().get(text) {
        return made.clone();
    }
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = suite_dir().join(format!("bundle{number}"));
    fs::create_dir(&folder).unwrap();
    let (file, made) = (folder.join("deployment.yaml"), folder.join("test.zlb"));
    fs::write(&file, text).unwrap();
    let packed = pack(&file, &made);
    assert_eq!(packed.code, 0, "cannot pack\n{text}\n{packed:?}");
    MADE.lock().unwrap().insert(text.to_owned(), made.clone());
    made
}

/// Packs a `deployment.yaml` for the suite's target, signed with its key.
pub(crate) fn pack(file: &Path, made: &Path) -> Output {
    let mut words: Vec<PathBuf> = vec!["pack".into(), file.into(), "--key".into(), key_file()];
    words.extend(["--target", target(), "-o"].map(PathBuf::from));
    words.push(made.into());
    precompile(words)
}

/// A folder that goes with its value.
#[derive(Debug)]
pub(crate) struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// A new and empty folder.
    pub(crate) fn new() -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = suite_dir().join(format!("t{number}"));
        fs::create_dir(&path).unwrap();
        TempDir { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in this one, which goes with that value.
    pub(crate) fn below(&self, name: &str) -> TempDir {
        let path = self.path.join(name);
        fs::create_dir(&path).unwrap();
        TempDir { path }
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What stays is removed by the next run.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// This run's folder. Those of runs that have ended are removed.
fn suite_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
        for entry in fs::read_dir(base).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let own = std::process::id().to_string();
            let has_ended = |pid: &str| pid == own || !Path::new("/proc").join(pid).exists();
            // In containers one run may well have the number of another.
            if name.strip_prefix("e2e-").is_some_and(has_ended) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let dir = base.join(format!("e2e-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    })
}

/// Runs a command until it ends; ends it after `patience`.
pub(crate) fn run(mut command: Command, patience: Duration) -> Output {
    let shown = format!("{command:?}");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let end = Instant::now() + patience;
    let mut child = loop {
        match command.spawn() {
            Ok(child) => break child,
            // A program that was just copied: a child of another thread, which has not become its own
            // program yet, still has it open for writing.
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => panic!("cannot start {shown}: {error}"),
        }
    };
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let code = wait_at_most(&mut child, patience);
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    let Some(code) = code else {
        panic!("{shown} did not end within {patience:?}\n{stdout}\n{stderr}");
    };
    Output {
        code,
        stdout,
        stderr,
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A child's exit code, or 128 and the signal that ended it. `None` if it had to be killed.
pub(crate) fn wait_at_most(child: &mut Child, patience: Duration) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt;
    let end = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().or_else(|| Some(128 + status.signal()?));
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Says in one line why the test that calls this cannot run here, past the test runner's capture.
pub(crate) fn skipped(why: &str) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "skipped: {name}: {why}");
}

/// Whether a hang-up is not ignored here, as under `nohup`: children inherit that. Says so where it is.
pub(crate) fn hangups_reach_a_child() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
    // Signal 1 is the lowest bit.
    let ignored = mask & 1 == 1;
    if ignored {
        skipped("hang-ups are ignored here, as under nohup");
    }
    !ignored
}

/// Whether the memory and the threads that the daemon's process has are the daemon's own. Says what is left out
/// of a test where they are not.
pub(crate) fn figures_are_the_daemons() -> bool {
    let own = !under_qemu();
    if !own {
        skipped("in part: the emulator's own memory and threads would be in the figures");
    }
    own
}

/// Whether processes of this test's may change what they see of the file system, natively and as root. Says
/// so where they may not.
pub(crate) fn may_mount() -> bool {
    let mut command = Command::new("unshare");
    command.args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]);
    let may = !under_qemu() && command.output().is_ok_and(|output| output.status.success());
    if !may {
        skipped("it wants to mount, in a namespace of its own: natively, as root, with util-linux");
    }
    may
}

/// Whether system calls can be watched here. Says so where they cannot.
pub(crate) fn may_trace() -> bool {
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "true"]);
    let may = !under_qemu() && command.output().is_ok_and(|output| output.status.success());
    if !may {
        skipped("it watches system calls: natively, with strace and the right to use it");
    }
    may
}

/// Waits until `condition` holds; `what` is for the message when it never does.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
