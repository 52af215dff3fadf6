use crate::support::{Daemon, TempDir, get, may_trace};

/// System calls that came after Linux 4.4, by the version of the kernel that brought them.
const YOUNGER: &str = "copy_file_range,preadv2,pwritev2,pkey_mprotect,pkey_alloc,pkey_free,statx,\
    io_pgetevents,rseq,pidfd_send_signal,io_uring_setup,io_uring_enter,io_uring_register,open_tree,\
    move_mount,fsopen,fsconfig,fsmount,fspick,pidfd_open,clone3,close_range,openat2,pidfd_getfd,\
    faccessat2,process_madvise,epoll_pwait2,mount_setattr,landlock_create_ruleset,\
    landlock_add_rule,landlock_restrict_self,memfd_secret,process_mrelease,futex_waitv";

#[test]
fn the_daemon_serves_and_stores_without_the_calls_of_younger_kernels() {
    if !may_trace() {
        return;
    }
    let folder = TempDir::new();
    let data = folder.path().join("data");
    let inject = format!("inject={YOUNGER}:error=ENOSYS");
    let trace = format!("trace={YOUNGER}");
    // Written, closed in order, and read again.
    for count in ["1", "2"] {
        let words = [
            "strace",
            "-D",
            "-f",
            "-qq",
            "-e",
            &trace,
            "-e",
            &inject,
            "-o",
            "/dev/null",
        ];
        let daemon = Daemon::builder("counter")
            .through(words)
            .data_dir(&data)
            .start();
        assert_eq!(get(&daemon, "/incr/starts").text(), count);
        assert_eq!(daemon.stop(), 0);
    }
}
