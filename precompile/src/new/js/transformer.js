// A transformer: takes a header out of requests, and lets every origin read responses.

export function plugin({ logging }) {
  return {
    transformRequestHeaders(headers) {
      const left = headers.filter(({ key }) => key !== "x-debug");
      if (left.length < headers.length) {
        logging.info("x-debug was taken out");
      }
      return left;
    },

    transformResponseHeaders(headers) {
      return [...headers, { key: "access-control-allow-origin", value: "*" }];
    },

    transformRequestBody(body) {
      return body;
    },

    transformResponseBody(body) {
      return body;
    },
  };
}

=====
import assert from "node:assert/strict";
import { test } from "node:test";
import { plugin } from "../src/plugin.js";
import { host } from "./host.js";

test("a header is taken out and told", () => {
  const double = host();
  const headers = [{ key: "x-debug", value: "1" }, { key: "accept", value: "*/*" }];
  assert.equal(plugin(double).transformRequestHeaders(headers).length, 1);
  assert.deepEqual(double.logged, [{ level: "info", message: "x-debug was taken out" }]);
});
