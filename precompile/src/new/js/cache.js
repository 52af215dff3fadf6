// A caching plugin: good answers to GET are kept for as many seconds as the configuration's `seconds`
// says, 60 without it.

export function plugin({ config }) {
  return {
    cachePolicy(method, path, status, headers) {
      if (method !== "GET" || status !== 200) {
        return { tag: "no-cache" };
      }
      const seconds = config.getInt("seconds") ?? 60n;
      return { tag: "cache-for", val: seconds * 1_000_000_000n };
    },

    // Requests with the same key share an answer.
    cacheKey(method, path, headers) {
      return `${method} ${path}`;
    },
  };
}

=====
import assert from "node:assert/strict";
import { test } from "node:test";
import { plugin } from "../src/plugin.js";
import { host } from "./host.js";

test("good answers are kept as long as configured", () => {
  const { cachePolicy } = plugin(host({ config: { seconds: "5" } }));
  assert.deepEqual(cachePolicy("GET", "/", 200, []), { tag: "cache-for", val: 5_000_000_000n });
  assert.equal(cachePolicy("GET", "/", 404, []).tag, "no-cache");
});
