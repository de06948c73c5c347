//! The sequence thread's work, without the thread: batches in, reports out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use foldhash::HashMap;
use ravn_shared::kind::Stream as RecordStream;

use super::apply::{Applied, apply};
use super::intake::{Intake, Numbers};
use super::lane::LaneId;
use super::merge::Released;
use super::ranges::Ranges;
use super::rounds::{self, Fault, Work};
use super::table::Table;
use super::{Options, Report};
use crate::checkpoint::Field;
use crate::horizon::Horizon;
use crate::model::engine::Stream;
use crate::model::net::HIDDEN;
use crate::model::score::ProcessScore;
use crate::model::{Model, ModelError};
use crate::verdict::{Mode, ProcessId, Surprise};

/// A thread that ended is kept so long, for what of it comes late or again.
const LINGER_NS: u64 = 2_000_000_000;
/// Seconds of the budget that a pause may save up.
const BURST_NS: u64 = 1_000_000_000;
/// A score is reported when it moved by so much.
const MOVED: f32 = 5.0;
/// Waits after a fault: doubles up to the second.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// All state of the sequence thread.
pub struct Worker {
    options: Options,
    intake: Intake,
    table: Table,
    model: Option<Model>,
    reason: String,
    name: String,
    rest: Duration,
    retry_at: Option<Instant>,
    tokens_seen: u64,
    tokens_scored: u64,
    budget_ns: u64,
    hurried: bool,
    pending: Vec<Numbers>,
    last_done: u64,
    last_mode: Option<Mode>,
    /// The next report has every field.
    whole: bool,
    /// Boots that began anew, now and when it was last told.
    began: u64,
    began_told: u64,
    #[cfg(test)]
    pub(super) trip: bool,
}

impl Worker {
    /// Loads the model; without one the rules judge alone.
    pub fn new(options: Options) -> Self {
        let mut worker = Self {
            options,
            intake: Intake::default(),
            table: Table::default(),
            model: None,
            reason: String::new(),
            name: String::new(),
            rest: FIRST_REST,
            retry_at: None,
            tokens_seen: 0,
            tokens_scored: 0,
            budget_ns: 0,
            hurried: false,
            pending: Vec::new(),
            last_done: 0,
            last_mode: None,
            whole: false,
            began: 0,
            began_told: 0,
            #[cfg(test)]
            trip: false,
        };
        worker.load();
        worker
    }

    /// Loads the model again: it was changed, or a rest is over.
    pub fn load(&mut self) {
        self.retry_at = None;
        // Reading weights runs code that a damaged file could make panic.
        let loaded = catch_unwind(AssertUnwindSafe(|| Model::load(&self.options.model)));
        match loaded {
            Ok(Ok(model)) => {
                if self.table.model != model.name {
                    self.table.forget_scores(model.engine.start());
                    self.table.model.clone_from(&model.name);
                }
                tracing::info!(model = model.name, "the model judges beside the rules");
                self.name.clone_from(&model.name);
                self.reason.clear();
                self.model = Some(model);
            }
            Ok(Err(error)) => {
                // A file may be put right at any time; none that was built in will be.
                let retry = matches!(self.options.model, super::ModelSource::File(_));
                self.fall_back(self.told(&error), retry);
            }
            Err(panic) => self.fall_back(Fault::Panic(words(&*panic)).to_string(), true),
        }
    }

    /// The error with the file that it speaks of.
    fn told(&self, error: &ModelError) -> String {
        match (&self.options.model, error) {
            // Names its file itself.
            (_, ModelError::Read { .. }) => error.to_string(),
            (super::ModelSource::File(path), _) => format!("{}: {error}", path.display()),
            _ => error.to_string(),
        }
    }

    fn fall_back(&mut self, reason: String, retry: bool) {
        if self.reason != reason {
            tracing::warn!("rules judge alone: {reason}");
        }
        self.reason = reason;
        self.model = None;
        if retry {
            self.retry_at = Some(Instant::now() + self.rest);
            self.rest = (self.rest * 2).min(LONGEST_REST);
        }
    }

    /// Takes back checkpoint fields. What cannot be used is dropped and logged.
    pub fn restore(&mut self, fields: &[(String, Vec<u8>)]) {
        let start = self.start();
        for (name, value) in fields {
            let used = if name.starts_with("c:") {
                self.restore_lane(name, value)
            } else {
                self.table.restore(name, value, &start)
            };
            if used.is_none() {
                let field = ravn_shared::text::escape(name.as_bytes());
                let cause = "not in this version's form".to_owned();
                let error = crate::checkpoint::CheckpointError { field, cause };
                tracing::warn!("{error}");
            }
        }
        self.table.prune();
        for (id, thread) in self.table.threads() {
            self.intake.merge.restore(id, thread.process, thread.cursor);
        }
    }

    /// The next report has every checkpoint field: what had been stored is lost.
    pub fn all_changed(&mut self) {
        self.table.all_changed();
        self.intake.merge.lanes.all_changed();
        self.whole = true;
    }

    /// The host was started anew. What waits is counted as judged by the rules alone: its threads
    /// are no more.
    pub fn begin_anew(&mut self) {
        let given_up = self.intake.give_up();
        self.pending.extend(given_up);
        self.began += 1;
        self.intake.merge.begin_anew();
        self.table.clear();
        self.budget_ns = 0;
    }

    fn restore_lane(&mut self, name: &str, value: &[u8]) -> Option<()> {
        let mut parts = name.split(':').skip(1);
        let load_id = u64::from_str_radix(parts.next()?, 16).ok()?;
        let cpu = parts.next()?.parse().ok()?;
        let stream = RecordStream::try_from(parts.next()?.parse::<u8>().ok()?).ok()?;
        let ranges = Ranges::from_bytes(value)?;
        let lane = self.intake.merge.lanes.get(LaneId { load_id, cpu });
        if stream == RecordStream::Sequence {
            lane.next_n = lane.next_n.max(ranges.end());
        }
        lane.judged.insert(stream, ranges);
        Some(())
    }

    fn start(&self) -> Stream {
        self.model.as_ref().map_or(
            Stream {
                hidden: [0.0; HIDDEN],
                cell: [0.0; HIDDEN],
            },
            |model| model.engine.start().clone(),
        )
    }

    /// Takes a batch in.
    pub fn take(&mut self, id: u64, bytes: &[u8], horizon: Horizon) {
        if let Err(error) = self.intake.batch(id, bytes, horizon) {
            tracing::warn!("batch {id} is not read: {error}");
        }
    }

    /// More waits than one turn takes: scores are thinned, those of records too, until it does
    /// not. The rules have judged each record by then.
    pub fn hurry(&mut self, hurried: bool) {
        self.hurried = hurried;
    }

    /// Lets stream time go on while nothing comes.
    pub fn advance(&mut self, now_ns: u64) {
        self.intake.merge.advance(now_ns);
    }

    /// Stream time, and whether anything waits for it to go on.
    pub fn clock(&self) -> (u64, bool) {
        (self.intake.merge.now_ns(), !self.intake.merge.is_empty())
    }

    /// Hands on, scores and reports what is complete; None when nothing changed. `finish`
    /// hands on everything.
    pub fn turn(&mut self, finish: bool) -> Option<Report> {
        if self.retry_at.is_some_and(|at| at <= Instant::now()) {
            self.load();
        }
        let before_ns = self.intake.merge.now_ns();
        let released = self.intake.release(finish);
        let surprises = self.judge(&released, before_ns);
        self.pending.extend(released.judged);
        for id in self.table.sweep(before_ns.saturating_sub(LINGER_NS)) {
            self.intake.merge.forget(id);
        }
        self.report(surprises)
    }

    fn judge(&mut self, released: &Released, now_ns: u64) -> Vec<Surprise> {
        if released.items.is_empty() {
            return Vec::new();
        }
        let start = self.start();
        let applied = apply(&mut self.table, &released.items, &start);
        for (id, cursor) in &released.cursors {
            if let Some(thread) = self.table.known_mut(*id) {
                thread.cursor = Some(*cursor);
            }
        }
        self.tokens_seen += applied.tokens;
        let Applied { works, touched, .. } = applied;
        if let Err(fault) = self.score(works, now_ns) {
            self.fall_back(fault.to_string(), true);
            return Vec::new();
        }
        if self.model.is_some() {
            self.rest = FIRST_REST;
        }
        let mut touched: Vec<ProcessId> = touched.into_iter().collect();
        touched.sort_unstable();
        touched
            .into_iter()
            .filter_map(|process| self.surprise(process))
            .collect()
    }

    fn score(&mut self, mut works: Vec<Work>, now_ns: u64) -> Result<(), Fault> {
        let Some(model) = &mut self.model else {
            return Ok(());
        };
        let passed_ns = now_ns.saturating_sub(self.budget_ns).min(BURST_NS);
        self.budget_ns = now_ns;
        let share = self.options.tokens_per_s as f64 * passed_ns as f64 / 1e9;
        let least = self.options.tokens_per_s / 20;
        let budget = if self.hurried {
            least
        } else {
            least.max(share as usize)
        };
        let table = &mut self.table;
        let fresh: HashMap<ProcessId, bool> = works
            .iter()
            .map(|work| {
                let until_ns = table.process(work.process).fresh_until_ns;
                (work.process, until_ns >= now_ns)
            })
            .collect();
        // A flood of new programs may not hold the thread up either.
        let hurried = self.hurried;
        rounds::thin(&mut works, budget, hurried, |work| {
            !hurried && fresh.get(&work.process).copied().unwrap_or(false)
        });
        let mut processes: HashMap<ProcessId, ProcessScore> = HashMap::default();
        for process in fresh.keys() {
            processes.insert(*process, table.process(*process).score.clone());
        }
        #[cfg(test)]
        let trip = std::mem::take(&mut self.trip);
        let scored = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(test)]
            assert!(!trip, "tripped");
            rounds::score(&mut model.engine, &model.normal, works, &mut processes)
        }));
        let (works, scored) = scored.map_err(|panic| Fault::Panic(words(&*panic)))??;
        self.tokens_scored += scored;
        for work in works {
            if let Some(thread) = table.known_mut(work.thread) {
                thread.score = work.score;
            }
        }
        for (id, score) in processes {
            table.process(id).score = score;
        }
        Ok(())
    }

    fn surprise(&mut self, process: ProcessId) -> Option<Surprise> {
        let model = self.model.as_ref()?;
        let score = &mut self.table.process(process).score;
        let (measured, meaning) = model.normal.meaning(score)?;
        let now = meaning.score as f32;
        if score
            .reported
            .is_some_and(|before| (now - before).abs() < MOVED)
        {
            return None;
        }
        score.reported = Some(now);
        Some(Surprise {
            process,
            score: meaning.score,
            probability: meaning.probability,
            novelty: f64::from(measured.novelty),
            tokens: score.scored,
            spans: score.spans(),
        })
    }

    fn report(&mut self, surprises: Vec<Surprise>) -> Option<Report> {
        let mode = if self.model.is_some() {
            Mode::Full
        } else {
            Mode::Rules
        };
        let done_upto = self.intake.done_upto();
        let fields = self.fields();
        let nothing = surprises.is_empty()
            && self.pending.is_empty()
            && fields.is_empty()
            && done_upto == self.last_done
            && self.last_mode == Some(mode)
            && !self.whole
            && self.began == self.began_told;
        if nothing {
            return None;
        }
        self.last_done = done_upto;
        self.began_told = self.began;
        self.last_mode = Some(mode);
        Some(Report {
            surprises,
            judged: std::mem::take(&mut self.pending),
            done_upto,
            fields,
            mode,
            mode_reason: self.reason.clone(),
            model: self.name.clone(),
            tokens_seen: self.tokens_seen,
            tokens_scored: self.tokens_scored,
            late: self.intake.late,
            whole: std::mem::take(&mut self.whole),
            began: self.began,
        })
    }

    fn fields(&mut self) -> Vec<Field> {
        let mut fields = self.table.changed();
        for (id, stream, ranges) in self.intake.merge.lanes.changed() {
            let name = format!("c:{:x}:{}:{}", id.load_id, id.cpu, stream as u8);
            fields.push((name, ranges.map(Ranges::to_bytes)));
        }
        fields
    }

    /// After a panic outside of the model: what waited is given up, counted as judged by the
    /// rules alone, and the work goes on with what comes next.
    pub fn recover(&mut self, panic: &(dyn std::any::Any + Send)) -> Option<Report> {
        let fault = Fault::Panic(words(panic)).to_string();
        let given_up = self.intake.give_up();
        for (load_id, cpu, first_n, count) in &given_up {
            let lane = self.intake.merge.lanes.get(LaneId {
                load_id: *load_id,
                cpu: *cpu,
            });
            lane.judge(RecordStream::Sequence, *first_n, u64::from(*count));
        }
        self.intake.merge.clear();
        self.pending.extend(given_up);
        self.fall_back(fault, true);
        self.report(Vec::new())
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a word".to_owned())
}

#[cfg(test)]
mod tests;
