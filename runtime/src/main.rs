//! `zlayer`: logger, command line and exit code; all else is in the library.

use std::process::ExitCode;

use zlayer_runtime::cli;
use zlayer_runtime::core_dumps;
use zlayer_runtime::error::{EXIT_DEVICE, EXIT_USAGE, Error};
use zlayer_runtime::huge_pages;
use zlayer_runtime::logger;
use zlayer_runtime::stack;

fn main() -> ExitCode {
    // First of all: the command line and the environment may hold secrets.
    let undumped = core_dumps::switch_off();
    // Then at once, while there is hardly any memory that could be huge.
    let small = huge_pages::switch_off();
    logger::install();
    if let Err(error) = undumped {
        log::warn!("cannot switch core dumps off, which would hold secrets: {error}");
    }
    if let Err(error) = small {
        log::debug!("cannot switch transparent huge pages off: {error}");
    }
    if let Err(error) = stack::check() {
        complain(&error.to_string());
        return ExitCode::from(EXIT_DEVICE);
    }
    let cli = match cli::parse(std::env::args_os().skip(1)) {
        Ok(cli) => cli,
        Err(exit) if exit.status.is_ok() => {
            logger::say(&format!("{}\n", exit.output));
            return ExitCode::SUCCESS;
        }
        Err(exit) => {
            complain(&format!("{}; see --help", exit.output));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match cli.run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if !matches!(error, Error::Forwarded(_)) {
                complain(&error.to_string());
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// Says what was wrong. It may name files and repeat words of the command line, or of what answered
/// on a socket, that were made to steer a terminal.
fn complain(what: &str) {
    logger::complain(&format!("zlayer: {}\n", zlayer_binlog::lines(what)));
}
