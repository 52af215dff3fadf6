"""A WebSocket plugin: says back what a client says, and counts how often."""

from wit_world import exports
from wit_world.exports.websocket import (
    MessageType,
    UpgradeDecision_Accept,
    UpgradeDecision_Reject,
)
from wit_world.imports import metrics


class Websocket(exports.Websocket):
    def on_upgrade(self, path, headers):
        if path.startswith("/ws"):
            return UpgradeDecision_Accept()
        return UpgradeDecision_Reject((404, "there is no WebSocket here\n"))

    def on_client_message(self, message):
        """What is returned goes back to the client, or on to the upstream where a router chose one."""
        if message.msg_type in (MessageType.TEXT, MessageType.BINARY):
            metrics.counter_inc("messages_total", 1)
        return message

    def on_upstream_message(self, message):
        return message

=====
import unittest

import host_double
import app
from wit_world.exports.websocket import MessageType


class Test(unittest.TestCase):
    def test_messages_come_back_and_are_counted(self):
        host = host_double.Host()
        message = host_double.Record(msg_type=MessageType.TEXT, data=b"hello")
        self.assertIs(app.Websocket().on_client_message(message), message)
        self.assertEqual(host.counters, {"messages_total": 1})
        self.assertEqual(app.Websocket().on_upgrade("/", []).value[0], 404)
