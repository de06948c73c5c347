//! From recordings to sequences of tokens, split so that nothing is tested on itself.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use ravn_shared::tokens::Token;

use super::engine::Stream;
use super::recording::{Reader, RecordingError};
use super::rng;
use crate::horizon::Horizon;
use crate::sequence::apply::apply;
use crate::sequence::chunk::ThreadId;
use crate::sequence::intake::Intake;
use crate::sequence::merge::{Act, Item};
use crate::sequence::rounds::Op;
use crate::sequence::table::Table;
use crate::verdict::ProcessId;

/// Tokens of the parent that lead in a forked thread, as its state does live.
const CONTEXT: usize = 64;
/// Longest piece of a sequence; a daemon's life is cut into such.
const PIECE: usize = 2048;
/// Most pieces of one thread: the loudest must not be all that is learned.
const MOST_PIECES: usize = 16;
/// A tree with a larger share of the tokens is split at its root.
const LARGEST_TREE: f64 = 0.05;

/// A process in all recordings: which recording, and who.
pub type ProcessKey = (usize, ProcessId);

/// A piece of one thread's life.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// Whose.
    pub process: ProcessKey,
    /// What stood before it; not to be scored.
    pub context: Vec<Token>,
    /// Its tokens.
    pub tokens: Vec<Token>,
}

/// Which part of the data a process belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Learned from.
    Train,
    /// Decides when to stop.
    Stop,
    /// Measured with, and calibrated on.
    HeldOut,
    /// Its program was left out of training; calibrated on.
    Unseen,
}

#[derive(Clone, Copy, Debug, Default)]
struct Origin {
    parent: Option<ProcessId>,
    program: u64,
    leads_session: bool,
}

/// All sequences of some recordings.
#[derive(Debug, Default)]
pub struct Corpus {
    /// Pieces, in a fixed order.
    pub sequences: Vec<Sequence>,
    /// Hours from first to last record, summed.
    pub host_hours: f64,
    /// Recordings read.
    pub recordings: usize,
    origins: HashMap<ProcessKey, Origin>,
}

/// One thread's sequence while it grows.
#[derive(Default)]
struct Growing {
    process: ProcessId,
    context: Vec<Token>,
    tokens: Vec<Token>,
    pieces: usize,
}

impl Growing {
    fn tail(&self) -> Vec<Token> {
        let all = self.context.iter().chain(&self.tokens);
        let skip = (self.context.len() + self.tokens.len()).saturating_sub(CONTEXT);
        all.skip(skip).copied().collect()
    }

    fn cut(&mut self, recording: usize, out: &mut Vec<Sequence>) {
        if self.tokens.is_empty() || self.pieces >= MOST_PIECES {
            return;
        }
        self.pieces += 1;
        let context = self.tail();
        out.push(Sequence {
            process: (recording, self.process),
            context: std::mem::replace(&mut self.context, context),
            tokens: std::mem::take(&mut self.tokens),
        });
    }
}

/// Reads a recording's items in order, everything that is complete at a time, with a table
/// that `each` applies them to. Returns the first and last time.
///
/// # Errors
/// A file that is no recording. One that is cut off is used as far as it goes.
pub fn replay(
    path: &std::path::Path,
    mut each: impl FnMut(&[Item]) -> anyhow::Result<()>,
) -> anyhow::Result<(u64, u64)> {
    let mut intake = Intake::default();
    let mut times = (0, 0);
    for (id, batch) in (1..).zip(Reader::open(path)?) {
        match batch {
            Ok(batch) => {
                if let Err(error) = intake.batch(id, &batch, Horizon::NONE) {
                    tracing::warn!("{}: batch {id} is left out: {error}", path.display());
                }
            }
            Err(error @ RecordingError::Cut(_)) => {
                tracing::warn!("{error}");
                break;
            }
            Err(error) => return Err(error.into()),
        }
        if times.0 == 0 {
            times.0 = intake.merge.now_ns();
        }
        each(&intake.release(false).items)?;
    }
    each(&intake.release(true).items)?;
    times.1 = intake.merge.now_ns();
    Ok(times)
}

impl Corpus {
    /// Reads recordings.
    ///
    /// # Errors
    /// One of them is no recording.
    pub fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut corpus = Self::default();
        for (recording, path) in paths.iter().enumerate() {
            let mut table = Table::default();
            let mut growing: HashMap<ThreadId, Growing> = HashMap::new();
            let mut order = Vec::new();
            let (first, last) = replay(path, |items| {
                corpus.grow(recording, items, &mut table, &mut growing, &mut order);
                Ok(())
            })?;
            for id in order {
                if let Some(mut thread) = growing.remove(&id) {
                    thread.cut(recording, &mut corpus.sequences);
                }
            }
            corpus.host_hours += last.saturating_sub(first) as f64 / 3.6e12;
            corpus.recordings += 1;
        }
        Ok(corpus)
    }

    fn grow(
        &mut self,
        recording: usize,
        items: &[Item],
        table: &mut Table,
        growing: &mut HashMap<ThreadId, Growing>,
        order: &mut Vec<ThreadId>,
    ) {
        for item in items {
            match item.act {
                Act::Fork(_, _, child) if child != item.process => {
                    let origin = self.origins.entry((recording, child)).or_default();
                    origin.parent = Some(item.process);
                }
                Act::Exec(exec) => {
                    let origin = self.origins.entry((recording, item.process)).or_default();
                    origin.program = exec.path_hash;
                    origin.leads_session = exec.leads_session;
                }
                _ => {}
            }
        }
        for work in apply(table, items, &Stream::ZERO).works {
            for op in work.ops {
                let thread = growing.entry(work.thread).or_insert_with(|| {
                    order.push(work.thread);
                    Growing {
                        process: work.process,
                        ..Growing::default()
                    }
                });
                match op {
                    Op::Token { token, .. } => {
                        thread.tokens.push(token);
                        if thread.tokens.len() >= PIECE {
                            thread.cut(recording, &mut self.sequences);
                            thread.tokens.clear();
                        }
                    }
                    Op::Fork(child) => {
                        let context = thread.tail();
                        let child = growing.entry(child).or_insert_with(|| {
                            order.push(child);
                            Growing::default()
                        });
                        child.context = context;
                    }
                }
            }
            if let Some(thread) = growing.get_mut(&work.thread) {
                thread.process = work.process;
            }
        }
        // Nobody refers to threads that ended; their tokens are in `growing`.
        table.sweep(items.last().map_or(0, |item| item.time_ns));
        table.changed();
    }

    /// Tokens over all sequences.
    pub fn tokens(&self) -> u64 {
        self.sequences
            .iter()
            .map(|sequence| sequence.tokens.len() as u64)
            .sum()
    }

    /// Distinct programs that were executed.
    pub fn programs(&self) -> usize {
        let known = self.origins.values().map(|origin| origin.program);
        known
            .filter(|program| *program != 0)
            .collect::<HashSet<_>>()
            .len()
    }

    /// Processes from the entry point down: what started the work, then its descendants.
    fn lineage(&self, process: ProcessKey) -> Vec<ProcessId> {
        let mut line = vec![process.1];
        let mut at = process.1;
        while let Some(origin) = self.origins.get(&(process.0, at)) {
            match origin.parent {
                Some(parent) if !origin.leads_session && line.len() < 64 => {
                    line.push(parent);
                    at = parent;
                }
                _ => break,
            }
        }
        line.reverse();
        line
    }

    /// Which part each process belongs to, and how many trees there are: by process tree, so
    /// that no tree is in two parts, 70 % of the tokens to learn from, 10 % to stop by, 20 %
    /// held out; and a tenth of the programs is taken out of training. Depends on the data
    /// alone.
    pub fn split(&self) -> (HashMap<ProcessKey, Part>, usize) {
        let mut sizes: HashMap<ProcessKey, u64> = HashMap::new();
        for sequence in &self.sequences {
            *sizes.entry(sequence.process).or_default() += sequence.tokens.len() as u64;
        }
        let total: u64 = sizes.values().sum();
        let trees = self.trees(&sizes, total);
        let mut tree_sizes: HashMap<u64, u64> = HashMap::new();
        let mut program_sizes: HashMap<u64, u64> = HashMap::new();
        for (process, tree) in &trees {
            let size = sizes.get(process).copied().unwrap_or(0);
            *tree_sizes.entry(*tree).or_default() += size;
            *program_sizes.entry(self.program(*process)).or_default() += size;
        }
        let mut order: Vec<(u64, u64)> = tree_sizes.into_iter().collect();
        order.sort_unstable();
        let mut parts: HashMap<u64, Part> = HashMap::new();
        let mut before = 0;
        for (tree, size) in &order {
            let middle = (before as f64 + *size as f64 / 2.0) / total.max(1) as f64;
            before += size;
            let part = match middle {
                share if share < 0.2 => Part::HeldOut,
                share if share < 0.3 => Part::Stop,
                _ => Part::Train,
            };
            parts.insert(*tree, part);
        }
        let unseen = |process: ProcessKey| {
            let program = self.program(process);
            let share =
                program_sizes.get(&program).copied().unwrap_or(0) as f64 / total.max(1) as f64;
            program != 0 && rng::mix(program).is_multiple_of(10) && share < LARGEST_TREE
        };
        let split = trees.into_iter().map(|(process, tree)| {
            let part = if unseen(process) {
                Part::Unseen
            } else {
                parts.get(&tree).copied().unwrap_or(Part::Train)
            };
            (process, part)
        });
        (split.collect(), order.len())
    }

    fn program(&self, process: ProcessKey) -> u64 {
        self.origins
            .get(&process)
            .map_or(0, |origin| origin.program)
    }

    /// The tree of each process. One too large to be put into a part whole is split at its
    /// root, again and again.
    fn trees(&self, sizes: &HashMap<ProcessKey, u64>, total: u64) -> HashMap<ProcessKey, u64> {
        let lines: Vec<(ProcessKey, Vec<ProcessId>)> = sizes
            .keys()
            .map(|process| (*process, self.lineage(*process)))
            .collect();
        let mut depth: HashMap<ProcessKey, usize> = HashMap::new();
        let tree = |process: &ProcessKey, line: &[ProcessId], depth: usize| {
            let id = line[depth.min(line.len() - 1)];
            rng::mix(rng::mix(process.0 as u64) ^ rng::mix(id.start_ns) ^ u64::from(id.tgid))
        };
        let mut trees = HashMap::new();
        for _ in 0..16 {
            trees = lines
                .iter()
                .map(|(process, line)| {
                    let depth = depth.get(process).copied().unwrap_or(0);
                    (*process, tree(process, line, depth))
                })
                .collect();
            let mut tree_sizes: HashMap<u64, u64> = HashMap::new();
            for (process, tree) in &trees {
                *tree_sizes.entry(*tree).or_default() += sizes.get(process).copied().unwrap_or(0);
            }
            let mut split = false;
            for (process, line) in &lines {
                let size = trees.get(process).and_then(|tree| tree_sizes.get(tree));
                let large = size.copied().unwrap_or(0) as f64 > LARGEST_TREE * total as f64;
                let at = depth.entry(*process).or_default();
                if large && *at + 1 < line.len() {
                    *at += 1;
                    split = true;
                }
            }
            if !split {
                break;
            }
        }
        trees
    }
}

/// The part of `process`.
pub fn part(split: &HashMap<ProcessKey, Part>, process: ProcessKey) -> Part {
    split.get(&process).copied().unwrap_or(Part::Train)
}
