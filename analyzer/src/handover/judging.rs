//! Everything that judging one host knows: what a checkpoint restores and a commit saves.
//! Synchronous and free of Redis.

mod checkpoint;
mod take;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use super::boots::Boots;
use super::facing;
use super::ledger::Ledger;
use super::pending::Pending;
use super::rates::Rates;
use super::sequence_word::SequenceWord;
use super::waiting::{PATIENCE, Waiting};
use crate::judge::{Alert, Judge, RuleSet, Setup};
use crate::sequence::{self, ModelSource, Options, Report, SequenceHandle};
use crate::verdict::Mode;

/// A sequence thread that works reports each turn, many a second.
const STUCK_AFTER: Duration = Duration::from_secs(2);

/// While judging, Redis answers at least once a second: a commit, or that the queue is empty. When
/// it does not, what waits for more waits on. Below the 1.5 s that it waits by design.
const SILENCE: Duration = Duration::from_millis(1100);

/// The field of the checkpoint with the boot that `s:` and `c:` are of.
pub const SEQUENCES_OF: &str = "l:sequences";

/// How a judge and a sequence thread are made.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The host that is judged.
    pub host: String,
    /// Folder of rules, None for those built in.
    pub rules: Option<std::path::PathBuf>,
    /// The model.
    pub model: crate::sequence::ModelSource,
}

/// One host's judging.
#[derive(Debug)]
pub struct Judging {
    recipe: Recipe,
    /// The judge.
    pub judge: Judge,
    /// The ledger.
    pub ledger: Ledger,
    /// Batches not covered yet.
    pub waiting: Waiting,
    /// Rates and shares.
    pub rates: Rates,
    /// What the next commit has to say.
    pub pending: Pending,
    sequence: SequenceHandle,
    /// A model is configured: the sequence thread has something to do.
    scores: bool,
    /// What the sequence thread said last.
    pub said: SequenceWord,
    boots: Boots,
    /// Run id of the Redis that holds the queue.
    server: Option<Vec<u8>>,
    done_upto: u64,
    /// The boot that the sequence thread's fields are of.
    sequences_of: Option<[u8; 16]>,
    /// Times that the sequence thread was told to begin anew.
    begun: u64,
    /// The sequence thread was asked for all of its fields, and has not told them.
    untold: bool,
    /// No connection to Redis can be had, and not for want of its memory.
    away: bool,
    /// When the sequence thread last said something.
    heard: Instant,
    /// When it was last done with more batches than before.
    moved: Instant,
    /// Version of the rules in force.
    pub rules: String,
    /// Number of a record that breaks the judge.
    #[cfg(test)]
    break_on: Option<u64>,
}

impl Judging {
    /// A judging that knows nothing yet.
    ///
    /// # Errors
    /// Rules that cannot be read.
    pub fn new(recipe: Recipe) -> anyhow::Result<Self> {
        let boots = Boots::new();
        let rules = RuleSet::load(recipe.rules.as_deref())?;
        let version = rules.version();
        Ok(Self {
            judge: new_judge(&recipe, &boots, rules),
            ledger: Ledger::fresh(),
            waiting: Waiting::default(),
            rates: Rates::default(),
            pending: Pending::default(),
            scores: !matches!(recipe.model, ModelSource::None),
            sequence: sequence::spawn(Options {
                model: recipe.model.clone(),
                ..Options::default()
            }),
            said: SequenceWord::none_yet(),
            boots,
            server: None,
            done_upto: 0,
            sequences_of: None,
            begun: 0,
            untold: false,
            away: false,
            heard: Instant::now(),
            moved: Instant::now(),
            rules: version,
            recipe,
            #[cfg(test)]
            break_on: None,
        })
    }

    fn new_judge(&self) -> anyhow::Result<Judge> {
        let rules = RuleSet::load(self.recipe.rules.as_deref())?;
        Ok(new_judge(&self.recipe, &self.boots, rules))
    }

    /// CLOCK_BOOTTIME of the judged host now.
    pub fn now_ns(&self) -> u64 {
        self.boots.now_ns()
    }

    /// The same by the time of day: for how far behind the newest record is.
    pub fn reckoned_ns(&self) -> u64 {
        self.boots.reckoned_ns()
    }

    /// The sequence thread's channel of reports.
    pub fn sequence(&mut self) -> &mut SequenceHandle {
        &mut self.sequence
    }

    /// The sequence thread reports.
    pub fn report(&mut self, report: Report) {
        self.heard = Instant::now();
        let now_ns = self.now_ns();
        let present = Some(self.boots.present());
        if report.began == self.begun && self.sequences_of != present {
            self.sequences_begin();
        }
        // Of a boot before, nobody is there any more.
        if self.sequences_of == present {
            for surprise in report.surprises {
                self.judge.surprise(surprise, now_ns);
            }
        }
        for (load, cpu, first, count) in report.judged {
            self.rates.syscalls += self.ledger.judged(load, cpu, first, count);
        }
        if report.done_upto > self.done_upto {
            self.done_upto = report.done_upto;
            self.moved = self.heard;
        }
        self.pending.fields.extend(report.fields);
        if report.whole {
            self.all_told();
        }
        self.rates.tokens(report.tokens_seen, report.tokens_scored);
        let said = SequenceWord {
            mode: report.mode,
            reason: report.mode_reason,
            model: report.model,
        };
        if said != self.said {
            tracing::info!(
                mode = said.mode.word(),
                reason = said.reason,
                model = said.model,
                "judging"
            );
            self.said = said;
        }
    }

    /// The sequence thread is not there any more, or stuck: rules judge alone.
    pub fn sequence_failed(&mut self, reason: &str, upto: u64) {
        if self.said.reason != reason {
            tracing::error!("sequences: {reason}; rules judge alone");
        }
        self.done_upto = self.done_upto.max(upto);
        reason.clone_into(&mut self.said.reason);
        self.said.mode = Mode::Rules;
        self.all_told();
    }

    /// From here on the sequence thread speaks of the present boot alone.
    fn sequences_begin(&mut self) {
        let boot = self.boots.present();
        self.sequences_of = Some(boot);
        let field = (SEQUENCES_OF.to_owned(), Some(boot.to_vec()));
        self.pending.fields.extend([field]);
    }

    /// Redis is away: what is missing cannot come now, and neither can what waits for it.
    pub fn redis_away(&mut self) {
        self.away = true;
        self.ledger.redis_away();
        self.sequence.stand_still();
    }

    /// Redis is at maxmemory: nothing comes either, but what waits in the sequence thread waits in
    /// Redis too, and must be let go.
    pub fn redis_full(&mut self) {
        if std::mem::take(&mut self.away) {
            // The sequence thread waited for Redis until now, as it should.
            self.moved = Instant::now();
        }
        self.ledger.redis_away();
        self.sequence.go_on();
    }

    /// Redis gave an answer, whatever it is.
    pub fn redis_spoke(&self) {
        self.sequence.go_on_for(SILENCE);
    }

    /// Redis is there again, with what it held or without.
    pub fn redis_serves(&mut self) {
        self.away = false;
        self.ledger.redis_serves();
        self.redis_spoke();
        self.moved = Instant::now();
    }

    /// A second has passed.
    pub fn tick(&mut self) {
        let now_ns = self.now_ns();
        self.ledger.tick(now_ns);
        self.rates.tick();
        let account = self.ledger.account(now_ns);
        self.judge
            .set_context(facing::context_of(&self.said, &account));
        self.judge
            .losses(facing::losses_of(self.ledger.window()), now_ns);
        self.judge.tick(now_ns);
        // One that is behind and goes on is waited for; what it sits on is no measure of that.
        let stuck = self.moved.elapsed() > PATIENCE && !self.away;
        if stuck && let Some(upto) = self.waiting.overdue(self.done_upto, Instant::now()) {
            self.sequence_failed("no word for 30 s", upto);
        }
    }

    /// Alerts that were made since the last call; they wait for the commit too.
    pub fn new_alerts(&mut self) -> Vec<Alert> {
        let alerts = self.judge.take_alerts();
        self.pending.add_alerts(&alerts);
        alerts
    }

    /// Whether the sequence thread is so far behind that it must be waited for. One that says
    /// nothing is not: rules do not wait for a model that is stuck.
    pub fn is_behind(&self) -> bool {
        self.waiting.is_full() && self.heard.elapsed() < STUCK_AFTER
    }

    /// How many of the oldest batches a commit covers now.
    pub fn covered(&self) -> usize {
        self.waiting.covered(self.done_upto)
    }

    /// Whether the sequence thread is done with everything that it was fed.
    pub fn is_done(&self) -> bool {
        self.done_upto >= self.waiting.last_id()
    }

    /// Whether a commit must not wait for its second.
    pub fn is_urgent(&self) -> bool {
        !self.pending.alerts.is_empty()
            || self.pending.retold
            || self
                .pending
                .published
                .is_some_and(|published| self.judge.level() > published)
    }

    /// Takes other rules into use, and the model anew.
    ///
    /// # Errors
    /// Rules that cannot be read; the old ones stay.
    pub fn reload(&mut self) -> anyhow::Result<()> {
        let rules = RuleSet::load(self.recipe.rules.as_deref())?;
        self.rules = rules.version();
        self.judge.set_rules(rules);
        self.sequence.reload();
        Ok(())
    }
}

fn new_judge(recipe: &Recipe, boots: &Boots, rules: RuleSet) -> Judge {
    let mut judge = Judge::new(Setup {
        host: recipe.host.clone(),
        boot_id: boots.present(),
        rules,
        processes: 0,
    });
    // Until a batch tells the host's own.
    judge.set_clock_offset(ravn_shared::clock::offset_ns());
    judge
}
