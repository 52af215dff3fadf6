//! What a deployment takes of a device's memory, by the figures that the daemon sets memory aside with.

use std::cmp::Reverse;
use std::fmt;

use serde::Serialize;
use zlayer_bundle::{
    BoardSettings, BodyAccess, ByteSize, CONNECTION_SHARE, CONNECTIONS_DEFAULT, DeviceSettings,
    INSTANCE_SHARE, MEMORY_DEFAULT, Port, Role, Service, TLS_SHARE, WHOLE_DEFAULT, bodies_least,
    cache_share, call_share, connections_within, least_memory, own_share,
};

use super::Compiled;
use crate::{Problem, Refused};

/// The largest items that a refusal says how to make less of.
const NAMED: usize = 3;

/// What a deployment takes of a device's memory at the least: what a daemon sets aside before it serves.
#[derive(Clone, Debug, Serialize)]
pub struct Room {
    /// Item by item.
    pub rows: Vec<RoomRow>,
    /// Bytes of all items that count.
    pub sum: u64,
    /// What the daemon may take, where that is known here.
    pub ceiling: Option<Ceiling>,
    /// What its owner should know.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// One item.
#[derive(Clone, Debug, Serialize)]
pub struct RoomRow {
    /// What takes it.
    pub what: String,
    /// How much, in bytes.
    pub bytes: u64,
    /// Whether it counts against the ceiling. Code does not: it is mapped from its file, and the kernel drops
    /// pages of it where memory is short.
    pub counts: bool,
    /// What makes it less.
    #[serde(skip)]
    mend: String,
}

/// What the daemon may take, and who says so.
#[derive(Clone, Debug, Serialize)]
pub struct Ceiling {
    /// In bytes.
    pub bytes: u64,
    /// Who says so.
    pub said_by: String,
}

impl Room {
    /// Of a deployment's services, each with the roles that it plays and its artifact, and with the key that says how
    /// many of its instances are kept.
    pub(super) fn of(
        device: &DeviceSettings,
        board: Option<&BoardSettings>,
        members: &[(&Service, &[Role], &Compiled)],
        least_keys: &[String],
    ) -> Room {
        let ceiling = ceiling(device, board);
        // Some shares grow with the whole.
        let memory = { ceiling.as_ref() }.map_or(MEMORY_DEFAULT, |ceiling| clamped(ceiling.bytes));
        let mut rows = Rows::default();
        let plays = |role| members.iter().any(|(_, roles, _)| roles.contains(&role));
        let body = device.max_body.map_or(WHOLE_DEFAULT, clamped);
        let message = device.max_message.map_or(WHOLE_DEFAULT, clamped);

        let mut seen: Vec<&Compiled> = Vec::new();
        for ((service, roles, artifact), least_key) in members.iter().zip(least_keys) {
            let name = service.name.as_deref().unwrap_or_default();
            if !seen.iter().any(|other| std::ptr::eq(*other, *artifact)) {
                seen.push(artifact);
                let code = artifact.manifest.artifact_len;
                rows.push(
                    format!("code of {}", artifact.manifest.name),
                    code,
                    false,
                    String::new(),
                );
            }
            let description = artifact.description();
            rows.push(
                format!("engine's description of {name}"),
                description.ahead() as u64,
                true,
                format!("build {name} with less code and fewer names"),
            );
            let each = least_memory(artifact.manifest.memory_initial)
                .saturating_add(INSTANCE_SHARE)
                .saturating_add(call_share(roles, body, message))
                .saturating_add(description.instance());
            let count = service.settings.min_instances.unwrap_or(1).max(1);
            let mend = match count {
                1 => format!("build {name} with a smaller initial memory"),
                _ => format!("lower `{least_key}`"),
            };
            let times = match count {
                1 => "1 instance".to_owned(),
                count => format!("{count} instances"),
            };
            rows.push(
                format!("{times} of {name}"),
                (each as u64).saturating_mul(u64::from(count)),
                true,
                mend,
            );
        }

        let certificates = device.certificates.len();
        let own = own_share(memory, certificates);
        rows.push(
            "store, log and admin interface",
            own_share(memory, 0) as u64,
            true,
            String::new(),
        );
        if certificates > 0 {
            let bytes = own - own_share(memory, 0);
            rows.push(
                "certificates",
                bytes as u64,
                true,
                "name fewer `device.certificates`".to_owned(),
            );
        }
        let services = members.iter().map(|(service, ..)| *service);
        let mut ports: Vec<Port> = services
            .flat_map(|service| service.settings.endpoints.iter().map(Port::from))
            .collect();
        ports.sort_by_key(|port| port.number);
        ports.dedup();
        // The certificate may be one that a flag of the device names.
        let has_tls = certificates > 0 || ports.iter().any(|port| port.is_https);
        let share = CONNECTION_SHARE + if has_tls { TLS_SHARE } else { 0 };
        let asked = device.max_connections.map(|count| count as usize);
        let wanted = asked.unwrap_or(CONNECTIONS_DEFAULT);
        let connections = wanted.min(connections_within(memory, own, share));
        let mut notes = Vec::new();
        if asked.is_some() && connections < wanted {
            notes.push(format!(
                "`device.max_connections` {wanted}: there will be {connections}, since connections take a quarter \
                 of the memory at most, {} KiB each",
                share >> 10
            ));
        }
        rows.push(
            match ports.len() {
                0 | 1 => format!("{connections} connections"),
                count => format!("{connections} connections, of {count} ports together"),
            },
            (connections * share) as u64,
            true,
            "lower `device.max_connections`".to_owned(),
        );
        if plays(Role::Cache) {
            let bytes = device.cache_max.unwrap_or(cache_share(memory) as u64);
            rows.push(
                "response cache",
                bytes,
                true,
                "lower `device.cache_max`".to_owned(),
            );
        }
        if members
            .iter()
            .any(|(service, roles, artifact)| takes_bodies(service, roles, artifact))
        {
            rows.push(
                "bodies, one each way",
                bodies_least(body) as u64,
                true,
                "lower `device.max_body`".to_owned(),
            );
        }
        let counted = rows.0.iter().filter(|row| row.counts);
        let sum = counted.fold(0_u64, |sum, row| sum.saturating_add(row.bytes));
        if ceiling.is_none() && sum > MEMORY_DEFAULT as u64 {
            notes.push(format!(
                "this deployment takes at least {} KiB, and a daemon takes {} at the most unless it is told: say \
                 `device.memory_max`, name a --board, or start it with --memory-max",
                sum.div_ceil(1 << 10),
                ByteSize(MEMORY_DEFAULT as u64)
            ));
        }
        Room {
            sum,
            rows: rows.0,
            ceiling,
            notes,
        }
    }

    /// Whether it fits under the ceiling, where one is known.
    ///
    /// # Errors
    ///
    /// It does not: the table is told, and what makes the largest items less.
    pub(super) fn check(&self) -> Result<(), Refused> {
        let Some(ceiling) = &self.ceiling else {
            return Ok(());
        };
        if self.sum <= ceiling.bytes {
            return Ok(());
        }
        let mut largest: Vec<&RoomRow> = self.rows.iter().filter(|row| row.counts).collect();
        largest.sort_by_key(|row| Reverse(row.bytes));
        largest.truncate(NAMED);
        let what = format!(
            "this deployment takes at least {}, and {} ({}) is less:\n{self}",
            kibibytes(self.sum),
            ByteSize(ceiling.bytes),
            ceiling.said_by,
        );
        let mut mends: Vec<&str> = largest.iter().map(|row| row.mend.as_str()).collect();
        mends.retain(|mend| !mend.is_empty());
        mends.push("raise `device.memory_max` where the device has more");
        Err(Problem::new("memory", what, mends.join("; ")).into())
    }
}

impl fmt::Display for Room {
    /// A line for each item, and one for their sum.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let beside = match row.counts {
                true => "",
                false => ", mapped from its file and not counted",
            };
            writeln!(f, "{:>9}  {}{beside}", kibibytes(row.bytes), row.what)?;
        }
        write!(f, "{:>9}  at least", kibibytes(self.sum))?;
        match &self.ceiling {
            Some(Ceiling { bytes, said_by }) => write!(f, ", of {} ({said_by})", ByteSize(*bytes)),
            None => {
                f.write_str("; neither a board nor `device.memory_max` says how much there may be")
            }
        }
    }
}

fn kibibytes(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1 << 10))
}

#[derive(Default)]
struct Rows(Vec<RoomRow>);

impl Rows {
    fn push(&mut self, what: impl Into<String>, bytes: u64, counts: bool, mend: String) {
        self.0.push(RoomRow {
            what: what.into(),
            bytes,
            counts,
            mend,
        });
    }
}

/// What the daemon may take: the deployment's word comes before the board's, as on the device.
fn ceiling(device: &DeviceSettings, board: Option<&BoardSettings>) -> Option<Ceiling> {
    let said = device.memory_max.map(|bytes| Ceiling {
        bytes,
        said_by: "`device.memory_max`".to_owned(),
    });
    said.or_else(|| {
        let board = board?;
        Some(Ceiling {
            bytes: board.memory_max?,
            said_by: format!("the board {}", board.name),
        })
    })
}

/// Whether a service may hold whole bodies, which get a share of their own.
fn takes_bodies(service: &Service, roles: &[Role], artifact: &Compiled) -> bool {
    let settings = &service.settings;
    roles.iter().any(|role| match role {
        Role::Handler => true,
        Role::Transformer => artifact.transforms_bodies(settings.bodies),
        Role::Authenticator | Role::RateLimiter | Role::Router => {
            settings.request_body == Some(BodyAccess::Whole)
        }
        Role::HttpHandler | Role::Middleware | Role::Cache | Role::WebSocket => false,
    })
}

fn clamped(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
