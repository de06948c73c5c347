//! Stand-in for the sequence thread, overwritten at merge: reports everything judged at once.
#![allow(missing_docs)]

use std::path::PathBuf;
use std::sync::Arc;

use ravn_shared::event::Event;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::checkpoint::Field;
use crate::verdict::{Mode, Surprise};

#[derive(Clone, Debug, Default)]
pub enum ModelSource {
    #[default]
    BuiltIn,
    File(PathBuf),
    None,
}

#[derive(Clone, Debug, Default)]
pub struct Options {
    pub model: ModelSource,
    pub tokens_per_s: usize,
}

#[derive(Debug, Default)]
pub struct Report {
    pub surprises: Vec<Surprise>,
    pub judged: Vec<(u64, u16, u64, u32)>,
    pub done_upto: u64,
    pub fields: Vec<Field>,
    pub mode: Mode,
    pub mode_reason: String,
    pub model: String,
    pub tokens_seen: u64,
    pub tokens_scored: u64,
    pub late: u64,
}

#[derive(Debug)]
pub struct SequenceHandle {
    feed: UnboundedSender<(u64, Arc<[u8]>)>,
    reports: UnboundedReceiver<Report>,
}

pub fn spawn(_options: Options) -> SequenceHandle {
    let (feed, mut fed) = mpsc::unbounded_channel::<(u64, Arc<[u8]>)>();
    let (report, reports) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while let Some((id, bytes)) = fed.blocking_recv() {
            let mut judged = Vec::new();
            if let Ok(batch) = ravn_shared::wire::decode_batch(&bytes) {
                for record in &batch.records {
                    if let Event::Chunk(chunk) = &record.event {
                        let load = batch.header.lost.load_id;
                        judged.push((load, record.cpu, record.n, chunk.count));
                    }
                }
            }
            let sent = report.send(Report {
                judged,
                done_upto: id,
                ..Report::default()
            });
            if sent.is_err() {
                return;
            }
        }
    });
    SequenceHandle { feed, reports }
}

impl SequenceHandle {
    pub fn feed(&self, id: u64, bytes: Arc<[u8]>) {
        let _ = self.feed.send((id, bytes));
    }
    pub fn restore(&self, _fields: Vec<(String, Vec<u8>)>) {}
    pub fn reload(&self) {}
    pub fn reports(&mut self) -> &mut UnboundedReceiver<Report> {
        &mut self.reports
    }
}
