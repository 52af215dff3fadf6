//! What the admin interface asks plugins.

use super::*;
use crate::support::Response;

fn post(folder: &TempDir, target: &str, body: &str) -> Response {
    let length = body.len();
    let request = format!(
        "POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    ask_raw(folder.path(), request.as_bytes())
}

fn json_of(answer: &Response) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.text()).unwrap()
}

#[test]
fn a_token_is_looked_at_by_the_authenticators() {
    let folder = TempDir::new();
    let _daemon = serving("stages", &folder).start();
    is_ready(&folder);
    let answer = post(
        &folder,
        "/validate-token",
        "authenticated sub=ada role=admin\n",
    );
    let wanted = json!({"valid": true, "claims": [
        {"name": "sub", "value": "ada"},
        {"name": "role", "value": "admin"},
    ]});
    assert_eq!(json_of(&answer), wanted);
    // Whatever their names, they can be read.
    assert_eq!(
        json_of(&post(&folder, "/validate-token", "odd"))["valid"],
        true
    );
    let refused = json_of(&post(&folder, "/validate-token", "nobody's"));
    assert_eq!(refused["valid"], false);
    assert!(
        refused["code"].is_string() && refused["message"].is_string(),
        "{refused}"
    );
    assert_eq!(post(&folder, "/validate-token", " \n").status, 400);
    assert_eq!(
        post(&folder, "/validate-token", &"x".repeat(9000)).status,
        413
    );
    assert_eq!(post(&folder, "/validate-token", "trap").status, 503);
    assert_eq!(ask(&folder, "/validate-token").status, 405);
}

#[test]
fn limiters_tell_how_a_client_stands() {
    let folder = TempDir::new();
    let daemon = serving("stages", &folder)
        .args(["--admin-port", "0"])
        .start();
    is_ready(&folder);
    let told = json_of(&ask(&folder, "/rate-limit?key=known%20one"));
    let limits = told["limits"].as_array().unwrap();
    assert_eq!(limits.len(), 1, "{told}");
    assert_eq!(limits[0]["plugin"], "stages");
    for figure in ["limit", "remaining", "reset_seconds"] {
        assert!(limits[0][figure].is_u64(), "{told}");
    }
    let nobody = json_of(&ask(&folder, "/rate-limit?key=nobody"));
    assert_eq!(nobody, json!({"limits": []}));
    for target in [
        "/rate-limit",
        "/rate-limit?name=x",
        "/rate-limit?key=a&key=b",
    ] {
        assert_eq!(ask(&folder, target).status, 400, "{target}");
    }
    // Not by everybody.
    let get = b"GET /rate-limit?key=known HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(ask_tcp(tcp_address(&daemon), get).status, 403);
}

#[test]
fn a_role_that_nobody_has_is_not_asked() {
    let folder = TempDir::new();
    let _daemon = serving("hello", &folder).start();
    is_ready(&folder);
    let answer = post(&folder, "/validate-token", "x");
    assert_eq!(answer.status, 404, "{answer:?}");
    let answer = ask(&folder, "/rate-limit?key=x");
    assert_eq!(json_of(&answer), json!({"limits": []}));
}
