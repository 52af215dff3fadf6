//! The crate for plugin authors, which lies beside the contract, as it goes into a new plugin.

/// A file of `wit/rust`, by its path there.
macro_rules! file {
    ($path:literal) => {
        (
            concat!("wit/rust/", $path),
            include_str!(concat!("../../../../wit/rust/", $path)),
        )
    };
}

/// Every file of the crate, by its path in a plugin's folder.
pub(super) const CRATE: [(&str, &str); 21] = [
    file!("Cargo.toml"),
    file!("src/bindings.rs"),
    file!("src/clock.rs"),
    file!("src/config.rs"),
    file!("src/double.rs"),
    file!("src/double/clock.rs"),
    file!("src/double/config.rs"),
    file!("src/double/log.rs"),
    file!("src/double/metrics.rs"),
    file!("src/double/random.rs"),
    file!("src/double/secrets.rs"),
    file!("src/double/store.rs"),
    file!("src/keyvalue.rs"),
    file!("src/lib.rs"),
    file!("src/logging.rs"),
    file!("src/metrics.rs"),
    file!("src/random.rs"),
    file!("src/secrets.rs"),
    file!("src/types.rs"),
    file!("src/world.rs"),
    file!("src/worlds.rs"),
];

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test should panic")]

    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn no_file_of_the_crate_or_of_the_contract_is_left_out() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut found = Vec::new();
        for folder in ["wit", "wit/deps", "wit/rust/src", "wit/rust/src/double"] {
            for entry in fs::read_dir(root.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let path = path.strip_prefix(root).unwrap();
                    found.push(path.to_str().unwrap().to_owned());
                }
            }
        }
        found.push("wit/rust/Cargo.toml".to_owned());
        let contract = zlayer_precompile::contract_files();
        let mut taken: Vec<&str> = contract.chain(CRATE).map(|(path, _)| path).collect();
        found.sort();
        taken.sort_unstable();
        assert_eq!(taken, found);
    }
}
