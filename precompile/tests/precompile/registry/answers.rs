//! A registry that answers whatever a test wants.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::digest;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a client asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    /// With what stands behind a question mark.
    pub(super) path: String,
    pub(super) authorization: Option<String>,
    /// Where it asked.
    host: String,
}

impl Asked {
    /// What sends a client for a token to where it asked.
    pub(super) fn challenge(&self) -> String {
        format!(r#"Bearer realm="http://{}/token",service="s""#, self.host)
    }
}

/// What it is answered.
pub(super) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Bytes that the head promises beyond those that come.
    missing: usize,
    /// The body comes again and again.
    is_endless: bool,
}

impl Answer {
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer {
            status,
            headers: Vec::new(),
            body: body.into(),
            missing: 0,
            is_endless: false,
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }

    /// The connection ends before all has come that the head promises.
    pub(super) fn cut(mut self) -> Answer {
        self.missing = 1000;
        self
    }

    /// The body comes again and again, until the client has enough.
    pub(super) fn endless(mut self) -> Answer {
        self.is_endless = true;
        self
    }
}

/// A server on loopback that ends with this value.
pub(super) struct Answers {
    pub(super) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Answers {
    /// Answers each request with what `answer` makes of it.
    pub(super) fn start(answer: impl Fn(&Asked) -> Answer + Send + 'static) -> Answers {
        Answers::listen(answer, None)
    }

    /// The same over TLS, as `localhost`, for clients that trust the authority of [`authority`].
    pub(super) fn start_tls(answer: impl Fn(&Asked) -> Answer + Send + 'static) -> Answers {
        let certificate = CertificateDer::from_pem_file(tls_file("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(tls_file("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Answers::listen(answer, Some(Arc::new(config)))
    }

    fn listen(
        answer: impl Fn(&Asked) -> Answer + Send + 'static,
        tls: Option<Arc<ServerConfig>>,
    ) -> Answers {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let address = match tls {
            Some(_) => format!("localhost:{}", address.port()),
            None => address.to_string(),
        };
        let asked = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (list, over) = (Arc::clone(&asked), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                // A client that goes away is none of this thread's business.
                let _ = stream.and_then(|stream| {
                    stream.set_read_timeout(Some(PATIENCE))?;
                    let Some(config) = &tls else {
                        return serve(stream, &answer, &list).map(drop);
                    };
                    let session = ServerConnection::new(Arc::clone(config)).unwrap();
                    let stream = StreamOwned::new(session, stream);
                    let mut stream = serve(stream, &answer, &list)?;
                    stream.conn.send_close_notify();
                    stream.flush()
                });
            }
        });
        Answers {
            address,
            asked,
            is_over,
            thread: Some(thread),
        }
    }

    /// Everything that was asked until now.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // It waits for somebody to call.
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The authority that signed the certificate of [`Answers::start_tls`].
pub(super) fn authority() -> PathBuf {
    tls_file("ca.pem")
}

/// One of the files that the runtime's own tests of TLS have; see there what they are for.
fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../runtime/src/upstream/tests/tls")
        .join(name)
}

fn serve<S: Read + Write>(
    stream: S,
    answer: impl Fn(&Asked) -> Answer,
    list: &Mutex<Vec<Asked>>,
) -> std::io::Result<S> {
    let mut from = BufReader::new(stream);
    let mut line = String::new();
    from.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut asked = Asked {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        authorization: None,
        host: String::new(),
    };
    let mut length = 0;
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => asked.authorization = Some(value.trim().to_owned()),
            "host" => asked.host = value.trim().to_owned(),
            "content-length" => length = value.trim().parse().unwrap(),
            _ => {}
        }
    }
    std::io::copy(&mut (&mut from).take(length), &mut std::io::sink())?;
    let Answer {
        status,
        headers,
        body,
        missing,
        is_endless,
    } = answer(&asked);
    list.lock().unwrap().push(asked);
    let mut head = format!("HTTP/1.1 {status} -\r\nConnection: close\r\n");
    if !is_endless {
        head += &format!("Content-Length: {}\r\n", body.len() + missing);
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let mut to = from.into_inner();
    to.write_all(head.as_bytes())?;
    to.write_all(b"\r\n")?;
    to.write_all(&body)?;
    if is_endless {
        loop {
            to.write_all(&body)?;
        }
    }
    Ok(to)
}

/// A manifest of one file.
pub(super) fn manifest(config: &str, layer: &str, file: &[u8]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": config, "digest": digest(b"{}"), "size": 2 },
        "layers": [{ "mediaType": layer, "digest": digest(file), "size": file.len() }],
    })
}

/// A registry that has this document under every tag, and this file under every digest.
pub(super) fn holding(document: &Value, file: &[u8]) -> impl Fn(&Asked) -> Answer + Send + 'static {
    let (document, file) = (document.to_string(), file.to_vec());
    move |asked| match &asked.path {
        path if path == "/v2/" => Answer::new(200, "{}"),
        path if path.contains("/manifests/") => Answer::new(200, document.as_bytes()),
        _ => Answer::new(200, file.as_slice()),
    }
}
