//! Every process of the host that records told of, bounded.

mod room;
mod saved;

use std::collections::BTreeSet;

use foldhash::{HashMap, HashMapExt};
use ravn_shared::event::{Event, Exec, Fork, Record, exec_flags};

use super::cgroups::Cgroups;
use super::privilege::{credentials, unexplained_root};
use super::process::Process;
use super::summary;
use crate::verdict::ProcessId;

/// Most processes that are kept.
pub const MOST: usize = 65_536;
/// Above this many, a process keeps fewer last events and less of its arguments.
const CROWD: usize = 8_192;

/// The process table.
#[derive(Debug)]
pub struct Table {
    most: usize,
    all: HashMap<ProcessId, Process>,
    /// The youngest process of a number.
    living: HashMap<u32, u64>,
    exited: BTreeSet<(u64, ProcessId)>,
    dirty: Vec<ProcessId>,
    gone: Vec<ProcessId>,
    /// The minute in which silent ones were looked for last.
    swept: u64,
    /// Time of the first record: who began later was forked under our eyes.
    pub began_ns: u64,
    /// What their cgroups are called.
    pub cgroups: Cgroups,
    /// The collector that told of itself last.
    collector: Option<ProcessId>,
}

/// What a record changed that rules want to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The process holds uid 0 now and had no known way to it.
    pub gained_root: bool,
    /// A second standard descriptor became a socket: input and an output are one now.
    pub stdio_both: bool,
}

impl Table {
    /// An empty table of at most `most` processes.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            all: HashMap::new(),
            living: HashMap::new(),
            exited: BTreeSet::new(),
            dirty: Vec::new(),
            gone: Vec::new(),
            swept: 0,
            began_ns: 0,
            cgroups: Cgroups::new(),
            collector: None,
        }
    }

    /// A process by its id.
    pub fn get(&self, id: ProcessId) -> Option<&Process> {
        self.all.get(&id)
    }

    /// The youngest process of a number.
    pub fn by_tgid(&self, tgid: u32) -> Option<&Process> {
        let start_ns = *self.living.get(&tgid)?;
        self.get(ProcessId { tgid, start_ns })
    }

    /// Every process, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Process> {
        self.all.values()
    }

    /// Number of processes.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether the trusted change that a process is part of still runs.
    pub fn trusted(&self, process: &Process) -> bool {
        process.trust.is_some_and(|root| {
            root == process.id
                || self
                    .get(root)
                    .is_some_and(|found| found.exited_ns.is_none())
        })
    }

    /// Whether a process runs the very file that the living collector runs: a copy of it has
    /// another inode.
    pub fn runs_collector(&self, process: &Process) -> bool {
        let collector = self.collector.and_then(|id| self.get(id));
        collector.is_some_and(|own| {
            own.collector
                && own.exited_ns.is_none()
                && own.image.1 != 0
                && own.image == process.image
        })
    }

    /// Ancestors by creation, nearest first, at most `most`.
    pub fn ancestors<'t>(
        &'t self,
        process: &Process,
        most: usize,
    ) -> impl Iterator<Item = &'t Process> {
        let first = self
            .get(process.parent)
            .filter(|found| found.id != process.id);
        std::iter::successors(first, |at| {
            self.get(at.parent).filter(|found| found.id != at.id)
        })
        .take(most)
    }

    /// Takes in what a record says of processes; afterwards its own process is in the table.
    /// `now_ns` is when it arrived: after an outage long behind its own time.
    pub fn take(&mut self, record: &Record<'_>, now_ns: u64) -> (ProcessId, Change) {
        if self.began_ns == 0 {
            self.began_ns = record.time_ns;
        }
        let task = &record.task;
        let id = ProcessId {
            tgid: task.tgid,
            start_ns: task.start_ns,
        };
        if !self.all.contains_key(&id) {
            let mut process = Process::of_task(task);
            // The record overtook that of the fork, which travels in another batch.
            if id.start_ns >= self.began_ns
                && let Some(parent) = self.all.get(&process.parent)
            {
                process.inherit(parent);
            }
            self.add(process);
        }
        let crowded = self.all.len() > CROWD;
        let mut change = Change::default();
        if let Event::Fork(fork) = &record.event
            && !fork.thread
        {
            self.fork(id, fork, record);
        }
        let Some(process) = self.all.get_mut(&id) else {
            return (id, change);
        };
        if process.comm != task.comm {
            process.comm.clear();
            process.comm.extend_from_slice(task.comm);
        }
        process.last_ns = now_ns;
        process.cgroup_id = task.cgroup_id;
        process.gid = task.gid;
        process.uid = task.uid;
        match &record.event {
            Event::Exec(exec) => {
                let most = if crowded { 256 } else { 1024 };
                change.gained_root = process.exec(exec, most, record.time_ns);
            }
            Event::Creds(creds) if creds.ret == 0 => credentials(process, creds),
            Event::DupSocket(dup) if (0..3).contains(&dup.new_fd) => {
                let inet = matches!(dup.socket.family, 2 | 10) && !dup.socket.remote.is_empty();
                let bit = 1 << dup.new_fd;
                process.sockets = if inet {
                    process.sockets | bit
                } else {
                    process.sockets & !bit
                };
                change.stdio_both = inet && process.sockets & 1 != 0 && process.sockets & 6 != 0;
            }
            Event::Connect(socket) if socket.ret >= 0 || socket.ret == -libc::EINPROGRESS => {
                process.network |= summary::elsewhere(socket);
            }
            Event::Exit(exit) if exit.process && process.exited_ns.is_none() => {
                process.exited_ns = Some(now_ns);
                self.exited.insert((now_ns, id));
                if self.living.get(&id.tgid) == Some(&id.start_ns) {
                    self.living.remove(&id.tgid);
                }
            }
            _ => {}
        }
        change.gained_root |= unexplained_root(process, record);
        let of_thread = matches!(&record.event, Event::Fork(fork) if fork.thread)
            || matches!(&record.event, Event::Exit(exit) if !exit.process);
        if let Some(kind) = record.event.kind().filter(|_| !of_thread) {
            process.remember(kind, record, if crowded { 8 } else { 32 });
        }
        mark(&mut self.dirty, process);
        (id, change)
    }

    /// A process that was there before the sensor. What records told of it meanwhile is newer.
    pub fn found(&mut self, record: &Record<'_>, exec: &Exec<'_>) {
        if self.began_ns == 0 {
            self.began_ns = record.time_ns;
        }
        let task = &record.task;
        let id = ProcessId {
            tgid: task.tgid,
            start_ns: task.start_ns,
        };
        let own = exec.flags & exec_flags::COLLECTOR != 0;
        if own {
            self.collector = Some(id);
        }
        if let Some(process) = self.all.get_mut(&id)
            && process.born
            && process.image == (exec.dev, exec.ino)
        {
            if process.collector != own {
                process.collector = own;
                mark(&mut self.dirty, process);
            }
            return;
        }
        if !self.all.contains_key(&id) {
            let mut process = Process::of_task(task);
            if let Some(parent) = self.all.get(&process.parent) {
                process.inherit(parent);
            }
            self.add(process);
        }
        let most = if self.all.len() > CROWD { 256 } else { 1024 };
        if let Some(process) = self.all.get_mut(&id) {
            process.found(exec, most);
            process.last_ns = process.last_ns.max(record.time_ns);
            mark(&mut self.dirty, process);
        }
    }

    /// Something speaks against a process; `score` is the model's, if it is that.
    pub fn suspect(&mut self, id: ProcessId, score: Option<f64>) {
        if let Some(process) = self.all.get_mut(&id) {
            process.suspect |= score.is_none_or(|score| score >= 40.0);
            process.model_score = score.unwrap_or(process.model_score);
            mark(&mut self.dirty, process);
        }
    }

    /// Notes what surprised the model most about a process; call before [`Self::suspect`].
    pub fn note_oddity(&mut self, id: ProcessId, oddity: String) {
        if let Some(process) = self.all.get_mut(&id) {
            process.oddity = oddity;
        }
    }

    fn fork(&mut self, parent: ProcessId, fork: &Fork, record: &Record<'_>) {
        let id = ProcessId {
            tgid: fork.child_tgid,
            start_ns: fork.child_start_ns,
        };
        let Some(creator) = self.all.get(&parent) else {
            return;
        };
        // A record of the child may have come first; it has all that the fork gives it then,
        // unless its parent was not known yet.
        if self
            .all
            .get(&id)
            .is_some_and(|child| child.execs > 0 || !child.exe.is_empty())
        {
            return;
        }
        let mut child = Process {
            id,
            parent,
            ..Process::of_task(&record.task)
        };
        child.inherit(creator);
        child.since_ns = record.time_ns;
        child.born = true;
        if let Some(early) = self.all.remove(&id) {
            child.happened = early.happened;
            child.exited_ns = early.exited_ns;
            child.children = early.children;
            child.last_ns = early.last_ns;
            child.stored = early.stored;
            if early.parent != parent {
                self.unlink(early.parent);
                self.link(parent);
            }
            child.dirty = early.dirty;
            let dirty = child.dirty;
            self.all.insert(id, child);
            if !dirty {
                self.touch(id);
            }
            return;
        }
        self.add(child);
    }

    fn add(&mut self, process: Process) {
        let (id, parent) = (process.id, process.parent);
        self.living.insert(id.tgid, id.start_ns);
        self.all.insert(id, process);
        self.link(parent);
        self.touch(id);
        if self.all.len() > self.most {
            self.make_room();
        }
    }

    fn link(&mut self, parent: ProcessId) {
        if let Some(found) = self.all.get_mut(&parent) {
            found.children += 1;
            mark(&mut self.dirty, found);
        }
    }

    fn unlink(&mut self, parent: ProcessId) {
        if let Some(found) = self.all.get_mut(&parent) {
            found.children = found.children.saturating_sub(1);
            mark(&mut self.dirty, found);
        }
    }

    fn touch(&mut self, id: ProcessId) {
        if let Some(found) = self.all.get_mut(&id) {
            mark(&mut self.dirty, found);
        }
    }

    fn remove(&mut self, id: ProcessId) {
        let Some(process) = self.all.remove(&id) else {
            return;
        };
        if let Some(at) = process.exited_ns {
            self.exited.remove(&(at, id));
        }
        if self.living.get(&id.tgid) == Some(&id.start_ns) {
            self.living.remove(&id.tgid);
        }
        if process.stored {
            self.gone.push(id);
        }
        self.unlink(process.parent);
    }
}

fn mark(dirty: &mut Vec<ProcessId>, process: &mut Process) {
    if !process.dirty {
        process.dirty = true;
        dirty.push(process.id);
    }
}
