//! The command line: its verbs and their flags, and what each verb does.

mod artifact;
mod generations;
mod input;
mod install;
mod run;
mod trust;
mod words;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use argh::{EarlyExit, FromArgs};
use zlayer_binlog::{Filter, Level, level};

use crate::error::{Error, Result};
use crate::{admin, daemon, logger, logs};

use artifact::Artifact;
use install::{Install, Rollback, Uninstall};
pub use run::Run;

/// Runs WebAssembly plugins that were compiled ahead of time.
#[derive(FromArgs)]
pub struct Cli {
    /// print the version and the engine's
    #[argh(switch)]
    version: bool,
    #[argh(subcommand)]
    verb: Option<Verb>,
}

#[derive(FromArgs)]
#[argh(subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, read once")]
enum Verb {
    Run(Run),
    Install(Install),
    Rollback(Rollback),
    Uninstall(Uninstall),
    Generations(generations::Show),
    Trust(trust::Trust),
    Status(Status),
    Purge(Purge),
    Wasm(Wasm),
    Logs(Logs),
}

/// Show how a running daemon is. Ends with 0, with 4 if the daemon is not well, and with 1 if it cannot be asked.
#[derive(FromArgs)]
#[argh(subcommand, name = "status")]
struct Status {
    /// the daemon's data folder (default /var/lib/zlayer)
    #[argh(option)]
    data_dir: Option<PathBuf>,
    /// the daemon's admin socket, instead of the one in its data folder
    #[argh(option)]
    socket: Option<PathBuf>,
    /// print JSON
    #[argh(switch)]
    json: bool,
}

/// Have a running daemon forget responses that its caching plugin had it store.
#[derive(FromArgs)]
#[argh(subcommand, name = "purge")]
struct Purge {
    /// the daemon's data folder (default /var/lib/zlayer)
    #[argh(option)]
    data_dir: Option<PathBuf>,
    /// the daemon's admin socket, instead of the one in its data folder
    #[argh(option)]
    socket: Option<PathBuf>,
    /// all responses
    #[argh(switch)]
    all: bool,
    /// tags of responses
    #[argh(positional)]
    tags: Vec<String>,
}

/// Show the log that a data folder keeps, or log files.
#[derive(FromArgs)]
#[argh(subcommand, name = "logs")]
struct Logs {
    /// the data folder whose log to show (default /var/lib/zlayer, unless files are named)
    #[argh(option)]
    data_dir: Option<PathBuf>,
    /// only records that this plugin wrote, and what the daemon tells of it
    #[argh(option)]
    plugin: Option<String>,
    /// only records of at least this level: error, warn, info, debug or trace
    #[argh(option, from_str_fn(level))]
    level: Option<Level>,
    /// only records of the request with this id
    #[argh(option)]
    request: Option<String>,
    /// only lines of the access log, in the Combined Log Format with the request's seconds and id behind
    #[argh(switch)]
    access: bool,
    /// wait for more; what is not severe comes up to ten seconds late
    #[argh(switch)]
    follow: bool,
    /// log files, or folders of them
    #[argh(positional)]
    files: Vec<PathBuf>,
}

/// Look at a plugin, begin one, or put one into a registry, on a machine that has zlayer-precompile: validate
/// FILE, info FILE, new NAME, push FILE REFERENCE, pull REFERENCE, export FILE --name NAME.
#[derive(FromArgs)]
#[argh(subcommand, name = "wasm")]
struct Wasm {
    /// validate, info, new, push, pull or export
    #[argh(positional)]
    verb: String,
    /// the file, the name or the reference, and flags for zlayer-precompile
    #[argh(positional, greedy)]
    rest: Vec<String>,
}

/// Reads the words of a command line, without the program's own name; `--flag=value` is taken as
/// `--flag value`, `-h` as `--help` and `-V` as `--version`.
///
/// # Errors
///
/// The words cannot be understood, or ask for the help text: either comes with what to print.
pub fn parse(line: impl IntoIterator<Item = OsString>) -> std::result::Result<Cli, EarlyExit> {
    let mut given = Vec::new();
    for word in line {
        let Ok(word) = word.into_string() else {
            return Err("a word of the command line is not UTF-8".to_owned().into());
        };
        given.push(word);
    }
    let words = words::split(given);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let cli = Cli::from_args(&["zlayer"], &words).map_err(|exit| EarlyExit {
        output: match exit.status {
            Ok(()) => exit.output,
            Err(()) => words::explain(&exit.output, &words),
        },
        status: exit.status,
    })?;
    if let Some(told) = zlayer_bundle::empty_word(&words) {
        return Err(told.into());
    }
    if let Some(Verb::Run(run)) = &cli.verb
        && let Some(stray) = run.stray()
    {
        let place = words.iter().position(|word| stray.as_os_str() == *word);
        return Err(words::stray(place).into());
    }
    Ok(cli)
}

impl Cli {
    /// Does what the words ask for; answers the process's exit code.
    ///
    /// # Errors
    ///
    /// Those of the verb.
    pub fn run(self) -> Result<u8> {
        if self.version {
            logger::say(&format!(
                "zlayer {} (wasmtime {})\n",
                env!("CARGO_PKG_VERSION"),
                zlayer_bundle::ENGINE_VERSION
            ));
            return Ok(0);
        }
        let Some(verb) = self.verb else {
            return Err(Error::Usage(format!(
                "what shall be done? There are {}; see zlayer --help",
                words::VERBS.join(", ")
            )));
        };
        verb.check_data_dir()?;
        // Whatever a verb writes: what came of a file is told, and removed.
        daemon::outlive_large_files()?;
        match verb {
            Verb::Run(run) => return run.run(),
            Verb::Install(install) => install.run()?,
            Verb::Rollback(rollback) => rollback.run()?,
            Verb::Uninstall(uninstall) => uninstall.run()?,
            Verb::Generations(show) => show.run()?,
            Verb::Trust(trust) => trust.run()?,
            Verb::Status(status) => {
                let (data_dir, is_folder) = (status.data_dir, status.socket.is_none());
                let asked = admin::print_status(data_dir.as_deref(), status.socket, status.json);
                if asked.is_err() && is_folder {
                    generations::tell_of_active(data_dir, status.json);
                }
                return asked;
            }
            Verb::Purge(purge) => match purge.all == purge.tags.is_empty() {
                true => admin::purge(purge.data_dir.as_deref(), purge.socket, &purge.tags)?,
                false => return Err(Error::Usage("purge wants either tags or --all".to_owned())),
            },
            Verb::Wasm(wasm) => wasm.forward()?,
            Verb::Logs(logs) => logs.show()?,
        }
        Ok(0)
    }
}

impl Verb {
    /// Whether the data folder that is meant may be one: each verb would find out in its own way, and put it down to
    /// something else.
    fn check_data_dir(&self) -> Result<()> {
        let named = match self {
            Verb::Run(Run { data_dir, .. })
            | Verb::Install(Install { data_dir, .. })
            | Verb::Rollback(Rollback { data_dir, .. })
            | Verb::Uninstall(Uninstall { data_dir })
            | Verb::Generations(generations::Show { data_dir, .. })
            | Verb::Trust(trust::Trust { data_dir, .. })
            | Verb::Status(Status { data_dir, .. })
            | Verb::Purge(Purge { data_dir, .. })
            | Verb::Logs(Logs { data_dir, .. }) => data_dir,
            Verb::Wasm(_) => return Ok(()),
        };
        match named {
            // What cannot be looked at is told by whoever wants something of it.
            Some(path) if path.metadata().is_ok_and(|found| !found.is_dir()) => {
                Err(Error::Refused(format!(
                    "{} is a file, not a folder; name the daemon's folder with --data-dir",
                    path.display()
                )))
            }
            _ => Ok(()),
        }
    }
}

impl Logs {
    fn show(self) -> Result<()> {
        let mut paths = self.files;
        let data_dir = match self.data_dir {
            None if paths.is_empty() => Some(PathBuf::from(admin::DEFAULT_DATA_DIR)),
            named => named,
        };
        paths.extend(data_dir.map(|data| data.join(daemon::LOG_FOLDER)));
        if self.follow && (paths.len() > 1 || paths[0].is_file()) {
            return Err(Error::Usage(
                "--follow goes with one folder: --data-dir, or a folder of log files".to_owned(),
            ));
        }
        let filter = Filter {
            plugin: self.plugin,
            level: self.level,
            request: self.request,
            access: self.access,
        };
        logs::show(&paths, &filter, self.follow)
    }
}

impl Wasm {
    fn forward(self) -> Result<()> {
        let wanted = match self.verb.as_str() {
            "validate" | "info" | "push" | "export" => "a file",
            // The plugin's name, and nothing that is there.
            "new" => "a name",
            "pull" => "a reference",
            other => {
                return Err(Error::Usage(format!(
                    "zlayer wasm knows validate, info, new, push, pull and export, not '{other}'"
                )));
            }
        };
        let is_help = |word: &&String| matches!(word.as_str(), "--help" | "-h" | "help");
        let is_word = |word: &&String| !word.starts_with('-') || is_help(word);
        let Some(word) = self.rest.iter().find(is_word) else {
            return Err(Error::Usage(format!(
                "zlayer wasm {} wants {wanted}; see zlayer-precompile {0} --help",
                self.verb
            )));
        };
        let mut command = daemon::precompile_command();
        let status = command.arg(&self.verb).args(&self.rest).status();
        // A device has no compiler, and needs none to read what was compiled.
        let looks = matches!(self.verb.as_str(), "validate" | "info");
        if let Err(error) = &status
            && error.kind() == std::io::ErrorKind::NotFound
            && looks
            && let Some(artifact) = Artifact::named(&self.rest, run::key_dirs(Vec::new(), false))
        {
            return match self.verb.as_str() {
                "info" => artifact.show(),
                _ => artifact.validate(),
            };
        }
        let without = |error| match looks {
            true => daemon::without_compiler(Path::new(word), error),
            false => daemon::without_tool(error),
        };
        match status.map_err(without)? {
            status if status.success() => Ok(()),
            status => Err(Error::Forwarded(daemon::exit_code(status))),
        }
    }
}
