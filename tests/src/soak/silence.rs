//! How long a daemon did not feed its watchdog, the times apart in which it could not.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// `WatchdogSec=` of both units.
const WATCHDOG: Duration = Duration::from_secs(10);

/// The silence of one daemon.
#[derive(Debug)]
pub struct Silence {
    longest: Duration,
    /// It was started, or went on, so long ago: what was before does not count.
    since: Instant,
}

impl Default for Silence {
    fn default() -> Self {
        Self {
            longest: Duration::ZERO,
            since: Instant::now(),
        }
    }
}

impl Silence {
    /// What follows is a fault of the daemon's own process.
    pub fn excuse(&mut self) {
        self.since = Instant::now();
    }

    /// The last WATCHDOG=1 came at `last_beat`; `excused` while it cannot come.
    pub fn look(&mut self, last_beat: Option<Instant>, excused: bool) {
        if excused {
            self.since = Instant::now();
        }
        let from = last_beat.map_or(self.since, |beat| beat.max(self.since));
        self.longest = self.longest.max(from.elapsed());
    }
}

/// The silences of both.
#[derive(Debug, Default)]
pub struct Silences {
    /// The collector's.
    pub collector: Silence,
    /// The analyzer's.
    pub analyzer: Silence,
}

impl Silences {
    /// The longest of both, seconds.
    pub fn longest_s(&self) -> f64 {
        self.collector
            .longest
            .max(self.analyzer.longest)
            .as_secs_f64()
    }

    /// Neither was past what the units allow.
    ///
    /// # Errors
    /// With who was.
    pub fn check(&self) -> Result<()> {
        for (name, silence) in [("collector", &self.collector), ("analyzer", &self.analyzer)] {
            let longest = silence.longest;
            ensure!(longest <= WATCHDOG, "{name}: no WATCHDOG=1 for {longest:?}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn silence_counts_from_the_last_beat_unless_it_is_excused() {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(12)).unwrap();
        let mut silences = Silences::default();
        silences.analyzer.since = long_ago;
        silences.analyzer.look(Some(Instant::now()), false);
        assert!(silences.check().is_ok());
        silences.collector.since = long_ago;
        silences.collector.look(Some(long_ago), true);
        assert!(silences.check().is_ok(), "it was stopped");
        silences.analyzer.look(Some(long_ago), false);
        assert!(silences.longest_s() >= 12.0);
        let told = silences.check().unwrap_err().to_string();
        assert!(told.contains("analyzer"), "{told}");
    }
}
