//! Any text as a path: whoever comes to a guarded one as applications read paths is guarded. And as a
//! host that a plugin asks for, as a pattern of hosts, and as what the access log shows of a client.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zlayer_runtime_fuzz::allowed_hosts::{AllowedHost, AllowedHosts};
use zlayer_runtime_fuzz::pipeline::fuzz::path;
use zlayer_runtime_fuzz::server::fuzz::shown;

fuzz_target!(|input: &[u8]| {
    shown(input);
    let text = String::from_utf8_lossy(input);
    path(&text);
    let one: Result<AllowedHost, String> = "*.example.com:80".parse();
    let hosts: AllowedHosts = one.into_iter().collect();
    let is_below = text
        .to_ascii_lowercase()
        .trim_end_matches('.')
        .ends_with(".example.com");
    assert!(is_below || !hosts.allow(&text, 80));
    if let Ok(pattern) = text.parse::<AllowedHost>() {
        assert_eq!(pattern.to_string().parse(), Ok(pattern));
    }
});
