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
    ServerErrorKind,
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
    /// URL of Redis instead of the socket; user and password in it go before --user and its password
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
    /// URL with the operator's rights, for what the reader may not see; without it, --url or the
    /// socket as ravn-operator
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
        let info = match self.url.as_deref() {
            Some(url) => self.secured(url, "RAVN_REDIS_URL")?,
            None => self.local()?,
        };
        connect(named(info, &self.user, std::env::var("REDISCLI_AUTH").ok()))
    }

    /// A connection with the operator's rights.
    ///
    /// # Errors
    /// What Redis said, and the mend.
    pub fn operator(&self) -> Result<Connection> {
        let info = match (self.operator_url.as_deref(), self.url.as_deref()) {
            (Some(url), _) => self.secured(url, "RAVN_OPERATOR_URL")?,
            // The reader's name and password in it are not the operator's.
            (None, Some(url)) => anonymous(self.secured(url, "RAVN_REDIS_URL")?),
            (None, None) => self.local()?,
        };
        connect(named(info, OPERATOR, None))
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

    /// The socket.
    fn local(&self) -> Result<ConnectionInfo> {
        url_info(&format!("unix://{}", self.socket.display()), "--socket")
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

/// As `user`, with the password that was given or that the installation left, unless the URL itself
/// says as whom. Without a password there is nothing to log in with.
fn named(info: ConnectionInfo, user: &str, given: Option<String>) -> ConnectionInfo {
    let settings = info.redis_settings();
    if settings.username().is_some() || settings.password().is_some() {
        return info;
    }
    let Some(password) = given.or_else(|| password(user)) else {
        return info;
    };
    let settings = settings.clone().set_username(user).set_password(password);
    info.set_redis_settings(settings)
}

/// Without user and password.
fn anonymous(info: ConnectionInfo) -> ConnectionInfo {
    let database = info.redis_settings().db();
    let settings = redis::RedisConnectionInfo::default().set_db(database);
    info.set_redis_settings(settings)
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
        ErrorKind::Server(ServerErrorKind::NoPerm) => Some(
            "where hosts share this Redis give --host (ravn hosts lists them); else load the ACL file that came with RAVN",
        ),
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

    #[test]
    fn a_url_that_names_nobody_is_opened_as_the_user() {
        let who = |url: &str, given: Option<&str>| {
            let info = url_info(url, "--url").unwrap();
            let info = named(info, "ravn-reader", given.map(str::to_owned));
            let settings = info.redis_settings();
            let user = settings.username().map(str::to_owned);
            (user, settings.password().map(str::to_owned), settings.db())
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            who("redis://h:1/2", Some("secret")),
            (some("ravn-reader"), some("secret"), 2)
        );
        assert_eq!(
            who("redis://soc:own@h:1", Some("secret")),
            (some("soc"), some("own"), 0)
        );
        assert_eq!(who("redis://h:1", None), (None, None, 0));
        let info = anonymous(url_info("redis://soc:own@h:1/2", "--url").unwrap());
        let settings = info.redis_settings();
        assert_eq!((settings.username(), settings.password()), (None, None));
        assert_eq!(
            (info.addr().to_string().as_str(), settings.db()),
            ("h:1", 2)
        );
    }
}
