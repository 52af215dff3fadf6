//! Any text as what stands behind a flag: what is taken is written as it is read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zlayer_bundle::{Bodies, ByteSize, Capability, Profile, Role, Target};
use zlayer_runtime_fuzz::allowed_hosts::AllowedHost;
use zlayer_runtime_fuzz::config::fuzz::{network, path_pattern};

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    network(&text);
    path_pattern(&text);
    if let Ok(pattern) = text.parse::<AllowedHost>() {
        assert_eq!(pattern.to_string().parse(), Ok(pattern));
    }
    if let Ok(size) = text.parse::<ByteSize>() {
        assert_eq!(size.to_string().parse(), Ok(size));
        // The number stands first, and what is behind it makes it no smaller.
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        assert!(digits.parse::<u64>().is_ok_and(|count| count <= size.0));
    }
    if let Ok(role) = text.parse::<Role>() {
        assert_eq!(role.name(), text);
    }
    if let Ok(capability) = text.parse::<Capability>() {
        assert_eq!(capability.name(), text);
    }
    if let Ok(bodies) = text.parse::<Bodies>() {
        assert_eq!(bodies.name(), text);
    }
    if let Ok(profile) = text.parse::<Profile>() {
        assert_eq!(profile.name(), text);
    }
    if let Ok(target) = text.parse::<Target>() {
        assert!(text.starts_with(target.name()));
    }
});
