use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::{file, proxy};
use crate::support::{request, skipped};

/// An echo of POST with keep-alive, over OpenSSL. It says its port.
const SERVER: &str = r#"
import http.server, ssl, sys
certificate, key, version = sys.argv[1:]

class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-tls", self.connection.version())
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

/// The server; it ends with its value.
struct Python(Child, u16);

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(version: &str) -> Python {
    let mut command = Command::new("python3");
    command.args(["-c", SERVER]);
    command.args([file("server.pem"), file("server.key")]);
    let mut child = command.arg(version).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let port = line.trim().parse();
    let python = Python(child, port.clone().unwrap_or(0));
    assert!(port.is_ok(), "python3 says {line:?} instead of a port");
    python
}

#[test]
fn openssl_understands_both_versions_of_tls() {
    let probe = Command::new("python3").args(["-c", "import ssl"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        return skipped("there is no python3 with ssl");
    }
    let body: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    for (version, said) in [("TLSv1_2", "TLSv1.2"), ("TLSv1_3", "TLSv1.3")] {
        let python = start(version);
        let daemon = proxy(python.1).start();
        for size in [1, body.len(), 0, 100_000] {
            let fields = [("content-length", &*size.to_string())];
            let answer = request(&daemon, "POST", "/", &fields, &body[..size]);
            assert_eq!((answer.status, answer.header("x-tls")), (200, Some(said)));
            assert!(answer.body == body[..size], "{size}");
        }
    }
}
