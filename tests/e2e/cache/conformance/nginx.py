#!/usr/bin/env python3
"""Sends the cases of cases.txt through the cache of an nginx on this machine and writes its column.

`nginx.py cases.txt` starts an nginx of its own between a client and an upstream over loopback, and
ends it. Nothing else needs it: the test beside it only reads the column.
"""

import http.client
import http.server
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers with the status and the fields that the request's own fields name."""

    protocol_version = "HTTP/1.1"
    count = 0

    def respond(self):
        Upstream.count += 1
        status, *fields = self.headers["x-test"].split("; ")
        self.send_response_only(int(status))
        for field in fields:
            self.send_header(*field.split(": ", 1))
        body = b"" if status in ("204", "304") else b"body"
        if body:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = respond

    def log_message(self, *_):
        pass


def send(port, path, asked, response):
    """The status, and whether the upstream saw the request."""
    method, fields = "GET", {}
    status, *rest = response.split("; ")
    for word in asked.split("; "):
        name, colon, value = word.partition(": ")
        if name == "Status":
            status = value
        elif name == "Path":
            path += value
        elif colon:
            fields[name] = value
        elif word != "-":
            method = word
    fields["X-Test"] = "; ".join([status, *rest])
    seen = Upstream.count
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    client.request(method, path, headers=fields)
    answer = client.getresponse()
    answer.read()
    client.close()
    return answer.status, Upstream.count > seen


def outcome(port, path, first, response, following):
    send(port, path, first, response)
    for asked in following.split(" > "):
        status, was_fetched = send(port, path, asked, response)
    if status != int(response[:3]) and status in (304, 504):
        return str(status)
    return "fetched" if was_fetched else "reused"


def main(path):
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        paths = "".join(
            f"{name}_temp_path {folder}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        with open(f"{folder}/conf", "w") as conf:
            conf.write(
                f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;\n"
                f"events {{}}\nhttp {{ access_log off; {paths}\n"
                f"proxy_cache_path {folder}/cache keys_zone=c:1m;\n"
                f"server {{ listen 127.0.0.1:{port}; location / {{\n"
                f"proxy_pass http://127.0.0.1:{upstream.server_address[1]};\n"
                f"proxy_http_version 1.1; proxy_next_upstream off; proxy_cache c;\n"
                f"proxy_cache_key $scheme$host$request_uri; proxy_cache_valid any 1h; }} }} }}\n"
            )
        nginx = subprocess.Popen(["nginx", "-p", folder, "-c", f"{folder}/conf"], stderr=subprocess.DEVNULL)
        try:
            while not os.path.exists(f"{folder}/pid"):
                time.sleep(0.05)
            lines = []
            for number, line in enumerate(open(path)):
                if not line.startswith("#"):
                    *case, _ = line.rstrip("\n").split(" | ")
                    _, _, _, first, response, following, _ = case
                    theirs = outcome(port, f"/{number}", first, response, following)
                    line = " | ".join([*case, theirs]) + "\n"
                lines.append(line)
        finally:
            nginx.kill()
            nginx.wait()
    with open(path, "w") as out:
        out.writelines(lines)


if __name__ == "__main__":
    main(sys.argv[1])
