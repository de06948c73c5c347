//! Batches that were taken from Redis and are not covered by a checkpoint yet.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::HashMap;

/// How long the sequence thread may sit on a batch, and be done with no other, before the batch is
/// let go without it: a stuck model must not fill Redis. Far above the 1.5 s that sequences wait by
/// design.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Most bytes in flight, as many as `events:raw` holds by default. More stay in the queue, where
/// the collector sees them and holds back what is cheapest.
const MOST_BYTES: usize = 64 << 20;

/// The in-flight list as this process knows it, oldest first.
#[derive(Debug, Default)]
pub struct Waiting {
    queue: VecDeque<Taken>,
    /// Those of before a reconnection, by a hash of their bytes: they come again.
    earlier: HashMap<u64, Taken>,
    hasher: foldhash::quality::RandomState,
    last_id: u64,
    bytes: usize,
}

/// One batch.
#[derive(Debug)]
struct Taken {
    hash: u64,
    bytes: usize,
    /// Number it was fed to the sequence thread under; None if it was not fed, and may go.
    fed: Option<u64>,
    /// What goes to `events:dead` when it is let go.
    dead: Option<Arc<[u8]>>,
    since: Instant,
}

impl Waiting {
    /// A batch came out of Redis. True if it was judged before: it came again because the
    /// connection was lost, and nothing is left to do for it.
    pub fn came_again(&mut self, bytes: &[u8]) -> bool {
        if self.earlier.is_empty() {
            return false;
        }
        let known = self.earlier.remove(&self.hasher.hash_one(bytes));
        let again = known.is_some();
        self.bytes += known.as_ref().map_or(0, |taken| taken.bytes);
        self.queue.extend(known);
        again
    }

    /// Takes up a batch that is fed to the sequence thread; its number there.
    pub fn push_fed(&mut self, bytes: &[u8]) -> u64 {
        self.last_id += 1;
        self.push(bytes, Some(self.last_id), None);
        self.last_id
    }

    /// Takes up a batch that nobody else has to look at.
    pub fn push_judged(&mut self, bytes: &[u8]) {
        self.push(bytes, None, None);
    }

    /// Takes up a batch that cannot be used.
    pub fn push_dead(&mut self, bytes: &[u8], letter: Arc<[u8]>) {
        self.push(bytes, None, Some(letter));
    }

    fn push(&mut self, bytes: &[u8], fed: Option<u64>, dead: Option<Arc<[u8]>>) {
        self.bytes += bytes.len();
        self.queue.push_back(Taken {
            hash: self.hasher.hash_one(bytes),
            bytes: bytes.len(),
            fed,
            dead,
            since: Instant::now(),
        });
    }

    /// Whether so much waits that no more should be taken.
    pub const fn is_full(&self) -> bool {
        self.bytes >= MOST_BYTES
    }

    /// Number of the batch that was fed last.
    pub fn last_id(&self) -> u64 {
        self.last_id
    }

    /// How many of the oldest may go: an unbroken run, all done up to `done_upto`.
    pub fn covered(&self, done_upto: u64) -> usize {
        self.queue
            .iter()
            .take_while(|taken| taken.fed.is_none_or(|id| id <= done_upto))
            .count()
    }

    /// The dead letters among the oldest `count`.
    pub fn letters(&self, count: usize) -> impl Iterator<Item = &Arc<[u8]>> {
        self.queue
            .iter()
            .take(count)
            .filter_map(|taken| taken.dead.as_ref())
    }

    /// The oldest batch in Redis is this one: what is older here is gone from there. False, and
    /// nothing changed, if it is none of these.
    pub fn begins_with(&mut self, bytes: &[u8]) -> bool {
        let hash = self.hasher.hash_one(bytes);
        let found = self.queue.iter().position(|taken| taken.hash == hash);
        if let Some(at) = found {
            self.let_go(at);
        }
        found.is_some()
    }

    /// The oldest `count` are covered.
    pub fn let_go(&mut self, count: usize) {
        let gone = self.queue.drain(..count.min(self.queue.len()));
        self.bytes -= gone.map(|taken| taken.bytes).sum::<usize>();
    }

    /// The list will be read anew, over new connections: what it holds comes again.
    pub fn relist(&mut self) {
        // What does not come again was trimmed after all.
        self.earlier.clear();
        self.bytes = 0;
        for taken in self.queue.drain(..) {
            self.earlier.insert(taken.hash, taken);
        }
    }

    /// The number up to which the sequence thread is not waited for any longer, if it sits
    /// on a batch for more than [`PATIENCE`].
    pub fn overdue(&self, done_upto: u64, now: Instant) -> Option<u64> {
        let oldest = self.queue.iter().find_map(|taken| {
            let id = taken.fed.filter(|id| *id > done_upto)?;
            (now.saturating_duration_since(taken.since) > PATIENCE).then_some(id)
        });
        oldest.map(|_| self.last_id)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn only_an_unbroken_run_of_the_oldest_is_covered() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.push_fed(b"a"), 1);
        waiting.push_dead(b"junk", Arc::from(&b"junk"[..]));
        assert_eq!(waiting.push_fed(b"b"), 2);
        assert_eq!(waiting.push_fed(b"c"), 3);
        assert_eq!(waiting.covered(0), 0);
        assert_eq!(
            waiting.covered(1),
            2,
            "a dead batch goes with those before it"
        );
        assert_eq!(waiting.letters(2).count(), 1);
        assert_eq!(waiting.covered(2), 3);
        waiting.let_go(2);
        assert_eq!(waiting.covered(2), 1);
        assert_eq!(waiting.covered(u64::MAX), 2);
    }

    #[test]
    fn what_redis_has_no_more_is_not_let_go_twice() {
        let mut waiting = Waiting::default();
        for bytes in [b"a", b"b", b"c"] {
            waiting.push_fed(bytes);
        }
        assert!(waiting.begins_with(b"b"), "the cut of a was executed");
        assert_eq!(waiting.covered(2), 1, "b alone");
        assert!(!waiting.begins_with(b"x"));
        assert!(!waiting.begins_with(b"a"));
        assert_eq!(waiting.covered(u64::MAX), 2);
    }

    #[test]
    fn after_a_reconnection_what_comes_again_keeps_its_number() {
        let mut waiting = Waiting::default();
        waiting.push_fed(b"a");
        waiting.push_fed(b"b");
        assert!(
            !waiting.came_again(b"a"),
            "no reconnection, so no repetition is known"
        );
        waiting.relist();
        assert_eq!(waiting.covered(u64::MAX), 0);
        assert!(waiting.came_again(b"b"));
        assert!(!waiting.came_again(b"c"));
        assert_eq!(waiting.push_fed(b"c"), 3);
        assert_eq!(waiting.covered(2), 1);
        assert!(!waiting.came_again(b"b"), "it comes again once");
    }

    #[test]
    fn what_is_in_flight_is_bounded_by_bytes() {
        let mut waiting = Waiting::default();
        let half = vec![0; MOST_BYTES / 2];
        waiting.push_fed(&half);
        assert!(!waiting.is_full());
        waiting.push_judged(&[&half[..], b"x"].concat());
        assert!(waiting.is_full());
        waiting.relist();
        assert!(!waiting.is_full());
        assert!(waiting.came_again(&half));
        waiting.push_fed(&half);
        assert!(waiting.is_full());
        waiting.let_go(1);
        assert!(!waiting.is_full());
    }

    #[test]
    fn a_stuck_sequence_thread_is_not_waited_for_without_end() {
        let mut waiting = Waiting::default();
        waiting.push_fed(b"a");
        waiting.push_fed(b"b");
        let later = Instant::now() + PATIENCE + Duration::from_secs(1);
        assert_eq!(waiting.overdue(0, Instant::now()), None);
        assert_eq!(waiting.overdue(0, later), Some(2));
        assert_eq!(waiting.overdue(2, later), None);
    }
}
