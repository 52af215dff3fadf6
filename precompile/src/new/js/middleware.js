// A middleware: refuses hidden files, and adds the configuration's `header.NAME` to each response.

export function plugin({ config }) {
  return {
    onRequest(method, path, headers, metadata) {
      if (path.includes("/.")) {
        return { tag: "abort", val: [404, "there is nothing here\n"] };
      }
      return { tag: "continue-with", val: headers };
    },

    onResponse(status, headers) {
      for (const [key, value] of config.getPrefix("header.")) {
        headers.push({ key: key.slice("header.".length), value });
      }
      return { tag: "continue-with", val: headers };
    },
  };
}

=====
import assert from "node:assert/strict";
import { test } from "node:test";
import { plugin } from "../src/plugin.js";
import { host } from "./host.js";

test("responses get what is configured", () => {
  const { onRequest, onResponse } = plugin(host({ config: { "header.x-frame-options": "DENY" } }));
  assert.deepEqual(onResponse(200, []).val, [{ key: "x-frame-options", value: "DENY" }]);
  assert.equal(onRequest("GET", "/.git", [], {}).tag, "abort");
});
