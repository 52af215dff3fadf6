//! Registries that answer more than anybody asked for, or lead round and round.

use serde_json::{Value, json};

use super::answers::{Answer, Answers, Asked, authority, holding, manifest};
use super::{component, digest, folder, plain, read, run};
use crate::support::Run;

const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const WASM: &str = "application/wasm";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What the program may write to in MiB while a registry does not end.
const MEMORY: u32 = 200;

fn endless(status: u16) -> Answer {
    Answer::new(status, vec![b' '; 64 << 10]).endless()
}

/// A registry that wants a token from a service, which is this one, too, and answers that with `token`.
fn with_token(token: impl Fn() -> Answer + Send + 'static) -> Answers {
    Answers::start(move |asked| match asked.path.as_str() {
        path if path.starts_with("/token") => token(),
        _ => Answer::new(401, "").with("WWW-Authenticate", &*asked.challenge()),
    })
}

#[test]
fn an_answer_without_end_is_ended_before_it_takes_much_memory() {
    let file = component("zlayer-plugin");
    let document = manifest(CONFIG, WASM, &file);
    let there = move |asked: &Asked| match asked.path.as_str() {
        "/v2/" => Answer::new(200, "{}"),
        path if path.contains("/blobs/") => endless(404),
        _ => Answer::new(200, document.to_string()),
    };
    let upload = |asked: &Asked| match asked.method.as_str() {
        "GET" => Answer::new(200, "{}"),
        "HEAD" => Answer::new(404, ""),
        _ => endless(500),
    };
    let tag = |asked: &Asked| match asked.method.as_str() {
        "GET" => Answer::new(200, "{}"),
        "HEAD" => Answer::new(200, ""),
        _ => endless(400),
    };
    fn documents(status: u16) -> impl Fn(&Asked) -> Answer + Send + 'static {
        move |asked| match asked.path.as_str() {
            "/v2/" => Answer::new(200, "{}"),
            _ => endless(status),
        }
    }
    for (what, registry, verb) in [
        ("a manifest", Answers::start(documents(200)), "pull"),
        ("what failed", Answers::start(documents(500)), "pull"),
        ("what is wrong", Answers::start(documents(400)), "pull"),
        ("a token", with_token(|| endless(200)), "pull"),
        ("no token", with_token(|| endless(403)), "push"),
        ("no file", Answers::start(there), "pull"),
        ("no upload", Answers::start(upload), "push"),
        ("no tag", Answers::start(tag), "push"),
    ] {
        let dir = folder();
        let place = format!("{}/a/web:v1", registry.address);
        let words = match verb {
            "push" => ["push", "web.wasm", &place, "--plain-http"],
            _ => ["pull", &place, "--output=got", "--plain-http"],
        };
        let told = Run::within(MEMORY, &dir, &words, &[]).expect(1);
        assert!(
            told.stderr.contains("answers with more than 8 MiB"),
            "{what}: {}",
            told.stderr
        );
        assert!(!dir.path().join("got").exists(), "{what}");
    }
}

/// The manifest of a file, with so many bytes more that nobody needs.
fn stuffed(file: &[u8], bytes: usize) -> Value {
    let mut document = manifest(CONFIG, WASM, file);
    document["annotations"] = json!({ "a": "x".repeat(bytes) });
    document
}

#[test]
fn a_document_is_as_large_as_the_specification_wants_and_no_larger() {
    let file = component("zlayer-plugin");
    let registry = Answers::start(holding(&stuffed(&file, (4 << 20) - 1000), &file));
    let dir = folder();
    let place = format!("{}/a/web:v1", registry.address);
    let words = ["pull", &place, "-o", "got", "--plain-http"];
    Run::within(MEMORY, &dir, &words, &[]).expect(0);
    assert_eq!(read(&dir, "got"), file);
    // TLS has memory of its own, which must not count.
    let registry = Answers::start_tls(holding(&stuffed(&file, (4 << 20) - 1000), &file));
    let place = format!("{}/a/web:v1", registry.address);
    let authority = authority();
    let environment = [("SSL_CERT_FILE", authority.as_os_str())];
    let words = ["pull", &place, "-o", "secret"];
    Run::within(MEMORY, &dir, &words, &environment).expect(0);
    assert_eq!(read(&dir, "secret"), file);
    let registry = Answers::start(holding(&stuffed(&file, 4 << 20), &file));
    let place = format!("{}/a/web:v1", registry.address);
    let told = plain(&dir, &["pull", &place, "-o", "other"]).expect(1);
    assert!(
        told.stderr.contains("a document of more than 4 MiB"),
        "{}",
        told.stderr
    );
}

/// An index with these platforms, all of whose manifests are this document.
fn index(document: &Value, media_type: &str, platforms: &[&str]) -> Value {
    let manifests: Vec<Value> = { platforms.iter() }
        .map(|architecture| {
            json!({
                "mediaType": media_type,
                "digest": digest(document.to_string().as_bytes()),
                "size": 1,
                "platform": { "architecture": architecture, "os": "linux" },
            })
        })
        .collect();
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests })
}

/// What is told of an index of which each manifest is `inner`.
fn pull_of(outer: Value, inner: Value) -> String {
    let registry = Answers::start(move |asked| match asked.path.as_str() {
        "/v2/" => Answer::new(200, "{}"),
        path if path.ends_with("/v1") => Answer::new(200, outer.to_string()),
        _ => Answer::new(200, inner.to_string()),
    });
    let dir = folder();
    let place = format!("{}/a/web:v1", registry.address);
    let words = ["pull", &place, "--target", "armv7", "-o", "got"];
    plain(&dir, &words).expect(1).stderr
}

#[test]
fn an_index_leads_to_manifests_and_not_to_another_index() {
    let inner = index(&json!({}), MANIFEST, &["arm"]);
    let said = pull_of(index(&inner, INDEX, &["arm"]), inner);
    assert!(said.contains("is an index of indexes"), "{said}");
}

#[test]
fn where_the_platform_is_missing_some_of_those_that_are_there_are_named() {
    let said = pull_of(index(&json!({}), MANIFEST, &["amd64", "s390x"]), json!({}));
    assert!(
        said.contains("nothing for armv7 (linux/arm/v7); there is linux/amd64, linux/s390x"),
        "{said}"
    );
    let many = vec!["amd64"; 10_000];
    let said = pull_of(index(&json!({}), MANIFEST, &many), json!({}));
    assert!(
        said.contains("linux/amd64, and others") && said.len() < 1000,
        "{said}"
    );
}

#[test]
fn a_registry_that_sends_round_and_round_is_left() {
    let registry = Answers::start(|asked| match asked.path.as_str() {
        "/v2/" => Answer::new(200, "{}"),
        path => Answer::new(307, "").with("Location", path),
    });
    let dir = folder();
    let place = format!("{}/a/web:v1", registry.address);
    let told = plain(&dir, &["pull", &place, "-o", "got"]).expect(3);
    assert!(told.stderr.contains("redirect"), "{}", told.stderr);
}

#[test]
fn a_document_that_lies_elsewhere_is_asked_for_without_the_password() {
    let file = component("zlayer-plugin");
    let elsewhere = Answers::start(holding(&manifest(CONFIG, WASM, &file), &file));
    let there = elsewhere.address.clone();
    let registry = Answers::start(move |asked| match &asked.authorization {
        None => Answer::new(401, "").with("WWW-Authenticate", "Basic realm=\"r\""),
        Some(_) => {
            let place = format!("http://{there}{}", asked.path);
            Answer::new(307, "").with("Location", place)
        }
    });
    let dir = folder();
    let place = format!("{}/a/web:v1", registry.address);
    let environment = [
        ("ZLAYER_REGISTRY", registry.address.as_str()),
        ("ZLAYER_REGISTRY_USERNAME", "me"),
        ("ZLAYER_REGISTRY_PASSWORD", "hunter2"),
    ];
    let words = ["pull", &place, "-o", "got", "--plain-http"];
    run(&dir, &words, &environment).expect(0);
    assert_eq!(read(&dir, "got"), file);
    let asked = elsewhere.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(
        asked.iter().all(|one| one.authorization.is_none()),
        "{asked:?}"
    );
}

#[test]
fn a_token_that_fits_into_no_header_is_told_of() {
    let registry = with_token(|| Answer::new(200, r#"{"token": "a\nb"}"#));
    let dir = folder();
    let place = format!("{}/a/web:v1", registry.address);
    let told = plain(&dir, &["pull", &place, "-o", "got"]).expect(3);
    assert!(
        told.stderr.contains("fits into no header"),
        "{}",
        told.stderr
    );
}
