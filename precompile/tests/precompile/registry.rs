//! Registries: `push`, `pull`, `export`, and `pack` of what is in one.
//!
//! `real` pushes to Debian's registry and pulls from it, `peers` has tools of others do the other half, `answers`
//! is a registry that answers whatever a test wants, and `refusals` and `endless` what becomes of that.

mod answers;
mod endless;
mod peers;
mod real;
mod refusals;
#[path = "registry/server.rs"]
mod server;

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use zlayer_bundle::Blob;
use zlayer_precompile::wrap_module;

use crate::support::{Run, TempDir, module};
use server::DockerRegistry;

/// Who may push and pull where a password is wanted.
const USER: &str = "tester";
const PASSWORD: &str = "open-sesame";
/// The same as a line of a password file, with bcrypt, which is what the registry knows.
const HTPASSWD: &str = "tester:$2y$05$zyNHoyB7j3bfQ4247mXcHuYxyt3wXRHbhs3hv6dlMRHuZogvsY/OG\n";

/// A folder with a component `web.wasm` in it.
fn folder() -> TempDir {
    let dir = TempDir::new();
    dir.file("web.wasm", component("zlayer-plugin"));
    dir
}

fn component(world: &str) -> Vec<u8> {
    wrap_module(&module(world, &[])).unwrap()
}

/// A real registry, or `None` and one line where there is no program for it.
fn real_registry(dir: &TempDir, htpasswd: Option<&str>) -> Option<DockerRegistry> {
    let Some(program) = tool("docker-registry", "debian/*/docker-registry/usr/bin") else {
        skipped("there is no docker-registry (`cargo boards test` fetches it)");
        return None;
    };
    let folder = dir.path().join("registry");
    Some(DockerRegistry::start(&program, &folder, htpasswd))
}

/// A program on PATH, or below `target/tools`, where one part of the way may be any.
fn tool(name: &str, below: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools");
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    match below.split_once("/*/") {
        Some((before, after)) => {
            let any = std::fs::read_dir(tools.join(before)).into_iter().flatten();
            folders.extend(any.flatten().map(|one| one.path().join(after)));
        }
        None => folders.push(tools.join(below)),
    }
    let mut programs = folders.into_iter().map(|folder| folder.join(name));
    programs.find(|program| program.is_file())
}

/// Says in one line why the test that calls this cannot run here, past the test runner's capture.
fn skipped(why: &str) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "skipped: {name}: {why}");
}

/// Runs the program with this environment beside what all tests have.
fn run(dir: &TempDir, words: &[&str], environment: &[(&str, &str)]) -> Run {
    let mut variables: Vec<(&str, &OsStr)> = { environment.iter() }
        .map(|(name, value)| (*name, OsStr::new(*value)))
        .collect();
    let docker = dir.path().join("docker");
    variables.insert(0, ("DOCKER_CONFIG", docker.as_os_str()));
    Run::with(dir, words, &variables)
}

/// Speaks with a registry on this machine.
fn plain(dir: &TempDir, words: &[&str]) -> Run {
    run(dir, &[words, &["--plain-http"]].concat(), &[])
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Blob::of(bytes).name())
}

fn read(dir: &TempDir, name: &str) -> Vec<u8> {
    std::fs::read(dir.path().join(name)).unwrap()
}

/// What lies in the folder beside what every test has there.
fn files(dir: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(dir.path()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            !["web.wasm", "cache", "config", "docker", "registry"].contains(&name.as_str())
        })
        .collect();
    names.sort();
    names
}
