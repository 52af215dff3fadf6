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
    /// The generation that nothing is wrong with but that it was started too often and did not last, if that is why.
    pub worn: Option<u64>,
}

/// Why another generation than the active one is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WentBack {
    /// The one that is not served. None: the file that says which one is active is damaged.
    pub from: Option<u64>,
    /// What is wrong with it.
    pub reason: String,
    /// Whether it stays the active one, and is tried again at the next start: the device lacks what it wants, which is
    /// no fault of its.
    pub is_for_now: bool,
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
        let back = self.good_but(&[active], &known);
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
            (None, None) if is_over => Choice {
                // What failed by its own fault would do so again.
                worn: against.is_none().then_some(active),
                ..Choice::nothing(without_rest(active, starts, against.as_deref()))
            },
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

    /// What is served after all where `failed`, the start of which was begun, could not even be loaded: the last good
    /// one, but none of `tried`. Reads only.
    pub fn choose_without(&self, failed: u64, reason: &str, tried: &[u64]) -> Choice {
        let others = [&[failed], tried].concat();
        match self.good_but(&others, &self.known()) {
            Some(back) => Choice::back(back, Some(failed), reason.to_owned()),
            None => Choice::nothing(without_good(failed, reason)),
        }
    }

    /// What is served until the device has what the active generation wants of it: the last good one, if that has
    /// not been given up, and is none of `tried`. Reads only.
    pub fn choose_meanwhile(&self, refused: u64, reason: &str, tried: &[u64]) -> Choice {
        let known = self.known();
        let mut good = known.good();
        let meanwhile = good.find(|one| {
            *one != refused
                && !tried.contains(one)
                && known.trial.starts(*one) < STARTS
                && self.whole(*one).is_ok()
        });
        let Some(number) = meanwhile else {
            return Choice::nothing(without_good(refused, reason));
        };
        Choice {
            number: Some(number),
            went_back: Some(WentBack {
                from: Some(refused),
                reason: reason.to_owned(),
                is_for_now: true,
            }),
            ..Choice::default()
        }
    }

    /// What is served where one that was to be gone back to cannot be served either, nor any other of `tried`: the next
    /// good one; or at last the one that was gone back from, as often as it may be started, since what works of it is
    /// more than nothing. None: there is nothing else. Reads only.
    pub fn choose_further(&self, back: &WentBack, tried: &[u64]) -> Option<Choice> {
        let known = self.known();
        // The starts of one that becomes the active one are counted anew.
        let is_counted_on = back.is_for_now || known.lost.is_some();
        let may = |one: u64| !is_counted_on || known.trial.starts(one) < STARTS;
        let mut good = known.good();
        let next = good.find(|one| {
            Some(*one) != back.from && !tried.contains(one) && may(*one) && self.whole(*one).is_ok()
        });
        if next.is_some() {
            return Some(Choice {
                number: next,
                went_back: Some(back.clone()),
                ..Choice::default()
            });
        }
        let from = back.from.filter(|from| !tried.contains(from))?;
        let (starts, failure) = (known.trial.starts(from), known.failed.reason(from));
        if starts < STARTS {
            let why = &back.reason;
            log::error!("generation {from} is tried all the same, for want of a good one: {why}");
            return Some(Choice {
                number: Some(from),
                ..Choice::default()
            });
        }
        Some(Choice {
            worn: failure.is_none().then_some(from),
            ..Choice::nothing(without_rest(from, starts, failure))
        })
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
            went_back: Some(WentBack {
                from,
                reason,
                is_for_now: false,
            }),
            ..Choice::default()
        }
    }
}

fn without_good(failed: u64, reason: &str) -> String {
    let mend = mend_for(reason);
    format!(
        "generation {failed} cannot be served, and there is no good one to go back to: {reason}{mend}"
    )
}

/// What mends it, where the reason does not say so itself.
fn mend_for(reason: &str) -> &'static str {
    const MEND: &str = "; install another bundle, or roll back";
    match reason.ends_with("or roll back") {
        true => "",
        false => MEND,
    }
}

fn without_rest(number: u64, starts: u32, failure: Option<&str>) -> String {
    let why = failure.map_or_else(String::new, |failure| format!(": {failure}"));
    let mend = mend_for(&why);
    format!("generation {number} was started {starts} times and did not last{why}{mend}")
}

fn not_confirmed(starts: u32) -> String {
    match starts {
        1 => "it was started once and not confirmed".to_owned(),
        _ => format!("it was started {starts} times and did not last"),
    }
}
