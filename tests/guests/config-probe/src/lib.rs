//! `config`, sentence by sentence.
//!
//! The host is to be given `name=probe`, `empty=`, `database.host=localhost`,
//! `database.port=5432`, `database.Port=upper`, `databases=other`,
//! `url=http://h/?a=b&c=d`, `schlüssel=grün`, `long=` with 10,000 letters `x`,
//! and every word of the lists below as `PREFIX:WORD=WORD`.
//!
//! `/greedy?keys=N` asks for `long` N times in one call.

use probe::zlayer::plugin::config;
use probe::{Answer, Ask, Capabilities, Checks, Probe};

const TRUE: [&str; 8] = ["true", "TRUE", "True", "tRuE", "1", "yes", "YES", "Yes"];
const FALSE: [&str; 8] = ["false", "FALSE", "False", "fAlSe", "0", "no", "NO", "No"];
const NEITHER: [&str; 12] = [
    "", "maybe", "on", "off", "y", "n", "t", "f", "2", "-1", " true", "truely",
];
const INTEGERS: [(&str, i64); 5] = [
    ("42", 42),
    ("-7", -7),
    ("0", 0),
    ("9223372036854775807", i64::MAX),
    ("-9223372036854775808", i64::MIN),
];
const NO_INTEGERS: [&str; 12] = [
    "",
    "-",
    "word",
    "2.5",
    "1e3",
    "0x10",
    "1_000",
    "1,000",
    " 42",
    "42 ",
    "9223372036854775808",
    "-9223372036854775809",
];
const NUMBERS: [(&str, f64); 6] = [
    ("2.5", 2.5),
    ("42", 42.0),
    ("-0.25", -0.25),
    ("1e3", 1000.0),
    ("0", 0.0),
    ("1.7976931348623157e308", f64::MAX),
];
const NO_NUMBERS: [&str; 8] = ["", "-", "word", "1,5", "0x1p3", "1_0", " 2.5", "2.5.1"];

struct ConfigProbe;

impl Probe for ConfigProbe {
    const NAME: &'static str = "config-probe";
    const CAPABILITIES: Capabilities = Capabilities::CONFIG;

    fn answer(ask: &Ask) -> Result<Answer, String> {
        if ask.path == "/greedy" {
            let keys = vec!["long".to_owned(); ask.number("keys", 1) as usize];
            return Answer::text(config::get_many(&keys).len().to_string());
        }
        if ask.path != "/" {
            return ask.unknown();
        }
        let mut checks = Checks::default();
        values(&mut checks);
        required(&mut checks);
        many(&mut checks);
        prefixes(&mut checks);
        truths(&mut checks);
        integers(&mut checks);
        floats(&mut checks);
        checks.answer()
    }
}

fn values(checks: &mut Checks) {
    let text = |text: &str| Some(text.to_owned());
    checks.same("get answers the value", config::get("name"), text("probe"));
    checks.same("get of an absent key is none", config::get("absent"), None);
    checks.same("get of the empty key is none", config::get(""), None);
    checks.same("keys are case-sensitive: Name", config::get("Name"), None);
    checks.same("keys are case-sensitive: NAME", config::get("NAME"), None);
    let upper = config::get("database.Port");
    checks.same("keys may differ in case alone", upper, text("upper"));
    checks.same("a part of a key is no key", config::get("database."), None);
    checks.same("an empty value is a value", config::get("empty"), text(""));
    checks.same(
        "a value may hold equal signs",
        config::get("url"),
        text("http://h/?a=b&c=d"),
    );
    checks.same(
        "keys and values are Unicode",
        config::get("schlüssel"),
        text("grün"),
    );
    let long = config::get("long").unwrap_or_default();
    checks.is("a long value is whole", long == "x".repeat(10_000));

    checks.same("exists sees a key", config::exists("name"), true);
    checks.same("exists sees an empty value", config::exists("empty"), true);
    for absent in ["absent", "", "Name", "database.", "nam", "names"] {
        checks.same(
            &format!("exists does not see {absent:?}"),
            config::exists(absent),
            false,
        );
    }
}

fn required(checks: &mut Checks) {
    let found = |key: &str| config::get_required(key).ok();
    checks.same(
        "get-required answers the value",
        found("name"),
        Some("probe".to_owned()),
    );
    checks.same(
        "get-required takes an empty value",
        found("empty"),
        Some(String::new()),
    );
    for key in ["absent.key", "Name", "a\nkey"] {
        let error = config::get_required(key).err();
        let code = error.as_ref().map(|error| error.code.as_str());
        checks.same(
            &format!("get-required of {key:?} fails with CONFIG_MISSING"),
            code,
            Some("CONFIG_MISSING"),
        );
        let named = error.is_some_and(|error| error.message.contains(key));
        checks.is(&format!("its message names {key:?}"), named);
    }
}

fn many(checks: &mut Checks) {
    let many = |keys: &[&str]| {
        let keys: Vec<String> = keys.iter().map(|key| key.to_string()).collect();
        config::get_many(&keys)
    };
    checks.same(
        "get-many answers in request order",
        many(&["name", "empty", "database.port", "database.host"]),
        pairs(&[
            ("name", "probe"),
            ("empty", ""),
            ("database.port", "5432"),
            ("database.host", "localhost"),
        ]),
    );
    checks.same(
        "get-many answers only keys that exist",
        many(&["absent", "name", "Name", "", "database.host"]),
        pairs(&[("name", "probe"), ("database.host", "localhost")]),
    );
    checks.same("get-many of nothing is nothing", many(&[]), Vec::new());
    checks.same(
        "get-many of absent keys is nothing",
        many(&["absent", "too"]),
        Vec::new(),
    );
}

fn prefixes(checks: &mut Checks) {
    let mut database = pairs(&[
        ("database.Port", "upper"),
        ("database.host", "localhost"),
        ("database.port", "5432"),
    ]);
    checks.same(
        "get-prefix answers full keys, sorted",
        config::get_prefix("database."),
        database.clone(),
    );
    checks.same(
        "get-prefix answers a key that is the prefix",
        config::get_prefix("database.host"),
        vec![database[1].clone()],
    );
    database.push(("databases".to_owned(), "other".to_owned()));
    checks.same(
        "get-prefix need not end at a dot",
        config::get_prefix("database"),
        database,
    );
    for nothing in ["nothing.", "Database.", "database.hosts"] {
        checks.same(
            &format!("get-prefix of {nothing:?} is nothing"),
            config::get_prefix(nothing),
            Vec::new(),
        );
    }
    let all = config::get_prefix("");
    checks.is("the empty prefix answers sorted keys", all.is_sorted());
    let whole = all
        .iter()
        .all(|(key, value)| config::get(key).as_ref() == Some(value));
    checks.is(
        "the empty prefix answers keys with their values",
        whole && all.len() > 50,
    );
}

fn truths(checks: &mut Checks) {
    let truth = |word: &str| config::get_bool(&given("truth", word));
    for word in TRUE {
        checks.same(
            &format!("get-bool knows {word:?} as true"),
            truth(word),
            Some(true),
        );
    }
    for word in FALSE {
        checks.same(
            &format!("get-bool knows {word:?} as false"),
            truth(word),
            Some(false),
        );
    }
    for word in NEITHER {
        checks.is(&format!("{word:?} was given"), is_given("truth", word));
        checks.same(&format!("get-bool of {word:?} is none"), truth(word), None);
    }
    checks.same(
        "get-bool of an absent key is none",
        config::get_bool("absent"),
        None,
    );
}

fn integers(checks: &mut Checks) {
    for (word, integer) in INTEGERS {
        checks.same(
            &format!("get-int reads {word:?}"),
            config::get_int(&given("int", word)),
            Some(integer),
        );
    }
    for word in NO_INTEGERS {
        checks.is(&format!("{word:?} was given"), is_given("int", word));
        checks.same(
            &format!("get-int of {word:?} is none"),
            config::get_int(&given("int", word)),
            None,
        );
    }
    checks.same(
        "get-int of an absent key is none",
        config::get_int("absent"),
        None,
    );
}

fn floats(checks: &mut Checks) {
    for (word, number) in NUMBERS {
        checks.same(
            &format!("get-float reads {word:?}"),
            config::get_float(&given("float", word)),
            Some(number),
        );
    }
    for word in NO_NUMBERS {
        checks.is(&format!("{word:?} was given"), is_given("float", word));
        checks.same(
            &format!("get-float of {word:?} is none"),
            config::get_float(&given("float", word)),
            None,
        );
    }
    checks.same(
        "get-float of an absent key is none",
        config::get_float("absent"),
        None,
    );
}

/// The key under which the host was given `word`.
fn given(prefix: &str, word: &str) -> String {
    format!("{prefix}:{word}")
}

/// Whether it was: what is absent would be none as well.
fn is_given(prefix: &str, word: &str) -> bool {
    config::get(&given(prefix, word)).as_deref() == Some(word)
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

probe::export!(ConfigProbe);
