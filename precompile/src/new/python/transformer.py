"""A transformer: takes a header out of requests, and lets every origin read responses."""

from wit_world import exports
from wit_world.imports import logging
from wit_world.imports.common import KeyValue


class Transformer(exports.Transformer):
    def transform_request_headers(self, headers):
        left = [header for header in headers if header.key != "x-debug"]
        if len(left) < len(headers):
            logging.info("x-debug was taken out")
        return left

    def transform_response_headers(self, headers):
        return headers + [KeyValue(key="access-control-allow-origin", value="*")]

    def transform_request_body(self, body):
        return body

    def transform_response_body(self, body):
        return body

=====
import unittest

import host_double
import app


class Test(unittest.TestCase):
    def test_a_header_is_taken_out_and_told(self):
        host = host_double.Host()
        headers = [host_double.Record(key=key) for key in ("x-debug", "accept")]
        self.assertEqual(len(app.Transformer().transform_request_headers(headers)), 1)
        self.assertEqual(host.logged, [("info", "x-debug was taken out")])
