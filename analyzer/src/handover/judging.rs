//! Everything that judging one host knows: what a checkpoint restores and a commit saves.
//! Synchronous and free of Redis.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Instant;

use ravn_shared::event::{Event, Record};
use ravn_shared::text::escape;
use ravn_shared::wire::{self, Batch, Header};

use super::boots::{Boot, Boots};
use super::facing::{self, Refusal};
use super::ledger::{Ledger, Sight};
use super::pending::Pending;
use super::rates::Rates;
use super::sequence_word::SequenceWord;
use super::waiting::Waiting;
use crate::checkpoint::CheckpointError;
use crate::judge::{Alert, Judge, RuleSet, Setup};
use crate::sequence::{self, Options, Report, SequenceHandle};
use crate::verdict::Mode;

/// Most bytes of a dead batch that are kept for a look.
const LETTER_BYTES: usize = 64 * 1024;

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
    /// What the sequence thread said last.
    pub said: SequenceWord,
    boots: Boots,
    done_upto: u64,
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
            sequence: sequence::spawn(Options {
                model: recipe.model.clone(),
                ..Options::default()
            }),
            said: SequenceWord::none_yet(),
            boots,
            done_upto: 0,
            rules: version,
            recipe,
            #[cfg(test)]
            break_on: None,
        })
    }

    /// Takes the checkpoint's fields back; how many could not be used.
    ///
    /// # Errors
    /// Rules that cannot be read.
    pub fn restored(
        recipe: Recipe,
        fields: Vec<(String, Vec<u8>)>,
    ) -> anyhow::Result<(Self, usize)> {
        let mut judging = Self::new(recipe)?;
        let (mut refused, mut sequences) = (0, Vec::new());
        if let Some((_, boots)) = fields.iter().find(|(name, _)| name == "l:boots") {
            judging.boots.restore(boots);
            judging.judge = judging.new_judge()?;
        }
        for (name, value) in fields {
            let taken = match name.split(':').next() {
                Some("p" | "i" | "j") => {
                    judging.pending.saved.insert(name.clone());
                    judging.judge.restore(&name, &value)
                }
                Some("s" | "c") => {
                    sequences.push((name, value));
                    continue;
                }
                _ => judging.restore_own(&name, &value),
            };
            if let Err(error) = taken {
                tracing::warn!("{error}");
                judging.pending.fields.insert(name, None);
                refused += 1;
            }
        }
        judging.sequence.restore(sequences);
        judging.pending.published = None;
        Ok((judging, refused))
    }

    fn restore_own(&mut self, name: &str, value: &[u8]) -> Result<(), CheckpointError> {
        match name {
            "l:boots" | "l:at" => {}
            "l:changes" => {
                let text = str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok());
                self.pending.changes = text.ok_or_else(|| CheckpointError {
                    field: name.to_owned(),
                    cause: "not a number".to_owned(),
                })?;
            }
            _ => self.ledger.restore(name, value)?,
        }
        Ok(())
    }

    fn new_judge(&self) -> anyhow::Result<Judge> {
        let rules = RuleSet::load(self.recipe.rules.as_deref())?;
        Ok(new_judge(&self.recipe, &self.boots, rules))
    }

    /// CLOCK_BOOTTIME of the judged host now.
    pub fn now_ns(&self) -> u64 {
        self.boots.now_ns()
    }

    /// The sequence thread's channel of reports.
    pub fn sequence(&mut self) -> &mut SequenceHandle {
        &mut self.sequence
    }

    /// Judges a batch as it came out of Redis. False if it was judged before and only came
    /// again, over a new connection.
    pub fn take(&mut self, bytes: &Arc<[u8]>) -> bool {
        if self.waiting.came_again(bytes) {
            return false;
        }
        match self.read(bytes) {
            Ok(batch) => {
                self.observe(&batch);
                let id = self.waiting.push_fed(bytes);
                self.sequence.feed(id, Arc::clone(bytes));
            }
            Err(refusal) => {
                let size = bytes.len();
                tracing::warn!("a batch of {size} bytes is in events:dead: {refusal}");
                let notice = facing::notice_of(&refusal, bytes);
                self.judge.notice(notice, self.boots.now_ns());
                match refusal {
                    Refusal::Undecodable(_) => self.ledger.undecodable(),
                    Refusal::OtherHost(_) | Refusal::PastBoot => self.ledger.refused(),
                }
                let cut = bytes.len().min(LETTER_BYTES);
                self.waiting.push_dead(bytes, Arc::from(&bytes[..cut]));
            }
        }
        true
    }

    fn read<'b>(&mut self, bytes: &'b [u8]) -> Result<Batch<'b>, Refusal> {
        let batch =
            wire::decode_batch(bytes).map_err(|error| Refusal::Undecodable(error.to_string()))?;
        let header = &batch.header;
        if header.host != self.recipe.host {
            return Err(Refusal::OtherHost(escape(header.host.as_bytes())));
        }
        match self.boots.classify(header.boot_id) {
            Boot::Present => {}
            Boot::Next => self.next_boot(header.boot_id),
            Boot::Past => return Err(Refusal::PastBoot),
        }
        self.boots.offset(header.clock_offset_ns);
        Ok(batch)
    }

    /// The host was started anew: its processes are gone, so is what was known of them.
    fn next_boot(&mut self, boot_id: &[u8]) {
        let guessed = self.boots.present() == boot_id;
        self.boots.advance(boot_id);
        self.pending
            .fields
            .insert("l:boots".to_owned(), Some(self.boots.packed()));
        if guessed {
            return;
        }
        tracing::info!("batches of another boot of the host: its processes are judged anew");
        match self.new_judge() {
            Ok(judge) => {
                self.judge = judge;
                self.pending.forget_judge();
            }
            Err(error) => tracing::error!("rules: {error:#}; the last boot's judge goes on"),
        }
    }

    fn observe(&mut self, batch: &Batch<'_>) {
        let header = &batch.header;
        self.ledger.header(header);
        for record in &batch.records {
            if let Event::Chunk(chunk) = &record.event {
                self.ledger.chunk(header, record.cpu, record.n, chunk.count);
                continue;
            }
            let stream = record.event.stream();
            if self.ledger.record(header, stream, record.cpu, record.n) == Sight::New {
                self.rates.records += 1;
                self.rates.idle = false;
                self.rates.newest_ns = self.rates.newest_ns.max(record.time_ns);
                self.judge_record(header, record);
            }
        }
    }

    /// A record that makes the judge panic is put aside; the others are judged.
    fn judge_record(&mut self, header: &Header<'_>, record: &Record<'_>) {
        let judge = &mut self.judge;
        #[cfg(test)]
        let break_on = self.break_on;
        let judged = panic::catch_unwind(AssertUnwindSafe(|| {
            #[cfg(test)]
            assert!(break_on != Some(record.n), "asked for by a test");
            judge.observe(record, header.clock_offset_ns);
        }));
        if judged.is_err() {
            let stream = record.event.stream();
            let cause = format!(
                "record {} of stream {} on CPU {} broke the judge",
                record.n,
                stream.name(),
                record.cpu
            );
            tracing::error!("{cause}; it is in events:dead");
            self.ledger.broke(header, stream, record.cpu, record.n);
            self.judge
                .notice(facing::notice_of_breaker(cause), self.boots.now_ns());
            self.pending.letters.extend(letter(header, record));
        }
    }

    /// The sequence thread reports.
    pub fn report(&mut self, report: Report) {
        let now_ns = self.now_ns();
        for surprise in report.surprises {
            self.judge.surprise(surprise, now_ns);
        }
        for (load, cpu, first, count) in report.judged {
            self.rates.syscalls += u64::from(count);
            self.ledger.judged(load, cpu, first, count);
        }
        self.done_upto = self.done_upto.max(report.done_upto);
        self.pending.fields.extend(report.fields);
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
        if let Some(upto) = self.waiting.overdue(self.done_upto, Instant::now()) {
            self.sequence_failed("no word for 30 s", upto);
        }
    }

    /// Alerts that were made since the last call; they wait for the commit too.
    pub fn new_alerts(&mut self) -> Vec<Alert> {
        let alerts = self.judge.take_alerts();
        self.pending.add_alerts(&alerts);
        alerts
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
            || self
                .pending
                .published
                .is_some_and(|published| self.judge.level() > published)
    }

    /// Gathers what changed since the last commit.
    pub fn gather(&mut self) {
        self.pending.judge(self.judge.changed());
        self.pending.fields.extend(self.ledger.changed());
    }

    /// Everything that can be told again is told in the next commit: Redis has lost it.
    pub fn all_changed(&mut self) {
        self.ledger.all_changed();
        self.pending
            .fields
            .insert("l:boots".to_owned(), Some(self.boots.packed()));
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

/// A record alone in a batch of its own, so that `events:dead` can be decoded.
fn letter(header: &Header<'_>, record: &Record<'_>) -> Option<Arc<[u8]>> {
    let (mut body, mut bytes) = (Vec::new(), Vec::new());
    wire::encode_record(record, &mut body).ok()?;
    wire::encode_batch(header, std::iter::once(body.as_slice()), &mut bytes).ok()?;
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use ravn_shared::clock;
    use ravn_shared::event::{Exit, Place, Task};
    use ravn_shared::kind::Class;
    use ravn_shared::wire::{Lost, SCHEMA};

    use super::*;
    use crate::sequence::ModelSource;

    fn recipe() -> Recipe {
        Recipe {
            host: "h".to_owned(),
            rules: None,
            model: ModelSource::None,
        }
    }

    fn exits(boot_id: [u8; 16], numbers: std::ops::Range<u64>) -> Arc<[u8]> {
        let header = Header {
            schema: SCHEMA,
            host: "h",
            boot_id: &boot_id,
            run_id: 1,
            batch_no: numbers.start,
            clock_offset_ns: clock::offset_ns(),
            class: Class::Essential,
            source: ("x86_64", 250),
            lost: Lost::default(),
        };
        let encode = |n| {
            let mut bytes = Vec::new();
            let event = Event::Exit(Exit {
                status: 0,
                thread_start_ns: 1,
                process: true,
            });
            let record = Record {
                cpu: 0,
                n,
                time_ns: 1_000,
                task: Task::default(),
                place: Place::default(),
                event,
            };
            wire::encode_record(&record, &mut bytes).unwrap();
            bytes
        };
        let records: Vec<Vec<u8>> = numbers.map(encode).collect();
        let mut bytes = Vec::new();
        wire::encode_batch(&header, records.iter().map(Vec::as_slice), &mut bytes).unwrap();
        bytes.into()
    }

    fn judged(judging: &Judging) -> (u64, u64) {
        let records = judging.ledger.account(judging.now_ns()).records;
        (records.judged, records.dead)
    }

    #[test]
    fn a_record_that_breaks_the_judge_is_put_aside_and_the_others_are_judged() {
        let mut judging = Judging::new(recipe()).unwrap();
        judging.break_on = Some(1);
        let boot = clock::boot_id().unwrap();
        judging.take(&exits(boot, 0..3));
        assert_eq!(judged(&judging), (2, 1));
        let letter = judging.pending.letters.first().unwrap();
        let letter = wire::decode_batch(letter).unwrap();
        assert_eq!(letter.records.len(), 1);
        assert_eq!(letter.records[0].n, 1);
    }

    #[test]
    fn a_restored_judging_repeats_nothing_and_knows_its_boots() {
        let mut judging = Judging::new(recipe()).unwrap();
        judging.take(&exits([1; 16], 0..10));
        judging.take(&exits([2; 16], 10..20));
        judging.gather();
        let fields = judging.pending.fields.drain();
        let fields = fields
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        let (mut back, refused) = Judging::restored(recipe(), fields).unwrap();
        assert_eq!(refused, 0);
        back.take(&exits([2; 16], 5..25));
        assert_eq!(judged(&back), (25, 0));
        back.take(&exits([1; 16], 25..26));
        assert_eq!(judged(&back), (25, 0), "that boot is over");
        assert_eq!(back.ledger.dead_batches(), 1);
    }

    #[test]
    fn damaged_fields_are_dropped_from_the_checkpoint() {
        let fields = vec![
            ("l:n:1:0:0".to_owned(), b"junk".to_vec()),
            ("x:unknown".to_owned(), Vec::new()),
        ];
        let (judging, refused) = Judging::restored(recipe(), fields).unwrap();
        assert_eq!(refused, 2);
        assert_eq!(judging.pending.fields.get("x:unknown"), Some(&None));
    }
}
