//! Every thread's sequence, rebuilt and scored, on a thread of its own.
//!
//! [`chunk`] takes a CPU's words apart, [`merge`] puts each thread's runs in order with the
//! records between them ([`lane`] and [`ranges`] know what has arrived), [`tokenize`] makes
//! tokens of them. [`apply`] keeps the [`table`] of threads, [`rounds`] scores many at once,
//! [`worker`] ties them together. Nothing here knows Redis.

pub mod apply;
pub mod chunk;
pub mod intake;
pub mod lane;
pub mod merge;
pub mod ranges;
pub mod rounds;
pub mod table;
pub mod tokenize;
pub mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub use crate::model::ModelSource;

use crate::checkpoint::Field;
use crate::horizon::Horizon;
use crate::verdict::{Mode, Surprise};
use worker::Worker;

/// What the sequence thread is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the model comes from.
    pub model: ModelSource,
    /// Tokens that are scored a second; beyond, the loudest threads are thinned.
    pub tokens_per_s: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            model: ModelSource::BuiltIn,
            tokens_per_s: 100_000,
        }
    }
}

/// What happened on the sequence side since the report before.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Processes whose score moved.
    pub surprises: Vec<Surprise>,
    /// (load, CPU, first number, count) of syscalls now judged: scored, thinned or counted
    /// by rules alone. Consistent with `fields`.
    pub judged: Vec<(u64, u16, u64, u32)>,
    /// Of every batch up to this one nothing waits on this side.
    pub done_upto: u64,
    /// Checkpoint fields that changed, `s:` and `c:`.
    pub fields: Vec<Field>,
    /// Whether the model takes part.
    pub mode: Mode,
    /// Why not; empty when it does.
    pub mode_reason: String,
    /// Name of the model, or of the last that was loaded; empty without one.
    pub model: String,
    /// Tokens made since the start.
    pub tokens_seen: u64,
    /// Tokens of those that the model scored.
    pub tokens_scored: u64,
    /// Chunks since the start that came after their time.
    pub late: u64,
    /// `fields` are all that there are, as [`SequenceHandle::tell_all`] asked.
    pub whole: bool,
    /// Calls of [`SequenceHandle::begin_anew`] that were followed: nothing of before them is in this
    /// or comes after it.
    pub began: u64,
}

enum Order {
    Batch(u64, Arc<[u8]>, Horizon),
    Restore(Vec<(String, Vec<u8>)>),
    TellAll,
    BeginAnew,
    Reload,
}

/// The way to the sequence thread. Dropping it ends the thread.
#[derive(Debug)]
pub struct SequenceHandle {
    orders: Option<mpsc::Sender<Order>>,
    reports: UnboundedReceiver<Report>,
    thread: Option<JoinHandle<()>>,
    began: Instant,
    /// Milliseconds since `began` until which stream time goes on with the clock of the wall.
    until: Arc<AtomicU64>,
}

/// Longest wait for an order before what waits is looked at again.
const TURN: Duration = Duration::from_millis(50);
/// Most orders that are taken before a turn.
const MOST_ORDERS: usize = 64;

/// Bytes of batches after which a pause is used to give back what they took.
const TRIM_AFTER: usize = 8 << 20;

/// Starts the sequence thread. Where the operating system has no thread left, that is logged
/// and [`SequenceHandle::reports`] is closed from the start.
pub fn spawn(options: Options) -> SequenceHandle {
    let (orders, inbox) = mpsc::channel();
    let (outbox, reports) = unbounded_channel();
    let began = Instant::now();
    let until = Arc::new(AtomicU64::new(u64::MAX));
    let thread = thread::Builder::new()
        .name("ravn-sequence".to_owned())
        .spawn({
            let until = Arc::clone(&until);
            let goes_on = move || milliseconds(began.elapsed()) < until.load(Ordering::Relaxed);
            move || run(options, &inbox, &outbox, goes_on)
        });
    if let Err(error) = &thread {
        tracing::error!("no thread for sequences: {error}; raise TasksMax= or the user's limit");
    }
    SequenceHandle {
        orders: Some(orders),
        reports,
        thread: thread.ok(),
        began,
        until,
    }
}

impl SequenceHandle {
    /// Feeds a batch as it was taken, of any class; `id` grows by one from batch to batch.
    pub fn feed(&self, id: u64, bytes: Arc<[u8]>, horizon: Horizon) {
        self.send(Order::Batch(id, bytes, horizon));
    }

    /// Gives back checkpoint fields (`s:`, `c:`), before the first batch.
    pub fn restore(&self, fields: Vec<(String, Vec<u8>)>) {
        self.send(Order::Restore(fields));
    }

    /// Asks for every checkpoint field in the next report: what had been stored is lost.
    pub fn tell_all(&self) {
        self.send(Order::TellAll);
    }

    /// The host was started anew: none of its threads is there any more.
    pub fn begin_anew(&self) {
        self.send(Order::BeginAnew);
    }

    /// Nothing can come now: what waits for something else waits on.
    pub fn stand_still(&self) {
        self.until.store(0, Ordering::Relaxed);
    }

    /// What waits for something else waits no longer than it must.
    pub fn go_on(&self) {
        self.until.store(u64::MAX, Ordering::Relaxed);
    }

    /// The same for so long.
    pub fn go_on_for(&self, time: Duration) {
        let until = milliseconds(self.began.elapsed() + time);
        self.until.store(until, Ordering::Relaxed);
    }

    /// Loads the model again from its source.
    pub fn reload(&self) {
        self.send(Order::Reload);
    }

    /// What happened since the last report.
    pub const fn reports(&mut self) -> &mut UnboundedReceiver<Report> {
        &mut self.reports
    }

    fn send(&self, order: Order) {
        // The thread ends only when this handle does.
        if let Some(orders) = &self.orders {
            let _ = orders.send(order);
        }
    }
}

impl Drop for SequenceHandle {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the sequence thread panicked; the rules judged alone");
        }
    }
}

/// Where both want a CPU, the rules' thread gets about nine parts of ten: a verdict does not wait
/// for scores. setpriority(2): on Linux the calling thread's own.
const NICE: libc::c_int = 10;

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn step_back() {
    // SAFETY: no memory is passed, and 0 is the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) } != 0 {
        let error = std::io::Error::last_os_error();
        tracing::warn!("sequences have the rules' priority: setpriority: {error}");
    }
}

/// What a backlog took for a moment goes back to the system. The allocator would keep it, between
/// what stays, and each longer backlog would add to that.
fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) is passed no memory, and takes each arena's lock.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn run(
    options: Options,
    inbox: &mpsc::Receiver<Order>,
    outbox: &UnboundedSender<Report>,
    goes_on: impl Fn() -> bool,
) {
    step_back();
    let mut worker = Worker::new(options);
    // While nothing comes, stream time goes on with the clock of the wall.
    let mut heard = (Instant::now(), 0);
    let mut bytes_taken = 0;
    loop {
        let first = match inbox.recv_timeout(TURN) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let idle = first.is_none();
        if idle && bytes_taken > TRIM_AFTER {
            bytes_taken = 0;
            give_back();
        }
        let turned = catch_unwind(AssertUnwindSafe(|| {
            let more = inbox.try_iter().take(MOST_ORDERS);
            let mut taken = 0;
            for order in first.into_iter().chain(more) {
                taken += 1;
                match order {
                    Order::Batch(id, bytes, horizon) => {
                        bytes_taken += bytes.len();
                        worker.take(id, &bytes, horizon);
                    }
                    Order::Restore(fields) => worker.restore(&fields),
                    Order::TellAll => worker.all_changed(),
                    Order::BeginAnew => worker.begin_anew(),
                    Order::Reload => worker.load(),
                }
            }
            worker.hurry(taken > MOST_ORDERS);
            let (now_ns, waits) = worker.clock();
            if !idle || !goes_on() {
                heard = (Instant::now(), now_ns);
            } else if waits {
                let passed = u64::try_from(heard.0.elapsed().as_nanos()).unwrap_or(u64::MAX);
                worker.advance(heard.1.saturating_add(passed));
            }
            worker.turn(false)
        }));
        let report = turned.unwrap_or_else(|panic| worker.recover(&*panic));
        if report.is_some_and(|report| outbox.send(report).is_err()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use merge::simulate::Machine;

    /// What came before an outage waits for what comes after it.
    #[test]
    fn while_nothing_can_come_stream_time_stands_still() {
        let mut machine = Machine::new(11, 2, 4);
        machine.run(500);
        let mut handle = spawn(Options {
            model: ModelSource::None,
            ..Options::default()
        });
        handle.stand_still();
        let batches = machine.arrivals();
        let last = batches.len() as u64;
        for (id, batch) in (1..).zip(batches) {
            handle.feed(id, batch.into(), Horizon::NONE);
        }
        thread::sleep(Duration::from_nanos(lane::WAIT_NS) * 2);
        let mut done_upto = 0;
        while let Ok(report) = handle.reports().try_recv() {
            done_upto = report.done_upto;
        }
        assert!(done_upto < last);
        let since = Instant::now();
        handle.go_on();
        while done_upto < last {
            done_upto = handle.reports().blocking_recv().unwrap().done_upto;
        }
        assert!(
            since.elapsed() > Duration::from_millis(500),
            "the wait begins anew"
        );
    }

    /// Through the thread: every syscall is judged once, also those that only the clock of
    /// the wall releases, and every batch is done.
    #[test]
    fn the_thread_judges_all_that_is_fed() {
        let mut machine = Machine::new(11, 2, 4);
        machine.run(500);
        let batches = machine.arrivals();
        let mut handle = spawn(Options {
            model: ModelSource::None,
            ..Options::default()
        });
        let last = batches.len() as u64;
        for (id, batch) in (1..).zip(batches) {
            handle.feed(id, batch.into(), Horizon::NONE);
        }
        let mut judged = 0;
        loop {
            let report = handle.reports().blocking_recv().unwrap();
            judged += report
                .judged
                .iter()
                .map(|(.., count)| u64::from(*count))
                .sum::<u64>();
            if report.done_upto == last {
                break;
            }
        }
        assert_eq!(judged, machine.calls);
    }
}
