//! Recordings made up for tests: a few programs with habits, run again and again.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use ravn_shared::event::{Chunk, Event, Exec, Exit, Fork, Place, Record, Task};
use ravn_shared::kind::Class;

use crate::model::recording::Writer;
use crate::model::rng::Rng;
use crate::sequence::merge::simulate::batch_of;

/// Syscall numbers of what each program does, as phrases that it repeats in some order.
const HABITS: [(&str, &[&[u16]]); 4] = [
    ("/usr/bin/cat", &[&[257, 262, 221, 9], &[0, 1], &[3]]),
    (
        "/usr/bin/find",
        &[&[257, 262, 72], &[217, 217, 3], &[262, 262], &[1]],
    ),
    (
        "/usr/bin/curl",
        &[&[41, 54, 42], &[7, 45, 16], &[7, 44], &[3], &[13, 13]],
    ),
    (
        "/usr/sbin/cron",
        &[&[4, 4, 257], &[5, 0, 3], &[35, 228], &[56, 61]],
    ),
];

/// Writes a recording of `processes` processes in sessions of ten.
pub fn record(path: &Path, seed: u64, processes: u64) {
    let _ = std::fs::remove_file(path);
    let mut writer = Writer::create(path).unwrap();
    let mut rng = Rng::new(seed);
    let (mut n, mut events) = (0, 0);
    for process in 0..processes {
        let time_ns = (process + 1) * 1_000_000_000;
        let session = 1000 + process / 10 * 100;
        let pid = (session + 1 + process % 10) as u32;
        let habit = rng.below(HABITS.len());
        let calls = calls(habit, 20 + rng.below(200), &mut rng);
        let words = words(pid, time_ns, &calls);
        let task = Task {
            tgid: pid,
            pid,
            start_ns: time_ns,
            uid: 1000,
            comm: b"x",
            ..Task::default()
        };
        let leader = Task {
            tgid: session as u32,
            pid: session as u32,
            start_ns: session,
            ..task
        };
        let path = HABITS[habit].0.as_bytes();
        let place = |word| Place { first_n: n, word };
        let mut event = |task, place, event| {
            events += 1;
            Record {
                cpu: 0,
                n: events,
                time_ns,
                task,
                place,
                event,
            }
        };
        let fork = Event::Fork(Fork {
            child_tgid: pid,
            child_pid: pid,
            child_start_ns: time_ns,
            thread: false,
        });
        let exit = Event::Exit(Exit {
            status: 0,
            thread_start_ns: time_ns,
            process: true,
        });
        let records = [
            event(leader, place(0), fork),
            event(task, place(0), Event::Exec(exec(path, session as u32))),
            event(task, place(words.len() as u32 / 2), exit),
        ];
        let chunk = Record {
            cpu: 0,
            n,
            time_ns,
            task: Task::default(),
            place: Place::default(),
            event: Event::Chunk(Chunk {
                count: calls.len() as u32,
                ticks: 1,
                words: &words,
            }),
        };
        n += calls.len() as u64;
        writer
            .push(&batch_of(Class::Essential, &records, vec![]))
            .unwrap();
        writer
            .push(&batch_of(Class::Sequences, &[chunk], vec![(0, n)]))
            .unwrap();
    }
    writer.finish().unwrap();
}

fn calls(habit: usize, length: usize, rng: &mut Rng) -> Vec<u16> {
    let phrases = HABITS[habit].1;
    let mut calls = Vec::new();
    let mut phrase = 0;
    while calls.len() < length {
        calls.extend(phrases[phrase]);
        // Mostly the next phrase, sometimes the same again.
        if rng.below(4) > 0 {
            phrase = (phrase + 1) % phrases.len();
        }
    }
    calls
}

/// One thread's chunk.
pub fn words(pid: u32, start_ns: u64, calls: &[u16]) -> Vec<u8> {
    let mut out = 0x8040u16.to_le_bytes().to_vec();
    out.extend(start_ns.to_le_bytes());
    out.extend(start_ns.to_le_bytes());
    for part in [pid, pid, 0, 0] {
        out.extend(part.to_le_bytes());
    }
    out.extend(calls.iter().flat_map(|call| call.to_le_bytes()));
    out
}

/// An exec of `path`.
pub fn exec(path: &[u8], session: u32) -> Exec<'_> {
    Exec {
        path,
        argv: b"",
        argv_bytes: 0,
        cwd: b"/",
        filename: path,
        ino: 1,
        dev: 1,
        flags: 0,
        euid: 1000,
        egid: 1000,
        cap_effective: 0,
        loginuid: 1000,
        session,
        tty: 1,
        stdio: [2, 2, 2],
        stdio_peer: b"",
        stdio_peer_port: 0,
        ..Exec::default()
    }
}
