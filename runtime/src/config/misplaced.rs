//! Settings that mean nothing for the roles of the plugin that they are given to.
//!
//! Whoever gives one has mistaken the plugin or the setting, and believes in a protection that is not there.

use zlayer_bundle::Role;

use super::{BodyAccess, PluginConfig};

/// Finds a setting of `plugin` that none of its `roles` looks at. Returns its name, and whose it is.
/// `usual` is what holds where nothing is said.
pub fn misplaced(
    plugin: &PluginConfig,
    usual: &PluginConfig,
    roles: &[Role],
) -> Option<(&'static str, &'static str)> {
    const ANSWERING: [Role; 2] = [Role::Handler, Role::HttpHandler];
    const ASKED_WITH_BODIES: [Role; 3] = [Role::Authenticator, Role::RateLimiter, Role::Router];
    let placement = &plugin.placement;
    let plays = |some: &[Role]| roles.iter().any(|role| some.contains(role));
    let is_stage = roles.iter().any(|role| !ANSWERING.contains(role));
    let stages = "stages before handlers";
    [
        (
            "bodies",
            placement.bodies.is_some(),
            plays(&[Role::Transformer]),
            "transformers",
        ),
        (
            "request-body",
            placement.request_body != BodyAccess::default(),
            plays(&ASKED_WITH_BODIES),
            "authenticators, rate limiters and routers",
        ),
        (
            "personal-headers",
            !placement.personal_headers.is_empty(),
            plays(&[Role::Cache]),
            "caches",
        ),
        (
            "reuse",
            plugin.pooling.reuse != usual.pooling.reuse,
            plays(&[Role::HttpHandler]),
            "HTTP handlers (other plugins keep their instances)",
        ),
        (
            "on-failure",
            placement.on_failure.is_some(),
            is_stage,
            stages,
        ),
        ("services", placement.services.is_some(), is_stage, stages),
    ]
    .into_iter()
    .find(|(_, is_given, is_its, _)| *is_given && !is_its)
    .map(|(setting, _, _, whose)| (setting, whose))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{OnFailure, Placement};

    /// What is said of a plugin beside the usual.
    type Change<'c> = &'c dyn Fn(&mut PluginConfig);

    #[test]
    fn a_setting_is_for_those_who_look_at_it() {
        let usual = PluginConfig::default();
        let told = |change: Change<'_>, roles: &[Role]| {
            let mut plugin = usual.clone();
            change(&mut plugin);
            misplaced(&plugin, &usual, roles).map(|(setting, _)| setting)
        };
        let placed = |change: fn(&mut Placement)| {
            move |plugin: &mut PluginConfig| change(Arc::make_mut(&mut plugin.placement))
        };
        let bodies = placed(|placement| placement.bodies = Some(Default::default()));
        let whole = placed(|placement| placement.request_body = BodyAccess::Whole);
        let open = placed(|placement| placement.on_failure = Some(OnFailure::Open));
        let services = placed(|placement| placement.services = Some(vec!["a".to_owned()]));
        let personal = placed(|placement| {
            placement.personal_headers = vec![http::header::USER_AGENT];
        });
        let reuse = |plugin: &mut PluginConfig| plugin.pooling.reuse = 5;
        let settings: [(&str, Change<'_>, &[Role]); 6] = [
            ("bodies", &bodies, &[Role::Transformer]),
            (
                "request-body",
                &whole,
                &[Role::Authenticator, Role::RateLimiter, Role::Router],
            ),
            ("personal-headers", &personal, &[Role::Cache]),
            ("reuse", &reuse, &[Role::HttpHandler]),
            ("on-failure", &open, &Role::ALL[2..]),
            ("services", &services, &Role::ALL[2..]),
        ];
        for (setting, change, its) in settings {
            for role in Role::ALL {
                let wanted = (!its.contains(&role)).then_some(setting);
                assert_eq!(told(change, &[role]), wanted, "{setting} of {role}");
            }
        }
        // One role of several is enough.
        assert_eq!(told(&bodies, &[Role::Handler, Role::Transformer]), None);
        assert_eq!(told(&|_| {}, &[Role::Handler]), None);
    }
}
