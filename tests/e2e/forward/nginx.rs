use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use super::proxy;
use crate::support::{Client, TempDir, eventually, get, request, skipped};

/// An nginx of one process; it ends with the value.
struct Nginx {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Nginx {
    /// `None` where it is not installed.
    fn start() -> Option<Nginx> {
        let version = Command::new("nginx")
            .arg("-v")
            .stderr(Stdio::null())
            .status();
        if !version.is_ok_and(|status| status.success()) {
            skipped("nginx is not installed");
            return None;
        }
        // It wants to be told a port: one that was free a moment ago. Somebody else may take it.
        (0..5).find_map(|_| {
            let address = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
            let folder = TempDir::new();
            let own = folder.path().display();
            let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|name| format!("{name}_temp_path {own}/{name};\n"))
                .concat();
            let text = format!(
                "daemon off; master_process off; pid {own}/pid; error_log {own}/errors;\n\
                 events {{ worker_connections 64; }}\n\
                 http {{ access_log off; etag on; {paths}\n\
                 server {{ listen {address}; root {own}/files;\n\
                 location /seen {{ return 200 \"$http_x_forwarded_for $host $http_via $http_connection\"; }}\n\
                 location /missing {{ return 404; }}\n\
                 location /put {{ client_max_body_size 0; dav_methods PUT; create_full_put_path on; }}\n\
                 }} }}\n"
            );
            // Debian's light build has no WebDAV; a body is then read and refused.
            let text = match has_dav() {
                true => text,
                false => text.replace("dav_methods PUT; create_full_put_path on;", ""),
            };
            let configuration = folder.path().join("nginx.conf");
            fs::write(&configuration, text).unwrap();
            fs::create_dir(folder.path().join("files")).unwrap();
            fs::write(folder.path().join("files/large"), vec![b'x'; 3_000_000]).unwrap();
            let mut child = Command::new("nginx")
                .arg("-p")
                .arg(folder.path())
                .arg("-c")
                .arg(&configuration)
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut ended = false;
            // It says its number when it has the port: somebody else may answer there as well.
            eventually("nginx", || {
                ended = child.try_wait().unwrap().is_some();
                ended || folder.path().join("pid").exists()
            });
            (!ended).then_some(Nginx {
                child,
                address,
                _folder: folder,
            })
        })
    }
}

fn has_dav() -> bool {
    let output = Command::new("nginx").arg("-V").output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stderr).contains("http_dav_module"))
}

#[test]
fn nginx_as_an_upstream() {
    let Some(nginx) = Nginx::start() else { return };
    let daemon = proxy(nginx.address);
    let seen = get(&daemon, "/seen").text();
    assert!(seen.starts_with("127.0.0.1 "), "{seen}");
    assert!(seen.contains("1.1 zlayer"), "{seen}");
    assert_eq!(get(&daemon, "/missing").status, 404);
    let whole = get(&daemon, "/large");
    assert_eq!((whole.status, whole.body.len()), (200, 3_000_000));
    let tag = whole.header("etag").unwrap().to_owned();
    let part = request(&daemon, "GET", "/large", &[("range", "bytes=5-8")], b"");
    assert_eq!((part.status, part.text().as_str()), (206, "xxxx"));
    let same = request(&daemon, "GET", "/large", &[("if-none-match", &tag)], b"");
    assert_eq!((same.status, same.body.len()), (304, 0));
    // One connection of the client's, many requests: HEAD brings the length and no body.
    let mut client = Client::connect(&daemon);
    for _ in 0..20 {
        client.send("HEAD /large HTTP/1.1\r\nHost: h\r\n\r\nGET /seen HTTP/1.1\r\nHost: h\r\n\r\n");
        let head = client.read_head().unwrap();
        assert_eq!(head.header("content-length"), Some("3000000"));
        assert_eq!(client.read_response().status, 200);
    }
    if has_dav() {
        let stored = request(&daemon, "PUT", "/put", &[], &vec![b'y'; 500_000]);
        assert_eq!(stored.status, 201, "{stored:?}");
        assert_eq!(get(&daemon, "/put").body.len(), 500_000);
    }
}
