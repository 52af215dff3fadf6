#!/usr/bin/env python3
"""Sends the cases of cases.txt through an nginx on this machine and writes its column.

`nginx.py cases.txt` starts an nginx of its own between a client and an upstream that both speak raw
bytes over loopback, and ends it. Nothing else needs it: the test beside it only reads the column.
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"


def unescape(text):
    out, at = b"", 0
    while at < len(text):
        if text[at] != "\\":
            out += text[at].encode("latin-1")
            at += 1
        elif text[at + 1] == "x":
            out += bytes([int(text[at + 2 : at + 4], 16)])
            at += 4
        else:
            out += ESCAPES[text[at + 1]]
            at += 2
    return out


class Upstream(threading.Thread):
    """Answers each connection's first request with `answer`, or with the body that came."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.answer = None

    def run(self):
        while True:
            peer, _ = self.listener.accept()
            peer.settimeout(2)
            seen = b""
            try:
                while b"\r\n\r\n" not in seen:
                    seen += peer.recv(65536) or b"\r\n\r\n"
                head, body = seen.split(b"\r\n\r\n", 1)
                length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
                while length and len(body) < int(length[1]):
                    body += peer.recv(65536)
            except OSError:
                body = b""
            answer = self.answer
            if answer is None:
                answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            peer.sendall(answer)
            peer.close()


def ask(port, request):
    """The status and the content of the first response, and whether it came whole."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(2)
        client.sendall(request)
        seen = b""
        try:
            while piece := client.recv(65536):
                seen += piece
        except OSError:
            pass
    if not seen.startswith(b"HTTP/1.1 "):
        return "as HTTP/0.9" if seen else "no response", b"", False
    head, _, body = seen.partition(b"\r\n\r\n")
    if re.search(rb"(?i)\ntransfer-encoding: *chunked", head):
        whole = body.endswith(b"0\r\n\r\n")
        return head[9:12].decode(), b"".join(re.findall(rb"[0-9a-f]+\r\n(.*?)\r\n", body)), whole
    length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
    return head[9:12].decode(), body, not length or len(body) == int(length[1])


def outcome(kind, data, ours, upstream, port):
    if kind in ("request", "upload"):
        upstream.answer = None
        if kind == "upload":
            head = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            status, body, _ = ask(port, head + data)
            return body.decode("latin-1") if status == "200" else status
        chunked = re.search(rb"(?i)transfer-encoding", data)
        body = CHUNKS if chunked else b"hello" if data.startswith(b"POST") else b""
        status, _, _ = ask(port, data + body)
        return "read" if status in ("200", "204") else status
    if kind == "download":
        data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data
    elif re.search(rb"(?i)transfer-encoding", data):
        data += CHUNKS
    elif not re.search(rb" (204|304) ", data):
        data += b"hello"
    upstream.answer = data
    status, body, whole = ask(port, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    if kind == "response":
        return "read" if status in ("200", "204", "304", "20 ") else status
    if status != "200":
        return status
    return body.decode("latin-1") if whole else "cut off"


def main(path):
    upstream = Upstream()
    upstream.start()
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
                f"server {{ listen 127.0.0.1:{port}; location / {{\n"
                f"proxy_pass http://127.0.0.1:{upstream.listener.getsockname()[1]};\n"
                f"proxy_http_version 1.1; proxy_next_upstream off; }} }} }}\n"
            )
        nginx = subprocess.Popen(["nginx", "-p", folder, "-c", f"{folder}/conf"], stderr=subprocess.DEVNULL)
        try:
            while not os.path.exists(f"{folder}/pid"):
                time.sleep(0.05)
            lines = []
            for line in open(path, encoding="latin-1"):
                if not line.startswith("#"):
                    kind, section, what, text, ours, _ = line.rstrip("\n").split(" | ")
                    theirs = outcome(kind, unescape(text), ours, upstream, port)
                    line = " | ".join([kind, section, what, text, ours, theirs]) + "\n"
                lines.append(line)
        finally:
            nginx.kill()
            nginx.wait()
    with open(path, "w", encoding="latin-1") as out:
        out.writelines(lines)


if __name__ == "__main__":
    main(sys.argv[1])
