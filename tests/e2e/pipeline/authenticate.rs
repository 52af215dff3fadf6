use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{ask, context, described, lines, post_chunked, values, wire};
use crate::requests::{echoing, proxy};
use crate::support::{Builder, Client, Daemon, Response, brief, get, request};

/// The longest body that the daemons of these tests hold whole, in bytes.
const MAX_BODY: usize = 64 << 10;
/// The longest that stages see without being told to, in bytes.
const SMALL_BODY: usize = 16 << 10;

#[test]
fn denied_is_401_without_credentials_and_403_with_some() {
    let daemon = Daemon::start("stages");
    let answer = ask(&daemon, &[("x-test-auth", "denied not you")]);
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(values(&answer, "www-authenticate"), ["Bearer"]);
    assert!(answer.text().contains("not you"), "{answer:?}");
    for credentials in [
        ("authorization", "Basic eDp5"),
        ("Authorization", ""),
        ("cookie", "session=1"),
        ("x-api-key", "k"),
    ] {
        let answer = ask(&daemon, &[("x-test-auth", "denied not you"), credentials]);
        assert_eq!(answer.status, 403, "{credentials:?}: {answer:?}");
        assert!(values(&answer, "www-authenticate").is_empty());
    }
    // What the handler has to say is nothing that they get.
    assert!(!answer.text().contains("instance"), "{answer:?}");
}

#[test]
fn a_challenge_reaches_the_client_word_for_word() {
    let daemon = Daemon::start("stages");
    let challenge = "Bearer realm=\"api\", error=\"invalid_token\", Basic realm=\"x\"";
    let asked = format!("challenge {challenge}");
    let answer = ask(&daemon, &[("x-test-auth", &asked)]);
    assert_eq!(answer.status, 401);
    assert_eq!(values(&answer, "www-authenticate"), [challenge]);
    // With credentials as well: they were not good enough.
    let fields = [("x-test-auth", asked.as_str()), ("authorization", "x")];
    assert_eq!(ask(&daemon, &fields).status, 401);
}

#[test]
fn a_challenge_that_is_no_field_value_is_a_bad_gateway() {
    let daemon = Daemon::start("stages");
    for challenge in ["a\\r\\nx-injected: yes", "a\\nb", "a\\0b", ""] {
        let request = format!(
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-test-auth: challenge {challenge}\r\n\r\n"
        );
        let answer = wire(&daemon, request);
        assert!(
            answer.starts_with("HTTP/1.1 502 "),
            "{challenge:?}: {answer}"
        );
        let told = answer.to_ascii_lowercase();
        assert!(!told.contains("x-injected") && !told.contains("www-authenticate"));
    }
    daemon.wait_for_log("authenticate by plugin stages: the plugin's answer is not valid HTTP");
}

#[test]
fn claims_reach_later_stages_as_context() {
    let daemon = Daemon::start("stages");
    let claims = ("x-test-auth", "authenticated sub=alice role=a=b empty=");
    let answer = ask(&daemon, &[claims]);
    assert_eq!(answer.status, 200);
    assert_eq!(context(&answer, "claim.sub"), ["alice"]);
    assert_eq!(context(&answer, "claim.role"), ["a=b"]);
    assert_eq!(context(&answer, "claim.empty"), [""]);
    assert_eq!(context(&answer, "client_ip"), ["127.0.0.1"]);
    // Not as header fields: no handler can mistake what a client sent for a claim.
    assert!(
        lines(&answer, "header claim").is_empty(),
        "{}",
        answer.text()
    );
    // The router, too.
    let answer = ask(&daemon, &[claims, ("x-test-route", "seen")]);
    assert_eq!(context(&answer, "claim.sub"), ["alice"]);
    // Nothing of it is left for the next request.
    let answer = ask(&daemon, &[("x-test-auth", "skip")]);
    assert!(
        lines(&answer, "context claim").is_empty(),
        "{}",
        answer.text()
    );
}

#[test]
fn no_header_forges_context() {
    let daemon = Daemon::start("stages");
    let forged = [
        ("claim.sub", "root"),
        ("context", "claim.sub: root"),
        ("client_ip", "192.0.2.1"),
        ("x-forwarded-for", "192.0.2.1"),
        ("forwarded", "for=192.0.2.1"),
        ("body", "forged"),
    ];
    let answer = ask(&daemon, &forged);
    assert_eq!(answer.status, 200);
    assert!(
        lines(&answer, "context claim").is_empty(),
        "{}",
        answer.text()
    );
    assert_eq!(context(&answer, "client_ip"), ["127.0.0.1"]);
    assert_eq!(context(&answer, "body"), ["whole"]);
    let mut fields = forged.to_vec();
    fields.push(("x-test-auth", "authenticated sub=alice"));
    let answer = ask(&daemon, &fields);
    assert_eq!(context(&answer, "claim.sub"), ["alice"]);
    assert_eq!(lines(&answer, "context claim").len(), 1);
}

#[test]
fn an_authenticator_cannot_forge_what_the_host_says() {
    let daemon = Daemon::start("stages");
    let answer = ask(&daemon, &[("x-test-auth", "odd")]);
    assert_eq!(answer.status, 200);
    assert_eq!(context(&answer, "client_ip"), ["127.0.0.1"]);
    assert_eq!(context(&answer, "claim.client_ip"), ["odd"]);
    assert_eq!(context(&answer, "claim.claim.sub"), ["odd"]);
    assert!(context(&answer, "claim.sub").is_empty());
    // A name with a line break is text in the context, and no field of the answer.
    assert!(
        values(&answer, "x-injected").is_empty(),
        "{:?}",
        answer.headers
    );
}

#[test]
fn claims_beyond_the_bound_are_a_bad_gateway() {
    let daemon = Daemon::start("stages");
    let claims = |asked: &str| ask(&daemon, &[("x-test-auth", asked)]);
    let answer = claims("many 128");
    assert_eq!(lines(&answer, "context claim.n").len(), 128);
    assert_eq!(claims("many 129").status, 502);
    assert_eq!(claims("big 16000").status, 200);
    assert_eq!(claims("big 17000").status, 502);
    assert_eq!(claims("many 5000").status, 502);
    // More than the host takes out of an instance at once: that ends the instance.
    assert_eq!(claims("big 20000000").status, 502);
    assert_eq!(claims("authenticated sub=alice").status, 200);
}

#[test]
fn the_first_authenticator_that_knows_the_client_wins() {
    let daemon = Daemon::builder("stage-auth")
        .with("stage-auth")
        .with("stages")
        .plugin("stage-auth:config.name=one")
        .plugin("stage-auth-2:config.name=two")
        .plugin("stages:config.name=three")
        .start();
    let cases: [(&str, &str, &str, u16, &[&str]); 6] = [
        ("skip", "skip", "skip", 200, &[]),
        (
            "authenticated by=1",
            "authenticated by=2",
            "denied",
            200,
            &["1"],
        ),
        ("skip", "authenticated by=2", "trap", 200, &["2"]),
        ("skip", "skip", "authenticated by=3", 200, &["3"]),
        ("skip", "denied no", "authenticated by=3", 401, &[]),
        ("challenge Bearer", "authenticated by=2", "skip", 401, &[]),
    ];
    for (one, two, three, status, claims) in cases {
        let fields = [
            ("x-test-auth-one", one),
            ("x-test-auth-two", two),
            ("x-test-auth-three", three),
        ];
        let answer = ask(&daemon, &fields);
        assert_eq!(answer.status, status, "{fields:?}: {answer:?}");
        assert_eq!(context(&answer, "claim.by"), claims, "{fields:?}");
    }
}

#[test]
fn an_authenticator_that_fails_lets_nobody_in() {
    let daemon = Daemon::builder("stages")
        .timeout("request", brief())
        .start();
    for asked in ["trap", "spin", "wait 600000 skip"] {
        let answer = ask(&daemon, &[("x-test-auth", asked)]);
        assert_eq!(answer.status, 503, "{asked}: {answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        let id = answer.header("x-request-id").unwrap();
        assert!(answer.text().contains(&format!("request {id}\n")));
        assert!(!answer.text().contains("stages"), "{answer:?}");
    }
    assert_eq!(ask(&daemon, &[]).status, 200);
    // Unless the deployment says that it should.
    let daemon = Daemon::builder("stages")
        .plugin("stages:on-failure=open")
        .start();
    let answer = ask(&daemon, &[("x-test-auth", "trap")]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(lines(&answer, "context claim").is_empty());
    daemon.wait_for_log("goes on without its stage: authenticate by plugin stages: trap");
}

/// Sends bodies to an authenticator that tells what it saw, and answers its words for the record's
/// body, its `body` in the context, and what the handler read.
fn bodies(daemon: &Daemon, is_chunked: bool, body: &[u8]) -> (u16, String, String, String) {
    let fields = [("x-test-auth", "seen")];
    let answer = match is_chunked {
        true => post_chunked(daemon, &fields, body),
        false => request(daemon, "POST", "/", &fields, body),
    };
    let text = answer.text();
    // The claim's value has several lines: the first `body` is the authenticator's.
    let found = lines(&answer, "body ");
    let told = lines(&answer, "context body: ");
    match (&found[..], &told[..]) {
        ([seen, .., handled], [said, ..]) => {
            (answer.status, seen.clone(), said.clone(), handled.clone())
        }
        _ => (answer.status, text, String::new(), String::new()),
    }
}

#[test]
fn an_authenticator_sees_a_small_body_of_known_length_and_the_handler_still_gets_it() {
    let daemon = Daemon::builder("stages")
        .arg("--max-body")
        .arg(MAX_BODY.to_string())
        .start();
    for length in [1, 5000, SMALL_BODY, SMALL_BODY + 1, MAX_BODY] {
        let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let whole = described(&body);
        let past = (200, described(b""), "streamed".to_owned(), whole.clone());
        let seen = bodies(&daemon, false, &body);
        match length <= SMALL_BODY {
            true => assert_eq!(seen, (200, whole.clone(), "whole".to_owned(), whole)),
            // A stranger is not to fill the memory for bodies.
            false => assert_eq!(seen, past),
        }
        // Nobody knows how long it will be: it streams past.
        assert_eq!(bodies(&daemon, true, &body), past);
    }
    let answer = request(&daemon, "POST", "/", &[], &vec![0; MAX_BODY + 1]);
    assert_eq!(answer.status, 413);
}

#[test]
fn request_body_whole_waits_for_any_body_and_none_for_none() {
    let with = |setting: &str| {
        let builder = Daemon::builder("stages").arg("--max-body");
        let builder = builder.arg(MAX_BODY.to_string());
        builder
            .plugin(&format!("stages:request-body={setting}"))
            .start()
    };
    let body: Vec<u8> = (0..MAX_BODY).map(|at| (at % 251) as u8).collect();
    let (whole, nothing) = (described(&body), described(b""));
    let daemon = with("whole");
    for is_chunked in [true, false] {
        let seen = bodies(&daemon, is_chunked, &body);
        assert_eq!(
            seen,
            (200, whole.clone(), "whole".to_owned(), whole.clone())
        );
    }
    let daemon = with("none");
    for is_chunked in [true, false] {
        let seen = bodies(&daemon, is_chunked, &body);
        assert_eq!(
            seen,
            (200, nothing.clone(), "streamed".to_owned(), whole.clone())
        );
    }
}

#[test]
fn a_body_too_long_to_be_held_streams_past_the_authenticator_or_is_413() {
    let with = |setting: &str| {
        let builder = Daemon::builder("stage-auth").with("http-echo-headers");
        let builder = builder.arg("--max-body").arg(MAX_BODY.to_string());
        builder
            .plugin(&format!("stage-auth:request-body={setting}"))
            .start()
    };
    let long: Vec<u8> = (0..MAX_BODY * 4).map(|at| (at % 251) as u8).collect();
    let told = described(&long);
    for setting in ["auto", "none", "whole"] {
        let daemon = with(setting);
        for fields in [&[][..], &[("x-test-auth", "authenticated sub=alice")]] {
            let fixed = request(&daemon, "POST", "/", fields, &long);
            let chunked = post_chunked(&daemon, fields, &long);
            for answer in [fixed, chunked] {
                match setting {
                    "whole" => assert_eq!(answer.status, 413, "{answer:?}"),
                    _ => assert_eq!(lines(&answer, "body "), [told.as_str()], "{answer:?}"),
                }
            }
        }
        // One that fits reaches the streaming handler as it was.
        let body = &long[..MAX_BODY];
        for answer in [
            request(&daemon, "POST", "/", &[], body),
            post_chunked(&daemon, &[], body),
        ] {
            assert_eq!(lines(&answer, "body "), [described(body)], "{answer:?}");
        }
    }
}

/// Base64 for URLs, without padding.
fn base64url(bytes: &[u8]) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut four = [0; 4];
        four[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(four);
        for place in 0..=chunk.len() {
            text.push(char::from(
                letters[(bits >> (18 - 6 * place) & 63) as usize],
            ));
        }
    }
    text
}

/// A token with these claims, signed with HS256.
fn token(header: &str, claims: &str, key: &[u8]) -> String {
    let signed = format!(
        "{}.{}",
        base64url(header.as_bytes()),
        base64url(claims.as_bytes())
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", base64url(&mac.finalize().into_bytes()))
}

#[test]
fn the_guides_jwt_authenticator_believes_good_tokens_alone() {
    let key = "correct horse battery staple";
    let daemon = Daemon::builder("jwt-authenticator")
        .with("full-plugin")
        .arg("--secret")
        .arg(format!("jwt_secret={key}"))
        .plugin("jwt-authenticator:secrets=jwt_secret")
        .args(["--config", "api_key=k"])
        .start();
    let hs256 = r#"{"alg":"HS256","typ":"JWT"}"#;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let alice = format!(r#"{{"sub":"alice","admin":true,"exp":{}}}"#, now + 3600);
    let bearer = |token: &str| {
        let value = format!("Bearer {token}");
        request(&daemon, "GET", "/api/x", &[("authorization", &value)], b"")
    };
    let good = token(hs256, &alice, key.as_bytes());
    let answer = bearer(&good);
    assert_eq!(answer.status, 200, "{answer:?}");
    for claim in [r#""claim.sub":"alice""#, r#""claim.admin":"true""#] {
        assert!(answer.text().contains(claim), "{}", answer.text());
    }

    let root = base64url(alice.replace("alice", "root").as_bytes());
    let parts: Vec<&str> = good.split('.').collect();
    let none = base64url(br#"{"alg":"none"}"#);
    let expired = format!(r#"{{"sub":"alice","exp":{}}}"#, now - 1);
    let early = format!(r#"{{"sub":"alice","nbf":{}}}"#, now + 3600);
    for (bad, why) in [
        (token(hs256, &alice, b"another key"), "signature"),
        (format!("{}.{root}.{}", parts[0], parts[2]), "signature"),
        (format!("{none}.{root}."), "algorithm"),
        (format!("{none}.{root}.{}", parts[2]), "algorithm"),
        (
            token(r#"{"alg":"none"}"#, &alice, key.as_bytes()),
            "algorithm",
        ),
        (token(hs256, &expired, key.as_bytes()), "expired"),
        (token(hs256, &early, key.as_bytes()), "not yet valid"),
        (format!("{}.{}", parts[0], parts[1]), "Malformed"),
        (format!("{good}="), "Malformed"),
        // Nothing behind the scheme: the blank goes with it.
        (String::new(), "scheme"),
    ] {
        let answer = bearer(&bad);
        assert_eq!(answer.status, 403, "{why}: {bad}: {answer:?}");
        assert!(answer.text().contains(why), "{why}: {answer:?}");
        assert!(!answer.text().contains("claim"), "{answer:?}");
    }
    // No credentials at all, and those of another kind.
    let answer = get(&daemon, "/api/x");
    assert_eq!(answer.status, 401);
    assert_eq!(
        values(&answer, "www-authenticate"),
        ["Bearer realm=\"api\""]
    );
    let answer = request(
        &daemon,
        "GET",
        "/api/x",
        &[("authorization", "Basic x")],
        b"",
    );
    assert_eq!(answer.status, 403);
    // The key is nowhere to be read.
    assert!(!daemon.log().contains(key), "{}", daemon.log());
}

#[test]
fn a_websocket_that_can_send_no_header_brings_its_token_another_way() {
    let key = "correct horse battery staple";
    let daemon = Daemon::builder("jwt-authenticator")
        .with("stage-websocket")
        .arg("--secret")
        .arg(format!("jwt_secret={key}"))
        .plugin("jwt-authenticator:secrets=jwt_secret")
        .start();
    let good = token(r#"{"alg":"HS256"}"#, r#"{"sub":"alice"}"#, key.as_bytes());
    let forged = token(r#"{"alg":"HS256"}"#, r#"{"sub":"alice"}"#, b"another key");
    let offer = |token: &str| format!("Sec-WebSocket-Protocol: chat, auth-{token}\r\n");
    for (target, field, status) in [
        (format!("/ws?access_token={good}"), String::new(), 101),
        ("/ws".to_owned(), offer(&good), 101),
        (format!("/ws?access_token={forged}"), String::new(), 401),
        ("/ws".to_owned(), offer(&forged), 401),
        // Without any token it is asked as every request is, and challenges.
        ("/ws".to_owned(), String::new(), 401),
        // The header comes first.
        (
            format!("/ws?access_token={good}"),
            format!("Authorization: Bearer {forged}\r\n"),
            403,
        ),
    ] {
        let mut client = Client::connect(&daemon);
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{field}\r\n"
        ));
        let head = client.read_head().unwrap();
        assert_eq!(head.status, status, "{target} {field}");
        if status == 401 {
            assert!(
                head.header("www-authenticate")
                    .is_some_and(|value| value.starts_with("Bearer"))
            );
        }
    }
}

/// A head that begins a WebSocket, with these further lines.
fn upgrade(target: &str, lines: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n"
    )
}

/// Sends a head and reads the response, of a 101 the head alone.
fn answer_to(daemon: &Daemon, head: &str) -> Response {
    let mut client = Client::connect(daemon);
    client.send(head);
    client.read_response()
}

#[test]
fn what_only_looks_like_an_upgrade_brings_no_token() {
    let key = "correct horse battery staple";
    let daemon = Daemon::builder("jwt-authenticator")
        .with("stages")
        .arg("--secret")
        .arg(format!("jwt_secret={key}"))
        .plugin("jwt-authenticator:secrets=jwt_secret")
        .start();
    let good = token(r#"{"alg":"HS256"}"#, r#"{"sub":"alice"}"#, key.as_bytes());
    let target = format!("/admin?access_token={good}");
    let real = upgrade(&target, "");
    assert_eq!(answer_to(&daemon, &real).status, 101);
    for (what, with) in [
        ("GET /", "POST /"),
        ("GET /", "PUT /"),
        ("GET /", "HEAD /"),
        (" HTTP/1.1", " HTTP/1.0"),
        ("Connection: Upgrade\r\n", ""),
        ("Connection: Upgrade", "Connection: close"),
        ("Upgrade: websocket\r\n", ""),
        ("Upgrade: websocket", "Upgrade: websockets"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        ("dGhlIHNhbXBsZSBub25jZQ==", "short"),
        ("Version: 13", "Version: 12"),
        ("Host: h\r\n", "Host: h\r\nContent-Length: 2\r\n"),
    ] {
        let head = real.replace(what, with);
        let mut client = Client::connect(&daemon);
        // With the body that one of them announces.
        client.send(format!("{head}hi"));
        let answer = client.read_head().unwrap();
        assert_eq!(answer.status, 401, "{head}");
    }
    let head = real.replace(
        "Host: h\r\n",
        &format!("Host: h\r\nSec-WebSocket-Protocol: auth-{good}\r\n"),
    );
    let post = head.replace("GET /", "POST /");
    assert_eq!(answer_to(&daemon, &post).status, 401);
}

#[test]
fn an_authenticator_sees_upgrades_too_and_has_the_last_word() {
    let daemon = Daemon::start("stages");
    let target = "/ws?a=1&access_token=authenticated+sub%3Dalice+role%3Duser&b";
    let asked = |auth: &str| {
        let lines = format!(
            "x-test-auth: {auth}\r\nx-test-route: seen\r\nSec-WebSocket-Protocol: chat, auth-, superchat\r\n"
        );
        answer_to(&daemon, &upgrade(target, &lines))
    };
    let answer = asked("seen");
    // The authenticator saw the token as a header; nobody behind it sees it at all.
    let seen = &context(&answer, "claim.seen")[0];
    assert!(seen.starts_with("method GET"), "{seen}");
    let text = answer.text();
    let shown = "header authorization: Bearer authenticated sub=alice role=user";
    assert_eq!(text.matches(shown).count(), 1, "{text}");
    assert_eq!(text.matches("access_token").count(), 1, "{text}");
    let (behind, _) = text.split_once("context ").unwrap();
    assert!(!behind.contains("alice"), "{behind}");
    assert!(behind.contains("\nquery a=1&b\n"), "{behind}");
    assert!(
        behind.contains("header sec-websocket-protocol: chat, superchat\n"),
        "{behind}"
    );
    assert_eq!(context(&answer, "claim.sub"), ["alice"]);
    // The claims of both count, and of the same name the authenticator's.
    let answer = asked("authenticated role=admin more=1");
    for (name, value) in [("sub", "alice"), ("role", "admin"), ("more", "1")] {
        assert_eq!(context(&answer, &format!("claim.{name}")), [value]);
    }
    assert_eq!(context(&asked("skip"), "claim.sub"), ["alice"]);
    // It may refuse whoever has a valid token.
    assert_eq!(asked("denied not you").status, 403);
    assert_eq!(asked("challenge Bearer").status, 401);
    assert_eq!(asked("trap").status, 503);
}

#[test]
fn a_token_that_nobody_takes_lets_nobody_in() {
    let key = "correct horse battery staple";
    let good = token(r#"{"alg":"HS256"}"#, r#"{"sub":"alice"}"#, key.as_bytes());
    let daemon = Daemon::builder("stage-auth")
        .with("jwt-authenticator")
        .with("stages")
        .plugin("stages:paths=/elsewhere")
        .with("stage-websocket")
        .arg("--secret")
        .arg(format!("jwt_secret={key}"))
        .plugin("jwt-authenticator:secrets=jwt_secret")
        .start();
    let offering = |token: &str, auth: &str| {
        let lines =
            format!("x-test-auth: {auth}\r\nSec-WebSocket-Protocol: chat, auth-{token}\r\n");
        answer_to(&daemon, &upgrade("/", &lines))
    };
    // The first authenticator knows no such token: the second one is asked.
    assert_eq!(offering(&good, "skip").status, 101);
    // The first may refuse the request, but who it is says the token alone.
    assert_eq!(offering(&good, "denied no").status, 401);
    assert_eq!(offering(&good, "authenticated sub=bob").status, 101);
    for auth in ["skip", "denied no", "authenticated sub=bob"] {
        let answer = offering("nobody-knows-it", auth);
        assert_eq!(answer.status, 401, "{auth}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert_eq!(challenge, "Bearer error=\"invalid_token\"", "{auth}");
    }
}

#[test]
fn a_token_for_authenticators_goes_no_further_and_not_back() {
    let key = "correct horse battery staple";
    let good = token(r#"{"alg":"HS256"}"#, r#"{"sub":"alice"}"#, key.as_bytes());
    let guarded = |builder: Builder| {
        let builder = builder.with("jwt-authenticator");
        builder
            .arg("--secret")
            .arg(format!("jwt_secret={key}"))
            .plugin("jwt-authenticator:secrets=jwt_secret")
            .start()
    };
    let target = format!("/ws?access_token={good}&room=1");
    let offers = format!("Sec-WebSocket-Protocol: auth-{good}, chat\r\n");
    // An upstream that responds with the head that it got.
    let daemon = guarded(proxy(echoing()));
    let text = answer_to(&daemon, &upgrade(&target, &offers)).text();
    assert!(text.starts_with("GET /ws?room=1 HTTP/1.1\r\n"), "{text}");
    assert!(!text.contains(&good), "{text}");
    let text = text.to_lowercase();
    assert!(
        text.contains("\r\nsec-websocket-protocol: chat\r\n"),
        "{text}"
    );
    assert!(!text.contains("authorization"), "{text}");
    // An Authorization field counts, and two tokens for none; they are secrets all the same.
    let bearer = format!("{offers}Authorization: Bearer {good}\r\n");
    let twice = format!("{target}&access_token=two");
    for (target, lines) in [(&target, &bearer), (&twice, &bearer)] {
        let text = answer_to(&daemon, &upgrade(target, lines)).text();
        assert!(text.starts_with("GET /ws?room=1 HTTP/1.1\r\n"), "{text}");
        assert!(
            text.contains("ocol: chat\r\n") && !text.contains("auth-"),
            "{text}"
        );
    }
    // Nor does an upstream see one that no authenticator is there for.
    let unguarded = proxy(echoing()).start();
    let text = answer_to(&unguarded, &upgrade(&target, &offers)).text();
    assert!(text.starts_with("GET /ws?room=1 HTTP/1.1\r\n"), "{text}");
    assert!(!text.contains(&good), "{text}");
    // A plugin that selects the first subprotocol selects the first that is none.
    let daemon = guarded(Daemon::builder("stage-websocket"));
    let chosen = |offers: &str| {
        let lines = format!("{offers}x-test-upgrade: protocol\r\n");
        answer_to(&daemon, &upgrade("/ws", &lines))
    };
    let answer = chosen(&offers);
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-protocol"), Some("chat"));
    let lines = format!("Sec-WebSocket-Protocol: auth-{good}\r\n");
    let answer = answer_to(&daemon, &upgrade("/ws", &lines));
    assert_eq!(
        (answer.status, answer.header("sec-websocket-protocol")),
        (101, None)
    );
    // Without an authenticator that takes it, it is the plugin's.
    let daemon = Daemon::start("stage-websocket");
    let lines = "Sec-WebSocket-Protocol: auth-mine\r\nx-test-upgrade: protocol\r\n";
    let answer = answer_to(&daemon, &upgrade("/ws", lines));
    assert_eq!(answer.header("sec-websocket-protocol"), Some("auth-mine"));
}
