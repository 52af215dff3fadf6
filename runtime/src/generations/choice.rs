//! What a daemon begins with.

use super::Generations;
use crate::error::Result;

/// What a daemon begins with.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The generation to serve.
    pub number: Option<u64>,
    /// Why it is not the active one, if it is not.
    pub went_back: Option<WentBack>,
    /// Why nothing is served, if nothing is.
    pub nothing: Option<String>,
}

/// Why another generation than the active one is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WentBack {
    /// The one that is not served.
    pub from: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl Generations {
    /// What the next start serves: the active generation; or, if that one may not be started once more, the last good
    /// one; or nothing. Reads only.
    ///
    /// # Errors
    ///
    /// The file that says which one is active is damaged or cannot be read.
    pub fn choose(&self) -> Result<Choice> {
        let known = self.known(self.history()?);
        let Some(active) = known.history.active() else {
            let why = "nothing is installed: `zlayer install APP.zlb` does that";
            return Ok(Choice::nothing(why.to_owned()));
        };
        let starts = known.trial.starts(active);
        let may = self.may_start(active, &known);
        let is_over = starts >= may;
        let back = self.good_but(active, &known);
        let mark = known.failed.reason(active);
        match back {
            Some(back) if is_over || mark.is_some() => {
                let reason = mark.map_or_else(|| not_confirmed(starts), str::to_owned);
                Ok(Choice::back(back, active, reason))
            }
            None if is_over => Ok(Choice::nothing(format!(
                "generation {active} was started {starts} times and did not last; install another bundle, or roll back"
            ))),
            _ => Ok(Choice {
                number: Some(active),
                ..Choice::default()
            }),
        }
    }

    /// What is served after all where `failed`, the start of which was begun, could not even be loaded. Reads only.
    ///
    /// # Errors
    ///
    /// As of [`Generations::choose`].
    pub fn choose_without(&self, failed: u64, reason: &str) -> Result<Choice> {
        let known = self.known(self.history()?);
        Ok(match self.good_but(failed, &known) {
            Some(back) => Choice::back(back, failed, reason.to_owned()),
            None => Choice::nothing(format!(
                "generation {failed} cannot be served, and there is no good one to go back to: {reason}; install \
                 another bundle, or roll back"
            )),
        })
    }
}

impl Choice {
    fn nothing(why: String) -> Choice {
        Choice {
            nothing: Some(why),
            ..Choice::default()
        }
    }

    fn back(number: u64, from: u64, reason: String) -> Choice {
        Choice {
            number: Some(number),
            went_back: Some(WentBack { from, reason }),
            nothing: None,
        }
    }
}

fn not_confirmed(starts: u32) -> String {
    match starts {
        1 => "it was started once and not confirmed".to_owned(),
        _ => format!("it was started {starts} times and did not last"),
    }
}
