//! Which Redis `ravn` speaks to, and as whom.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use ravn_shared::config::{ConfigError, RedisConfig};
use ravn_shared::keys::Keys;
use ravn_shared::{link, tls};
use redis::{
    Client, Connection, ConnectionInfo, ErrorKind, IntoConnectionInfo, PubSub, RedisError,
};

/// Longest wait for Redis to take a connection, and for a reply.
const CONNECT: Duration = Duration::from_secs(2);
const REPLY: Duration = Duration::from_secs(5);

/// Where the passwords are that an installation made.
const FOLDER: &str = "/etc/ravn";
const OPERATOR: &str = "ravn-operator";

/// Which Redis, and as whom.
#[derive(Debug, clap::Args)]
pub struct Access {
    /// Unix socket of Redis
    #[arg(
        long,
        global = true,
        env = "RAVN_REDIS_SOCKET",
        value_name = "PATH",
        default_value = "/run/ravn/redis.sock"
    )]
    socket: PathBuf,
    /// URL of Redis instead of the socket; may hold user and password
    #[arg(
        long,
        global = true,
        env = "RAVN_REDIS_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    url: Option<String>,
    /// ACL user; the password is REDISCLI_AUTH, or in /etc/ravn/<user>.password
    #[arg(
        long,
        global = true,
        env = "RAVN_REDIS_USER",
        value_name = "NAME",
        default_value = "ravn-reader"
    )]
    user: String,
    /// URL with the operator's rights, for what the reader may not see
    #[arg(
        long,
        global = true,
        env = "RAVN_OPERATOR_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    operator_url: Option<String>,
    /// Certificates of the CAs to trust where the URL is rediss://, in PEM; by default the system's
    #[arg(long, global = true, env = "RAVN_REDIS_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Certificate to show to a Redis that wants one, in PEM
    #[arg(long, global = true, env = "RAVN_REDIS_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(long, global = true, env = "RAVN_REDIS_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Prefix of every key, as in redis.prefix of the daemons
    #[arg(
        long,
        global = true,
        env = "RAVN_REDIS_PREFIX",
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    prefix: String,
    /// The host to speak of, where hosts share one Redis
    #[arg(long, global = true, env = "RAVN_REDIS_HOST", value_name = "NAME")]
    host: Option<String>,
}

impl Access {
    /// The names in Redis.
    pub fn keys(&self) -> Keys {
        Keys::new(&self.prefix, self.host.as_deref())
    }

    /// What stands before every key.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A connection with the reader's rights.
    ///
    /// # Errors
    /// What Redis said, and the mend.
    pub fn reader(&self) -> Result<Connection> {
        let given = self.url.as_deref().map(|url| (url, "RAVN_REDIS_URL"));
        self.open(given, &self.user, std::env::var("REDISCLI_AUTH").ok())
    }

    /// A connection with the operator's rights.
    ///
    /// # Errors
    /// What Redis said, and the mend.
    pub fn operator(&self) -> Result<Connection> {
        let url = self.operator_url.as_deref();
        let given = url.map(|url| (url, "RAVN_OPERATOR_URL"));
        self.open(given, OPERATOR, None)
    }

    /// The socket or address, for messages.
    pub fn place(&self) -> String {
        match self
            .url
            .as_deref()
            .map(IntoConnectionInfo::into_connection_info)
        {
            Some(Ok(info)) => info.addr().to_string(),
            Some(Err(_)) => "RAVN_REDIS_URL".to_owned(),
            None => self.socket.display().to_string(),
        }
    }

    /// Connects to the URL that was given (with its name), or as `user` to the socket.
    fn open(
        &self,
        given: Option<(&str, &str)>,
        user: &str,
        password_given: Option<String>,
    ) -> Result<Connection> {
        if let Some((url, name)) = given {
            return connect(self.secured(url, name)?);
        }
        let info = url_info(&format!("unix://{}", self.socket.display()), "--socket")?;
        let mut settings = info.redis_settings().clone().set_username(user);
        if let Some(password) = password_given.or_else(|| password(user)) {
            settings = settings.set_password(password);
        }
        connect(info.set_redis_settings(settings))
    }

    /// What `url` says, with the files of TLS where it wants them.
    fn secured(&self, url: &str, name: &str) -> Result<ConnectionInfo> {
        let info = url_info(url, name)?;
        if !tls::wanted(info.addr()) {
            return Ok(info);
        }
        let config = RedisConfig {
            url: url.to_owned(),
            tls_ca: self.tls_ca.clone().unwrap_or_default(),
            tls_cert: self.tls_cert.clone().unwrap_or_default(),
            tls_key: self.tls_key.clone().unwrap_or_default(),
            ..RedisConfig::default()
        };
        let checked = link::address(&config).and_then(|_| tls::secured(info, &config));
        checked.map_err(|error| match error {
            // Its text would show the password in it.
            ConfigError::Value {
                key: "redis.url",
                mend,
                ..
            } => anyhow!("{name}: {mend}"),
            other => anyhow!(option(&other.to_string())),
        })
    }
}

/// `ravn` takes by options what the daemons take by keys.
fn option(text: &str) -> String {
    text.replace("redis.tls_", "--tls-")
        .replace("redis.url", "RAVN_REDIS_URL")
}

/// The password that the installation left for `user`, if this user of the host may read it.
fn password(user: &str) -> Option<String> {
    let path = Path::new(FOLDER).join(format!("{user}.password"));
    let text = fs::read_to_string(path).ok()?;
    Some(text.lines().next()?.to_owned())
}

fn url_info(url: &str, name: &str) -> Result<ConnectionInfo> {
    url.into_connection_info()
        .map_err(|_| anyhow!("{name} is no URL of a Redis: {}", link::URLS))
}

/// Connects within a deadline.
///
/// # Errors
/// What Redis said, and the mend.
pub fn connect(info: ConnectionInfo) -> Result<Connection> {
    let settings = info.redis_settings().clone().set_skip_set_lib_name();
    let info = info.set_redis_settings(settings);
    let place = info.addr().to_string();
    let client = Client::open(info).map_err(|error| said(&error))?;
    let connection = client
        .get_connection_with_timeout(CONNECT)
        .map_err(|error| said(&error))
        .with_context(|| place)?;
    connection
        .set_read_timeout(Some(REPLY))
        .map_err(|error| said(&error))?;
    Ok(connection)
}

/// Listens to the copies of batches.
///
/// # Errors
/// What Redis said, and the mend: that these are not the operator's rights.
pub fn tap<'c>(connection: &'c mut Connection, keys: &Keys) -> Result<PubSub<'c>> {
    // By hand: the client's own subscribe passes over a refusal, and then waits for ever.
    redis::cmd("SUBSCRIBE")
        .arg(keys.tap())
        .query::<redis::Value>(connection)
        .map_err(|error| match error.code() {
            Some(code @ ("NOPERM" | "NOAUTH")) => anyhow!(
                "redis: {code} {}; events themselves are for the operator alone: set \
                 RAVN_OPERATOR_URL, or run as a user who may read {FOLDER}/{OPERATOR}.password",
                error.detail().unwrap_or_default()
            ),
            _ => said(&error),
        })?;
    Ok(connection.as_pubsub())
}

/// An error of Redis in one line with its mend. `ravn` asks once and does not try again.
pub fn said(error: &RedisError) -> anyhow::Error {
    if let Some((cause, mend)) = tls::words(error) {
        return anyhow!("redis: {cause}; {}", option(mend));
    }
    let refusal = link::first_refusal(error);
    let password = "check --user, and REDISCLI_AUTH or /etc/ravn/<user>.password";
    let mend = match refusal.kind() {
        ErrorKind::Io => Some(
            "is RAVN running (systemctl status ravn-redis ravn-analyzer), and is --socket or RAVN_REDIS_URL right?",
        ),
        ErrorKind::AuthenticationFailed => Some(password),
        _ => match refusal.code() {
            Some("WRONGPASS" | "NOAUTH") => Some(password),
            _ => link::mend(&refusal),
        },
    };
    match mend {
        Some(mend) => anyhow!("redis: {refusal}; {mend}"),
        None => anyhow!("redis: {refusal}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_not_tried_again_is_not_said_to_be() {
        let info = url_info("unix:///nonexistent/redis.sock", "--socket").unwrap();
        let text = format!("{:#}", connect(info).err().unwrap());
        assert!(text.contains("is RAVN running"), "{text}");
        assert!(!text.contains("trying again"), "{text}");
    }
}
