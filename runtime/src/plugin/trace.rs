//! Where in a plugin's code a call trapped.
//!
//! An artifact holds no names and no lines: nothing on a device needs them to run. So what is told
//! are places in its machine code, and `zlayer-precompile explain` finds on the build host what stands
//! there in the plugin's source.

use std::fmt::{self, Write as _};
use std::num::NonZeroUsize;

use wasmtime::WasmBacktrace;

/// How many functions are told: the one that trapped, and its callers.
const FRAMES: usize = 12;
/// Frames that the engine describes, of all that it finds: one names the code that they are in.
pub(super) const DESCRIBED: NonZeroUsize = NonZeroUsize::MIN;
/// Bytes of the engine's description that are looked at: one frame's, then the addresses of the others.
const LOOKED_AT: usize = 1024 + FRAMES * 64;

/// The places in the code, innermost first, as the log shows them: `0x1f3a0 < 0x1e200`. `None` if the
/// error is no trap in a plugin's code.
pub(super) fn places(error: &wasmtime::Error) -> Option<String> {
    let trace = error.downcast_ref::<WasmBacktrace>()?;
    let code = trace.frames().first()?.module().text().as_ptr_range();
    let code = code.start.addr()..code.end.addr();
    // The engine tells addresses nowhere but here: it wants to be asked for places in WebAssembly, which
    // it looks up in a table that artifacts do not have. A test in `tests/e2e` fails if it changes.
    let mut shown = Beginning(String::new());
    // It ends with an error when there is enough.
    let _ = write!(shown, "{trace:?}");
    let (_, frames) = shown.0.split_once("_runtime_trace: ")?;
    let mut places = String::new();
    let addresses = frames.split("pc: ").skip(1).filter_map(number);
    for (number, address) in addresses.take(FRAMES).enumerate() {
        // A caller is where it goes on after the call, which may be another line.
        let address = address - usize::from(number > 0);
        if !code.contains(&address) {
            continue;
        }
        if !places.is_empty() {
            places.push_str(" < ");
        }
        // Writing to a String cannot fail.
        let _ = write!(places, "{:#x}", address - code.start);
    }
    (!places.is_empty()).then_some(places)
}

/// The number that a text begins with. One at the very end may be cut off.
fn number(text: &str) -> Option<usize> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    text[..end].parse().ok().filter(|number| *number > 0)
}

/// Keeps the beginning of what is written.
struct Beginning(String);

impl fmt::Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LOOKED_AT.saturating_sub(self.0.len());
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        match text.len() <= room {
            true => Ok(()),
            false => Err(fmt::Error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_is_looked_at() {
        let mut shown = Beginning(String::new());
        let mut written = 0;
        while shown.write_str("\u{e9}.").is_ok() {
            written += 3;
        }
        assert!(written <= LOOKED_AT && shown.0.len() > LOOKED_AT - 3);
        assert_eq!(number("12, fp: 3"), Some(12));
        assert_eq!(
            (number("12"), number("0,"), number("x")),
            (None, None, None)
        );
    }
}
