//! A machine in miniature: threads that migrate, fork and exec over CPUs with slot streams,
//! and the truth of what each did. Writes the words as the BPF side does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;

use ravn_shared::event::{Bpf, Chunk, Event, Exit, Fork, Place, Record, Task};
use ravn_shared::kind::{Class, Stream};
use ravn_shared::wire::{self, Header, Lost};

use crate::model::rng::Rng;
use crate::sequence::chunk::ThreadId;

pub const LOAD: u64 = 77;
pub const TICK_NS: u64 = 4_000_000;
const SLOTS: usize = 64;

/// What a thread truly did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Call(u16),
    Event,
    Fork(ThreadId),
    Exit,
}

#[derive(Clone, Debug)]
struct Running {
    id: ThreadId,
    tgid: u32,
    process_start_ns: u64,
    cpu: usize,
    migrations: u32,
    exec_id: u32,
}

#[derive(Default)]
struct Cpu {
    words: Vec<u16>,
    first_n: u64,
    count: u32,
    opened_ns: u64,
    last_tick: u64,
    slots: Vec<Option<ThreadId>>,
    current: Option<ThreadId>,
    numbers: HashMap<u8, u64>,
}

/// A batch and when it arrives.
pub struct Sent {
    pub at_ns: u64,
    pub bytes: Vec<u8>,
}

pub struct Machine {
    pub now_ns: u64,
    pub truth: HashMap<ThreadId, Vec<Deed>>,
    pub sent: Vec<Sent>,
    pub calls: u64,
    cpus: Vec<Cpu>,
    tasks: Vec<Running>,
    rng: Rng,
    next_pid: u32,
    slots: usize,
    /// Longest delay of a batch on its way.
    pub delay_ns: u64,
    last_sent_ns: Vec<u64>,
}

impl Machine {
    pub fn new(seed: u64, cpus: usize, slots: usize) -> Self {
        let mut machine = Self {
            now_ns: 1_000_000_000,
            truth: HashMap::new(),
            sent: Vec::new(),
            calls: 0,
            cpus: (0..cpus)
                .map(|_| Cpu {
                    slots: vec![None; SLOTS],
                    ..Cpu::default()
                })
                .collect(),
            tasks: Vec::new(),
            rng: Rng::new(seed),
            next_pid: 100,
            slots,
            delay_ns: 900_000_000,
            last_sent_ns: vec![0; cpus],
        };
        for _ in 0..3 {
            let pid = machine.pid();
            let id = ThreadId {
                pid,
                start_ns: machine.now_ns - u64::from(pid),
            };
            let cpu = machine.rng.below(cpus);
            machine.tasks.push(Running {
                id,
                tgid: pid,
                process_start_ns: id.start_ns,
                cpu,
                migrations: 0,
                exec_id: 0,
            });
        }
        machine
    }

    fn pid(&mut self) -> u32 {
        self.next_pid += 1;
        self.next_pid
    }

    /// Runs for `steps`, then flushes every CPU.
    pub fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.now_ns += 1 + self.rng.below(3_000_000) as u64;
            self.sweep();
            if !self.tasks.is_empty() {
                let at = self.rng.below(self.tasks.len());
                match self.rng.below(100) {
                    0..10 => self.migrate(at),
                    10..14 => self.fork(at),
                    14..17 => self.exec(at),
                    17..19 if self.tasks.len() > 2 => self.exit(at),
                    19..25 => self.event(at),
                    _ => self.burst(at),
                }
            }
        }
        for cpu in 0..self.cpus.len() {
            self.flush(cpu);
        }
    }

    fn burst(&mut self, at: usize) {
        for _ in 0..1 + self.rng.below(4) {
            let nr = self.rng.below(300) as u16;
            self.call(at, nr, false);
        }
    }

    fn migrate(&mut self, at: usize) {
        let cpus = self.cpus.len();
        let task = &mut self.tasks[at];
        let old = &mut self.cpus[task.cpu];
        for slot in &mut old.slots {
            if *slot == Some(task.id) {
                *slot = None;
            }
        }
        if old.current == Some(task.id) {
            old.current = None;
        }
        if cpus > 1 {
            task.cpu = (task.cpu + 1 + self.rng.below(cpus - 1)) % cpus;
            task.migrations += 1;
        }
    }

    fn sweep(&mut self) {
        for cpu in 0..self.cpus.len() {
            let old = self.now_ns.saturating_sub(self.cpus[cpu].opened_ns) > 250_000_000;
            if (old && !self.cpus[cpu].words.is_empty()) || self.cpus[cpu].words.len() > 400 {
                self.flush(cpu);
            }
        }
    }

    fn call(&mut self, at: usize, nr: u16, define: bool) {
        let task = self.tasks[at].clone();
        let cpu = &mut self.cpus[task.cpu];
        if cpu.words.is_empty() {
            cpu.opened_ns = self.now_ns;
            cpu.last_tick = self.now_ns / TICK_NS;
        }
        let slot = task.id.pid as usize % self.slots;
        if define || cpu.slots[slot] != Some(task.id) {
            cpu.words.push(0x8040 | slot as u16);
            let mut raw = Vec::new();
            raw.extend(task.id.start_ns.to_le_bytes());
            raw.extend(task.process_start_ns.to_le_bytes());
            for part in [task.id.pid, task.tgid, task.migrations, task.exec_id] {
                raw.extend(part.to_le_bytes());
            }
            let (pairs, _) = raw.as_chunks::<2>();
            cpu.words
                .extend(pairs.iter().map(|pair| u16::from_le_bytes(*pair)));
            cpu.slots[slot] = Some(task.id);
        } else if cpu.current != Some(task.id) {
            cpu.words.push(0x8000 | slot as u16);
        }
        cpu.current = Some(task.id);
        let tick = self.now_ns / TICK_NS;
        if tick != cpu.last_tick {
            let since = tick - cpu.opened_ns / TICK_NS;
            cpu.words.extend([0x8080, since as u16]);
            cpu.last_tick = tick;
        }
        cpu.words.push(nr);
        cpu.count += 1;
        self.calls += 1;
        self.truth.entry(task.id).or_default().push(Deed::Call(nr));
        if self.rng.below(60) == 0 {
            self.flush(task.cpu);
        }
    }

    fn fork(&mut self, at: usize) {
        if self.tasks.len() > 40 {
            return;
        }
        let pid = self.pid();
        let child = ThreadId {
            pid,
            start_ns: self.now_ns,
        };
        let parent = self.tasks[at].clone();
        let thread = self.rng.below(2) == 0;
        let event = Event::Fork(Fork {
            child_tgid: if thread { parent.tgid } else { pid },
            child_pid: pid,
            child_start_ns: child.start_ns,
            thread,
        });
        self.record(at, event, Deed::Fork(child));
        let cpu = self.rng.below(self.cpus.len());
        self.tasks.push(Running {
            id: child,
            tgid: if thread { parent.tgid } else { pid },
            process_start_ns: if thread {
                parent.process_start_ns
            } else {
                child.start_ns
            },
            cpu,
            migrations: 0,
            exec_id: parent.exec_id,
        });
        // Who returns first is open, as in the kernel.
        let new = self.tasks.len() - 1;
        if self.rng.below(2) == 0 {
            self.call(new, 56, true);
        }
        self.call(at, 56, true);
    }

    fn exec(&mut self, at: usize) {
        self.tasks[at].exec_id += 1;
        let event = Event::Bpf(Bpf {
            command: 5,
            object_type: 0,
            ret: 0,
        });
        self.record(at, event, Deed::Event);
        self.call(at, 59, true);
    }

    fn event(&mut self, at: usize) {
        let event = Event::Bpf(Bpf {
            command: 5,
            object_type: 0,
            ret: 0,
        });
        self.record(at, event, Deed::Event);
        // The syscall that it was made by.
        self.call(at, 321, false);
    }

    fn exit(&mut self, at: usize) {
        let task = self.tasks[at].clone();
        let alone = !self
            .tasks
            .iter()
            .any(|other| other.tgid == task.tgid && other.id != task.id);
        let event = Event::Exit(Exit {
            status: 0,
            thread_start_ns: task.id.start_ns,
            process: alone,
        });
        self.record(at, event, Deed::Exit);
        for slot in &mut self.cpus[task.cpu].slots {
            if *slot == Some(task.id) {
                *slot = None;
            }
        }
        self.tasks.remove(at);
    }

    fn record(&mut self, at: usize, event: Event<'_>, deed: Deed) {
        let task = self.tasks[at].clone();
        let cpu = &mut self.cpus[task.cpu];
        let number = cpu.numbers.entry(event.stream() as u8).or_default();
        let record = Record {
            cpu: task.cpu as u16,
            n: *number,
            time_ns: self.now_ns,
            task: Task {
                tgid: task.tgid,
                pid: task.id.pid,
                start_ns: task.process_start_ns,
                comm: b"x",
                ..Task::default()
            },
            place: Place {
                first_n: cpu.first_n,
                word: cpu.words.len() as u32,
            },
            event,
        };
        *number += 1;
        let bytes = batch(Class::Essential, &record);
        self.send(task.cpu, bytes);
        self.truth.entry(task.id).or_default().push(deed);
    }

    fn flush(&mut self, at: usize) {
        let cpu = &mut self.cpus[at];
        if cpu.words.is_empty() {
            return;
        }
        let words: Vec<u8> = cpu
            .words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        let ticks = self.now_ns / TICK_NS - cpu.opened_ns / TICK_NS;
        let record = Record {
            cpu: at as u16,
            n: cpu.first_n,
            time_ns: cpu.opened_ns,
            task: Task::default(),
            place: Place::default(),
            event: Event::Chunk(Chunk {
                count: cpu.count,
                ticks: ticks as u32,
                words: &words,
            }),
        };
        let bytes = batch(Class::Sequences, &record);
        cpu.first_n += u64::from(cpu.count);
        cpu.count = 0;
        cpu.words.clear();
        cpu.slots = vec![None; SLOTS];
        cpu.current = None;
        self.send(at, bytes);
    }

    /// What one CPU makes arrives in order (its records before the chunk that they stand in);
    /// what different CPUs make, in any.
    fn send(&mut self, cpu: usize, bytes: Vec<u8>) {
        let at_ns = self.now_ns + self.rng.below(self.delay_ns as usize) as u64;
        let at_ns = at_ns.max(self.last_sent_ns[cpu] + 1);
        self.last_sent_ns[cpu] = at_ns;
        self.sent.push(Sent { at_ns, bytes });
    }

    /// The batches in order of arrival.
    pub fn arrivals(&mut self) -> Vec<Vec<u8>> {
        // First of all the sender tells which CPUs there are.
        let cpus = (0..self.cpus.len() as u16).map(|cpu| (cpu, 0)).collect();
        let first = batch_of(Class::Essential, &[], cpus);
        let mut sent = std::mem::take(&mut self.sent);
        sent.sort_by_key(|sent| sent.at_ns);
        std::iter::once(first)
            .chain(sent.into_iter().map(|sent| sent.bytes))
            .collect()
    }
}

/// A batch of one record.
pub fn batch(class: Class, record: &Record<'_>) -> Vec<u8> {
    batch_of(class, std::slice::from_ref(record), Vec::new())
}

/// A batch with `taken` counters of the sequence stream by CPU.
pub fn batch_of(class: Class, records: &[Record<'_>], taken: Vec<(u16, u64)>) -> Vec<u8> {
    let header = Header {
        schema: wire::SCHEMA,
        host: "test",
        boot_id: &[1; 16],
        run_id: 1,
        batch_no: 0,
        clock_offset_ns: 0,
        class,
        source: ("x86_64", (1_000_000_000 / TICK_NS) as u32),
        lost: Lost {
            load_id: LOAD,
            taken: taken
                .into_iter()
                .map(|(cpu, taken)| (Stream::Sequence, cpu, taken))
                .collect(),
            reasons: Vec::new(),
        },
    };
    let encoded: Vec<Vec<u8>> = records
        .iter()
        .map(|record| {
            let mut out = Vec::new();
            wire::encode_record(record, &mut out).unwrap();
            out
        })
        .collect();
    let mut out = Vec::new();
    wire::encode_batch(&header, encoded.iter().map(Vec::as_slice), &mut out).unwrap();
    out
}
