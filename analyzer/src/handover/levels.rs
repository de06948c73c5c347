//! `ravn:levels`: the score of each host, where hosts share a Redis. An analyzer writes its own
//! host's with the word; a host whose state has expired is taken out by whichever analyzer sees
//! it first.

use std::time::{Duration, Instant};

use ravn_shared::keys::Keys;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;

/// Between two looks. State stands for 10 s, so that a host is out within 15 s of its
/// analyzer's death.
const EVERY: Duration = Duration::from_secs(2);
/// Hosts that are looked at each time, picked by chance: all of a few, and of many each by some
/// analyzer, for each has one that looks.
const MOST: usize = 16;

/// Looks after the hosts that nobody judges any more.
#[derive(Debug)]
pub struct Levels {
    keys: Keys,
    next: Instant,
    refused: bool,
}

impl Levels {
    /// Looks for the first time at the first [`Self::sweep`].
    pub fn new(keys: Keys) -> Self {
        Self {
            keys,
            next: Instant::now(),
            refused: false,
        }
    }

    /// Takes out hosts without a state, every two seconds; does nothing where a host has its
    /// Redis to itself. One that was taken out in the moment of its return is back within a
    /// second. What Redis refuses is said once, and holds nothing up.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn sweep(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        if !self.keys.is_shared() || Instant::now() < self.next {
            return Ok(());
        }
        self.next = Instant::now() + EVERY;
        match self.take_out(connection).await {
            Err(error) if error.is_io_error() || error.is_timeout() => Err(error),
            Err(error) => {
                if !std::mem::replace(&mut self.refused, true) {
                    tracing::warn!(
                        "redis: {error}; hosts that are gone stay in ravn:levels; load \
                         systemd/redis/host.acl anew"
                    );
                }
                Ok(())
            }
            Ok(()) => {
                self.refused = false;
                Ok(())
            }
        }
    }

    async fn take_out(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let levels = self.keys.levels();
        let hosts: Vec<Vec<u8>> = redis::cmd("ZRANDMEMBER")
            .arg(&levels)
            .arg(MOST)
            .query_async(connection)
            .await?;
        if hosts.is_empty() {
            return Ok(());
        }
        let mut pipe = redis::pipe();
        for host in &hosts {
            let mut state = self.keys.state_of("").into_bytes();
            state.extend_from_slice(host);
            pipe.cmd("EXISTS").arg(state);
        }
        let lives: Vec<bool> = pipe.query_async(connection).await?;
        let gone: Vec<_> = hosts
            .iter()
            .zip(lives)
            .filter_map(|(host, lives)| (!lives).then_some(host))
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        redis::cmd("ZREM")
            .arg(levels)
            .arg(gone)
            .exec_async(connection)
            .await
    }
}
