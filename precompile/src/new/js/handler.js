// A handler: counts the visits of each path in the store.

export function plugin({ config, keyvalue, logging }) {
  return {
    // Names the host's interfaces that the plugin cannot do without.
    init() {
      return { config: true, keyvalue: true, logging: true };
    },

    info() {
      return {
        id: "example:@NAME@",
        name: "@NAME@",
        version: { major: 0, minor: 1, patch: 0 },
        description: "Counts the visits of each path",
        author: "",
        metadata: [],
      };
    },

    handle(request) {
      const count = keyvalue.increment(`visits:${request.path}`, 1n);
      logging.info(`visit ${count} of ${request.path}`);
      const greeting = config.get("greeting") ?? "visit";
      const body = new TextEncoder().encode(`${greeting} ${count} of ${request.path}\n`);
      return { tag: "response", val: { status: 200, headers: [], body } };
    },

    // Called when the daemon stops in good order.
    shutdown() {},
  };
}

=====
import assert from "node:assert/strict";
import { test } from "node:test";
import { plugin } from "../src/plugin.js";
import { host } from "./host.js";

test("visits of a path are counted", () => {
  const double = host({ config: { greeting: "welcome," } });
  const { handle } = plugin(double);
  handle({ path: "/hello" });
  const { body } = handle({ path: "/hello" }).val;
  assert.equal(new TextDecoder().decode(body), "welcome, 2 of /hello\n");
  assert.equal(double.logged.length, 2);
});
