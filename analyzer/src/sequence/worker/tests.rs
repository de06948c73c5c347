#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::model::container::{self, Metadata, Training};
use crate::model::engine::{Engine, Lane};
use crate::model::math::Odds;
use crate::model::net::{EMBED, Net};
use crate::model::profile::{Calibration, Measured, Usual};
use crate::model::rng::Rng;
use crate::model::train::synthetic::{exec, words};
use crate::scratch::Scratch;
use crate::sequence::ModelSource;
use crate::sequence::merge::simulate::{Machine, batch_of};
use burn::tensor::Device;
use ravn_shared::event::{Chunk, Event, Exit, Fork, Place, Record, Task};
use ravn_shared::kind::Class;
use ravn_shared::tokens;
use std::path::PathBuf;

/// A model with random weights: scores mean nothing, but move.
fn model_file(scratch: &Scratch) -> PathBuf {
    let net = Net::new(tokens::count(), 1, &Device::flex());
    let mut rng = Rng::new(1);
    let normals: Vec<Measured> = (0..500)
        .map(|at| Measured {
            tokens: 16 << (at % 6),
            surprise: rng.uniform(),
            novelty: rng.uniform() * 0.2,
        })
        .collect();
    let metadata = Metadata {
        vocabulary: tokens::digest(),
        tokens: tokens::count(),
        embed: EMBED,
        hidden: HIDDEN,
        seed: 1,
        training: Training::default(),
        counts: vec![1; tokens::count()],
        usual: vec![
            Usual {
                mean: 1.0,
                deviation: 0.5
            };
            tokens::count()
        ],
        sets: Vec::new(),
        calibration: Calibration::fit(&normals),
    };
    let path = scratch.file("a.ravnmodel");
    let bytes = container::write(&metadata, &net.to_bytes().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

fn worker(scratch: &Scratch) -> Worker {
    Worker::new(Options {
        model: ModelSource::File(model_file(scratch)),
        ..Options::default()
    })
}

fn feed(worker: &mut Worker, batches: &[Vec<u8>], first: u64) -> Vec<Report> {
    let mut reports = Vec::new();
    for (id, batch) in (first..).zip(batches) {
        worker.take(id, batch, Horizon::NONE);
        reports.extend(worker.turn(false));
    }
    reports.extend(worker.turn(true));
    reports
}

fn task(pid: u32, start_ns: u64) -> Task<'static> {
    Task {
        tgid: pid,
        pid,
        start_ns,
        comm: b"x",
        ..Task::default()
    }
}

/// A process that forks a child, which runs a program and ends.
fn session(n: u64, calls: &[u16]) -> Vec<Vec<u8>> {
    let parent = words(10, 5, &[0, 1, 0, 1, 0, 1]);
    let child = words(11, 1_000, calls);
    let mut all = parent.clone();
    all.extend(&child);
    let fork_word = parent.len() as u32 / 2;
    let record = |n, task, word, event| Record {
        cpu: 0,
        n,
        time_ns: 2_000_000_000,
        task,
        place: Place { first_n: 0, word },
        event,
    };
    let fork = Event::Fork(Fork {
        child_tgid: 11,
        child_pid: 11,
        child_start_ns: 1_000,
        thread: false,
    });
    let exit = Event::Exit(Exit {
        status: 0,
        thread_start_ns: 1_000,
        process: true,
    });
    let records = [
        record(n, task(10, 5), fork_word, fork),
        record(
            n + 1,
            task(11, 1_000),
            fork_word,
            Event::Exec(exec(b"/usr/bin/cat", 10)),
        ),
        record(n + 2, task(11, 1_000), all.len() as u32 / 2, exit),
    ];
    let count = 6 + calls.len() as u32;
    let chunk = Record {
        cpu: 0,
        n: 0,
        time_ns: 2_000_000_000,
        task: Task::default(),
        place: Place::default(),
        event: Event::Chunk(Chunk {
            count,
            ticks: 0,
            words: &all,
        }),
    };
    vec![
        batch_of(Class::Essential, &records, vec![]),
        batch_of(Class::Sequences, &[chunk], vec![(0, u64::from(count))]),
    ]
}

const LONG: [u16; 40] = {
    let mut calls = [0; 40];
    let mut at = 0;
    while at < 40 {
        calls[at] = 2 + at as u16;
        at += 1;
    }
    calls
};

#[test]
fn a_process_of_sixteen_tokens_gets_a_score() {
    let scratch = Scratch::new();
    let mut worker = worker(&scratch);
    let reports = feed(&mut worker, &session(0, &LONG), 1);
    let last = reports.last().unwrap();
    assert_eq!((last.mode, last.done_upto), (Mode::Full, 2));
    let judged: Vec<_> = reports.iter().flat_map(|report| &report.judged).collect();
    assert_eq!(judged, [&(77, 0, 0, 46)]);
    let surprises: Vec<_> = reports
        .iter()
        .flat_map(|report| &report.surprises)
        .collect();
    assert_eq!(surprises.len(), 1, "the parent made six tokens");
    let surprise = surprises[0];
    assert_eq!(surprise.process.tgid, 11);
    // The child goes on from its parent, whose own past is unknown: still cold.
    assert!(surprise.tokens >= 30, "{surprise:?}");
    assert!((1..=5).contains(&surprise.spans.len()), "{surprise:?}");
    assert!(
        surprise
            .spans
            .is_sorted_by(|a, b| a.probability <= b.probability)
    );
    assert_eq!(last.tokens_seen, last.tokens_scored);
}

#[test]
fn a_child_goes_on_from_its_parents_state_at_the_fork() {
    let scratch = Scratch::new();
    let mut worker = worker(&scratch);
    let mut batches = session(0, &[0, 1]);
    // Without the exit, so that the child stays in the table.
    let decoded = ravn_shared::wire::decode_batch(&batches[0]).unwrap();
    batches[0] = batch_of(Class::Essential, &decoded.records[..1], vec![]);
    feed(&mut worker, &batches, 1);
    let states: HashMap<u32, Stream> = worker
        .table
        .threads()
        .map(|(id, thread)| (id.pid, thread.score.stream.clone()))
        .collect();
    let net = Net::new(tokens::count(), 1, &Device::flex());
    let mut engine = Engine::new(&net).unwrap();
    let mut stream = engine.start().clone();
    let names = [
        "read",
        "write",
        "read",
        "write",
        "read",
        "write",
        "fork:process",
    ];
    for name in names.iter().chain(&["read", "write"]) {
        let token = tokens::id(name).unwrap();
        let mut lanes = [Lane {
            stream: &mut stream,
            token,
            odds: Odds::default(),
        }];
        engine.step(&mut lanes).unwrap();
        if *name == "fork:process" {
            assert_eq!(states[&10], stream);
        }
    }
    assert_eq!(states[&11], stream);
}

/// What a kill at any time and a replay lead to is what an undisturbed run leads to.
#[test]
fn a_restart_from_the_checkpoint_ends_where_an_undisturbed_run_does() {
    let mut machine = Machine::new(3, 3, 4);
    machine.run(2500);
    let batches = machine.arrivals();
    let scratch = Scratch::new();
    let whole_reports = feed(&mut worker(&scratch), &batches, 1);
    let whole = fields(&whole_reports);
    for cut in [batches.len() / 3, batches.len() / 2, batches.len() * 4 / 5] {
        let mut first = worker(&scratch);
        let mut reports = Vec::new();
        for (id, batch) in (1..).zip(&batches[..cut]) {
            first.take(id, batch, Horizon::NONE);
            reports.extend(first.turn(false));
        }
        let done = reports.last().unwrap().done_upto as usize;
        let mut second = worker(&scratch);
        second.restore(&fields(&reports).into_iter().collect::<Vec<_>>());
        reports.extend(feed(&mut second, &batches[done..], done as u64 + 1));
        let mut judged: Vec<_> = reports
            .iter()
            .flat_map(|report| report.judged.clone())
            .collect();
        let sum: u64 = judged.iter().map(|(.., count)| u64::from(*count)).sum();
        assert_eq!(sum, machine.calls);
        judged.sort_unstable();
        judged.dedup();
        assert_eq!(
            sum,
            judged
                .iter()
                .map(|(.., count)| u64::from(*count))
                .sum::<u64>()
        );
        let both = fields(&reports);
        let keys = |fields: &HashMap<String, Vec<u8>>| {
            let mut keys: Vec<String> = fields.keys().cloned().collect();
            keys.sort();
            keys
        };
        assert_eq!(keys(&whole), keys(&both));
        for (name, value) in &whole {
            assert_eq!(Some(value), both.get(name), "{name}, cut at {cut}");
        }
    }
}

fn fields(reports: &[Report]) -> HashMap<String, Vec<u8>> {
    let mut fields = HashMap::default();
    for (name, value) in reports.iter().flat_map(|report| report.fields.clone()) {
        match value {
            Some(value) => fields.insert(name, value),
            None => fields.remove(&name),
        };
    }
    fields
}

#[test]
fn after_a_boot_nothing_of_the_one_before_is_left() {
    let scratch = Scratch::new();
    let mut worker = worker(&scratch);
    let mut batches = session(0, &LONG);
    let mut reports = feed(&mut worker, &batches, 1);
    assert!(!fields(&reports).is_empty());
    // One that waits when the host goes down.
    let ghost = words(12, 5, &[1]);
    let record = Record {
        cpu: 0,
        n: 46,
        time_ns: 3_000_000_000,
        task: Task::default(),
        place: Place::default(),
        event: Event::Chunk(Chunk {
            count: 1,
            ticks: 9,
            words: &ghost,
        }),
    };
    worker.take(
        3,
        &batch_of(Class::Sequences, &[record], vec![]),
        Horizon::NONE,
    );
    worker.begin_anew();
    let report = worker.turn(false).unwrap();
    assert_eq!(
        (report.done_upto, &report.judged[..]),
        (3, &[(77, 0, 46, 1)][..])
    );
    reports.push(report);
    assert_eq!(fields(&reports), HashMap::default());
    // Its clock begins anew: times are less than before, and nothing is late.
    for (batch, load) in batches.iter_mut().zip(1..) {
        let mut decoded = ravn_shared::wire::decode_batch(batch).unwrap();
        decoded.header.lost.load_id = 78;
        for record in &mut decoded.records {
            record.time_ns = 1_000_000_000 + load;
        }
        let records: Vec<Vec<u8>> = decoded.records.iter().map(encoded).collect();
        let mut bytes = Vec::new();
        let slices = records.iter().map(Vec::as_slice);
        ravn_shared::wire::encode_batch(&decoded.header, slices, &mut bytes).unwrap();
        *batch = bytes;
    }
    let reports = feed(&mut worker, &batches, 4);
    let last = reports.last().unwrap();
    assert_eq!((last.done_upto, last.late), (5, 0));
    assert!(last.tokens_scored > 60, "{}", last.tokens_scored);
}

fn encoded(record: &Record<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    ravn_shared::wire::encode_record(record, &mut bytes).unwrap();
    bytes
}

#[test]
fn all_is_told_when_asked_for_even_if_that_is_nothing() {
    let scratch = Scratch::new();
    let mut worker = worker(&scratch);
    worker.turn(false);
    worker.all_changed();
    let report = worker.turn(false).unwrap();
    assert!(report.whole && report.fields.is_empty());
    let all = fields(&feed(&mut worker, &session(0, &LONG), 1));
    worker.all_changed();
    let report = worker.turn(false).unwrap();
    assert!(report.whole);
    assert_eq!(fields(&[report]), all);
    assert!(worker.turn(false).is_none());
}

#[test]
fn damaged_checkpoints_are_dropped() {
    let scratch = Scratch::new();
    let mut worker = worker(&scratch);
    let names = [
        "s:t:1:2",
        "s:p:1:2",
        "s:x:1:2",
        "c:1:2:3",
        "c:zz:0:1",
        "s:",
        "c:1:70000:1",
    ];
    let fields: Vec<_> = names.map(|name| (name.to_owned(), vec![0xc1; 9])).into();
    worker.restore(&fields);
    assert_eq!(worker.table.threads().count(), 0);
    assert!(!feed(&mut worker, &session(0, &LONG), 1).is_empty());
}

#[test]
fn threads_that_ended_leave_the_checkpoint() {
    let scratch = Scratch::new();
    let mut worker = worker(&scratch);
    feed(&mut worker, &session(0, &LONG), 1);
    worker.advance(2_000_000_000 + 2 * LINGER_NS);
    let report = worker.turn(false).unwrap();
    let gone: Vec<_> = report
        .fields
        .iter()
        .filter(|(_, value)| value.is_none())
        .collect();
    assert_eq!(gone.len(), 2, "{gone:?}");
    assert!(gone.iter().all(|(name, _)| name.ends_with(":11:1000")));
}

#[test]
fn a_panicking_or_damaged_model_means_rules_until_it_is_back() {
    let scratch = Scratch::new();
    let mut worker = worker(&scratch);
    worker.trip = true;
    let reports = feed(&mut worker, &session(0, &LONG), 1);
    let last = reports.last().unwrap();
    assert_eq!(last.mode, Mode::Rules);
    assert!(last.mode_reason.contains("tripped"), "{}", last.mode_reason);
    // What it was to judge is judged by the rules alone, not held up.
    let judged: usize = reports.iter().map(|report| report.judged.len()).sum();
    assert_eq!((judged, last.done_upto), (1, 2));
    worker.retry_at = Some(Instant::now());
    assert_eq!(worker.turn(false).unwrap().mode, Mode::Full);

    let path = model_file(&scratch);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut worker = Worker::new(Options {
        model: ModelSource::File(path),
        ..Options::default()
    });
    let report = worker.turn(false).unwrap();
    assert_eq!(report.mode, Mode::Rules);
    assert!(
        report.mode_reason.contains("damaged"),
        "{}",
        report.mode_reason
    );
}

#[test]
fn without_a_model_the_rules_judge_alone_and_nothing_waits() {
    let mut worker = Worker::new(Options {
        model: ModelSource::None,
        ..Options::default()
    });
    let reports = feed(&mut worker, &session(0, &LONG), 1);
    let last = reports.last().unwrap();
    assert_eq!(
        (last.mode, last.done_upto, last.tokens_scored),
        (Mode::Rules, 2, 0)
    );
    assert!(last.mode_reason.contains("none"));
    assert!(last.tokens_seen > 40);
}

#[test]
fn a_panic_elsewhere_gives_up_what_waits_and_goes_on() {
    let scratch = Scratch::new();
    let mut worker = worker(&scratch);
    let batches = session(0, &LONG);
    worker.take(1, &batches[0], Horizon::NONE);
    worker.take(2, &batches[1], Horizon::NONE);
    let report = worker.recover(&"a bug").unwrap();
    assert_eq!(
        (report.done_upto, &report.judged[..]),
        (2, &[(77, 0, 0, 46)][..])
    );
    assert!(report.mode_reason.contains("a bug"));
    assert!(worker.turn(true).is_none(), "something still waits");
}

#[test]
fn the_loudest_are_thinned_and_none_to_zero() {
    use crate::sequence::chunk::ThreadId;
    use crate::sequence::rounds::{FEWEST, Op, thin};
    let work = |pid: u32, tokens: usize| Work {
        thread: ThreadId { pid, start_ns: 0 },
        process: ProcessId {
            tgid: pid,
            start_ns: 0,
        },
        ops: (0..tokens)
            .map(|at| Op::Token {
                token: 9,
                time_ns: 0,
                record: at == tokens - 1,
            })
            .collect(),
        waits: false,
        score: crate::model::score::ThreadScore::unknown(&Stream::ZERO),
    };
    let mut works = vec![work(1, 10_000), work(2, 50), work(3, 8_000), work(4, 3_000)];
    let dropped = thin(&mut works, 2_000, false, |work| work.thread.pid == 4);
    let left: Vec<usize> = works.iter().map(|work| work.ops.len()).collect();
    // The fresh one alone is over the budget: the others keep the least, and their records.
    assert_eq!(left, [FEWEST + 1, FEWEST + 1, FEWEST + 1, 3_000]);
    assert_eq!(dropped as usize + left.iter().sum::<usize>(), 21_050);
    let mut works = vec![work(1, 10_000), work(2, 50), work(3, 900)];
    thin(&mut works, 2_000, false, |_| false);
    let left: Vec<usize> = works.iter().map(|work| work.ops.len()).collect();
    assert_eq!(left[1..], [50, 900]);
    assert!((1_000..=1_100).contains(&left[0]), "{left:?}");
    assert_eq!(thin(&mut works, 5_000, false, |_| false), 0);
    // Behind the stream, a flood of records does not go first either.
    let mut works = vec![work(1, 10_000), work(2, 50)];
    for op in &mut works[0].ops {
        if let Op::Token { record, .. } = op {
            *record = true;
        }
    }
    assert_eq!(thin(&mut works, 1_000, false, |_| false), 0);
    thin(&mut works, 1_000, true, |_| false);
    let left: Vec<usize> = works.iter().map(|work| work.ops.len()).collect();
    assert_eq!(left, [950, 50]);
}

#[test]
fn over_the_budget_the_share_that_is_scored_falls_and_is_told() {
    let scratch = Scratch::new();
    let mut worker = Worker::new(Options {
        model: ModelSource::File(model_file(&scratch)),
        tokens_per_s: 200,
    });
    let calls: Vec<u16> = (0..1500)
        .map(|at| if at % 2 == 0 { 0 } else { 1 })
        .collect();
    let batches = session(0, &calls);
    // The chunk alone: no exec protects it.
    let reports = feed(&mut worker, &batches[1..], 1);
    let last = reports.last().unwrap();
    assert!(last.tokens_seen > 1500);
    assert!(
        (FEWEST..500).contains(&(last.tokens_scored as usize)),
        "{}",
        last.tokens_scored
    );
}

use crate::sequence::rounds::FEWEST;
