//! `cargo boards list`: the boards there are.

use anyhow::Result;
use argh::FromArgs;
use zlayer_board::Board;

use crate::Workspace;

/// Lists the boards with their target and engine profile.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "list")]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn main(_args: &Args, workspace: &Workspace) -> Result<()> {
    for line in lines(&Board::load_all(&workspace.boards())?) {
        println!("{line}");
    }
    Ok(())
}

fn lines(boards: &[Board]) -> Vec<String> {
    let line = |board: &str, target: &str, engine: &str, threads: &str, memory: &str, cpu: &str| {
        let line = format!("{board:<22} {target:<8} {engine:<8} {threads:<8} {memory:<8} {cpu}");
        line.trim_end().to_owned()
    };
    let mut lines = vec![line(
        "board",
        "target",
        "profile",
        "threads",
        "memory",
        "cpu flags",
    )];
    lines.extend(boards.iter().map(|board| {
        let threads = board
            .threads
            .map_or("-".to_owned(), |threads| threads.to_string());
        let memory = board
            .memory_max
            .map_or("-".to_owned(), |memory| memory.to_string());
        line(
            &board.name,
            board.target.name(),
            board.profile.name(),
            &threads,
            &memory,
            &board.cpu_flags.join(","),
        )
    }));
    lines
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn each_board_has_a_line_with_its_target_and_profile() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let boards = Board::load_all(folder).unwrap();
        let lines = lines(&boards);
        assert_eq!(lines.len(), boards.len() + 1);
        let armv7 = lines
            .iter()
            .find(|line| line.starts_with("generic-armv7 "))
            .unwrap();
        let words: Vec<&str> = armv7.split_whitespace().collect();
        assert_eq!(words[..3], ["generic-armv7", "armv7", "compact"]);
    }
}
