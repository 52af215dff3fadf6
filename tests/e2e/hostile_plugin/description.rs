//! Artifacts of which the engine keeps a large description: it is counted, and refused where it does not fit.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{
    Daemon, TempDir, ask, figures_are_the_daemons, get, guests, key_file, precompile, target,
};

/// A number in LEB128.
fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A section of a module or a component.
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &number(content.len()), content].concat()
}

/// A list of so many items.
fn list(items: impl ExactSizeIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut bytes = number(items.len());
    items.for_each(|item| bytes.extend(item));
    bytes
}

/// A core module that exports one function under so many names.
fn module(names: usize) -> Vec<u8> {
    let exports = list((0..names).map(|name| {
        let name = format!("{name:x}");
        [&number(name.len())[..], name.as_bytes(), &[0, 0]].concat()
    }));
    [
        b"\0asm\x01\0\0\0".to_vec(),
        // One function without arguments and results, which does nothing.
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[1, 0]),
        section(7, &exports),
        section(10, &[1, 2, 0, 0x0b]),
    ]
    .concat()
}

/// How many core modules a component has.
fn modules(component: &[u8]) -> usize {
    let (mut at, mut count) = (8, 0);
    while at < component.len() {
        count += usize::from(component[at] == 1);
        at += 1;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = component[at];
            at += 1;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        at += length;
    }
    count
}

/// The plugin `hello`, with a module beside it that exports so many names, compiled.
fn artifact(folder: &TempDir, names: usize) -> PathBuf {
    let mut component = fs::read(guests().join("hello.wasm")).unwrap();
    let index = modules(&component);
    component.extend(section(1, &module(names)));
    // An instance of it, made without arguments.
    component.extend(section(2, &[&[1, 0][..], &number(index), &[0]].concat()));
    let source = folder.path().join("described.wasm");
    fs::write(&source, component).unwrap();
    let mut words: Vec<PathBuf> = vec!["build".into(), source];
    words.extend(["--target", target(), "-o"].map(PathBuf::from));
    words.extend([folder.path().to_owned(), "--key".into(), key_file()]);
    let built = precompile(&words);
    assert_eq!(built.code, 0, "{built:?}");
    folder.path().join(format!("described.{}.cwasm", target()))
}

/// Bytes of memory that are reserved at rest.
fn used(data: &TempDir) -> u64 {
    let status: Value = serde_json::from_str(&ask(data, "/status").text()).unwrap();
    status["memory"]["used_bytes"].as_u64().unwrap()
}

#[test]
fn a_large_description_is_charged_and_refused_where_it_does_not_fit() {
    let folder = TempDir::new();
    let large = artifact(&folder, 200_000);
    let refused = Daemon::of(&large).args(["--memory-max", "16Mi"]).fails();
    let told = "the engine's description of its code takes ";
    assert!(refused.stderr.contains(told), "{refused:?}");
    assert!(refused.stderr.contains("--memory-max"), "{refused:?}");

    let served = |file: PathBuf| {
        let data = TempDir::new();
        let daemon = Daemon::of(file)
            .args(["--memory-max", "64Mi"])
            .data_dir(data.path())
            .start();
        assert_eq!(get(&daemon, "/").status, 200);
        let figures = (used(&data), daemon.status_kib("RssAnon") << 10);
        assert_eq!(daemon.stop(), 0);
        figures
    };
    let (with, with_resident) = served(large);
    let (without, without_resident) = served(artifact(&folder, 10));
    assert!(with > without + (4 << 20), "{with} and {without}");
    if figures_are_the_daemons() {
        // What the process has more is what is charged, but for what the allocator rounds.
        let (more, charged) = (with_resident - without_resident, with - without);
        assert!(charged + (1 << 20) > more, "{charged} of {more}");
    }
}
