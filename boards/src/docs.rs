//! `cargo boards docs`: writes the tables of flags in docs/device.md from the programs' own help.
//!
//! The tables are made by the test that also compares them, so that the two cannot differ.

use anyhow::Result;
use argh::FromArgs;

use crate::Workspace;
use crate::command::Cmd;

/// The test that compares the tables, or writes them where the variable is set.
const TEST: &str = "documentation::flags::the_tables_are_those_of_the_programs";

/// Writes the tables of flags in docs/device.md from the programs' own help.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "docs")]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn main(_args: &Args, workspace: &Workspace) -> Result<()> {
    Cmd::new(workspace.boards_program.to_string_lossy(), "test")
        .arg(TEST)
        .env("ZLAYER_WRITE_DOCS", "1")
        .run(&workspace.root)
}
