//! The value of the Date field.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

/// Calls `f` with the value of the Date field, which is formatted once a second. None while the
/// clock was never set (RFC 9110 section 6.6.1).
pub(crate) fn with_date<R>(f: impl FnOnce(Option<&str>) -> R) -> R {
    /// 2020-01-01: a clock before it runs since power-on.
    const CLOCK_SET: u64 = 1_577_836_800;
    thread_local! {
        static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now();
    let seconds = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    if seconds < CLOCK_SET {
        return f(None);
    }
    DATE.with_borrow_mut(|(formatted, text)| {
        if *formatted != seconds {
            *text = httpdate::fmt_http_date(now);
            *formatted = seconds;
        }
        f(Some(text))
    })
}
