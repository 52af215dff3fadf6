// A router: what begins with `/api/` goes to the server that the configuration's `api` names, as
// `HOST:PORT`.

const SECOND = 1_000_000_000n;

export function plugin({ config, logging }) {
  return {
    route(request, metadata) {
      const address = config.get("api");
      if (!request.path.startsWith("/api/") || address === undefined) {
        return { tag: "continue-processing" };
      }
      const [, host, port] = address.match(/^(.+):(\d{1,5})$/) ?? [];
      if (host === undefined) {
        logging.error(`'${address}' has no port`);
        return { tag: "continue-processing" };
      }
      const upstream = {
        host,
        port: Number(port),
        tls: false,
        connectTimeout: 5n * SECOND,
        requestTimeout: 30n * SECOND,
      };
      return { tag: "forward", val: upstream };
    },
  };
}

=====
import assert from "node:assert/strict";
import { test } from "node:test";
import { plugin } from "../src/plugin.js";
import { host } from "./host.js";

test("the api goes where the configuration says", () => {
  const { route } = plugin(host({ config: { api: "10.0.0.2:9000" } }));
  const { tag, val } = route({ path: "/api/users" }, {});
  assert.deepEqual([tag, val.host, val.port], ["forward", "10.0.0.2", 9000]);
  assert.equal(route({ path: "/" }, {}).tag, "continue-processing");
});
