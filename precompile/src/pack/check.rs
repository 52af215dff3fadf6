//! What is said of services against what their plugins are: what a device would refuse is refused here, and what
//! it would tell its log is told.

use zlayer_bundle::{BodyAccess, Capabilities, Capability, Role, RoleSettings, ServiceSettings};

use super::Described;
use crate::{Problem, Refused};

/// What the checks found.
#[derive(Debug)]
pub(super) struct Checked {
    /// For each service the roles that it plays.
    pub(super) roles: Vec<Vec<Role>>,
    /// What its owner should know.
    pub(super) notes: Vec<String>,
}

/// Checks all services of a deployment.
///
/// # Errors
///
/// Everything that a device would refuse.
pub(super) fn check_services(services: &[Described<'_>]) -> Result<Checked, Refused> {
    let is_alone = services.len() == 1;
    let (mut problems, mut notes, mut played) = (Vec::new(), Vec::new(), Vec::new());
    for service in services {
        problems.extend(service_type(service));
        let roles = match roles(service, is_alone) {
            Ok(roles) => roles,
            Err(problem) => {
                problems.push(problem);
                service.roles.to_vec()
            }
        };
        problems.extend(misplaced(service, &roles));
        problems.extend(memory(service));
        problems.extend(instances(service, &roles));
        notes.extend(grants(service, &roles, is_alone));
        played.push(roles);
    }
    problems.extend(narrowing(services, &played));
    problems.extend(namespaces(services));
    match problems.is_empty() {
        true => Ok(Checked {
            roles: played,
            notes,
        }),
        false => Err(Refused { problems }),
    }
}

/// Whether the component is what `service_type` says.
fn service_type(service: &Described<'_>) -> Option<Problem> {
    let wanted = service.image.service_type.as_ref()?;
    let is_one = wanted.iter().any(|role| service.roles.contains(role));
    (!is_one).then(|| {
        let what = format!(
            "wants a component that exports {}, and this one is {}",
            names(wanted, " or "),
            names(service.roles, ", ")
        );
        service.problem(
            &["service_type"],
            what,
            "name the image that is meant, or change `service_type`",
        )
    })
}

/// The roles that it plays, as a device decides.
fn roles(service: &Described<'_>, is_alone: bool) -> Result<Vec<Role>, Problem> {
    let exported = service.roles;
    let Some(named) = &service.service.settings.roles else {
        if is_alone || Role::belong_together(exported) {
            return Ok(exported.to_vec());
        }
        let what = format!(
            "it exports several roles, {}, and stands beside other services",
            names(exported, ", ")
        );
        let mend = format!(
            "say which it plays: `roles: [{}]`, or some of these",
            names(exported, ", ")
        );
        return Err(service.problem(&[], what, mend));
    };
    if let Some(missing) = named.iter().find(|role| !exported.contains(role)) {
        let what = format!("names {missing}, which the component does not export");
        let mend = format!("name some of {}", names(exported, ", "));
        return Err(service.problem(&["wasm.roles"], what, mend));
    }
    let known = Role::ALL.into_iter();
    Ok(known.filter(|role| named.contains(role)).collect())
}

/// A setting that none of its roles looks at.
fn misplaced(service: &Described<'_>, roles: &[Role]) -> Option<Problem> {
    let settings = &service.service.settings;
    let given = RoleSettings {
        bodies: settings.bodies.is_some(),
        request_body: settings
            .request_body
            .is_some_and(|said| said != BodyAccess::default()),
        personal_headers: !settings.personal_headers.is_empty(),
        reuse: settings.reuse.is_some_and(|said| said != 1),
        on_failure: settings.on_failure.is_some(),
        services: settings.services.is_some(),
        hosts: settings.endpoints.iter().any(|one| !one.hosts.is_empty()),
        path: settings.endpoints.iter().any(|one| one.path.is_some()),
    };
    let (setting, whose) = given.misplaced(roles)?;
    let setting = setting.replace('-', "_");
    let what = format!(
        "`{setting}` is a setting of {whose}, and it is {}",
        names(roles, ", ")
    );
    let in_block = format!("wasm.{setting}");
    let outer = setting.split('.').next().unwrap_or(&setting);
    Some(service.problem(
        &[&in_block, outer],
        what,
        "leave it out, or give it to the service that is meant",
    ))
}

/// Whether an instance can begin with what it may have.
fn memory(service: &Described<'_>) -> Option<Problem> {
    let most = service.service.settings.max_memory?;
    (most < service.memory_initial).then(|| {
        let what = format!(
            "is {most} bytes, and an instance begins with {}",
            service.memory_initial
        );
        service.problem(
            &["wasm.max_memory"],
            what,
            "raise `max_memory`, or build it with less",
        )
    })
}

/// Whether there may be as many instances as one request needs: an HTTP handler's own responses stream past it
/// where it takes part in responses, too.
fn instances(service: &Described<'_>, roles: &[Role]) -> Option<Problem> {
    const SEE_RESPONSES: [Role; 3] = [Role::Transformer, Role::Middleware, Role::Cache];
    let sees = roles.iter().any(|role| SEE_RESPONSES.contains(role));
    let needs_two = roles.contains(&Role::HttpHandler) && sees;
    let may_have = service.service.settings.max_instances;
    (needs_two && may_have == Some(1)).then(|| {
        service.problem(
            &["scale.max", "scale.replicas", "wasm.max_instances"],
            "it answers requests over wasi:http and takes part in responses: one request may need two instances",
            "raise `max_instances`",
        )
    })
}

/// What does not fit between what it can, what it asks for and what it is granted.
fn grants(service: &Described<'_>, roles: &[Role], is_alone: bool) -> Vec<String> {
    let settings = &service.service.settings;
    let name = service.name();
    let set = |list: &[Capability]| list.iter().copied().collect::<Capabilities>();
    let (allowed, denied) = (set(&settings.allow), set(&settings.deny));
    let imported = Capabilities::imported(service.imports);
    let usual = Role::capabilities_of(roles);
    let has_hosts = settings
        .allow_hosts
        .as_ref()
        .is_some_and(|hosts| !hosts.is_empty());
    let mut notes = Vec::new();
    let mut note = |text: String| notes.push(format!("service {name}: {text}"));

    let taken = set(&imported
        .iter()
        .filter(|one| denied.contains(*one))
        .collect::<Vec<_>>());
    if taken != Capabilities::NONE {
        note(format!(
            "imports {taken}, which `capabilities` takes away: calls fail"
        ));
    }
    let beyond = imported.without(usual.and(allowed)).without(denied);
    if beyond != Capabilities::NONE {
        let worlds: Vec<_> = roles.iter().map(|role| role.world()).collect();
        note(format!(
            "imports {beyond}, which is not in the world {}: denied unless `capabilities` grants it",
            worlds.join(" and ")
        ));
    }
    let may_send = usual
        .and(allowed)
        .without(denied)
        .contains(Capability::HttpClient);
    if imported.contains(Capability::HttpClient) && may_send && !has_hosts {
        note("may send requests, and no host is allowed: `allowed_hosts` names them".to_owned());
    }
    if roles.contains(&Role::Router) && !has_hosts {
        note(
            "is a router, and no host is allowed that it could forward to: `allowed_hosts` names them"
                .to_owned(),
        );
    }
    if settings.health.is_some()
        && !roles.contains(&Role::Handler)
        && !roles.contains(&Role::HttpHandler)
    {
        note("has `health`, which only handlers are asked for: it is not checked".to_owned());
    }
    let unused = allowed.without(imported).without(denied);
    if unused != Capabilities::NONE {
        note(format!("is granted {unused}, which it does not import"));
    }
    if has_hosts && !imported.contains(Capability::HttpClient) && !roles.contains(&Role::Router) {
        note("has `allowed_hosts`, and neither sends requests nor forwards any".to_owned());
    }
    if imported.contains(Capability::Secrets) && sees_no_secret(settings, is_alone) {
        note("asks for secrets and is given none: `secrets` names them".to_owned());
    }
    let withheld: Vec<Role> = { service.roles.iter().copied() }
        .filter(|role| !roles.contains(role))
        .collect();
    if !withheld.is_empty() {
        note(format!(
            "exports more roles than `roles` names, which nobody calls: {}",
            names(&withheld, ", ")
        ));
    }
    notes
}

/// Whether neither its settings nor its `env` give it any.
fn sees_no_secret(settings: &ServiceSettings, is_alone: bool) -> bool {
    let own = settings.env.iter();
    let has_own = { own }.any(|one| one.secret || one.value.has_variables());
    match &settings.secrets {
        Some(named) => named.is_empty() && !has_own,
        None => !is_alone && !has_own,
    }
}

/// `services` that name no service, or none that answers: the stage would be switched off, and a guard with it.
fn narrowing(services: &[Described<'_>], played: &[Vec<Role>]) -> Vec<Problem> {
    let answers = |roles: &Vec<Role>| {
        let answering = [Role::Handler, Role::HttpHandler];
        roles.iter().any(|role| answering.contains(role))
    };
    let handlers: Vec<&str> = { services.iter() }
        .zip(played)
        .filter(|(_, roles)| answers(roles))
        .map(|(service, _)| service.name())
        .collect();
    let mend = match handlers.is_empty() {
        true => "leave it out: no service is a handler".to_owned(),
        false => format!("name handlers: {}", handlers.join(", ")),
    };
    let mut problems = Vec::new();
    for service in services {
        let named = service.service.settings.services.iter().flatten();
        for name in named.filter(|name| !handlers.contains(&name.as_str())) {
            let is_there = services.iter().any(|other| other.name() == name);
            let what = match is_there {
                true => format!("names '{name}', which is no handler"),
                false => format!("names '{name}', and there is no such service"),
            };
            problems.push(service.problem(&["wasm.services"], what, mend.clone()));
        }
    }
    problems
}

/// Services that share a namespace and want it kept differently: a change of the one would be kept as the
/// other wants it.
fn namespaces(services: &[Described<'_>]) -> Vec<Problem> {
    let namespace = |service: &Described<'_>| -> String {
        let named = service.service.settings.keyvalue.namespace.as_deref();
        named.unwrap_or(service.name()).to_owned()
    };
    let kept = |service: &Described<'_>| {
        let said = service.service.settings.keyvalue.durability;
        said.unwrap_or_default()
    };
    let mut problems = Vec::new();
    for (place, service) in services.iter().enumerate() {
        let others = services[..place].iter();
        let differs = |other: &&Described<'_>| {
            namespace(other) == namespace(service) && kept(other) != kept(service)
        };
        if let Some(other) = { others }.find(differs) {
            let what = format!(
                "shares the namespace '{}' with {}, which wants it kept differently: {} and {}",
                namespace(service),
                other.name(),
                kept(service),
                kept(other)
            );
            let keys = ["wasm.kv_durability", "wasm.kv_namespace"];
            problems.push(service.problem(&keys, what, "give both the same durability"));
        }
    }
    problems
}

fn names(roles: &[Role], between: &str) -> String {
    let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
    names.join(between)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use zlayer_bundle::Service;
    use zlayer_deployment::{Image, ImageSource, Place, Spot};

    use super::*;

    fn place(line: usize, column: usize) -> Place {
        Place {
            file: "d.yaml".into(),
            line,
            column,
        }
    }

    /// What is found for services of these roles, whose memories begin with 1 MiB; `say` says something of the
    /// first.
    fn check(
        services: &[&[Role]],
        say: impl FnOnce(&mut ServiceSettings),
    ) -> Result<Checked, String> {
        let image = Image {
            source: ImageSource::Reference("a".to_owned()),
            service_type: None,
            path: "services.s0.image".to_owned(),
            place: place(5, 12),
            keys: vec![Spot {
                key: "wasm.max_memory".to_owned(),
                path: "services.s0.wasm.max_memory".to_owned(),
                place: place(7, 19),
            }],
        };
        let mut named: Vec<Service> = (0..services.len())
            .map(|number| Service {
                name: Some(format!("s{number}")),
                settings: ServiceSettings::default(),
            })
            .collect();
        say(&mut named[0].settings);
        let described: Vec<_> = { named.iter() }
            .zip(services)
            .map(|(service, roles)| Described {
                service,
                image: &image,
                roles,
                imports: &[],
                memory_initial: 1 << 20,
            })
            .collect();
        check_services(&described).map_err(|refused| refused.to_string())
    }

    const STAGES: &[Role] = &[Role::Transformer, Role::Router];

    #[test]
    fn several_roles_are_named_beside_other_services_and_played_alone() {
        assert_eq!(check(&[STAGES], |_| {}).unwrap().roles, [STAGES]);
        let told = check(&[STAGES, &[Role::Handler]], |_| {}).unwrap_err();
        assert_eq!(
            told,
            "d.yaml:5:12: services.s0.image: it exports several roles, transformer, router, and stands beside other \
             services\n  say which it plays: `roles: [transformer, router]`, or some of these"
        );
        let checked = check(&[STAGES, &[Role::Handler]], |settings| {
            settings.roles = Some(vec![Role::Router]);
        });
        let checked = checked.unwrap();
        assert_eq!(checked.roles[0], [Role::Router]);
        let told = checked.notes.join("\n");
        assert!(told.contains("which nobody calls: transformer"), "{told}");
    }

    #[test]
    fn an_instance_has_what_it_begins_with_and_a_request_those_that_it_needs() {
        let told = check(&[&[Role::Handler]], |settings| {
            settings.max_memory = Some(1 << 19);
        });
        let told = told.unwrap_err();
        assert!(told.contains("an instance begins with 1048576"), "{told}");
        let both: &[Role] = &[Role::HttpHandler, Role::Cache];
        let told = check(&[both], |settings| settings.max_instances = Some(1));
        assert!(told.unwrap_err().contains("raise `max_instances`"));
        assert!(check(&[both], |settings| settings.max_instances = Some(2)).is_ok());
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let told = check(&[&[Role::Handler], &[Role::Router]], |settings| {
            settings.reuse = Some(5);
            settings.max_memory = Some(1);
            settings.services = Some(vec!["s1".to_owned()]);
        });
        let told = told.unwrap_err();
        // Of the settings without a role to look at them the first is told.
        for part in [
            "`reuse` is a setting of",
            "d.yaml:7:19: services.s0.wasm.max_memory: is 1 bytes, and an instance begins with",
            "names 's1', which is no handler",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }
}
