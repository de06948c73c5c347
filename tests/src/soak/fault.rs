//! What goes wrong, at times that chance decides.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Soak;
use super::chance::Chance;
use crate::harness::proxy::Way;
use crate::harness::sandbox::PATIENCE;

/// A fault. All of them end by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing went wrong.
    None,
    /// Redis is killed and comes back with its data.
    RedisKilled,
    /// Redis answers nothing for a time.
    RedisStopped,
    /// Every connection is cut in the middle of a message.
    ConnectionsCut,
    /// The analyzer is killed and started anew.
    AnalyzerKilled,
    /// The analyzer stands still for a time.
    AnalyzerStopped,
    /// The collector is killed and started anew: what it had in memory is told as unexplained.
    CollectorKilled,
    /// The collector stands still for a time: what its rings cannot hold is told.
    CollectorStopped,
    /// Both passwords are changed, in Redis first.
    PasswordChanged,
    /// Both are told to read their configuration anew.
    Reloaded,
}

impl Fault {
    /// All that can be drawn.
    pub const ALL: [Self; 9] = [
        Self::RedisKilled,
        Self::RedisStopped,
        Self::ConnectionsCut,
        Self::AnalyzerKilled,
        Self::AnalyzerStopped,
        Self::CollectorKilled,
        Self::CollectorStopped,
        Self::PasswordChanged,
        Self::Reloaded,
    ];

    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "no fault",
            Self::RedisKilled => "Redis killed",
            Self::RedisStopped => "Redis stopped",
            Self::ConnectionsCut => "connections cut",
            Self::AnalyzerKilled => "analyzer killed",
            Self::AnalyzerStopped => "analyzer stopped",
            Self::CollectorKilled => "collector killed",
            Self::CollectorStopped => "collector stopped",
            Self::PasswordChanged => "passwords changed",
            Self::Reloaded => "reloaded",
        }
    }

    /// Whose process ends or stands still: it cannot feed its watchdog.
    pub const fn stops(self) -> Option<Who> {
        match self {
            Self::CollectorKilled | Self::CollectorStopped => Some(Who::Collector),
            Self::AnalyzerKilled | Self::AnalyzerStopped => Some(Who::Analyzer),
            _ => None,
        }
    }

    /// Whether a daemon begins anew: what it holds is no longer what it grew to.
    pub const fn renews(self) -> bool {
        matches!(self, Self::CollectorKilled | Self::AnalyzerKilled)
    }

    /// Whether a gap in the numbers may have no other reason than it.
    pub const fn excuses_gaps(self) -> bool {
        matches!(self, Self::CollectorKilled)
    }
}

/// A daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The collector.
    Collector,
    /// The analyzer.
    Analyzer,
}

/// Every fault once in an order of chance, then anew: a short run has seen many kinds too.
#[derive(Debug, Default)]
pub struct Deck(Vec<Fault>);

impl Deck {
    /// The next one; without `renewing`, of those that leave both daemons running.
    pub fn draw(&mut self, chance: &mut Chance, renewing: bool) -> Fault {
        if !renewing {
            self.0.retain(|fault| !fault.renews());
        }
        if self.0.is_empty() {
            let all = Fault::ALL.into_iter();
            self.0
                .extend(all.filter(|fault| renewing || !fault.renews()));
        }
        self.0.swap_remove(chance.below(self.0.len()))
    }
}

impl Soak {
    /// Lets it happen, and end; says how.
    ///
    /// # Errors
    /// When what was killed does not start again.
    pub(super) fn inject(&mut self, fault: Fault) -> Result<String> {
        self.world.still = fault.stops();
        let injected = self.injected(fault);
        self.world.still = None;
        injected
    }

    fn injected(&mut self, fault: Fault) -> Result<String> {
        match fault {
            Fault::None => Ok(String::new()),
            Fault::RedisKilled => {
                self.world.redis_answers = false;
                self.world.sandbox.redis.kill();
                let away = self.wait(0.5, 8.0)?;
                self.world.sandbox.redis.run()?;
                self.world.redis_answers = true;
                Ok(format!("away for {away:.1} s, back with its data"))
            }
            Fault::RedisStopped => {
                self.world.redis_answers = false;
                self.world.sandbox.redis.signal(libc::SIGSTOP)?;
                let away = self.wait(5.0, 20.0);
                self.world.sandbox.redis.signal(libc::SIGCONT)?;
                self.world.redis_answers = true;
                Ok(format!("for {:.1} s", away?))
            }
            Fault::ConnectionsCut => {
                let way = [Way::Request, Way::Reply][self.chance.below(2)];
                self.world.proxy.cut(way);
                Ok(format!("within a {way:?}").to_lowercase())
            }
            Fault::AnalyzerKilled => {
                self.world.analyzer()?.kill()?;
                self.world.silence.analyzer.excuse();
                let away = self.wait(0.0, 2.0)?;
                self.world.sandbox.spawn_analyzer()?.wait_ready(PATIENCE)?;
                Ok(format!("away for {away:.1} s"))
            }
            Fault::CollectorKilled => {
                self.world.collector()?.kill()?;
                self.world.silence.collector.excuse();
                let away = self.wait(0.0, 2.0)?;
                self.world.sandbox.spawn_collector()?.wait_ready(PATIENCE)?;
                Ok(format!("away for {away:.1} s"))
            }
            Fault::AnalyzerStopped => {
                self.world.analyzer()?.signal(libc::SIGSTOP)?;
                self.world.silence.analyzer.excuse();
                let away = self.wait(1.0, 9.0);
                self.world.analyzer()?.signal(libc::SIGCONT)?;
                Ok(format!("for {:.1} s", away?))
            }
            Fault::CollectorStopped => {
                self.world.collector()?.signal(libc::SIGSTOP)?;
                self.world.silence.collector.excuse();
                let away = self.wait(1.0, 9.0);
                self.world.collector()?.signal(libc::SIGCONT)?;
                Ok(format!("for {:.1} s", away?))
            }
            Fault::PasswordChanged => self.change_passwords(),
            Fault::Reloaded => {
                self.world.collector()?.signal(libc::SIGHUP)?;
                self.world.analyzer()?.signal(libc::SIGHUP)?;
                Ok("both".to_owned())
            }
        }
    }

    /// The load goes on for so many seconds, which chance decides.
    fn wait(&mut self, low: f64, high: f64) -> Result<f64> {
        let seconds = self.chance.between(low, high);
        self.world.faulty = true;
        let waited = self.pause(Duration::from_secs_f64(seconds));
        self.world.faulty = false;
        waited.map(|()| seconds)
    }

    fn change_passwords(&mut self) -> Result<String> {
        let password = format!("{:016x}", self.chance.next());
        let mut admin = self.world.sandbox.redis.admin()?;
        for user in ["ravn-collector", "ravn-analyzer"] {
            redis::cmd("ACL")
                .arg(&["SETUSER", user, "resetpass", &format!(">{password}")])
                .exec(&mut admin)?;
            redis::cmd("CLIENT")
                .arg(&["KILL", "USER", user])
                .exec(&mut admin)?;
        }
        // A Redis that is started anew reads its users from the file.
        redis::cmd("ACL").arg("SAVE").exec(&mut admin)?;
        let away = self.wait(0.5, 5.0)?;
        for user in ["collector", "analyzer"] {
            let folder = self.world.sandbox.folder();
            let file = crate::harness::redis_server::password_file(folder, user);
            std::fs::write(&file, format!("{password}\n"))
                .with_context(|| format!("write {}", file.display()))?;
        }
        Ok(format!("the files {away:.1} s later"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_end_no_daemon_begins_anew() {
        let (mut deck, mut chance) = (Deck::default(), Chance::new(4));
        deck.draw(&mut chance, true);
        let drawn: Vec<Fault> = (0..40).map(|_| deck.draw(&mut chance, false)).collect();
        assert!(!drawn.iter().any(|fault| fault.renews()), "{drawn:?}");
        assert!(drawn.contains(&Fault::RedisKilled), "{drawn:?}");
    }

    #[test]
    fn a_deck_has_every_fault_once_before_any_comes_again() {
        let (mut deck, mut chance) = (Deck::default(), Chance::new(3));
        let rounds: Vec<Vec<Fault>> = (0..2)
            .map(|_| Fault::ALL.map(|_| deck.draw(&mut chance, true)).to_vec())
            .collect();
        for round in &rounds {
            for fault in Fault::ALL {
                let times = round.iter().filter(|drawn| **drawn == fault).count();
                assert_eq!(times, 1, "{} in {round:?}", fault.name());
            }
        }
        assert_ne!(rounds[0], rounds[1]);
    }
}
