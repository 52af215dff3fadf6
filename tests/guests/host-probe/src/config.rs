//! `config` and `secrets`.

use crate::checks::{Checks, Failed};
use crate::zlayer::plugin::{config, secrets};

pub fn probe(checks: &mut Checks) -> Result<(), Failed> {
    let text = |text: &str| Some(text.to_owned());
    checks.same("get answers the value", config::get("name"), text("probe"))?;
    checks.same("an absent key is none", config::get("absent"), None)?;
    checks.same("keys are case-sensitive", config::get("Name"), None)?;
    checks.same("an empty value is a value", config::get("empty"), text(""))?;

    checks.same("exists sees a key", config::exists("name"), true)?;
    checks.same("exists sees an empty value", config::exists("empty"), true)?;
    checks.same(
        "exists does not see an absent key",
        config::exists("absent"),
        false,
    )?;
    checks.same("exists is about whole keys", config::exists("db."), false)?;

    checks.same(
        "get-required answers the value",
        config::get_required("name").ok(),
        text("probe"),
    )?;
    let error = config::get_required("absent.key")
        .err()
        .ok_or("not so: get-required fails on an absent key")?;
    checks.same(
        "its code is CONFIG_MISSING",
        error.code.as_str(),
        "CONFIG_MISSING",
    )?;
    checks.is(
        "its message names the key",
        error.message.contains("absent.key"),
    )?;

    let many = ["num", "absent", "name", "db.host"].map(str::to_owned);
    checks.same(
        "get-many keeps the order asked for and leaves out what is absent",
        config::get_many(&many),
        pairs(&[("num", "42"), ("name", "probe"), ("db.host", "localhost")]),
    )?;
    checks.same(
        "get-many of nothing is nothing",
        config::get_many(&[]),
        Vec::new(),
    )?;

    checks.same(
        "get-prefix answers whole keys, sorted",
        config::get_prefix("db."),
        pairs(&[("db.host", "localhost"), ("db.port", "5432")]),
    )?;
    checks.same(
        "get-prefix of a prefix that nothing has is nothing",
        config::get_prefix("nothing."),
        Vec::new(),
    )?;
    let all = config::get_prefix("");
    checks.is("the empty prefix answers every key", all.len() >= 9)?;
    checks.is("the empty prefix answers sorted keys", all.is_sorted())?;

    checks.same("YES is true", config::get_bool("flag.yes"), Some(true))?;
    checks.same("0 is false", config::get_bool("flag.zero"), Some(false))?;
    checks.same("maybe is neither", config::get_bool("flag.bad"), None)?;
    checks.same("42 is no truth value", config::get_bool("num"), None)?;
    checks.same("nothing is no truth value", config::get_bool("empty"), None)?;
    checks.same(
        "an absent key is no truth value",
        config::get_bool("absent"),
        None,
    )?;

    checks.same("42 is an integer", config::get_int("num"), Some(42))?;
    checks.same("2.5 is no integer", config::get_int("float"), None)?;
    checks.same("a word is no integer", config::get_int("name"), None)?;
    checks.same("nothing is no integer", config::get_int("empty"), None)?;
    checks.same(
        "an absent key is no integer",
        config::get_int("absent"),
        None,
    )?;

    checks.same("2.5 is a number", config::get_float("float"), Some(2.5))?;
    checks.same("42 is a number", config::get_float("num"), Some(42.0))?;
    checks.same("a word is no number", config::get_float("name"), None)?;
    checks.same(
        "an absent key is no number",
        config::get_float("absent"),
        None,
    )
}

pub fn probe_secrets(checks: &mut Checks) -> Result<(), Failed> {
    let value =
        |name: &str| secrets::get(name).map_err(|error| format!("not so: get works ({error})"));
    checks.same(
        "get answers the value",
        value("api_key")?,
        Some("s3cr3t-value".to_owned()),
    )?;
    checks.same(
        "get answers another value",
        value("other")?,
        Some("o7her-value".to_owned()),
    )?;
    checks.same("an absent secret is none", value("absent")?, None)?;
    checks.same("names are case-sensitive", value("API_KEY")?, None)?;
    checks.same("configuration is no secret", value("name")?, None)?;
    checks.same("a secret is not configuration", config::get("other"), None)?;

    let required = secrets::get_required("api_key").ok();
    checks.same(
        "get-required answers the value",
        required.as_deref(),
        Some("s3cr3t-value"),
    )?;
    let error = secrets::get_required("absent.name")
        .err()
        .ok_or("not so: get-required fails on an absent name")?;
    checks.same(
        "its code is SECRET_MISSING",
        error.code.as_str(),
        "SECRET_MISSING",
    )?;
    checks.is(
        "its message names the secret",
        error.message.contains("absent.name"),
    )?;
    let tells = error.message.contains("s3cr3t-value") || error.message.contains("o7her-value");
    checks.is("its message tells no value", !tells)?;

    checks.same("exists sees a secret", secrets::exists("api_key"), true)?;
    checks.same(
        "exists does not see an absent one",
        secrets::exists("absent"),
        false,
    )?;
    let names = ["api_key", "other"].map(str::to_owned).to_vec();
    checks.same(
        "list-names answers the names, sorted",
        secrets::list_names(),
        names,
    )
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}
