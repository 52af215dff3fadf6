//! Plugins that take whatever they can get, in a machine that has next to nothing: the daemon may refuse
//! them, and the kernel must not have to choose.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::parts::plugin;
use crate::emulated::{Client, Daemon, Emulated, Response};

/// Clients that ask at the same time.
const AT_ONCE: usize = 8;

/// Clients that ask for what is held, and do not read it.
const SILENT: usize = 20;

/// How often a request for something harmless is made until the memory of those before is free again.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// A plugin, and what is asked of it.
struct Case {
    plugin: &'static str,
    /// One after the other. Whatever comes of it, also a connection that breaks off, is as good as any.
    one_by_one: &'static [&'static str],
    /// By several clients at the same time.
    at_once: &'static [&'static str],
    /// By clients that stay, so that what each has is not given back before all are there.
    held: &'static [&'static str],
}

const CASES: [Case; 2] = [
    Case {
        plugin: "hostile-plugin",
        one_by_one: &["/big-body", "/trap"],
        at_once: &["/big-body"],
        held: &["/big-body"],
    },
    Case {
        plugin: "hostile",
        one_by_one: &[
            "/grow",
            "/grow-report",
            "/table-flood",
            "/random-huge",
            "/headers-huge",
            "/headers-many",
            "/stack",
            "/log-flood?lines=2000",
            "/grow-hold?kib=4096",
            "/grow-hold?kib=16384",
            "/grow-hold?kib=65536",
        ],
        at_once: &[
            "/grow",
            "/grow-report",
            "/table-flood",
            "/grow-hold?kib=8192",
        ],
        held: &["/grow-hold?kib=4096", "/hold"],
    },
];

/// Has hostile plugins do their worst, and checks that the daemon that was started is still the one that
/// answers, and that the kernel has killed nobody.
pub(super) fn survives(machine: &mut Emulated) -> Result<()> {
    for case in CASES {
        // All else at its default, the ceiling above all.
        let flags = format!("{} --timeout request=20s", plugin(case.plugin));
        let mut daemon = machine.serve(&flags, "/")?;
        worst(&mut daemon, &case).with_context(|| format!("the plugin {}", case.plugin))?;
        daemon.stop()?;
    }
    Ok(())
}

fn worst(daemon: &mut Daemon, case: &Case) -> Result<()> {
    let address = daemon.machine().address();
    for path in case.one_by_one {
        let _ = Client::once(address, path);
        harmless(daemon, path)?;
    }
    for path in case.at_once {
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| Client::once(address, path));
            }
        });
        harmless(daemon, path)?;
    }
    for path in case.held {
        let held = (0..SILENT).map(|_| ask_and_stay(address, path));
        let held: Vec<Client> = held.collect::<Result<_>>()?;
        thread::sleep(Duration::from_secs(1));
        check(daemon, path)?;
        drop(held);
        harmless(daemon, path)?;
    }
    Ok(())
}

fn ask_and_stay(address: SocketAddr, path: &str) -> Result<Client> {
    let mut client = Client::connect(address)?;
    client.send(path)?;
    Ok(client)
}

/// A request that wants nothing gets its answer, in the end.
fn harmless(daemon: &mut Daemon, after: &str) -> Result<()> {
    let address = daemon.machine().address();
    let mut last: Result<Response> = Client::once(address, "/");
    for _ in 0..TRIES {
        if last.as_ref().is_ok_and(|response| response.status == 200) {
            return check(daemon, after);
        }
        check(daemon, after)?;
        thread::sleep(PAUSE);
        last = Client::once(address, "/");
    }
    let last = last?;
    last.text()
        .map(drop)
        .with_context(|| format!("after {after} the daemon does not recover"))
}

/// The process is there, and the kernel has killed none.
fn check(daemon: &mut Daemon, after: &str) -> Result<()> {
    let kills = daemon.machine().kills()?;
    ensure!(
        kills.is_empty(),
        "after {after} the kernel's log has:\n{}",
        kills.join("\n")
    );
    if !daemon.is_there()? {
        let said = daemon.said()?;
        anyhow::bail!("after {after} the daemon is gone; it said last:\n{said}");
    }
    Ok(())
}
