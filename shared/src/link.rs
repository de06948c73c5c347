//! How both daemons reach Redis, and what they say when it refuses.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use redis::{ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError, ServerErrorKind};

use crate::config::{ConfigError, RedisConfig};

/// Checks what does not change while a daemon runs: the URL. A password file that is
/// missing may still come.
///
/// # Errors
/// A URL that is none, or one that holds a password.
pub fn check(config: &RedisConfig) -> Result<(), ConfigError> {
    match connection_info(config) {
        Err(ConfigError::Read { .. }) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Turns the configuration into what the client connects with; reads the password file.
///
/// # Errors
/// A URL that is none, or a password file that cannot be read.
pub fn connection_info(config: &RedisConfig) -> Result<ConnectionInfo, ConfigError> {
    let url_error = |mend: &str| ConfigError::Value {
        key: "redis.url",
        value: format!("{:?}", config.url),
        mend: mend.to_owned(),
    };
    let info = config
        .url
        .as_str()
        .into_connection_info()
        .map_err(|_| url_error("give unix:///path/to/socket or redis://host:port"))?;
    if info.redis_settings().password().is_some() {
        return Err(url_error(
            "leave the password out of the URL and name a redis.password_file",
        ));
    }
    let mut settings = info.redis_settings().clone().set_skip_set_lib_name();
    if !config.username.is_empty() {
        settings = settings.set_username(&config.username);
    }
    if !config.password_file.as_os_str().is_empty() {
        let path = &config.password_file;
        let text = fs::read_to_string(path).map_err(|cause| ConfigError::Read {
            path: path.clone(),
            cause,
        })?;
        settings = settings.set_password(text.lines().next().unwrap_or_default());
    }
    Ok(info.set_redis_settings(settings))
}

/// Of a pipeline or transaction that failed, the first command's own error: the words that
/// the client puts around it name commands, and differ from attempt to attempt.
pub fn first_refusal(error: &RedisError) -> RedisError {
    let first = error
        .clone()
        .into_server_errors()
        .and_then(|errors| errors.first().cloned());
    first.map_or_else(|| error.clone(), |(_, first)| RedisError::from(first))
}

/// One line for a failed Redis call of a daemon: what Redis said, the mend, and that it tries
/// again, as both daemons do for ever.
pub fn explain(error: &RedisError) -> String {
    let said = first_refusal(error);
    let mend = match said.kind() {
        ErrorKind::AuthenticationFailed => Some("check redis.username and redis.password_file"),
        ErrorKind::Io => Some("is Redis running, and is redis.url right?"),
        _ => match said.code() {
            Some("WRONGPASS") => Some("check redis.username and redis.password_file"),
            Some("NOAUTH") => Some("set redis.username and redis.password_file"),
            _ => mend(&said),
        },
    };
    match mend {
        Some(mend) => format!("redis: {said}; {mend}; trying again"),
        None => format!("redis: {said}; trying again"),
    }
}

/// The mend of what Redis refuses, whoever asked; None where there is no known one.
pub fn mend(error: &RedisError) -> Option<&'static str> {
    let error = &first_refusal(error);
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::NoPerm) => Some("load the ACL file that came with RAVN"),
        ErrorKind::Server(ServerErrorKind::BusyLoading) => Some("Redis is loading its data"),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            Some("this is a replica; speak to its primary")
        }
        _ => match error.code() {
            Some("OOM") => Some("raise maxmemory; the list is being trimmed"),
            Some("MISCONF") => Some("Redis cannot save to disk; free space or stop its saving"),
            _ => None,
        },
    }
}

/// Waits between attempts: doubles from 100 ms to 2 s, each with up to half of it as
/// jitter, so that many hosts do not return in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    next_ms: u64,
}

impl Backoff {
    const FIRST_MS: u64 = 100;
    const MOST_MS: u64 = 2000;

    /// Starts at the shortest wait.
    pub const fn new() -> Self {
        Self {
            next_ms: Self::FIRST_MS,
        }
    }

    /// The wait before the next attempt, 100 ms to 2 s.
    pub fn wait(&mut self) -> Duration {
        let most = self.next_ms;
        self.next_ms = (most * 2).min(Self::MOST_MS);
        Duration::from_millis((most - jitter(most / 2)).max(Self::FIRST_MS))
    }

    /// Call after a success.
    pub const fn reset(&mut self) {
        self.next_ms = Self::FIRST_MS;
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

/// A number in `0..=most`.
fn jitter(most: u64) -> u64 {
    random_id() % (most + 1)
}

/// A random number for a run or a load, from the hasher's random keys and the clock.
pub fn random_id() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(crate::clock::boottime_ns());
    hasher.write_u32(std::process::id());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_two_seconds_and_never_beyond() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..12).map(|_| backoff.wait().as_millis()).collect();
        assert!(
            waits.iter().all(|wait| (100..=2000).contains(wait)),
            "{waits:?}"
        );
        assert!(waits[11] >= 1000, "{waits:?}");
        backoff.reset();
        assert_eq!(backoff.wait().as_millis(), 100);
    }

    #[test]
    fn a_password_in_the_url_is_refused() {
        let config = RedisConfig {
            url: "redis://u:secret@localhost:1".to_owned(),
            ..RedisConfig::default()
        };
        let error = connection_info(&config)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains("password_file"), "{error}");
    }
}
