//! `logging`, sentence by sentence. What is written can be seen in the daemon's
//! log alone, so the checks here are about `is-enabled` and about nothing that
//! a plugin logs doing it harm.
//!
//! - `/?least=LEVEL`: the checks; LEVEL is the least that should be on, or `off`
//! - `/each?tag=TAG`: a record at each level by each function, `TAG FUNCTION LEVEL`; answers the request's id
//! - `/fields`: records with fields
//! - `/forge`: records that pose as others and steer terminals
//! - `/long?bytes=N`: records of N bytes in the message, in a field's key, in a field's value
//! - `/flood?records=N`: N records, `flood NUMBER`

use probe::zlayer::plugin::logging::{self, Level};
use probe::{Answer, Ask, Capabilities, Checks, Probe, field, fields};

/// A level, its name, and the function that logs at it.
type Named = (Level, &'static str, fn(&str));

/// From least to most.
const LEVELS: [Named; 5] = [
    (Level::Trace, "trace", logging::trace),
    (Level::Debug, "debug", logging::debug),
    (Level::Info, "info", logging::info),
    (Level::Warn, "warn", logging::warn),
    (Level::Error, "error", logging::error),
];

struct LoggingProbe;

impl Probe for LoggingProbe {
    const NAME: &'static str = "logging-probe";
    const CAPABILITIES: Capabilities = Capabilities::LOGGING;

    fn answer(ask: &Ask) -> Result<Answer, String> {
        match ask.path.as_str() {
            "/" => levels(field(&ask.query, "least").unwrap_or_default()),
            "/each" => {
                each(field(&ask.query, "tag").unwrap_or_default());
                Answer::text(ask.request_id.clone().unwrap_or_default())
            }
            "/half" => {
                eprint!("half a line");
                Answer::text("done")
            }
            "/fields" => with_fields(),
            "/forge" => forge(),
            "/long" => long(ask.number("bytes", 1 << 20)),
            "/flood" => {
                for number in 0..ask.number("records", 0) {
                    logging::info(&format!("flood {number}"));
                }
                Answer::text("done")
            }
            _ => ask.unknown(),
        }
    }
}

fn levels(least: &str) -> Result<Answer, String> {
    let mut checks = Checks::default();
    // All of them are off when there is no such level.
    let first = LEVELS.iter().position(|(_, name, _)| *name == least);
    for (index, (level, name, _)) in LEVELS.into_iter().enumerate() {
        let on = first.is_some_and(|first| index >= first);
        let told = if on { "enabled" } else { "not enabled" };
        checks.same(
            &format!("from {least} on, {name} is {told}"),
            logging::is_enabled(level),
            on,
        );
    }
    // Logging changes nothing in that.
    each("levels");
    let now = LEVELS.map(|(level, ..)| logging::is_enabled(level));
    let expected: [bool; 5] = std::array::from_fn(|i| first.is_some_and(|first| i >= first));
    checks.same("and stays so", now, expected);
    checks.answer()
}

fn each(tag: &str) {
    for (level, name, function) in LEVELS {
        function(&format!("{tag} function {name}"));
        logging::log(level, &format!("{tag} log {name}"));
        let kept = fields(&[("level", name)]);
        logging::log_structured(level, &format!("{tag} structured {name}"), &kept);
    }
}

fn with_fields() -> Result<Answer, String> {
    let write = |message: &str, pairs: &[(&str, &str)]| {
        logging::log_structured(Level::Info, message, &fields(pairs));
    };
    // The guide's own example.
    write(
        "Request processed",
        &[
            ("user_id", "123"),
            ("path", "/api/users"),
            ("duration_ms", "45"),
        ],
    );
    write("no fields", &[]);
    write(
        "odd values",
        &[("empty", ""), ("space", "a b"), ("quote", "\"")],
    );
    write("a field called like a part", &[("request_id", "forged")]);
    write("the same twice", &[("key", "1"), ("key", "2")]);
    write("grüße", &[("schlüssel", "wert ✓")]);
    write("", &[("only", "fields")]);
    Answer::text("done")
}

fn forge() -> Result<Answer, String> {
    let record = "Thu, 01 Jan 1970 00:00:00 GMT ERROR zlayer: forged";
    logging::info(&format!("newline\n{record}"));
    logging::info(&format!("return\r\n{record}"));
    logging::info("\u{1b}[2J\u{1b}]0;title\u{7}\u{0}\u{8}\u{7f}escape");
    logging::info("\u{85}\u{9b}31mnext line");
    logging::log_structured(
        Level::Info,
        "fields",
        &fields(&[
            ("key\nforged", "v"),
            ("k", "value\nforged"),
            ("\u{1b}[31m", "\u{1b}[0m"),
        ]),
    );
    logging::info("forge end");
    Answer::text("done")
}

fn long(bytes: u64) -> Result<Answer, String> {
    let bytes = usize::try_from(bytes).unwrap_or(0);
    logging::info(&format!("long message {}", "m".repeat(bytes)));
    // Two bytes each, so that one may lie across the cut.
    logging::info(&format!("long letters{}", "é".repeat(bytes / 2)));
    let text = "f".repeat(bytes);
    logging::log_structured(Level::Info, "long key", &fields(&[(&text, "v")]));
    logging::log_structured(Level::Info, "long value", &fields(&[("k", &text)]));
    let many: Vec<_> = (0..1000).map(|_| ("name", "value")).collect();
    logging::log_structured(Level::Info, "many fields", &fields(&many));
    logging::info("long end");
    Answer::text("done")
}

probe::export!(LoggingProbe);
