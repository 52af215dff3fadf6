"""A caching plugin: good answers to GET are kept for as many seconds as the configuration's
`seconds` says, 60 without it."""

from wit_world import exports
from wit_world.exports.caching import CacheDecision_CacheFor, CacheDecision_NoCache
from wit_world.imports import config


class Caching(exports.Caching):
    def cache_policy(self, method, path, status, headers):
        if method != "GET" or status != 200:
            return CacheDecision_NoCache()
        seconds = config.get_int("seconds")
        seconds = 60 if seconds is None else max(seconds, 0)
        return CacheDecision_CacheFor(seconds * 1_000_000_000)

    def cache_key(self, method, path, headers):
        """Requests with the same key share an answer."""
        return f"{method} {path}"

=====
import unittest

import host_double
import app


class Test(unittest.TestCase):
    def test_good_answers_are_kept_as_long_as_configured(self):
        host_double.Host(config={"seconds": "5"})
        self.assertEqual(app.Caching().cache_policy("GET", "/", 200, []).value, 5_000_000_000)
        self.assertIsNone(app.Caching().cache_policy("GET", "/", 404, []).value)
