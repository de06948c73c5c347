//! The thread that sends: batches to the left of `events:raw`, the collector's own hash
//! beside it; reconnects by itself.
//!
//! It knows seven commands (PING, LPUSH, LLEN, LTRIM, HSET, PEXPIRE, and AUTH in `resp`),
//! reads nothing of what it wrote, and takes no command from Redis.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ravn_shared::config::{ConfigError, RedisConfig};
use ravn_shared::keys::Keys;
use ravn_shared::kind::Reason;
use ravn_shared::{clock, link, tls};
use redis::{RedisError, RedisResult};

use crate::backlog::Backlog;
use crate::batch::Batch;
use crate::outbox::Outbox;
use crate::resp::{Connection, Reply};

/// Most batches in one pipeline, and most bytes (of more than one batch): what a slow line
/// takes within the time below.
const MOST_IN_FLIGHT: usize = 32;
const MOST_IN_FLIGHT_BYTES: usize = 1 << 20;
/// Replies that take longer are an outage. Below what the watchdog allows a step.
const REPLY_TIMEOUT: Duration = Duration::from_secs(4);
/// The hash is written this often and expires after three times that.
const REPORT_EVERY: Duration = Duration::from_secs(5);
const REPORT_EXPIRES_MS: u64 = 15_000;

/// What the two threads tell each other beside batches.
#[derive(Debug, Default)]
pub struct Wire {
    /// Redis answers.
    pub connected: AtomicBool,
    /// Leave the batches that wait and end.
    pub abandon: AtomicBool,
    /// When the sender last finished a step (sent, waited, or failed and tried
    /// again), CLOCK_BOOTTIME nanoseconds.
    pub step_ns: AtomicU64,
    /// Why Redis does not take batches, or the collector's hash, with the mend.
    trouble: Mutex<Option<String>>,
    /// Fields of the collector's hash.
    report: Mutex<Vec<(String, String)>>,
}

impl Wire {
    /// Why Redis does not take batches, or the collector's hash, if it does not.
    pub fn trouble(&self) -> Option<String> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Sets the fields that the sender writes next.
    pub fn set_report(&self, fields: Vec<(String, String)>) {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = fields;
    }

    fn stepped(&self) {
        self.step_ns.store(clock::boottime_ns(), Ordering::Relaxed);
    }

    /// Says a cause once in the log, not at every attempt.
    fn set_trouble(&self, words: Option<String>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *trouble != words {
            match &words {
                Some(words) => tracing::warn!("{words}"),
                None => tracing::info!("redis takes batches"),
            }
            *trouble = words;
        }
    }
}

/// The sending side.
#[derive(Debug)]
pub struct Sender {
    /// Where Redis is.
    pub config: RedisConfig,
    /// Names in Redis.
    pub keys: Keys,
    /// Where batches come from.
    pub outbox: Arc<Outbox>,
    /// What is told to the other thread.
    pub wire: Arc<Wire>,
    /// What waits in Redis.
    pub backlog: Backlog,
}

impl Sender {
    /// Sends until the outbox is closed and empty. Failures are told, waited out and
    /// tried again.
    pub fn run(mut self) {
        let mut backoff = link::Backoff::new();
        loop {
            let outcome = self.session(&mut backoff);
            self.wire.connected.store(false, Ordering::Relaxed);
            let Err(words) = outcome else { return };
            self.wire.set_trouble(Some(words));
            self.wire.stepped();
            if self.ended() {
                return;
            }
            std::thread::sleep(backoff.wait());
        }
    }

    fn ended(&self) -> bool {
        self.wire.abandon.load(Ordering::Relaxed)
    }

    /// One connection, until it fails or there is no more to send.
    fn session(&mut self, backoff: &mut link::Backoff) -> Result<(), String> {
        let of_files = |error: ConfigError| format!("redis: {error}; trying again");
        let info = link::login(&self.config).map_err(of_files)?;
        let tls = tls::wanted(info.addr())
            .then(|| tls::client(&self.config))
            .transpose()
            .map_err(of_files)?;
        let config = self.config.clone();
        let explain = |error: RedisError| link::explain(&error, &config);
        let mut connection = Connection::open(info.addr(), tls, REPLY_TIMEOUT).map_err(explain)?;
        self.wire.stepped();
        connection.log_in(info.redis_settings()).map_err(explain)?;
        self.wire.stepped();
        connection
            .order(redis::pipe().cmd("PING"))
            .map_err(explain)?;
        self.look(&mut connection).map_err(explain)?;
        self.wire.connected.store(true, Ordering::Relaxed);
        let mut report_due = Instant::now();
        let mut unreported = None;
        loop {
            self.wire.stepped();
            if self.ended() {
                return Ok(());
            }
            if report_due <= Instant::now() {
                let refusal = self.report(&mut connection).map_err(explain)?;
                unreported = refusal.map(explain);
                report_due = Instant::now() + REPORT_EVERY;
            }
            let batches = self.outbox.take(
                (MOST_IN_FLIGHT, MOST_IN_FLIGHT_BYTES),
                self.backlog.admits(),
                Duration::from_millis(100),
            );
            if batches.is_empty() {
                if self.outbox.is_closed() && self.outbox.len() == 0 {
                    return Ok(());
                }
                self.look(&mut connection).map_err(explain)?;
                continue;
            }
            self.send(&mut connection, batches)?;
            // That of the batches comes first: told in turns, both would be told at every attempt.
            self.wire.set_trouble(unreported.clone());
            backoff.reset();
        }
    }

    /// How long the list is now.
    fn look(&mut self, connection: &mut Connection) -> RedisResult<()> {
        let replies = connection.order(redis::pipe().cmd("LLEN").arg(self.keys.raw()))?;
        if let [Reply::Number(len)] = replies[..] {
            self.backlog.observed(len);
        }
        Ok(())
    }

    fn send(&mut self, connection: &mut Connection, batches: Vec<Batch>) -> Result<(), String> {
        let raw = self.keys.raw();
        let elements = batches.iter().map(|batch| batch.bytes.as_slice());
        let (replies, asked) = connection.push(&raw, elements);
        let mut replies = replies.into_iter();
        let (mut left, mut refusal) = (Vec::new(), None);
        for batch in batches {
            match replies.next() {
                Some(Reply::Number(len)) => {
                    self.backlog.pushed(batch.bytes.len(), batch.counts);
                    self.backlog.observed(len);
                    self.outbox.done(1);
                }
                Some(Reply::Refused(error)) => {
                    refusal = refusal.or(Some(error));
                    left.push(batch);
                }
                // Without a reply it may have arrived all the same; the analyzer knows copies
                // by their numbers.
                Some(Reply::Done) | None => left.push(batch),
            }
        }
        let all = left.is_empty();
        self.outbox.put_back(left);
        asked.map_err(|error| link::explain(&error, &self.config))?;
        if !all {
            let Some(error) = refusal else {
                return Err("redis: LPUSH was answered with no number; is this Redis?".to_owned());
            };
            if error.code() == Some("OOM") {
                self.trim(connection, Reason::RedisOom)?;
            }
            return Err(link::explain(&error, &self.config));
        }
        if self.backlog.is_over() {
            self.trim(connection, Reason::ListFull)?;
        }
        Ok(())
    }

    /// Halves the list, oldest first: at maxmemory nothing else frees any, and past the
    /// bound nothing cheaper is left to hold back.
    fn trim(&mut self, connection: &mut Connection, reason: Reason) -> Result<(), String> {
        let config = self.config.clone();
        let explain = |error: RedisError| link::explain(&error, &config);
        let keep = self.backlog.len() / 2;
        let mut trim = redis::pipe();
        // The length just before, in the same packet: what the analyzer took meanwhile is not
        // counted as lost.
        trim.cmd("LLEN").arg(self.keys.raw());
        trim.cmd("LTRIM").arg(self.keys.raw());
        // The oldest are at the right. `0 -1` would keep all.
        if keep == 0 {
            trim.arg(1).arg(0)
        } else {
            trim.arg(0).arg(keep - 1)
        };
        let replies = connection.order(&trim).map_err(explain)?;
        if let [Reply::Number(len), _] = replies[..] {
            self.backlog.observed(len);
        }
        for counts in self.backlog.trimmed(keep) {
            self.outbox.lose(reason, &counts);
        }
        Ok(())
    }

    /// Writes the collector's hash. A refusal is given back and ends no session: at maxmemory
    /// this is refused first, and only a session that goes on trims.
    fn report(&self, connection: &mut Connection) -> RedisResult<Option<RedisError>> {
        let fields = self
            .wire
            .report
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if fields.is_empty() {
            return Ok(None);
        }
        let key = self.keys.collector();
        let mut told = redis::pipe();
        told.cmd("HSET").arg(&key).arg(&fields);
        told.cmd("PEXPIRE").arg(&key).arg(REPORT_EXPIRES_MS);
        let (replies, asked) = connection.ask(&told);
        asked?;
        Ok(replies.into_iter().find_map(Reply::refusal))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;
    use std::os::unix::net::UnixListener;

    use ravn_shared::kind::Class;

    use crate::batch::Counts;

    use super::*;

    /// A line so slow that time is up after some replies: what they confirm is not sent again.
    #[test]
    fn what_was_confirmed_is_not_sent_again() {
        let path = std::env::temp_dir().join(format!("ravn-send-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let address = redis::ConnectionAddr::Unix(path.clone());
        let patience = Duration::from_millis(300);
        let mut connection = Connection::open(&address, None, patience).unwrap();
        std::fs::remove_file(path).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b":1\r\n:2\r\n:").unwrap();

        let outbox = Arc::new(Outbox::new(1000));
        for mark in 1..=4 {
            outbox.push([Batch {
                class: Class::Ordinary,
                bytes: vec![mark; 10],
                counts: Counts::default(),
            }]);
        }
        let mut sender = Sender {
            config: RedisConfig::default(),
            keys: Keys::new("", None),
            outbox: Arc::clone(&outbox),
            wire: Arc::default(),
            backlog: Backlog::new(1000),
        };
        let batches = outbox.take((9, 1000), Class::Sequences, Duration::ZERO);
        let error = sender.send(&mut connection, batches).unwrap_err();
        assert!(error.contains("in time"), "{error}");
        assert_eq!(sender.backlog.len(), 2);
        let left = outbox.take((9, 1000), Class::Sequences, Duration::ZERO);
        let marks: Vec<_> = left.iter().map(|batch| batch.bytes[0]).collect();
        assert_eq!(marks, [3, 4]);
        outbox.done(left.len());
        assert!(outbox.is_idle());
    }
}
