//! A bundle that is larger than the memory there is, installed while the daemon serves.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::live::EndOf;
use super::{greeting, install, serving, status};
use crate::support::{
    Daemon, PATIENCE, TempDir, bundle, figures_are_the_daemons, get, guests, pack,
};

/// Services of the bundle, and bytes that each of their artifacts has besides its code.
const SERVICES: usize = 4;
const EACH: usize = 25 << 20;
/// What the whole of it has at least.
const LARGE: u64 = 100 << 20;
/// The daemon's ceiling, as flag and in KiB.
const CEILING: (&str, u64) = ("64Mi", 64 * 1024);
/// What an install of any size may add to what the daemon takes, in KiB: buffers, what it knows of the plugins, and
/// the instances that prove them.
const GROWTH: u64 = 8 * 1024;

/// `visit-counter` with a module behind it that nobody instantiates and that holds these bytes: they are in the artifact,
/// as data, and never touched.
fn fat_plugin(path: &Path, seed: u64) {
    let mut bytes = fs::read(guests().join("visit-counter.wasm")).unwrap();
    let data = Noise(seed).take(EACH as u64);
    // A module with one section (11), of one passive (1) segment.
    let segment = [&[1, 1][..], &leb(EACH)].concat();
    let section = [&[11][..], &leb(segment.len() + EACH)].concat();
    let head = [b"\0asm\x01\0\0\0", &section[..], &segment].concat();
    // In the component it is a section (1), too.
    bytes.push(1);
    bytes.extend(leb(head.len() + EACH));
    bytes.extend(head);
    { data }.read_to_end(&mut bytes).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A number as WebAssembly has it.
fn leb(number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut left = number;
    loop {
        let (low, rest) = ((left & 0x7f) as u8, left >> 7);
        bytes.push(if rest > 0 { low | 0x80 } else { low });
        left = rest;
        if left == 0 {
            return bytes;
        }
    }
}

/// Bytes that no packer makes smaller, the same for each seed.
struct Noise(u64);

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for piece in buffer.chunks_mut(8) {
            // xorshift64*, by Vigna.
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let word = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
            piece.copy_from_slice(&word[..piece.len()]);
        }
        Ok(buffer.len())
    }
}

/// The bundle, in this folder.
fn large_bundle(folder: &TempDir) -> PathBuf {
    let mut text = "version: v1\ndeployment: visits\nrelease: 2\nservices:\n".to_owned();
    for number in 1..=SERVICES {
        let plugin = folder.path().join(format!("plugin-{number}.wasm"));
        fat_plugin(&plugin, number as u64);
        let path = match number {
            1 => "/".to_owned(),
            number => format!("/{number}"),
        };
        text += &format!(
            "  counter-{number}:\n    image: {}\n    env: {{greeting: \"large-{number}\"}}\n    \
             endpoints: [{{name: http, protocol: http, port: 8080, path: {path}}}]\n",
            plugin.display()
        );
    }
    let (file, made) = ["deployment.yaml", "large.zlb"]
        .map(|name| folder.path().join(name))
        .into();
    fs::write(&file, text).unwrap();
    let packed = pack(&file, &made);
    assert_eq!(packed.code, 0, "{packed:?}");
    made
}

/// Sends a bundle to the admin socket piece by piece; answers what comes back.
fn send(data: &TempDir, bundle: &Path) -> String {
    let mut file = File::open(bundle).unwrap();
    let length = file.metadata().unwrap().len();
    let stream = UnixStream::connect(data.path().join("admin.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut to = BufWriter::new(&stream);
    let head = format!("POST /install HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
    to.write_all(head.as_bytes()).unwrap();
    io::copy(&mut file, &mut to).unwrap();
    to.flush().unwrap();
    let mut answer = String::new();
    { &stream }.read_to_string(&mut answer).unwrap();
    answer
}

/// Memory of a process in KiB: its own, what it has of files, and all of it with its share of what others have too.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    own: u64,
    files: u64,
    share: u64,
}

impl Memory {
    fn of(daemon: &Daemon) -> Memory {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", daemon.pid())).unwrap();
        let share = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let share = share.unwrap().trim().trim_end_matches(" kB");
        Memory {
            own: daemon.status_kib("RssAnon"),
            files: daemon.status_kib("RssFile"),
            share: share.parse().unwrap(),
        }
    }

    fn most(self, other: Memory) -> Memory {
        Memory {
            own: self.own.max(other.own),
            files: self.files.max(other.files),
            share: self.share.max(other.share),
        }
    }
}

#[test]
fn a_bundle_of_a_hundred_megabytes_is_installed_within_the_ceiling_while_requests_are_answered() {
    let (folder, data) = (TempDir::new(), TempDir::new());
    let large = large_bundle(&folder);
    let length = fs::metadata(&large).unwrap().len();
    assert!(length > LARGE, "{length}");
    let small = greeting(1, "one") + "    endpoints: [{name: http, protocol: http, port: 8080}]\n";
    assert_eq!(install(&bundle(&small), &data).code, 0);
    let daemon = Daemon::of_nothing()
        .data_dir(data.path())
        .args(["--memory-max", CEILING.0, "--config", "LOG_LEVEL=warn"])
        .start();
    for _ in 0..100 {
        assert_eq!(get(&daemon, "/").status, 200);
    }
    let before = Memory::of(&daemon);
    let is_over = AtomicBool::new(false);
    let (answered, peak) = thread::scope(|scope| {
        let asking = || {
            let mut answered = [0_u64; 2];
            while !is_over.load(Ordering::Relaxed) {
                let answer = get(&daemon, "/load");
                assert_eq!(answer.status, 200, "{answer:?}");
                let place = usize::from(answer.text().starts_with("large-1 "));
                assert!(
                    place == 1 || answer.text().starts_with("one "),
                    "{answer:?}"
                );
                answered[place] += 1;
            }
            answered
        };
        let watching = || {
            let mut peak = before;
            while !is_over.load(Ordering::Relaxed) {
                peak = peak.most(Memory::of(&daemon));
                thread::sleep(Duration::from_millis(2));
            }
            peak
        };
        let clients = [scope.spawn(asking), scope.spawn(asking)];
        let watcher = scope.spawn(watching);
        let end = EndOf(&is_over);
        let answer = send(&data, &large);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        for number in 2..=SERVICES {
            let answer = get(&daemon, &format!("/{number}")).text();
            assert!(answer.starts_with(&format!("large-{number} ")), "{answer}");
        }
        drop(end);
        let answered = clients.map(|client| client.join().unwrap());
        let sum = |place: usize| answered.iter().map(|one| one[place]).sum::<u64>();
        ([sum(0), sum(1)], watcher.join().unwrap())
    });
    let after = Memory::of(&daemon);
    println!(
        "{} MiB installed live; {} requests answered by the old one, {} by the new one, 0 lost",
        length >> 20,
        answered[0],
        answered[1]
    );
    println!(
        "KiB before {before:?}, at most {peak:?}, after {after:?}, ever resident {}",
        daemon.status_kib("VmHWM")
    );
    assert!(answered.iter().all(|count| *count > 0), "{answered:?}");
    let found = status(&data);
    assert_eq!(found["generation"], 2);
    if figures_are_the_daemons() {
        assert!(peak.own < CEILING.1, "{peak:?}");
        assert!(peak.own < before.own + GROWTH, "{before:?} {peak:?}");
        // Neither are the files mapped as a whole, to be digested.
        assert!(peak.share < before.share + GROWTH, "{before:?} {peak:?}");
    }
    assert_eq!(daemon.stop(), 0);
    // It is there as it was sent.
    let daemon = serving(&data);
    assert!(get(&daemon, "/").text().starts_with("large-1 "));
}
