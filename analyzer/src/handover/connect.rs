//! Connections to Redis.

use std::time::Duration;

use ravn_shared::config::RedisConfig;
use ravn_shared::link;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult};

/// How long Redis may take to answer. Above the second that BLMOVE waits, below the
/// watchdog's ten.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);

/// Opens a connection of its own (they are never shared: one blocks, one WATCHes), reading
/// the password file anew.
///
/// # Errors
/// Redis's, or the configuration's as one of Redis's.
pub async fn open(config: &RedisConfig) -> RedisResult<MultiplexedConnection> {
    let info = link::connection_info(config).map_err(|error| {
        RedisError::from((
            ErrorKind::InvalidClientConfig,
            "configuration",
            error.to_string(),
        ))
    })?;
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(PATIENCE));
    let mut connection = Client::open(info)?
        .get_multiplexed_async_connection_with_config(&settings)
        .await?;
    redis::cmd("PING").exec_async(&mut connection).await?;
    Ok(connection)
}
