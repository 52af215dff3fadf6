"""An HTTP handler: answers any request with a greeting, through the interface that all WASI hosts
share."""

from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports import config
from wit_world.imports.types import Fields, OutgoingBody, OutgoingResponse, ResponseOutparam


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request, response_out):
        text = answer(request.path_with_query() or "/")
        response = OutgoingResponse(Fields())
        body = response.body()
        # From here on the client gets the body while it is written.
        ResponseOutparam.set(response_out, Ok(response))
        with body.write() as stream:
            # A stream takes up to 4096 bytes at once.
            for at in range(0, len(text), 4096):
                stream.blocking_write_and_flush(text[at : at + 4096])
        OutgoingBody.finish(body, None)


def answer(path):
    """The text of the response. What needs none of WASI's own types can be tested without a device."""
    greeting = config.get("greeting") or "hello from"
    return f"{greeting} {path}\n".encode()

=====
import unittest

import host_double
import app


class Test(unittest.TestCase):
    def test_the_greeting_is_configured(self):
        host_double.Host(config={"greeting": "this is"})
        self.assertEqual(app.answer("/here"), b"this is /here\n")
