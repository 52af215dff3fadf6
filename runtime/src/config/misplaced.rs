//! Settings that mean nothing for the roles of the plugin that they are given to: which of them are given.

use zlayer_bundle::{Role, RoleSettings};

use super::{BodyAccess, PluginConfig};

/// Finds a setting of `plugin` that none of its `roles` looks at. Returns its name, and whose it is.
/// `usual` is what holds where nothing is said.
pub fn misplaced(
    plugin: &PluginConfig,
    usual: &PluginConfig,
    roles: &[Role],
) -> Option<(&'static str, &'static str)> {
    let placement = &plugin.placement;
    let given = RoleSettings {
        bodies: placement.bodies.is_some(),
        request_body: placement.request_body != BodyAccess::default(),
        personal_headers: !placement.personal_headers.is_empty(),
        reuse: plugin.pooling.reuse != usual.pooling.reuse,
        on_failure: placement.on_failure.is_some(),
        services: placement.services.is_some(),
        hosts: placement.endpoints.iter().any(|one| !one.hosts.is_empty()),
        path: placement.endpoints.iter().any(|one| one.path.is_some()),
    };
    given.misplaced(roles)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{OnFailure, Placement};

    #[test]
    fn what_is_said_of_a_plugin_is_looked_at() {
        let usual = PluginConfig::default();
        let placed = |change: fn(&mut Placement)| {
            let mut plugin = usual.clone();
            change(Arc::make_mut(&mut plugin.placement));
            plugin
        };
        let mut reused = usual.clone();
        reused.pooling.reuse = 5;
        // A handler looks at none of them.
        for (setting, plugin) in [
            (
                "bodies",
                placed(|placement| placement.bodies = Some(Default::default())),
            ),
            (
                "request-body",
                placed(|placement| placement.request_body = BodyAccess::Whole),
            ),
            (
                "personal-headers",
                placed(|placement| placement.personal_headers = vec![http::header::USER_AGENT]),
            ),
            ("reuse", reused),
            (
                "on-failure",
                placed(|placement| placement.on_failure = Some(OnFailure::Open)),
            ),
            (
                "services",
                placed(|placement| placement.services = Some(vec!["a".to_owned()])),
            ),
        ] {
            let told = misplaced(&plugin, &usual, &[Role::Handler]);
            assert_eq!(told.map(|(setting, _)| setting), Some(setting));
        }
        assert_eq!(misplaced(&usual, &usual, &[Role::Handler]), None);
    }
}
