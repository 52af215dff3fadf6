//! `secrets`, sentence by sentence, and a plugin that tells its own.
//!
//! The host is to be given the secrets of [`SECRETS`] and the configuration
//! `name=probe`. The values are put together here, so that the component's own
//! bytes do not hold them.
//!
//! - `/`: the checks
//! - `/tell`: writes the values to every place that a plugin can write to, but for its answer
//! - `/tell-error`: fails with a value in its error

use std::hint::black_box;

use probe::wasi::cli::{stderr, stdout};
use probe::zlayer::plugin::logging::{self, Level};
use probe::zlayer::plugin::{config, metrics, secrets};
use probe::{Answer, Ask, Capabilities, Checks, Probe, fields};

/// Names, and the two halves of their values, the second one first.
const SECRETS: [(&str, &str, &str); 5] = [
    ("api_key", "value", "s3cr3t-"),
    ("database_password", "w0rd=with=signs", "p4ss="),
    ("empty", "", ""),
    ("stripe_key", "grün", "sk_t3st_"),
    ("zebra", " and a \"quote\"", "two w0rds"),
];

struct SecretsProbe;

impl Probe for SecretsProbe {
    const NAME: &'static str = "secrets-probe";
    const CAPABILITIES: Capabilities = Capabilities::CONFIG
        .union(Capabilities::LOGGING)
        .union(Capabilities::SECRETS)
        .union(Capabilities::METRICS);

    fn answer(ask: &Ask) -> Result<Answer, String> {
        match ask.path.as_str() {
            "/" => {
                let mut checks = Checks::default();
                values(&mut checks);
                required(&mut checks);
                names(&mut checks);
                checks.answer()
            }
            "/tell" => {
                SECRETS.iter().for_each(|secret| tell(&value(secret)));
                Answer::text("told")
            }
            "/tell-error" => Err(format!("tell: {}", value(&SECRETS[0]))),
            _ => ask.unknown(),
        }
    }
}

fn values(checks: &mut Checks) {
    let get = |name: &str| secrets::get(name).map_err(|error| error.code);
    for secret in SECRETS {
        let name = secret.0;
        checks.is(
            &format!("get answers the value of {name}"),
            get(name) == Ok(Some(value(&secret))),
        );
        checks.same(&format!("exists sees {name}"), secrets::exists(name), true);
    }
    for absent in ["absent", "", "API_KEY", "api_ke", "api_key2", "name"] {
        checks.same(&format!("get of {absent:?} is none"), get(absent), Ok(None));
        checks.same(
            &format!("exists does not see {absent:?}"),
            secrets::exists(absent),
            false,
        );
    }
    checks.same("configuration is there", config::exists("name"), true);
    for (name, ..) in SECRETS {
        checks.same(
            &format!("{name} is not configuration"),
            (config::get(name), config::exists(name)),
            (None, false),
        );
    }
    let listed = config::get_prefix("");
    let told = listed.iter().any(|(_, text)| {
        let mut filled = SECRETS.iter().map(value).filter(|value| !value.is_empty());
        filled.any(|value| text.contains(&value))
    });
    checks.is("configuration tells no secret", !told);
}

fn required(checks: &mut Checks) {
    for secret in SECRETS {
        let found = secrets::get_required(secret.0).ok();
        checks.is(
            &format!("get-required answers the value of {}", secret.0),
            found == Some(value(&secret)),
        );
    }
    for absent in ["absent.name", "API_KEY", "name"] {
        let error = secrets::get_required(absent).err();
        let code = error.as_ref().map(|error| error.code.as_str());
        checks.same(
            &format!("get-required of {absent:?} fails with SECRET_MISSING"),
            code,
            Some("SECRET_MISSING"),
        );
        let message = error.map(|error| error.message).unwrap_or_default();
        checks.is(
            &format!("its message names {absent:?}"),
            message.contains(absent),
        );
        let mut filled = SECRETS.iter().map(value).filter(|value| !value.is_empty());
        checks.is(
            "its message tells no value",
            !filled.any(|value| message.contains(&value)),
        );
    }
}

fn names(checks: &mut Checks) {
    let expected: Vec<String> = SECRETS.iter().map(|(name, ..)| name.to_string()).collect();
    checks.same(
        "list-names answers the service's own names, sorted, and nothing else",
        secrets::list_names(),
        expected,
    );
}

/// Every way out of a plugin that ends with the host.
fn tell(value: &str) {
    logging::info(&format!("tell: {value}"));
    logging::log(Level::Error, value);
    logging::log_structured(Level::Warn, "tell", &fields(&[("value", value)]));
    logging::log_structured(Level::Warn, "tell", &fields(&[(value, "key")]));
    for stream in [stdout::get_stdout(), stderr::get_stderr()] {
        // A closed stream has been told nothing.
        let _ = stream.blocking_write_and_flush(format!("tell: {value}\n").as_bytes());
    }
    metrics::counter_inc_labeled("tell_total", 1, &fields(&[("value", value)]));
    metrics::gauge_set_labeled("tell_gauge", 1.0, &fields(&[(value, "label")]));
}

fn value((_, second, first): &(&str, &str, &str)) -> String {
    // Not by the compiler, which would put the whole value into the component.
    format!("{}{}", black_box(first), black_box(second))
}

probe::export!(SecretsProbe);
