//! What WASI shows of the machine.

use probe::wasi::cli::environment;
use probe::wasi::clocks::{monotonic_clock, wall_clock};
use probe::wasi::filesystem::preopens;
use probe::wasi::random::random::{get_random_bytes, get_random_u64};
use probe::wasi::sockets::instance_network::instance_network;
use probe::wasi::sockets::ip_name_lookup::resolve_addresses;
use probe::wasi::sockets::network::{ErrorCode, IpAddress};
use probe::{field, pause};

/// `NAME=VALUE` for each variable, then `argument TEXT` for each argument.
pub fn environment() -> String {
    let variables = environment::get_environment();
    let variables = variables
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"));
    let arguments = environment::get_arguments();
    variables
        .chain(arguments.iter().map(|text| format!("argument {text}\n")))
        .collect()
}

/// The paths of the folders that the plugin was given, or `none`.
pub fn folders() -> String {
    let folders = preopens::get_directories();
    if folders.is_empty() {
        "none".to_owned()
    } else {
        folders
            .iter()
            .map(|(_, path)| format!("{path}\n"))
            .collect()
    }
}

/// The clocks' readings as JSON.
pub fn clocks() -> Result<String, String> {
    let (first, second) = (monotonic_clock::now(), monotonic_clock::now());
    if second < first {
        return Err(format!(
            "not so: the monotonic clock never goes back (from {first} to {second})"
        ));
    }
    let wall = wall_clock::now();
    if wall.nanoseconds >= 1_000_000_000 {
        return Err(format!(
            "not so: a second has 1e9 nanoseconds (found {})",
            wall.nanoseconds
        ));
    }
    Ok(format!(
        "{{\"monotonic_ns\":{second},\"resolution_ns\":{},\"wall_s\":{},\"wall_ns\":{}}}",
        monotonic_clock::resolution(),
        wall.seconds,
        wall.nanoseconds
    ))
}

/// Blocks for `ms` milliseconds and answers `slept MS`.
pub fn sleep(query: &str) -> Result<String, String> {
    let ms: Option<u64> = field(query, "ms").and_then(|ms| ms.parse().ok());
    let ms = ms.ok_or("/sleep wants ?ms=N")?;
    let start = monotonic_clock::now();
    pause(ms.saturating_mul(1_000_000));
    let slept = (monotonic_clock::now() - start) / 1_000_000;
    if slept < ms {
        Err(format!("not so: {ms} ms have passed (found {slept})"))
    } else {
        Ok(format!("slept {slept}"))
    }
}

/// 32 random bytes in hexadecimal.
pub fn random() -> Result<String, String> {
    let (first, second) = (get_random_bytes(32), get_random_bytes(32));
    if first.len() != 32 || first == second || get_random_u64() == get_random_u64() {
        return Err("not so: random bytes are random".to_owned());
    }
    Ok(first.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The addresses of `name`, one a line, or the code of the error.
pub fn look_up(query: &str) -> Result<String, String> {
    let name = field(query, "name").ok_or("/look-up wants ?name=NAME")?;
    let stream = match resolve_addresses(&instance_network(), name) {
        Ok(stream) => stream,
        Err(code) => return Ok(code.name().to_owned()),
    };
    let mut found = String::new();
    loop {
        match stream.resolve_next_address() {
            Ok(Some(IpAddress::Ipv4((a, b, c, d)))) => {
                found.push_str(&format!("{a}.{b}.{c}.{d}\n"));
            }
            Ok(Some(IpAddress::Ipv6((a, b, c, d, e, f, g, h)))) => {
                found.push_str(&format!(
                    "{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}:{g:x}:{h:x}\n"
                ));
            }
            Ok(None) => return Ok(found),
            Err(ErrorCode::WouldBlock) => stream.subscribe().block(),
            Err(code) => return Ok(code.name().to_owned()),
        }
    }
}
