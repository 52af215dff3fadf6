use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use zlayer_runtime::keyvalue::{Durability, KeyValue, Machine, Settings};
use zlayer_runtime::memory::Budget;

/// xorshift64*: the same seed, the same run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end.max(1)
    }

    /// True once in `count` times.
    pub(crate) fn once_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// The seed of a run: `ZLAYER_SEED`, or a new one each time.
pub(crate) fn seed() -> u64 {
    number("ZLAYER_SEED").unwrap_or_else(|| {
        let time = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        u64::try_from(time & 0xffff_ffff).unwrap()
    })
}

/// A number from the environment.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number")),
    )
}

/// A folder that goes with the test, unless the test fails.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// In the folder for temporary files.
    pub(crate) fn new() -> Folder {
        Folder::within(&std::env::temp_dir())
    }

    /// In memory where that is at hand, for tests that have no power cut in mind.
    pub(crate) fn quick() -> Folder {
        let memory = Path::new("/dev/shm");
        let usable = memory.is_dir() && std::fs::write(memory.join(name()), b"").is_ok();
        if usable {
            let _ = std::fs::remove_file(memory.join(name()));
            return Folder::within(memory);
        }
        Folder::new()
    }

    fn within(base: &Path) -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = base.join(format!("{}-{number}", name()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Folder(path),
                // Kept by a test that failed, in a process that had our number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }
}

fn name() -> String {
    format!("zlayer-store-{}", std::process::id())
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what it worked on is kept in {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// This program again, as a child that runs one of the ignored tests, which finds its work in the
/// environment.
pub(crate) struct Child;

/// The variable that tells a child where to work.
const WORK: &str = "ZLAYER_CHILD_FOLDER";
/// A child that lives longer than this hangs.
const CHILD_LIFE: Duration = Duration::from_secs(300);

impl Child {
    pub(crate) fn command(test: &str, folder: &Path) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(WORK, folder)
            .stdin(Stdio::null());
        command
    }

    /// In the child: where to work. None: somebody ran the ignored tests by hand.
    pub(crate) fn folder() -> Option<PathBuf> {
        let Some(folder) = std::env::var_os(WORK) else {
            skipped("child", "it is started by another test, not by hand");
            return None;
        };
        std::thread::spawn(|| {
            std::thread::sleep(CHILD_LIFE);
            eprintln!("the child hangs");
            std::process::abort();
        });
        Some(folder.into())
    }
}

/// A store on the machine's own clocks.
pub(crate) fn open(folder: &Path) -> KeyValue {
    let budget: Arc<Budget> = Budget::new(16 << 20);
    KeyValue::open(folder, &budget, Arc::new(Machine::default())).unwrap()
}

pub(crate) fn with(durability: Durability) -> Settings {
    Settings {
        durability,
        ..Settings::default()
    }
}

/// A value that says its number and whether it is whole; its length depends on the number.
pub(crate) fn sealed(number: u64) -> Vec<u8> {
    let length = match number % 97 {
        // More than the database keeps in one part.
        0 => 40_000,
        n => n * n % 700,
    };
    let mut value = number.to_le_bytes().to_vec();
    value.extend((0..length).map(|at| (number.wrapping_mul(31) ^ at) as u8));
    let sum = sum(&value);
    value.extend_from_slice(&sum.to_le_bytes());
    value
}

/// The number of a sealed value.
pub(crate) fn unsealed(value: &[u8]) -> Result<u64, String> {
    let number = value
        .first_chunk()
        .map(|bytes| u64::from_le_bytes(*bytes))
        .ok_or_else(|| format!("a value of {} bytes", value.len()))?;
    if value != sealed(number) {
        return Err(format!("a value of {} bytes is not whole", value.len()));
    }
    Ok(number)
}

/// FNV-1a.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Says aloud that a test could not run.
pub(crate) fn skipped(name: &str, why: &str) {
    // Written past the capture of test output.
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {name}: {why}");
}
