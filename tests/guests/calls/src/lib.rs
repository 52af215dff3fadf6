//! Calls each host function with the largest and the most of its arguments, as often as it is asked to:
//! what others notice of that is measured from outside.
//!
//! - `/call/all`: the names of the calls, one a line
//! - `/call/NAME?ms=N`: makes that call again and again for N milliseconds, and answers how often
//!
//! Some ask for more than the host gives, and end in a trap: then nothing was done for long, which is
//! just as good.

mod http;
mod zlayer;

use probe::{Answer, Ask, Capabilities, Probe, now};

/// As much text or as many bytes as every plugin may hand over in one call, nearly.
const LARGE: usize = 4_000_000;
/// Elements of a list that takes as much.
const MANY: usize = 80_000;

/// A call, ready to be made again and again.
type Call = Box<dyn FnMut()>;
/// Makes a call ready.
type Case = (&'static str, fn() -> Call);

struct Calls;

impl Probe for Calls {
    const NAME: &'static str = "calls";
    const CAPABILITIES: Capabilities = Capabilities::CONFIG
        .union(Capabilities::KEYVALUE)
        .union(Capabilities::LOGGING)
        .union(Capabilities::SECRETS)
        .union(Capabilities::METRICS);

    fn answer(ask: &Ask) -> Result<Answer, String> {
        let name = ask.path.trim_start_matches("/call/");
        if name == "all" {
            let names: Vec<&str> = cases().map(|(name, _)| name).collect();
            return Answer::text(names.join("\n"));
        }
        let Some((_, case)) = cases().find(|(known, _)| *known == name) else {
            return ask.unknown();
        };
        let mut call = case();
        let end = now() + ask.number("ms", 0) * 1_000_000;
        let mut count = 0u64;
        loop {
            call();
            count += 1;
            if now() >= end {
                return Answer::text(count.to_string());
            }
        }
    }
}

fn cases() -> impl Iterator<Item = Case> {
    zlayer::CASES.into_iter().chain(http::CASES)
}

fn large() -> String {
    "x".repeat(LARGE)
}

/// Does nothing but compute: what others notice of any plugin.
fn compute() -> Call {
    Box::new(|| {
        for turn in 0..1_000_000u64 {
            std::hint::black_box(turn);
        }
    })
}

probe::export!(Calls);
