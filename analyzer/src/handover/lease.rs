//! `events:lease`: one analyzer judges a list, the others stand by.
//!
//! The lease is a string `token:name` that expires after 3 s; every commit renews it. Every
//! command that a deposed holder must not do (committing, adopting) is a MULTI that WATCHes
//! the lease and has read its own value in it, so a process that was stopped and continued
//! changes nothing, however late it wakes.

use ravn_shared::keys::Keys;
use ravn_shared::link::first_refusal;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, RedisResult, Value};

/// How long a lease stands without being renewed.
pub const LEASE_MS: u64 = 3000;
/// Attempts at a MULTI that the renewal of the lease by ourselves got in the way of.
const ATTEMPTS: u32 = 16;

/// A lease that was ours when we last looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    key: String,
    value: String,
    /// Name of our in-flight list: of this tenure alone, so that a command of an earlier
    /// one that Redis still has in hand cannot slip a batch into it.
    pub consumer: String,
}

/// What an attempt at the lease brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It is ours.
    Ours(Lease),
    /// Somebody else has it: `token:name`.
    Theirs(String),
}

/// What a fenced transaction came to.
#[derive(Debug)]
pub enum Fenced {
    /// It was executed; a reply per command, some of which may be errors.
    Done(Vec<Value>),
    /// The lease is not ours any more; nothing was executed.
    Lost,
}

impl Lease {
    /// Tries to get the lease for `name`; `before` is our own lease of before a
    /// reconnection, which need not run out first.
    ///
    /// # Errors
    /// Redis's.
    pub async fn attempt(
        connection: &mut MultiplexedConnection,
        keys: &Keys,
        name: &str,
        before: Option<&Self>,
    ) -> RedisResult<Attempt> {
        let key = keys.lease();
        let present: Option<String> = redis::cmd("GET").arg(&key).query_async(connection).await?;
        let ours = before.filter(|before| present.as_ref() == Some(&before.value));
        if let (Some(value), None) = (&present, ours) {
            shorten(connection, &key).await?;
            return Ok(Attempt::Theirs(value.clone()));
        }
        let token: u64 = redis::cmd("INCR")
            .arg(keys.lease_token())
            .query_async(connection)
            .await?;
        let lease = Self {
            value: format!("{token}:{name}"),
            consumer: format!("{name}-{token}"),
            key,
        };
        let got = match ours {
            Some(before) => {
                let mut pipe = redis::pipe();
                pipe.cmd("SET").arg(&lease.key).arg(&lease.value);
                pipe.arg("PX").arg(LEASE_MS);
                matches!(before.fenced(connection, pipe).await?, Fenced::Done(_))
            }
            None => redis::cmd("SET")
                .arg(&lease.key)
                .arg(&lease.value)
                .arg("NX")
                .arg("PX")
                .arg(LEASE_MS)
                .query_async::<Option<String>>(connection)
                .await?
                .is_some(),
        };
        Ok(if got {
            Attempt::Ours(lease)
        } else {
            Attempt::Theirs("another".to_owned())
        })
    }

    /// Whether the lease is ours, or has run out and is nobody's.
    ///
    /// # Errors
    /// Redis's.
    pub async fn stands(&self, connection: &mut MultiplexedConnection) -> RedisResult<bool> {
        let mut get = redis::cmd("GET");
        let holder: Option<String> = get.arg(&self.key).query_async(connection).await?;
        Ok(holder.is_none_or(|holder| holder == self.value))
    }

    /// Adds to a transaction that the lease stands for another 3 s.
    pub fn renew(&self, pipe: &mut Pipeline) {
        pipe.cmd("PEXPIRE").arg(&self.key).arg(LEASE_MS);
    }

    /// The oldest batch of our in-flight list.
    ///
    /// # Errors
    /// Redis's.
    pub async fn oldest(
        &self,
        connection: &mut MultiplexedConnection,
        keys: &Keys,
    ) -> RedisResult<Option<Vec<u8>>> {
        redis::cmd("LINDEX")
            .arg(keys.inflight(&self.consumer))
            .arg(-1)
            .query_async(connection)
            .await
    }

    /// Adds to a transaction that the oldest `covered` batches of our in-flight list go.
    pub fn cut(&self, pipe: &mut Pipeline, keys: &Keys, covered: usize) {
        if covered > 0 {
            let last = -1 - i64::try_from(covered).unwrap_or(i64::MAX - 1);
            let own = keys.inflight(&self.consumer);
            pipe.cmd("LTRIM").arg(own).arg(0).arg(last);
        }
    }

    /// Adds to a transaction that the lease is given back.
    pub fn give_back(&self, pipe: &mut Pipeline) {
        pipe.cmd("DEL").arg(&self.key);
    }

    /// Executes `pipe` in a MULTI if, and only if, the lease is ours. `connection` must not
    /// be shared: a WATCH belongs to the whole connection.
    ///
    /// # Errors
    /// Redis's. After an error of I/O it is unknown whether the commands were executed;
    /// after any other they were not.
    pub async fn fenced(
        &self,
        connection: &mut MultiplexedConnection,
        mut pipe: Pipeline,
    ) -> RedisResult<Fenced> {
        pipe.atomic().ignore_errors();
        for _ in 0..ATTEMPTS {
            let (_, holder): (Value, Option<String>) = redis::pipe()
                .cmd("WATCH")
                .arg(&self.key)
                .cmd("GET")
                .arg(&self.key)
                .query_async(connection)
                .await?;
            if holder.as_ref() != Some(&self.value) {
                redis::cmd("UNWATCH").exec_async(connection).await?;
                return Ok(Fenced::Lost);
            }
            match pipe
                .query_async::<Value>(connection)
                .await
                .map_err(|error| first_refusal(&error))?
            {
                // The lease was touched in between: by our own renewal, or by who took it.
                Value::Nil => {}
                Value::Array(replies) => return Ok(Fenced::Done(replies)),
                other => {
                    return Err(RedisError::from((
                        redis::ErrorKind::UnexpectedReturnType,
                        "EXEC",
                        format!("{other:?}"),
                    )));
                }
            }
        }
        Ok(Fenced::Lost)
    }
}

/// A lease ends at a time of day: under a clock that was set back since, it would stand for as
/// long as that. Nobody is deposed early: who lives renews it.
async fn shorten(connection: &mut MultiplexedConnection, key: &str) -> RedisResult<()> {
    let left: i64 = redis::cmd("PTTL").arg(key).query_async(connection).await?;
    if u64::try_from(left).is_ok_and(|left| left > LEASE_MS) {
        redis::cmd("PEXPIRE")
            .arg(key)
            .arg(LEASE_MS)
            .exec_async(connection)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use redis::AsyncCommands;

    use super::*;

    struct Server(Child, std::path::PathBuf);

    impl Server {
        async fn start() -> (Self, redis::Client) {
            let dir = std::env::temp_dir().join(format!("ravn-lease-{}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            let socket = dir.join("redis.sock");
            let child = Command::new("redis-server")
                .args(["--port", "0", "--save", "", "--unixsocket"])
                .arg(&socket)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let server = Self(child, dir);
            let client = redis::Client::open(format!("unix://{}", socket.display())).unwrap();
            let deadline = Instant::now() + Duration::from_secs(30);
            while client.get_multiplexed_async_connection().await.is_err() {
                assert!(Instant::now() < deadline, "no redis");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            (server, client)
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
            let _ = std::fs::remove_dir_all(&self.1);
        }
    }

    fn write(key: &str) -> Pipeline {
        let mut pipe = redis::pipe();
        pipe.cmd("INCR").arg(key);
        pipe
    }

    #[tokio::test]
    async fn only_the_holder_of_the_lease_changes_anything() {
        let (_server, client) = Server::start().await;
        let mut one = client.get_multiplexed_async_connection().await.unwrap();
        let mut two = client.get_multiplexed_async_connection().await.unwrap();
        let keys = Keys::new("", None);
        let Attempt::Ours(first) = Lease::attempt(&mut one, &keys, "a", None).await.unwrap() else {
            panic!("a free lease is refused");
        };
        let theirs = Lease::attempt(&mut two, &keys, "b", None).await.unwrap();
        assert_eq!(theirs, Attempt::Theirs("1:a".to_owned()));
        let _: () = one.pexpire(keys.lease(), 3_600_000).await.unwrap();
        Lease::attempt(&mut two, &keys, "b", None).await.unwrap();
        let left: u64 = one.pttl(keys.lease()).await.unwrap();
        assert!(left <= LEASE_MS, "a clock that was set back: {left} ms");
        let done = first.fenced(&mut one, write("x")).await.unwrap();
        assert!(matches!(done, Fenced::Done(_)));

        // A reconnection need not wait for its own lease, and deposes its former self.
        let Attempt::Ours(again) = Lease::attempt(&mut two, &keys, "a", Some(&first))
            .await
            .unwrap()
        else {
            panic!("its own lease is refused");
        };
        assert_ne!(first.consumer, again.consumer);
        for _ in 0..2 {
            let lost = first.fenced(&mut one, write("x")).await.unwrap();
            assert!(matches!(lost, Fenced::Lost));
        }
        // Run out: nobody holds it, and who held it may not write.
        let _: () = two.del(keys.lease()).await.unwrap();
        let lost = again.fenced(&mut two, write("x")).await.unwrap();
        assert!(matches!(lost, Fenced::Lost));
        assert_eq!(one.get::<_, u64>("x").await.unwrap(), 1);

        // A refused command: the cause is told, and nothing was done.
        let Attempt::Ours(third) = Lease::attempt(&mut one, &keys, "a", Some(&again))
            .await
            .unwrap()
        else {
            panic!("a free lease is refused");
        };
        let full = |size: u64| {
            let mut config = redis::cmd("CONFIG");
            config.arg("SET").arg("maxmemory").arg(size);
            config
        };
        full(1).exec_async(&mut two).await.unwrap();
        let error = third.fenced(&mut one, write("x")).await.unwrap_err();
        assert!(
            ravn_shared::link::first_refusal(&error).code() == Some("OOM"),
            "{error}"
        );
        full(0).exec_async(&mut two).await.unwrap();
        assert_eq!(one.get::<_, u64>("x").await.unwrap(), 1);
    }
}
