//! Transparent huge pages: the kernel's guess that a process wants 2 MiB where it asked for 4 KiB.

use std::io;

use rustix::thread::disable_transparent_huge_pages;

/// Switches them off for this process and for those that it starts. Where the kernel has them on
/// `always`, as Debian's does for arm64, memories of instances and stacks that use a few pages take
/// whole huge ones: 4 MB at the first answer. `main` calls this before there is any memory to speak
/// of, since what is huge already stays so.
///
/// # Errors
///
/// The system does not allow it. Nothing but memory is lost then.
pub fn switch_off() -> io::Result<()> {
    Ok(disable_transparent_huge_pages(true)?)
}
