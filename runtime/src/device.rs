//! What the device has for the daemon: memory and processors, as the kernel tells them.
//!
//! A container or a service may have less than the machine: its control group says so. Each file
//! of `/proc` and `/sys` is read at most once, and none of them has to be there: what is not told
//! bounds nothing.

use std::cell::OnceCell;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::thread;

use zlayer_bundle::ByteSize;

/// Asks the kernel, and remembers what it said.
pub struct Device {
    /// The root of the file system; tests have their own.
    root: PathBuf,
    groups: OnceCell<Vec<Group>>,
}

/// The memory that a daemon could have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that can be taken now without taking them from anybody: what is free, and what the
    /// kernel can drop. It is no more than what the control group may have.
    pub available: u64,
    /// Which of the two that is.
    pub bound: Bound,
    /// Bytes that could be had if everybody else gave theirs up: all of the machine's memory, or
    /// what the control group may have of it, and swap space. `None` if nobody says.
    pub most: Option<u64>,
}

/// What bounds the memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// What the machine has available.
    Machine,
    /// The limit of a control group, in this file.
    Group(PathBuf),
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole mebibytes: it is another figure a moment later.
        let available = ByteSize(self.available >> 20 << 20);
        match &self.bound {
            Bound::Machine => write!(f, "{available} available on this machine"),
            Bound::Group(file) => write!(f, "{available} allowed by {}", file.display()),
        }
    }
}

impl Device {
    /// The device that this process runs on.
    pub fn new() -> Device {
        Device::under("/")
    }

    /// A device whose `/proc` and `/sys` are in the folder `root`.
    pub fn under(root: impl Into<PathBuf>) -> Device {
        Device {
            root: root.into(),
            groups: OnceCell::new(),
        }
    }

    /// The memory that there is; `None` if neither the kernel nor a control group says.
    ///
    /// What the rest of a control group uses is not taken off its limit: most of that is copies of
    /// files, which go when they have to.
    pub fn memory(&self) -> Option<Memory> {
        let machine = read(&self.root.join("proc/meminfo")).unwrap_or_default();
        let figure = |name| field(&machine, name);
        // Some sandboxes tell only what is free.
        let available = figure("MemAvailable").or_else(|| figure("MemFree"));
        let swap = figure("SwapTotal").unwrap_or(0);
        let all = figure("MemTotal").map(|bytes| bytes.saturating_add(swap));
        let limit = self.least("memory.max", Some("memory.limit_in_bytes"), |text| {
            // A number or `max`; version 1 has a huge number for that.
            text.trim().parse().ok()
        });
        // Version 1 says that there is no limit with one that no sum goes beyond.
        let of_group = limit.as_ref().map(|(bytes, _)| bytes.saturating_add(swap));
        let most = all.into_iter().chain(of_group).min();
        let group = limit.filter(|(bytes, _)| available.is_none_or(|machine| *bytes < machine));
        let (available, bound) = match (group, available) {
            (Some((bytes, file)), _) => (bytes, Bound::Group(file)),
            (None, Some(bytes)) => (bytes, Bound::Machine),
            (None, None) => return None,
        };
        Some(Memory {
            available,
            bound,
            most,
        })
    }

    /// How many processors this process may use at the same time, at least 1: those that it may
    /// run on, or fewer where its control group gets only a part of their time.
    pub fn processors(&self) -> usize {
        let own = rustix::thread::sched_getaffinity(None)
            .map(|set| set.count() as usize)
            // More processors than fit into a set of 1024.
            .unwrap_or_else(|_| thread::available_parallelism().map_or(1, usize::from));
        // One is the least, so no share can make it less.
        if own <= 1 {
            return 1;
        }
        let share = self.least("cpu.max", None, |text| {
            let mut words = text.split_whitespace();
            let (quota, period) = (words.next()?, words.next()?);
            let quota: u64 = quota.parse().ok()?;
            quota.checked_div(period.parse().ok()?)
        });
        share.map_or(own, |(whole, _)| {
            usize::try_from(whole).unwrap_or(own).clamp(1, own)
        })
    }

    /// The least figure that a control group of this process has, and the file that says so. Groups
    /// of version 2 have it in the file `unified`, those of version 1's `memory` in `memory`.
    fn least(
        &self,
        unified: &str,
        memory: Option<&str>,
        figure: impl Fn(&str) -> Option<u64>,
    ) -> Option<(u64, PathBuf)> {
        let groups = self.groups.get_or_init(|| self.groups());
        let figures = groups.iter().filter_map(|group| {
            let path = match group {
                Group::Unified(folder) => folder.join(unified),
                Group::Memory(folder) => folder.join(memory?),
            };
            let text = read(&path)?;
            Some((figure(&text)?, path))
        });
        figures.min_by_key(|(figure, _)| *figure)
    }

    /// The control groups of this process, of both versions, up to their roots.
    fn groups(&self) -> Vec<Group> {
        let text = read(&self.root.join("proc/self/cgroup")).unwrap_or_default();
        let (unified, memory) = (
            self.root.join(GROUPS),
            self.root.join(GROUPS).join("memory"),
        );
        let mut groups = Vec::new();
        for line in text.lines() {
            // `0::/path` of version 2, `4:memory:/path` of version 1.
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
                continue;
            };
            if controllers.is_empty() {
                groups.extend(up_to(&unified, path).map(Group::Unified));
            } else if controllers.split(',').any(|name| name == "memory") {
                groups.extend(up_to(&memory, path).map(Group::Memory));
            }
        }
        groups
    }
}

/// The folder of a control group.
enum Group {
    /// Of version 2, which has all of a group's files in one folder.
    Unified(PathBuf),
    /// Of version 1, in the hierarchy of its controller `memory`. That of `cpu` is not looked at: a
    /// thread too many does little harm.
    Memory(PathBuf),
}

/// Where control groups are to be found.
const GROUPS: &str = "sys/fs/cgroup";

/// The folder of the group `path`, and those above it up to `base`.
fn up_to(base: &Path, path: &str) -> impl Iterator<Item = PathBuf> {
    let relative = Path::new(path.trim_start_matches('/'));
    // A process that was moved out of its namespace's part has a path that leads up out of it. In a
    // container the path may be one of the host's, of which nothing is here: the folder at the root
    // is the container's own then.
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let folder = match relative.components().all(is_plain) {
        true => base.join(relative),
        false => base.to_owned(),
    };
    let above: Vec<_> = folder.ancestors().map(Path::to_owned).collect();
    let base = base.to_owned();
    above
        .into_iter()
        .take_while(move |one| one.starts_with(&base))
}

impl Default for Device {
    fn default() -> Self {
        Device::new()
    }
}

/// The text of a file that the kernel makes up, with as few calls as can be: those who ask for its
/// length first get none. `None` if there is none that is text.
pub fn read(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let mut bytes = vec![0; 4096];
    let mut held = 0;
    loop {
        held += file.read(&mut bytes[held..]).ok()?;
        // The kernel gives all that there is room for.
        if held < bytes.len() {
            bytes.truncate(held);
            return String::from_utf8(bytes).ok();
        }
        bytes.resize(2 * held, 0);
    }
}

/// A figure of `/proc/meminfo`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let lines = text.lines();
    let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib: u64 = values.next()?.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const MACHINE: &str = "MemTotal:         948304 kB\nMemFree:           51200 kB\n\
         MemAvailable:     102400 kB\nSwapTotal:          1024 kB\n";

    /// A folder that goes with the test.
    struct Root(PathBuf);

    impl Root {
        fn new() -> Root {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("zlayer-device-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Root(path)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A device with these files.
    fn device(files: &[(&str, &str)]) -> (Root, Device) {
        let root = Root::new();
        for (path, text) in files {
            let path = root.0.as_path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let device = Device::under(root.0.as_path());
        (root, device)
    }

    /// What it says of the memory, with the group's file as it stands below the root.
    fn memory(files: &[(&str, &str)]) -> Option<(u64, Option<String>, Option<u64>)> {
        let (root, device) = device(files);
        let memory = device.memory()?;
        let file = match memory.bound {
            Bound::Machine => None,
            Bound::Group(file) => {
                let file = file.strip_prefix(root.0.as_path()).unwrap();
                Some(file.to_str().unwrap().to_owned())
            }
        };
        Some((
            memory.available >> 10,
            file,
            memory.most.map(|bytes| bytes >> 10),
        ))
    }

    #[test]
    fn without_proc_and_sys_nothing_bounds_the_memory() {
        assert_eq!(memory(&[]), None);
        assert!(device(&[]).1.processors() >= 1);
    }

    #[test]
    fn the_machine_says_what_is_available_and_an_old_one_what_is_free() {
        let all = Some(948_304 + 1024);
        let file = "proc/meminfo";
        assert_eq!(memory(&[(file, MACHINE)]), Some((102_400, None, all)));
        let old = MACHINE.replace("MemAvailable", "Other");
        assert_eq!(memory(&[(file, &old)]), Some((51_200, None, all)));
        assert_eq!(memory(&[(file, "MemAvailable: many kB\n")]), None);
        let huge =
            "MemTotal: 18014398509481983 kB\nSwapTotal: 18014398509481983 kB\nMemFree: 4 kB\n";
        let most = Some(u64::MAX >> 10);
        assert_eq!(memory(&[(file, huge)]), Some((4, None, most)));
    }

    #[test]
    fn the_least_limit_of_all_groups_above_counts() {
        let files = [
            ("proc/meminfo", MACHINE),
            ("proc/self/cgroup", "0::/system.slice/zlayer.service\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "50331648\n"),
            (
                "sys/fs/cgroup/system.slice/zlayer.service/memory.max",
                "max\n",
            ),
        ];
        let of_slice = "sys/fs/cgroup/system.slice/memory.max".to_owned();
        let bound = (48 << 10, Some(of_slice), Some((48 << 10) + 1024));
        assert_eq!(memory(&files), Some(bound.clone()));
        // The machine may have less at the moment than the group is allowed, which is the most that
        // it can ever have all the same.
        let mut busy = files;
        let less = MACHINE.replace("102400", "20480");
        busy[0].1 = &less;
        assert_eq!(memory(&busy), Some((20_480, None, bound.2)));
        // Where the machine tells nothing, the group does.
        assert_eq!(
            memory(&files[1..]),
            Some((bound.0, bound.1, Some(48 << 10)))
        );
    }

    #[test]
    fn a_containers_own_limit_stands_at_the_root() {
        // With a namespace of control groups the path is the root; without one it is the host's,
        // and leads nowhere here; and a process that was moved has one that leads out.
        for path in ["/", "/docker/0123", "/../../other"] {
            let files = [
                ("proc/meminfo", MACHINE),
                ("proc/self/cgroup", &*format!("0::{path}\n")),
                ("sys/fs/cgroup/memory.max", "33554432\n"),
                ("other/memory.max", "1\n"),
            ];
            let (available, file, _) = memory(&files).unwrap();
            assert_eq!(available, 32 << 10, "{path}");
            assert_eq!(file.unwrap(), "sys/fs/cgroup/memory.max");
        }
    }

    #[test]
    fn groups_of_version_1_have_a_hierarchy_of_their_own() {
        let limits = "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes";
        let groups = "5:cpu,cpuacct:/\n4:memory:/a/b\n1:name=systemd:/c:d\n0::/unified\n";
        let mut files = [
            ("proc/meminfo", MACHINE),
            ("proc/self/cgroup", groups),
            (limits, "16777216\n"),
            (
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
        ];
        let (available, file, _) = memory(&files).unwrap();
        assert_eq!((available, file.as_deref()), (16 << 10, Some(limits)));
        // What stands for no limit there is a number, too.
        files[2].1 = "9223372036854771712\n";
        assert_eq!(memory(&files).unwrap().1, None);
    }

    #[test]
    fn a_part_of_the_processors_time_counts_as_whole_ones() {
        let own = device(&[]).1.processors();
        for (quota, most) in [
            ("150000 100000", 1),
            ("50000 100000", 1),
            ("max 100000", own),
        ] {
            let files = [
                ("proc/self/cgroup", "0::/\n"),
                ("sys/fs/cgroup/cpu.max", quota),
            ];
            assert_eq!(device(&files).1.processors(), most.min(own), "{quota}");
        }
    }

    #[test]
    fn this_machine_has_memory_and_says_where_the_figure_is_from() {
        let memory = Device::new().memory().unwrap();
        assert!(
            memory.available > 0 && memory.most.unwrap() > 0,
            "{memory:?}"
        );
        let few = Memory {
            available: (17 << 20) + 12_345,
            bound: Bound::Machine,
            most: None,
        };
        assert_eq!(few.to_string(), "17Mi available on this machine");
        let bound = Bound::Group("/sys/fs/cgroup/memory.max".into());
        let told = Memory { bound, ..few }.to_string();
        assert_eq!(told, "17Mi allowed by /sys/fs/cgroup/memory.max");
    }
}
