"""A client that others wrote: http.client, hmac and base64 of the standard library."""

import base64
import hmac
import http.client
import json
import sys
import time

port, key = int(sys.argv[1]), sys.argv[2].encode()
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)


def ask(method, path, headers={}, body=None):
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer, answer.read()


def part(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(claims, key, alg="HS256"):
    header = json.dumps({"alg": alg, "typ": "JWT"}).encode()
    signed = part(header) + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.digest(key, signed, "sha256"))).decode()


def bearer(claims, key, **more):
    return {"authorization": "Bearer " + token(claims, key, **more)}


alice = {"sub": "alice", "exp": time.time() + 3600}
status, answer, body = ask("GET", "/private/")
assert status == 401 and answer.getheader("www-authenticate") == 'Bearer realm="api"', status
status, answer, body = ask("GET", "/private/", bearer(alice, key))
assert status == 200 and b"context claim.sub: alice\n" in body, body
for bad in (
    bearer(alice, b"another"),
    bearer(alice, key, alg="none"),
    bearer({"sub": "alice", "exp": time.time() - 3600}, key),
):
    status, answer, body = ask("GET", "/private/", bad)
    assert status == 403, (status, body)

# One connection all the way, with bodies of both kinds and answers without any.
data = bytes(range(256)) * 100
echo = {"x-test-handle": "echo"}
status, answer, body = ask("POST", "/", echo, data)
assert (status, body) == (200, data), status
chunks = iter([data[:1000], data[1000:]])
status, answer, body = ask("POST", "/", echo, chunks)
assert (status, body) == (200, data), status
status, answer, body = ask("HEAD", "/", {})
assert (status, body) == (200, b""), status
status, answer, body = ask("GET", "/", {"x-test-limit": "deny 0 10 60000 1500"})
assert (status, answer.getheader("retry-after")) == (429, "2"), status
status, answer, body = ask("GET", "/", {"x-test-handle": "error x"})
assert status == 502 and answer.getheader("x-request-id"), status
status, answer, body = ask("GET", "/", {"x-test-route": "redirect 308 /x"})
assert (status, answer.getheader("location")) == (308, "/x"), status
traces = answer.headers.get_all("x-trace")
assert traces == ["stages on-response"], traces
print("all held")
