//! From connection to connection: the lease, what judging goes on from, outages.

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
use super::commit::{Committer, Mark};
use super::intake::{Intake, Taken};
use super::judging::{Judging, Recipe};
use super::lease::{Attempt, Lease};
use super::levels::Levels;
use super::orders::Order;
use super::outage::Outage;
use super::room::{Room, is_full};
use super::{connect, policy, restore};
use crate::judge::RuleSet;

/// How often a stand-by looks at the lease, which lives for 3 s.
const STAND_BY: Duration = Duration::from_millis(500);
/// How often the eviction policy is looked at while it is wrong at start.
const POLICY_RETRY: Duration = Duration::from_secs(2);

/// The analyzer's line from Redis to Redis.
#[derive(Debug)]
pub struct Engine {
    pub(super) redis: RedisConfig,
    pub(super) keys: Keys,
    name: String,
    recipe: Recipe,
    pub(super) service: Service,
    pub(super) outage: Outage,
    pub(super) levels: Levels,
    pub(super) file: AlertsFile,
    pub(super) committer: Committer,
    pub(super) judging: Option<Judging>,
    pub(super) lease: Option<Lease>,
    pub(super) orders: UnboundedReceiver<Order>,
    ready: bool,
    pub(super) policy: Option<String>,
    pub(super) room: Room,
}

/// How a time with one set of connections ended.
pub enum End {
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
            levels: Levels::new(keys.clone()),
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
            room: Room::default(),
        }
    }

    /// Runs until it is ordered to stop; outlives every failure of Redis.
    ///
    /// # Errors
    /// Rules that cannot be read at all.
    pub async fn run(mut self) -> anyhow::Result<()> {
        // Wrong rules are an error of the configuration: said at once, not at a take-over.
        RuleSet::load(self.recipe.rules.as_deref())?;
        let end = self.sessions().await;
        put_away(self.judging.take());
        end
    }

    async fn sessions(&mut self) -> anyhow::Result<()> {
        loop {
            match self.session().await {
                Ok(End::Stopped) => return Ok(()),
                Ok(End::Deposed) => tracing::warn!("the lease is lost; standing by"),
                Err(Broken::Redis(error)) => {
                    self.outage.failed(&error, &self.redis, &mut self.service);
                    if let Some(judging) = &mut self.judging {
                        if is_full(&error) {
                            judging.redis_full();
                        } else {
                            judging.redis_away();
                        }
                    }
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
        let end = self.serve(&mut connection).await;
        if matches!(&end, Err(Broken::Redis(error)) if is_full(error)) {
            self.make_room(&mut connection).await?;
        }
        end
    }

    async fn serve(&mut self, connection: &mut MultiplexedConnection) -> Result<End, Broken> {
        if !self.fit(connection).await? {
            return Ok(End::Stopped);
        }
        let server = policy::run_id(connection).await?;
        if let Some(before) = &self.lease {
            // A command of before may have filled a list that was given up meanwhile.
            self.announce(connection, before).await?;
        }
        let Some(lease) = self.stand_by(connection).await? else {
            return Ok(End::Stopped);
        };
        // Ours from here on, whatever fails: the next attempt must not wait for it to run out.
        self.lease = Some(lease.clone());
        // Known before the first batch is moved there, so that no crash can hide it.
        self.announce(connection, &lease).await?;
        let Some(mut judging) = self.continued(connection, &lease).await? else {
            return Ok(End::Deposed);
        };
        judging.served_by(server.as_bytes());
        judging.waiting.relist();
        let mut intake = Intake::start(self.redis.clone(), self.keys.clone(), lease.clone());
        let end = self
            .judge(connection, &lease, &mut judging, &mut intake)
            .await;
        if end.is_err() {
            // Should Redis have lost them, they are nowhere else.
            rest(&mut intake, &mut judging);
        }
        self.judging = Some(judging);
        end
    }

    /// Makes an in-flight list known to whoever holds the lease.
    async fn announce(
        &self,
        connection: &mut MultiplexedConnection,
        lease: &Lease,
    ) -> RedisResult<()> {
        redis::cmd("SADD")
            .arg(self.keys.consumers())
            .arg(&lease.consumer)
            .exec_async(connection)
            .await
    }

    /// Waits until Redis is fit for use, if it never was; false when ordered to stop.
    pub(super) async fn fit(
        &mut self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<bool> {
        loop {
            let before = self.policy.take();
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
                None => {
                    if before.is_some() {
                        self.outage.over();
                    }
                    return Ok(true);
                }
            }
        }
    }

    /// Tries for the lease until it is ours; None when ordered to stop.
    async fn stand_by(
        &mut self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<Option<Lease>> {
        loop {
            let before = self.lease.as_ref();
            let attempt = Lease::attempt(connection, &self.keys, &self.name, before).await?;
            self.outage.over();
            self.is_ready();
            match attempt {
                Attempt::Ours(lease) => return Ok(Some(lease)),
                Attempt::Theirs(holder) => {
                    // The holder commits; what is in memory here will not be true.
                    put_away(self.judging.take());
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
        let mark = restore::mark(connection, &self.keys).await?;
        if let Some(mut judging) = self.judging.take() {
            match self.committer.compare(mark.as_deref()) {
                Mark::Last => {
                    judging.pending.applied();
                    return Ok(Some(judging));
                }
                Mark::OneBefore => {
                    judging.pending.tried = None;
                    return Ok(Some(judging));
                }
                Mark::Missing => {
                    tracing::warn!("redis: it lost the checkpoint; judging goes on from memory");
                    self.committer.start_over();
                    judging.all_changed();
                    judging.redis_lost();
                    return Ok(Some(judging));
                }
                Mark::Foreign => put_away(Some(judging)),
            }
        }
        let Some(fields) = restore::read(connection, &self.keys, lease).await? else {
            return Ok(None);
        };
        self.committer.begins_at(mark);
        if fields.is_empty() {
            tracing::info!(
                lease = lease.consumer,
                "judging begins without a checkpoint"
            );
            return Ok(Some(
                Judging::new(self.recipe.clone()).map_err(Broken::Rules)?,
            ));
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

/// Drops what nobody needs any more, aside: its sequence thread is waited for then, and may be
/// in the middle of something long.
fn put_away(judging: Option<Judging>) {
    if let Some(judging) = judging {
        std::thread::spawn(move || drop(judging));
    }
}

/// Judges what was taken already, and ends the taking.
pub fn rest(intake: &mut Intake, judging: &mut Judging) {
    intake.stop();
    while let Some(taken) = intake.rest() {
        if let Taken::Batch(bytes) = taken {
            judging.take(&bytes.into());
        }
    }
}

/// Reads the rules anew; wrong ones change nothing.
pub fn reload(judging: &mut Judging) {
    match judging.reload() {
        Ok(()) => tracing::info!("rules: {} are in force", judging.rules),
        Err(error) => tracing::error!("rules: {error:#}; the old ones stay in force"),
    }
}

/// What ends a session without an order.
pub enum Broken {
    /// Redis failed.
    Redis(redis::RedisError),
    /// The rules cannot be read.
    Rules(anyhow::Error),
}

impl From<redis::RedisError> for Broken {
    fn from(error: redis::RedisError) -> Self {
        Self::Redis(error)
    }
}
