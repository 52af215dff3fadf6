//! What an artifact says about itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{ArtifactError, BoardSettings, Bodies, Profile, Target, hex};

/// The engine release that both sides link. An artifact loads in no other one.
pub const ENGINE_VERSION: &str = "48.0.8";

/// The manifest format that this crate writes, and the only one that it reads. Formats 1 and 2 had
/// another digest.
pub const MANIFEST_FORMAT: u16 = 3;

/// The largest encoded manifest, in bytes. A plugin with a hundred imports takes about 5 KiB.
pub const MAX_MANIFEST: usize = 64 << 10;

/// The signed description of a compiled plugin.
///
/// Fields are encoded in this order, as postcard. A change of any field needs a new
/// [`MANIFEST_FORMAT`]. Behind them stand notes, which only those manifests have that need them: so
/// one without notes is the same as before there were any, and is read as ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always [`MANIFEST_FORMAT`]. It comes first so that another format is recognised.
    pub format: u16,
    /// The plugin's name.
    pub name: String,
    /// The plugin's own version, as its author wrote it.
    pub version: String,
    /// The processor that the code is for.
    pub target: Target,
    /// The exact engine release that compiled it.
    pub engine_version: String,
    /// The engine settings that it was compiled with.
    pub profile: Profile,
    /// Processor features beyond the target's baseline that the code uses, by the
    /// compiler's names. The engine checks them against the device when it loads the code.
    pub cpu_flags: Vec<String>,
    /// Length of the engine's artifact, in bytes.
    pub artifact_len: u64,
    /// Digest of the engine's artifact: a SHA-256 (`digest.rs` says of what).
    pub digest: [u8; 32],
    /// What the plugin can do, from its exports.
    pub roles: Vec<Role>,
    /// The names of everything that it imports, sorted.
    pub imports: Vec<String>,
    /// What its linear memories start with, in bytes, together.
    pub memory_initial: u64,
    /// What its linear memories can grow to, in bytes, together. `None` when it sets no bound.
    pub memory_max: Option<u64>,
    /// The board that it was built for, with what the daemon there runs with. `None` when it was
    /// built for a target alone.
    pub board: Option<BoardSettings>,
    /// Which bodies the plugin's transformer takes, where its author has said so. A note.
    #[serde(skip)]
    pub bodies: Option<Bodies>,
    /// What the engine takes of a device's memory for it, where that is much. A note.
    #[serde(skip)]
    pub engine: Option<EngineBytes>,
}

/// What the engine takes of a device's memory for a plugin, at the most: counted where it is
/// compiled, so that a device can set it aside before it loads the plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineBytes {
    /// For the description of its code: functions, types, names.
    pub description: u64,
    /// For its own records of one instance.
    pub instance: u64,
}

/// What some manifests say behind their fields. The order of the variants is part of the format:
/// new ones go to the end.
#[derive(Serialize, Deserialize)]
enum Note {
    Bodies(Bodies),
    Engine(EngineBytes),
}

impl Manifest {
    /// The digest as lower-case hexadecimal text.
    pub fn digest_text(&self) -> String {
        hex::encode(&self.digest)
    }

    /// A manifest for code compiled by this engine release. The caller fills in the rest;
    /// [`seal`](crate::seal) sets length and digest.
    pub fn new(name: &str, version: &str, target: Target, profile: Profile) -> Manifest {
        Manifest {
            format: MANIFEST_FORMAT,
            name: name.to_owned(),
            version: version.to_owned(),
            target,
            engine_version: ENGINE_VERSION.to_owned(),
            profile,
            cpu_flags: Vec::new(),
            artifact_len: 0,
            digest: [0; 32],
            roles: Vec::new(),
            imports: Vec::new(),
            memory_initial: 0,
            memory_max: None,
            board: None,
            bodies: None,
            engine: None,
        }
    }

    /// The manifest as it stands in a file.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, ArtifactError> {
        self.check()?;
        let failed = |error| ArtifactError::Manifest(format!("cannot be encoded: {error}"));
        let mut bytes = postcard::to_allocvec(self).map_err(failed)?;
        let notes = [self.bodies.map(Note::Bodies), self.engine.map(Note::Engine)];
        for note in notes.iter().flatten() {
            bytes.extend_from_slice(&postcard::to_allocvec(note).map_err(failed)?);
        }
        if bytes.len() > MAX_MANIFEST {
            return Err(ArtifactError::Manifest(format!(
                "takes {} bytes and the limit is {MAX_MANIFEST}: the plugin has too many imports",
                bytes.len()
            )));
        }
        Ok(bytes)
    }

    /// Reads a manifest that fills all of `bytes`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Manifest, ArtifactError> {
        let unreadable = |error| ArtifactError::Manifest(format!("cannot be decoded: {error}"));
        let (format, _) = postcard::take_from_bytes::<u16>(bytes).map_err(unreadable)?;
        if format != MANIFEST_FORMAT {
            return Err(ArtifactError::UnknownFormat {
                found: format,
                known: MANIFEST_FORMAT,
            });
        }
        let (mut manifest, mut rest) =
            postcard::take_from_bytes::<Manifest>(bytes).map_err(unreadable)?;
        while !rest.is_empty() {
            let (note, behind) = postcard::take_from_bytes::<Note>(rest).map_err(unreadable)?;
            let (is_second, what) = match note {
                Note::Bodies(bodies) => (
                    manifest.bodies.replace(bodies).is_some(),
                    "which bodies the plugin takes",
                ),
                Note::Engine(bytes) => (
                    manifest.engine.replace(bytes).is_some(),
                    "what the engine takes for the plugin",
                ),
            };
            if is_second {
                return Err(ArtifactError::Manifest(format!("says twice {what}")));
            }
            rest = behind;
        }
        manifest.check()?;
        Ok(manifest)
    }

    /// Both sides check alike, so that whoever builds an artifact is told what a device would say.
    fn check(&self) -> Result<(), ArtifactError> {
        // Text first: other messages repeat it.
        self.check_text()?;
        let Some(board) = &self.board else {
            return Ok(());
        };
        board.check(self.target).map_err(|error| {
            ArtifactError::Manifest(format!(
                "of plugin {} is for the board {}, whose {error}: mend its board.toml",
                self.name, board.name
            ))
        })
    }

    /// Manifests are shown on terminals and in logs, unverified ones too, so no text in
    /// them may steer a terminal or forge a line.
    fn check_text(&self) -> Result<(), ArtifactError> {
        let texts = [&self.name, &self.version, &self.engine_version]
            .into_iter()
            .chain(&self.cpu_flags)
            .chain(&self.imports)
            .chain(self.board.as_ref().map(|board| &board.name));
        for text in texts {
            if text.chars().any(char::is_control) {
                return Err(ArtifactError::Manifest(format!(
                    "holds a control character in {:?}",
                    text.chars().take(80).collect::<String>()
                )));
            }
        }
        Ok(())
    }
}

/// Something that a plugin can do for the host, shown by an interface that it exports.
/// One plugin may have several.
///
/// The order of the variants is part of the artifact format: new ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Answers requests, whole bodies at a time.
    Handler,
    /// Answers requests through `wasi:http`, streaming.
    HttpHandler,
    /// Changes headers and bodies of requests and responses.
    Transformer,
    /// Says who a client is.
    Authenticator,
    /// Says whether a client may go on.
    RateLimiter,
    /// Sees every request before the handler and every response after it.
    Middleware,
    /// Says where a request goes.
    Router,
    /// Says what may be cached and for how long.
    Cache,
    /// Speaks with a client over a WebSocket.
    #[serde(rename = "websocket")]
    WebSocket,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 9] = [
        Role::Handler,
        Role::HttpHandler,
        Role::Transformer,
        Role::Authenticator,
        Role::RateLimiter,
        Role::Middleware,
        Role::Router,
        Role::Cache,
        Role::WebSocket,
    ];

    /// The name that is shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Role::Handler => "handler",
            Role::HttpHandler => "http-handler",
            Role::Transformer => "transformer",
            Role::Authenticator => "authenticator",
            Role::RateLimiter => "rate-limiter",
            Role::Middleware => "middleware",
            Role::Router => "router",
            Role::Cache => "cache",
            Role::WebSocket => "websocket",
        }
    }

    /// The exported interface that gives the role, without its version.
    pub fn interface(self) -> &'static str {
        match self {
            Role::Handler => "zlayer:plugin/handler",
            Role::HttpHandler => "wasi:http/incoming-handler",
            Role::Transformer => "zlayer:plugin/transformer",
            Role::Authenticator => "zlayer:plugin/authenticator",
            Role::RateLimiter => "zlayer:plugin/rate-limiter",
            Role::Middleware => "zlayer:plugin/middleware",
            Role::Router => "zlayer:plugin/router",
            Role::Cache => "zlayer:plugin/caching",
            Role::WebSocket => "zlayer:plugin/websocket",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Role::ALL.into_iter().find(|role| role.name() == name);
        known.ok_or_else(|| {
            format!(
                "there is no role '{}'; there are {}",
                name.escape_debug(),
                Role::ALL.map(Role::name).join(", ")
            )
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            roles: Role::ALL.to_vec(),
            imports: vec!["wasi:io/error@0.2.6".to_owned()],
            memory_max: Some(1 << 30),
            board: Some(BoardSettings {
                name: "pi".to_owned(),
                threads: Some(4),
                memory_max: Some(256 << 20),
            }),
            ..Manifest::new("hello", "1.2.3", Target::Aarch64, Profile::Compact)
        }
    }

    #[test]
    fn encoding_goes_both_ways() {
        assert_eq!(
            Manifest::decode(&manifest().encode().unwrap()).unwrap(),
            manifest()
        );
    }

    #[test]
    fn what_is_said_of_bodies_stands_behind_a_manifest_that_is_as_before() {
        let plain = manifest().encode().unwrap();
        for name in ["both", "request", "response", "none"] {
            let said = Manifest {
                bodies: Some(name.parse().unwrap()),
                ..manifest()
            };
            let bytes = said.encode().unwrap();
            assert!(bytes.starts_with(&plain) && bytes.len() > plain.len());
            assert_eq!(Manifest::decode(&bytes).unwrap(), said);
            let twice = [&bytes[..], &bytes[plain.len()..]].concat();
            assert!(Manifest::decode(&twice).is_err());
            assert!(Manifest::decode(&bytes[..bytes.len() - 1]).is_err());
        }
    }

    #[test]
    fn what_the_engine_takes_stands_behind_what_is_said_of_bodies() {
        let said = Manifest {
            bodies: Some("none".parse().unwrap()),
            engine: Some(EngineBytes {
                description: 3 << 20,
                instance: 1 << 20,
            }),
            ..manifest()
        };
        let bytes = said.encode().unwrap();
        assert_eq!(Manifest::decode(&bytes).unwrap(), said);
        let without = Manifest {
            engine: None,
            ..said.clone()
        };
        let note = &bytes[without.encode().unwrap().len()..];
        let twice = Manifest::decode(&[&bytes[..], note].concat()).unwrap_err();
        assert!(twice.to_string().contains("says twice"), "{twice}");
    }

    #[test]
    fn bytes_behind_the_manifest_are_refused() {
        let mut bytes = manifest().encode().unwrap();
        bytes.push(0);
        let error = Manifest::decode(&bytes).unwrap_err();
        assert!(matches!(error, ArtifactError::Manifest(_)), "{error}");
    }

    #[test]
    fn another_format_is_recognised() {
        for format in [0, MANIFEST_FORMAT - 1, MANIFEST_FORMAT + 1] {
            let bytes = Manifest {
                format,
                ..manifest()
            }
            .encode()
            .unwrap();
            let error = Manifest::decode(&bytes).unwrap_err();
            assert!(
                matches!(error, ArtifactError::UnknownFormat { found, .. } if found == format),
                "{error}"
            );
        }
    }

    /// What is said of a manifest that both sides refuse.
    fn refused(bad: &Manifest) -> String {
        let building = bad.encode().unwrap_err().to_string();
        let bytes = postcard::to_allocvec(bad).unwrap();
        let loading = Manifest::decode(&bytes).unwrap_err().to_string();
        assert_eq!(building, loading);
        loading
    }

    #[test]
    fn control_characters_are_refused_on_both_sides() {
        let bad = "a\x1b[2Jb".to_owned();
        let mut board = manifest().board.unwrap();
        board.name = bad.clone();
        for bad in [
            Manifest {
                name: bad,
                ..manifest()
            },
            Manifest {
                board: Some(board),
                ..manifest()
            },
        ] {
            let error = refused(&bad);
            assert!(
                error.contains("control character") && !error.contains('\x1b'),
                "{error}"
            );
        }
    }

    #[test]
    fn a_board_that_no_daemon_can_run_with_is_refused_on_both_sides() {
        let mut bad = manifest();
        bad.board.as_mut().unwrap().threads = Some(65);
        let error = refused(&bad);
        for part in ["plugin hello", "board pi", "`threads` is 65", "board.toml"] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }

    #[test]
    fn a_manifest_over_the_limit_is_not_written() {
        let bad = Manifest {
            imports: vec!["x".repeat(100); 700],
            ..manifest()
        };
        assert!(bad.encode().unwrap_err().to_string().contains("65536"));
    }

    #[test]
    fn json_names_of_roles_are_the_shown_ones() {
        for role in Role::ALL {
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
        }
    }
}
