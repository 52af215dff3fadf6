//! Certificates that clients get, and files that are no use. Those in `tests/files` were made once, for
//! tests alone, and hold from 2020 to 2120: `ca.pem` signed all others. `first.pem`, `renewed.pem` and
//! `rsa.pem` are for `localhost`, the last for `rsa.test` too; `second.pem` is for `second.test` and
//! `*.wild.test`. `expired.pem` and `early.pem` are as `first.pem` and have its key, which `encrypted.key`
//! and `legacy.key` are as well (password `x`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use futures_rustls::rustls::pki_types::pem::PemObject;
use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use futures_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

use super::certificates::Identity;
use super::*;
use crate::clock::ClockState;
use crate::data_dir::temporary_folder;
use crate::memory::Budget;

/// A folder with copies of the files, of which only their owner may read the keys.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn source(name: &str) -> PathBuf {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/tls/tests/files");
    files.join(name)
}

impl Folder {
    fn new() -> Folder {
        Folder(temporary_folder().unwrap())
    }

    fn copy(&self, name: &str) -> PathBuf {
        self.write(name, &fs::read(source(name)).unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.0.join(name);
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        file
    }

    fn pair(&self, name: &str) -> IdentityFiles {
        IdentityFiles {
            certificate: self.copy(&format!("{name}.pem")),
            key: self.copy(&format!("{name}.key")),
            is_credential: false,
        }
    }
}

fn https(files: Vec<IdentityFiles>) -> Https {
    Https::new(files, None).unwrap()
}

/// The common name of the certificate that a client gets who asks for `name`; `versions` are the
/// client's.
fn shown(
    https: &Https,
    name: Option<&str>,
    client: ClientConfig,
) -> std::result::Result<String, String> {
    let host = name.unwrap_or("127.0.0.1").to_owned();
    let name = ServerName::try_from(host).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(&https.config)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut &wire[..]).unwrap();
        server
            .process_new_packets()
            .map_err(|error| error.to_string())?;
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut &wire[..]).unwrap();
        client
            .process_new_packets()
            .map_err(|error| error.to_string())?;
    }
    let certificate = &client.peer_certificates().unwrap()[0];
    let names = ["first", "second", "rsa", "renewed", "expired"];
    let of = |name: &&&str| {
        CertificateDer::from_pem_file(source(&format!("{name}.pem"))).unwrap() == *certificate
    };
    Ok((*names.iter().find(of).unwrap()).to_owned())
}

fn client() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(source("ca.pem")).unwrap())
        .unwrap();
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate_and_the_first_is_the_default() {
    let folder = Folder::new();
    let https = https(
        ["first", "second", "rsa"]
            .map(|name| folder.pair(name))
            .to_vec(),
    );
    for (name, certificate) in [
        (Some("localhost"), "first"),
        (Some("second.test"), "second"),
        (Some("SECOND.test"), "second"),
        (Some("a.wild.test"), "second"),
        (Some("rsa.test"), "rsa"),
        (None, "first"),
    ] {
        assert_eq!(
            shown(&https, name, client()).as_deref(),
            Ok(certificate),
            "{name:?}"
        );
    }
    // The client sees that the default is not for these.
    for name in ["elsewhere.test", "wild.test", "a.b.wild.test"] {
        let refused = shown(&https, Some(name), client()).unwrap_err();
        assert!(refused.contains("not valid for name"), "{name}: {refused}");
    }
}

#[test]
fn a_client_that_knows_no_such_signature_gets_another_certificate() {
    let folder = Folder::new();
    let https = https(["first", "rsa"].map(|name| folder.pair(name)).to_vec());
    let mut provider = ring::default_provider();
    provider
        .cipher_suites
        .retain(|suite| !format!("{suite:?}").contains("ECDSA"));
    let mapping = provider.signature_verification_algorithms.mapping;
    let rsa: Vec<_> = mapping
        .iter()
        .copied()
        .filter(|(scheme, _)| format!("{scheme:?}").contains("RSA"))
        .collect();
    provider.signature_verification_algorithms.mapping = rsa.leak();
    let roots = RootCertStore::empty();
    let client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // It knows nobody who could vouch for the certificate: what counts is that hands would be shaken.
    let refused = shown(&https, Some("localhost"), client).unwrap_err();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
}

#[test]
fn a_client_that_wants_http_2_alone_is_refused() {
    let folder = Folder::new();
    let https = https(vec![folder.pair("first")]);
    let with = |protocols: &[&[u8]]| {
        let mut client = client();
        client.alpn_protocols = protocols.iter().map(|one| one.to_vec()).collect();
        shown(&https, Some("localhost"), client)
    };
    assert!(with(&[b"h2"]).unwrap_err().contains("any known protocol"));
    assert!(with(&[b"h2", b"http/1.1"]).is_ok() && with(&[]).is_ok());
}

#[test]
fn files_that_have_changed_are_read_anew_and_broken_ones_change_nothing() {
    let folder = Folder::new();
    let https = https(vec![folder.pair("first")]);
    let now = || shown(&https, Some("localhost"), client()).unwrap();
    let replace = |what: &str, name: &str| {
        folder.write(
            &format!("first.{what}"),
            &fs::read(source(&format!("{name}.{what}"))).unwrap(),
        );
    };
    replace("pem", "renewed");
    smol::block_on(https.reload());
    assert_eq!(now(), "first", "the key is still the old one");
    replace("key", "renewed");
    smol::block_on(https.reload());
    assert_eq!(now(), "renewed");
    folder.write("first.pem", b"");
    smol::block_on(https.reload());
    assert_eq!(now(), "renewed");
    fs::remove_file(folder.0.join("first.key")).unwrap();
    smol::block_on(https.reload());
    assert_eq!(now(), "renewed");
}

/// Why these two files are refused.
fn refused(certificate: &Path, key: &Path) -> String {
    let files = IdentityFiles {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        is_credential: false,
    };
    let error = Https::new(vec![files], None).err().unwrap();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[test]
fn a_file_that_is_no_use_is_named_with_what_mends_it() {
    let folder = Folder::new();
    let copy = |name: &str| folder.copy(name);
    let (certificate, key) = (copy("first.pem"), copy("first.key"));
    let pem = fs::read_to_string(&certificate).unwrap();
    let chain = fs::read_to_string(source("ca.pem")).unwrap() + &pem;
    let absent = folder.0.join("absent");
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let der = folder.write("first.der", &der);
    let key_der = PrivateKeyDer::from_pem_file(&key).unwrap();
    let key_der = folder.write("first.key.der", key_der.secret_der());
    for (certificate, key, file, reason) in [
        (
            &certificate,
            &copy("second.key"),
            "second.key",
            "it is not the key of the certificate",
        ),
        (
            &certificate,
            &copy("encrypted.key"),
            "encrypted.key",
            "openssl pkey",
        ),
        (
            &certificate,
            &copy("legacy.key"),
            "legacy.key",
            "openssl pkey",
        ),
        (
            &certificate,
            &key_der,
            "first.key.der",
            "openssl pkey -inform der",
        ),
        (
            &certificate,
            &folder.write("empty", b""),
            "empty",
            "it is empty",
        ),
        (
            &certificate,
            &copy("second.pem"),
            "second.pem",
            "it holds a certificate",
        ),
        (&certificate, &absent, "absent", "No such file"),
        (&certificate, &folder.0, "", "not a regular file"),
        (
            &certificate,
            &folder.write("noise", b"noise"),
            "noise",
            "there is no private key",
        ),
        (
            &certificate,
            &folder.write("cut", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"),
            "cut",
            "it ends too early",
        ),
        (
            &certificate,
            &folder.write(
                "bad",
                b"-----BEGIN PRIVATE KEY-----\n*hunter2*\n-----END PRIVATE KEY-----\n",
            ),
            "bad",
            "base64",
        ),
        (
            &copy("p521.pem"),
            &copy("p521.key"),
            "p521.key",
            "ECDSA on P-256",
        ),
        (
            &key,
            &key,
            "first.key",
            "it holds a private key and no certificate",
        ),
        (&der, &key, "first.der", "openssl x509 -inform der"),
        (
            &folder.write("nothing", b""),
            &key,
            "nothing",
            "it is empty",
        ),
        (&absent, &key, "absent", "No such file"),
        (
            &folder.write("large", &[b'\n'; (64 << 10) + 1]),
            &key,
            "large",
            "more than 64 KiB",
        ),
        (
            &folder.write("chain", chain.as_bytes()),
            &key,
            "chain",
            "is not the first",
        ),
        (
            &folder.write(
                "wrong",
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            ),
            &key,
            "wrong",
            "its first certificate cannot be read",
        ),
    ] {
        let said = refused(certificate, key);
        assert!(
            said.contains(reason) && said.contains(file),
            "{file}: {said}"
        );
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn byte_order_marks_hide_no_certificate_and_no_key() {
    let folder = Folder::new();
    let marked = |names: &[&str]| {
        let texts = names.iter().map(|name| fs::read(source(name)).unwrap());
        let marked = texts.flat_map(|text| [b"\xef\xbb\xbf", &text[..]].concat());
        folder.write(names[0], &marked.collect::<Vec<_>>())
    };
    let files = IdentityFiles {
        certificate: marked(&["first.pem", "ca.pem"]),
        key: marked(&["first.key"]),
        is_credential: false,
    };
    let chain = super::pem::certificates(&fs::read(&files.certificate).unwrap()).unwrap();
    assert_eq!(chain.len(), 2);
    let https = https(vec![files]);
    assert_eq!(shown(&https, Some("localhost"), client()).unwrap(), "first");
}

#[test]
fn a_key_that_others_may_read_is_refused_unless_systemd_guards_it() {
    let folder = Folder::new();
    let mut files = folder.pair("first");
    for mode in [0o644, 0o640, 0o604, 0o660] {
        fs::set_permissions(&files.key, PermissionsExt::from_mode(mode)).unwrap();
        let said = refused(&files.certificate, &files.key);
        assert!(
            said.contains("run `chmod 600 ") && said.contains("first.key"),
            "{said}"
        );
    }
    // One file with both is as secret as the key.
    let both = [
        fs::read(&files.certificate).unwrap(),
        fs::read(&files.key).unwrap(),
    ]
    .concat();
    let both = folder.write("both.pem", &both);
    fs::set_permissions(&both, PermissionsExt::from_mode(0o644)).unwrap();
    assert!(refused(&both, &both).contains("run `chmod 600 "));
    fs::set_permissions(&both, PermissionsExt::from_mode(0o400)).unwrap();
    let one = IdentityFiles {
        certificate: both.clone(),
        key: both,
        is_credential: false,
    };
    assert_eq!(
        shown(&https(vec![one]), Some("localhost"), client()).unwrap(),
        "first"
    );
    fs::set_permissions(&files.key, PermissionsExt::from_mode(0o440)).unwrap();
    files.is_credential = true;
    assert_eq!(
        shown(&https(vec![files]), Some("localhost"), client()).unwrap(),
        "first"
    );
}

#[test]
fn what_is_kept_is_charged_and_dates_that_do_not_hold_are_told() {
    let folder = Folder::new();
    let (budget, key) = (Budget::new(1 << 20), folder.copy("first.key"));
    let identity = |name: &str, budget: &Arc<Budget>| {
        let files = IdentityFiles {
            certificate: folder.copy(name),
            key: key.clone(),
            is_credential: false,
        };
        Identity::read(&files, &ring::default_provider(), None, |bytes| {
            budget.reserve(bytes)
        })
    };
    let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let complaint = |name: &str| {
        identity(name, &budget)
            .unwrap()
            .complaint(now, ClockState::Floor)
    };
    assert_eq!(complaint("first.pem"), None);
    let unset = identity("early.pem", &budget).unwrap();
    assert_eq!(unset.complaint(now, ClockState::Unset), None);
    drop(unset);
    let early = complaint("early.pem").unwrap();
    assert!(
        early.contains("before Wed, 01 Jan 2110") && early.contains("clock says Tue, 14 Nov 2023"),
        "{early}"
    );
    let expired = complaint("expired.pem").unwrap();
    assert!(expired.contains("expired at Fri, 01 Jan 2021"), "{expired}");
    assert_eq!(budget.used(), 0);
    let held = identity("first.pem", &budget).unwrap();
    assert!(budget.used() > 1000);
    drop(held);
    let told = identity("first.pem", &Budget::new(1000))
        .err()
        .unwrap()
        .to_string();
    assert!(told.contains("too large together"), "{told}");
}
