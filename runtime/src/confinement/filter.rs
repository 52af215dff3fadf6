//! The seccomp filter: system calls that are refused, whoever asks for them.
//!
//! It is a list of what a server never needs, and not one of what it needs. A list of what is needed
//! breaks with each new kernel, C library and crate, on devices that nobody watches; and the calls
//! that lead out of a process are known: to other processes and programs, to modules, mounts,
//! clocks, keys and namespaces, and to the parts of the kernel where most of its faults were.
//! Refused calls fail with EPERM, so that a library that merely tries goes on.
//!
//! The kernel runs the program at each call of the process, so it looks the number up in a tree:
//! seven comparisons, and from Linux 5.11 on none at all for calls that are always allowed.

use seccompiler::{BpfProgram, sock_filter};

/// Classic BPF (`linux/bpf_common.h`): load a word of the call's description.
const LOAD: u16 = 0x20;
/// Go on if the word is the constant, else jump.
const EQUAL: u16 = 0x15;
/// Go on if it is the constant or more.
const AT_LEAST: u16 = 0x35;
/// Go on if it has a bit of the constant's.
const HAS_BIT: u16 = 0x45;
/// End with the constant.
const RETURN: u16 = 0x06;

/// Where the parts of a call's description are (`struct seccomp_data`): its number, the processor
/// that it is for, and the lower half of its first argument, on processors that store that first.
const NUMBER: u32 = 0;
const PROCESSOR: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// What becomes of a call (`linux/seccomp.h`): it is made, or fails with an error.
const ALLOW: u32 = 0x7fff_0000;
const fn fail(errno: i32) -> u32 {
    0x0005_0000 | errno as u32
}

/// This processor's number in `linux/audit.h`.
#[cfg(target_arch = "x86_64")]
const THIS_PROCESSOR: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const THIS_PROCESSOR: u32 = 0xc000_00b7;
#[cfg(target_arch = "arm")]
const THIS_PROCESSOR: u32 = 0x4000_0028;

/// On x86_64, calls of the x32 ABI have this bit: the same calls under other numbers.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

/// Flags of `clone` that make namespaces, in which a process is root of sorts
/// (`linux/sched.h`: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET).
const NAMESPACES: u32 = 0x7e02_0000;

/// Families of sockets that are needed: Unix, IPv4, IPv6, and netlink, which tells the device's own
/// addresses (`linux/socket.h`).
const FAMILIES: [u32; 4] = [1, 2, 10, 16];

/// What no server needs.
const DENIED: &[libc::c_long] = &[
    // Other programs and processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_madvise,
    // Mounts, roots and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    // The machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_vhangup,
    libc::SYS_syslog,
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
    // Parts of the kernel that a server has no use for, and in which faults were found again and again.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_fanotify_init,
    libc::SYS_lookup_dcookie,
    libc::SYS_personality,
    // Files past the checks of their paths.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_mknodat,
    // Another account: what was given up is not taken again.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
];

/// What only some processors have; numbers stand for those that `libc` does not name everywhere.
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[libc::c_long] = &[
    libc::SYS_mknod,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_kexec_file_load,
];
#[cfg(target_arch = "aarch64")]
const DENIED_HERE: &[libc::c_long] = &[294]; // kexec_file_load
#[cfg(target_arch = "arm")]
const DENIED_HERE: &[libc::c_long] = &[
    libc::SYS_mknod,
    libc::SYS_uselib,
    libc::SYS_setuid32,
    libc::SYS_setgid32,
    libc::SYS_setreuid32,
    libc::SYS_setregid32,
    libc::SYS_setresuid32,
    libc::SYS_setresgid32,
    libc::SYS_setfsuid32,
    libc::SYS_setfsgid32,
    libc::SYS_setgroups32,
    401, // kexec_file_load
    404, // clock_settime64
];

/// Installs the filter for this process. Fails with the reason where the kernel cannot.
pub(super) fn install() -> Result<(), String> {
    seccompiler::apply_filter_all_threads(&program()).map_err(refused)
}

/// Installs it for the calling thread alone.
#[cfg(test)]
pub(super) fn install_here() -> Result<(), String> {
    seccompiler::apply_filter(&program()).map_err(refused)
}

fn refused(error: seccompiler::Error) -> String {
    match error {
        seccompiler::Error::Seccomp(error) | seccompiler::Error::Prctl(error) => {
            format!("this kernel does not take it: {error}")
        }
        other => other.to_string(),
    }
}

/// The whole program.
fn program() -> BpfProgram {
    let refused = fail(libc::EPERM);
    let mut program = vec![
        step(LOAD, PROCESSOR, 0, 0),
        // Numbers mean something else on another one.
        step(EQUAL, THIS_PROCESSOR, 1, 0),
        step(RETURN, refused, 0, 0),
        step(LOAD, NUMBER, 0, 0),
    ];
    #[cfg(target_arch = "x86_64")]
    program.extend([
        step(AT_LEAST, X32, 0, 1),
        step(RETURN, fail(libc::ENOSYS), 0, 0),
    ]);
    // Sockets of other families, as a kernel that has none says it.
    program.extend(when(libc::SYS_socket, families()));
    program.extend(when(
        libc::SYS_clone,
        vec![
            step(LOAD, FIRST_ARGUMENT, 0, 0),
            step(HAS_BIT, NAMESPACES, 0, 1),
            step(RETURN, refused, 0, 0),
            step(RETURN, ALLOW, 0, 0),
        ],
    ));
    // Its flags lie in memory, where they cannot be looked at. Libraries then take `clone`.
    program.extend(when(
        libc::SYS_clone3,
        vec![step(RETURN, fail(libc::ENOSYS), 0, 0)],
    ));
    let mut denied: Vec<u32> = DENIED
        .iter()
        .chain(DENIED_HERE)
        .map(|call| number(*call))
        .collect();
    denied.sort_unstable();
    denied.dedup();
    program.extend(tree(&denied, refused));
    program
}

fn families() -> BpfProgram {
    let count = FAMILIES.len() as u8;
    let mut steps = vec![step(LOAD, FIRST_ARGUMENT, 0, 0)];
    // Each jumps over those behind it and the refusal.
    steps.extend(
        (0..count).map(|place| step(EQUAL, FAMILIES[usize::from(place)], count - place, 0)),
    );
    steps.push(step(RETURN, fail(libc::EAFNOSUPPORT), 0, 0));
    steps.push(step(RETURN, ALLOW, 0, 0));
    steps
}

/// Takes these steps, which end it, where the call has this number.
fn when(call: libc::c_long, steps: BpfProgram) -> BpfProgram {
    let over = steps.len() as u8;
    let mut all = vec![step(EQUAL, number(call), 0, over)];
    all.extend(steps);
    all
}

/// Where a step of the tree leads to.
#[derive(Clone, Copy)]
enum Way {
    Step(usize),
    Allow,
    Refuse,
}

/// Ends with `refused` where the number is one of these, which are sorted, and allows all others.
///
/// It looks for the range that a number is in: many of these stand side by side, and the kernel
/// compiles each step.
fn tree(denied: &[u32], refused: u32) -> BpfProgram {
    // Where ranges begin: of allowed numbers and of refused ones in turn, allowed ones first.
    let mut begins: Vec<u32> = Vec::new();
    for &number in denied {
        match begins.last() == Some(&number) {
            true => drop(begins.pop()),
            false => begins.push(number),
        }
        begins.push(number + 1);
    }
    let mut steps = Vec::new();
    grow(&begins, 0, begins.len(), &mut steps);
    let ends = steps.len();
    let over = |at: usize, way| {
        let place = match way {
            Way::Step(place) => place,
            Way::Allow => ends,
            Way::Refuse => ends + 1,
        };
        debug_assert!(place - at <= 256);
        (place - at - 1) as u8
    };
    let steps = steps.into_iter().enumerate();
    let mut all: BpfProgram = steps
        .map(|(at, (begin, [then, otherwise]))| {
            step(AT_LEAST, begin, over(at, then), over(at, otherwise))
        })
        .collect();
    all.push(step(RETURN, ALLOW, 0, 0));
    all.push(step(RETURN, refused, 0, 0));
    all
}

/// Adds the steps that tell numbers apart which lie between the beginnings `from` and `to`, and says
/// where they start.
fn grow(begins: &[u32], from: usize, to: usize, steps: &mut Vec<(u32, [Way; 2])>) -> Way {
    if from == to {
        return match from % 2 {
            0 => Way::Allow,
            _ => Way::Refuse,
        };
    }
    let (middle, place) = (from.midpoint(to), steps.len());
    steps.push((begins[middle], [Way::Allow; 2]));
    let otherwise = grow(begins, from, middle, steps);
    let then = grow(begins, middle + 1, to, steps);
    steps[place].1 = [then, otherwise];
    Way::Step(place)
}

/// One instruction: `then` and `otherwise` say how many to jump over.
fn step(code: u16, k: u32, then: u8, otherwise: u8) -> sock_filter {
    sock_filter {
        code,
        jt: then,
        jf: otherwise,
        k,
    }
}

/// A call's number, which is small and never negative.
fn number(call: libc::c_long) -> u32 {
    call as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do with a call, by running the program as it does.
    fn run(program: &[sock_filter], processor: u32, number: u32, argument: u32) -> u32 {
        let (mut at, mut word) = (0, 0);
        loop {
            let step = &program[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
            match step.code {
                LOAD => {
                    word = match step.k {
                        NUMBER => number,
                        PROCESSOR => processor,
                        FIRST_ARGUMENT => argument,
                        other => panic!("loads {other}"),
                    }
                }
                EQUAL => at += jump(word == step.k),
                AT_LEAST => at += jump(word >= step.k),
                HAS_BIT => at += jump(word & step.k != 0),
                RETURN => return step.k,
                other => panic!("instruction {other}"),
            }
        }
    }

    fn verdict(call: libc::c_long, argument: u32) -> u32 {
        run(&program(), THIS_PROCESSOR, number(call), argument)
    }

    #[test]
    fn exactly_the_listed_calls_are_refused() {
        let listed: Vec<u32> = DENIED
            .iter()
            .chain(DENIED_HERE)
            .map(|call| number(*call))
            .collect();
        let other = [libc::SYS_clone, libc::SYS_clone3, libc::SYS_socket].map(number);
        for call in (0..1000).filter(|call| !other.contains(call)) {
            let wanted = match listed.contains(&call) {
                true => fail(libc::EPERM),
                false => ALLOW,
            };
            let found = run(&program(), THIS_PROCESSOR, call, 0);
            assert_eq!(found, wanted, "call {call}");
        }
        for needed in [libc::SYS_munmap, libc::SYS_mprotect, libc::SYS_futex] {
            assert_eq!(verdict(needed, 0), ALLOW);
        }
    }

    #[test]
    fn threads_are_started_and_namespaces_are_not() {
        // CLONE_VM and what else a thread has, and CLONE_NEWUSER.
        assert_eq!(verdict(libc::SYS_clone, 0x003d_0f00), ALLOW);
        assert_eq!(verdict(libc::SYS_clone, 0x1000_0000), fail(libc::EPERM));
        assert_eq!(verdict(libc::SYS_clone3, 0), fail(libc::ENOSYS));
    }

    #[test]
    fn sockets_of_other_families_are_not_there() {
        for family in 0..64 {
            let wanted = match FAMILIES.contains(&family) {
                true => ALLOW,
                false => fail(libc::EAFNOSUPPORT),
            };
            assert_eq!(verdict(libc::SYS_socket, family), wanted, "family {family}");
        }
    }

    #[test]
    fn calls_of_another_processor_are_refused() {
        let other = THIS_PROCESSOR ^ 1;
        let read = number(libc::SYS_read);
        assert_eq!(run(&program(), other, read, 0), fail(libc::EPERM));
        #[cfg(target_arch = "x86_64")]
        assert_eq!(
            verdict(libc::SYS_execve | 0x4000_0000, 0),
            fail(libc::ENOSYS)
        );
    }
}
