use super::{ask, context, described, lines, values};
use crate::support::{Builder, Daemon, get, request};

/// An authenticator that denies all, for some paths, and a handler for all.
fn guarded(paths: [&str; 2]) -> Daemon {
    Daemon::builder("stage-auth")
        .with("stages")
        .plugin("stage-auth:config.test.auth=denied no")
        .plugin(&format!("stage-auth:paths={}", paths[0]))
        // Given twice, a list goes on.
        .plugin(&format!("stage-auth:paths={}", paths[1]))
        .start()
}

#[test]
fn a_path_is_one_path_in_every_spelling() {
    let daemon = guarded(["/admin/*", "/status"]);
    for path in [
        "/admin",
        "/admin/",
        "/admin/x",
        "/admin?x=/public",
        "/%61dmin/x",
        "/%61%64%6d%69%6E/x",
        "/admin%2Fx",
        "//admin/x",
        "/./admin/x",
        "/x/../admin/x",
        "/x/%2e%2e/admin/x",
        "/x/%2E./admin/x",
        "/../admin/x",
        "/x//../admin/x",
        "/status",
        "/statu%73",
        // A handler that does not resolve these takes them for what they begin with.
        "/admin/../public",
        "/admin/%2e%2e/users",
        "/admin\\..\\x",
        "/admin/secret/%2e%2e/..%2fx",
        // Parameters, as Tomcat knows them; NULs, where C's strings end; slashes at the end.
        "/admin;a=b/x",
        "/;/admin/x",
        "/x/..;/admin/x",
        "/status;a",
        "/status/",
        "/status%00",
        "/status%00.html",
        // What two servers behind each other decode twice.
        "/admin%252fx",
        "/%2561dmin",
        "/x/%252e%252e/admin/x",
        // What Windows and many frameworks do not tell apart.
        "/ADMIN/x",
        "http://a/admin/../z",
    ] {
        assert_eq!(get(&daemon, path).status, 401, "{path}");
    }
    for path in [
        "/",
        "/adminx",
        "/x/admin/y",
        "/public?/admin/x",
        "/status/x",
        "/public;a=b/x",
        "/x/../public",
    ] {
        let answer = get(&daemon, path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        // The plugin sees the path as it came.
        let sent = path.split('?').next().unwrap();
        assert_eq!(lines(&answer, "path "), [sent]);
    }
    // The form that proxies are asked in, too.
    let absolute = format!("http://{}/admin/x", daemon.addr());
    assert_eq!(get(&daemon, &absolute).status, 401);
}

#[test]
fn paths_choose_between_handlers() {
    let daemon = Daemon::builder("stages")
        .with("http-echo-headers")
        .with("hello")
        .plugin("stages:paths=/typed/*")
        .plugin("http-echo-headers:paths=/streamed/*,/one")
        .start();
    assert!(get(&daemon, "/typed/x").text().contains("\ninstance "));
    for path in ["/streamed/x", "/streamed", "/one"] {
        assert!(get(&daemon, path).text().contains("\ncall "), "{path}");
    }
    for path in ["/", "/one/x"] {
        let text = get(&daemon, path).text();
        assert!(
            !text.contains("call ") && !text.contains("instance "),
            "{path}: {text}"
        );
    }
    // Passed through by the first, it goes to the next that its path is for.
    let fields = [("x-test-handle", "pass")];
    let answer = request(&daemon, "GET", "/typed/x", &fields, b"");
    assert!(
        answer.status == 200 && !answer.text().contains("instance "),
        "{answer:?}"
    );
    // With its body, though the first has seen it.
    let daemon = Daemon::builder("stages").with("http-echo-headers").start();
    let answer = request(&daemon, "POST", "/", &fields, b"hello");
    assert_eq!(lines(&answer, "body "), [described(b"hello")], "{answer:?}");
    let daemon = Daemon::builder("stages")
        .plugin("stages:paths=/typed/*")
        .start();
    assert_eq!(get(&daemon, "/elsewhere").status, 404);
}

#[test]
fn a_stage_can_be_for_some_handlers_alone() {
    let daemon = Daemon::builder("stage-auth")
        .with("stages")
        .with("http-echo-headers")
        .plugin("stage-auth:config.test.auth=denied no")
        .plugin("stage-auth:services=http-echo-headers")
        .plugin("stages:paths=/typed/*")
        .plugin("http-echo-headers:paths=/streamed/*")
        .start();
    for path in ["/typed/x", "/streamed/../typed/x"] {
        assert_eq!(get(&daemon, path).status, 200, "{path}");
    }
    for path in ["/streamed", "/typed/../streamed/x", "/%73treamed%2fx"] {
        assert_eq!(get(&daemon, path).status, 401, "{path}");
    }
}

#[test]
fn a_guard_of_one_handler_is_not_passed_by_way_of_another() {
    let daemon = Daemon::builder("stage-auth")
        .with("stages")
        .with("http-echo-headers")
        .plugin("stage-auth:config.test.auth=denied no")
        .plugin("stage-auth:services=http-echo-headers")
        .start();
    let answer = ask(&daemon, &[("x-test-handle", "pass")]);
    assert_eq!(answer.status, 401, "{answer:?}");
}

#[test]
fn settings_for_what_is_not_there_are_refused() {
    let two = || Daemon::builder("stage-auth").with("stages");
    for (setting, says) in [
        (
            "stage-auth:services=nobody",
            "there is no service 'nobody'; there are stage-auth, stages",
        ),
        (
            "stage-auth:services=stage-auth",
            "names 'stage-auth', which is no handler",
        ),
        ("stage-auth:services=", "services: is empty"),
        ("stage-auth:paths=", "paths: is empty"),
        ("stage-auth:paths=admin", "no path pattern"),
        ("stage-auth:paths=/a/../b", "no path pattern"),
        ("stage-auth:on-failure=maybe", "open, closed"),
        ("stage-auth:bodies=some", "both, request, response or none"),
        ("stage-auth:request-body=some", "auto, whole, none"),
        (
            "stage-auth:bodies=none",
            "`bodies` is a setting of transformers, and it is authenticator",
        ),
        (
            "stage-auth:personal-headers=x-a",
            "`personal_headers` is a setting of caches, and it is authenticator",
        ),
        ("stage-auth:reuse=2", "a setting of HTTP handlers"),
        ("stage-auth:deny=everything", "everything"),
        ("stage-auth:max-instances=0", "from 1"),
        ("stage-auth:colour=red", "there is no key `colour` here"),
    ] {
        let refused = two().plugin(setting).fails_to_pack();
        assert!(
            refused.stderr.contains(says),
            "{setting}: {}",
            refused.stderr
        );
    }
    // Which secrets there are the device alone knows.
    let refused = two().plugin("stage-auth:secrets=nothing").fails();
    assert_eq!(refused.code, 2, "{refused:?}");
    let says = "there is no secret 'nothing'";
    assert!(refused.stderr.contains(says), "{}", refused.stderr);
}

#[test]
fn copies_of_a_plugin_have_names_of_their_own() {
    let daemon = Daemon::builder("stages")
        .with("stages")
        .with("stages")
        .plugin("stages:config.name=a")
        .plugin("stages-2:config.name=b")
        .plugin("stages-3:config.name=c")
        .start();
    assert!(
        daemon.stdout().contains("stages-3 ("),
        "{}",
        daemon.stdout()
    );
    let answer = ask(&daemon, &[]);
    let traces = values(&answer, "x-trace");
    let middlewares = traces.iter().filter(|trace| trace.ends_with("on-response"));
    assert_eq!(
        middlewares.collect::<Vec<_>>(),
        ["c on-response", "b on-response", "a on-response"]
    );
}

/// Two handlers, each below a path of its own.
fn two_handlers() -> Builder {
    Daemon::builder("stages")
        .with("stages")
        .plugin("stages:paths=/a/*")
        .plugin("stages-2:paths=/b/*")
}

#[test]
fn secrets_can_be_for_some_plugins_alone() {
    let daemon = two_handlers()
        .args([
            "--secret",
            "one=first-secret",
            "--secret",
            "two=second-secret",
        ])
        .plugin("stages:secrets=one")
        .plugin("stages-2:secrets=")
        .start();
    assert_eq!(lines(&get(&daemon, "/a/"), "secrets "), ["one"]);
    assert_eq!(lines(&get(&daemon, "/b/"), "secrets "), [""]);
    // Where nothing is said they are for nobody.
    let daemon = two_handlers()
        .args(["--secret", "one=first-secret"])
        .plugin("stages:secrets=o*")
        .start();
    assert_eq!(lines(&get(&daemon, "/a/"), "secrets "), ["one"]);
    assert_eq!(lines(&get(&daemon, "/b/"), "secrets "), [""]);
    daemon.wait_for_log("plugin stages-2 asks for secrets and is given none");
}

#[test]
fn a_namespace_is_a_plugins_own_unless_two_name_the_same() {
    let trace = [("x-test-trace", "t")];
    let daemon = two_handlers().start();
    request(&daemon, "GET", "/a/", &trace, b"");
    assert!(get(&daemon, "/a/trace").status == 200);
    for (builder, is_shared) in [
        (two_handlers(), false),
        (two_handlers().plugin("stages-2:kv-namespace=stages"), true),
    ] {
        // Paths narrow the stages as well: the handler's `/trace/` needs the rest of it.
        let daemon = builder.plugin("stages-2:paths=/b/*,/trace/*").start();
        request(&daemon, "GET", "/a/", &trace, b"");
        let seen = get(&daemon, "/trace/t").text();
        assert_eq!(seen.contains("stages handle"), is_shared, "{seen}");
    }
}

#[test]
fn a_stage_that_is_to_see_no_body_sees_none_though_others_do() {
    let daemon = Daemon::builder("stage-auth")
        .with("stages")
        .plugin("stages:request-body=none")
        .start();
    let fields = [("x-test-route", "seen")];
    let answer = request(&daemon, "POST", "/", &fields, b"hello");
    assert_eq!(context(&answer, "body"), ["streamed"], "{}", answer.text());
    assert_eq!(
        lines(&answer, "body "),
        [described(b"")],
        "{}",
        answer.text()
    );
    // It is there for the handler.
    let answer = request(&daemon, "POST", "/", &[("x-test-handle", "echo")], b"hello");
    assert_eq!(answer.text(), "hello");
}
