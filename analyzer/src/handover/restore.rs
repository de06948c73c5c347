//! Reads the checkpoint at a take-over.

use std::time::{Duration, Instant};

use ravn_shared::keys::Keys;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use super::commit::MARK;
use super::lease::{Fenced, Lease};

/// Fields that are read in one go.
const IN_ONE_GO: u32 = 500;
/// Names and values, as Redis has them.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The lease is renewed this often in between.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// All fields; None if the lease was lost meanwhile.
///
/// # Errors
/// Redis's.
pub async fn read(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    lease: &Lease,
) -> RedisResult<Option<Vec<(String, Vec<u8>)>>> {
    let mut fields = Vec::new();
    let mut cursor = 0u64;
    let mut renewed = Instant::now();
    loop {
        let (next, part): (u64, Pairs) = redis::cmd("HSCAN")
            .arg(keys.checkpoint())
            .arg(cursor)
            .arg("COUNT")
            .arg(IN_ONE_GO)
            .query_async(connection)
            .await?;
        let named = part
            .into_iter()
            .map(|(name, value)| (String::from_utf8_lossy(&name).into_owned(), value));
        fields.extend(named);
        if next == 0 {
            return Ok(Some(fields));
        }
        cursor = next;
        if renewed.elapsed() >= RENEW_EVERY {
            let mut pipe = redis::pipe();
            lease.renew(&mut pipe);
            if let Fenced::Lost = lease.fenced(connection, pipe).await? {
                return Ok(None);
            }
            renewed = Instant::now();
        }
    }
}

/// The mark of the last commit, if there is a checkpoint.
///
/// # Errors
/// Redis's.
pub async fn mark(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> RedisResult<Option<String>> {
    redis::cmd("HGET")
        .arg(keys.checkpoint())
        .arg(MARK)
        .query_async(connection)
        .await
}
