//! The one loop: it owns the judging, and everything that the outside sees goes through it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use tokio::time::sleep_until;

use super::commit::Occasion;
use super::engine::{Broken, End, Engine, reload, rest};
use super::intake::{Intake, Taken};
use super::judging::Judging;
use super::lease::Lease;
use super::orders::Order;
use super::state;
use super::tap::Tap;

/// The word, the state and the lease are renewed this often.
const SECOND: Duration = Duration::from_secs(1);
/// A commit does not wait for its second when so many batches could go.
const MANY: usize = 64;
/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(5);
/// How often the eviction policy is looked at.
const POLICY_EVERY: Duration = Duration::from_secs(300);

impl Engine {
    /// Judges until something ends it.
    pub(super) async fn judge(
        &mut self,
        connection: &mut MultiplexedConnection,
        lease: &Lease,
        judging: &mut Judging,
        intake: &mut Intake,
    ) -> Result<End, Broken> {
        let tap = Tap::start(self.redis.clone(), self.keys.tap());
        let mut next = Instant::now();
        let mut policy_at = next + POLICY_EVERY;
        if !judging.is_whole() {
            // A moment for the sequence thread: then the first commit can replace the checkpoint.
            next += SECOND;
        }
        let mut sequence_gone = false;
        loop {
            let behind = judging.is_behind();
            if behind {
                judging.ledger.held_back();
            }
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(Order::Reload) => reload(judging),
                    Some(Order::Stop) | None => {
                        self.farewell(connection, lease, judging, intake).await?;
                        return Ok(End::Stopped);
                    }
                },
                report = judging.sequence().reports().recv(), if !sequence_gone => match report {
                    Some(report) => {
                        judging.report(report);
                        if behind {
                            // Nothing is taken meanwhile: this is what goes on.
                            self.service.beat();
                        }
                    }
                    None => sequence_gone = true,
                },
                taken = intake.next(), if !behind => {
                    judging.redis_spoke();
                    match taken {
                    Taken::Batch(bytes) => {
                        let bytes: Arc<[u8]> = bytes.into();
                        if judging.take(&bytes) {
                            tap.offer(&bytes);
                        }
                        self.service.beat();
                    }
                    Taken::Empty => {
                        judging.rates.idle = true;
                        self.service.beat();
                    }
                    Taken::Full(error) => self.full(judging, &error),
                    Taken::Failed(error) => return Err(error.into()),
                    Taken::Lost => return Ok(End::Deposed),
                    }
                },
                () = sleep_until(next.into()) => {}
            }
            if sequence_gone {
                judging.sequence_failed("its thread has ended; restart the analyzer", u64::MAX);
            }
            let second = Instant::now() >= next;
            if second {
                judging.tick();
                next = Instant::now() + SECOND;
                self.status(judging);
                self.levels.sweep(connection).await?;
            }
            self.file.tell(&judging.new_alerts());
            let occasion = if second {
                Occasion::Second
            } else {
                Occasion::Change
            };
            let due = second || judging.is_urgent() || judging.covered() > MANY;
            if due {
                if !self.commit(connection, lease, judging, occasion).await? {
                    return Ok(End::Deposed);
                }
                judging.redis_spoke();
            }
            if Instant::now() >= policy_at {
                self.fit(connection).await?;
                policy_at = Instant::now() + POLICY_EVERY;
            }
        }
    }

    fn status(&mut self, judging: &Judging) {
        let line = match &self.policy {
            Some(complaint) => complaint.clone(),
            // What was said of it stands.
            None if self.room.is_wanting() => return,
            None => state::line(judging),
        };
        self.service.status(&line);
    }

    /// Judges what was taken, commits it, and takes the word back.
    async fn farewell(
        &mut self,
        connection: &mut MultiplexedConnection,
        lease: &Lease,
        judging: &mut Judging,
        intake: &mut Intake,
    ) -> Result<(), Broken> {
        self.service.stopping();
        let deadline = Instant::now() + DRAIN;
        rest(intake, judging);
        // All that will come has come.
        judging.sequence().go_on();
        // Half for the sequences, half for Redis: what is left waits in its list.
        let half = (deadline - DRAIN / 2).into();
        while !judging.is_done() || !judging.is_whole() {
            tokio::select! {
                report = judging.sequence().reports().recv() => match report {
                    Some(report) => judging.report(report),
                    None => break,
                },
                () = sleep_until(half) => break,
            }
        }
        judging.tick();
        self.file.tell(&judging.new_alerts());
        let commit = self.last_commit(connection, lease, judging);
        match tokio::time::timeout_at(deadline.into(), commit).await {
            Ok(Ok(true)) => tracing::info!("stopped; the lease is given back"),
            Ok(Ok(false)) => tracing::warn!("stopped; the lease was lost before"),
            Ok(Err(error)) => {
                self.outage.failed(&error, &self.redis, &mut self.service);
            }
            Err(_) => tracing::warn!("stopped without a last commit: redis did not take it"),
        }
        Ok(())
    }
}
