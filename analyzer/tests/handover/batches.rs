//! Batches as a collector sends them, encoded by hand.

use ravn_shared::clock;
use ravn_shared::event::{Chunk, Event, Exec, Exit, Place, Record, Task, exec_flags};
use ravn_shared::kind::{Class, Stream};
use ravn_shared::wire::{self, Header, Lost, SCHEMA};

/// Name of the host in every test.
pub const HOST: &str = "test-host";

/// A collector's numbering.
#[derive(Debug)]
pub struct Sender {
    /// Name of the host that it claims.
    pub host: String,
    boot_id: [u8; 16],
    load_id: u64,
    batch_no: u64,
    /// Numbers taken: process life, syscalls.
    pub taken: [u64; 2],
}

impl Sender {
    /// A new load on this boot.
    pub fn new() -> Self {
        Self {
            host: HOST.to_owned(),
            boot_id: clock::boot_id().unwrap(),
            load_id: 0x10ad,
            batch_no: 0,
            taken: [0; 2],
        }
    }

    /// A batch of `count` ends of processes.
    pub fn exits(&mut self, count: u64) -> Vec<u8> {
        let exit = Exit {
            status: 0,
            thread_start_ns: 1,
            process: true,
        };
        let first = self.take(0, count);
        let records = (first..first + count).map(|n| record(n, Event::Exit(exit)));
        self.batch(Class::Essential, records.collect())
    }

    /// A batch of one exec of a memfd: what every judge calls bad.
    pub fn memfd_exec(&mut self) -> Vec<u8> {
        let n = self.take(0, 1);
        let exec = Exec {
            path: b"/memfd:x (deleted)",
            argv: b"x\0",
            argv_bytes: 2,
            cwd: b"/",
            filename: b"/proc/self/fd/3",
            ino: n,
            dev: 1,
            flags: exec_flags::MEMFD | exec_flags::DELETED,
            euid: 1000,
            egid: 1000,
            cap_effective: 0,
            loginuid: 1000,
            session: 1,
            tty: 0,
            stdio: [0; 3],
            stdio_peer: b"",
            stdio_peer_port: 0,
            ..Exec::default()
        };
        self.batch(Class::Essential, vec![record(n, Event::Exec(exec))])
    }

    /// A batch of one chunk of `count` syscalls of one thread.
    pub fn chunk(&mut self, count: u32) -> Vec<u8> {
        let n = self.take(1, u64::from(count));
        let mut words = 0x8040u16.to_le_bytes().to_vec();
        words.extend(1_000u64.to_le_bytes());
        words.extend(1_000u64.to_le_bytes());
        for part in [4242u32, 4242, 0, 0] {
            words.extend(part.to_le_bytes());
        }
        words.extend((0..count).flat_map(|_| 39u16.to_le_bytes()));
        let chunk = Chunk {
            count,
            ticks: 1,
            words: &words,
        };
        self.batch(Class::Sequences, vec![record(n, Event::Chunk(chunk))])
    }

    /// An empty batch with the counters.
    pub fn counters(&mut self) -> Vec<u8> {
        self.batch(Class::Essential, Vec::new())
    }

    fn take(&mut self, stream: usize, count: u64) -> u64 {
        let first = self.taken[stream];
        self.taken[stream] += count;
        first
    }

    fn batch(&mut self, class: Class, records: Vec<Record<'_>>) -> Vec<u8> {
        let header = Header {
            schema: SCHEMA,
            host: &self.host,
            boot_id: &self.boot_id,
            run_id: 1,
            batch_no: self.batch_no,
            clock_offset_ns: clock::offset_ns(),
            class,
            source: ("x86_64", 250),
            lost: Lost {
                load_id: self.load_id,
                taken: vec![
                    (Stream::Syscall, 0, self.taken[0]),
                    (Stream::Sequence, 0, self.taken[1]),
                ],
                reasons: Vec::new(),
            },
        };
        let encoded: Vec<Vec<u8>> = records
            .iter()
            .map(|record| {
                let mut bytes = Vec::new();
                wire::encode_record(record, &mut bytes).unwrap();
                bytes
            })
            .collect();
        let mut out = Vec::new();
        wire::encode_batch(&header, encoded.iter().map(Vec::as_slice), &mut out).unwrap();
        self.batch_no += 1;
        out
    }
}

fn record<'a>(n: u64, event: Event<'a>) -> Record<'a> {
    let tgid = 1000 + u32::try_from(n % 100_000).unwrap();
    Record {
        cpu: 0,
        n,
        time_ns: clock::boottime_ns(),
        task: Task {
            tgid,
            pid: tgid,
            start_ns: 1_000 + n,
            parent_tgid: 1,
            parent_start_ns: 1,
            uid: 1000,
            gid: 1000,
            cgroup_id: 1,
            comm: b"test",
        },
        place: Place::default(),
        event,
    }
}
