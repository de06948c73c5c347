//! The collector's own hash, `ravn:collector`: flat strings, JSON where there is structure.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::config::Filter;
use crate::coverage::{self, Coverage};
use crate::programs::{Cut, Programs};

/// Numbers of now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbers {
    /// Records handed over, chunks apart.
    pub events: u64,
    /// Syscalls handed over.
    pub syscalls: u64,
    /// Records and syscalls lost.
    pub lost: u64,
    /// Batches that wait for Redis.
    pub waiting: usize,
}

/// What stays the same over a run, and what rates need.
#[derive(Debug)]
pub struct Report {
    started: Instant,
    run_id: u64,
    load_id: u64,
    narrowed: bool,
    unpinned: Option<String>,
    cut: String,
    programs: String,
    coverage: String,
    last: (Instant, Numbers),
    rates: (f64, f64),
}

impl Report {
    /// A report on no programs yet. `unpinned`: why nothing is pinned that should be.
    pub fn new(run_id: u64, unpinned: Option<String>) -> Self {
        let now = Instant::now();
        Self {
            started: now,
            run_id,
            load_id: 0,
            narrowed: false,
            unpinned,
            cut: String::new(),
            programs: String::new(),
            coverage: String::new(),
            last: (now, Numbers::default()),
            rates: (0.0, 0.0),
        }
    }

    /// These are the programs that record now, and what they leave out.
    pub fn set_load(&mut self, load: &Programs, filter: &Filter) {
        let programs: BTreeMap<&str, String> = load
            .fates
            .iter()
            .map(|(name, fate)| {
                (
                    *name,
                    fate.as_ref()
                        .map_or_else(|why| format!("failed: {why}"), |()| "attached".to_owned()),
                )
            })
            .collect();
        let scope = filter.scope(self.unpinned.is_some());
        self.narrowed = scope.narrowed;
        self.load_id = load.load_id;
        self.programs = json(&programs);
        self.coverage = json(&texts(&coverage::report(&load.fates, &scope)));
    }

    /// Records that the budget cut, by process and kind, the most first.
    pub fn set_cuts(&mut self, cuts: &[Cut]) {
        self.cut = json(&cuts);
    }

    /// Takes the rates since the last call. Call about every 5 s.
    pub fn measure(&mut self, numbers: Numbers) {
        let seconds = self.last.0.elapsed().as_secs_f64().max(0.001);
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        self.rates = (
            rate(numbers.events, self.last.1.events),
            rate(numbers.syscalls, self.last.1.syscalls),
        );
        self.last = (Instant::now(), numbers);
    }

    /// The hash's fields.
    pub fn fields(
        &self,
        numbers: Numbers,
        lost_by: &BTreeMap<String, u64>,
    ) -> Vec<(String, String)> {
        let field = |name: &str, value: String| (name.to_owned(), value);
        vec![
            field("version", env!("CARGO_PKG_VERSION").to_owned()),
            field("uptime_s", self.started.elapsed().as_secs().to_string()),
            field("run_id", self.run_id.to_string()),
            field("load_id", self.load_id.to_string()),
            field("events", numbers.events.to_string()),
            field("syscalls", numbers.syscalls.to_string()),
            field("lost", numbers.lost.to_string()),
            field("lost_by", json(lost_by)),
            field("rate", format!("{:.0}", self.rates.0)),
            field("syscall_rate", format!("{:.0}", self.rates.1)),
            field("programs", self.programs.clone()),
            field("coverage", self.coverage.clone()),
            field("narrowed", u8::from(self.narrowed).to_string()),
            field(
                "pinned",
                self.unpinned
                    .as_ref()
                    .map_or_else(|| "yes".to_owned(), |why| format!("no: {why}")),
            ),
            field("budget_cut", self.cut.clone()),
            field("buffered_batches", numbers.waiting.to_string()),
        ]
    }

    /// One line for `systemctl status`.
    pub fn status(&self, numbers: Numbers, trouble: Option<&str>) -> String {
        let line = format!(
            "{:.0} events/s, {:.0} syscalls/s, {} lost, {} batches waiting",
            self.rates.0, self.rates.1, numbers.lost, numbers.waiting
        );
        trouble.map_or(line.clone(), |trouble| format!("{trouble} ({line})"))
    }
}

/// Coverage as the words that users see.
pub fn texts(coverage: &BTreeMap<&'static str, Coverage>) -> BTreeMap<&'static str, String> {
    coverage
        .iter()
        .map(|(kind, coverage)| (*kind, coverage.to_string()))
        .collect()
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
