//! Takes batches out of Redis: first what earlier tenures left, then `events:raw`.
//!
//! All moves end at the left of one in-flight list and are done by one task over one
//! connection, so the order of the list is the order in which the engine is told.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ravn_shared::config::RedisConfig;
use ravn_shared::keys::Keys;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError, RedisResult, Value};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::connect;
use super::lease::{Fenced, Lease};
use super::room::{PAUSE, is_full};

/// Batches that wait for the engine; more stay in Redis.
const AHEAD: usize = 64;
/// Batches that are moved in one go.
const IN_ONE_GO: usize = 16;
/// Seconds that Redis waits for a batch when there is none.
const BLOCK_S: u64 = 1;
/// How often other in-flight lists are looked at.
const ADOPT_EVERY: Duration = Duration::from_secs(1);
/// How long a list must have been empty before its name is forgotten. A command of its
/// owner that Redis still has in hand may fill it once more.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// What the intake tells the engine.
#[derive(Debug)]
pub enum Taken {
    /// A batch; it lies at the left of our in-flight list.
    Batch(Vec<u8>),
    /// The queue is empty.
    Empty,
    /// Redis is at maxmemory and moves nothing now.
    Full(RedisError),
    /// Redis failed; the intake has ended.
    Failed(RedisError),
    /// The lease is somebody else's; the intake has ended.
    Lost,
}

/// A running intake; ends when it is dropped.
#[derive(Debug)]
pub struct Intake {
    taken: mpsc::Receiver<Taken>,
    task: JoinHandle<()>,
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Intake {
    /// Starts it. The consumer's name must be in the set of consumers already.
    pub fn start(config: RedisConfig, keys: Keys, lease: Lease) -> Self {
        let (tell, taken) = mpsc::channel(AHEAD);
        let task = tokio::spawn(async move {
            let end = match run(&config, &keys, &lease, &tell).await {
                Ok(()) => Taken::Lost,
                Err(error) => Taken::Failed(error),
            };
            // The engine may have gone first; then nobody needs to know.
            let _ = tell.send(end).await;
        });
        Self { taken, task }
    }

    /// The next word. After the last one, `Lost`.
    pub async fn next(&mut self) -> Taken {
        self.taken.recv().await.unwrap_or(Taken::Lost)
    }

    /// Stops taking; what was taken can still be had by [`Intake::rest`].
    pub fn stop(&self) {
        self.task.abort();
    }

    /// A batch that was taken already, if any.
    pub fn rest(&mut self) -> Option<Taken> {
        self.taken.try_recv().ok()
    }
}

/// Takes until the lease is lost, or nobody listens.
async fn run(
    config: &RedisConfig,
    keys: &Keys,
    lease: &Lease,
    tell: &mpsc::Sender<Taken>,
) -> RedisResult<()> {
    let mut connection = connect::open(config).await?;
    let mut others = Others::default();
    loop {
        match turn(&mut connection, (keys, lease), &mut others, tell).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) if is_full(&error) => {
                if tell.send(Taken::Full(error)).await.is_err() {
                    return Ok(());
                }
                sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Adopts what is due, waits for a batch, and takes those behind it; false at the end.
async fn turn(
    connection: &mut MultiplexedConnection,
    (keys, lease): (&Keys, &Lease),
    others: &mut Others,
    tell: &mpsc::Sender<Taken>,
) -> RedisResult<bool> {
    if others.are_due() && !others.adopt(connection, keys, lease, tell).await? {
        return Ok(false);
    }
    let (raw, own) = (keys.raw(), keys.inflight(&lease.consumer));
    let first: Option<Vec<u8>> = redis::cmd("BLMOVE")
        .arg(&raw)
        .arg(&own)
        .arg("RIGHT")
        .arg("LEFT")
        .arg(BLOCK_S)
        .query_async(connection)
        .await?;
    let Some(first) = first else {
        return Ok(tell.send(Taken::Empty).await.is_ok());
    };
    if tell.send(Taken::Batch(first)).await.is_err() {
        return Ok(false);
    }
    let mut more = redis::pipe();
    for _ in 0..IN_ONE_GO {
        more.cmd("LMOVE")
            .arg(&raw)
            .arg(&own)
            .arg("RIGHT")
            .arg("LEFT");
    }
    // What was moved before a refusal is in our list, and must be told.
    more.ignore_errors();
    while !others.are_due() {
        let (mut empty, mut refusal) = (false, None);
        for value in more.query_async::<Vec<Value>>(connection).await? {
            let batch = match value.extract_error() {
                Ok(value) => Option::<Vec<u8>>::from_redis_value(value)?,
                Err(error) => {
                    refusal = refusal.or(Some(error));
                    continue;
                }
            };
            match batch {
                None => empty = true,
                Some(batch) => {
                    if tell.send(Taken::Batch(batch)).await.is_err() {
                        return Ok(false);
                    }
                }
            }
        }
        if let Some(error) = refusal {
            return Err(error);
        }
        if empty {
            break;
        }
    }
    Ok(true)
}

/// The in-flight lists of other tenures, ours of before among them.
#[derive(Debug, Default)]
struct Others {
    looked: Option<Instant>,
    empty_since: HashMap<String, Instant>,
}

impl Others {
    /// Whether they were not looked at lately.
    fn are_due(&self) -> bool {
        self.looked.is_none_or(|at| at.elapsed() >= ADOPT_EVERY)
    }

    /// Moves what they hold to ours, oldest first; false if the lease is lost.
    async fn adopt(
        &mut self,
        connection: &mut MultiplexedConnection,
        keys: &Keys,
        lease: &Lease,
        tell: &mpsc::Sender<Taken>,
    ) -> RedisResult<bool> {
        let mut names: Vec<String> = redis::cmd("SMEMBERS")
            .arg(keys.consumers())
            .query_async(connection)
            .await?;
        names.retain(|name| *name != lease.consumer);
        names.sort_by_key(|name| token(name));
        self.empty_since.retain(|name, _| names.contains(name));
        let own = keys.inflight(&lease.consumer);
        for name in names {
            let other = keys.inflight(&name);
            loop {
                let waiting: u64 = redis::cmd("LLEN")
                    .arg(&other)
                    .query_async(connection)
                    .await?;
                if waiting == 0 {
                    break;
                }
                self.empty_since.remove(&name);
                let mut pipe = redis::pipe();
                for _ in 0..waiting.min(IN_ONE_GO as u64) {
                    pipe.cmd("LMOVE")
                        .arg(&other)
                        .arg(&own)
                        .arg("RIGHT")
                        .arg("LEFT");
                }
                // Fenced: a holder that was deposed would take from its successor's list.
                let Fenced::Done(moved) = lease.fenced(connection, pipe).await? else {
                    return Ok(false);
                };
                for value in moved {
                    let batch = Option::<Vec<u8>>::from_redis_value(value.extract_error()?)?;
                    if let Some(batch) = batch
                        && tell.send(Taken::Batch(batch)).await.is_err()
                    {
                        return Ok(false);
                    }
                }
            }
            let since = *self
                .empty_since
                .entry(name.clone())
                .or_insert_with(Instant::now);
            if since.elapsed() > FORGET_AFTER {
                let mut pipe = redis::pipe();
                pipe.cmd("SREM").arg(keys.consumers()).arg(&name);
                if let Fenced::Lost = lease.fenced(connection, pipe).await? {
                    return Ok(false);
                }
            }
        }
        self.looked = Some(Instant::now());
        Ok(true)
    }
}

/// The tenure in a consumer's name: older ones are adopted first.
fn token(consumer: &str) -> u64 {
    consumer
        .rsplit_once('-')
        .and_then(|(_, token)| token.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::token;

    #[test]
    fn tenures_are_ordered_by_their_token_not_by_their_text() {
        let mut names = ["b-10", "a-b-9", "old"];
        names.sort_by_key(|name| token(name));
        assert_eq!(names, ["old", "a-b-9", "b-10"]);
    }
}
