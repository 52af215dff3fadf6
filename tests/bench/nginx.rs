//! nginx as a server, an upstream or a proxy: one process without a master, which serves from its
//! event loop as one worker does.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::Server;

/// Says where nginx is looked for, and what it takes to have it.
pub(crate) const MISSING: &str =
    "nginx is neither on PATH nor in /usr/sbin (Debian: nginx-light), so that it is left out.";

/// What the guest `hello` responds with to `GET /`, and nginx from its configuration.
pub(crate) const BODY: &str = r#"{"method":"GET","path":"/"}"#;

/// Starts a server that responds with [`BODY`], whatever is asked. Its files lie in `folder`.
pub(crate) fn server(program: &Path, folder: &Path) -> Result<Server> {
    let respond = format!("default_type application/json; return 200 '{BODY}';");
    start(program, folder, "", &respond)
}

/// Starts a proxy that keeps connections to the server at `port`, as nginx's own guide has it.
pub(crate) fn proxy(program: &Path, folder: &Path, port: u16) -> Result<Server> {
    let servers = format!("upstream behind {{ server 127.0.0.1:{port}; keepalive 32; }}");
    let location =
        "proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection '';";
    start(program, folder, &servers, location)
}

fn start(program: &Path, folder: &Path, servers: &str, location: &str) -> Result<Server> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let (path, shown) = (folder.join("nginx.conf"), folder.display());
    Server::start(&folder.join("log"), |port| {
        let text = format!(
            "daemon off;\nmaster_process off;\npid {shown}/nginx.pid;\nerror_log stderr;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n  access_log off;\n  keepalive_requests 1000000000;\n\
             \x20 client_body_temp_path {shown}/body;\n  proxy_temp_path {shown}/proxy;\n\
             \x20 fastcgi_temp_path {shown}/fastcgi;\n  uwsgi_temp_path {shown}/uwsgi;\n\
             \x20 scgi_temp_path {shown}/scgi;\n  {servers}\n\
             \x20 server {{\n    listen 127.0.0.1:{port};\n    location / {{ {location} }}\n  }}\n}}\n"
        );
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        let mut command = Command::new(program);
        command.arg("-p").arg(folder).arg("-c").arg(&path);
        Ok(command)
    })
}

/// Its version, as programs are named in a report.
pub(crate) fn version(program: &Path) -> Result<String> {
    let mut command = Command::new(program);
    command.arg("-v");
    // It writes this to standard error: `nginx version: nginx/1.22.1`.
    let output = command.output().context("nginx -v")?;
    let text = String::from_utf8_lossy(&output.stderr);
    let version = text.rsplit('/').next().unwrap_or_default().trim();
    Ok(format!("nginx {version}"))
}
