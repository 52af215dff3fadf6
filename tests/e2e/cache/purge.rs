//! Purges, over the admin interface and by `zlayer purge`.

use std::path::Path;

use super::*;
use crate::support::{Output, ask_raw, ask_tcp};

fn purge(folder: &TempDir, args: &[&str]) -> Output {
    let data_dir = folder.path().to_str().unwrap();
    zlayer([&["purge", "--data-dir", data_dir], args].concat())
}

fn post(folder: &Path, target: &str, fields: &str) -> Response {
    let request = format!("POST {target} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n");
    ask_raw(folder, request.as_bytes())
}

#[test]
fn tags_take_what_they_name() {
    let folder = TempDir::new();
    let daemon = serving("stages", &folder).start();
    for (path, policy) in [
        ("/a", "entry 3600000 tag=x"),
        ("/b", "entry 3600000 tag=x tag=y&z"),
        ("/c", "entry 3600000 tag=é"),
        ("/d", "for 3600000"),
        ("/e", "for 3600000"),
    ] {
        let fields = [("x-test-cache", policy)];
        eventually("a hit", || is_hit(&get_with(&daemon, path, &fields)));
    }
    let purged = purge(&folder, &["nobody's"]);
    assert_eq!((purged.code, &*purged.stdout), (0, "0 responses purged\n"));
    let purged = purge(&folder, &["y&z", "é"]);
    assert_eq!(
        (purged.code, &*purged.stdout),
        (0, "2 responses purged\n"),
        "{purged:?}"
    );
    let answer = post(folder.path(), "/cache/purge?tag=x", "");
    assert_eq!((answer.status, &*answer.text()), (200, "{\"purged\":1}\n"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(is_hit(&kept(&daemon, "/d", &[])));
    let answer = post(
        folder.path(),
        "/cache/purge?all=true",
        "content-length: 0\r\n",
    );
    assert_eq!((answer.status, &*answer.text()), (200, "{\"purged\":2}\n"));
    assert!(!is_hit(&kept(&daemon, "/d", &[])));
    eventually("the figures", || figures(&folder)["entries"] == 1);
    let purged = purge(&folder, &["--all"]);
    assert_eq!((purged.code, &*purged.stdout), (0, "1 responses purged\n"));
    let figures = figures(&folder);
    assert_eq!(
        (&figures["purged"], &figures["entries"]),
        (&6.into(), &0.into())
    );
    for page in ["/metrics", "/status.txt"] {
        let text = ask(&folder, page).text();
        let line = match page {
            "/metrics" => "zlayer_cache_purged_total 6\n",
            _ => "6 purged\n",
        };
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn only_who_may_use_the_socket_can_purge() {
    let folder = TempDir::new();
    let daemon = serving("stages", &folder)
        .args(["--admin-port", "0"])
        .start();
    eventually("a hit", || is_hit(&kept(&daemon, "/", &[])));
    let said = daemon.stdout();
    let address = said
        .lines()
        .find_map(|line| line.strip_prefix("zlayer: admin interface on http://"))
        .unwrap()
        .parse()
        .unwrap();
    let all = "/cache/purge?all=true";
    let request = format!("POST {all} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n");
    let refused = ask_tcp(address, request.as_bytes());
    assert_eq!(refused.status, 403, "{refused:?}");
    for field in [
        "origin: http://localhost\r\n",
        "sec-fetch-site: cross-site\r\n",
    ] {
        assert_eq!(post(folder.path(), all, field).status, 403, "{field}");
    }
    let get = format!("GET {all} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let refused = ask_raw(folder.path(), get.as_bytes());
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("POST"))
    );
    for (target, fields, status) in [
        ("/cache/purge", "", 400),
        ("/cache/purge?all=yes", "", 400),
        ("/cache/purge?tag=", "", 400),
        ("/cache/purge?tag=a&all=true", "", 400),
        ("/cache/purge?tags=a", "", 400),
        (all, "content-length: 100000\r\n", 413),
        (all, "transfer-encoding: chunked\r\n", 411),
    ] {
        let answer = post(folder.path(), target, fields);
        assert_eq!(answer.status, status, "{target} {fields}");
    }
    assert!(is_hit(&kept(&daemon, "/", &[])));
}

#[test]
fn purging_nothing_is_said_to_be() {
    let folder = TempDir::new();
    let _daemon = serving("hello", &folder).start();
    let refused = purge(&folder, &["--all"]);
    assert!(
        refused.code == 1 && refused.stderr.contains("no plugin has the caching role"),
        "{refused:?}"
    );
    assert_eq!(figures(&folder), Value::Null);
    for args in [&[][..], &["--all", "tag"]] {
        let refused = purge(&folder, args);
        assert!(
            refused.code == 2 && refused.stderr.contains("either tags or --all"),
            "{refused:?}"
        );
    }
    let nowhere = TempDir::new();
    let refused = purge(&nowhere, &["--all"]);
    assert!(
        refused.code == 1 && refused.stderr.contains("--data-dir"),
        "{refused:?}"
    );
}
