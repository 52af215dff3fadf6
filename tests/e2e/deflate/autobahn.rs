use crate::support::{Autobahn, Daemon, skipped};

#[test]
fn the_autobahn_cases_pass_that_compress() {
    let Some(autobahn) = Autobahn::find() else {
        return skipped(Autobahn::MISSING);
    };
    let daemon = Daemon::builder("websocket-echo").start();
    // 12 has five kinds of data, 13 seven sets of parameters. A case sends a thousand messages: 2 of 64
    // bytes, 5 of 4096, 11 of 8192 in fragments, and 8 of 32,768, as long as a window. All 216 together
    // send 16 GB.
    let choice = [
        "12.*.2", "12.*.5", "12.*.11", "13.*.2", "13.*.5", "13.*.11", "12.3.8", "13.3.8",
    ];
    let words: Vec<&str> = choice.iter().flat_map(|case| ["-i", case]).collect();
    autobahn.passes(&daemon, &words, 38);
}
