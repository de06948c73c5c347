//! Scoring: many threads a token ahead at once, a child never before its parent's fork.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt};
use ravn_shared::tokens::Token;

use super::chunk::ThreadId;
use crate::model::engine::{Engine, Lane, NotANumber, WIDEST};
use crate::model::math::Odds;
use crate::model::score::{Normal, ProcessScore, ThreadScore};
use crate::verdict::ProcessId;

/// A step that took longer is a fault: the machine has no time for the model. Its thread has the
/// last word on a CPU that others want, and may wait for seconds.
const LONGEST_STEP: Duration = Duration::from_secs(5);

/// What is to be done for a thread, in its order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// A token to score.
    Token {
        /// The token.
        token: Token,
        /// When it was seen.
        time_ns: u64,
        /// It is of a record: thinned only where the thread is behind.
        record: bool,
    },
    /// Another thread starts from the state as it is here.
    Fork(ThreadId),
}

/// One thread's part of a round.
#[derive(Clone, Debug)]
pub struct Work {
    /// Whose.
    pub thread: ThreadId,
    /// The thread's process.
    pub process: ProcessId,
    /// What is to be done.
    pub ops: VecDeque<Op>,
    /// Its state comes from another thread's [`Op::Fork`].
    pub waits: bool,
    /// The model's side of the thread.
    pub score: ThreadScore,
}

/// Why scoring stopped.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// See [`NotANumber`].
    #[error(transparent)]
    NotANumber(#[from] NotANumber),
    /// See [`LONGEST_STEP`].
    #[error("one step of the model took {} ms; the machine has no time for it", .0.as_millis())]
    Late(Duration),
    /// It panicked.
    #[error("the model panicked: {0}")]
    Panic(String),
}

/// Does all of the work. Returns it with the new states, and how many tokens were scored.
///
/// # Errors
/// [`Fault`]; the states of all of this work are of no use then.
pub fn score(
    engine: &mut Engine,
    normal: &Normal,
    works: Vec<Work>,
    processes: &mut HashMap<ProcessId, ProcessScore>,
) -> Result<(Vec<Work>, u64), Fault> {
    let mut scored = 0;
    let mut finished = Vec::with_capacity(works.len());
    let mut waiting: HashMap<ThreadId, Work> = HashMap::new();
    let mut active = Vec::new();
    for work in works {
        if work.waits {
            waiting.insert(work.thread, work);
        } else {
            active.push(work);
        }
    }
    loop {
        ready(&mut active, &mut waiting, &mut finished);
        if active.is_empty() {
            // A fork that never came: its record was lost. The state is what the thread had.
            active.extend(waiting.drain().map(|(_, work)| work));
            if active.is_empty() {
                return Ok((finished, scored));
            }
            continue;
        }
        // The longest first, so that the last rounds are as wide as they can be.
        for group in active.chunks_mut(WIDEST) {
            scored += step(engine, normal, group, processes)?;
        }
    }
}

/// Runs the forks that are due, and sorts out who has no more tokens.
fn ready(active: &mut Vec<Work>, waiting: &mut HashMap<ThreadId, Work>, finished: &mut Vec<Work>) {
    let mut at = 0;
    while let Some(work) = active.get_mut(at) {
        match work.ops.front() {
            Some(Op::Fork(child)) => {
                let child = waiting.remove(child);
                work.ops.pop_front();
                if let Some(mut child) = child {
                    child.score = work.score.forked();
                    active.push(child);
                }
            }
            Some(Op::Token { .. }) => at += 1,
            None => finished.push(active.swap_remove(at)),
        }
    }
}

fn step(
    engine: &mut Engine,
    normal: &Normal,
    group: &mut [Work],
    processes: &mut HashMap<ProcessId, ProcessScore>,
) -> Result<u64, Fault> {
    let mut lanes = Vec::with_capacity(group.len());
    let mut owners = Vec::with_capacity(group.len());
    for work in group {
        let Some(Op::Token { token, time_ns, .. }) = work.ops.pop_front() else {
            continue;
        };
        let ThreadScore { stream, leak, cold } = &mut work.score;
        owners.push((work.process, time_ns, leak, cold));
        lanes.push(Lane {
            stream,
            token,
            odds: Odds::default(),
        });
    }
    let begun = Instant::now();
    engine.step(&mut lanes)?;
    let took = begun.elapsed();
    if took > LONGEST_STEP {
        return Err(Fault::Late(took));
    }
    for (lane, (process, time_ns, leak, cold)) in lanes.iter().zip(owners) {
        let process = processes.entry(process).or_default();
        normal.count(leak, cold, process, lane.token, &lane.odds, time_ns);
    }
    Ok(lanes.len() as u64)
}

/// Drops tokens so that at most about `budget` are left, from the threads with most of them.
/// Threads for which `spared` is true are never touched, nor are tokens of records unless
/// `hurried`, and no thread is brought below [`FEWEST`] tokens. Returns how many were dropped.
pub fn thin(
    works: &mut [Work],
    budget: usize,
    hurried: bool,
    spared: impl Fn(&Work) -> bool,
) -> u64 {
    let tokens = |work: &Work| {
        let counts = work.ops.iter().filter(|op| matches!(op, Op::Token { .. }));
        counts.count()
    };
    let mut loud: Vec<(usize, &mut Work)> =
        works.iter_mut().map(|work| (tokens(work), work)).collect();
    let total: usize = loud.iter().map(|(count, _)| count).sum();
    if total <= budget {
        return 0;
    }
    let spent: usize = loud
        .iter()
        .filter(|(_, work)| spared(work))
        .map(|(count, _)| count)
        .sum();
    loud.retain(|(_, work)| !spared(work));
    loud.sort_by_key(|(count, _)| *count);
    // The quiet ones keep all; what is left is shared evenly among the loud.
    let mut left = budget.saturating_sub(spent);
    let mut dropped = 0;
    let mut threads = loud.len();
    for (count, work) in loud {
        let keep = count.min((left / threads.max(1)).max(FEWEST));
        left = left.saturating_sub(keep);
        threads -= 1;
        dropped += cut(work, keep, hurried);
    }
    dropped
}

/// Fewest tokens that thinning leaves a thread in one go.
pub const FEWEST: usize = 16;

/// Keeps the first `keep` tokens, all forks, and all records unless `hurried`.
fn cut(work: &mut Work, keep: usize, hurried: bool) -> u64 {
    let before = work.ops.len();
    let mut kept = 0;
    work.ops.retain(|op| match op {
        Op::Token { record, .. } if hurried || !record => {
            kept += 1;
            kept <= keep
        }
        _ => true,
    });
    (before - work.ops.len()) as u64
}
