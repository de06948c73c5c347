//! Redis at maxmemory: what is judged is let go before its commit, so that there is room for one.
//!
//! It refuses whatever may need memory, every MULTI and the taking of batches among it. The
//! collector empties the queue then; what lies in the in-flight list only the analyzer can free.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult};
use tokio::time::sleep;

use super::commit::Occasion;
use super::engine::Engine;
use super::judging::Judging;
use super::lease::Lease;

/// How soon something that was refused is tried again.
pub const PAUSE: Duration = Duration::from_millis(100);
/// So long without a refusal, and the fault is over.
const OVER_AFTER: Duration = Duration::from_secs(1);
/// Changes that wait for a commit: above the fields of full tables, so that past them the whole
/// checkpoint is less.
const MOST_FIELDS: usize = 400_000;

/// Whether Redis refused for want of memory; nothing was executed then.
pub fn is_full(error: &RedisError) -> bool {
    // A transaction that was refused as a whole says so in its text.
    let told = |detail: &str| detail.contains("OOM command not allowed");
    match error.code() {
        Some("OOM") => true,
        Some("EXECABORT") => error.detail().is_some_and(told),
        _ => false,
    }
}

/// When Redis last refused something for want of memory, until that is over.
#[derive(Debug, Default)]
pub struct Room {
    refused: Option<Instant>,
    /// A commit among it.
    commit: Option<Instant>,
}

impl Room {
    /// Whether it did.
    pub const fn is_wanting(&self) -> bool {
        self.refused.is_some()
    }

    /// Whether a commit that need not be now waits.
    fn holds_back(&self, occasion: Occasion) -> bool {
        occasion == Occasion::Change && self.commit.is_some_and(|at| at.elapsed() < PAUSE)
    }

    /// A commit was executed; true if that ends the fault.
    fn ends(&mut self) -> bool {
        self.commit = None;
        let over = self.refused.is_some_and(|at| at.elapsed() > OVER_AFTER);
        if over {
            self.refused = None;
        }
        over
    }
}

impl Engine {
    /// Redis refused for want of memory: to the ledger it is away, to the watchdog it is not.
    pub(super) fn full(&mut self, judging: &mut Judging, error: &RedisError) {
        self.room.refused = Some(Instant::now());
        judging.redis_full();
        if judging.pending.fields.len() > MOST_FIELDS {
            judging.pending.fields.clear();
            self.committer.start_over();
            judging.all_changed();
        }
        self.outage.failed(error, &self.redis, &mut self.service);
        self.service.beat();
    }

    /// No session can be had for want of memory: lets go what is judged of the tenure before.
    ///
    /// # Errors
    /// Redis's.
    pub(super) async fn make_room(
        &mut self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        if let (Some(before), Some(judging)) = (&self.lease, &mut self.judging) {
            self.committer.let_go(connection, before, judging).await?;
        }
        Ok(())
    }

    /// Commits, or makes room for the next commit; false if the lease is lost.
    ///
    /// # Errors
    /// Redis's, but for want of memory.
    pub(super) async fn commit(
        &mut self,
        connection: &mut MultiplexedConnection,
        lease: &Lease,
        judging: &mut Judging,
        occasion: Occasion,
    ) -> RedisResult<bool> {
        if self.room.holds_back(occasion) {
            return Ok(true);
        }
        let committed = self
            .committer
            .commit(connection, lease, judging, occasion)
            .await;
        match committed {
            Err(error) if is_full(&error) => {
                self.room.commit = Some(Instant::now());
                self.full(judging, &error);
                self.committer.let_go(connection, lease, judging).await
            }
            Ok(true) => {
                if self.room.ends() {
                    judging.redis_serves();
                    self.outage.over();
                }
                Ok(true)
            }
            other => other,
        }
    }

    /// The commit before the end, tried for as long as Redis is full: what was let go is nowhere
    /// else. What was not stays, and comes again.
    ///
    /// # Errors
    /// Redis's, but for want of memory.
    pub(super) async fn last_commit(
        &mut self,
        connection: &mut MultiplexedConnection,
        lease: &Lease,
        judging: &mut Judging,
    ) -> RedisResult<bool> {
        loop {
            let committed = self
                .committer
                .commit(connection, lease, judging, Occasion::Farewell)
                .await;
            match committed {
                Err(error) if is_full(&error) => {
                    self.full(judging, &error);
                    sleep(PAUSE).await;
                }
                other => return other,
            }
        }
    }
}
