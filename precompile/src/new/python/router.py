"""A router: what begins with `/api/` goes to the server that the configuration's `api` names, as
`HOST:PORT`."""

from wit_world import exports
from wit_world.imports import config, logging
from wit_world.imports.http_types import (
    RoutingDecision_ContinueProcessing,
    RoutingDecision_Forward,
    Upstream,
)

SECOND = 1_000_000_000


class Router(exports.Router):
    def route(self, request, metadata):
        address = config.get("api")
        if address is None or not request.path.startswith("/api/"):
            return RoutingDecision_ContinueProcessing()
        host, _, port = address.rpartition(":")
        if not port.isdecimal():
            logging.error(f"'{address}' has no port")
            return RoutingDecision_ContinueProcessing()
        upstream = Upstream(
            host=host,
            port=int(port),
            tls=False,
            connect_timeout=5 * SECOND,
            request_timeout=30 * SECOND,
        )
        return RoutingDecision_Forward(upstream)

=====
import unittest

import host_double
import app


class Test(unittest.TestCase):
    def test_the_api_goes_where_the_configuration_says(self):
        host_double.Host(config={"api": "10.0.0.2:9000"})
        upstream = app.Router().route(host_double.Record(path="/api/users"), None).value
        self.assertEqual((upstream.host, upstream.port), ("10.0.0.2", 9000))
        self.assertIsNone(app.Router().route(host_double.Record(path="/"), None).value)
