//! Medians and percentiles.

/// The middle of `values`, or the mean of the two in the middle. `None` without any.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// The smallest and the largest of `values`. `None` without any.
pub(crate) fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((value.min(low), value.max(high)))
    })
}

/// How long requests took, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    /// Half of the requests took no longer.
    pub(crate) p50: f64,
    /// Nine of ten took no longer.
    pub(crate) p90: f64,
    /// 99 of 100 took no longer.
    pub(crate) p99: f64,
    /// The slowest one.
    pub(crate) max: f64,
}

impl Latency {
    /// From single requests, in nanoseconds. `None` without any.
    pub(crate) fn of(mut nanoseconds: Vec<u64>) -> Option<Latency> {
        nanoseconds.sort_unstable();
        let max = *nanoseconds.last()?;
        let at = |percent: usize| {
            // The smallest value that `percent` of all values do not exceed.
            let rank = (nanoseconds.len() * percent).div_ceil(100).max(1);
            milliseconds(nanoseconds[rank - 1])
        };
        Some(Latency {
            p50: at(50),
            p90: at(90),
            p99: at(99),
            max: milliseconds(max),
        })
    }
}

fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}
