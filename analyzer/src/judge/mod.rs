//! From records to one word: the process table, rules, incidents, alerts.
//!
//! Pure and synchronous: no Redis, no clock, no files but rules. All times are CLOCK_BOOTTIME
//! nanoseconds and are passed in. [`Judge::observe`] is the hot path. Whoever drives it
//! publishes [`Judge::take_alerts`] and stores [`Judge::changed`] in one transaction; after
//! [`Judge::restore`] the same records give the same levels and the same alerts.

mod board;
mod bounded;
mod builtin;
mod category;
mod cgroups;
mod desk;
mod facts;
mod hash;
pub mod image;
mod incident;
mod notice;
mod ocsf;
mod privilege;
mod process;
mod raise;
mod rule;
mod rules;
mod state;
mod strike;
mod summary;
mod table;
mod test;
mod view;
mod written;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use ravn_shared::event::{Event, Record};

use board::Board;
use bounded::Bounded;
pub use category::Category;
pub use desk::Alert;
use desk::Desk;
use facts::Facts;
use incident::MODEL;
pub use notice::{Context, Losses, Notice, NoticeKind};
pub use rule::{Rule, Severity, Tier};
pub use rules::RuleSet;
use state::Clock;
use strike::Hit;
use table::Table;
pub use view::{IncidentView, ProcessView, Role, Standing};
use written::Writers;

use crate::verdict::{Level, ProcessId, Surprise};

/// Most things that the host has shown before and that are remembered.
const SEEN: usize = 16_384;
/// The entry point of what concerns the sensor and no process.
const SENSOR: ProcessId = ProcessId {
    tgid: 0,
    start_ns: 0,
};
/// Alerts on blindness stand apart: they are no evidence.
const BLIND: ProcessId = ProcessId {
    tgid: 0,
    start_ns: 1,
};

/// What a judge is made of.
#[derive(Debug)]
pub struct Setup {
    /// Name of the host.
    pub host: String,
    /// The kernel's boot id.
    pub boot_id: [u8; 16],
    /// The rules.
    pub rules: RuleSet,
    /// Most processes that are kept; 0 for the default of 65,536.
    pub processes: usize,
}

/// The judge of one host.
#[derive(Debug)]
pub struct Judge {
    host: String,
    boot: String,
    rules: Arc<RuleSet>,
    context: Context,
    table: Table,
    writers: Writers,
    /// Digests of what was seen; with the incident in which it was new, as long as that is open.
    seen: Bounded<u64, Option<ProcessId>>,
    board: Board,
    desk: Desk,
    clock: Clock,
    clock_stored: Clock,
    standing: Standing,
    hits: Vec<Hit>,
}

impl Judge {
    /// A judge that knows nothing yet.
    pub fn new(setup: Setup) -> Self {
        let most = match setup.processes {
            0 => table::MOST,
            most => most,
        };
        let mut judge = Self {
            host: setup.host,
            boot: setup
                .boot_id
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            rules: Arc::new(setup.rules),
            context: Context::default(),
            table: Table::new(most),
            writers: Writers::new(),
            seen: Bounded::new(SEEN),
            board: Board::default(),
            desk: Desk::default(),
            clock: Clock::default(),
            clock_stored: Clock::default(),
            standing: Standing {
                level: Level::Low,
                score: 0.0,
                score_now: 0.0,
                peak: 0.0,
                since_ms: 0,
                reason: String::new(),
                incident: None,
            },
            hits: Vec::new(),
        };
        judge.settle();
        judge
    }

    /// What leads from the records' clock to the time of day, before a record told it.
    pub fn set_clock_offset(&mut self, offset_ns: i64) {
        self.clock.offset_ns = offset_ns;
    }

    /// Other rules from now on; what is judged stays judged.
    pub fn set_rules(&mut self, rules: RuleSet) {
        self.rules = Arc::new(rules);
    }

    /// What takes part in judging, for alerts to say.
    pub fn set_context(&mut self, context: Context) {
        self.context = context;
    }

    /// One record, on arrival, once. `clock_offset_ns` leads from its time to the time of day.
    /// Chunks and unknown kinds are passed over; what was there before the sensor is taken in,
    /// and judged by no rule.
    pub fn observe(&mut self, record: &Record<'_>, clock_offset_ns: i64) {
        if matches!(record.event, Event::Chunk(_) | Event::Unknown { .. }) {
            return;
        }
        self.clock.offset_ns = clock_offset_ns;
        self.clock.now_ns = self.clock.now_ns.max(record.time_ns);
        match &record.event {
            Event::Process(found) => {
                self.table.found(record, found);
                return;
            }
            Event::CgroupFound(cgroup) => {
                self.table.cgroups.take(cgroup);
                return;
            }
            Event::Cgroup(cgroup) => self.table.cgroups.take(cgroup),
            _ => {}
        }
        let (id, change) = self.table.take(record, self.clock.now_ns);
        let Some(process) = self.table.get(id) else {
            return;
        };
        let facts = Facts {
            record,
            process,
            table: &self.table,
            writers: &self.writers,
            change,
            target_file: std::cell::OnceCell::new(),
        };
        let (rules, hits) = (&self.rules, &mut self.hits);
        rules.judge(&facts, |at| hits.push(Hit::of(at, rules, &facts)));
        self.writers.take(record, process, &self.table);
        if self.hits.is_empty() {
            return;
        }
        for hit in std::mem::take(&mut self.hits) {
            self.strike(id, hit);
        }
        self.settle();
    }

    /// The model's word on a process, whenever it moved.
    pub fn surprise(&mut self, surprise: Surprise, now_ns: u64) {
        self.clock.now_ns = self.clock.now_ns.max(now_ns);
        self.surprised(&surprise);
        self.settle();
    }

    /// Losses of the last 60 seconds; sets or lifts `blind`.
    pub fn losses(&mut self, losses: Losses, now_ns: u64) {
        self.clock.now_ns = self.clock.now_ns.max(now_ns);
        self.blinded(losses);
        self.settle();
    }

    /// The sensor itself must be alerted on.
    pub fn notice(&mut self, notice: Notice, now_ns: u64) {
        self.clock.now_ns = self.clock.now_ns.max(now_ns);
        self.noticed(&notice);
        self.settle();
    }

    /// Time passes: scores decay, incidents close, ended processes are forgotten. To be called
    /// at least once a second.
    pub fn tick(&mut self, now_ns: u64) {
        self.clock.now_ns = self.clock.now_ns.max(now_ns);
        self.table.forget(self.clock.now_ns);
        for entry in self.board.pass(self.clock.now_ns) {
            self.closed(entry);
        }
        self.settle();
    }

    /// The word.
    pub fn level(&self) -> Level {
        self.standing.level
    }

    /// The word with its reasons.
    pub fn score(&self) -> Standing {
        self.standing.clone()
    }

    /// Alerts made since the last call.
    pub fn take_alerts(&mut self) -> Vec<Alert> {
        self.desk.take()
    }

    /// Alerts that the storm brake held back, by rule.
    pub fn held_alerts(&self) -> Vec<(String, u64)> {
        self.desk
            .held()
            .map(|(rule, held)| (rule.to_owned(), held))
            .collect()
    }

    /// Number of processes in the table.
    pub fn process_count(&self) -> usize {
        self.table.len()
    }

    /// Brings the word in line with incidents, time and losses.
    fn settle(&mut self) {
        let level = self.stand();
        if level != self.clock.level || self.clock.since_ns == 0 {
            self.clock.level = level;
            self.clock.since_ns = self.clock.now_ns;
            self.standing.since_ms = ocsf::millis(self.clock.since_ns, self.clock.offset_ns);
        }
    }

    /// Shows how things stand, and returns the word.
    fn stand(&mut self) -> Level {
        let now_ns = self.clock.now_ns;
        let worst = self.board.worst(now_ns);
        let score = worst.map_or(0.0, |(_, score)| score);
        let mut level = Level::of(score);
        let mut reason = match worst {
            Some((incident, _)) => strike::sentence(incident),
            None => "nothing speaks against any process".to_owned(),
        };
        if let Some(why) = self.clock.losses.blind() {
            reason = if level > Level::Low {
                format!("{reason}; {why}")
            } else {
                why
            };
            level = level.max(Level::Medium);
        }
        self.standing = Standing {
            level,
            score: ocsf::round(score),
            score_now: ocsf::round(worst.map_or(0.0, |(it, _)| it.score_unheld(now_ns))),
            peak: ocsf::round(worst.map_or(0.0, |(it, _)| it.peak)),
            since_ms: ocsf::millis(self.clock.since_ns, self.clock.offset_ns),
            reason,
            incident: worst.map(|(it, _)| it.id.clone()),
        };
        level
    }
}
