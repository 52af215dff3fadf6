//! Against Debian's registry.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::server::DockerRegistry;
use super::{
    HTPASSWD, PASSWORD, USER, component, digest, files, folder, plain, read, real_registry, run,
};
use crate::support::{Run, TempDir};

/// How long the registry may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

const TARGETS: [&str; 3] = ["x86_64", "aarch64", "armv7"];

/// A document as the registry has it: the whole body of its answer.
fn document(registry: &DockerRegistry, name: &str, tag: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(&registry.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET /v2/{name}/manifests/{tag} HTTP/1.0\r\nHost: {}\r\n\
         Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json\r\n\r\n",
        registry.address
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let (head, body) = answer.split_at(end + 4);
    assert!(
        head.starts_with(b"HTTP/1.0 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    body.to_vec()
}

fn parse(document: &[u8]) -> Value {
    serde_json::from_slice(document).unwrap()
}

#[test]
fn a_component_is_laid_out_as_the_guide_for_wasm_artifacts_has_it() {
    let dir = folder();
    let Some(registry) = real_registry(&dir, None) else {
        return;
    };
    let place = format!("{}/plugins/web:v1", registry.address);
    let pushed = plain(&dir, &["push", "web.wasm", &place, "--json"])
        .expect(0)
        .json();
    let bytes = read(&dir, "web.wasm");
    let document = document(&registry, "plugins/web", "v1");
    assert_eq!(pushed["digest"], digest(&document));
    assert_eq!(pushed["kind"], "component");
    assert_eq!(pushed["platforms"], json!([]));
    let document = parse(&document);
    for (path, value) in [
        ("/schemaVersion", json!(2)),
        (
            "/mediaType",
            json!("application/vnd.oci.image.manifest.v1+json"),
        ),
        (
            "/artifactType",
            json!("application/vnd.wasm.component.v1+wasm"),
        ),
        (
            "/config/mediaType",
            json!("application/vnd.wasm.config.v0+json"),
        ),
        ("/layers/0/mediaType", json!("application/wasm")),
        ("/layers/0/digest", json!(digest(&bytes))),
        ("/layers/0/size", json!(bytes.len())),
    ] {
        assert_eq!(document.pointer(path), Some(&value), "{path}");
    }
    assert_eq!(document["layers"].as_array().map(Vec::len), Some(1));

    let pulled = plain(&dir, &["pull", &place, "-o", "back.wasm", "--json"])
        .expect(0)
        .json();
    assert_eq!(read(&dir, "back.wasm"), bytes);
    assert_eq!(pulled["digest"], pushed["digest"]);
    // What it is pinned to is a reference itself, and leads to the same.
    let pinned = pulled["pinned"].as_str().unwrap();
    plain(&dir, &["pull", pinned, "-o", "pinned.wasm"]).expect(0);
    assert_eq!(read(&dir, "pinned.wasm"), bytes);

    // The same file is the same content, from wherever and whenever it is pushed.
    let other = format!("{}/other/web:v2", registry.address);
    let again = plain(&dir, &["push", "web.wasm", &other, "--json"])
        .expect(0)
        .json();
    assert_eq!(again["digest"], pushed["digest"]);
}

#[test]
fn the_description_of_a_component_says_what_it_imports_and_exports() {
    let dir = folder();
    plain_export(&dir, &["web.wasm", "--name", "web:v1", "-o", "out"]);
    let blob = |digest: &Value| {
        let name = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        parse(&read(&dir, &format!("out/blobs/sha256/{name}")))
    };
    let index = parse(&read(&dir, "out/index.json"));
    let manifest = blob(&index["manifests"][0]["digest"]);
    let config = blob(&manifest["config"]["digest"]);
    assert_eq!(config["architecture"], "wasm");
    assert_eq!(config["os"], "wasip2");
    assert_eq!(config["created"], "1970-01-01T00:00:00Z");
    assert_eq!(
        config["layerDigests"],
        json!([manifest["layers"][0]["digest"]])
    );
    let names = |key: &str| {
        let names = config["component"][key].as_array().unwrap();
        names
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert!(
        names("exports").contains("zlayer:plugin/handler@0.1.0"),
        "{config}"
    );
    assert!(
        names("imports").contains("zlayer:plugin/config@0.1.0"),
        "{config}"
    );
}

/// `export`, which speaks with nobody.
fn plain_export(dir: &TempDir, words: &[&str]) -> Run {
    run(dir, &[&["export"], words].concat(), &[]).expect(0)
}

#[test]
fn compiled_artifacts_are_an_index_with_a_manifest_for_each_platform() {
    let dir = folder();
    let Some(registry) = real_registry(&dir, None) else {
        return;
    };
    Run::new(
        &dir,
        &["build", "web.wasm", "--target", "x86_64,aarch64,armv7"],
    )
    .expect(0);
    let names = TARGETS.map(|target| format!("web.{target}.cwasm"));
    let [x86_64, aarch64, armv7] = names.each_ref().map(String::as_str);
    let place = format!("{}/web:v1", registry.address);
    let words = ["push", armv7, x86_64, aarch64, &place, "--json"];
    let pushed = plain(&dir, &words).expect(0).json();
    assert_eq!(
        pushed["platforms"],
        json!(["linux/amd64", "linux/arm64", "linux/arm/v7"])
    );

    let index = parse(&document(&registry, "web", "v1"));
    assert_eq!(
        index["mediaType"],
        "application/vnd.oci.image.index.v1+json"
    );
    assert_eq!(index["artifactType"], "application/vnd.zlayer.artifact.v1");
    let platforms: Vec<&Value> = { index["manifests"].as_array().unwrap().iter() }
        .map(|one| &one["platform"])
        .collect();
    assert_eq!(
        json!(platforms),
        json!([
            { "architecture": "amd64", "os": "linux" },
            { "architecture": "arm64", "os": "linux" },
            { "architecture": "arm", "os": "linux", "variant": "v7" },
        ])
    );
    for (target, name) in TARGETS.iter().zip(&names) {
        plain(&dir, &["pull", &place, "--target", target, "-o", "back"]).expect(0);
        assert_eq!(read(&dir, "back"), read(&dir, name), "{target}");
    }
    // Whatever order they are named in.
    let words = ["push", x86_64, aarch64, armv7, &place, "--json"];
    assert_eq!(
        plain(&dir, &words).expect(0).json()["digest"],
        pushed["digest"]
    );

    // One of them alone is an index, too, and who misses one is told what there is.
    let one = format!("{}/web:one", registry.address);
    plain(&dir, &["push", armv7, &one]).expect(0);
    let refused = plain(&dir, &["pull", &one, "--target", "aarch64", "-o", "none"]).expect(1);
    for part in ["aarch64 (linux/arm64)", "there is linux/arm/v7", "--target"] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    assert!(!dir.path().join("none").exists());
    // Unless somebody says otherwise, the file is called what `build` called it.
    fs::remove_file(dir.path().join(armv7)).unwrap();
    plain(&dir, &["pull", &one, "--target", "armv7"]).expect(0);
    assert!(dir.path().join(armv7).is_file());
}

#[test]
fn bundles_are_an_index_and_a_device_finds_its_own() {
    let dir = folder();
    let Some(registry) = real_registry(&dir, None) else {
        return;
    };
    dir.file("deployment.yaml", deployment("./web.wasm"));
    let place = format!("{}/app:r1", registry.address);
    for target in ["aarch64", "armv7"] {
        Run::new(&dir, &["pack", "deployment.yaml", "--target", target]).expect(0);
    }
    let words = ["push", "app.aarch64.zlb", "app.armv7.zlb", &place, "--json"];
    let pushed = plain(&dir, &words).expect(0).json();
    assert_eq!(pushed["kind"], "bundle");
    let index = parse(&document(&registry, "app", "r1"));
    assert_eq!(index["artifactType"], "application/vnd.zlayer.bundle.v1");
    plain(
        &dir,
        &["pull", &place, "--target", "armv7", "-o", "back.zlb"],
    )
    .expect(0);
    assert_eq!(read(&dir, "back.zlb"), read(&dir, "app.armv7.zlb"));
    // A service is a plugin.
    dir.file("deployment.yaml", deployment(&place));
    let words = ["pack", "deployment.yaml", "--target", "armv7"];
    let refused = plain(&dir, &words).expect(1);
    assert!(
        refused.stderr.contains("it is a bundle"),
        "{}",
        refused.stderr
    );
}

/// A deployment of one service.
fn deployment(image: &str) -> String {
    format!("version: v1\ndeployment: app\nservices:\n  web:\n    image: {image}\n")
}

#[test]
fn a_deployment_has_its_plugin_from_a_registry_and_says_which_it_was() {
    let dir = folder();
    let Some(registry) = real_registry(&dir, None) else {
        return;
    };
    let tag = format!("{}/plugins/web:v1", registry.address);
    let push = |file: &str| {
        let pushed = plain(&dir, &["push", file, &tag, "--json"])
            .expect(0)
            .json();
        pushed["pinned"].as_str().unwrap().to_owned()
    };
    let pack = |image: &str, output: &str| {
        dir.file("deployment.yaml", deployment(image));
        let words = [
            "pack",
            "deployment.yaml",
            "--target",
            "x86_64",
            "-o",
            output,
        ];
        plain(&dir, &words).expect(0)
    };
    let pinned = push("web.wasm");
    let packed = pack(&tag, "tag.zlb");
    assert!(packed.stdout.contains(&pinned), "{}", packed.stdout);
    let inspected = Run::new(&dir, &["inspect", "tag.zlb"]).expect(0);
    assert!(inspected.stdout.contains(&pinned), "{}", inspected.stdout);
    let inspected = Run::new(&dir, &["inspect", "tag.zlb", "--json"])
        .expect(0)
        .json();
    assert_eq!(inspected["services"][0]["image"], pinned);
    assert_eq!(inspected["services"][0]["plugin"], "web");

    // As long as the tag leads there, the same bytes; by the digest always, and they are those of the file but
    // for the place.
    pack(&tag, "again.zlb");
    assert_eq!(read(&dir, "again.zlb"), read(&dir, "tag.zlb"));
    pack(&pinned, "pinned.zlb");
    assert_eq!(read(&dir, "pinned.zlb"), read(&dir, "tag.zlb"));
    pack("./web.wasm", "file.zlb");
    let differences = Run::new(&dir, &["diff", "file.zlb", "tag.zlb", "--json"]);
    let differences = differences.json();
    assert_eq!(
        differences["changes"],
        json!([{ "what": "services.web.image", "from": null, "to": pinned }])
    );

    // Somebody moves the tag: what is named by its digest stays.
    dir.file("router.wasm", component("zlayer-router"));
    let moved = push("router.wasm");
    assert_ne!(moved, pinned);
    pack(&pinned, "stays.zlb");
    assert_eq!(read(&dir, "stays.zlb"), read(&dir, "tag.zlb"));
    pack(&tag, "moved.zlb");
    let inspected = Run::new(&dir, &["inspect", "moved.zlb", "--json"])
        .expect(0)
        .json();
    assert_eq!(inspected["services"][0]["image"], moved);
    assert_eq!(inspected["services"][0]["roles"], json!(["router"]));
}

#[test]
fn a_deployment_takes_the_artifact_that_is_for_its_target() {
    let dir = folder();
    let Some(registry) = real_registry(&dir, None) else {
        return;
    };
    Run::new(&dir, &["build", "web.wasm", "--target", "x86_64,armv7"]).expect(0);
    let place = format!("{}/web:compiled", registry.address);
    plain(
        &dir,
        &["push", "web.x86_64.cwasm", "web.armv7.cwasm", &place],
    )
    .expect(0);
    dir.file("deployment.yaml", deployment(&place));
    for target in ["x86_64", "armv7"] {
        plain(&dir, &["pack", "deployment.yaml", "--target", target]).expect(0);
        let bundle = read(&dir, &format!("app.{target}.zlb"));
        assert!(
            bundle.ends_with(&read(&dir, &format!("web.{target}.cwasm"))),
            "{target}"
        );
    }
    let refused = plain(&dir, &["pack", "deployment.yaml", "--target", "aarch64"]).expect(1);
    for part in [
        "deployment.yaml:5:12",
        "linux/arm64",
        "linux/amd64, linux/arm/v7",
    ] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
}

#[test]
fn a_password_comes_from_a_file_the_environment_or_docker_and_is_never_shown() {
    let dir = folder();
    let Some(registry) = real_registry(&dir, Some(HTPASSWD)) else {
        return;
    };
    let place = format!("{}/web:v1", registry.address);
    let push = ["push", "web.wasm", &place, "--plain-http"];
    let silent = |told: Run| {
        let said = format!("{}{}", told.stdout, told.stderr);
        assert!(
            !said.contains(PASSWORD) && !said.contains("b3Blbi1zZXNhbWU"),
            "{said}"
        );
        told
    };

    let nobody = silent(run(&dir, &push, &[]).expect(1));
    for part in [
        "wants a password (401)",
        "--password-file",
        "ZLAYER_REGISTRY_PASSWORD",
    ] {
        assert!(nobody.stderr.contains(part), "{part}: {}", nobody.stderr);
    }
    assert!(dir.path().join("web.wasm").exists());

    let file = dir.file("password", format!("{PASSWORD}\n"));
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    let with_file = [
        &push[..],
        &["--username", USER, "--password-file", "password"],
    ]
    .concat();
    mode(0o644);
    let open = silent(run(&dir, &with_file, &[]).expect(1));
    assert!(
        open.stderr.contains("chmod 600 password"),
        "{}",
        open.stderr
    );
    mode(0o600);
    let told = silent(run(&dir, &with_file, &[]).expect(0));
    assert_eq!(told.stderr, "");

    let wrong = [
        ("ZLAYER_REGISTRY", registry.address.as_str()),
        ("ZLAYER_REGISTRY_USERNAME", USER),
        ("ZLAYER_REGISTRY_PASSWORD", "hunter2"),
    ];
    let told = run(&dir, &push, &wrong).expect(1);
    assert!(
        told.stderr.contains("refuses the password of 'tester'"),
        "{}",
        told.stderr
    );
    assert!(!told.stderr.contains("hunter2"), "{}", told.stderr);
    let mut right = wrong;
    right[2].1 = PASSWORD;
    silent(run(&dir, &push, &right).expect(0));
    // It was given for one registry, and this is another name.
    let mut other = right;
    other[0].1 = "registry.example";
    let told = silent(run(&dir, &push, &other).expect(1));
    assert!(told.stderr.contains("wants a password"), "{}", told.stderr);

    // tester:open-sesame
    let auth = "dGVzdGVyOm9wZW4tc2VzYW1l";
    let config = format!(
        r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#,
        registry.address
    );
    fs::create_dir(dir.path().join("docker")).unwrap();
    dir.file("docker/config.json", config);
    silent(run(&dir, &push, &[]).expect(0));
    dir.file("deployment.yaml", deployment(&place));
    let words = ["pack", "deployment.yaml", "--target", "x86_64"];
    silent(plain(&dir, &words).expect(0));
    dir.file("docker/config.json", r#"{"credsStore": "desktop"}"#);
    let told = silent(run(&dir, &push, &[]).expect(1));
    assert!(
        told.stderr.contains("docker-credential-desktop"),
        "{}",
        told.stderr
    );

    let words = [&push[..], &["--username", USER, "--password", PASSWORD]].concat();
    let warned = silent(run(&dir, &words, &[]).expect(0));
    assert!(
        warned.stderr.contains("--password-file FILE is better"),
        "{}",
        warned.stderr
    );
}

#[test]
fn plain_http_is_spoken_where_it_is_granted_and_past_the_proxy() {
    let dir = folder();
    let Some(registry) = real_registry(&dir, None) else {
        return;
    };
    let place = format!("{}/web:v1", registry.address);
    let words = ["push", "web.wasm", place.as_str()];
    let told = run(&dir, &words, &[]).expect(3);
    assert!(told.stderr.contains("--plain-http"), "{}", told.stderr);
    // Nobody listens at this port.
    let proxy = "http://127.0.0.1:1";
    let granted = ("ZLAYER_REGISTRY_PLAIN_HTTP", "1");
    run(
        &dir,
        &words,
        &[granted, ("http_proxy", proxy), ("HTTP_PROXY", proxy)],
    )
    .expect(0);
    let odd = ("ZLAYER_REGISTRY_PLAIN_HTTP", "maybe");
    run(&dir, &words, &[odd]).expect(2);
    let elsewhere = plain(&dir, &["pull", "registry.example/web:v1"]).expect(1);
    assert!(
        elsewhere.stderr.contains("another machine"),
        "{}",
        elsewhere.stderr
    );
    assert_eq!(files(&dir), [""; 0]);
}

#[test]
fn what_is_not_there_is_told_so() {
    let dir = folder();
    let Some(registry) = real_registry(&dir, None) else {
        return;
    };
    let place = format!("{}/web:v1", registry.address);
    for words in [
        &["pull", &place, "-o", "x"][..],
        &["pull", &format!("{}/no/such:v1", registry.address)],
    ] {
        let told = plain(&dir, &[words, &["--json"]].concat()).expect(1).json();
        assert_eq!(told["error"]["kind"], "refused");
        let message = told["error"]["message"].as_str().unwrap();
        assert!(
            message.contains(&format!("{} is not there (404)", words[1])),
            "{message}"
        );
    }
    assert_eq!(files(&dir), [""; 0]);
}
