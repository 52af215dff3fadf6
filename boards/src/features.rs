//! A daemon with everything that device binaries are built without, for the tests of that alone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::Workspace;
use crate::command::Cmd;

/// What is off by default: it is checked and tested too.
pub(crate) const FEATURES: &str = "--features zlayer-runtime/tls,zlayer-runtime/deflate";

/// Builds it, of the parts that the unit tests have built.
pub(crate) fn build() -> Cmd {
    Cmd::new("cargo", &format!("build -p zlayer-runtime {FEATURES}"))
}

/// Puts what was built where no other build writes: cargo knows one place for a program, whatever is in it.
pub(crate) fn keep(workspace: &Workspace) -> Result<()> {
    let built = workspace.target_dir.join("debug/zlayer");
    let binary = binary(workspace);
    let folder = binary.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)
        .and_then(|()| fs::copy(&built, &binary))
        .with_context(|| format!("cannot copy {} to {}", built.display(), binary.display()))?;
    Ok(())
}

/// Where it is kept.
pub(crate) fn binary(workspace: &Workspace) -> PathBuf {
    workspace.target_dir.join("features/zlayer")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn it_is_built_with_all_features_that_the_runtime_has() {
        let manifest: toml::Table = include_str!("../../runtime/Cargo.toml").parse().unwrap();
        let build = build().to_string();
        for feature in manifest["features"].as_table().unwrap().keys() {
            let named = build.contains(&format!("zlayer-runtime/{feature}"));
            assert!(named, "{feature} in {build}");
        }
    }

    #[test]
    fn what_was_built_is_kept_and_what_was_not_is_named() {
        let folder = std::env::temp_dir().join(format!("zlayer-features-{}", std::process::id()));
        let workspace = Workspace {
            root: "r".into(),
            target_dir: folder.clone(),
        };
        fs::create_dir_all(folder.join("debug")).unwrap();
        let error = keep(&workspace).unwrap_err().to_string();
        fs::write(folder.join("debug/zlayer"), "first").unwrap();
        keep(&workspace).unwrap();
        fs::write(folder.join("debug/zlayer"), "another").unwrap();
        let kept = fs::read_to_string(binary(&workspace)).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert!(error.contains("debug/zlayer"), "{error}");
        assert_eq!(kept, "first");
    }
}
