"""A rate limiter: as many requests a minute for each client as the configuration's `limit` says, 100
without it."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.rate_limiter import (
    RateLimitInfo,
    RateLimitResult_Allowed,
    RateLimitResult_Denied,
)
from wit_world.imports import config, keyvalue, logging

# A minute, in nanoseconds.
WINDOW = 60_000_000_000


class RateLimiter(exports.RateLimiter):
    def check(self, request):
        client = next((e.value for e in request.context if e.key == "client_ip"), "")
        # Each window has a counter of its own, so the count is exact however many come at once.
        counter = f"{client}@{request.timestamp // WINDOW}"
        count = 0
        try:
            count = keyvalue.increment(counter, 1)
            if count == 1:
                for key in keyvalue.list_keys(f"{client}@"):
                    if key != counter:
                        keyvalue.delete(key)
        except Err as error:
            # A store that fails lets requests pass. Return `Denied` where that is worse.
            logging.error(f"{client} is not counted: {error}")
        limit = config.get_int("limit")
        limit = 100 if limit is None else max(limit, 0)
        left = WINDOW - request.timestamp % WINDOW
        info = RateLimitInfo(
            remaining=max(limit - count, 0),
            limit=limit,
            reset_after=left,
            retry_after=left if count > limit else None,
        )
        return RateLimitResult_Denied(info) if count > limit else RateLimitResult_Allowed(info)

    def status(self, key):
        """A limiter that cannot tell how a client stands without counting says nothing."""
        return None

=====
import unittest

import host_double
import app


class Test(unittest.TestCase):
    def test_a_window_ends_by_the_clock(self):
        host = host_double.Host(config={"limit": "1"})

        def remaining(client):
            address = host_double.Record(key="client_ip")
            address.value = client
            request = host_double.Record(timestamp=host.now, context=[address])
            verdict = app.RateLimiter().check(request)
            return None if verdict.value.retry_after else verdict.value.remaining

        self.assertEqual([remaining(client) for client in ("a", "b", "a")], [0, 0, None])
        host.now += 60_000_000_000
        self.assertEqual(remaining("a"), 0)
        self.assertEqual(len(host.stored), 2, "old counters are deleted")
