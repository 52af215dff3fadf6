//! Maps a verified artifact: the one place where bytes become code.

use std::os::fd::AsRawFd;

use wasmtime::Engine;
use wasmtime::component::Component;
use zlayer_bundle::VerifiedArtifact;

/// Maps the artifact through the very descriptor that was verified.
///
/// The engine maps the file lazily, so its pages are shared, reclaimable, and the source for
/// copy-on-write memory images.
pub(super) fn load(engine: &Engine, artifact: &VerifiedArtifact) -> wasmtime::Result<Component> {
    let path = format!("/proc/self/fd/{}", artifact.file().as_raw_fd());
    // SAFETY: `deserialize_file` wants a file that this engine's version wrote and that does not
    // change while it is mapped. A `VerifiedArtifact` exists only after its bytes were checked
    // against a manifest that a trusted key signed (or that the operator let in unsigned,
    // by a flag that says so), whose engine version and settings are ours. The path names the
    // checked descriptor, not a name that somebody else could point elsewhere. The file
    // behind it is the daemon's own copy, read-only, in a folder that only this user can enter
    // and that is never written in place (`data_dir.rs`).
    #[expect(
        unsafe_code,
        reason = "precompiled code is native code; the argument is above"
    )]
    let component = unsafe { Component::deserialize_file(engine, path) };
    component
}
