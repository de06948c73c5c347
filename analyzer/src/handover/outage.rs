//! An outage of Redis is said once per cause, in the log and in STATUS=.

use std::time::Instant;

use ravn_shared::config::RedisConfig;
use ravn_shared::link::{self, Backoff};
use ravn_shared::service::Service;
use redis::RedisError;

/// What was said of the present outage.
#[derive(Debug, Default)]
pub struct Outage {
    said: Option<(String, Instant)>,
    /// Waits between attempts.
    pub backoff: Backoff,
}

impl Outage {
    /// Redis failed, or is not fit for use.
    pub fn failed(&mut self, error: &RedisError, config: &RedisConfig, service: &mut Service) {
        self.say(link::explain(error, config), service);
    }

    /// Says `line` unless it was the last that was said.
    pub fn say(&mut self, line: String, service: &mut Service) {
        if self.said.as_ref().is_none_or(|(said, _)| *said != line) {
            tracing::error!("{line}");
            let since = self
                .said
                .as_ref()
                .map_or_else(Instant::now, |(_, since)| *since);
            service.status(&line);
            self.said = Some((line, since));
        }
    }

    /// Redis works.
    pub fn over(&mut self) {
        self.backoff.reset();
        if let Some((_, since)) = self.said.take() {
            tracing::info!(
                "redis: works again after {:.1} s",
                since.elapsed().as_secs_f64()
            );
        }
    }
}
