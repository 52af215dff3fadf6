// A rate limiter: as many requests a minute for each client as the configuration's `limit` says, 100
// without it.

// A minute, in nanoseconds.
const WINDOW = 60_000_000_000n;

export function plugin({ config, keyvalue, logging }) {
  // Each window has a counter of its own, so the count is exact however many come at once.
  const counter = (client, now) => `${client}@${now / WINDOW}`;

  function info(count, now) {
    const limit = config.getInt("limit") ?? 100n;
    const left = WINDOW - (now % WINDOW);
    return {
      remaining: count < limit ? limit - count : 0n,
      limit,
      resetAfter: left,
      retryAfter: count > limit ? left : undefined,
    };
  }

  return {
    check(request) {
      const address = request.context.find(({ key }) => key === "client_ip");
      const client = address?.value ?? "";
      const now = request.timestamp;
      let count = 0n;
      try {
        count = keyvalue.increment(counter(client, now), 1n);
        if (count === 1n) {
          for (const key of keyvalue.listKeys(`${client}@`)) {
            if (key !== counter(client, now)) keyvalue.delete(key);
          }
        }
      } catch (error) {
        // A store that fails lets requests pass. Return `denied` where that is worse.
        logging.error(`${client} is not counted: ${error}`);
      }
      const figures = info(count, now);
      return { tag: count > figures.limit ? "denied" : "allowed", val: figures };
    },

    // A limiter that cannot tell how a client stands without counting says nothing.
    status(client) {
      return undefined;
    },
  };
}

=====
import assert from "node:assert/strict";
import { test } from "node:test";
import { plugin } from "../src/plugin.js";
import { host } from "./host.js";

test("a window ends by the clock", () => {
  const double = host({ config: { limit: "1" } });
  const { check } = plugin(double);
  const ask = (value) =>
    check({ timestamp: double.now, context: [{ key: "client_ip", value }] }).tag;
  assert.deepEqual([ask("a"), ask("b"), ask("a")], ["allowed", "allowed", "denied"]);
  double.now += 60_000_000_000n;
  assert.equal(ask("a"), "allowed");
  assert.equal(double.stored.size, 2, "old counters are deleted");
});
