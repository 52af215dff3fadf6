//! How clients reach the daemon: over TLS, and through proxies.

use std::path::{Path, PathBuf};

use zlayer_bundle::{CertificateFiles, DeviceSettings};

use crate::config::{Entrance, Https, IdentityFiles};
use crate::error::{Error, Result};
use crate::secrets;

/// The certificates that flags name: files with a key for each, or with their keys in them, then
/// credentials.
///
/// # Errors
///
/// There are not as many keys as certificates.
pub(super) fn certificates(
    certificates: Vec<PathBuf>,
    keys: Vec<PathBuf>,
    credentials: Vec<String>,
) -> Result<Vec<CertificateFiles>> {
    let keys = match (certificates.len(), keys.len()) {
        // Each file has both.
        (_, 0) => certificates.clone(),
        (certificates, count) if certificates == count => keys,
        _ => {
            return usage(
                "--tls-key: wants one for each --tls-cert, in the same order, or none at all \
                 where each of those files holds its key as well",
            );
        }
    };
    let pairs = certificates.into_iter().zip(keys);
    let files = pairs.map(|(certificate, key)| CertificateFiles::Files { certificate, key });
    let credentials = credentials.into_iter().map(CertificateFiles::Credential);
    Ok(files.chain(credentials).collect())
}

/// What is said of the entrance, with the credentials of this device.
///
/// # Errors
///
/// Settings do not fit together, or a credential is not there.
pub(super) fn read(device: DeviceSettings) -> Result<Entrance> {
    read_with(device, secrets::credentials().as_deref())
}

fn read_with(device: DeviceSettings, folder: Option<&Path>) -> Result<Entrance> {
    let identities = device.certificates.into_iter().map(|one| match one {
        CertificateFiles::Files { certificate, key } => Ok(IdentityFiles {
            certificate,
            key,
            is_credential: false,
        }),
        CertificateFiles::Credential(name) => of_credential(&name, folder),
    });
    let identities: Vec<_> = identities.collect::<Result<_>>()?;
    let https = match (device.tls_port, identities.is_empty()) {
        (_, false) => Some(Https { identities }),
        (None, true) => None,
        (Some(_), true) => {
            return usage(
                "--tls-port: HTTPS wants a certificate; name one with --tls-cert and --tls-key, \
                 or with --tls-credential",
            );
        }
    };
    if device.redirect_http == Some(true) && https.is_none() {
        return usage(
            "--redirect-http: there is no HTTPS to go to; name a certificate with --tls-cert \
             and --tls-key, or with --tls-credential",
        );
    }
    let proxy_protocol = device.proxy_protocol.unwrap_or_default();
    if proxy_protocol && device.trusted_proxies.is_empty() {
        return usage(
            "--proxy-protocol: whose headers are to be believed? Name the load balancer with \
             --trusted-proxy",
        );
    }
    Ok(Entrance {
        https,
        trusted: device.trusted_proxies.into_iter().collect(),
        proxy_protocol,
    })
}

fn usage<T>(text: &str) -> Result<T> {
    Err(Error::Usage(text.to_owned()))
}

/// The credentials `NAME.crt` and `NAME.key`, or `NAME` alone, which holds both.
fn of_credential(name: &str, folder: Option<&Path>) -> Result<IdentityFiles> {
    let find = |name: &str| {
        secrets::credential(name, folder)
            .map_err(|what| Error::Usage(format!("--tls-credential: {what}")))
    };
    let (certificate, key) = (find(&format!("{name}.crt"))?, find(&format!("{name}.key"))?);
    let both = find(name)?;
    // Who cannot tell takes it for there: an account that root became may not look, and goes on with what root read.
    let is_there = |path: &Path| path.try_exists().unwrap_or(true);
    let is_pair = is_there(&certificate) || is_there(&key);
    let (certificate, key) = match (is_pair, is_there(&both)) {
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
        let read = |names: &[&str], keys: &[&str]| {
            let certificates = certificates(files(names), files(keys), Vec::new())?;
            let device = DeviceSettings {
                certificates,
                ..DeviceSettings::default()
            };
            let identities = read_with(device, None)?.https.unwrap().identities;
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
    fn settings_that_hang_on_others_say_so() {
        let refused = |device| read_with(device, None).unwrap_err().to_string();
        let port = DeviceSettings {
            tls_port: Some(443),
            ..DeviceSettings::default()
        };
        assert!(refused(port).contains("--tls-cert"));
        let redirect = DeviceSettings {
            redirect_http: Some(true),
            ..DeviceSettings::default()
        };
        assert!(refused(redirect).contains("--tls-cert"));
        let proxy = DeviceSettings {
            proxy_protocol: Some(true),
            ..DeviceSettings::default()
        };
        assert!(refused(proxy).contains("--trusted-proxy"));
        let none = read_with(DeviceSettings::default(), None).unwrap();
        assert!(none.https.is_none());
        let one = DeviceSettings {
            certificates: certificates(files(&["a"]), Vec::new(), Vec::new()).unwrap(),
            ..DeviceSettings::default()
        };
        assert!(read_with(one, None).unwrap().https.is_some());
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
