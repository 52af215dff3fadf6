//! What a daemon serves first: what it was started for, or what it goes back to where that cannot be loaded.

use std::sync::Arc;

use super::counted::Counted;
use super::loader::Loader;
use super::plugins::{self, Member};
use super::start::{FromGeneration, Wanted, instead};
use super::versions::Versions;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::error::{Error, Result};
use crate::generations::Generations;
use crate::pipeline::Pipeline;
use crate::redact;

/// What a daemon serves first.
pub(super) struct First {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) config: Config,
    pub(super) versions: Versions,
    /// None where it serves what its command line names.
    pub(super) installed: Option<FromGeneration>,
    /// Its start, where it is what was installed.
    pub(super) counted: Option<Counted>,
}

impl First {
    /// Loads the plugins that were gathered for `config`, which is what is begun with. Where they cannot be
    /// gathered or loaded, and come from a generation that may be gone back from, the good one before it is
    /// loaded instead.
    ///
    /// # Errors
    ///
    /// They cannot be loaded, and there is nothing else.
    pub(super) fn load(
        loader: &Loader,
        data: &DataDir,
        loaded: Result<Arc<Pipeline>>,
        mut config: Config,
        mut versions: Versions,
        (mut installed, mut counted): (Option<FromGeneration>, Option<Counted>),
    ) -> Result<First> {
        let mut loaded = loaded;
        loop {
            let error = match loaded {
                Ok(pipeline) => {
                    return Ok(First {
                        pipeline,
                        config,
                        versions,
                        installed,
                        counted,
                    });
                }
                Err(error) => error,
            };
            let Some(from) = &mut installed else {
                return Err(error);
            };
            let generations = Generations::of(data.path());
            let is_its_own = error.is_its_own();
            let is_written = match counted.take() {
                Some(counted) if is_its_own => counted.stand(),
                // It is taken back.
                _ => false,
            };
            // The daemon holds the lock.
            let choice = from.choice.clone();
            from.choice =
                instead(
                    &generations,
                    choice,
                    error,
                    &mut from.tried,
                    |_, note| match is_written {
                        true => note(),
                        false => Err(Error::Refused("its start is not written down".to_owned())),
                    },
                )?;
            let next = (from.configure)(Wanted::of(&from.choice));
            // What the device refuses comes to no start.
            let is_refused = next.as_ref().is_err_and(|error| !error.is_its_own());
            counted = (!is_refused).then(|| Counted::begin(&generations, &from.choice));
            loaded = match next {
                Ok(next) => {
                    config = next;
                    redact::install(super::deployer::secrets(&config));
                    versions = Versions::open(data)?;
                    let members: Result<Vec<Member<'_>>> =
                        plugins::gather(&config, data, &mut versions);
                    members.and_then(|members| loader.load(members, &config, None, None))
                }
                Err(error) => Err(error),
            };
        }
    }
}
