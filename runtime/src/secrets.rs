//! Reads the secrets of a plugin.
//!
//! There are four sources, and a later one wins over an earlier: the secrets file, systemd's
//! credentials, the environment, the command line. Error messages never show any of the content.

mod file;
#[cfg(test)]
pub mod fuzz;
mod kept;
mod lines;

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::config::{Secret, parse_pair};
use crate::error::{Error, Result, Unknown};
pub(crate) use file::{exposure, open_regular};
use file::{text, unreadable};
pub use kept::Kept;

/// Largest secrets file, and largest credential, in bytes: 64 KiB.
pub const SOURCE_BYTES: u64 = 64 << 10;
/// Where systemd says which folder holds a unit's credentials (systemd.exec, "Credentials").
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// The sources that the command line names, each in the order given. It holds values, so it has no
/// `Debug`.
#[derive(Default)]
pub struct Sources {
    /// Of `--secrets-file FILE`: a file with lines `KEY=VALUE`.
    pub file: Option<PathBuf>,
    /// Of `--secret-credential KEY[=NAME]`: systemd credentials.
    pub credentials: Vec<String>,
    /// Of `--secret-env KEY[=VARIABLE]`: environment variables.
    pub environment: Vec<String>,
    /// Of `--secret KEY=VALUE`: values on the command line.
    pub literals: Vec<String>,
    /// The account that this process becomes, which the file may belong to as well.
    pub owner: Option<u32>,
    /// What is used of files that this process cannot read any more.
    pub kept: Kept,
}

impl Sources {
    /// Reads all sources, and looks for the `variables` of a deployment in them: those that no flag names are
    /// looked for in the environment and among the credentials by their own names, too.
    ///
    /// # Errors
    ///
    /// The first source that is missing, readable by others, too large, or malformed; or the variables that
    /// are nowhere, all of them.
    pub fn read(
        &self,
        variables: &[&str],
    ) -> Result<(BTreeMap<String, Secret>, BTreeMap<String, String>)> {
        let mut secrets = BTreeMap::new();
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        let mut keep = |(key, value): (String, String)| {
            secrets.insert(key, Secret(value));
        };
        let mut unread_by = None;
        if let Some(path) = &self.file {
            let (pairs, is_kept) = self.file_pairs(path)?;
            unread_by = is_kept.then(|| self.kept.heir());
            for (key, value) in pairs {
                if variables.contains(&key.as_str()) {
                    known.insert(key.clone(), value.clone());
                }
                keep((key, value));
            }
        }
        let folder = credentials();
        for name in variables {
            let file = folder.as_ref().map(|folder| folder.join(name));
            if file.is_some_and(|file| file.exists() || self.kept.text(&file).is_some()) {
                known.extend([self.credential_pair(name, folder.as_deref())?]);
            }
            if std::env::var_os(name).is_some() {
                known.extend([from_environment(name)?]);
            }
        }
        let mut named = Vec::new();
        for word in &self.credentials {
            named.push(self.credential_pair(word, folder.as_deref())?);
        }
        for word in &self.environment {
            named.push(from_environment(word)?);
        }
        for word in &self.literals {
            named.push(
                parse_pair(word).map_err(|reason| Error::Usage(format!("--secret: {reason}")))?,
            );
        }
        for (key, value) in named {
            if variables.contains(&key.as_str()) {
                known.insert(key.clone(), value.clone());
            }
            keep((key, value));
        }
        for (name, _) in known.iter().filter(|(_, value)| value.is_empty()) {
            log::warn!("{name}, which the deployment wants to know, is known and empty");
        }
        let missing = { variables.iter() }.filter(|name| !known.contains_key(**name));
        let names: Vec<String> = missing.map(|&name| name.to_owned()).collect();
        match names.is_empty() {
            true => Ok((secrets, known)),
            false => Err(Error::Unknown(Unknown {
                names,
                file: self.file.clone(),
                unread_by,
                is_running: false,
            })),
        }
    }

    fn credential_pair(&self, word: &str, folder: Option<&Path>) -> Result<(String, String)> {
        let (key, name) = key_and_source("secret-credential", word)?;
        let wrong = |what| Error::Usage(format!("--secret-credential: {what}"));
        let path = credential(name, folder).map_err(wrong)?;
        // systemd changes none while a unit runs, so what is kept of one needs no words.
        let (mut value, _) = self.text(&path, |_| Ok(()))?;
        if value.ends_with('\n') {
            value.pop();
        }
        Ok((key.to_owned(), value))
    }

    /// Reads a secrets file. Says, too, whether that is what was kept of it.
    fn file_pairs(&self, path: &Path) -> Result<(Vec<(String, String)>, bool)> {
        let shown = path.display();
        let checked = |found: &Metadata| match exposure(path, found, self.owner) {
            None => Ok(()),
            Some(exposure) => Err(Error::Usage(format!("secrets file {shown}: {exposure}"))),
        };
        let (text, is_kept) = self.text(path, checked)?;
        if is_kept {
            log::warn!(
                "secrets file {shown}: account {} may not read it, so what root read at the start is used",
                self.kept.heir()
            );
        }
        let pairs = lines::pairs(&text).map_err(|line| {
            Error::Usage(format!(
                "secrets file {shown}: line {line} is not KEY=VALUE"
            ))
        });
        Ok((pairs?, is_kept))
    }

    /// A file's text, if what is found of it is right; and whether it is what was kept of it, where this account may
    /// not read it.
    fn text(
        &self,
        path: &Path,
        checked: impl FnOnce(&Metadata) -> Result<()>,
    ) -> Result<(String, bool)> {
        match open_regular(path) {
            Ok((file, found)) => {
                checked(&found)?;
                Ok((text(file, path)?, false))
            }
            Err(error) => match self.kept.text(path) {
                Some(kept) if error.kind() == ErrorKind::PermissionDenied => {
                    Ok((kept.to_owned(), true))
                }
                _ => Err(unreadable(path, error)),
            },
        }
    }
}

/// Splits `KEY` or `KEY=OTHER`. Without `OTHER`, the key is used for it.
fn key_and_source<'a>(flag: &str, word: &'a str) -> Result<(&'a str, &'a str)> {
    let (key, source) = word.split_once('=').unwrap_or((word, word));
    if key.is_empty() || source.is_empty() {
        return Err(Error::Usage(format!("--{flag}: wants KEY or KEY=NAME")));
    }
    Ok((key, source))
}

fn from_environment(word: &str) -> Result<(String, String)> {
    let (key, variable) = key_and_source("secret-env", word)?;
    // A name with a zero byte cannot exist, and looking it up would panic in some libraries.
    let value = match variable.contains('\0') {
        true => None,
        false => std::env::var_os(variable),
    };
    let value = value.ok_or_else(|| {
        Error::Usage(format!(
            "--secret-env: the environment of zlayer has no variable '{variable}'; set it, or leave the flag out"
        ))
    })?;
    let value = value.into_string().map_err(|_| {
        Error::Usage(format!(
            "--secret-env: the variable '{variable}' is not UTF-8"
        ))
    })?;
    Ok((key.to_owned(), value))
}

/// The folder of systemd's credentials, where there is one.
pub(crate) fn credentials() -> Option<PathBuf> {
    std::env::var_os(CREDENTIALS_DIRECTORY).map(PathBuf::from)
}

/// The file of the credential `name` in `folder`; an error says why there can be none.
pub(crate) fn credential(
    name: &str,
    folder: Option<&Path>,
) -> std::result::Result<PathBuf, &'static str> {
    if name.contains('/') || name == "." || name == ".." {
        return Err("the name of a credential is a file's name, without slashes");
    }
    let folder = folder.ok_or(
        "CREDENTIALS_DIRECTORY is not set; start zlayer from a unit with LoadCredential= or SetCredential=",
    )?;
    Ok(folder.join(name))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::data_dir::temporary_folder;

    fn written(content: impl AsRef<[u8]>, mode: u32) -> (PathBuf, PathBuf) {
        let folder = temporary_folder().unwrap();
        let path = folder.join("secrets");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        (folder, path)
    }

    fn from_file(path: &Path) -> Result<Vec<(String, String)>> {
        Sources::default().file_pairs(path).map(|(pairs, _)| pairs)
    }

    fn from_credential(word: &str, folder: Option<&Path>) -> Result<(String, String)> {
        Sources::default().credential_pair(word, folder)
    }

    fn refused(content: impl AsRef<[u8]>, mode: u32) -> String {
        let (folder, path) = written(content, mode);
        let message = from_file(&path).unwrap_err().to_string();
        fs::remove_dir_all(folder).unwrap();
        assert!(
            message.contains("secrets") && !message.contains("hunter2"),
            "{message}"
        );
        message
    }

    #[test]
    fn a_file_that_anybody_could_exchange_is_refused_with_what_mends_that() {
        let (folder, path) = written("key=hunter2", 0o600);
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
        let told = from_file(&path).unwrap_err().to_string();
        let mends = format!("`chmod go-w {}`", folder.canonicalize().unwrap().display());
        assert!(told.contains(&mends) && !told.contains("hunter2"), "{told}");
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).unwrap();
        assert!(from_file(&path).is_ok());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_holds_a_pair_a_line() {
        let text = "# comment\n\n  # another\nkey=hunter2\n spaced key = a = b \nempty=\r\nlast=x";
        for mode in [0o600, 0o400] {
            let (folder, path) = written(text, mode);
            let pairs = from_file(&path).unwrap();
            fs::remove_dir_all(folder).unwrap();
            let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
            assert_eq!(
                pairs,
                [
                    pair("key", "hunter2"),
                    pair("spaced key", " a = b "),
                    pair("empty", ""),
                    pair("last", "x")
                ]
            );
        }
    }

    #[test]
    fn what_an_editor_puts_in_front_of_a_text_is_none_of_it() {
        let (folder, path) = written("\u{feff}key=hunter2\nlast=\u{feff}x", 0o600);
        let pairs = from_file(&path).unwrap();
        let credential = from_credential("value=secrets", Some(&folder)).unwrap();
        fs::remove_dir_all(folder).unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(pairs, [pair("key", "hunter2"), pair("last", "\u{feff}x")]);
        assert_eq!(credential.1, "key=hunter2\nlast=\u{feff}x");
    }

    #[test]
    fn a_file_that_others_may_use_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o610] {
            let message = refused("key=hunter2", mode);
            assert!(
                message.contains("chmod 600") && message.contains(&format!("{mode:04o}")),
                "{message}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_line_and_never_by_content() {
        assert!(refused("a=b\nhunter2\n", 0o600).contains("line 2"));
        assert!(refused("a=b\n\n =hunter2\n", 0o600).contains("line 3"));
        assert!(refused(b"a=b\nhunter2\nb=\xff\xfe", 0o600).contains("line 3 is not UTF-8"));
        assert!(refused(vec![b'#'; 70 << 10], 0o600).contains("64 KiB"));
        let message = from_file(Path::new("/nowhere/secrets")).unwrap_err();
        assert!(message.to_string().contains("/nowhere/secrets"));
        assert!(
            from_file(Path::new("/dev/zero"))
                .unwrap_err()
                .to_string()
                .contains("regular")
        );
    }

    #[test]
    fn a_credential_is_a_file_in_the_folder_that_systemd_names() {
        let (folder, _) = written("hunter2\n\n", 0o440);
        let read = |word: &str| from_credential(word, Some(&folder));
        assert_eq!(
            read("key=secrets").unwrap(),
            ("key".to_owned(), "hunter2\n".to_owned())
        );
        assert_eq!(read("secrets").unwrap().0, "secrets");
        for word in [
            "key=../secrets",
            "key=.",
            "..",
            "key=",
            "=secrets",
            "absent",
        ] {
            let message = read(word).unwrap_err().to_string();
            assert!(!message.contains("hunter2"), "{word}: {message}");
        }
        let message = from_credential("key", None).unwrap_err().to_string();
        assert!(message.contains("CREDENTIALS_DIRECTORY"), "{message}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let message = from_environment("key=ZLAYER_NOT_SET")
            .unwrap_err()
            .to_string();
        assert!(message.contains("'ZLAYER_NOT_SET'"), "{message}");
        assert!(from_environment("a\0b").is_err() && from_environment("=X").is_err());
        // The test runner's own.
        let (key, value) = from_environment("where=PATH").unwrap();
        assert_eq!(
            (key.as_str(), Some(value)),
            ("where", std::env::var("PATH").ok())
        );
    }

    #[test]
    fn later_sources_win() {
        let (folder, path) = written("a=file\nb=file\nc=file\n", 0o600);
        let sources = Sources {
            file: Some(path),
            environment: vec!["b=PATH".to_owned(), "c=PATH".to_owned()],
            literals: vec!["c=flag".to_owned(), "c=last".to_owned()],
            ..Sources::default()
        };
        let (secrets, known) = sources.read(&["a", "PATH"]).unwrap();
        fs::remove_dir_all(folder).unwrap();
        let of = |key: &str| secrets.get(key).map(|secret| secret.0.as_str());
        assert_eq!((of("a"), of("c")), (Some("file"), Some("last")));
        let path = std::env::var("PATH").unwrap();
        assert_eq!(of("b"), Some(path.as_str()));
        let variables = [("PATH", path.as_str()), ("a", "file")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert!(known.into_iter().eq(variables));
    }

    #[test]
    fn all_variables_that_are_not_known_are_named_at_once() {
        let told = Sources::default().read(&["PATH", "NO_SUCH_VARIABLE_1", "NO_SUCH_VARIABLE_2"]);
        let told = told.err().unwrap().to_string();
        assert!(
            told.contains("wants to know NO_SUCH_VARIABLE_1, NO_SUCH_VARIABLE_2, and"),
            "{told}"
        );
    }
}
