//! Who is forgotten: what ended, what never spoke, and the largest crowd where there is no room.

use super::Table;
use crate::verdict::ProcessId;
use foldhash::{HashMap, HashMapExt};

/// An ended process without children or suspicion is kept this long, for records that come late.
const LINGER_NS: u64 = 10_000_000_000;
/// An ended one that something speaks against is kept this long.
const SUSPECT_NS: u64 = 300_000_000_000;
const MINUTE_NS: u64 = 60_000_000_000;

impl Table {
    /// Forgets ended processes that nothing needs any more, and more where there is no room.
    pub fn forget(&mut self, now_ns: u64) {
        let ended: Vec<ProcessId> = self
            .exited
            .iter()
            .take_while(|(at, _)| at.saturating_add(LINGER_NS) < now_ns)
            .filter(|(at, id)| {
                self.all.get(id).is_none_or(|process| {
                    process.children == 0
                        && (!process.suspect || at.saturating_add(SUSPECT_NS) < now_ns)
                })
            })
            .map(|(_, id)| *id)
            .collect();
        for id in ended {
            self.remove(id);
        }
        let minute = now_ns / MINUTE_NS;
        if minute != self.swept {
            self.swept = minute;
            self.sweep(now_ns);
        }
        self.make_room();
    }

    /// Forgets those of which only headers were seen, and none for long: a record that came
    /// after its process was forgotten brings one back that never ends.
    fn sweep(&mut self, now_ns: u64) {
        let silent: Vec<ProcessId> = self
            .all
            .values()
            .filter(|process| {
                !process.born
                    && process.children == 0
                    && !process.suspect
                    && process.last_ns.saturating_add(SUSPECT_NS) < now_ns
            })
            .map(|process| process.id)
            .collect();
        for id in silent {
            self.remove(id);
        }
    }

    /// Ended ones first, oldest first; then, of the parent with the most children, those that
    /// nothing speaks against, oldest first. A 64th of the table at a time: the scan costs a
    /// millisecond, and a fork bomb must not pay it at each fork.
    pub(super) fn make_room(&mut self) {
        if self.all.len() <= self.most {
            return;
        }
        let goal = self.most - self.most / 64;
        let ended: Vec<ProcessId> = self.exited.iter().map(|(_, id)| *id).collect();
        for id in ended {
            if self.all.len() <= goal {
                return;
            }
            self.remove(id);
        }
        while self.all.len() > goal {
            let Some(crowd) = self.largest_share() else {
                return;
            };
            let mut children: Vec<(bool, f64, ProcessId)> = self
                .all
                .values()
                .filter(|process| process.parent == crowd)
                .map(|process| (process.suspect, process.model_score, process.id))
                .collect();
            children.sort_by(|a, b| {
                (a.0.cmp(&b.0))
                    .then(a.1.total_cmp(&b.1))
                    .then(a.2.start_ns.cmp(&b.2.start_ns))
            });
            let surplus = (self.all.len() - goal).min(children.len().div_ceil(2));
            if surplus == 0 {
                return;
            }
            for (_, _, id) in children.into_iter().take(surplus) {
                self.remove(id);
            }
        }
    }

    fn largest_share(&self) -> Option<ProcessId> {
        let mut shares: HashMap<ProcessId, u32> = HashMap::new();
        for process in self.all.values() {
            *shares.entry(process.parent).or_default() += 1;
        }
        shares
            .into_iter()
            .max_by_key(|(id, share)| (*share, *id))
            .map(|(id, _)| id)
    }
}
