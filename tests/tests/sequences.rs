//! Promise: the whole syscall sequence of every thread arrives, in order, on however many CPUs
//! it ran. Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ravn_shared::event::{Event, Record};
use ravn_shared::wire::decode_batch;
use ravn_shared::words::{Thread, Word, Words};
use ravn_tests::acts::syscalls::{CHEAP, sequence};
use ravn_tests::acts::threads::{MARK, told};
use ravn_tests::bench::slices::allowed_cpus;
use ravn_tests::harness::bpf::Borrowed;
use ravn_tests::harness::skip::{Need, can_run};
use ravn_tests::harness::{Sandbox, sandbox::PATIENCE, wait_until};

/// A thread, however often its id was used: its start and its id.
type Birth = (u64, u32);

/// A run of one thread's calls on one CPU, with what orders it among the thread's runs.
type Run = ((u32, u64, u64), Vec<u16>);

/// The calls of each thread in every chunk that waits, in order.
fn calls(sandbox: &Sandbox) -> BTreeMap<Birth, Vec<u16>> {
    let mut connection = sandbox.redis.admin().unwrap();
    let batches: Vec<Vec<u8>> = redis::cmd("LRANGE")
        .arg("events:raw")
        .arg(0)
        .arg(-1)
        .query(&mut connection)
        .unwrap();
    let mut threads: BTreeMap<Birth, Vec<Run>> = BTreeMap::new();
    for bytes in batches.iter().rev() {
        let batch = decode_batch(bytes).unwrap();
        assert_eq!(batch.header.lost.reasons, [], "the sensor lost something");
        for record in &batch.records {
            if let Event::Chunk(chunk) = record.event {
                read(chunk.words, record, &mut threads);
            }
        }
    }
    threads
        .into_iter()
        .map(|(birth, mut runs)| {
            runs.sort_by_key(|(order, _)| *order);
            (
                birth,
                runs.into_iter().flat_map(|(_, calls)| calls).collect(),
            )
        })
        .collect()
}

/// Adds the runs of one chunk.
fn read(words: &[u8], record: &Record<'_>, threads: &mut BTreeMap<Birth, Vec<Run>>) {
    let mut slots: HashMap<u8, Thread> = HashMap::new();
    let mut current: Option<&mut Vec<u16>> = None;
    for step in Words::new(words) {
        let thread = match step.unwrap().1 {
            Word::Define(slot, thread) => {
                slots.insert(slot, thread);
                thread
            }
            Word::Switch(slot) => slots[&slot],
            Word::Time(_) => continue,
            Word::Syscall(call) => {
                current
                    .as_mut()
                    .expect("a call before any thread")
                    .push(call.nr);
                continue;
            }
        };
        let runs = threads.entry((thread.start_ns, thread.pid)).or_default();
        let own = order(&thread, record);
        let at = match runs.iter().rposition(|(order, _)| *order == own) {
            Some(at) => at,
            None => {
                runs.push((own, Vec::new()));
                runs.len() - 1
            }
        };
        current = Some(&mut runs[at].1);
    }
}

/// Within an exec, a thread's moves between CPUs order its runs; between two moves it is on one
/// CPU, where the stream's numbers do.
fn order(thread: &Thread, record: &Record<'_>) -> (u32, u64, u64) {
    (thread.exec_id, u64::from(thread.migrations), record.n)
}

/// Waits until `told` fits all that arrived; fails with what it says last.
fn wait_for(
    sandbox: &Sandbox,
    mut told: impl FnMut(BTreeMap<Birth, Vec<u16>>) -> Result<(), String>,
) {
    let mut connection = sandbox.redis.admin().unwrap();
    let (mut seen, mut missing) = (None, String::new());
    let found = wait_until(PATIENCE, "every call of each thread", || {
        let batches: u64 = redis::cmd("LLEN")
            .arg("events:raw")
            .query(&mut connection)?;
        // Nothing new: nothing else will be found.
        if seen.replace(batches) == Some(batches) {
            return Ok(None);
        }
        Ok(match told(calls(sandbox)) {
            Ok(()) => Some(()),
            Err(what) => {
                missing = what;
                None
            }
        })
    });
    assert!(found.is_ok(), "{missing}");
}

/// What the trigger's threads alone decide on: the standard library makes calls of its own, and
/// before the first mark some of these kinds too.
fn decided(calls: &[u16]) -> Vec<u16> {
    let number = |call: libc::c_long| u16::try_from(call).unwrap();
    let known = CHEAP.map(number);
    calls
        .iter()
        .copied()
        .skip_while(|call| *call != number(MARK))
        .filter(|call| *call == number(MARK) || known.contains(call))
        .collect()
}

fn as_told(seed: u64, thread: usize, count: usize) -> Vec<u16> {
    told(seed, thread as u64, count)
        .map(|call| u16::try_from(call).unwrap())
        .collect()
}

/// Where two lists part.
fn difference(seen: &[u16], told: &[u16]) -> String {
    let same = seen.iter().zip(told).take_while(|(a, b)| a == b).count();
    format!(
        "{} calls seen, {} told, alike for {same}",
        seen.len(),
        told.len()
    )
}

/// Promise: exact although threads move between CPUs in the middle of everything, and chunks end
/// at any moment.
#[test]
fn a_million_calls_of_threads_that_are_pushed_around_arrive_exactly() {
    const NAME: &str =
        "sequences::a_million_calls_of_threads_that_are_pushed_around_arrive_exactly";
    if !can_run(NAME, Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    let pid = sandbox.start_collector().unwrap().pid();
    let flush = Borrowed::of(pid, "flush_cpu").unwrap();
    let (seed, count, threads) = (20_260_102u64, 250_000usize, 4usize);
    let (done, flushed) = (AtomicBool::new(false), AtomicU64::new(0));
    let truth = std::thread::scope(|scope| {
        scope.spawn(|| {
            let cpus = allowed_cpus().unwrap();
            let mut random = seed;
            while !done.load(Ordering::Relaxed) {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let cpu = cpus[(random >> 33) as usize % cpus.len()];
                if flush.run_on(u32::try_from(cpu).unwrap()).unwrap() == 0 {
                    flushed.fetch_add(1, Ordering::Relaxed);
                }
                // Not a wait for anything: the flushes are to be random.
                std::thread::sleep(Duration::from_micros(random >> 54));
            }
        });
        let truth = sandbox.trigger(&[
            "hopping-syscalls",
            &seed.to_string(),
            &count.to_string(),
            &threads.to_string(),
        ]);
        done.store(true, Ordering::Relaxed);
        truth.unwrap()
    });
    assert!(
        flushed.load(Ordering::Relaxed) > 50,
        "nearly no flush took place"
    );
    let pushes = truth.fields["pushes"].as_u64().unwrap();
    assert!(pushes > 200, "nearly nobody was pushed: {pushes}");
    let ids: Vec<u32> = serde_json::from_value(truth.fields["threads"].clone()).unwrap();
    wait_for(&sandbox, |seen| {
        let mut wrong = String::new();
        for (thread, id) in ids.iter().enumerate() {
            let own: Vec<_> = seen.iter().filter(|((_, pid), _)| pid == id).collect();
            let [(_, calls)] = own.as_slice() else {
                return Err(format!("thread {id} was born {} times", own.len()));
            };
            let (seen, told) = (decided(calls), as_told(seed, thread, count));
            if seen != told {
                wrong.push_str(&format!("thread {id}: {}; ", difference(&seen, &told)));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    });
}

/// Promise: no call is ever another thread's, although ids and stacks are used again at once.
#[test]
fn forty_thousand_short_threads_with_reused_ids_keep_their_own_calls() {
    const NAME: &str =
        "sequences::forty_thousand_short_threads_with_reused_ids_keep_their_own_calls";
    if !can_run(NAME, Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    sandbox.start_collector().unwrap();
    let (seed, count, threads) = (20_260_103u64, 6usize, 40_000usize);
    let truth = sandbox
        .trigger(&[
            "short-threads",
            &seed.to_string(),
            &count.to_string(),
            &threads.to_string(),
        ])
        .unwrap();
    // Id, birth by the thread's own clock, number.
    let mut told: Vec<(u32, u64, usize)> =
        serde_json::from_value(truth.fields["threads"].clone()).unwrap();
    assert_eq!(told.len(), threads);
    told.sort_unstable();
    let reused = told
        .windows(2)
        .filter(|pair| pair[0].0 == pair[1].0)
        .count();
    assert!(reused > 1000, "only {reused} ids came again");
    wait_for(&sandbox, |seen| {
        // Of the threads that had one id, the kernel's and the trigger's clock agree on the order.
        let mut by_id: BTreeMap<u32, Vec<Vec<u16>>> = BTreeMap::new();
        for ((_, id), calls) in &seen {
            let own = decided(calls);
            if !own.is_empty() {
                by_id.entry(*id).or_default().push(own);
            }
        }
        let mut wrong = Vec::new();
        for lives in told.chunk_by(|a, b| a.0 == b.0) {
            let id = lives[0].0;
            let seen = by_id.remove(&id).unwrap_or_default();
            let told: Vec<Vec<u16>> = lives
                .iter()
                .map(|(_, _, thread)| as_told(seed, *thread, count))
                .collect();
            if let Some((seen, told)) = seen.iter().zip(&told).find(|(seen, told)| seen != told) {
                wrong.push(format!("id {id}: seen {seen:?}, told {told:?}"));
            } else if seen.len() != told.len() {
                let (seen, told) = (seen.len(), told.len());
                wrong.push(format!("id {id}: {seen} lives seen, {told} told"));
            }
        }
        match wrong.first() {
            None => Ok(()),
            Some(first) => Err(format!("{} ids are wrong; {first}", wrong.len())),
        }
    });
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
    let (seed, calls_each, threads) = (20_260_101u64, 20_000usize, 6u64);
    let truth = sandbox
        .trigger(&[
            "syscalls",
            &seed.to_string(),
            &calls_each.to_string(),
            &threads.to_string(),
        ])
        .unwrap();
    let ids: Vec<u32> = truth.fields["threads"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| u32::try_from(id.as_u64().unwrap()).unwrap())
        .collect();
    wait_for(&sandbox, |seen| {
        let mut missing = String::new();
        for (thread, id) in ids.iter().enumerate() {
            let of_it = seen.iter().find(|((_, pid), _)| pid == id);
            let own = of_it.map_or(&[][..], |(_, calls)| calls.as_slice());
            let told: Vec<u16> = sequence(seed, thread as u64, calls_each)
                .map(|call| u16::try_from(call).unwrap())
                .collect();
            if !own.windows(told.len()).any(|window| window == told) {
                missing.push_str(&format!(
                    "thread {id}: {} calls seen, not the {} told in a row; ",
                    own.len(),
                    told.len()
                ));
            }
        }
        if missing.is_empty() {
            Ok(())
        } else {
            Err(missing)
        }
    });
}
