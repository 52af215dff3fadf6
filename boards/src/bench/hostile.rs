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

/// Clients that ask for a large answer and do not read it.
const SILENT: usize = 20;

/// How often a request for something harmless is made until the memory of those before is free again.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// What is asked for one after the other. Whatever comes of it, also a connection that breaks off, is as good
/// as any.
const ONE_BY_ONE: [&str; 12] = [
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
    "/big-body",
];

/// Has hostile plugins do their worst, and checks that the daemon that was started is still the one that
/// answers, and that the kernel has killed nobody.
pub(super) fn survives(machine: &mut Emulated) -> Result<()> {
    let flags = format!(
        "{} {} --plugin hostile-plugin:paths=/big-body --timeout request=20s",
        plugin("hostile-plugin"),
        plugin("hostile")
    );
    let mut daemon = machine.serve(&flags)?;
    let address = daemon.machine().address();
    for path in ONE_BY_ONE {
        let _ = Client::once(address, path);
        harmless(&mut daemon, path)?;
    }
    for path in [
        "/grow",
        "/grow-report",
        "/table-flood",
        "/grow-hold?kib=8192",
    ] {
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| Client::once(address, path));
            }
        });
        harmless(&mut daemon, path)?;
    }
    // Held until all are there: what each has is not given back before.
    for path in ["/grow-hold?kib=4096", "/big-body"] {
        let silent = (0..SILENT).map(|_| ask_and_stay(address, path));
        let silent: Vec<Client> = silent.collect::<Result<_>>()?;
        thread::sleep(Duration::from_secs(1));
        check(&mut daemon, path)?;
        drop(silent);
        harmless(&mut daemon, path)?;
    }
    daemon.stop()
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
