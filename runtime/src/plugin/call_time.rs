//! How long one call of a plugin may take.

use std::pin::Pin;
use std::time::Duration;

use super::Plugin;
use crate::failure::Failure;
use crate::timeout;

impl Plugin {
    /// How long its calls may take; `None` if nothing is said of that.
    pub fn call_time(&self) -> Option<Duration> {
        self.pooling.request_timeout
    }

    /// Waits for a call that works on the request with this id: as long as calls of this plugin may take,
    /// and no longer than `most`, if that is said. Whoever calls this holds the work, which is large.
    ///
    /// # Errors
    ///
    /// The failure of `calling`, or that it has not ended in time.
    pub async fn in_time<T>(
        &self,
        request: &str,
        most: Option<Duration>,
        mut calling: Pin<&mut impl Future<Output = Result<T, Failure>>>,
    ) -> Result<T, Failure> {
        let Some((time, is_own)) = shorter(self.call_time(), most) else {
            return calling.await;
        };
        let ended = timeout::within(time, calling.as_mut()).await;
        // Looked at before the work is dropped, which ends its own requests.
        ended.unwrap_or_else(|| {
            Err(match is_own {
                true => self.host.late_call(request, time),
                false => self.host.late(request),
            })
        })
    }
}

/// The shorter of two times, and whether it is the first.
fn shorter(own: Option<Duration>, most: Option<Duration>) -> Option<(Duration, bool)> {
    match (own, most) {
        (Some(own), Some(most)) if own >= most => Some((most, false)),
        (Some(own), _) => Some((own, true)),
        (None, most) => most.map(|most| (most, false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_call_shrinks_what_is_left_and_never_extends_it() {
        let seconds = |count| Some(Duration::from_secs(count));
        let shorter = |own, most| {
            let found = shorter(own, most);
            found.map(|(time, is_own)| (time.as_secs(), is_own))
        };
        assert_eq!(shorter(None, None), None);
        assert_eq!(shorter(None, seconds(4)), Some((4, false)));
        assert_eq!(shorter(seconds(3), None), Some((3, true)));
        assert_eq!(shorter(seconds(3), seconds(4)), Some((3, true)));
        assert_eq!(shorter(seconds(5), seconds(4)), Some((4, false)));
    }
}
