//! How docs/bundles.md says that keys are rotated and revoked: its commands, as they stand there, on this machine.

use std::fs;

use super::first_plugin::{checkout, command};
use super::{blocks, page};
use crate::support::{TempDir, guests, skipped, target, under_qemu};

#[test]
fn the_commands_of_the_page_rotate_keys_and_root_keys() {
    if under_qemu() {
        return skipped("a shell calls `zlayer` by its name, natively");
    }
    let text = page("docs/bundles.md");
    let section = text.split("## Keys that change").nth(1).unwrap();
    let [first, rotation, device, next] = <[String; 4]>::try_from(blocks(section, "sh")).unwrap();
    let home = TempDir::new();
    let checkout = checkout(home.path());
    let deployment = format!(
        "version: v1\ndeployment: d\nservices:\n  a: {{image: {}}}\n",
        guests().join("visit-counter.wasm").display()
    );
    fs::write(checkout.join("deployment.yaml"), deployment).unwrap();
    // The device is this machine, and its folders are the test's.
    let own = "--keys device --data-dir data";
    let rotation = rotation.replace("--target aarch64", &format!("--target {}", target()));
    let on_device = |line: &str| {
        let command = line.split('#').next().unwrap().trim_end();
        format!("{command} {own}\n")
    };
    let device: String = device.lines().map(on_device).collect();
    let old = format!(
        "zlayer-precompile pack deployment.yaml --target {} --key keys/release.key -o old.zlb\n",
        target()
    );
    let script = format!(
        "set -e\nexport PATH=\"$PWD/target/release:$PATH\"\n{first}mkdir device\ncp keys/*.pub keys/*.root device\n{old}\
         zlayer install old.zlb {own}\n{rotation}{device}\
         if zlayer install old.zlb {own}; then exit 1; else test $? = 22; fi\n\
         {next}zlayer trust 3.trust {own}\nzlayer trust {own}\n"
    );
    let output = command(&script, home.path(), &checkout).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}\n{said}\n{output:?}");
    for wanted in [
        "trust list 1 counts in",
        "number          3\n",
        "engine floor    43.0.1\n",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}
