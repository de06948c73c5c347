//! The one loop: it owns the judging, and everything that the outside sees goes through it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ravn_shared::config::RedisConfig;
use ravn_shared::keys::Keys;
use ravn_shared::link::random_id;
use ravn_shared::service::Service;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, sleep_until};

use super::alerts::AlertsFile;
use super::commit::{Committer, Mark, Occasion};
use super::intake::{Intake, Taken};
use super::judging::{Judging, Recipe};
use super::lease::{Attempt, Lease};
use super::orders::Order;
use super::outage::Outage;
use super::tap::Tap;
use super::{connect, policy, restore, state};

/// The word, the state and the lease are renewed this often.
const SECOND: Duration = Duration::from_secs(1);
/// A commit does not wait for its second when so many batches could go.
const MANY: usize = 64;
/// How often a stand-by looks at the lease, which lives for 3 s.
const STAND_BY: Duration = Duration::from_millis(500);
/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(5);
/// How often the eviction policy is looked at.
const POLICY_EVERY: Duration = Duration::from_secs(300);
/// How often, while it is wrong at start.
const POLICY_RETRY: Duration = Duration::from_secs(2);

/// The analyzer's line from Redis to Redis.
#[derive(Debug)]
pub struct Engine {
    redis: RedisConfig,
    keys: Keys,
    name: String,
    recipe: Recipe,
    service: Service,
    outage: Outage,
    file: AlertsFile,
    committer: Committer,
    judging: Option<Judging>,
    lease: Option<Lease>,
    orders: UnboundedReceiver<Order>,
    ready: bool,
    policy: Option<String>,
}

/// How a time with one set of connections ended.
enum End {
    /// By an order.
    Stopped,
    /// The lease is another's.
    Deposed,
}

impl Engine {
    /// Nothing is connected yet. `name` is this analyzer's among those that share the list.
    pub fn new(
        redis: RedisConfig,
        name: String,
        recipe: Recipe,
        file: AlertsFile,
        orders: UnboundedReceiver<Order>,
    ) -> Self {
        let keys = Keys::new(&redis.prefix, redis.shared.then_some(recipe.host.as_str()));
        let me = format!("{:016x}", random_id());
        Self {
            committer: Committer::new(keys.clone(), recipe.host.clone(), me),
            redis,
            keys,
            name,
            recipe,
            service: Service::new(),
            outage: Outage::default(),
            file,
            judging: None,
            lease: None,
            orders,
            ready: false,
            policy: None,
        }
    }

    /// Runs until it is ordered to stop; outlives every failure of Redis.
    ///
    /// # Errors
    /// Rules that cannot be read at all.
    pub async fn run(mut self) -> anyhow::Result<()> {
        // Wrong rules are an error of the configuration: said at once, not at a take-over.
        self.judging = Some(Judging::new(self.recipe.clone())?);
        self.judging = None;
        loop {
            match self.session().await {
                Ok(End::Stopped) => return Ok(()),
                Ok(End::Deposed) => tracing::warn!("the lease is lost; standing by"),
                Err(Broken::Redis(error)) => {
                    self.outage.failed(&error, &mut self.service);
                    let wait = self.outage.backoff.wait();
                    if self.wait_out(wait).await {
                        return Ok(());
                    }
                }
                Err(Broken::Rules(error)) => return Err(error),
            }
        }
    }

    /// One set of connections, from opening them to their end.
    async fn session(&mut self) -> Result<End, Broken> {
        let mut connection = connect::open(&self.redis).await?;
        if !self.fit(&mut connection).await? {
            return Ok(End::Stopped);
        }
        let Some(lease) = self.stand_by(&mut connection).await? else {
            return Ok(End::Stopped);
        };
        // Known before the first batch is moved there, so that no crash can hide it.
        let mut consumers = redis::cmd("SADD");
        consumers.arg(self.keys.consumers()).arg(&lease.consumer);
        if let Some(before) = self.lease.replace(lease.clone()) {
            // Commands of before may have filled a list that was given up meanwhile.
            consumers.arg(before.consumer);
        }
        consumers.exec_async(&mut connection).await?;
        let Some(mut judging) = self.continued(&mut connection, &lease).await? else {
            return Ok(End::Deposed);
        };
        judging.waiting.relist();
        let intake = Intake::start(self.redis.clone(), self.keys.clone(), lease.clone());
        let end = self
            .judge(&mut connection, &lease, &mut judging, intake)
            .await;
        self.judging = Some(judging);
        end
    }

    /// Waits until Redis is fit for use, if it never was; false when ordered to stop.
    async fn fit(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<bool> {
        loop {
            self.policy = policy::check(connection).await?;
            match &self.policy {
                Some(complaint) if !self.ready => {
                    self.outage.say(complaint.clone(), &mut self.service);
                    self.service.extend(POLICY_RETRY * 5);
                    if self.wait_out(POLICY_RETRY).await {
                        return Ok(false);
                    }
                }
                Some(complaint) => {
                    self.outage.say(complaint.clone(), &mut self.service);
                    return Ok(true);
                }
                None => return Ok(true),
            }
        }
    }

    /// Tries for the lease until it is ours; None when ordered to stop.
    async fn stand_by(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<Option<Lease>> {
        loop {
            let before = self.lease.as_ref();
            let attempt = Lease::attempt(connection, &self.keys, &self.name, before).await?;
            self.outage.over();
            self.is_ready();
            match attempt {
                Attempt::Ours(lease) => return Ok(Some(lease)),
                Attempt::Theirs(holder) => {
                    // The holder commits; what is in memory here will not be true.
                    self.judging = None;
                    let holder = ravn_shared::text::escape(holder.as_bytes());
                    self.service.status(&format!("standing by for {holder}"));
                    self.service.beat();
                    tokio::select! {
                        order = self.orders.recv() => if order != Some(Order::Reload) {
                            return Ok(None);
                        },
                        () = sleep(STAND_BY) => {}
                    }
                }
            }
        }
    }

    fn is_ready(&mut self) {
        if !std::mem::replace(&mut self.ready, true) {
            self.service.ready();
        }
    }

    /// What is judged on with: what is in memory, if nobody has committed since, or else
    /// the checkpoint. None if the lease was lost meanwhile.
    async fn continued(
        &mut self,
        connection: &mut MultiplexedConnection,
        lease: &Lease,
    ) -> Result<Option<Judging>, Broken> {
        if let Some(mut judging) = self.judging.take() {
            let mark = restore::mark(connection, &self.keys).await?;
            match self.committer.compare(mark.as_deref()) {
                Mark::Last => {
                    judging.pending.applied();
                    return Ok(Some(judging));
                }
                Mark::OneBefore => return Ok(Some(judging)),
                Mark::Missing => {
                    tracing::warn!("redis: it lost the checkpoint; judging goes on from memory");
                    self.committer.start_over();
                    judging.all_changed();
                    return Ok(Some(judging));
                }
                Mark::Foreign => {}
            }
        }
        let Some(fields) = restore::read(connection, &self.keys, lease).await? else {
            return Ok(None);
        };
        if fields.is_empty() {
            tracing::info!(lease = lease.consumer, "judging begins without a checkpoint");
            return Ok(Some(Judging::new(self.recipe.clone()).map_err(Broken::Rules)?));
        }
        let count = fields.len();
        let (judging, refused) =
            Judging::restored(self.recipe.clone(), fields).map_err(Broken::Rules)?;
        tracing::info!(
            lease = lease.consumer,
            "judging goes on from the checkpoint: {count} fields, {refused} refused"
        );
        Ok(Some(judging))
    }

    /// Judges until something ends it.
    async fn judge(
        &mut self,
        connection: &mut MultiplexedConnection,
        lease: &Lease,
        judging: &mut Judging,
        mut intake: Intake,
    ) -> Result<End, Broken> {
        let tap = Tap::start(self.redis.clone(), self.keys.tap());
        let mut next = Instant::now();
        let mut policy_at = next + POLICY_EVERY;
        let mut sequence_gone = false;
        loop {
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
                    Some(report) => judging.report(report),
                    None => sequence_gone = true,
                },
                taken = intake.next() => match taken {
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
                    Taken::Failed(error) => return Err(error.into()),
                    Taken::Lost => return Ok(End::Deposed),
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
            }
            self.file.tell(&judging.new_alerts());
            if second || judging.is_urgent() || judging.covered() > MANY {
                let occasion = if second {
                    Occasion::Second
                } else {
                    Occasion::Change
                };
                let ours = self
                    .committer
                    .commit(connection, lease, judging, occasion)
                    .await?;
                if !ours {
                    return Ok(End::Deposed);
                }
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
        mut intake: Intake,
    ) -> Result<(), Broken> {
        self.service.stopping();
        let deadline = Instant::now() + DRAIN;
        intake.stop();
        while let Some(taken) = intake.rest() {
            if let Taken::Batch(bytes) = taken {
                judging.take(&bytes.into());
            }
        }
        // Half for the sequences, half for Redis: what is left waits in its list.
        let half = (deadline - DRAIN / 2).into();
        while !judging.is_done() {
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
        let commit = self
            .committer
            .commit(connection, lease, judging, Occasion::Farewell);
        match tokio::time::timeout_at(deadline.into(), commit).await {
            Ok(Ok(true)) => tracing::info!("stopped; the lease is given back"),
            Ok(Ok(false)) => tracing::warn!("stopped; the lease was lost before"),
            Ok(Err(error)) => self.outage.failed(&error, &mut self.service),
            Err(_) => tracing::warn!("stopped without a last commit: redis did not answer"),
        }
        Ok(())
    }

    /// Waits while Redis is away: the judge's time goes on, and its alerts still reach the
    /// file. True when ordered to stop.
    async fn wait_out(&mut self, wait: Duration) -> bool {
        if !self.ready {
            self.service.extend(wait * 5 + Duration::from_secs(10));
        }
        self.service.beat();
        if let Some(judging) = &mut self.judging {
            while let Ok(report) = judging.sequence().reports().try_recv() {
                judging.report(report);
            }
            judging.tick();
            let alerts = judging.new_alerts();
            self.file.tell(&alerts);
        }
        let until = Instant::now() + wait;
        loop {
            tokio::select! {
                order = self.orders.recv() => match (order, &mut self.judging) {
                    (Some(Order::Reload), Some(judging)) => reload(judging),
                    (Some(Order::Reload), None) => {}
                    _ => return true,
                },
                () = sleep_until(until.into()) => return false,
            }
        }
    }
}

fn reload(judging: &mut Judging) {
    match judging.reload() {
        Ok(()) => tracing::info!("rules: {} are in force", judging.rules),
        Err(error) => tracing::error!("rules: {error:#}; the old ones stay in force"),
    }
}

/// What ends a session without an order.
enum Broken {
    Redis(redis::RedisError),
    Rules(anyhow::Error),
}

impl From<redis::RedisError> for Broken {
    fn from(error: redis::RedisError) -> Self {
        Self::Redis(error)
    }
}
