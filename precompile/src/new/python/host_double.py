"""A host for tests, and stand-ins for the modules that exist on a device alone.

Import this before the plugin. `Host(config=..., secrets=...)` is what the plugin then asks: its
store is empty, `now` is its clock in nanoseconds, `logged` has what the plugin logs, and `counters`
what it counts.
"""

import struct
import sys
import types


class Err(Exception):
    """What the contract calls an error."""

    def __init__(self, value):
        super().__init__(value)
        self.value = value


class Ok:
    """What the contract calls success."""

    def __init__(self, value):
        self.value = value


class Case(str):
    """A case of an enum, or some flags."""

    def __or__(self, other):
        return Case("|".join(sorted({*self.split("|"), *other.split("|")})))


class _Cases(type):
    def __getattr__(cls, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return Case(name)


class Record(metaclass=_Cases):
    """A record with its fields by name, or a case of a variant with its value."""

    def __init__(self, value=None, **fields):
        self.value = value
        self.__dict__.update(fields)

    def __eq__(self, other):
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __repr__(self):
        return f"{type(self).__name__}({self.__dict__})"


class _Types(types.ModuleType):
    """A module that has every type that it is asked for."""

    __path__ = []

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        made = _Cases(name, (Record,), {})
        setattr(self, name, made)
        return made


class Host:
    """The host that the plugin asks, until another one is made."""

    def __init__(self, config=None, secrets=None):
        self.now = 1_767_225_600_000_000_000
        self.logged = []
        self.counters = {}
        self.stored = {}
        self._config = dict(config or {})
        self._secrets = dict(secrets or {})
        for interface in ("config", "secrets", "keyvalue", "logging", "metrics"):
            module = sys.modules[f"wit_world.imports.{interface}"]
            for name, function in getattr(self, f"_{interface}_functions")().items():
                setattr(module, name, function)

    @staticmethod
    def _required(values, code):
        def get(key):
            if key not in values:
                raise Err(Record(code=code, message=f"there is no '{key}'"))
            return values[key]

        return get

    def _config_functions(self):
        values = self._config

        def number(convert):
            def get(key):
                try:
                    return convert(values[key])
                except (KeyError, ValueError):
                    return None

            return get

        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        return {
            "get": values.get,
            "get_required": self._required(values, "CONFIG_MISSING"),
            "get_many": lambda keys: [(key, values[key]) for key in keys if key in values],
            "get_prefix": lambda start: sorted(kv for kv in values.items() if kv[0].startswith(start)),
            "exists": values.__contains__,
            "get_bool": lambda key: words.get(values.get(key, "").lower()),
            "get_int": number(int),
            "get_float": number(float),
        }

    def _secrets_functions(self):
        return {
            "get": self._secrets.get,
            "get_required": self._required(self._secrets, "SECRET_MISSING"),
            "exists": self._secrets.__contains__,
            "list_names": lambda: sorted(self._secrets),
        }

    def _keyvalue_functions(self):
        def live(key):
            value, end = self.stored.get(key, (None, None))
            if end is not None and end <= self.now:
                self.stored.pop(key)
                return None, None
            return value, end

        def put(key, value, end=None):
            self.stored[key] = (value, end)

        def increment(key, delta):
            value, end = live(key)
            total = (struct.unpack("<q", value)[0] if value else 0) + delta
            put(key, struct.pack("<q", total), end)
            return total

        def swap(key, expected, value):
            old, end = live(key)
            if old != expected:
                return False
            put(key, value, end)
            return True

        def delete(key):
            return live(key)[0] is not None and bool(self.stored.pop(key))

        def list_keys(start):
            return sorted(k for k in list(self.stored) if k.startswith(start) and live(k)[0] is not None)

        return {
            "get": lambda key: live(key)[0],
            "get_string": lambda key: None if live(key)[0] is None else live(key)[0].decode(),
            "set": put,
            "set_string": lambda key, value: put(key, value.encode()),
            "set_with_ttl": lambda key, value, ttl: put(key, value, self.now + ttl),
            "delete": delete,
            "exists": lambda key: live(key)[0] is not None,
            "list_keys": list_keys,
            "increment": increment,
            "compare_and_swap": swap,
        }

    def _logging_functions(self):
        def at(level):
            return lambda message: self.logged.append((level, message))

        levels = {level: at(level) for level in ("trace", "debug", "info", "warn", "error")}
        return levels | {
            "log": lambda level, message: self.logged.append((level.lower(), message)),
            "log_structured": lambda level, message, _: self.logged.append((level.lower(), message)),
            "is_enabled": lambda level: True,
        }

    def _metrics_functions(self):
        def count(name, value, labels=()):
            self.counters[name] = self.counters.get(name, 0) + value

        others = ("gauge_set", "gauge_set_labeled", "gauge_add", "histogram_observe",
                  "histogram_observe_labeled", "record_duration", "record_duration_labeled")
        ignored = {name: lambda *_: None for name in others}
        return ignored | {"counter_inc": count, "counter_inc_labeled": count}


def _install():
    names = ("common", "request_types", "http_types", "plugin_metadata", "types",
             "config", "secrets", "keyvalue", "logging", "metrics")
    exports = ("handler", "caching", "websocket", "middleware", "authenticator", "rate_limiter",
               "router", "transformer")
    paths = ["wit_world", "wit_world.imports", "wit_world.exports"]
    paths += [f"wit_world.imports.{name}" for name in names]
    paths += [f"wit_world.exports.{name}" for name in exports]
    for path in paths:
        module = _Types(path)
        sys.modules[path] = module
        parent, _, name = path.rpartition(".")
        if parent:
            setattr(sys.modules[parent], name, module)
    made = types.ModuleType("componentize_py_types")
    made.Err, made.Ok = Err, Ok
    sys.modules["componentize_py_types"] = made


_install()
