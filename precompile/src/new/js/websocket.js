// A WebSocket plugin: says back what a client says, and counts how often.

export function plugin({ metrics }) {
  return {
    onUpgrade(path, headers) {
      return path.startsWith("/ws")
        ? { tag: "accept" }
        : { tag: "reject", val: [404, "there is no WebSocket here\n"] };
    },

    // What is returned goes back to the client, or on to the upstream where a router chose one.
    onClientMessage(message) {
      if (message.msgType === "text" || message.msgType === "binary") {
        metrics.counterInc("messages_total", 1n);
      }
      return message;
    },

    onUpstreamMessage(message) {
      return message;
    },
  };
}

=====
import assert from "node:assert/strict";
import { test } from "node:test";
import { plugin } from "../src/plugin.js";
import { host } from "./host.js";

test("messages come back and are counted", () => {
  const double = host();
  const { onClientMessage, onUpgrade } = plugin(double);
  const message = { msgType: "text", data: new TextEncoder().encode("hello") };
  assert.equal(onClientMessage(message), message);
  assert.equal(double.counters.get("messages_total"), 1n);
  assert.equal(onUpgrade("/", []).tag, "reject");
});
