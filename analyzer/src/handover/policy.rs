//! What Redis says of itself. It must not evict: it would eat the queue, whole lists at a time.

use redis::RedisResult;
use redis::aio::MultiplexedConnection;

/// What is wrong with the policy, and the mend; None if it is right.
///
/// # Errors
/// Redis's.
pub async fn check(connection: &mut MultiplexedConnection) -> RedisResult<Option<String>> {
    let info: String = redis::cmd("INFO")
        .arg("memory")
        .query_async(connection)
        .await?;
    Ok(complaint(&info))
}

/// Which process serves: a restarted Redis, or one that was put in its place, is another.
///
/// # Errors
/// Redis's.
pub async fn run_id(connection: &mut MultiplexedConnection) -> RedisResult<String> {
    let info: String = redis::cmd("INFO")
        .arg("server")
        .query_async(connection)
        .await?;
    let line = info.lines().find_map(|line| line.strip_prefix("run_id:"));
    Ok(line.unwrap_or_default().trim().to_owned())
}

fn complaint(info: &str) -> Option<String> {
    let policy = info
        .lines()
        .find_map(|line| line.strip_prefix("maxmemory_policy:"))?
        .trim();
    (policy != "noeviction").then(|| {
        format!(
            "redis: maxmemory-policy is {policy}, so it may evict the whole queue; \
             set it to noeviction (CONFIG SET maxmemory-policy noeviction, and redis.conf)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn any_policy_but_noeviction_is_named() {
        let info = "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n";
        assert!(complaint(info).is_some_and(|text| text.contains("allkeys-lru")));
        assert_eq!(complaint("maxmemory_policy:noeviction\r\n"), None);
    }
}
