//! Encoded batches between the thread that polls and the thread that sends: bounded, by
//! class, oldest first; what does not fit is dropped dearest last, and counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ravn_shared::kind::{Class, Reason};

use crate::batch::{Batch, Counts};
use crate::sweep::Reasons;

/// Records lost in the collector, cumulative, by the load that made them.
pub type Losses = BTreeMap<u64, Reasons>;

/// The queue. Shared by reference between two threads.
#[derive(Debug)]
pub struct Outbox {
    inner: Mutex<Inner>,
    changed: Condvar,
    bound_bytes: usize,
}

#[derive(Debug, Default)]
struct Inner {
    queues: [VecDeque<Batch>; Class::ALL.len()],
    bytes: usize,
    sending: usize,
    closed: bool,
    losses: Losses,
}

impl Outbox {
    /// Holds at most `bound_bytes` of batches.
    pub fn new(bound_bytes: usize) -> Self {
        Self {
            inner: Mutex::default(),
            changed: Condvar::new(),
            bound_bytes,
        }
    }

    /// Adds batches, all before the sender wakes: it takes them together. Over the bound the
    /// oldest batch of the cheapest class goes first.
    pub fn push(&self, batches: impl IntoIterator<Item = Batch>) {
        let mut inner = self.lock();
        for batch in batches {
            inner.bytes += batch.bytes.len();
            inner.queues[batch.class as usize].push_back(batch);
        }
        while inner.bytes > self.bound_bytes {
            let Some(dropped) = inner.queues.iter_mut().rev().find_map(VecDeque::pop_front) else {
                break;
            };
            inner.bytes -= dropped.bytes.len();
            inner.lose(Reason::BufferFull, &dropped.counts);
        }
        drop(inner);
        self.changed.notify_all();
    }

    /// Takes up to `most` batches, of so many bytes or else one, of the classes up to `class`, dearest class first;
    /// waits up to `patience` for one. They stay counted as being sent until
    /// [`Self::done`] or [`Self::put_back`].
    pub fn take(&self, most: (usize, usize), class: Class, patience: Duration) -> Vec<Batch> {
        let none = |inner: &mut Inner| {
            !inner.closed
                && inner.queues[..=class as usize]
                    .iter()
                    .all(VecDeque::is_empty)
        };
        let (mut inner, _) = self
            .changed
            .wait_timeout_while(self.lock(), patience, none)
            .unwrap_or_else(PoisonError::into_inner);
        let (most, most_bytes) = most;
        let mut taken: Vec<Batch> = Vec::new();
        let mut bytes = 0;
        for queue in &mut inner.queues[..=class as usize] {
            while let Some(batch) = queue.pop_front_if(|batch| {
                let fits = bytes + batch.bytes.len() <= most_bytes;
                taken.len() < most && (fits || taken.is_empty())
            }) {
                bytes += batch.bytes.len();
                taken.push(batch);
            }
        }
        inner.bytes -= bytes;
        inner.sending += taken.len();
        taken
    }

    /// `count` batches reached Redis.
    pub fn done(&self, count: usize) {
        let mut inner = self.lock();
        inner.sending = inner.sending.saturating_sub(count);
    }

    /// Batches that did not reach Redis, in the order in which they were taken: they are
    /// sent before all others of their class.
    pub fn put_back(&self, batches: Vec<Batch>) {
        let mut inner = self.lock();
        inner.sending = inner.sending.saturating_sub(batches.len());
        for batch in batches.into_iter().rev() {
            inner.bytes += batch.bytes.len();
            inner.queues[batch.class as usize].push_front(batch);
        }
    }

    /// Counts what was lost behind the queue.
    pub fn lose(&self, reason: Reason, counts: &Counts) {
        self.lock().lose(reason, counts);
    }

    /// Losses so far.
    pub fn losses(&self) -> Losses {
        self.lock().losses.clone()
    }

    /// Nothing waits and nothing is being sent.
    pub fn is_idle(&self) -> bool {
        let inner = self.lock();
        inner.sending == 0 && inner.queues.iter().all(VecDeque::is_empty)
    }

    /// Batches that wait.
    pub fn len(&self) -> usize {
        self.lock().queues.iter().map(VecDeque::len).sum()
    }

    /// No more will come: [`Self::take`] no longer waits.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Whether [`Self::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// A panic elsewhere leaves the queue whole: each change is complete under the lock.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn lose(&mut self, reason: Reason, counts: &Counts) {
        for (stream, count) in counts.iter() {
            let of_load = self.losses.entry(counts.load_id).or_default();
            *of_load.entry((stream, reason)).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use ravn_shared::kind::Stream;

    use super::*;

    fn batch(class: Class, mark: u8) -> Batch {
        let mut counts = Counts::default();
        counts.add(Stream::File, 3);
        Batch {
            class,
            bytes: vec![mark; 10],
            counts,
        }
    }

    fn marks(batches: &[Batch]) -> Vec<u8> {
        batches.iter().map(|batch| batch.bytes[0]).collect()
    }

    #[test]
    fn over_the_bound_the_oldest_of_the_cheapest_class_goes_and_is_counted() {
        let outbox = Outbox::new(30);
        for (class, mark) in [
            (Class::Sequences, 1),
            (Class::Essential, 2),
            (Class::Sequences, 3),
            (Class::Essential, 4),
        ] {
            outbox.push([batch(class, mark)]);
        }
        assert_eq!(outbox.losses()[&0][&(Stream::File, Reason::BufferFull)], 3);
        assert_eq!(
            marks(&outbox.take((9, 1000), Class::Sequences, Duration::ZERO)),
            [2, 4, 3]
        );
    }

    #[test]
    fn what_is_put_back_comes_first_again() {
        let outbox = Outbox::new(1000);
        for mark in 1..=3 {
            outbox.push([batch(Class::Ordinary, mark)]);
        }
        let taken = outbox.take((2, 1000), Class::Sequences, Duration::ZERO);
        assert!(!outbox.is_idle());
        outbox.put_back(taken);
        assert_eq!(
            marks(&outbox.take((9, 1000), Class::Sequences, Duration::ZERO)),
            [1, 2, 3]
        );
        outbox.done(3);
        assert!(outbox.is_idle());
    }

    #[test]
    fn classes_that_may_not_go_stay() {
        let outbox = Outbox::new(1000);
        outbox.push([batch(Class::Sequences, 1)]);
        assert!(
            outbox
                .take((9, 1000), Class::Ordinary, Duration::ZERO)
                .is_empty()
        );
        assert_eq!(outbox.len(), 1);
    }
}
