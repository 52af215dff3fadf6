//! What a daemon begins with.

use super::Generations;
use super::known::{Known, STARTS};

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
    /// The one that is not served. None: the file that says which one is active is damaged.
    pub from: Option<u64>,
    /// What is wrong with it.
    pub reason: String,
}

impl Generations {
    /// What the next start serves: the active generation; or, if nobody knows which one that is, if a file of its is
    /// missing or damaged, or if it may not be started once more, the last good one; or nothing. Reads only, and has
    /// an answer whatever it reads: a device that says what is wrong with it can be mended from afar.
    pub fn choose(&self) -> Choice {
        let known = self.known();
        if let Some(damage) = &known.lost {
            return self.choose_blindly(&known, damage);
        }
        let Some(active) = known.active() else {
            let why = "nothing is installed: `zlayer install APP.zlb` does that";
            return Choice::nothing(why.to_owned());
        };
        let starts = known.trial.starts(active);
        let may = self.may_start(active, &known);
        let is_over = starts >= may;
        let back = self.good_but(active, &known);
        let mark = known.failed.reason(active).map(str::to_owned);
        // No start mends that.
        let damage = self.whole(active).err().map(|error| error.to_string());
        let against = mark.or_else(|| damage.clone());
        match (back, damage) {
            (Some(back), _) if is_over || against.is_some() => {
                let reason = against.unwrap_or_else(|| not_confirmed(starts));
                Choice::back(back, Some(active), reason)
            }
            (None, Some(damage)) => Choice::nothing(without_good(active, &damage)),
            (None, None) if is_over => Choice::nothing(format!(
                "generation {active} was started {starts} times and did not last; install another bundle, or roll back"
            )),
            _ => Choice {
                number: Some(active),
                ..Choice::default()
            },
        }
    }

    /// What is served where nobody knows which generation is active: the last good one that has not been given up.
    /// Never one that did not prove itself: it may be the one that was about to be gone back from.
    fn choose_blindly(&self, known: &Known, damage: &str) -> Choice {
        let mut good = known.good();
        let good = good.find(|one| known.trial.starts(*one) < STARTS && self.whole(*one).is_ok());
        match good {
            Some(good) => Choice::back(good, None, damage.to_owned()),
            None => Choice::nothing(format!(
                "{damage}; and no generation that is whole has proved itself"
            )),
        }
    }

    /// What is served after all where `failed`, the start of which was begun, could not even be loaded. Reads only.
    pub fn choose_without(&self, failed: u64, reason: &str) -> Choice {
        match self.good_but(failed, &self.known()) {
            Some(back) => Choice::back(back, Some(failed), reason.to_owned()),
            None => Choice::nothing(without_good(failed, reason)),
        }
    }
}

impl Choice {
    /// Nothing is served, for this reason.
    pub(crate) fn nothing(why: String) -> Choice {
        Choice {
            nothing: Some(why),
            ..Choice::default()
        }
    }

    fn back(number: u64, from: Option<u64>, reason: String) -> Choice {
        Choice {
            number: Some(number),
            went_back: Some(WentBack { from, reason }),
            nothing: None,
        }
    }
}

fn without_good(failed: u64, reason: &str) -> String {
    format!(
        "generation {failed} cannot be served, and there is no good one to go back to: {reason}; install another \
         bundle, or roll back"
    )
}

fn not_confirmed(starts: u32) -> String {
    match starts {
        1 => "it was started once and not confirmed".to_owned(),
        _ => format!("it was started {starts} times and did not last"),
    }
}
