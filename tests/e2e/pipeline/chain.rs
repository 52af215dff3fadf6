use serde_json::{Value, json};

use super::{ask, lines};
use crate::support::{Builder, Daemon, TempDir, at_rest, get, request, under_qemu, zlayer};

/// The roles that leave a trace for a plain request, in the order of the design.
const WAY: [&str; 9] = [
    "authenticate",
    "check",
    "on-request",
    "cache-key",
    "route",
    "transform-request-headers",
    "handle",
    "transform-response-headers",
    "on-response",
];

/// Every role in a component of its own, in an order that is not the way's.
fn apart() -> Builder {
    let parts = [
        "stage-transformer",
        "stage-router",
        "stage-cache",
        "stage-middleware",
        "stage-limiter",
        "stage-auth",
    ];
    let mut builder = Daemon::builder("http-echo-headers");
    for part in parts {
        builder = builder
            .with(part)
            .plugin(&format!("{part}:kv-namespace=traces"))
            .plugin(&format!("{part}:config.name={part}"));
    }
    // It shows the traces, and plays no role but that.
    builder
        .with("stages")
        .plugin("stages:kv-namespace=traces")
        .plugin("stages:paths=/trace/*")
        .plugin("http-echo-headers:paths=/x/*")
}

/// The functions that were called for the request with the trace `id`.
fn traced(daemon: &Daemon, id: &str) -> Vec<String> {
    let text = get(daemon, &format!("/trace/{id}")).text();
    let called = text.lines().filter_map(|line| line.split(' ').nth(1));
    // A store of answers is not asked about each one, and not part of the order here.
    called
        .filter(|function| *function != "cache-policy")
        .map(str::to_owned)
        .collect()
}

#[test]
fn one_component_plays_all_roles_in_the_order_of_the_way() {
    let daemon = Daemon::start("stages");
    for path in ["/", "/x"] {
        let id = format!("t{}", path.len());
        let answer = request(&daemon, "GET", path, &[("x-test-trace", &id)], b"");
        assert_eq!(answer.status, 200);
        assert_eq!(traced(&daemon, &id), WAY, "{path}");
    }
}

#[test]
fn components_of_one_role_each_keep_to_the_same_order() {
    let daemon = apart().start();
    let path = "/x/?h.x-test-trace=t";
    let answer = request(&daemon, "GET", path, &[("x-test-trace", "t")], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    let without_handler: Vec<_> = WAY.into_iter().filter(|call| *call != "handle").collect();
    assert_eq!(traced(&daemon, "t"), without_handler);
}

#[test]
fn all_roles_share_one_instance_and_keep_it() {
    let folder = TempDir::new();
    let daemon = Daemon::builder("stages").data_dir(folder.path()).start();
    at_rest(&folder);
    let first = ask(&daemon, &[]);
    let instance = lines(&first, "instance ");
    assert_eq!(instance.len(), 1);
    let second = ask(&daemon, &[]);
    assert_eq!(lines(&second, "instance "), instance);
    let calls = lines(&second, "calls ").concat();
    for function in [
        "authenticate=2",
        "check=2",
        "on-request=2",
        "route=2",
        "handle=2",
        "on-response=1",
    ] {
        assert!(
            calls.split(' ').any(|call| call == function),
            "{function}: {calls}"
        );
    }
    // A trap in one role ends the instance for all.
    assert_eq!(ask(&daemon, &[("x-test-route", "trap")]).status, 503);
    assert_ne!(lines(&ask(&daemon, &[]), "instance "), instance);
}

#[test]
fn the_status_shows_the_order() {
    let folder = TempDir::new();
    let daemon = apart().data_dir(folder.path()).start();
    get(&daemon, "/x/");
    // Until then it is not well, and says so by its exit code.
    at_rest(&folder);
    let dir = folder.path().to_str().unwrap();
    let order = [
        ("authenticate", &["stage-auth", "stages"][..]),
        ("rate-limit", &["stage-limiter", "stages"]),
        ("middleware", &["stage-middleware", "stages"]),
        ("cache", &["stage-cache", "stages"]),
        ("route", &["stage-router", "stages"]),
        ("websocket", &["stages"]),
        ("transform", &["stage-transformer", "stages"]),
        ("handle", &["http-echo-headers", "stages"]),
    ];
    let json = zlayer(["status", "--data-dir", dir, "--json"]);
    assert_eq!(json.code, 0, "{json:?}");
    let told: Value = serde_json::from_str(&json.stdout).unwrap();
    let wanted = order.map(|(stage, plugins)| json!({"stage": stage, "plugins": plugins}));
    assert_eq!(told["pipeline"], json!(wanted));
    let text = zlayer(["status", "--data-dir", dir]);
    assert_eq!(text.code, 0, "{text:?}");
    let wanted = order.map(|(stage, plugins)| format!("{stage}: {}", plugins.join(", ")));
    // The first of them has the name of the whole before it.
    let lines = text.stdout.lines();
    let shown: Vec<&str> = lines
        .map(|line| line.strip_prefix("pipeline").unwrap_or(line).trim())
        .collect();
    assert!(
        shown.windows(wanted.len()).any(|lines| lines == wanted),
        "{wanted:?} are not one behind the other in {}",
        text.stdout
    );
}

#[test]
fn one_deadline_covers_the_whole_way() {
    // A stage may take half of what those before it left of the whole.
    let (time, wait) = if under_qemu() {
        ("24s", "wait 9000")
    } else {
        ("8s", "wait 3000")
    };
    let folder = TempDir::new();
    let daemon = Daemon::builder("stage-middleware")
        .with("stages")
        .plugin("stage-middleware:config.name=first")
        .plugin("stage-middleware:on-failure=open")
        .plugin("stages:config.name=second")
        .timeout("request", time)
        .data_dir(folder.path())
        .start();
    at_rest(&folder);
    // Three eighths of the time are fine behind a stage that takes none of it.
    assert_eq!(
        ask(&daemon, &[("x-test-middleware-second", wait)]).status,
        200
    );
    // Behind one that took a half, only a quarter is left. With a time of its own it would still be fine.
    let fields = [
        ("x-test-middleware-first", "spin"),
        ("x-test-middleware-second", wait),
    ];
    let answer = ask(&daemon, &fields);
    assert_eq!(answer.status, 503, "{answer:?}");
    let id = answer.header("x-request-id").unwrap();
    for says in [
        "goes on without its stage: middleware by plugin stage-middleware: the plugin did not answer in time",
        "GET /: failed: middleware by plugin stages: the plugin did not answer in time",
    ] {
        daemon.wait_for_log(&format!("[{id}] {says}"));
    }
    assert_eq!(ask(&daemon, &[]).status, 200);
}

#[test]
fn eight_plugins_on_little_memory_work_or_say_what_they_need() {
    let eight = |memory: &str| {
        let mut builder = Daemon::builder("stages");
        for _ in 0..7 {
            builder = builder.with("stages");
        }
        builder.args(["--memory-max", memory])
    };
    let refused = eight("16Mi").fails();
    assert_eq!(refused.code, 3, "{refused:?}");
    let words = ["KiB", "--memory-max", "16384 KiB"];
    assert!(
        words.iter().all(|word| refused.stderr.contains(word)),
        "{}",
        refused.stderr
    );
    let daemon = eight("96Mi").start();
    for _ in 0..3 {
        let answer = request(
            &daemon,
            "POST",
            "/",
            &[("x-test-handle", "echo")],
            &[b'x'; 100_000],
        );
        assert_eq!(
            (answer.status, answer.body.len()),
            (200, 100_000),
            "{answer:?}"
        );
    }
}
