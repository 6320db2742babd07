//! The wall clock, read in one place, and how the data plane's instants become wall-clock time.

use std::time::Duration;

use dataplane::time::Instant;
use time::{OffsetDateTime, UtcOffset};

/// Asia/Tokyo, which has had no daylight saving time since 1951.
pub const JAPAN: UtcOffset = time::macros::offset!(+9);

/// Now, in Japan.
#[must_use]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc().to_offset(JAPAN)
}

/// One moment on both clocks: the wall's and the workers'.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The moment on the wall clock.
    pub wall: OffsetDateTime,
    /// The same moment as the workers count it.
    pub worker: Instant,
}

impl Clocks {
    /// What the wall clock showed at `instant`.
    #[must_use]
    pub fn wall_at(self, instant: Instant) -> OffsetDateTime {
        let ago = self.worker.since(instant);
        let ahead = instant.since(self.worker);
        self.wall - whole_millis(ago) + whole_millis(ahead)
    }

    /// What the wall clock showed at a gauge of nanoseconds, where 0 stands for never.
    #[must_use]
    pub fn wall_at_nanos(self, nanos: u64) -> Option<OffsetDateTime> {
        (nanos > 0).then(|| self.wall_at(Instant::from_nanos(nanos)))
    }
}

/// Finer than a millisecond is noise of the two clocks' reading.
fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2))
}

/// `moment` as Unix time in seconds, with its fraction.
#[must_use]
pub fn unix_seconds(moment: OffsetDateTime) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 fit an f64 until 2255")]
    let micros = (moment.unix_timestamp_nanos() / 1_000) as f64;
    micros / 1e6
}

/// Microseconds of the monotonic clock, as systemd reads it.
#[must_use]
pub fn monotonic_micros() -> u64 {
    let moment = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let micros = i128::from(moment.tv_sec) * 1_000_000 + i128::from(moment.tv_nsec) / 1_000;
    u64::try_from(micros).unwrap_or(0)
}

/// A duration for people, in its two largest units: `42 s`, `3 m 12 s`, `5 h 2 m`, `12 d 3 h`.
#[must_use]
pub fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} m {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} m", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_before_and_after_the_common_moment_become_wall_time() {
        let wall = time::macros::datetime!(2026-12-01 09:00:00 +9);
        let clocks = Clocks { wall, worker: Instant::from_secs(100) };
        assert_eq!(clocks.wall_at(Instant::from_secs(40)), wall - Duration::from_secs(60));
        assert_eq!(clocks.wall_at(Instant::from_secs(130)), wall + Duration::from_secs(30));
        assert_eq!(clocks.wall_at_nanos(0), None, "zero stands for never");
    }

    #[test]
    fn ages_name_their_two_largest_units() {
        let words = |seconds| in_words(Duration::from_secs(seconds));
        assert_eq!([words(0), words(42), words(192)], ["0 s", "42 s", "3 m 12 s"]);
        assert_eq!([words(18_120), words(86_400 * 12 + 3_600 * 3)], ["5 h 2 m", "12 d 3 h"]);
    }
}
