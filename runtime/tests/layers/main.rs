//! The layers of `runtime/src`: who may import from whom, and what is done in one place alone.

#![expect(
    clippy::unwrap_used,
    reason = "a failed test should panic, where it failed"
)]

/// One file: the paths that its code names.
mod source;
/// All files: imports, layers, circles.
mod tree;

use std::fs;
use std::path::Path;

use tree::Tree;

/// From the top: a module imports only from layers that stand further down in this table. Whoever
/// adds a module gives it its place here.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["daemon"],
    &["admin"],
    &["server"],
    &["pipeline"],
    &["websocket", "plugin"],
    &["host"],
    &["upstream", "cache"],
    &["message"],
    &["wire", "resolver"],
    &["failure", "generations", "logs", "secrets"],
    &["logger", "reactor", "data_dir", "stats"],
    &["config"],
    &["account", "metrics", "keyvalue", "log_ring", "capability"],
    &[
        "clients",
        "clock",
        "confinement",
        "core_dumps",
        "device",
        "error",
        "heap",
        "huge_pages",
        "memory",
        "rate",
        "redact",
        "stack",
        "standard_error",
        "told",
        "turns",
    ],
    &["blocking"],
    &["mutations", "sync", "timeout"],
];

/// Files that import from each other. An idle connection holds its place among the others, and the
/// place knows its pool.
const CIRCLES: &[&[&str]] = &[&["upstream/connection.rs", "upstream/pool.rs"]];

/// Words that stand in the code of these files alone, and why.
const ALONE: &[(&str, &[&str], &str)] = &[
    (
        "unsafe",
        &["plugin/load.rs"],
        "only the loader turns bytes into code",
    ),
    (
        "deserialize",
        &["plugin/load.rs"],
        "only the loader turns bytes into code",
    ),
    (
        "fjall",
        &["keyvalue.rs", "keyvalue/"],
        "only the store knows its database",
    ),
    (
        ".accept().await",
        &["server.rs", "server/", "admin.rs"],
        "only the server takes clients; the admin interface has sockets of its own",
    ),
    (
        "TcpStream",
        &[
            "server.rs",
            "server/",
            "websocket.rs",
            "upstream/",
            "resolver/",
        ],
        "clients' sockets are the server's, upstreams' the proxying client's, name servers' the \
         resolver's",
    ),
    (
        "domain::",
        &["resolver/"],
        "only the resolver speaks with name servers",
    ),
    (
        "wasmtime_wasi_http",
        &[
            "host.rs",
            "host/",
            "plugin/roles.rs",
            "pipeline/handle/wasi_http.rs",
        ],
        "bodies and their errors are our own but for plugins, which know those of wasi:http",
    ),
    (
        "tokio::runtime",
        &["reactor.rs"],
        "there is one tokio runtime, and only for sockets of plugins",
    ),
];

/// Words that stand in no code, since what they lead to calls `getaddrinfo`: it holds a thread for as
/// long as a dead name server takes, and wants shared libraries that a static program has not.
const NOWHERE: &[&str] = &[
    "ToSocketAddrs",
    "to_socket_addrs",
    "lookup_host",
    "p2::add_to_linker_async",
    "sockets::ip_name_lookup::add_to_linker",
];

fn runtime() -> Tree {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
                files.push((name.to_owned(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    Tree::new(files)
}

#[test]
fn no_module_imports_from_beside_or_above_its_layer() {
    let breaches = runtime().breaches(LAYERS);
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn no_files_import_from_each_other_in_a_circle() {
    assert_eq!(runtime().circles(), CIRCLES);
}

#[test]
fn what_is_done_in_one_place_is_done_nowhere_else() {
    let runtime = runtime();
    for (words, places, reason) in ALONE {
        let is_there = |file: &String| {
            let mut places = places.iter();
            places.any(|place| file == place || place.ends_with('/') && file.starts_with(place))
        };
        let (there, elsewhere): (Vec<_>, Vec<_>) =
            runtime.holding(words).into_iter().partition(is_there);
        assert!(elsewhere.is_empty(), "{words} in {elsewhere:?}: {reason}");
        assert!(
            !there.is_empty(),
            "{words} is nowhere: the rule holds nothing"
        );
    }
}

#[test]
fn no_name_is_looked_up_but_by_the_resolver() {
    let runtime = runtime();
    for words in NOWHERE {
        let there = runtime.holding(words);
        assert!(there.is_empty(), "{words} in {there:?}");
    }
}

/// A crate of two layers that keeps to them.
const FILES: [(&str, &str); 6] = [
    ("lib.rs", "pub mod high;\npub mod low;\npub use low::Thing;"),
    ("main.rs", "use zlayer_runtime::high;"),
    (
        "high.rs",
        "//! Not crate::main.\nmod a;\nmod b;\npub use a::A;\nuse crate::low::{self, deep::{Deep as D}};",
    ),
    (
        "high/a.rs",
        "use crate::Thing;\npub struct A(&'static str);\nconst QUOTE: char = '\"';",
    ),
    (
        "high/b.rs",
        "fn b(a: &super::A) { let s = \"use crate::main::x;\"; }",
    ),
    (
        "low.rs",
        "mod deep;\npub struct Thing;\n#[cfg(test)]\nmod tests { use crate::high::A; }",
    ),
];
const TABLE: &[&[&str]] = &[&["main"], &["high"], &["low"]];

/// The crate with other texts for some files.
fn with(others: &[(&str, &str)]) -> Tree {
    let known = FILES
        .iter()
        .filter(|(name, _)| others.iter().all(|(other, _)| other != name));
    let files = known
        .chain(others)
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    Tree::new(files)
}

#[test]
fn a_crate_that_keeps_to_its_layers_passes() {
    let tree = with(&[]);
    assert_eq!(tree.breaches(TABLE), [""; 0]);
    assert!(tree.circles().is_empty());
    // What is re-exported is followed to where it is.
    let pair = |from: &[&str], to: &[&str]| {
        let owned = |path: &[&str]| path.iter().map(|&segment| segment.to_owned()).collect();
        (owned(from), owned(to))
    };
    let imports = tree.imports();
    assert!(imports.contains(&pair(&["high", "b"], &["high", "a"])));
    assert!(imports.contains(&pair(&["high", "a"], &["low"])));
}

#[test]
fn an_import_against_the_layers_is_found_however_it_is_written() {
    for text in [
        "use crate::high::A;",
        "use crate::{high::A};",
        "use super::high;",
        "pub(crate) use crate::high::{self as other};",
        "fn f() -> crate::high::A { todo() }",
        "fn f() { super::high::f() }",
        "#[cfg(test)]\nmod tests;\nuse crate::high::A;",
        "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::high::A;",
        "const C: char = '\\'';\nuse crate::high::A;",
        "const R: &str = r#\"\"\"#;\nuse crate::high::A;",
    ] {
        let breaches = with(&[("low.rs", text)]).breaches(TABLE);
        assert_eq!(breaches.len(), 1, "{text}: {breaches:?}");
        assert!(
            breaches[0].starts_with("low.rs imports from high"),
            "{breaches:?}"
        );
    }
    let deeper = with(&[("low/deep.rs", "use super::super::high::A;")]);
    assert_eq!(deeper.breaches(TABLE).len(), 1);
}

#[test]
fn a_module_without_a_place_is_found() {
    let breaches = with(&[("new.rs", "")]).breaches(TABLE);
    assert_eq!(
        breaches,
        ["the module new is in no layer: give it its place"]
    );
    assert_eq!(
        with(&[])
            .breaches(&[&["main"], &["high"], &["low", "gone"]])
            .len(),
        1
    );
    assert_eq!(with(&[]).breaches(&[&["main", "high"], &["low"]]).len(), 1);
}

#[test]
fn a_circle_is_found() {
    let tree = with(&[("high/a.rs", "use super::b::b;\npub struct A;")]);
    assert_eq!(tree.circles(), [["high/a.rs", "high/b.rs"]]);
}

#[test]
fn words_are_found_in_code_alone() {
    let tree = with(&[
        (
            "low.rs",
            "// unsafe\nconst A: &str = \"unsafe\";\nfn not_unsafe() {}",
        ),
        ("high/a.rs", "fn f() { unsafe { g() } }"),
    ]);
    assert_eq!(tree.holding("unsafe"), ["high/a.rs"]);
}
