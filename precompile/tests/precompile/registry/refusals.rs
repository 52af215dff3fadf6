//! What becomes of what a registry says, and of files that do not belong there.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::answers::{Answer, Answers, Asked, authority, holding, manifest};
use super::{component, digest, files, folder, plain, read, run};
use crate::support::{Run, TempDir, module};

const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const WASM: &str = "application/wasm";

/// Pulls from it into `got`, where something lies already; whatever is told, that is still there, and nothing
/// beside it.
fn pull(registry: &Answers, code: i32) -> String {
    let dir = folder();
    dir.file("got", "older");
    let place = format!("{}/a/web:v1", registry.address);
    let told = plain(&dir, &["pull", &place, "-o", "got"]).expect(code);
    assert_eq!(read(&dir, "got"), b"older");
    assert_eq!(files(&dir), ["got"]);
    told.stderr
}

fn tells(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_registry_that_fails_is_told_with_its_own_words() {
    let registry = Answers::start(|_| Answer::new(500, "the disk is\nfull \x1b[2J"));
    let said = pull(&registry, 3);
    tells(
        &said,
        &[&registry.address, "500, the disk is full \\u{1b}[2J"],
    );
    let dir = folder();
    let place = format!("{}/web:v1", registry.address);
    let told = plain(&dir, &["push", "web.wasm", &place, "--json"])
        .expect(3)
        .json();
    assert_eq!(told["error"]["code"], 3);
    tells(told["error"]["message"].as_str().unwrap(), &["500"]);
}

#[test]
fn who_may_not_is_told_apart_from_who_is_not_known() {
    let registry = Answers::start(|asked| match asked.path.as_str() {
        "/v2/" => Answer::new(200, "{}"),
        _ => Answer::new(
            403,
            r#"{"errors":[{"code":"DENIED","message":"not for you"}]}"#,
        ),
    });
    tells(&pull(&registry, 1), &["(403)", "not for you"]);
    let registry = Answers::start(|_| Answer::new(401, ""));
    tells(&pull(&registry, 1), &["wants a password (401)"]);
}

#[test]
fn a_file_that_stops_coming_is_not_kept() {
    let file = component("zlayer-plugin");
    let answers = holding(&manifest(CONFIG, WASM, &file), &file[..file.len() / 2]);
    let registry = Answers::start(move |asked| match asked.path.contains("/blobs/") {
        true => answers(asked).cut(),
        false => answers(asked),
    });
    tells(
        &pull(&registry, 3),
        &["cannot speak with", &registry.address],
    );
    // Whole by its head, and shorter than its manifest says.
    let registry = Answers::start(holding(&manifest(CONFIG, WASM, &file), &file[..100]));
    tells(
        &pull(&registry, 1),
        &["what comes is sha256:", "nothing was kept"],
    );
}

#[test]
fn a_file_that_is_not_what_its_digest_says_is_not_kept() {
    let file = component("zlayer-plugin");
    let mut other = file.clone();
    other[100] ^= 1;
    let registry = Answers::start(holding(&manifest(CONFIG, WASM, &file), &other));
    tells(
        &pull(&registry, 1),
        &[&digest(&file), &digest(&other), "nothing was kept"],
    );
    // Longer than it says: it is not read to its end, which may never come.
    let longer = [file.clone(), vec![0; 1 << 20]].concat();
    let registry = Answers::start(holding(&manifest(CONFIG, WASM, &file), &longer));
    tells(&pull(&registry, 1), &["more comes than the"]);
}

#[test]
fn a_manifest_that_is_not_what_its_digest_says_is_refused() {
    let file = component("zlayer-plugin");
    let document = manifest(CONFIG, WASM, &file);
    let registry = Answers::start(holding(&document, &file));
    let dir = folder();
    let wanted = digest(b"another one");
    let place = format!("{}/web@{wanted}", registry.address);
    let told = plain(&dir, &["pull", &place, "-o", "got"]).expect(1);
    tells(
        &told.stderr,
        &[&wanted, &digest(document.to_string().as_bytes())],
    );

    // The same of one that an index names: here the index's own bytes come again.
    let index = json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest(document.to_string().as_bytes()),
            "size": 1,
            "platform": { "architecture": "wasm", "os": "wasip2" },
        }],
    });
    let registry = Answers::start(holding(&index, &file));
    tells(
        &pull(&registry, 1),
        &["and should be", &digest(document.to_string().as_bytes())],
    );
    assert_eq!(files(&dir), [""; 0]);
}

#[test]
fn what_is_there_and_is_nothing_of_ours_is_called_by_its_name() {
    for (document, says) in [
        (
            manifest(
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar+gzip",
                b"x",
            ),
            "a container image",
        ),
        (
            manifest(CONFIG, "text/plain", b"x"),
            "its file is text/plain",
        ),
        (json!({ "errors": [] }), "neither a manifest nor an index"),
        (
            json!({
                "schemaVersion": 2,
                "config": { "mediaType": CONFIG, "digest": digest(b"{}"), "size": 2 },
                "layers": [],
            }),
            "it has 0 files, not one",
        ),
        (
            json!({
                "schemaVersion": 2,
                "config": { "mediaType": CONFIG, "digest": digest(b"{}"), "size": 2 },
                "layers": [{ "mediaType": WASM, "digest": "md5:00", "size": 1 }],
            }),
            "the digest 'md5:00'",
        ),
        (
            json!({
                "schemaVersion": 2,
                "config": { "mediaType": CONFIG, "digest": digest(b"{}"), "size": 2 },
                "layers": [{ "mediaType": WASM, "digest": digest(b"x"), "size": 1_u64 << 40 }],
            }),
            "too large",
        ),
        (
            json!({ "schemaVersion": 2, "manifests": [] }),
            "nothing for any platform",
        ),
    ] {
        let registry = Answers::start(holding(&document, b"x"));
        tells(&pull(&registry, 1), &[says]);
    }
}

#[test]
fn a_component_that_is_none_does_not_get_into_a_bundle() {
    let registry = Answers::start(holding(&manifest(CONFIG, WASM, b"no wasm"), b"no wasm"));
    let dir = folder();
    let place = format!("{}/a/web:v1", registry.address);
    let deployment =
        format!("version: v1\ndeployment: app\nservices:\n  web:\n    image: {place}\n");
    dir.file("deployment.yaml", deployment);
    let told = plain(&dir, &["pack", "deployment.yaml", "--target", "x86_64"]).expect(1);
    tells(
        &told.stderr,
        &["deployment.yaml:5:12", &place, "it is not WebAssembly"],
    );
    assert_eq!(files(&dir), ["deployment.yaml"]);
}

#[test]
fn plain_http_for_a_deployment_is_for_registries_on_this_machine_alone() {
    let file = component("zlayer-plugin");
    let registry = Answers::start(holding(&manifest(CONFIG, WASM, &file), &file));
    let dir = folder();
    let near = format!("{}/a/web:v1", registry.address);
    let deployment = format!(
        "version: v1\ndeployment: app\nservices:\n  web:\n    image: {near}\n  api:\n    \
         image: registry.example/api:v1\n"
    );
    dir.file("deployment.yaml", deployment);
    let told = plain(&dir, &["pack", "deployment.yaml", "--target", "x86_64"]).expect(1);
    let says =
        "deployment.yaml:7:12: services.api.image: registry: registry.example is another machine";
    tells(&told.stderr, &[says]);
    assert_eq!(registry.asked().len(), 0);
    assert_eq!(files(&dir), ["deployment.yaml"]);
}

#[test]
fn a_token_is_fetched_where_the_registry_sends_for_it_and_the_password_goes_nowhere_else() {
    let file = component("zlayer-plugin");
    let elsewhere = {
        let file = file.clone();
        Answers::start(move |_| Answer::new(200, file.as_slice()))
    };
    let token = Answers::start(|_| Answer::new(200, r#"{"token": "t0ken"}"#));
    let challenge = format!(
        r#"Bearer realm="http://{}/token",service="s""#,
        token.address
    );
    let there = format!("http://{}/blob", elsewhere.address);
    let answers = holding(&manifest(CONFIG, WASM, &file), b"");
    let registry = Answers::start(move |asked| match asked.authorization.as_deref() {
        // As registries do that keep files in a cloud.
        Some("Bearer t0ken") if asked.path.contains("/blobs/") => {
            Answer::new(307, "").with("Location", there.clone())
        }
        Some("Bearer t0ken") => answers(asked),
        _ => Answer::new(401, "").with("WWW-Authenticate", challenge.clone()),
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
    // me:hunter2
    let basic = Some("Basic bWU6aHVudGVyMg==");
    let asked = token.asked();
    assert!(
        asked
            .iter()
            .all(|one| one.authorization.as_deref() == basic),
        "{asked:?}"
    );
    assert!(
        asked
            .iter()
            .any(|one| one.path.contains("scope=repository%3Aa%2Fweb%3Apull")),
        "{asked:?}"
    );
    let asked = registry.asked();
    assert!(
        asked
            .iter()
            .all(|one| one.authorization.as_deref() != basic),
        "{asked:?}"
    );
    let asked = elsewhere.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].authorization, None);
}

/// Pushes or pulls over TLS as somebody with a password.
fn over_tls(dir: &TempDir, words: &[&str], registry: &Answers, more: &[(&str, &str)]) -> Run {
    let authority = authority();
    let environment = [
        ("SSL_CERT_FILE", authority.to_str().unwrap()),
        ("ZLAYER_REGISTRY", registry.address.as_str()),
        ("ZLAYER_REGISTRY_USERNAME", "me"),
        ("ZLAYER_REGISTRY_PASSWORD", "hunter2"),
    ];
    run(dir, words, &[&environment, more].concat())
}

#[test]
fn what_a_registry_with_tls_leads_to_without_it_gets_nothing() {
    let file = component("zlayer-plugin");
    let elsewhere = Answers::start(|_| Answer::new(200, r#"{"token": "t0ken"}"#));
    let there = format!("http://{}/there", elsewhere.address);
    let document = manifest(CONFIG, WASM, &file);
    type Script = Box<dyn Fn(&Asked) -> Answer + Send>;
    let token: Script = {
        let challenge = format!(r#"Bearer realm="{there}",service="s""#);
        Box::new(move |_| Answer::new(401, "").with("WWW-Authenticate", challenge.clone()))
    };
    let redirect: Script = {
        let (answers, there) = (holding(&document, b""), there.clone());
        Box::new(move |asked| match asked.path.as_str() {
            "/v2/" => Answer::new(401, "").with("WWW-Authenticate", "Basic realm=\"r\""),
            path if path.contains("/blobs/") => {
                let code = if asked.method == "POST" { 202 } else { 307 };
                Answer::new(code, "").with("Location", there.clone())
            }
            _ => answers(asked),
        })
    };
    let upload: Script = Box::new(move |asked| match asked.method.as_str() {
        "POST" => Answer::new(202, "").with("Location", there.clone()),
        "HEAD" => Answer::new(404, ""),
        _ => Answer::new(401, "").with("WWW-Authenticate", "Basic realm=\"r\""),
    });
    for (script, verbs) in [
        (token, &["push", "pull"][..]),
        (redirect, &["push", "pull"]),
        (upload, &["push"]),
    ] {
        let registry = Answers::start_tls(script);
        let place = format!("{}/a/web:v1", registry.address);
        for verb in verbs {
            let dir = folder();
            let words = match *verb {
                "push" => ["push", "web.wasm", &place, "--json"],
                _ => ["pull", &place, "--output=got", "--json"],
            };
            // Neither what the environment names nor what it excepts changes that.
            let all = [
                ("NO_PROXY", "*"),
                ("http_proxy", elsewhere.address.as_str()),
            ];
            for more in [&[][..], &all] {
                let told = over_tls(&dir, &words, &registry, more).expect(1).json();
                tells(
                    told["error"]["message"].as_str().unwrap(),
                    &[&registry.address, "without TLS (http://); nothing was sent"],
                );
            }
            assert_eq!(files(&dir), [""; 0]);
        }
        assert!(!registry.asked().is_empty());
    }
    let asked = elsewhere.asked();
    assert!(asked.is_empty(), "{asked:?}");
}

#[test]
fn a_registry_with_tls_is_asked_through_the_proxy_that_the_environment_names() {
    let file = component("zlayer-plugin");
    let registry = Answers::start_tls(holding(&manifest(CONFIG, WASM, &file), &file));
    let proxy = Answers::start(|_| Answer::new(503, ""));
    let place = format!("{}/a/web:v1", registry.address);
    let dir = folder();
    let words = ["pull", &place, "-o", "got"];
    let named = ("HTTPS_PROXY", proxy.address.as_str());
    over_tls(&dir, &words, &registry, &[named]).expect(3);
    let asked = proxy.asked();
    assert!(
        asked.len() == 1 && asked[0].method == "CONNECT" && asked[0].path == registry.address,
        "{asked:?}"
    );
    let excepted = ("NO_PROXY", "localhost");
    over_tls(&dir, &words, &registry, &[named, excepted]).expect(0);
    assert_eq!(read(&dir, "got"), file);
    assert_eq!(proxy.asked().len(), 1);
}

#[test]
fn a_registry_that_does_not_say_where_it_put_something_is_believed() {
    // As one large cloud's does.
    static PUT: AtomicUsize = AtomicUsize::new(0);
    let registry = Answers::start(|asked| match asked.method.as_str() {
        "GET" => Answer::new(200, "{}"),
        "HEAD" => Answer::new(404, ""),
        "POST" => Answer::new(202, "").with("Location", "/upload?state=x"),
        _ if asked.path.contains("/manifests/") => {
            PUT.fetch_add(1, Ordering::SeqCst);
            Answer::new(201, "")
        }
        _ => Answer::new(201, "").with("Location", "/somewhere"),
    });
    let dir = folder();
    Run::new(&dir, &["build", "web.wasm", "--target", "x86_64,armv7"]).expect(0);
    let place = format!("{}/web:v1", registry.address);
    plain(
        &dir,
        &["push", "web.x86_64.cwasm", "web.armv7.cwasm", &place],
    )
    .expect(0);
    // Two manifests, and the index last.
    assert_eq!(PUT.load(Ordering::SeqCst), 3);
    let mut documents = registry.asked().into_iter();
    let last = documents.rfind(|one| one.method == "PUT");
    assert!(last.is_some_and(|one| one.path.ends_with("/manifests/v1")));
}

/// Files of every kind.
fn all_kinds() -> TempDir {
    let dir = folder();
    dir.file("core.wasm", module("zlayer-plugin", &[]));
    dir.file("none.wasm", wat::parse_str("(component)").unwrap());
    dir.file("text.wasm", "hello");
    Run::new(&dir, &["build", "web.wasm", "--target", "x86_64,armv7"]).expect(0);
    let mut damaged = read(&dir, "web.x86_64.cwasm");
    damaged[5000] ^= 1;
    dir.file("damaged.cwasm", damaged);
    dir.file("copy.cwasm", read(&dir, "web.x86_64.cwasm"));
    dir
}

#[test]
fn what_no_device_takes_or_does_not_go_together_is_refused_before_anybody_is_asked() {
    let dir = all_kinds();
    let registry = Answers::start(|_| Answer::new(500, "nobody should ask"));
    let place = format!("{}/web:v1", registry.address);
    for (names, code, says) in [
        (&["core.wasm"][..], 1, "it is a core module"),
        (&["none.wasm"], 1, "none.wasm"),
        (&["text.wasm"], 1, "it is not WebAssembly"),
        (&["nothing.wasm"], 3, "nothing.wasm"),
        (&["damaged.cwasm"], 18, "damaged.cwasm"),
        (&["web.wasm", "web.wasm"], 1, "a second component"),
        (
            &["web.wasm", "web.armv7.cwasm"],
            1,
            "under one name goes one kind",
        ),
        (
            &["web.armv7.cwasm", "web.x86_64.cwasm", "copy.cwasm"],
            1,
            "copy.cwasm: it is for x86_64, as web.x86_64.cwasm is",
        ),
        (&[], 2, "push wants files"),
    ] {
        let words = [&["push"], names, &[place.as_str()]].concat();
        let told = plain(&dir, &words).expect(code);
        tells(&told.stderr, &[says]);
    }
    for (place, code, says) in [
        ("web:v1", 1, "names no registry"),
        ("https://registry.example/web:v1", 1, "without the scheme"),
        (
            &format!("registry.example/web@{}", digest(b"")),
            2,
            "follows from the files",
        ),
    ] {
        let told = run(&dir, &["push", "web.wasm", place], &[]).expect(code);
        tells(&told.stderr, &[says]);
    }
    assert!(registry.asked().is_empty());
}

#[test]
fn a_layout_is_made_in_a_new_folder_or_added_to_and_nowhere_else() {
    let dir = folder();
    let export = |words: &[&str], code| run(&dir, &[&["export"], words].concat(), &[]).expect(code);
    let told = export(&["web.wasm", "--name", "ghcr.io/myorg/web:v1", "--json"], 0).json();
    assert_eq!(told["folder"], "web-oci");
    let layout = String::from_utf8(read(&dir, "web-oci/oci-layout")).unwrap();
    assert_eq!(layout, r#"{"imageLayoutVersion":"1.0.0"}"#);
    for blob in std::fs::read_dir(dir.path().join("web-oci/blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(
            digest(&std::fs::read(&path).unwrap()),
            format!("sha256:{name}")
        );
    }
    // A second one under the same name takes its place, as with skopeo and oras, and another stands beside it.
    for name in ["ghcr.io/myorg/web:v1", "web:v2", "web:v2"] {
        export(&["web.wasm", "-n", name, "-o", "web-oci"], 0);
    }
    let index: serde_json::Value =
        serde_json::from_slice(&read(&dir, "web-oci/index.json")).unwrap();
    let manifests = index["manifests"].as_array().unwrap();
    let names: Vec<_> = { manifests.iter() }
        .map(|one| &one["annotations"]["org.opencontainers.image.ref.name"])
        .collect();
    assert_eq!(names, ["ghcr.io/myorg/web:v1", "web:v2"]);
    std::fs::create_dir(dir.path().join("mine")).unwrap();
    dir.file("mine/notes", "mine");
    let told = export(&["web.wasm", "-n", "web:v1", "-o", "mine"], 3);
    tells(&told.stderr, &["mine", "something else", "-o"]);
    std::fs::remove_dir_all(dir.path().join("mine")).unwrap();
    for name in ["", "a b", "ghcr.io/"] {
        export(&["web.wasm", "--name", name], 2);
    }
    assert_eq!(files(&dir), ["web-oci"]);
}
