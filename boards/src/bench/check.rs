//! The short form, for every run of the tests: one machine of 64 MB for each processor, and what has to hold
//! there.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::hostile;
use super::keeps;
use super::parts::{Parts, plugin};
use crate::emulated::{Boot, Emulated, Model, PROGRAM};
use crate::target::Target;

/// MiB of memory of the machines.
const MEMORY: u32 = 64;

/// How much longer the first answer may take where the kernel has no random numbers yet. It would be a second
/// and more if anything waited for them.
const WAIT_FOR_RANDOM_NUMBERS: Duration = Duration::from_millis(200);

/// Instructions from exec to first answer, at most, of a start that is not the first and once the kernel has its
/// random numbers: until then it hashes for each that it wants for itself, three million instructions in a
/// start, and the first one has to look at the disk's tables. It takes 11.9 million.
const INSTRUCTIONS: [(Target, u64); 1] = [(Target::Aarch64, 13_000_000)];

/// Checks the machines of both processors.
pub(super) fn all(parts: &Parts) -> Result<()> {
    for target in [Target::Aarch64, Target::Armv7] {
        let started = Instant::now();
        let model = Model::virt(target, MEMORY);
        println!("\n==== {model}");
        let boot = Boot {
            seeded: false,
            counted: true,
        };
        let mut machine = parts.boot(model, boot)?;
        first_answers(&mut machine, target)?;
        machine.connect_network()?;
        hostile::survives(&mut machine)?;
        println!("ok: it survives hostile plugins, and the kernel has killed nobody");
        let walked = keeps::walk(&mut machine)?;
        println!(
            "ok: whatever plugins make the host keep ({} kinds, eight at a time), the process has at most {:.1} MB \
             more than at its first answer ({})",
            walked.kinds,
            walked.peak as f64 / 1e6,
            walked.kind
        );
        println!("{:.0} s", started.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The first answer comes as soon without the kernel's random numbers as with them, and within its budget.
fn first_answers(machine: &mut Emulated, target: Target) -> Result<()> {
    // The disk's speed is no part of the comparison.
    let read = format!("cat {PROGRAM} /plugins/hello.cwasm >/dev/null");
    machine.run(&read, Duration::from_secs(60))?;
    ensure!(
        !machine.has_random_numbers()?,
        "the machine was to have no seed, and the kernel has its random numbers already"
    );
    let available = machine.available()?;
    let daemon = machine.serve(&plugin("hello"), "/")?;
    let (without, first) = (daemon.answered_in, daemon.at_first_answer);
    daemon.stop()?;
    let was_ready = machine.has_random_numbers()?;
    // Reading this waits for them, and has the kernel gather what it lacks.
    machine.run("head -c 1 /dev/random >/dev/null", Duration::from_secs(120))?;
    ensure!(
        machine.has_random_numbers()?,
        "the kernel gathers no random numbers: nothing to compare with"
    );
    let daemon = machine.serve(&plugin("hello"), "/")?;
    let (with, again) = (daemon.answered_in, daemon.at_first_answer);
    daemon.stop()?;
    println!(
        "first answer after {} ms without random numbers{}, after {} ms with them; {:.1} million \
         instructions the first time, {:.1} then; {:.1} MB resident, of {:.1} MB available",
        without.as_millis(),
        if was_ready { " (ready at the end)" } else { "" },
        with.as_millis(),
        first.processor as f64 / 1e6,
        again.processor as f64 / 1e6,
        again.resident as f64 / 1e6,
        available as f64 / 1e6,
    );
    ensure!(
        without <= with + WAIT_FOR_RANDOM_NUMBERS,
        "without random numbers the first answer takes {} ms more",
        without.saturating_sub(with).as_millis()
    );
    println!("ok: the first answer does not wait for random numbers");
    for (_, most) in INSTRUCTIONS.iter().filter(|(of, _)| *of == target) {
        ensure!(
            again.processor <= *most,
            "the first answer takes {} instructions, more than {most}",
            again.processor
        );
        println!("ok: it takes at most {most} instructions");
    }
    Ok(())
}
