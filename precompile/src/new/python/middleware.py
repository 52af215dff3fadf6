"""A middleware: refuses hidden files, and adds the configuration's `header.NAME` to each response."""

from wit_world import exports
from wit_world.exports.middleware import MiddlewareAction_Abort, MiddlewareAction_ContinueWith
from wit_world.imports import config
from wit_world.imports.common import KeyValue


class Middleware(exports.Middleware):
    def on_request(self, method, path, headers, metadata):
        if "/." in path:
            return MiddlewareAction_Abort((404, "there is nothing here\n"))
        return MiddlewareAction_ContinueWith(headers)

    def on_response(self, status, headers):
        for key, value in config.get_prefix("header."):
            headers.append(KeyValue(key=key.removeprefix("header."), value=value))
        return MiddlewareAction_ContinueWith(headers)

=====
import unittest

import host_double
import app


class Test(unittest.TestCase):
    def test_responses_get_what_is_configured(self):
        host_double.Host(config={"header.x-frame-options": "DENY"})
        headers = app.Middleware().on_response(200, []).value
        self.assertEqual([(h.key, h.value) for h in headers], [("x-frame-options", "DENY")])

    def test_hidden_files_stay_hidden(self):
        verdict = app.Middleware().on_request("GET", "/.git", [], None)
        self.assertEqual(verdict.value[0], 404)
