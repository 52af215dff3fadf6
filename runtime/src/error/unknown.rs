//! What a deployment wants to know and the device does not, with what lets it know.

use std::fmt;
use std::path::PathBuf;

/// What a deployment wants to know, and the device does not.
#[derive(Debug)]
pub struct Unknown {
    /// The names, all of them.
    pub names: Vec<String>,
    /// The secrets file, where there is one.
    pub file: Option<PathBuf>,
    /// The account that the daemon became, if it may not read that file.
    pub unread_by: Option<u32>,
    /// Whether a daemon runs that wants to serve it: some of what it knows changes with a start alone.
    pub is_running: bool,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the deployment wants to know {}, and this device does not: ",
            self.names.join(", ")
        )?;
        let elsewhere = "the environment and the credentials of a daemon change with a start alone";
        let file = self.file.as_ref().map(|file| file.display());
        match (file, self.unread_by, self.is_running) {
            (None, _, false) => f.write_str(
                "set each as a variable of zlayer's environment, as a systemd credential, with --secret-env or as a \
                 line of --secrets-file",
            ),
            (Some(file), _, false) => write!(
                f,
                "write each as a line NAME=VALUE into {file}, or set it as a variable of zlayer's environment, as a \
                 systemd credential or with --secret-env"
            ),
            (None, _, true) => write!(
                f,
                "restart the daemon with each as a variable of its environment, as a systemd credential or as a line of \
                 --secrets-file, and try again; {elsewhere}, a secrets file while it runs"
            ),
            (Some(file), None, true) => write!(
                f,
                "write each as a line NAME=VALUE into {file}, and try again; {elsewhere}"
            ),
            (Some(file), Some(account), true) => write!(
                f,
                "write each as a line NAME=VALUE into {file}, let account {account} read it (`chown {account} {file}`, in a \
                 folder that it can enter) or restart the daemon, and try again; {elsewhere}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mends_it_is_what_can_be_changed_now() {
        let told = |file: Option<&str>, unread: Option<u32>, is_running: bool| {
            let unknown = Unknown {
                names: vec!["A".to_owned(), "B".to_owned()],
                file: file.map(PathBuf::from),
                unread_by: unread,
                is_running,
            };
            unknown.to_string()
        };
        for (file, unread, is_running, wanted) in [
            (
                None,
                None,
                false,
                "set each as a variable of zlayer's environment",
            ),
            (
                Some("/s"),
                None,
                false,
                "write each as a line NAME=VALUE into /s, or",
            ),
            (None, None, true, "restart the daemon with each"),
            (
                Some("/s"),
                None,
                true,
                "into /s, and try again; the environment",
            ),
            (
                Some("/s"),
                Some(990),
                true,
                "let account 990 read it (`chown 990 /s`, in",
            ),
        ] {
            let told = told(file, unread, is_running);
            assert!(
                told.starts_with("the deployment wants to know A, B, and this device does not: ")
                    && told.contains(wanted),
                "{told}"
            );
        }
    }
}
