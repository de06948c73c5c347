//! Batches as they come out of Redis: read, refused, observed record by record.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use ravn_shared::event::{Event, Record};
use ravn_shared::text::escape;
use ravn_shared::wire::{self, Batch, Header};

use super::Judging;
use crate::handover::boots::Boot;
use crate::handover::facing::{self, Refusal};
use crate::handover::ledger::Sight;
use crate::horizon::Horizon;

/// Most bytes of a dead batch that are kept for a look.
const LETTER_BYTES: usize = 64 * 1024;

impl Judging {
    /// Judges a batch as it came out of Redis. False if it was judged before and only came
    /// again, over a new connection.
    pub fn take(&mut self, bytes: &Arc<[u8]>) -> bool {
        if self.waiting.came_again(bytes) {
            return false;
        }
        match self.read(bytes) {
            Ok(mut batch) => {
                let horizon = self.bound(&mut batch);
                self.observe(&batch);
                if self.scores {
                    let id = self.waiting.push_fed(bytes);
                    self.sequence.feed(id, Arc::clone(bytes), horizon);
                } else {
                    self.waiting.push_judged(bytes);
                }
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
        Ok(batch)
    }

    /// Holds the records' times to what can be true.
    fn bound(&mut self, batch: &mut Batch<'_>) -> Horizon {
        let times = batch.records.iter().map(|record| record.time_ns);
        let horizon = self.boots.horizon(times.min().unwrap_or_default());
        for record in &mut batch.records {
            record.time_ns = horizon.bound(record.time_ns);
        }
        let newest = batch.records.iter().map(|record| record.time_ns).max();
        self.boots.told(newest.unwrap_or_default());
        self.boots.offset(batch.header.clock_offset_ns);
        horizon
    }

    /// The host was started anew: its processes are gone, so is what was known of them.
    fn next_boot(&mut self, boot_id: &[u8]) {
        let guessed = self.boots.present() == boot_id;
        self.boots.advance(boot_id);
        self.pending
            .fields
            .insert("l:boots".to_owned(), Some(self.boots.packed()));
        if guessed {
            self.sequences_begin();
            return;
        }
        tracing::info!("batches of another boot of the host: its processes are judged anew");
        self.begun += 1;
        self.sequence.begin_anew();
        self.rates.newest_ns = 0;
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
                self.chunk(header, record.cpu, record.n, chunk.count);
                continue;
            }
            let stream = record.event.stream();
            if self.ledger.record(header, stream, record.cpu, record.n) == Sight::New {
                self.rates.records += 1;
                self.rates.idle = false;
                self.rates.newest_ns = self.rates.newest_ns.max(record.time_ns);
                if let Event::Unknown { .. } = record.event {
                    self.ledger.unknown_kind();
                }
                self.judge_record(header, record);
            }
        }
    }

    /// Syscalls: without a model nobody scores them, and to count them is to judge them.
    fn chunk(&mut self, header: &Header<'_>, cpu: u16, first_n: u64, count: u32) {
        self.ledger.chunk(header, cpu, first_n, count);
        if !self.scores {
            let load_id = header.lost.load_id;
            let judged = self.ledger.judged(load_id, cpu, first_n, count);
            self.rates.syscalls += judged;
            self.rates.unscored(judged);
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
}

/// A record alone in a batch of its own, so that `events:dead` can be decoded.
fn letter(header: &Header<'_>, record: &Record<'_>) -> Option<Arc<[u8]>> {
    let (mut body, mut bytes) = (Vec::new(), Vec::new());
    wire::encode_record(record, &mut body).ok()?;
    wire::encode_batch(header, std::iter::once(body.as_slice()), &mut bytes).ok()?;
    Some(bytes.into())
}
