use super::{holds, text};
use crate::support::Daemon;

/// Keys of a namespace: the default.
const KEYS: u64 = 100_000;
/// Bytes of a namespace, keys and values together: the default.
const BYTES: u64 = 64 << 20;
/// Bytes of the largest value: the default.
const VALUE_BYTES: u64 = 1 << 20;

/// Stores values of `bytes` bytes, `step` a request, until one is refused; answers how many there
/// are and why there are no more.
fn fill(daemon: &Daemon, bytes: u64, step: u64) -> (u64, String) {
    let mut stored = 0;
    loop {
        let path = format!("/fill?from={stored}&count={step}&bytes={bytes}");
        let said = text(daemon, &path);
        let (count, error) = said.split_once(' ').unwrap_or((&said, ""));
        stored += count.parse::<u64>().unwrap();
        if !error.is_empty() {
            return (stored, error.to_owned());
        }
        assert!(stored <= KEYS, "no end of it");
    }
}

#[test]
fn a_namespace_full_of_keys_refuses_one_more_and_nothing_else() {
    let daemon = Daemon::start("keyvalue-probe");
    let (stored, error) = fill(&daemon, 1, 1000);
    assert_eq!((stored, error.as_str()), (KEYS, "quota-exceeded"));
    holds(&daemon, "/full-of-keys", 50);
}

#[test]
fn a_namespace_full_of_bytes_refuses_what_does_not_fit_and_nothing_else() {
    let daemon = Daemon::start("keyvalue-probe");
    let (stored, error) = fill(&daemon, VALUE_BYTES, 4);
    assert_eq!(error, "quota-exceeded");
    // Keys and a little of the store's own count too.
    assert_eq!(stored, BYTES / VALUE_BYTES - 1);
    holds(&daemon, "/full-of-bytes", 24);
}
