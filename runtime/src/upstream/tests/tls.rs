//! TLS to upstreams. The certificates in `tls/` were made once, for this alone, and hold until
//! 2120: `ca.pem` signed `server.pem`, which is for the name `localhost`, `elsewhere.pem`, which is
//! for another, and `expired.pem`, which held until 2021; their key is `server.key`. `other-ca.pem`
//! signed nothing. `later-ca.pem` signed `later.pem`, for `localhost` and from 2100 on.

use std::path::{Path, PathBuf};

use futures_rustls::TlsAcceptor;
use futures_rustls::rustls::pki_types::pem::PemObject;
use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::{ServerConfig, crypto};
use smol::Async;
use smol::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::upstream::UpstreamError;
use crate::upstream::pool::{IDLE_SHARE, TLS_SHARE};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/upstream/tests/tls")
        .join(name)
}

fn acceptor(certificate: &str) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(file(certificate)).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// An upstream that takes one connection and answers `requests` requests; it tells the name that it
/// was asked for.
fn secure(requests: usize) -> (Target, JoinHandle<Option<String>>) {
    proving("server.pem", requests)
}

/// The same with another certificate.
fn proving(certificate: &'static str, requests: usize) -> (Target, JoinHandle<Option<String>>) {
    let (to, served) = upstream(move |listener| {
        smol::block_on(async {
            let stream = Async::new(listener.accept().unwrap().0).unwrap();
            let mut stream = acceptor(certificate).accept(stream).await.ok()?;
            for _ in 0..requests {
                let mut seen = Vec::new();
                while !seen.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).await.unwrap();
                    seen.push(byte[0]);
                }
                stream.write_all(OK.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
            }
            Some(stream.get_ref().1.server_name()?.to_owned())
        })
    });
    let mut to = at("localhost", to.port);
    to.tls = true;
    (to, served)
}

fn trusting(roots: &str) -> Upstreams {
    charged(roots).0
}

fn charged(roots: &str) -> (Upstreams, Arc<Budget>) {
    client(Settings {
        tls_roots: Some(file(roots)),
        ..Settings::default()
    })
}

#[test]
fn a_trusted_upstream_is_asked_by_its_name_and_its_connection_is_kept() {
    let (to, served) = secure(3);
    let client = trusting("ca.pem");
    smol::block_on(async {
        for _ in 0..3 {
            assert_eq!(fetch(&client, get(), &to).await, (200, "ok".to_owned()));
            assert_eq!(client.counts(), (1, 1));
        }
    });
    assert_eq!(served.join().unwrap().as_deref(), Some("localhost"));
}

#[test]
fn roots_and_connections_are_charged() {
    let (to, served) = secure(1);
    let (client, budget) = charged("ca.pem");
    client.read_roots().unwrap();
    let roots = std::fs::metadata(file("ca.pem")).unwrap().len() as usize;
    assert_eq!(budget.used(), roots);
    let asked = smol::block_on(fetch(&client, get(), &to));
    assert_eq!(asked, (200, "ok".to_owned()));
    assert_eq!(budget.used(), roots + IDLE_SHARE + TLS_SHARE);
    served.join().unwrap();
}

/// How a request over TLS fails.
fn refused(client: &Upstreams, to: &Target) -> String {
    match smol::block_on(client.send(get(), to, "id")) {
        Err(UpstreamError::Tls(reason) | UpstreamError::Certificate(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_sent_to_who_cannot_prove_its_name() {
    let (to, served) = secure(0);
    let untrusted = refused(&trusting("other-ca.pem"), &to);
    assert!(untrusted.contains("UnknownIssuer"), "{untrusted}");
    served.join().unwrap();

    for (certificate, reason) in [
        ("expired.pem", "expired"),
        ("elsewhere.pem", "elsewhere.test"),
    ] {
        let (to, served) = proving(certificate, 0);
        let wrong = refused(&trusting("ca.pem"), &to);
        assert!(wrong.contains(reason), "{wrong}");
        served.join().unwrap();
    }

    let (mut to, served) = secure(0);
    to.host = "127.0.0.1".to_owned();
    let misnamed = refused(&trusting("ca.pem"), &to);
    assert!(misnamed.contains("not valid for name"), "{misnamed}");
    served.join().unwrap();

    let (to, served) =
        upstream(|listener| drop(Peer::accept(&listener).0.write_all(OK.as_bytes())));
    let plain = Target { tls: true, ..to };
    assert!(!refused(&trusting("ca.pem"), &plain).is_empty());
    served.join().unwrap();
}

#[test]
fn without_roots_the_error_names_the_file() {
    for name in ["missing.pem", "../tls.rs"] {
        let (to, served) = upstream(|listener| drop(listener.accept()));
        let wanted = Target { tls: true, ..to };
        let reason = refused(&trusting(name), &wanted);
        assert!(
            reason.contains(name) && reason.contains("ca-certificates"),
            "{reason}"
        );
        served.join().unwrap();
    }
}

#[test]
fn a_handshake_that_is_not_answered_ends_with_the_connect_timeout() {
    let (to, _served) = upstream(|listener| listener);
    let silent = Target {
        tls: true,
        connect_timeout: BRIEF,
        ..to
    };
    let ended = smol::block_on(trusting("ca.pem").send(get(), &silent, "id"));
    assert!(
        matches!(ended, Err(UpstreamError::ConnectTimeout)),
        "{ended:?}"
    );
}
