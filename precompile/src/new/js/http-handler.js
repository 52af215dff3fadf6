// An HTTP handler: answers any request with a greeting, through the interface that all WASI hosts share.

export function plugin({ config, http }) {
  return {
    handle(request, responseOut) {
      const greeting = config.get("greeting") ?? "hello from";
      const text = `${greeting} ${request.pathWithQuery() ?? "/"}\n`;
      const response = new http.OutgoingResponse(new http.Fields());
      const body = response.body();
      // From here on the client gets the body while it is written.
      http.ResponseOutparam.set(responseOut, { tag: "ok", val: response });
      const stream = body.write();
      // A stream takes up to 4096 bytes at once.
      const bytes = new TextEncoder().encode(text);
      for (let at = 0; at < bytes.length; at += 4096) {
        stream.blockingWriteAndFlush(bytes.slice(at, at + 4096));
      }
      stream[Symbol.dispose]();
      http.OutgoingBody.finish(body, undefined);
    },
  };
}

=====
import assert from "node:assert/strict";
import { test } from "node:test";
import { plugin } from "../src/plugin.js";
import { host } from "./host.js";

// As much of wasi:http as the plugin asks for.
function wasi(written) {
  const write = () => ({
    blockingWriteAndFlush: (bytes) => written.push(new TextDecoder().decode(bytes)),
    [Symbol.dispose]() {},
  });
  return {
    Fields: class {},
    OutgoingResponse: class {
      body = () => ({ write });
    },
    OutgoingBody: { finish() {} },
    ResponseOutparam: { set() {} },
  };
}

// Older releases of Node.js have no such symbol of their own.
Symbol.dispose ??= Symbol.for("dispose");

test("the greeting is configured", () => {
  const written = [];
  const { handle } = plugin({ ...host({ config: { greeting: "this is" } }), http: wasi(written) });
  handle({ pathWithQuery: () => "/here" }, {});
  assert.deepEqual(written, ["this is /here\n"]);
});
