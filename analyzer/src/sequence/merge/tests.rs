#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::simulate::{Deed, LOAD, Machine, TICK_NS, batch_of};
use super::*;
use crate::horizon::Horizon;
use crate::sequence::intake::Intake;
use proptest::prelude::*;
use ravn_shared::event::{Chunk as Words, Event as Payload, Place, Record, Task};
use ravn_shared::kind::Class;

fn deeds(items: &[Item]) -> HashMap<ThreadId, Vec<Deed>> {
    let mut deeds: HashMap<ThreadId, Vec<Deed>> = HashMap::default();
    for item in items {
        deeds.entry(item.thread).or_default().push(match item.act {
            Act::Call(call) => Deed::Call(call.nr),
            Act::Event(_) | Act::Exec(_) => Deed::Event,
            Act::Fork(_, child, _) => Deed::Fork(child),
            Act::Exit(..) => Deed::Exit,
        });
    }
    deeds
}

struct Run {
    items: Vec<Item>,
    judged: u64,
    intake: Intake,
}

fn run(batches: &[Vec<u8>]) -> Run {
    let mut run = Run {
        items: Vec::new(),
        judged: 0,
        intake: Intake::default(),
    };
    let mut id = 0;
    for batch in batches {
        id += 1;
        run.intake.batch(id, batch, Horizon::NONE).unwrap();
        let released = run.intake.release(false);
        run.judged += released
            .judged
            .iter()
            .map(|(.., count)| u64::from(*count))
            .sum::<u64>();
        run.items.extend(released.items);
    }
    let released = run.intake.release(true);
    run.judged += released
        .judged
        .iter()
        .map(|(.., count)| u64::from(*count))
        .sum::<u64>();
    run.items.extend(released.items);
    run
}

/// Tells the first difference alone: the lists are long.
fn same(found: Option<&Vec<Deed>>, truth: &[Deed], what: &str) {
    let found = found.map_or(&[][..], Vec::as_slice);
    let Some(at) = (0..found.len().max(truth.len())).find(|at| found.get(*at) != truth.get(*at))
    else {
        return;
    };
    let near = |list: &[Deed]| {
        let skip = at.saturating_sub(3);
        format!("{:?}", list.iter().skip(skip).take(8).collect::<Vec<_>>())
    };
    panic!(
        "{what}: {} found, {} true, from {at} on {} for {}",
        found.len(),
        truth.len(),
        near(found),
        near(truth)
    );
}

fn check(seed: u64, cpus: usize, slots: usize, steps: usize) {
    let mut machine = Machine::new(seed, cpus, slots);
    machine.run(steps);
    let run = run(&machine.arrivals());
    let found = deeds(&run.items);
    for (thread, truth) in &machine.truth {
        same(
            found.get(thread),
            truth,
            &format!("{thread:?}, seed {seed}"),
        );
    }
    assert_eq!(found.len(), machine.truth.len());
    assert_eq!(run.judged, machine.calls);
    assert_eq!(run.intake.late, 0);
    let mut begun = HashSet::default();
    for item in &run.items {
        begun.insert(item.thread);
        if let Act::Fork(_, child, _) = item.act {
            assert!(
                !begun.contains(&child),
                "{child:?} before its fork, seed {seed}"
            );
        }
    }
    assert!(run.intake.merge.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]
    #[test]
    fn every_threads_sequence_comes_back_exactly(
        seed in any::<u64>(), cpus in 1usize..6, slots in 1usize..12,
    ) {
        check(seed, cpus, slots, 3000);
    }

    #[test]
    fn hostile_words_never_panic(
        words in proptest::collection::vec(any::<u8>(), 0..600), count in any::<u32>(),
        n in any::<u64>(), time in any::<u64>(), ticks in any::<u32>(),
    ) {
        let record = Record {
            cpu: 0, n, time_ns: time, task: Task::default(), place: Place::default(),
            event: Payload::Chunk(Words { count, ticks, words: &words }),
        };
        let bytes = batch_of(Class::Sequences, &[record], vec![(0, n)]);
        run(&[bytes.clone(), bytes]);
    }

    #[test]
    fn cut_off_chunks_keep_what_stands_before_the_cut(seed in any::<u64>(), cut in 0.0..1.0f64) {
        let mut machine = Machine::new(seed, 1, 4);
        machine.run(60);
        for batch in machine.arrivals() {
            let decoded = ravn_shared::wire::decode_batch(&batch).unwrap();
            let Some(Payload::Chunk(chunk)) = decoded.records.first().map(|record| &record.event) else { continue };
            let length = (chunk.words.len() as f64 * cut) as usize;
            let (whole, broken) = crate::sequence::chunk::runs(chunk.words);
            prop_assert!(!broken);
            let (part, _) = crate::sequence::chunk::runs(&chunk.words[..length]);
            for whole in whole {
                let kept: Vec<_> = whole.calls.iter().filter(|call| (call.word as usize + 1) * 2 <= length).collect();
                let found = part.iter().find(|part| (part.thread, part.migrations, part.exec_id) == (whole.thread, whole.migrations, whole.exec_id));
                prop_assert_eq!(found.map_or(0, |part| part.calls.len()), kept.len());
            }
        }
    }
}

#[test]
fn a_longer_run_with_few_slots() {
    check(7, 4, 2, 40_000);
}

/// A replay after a restart: what was judged before is dropped, what was not is judged once.
#[test]
fn a_replay_repeats_nothing_and_loses_nothing() {
    for seed in 0..20 {
        let mut machine = Machine::new(seed, 3, 4);
        machine.run(2000);
        let batches = machine.arrivals();
        let cut = batches.len() * 2 / 3;
        let mut first = Intake::default();
        let mut items = Vec::new();
        let mut cursors = HashMap::default();
        for (id, batch) in (1..).zip(&batches[..cut]) {
            first.batch(id, batch, Horizon::NONE).unwrap();
            let released = first.release(false);
            items.extend(released.items);
            cursors.extend(released.cursors);
        }
        let done = usize::try_from(first.done_upto()).unwrap();
        assert!(done < cut, "nothing waits: the test shows nothing");
        let mut second = Intake::default();
        for (id, stream, ranges) in first.merge.lanes.changed() {
            let lane = second.merge.lanes.get(id);
            lane.judged.insert(stream, ranges.unwrap().clone());
        }
        for (thread, cursor) in cursors {
            let process = items
                .iter()
                .rev()
                .find(|item| item.thread == thread)
                .unwrap()
                .process;
            second.merge.restore(thread, process, Some(cursor));
        }
        for (id, batch) in (1..).zip(&batches).skip(done) {
            second.batch(id, batch, Horizon::NONE).unwrap();
            items.extend(second.release(false).items);
        }
        items.extend(second.release(true).items);
        let found = deeds(&items);
        for (thread, truth) in &machine.truth {
            same(
                found.get(thread),
                truth,
                &format!("{thread:?}, seed {seed}"),
            );
        }
    }
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn chunk_record(cpu: u16, n: u64, time_ns: u64, words: &[u8]) -> Record<'_> {
    Record {
        cpu,
        n,
        time_ns,
        task: Task::default(),
        place: Place::default(),
        event: Payload::Chunk(Words {
            count: 1,
            ticks: 1,
            words,
        }),
    }
}

fn one_call(pid: u16, nr: u16) -> Vec<u8> {
    let mut all = vec![0x8040, 1, 0, 0, 0, 1, 0, 0, 0, pid, 0, pid, 0, 0, 0, 0, 0];
    all.push(nr);
    words(&all)
}

/// An idle CPU holds nobody up once the sender says that nothing of it is outstanding.
#[test]
fn taken_counters_release_without_a_wait() {
    let second = 1_000_000_000;
    let mut intake = Intake::default();
    let (a, b) = (one_call(5, 1), one_call(6, 2));
    let bytes = batch_of(
        Class::Sequences,
        &[chunk_record(0, 0, second, &a)],
        vec![(1, 1)],
    );
    intake.batch(1, &bytes, Horizon::NONE).unwrap();
    assert!(
        intake.release(false).items.is_empty(),
        "CPU 1 is outstanding"
    );
    let later = second + 20 * TICK_NS;
    let bytes = batch_of(
        Class::Sequences,
        &[
            chunk_record(1, 0, second, &b),
            chunk_record(0, 1, later, &a),
        ],
        vec![(0, 2), (1, 1)],
    );
    intake.batch(2, &bytes, Horizon::NONE).unwrap();
    assert_eq!(intake.release(false).judged.len(), 2);
    assert_eq!(intake.done_upto(), 1);
    intake.merge.advance(later + lane_wait());
    assert_eq!(intake.release(false).judged, [(LOAD, 0, 1, 1)]);
    assert_eq!(intake.done_upto(), 2);
}

fn lane_wait() -> u64 {
    crate::sequence::lane::WAIT_NS + 2 * TICK_NS
}

/// What comes after its time is marked and judged all the same.
#[test]
fn late_chunks_are_marked_and_judged() {
    let second = 1_000_000_000;
    let mut intake = Intake::default();
    let (a, b) = (one_call(5, 1), one_call(5, 2));
    for (id, record) in [
        (1, chunk_record(0, 0, 5 * second, &a)),
        (2, chunk_record(1, 0, second, &b)),
    ] {
        let bytes = batch_of(Class::Sequences, &[record], Vec::new());
        intake.batch(id, &bytes, Horizon::NONE).unwrap();
        intake.merge.advance(5 * second + lane_wait());
        assert_eq!(intake.release(false).items.len(), 1);
    }
    assert_eq!(intake.late, 1);
}

/// A stray takes a run with it whose chunk is not complete; what stands behind the last call of
/// that run is handed on too, or its batch would be waited for without end.
#[test]
fn what_a_stray_sets_aside_is_handed_on_with_it() {
    let lane = |cpu| LaneId { load_id: 1, cpu };
    let thread = ThreadId {
        pid: 7,
        start_ns: 50,
    };
    let process = ProcessId {
        tgid: 7,
        start_ns: 50,
    };
    let call = Syscall::from_word(39);
    let token = ravn_shared::tokens::of_syscall(call);
    let event = |cpu, place, time_ns, batch| Event {
        lane: lane(cpu),
        number: (Stream::Syscall, u64::from(cpu)),
        place,
        time_ns,
        pid: 7,
        process,
        thread_start_ns: None,
        act: Act::Event(token),
        batch,
    };
    let mut merge = Merge::default();
    merge.chunk(Arrival {
        lane: lane(1),
        first_n: 10,
        count: 1,
        opened_ns: 100,
        closed_ns: 100 + 10 * 1000,
        tick_ns: 1000,
        runs: vec![crate::sequence::chunk::Run {
            thread,
            process,
            exec_id: 1,
            migrations: 0,
            calls: vec![crate::sequence::chunk::Call {
                word: 0,
                ticks: 0,
                call,
            }],
        }],
        bytes: 2,
        batch: 1,
    });
    assert!(merge.event(event(1, (10, 1), 500, 2)));
    assert!(merge.event(event(0, (900, 0), 400, 3)));
    let released = merge.release_until(1000);
    assert_eq!(released.items.len(), 3);
    let mut settled = released.settled;
    settled.sort_unstable();
    assert_eq!(settled, [2, 3]);
}

/// A forged or damaged chunk, or record, of the far future holds nobody up, and does not carry
/// stream time with it.
#[test]
fn a_time_of_the_far_future_stops_nothing() {
    let second = 1_000_000_000;
    let words = one_call(5, 1);
    let far = u64::MAX / 2;
    let mut forged = chunk_record(0, 0, second, &words);
    if let Payload::Chunk(chunk) = &mut forged.event {
        chunk.ticks = u32::MAX;
    }
    let strange = event_at(far);
    for record in [forged, chunk_record(0, 0, far, &words), strange] {
        let mut intake = Intake::default();
        let arrived = Horizon::ours(2 * second);
        let bytes = batch_of(Class::Sequences, &[record], vec![]);
        intake.batch(1, &bytes, arrived).unwrap();
        assert!(intake.merge.now_ns() <= 2 * second);
        // What comes then is in time, and once its own time has come, all is done.
        let mut late = chunk_record(1, 0, 2 * second, &words);
        late.cpu = 1;
        let bytes = batch_of(Class::Sequences, &[late], vec![]);
        intake.batch(2, &bytes, arrived).unwrap();
        assert_eq!(intake.late, 0);
        intake.merge.advance(2 * second + lane_wait());
        intake.release(false);
        assert_eq!(intake.done_upto(), 2);
    }
}

/// A record without a chunk.
fn event_at(time_ns: u64) -> Record<'static> {
    Record {
        cpu: 0,
        n: 0,
        time_ns,
        task: Task {
            tgid: 5,
            pid: 5,
            start_ns: 1,
            ..Task::default()
        },
        place: Place::default(),
        event: Payload::Bpf(ravn_shared::event::Bpf {
            command: 5,
            object_type: 0,
            ret: 0,
        }),
    }
}
