//! Plugins that come as WebAssembly, for trying things out: the host tool compiles them. It keeps what it made by what
//! the file holds, since a large plugin takes half a minute; nothing is kept here.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use zlayer_bundle::{ByteSize, Profile, Target, open_regular};

use crate::data_dir::TemporaryFolder;
use crate::error::{Error, Result};

/// The tool that turns a `.wasm` into what the daemon can run.
pub const PRECOMPILE: &str = "zlayer-precompile";

/// How often it is looked whether the compiler has ended, and how often it is told that it has not.
const LOOK: Duration = Duration::from_millis(20);
const TELL: Duration = Duration::from_secs(5);

/// Compiles the file at `path`.
pub(super) fn compile(path: &Path, (target, profile): (Target, Profile)) -> Result<File> {
    let folder = TemporaryFolder::make()
        .map_err(|error| Error::device("cannot make a folder for the compiled plugin", error))?;
    let made = folder.path().join("compiled.cwasm");
    log::info!(
        "{}: compiling it; that takes a while for large ones the first time",
        path.display()
    );
    let start = Instant::now();
    let mut command = precompile_command();
    command
        .arg("build")
        .arg(path)
        .args(["--target", target.name(), "--profile", profile.name(), "-o"])
        .arg(&made);
    // Standard output is for what this daemon has to say.
    command.stdout(io::stderr());
    let child = command
        .spawn()
        .map_err(|error| without_compiler(path, error))?;
    wait(path, child, start, None)?;
    // No path names it any more once the folder is gone.
    let file = open(&made)?;
    let bytes = file.metadata().map_or(0, |made| made.len());
    log::info!(
        "{}: compiled in {:.1} s to {}",
        path.display(),
        start.elapsed().as_secs_f64(),
        ByteSize(bytes)
    );
    Ok(file)
}

/// A bundle that was made of a `deployment.yaml`, for this process alone: no path names it any more.
pub struct Packed {
    /// The open file.
    pub file: File,
}

/// How a deployment is packed that somebody is at work on, again and again.
#[derive(Debug, Default)]
pub struct Draftsman {
    /// Whether it is packed for the first time: then what the tool tells of it is shown.
    pub is_first: bool,
    /// Ends the tool once it is true.
    pub is_over: Arc<AtomicBool>,
    /// The files that it names. They are replaced each time that the tool can read it.
    pub inputs: Vec<PathBuf>,
}

/// Has the host tool compile and pack the deployment at `path`.
///
/// # Errors
///
/// There is no host tool, or it refuses the deployment and has said why.
pub fn pack(path: &Path, target: Target, profile: Profile) -> Result<Packed> {
    pack_with(path, (target, profile), None)
}

/// The same of a deployment that somebody is at work on: its release does not count.
///
/// # Errors
///
/// As [`pack`]; or it is over.
pub fn pack_draft(
    path: &Path,
    settings: (Target, Profile),
    draftsman: &mut Draftsman,
) -> Result<Packed> {
    pack_with(path, settings, Some(draftsman))
}

fn pack_with(
    path: &Path,
    (target, profile): (Target, Profile),
    draftsman: Option<&mut Draftsman>,
) -> Result<Packed> {
    // A missing file is told before anything is started for it.
    open(path)?;
    let folder = TemporaryFolder::make()
        .map_err(|error| Error::device("cannot make a folder for the bundle", error))?;
    let [made, inputs] = ["packed.zlb", "inputs"].map(|name| folder.path().join(name));
    let packed = || {
        let start = Instant::now();
        let mut command = precompile_command();
        command
            .arg("pack")
            .arg(path)
            .args(["--target", target.name(), "--profile", profile.name(), "-o"])
            .arg(&made);
        // Standard output is for what this daemon has to say.
        command.stdout(io::stderr());
        if let Some(draftsman) = &draftsman {
            command.args(["--release", "0", "--inputs"]).arg(&inputs);
            if !draftsman.is_first {
                command.stdout(Stdio::null());
            }
        }
        let child = command
            .spawn()
            .map_err(|error| without_packer(path, target, error))?;
        wait(
            path,
            child,
            start,
            draftsman.as_ref().map(|one| &*one.is_over),
        )?;
        open(&made)
    };
    let result = packed();
    if let Some(draftsman) = draftsman
        && let Ok(read) = fs::read(&inputs)
    {
        let paths = read
            .split(|byte| *byte == 0)
            .filter(|path| !path.is_empty());
        draftsman.inputs = paths.map(|path| OsStr::from_bytes(path).into()).collect();
    }
    result.map(|file| Packed { file })
}

/// What to tell someone whose machine cannot read a `deployment.yaml`.
fn without_packer(path: &Path, target: Target, error: io::Error) -> Error {
    let path = path.display();
    Error::device(
        format!(
            "{path} is for the build host, and {PRECOMPILE} is neither beside this program nor on PATH; on the build \
             host run: {PRECOMPILE} pack {path} --target {target} --key FILE -o APP.zlb, and bring APP.zlb here"
        ),
        error,
    )
}

/// Waits for the compiler, and tells now and then that it is at work. Once `is_over` is true, it is ended.
fn wait(path: &Path, mut child: Child, start: Instant, is_over: Option<&AtomicBool>) -> Result<()> {
    let mut told = start;
    loop {
        if is_over.is_some_and(|is_over| is_over.load(Ordering::Acquire)) {
            // It may have ended by itself just now.
            let _ = child.kill();
        }
        let ended = child.try_wait();
        let ended =
            ended.map_err(|error| Error::device(format!("cannot wait for {PRECOMPILE}"), error))?;
        match ended {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(Error::Forwarded(exit_code(status))),
            None => std::thread::sleep(LOOK),
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            log::info!(
                "{}: still compiling, {} s",
                path.display(),
                start.elapsed().as_secs()
            );
        }
    }
}

/// Opens a file that a plugin may be in.
pub fn open(path: &Path) -> Result<File> {
    let opened = open_regular(path).map(|(file, _)| file);
    opened.map_err(|error| Error::device(format!("cannot open {}", path.display()), error))
}

/// Whether WebAssembly is in a file, a component or a module.
pub(super) fn is_wasm(file: &File) -> io::Result<bool> {
    let mut magic = [0; 4];
    let count = std::os::unix::fs::FileExt::read_at(file, &mut magic, 0)?;
    Ok(&magic[..count] == b"\0asm")
}

/// The host tool: beside this program, else wherever PATH has it.
pub fn precompile_command() -> Command {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|program| Some(program.parent()?.join(PRECOMPILE)));
    let found: PathBuf = beside
        .filter(|path| path.is_file())
        .unwrap_or_else(|| PRECOMPILE.into());
    Command::new(found)
}

/// What to tell someone who wants what the host tool alone does, on a machine without it.
pub fn without_tool(error: io::Error) -> Error {
    let what = format!(
        "{PRECOMPILE} is neither beside this program nor on PATH: it does this, on the build host"
    );
    Error::device(what, error)
}

/// What to tell someone whose machine has no compiler.
pub fn without_compiler(path: &Path, error: io::Error) -> Error {
    // What it is comes first: a compiler would not help with any other file.
    match open(path) {
        Err(error) => return error,
        Ok(file) if !is_wasm(&file).unwrap_or(true) => {
            if let Err(source) = zlayer_bundle::read_manifest(&file) {
                return Error::Artifact {
                    path: path.to_owned(),
                    source,
                };
            }
        }
        Ok(_) => {}
    }
    let target = Target::host().map_or("TARGET", Target::name);
    Error::device(
        format!(
            "{} is WebAssembly, which a device cannot compile, and {PRECOMPILE} is neither beside this program nor on PATH; \
             on the build host run: {PRECOMPILE} build {} --target {target}",
            path.display(),
            path.display()
        ),
        error,
    )
}

/// A child's exit code, or 128 and the signal that ended it.
pub fn exit_code(status: std::process::ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status
        .code()
        .or_else(|| Some(128 + status.signal()?))
        .unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
