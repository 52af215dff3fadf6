//! nginx as an upstream and as a proxy: one process without a master, which answers from its event
//! loop as one worker does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{Server, free_port};

/// What the upstream answers, whatever is asked.
const BODY: &str = r#"{"method":"GET","path":"/"}"#;

/// Starts a server that answers from its configuration.
pub(crate) fn upstream(program: &Path, folder: &Path) -> Result<Server> {
    let answer = format!("default_type application/json; return 200 '{BODY}';");
    start(program, folder, "upstream", "", &answer)
}

/// Starts a proxy that keeps connections to the server at `port`, as nginx's own guide has it.
pub(crate) fn proxy(program: &Path, folder: &Path, port: u16) -> Result<Server> {
    let servers = format!("upstream behind {{ server 127.0.0.1:{port}; keepalive 32; }}");
    let location =
        "proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection '';";
    start(program, folder, "proxy", &servers, location)
}

fn start(
    program: &Path,
    folder: &Path,
    name: &str,
    servers: &str,
    location: &str,
) -> Result<Server> {
    let port = free_port()?;
    let own = folder.join(format!("nginx-{name}"));
    fs::create_dir_all(&own).with_context(|| own.display().to_string())?;
    let path = configuration(&own, port, servers, location)?;
    let mut command = Command::new(program);
    command.arg("-p").arg(&own).arg("-c").arg(&path);
    Server::start(command, port, &own.join("log"))
}

fn configuration(own: &Path, port: u16, servers: &str, location: &str) -> Result<PathBuf> {
    let (path, shown) = (own.join("nginx.conf"), own.display());
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
    Ok(path)
}
