//! Plugins made from the contract's own WIT, temporary folders, and runs of the program.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use wit_component::{StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve, UnresolvedPackageGroup, WorldId};

/// A plugin that implements `world` of the contract, as the core module that a language's
/// tools would make. Before it is made, each `(from, to)` changes the contract's text, as
/// if the plugin's author had other WIT files. It traps when it is called.
pub(crate) fn module(world: &str, edits: &[(&str, &str)]) -> Vec<u8> {
    let (resolve, world) = contract(world, edits);
    let mangling = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);
    embed(dummy_module(&resolve, world, mangling), &resolve, world)
}

/// A core module of one's own that claims to implement `world`.
pub(crate) fn module_from_text(world: &str, text: &str) -> Vec<u8> {
    let (resolve, world) = contract(world, &[]);
    embed(wat::parse_str(text).unwrap(), &resolve, world)
}

fn embed(mut module: Vec<u8>, resolve: &Resolve, world: WorldId) -> Vec<u8> {
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8).unwrap();
    module
}

fn contract(world: &str, edits: &[(&str, &str)]) -> (Resolve, WorldId) {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let mut used = vec![false; edits.len()];
    let mut read = |path: PathBuf| {
        // Without comments, an edit can span neighbouring lines. Without `@since`,
        // a package can be given an older version.
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| {
            let line = line.trim_start();
            !["//", "@since", "@deprecated"]
                .iter()
                .any(|start| line.starts_with(start))
        });
        let mut text = lines.collect::<Vec<_>>().join("\n");
        for ((from, to), used) in edits.iter().zip(&mut used) {
            *used |= text.contains(from);
            text = text.replace(from, to);
        }
        let mut sources = wit_parser::SourceMap::new();
        sources.push_str(&path.display().to_string(), text);
        sources
    };
    let parse = |sources: wit_parser::SourceMap| -> UnresolvedPackageGroup {
        sources.parse().map_err(|(_, error)| error).unwrap()
    };
    let paths = |dir: &Path| {
        let entries = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut paths: Vec<PathBuf> = entries
            .filter(|path| path.extension().is_some_and(|e| e == "wit"))
            .collect();
        paths.sort();
        paths
    };
    let dependencies: Vec<_> = paths(&wit.join("deps"))
        .into_iter()
        .map(|path| parse(read(path)))
        .collect();
    let mut main = wit_parser::SourceMap::new();
    for path in paths(&wit) {
        main.append(read(path));
    }
    assert!(
        used.iter().all(|used| *used),
        "an edit changes nothing: {edits:?}"
    );

    let mut resolve = Resolve::default();
    let package = resolve.push_groups(parse(main), dependencies).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    (resolve, world)
}

/// A folder that is removed at the end.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> TempDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zlayer-precompile-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and answers its path.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_zlayer-precompile");

/// One run of the program, with a home of its own so that no test sees the user's keys.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Runs in folder `dir`, which is also the home.
    pub(crate) fn new(dir: &TempDir, words: &[&str]) -> Run {
        Run::with(dir, words, &[])
    }

    /// The same with these variables.
    pub(crate) fn with(dir: &TempDir, words: &[&str], environment: &[(&str, &OsStr)]) -> Run {
        let program = Command::new(PROGRAM);
        Run::started_by(program, dir, words, environment)
    }

    /// The same with so much memory to write to, in MiB, without which it aborts.
    pub(crate) fn within(
        mib: u32,
        dir: &TempDir,
        words: &[&str],
        environment: &[(&str, &OsStr)],
    ) -> Run {
        let mut shell = Command::new("sh");
        let line = format!("ulimit -d {} && exec \"$0\" \"$@\"", mib << 10);
        shell.args(["-c", &line, PROGRAM]);
        Run::started_by(shell, dir, words, environment)
    }

    fn started_by(
        mut command: Command,
        dir: &TempDir,
        words: &[&str],
        environment: &[(&str, &OsStr)],
    ) -> Run {
        for (name, _) in std::env::vars_os() {
            // Those of whoever runs the tests.
            if name.to_string_lossy().starts_with("ZLAYER_REGISTRY") {
                command.env_remove(name);
            }
        }
        let output = command
            .args(words)
            .current_dir(dir.path())
            .env("XDG_CONFIG_HOME", dir.path().join("config"))
            .env("XDG_CACHE_HOME", dir.path().join("cache"))
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        Run::from(output)
    }

    /// The one JSON object on standard output.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?} {:?}", self.stdout, self.stderr))
    }

    pub(crate) fn expect(self, code: i32) -> Run {
        assert_eq!(
            self.code, code,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Run {
        Run {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
