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
    let text = zlayer(["status", "--data-dir", dir]);
    assert_eq!(text.code, 0, "{text:?}");
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
    let (mut in_text, mut in_json) = (0, 0);
    for (stage, plugins) in order {
        let line = format!("{stage}: {}", plugins.join(", "));
        let at = text.stdout[in_text..].find(&line);
        in_text += at.unwrap_or_else(|| panic!("no {line:?} behind the others in {}", text.stdout));
        let names: Vec<_> = plugins.iter().map(|name| format!("\"{name}\"")).collect();
        let object = format!(
            "{{\"stage\":\"{stage}\",\"plugins\":[{}]}}",
            names.join(",")
        );
        let at = json.stdout[in_json..]
            .replace(": ", ":")
            .replace(", ", ",")
            .find(&object);
        assert!(at.is_some(), "no {object} in {}", json.stdout);
        in_json = 0;
    }
}

#[test]
fn one_deadline_covers_the_whole_way() {
    // Five of them, and each may only have a part of what those before it left.
    let mut builder = Daemon::builder("stage-middleware");
    for _ in 0..4 {
        builder = builder.with("stage-middleware");
    }
    let names = [
        "stage-middleware",
        "stage-middleware-2",
        "stage-middleware-3",
        "stage-middleware-4",
        "stage-middleware-5",
    ];
    for name in names {
        builder = builder.plugin(&format!("{name}:on-failure=open"));
    }
    let time = if under_qemu() { "12s" } else { "4s" };
    let daemon = builder.with("stages").timeout("request", time).start();
    let answer = ask(&daemon, &[("x-test-middleware", "spin")]);
    // The last one is `stages` itself, which fails closed; or time was up before it.
    assert!(matches!(answer.status, 503 | 504), "{answer:?}");
    let spinning = [
        ("x-test-middleware", "spin"),
        ("x-test-middleware-stages", ""),
    ];
    let _ = ask(&daemon, &spinning);
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
    assert!(matches!(refused.code, 1..=3), "{refused:?}");
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
