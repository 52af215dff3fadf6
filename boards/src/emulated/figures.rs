//! What a machine's kernel knows of a process and of its memory, as `init.sh` prints it.

use anyhow::{Context, Result};

/// A process and its machine at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Nanoseconds on a processor, of all threads that are there: instructions, where they are counted.
    pub(crate) processor: u64,
    /// Bytes in memory.
    pub(crate) resident: u64,
    /// Those among them that are no copy of a file.
    pub(crate) anonymous: u64,
    /// The most that was resident until now.
    pub(crate) peak: u64,
    /// Bytes that the machine could still give to programs.
    pub(crate) available: u64,
}

impl Figures {
    /// Reads what `figures` prints: a line `schedstat` for each thread, `status` of the process, `meminfo`,
    /// and what each of its mappings has in memory.
    pub(super) fn of(text: &str) -> Result<Figures> {
        let named = |found: Option<u64>, field: &str| {
            found.with_context(|| format!("the machine told no {field} of the program:\n{text}"))
        };
        let one = |field: &str| named(kibibytes(text, field).next(), field);
        // Of the mappings one by one. `status` may be 256 KiB behind for each thread, since the kernel
        // counts in steps; `smaps_rollup` loses mappings where the program changes them meanwhile.
        let sum = |field: &str| {
            let found = kibibytes(text, field).reduce(|sum, next| sum.saturating_add(next));
            named(found, field)
        };
        let resident = sum("Rss:")?;
        Ok(Figures {
            processor: processor(text).context("the machine told no time on a processor")?,
            resident,
            anonymous: sum("Anonymous:")?,
            // This is found in `status` alone, so it is at least what is there now.
            peak: one("VmHWM:")?.max(resident),
            available: one("MemAvailable:")?,
        })
    }
}

/// Bytes that a machine could give to programs, in what `cat /proc/meminfo` prints.
pub(super) fn available(text: &str) -> Result<u64> {
    let found = kibibytes(text, "MemAvailable:").next();
    found.context("the machine told no available memory")
}

/// Bytes in lines `FIELD NUMBER kB` of the kernel's.
fn kibibytes(text: &str, field: &str) -> impl Iterator<Item = u64> {
    text.lines().filter_map(move |line| {
        let number = line.strip_prefix(field)?.trim().strip_suffix("kB")?;
        let number: u64 = number.trim().parse().ok()?;
        number.checked_mul(1024)
    })
}

/// The first numbers of the threads' `schedstat` (proc(5)), summed.
fn processor(text: &str) -> Option<u64> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("schedstat "));
    let times = lines.map(|line| line.split(' ').next()?.parse::<u64>().ok());
    let times: Vec<u64> = times.collect::<Option<_>>()?;
    (!times.is_empty()).then(|| times.iter().sum())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test should panic")]
mod tests {
    use super::*;

    const TEXT: &str = "Name:\tzlayer\n\
        Rss:                2600 kB\n\
        Anonymous:             0 kB\n\
        Rss:                   4 kB\n\
        Anonymous:           212 kB\n\
        VmHWM:\t    2700 kB\n\
        VmRSS:\t    2404 kB\n\
        RssAnon:\t     128 kB\n\
        MemTotal:          35620 kB\n\
        MemAvailable:      18204 kB\n\
        schedstat 11225600 17169184 5\n\
        schedstat 671984 439936 2\n";

    #[test]
    fn figures_are_found_among_the_kernels_lines() {
        let expected = Figures {
            processor: 11_897_584,
            resident: 2604 << 10,
            anonymous: 212 << 10,
            peak: 2700 << 10,
            available: 18_204 << 10,
        };
        assert_eq!(Figures::of(TEXT).unwrap(), expected);
        assert_eq!(available(TEXT).unwrap(), 18_204 << 10);
    }

    #[test]
    fn a_peak_is_never_less_than_what_is_there() {
        let text = TEXT.replace("2700 kB", "2500 kB");
        assert_eq!(Figures::of(&text).unwrap().peak, 2604 << 10);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Figures::of(&TEXT.replace("VmHWM", "VmX")).unwrap_err();
        assert!(error.to_string().contains("VmHWM"), "{error}");
        // A thread that ended between the list and the look has no line of numbers.
        let error = Figures::of(&TEXT.replace("671984", "")).unwrap_err();
        assert!(error.to_string().contains("processor"), "{error}");
        assert!(available("MemAvailable: many\n").is_err());
    }
}
