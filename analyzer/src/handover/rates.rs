//! Rates and shares, over the last ten seconds and the last minute.

use std::collections::VecDeque;

/// Seconds that a rate is taken over.
const RATE_SECONDS: usize = 10;
/// Seconds that the share of scored tokens is taken over.
const SHARE_SECONDS: usize = 60;

/// Counts what was done.
#[derive(Debug, Default)]
pub struct Rates {
    /// Records judged.
    pub records: u64,
    /// Syscalls judged.
    pub syscalls: u64,
    /// The queue was found empty after the newest record.
    pub idle: bool,
    /// Time of the newest record, CLOCK_BOOTTIME nanoseconds.
    pub newest_ns: u64,
    tokens: (u64, u64),
    past: VecDeque<(u64, u64, (u64, u64))>,
}

impl Rates {
    /// Tokens seen and scored so far, as the sequence thread counts them.
    pub fn tokens(&mut self, seen: u64, scored: u64) {
        self.tokens = (seen, scored);
    }

    /// So many more were seen that nobody scores.
    pub fn unscored(&mut self, count: u64) {
        self.tokens.0 += count;
    }

    /// A second has passed.
    pub fn tick(&mut self) {
        self.past
            .push_back((self.records, self.syscalls, self.tokens));
        if self.past.len() > SHARE_SECONDS + 1 {
            self.past.pop_front();
        }
    }

    /// Records a second.
    pub fn records_per_s(&self) -> f64 {
        self.per_s(self.records, |past| past.0)
    }

    /// Syscalls a second.
    pub fn syscalls_per_s(&self) -> f64 {
        self.per_s(self.syscalls, |past| past.1)
    }

    fn per_s(&self, now: u64, of: impl Fn(&(u64, u64, (u64, u64))) -> u64) -> f64 {
        let seconds = self.past.len().min(RATE_SECONDS);
        match self.past.get(self.past.len() - seconds) {
            Some(past) => (now.saturating_sub(of(past))) as f64 / seconds.max(1) as f64,
            None => 0.0,
        }
    }

    /// Share of the tokens of the last minute that the model scored; 1 when there were none.
    pub fn scored_share(&self) -> f64 {
        let before = self.past.front().map_or((0, 0), |past| past.2);
        let seen = self.tokens.0.saturating_sub(before.0);
        let scored = self.tokens.1.saturating_sub(before.1);
        if seen == 0 {
            1.0
        } else {
            (scored as f64 / seen as f64).min(1.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Rates;

    #[test]
    fn rates_are_of_the_last_ten_seconds_and_shares_of_the_last_minute() {
        let mut rates = Rates::default();
        assert!(rates.records_per_s().abs() < 1e-9);
        for second in 0..20 {
            rates.records += if second < 10 { 1000 } else { 50 };
            rates.tokens(second * 10, second * 5);
            rates.tick();
        }
        rates.records += 50;
        assert!(
            (rates.records_per_s() - 50.0).abs() < 1e-9,
            "{}",
            rates.records_per_s()
        );
        assert!((rates.scored_share() - 0.5).abs() < 1e-9);
    }
}
