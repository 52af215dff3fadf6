//! The plugin contract, from the WIT files of this release.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use wit_parser::{
    Interface, InterfaceId, Resolve, SourceMap, Type, TypeDefKind, TypeOwner, WorldItem,
};
use zlayer_bundle::Role;

/// The contract's own package.
const PLUGIN_FILES: [(&str, &str); 4] = [
    ("wit/types.wit", include_str!("../../wit/types.wit")),
    ("wit/host.wit", include_str!("../../wit/host.wit")),
    ("wit/plugin.wit", include_str!("../../wit/plugin.wit")),
    ("wit/worlds.wit", include_str!("../../wit/worlds.wit")),
];

/// The packages that it refers to, one a file.
const DEPENDENCIES: [(&str, &str); 7] = [
    ("wit/deps/io.wit", include_str!("../../wit/deps/io.wit")),
    (
        "wit/deps/clocks.wit",
        include_str!("../../wit/deps/clocks.wit"),
    ),
    (
        "wit/deps/random.wit",
        include_str!("../../wit/deps/random.wit"),
    ),
    (
        "wit/deps/filesystem.wit",
        include_str!("../../wit/deps/filesystem.wit"),
    ),
    (
        "wit/deps/sockets.wit",
        include_str!("../../wit/deps/sockets.wit"),
    ),
    ("wit/deps/cli.wit", include_str!("../../wit/deps/cli.wit")),
    ("wit/deps/http.wit", include_str!("../../wit/deps/http.wit")),
];

/// The files of the contract that is compiled in: where each lies, `wit/` in front, and its text.
pub fn contract_files() -> impl Iterator<Item = (&'static str, &'static str)> {
    PLUGIN_FILES.into_iter().chain(DEPENDENCIES)
}

/// What plugins may import and what they may export.
pub(crate) struct Contract {
    resolve: Resolve,
    /// By full name without version.
    imports: BTreeMap<String, InterfaceId>,
    /// By full name without version.
    exports: BTreeMap<String, (InterfaceId, Role)>,
}

impl Contract {
    /// Reads the contract that is compiled in.
    ///
    /// Items that WASI marks as unstable are left out, as devices do not offer them.
    pub(crate) fn load() -> Result<Contract> {
        let mut resolve = Resolve::default();
        for (path, text) in DEPENDENCIES {
            resolve
                .push_source(path, text)
                .with_context(|| format!("in {path}"))?;
        }
        let mut sources = SourceMap::default();
        for (path, text) in PLUGIN_FILES {
            sources.push_str(path, text);
        }
        let group = sources
            .parse()
            .map_err(|(_, error)| anyhow!("in wit/: {error}"))?;
        let package = resolve.push_group(group).context("in wit/")?;

        // Each world is a choice of what there is, so all worlds together are the contract.
        let mut contract = Contract {
            resolve,
            imports: BTreeMap::new(),
            exports: BTreeMap::new(),
        };
        let resolve = &contract.resolve;
        for world in resolve.packages[package].worlds.values() {
            let world = &resolve.worlds[*world];
            for item in world.imports.values() {
                if let WorldItem::Interface { id, .. } = item {
                    contract.imports.insert(base_name(resolve, *id), *id);
                }
            }
            for item in world.exports.values() {
                let WorldItem::Interface { id, .. } = item else {
                    continue;
                };
                let name = base_name(resolve, *id);
                let role = Role::ALL.into_iter().find(|role| role.interface() == name);
                let role = role.with_context(|| format!("no role is known for export {name}"))?;
                contract.exports.insert(name, (*id, role));
            }
        }
        Ok(contract)
    }

    /// The WIT tables that the interfaces and types here refer to.
    pub(crate) fn resolve(&self) -> &Resolve {
        &self.resolve
    }

    /// The interface that a plugin may import under `name`.
    pub(crate) fn import(&self, name: &str) -> Option<&Interface> {
        let (base, version) = split_name(name);
        let id = *self.imports.get(base)?;
        self.version_fits(id, version?)
            .then(|| &self.resolve.interfaces[id])
    }

    /// The interface that a plugin may export under `name`, and the role that it gives.
    pub(crate) fn export(&self, name: &str) -> Option<(&Interface, Role)> {
        let (base, version) = split_name(name);
        let (id, role) = *self.exports.get(base)?;
        self.version_fits(id, version?)
            .then(|| (&self.resolve.interfaces[id], role))
    }

    /// Full names, as they would be imported, that share the last part with `name` or its
    /// package, to suggest them.
    pub(crate) fn similar_imports(&self, name: &str) -> Vec<String> {
        let (base, _) = split_name(name);
        let same_name = base.rsplit('/').next().unwrap_or(base);
        let found = self.imports.iter().filter(|(known, _)| {
            known.as_str() == base || known.rsplit('/').next() == Some(same_name)
        });
        found.map(|(_, id)| self.full_name(*id)).collect()
    }

    /// The full names of everything that gives a role.
    pub(crate) fn role_exports(&self) -> Vec<String> {
        self.exports
            .values()
            .map(|(id, _)| self.full_name(*id))
            .collect()
    }

    fn full_name(&self, id: InterfaceId) -> String {
        self.resolve.id_of(id).unwrap_or_default()
    }

    /// Whether an interface of version `found` can stand for the known one. Our own
    /// contract has one version. WASI's patch releases of 0.2 only add, and the engine links
    /// any of them to the one it has; what a component uses is compared item by item.
    fn version_fits(&self, known: InterfaceId, found: &str) -> bool {
        let Some(package) = self.resolve.interfaces[known].package else {
            return false;
        };
        let package = &self.resolve.packages[package].name;
        let Some(version) = &package.version else {
            return false;
        };
        if package.namespace != "wasi" {
            return found == version.to_string();
        }
        found
            .strip_prefix(&format!("{}.{}.", version.major, version.minor))
            .is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit()))
    }
}

/// Follows `use` and type aliases to the type itself.
pub(crate) fn follow_aliases(resolve: &Resolve, mut ty: Type) -> Type {
    while let Type::Id(id) = ty
        && let TypeDefKind::Type(target) = resolve.types[id].kind
    {
        ty = target;
    }
    ty
}

/// The full name of a resource, which is how the two sides of a comparison refer to it.
pub(crate) fn resource_name(resolve: &Resolve, ty: Type) -> Option<String> {
    let Type::Id(id) = follow_aliases(resolve, ty) else {
        return None;
    };
    let definition = &resolve.types[id];
    let TypeOwner::Interface(owner) = definition.owner else {
        return None;
    };
    Some(format!(
        "{}/{}",
        base_name(resolve, owner),
        definition.name.as_deref()?
    ))
}

/// Splits `package/interface@version`.
pub(crate) fn split_name(name: &str) -> (&str, Option<&str>) {
    match name.split_once('@') {
        Some((base, version)) => (base, Some(version)),
        None => (name, None),
    }
}

fn base_name(resolve: &Resolve, id: InterfaceId) -> String {
    let full = resolve.id_of(id).unwrap_or_default();
    split_name(&full).0.to_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_in_the_contract() {
        let contract = Contract::load().unwrap();
        let roles: Vec<Role> = contract.exports.values().map(|(_, role)| *role).collect();
        for role in Role::ALL {
            assert!(roles.contains(&role), "{role}");
        }
        assert_eq!(roles.len(), Role::ALL.len());
    }

    #[test]
    fn versions_are_those_that_the_engine_links() {
        let contract = Contract::load().unwrap();
        for known in [
            "zlayer:plugin/config@0.1.0",
            "zlayer:plugin/request-types@0.1.0",
            "wasi:io/streams@0.2.0",
            "wasi:http/types@0.2.99",
            "wasi:filesystem/preopens@0.2.3",
            "wasi:random/random@0.2.6",
        ] {
            assert!(contract.import(known).is_some(), "{known}");
        }
        for unknown in [
            "zlayer:plugin/config",
            "zlayer:plugin/config@0.1.1",
            "wasi:io/streams@0.3.0",
            "wasi:io/streams@0.2.0-rc-2023-11-10",
            "wasi:io/streams@0.2.",
            "wasi:http/incoming-handler@0.2.0",
            "wasi:keyvalue/store@0.2.0",
            "",
        ] {
            assert!(contract.import(unknown).is_none(), "{unknown}");
        }
        assert!(
            contract
                .export("wasi:http/incoming-handler@0.2.4")
                .is_some()
        );
        assert!(contract.export("zlayer:plugin/handler@0.2.0").is_none());
    }

    #[test]
    fn similar_names_are_suggested() {
        let contract = Contract::load().unwrap();
        assert_eq!(
            contract.similar_imports("zlayer:plugin/config@9.0.0"),
            ["zlayer:plugin/config@0.1.0"]
        );
        assert_eq!(
            contract.similar_imports("acme:host/logging"),
            ["zlayer:plugin/logging@0.1.0"]
        );
        assert!(contract.similar_imports("acme:host/nothing").is_empty());
    }
}
