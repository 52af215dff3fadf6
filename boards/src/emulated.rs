//! Whole ARM machines, emulated: Debian's kernel, a small system of our own, and the daemon in it.
//!
//! What runs on this machine's kernel under user-mode QEMU shows the processor and nothing else of a device.
//! In a whole machine memory figures are true, the kernel's out-of-memory killer is there, and with
//! `-icount` a nanosecond of the machine's time is an instruction. Times, on the other hand, mean nothing.
//!
//! A machine boots a kernel of its own architecture's Debian ([`kernel`]) with an archive of the modules
//! that it needs ([`modules`], [`cpio`]), goes over to a disk with busybox and the daemon ([`disk`]), and
//! does what it is told on its serial line ([`console`]). It is killed when its value is dropped: its disks
//! are thrown away anyhow.

mod client;
mod console;
mod cpio;
mod daemon;
mod disk;
mod figures;
mod kernel;
mod model;
mod modules;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::Cmd;
use cpio::Archive;
use kernel::{Kernel, busybox};
use modules::Modules;

pub(crate) use client::{Client, Response};
pub(crate) use daemon::{Daemon, PROGRAM};
pub(crate) use disk::{Placed, mke2fs};
pub(crate) use figures::Figures;
pub(crate) use model::{ALL, Model};

/// The first program.
const FIRST: &str = include_str!("emulated/first.sh");

/// How long a machine may take to boot: a minute on a busy host, and more for an emulated card reader.
const BOOT: Duration = Duration::from_secs(240);

/// The port in the machine that is reached from here.
const PORT: u16 = 8080;

/// How a machine is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boot {
    /// The boot loader gives the kernel random numbers to begin with, where the model allows a choice.
    pub(crate) seeded: bool,
    /// Instructions are counted: a nanosecond of the machine's time is one.
    pub(crate) counted: bool,
}

/// A machine that runs. It ends with this value.
pub(crate) struct Emulated {
    child: Child,
    console: console::Console,
    address: SocketAddr,
}

impl Emulated {
    /// Boots a machine with these files in it. Its disks are put into `scratch`, what comes from Debian is
    /// kept in `packages`.
    pub(crate) fn boot(
        model: Model,
        boot: Boot,
        files: &[Placed],
        packages: &Path,
        scratch: &Path,
    ) -> Result<Emulated> {
        let kernel = Kernel::fetch(model.target, packages)?;
        let busybox = busybox(model.target, packages)?;
        fs::create_dir_all(scratch)
            .with_context(|| format!("cannot make {}", scratch.display()))?;
        let disks = Disks::in_folder(scratch);
        fs::write(&disks.initial, initial(model, &kernel, &busybox)?)
            .with_context(|| format!("cannot write {}", disks.initial.display()))?;
        let size = if model.has_card() {
            model::CARD
        } else {
            model::SYSTEM_DISK
        };
        disk::system(
            &disks.system,
            size,
            &scratch.join("system"),
            &busybox,
            files,
        )?;
        if !model.has_card() {
            disk::empty(&disks.data, model::DATA_DISK)?;
        }
        let address = free_address()?;
        let tree = model.tree().map(|name| kernel.tree(name)).transpose()?;
        let cmd = command(
            model,
            boot,
            &kernel.image,
            tree.as_deref(),
            &disks,
            address.port(),
        );
        Emulated::start(&cmd, address, &scratch.join("emulator.log"))
    }

    fn start(cmd: &Cmd, address: SocketAddr, log: &Path) -> Result<Emulated> {
        println!("$ {cmd}");
        // What the emulator itself complains of must not come between what the machine says.
        let complaints =
            File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
        let mut child = cmd
            .process()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .with_context(|| {
                format!(
                    "cannot start `{cmd}`: the emulator is in the Debian package qemu-system-arm, \
                     which `cargo boards setup` installs"
                )
            })?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.context("the emulator has no pipes")?;
        let mut machine = Emulated {
            child,
            console: console::Console::new(input, output),
            address,
        };
        machine.console.greeted(BOOT).with_context(|| {
            let complaints = fs::read_to_string(log).unwrap_or_default();
            format!("the emulator complained: {}", complaints.trim())
        })?;
        Ok(machine)
    }

    /// Gives the machine its network, through which its port is reached from here and nothing else from
    /// there.
    pub(crate) fn connect_network(&mut self) -> Result<()> {
        self.run("network", BOOT).map(drop)
    }

    /// Where the machine's port is reached once it has a network.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has the machine's shell do something that may fail.
    pub(crate) fn ask(&mut self, command: &str, limit: Duration) -> Result<console::Answer> {
        self.console.ask(command, limit)
    }

    /// Has the machine's shell do something that has to succeed, and answers what it printed.
    pub(crate) fn run(&mut self, command: &str, limit: Duration) -> Result<String> {
        self.console.run(command, limit)
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        // Both fail when it has ended already: nothing is left to do then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The files that a machine starts from.
struct Disks {
    /// What the kernel unpacks into its first file system.
    initial: PathBuf,
    system: PathBuf,
    data: PathBuf,
}

impl Disks {
    fn in_folder(folder: &Path) -> Disks {
        Disks {
            initial: folder.join("initial.cpio"),
            system: folder.join("system.ext4"),
            data: folder.join("data.ext4"),
        }
    }
}

/// The first file system: modules, and busybox to load them.
fn initial(model: Model, kernel: &Kernel, busybox: &Path) -> Result<Vec<u8>> {
    let modules = Modules::read(&kernel.modules)?;
    let more = model::IF_THERE.into_iter().filter(|name| modules.has(name));
    let mut names: Vec<&str> = more.collect();
    names.extend(model.modules());
    let modules = modules
        .with_dependencies(&names)
        .with_context(|| format!("{}", kernel.modules.display()))?;
    let busybox =
        fs::read(busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "proc", "sys", "root", "modules"] {
        archive.directory(folder);
    }
    // Until the kernel's own folder of devices is mounted.
    archive.device("dev/console", (5, 1));
    archive.device("dev/null", (1, 3));
    archive.file("bin/busybox", &busybox, true);
    archive.file("init", FIRST.as_bytes(), true);
    let mut order = String::new();
    for module in &modules {
        let file = format!("{}.ko", module.name);
        archive.file(&format!("modules/{file}"), &module.content, false);
        order += &file;
        order.push('\n');
    }
    archive.file("modules/order", order.as_bytes(), false);
    Ok(archive.finish())
}

/// The emulator with all that the machine consists of.
fn command(
    model: Model,
    boot: Boot,
    kernel: &Path,
    tree: Option<&Path>,
    disks: &Disks,
    port: u16,
) -> Cmd {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let mut cmd = Cmd::new(model.qemu(), "-nodefaults -display none -no-reboot");
    for word in model.machine(boot.seeded) {
        cmd = cmd.arg(word);
    }
    for word in model.serial() {
        cmd = cmd.arg(*word);
    }
    cmd = cmd.arg("-m").arg(format!("{}M", model.memory));
    cmd = cmd.arg("-kernel").arg(path(kernel));
    if let Some(tree) = tree {
        cmd = cmd.arg("-dtb").arg(path(tree));
    }
    cmd = cmd.arg("-initrd").arg(path(&disks.initial));
    cmd = cmd.arg("-append").arg(model.command_line());
    // What is written need not outlive the machine: no flush has to reach the host's disk.
    let drive = |file: &Path, interface: &str| {
        format!("file={},format=raw,cache=unsafe,if={interface}", path(file))
    };
    if model.has_card() {
        cmd = cmd.arg("-drive").arg(drive(&disks.system, "sd"));
    } else {
        for (file, id) in [(&disks.system, "system"), (&disks.data, "data")] {
            let interface = format!("none,id={id}");
            cmd = cmd.arg("-drive").arg(drive(file, &interface));
            cmd = cmd
                .arg("-device")
                .arg(format!("virtio-blk-device,drive={id}"));
        }
    }
    let forward = format!("user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:{PORT}");
    cmd = cmd.arg("-netdev").arg(forward);
    cmd = cmd
        .arg("-device")
        .arg(format!("{},netdev=net", model.network()));
    if boot.counted {
        cmd = cmd.arg("-icount").arg("shift=0,sleep=on");
    }
    cmd
}

/// A port of this machine that nobody listens on.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("there is no port left")?;
    listener.local_addr().context("a port without an address")
}
