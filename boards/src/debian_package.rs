//! Files of Debian packages for other processors: fetched by an apt of their own and unpacked, never
//! installed.
//!
//! `dpkg --add-architecture` would put foreign packages into the machine's own index, and breaks its
//! `apt-get update` whenever that architecture's index is in flux. So apt is given a state of its own,
//! which is thrown away: it takes the machine's sources and keys, and nothing of the machine changes.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::Workspace;
use crate::command::Cmd;
use crate::target::Target;

/// Seconds without a byte after which apt gives a connection up, and how often it tries again: a server
/// that does not answer ends with an error, not with a run that hangs.
const PATIENCE: [&str; 2] = ["Acquire::http::Timeout=30", "Acquire::Retries=2"];

/// Where packages are unpacked and kept.
pub(crate) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target_dir.join("tools/debian")
}

/// The folder with the files of `package` for `target`, below `under`: as they lie in the package, so
/// `usr/lib/…` and the like. What was fetched once is taken as it is.
///
/// # Errors
///
/// The package is not there yet and cannot be fetched; the error says how it can be put there by hand.
pub(crate) fn unpacked(target: Target, package: &str, under: &Path) -> Result<PathBuf> {
    kept(target, package, under, |apt| Ok((package.to_owned(), apt)))
}

/// The same for a package that is nothing but a name: it depends on the one that has the files, whose
/// name begins with `stem` and goes on with a version. It is kept under the former's name.
pub(crate) fn unpacked_behind(
    target: Target,
    package: &str,
    stem: &str,
    under: &Path,
) -> Result<PathBuf> {
    kept(target, package, under, |apt| {
        let text = apt.output("apt-cache", &["depends", package])?;
        let real = dependency(&text, stem);
        let real = real.with_context(|| format!("{package} depends on no {stem}*: {text}"))?;
        Ok((real.to_owned(), apt))
    })
}

/// What is kept as `name`, else the package that `choose` names, fetched and unpacked.
fn kept(
    target: Target,
    name: &str,
    under: &Path,
    choose: impl FnOnce(PrivateApt) -> Result<(String, PrivateApt)>,
) -> Result<PathBuf> {
    let architecture = debian_architecture(target);
    let folder = under.join(architecture).join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    let fetched = PrivateApt::new(architecture, &folder)
        .and_then(choose)
        .and_then(|(package, apt)| apt.fetch(&package, &folder));
    fetched.with_context(|| {
        format!(
            "the Debian package {name} for {architecture} cannot be had; where another machine can \
             fetch it, `dpkg -x` it into {}",
            folder.display()
        )
    })?;
    Ok(folder)
}

/// What Debian calls a target.
pub(crate) fn debian_architecture(target: Target) -> &'static str {
    match target {
        Target::X86_64 => "amd64",
        Target::Aarch64 => "arm64",
        Target::Armv7 => "armhf",
    }
}

/// An apt whose lists and packages lie in a folder of this process, which goes with this value.
struct PrivateApt {
    options: Vec<OsString>,
    scratch: PathBuf,
}

impl PrivateApt {
    /// With the package lists of now. They are not kept: a list that is older than the server's packages
    /// names some that are gone.
    fn new(architecture: &str, folder: &Path) -> Result<PrivateApt> {
        let here = std::env::current_dir().context("the current folder cannot be read")?;
        // Beside what is to be made, so that it can be moved there whole. Of this process alone: another
        // that wants the same does so in its own.
        let mut name = folder.file_name().unwrap_or_default().to_owned();
        name.push(format!(".new-{}", std::process::id()));
        let scratch = here.join(folder.with_file_name(name));
        let apt = PrivateApt {
            options: options(architecture, &scratch),
            scratch,
        };
        for folder in ["state/lists/partial", "cache/archives/partial", "root"] {
            let folder = apt.scratch.join(folder);
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::write(apt.scratch.join("status"), "").context("cannot write apt's status")?;
        // One index of several may be in flux while the others came: whether there is enough shows when
        // the package is asked for.
        if let Err(error) = apt.output("apt-get", &["-qq", "update"]) {
            let error = error.to_string();
            let reason = error.lines().next().unwrap_or_default();
            println!("some package lists of {architecture} did not come, going on: {reason}");
        }
        Ok(apt)
    }

    /// Fetches and unpacks the package, and puts its files in place as `folder` all at once.
    fn fetch(&self, package: &str, folder: &Path) -> Result<()> {
        println!("fetching the Debian package {package}");
        self.output("apt-get", &["-qq", "download", package])?;
        let root = self.scratch.join("root");
        let archive = archive_in(&self.scratch)?;
        let unpack = Cmd::new("dpkg-deb", "-x").process();
        output(with_args(unpack, [archive.as_os_str(), root.as_os_str()]))?;
        match fs::rename(&root, folder) {
            // Somebody else was quicker, with the same files.
            Err(_) if folder.is_dir() => Ok(()),
            result => result.with_context(|| format!("cannot make {}", folder.display())),
        }
    }

    /// What one of apt's programs prints.
    fn output(&self, program: &str, args: &[&str]) -> Result<String> {
        let mut command = Cmd::new(program, "").process();
        command.args(&self.options).current_dir(&self.scratch);
        output(with_args(command, args))
    }
}

impl Drop for PrivateApt {
    fn drop(&mut self) {
        // What stays takes room and does no harm.
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

/// What makes apt one of its own: all that it writes lies in `scratch`.
fn options(architecture: &str, scratch: &Path) -> Vec<OsString> {
    let path = |name: &str, file: &str| {
        let mut option = OsString::from(format!("{name}="));
        option.push(scratch.join(file));
        option
    };
    let mut settings: Vec<OsString> = vec![
        format!("APT::Architecture={architecture}").into(),
        format!("APT::Architectures={architecture}").into(),
        path("Dir::State", "state"),
        path("Dir::State::lists", "state/lists"),
        path("Dir::State::status", "status"),
        path("Dir::Cache", "cache"),
        // The package lists alone: no translations, no catalogues of icons.
        "Acquire::Languages=none".into(),
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
        // apt's own user cannot write here.
        "APT::Sandbox::User=".into(),
    ];
    settings.extend(PATIENCE.map(OsString::from));
    let pairs = settings.into_iter().map(|setting| ["-o".into(), setting]);
    pairs.flatten().collect()
}

fn with_args<A: AsRef<std::ffi::OsStr>>(
    mut command: Command,
    args: impl IntoIterator<Item = A>,
) -> Command {
    command.args(args);
    command
}

/// Runs to the end, and answers what was printed; an error holds what was complained of.
fn output(mut command: Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("`{program}` does not start: is this a Debian machine?"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{program}` ended with {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The package file that was downloaded.
fn archive_in(folder: &Path) -> Result<PathBuf> {
    let read = || format!("cannot read {}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(read)? {
        let path = entry.with_context(read)?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            found.push(path);
        }
    }
    ensure!(found.len() == 1, "apt left {} packages", found.len());
    Ok(found.swap_remove(0))
}

/// The package behind a name that is only one, in what `apt-cache depends` prints: the one that begins
/// with `stem`.
fn dependency<'a>(text: &'a str, stem: &str) -> Option<&'a str> {
    let names = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "));
    names
        .map(str::trim)
        .find(|name| name.starts_with(stem) && !name.contains('<'))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    /// A folder that goes with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let name = format!("zlayer-boards-debian-{name}-{}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).unwrap();
            Scratch(folder)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// One that asks nobody.
    fn apt(scratch: &Path) -> PrivateApt {
        fs::create_dir_all(scratch.join("root")).unwrap();
        PrivateApt {
            options: Vec::new(),
            scratch: scratch.to_owned(),
        }
    }

    #[test]
    fn what_is_there_is_taken_without_asking_anybody() {
        let scratch = Scratch::new("there");
        let folder = scratch.0.join("armhf/busybox-static");
        fs::create_dir_all(&folder).unwrap();
        let found = unpacked(Target::Armv7, "busybox-static", &scratch.0).unwrap();
        assert_eq!(found, folder);
        let found = unpacked_behind(Target::Armv7, "busybox-static", "busybox-", &scratch.0);
        assert_eq!(found.unwrap(), folder);
    }

    #[test]
    fn apt_writes_nowhere_but_into_its_own_folder() {
        let options = options("arm64", Path::new("/s"));
        let set = |name: &str| {
            let of_name = |option: &&OsString| {
                let option = option.to_string_lossy();
                option.split_once('=').is_some_and(|(key, _)| key == name)
            };
            options.iter().find(of_name).unwrap().to_string_lossy()
        };
        for name in [
            "Dir::State",
            "Dir::State::lists",
            "Dir::State::status",
            "Dir::Cache",
        ] {
            assert!(set(name).contains("=/s/"), "{name}");
        }
        assert_eq!(set("APT::Architectures"), "APT::Architectures=arm64");
        let flags = options.iter().filter(|option| *option == "-o");
        assert_eq!(2 * flags.count(), options.len());
    }

    #[test]
    fn apt_itself_understands_the_options() {
        let scratch = Scratch::new("options");
        let mut apt = apt(&scratch.0);
        apt.options = options("armhf", &scratch.0);
        let Ok(text) = apt.output("apt-config", &["dump"]) else {
            println!("skipped: no apt here");
            return;
        };
        let state = format!("Dir::State \"{}\";", scratch.0.join("state").display());
        for line in ["APT::Architecture \"armhf\";", &state] {
            assert!(text.lines().any(|other| other == line), "{line}: {text}");
        }
    }

    #[test]
    fn the_package_behind_a_name_is_found() {
        let text =
            "linux-image-arm64\n  Depends: <virtual>\n  Depends: linux-image-6.1.0-56-arm64\n";
        assert_eq!(
            dependency(text, "linux-image-"),
            Some("linux-image-6.1.0-56-arm64")
        );
        assert_eq!(dependency(text, "linux-headers-"), None);
        assert_eq!(
            dependency("x\n  Depends: <linux-image>\n", "<linux-image"),
            None
        );
    }

    #[test]
    fn an_error_says_what_was_complained_of() {
        let error = |line: &str| {
            let command = with_args(Command::new("sh"), ["-c", line]);
            output(command).unwrap_err().to_string()
        };
        let shown = error("echo no such package >&2; exit 100");
        assert!(shown.contains("100: no such package"), "{shown}");
        let missing = output(Command::new("zlayer-no-such-program")).unwrap_err();
        assert!(missing.to_string().contains("does not start"), "{missing}");
    }

    #[test]
    fn one_package_is_expected_to_come() {
        let scratch = Scratch::new("archive");
        assert!(archive_in(&scratch.0).is_err());
        fs::write(scratch.0.join("a_1_arm64.deb"), "").unwrap();
        fs::write(scratch.0.join("status"), "").unwrap();
        assert!(archive_in(&scratch.0).unwrap().ends_with("a_1_arm64.deb"));
        fs::write(scratch.0.join("b_1_arm64.deb"), "").unwrap();
        assert!(archive_in(&scratch.0).is_err());
    }

    #[test]
    fn what_apt_left_behind_goes_with_it() {
        let scratch = Scratch::new("drop");
        let folder = scratch.0.join("new");
        drop(apt(&folder));
        assert!(!folder.exists());
    }
}
