//! `cargo boards bench --machine`: the device binaries on whole machines, measured or only checked.

mod check;
mod hostile;
mod keeps;
mod measure;
mod parts;
mod report;

use anyhow::{Result, ensure};
use argh::FromArgs;

use crate::Workspace;
use crate::emulated;
use crate::target::Target;
use parts::Parts;

/// Boots the device binaries in emulated machines and measures them there.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "bench")]
pub(crate) struct Args {
    /// whole machines: instructions and memory; the benchmarks of this machine are `cargo bench -p zlayer-tests`
    #[argh(switch)]
    machine: bool,
    /// measure nothing but boot one small machine of each processor and check what has to hold there
    #[argh(switch)]
    short: bool,
    /// write the figures into docs/figures and make docs/figures.md anew
    #[argh(switch)]
    record: bool,
    /// only machines with this in their names, such as virt or raspi3b
    #[argh(option)]
    only: Option<String>,
}

/// Runs the verb.
pub(crate) fn main(args: &Args, workspace: &Workspace) -> Result<()> {
    ensure!(
        args.machine,
        "say --machine for whole emulated machines; the benchmarks of this one are \
         `cargo bench -p zlayer-tests --bench figures`"
    );
    if args.short {
        ensure!(
            !args.record && args.only.is_none(),
            "--short measures nothing and boots no other machines: leave --record and --only away"
        );
        return check::all(&Parts::find(workspace, &[Target::Aarch64, Target::Armv7])?);
    }
    ensure!(
        !args.record || args.only.is_none(),
        "--record writes the figures of all machines: leave --only away"
    );
    let wanted = args.only.as_deref().unwrap_or_default();
    let models: Vec<emulated::Model> = emulated::ALL
        .into_iter()
        .filter(|model| model.to_string().contains(wanted))
        .collect();
    ensure!(
        !models.is_empty(),
        "--only: no machine is called {wanted}; there are {}",
        emulated::ALL.map(|model| model.to_string()).join("; ")
    );
    let mut targets: Vec<Target> = models.iter().map(|model| model.target).collect();
    targets.dedup();
    let parts = Parts::find(workspace, &targets)?;
    let mut report = report::Report::default();
    for target in targets {
        report.programs.push(parts.describe(target)?);
        let of_target: Vec<_> = models
            .iter()
            .filter(|model| model.target == target)
            .collect();
        let mut columns = Vec::new();
        for model in of_target {
            columns.push((model.to_string(), measure::measure(*model, &parts)?));
        }
        if let Some((_, measured)) = columns.first() {
            report.programs.push(format!("Linux {}", measured.kernel));
        }
        report.tables.push(report::table(target, &columns));
    }
    report.programs.extend(parts::emulator(&workspace.root));
    print!("{}", report.text());
    if args.record {
        report.record(workspace)?;
    }
    Ok(())
}
