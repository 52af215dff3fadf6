//! A week in the life of a device: what its owner does, what goes wrong, and who is answered meanwhile.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::live::EndOf;
use super::trust::{Fleet, expect};
use crate::support::{Client, Daemon, ask, eventually, get, skipped};

/// Whoever asks the device, all week long, as long as it is switched on.
#[derive(Default)]
struct Household {
    /// Held while a request is on its way, and while the device is off.
    is_on: Mutex<Option<SocketAddr>>,
    answered: AtomicU64,
    lost: AtomicU64,
    is_over: AtomicBool,
}

/// Ends the week, by a panic too.
struct End<'a>(&'a Household);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

impl Household {
    fn live(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            let is_on = self.is_on.lock().unwrap();
            let Some(address) = *is_on else {
                drop(is_on);
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            match ask_for(address) {
                Ok(200) => &self.answered,
                told => {
                    eprintln!("lost: {told:?}");
                    &self.lost
                }
            }
            .fetch_add(1, Ordering::Relaxed);
        }
    }

    fn switch(&self, address: Option<SocketAddr>) {
        *self.is_on.lock().unwrap() = address;
    }
}

fn ask_for(address: SocketAddr) -> Result<u16, String> {
    let stream = std::net::TcpStream::connect(address).map_err(|error| error.to_string())?;
    let mut client = Client::over(stream);
    let head = "GET / HTTP/1.1\r\nhost: device\r\nconnection: close\r\n\r\n";
    client.try_send(head).map_err(|error| error.to_string())?;
    Ok(client.try_read_response()?.status)
}

/// A device, and all that happens to it.
struct Device<'a> {
    fleet: &'a Fleet,
    household: &'a Household,
    daemon: Option<Daemon>,
}

impl Device<'_> {
    fn switch_on(&mut self) {
        let daemon = self.fleet.daemon().timeout("trial", "2s").start();
        let address = daemon.addr();
        self.daemon = Some(daemon);
        if self.status()["healthy"] == true {
            self.household.switch(Some(address));
        }
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    /// An orderly end.
    fn switch_off(&mut self) {
        self.household.switch(None);
        assert_eq!(self.daemon.take().unwrap().stop(), 0);
    }

    fn cut_power(&mut self) {
        self.household.switch(None);
        self.daemon.take().unwrap().end_at_once(9);
    }

    fn status(&self) -> Value {
        serde_json::from_str(&ask(&self.fleet.data, "/status").text()).unwrap()
    }

    fn install(&self, made: &Path) -> crate::support::Output {
        self.fleet.on_device("install", &[made.to_owned()])
    }

    /// Waits until this release is served and has proved itself.
    fn settles_on(&self, release: u64) {
        eventually("the release is confirmed", || {
            let status = self.status();
            status["release"] == release && status["on_trial"] == false
        });
    }
}

/// A small file system, for as long as this lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// In the place of this empty folder. None: who runs this may not mount any.
    fn at(folder: &Path) -> Option<SmallDisk> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=48m,mode=700", "none"]);
        let mounted = mount.arg(folder).output().ok()?.status.success();
        mounted.then(|| SmallDisk(folder.to_owned()))
    }

    /// Fills it up.
    fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        while file.write_all(&[1]).is_ok() {}
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_week_in_the_life_of_a_device_loses_no_request() {
    let mut fleet = Fleet::new();
    let disk = SmallDisk::at(fleet.data.path());
    if disk.is_none() {
        skipped("Friday's full disk: this account may not mount one");
    } else {
        fleet.data = fleet.data.below("data");
    }
    let plugin =
        |env: &str, release: u64, key: &str| fleet.bundle_of("hostile-plugin", env, release, key);
    let household = Household::default();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..2).map(|_| scope.spawn(|| household.live())).collect();
        let mut device = Device {
            fleet: &fleet,
            household: &household,
            daemon: None,
        };
        let end = End(&household);

        // Monday: it comes out of the box with nothing, and is given its first deployment.
        device.switch_on();
        assert_eq!(get(device.daemon(), "/").status, 503);
        let first = plugin("init: ok", 1, "a");
        expect(&device.install(&first), 0, "release 1");
        household.switch(Some(device.daemon().addr()));
        device.settles_on(1);

        // Tuesday: an update.
        expect(
            &device.install(&plugin("init: \"\"", 2, "a")),
            3,
            "config-invalid",
        );
        expect(
            &device.install(&plugin("word: two", 2, "a")),
            0,
            "release 2",
        );
        device.settles_on(2);

        // Wednesday: an update that does not start, and one that starts and then traps.
        expect(&device.install(&plugin("init: trap", 3, "a")), 3, "trap");
        expect(
            &device.install(&plugin("word: three", 3, "a")),
            0,
            "release 3",
        );
        // More than one in ten of all that it is asked meanwhile.
        let is_back = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !is_back.load(Ordering::Relaxed) {
                        get(device.daemon(), "/trap");
                    }
                });
            }
            let _end = EndOf(&is_back);
            eventually("it goes back", || device.status()["release"] == 2);
        });
        device.settles_on(2);
        let why = device.status()["went_back"].to_string();
        assert!(why.contains("trapped"), "{why}");

        // Thursday: the key is rotated; what the old one signs, an old release and an old list are refused.
        let list = fleet.rotation(1);
        expect(
            &fleet.on_device("trust", std::slice::from_ref(&list)),
            0,
            "1",
        );
        expect(&device.install(&plugin("word: a", 4, "a")), 22, "revokes");
        expect(&device.install(&plugin("word: b", 4, "b")), 0, "release 4");
        device.settles_on(4);
        expect(&device.install(&plugin("word: b", 1, "b")), 1, "older");
        expect(&fleet.on_device("trust", &[fleet.rotation(2)]), 0, "2");
        expect(&fleet.on_device("trust", &[list]), 25, "2");
        device.settles_on(4);

        // Friday: the disk is full, and has room again.
        if let Some(disk) = &disk {
            let made = plugin("word: five", 5, "b");
            disk.fill();
            let said = device.install(&made);
            assert_ne!(said.code, 0, "{said:?}");
            assert_eq!(device.status()["release"], 4);
            fs::remove_file(disk.filler()).unwrap();
            expect(&device.install(&made), 0, "release 5");
            device.settles_on(5);
        }

        // Saturday: its clock jumps, far ahead and back to the beginning of time.
        for seconds in ["4102444800\n", "0\n"] {
            device.switch_off();
            fs::write(fleet.data.path().join("clock"), seconds).unwrap();
            device.switch_on();
            assert_eq!(get(device.daemon(), "/").status, 200);
            expect(&device.install(&plugin("word: a", 6, "a")), 22, "revokes");
        }
        expect(
            &device.install(&plugin("word: six", 6, "b")),
            0,
            "release 6",
        );
        device.settles_on(6);

        // Sunday: power is cut again and again while the next release is installed.
        let next = plugin("word: seven", 7, "b");
        for cut in 0..6 {
            thread::scope(|scope| {
                // It may not have got to the end of what it was asked.
                scope.spawn(|| {
                    device
                        .fleet
                        .on_device("install", std::slice::from_ref(&next))
                });
                // Each time at another moment of it.
                thread::sleep(Duration::from_millis(5 * cut));
                household.switch(None);
                device.daemon.as_mut().unwrap().end_at_once(9);
            });
            device.daemon = None;
            device.switch_on();
            let release = device.status()["release"].as_u64().unwrap();
            // The cut may come before the install has ended, or after it.
            assert!(release == 6 || release == 7, "{release}");
            assert_eq!(get(device.daemon(), "/").status, 200);
            // Three starts in a row that do not last would be a crash loop.
            let own = format!("{} ", device.status()["generation"]);
            eventually("it has lasted", || {
                let trial = fs::read_to_string(fleet.data.path().join("deployment/trial"));
                !trial
                    .unwrap_or_default()
                    .lines()
                    .any(|line| line.starts_with(&own))
            });
        }
        device.cut_power();
        device.switch_on();
        expect(&device.install(&next), 0, "release 7");
        device.settles_on(7);
        device.switch_off();
        drop(end);
        clients
            .into_iter()
            .for_each(|client| client.join().unwrap());
    });
    let [answered, lost] =
        [&household.answered, &household.lost].map(|count| count.load(Ordering::Relaxed));
    println!("a week: {answered} requests answered, {lost} lost");
    assert!(answered > 0);
    assert_eq!(lost, 0);
}
