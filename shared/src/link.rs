//! How both daemons reach Redis, and what they say when it refuses.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use redis::{
    ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError, ServerErrorKind,
};

use crate::config::{ConfigError, RedisConfig};
use crate::tls;

/// The URLs that there are, for messages.
pub const URLS: &str = "give unix:///path/to/socket, rediss://host:port (TLS) or redis://host:port";

/// Checks what does not change while a daemon runs: the URL, and which keys go together. A file
/// that is missing or half written may still come.
///
/// # Errors
/// A URL that is none, one that holds a password, or keys that do not fit it.
pub fn check(config: &RedisConfig) -> Result<(), ConfigError> {
    match connection_info(config) {
        Err(ConfigError::Read { .. } | ConfigError::File { .. }) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Turns the configuration into what the client connects with; reads the files that it names.
///
/// # Errors
/// A URL that is none, or a file that cannot be read or does not hold what it should.
pub fn connection_info(config: &RedisConfig) -> Result<ConnectionInfo, ConfigError> {
    tls::secured(login(config)?, config)
}

/// The same without certificates, which [`tls::client`] gives.
///
/// # Errors
/// A URL that is none, or a password file that cannot be read.
pub fn login(config: &RedisConfig) -> Result<ConnectionInfo, ConfigError> {
    let info = address(config)?;
    if info.redis_settings().password().is_some() {
        return Err(url_error(
            config,
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

/// The URL as the client knows it, with the keys of TLS that go with it.
///
/// # Errors
/// A URL that is none, or keys that do not fit it.
pub fn address(config: &RedisConfig) -> Result<ConnectionInfo, ConfigError> {
    let info = config
        .url
        .as_str()
        .into_connection_info()
        .map_err(|_| url_error(config, URLS))?;
    if let ConnectionAddr::TcpTls { insecure: true, .. } = info.addr() {
        let mend = "leave out #insecure, which believes any server, and name a redis.tls_ca";
        return Err(url_error(config, mend));
    }
    let files = [
        ("redis.tls_ca", &config.tls_ca),
        ("redis.tls_cert", &config.tls_cert),
        ("redis.tls_key", &config.tls_key),
    ];
    let given = files.map(|(_, path)| !path.as_os_str().is_empty());
    let unfit = |index: usize, mend: &str| ConfigError::Value {
        key: files[index].0,
        value: format!("{:?}", files[index].1),
        mend: mend.to_owned(),
    };
    if !tls::wanted(info.addr())
        && let Some(index) = given.iter().position(|given| *given)
    {
        let mend =
            "only a redis.url of rediss://host:port speaks TLS; write one, or leave this out";
        return Err(unfit(index, mend));
    }
    match given {
        [_, true, false] => Err(unfit(1, "give its private key too, as redis.tls_key")),
        [_, false, true] => Err(unfit(2, "give its certificate too, as redis.tls_cert")),
        _ => Ok(info),
    }
}

fn url_error(config: &RedisConfig, mend: &str) -> ConfigError {
    ConfigError::Value {
        key: "redis.url",
        value: format!("{:?}", config.url),
        mend: mend.to_owned(),
    }
}

/// What to warn of where password and events would pass in the clear: Redis is on another
/// machine, and its URL is not one of TLS.
pub fn in_the_clear(config: &RedisConfig) -> Option<String> {
    let info = address(config).ok()?;
    let ConnectionAddr::Tcp(host, _) = info.addr() else {
        return None;
    };
    let here = host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    (!here).then(|| {
        format!(
            "redis.url = {:?}: password and events pass in the clear to {host}; let Redis speak \
             TLS and write rediss://",
            config.url
        )
    })
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
pub fn explain(error: &RedisError, config: &RedisConfig) -> String {
    if let Some((cause, mend)) = silence(error, config).or_else(|| tls::words(error)) {
        return format!("redis: {cause}; {mend}; trying again");
    }
    let said = first_refusal(error);
    if let (ErrorKind::InvalidClientConfig, Some(detail)) = (said.kind(), said.detail()) {
        return format!("redis: {detail}; trying again");
    }
    let mend = match said.kind() {
        ErrorKind::AuthenticationFailed => Some("check redis.username and redis.password_file"),
        ErrorKind::Io => Some(unreached(error, config)),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => misunderstood(config),
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

/// The mend where who answers does not speak as Redis does.
fn misunderstood(config: &RedisConfig) -> Option<&'static str> {
    let info = address(config).ok()?;
    matches!(info.addr(), ConnectionAddr::Tcp(..))
        .then_some("a port that speaks TLS wants rediss:// in redis.url")
}

/// Cause and mend where TLS gets no answer that it knows. A server that expects something else
/// waits, hangs up or complains, as chance has it: these are one cause, or it would be said at
/// every attempt.
fn silence(error: &RedisError, config: &RedisConfig) -> Option<(String, &'static str)> {
    let dropped = error.is_connection_dropped() && !error.is_connection_refusal();
    let silent = error.is_timeout() || dropped || tls::is_unknown(error);
    let over_tls = address(config).is_ok_and(|info| tls::wanted(info.addr()));
    (silent && over_tls).then(|| {
        (
            "it does not answer, or not in TLS".to_owned(),
            "is Redis running, is the port in redis.url its tls-port, and does it want a \
             client's certificate (redis.tls_cert)?",
        )
    })
}

/// The mend where nobody answers.
fn unreached(error: &RedisError, config: &RedisConfig) -> &'static str {
    match address(config).as_ref().map(ConnectionInfo::addr) {
        Ok(ConnectionAddr::Tcp(..)) if !error.is_connection_refusal() => {
            "is Redis running, and is redis.url right? A port that speaks TLS wants rediss://"
        }
        _ => "is Redis running, and is redis.url right?",
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

    fn message(config: &RedisConfig) -> String {
        let error = check(config).err();
        error.map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn keys_that_do_not_go_together_are_named() {
        let with = |url: &str| RedisConfig {
            url: url.to_owned(),
            ..RedisConfig::default()
        };
        for url in ["rediss://redis:6380", "redis://redis:6379", "unix:///a"] {
            assert_eq!(message(&with(url)), "");
        }
        assert!(message(&with("tls://redis:1")).contains("rediss://host:port"));
        assert!(message(&with("rediss://redis:1/#insecure")).contains("#insecure"));
        let mut plain = with("redis://redis:6379");
        plain.tls_ca = "/ca.pem".into();
        assert!(message(&plain).starts_with("redis.tls_ca = \"/ca.pem\": only a redis.url"));
        let mut half = with("rediss://redis:6380");
        half.tls_cert = "/cert.pem".into();
        assert!(message(&half).contains("redis.tls_key"));
        let mut other = with("rediss://redis:6380");
        other.tls_key = "/key.pem".into();
        assert!(message(&other).contains("redis.tls_cert"));
    }

    #[test]
    fn only_a_redis_elsewhere_without_tls_is_warned_of() {
        let warned = |url: &str| {
            in_the_clear(&RedisConfig {
                url: url.to_owned(),
                ..RedisConfig::default()
            })
            .is_some()
        };
        for url in [
            "unix:///a",
            "redis://localhost:1",
            "redis://127.0.0.2:1",
            "redis://[::1]:1",
            "rediss://redis:1",
        ] {
            assert!(!warned(url), "{url}");
        }
        assert!(warned("redis://redis:1") && warned("redis://10.0.0.1:1"));
    }
}
