//! `cargo boards setup`: looks for what is there and installs what is missing.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use argh::FromArgs;

use crate::Workspace;
use crate::command::Cmd;
use crate::machine::{Machine, WASM_TRIPLE};
use crate::plan::{DEBIAN_RUST, Plan, RUST_SOURCE, Scope};
use crate::target::BuildTarget;
use crate::tools;

/// How long rustup may take to fetch a standard library (about 30 MB) before the other way is taken.
const RUSTUP_PATIENCE: Duration = Duration::from_secs(300);

/// Makes this machine ready to build and test: installs what is missing, nothing else.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "setup")]
pub(crate) struct Args {
    /// only say what is missing; exit status 1 if anything is
    #[argh(switch)]
    check: bool,
    /// only what builds and tests cannot do without: the system's packages, and targets of the compiler
    #[argh(switch)]
    system: bool,
    /// only the programs from crates.io that two checks want; they are built, which takes minutes
    #[argh(switch)]
    tools: bool,
}

/// Runs the verb.
pub(crate) fn main(args: &Args, workspace: &Workspace) -> Result<()> {
    let root = &workspace.root;
    // Neither stands for both.
    let (system, tools) = (args.system || !args.tools, args.tools || !args.system);
    if !args.check {
        if system {
            prepare(root, Scope::Everything)?;
        }
        return match tools {
            true => tools::install(workspace),
            false => Ok(()),
        };
    }
    let mut missing = String::new();
    if system {
        let machine = Machine::probe(root);
        missing = Plan::new(&machine, Scope::Everything, true)?.describe();
        print_ways(&machine, Scope::Everything);
    }
    if tools {
        for line in tools::missing(workspace) {
            missing += &format!("{line}\n");
        }
    }
    if missing.is_empty() {
        println!("nothing is missing");
        return Ok(());
    }
    print!("{missing}");
    bail!("this machine is not ready: `cargo boards setup` does what is listed above");
}

/// Installs what `scope` lacks. Quick and without network when nothing is missing.
pub(crate) fn prepare(root: &Path, scope: Scope) -> Result<()> {
    let machine = Machine::probe(root);
    let mut plan = Plan::new(&machine, scope, true)?;
    if !plan.rustup.is_empty() {
        ask_rustup(&plan.rustup, root);
        plan = Plan::new(&Machine::probe(root), scope, false)?;
    }
    if !plan.apt.is_empty() {
        apt_install(&plan.apt, machine.sudo, root)?;
        plan = Plan::new(&Machine::probe(root), scope, false)?;
    }
    if !plan.is_empty() {
        bail!(
            "installed, and yet not found afterwards:\n{}",
            plan.describe().trim_end()
        );
    }
    print_ways(&Machine::probe(root), scope);
    println!("this machine is ready");
    Ok(())
}

fn print_ways(machine: &Machine, scope: Scope) {
    if let Some(host) = machine.host {
        let by = if machine.rustup {
            "rustup's"
        } else {
            "this machine's own"
        };
        println!("  {:<31} {by} compiler", host.triple());
    }
    let by = |has: bool, what: &str| {
        if has {
            format!("rustup's compiler{what}")
        } else if machine.debian_rust {
            "Debian's compiler, standard library built from source".to_owned()
        } else {
            "no compiler yet".to_owned()
        }
    };
    let plugins = machine.rustup_targets.contains(WASM_TRIPLE);
    let way = by(plugins, " and standard library");
    println!("  {WASM_TRIPLE:<31} {way}");
    if scope == Scope::Everything {
        let way = by(
            machine.rust_source.is_some(),
            ", standard library built from source",
        );
        for target in machine.host.into_iter().chain(machine.foreign()) {
            println!("  {:<31} {way}", target.triple());
        }
    }
}

/// Asks rustup for one thing after the other, so that what it lacks does not keep the rest away.
fn ask_rustup(wanted: &[&str], root: &Path) {
    for what in wanted {
        println!("asking rustup for {what}");
        if let Err(error) = rustup_add(what, root) {
            println!("rustup cannot fetch {what} ({error}): taking Debian's instead");
        }
    }
}

/// Asks rustup, quietly and with a time limit; the error is its own reason in one line.
fn rustup_add(what: &str, root: &Path) -> Result<()> {
    let verb = match what {
        RUST_SOURCE => "component add",
        _ => "target add",
    };
    let mut child = Cmd::new("rustup", verb)
        .env("RUSTUP_MAX_RETRIES", "1")
        .process()
        .arg(what)
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = child.stderr.take();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut stderr) = stderr {
            // What could be read before a failure is good enough for a reason.
            let _ = stderr.read_to_string(&mut text);
        }
        text
    });
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > RUSTUP_PATIENCE {
            child.kill()?;
            child.wait()?;
            bail!("no answer within {} s", RUSTUP_PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    if status.success() {
        return Ok(());
    }
    let text = reader.join().unwrap_or_default();
    bail!(
        "{}",
        reason(&text).unwrap_or_else(|| format!("it ended with {status}"))
    )
}

/// rustup's first error line, without its label.
fn reason(stderr: &str) -> Option<String> {
    let line = stderr
        .lines()
        .find_map(|line| line.trim().strip_prefix("error:"))?;
    Some(line.trim().to_owned())
}

fn apt_install(packages: &[&'static str], sudo: bool, root: &Path) -> Result<()> {
    let apt_get = |args: &str| {
        let (program, before) = if sudo { ("sudo", "env ") } else { ("env", "") };
        Cmd::new(
            program,
            &format!("{before}DEBIAN_FRONTEND=noninteractive apt-get {args}"),
        )
    };
    if let Err(error) = apt_get("update -qq").run(root) {
        println!("package lists not refreshed ({error}): going on with those that are there");
    }
    let list = packages.join(" ");
    apt_get(&format!("install -y -qq --no-install-recommends {list}"))
        .run(root)
        .map_err(|error| {
            let hint = if packages.contains(&DEBIAN_RUST[0]) {
                "; a release without them needs rustup (https://rustup.rs) and its targets"
            } else {
                ""
            };
            error.context(format!("apt-get cannot install {list}{hint}"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rustups_reason_is_its_error_line() {
        let text = "info: downloading component\nerror: could not download file\nCaused by:\n x";
        assert_eq!(reason(text).as_deref(), Some("could not download file"));
        assert_eq!(reason("nothing of the kind"), None);
    }
}
