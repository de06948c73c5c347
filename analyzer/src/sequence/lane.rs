//! What is known of one CPU: what of it has arrived, and up to when it is complete.

use foldhash::HashMap;
use ravn_shared::kind::Stream;

use super::ranges::Ranges;

/// A CPU of one load of the BPF programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId {
    /// The load.
    pub load_id: u64,
    /// The CPU.
    pub cpu: u16,
}

/// How long a CPU that says nothing is waited for, and the longest that a chunk waits.
pub const WAIT_NS: u64 = 1_500_000_000;

/// A CPU that was silent for so long while others spoke is of a load that is gone.
const FORGOTTEN_NS: u64 = 600_000_000_000;

/// One CPU's progress.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    /// Place of this lane among all, in order of appearance: of two loads the newer is higher.
    pub rank: u32,
    /// Number after the last that arrived.
    pub next_n: u64,
    /// Numbers that the sender said were taken, at most.
    pub taken: u64,
    /// Everything before this time has arrived.
    pub complete_ns: u64,
    /// Stream time of the last word from this lane.
    pub heard_ns: u64,
    /// Numbers judged, by stream.
    pub judged: HashMap<Stream, Ranges>,
    /// Streams whose ranges changed since the last checkpoint.
    pub changed: Vec<Stream>,
}

impl Lane {
    /// Notes that `first .. first + count` of `stream` is judged.
    pub fn judge(&mut self, stream: Stream, first: u64, count: u64) {
        self.judged.entry(stream).or_default().insert(first, count);
        if !self.changed.contains(&stream) {
            self.changed.push(stream);
        }
    }

    /// Whether all of it is judged already.
    pub fn was_judged(&self, stream: Stream, first: u64, count: u64) -> bool {
        self.judged
            .get(&stream)
            .is_some_and(|ranges| ranges.holds(first, count))
    }
}

/// All CPUs.
#[derive(Debug, Default)]
pub struct Lanes {
    lanes: HashMap<LaneId, Lane>,
    ranks: u32,
    gone: Vec<(LaneId, Stream)>,
}

/// Most CPUs over all loads; a forged batch cannot make more.
const MOST: usize = 4096;

impl Lanes {
    /// The lane of `id`, made when it is new.
    pub fn get(&mut self, id: LaneId) -> &mut Lane {
        if self.lanes.len() >= MOST && !self.lanes.contains_key(&id) {
            let oldest = self.lanes.iter().min_by_key(|(_, lane)| lane.heard_ns);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.lanes.remove(&oldest);
            }
        }
        let ranks = &mut self.ranks;
        self.lanes.entry(id).or_insert_with(|| {
            *ranks += 1;
            Lane {
                rank: *ranks,
                ..Lane::default()
            }
        })
    }

    /// The lane of `id`, if it is known.
    pub fn find(&self, id: LaneId) -> Option<&Lane> {
        self.lanes.get(&id)
    }

    /// The time before which every CPU's part has arrived, and at least `now` minus
    /// [`WAIT_NS`]: a CPU that is silent for longer holds nobody up.
    pub fn complete_ns(&self, now_ns: u64) -> u64 {
        let oldest = now_ns.saturating_sub(WAIT_NS);
        let speaking = self.lanes.iter().max_by_key(|(_, lane)| lane.heard_ns);
        let load_id = speaking.map(|(id, _)| id.load_id);
        self.lanes
            .iter()
            // A lane of an unloaded program never speaks again.
            .filter(|(id, lane)| Some(id.load_id) == load_id || lane.heard_ns >= oldest)
            .map(|(_, lane)| lane.complete_ns)
            .min()
            .unwrap_or(oldest)
            .max(oldest)
    }

    /// Makes [`Self::changed`] give everything.
    pub fn all_changed(&mut self) {
        for lane in self.lanes.values_mut() {
            lane.changed = lane.judged.keys().copied().collect();
        }
    }

    /// Makes [`Self::changed`] tell that all are gone.
    pub fn forget_all(&mut self) {
        for (id, lane) in self.lanes.drain() {
            let streams = lane.judged.into_keys();
            self.gone.extend(streams.map(|stream| (id, stream)));
        }
    }

    /// Ranges that changed since the last call; None for those of a load that is long gone.
    pub fn changed(&mut self) -> Vec<(LaneId, Stream, Option<&Ranges>)> {
        let gone = std::mem::take(&mut self.gone).into_iter();
        let mut changed: Vec<_> = gone.map(|(id, stream)| (id, stream, None)).collect();
        let newest = self.lanes.values().map(|lane| lane.heard_ns).max();
        let old_ns = newest.unwrap_or(0).saturating_sub(FORGOTTEN_NS);
        let old: Vec<LaneId> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.heard_ns < old_ns)
            .map(|(id, _)| *id)
            .collect();
        for id in old {
            let lane = self.lanes.remove(&id).unwrap_or_default();
            changed.extend(lane.judged.into_keys().map(|stream| (id, stream, None)));
        }
        for (id, lane) in &mut self.lanes {
            for stream in std::mem::take(&mut lane.changed) {
                if let Some(ranges) = lane.judged.get(&stream) {
                    changed.push((*id, stream, Some(ranges)));
                }
            }
        }
        changed
    }

    /// The first word of the clock: CPUs known from before a restart are waited for as if
    /// they had just been heard.
    pub fn begin(&mut self, now_ns: u64) {
        for lane in self.lanes.values_mut() {
            lane.heard_ns = lane.heard_ns.max(now_ns);
        }
    }
}
