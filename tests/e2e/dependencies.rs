//! What the device's daemon is made of: no compiler, and nothing of the host's tools.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// All that a package is built with, macros that run in the compiler included.
const BUILT_WITH: &str = "normal,build";
/// All that ends up in a package's program.
const MADE_OF: &str = "normal,no-proc-macro";

/// The names of the packages that `package` is built from along these edges, on any target.
fn packages(package: &str, edges: &str) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root)
        // Packages for other targets may not be on this machine yet.
        .env("CARGO_NET_RETRY", "10")
        .args(["tree", "--locked", "--package", package]);
    command.args(["--edges", edges, "--target", "all", "--prefix", "none"]);
    command.args(["--format", "{p}"]);
    let output = command.output().unwrap();
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(stderr)
    );
    let text = String::from_utf8_lossy(stdout);
    let names = text.lines().filter_map(|line| line.split(' ').next());
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_device_has_no_compiler() {
    let device = packages("zlayer-runtime", BUILT_WITH);
    assert!(
        device.contains("wasmtime") && device.contains("zlayer-bundle"),
        "{device:?}"
    );
    let compilers = [
        "cranelift-codegen",
        "cranelift-frontend",
        "regalloc2",
        "wasmtime-internal-cranelift",
        "cranelift-native",
        "wasmtime-internal-winch",
        "winch-codegen",
    ];
    for compiler in compilers {
        assert!(
            !device.contains(compiler),
            "the device's daemon is built with {compiler}"
        );
    }
    // The names are those of today: the host's tool has the first four.
    let host = packages("zlayer-precompile", MADE_OF);
    for compiler in &compilers[..4] {
        assert!(
            host.contains(*compiler),
            "the host's tool has no {compiler}"
        );
    }
}

#[test]
fn the_device_speaks_with_no_registry() {
    let device = packages("zlayer-runtime", BUILT_WITH);
    let host = packages("zlayer-precompile", MADE_OF);
    for client in ["zlayer-registry", "oci-client", "reqwest", "hyper-util"] {
        assert!(
            !device.contains(client),
            "the device's daemon is built with {client}"
        );
        assert!(host.contains(client), "the host's tool has no {client}");
    }
}

#[test]
fn the_device_neither_writes_nor_reads_the_sources_of_plugins() {
    // Macros of the engine use these while it is built, so they may be built with but not linked. wasmparser is
    // linked: the engine's description of an artifact is written in its types.
    let device = packages("zlayer-runtime", MADE_OF);
    for tool in [
        "wasm-encoder",
        "wat",
        "wast",
        "wit-parser",
        "wit-component",
        "syn",
    ] {
        assert!(
            !device.contains(tool),
            "{tool} is part of the device's daemon"
        );
    }
}

#[test]
fn the_device_has_nothing_of_the_hosts_tools() {
    let ours = |package: &str| -> Vec<String> {
        let all = packages(package, BUILT_WITH).into_iter();
        all.filter(|name| name.starts_with("zlayer-")).collect()
    };
    assert_eq!(
        ours("zlayer-runtime"),
        [
            "zlayer-binlog",
            "zlayer-bundle",
            "zlayer-heap",
            "zlayer-http1",
            "zlayer-runtime"
        ]
    );
    // The codec knows neither WebAssembly nor the network; the format no HTTP.
    assert_eq!(ours("zlayer-http1"), ["zlayer-http1"]);
    assert_eq!(ours("zlayer-bundle"), ["zlayer-bundle"]);
    assert_eq!(ours("zlayer-binlog"), ["zlayer-binlog"]);
    assert!(!packages("zlayer-http1", BUILT_WITH).contains("wasmtime"));
}

#[test]
fn the_engine_is_pinned_to_one_release() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap();
    let versions: Vec<&str> = lock
        .split("\n[[package]]\n")
        .filter(|package| package.starts_with("name = \"wasmtime\"\n"))
        .filter_map(|package| package.split("version = \"").nth(1)?.split('"').next())
        .collect();
    assert_eq!(versions, [zlayer_bundle::ENGINE_VERSION]);
}
