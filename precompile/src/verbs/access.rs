//! How registries are spoken to, for the verbs that do.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use zlayer_deployment::{Image, ImageSource};
use zlayer_precompile::{Problem, Refused, of_registry, open_input};
use zlayer_registry::{Access, Credentials, Keyring, Reference};

use super::{tell, usage};

/// The variable that says what `--plain-http` says, for `zlayer run`, which calls this program.
const PLAIN_HTTP: &str = "ZLAYER_REGISTRY_PLAIN_HTTP";

/// The longest password, in bytes. Tokens take a few thousand.
const PASSWORD_MAX: u64 = 64 << 10;

/// What the flags say of who asks.
pub(super) struct Asker<'a> {
    pub(super) username: Option<&'a str>,
    pub(super) password_file: Option<&'a Path>,
    pub(super) password: Option<&'a str>,
}

/// What the environment says, and whether plain HTTP was asked for.
fn from_environment(plain_http: bool) -> Result<Access> {
    let keyring = Keyring::from_environment(|name| std::env::var_os(name)).map_err(of_registry)?;
    let plain_http = match std::env::var_os(PLAIN_HTTP) {
        Some(said) if said == "1" => true,
        Some(said) if !said.is_empty() => {
            return Err(usage(format!(
                "{PLAIN_HTTP} says {:?}: 1 lets registries on this machine do without TLS",
                said.display().to_string()
            )));
        }
        _ => plain_http,
    };
    Ok(Access {
        keyring,
        plain_http,
    })
}

/// As [`from_environment`], for images of which some are in registries. What no reference is, is told when it is
/// read.
pub(super) fn for_images(images: &[Image], plain_http: bool) -> Result<Access> {
    for image in images.iter().filter(|_| plain_http) {
        if let ImageSource::Reference(text) = &image.source
            && let Ok(reference) = text.parse()
        {
            check_plain(&reference).with_context(|| format!("{}: {}", image.place, image.path))?;
        }
    }
    from_environment(plain_http)
}

/// As [`from_environment`], and what flags say for the registry of one reference.
pub(super) fn for_reference(
    reference: &Reference,
    plain_http: bool,
    asker: &Asker<'_>,
) -> Result<Access> {
    if plain_http {
        check_plain(reference)?;
    }
    let mut access = from_environment(plain_http)?;
    if let Some(credentials) = asker.credentials()? {
        access.keyring.give(reference.registry(), credentials);
    }
    Ok(access)
}

/// Whether a registry may be spoken to without TLS.
fn check_plain(reference: &Reference) -> Result<()> {
    match reference.is_loopback() {
        true => Ok(()),
        false => {
            let error = zlayer_registry::Error::PlainHttp(reference.registry().to_owned());
            Err(of_registry(error))
        }
    }
}

impl Asker<'_> {
    fn credentials(&self) -> Result<Option<Credentials>> {
        let password = match (self.password, self.password_file) {
            (Some(_), Some(_)) => {
                return Err(usage(
                    "--password and --password-file say the same: leave one out",
                ));
            }
            (Some(password), None) => {
                tell(
                    "--password: every account of this machine can read it while this program runs, and your \
                     shell keeps it; --password-file FILE is better",
                );
                Some(password.to_owned())
            }
            (None, Some(path)) => Some(read_password(path)?),
            (None, None) => None,
        };
        match (self.username, password) {
            (Some(username), Some(password)) => Ok(Some(Credentials {
                username: username.to_owned(),
                password,
            })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(usage("--username needs --password-file")),
            (None, Some(_)) => Err(usage("a password needs --username")),
        }
    }
}

/// The first line of a file that nobody else may read, or of standard input for `-`.
fn read_password(path: &Path) -> Result<String> {
    let shown = path.display();
    let mut bytes = Vec::new();
    let failed = || format!("cannot read {shown}");
    if path == Path::new("-") {
        let input = std::io::stdin().lock();
        input
            .take(PASSWORD_MAX)
            .read_to_end(&mut bytes)
            .with_context(failed)?;
    } else {
        let mend = "give a file, or have it come as standard input, `-`";
        let (file, found) = open_input(path, mend)?;
        let mode = found.mode() & 0o7777;
        if mode & 0o077 != 0 {
            let what = format!("its mode is {mode:04o}, so that others can use the password");
            let mend = format!("chmod 600 {shown}");
            return Err(Refused::from(Problem::new(shown.to_string(), what, mend)).into());
        }
        file.take(PASSWORD_MAX)
            .read_to_end(&mut bytes)
            .with_context(failed)?;
    }
    let text = String::from_utf8(bytes).map_err(|_| usage(format!("{shown} is not UTF-8")))?;
    match text.lines().next().filter(|line| !line.is_empty()) {
        Some(line) => Ok(line.to_owned()),
        None => Err(usage(format!("{shown} has no password in its first line"))),
    }
}
