//! The README's first device: its deployment is packed, installed and served as it stands there, on this
//! machine.

use std::fs;

use super::first_plugin::{Daemon, checkout, command};
use super::{blocks, page};
use crate::support::{TempDir, ask_tcp, guests, skipped, target, under_qemu};

#[test]
fn the_first_device_of_the_readme_serves_what_was_installed() {
    if under_qemu() {
        return skipped("a shell calls `zlayer` by its name, natively");
    }
    let readme = page("README.md");
    let section = readme.split("## A first device").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let [host, device] = <[String; 2]>::try_from(blocks(section, "sh")).unwrap();
    let [deployment] = <[String; 1]>::try_from(blocks(section, "yaml")).unwrap();

    let home = TempDir::new();
    let checkout = checkout(home.path());
    // What the README's first plugin has built by then.
    let plugin = home.path().join("my-handler");
    let built = plugin.join("target/wasm32-wasip2/release");
    fs::create_dir_all(&built).unwrap();
    fs::copy(
        guests().join("visit-counter.wasm"),
        built.join("my_handler.wasm"),
    )
    .unwrap();
    fs::write(plugin.join("deployment.yaml"), deployment).unwrap();

    // The device is this machine, and its folders are the test's.
    let host: Vec<String> = host
        .lines()
        .filter(|line| line.starts_with("zlayer-precompile "))
        .map(|line| line.replace("--target aarch64", &format!("--target {}", target())))
        .collect();
    assert_eq!(host.len(), 2, "{host:?}");
    let host = host.join("\n");
    let (install, serve) = device.trim_end().split_once('\n').unwrap();
    assert_eq!(install, "zlayer install app.zlb");
    assert_eq!(serve, "zlayer run --data-dir /var/lib/zlayer");
    let own = "--keys keys --data-dir data";
    let script = format!(
        "set -e\nexport PATH=\"$PWD/target/release:$PATH\"\n{host}\n{install} {own}\n\
         exec zlayer run {own} --bind 127.0.0.1 --port 0\n"
    );
    let mut daemon = Daemon::start(command(&script, home.path(), &checkout));
    let Some(address) = daemon.address() else {
        panic!("{script}\ndoes not serve:\n{}", daemon.said());
    };
    let request = b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let response = ask_tcp(address.parse().unwrap(), request);
    assert_eq!(response.text(), "visit 1 of /hello\n", "{response:?}");
    assert_eq!(daemon.stop(), 0, "{}", daemon.said());
}
