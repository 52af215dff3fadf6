//! What the checks accept and how they name what they refuse.

use zlayer_bundle::{Capabilities, Profile, Role, Target};
use zlayer_precompile::{Refused, check_component, check_memory, wrap_module};

use crate::support::{module, module_from_text};

fn check(component: &[u8]) -> Result<zlayer_precompile::Checked, String> {
    check_component(component).map_err(|error| match error.downcast::<Refused>() {
        Ok(refused) => refused.to_string(),
        Err(error) => panic!("the contract itself: {error:#}"),
    })
}

fn check_edited(world: &str, edits: &[(&str, &str)]) -> Result<Vec<Role>, String> {
    let component = wrap_module(&module(world, edits)).map_err(|refused| refused.to_string())?;
    check(&component).map(|checked| checked.roles)
}

fn check_wat(text: &str) -> Result<zlayer_precompile::Checked, String> {
    check(&wat::parse_str(text).unwrap())
}

#[test]
fn every_world_of_the_contract_is_accepted_with_its_role() {
    for (world, role) in [
        ("zlayer-plugin", Role::Handler),
        ("zlayer-http-handler", Role::HttpHandler),
        ("zlayer-transformer", Role::Transformer),
        ("zlayer-authenticator", Role::Authenticator),
        ("zlayer-rate-limiter", Role::RateLimiter),
        ("zlayer-middleware", Role::Middleware),
        ("zlayer-router", Role::Router),
        ("zlayer-cache", Role::Cache),
        ("zlayer-websocket", Role::WebSocket),
    ] {
        let component = wrap_module(&module(world, &[])).unwrap();
        let checked = check(&component).unwrap();
        assert_eq!(checked.roles, [role], "{world}");
        // What a device grants the role is what its world imports, and all of that.
        assert_eq!(role.world(), world);
        let imported = Capabilities::imported(&checked.imports);
        assert_eq!(imported, role.capabilities(), "{world}");
    }
}

#[test]
fn one_plugin_may_have_several_roles() {
    let edits = [(
        "export handler;",
        "export caching; export handler; export websocket;",
    )];
    let roles = check_edited("zlayer-plugin", &edits);
    assert_eq!(roles, Ok(vec![Role::Handler, Role::Cache, Role::WebSocket]));
}

#[test]
fn other_patch_releases_of_wasi_are_accepted() {
    for version in ["0.2.0", "0.2.3", "0.2.99"] {
        let roles = check_edited("zlayer-http-handler", &[("0.2.12", version)]);
        assert_eq!(roles, Ok(vec![Role::HttpHandler]), "{version}");
    }
    let error = check_edited("zlayer-http-handler", &[("0.2.12", "0.3.0")]).unwrap_err();
    assert!(error.contains("import wasi:io/error@0.3.0"), "{error}");
}

/// Each edit of the WIT, and what the refusal must say.
#[test]
fn one_difference_in_a_type_is_named() {
    for (edit, expected) in [
        (
            ("method: http-method,", "method: string,"),
            "export zlayer:plugin/handler@0.1.0, function handle, parameter request, \
             record plugin-request, field method: expected enum http-method, found string",
        ),
        (
            (
                "request-id: string,\n        path: string,",
                "path: string,\n        request-id: string,",
            ),
            "record plugin-request, field request-id: expected here by the contract's order, \
             found field path",
        ),
        (
            ("query: option<string>,", ""),
            "record plugin-request, field query: it is missing; found are (request-id, path,",
        ),
        (
            (
                "query: option<string>,",
                "query: option<string>, extra: u8,",
            ),
            "record plugin-request, field extra: the contract has no such field",
        ),
        (
            ("query: option<string>,", "query: option<list<u8>>,"),
            "record plugin-request, field query, option: expected string, found list<u8>",
        ),
        (
            ("connect,\n        ", ""),
            "field method, enum http-method, case connect: it is missing",
        ),
        (
            ("pass-through,", "pass-through(u32),"),
            "function handle, result, variant handle-result, case pass-through: \
             expected nothing, found u32",
        ),
        (
            ("body: list<u8>,\n    }", "body: list<u16>,\n    }"),
            "record plugin-response, field body, list: expected u8, found u16",
        ),
        (
            ("http-client,\n", "http-client,\n        files,\n"),
            "function init, result, ok, flags capabilities, flag files: the contract has no such flag",
        ),
        (
            (
                "handle: func(request: plugin-request)",
                "handle: func(req: plugin-request)",
            ),
            "function handle: expected parameters (request), found parameters (req)",
        ),
        (
            ("shutdown: func();", "shutdown: func() -> bool;"),
            "function shutdown, result: expected nothing, found bool",
        ),
        (
            ("info: func() -> plugin-info;", "info: func();"),
            "function info, result: expected record plugin-info, found nothing",
        ),
        (
            ("    shutdown: func();", ""),
            "function shutdown: it is missing",
        ),
    ] {
        let error = check_edited("zlayer-plugin", &[edit]).unwrap_err();
        assert!(error.contains(expected), "wanted: {expected}\ngot: {error}");
        assert!(error.contains("wit/ folder of this release"), "{error}");
    }
}

#[test]
fn tuples_and_handles_are_compared() {
    let edit = ("abort(tuple<u16, string>),", "abort(tuple<u32, string>),");
    let error = check_edited("zlayer-middleware", &[edit]).unwrap_err();
    assert!(
        error.contains("case abort, element 0: expected u16, found u32"),
        "{error}"
    );

    let edit = (
        "handle: func(request: incoming-request, response-out: response-outparam);",
        "handle: func(request: borrow<incoming-request>, response-out: response-outparam);",
    );
    let error = check_edited("zlayer-http-handler", &[edit]).unwrap_err();
    let expected = "parameter request: expected own<resource incoming-request>, found a borrowed";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn imports_are_compared_too() {
    let edit = (
        "get-many: func(keys: list<string>)",
        "get-many: func(keys: list<u32>)",
    );
    let error = check_edited("zlayer-plugin", &[edit]).unwrap_err();
    let expected = "import zlayer:plugin/config@0.1.0, function get-many, parameter keys, list: \
                    expected string, found u32";
    assert!(error.contains(expected), "{error}");

    let edit = (
        "get-many: func(",
        "get-all: func(keys: list<string>);\n get-many: func(",
    );
    let error = check_edited("zlayer-plugin", &[edit]).unwrap_err();
    assert!(
        error.contains("function get-all: the interface has no such function"),
        "{error}"
    );
}

#[test]
fn unknown_imports_are_named_with_what_to_do() {
    let error = check_edited("zlayer-plugin", &[("@0.1.0", "@0.2.0")]).unwrap_err();
    assert!(
        error.contains("import zlayer:plugin/config@0.2.0"),
        "{error}"
    );
    assert!(
        error.contains("import zlayer:plugin/config@0.1.0 instead"),
        "{error}"
    );

    let error = check_wat(r#"(component (import "acme:db/rows@1.0.0" (instance)))"#).unwrap_err();
    assert!(
        error.contains("import acme:db/rows@1.0.0: it is an interface"),
        "{error}"
    );
    let error = check_wat(r#"(component (import "log" (func)))"#).unwrap_err();
    assert!(
        error.contains("import log: it is a function outside of any interface"),
        "{error}"
    );
    let error = check_wat(r#"(component (import "r" (type (sub resource))))"#).unwrap_err();
    assert!(error.contains("import r: it is a resource"), "{error}");
    let text = r#"(component (import "wasi:io/error@0.2.0" (instance
        (export "ghost" (type (sub resource))))))"#;
    let error = check_wat(text).unwrap_err();
    assert!(
        error.contains("type ghost: the interface has no such type"),
        "{error}"
    );
}

#[test]
fn a_core_modules_unknown_import_is_named() {
    let mut module = module("zlayer-cache", &[]);
    // A second import section is not allowed, so the import goes into a module of its own.
    let text = r#"(module (import "env" "unresolved_symbol" (func)))"#;
    let other = wat::parse_str(text).unwrap();
    let error = wrap_module(&other).unwrap_err().to_string();
    assert!(
        error.contains("import `unresolved_symbol` from `env`"),
        "{error}"
    );
    // With a world, the wrapper itself finds what is over.
    let world = module.split_off(find_world(&module));
    let error = wrap_module(&[other, world].concat())
        .unwrap_err()
        .to_string();
    assert!(error.contains("env"), "{error}");
}

/// What `wasm32-wasip1` makes of a plugin: its standard library asks WASI preview 1.
#[test]
fn a_core_module_for_wasi_preview_1_gets_the_adapter() {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "random_get"
            (func $random (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "zlayer:plugin/caching@0.1.0#cache-policy")
            (param i32 i32 i32 i32 i32 i32 i32) (result i32)
            (call $random (i32.const 0) (i32.const 8)))
        (func (export "zlayer:plugin/caching@0.1.0#cache-key")
            (param i32 i32 i32 i32 i32 i32) (result i32) unreachable))"#;
    let component = wrap_module(&module_from_text("zlayer-cache", text)).unwrap();
    let checked = check(&component).unwrap();
    assert_eq!(checked.roles, [Role::Cache]);
    let random = checked
        .imports
        .iter()
        .any(|name| name.starts_with("wasi:random/random@0.2."));
    assert!(random, "{:?}", checked.imports);
}

/// Where the custom section with the world begins: the last section of a dummy module.
fn find_world(module: &[u8]) -> usize {
    let mut start = 0;
    let mut end = 8;
    for payload in wasmparser::Parser::new(0).parse_all(module) {
        if let Some((_, range)) = payload.unwrap().as_section() {
            start = end;
            end = range.end;
        }
    }
    start
}

#[test]
fn no_role_says_which_there_are() {
    let error = check_wat("(component)").unwrap_err();
    assert!(error.contains("so the plugin has no role"), "{error}");
    assert!(error.contains("zlayer:plugin/handler@0.1.0"), "{error}");
    let error = check_wat(r#"(component (instance $i) (export "acme:x/y@1.0.0" (instance $i)))"#);
    assert!(error.unwrap_err().contains("found acme:x/y@1.0.0"));
    let error =
        check_wat(r#"(component (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#);
    assert!(
        error
            .unwrap_err()
            .contains("a program with a main function")
    );
    let text = r#"(component (instance $i) (export "zlayer:plugin/handlers@0.1.0" (instance $i)))"#;
    assert!(
        check_wat(text)
            .unwrap_err()
            .contains("the contract has no such export")
    );
    let text =
        r#"(component (component $c) (export "zlayer:plugin/handler@0.1.0" (component $c)))"#;
    assert!(
        check_wat(text)
            .unwrap_err()
            .contains("expected an interface")
    );
}

#[test]
fn features_that_devices_lack_are_refused() {
    for (text, expected) in [
        ("(memory i64 1)", "memory64"),
        ("(memory 1 1 shared)", "threads"),
        ("(tag)", "exceptions"),
        ("(type (struct))", "gc"),
    ] {
        let error = check_wat(&format!("(component (core module {text}))")).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(
            error.contains("build the plugin without them"),
            "{text}: {error}"
        );
    }
    // Code bodies are validated too.
    let error = check_wat("(component (core module (func (result i32))))").unwrap_err();
    assert!(error.contains("it is not valid"), "{error}");
}

#[test]
fn a_damaged_component_is_refused_without_a_panic() {
    let good = wrap_module(&module("zlayer-websocket", &[])).unwrap();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..60 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let mut bytes = good.clone();
        let at = (state % bytes.len() as u64) as usize;
        bytes[at] ^= (state >> 40) as u8 | 1;
        // Some changes are harmless, in a name for example. None may panic.
        let _ = check_component(&bytes);
        let _ = check_component(&good[..at]).unwrap_err();
    }
}

#[test]
fn memory_has_to_fit_the_profile() {
    let with_memory = |pages: &str| {
        let component = wrap_module(&module("zlayer-cache", &[])).unwrap();
        // Another module with a memory, behind all the rest.
        let text = format!("(module (memory {pages}))");
        let memory = wat::parse_str(text).unwrap();
        let mut section = vec![1, u8::try_from(memory.len()).unwrap()];
        section.extend(memory);
        check(&[component, section].concat()).unwrap()
    };
    let small = with_memory("16 32");
    assert!(small.memory_initial >= 1 << 20);
    for target in Target::ALL {
        check_memory(&small, target, Profile::Compact).unwrap();
    }
    // One page more than 256 MiB.
    let large = with_memory("4097");
    assert_eq!(large.memory_max, None);
    let error = check_memory(&large, Target::Aarch64, Profile::Compact)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("257 MiB") && error.contains("--profile wide"),
        "{error}"
    );
    check_memory(&large, Target::Aarch64, Profile::Wide).unwrap();
    check_memory(&large, Target::Armv7, Profile::Compact).unwrap();
}

#[test]
fn what_devices_do_not_offer_is_called_by_its_name() {
    let refused = |text: &str| {
        let bytes = wat::parse_str(format!("(component {text})")).unwrap();
        check_component(&bytes).unwrap_err().to_string()
    };
    for text in [
        "(type (stream u8))",
        "(type (future string))",
        r#"(import "f" (func async))"#,
        "(type error-context)",
    ] {
        let error = refused(text);
        assert!(
            error.contains("built for WASI 0.3, and devices have WASI 0.2"),
            "{text}: {error}"
        );
        for tool in [
            "--target wasm32-wasip2",
            "-target=wasip2",
            "jco",
            "componentize-py",
        ] {
            assert!(error.contains(tool), "{tool}: {error}");
        }
    }
    for text in [
        "(core module (table 1 externref))",
        "(core module (func (param externref)))",
        "(core module (global externref (ref.null extern)))",
    ] {
        let error = refused(text);
        assert!(error.contains("externref"), "{text}: {error}");
        assert!(error.contains("garbage collector"), "{text}: {error}");
        assert!(!error.contains("damaged"), "{text}: {error}");
    }
    let error = refused("(core module (memory i64 1))");
    assert!(
        error.contains("64-bit memories") && !error.contains("damaged"),
        "{error}"
    );
}
