//! Promise: the whole syscall sequence of every thread arrives, in order, on however many CPUs
//! it ran. Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;

use ravn_shared::event::Event;
use ravn_shared::wire::decode_batch;
use ravn_shared::words::{Thread, Word, Words};
use ravn_tests::acts::syscalls::sequence;
use ravn_tests::harness::skip::{Need, can_run};
use ravn_tests::harness::{Sandbox, sandbox::PATIENCE, wait_until};

/// A run of one thread's calls on one CPU, with what orders it among the thread's runs.
type Run = ((u32, u64, u64), Vec<u16>);

/// The runs of each thread in every chunk that waits.
fn runs(sandbox: &Sandbox) -> HashMap<u32, Vec<Run>> {
    let mut connection = sandbox.redis.admin().unwrap();
    let batches: Vec<Vec<u8>> = redis::cmd("LRANGE")
        .arg("events:raw")
        .arg(0)
        .arg(-1)
        .query(&mut connection)
        .unwrap();
    let mut threads: HashMap<u32, Vec<Run>> = HashMap::new();
    for bytes in batches.iter().rev() {
        for record in decode_batch(bytes).unwrap().records {
            let Event::Chunk(chunk) = record.event else {
                continue;
            };
            let mut slots: HashMap<u8, Thread> = HashMap::new();
            let mut current = None;
            for step in Words::new(chunk.words) {
                match step.unwrap().1 {
                    Word::Define(slot, thread) => {
                        slots.insert(slot, thread);
                        current = Some(slot);
                        threads
                            .entry(thread.pid)
                            .or_default()
                            .push((order(&thread, &record), Vec::new()));
                    }
                    Word::Switch(slot) => {
                        current = Some(slot);
                    }
                    Word::Time(_) => {}
                    Word::Syscall(call) => {
                        let thread = slots[&current.expect("a call before any thread")];
                        let runs = threads.entry(thread.pid).or_default();
                        let own = order(&thread, &record);
                        match runs.iter_mut().rev().find(|(key, _)| *key == own) {
                            Some((_, calls)) => calls.push(call.nr),
                            None => runs.push((own, vec![call.nr])),
                        }
                    }
                }
            }
        }
    }
    threads
}

/// Within an exec, a thread's moves between CPUs order its runs; between two moves it is on one
/// CPU, where the stream's numbers do.
fn order(thread: &Thread, record: &ravn_shared::event::Record<'_>) -> (u32, u64, u64) {
    (thread.exec_id, u64::from(thread.migrations), record.n)
}

#[test]
fn every_thread_arrives_whole_and_in_order() {
    if !can_run(
        "sequences::every_thread_arrives_whole_and_in_order",
        Need::Kernel,
    )
    .unwrap()
    {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    sandbox.start_collector().unwrap();
    let (seed, calls, threads) = (20_260_101u64, 20_000usize, 6u64);
    let truth = sandbox
        .trigger(&[
            "syscalls",
            &seed.to_string(),
            &calls.to_string(),
            &threads.to_string(),
        ])
        .unwrap();
    let ids: Vec<u32> = truth.fields["threads"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| u32::try_from(id.as_u64().unwrap()).unwrap())
        .collect();
    let mut missing = String::new();
    let found = wait_until(PATIENCE, "the whole sequence of each thread", || {
        let mut runs = runs(&sandbox);
        missing.clear();
        for (thread, id) in ids.iter().enumerate() {
            let mut own = runs.remove(id).unwrap_or_default();
            own.sort_by_key(|(key, _)| *key);
            let seen: Vec<u16> = own.into_iter().flat_map(|(_, calls)| calls).collect();
            let told: Vec<u16> = sequence(seed, thread as u64, calls)
                .map(|call| u16::try_from(call).unwrap())
                .collect();
            if !seen.windows(told.len()).any(|window| window == told) {
                missing.push_str(&format!(
                    "thread {id}: {} calls seen, not the {} told in a row; ",
                    seen.len(),
                    told.len()
                ));
            }
        }
        Ok(missing.is_empty().then_some(()))
    });
    assert!(found.is_ok(), "{missing}");
}
