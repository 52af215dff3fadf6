use super::{ROLES, text};
use crate::support::Daemon;

#[test]
fn a_plugin_sees_nothing_of_the_machine() {
    let daemon = Daemon::builder("wasi-probe")
        .env("PLANTED_VARIABLE", "planted")
        .start();
    for role in ROLES {
        let text = |path: &str| text(&daemon, &format!("{role}{path}"));
        assert_eq!(text("/env"), "");
        assert_eq!(text("/fs"), "none");
        assert_eq!(text("/random").len(), 64);
        let clocks: serde_json::Value = serde_json::from_str(&text("/clock")).unwrap();
        assert!(
            clocks["wall_s"].as_u64().unwrap() > 1_700_000_000,
            "{clocks}"
        );
        // How long the machine has been up is nobody's business.
        assert!(
            clocks["monotonic_ns"].as_u64().unwrap() < 3_600_000_000_000,
            "{clocks}"
        );
        assert!(text("/sleep?ms=30").starts_with("slept "));
    }
}
