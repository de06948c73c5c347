//! Stand-in for the judge, overwritten at merge: counts records, and each exec of a memfd is an alert.
#![allow(missing_docs, clippy::unused_self, clippy::needless_pass_by_value)]

use std::path::Path;

use ravn_shared::event::{Event, Record, exec_flags};
use serde::Serialize;

use crate::checkpoint::{CheckpointError, Field};
use crate::verdict::{Level, Mode, Surprise};

#[derive(Debug)]
pub struct RuleSet;

impl RuleSet {
    pub fn load(_dir: Option<&Path>) -> anyhow::Result<Self> {
        Ok(Self)
    }
    pub fn version(&self) -> String {
        "stand-in".to_owned()
    }
    pub fn len(&self) -> usize {
        0
    }
    pub fn is_empty(&self) -> bool {
        true
    }
}

#[derive(Debug)]
pub struct Setup {
    pub host: String,
    pub boot_id: [u8; 16],
    pub rules: RuleSet,
    pub processes: usize,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Losses {
    pub essential: u64,
    pub records: f64,
    pub syscalls: f64,
}

#[derive(Clone, Debug)]
pub struct Notice {
    pub kind: NoticeKind,
    pub detail: String,
    pub key: u64,
}

#[derive(Clone, Copy, Debug)]
pub enum NoticeKind {
    ForgedBatch,
    Undecodable,
    DeadLetter,
    TwoBoots,
}

#[derive(Clone, Debug, Default)]
pub struct Context {
    pub mode: Mode,
    pub model: String,
    pub lost: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Standing {
    pub level: Level,
    pub score: f64,
    pub score_now: f64,
    pub peak: f64,
    pub since_ms: i64,
    pub reason: String,
    pub incident: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Alert {
    pub body: String,
    pub id: String,
    pub host: String,
}

impl Alert {
    pub fn fields(&self) -> [(&'static str, String); 3] {
        [
            ("body", self.body.clone()),
            ("id", self.id.clone()),
            ("host", self.host.clone()),
        ]
    }
}

#[derive(Debug, Serialize)]
pub struct ProcessView {
    pub tgid: u32,
}

#[derive(Debug, Serialize)]
pub struct IncidentView {
    pub id: String,
}

#[derive(Debug)]
pub struct Judge {
    setup: Setup,
    count: u64,
    score: f64,
    dirty: bool,
    alerts: Vec<Alert>,
}

impl Judge {
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            count: 0,
            score: 0.0,
            dirty: true,
            alerts: Vec::new(),
        }
    }
    pub fn set_rules(&mut self, rules: RuleSet) {
        self.setup.rules = rules;
    }
    pub fn set_context(&mut self, _context: Context) {}
    pub fn observe(&mut self, record: &Record<'_>, _clock_offset_ns: i64) {
        self.count += 1;
        self.dirty = true;
        if let Event::Exec(exec) = &record.event
            && exec.flags & exec_flags::MEMFD != 0
        {
            self.score = 90.0;
            let id = format!("{}-{}", record.cpu, record.n);
            self.alerts.push(Alert {
                body: format!(
                    "{{\"metadata\":{{\"uid\":\"{id}\"}},\"count\":{}}}",
                    self.count
                ),
                id,
                host: self.setup.host.clone(),
            });
        }
    }
    pub fn surprise(&mut self, _surprise: Surprise, _now_ns: u64) {}
    pub fn losses(&mut self, _losses: Losses, _now_ns: u64) {}
    pub fn notice(&mut self, _notice: Notice, _now_ns: u64) {}
    pub fn tick(&mut self, _now_ns: u64) {}
    pub fn level(&self) -> Level {
        Level::of(self.score)
    }
    pub fn score(&self) -> Standing {
        Standing {
            level: self.level(),
            score: self.score,
            score_now: self.score,
            reason: format!("{} records", self.count),
            ..Standing::default()
        }
    }
    pub fn take_alerts(&mut self) -> Vec<Alert> {
        std::mem::take(&mut self.alerts)
    }
    pub fn changed(&mut self) -> Vec<Field> {
        if !std::mem::take(&mut self.dirty) {
            return Vec::new();
        }
        let value = format!("{} {}", self.count, self.score);
        vec![("j:standin".to_owned(), Some(value.into_bytes()))]
    }
    pub fn restore(&mut self, field: &str, value: &[u8]) -> Result<(), CheckpointError> {
        let parsed = str::from_utf8(value).ok().and_then(|text| {
            let (count, score) = text.split_once(' ')?;
            Some((count.parse().ok()?, score.parse().ok()?))
        });
        (self.count, self.score) = parsed.ok_or_else(|| CheckpointError {
            field: field.to_owned(),
            cause: "not two numbers".to_owned(),
        })?;
        Ok(())
    }
    pub fn processes(&self, _most: usize) -> Vec<ProcessView> {
        Vec::new()
    }
    pub fn incidents(&self) -> Vec<IncidentView> {
        Vec::new()
    }
}
