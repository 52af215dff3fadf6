// An authenticator: knows clients by the secret that they send in `x-api-key`.

export function plugin({ secrets }) {
  function validateToken(token) {
    if (token !== secrets.getRequired("api_key")) {
      // What the contract calls an error is thrown, with these fields.
      const payload = { code: "WRONG_KEY", message: "the key is not the one" };
      throw Object.assign(new Error(payload.message), { payload });
    }
    // Later stages find it in a request's context, as `claim.sub`.
    return [{ key: "sub", value: "client" }];
  }

  return {
    authenticate(request) {
      const header = request.headers.find(({ key }) => key === "x-api-key");
      if (!header) {
        return { tag: "challenge", val: "ApiKey" };
      }
      try {
        return { tag: "authenticated", val: validateToken(header.value) };
      } catch {
        return { tag: "denied", val: "the key is not the one" };
      }
    },

    validateToken,
  };
}

=====
import assert from "node:assert/strict";
import { test } from "node:test";
import { plugin } from "../src/plugin.js";
import { host } from "./host.js";

const send = (value) => ({ headers: [{ key: "x-api-key", value }] });

test("the right key is let in and no other", () => {
  const { authenticate } = plugin(host({ secrets: { api_key: "sesame" } }));
  assert.equal(authenticate(send("sesame")).tag, "authenticated");
  assert.equal(authenticate(send("simsalabim")).tag, "denied");
  assert.equal(authenticate({ headers: [] }).tag, "challenge");
});

test("without a secret nobody is let in", () => {
  assert.equal(plugin(host()).authenticate(send("sesame")).tag, "denied");
});
