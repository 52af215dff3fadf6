//! Questions that the admin interface puts to plugins, without a client's request.

use std::sync::Arc;

use super::passage::Passage;
use super::stage::Step;
use super::{Pipeline, RateLimit, authenticate, rate_limit};
use crate::failure::Failure;
use crate::host::common::{Error as Refused, KeyValue};

impl Pipeline {
    /// Asks the authenticators about a bare token. Returns the claims of the first that accepts it,
    /// or else the error of the last one; `None` if there is no authenticator.
    ///
    /// # Errors
    ///
    /// An authenticator failed.
    pub async fn validate_token(
        &self,
        id: &Arc<str>,
        token: &str,
    ) -> Result<Option<Result<Vec<KeyValue>, Refused>>, Failure> {
        let passage = Passage::new(self.time);
        let _working = self.plugins.first().map(|plugin| plugin.working());
        let mut last = None;
        for (_, stage) in self.at(Step::Authenticate) {
            let running = authenticate::validate(stage, id, token);
            match stage.guard(id, &passage, running).await? {
                Some(Ok(claims)) => return Ok(Some(Ok(claims))),
                Some(refused) => last = Some(refused),
                None => {}
            }
        }
        Ok(last)
    }

    /// Asks each rate limiter how the client with this key stands. Returns each limiter's name, and
    /// what it said.
    ///
    /// # Errors
    ///
    /// A limiter failed.
    pub async fn rate_limits(
        &self,
        id: &Arc<str>,
        key: &str,
    ) -> Result<Vec<(&str, RateLimit)>, Failure> {
        let passage = Passage::new(self.time);
        let _working = self.plugins.first().map(|plugin| plugin.working());
        let mut told = Vec::new();
        for (_, stage) in self.at(Step::RateLimit) {
            let running = rate_limit::standing(stage, id, key);
            if let Some(Some(limit)) = stage.guard(id, &passage, running).await? {
                told.push((stage.plugin.name(), limit));
            }
        }
        Ok(told)
    }
}
