//! The machines that are emulated: what each is made of.

use std::fmt;

use crate::target::Target;

/// A machine that QEMU knows, with a processor that devices have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) target: Target,
    pub(crate) board: Board,
    /// Memory in MiB.
    pub(crate) memory: u32,
}

/// What is around the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Board {
    /// No real one: disks and network are virtio's.
    Virt,
    /// Raspberry Pi 2 B.
    Raspi2b,
    /// Raspberry Pi 3 B.
    Raspi3b,
}

/// All, in the order of the page.
pub(crate) const ALL: [Model; 6] = [
    Model::virt(Target::Aarch64, 64),
    Model::virt(Target::Aarch64, 128),
    Model {
        target: Target::Aarch64,
        board: Board::Raspi3b,
        memory: 1024,
    },
    Model::virt(Target::Armv7, 64),
    Model::virt(Target::Armv7, 128),
    Model {
        target: Target::Armv7,
        board: Board::Raspi2b,
        memory: 1024,
    },
];

/// The disk that a machine's system lies on, in MiB. That of a card has to be a power of two.
pub(super) const SYSTEM_DISK: u32 = 64;
pub(super) const CARD: u32 = 128;
/// The disk for the data folder, in MiB.
pub(super) const DATA_DISK: u32 = 64;

impl Model {
    pub(crate) const fn virt(target: Target, memory: u32) -> Model {
        Model {
            target,
            board: Board::Virt,
            memory,
        }
    }

    /// The emulator.
    pub(super) fn qemu(self) -> &'static str {
        match self.target {
            Target::X86_64 => "qemu-system-x86_64",
            Target::Aarch64 => "qemu-system-aarch64",
            Target::Armv7 => "qemu-system-arm",
        }
    }

    /// What the emulator calls the machine, with the processor, where it can be chosen. `seeded` is whether
    /// the boot loader hands random numbers to the kernel; the real boards' loaders are not emulated.
    pub(super) fn machine(self, seeded: bool) -> Vec<String> {
        let words = match self.board {
            Board::Raspi2b => "-M raspi2b".to_owned(),
            Board::Raspi3b => "-M raspi3b".to_owned(),
            Board::Virt => {
                let seed = if seeded { "on" } else { "off" };
                let processor = match self.target {
                    Target::Armv7 => "cortex-a15",
                    Target::Aarch64 | Target::X86_64 => "cortex-a53",
                };
                format!("-M virt,dtb-randomness={seed} -cpu {processor}")
            }
        };
        words.split(' ').map(str::to_owned).collect()
    }

    /// The device tree, where it is not the emulator's own.
    pub(super) fn tree(self) -> Option<&'static str> {
        match self.board {
            Board::Virt => None,
            Board::Raspi2b => Some("bcm2836-rpi-2-b.dtb"),
            Board::Raspi3b => Some("bcm2837-rpi-3-b.dtb"),
        }
    }

    /// Serial lines: the console is the last of them.
    pub(super) fn serial(self) -> &'static [&'static str] {
        match self.board {
            Board::Virt | Board::Raspi2b => &["-serial", "stdio"],
            // Its first line is for Bluetooth.
            Board::Raspi3b => &["-serial", "null", "-serial", "stdio"],
        }
    }

    /// What the kernel is told. Its messages stay in its own log: on the console they would come between
    /// what commands print.
    pub(super) fn command_line(self) -> String {
        let (console, more) = match self.board {
            Board::Virt | Board::Raspi2b => ("ttyAMA0", ""),
            // The emulated USB has none of the interrupts that the driver would use.
            Board::Raspi3b => ("ttyS1,115200", " dwc_otg.fiq_fsm_enable=0"),
        };
        format!("console={console} quiet loglevel=1 panic=-1{more}")
    }

    /// Whether system and data share a disk, the card.
    pub(super) fn has_card(self) -> bool {
        self.board != Board::Virt
    }

    /// The network's adapter.
    pub(super) fn network(self) -> &'static str {
        match self.board {
            // On PCI it would want a file of start-up code that comes in another package.
            Board::Virt => "virtio-net-device",
            Board::Raspi2b | Board::Raspi3b => "usb-net",
        }
    }

    /// Modules that the kernel needs to see its disks and network.
    pub(super) fn modules(self) -> &'static [&'static str] {
        match self.board {
            Board::Virt => &["virtio_mmio", "virtio_blk", "virtio_net", "ext4"],
            Board::Raspi2b | Board::Raspi3b => &[
                "bcm2835_dma",
                "bcm2835",
                "sdhci_iproc",
                "phy_generic",
                "dwc2",
                "usbnet",
                "cdc_ether",
                "rndis_host",
                "ext4",
            ],
        }
    }
}

/// Modules that some kernels have and others, newer ones, do without: what ext4 sums its blocks with.
pub(super) const IF_THERE: [&str; 1] = ["crc32c_generic"];

/// As the page names it.
impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.board {
            Board::Virt => write!(f, "virt, {} MB, {}", self.memory, self.target),
            Board::Raspi2b => write!(f, "raspi2b, {}", self.target),
            Board::Raspi3b => write!(f, "raspi3b, {}", self.target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_seed_differs_in_that_alone() {
        let model = Model::virt(Target::Aarch64, 64);
        let with = model.machine(true).join(" ");
        assert_eq!(with, "-M virt,dtb-randomness=on -cpu cortex-a53");
        let without = model.machine(false).join(" ");
        assert_eq!(without.replace("=off", "=on"), with);
    }

    #[test]
    fn each_model_has_a_name_of_its_own_and_a_card_of_a_size_that_cards_have() {
        let mut names: Vec<String> = ALL.iter().map(Model::to_string).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert!(CARD.is_power_of_two());
    }
}
