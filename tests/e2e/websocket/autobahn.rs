use crate::support::{Autobahn, Daemon, skipped, under_qemu};

#[test]
fn the_autobahn_cases_pass() {
    let Some(autobahn) = Autobahn::find() else {
        return skipped(Autobahn::MISSING);
    };
    // The largest messages of 9.1 and 9.2 have 16 MiB, which a plugin holds more than once.
    let daemon = Daemon::builder("websocket-echo")
        .args(["--max-message", "16Mi", "--memory-max", "256Mi"])
        .start();
    // What compresses is sent by the tests of `deflate`.
    let mut words = vec!["-x", "12.*", "-x", "13.*"];
    if under_qemu() {
        // Their time limits are those of a machine.
        words.extend(["-x", "9.*"]);
    }
    let count = if under_qemu() { 247 } else { 301 };
    autobahn.passes(&daemon, &words, count);
}
