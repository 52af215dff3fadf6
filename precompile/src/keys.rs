//! Key pairs on disk: made for the user on first use, or on request.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use zlayer_bundle::SecretKey;

use crate::output::{write_atomically, write_new};

/// File name of the development key, without its ending.
const DEVELOPMENT: &str = "dev";

/// The user's development key in `dir`, made there if there is none. Says whether it is new.
///
/// `dev.key` is the secret half, for the account alone. `dev.pub` beside it is what makes
/// `zlayer run` on the same account trust it. Several first builds at once agree on one key.
///
/// # Errors
///
/// When the folder cannot be written to, or an existing key is damaged or exposed.
pub fn development_key(dir: &Path) -> Result<(SecretKey, bool)> {
    let secret_path = dir.join(format!("{DEVELOPMENT}.key"));
    let mut is_new = false;
    if !exists(&secret_path)? {
        create_private_dir(dir)?;
        match write_new(&secret_path, random_key()?.to_text().as_bytes(), 0o600) {
            Ok(()) => is_new = true,
            // Another build was first.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                let context = format!("cannot make a development key at {}", secret_path.display());
                return Err(anyhow!(error).context(context));
            }
        }
    }
    // What is on disk counts, whoever wrote it.
    let key = SecretKey::read(&secret_path)?;
    let public_path = dir.join(format!("{DEVELOPMENT}.pub"));
    if !exists(&public_path)? {
        let text = key.public().to_text("development key");
        write_atomically(&public_path, text.as_bytes(), 0o644)?;
    }
    Ok((key, is_new))
}

/// What a key pair is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// It signs artifacts and bundles.
    Signing,
    /// It signs trust lists.
    Root,
}

/// Makes a key pair in two new files, `NAME.key` and `NAME.pub`, or `NAME.root.key` and `NAME.root` for a root key,
/// and answers their paths.
///
/// # Errors
///
/// When one of them exists: a key that is overwritten is lost for good.
pub fn create_key_pair(
    dir: &Path,
    name: &str,
    kind: KeyKind,
) -> Result<(SecretKey, PathBuf, PathBuf)> {
    let [secret, public] = match kind {
        KeyKind::Signing => ["key", "pub"],
        KeyKind::Root => ["root.key", "root"],
    };
    let secret_path = dir.join(format!("{name}.{secret}"));
    let public_path = dir.join(format!("{name}.{public}"));
    for path in [&secret_path, &public_path] {
        if exists(path)? {
            bail!(
                "{} exists: move it away, or choose another --name",
                path.display()
            );
        }
    }
    create_private_dir(dir)?;
    let key = random_key()?;
    let (secret, public) = match kind {
        KeyKind::Signing => (key.to_text(), key.public().to_text(name)),
        KeyKind::Root => (key.to_root_text(), key.public().to_root_text(name)),
    };
    write_new(&secret_path, secret.as_bytes(), 0o600)
        .with_context(|| format!("cannot write {}", secret_path.display()))?;
    write_new(&public_path, public.as_bytes(), 0o644)
        .with_context(|| format!("cannot write {}", public_path.display()))?;
    Ok((key, secret_path, public_path))
}

fn random_key() -> Result<SecretKey> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| anyhow!("the system gives no random bytes: {error}"))?;
    Ok(SecretKey::from_seed(seed))
}

/// Unlike `Path::exists`, an unreadable folder is an error and not an absent file.
fn exists(path: &Path) -> Result<bool> {
    path.try_exists()
        .with_context(|| format!("cannot look for {}", path.display()))
}

fn create_private_dir(dir: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make folder {}", dir.display()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use zlayer_bundle::PublicKey;

    fn temp_dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("zlayer-keys-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        dir
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_development_key_is_made_once_and_kept_private() {
        let dir = temp_dir("dev").join("zlayer").join("keys");
        let (first, is_new) = development_key(&dir).unwrap();
        assert!(is_new);
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&dir.join("dev.key")), 0o600);
        let (second, is_new) = development_key(&dir).unwrap();
        assert!(!is_new);
        assert_eq!(second.public(), first.public());
        assert_eq!(
            PublicKey::read(&dir.join("dev.pub")).unwrap(),
            first.public()
        );

        // A lost public half is written again.
        std::fs::remove_file(dir.join("dev.pub")).unwrap();
        development_key(&dir).unwrap();
        assert_eq!(
            PublicKey::read(&dir.join("dev.pub")).unwrap(),
            first.public()
        );
        let files = std::fs::read_dir(&dir).unwrap().count();
        assert_eq!(files, 2, "temporary files are left over");
        std::fs::remove_dir_all(temp_dir("dev")).unwrap_or_default();
    }

    #[test]
    fn first_builds_that_race_agree_on_one_key() {
        let dir = temp_dir("race");
        let start = std::sync::Barrier::new(8);
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        development_key(&dir).unwrap()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(keys.iter().filter(|(_, is_new)| *is_new).count(), 1);
        assert!(
            keys.iter()
                .all(|(key, _)| key.public() == keys[0].0.public())
        );
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn an_exposed_or_damaged_key_is_refused() {
        let dir = temp_dir("exposed");
        development_key(&dir).unwrap();
        let path = dir.join("dev.key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = development_key(&dir).unwrap_err().to_string();
        assert!(
            error.contains("dev.key") && error.contains("chmod 600"),
            "{error}"
        );

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "zlayer-secret-key ed25519 1234\n").unwrap();
        let error = development_key(&dir).unwrap_err().to_string();
        assert!(
            error.contains("dev.key") && error.contains("64 hexadecimal"),
            "{error}"
        );
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_key_pair_never_replaces_another() {
        let dir = temp_dir("pair");
        let (key, secret, public) = create_key_pair(&dir, "release", KeyKind::Signing).unwrap();
        assert_eq!(mode(&secret), 0o600);
        assert_eq!(PublicKey::read(&public).unwrap(), key.public());
        let error = create_key_pair(&dir, "release", KeyKind::Signing)
            .unwrap_err()
            .to_string();
        assert!(error.contains("exists"), "{error}");
        std::fs::remove_file(&secret).unwrap();
        assert!(create_key_pair(&dir, "release", KeyKind::Signing).is_err());
        assert!(!secret.exists());
        // A root key of the same name is in other files.
        let (key, secret, public) = create_key_pair(&dir, "release", KeyKind::Root).unwrap();
        assert!(secret.ends_with("release.root.key") && mode(&secret) == 0o600);
        assert_eq!(PublicKey::read_root(&public).unwrap(), key.public());
        assert!(PublicKey::read(&public).is_err() && SecretKey::read(&secret).is_err());
        assert!(create_key_pair(&dir, "release", KeyKind::Root).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
