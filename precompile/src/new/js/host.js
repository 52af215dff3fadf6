// A host for tests: what a plugin asks is answered by what the test has set up.

/** An error of the contract, as a function that fails throws it. */
export function failure(payload) {
  return Object.assign(new Error(JSON.stringify(payload)), { payload });
}

/**
 * A host with this configuration, these secrets and an empty store. `host.now` is its clock, in
 * nanoseconds; what the plugin logs is in `host.logged`, and its counters are in `host.counters`.
 */
export function host({ config = {}, secrets = {} } = {}) {
  const stored = new Map();
  const double = { now: 1_767_225_600_000_000_000n, logged: [], counters: new Map(), stored };
  const known = (values, key) => (Object.hasOwn(values, key) ? values[key] : undefined);
  const missing = (code, key) => failure({ code, message: `there is no '${key}'` });
  const live = (key) => {
    const entry = stored.get(key);
    if (entry && entry.end !== undefined && entry.end <= double.now) stored.delete(key);
    return stored.get(key);
  };
  const put = (key, value, end) => void stored.set(key, { value, end });
  const bytes = (text) => new TextEncoder().encode(text);
  const text = (value) => new TextDecoder().decode(value);
  const log = (level) => (message) => void double.logged.push({ level, message });
  const count = (name, value) =>
    void double.counters.set(name, (double.counters.get(name) ?? 0n) + value);
  const ignored = () => {};

  double.config = {
    get: (key) => known(config, key),
    getRequired(key) {
      if (known(config, key) === undefined) throw missing("CONFIG_MISSING", key);
      return config[key];
    },
    getMany: (keys) => keys.filter((key) => key in config).map((key) => [key, config[key]]),
    getPrefix: (prefix) =>
      Object.keys(config).filter((key) => key.startsWith(prefix)).sort().map((key) => [key, config[key]]),
    exists: (key) => known(config, key) !== undefined,
    getBool: (key) =>
      ({ true: true, 1: true, yes: true, false: false, 0: false, no: false })[known(config, key)?.toLowerCase()],
    getInt: (key) => (/^[+-]?\d+$/.test(known(config, key) ?? "") ? BigInt(config[key].replace("+", "")) : undefined),
    getFloat: (key) => (Number.isNaN(parseFloat(known(config, key))) ? undefined : Number(config[key])),
  };
  double.secrets = {
    get: (name) => known(secrets, name),
    getRequired(name) {
      if (known(secrets, name) === undefined) throw missing("SECRET_MISSING", name);
      return secrets[name];
    },
    exists: (name) => known(secrets, name) !== undefined,
    listNames: () => Object.keys(secrets).sort(),
  };
  double.keyvalue = {
    get: (key) => live(key)?.value,
    getString: (key) => (live(key) ? text(live(key).value) : undefined),
    set: (key, value) => put(key, value),
    setString: (key, value) => put(key, bytes(value)),
    setWithTtl: (key, value, ttl) => put(key, value, double.now + ttl),
    delete: (key) => live(key) !== undefined && stored.delete(key),
    exists: (key) => live(key) !== undefined,
    listKeys: (prefix) => [...stored.keys()].filter((key) => key.startsWith(prefix) && live(key)).sort(),
    increment(key, delta) {
      const old = live(key);
      const view = new DataView(new ArrayBuffer(8));
      const before = old ? new DataView(old.value.slice().buffer).getBigInt64(0, true) : 0n;
      view.setBigInt64(0, before + delta, true);
      put(key, new Uint8Array(view.buffer), old?.end);
      return before + delta;
    },
    compareAndSwap(key, expected, value) {
      const old = live(key);
      if (String(old?.value) !== String(expected)) return false;
      put(key, value, old?.end);
      return true;
    },
  };
  double.logging = {
    log: (level, message) => log(level)(message),
    logStructured: (level, message) => log(level)(message),
    isEnabled: () => true,
  };
  for (const level of ["trace", "debug", "info", "warn", "error"]) double.logging[level] = log(level);
  double.metrics = {
    counterInc: count,
    counterIncLabeled: count,
    gaugeSet: ignored,
    gaugeSetLabeled: ignored,
    gaugeAdd: ignored,
    histogramObserve: ignored,
    histogramObserveLabeled: ignored,
    recordDuration: ignored,
    recordDurationLabeled: ignored,
  };
  return double;
}
