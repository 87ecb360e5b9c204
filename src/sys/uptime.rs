//! A clock that nobody sets and that outlives the process: the kernel's time since it booted.

use std::{fs, sync::LazyLock, time::Duration};

use serde::{Deserialize, Serialize};

/// Names this boot of the machine; `None` where the kernel does not tell.
static BOOT: LazyLock<Option<String>> = LazyLock::new(|| {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
});

/// A moment of one boot. It may be stored.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Moment {
    boot: String,
    uptime: Duration,
}

impl Moment {
    /// Now; `None` where the kernel does not tell.
    pub fn now() -> Option<Self> {
        Some(Self {
            boot: BOOT.clone()?,
            uptime: uptime(&fs::read_to_string("/proc/uptime").ok()?)?,
        })
    }

    /// How long it took from the earlier moment until this one; `None` if they are not of one boot.
    pub fn since(&self, earlier: &Self) -> Option<Duration> {
        let same = self.boot == earlier.boot;
        same.then(|| self.uptime.saturating_sub(earlier.uptime))
    }
}

/// The first number of `/proc/uptime`, in hundredths of a second.
fn uptime(text: &str) -> Option<Duration> {
    let (seconds, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    let seconds = Duration::from_secs(seconds.parse().ok()?);
    Some(
        seconds
            + Duration::from_millis(hundredths.parse::<u64>().ok().filter(|it| *it < 100)? * 10),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_text_is_read() {
        assert_eq!(uptime("3661.07 7000.11\n"), Some(Duration::from_millis(3_661_070)));
        for text in ["", "x.07 1", "3661 1", "3661.7000 1"] {
            assert_eq!(uptime(text), None, "{text}");
        }
    }

    #[test]
    fn moments_of_two_boots_have_nothing_between_them() {
        let earlier = Moment { boot: "a".to_owned(), uptime: Duration::from_secs(5) };
        let later = Moment { uptime: Duration::from_secs(8), ..earlier.clone() };
        assert_eq!(later.since(&earlier), Some(Duration::from_secs(3)));
        assert_eq!(earlier.since(&later), Some(Duration::ZERO));
        assert_eq!(Moment { boot: "b".to_owned(), ..later }.since(&earlier), None);
        let now = Moment::now().expect("Linux tells");
        assert!(Moment::now().and_then(|later| later.since(&now)).is_some());
    }
}
