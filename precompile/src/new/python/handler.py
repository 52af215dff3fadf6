"""A handler: counts the visits of each path in the store."""

from wit_world import exports
from wit_world.imports import config, keyvalue, logging
from wit_world.imports.plugin_metadata import Capabilities, PluginInfo, Version
from wit_world.imports.request_types import HandleResult_Response, PluginResponse


class Handler(exports.Handler):
    def init(self):
        """Names the host's interfaces that the plugin cannot do without."""
        return Capabilities.CONFIG | Capabilities.KEYVALUE | Capabilities.LOGGING

    def info(self):
        return PluginInfo(
            id="example:@NAME@",
            name="@NAME@",
            version=Version(major=0, minor=1, patch=0, pre_release=None),
            description="Counts the visits of each path",
            author="",
            license=None,
            homepage=None,
            metadata=[],
        )

    def handle(self, request):
        count = keyvalue.increment(f"visits:{request.path}", 1)
        logging.info(f"visit {count} of {request.path}")
        greeting = config.get("greeting") or "visit"
        body = f"{greeting} {count} of {request.path}\n".encode()
        return HandleResult_Response(PluginResponse(status=200, headers=[], body=body))

    def shutdown(self):
        """Called when the daemon stops in good order."""

=====
import unittest

import host_double
import app


class Test(unittest.TestCase):
    def test_visits_of_a_path_are_counted(self):
        host = host_double.Host(config={"greeting": "welcome,"})
        request = host_double.Record(path="/hello")
        app.Handler().handle(request)
        response = app.Handler().handle(request).value
        self.assertEqual(response.body, b"welcome, 2 of /hello\n")
        self.assertEqual(len(host.logged), 2)
