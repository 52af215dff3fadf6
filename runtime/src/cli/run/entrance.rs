//! The flags that say how clients reach the daemon: over TLS, and through proxies.

use std::path::{Path, PathBuf};

use crate::config::{Entrance, Https, IdentityFiles, Network};
use crate::error::{Error, Result};
use crate::secrets;

/// The port of HTTPS where there is a certificate and no `--tls-port`.
const PORT: u16 = 8443;

/// What the flags say, word for word.
#[derive(Default)]
pub(super) struct Words {
    pub(super) port: Option<u16>,
    pub(super) certificates: Vec<PathBuf>,
    pub(super) keys: Vec<PathBuf>,
    pub(super) credentials: Vec<String>,
    pub(super) redirect: bool,
    pub(super) trusted: Vec<Network>,
    pub(super) proxy_protocol: bool,
}

impl Words {
    /// What they mean.
    ///
    /// # Errors
    ///
    /// They do not fit together, or a credential is not there.
    pub(super) fn read(self) -> Result<Entrance> {
        self.read_with(secrets::credentials().as_deref())
    }

    fn read_with(self, folder: Option<&Path>) -> Result<Entrance> {
        let usage = |text: &str| Err(Error::Usage(text.to_owned()));
        let mut identities = match (self.certificates.len(), self.keys.len()) {
            // Each file has both.
            (_, 0) => pairs(self.certificates.clone(), self.certificates),
            (certificates, keys) if certificates == keys => pairs(self.certificates, self.keys),
            _ => {
                return usage(
                    "--tls-key: wants one for each --tls-cert, in the same order, or none at all \
                     where each of those files holds its key as well",
                );
            }
        };
        for name in &self.credentials {
            identities.push(of_credential(name, folder)?);
        }
        let https = match (self.port, identities.is_empty()) {
            (_, false) => Some(Https {
                port: self.port.unwrap_or(PORT),
                identities,
            }),
            (None, true) => None,
            (Some(_), true) => {
                return usage(
                    "--tls-port: HTTPS wants a certificate; name one with --tls-cert and --tls-key, \
                     or with --tls-credential",
                );
            }
        };
        if self.redirect && https.is_none() {
            return usage(
                "--redirect-http: there is no HTTPS to go to; name a certificate with --tls-cert \
                 and --tls-key, or with --tls-credential",
            );
        }
        if self.proxy_protocol && self.trusted.is_empty() {
            return usage(
                "--proxy-protocol: whose headers are to be believed? Name the load balancer with \
                 --trusted-proxy",
            );
        }
        Ok(Entrance {
            https,
            redirect: self.redirect,
            trusted: self.trusted.into_iter().collect(),
            proxy_protocol: self.proxy_protocol,
        })
    }
}

fn pairs(certificates: Vec<PathBuf>, keys: Vec<PathBuf>) -> Vec<IdentityFiles> {
    let pairs = certificates.into_iter().zip(keys);
    pairs
        .map(|(certificate, key)| IdentityFiles {
            certificate,
            key,
            is_credential: false,
        })
        .collect()
}

/// The credentials `NAME.crt` and `NAME.key`, or `NAME` alone, which holds both.
fn of_credential(name: &str, folder: Option<&Path>) -> Result<IdentityFiles> {
    let find = |name: &str| {
        secrets::credential(name, folder)
            .map_err(|what| Error::Usage(format!("--tls-credential: {what}")))
    };
    let (certificate, key) = (find(&format!("{name}.crt"))?, find(&format!("{name}.key"))?);
    let both = find(name)?;
    let (certificate, key) = match (certificate.exists() || key.exists(), both.exists()) {
        (true, _) => (certificate, key),
        (false, true) => (both.clone(), both),
        (false, false) => {
            return Err(Error::Usage(format!(
                "--tls-credential: there are neither credentials {name}.crt and {name}.key nor one {name} with \
                 both; see LoadCredential= in the unit"
            )));
        }
    };
    Ok(IdentityFiles {
        certificate,
        key,
        is_credential: true,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use crate::data_dir::temporary_folder;

    fn files(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn certificates_and_keys_are_paired_in_their_order() {
        let read = |certificates, keys| {
            let words = Words {
                certificates: files(certificates),
                keys: files(keys),
                ..Words::default()
            };
            let identities = words.read_with(None)?.https.unwrap().identities;
            let shown = identities
                .iter()
                .map(|one| format!("{} {}", one.certificate.display(), one.key.display()));
            Ok::<_, Error>(shown.collect::<Vec<_>>())
        };
        assert_eq!(read(&["a", "b"], &["c", "d"]).unwrap(), ["a c", "b d"]);
        assert_eq!(read(&["a", "b"], &[]).unwrap(), ["a a", "b b"]);
        for (certificates, keys) in [
            (&["a", "b"][..], &["c"][..]),
            (&[], &["c"]),
            (&["a"], &["b", "c"]),
        ] {
            let error = read(certificates, keys).unwrap_err().to_string();
            assert!(
                error.starts_with("--tls-key: wants one for each"),
                "{error}"
            );
        }
    }

    #[test]
    fn flags_that_hang_on_others_say_so() {
        let refused = |words: Words| words.read_with(None).unwrap_err().to_string();
        let port = Words {
            port: Some(443),
            ..Words::default()
        };
        assert!(refused(port).contains("--tls-cert"));
        let redirect = Words {
            redirect: true,
            ..Words::default()
        };
        assert!(refused(redirect).contains("--tls-cert"));
        let proxy = Words {
            proxy_protocol: true,
            ..Words::default()
        };
        assert!(refused(proxy).contains("--trusted-proxy"));
        assert!(Words::default().read_with(None).unwrap().https.is_none());
        let one = Words {
            certificates: files(&["a"]),
            ..Words::default()
        };
        assert_eq!(one.read_with(None).unwrap().https.unwrap().port, PORT);
    }

    #[test]
    fn a_credential_is_two_files_or_one() {
        let folder = temporary_folder().unwrap();
        for name in ["two.crt", "two.key", "one"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let two = of_credential("two", Some(&folder)).unwrap();
        assert_eq!(
            (two.certificate, two.key),
            (folder.join("two.crt"), folder.join("two.key"))
        );
        let one = of_credential("one", Some(&folder)).unwrap();
        assert!(one.certificate == one.key && one.is_credential);
        let error = of_credential("none", Some(&folder))
            .unwrap_err()
            .to_string();
        assert!(error.contains("none.crt"), "{error}");
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(of_credential("../x", Some(&folder)).is_err());
        let error = of_credential("x", None).unwrap_err().to_string();
        assert!(error.contains("CREDENTIALS_DIRECTORY"), "{error}");
    }
}
