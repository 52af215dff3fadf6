//! All steps together: from a file's bytes to a signed artifact.

use anyhow::Result;
use zlayer_board::Board;
use zlayer_bundle::{
    BoardSettings, Bodies, EngineBytes, Manifest, Profile, SecretKey, Target, seal,
};

use crate::{
    Checked, CodeCache, Explainer, Input, Problem, Refused, check_component, check_limits,
    check_memory, compile_component, strip_component, wrap_module,
};

/// A plugin that has passed every check and can be compiled for any target.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// Its name, in file names and in the manifest.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// What it is.
    pub checked: Checked,
    /// What the engine takes of a device's memory for it, where that is much.
    engine: Option<EngineBytes>,
    /// The component, with everything that a device would read and nothing else.
    component: Vec<u8>,
    /// The component with names and debugging information.
    dressed: Vec<u8>,
}

impl Plugin {
    /// Checks an input. `version` is what the caller calls this release of the plugin. Without
    /// it the component's own version counts, and without that `0.0.0`.
    ///
    /// # Errors
    ///
    /// [`Refused`] when a device would refuse the plugin.
    pub fn prepare(name: &str, version: Option<&str>, input: Input) -> Result<Plugin> {
        let component = match input {
            Input::Component(bytes) => bytes,
            Input::Module(bytes) => wrap_module(&bytes)?,
            Input::Compiled => {
                return Err(Refused::from(Problem::new(
                    name,
                    "it is compiled already",
                    "give the .wasm file that it was compiled from",
                ))
                .into());
            }
        };
        let checked = check_component(&component)?;
        let engine = check_limits(&component)?;
        let version = version
            .or(checked.version.as_deref())
            .unwrap_or("0.0.0")
            .to_owned();
        let texts = [
            (name, "rename the file"),
            (&version, "choose another --plugin-version"),
        ];
        for (text, mend) in texts {
            // A device would refuse the artifact.
            if text.chars().any(char::is_control) {
                let place = format!("{text:?}");
                let what = "it holds a control character, which would steer terminals and logs";
                return Err(Refused::from(Problem::new(place, what, mend)).into());
            }
        }
        let dressed = component;
        let component = strip_component(&dressed)?;
        Ok(Plugin {
            name: name.to_owned(),
            version,
            checked,
            engine,
            component,
            dressed,
        })
    }

    /// Checks that devices with these settings have room for the plugin.
    ///
    /// # Errors
    ///
    /// [`Refused`] when it does not fit the profile.
    pub fn check_room(&self, settings: &Settings) -> Result<(), Refused> {
        check_memory(&self.checked, settings.target, settings.profile)
    }

    /// Compiles the plugin, describes it and signs that. Without a key the artifact is
    /// unsigned. The same plugin, settings and key always give the same bytes.
    ///
    /// # Errors
    ///
    /// [`Refused`] when the plugin does not fit the profile or the compiler refuses it, and
    /// other errors when the settings do not fit together.
    pub fn build(&self, settings: &Settings, key: Option<&SecretKey>) -> Result<Artifact> {
        self.build_with(settings, key, None)
    }

    /// As [`Plugin::build`], with the code that was compiled before, if it is in `cache`.
    ///
    /// # Errors
    ///
    /// As [`Plugin::build`] has them.
    pub fn build_with(
        &self,
        settings: &Settings,
        key: Option<&SecretKey>,
        cache: Option<&CodeCache>,
    ) -> Result<Artifact> {
        let Settings {
            target,
            profile,
            cpu_flags,
            board,
            bodies,
        } = settings;
        self.check_room(settings)?;
        let compile = || compile_component(&self.component, *target, *profile, cpu_flags);
        let code = match cache {
            Some(cache) => cache.code(&self.component, settings, compile)?,
            None => compile()?,
        };
        let manifest = Manifest {
            cpu_flags: cpu_flags.clone(),
            roles: self.checked.roles.clone(),
            imports: self.checked.imports.clone(),
            memory_initial: self.checked.memory_initial,
            memory_max: self.checked.memory_max,
            board: board.clone(),
            bodies: *bodies,
            engine: self.engine,
            ..Manifest::new(&self.name, &self.version, *target, *profile)
        };
        let bytes = seal(code, manifest, key)?;
        Ok(Artifact {
            target: *target,
            profile: *profile,
            bytes,
        })
    }

    /// What says where places in the code come from that [`Plugin::build`] makes with these settings.
    ///
    /// # Errors
    ///
    /// As [`Plugin::build`] has them.
    pub fn explainer(self, settings: &Settings) -> Result<Explainer> {
        Explainer::new(self.dressed, self.component, settings)
    }

    /// What [`Plugin::build`] gives is written to this file.
    pub fn file_name(&self, target: Target) -> String {
        format!("{}.{target}.cwasm", self.name)
    }
}

/// What to compile for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The processor.
    pub target: Target,
    /// The engine settings of the device.
    pub profile: Profile,
    /// Processor features beyond the target's baseline.
    pub cpu_flags: Vec<String>,
    /// The board, and what its daemon runs with. It changes nothing of the code.
    pub board: Option<BoardSettings>,
    /// Which bodies its transformer takes, if the author says so. It changes nothing of the code.
    pub bodies: Option<Bodies>,
}

impl Settings {
    /// Settings for any device with this processor and these engine settings.
    pub fn new(target: Target, profile: Profile) -> Settings {
        Settings {
            target,
            profile,
            cpu_flags: Vec::new(),
            board: None,
            bodies: None,
        }
    }
}

impl From<Board> for Settings {
    fn from(board: Board) -> Settings {
        Settings {
            target: board.target,
            profile: board.profile,
            board: Some(board.settings()),
            cpu_flags: board.cpu_flags,
            bodies: None,
        }
    }
}

/// A compiled plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The processor that it is for.
    pub target: Target,
    /// The engine settings that it is for.
    pub profile: Profile,
    /// The whole file.
    pub bytes: Vec<u8>,
}
