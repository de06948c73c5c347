#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use ravn_shared::kind::{Class, Reason, Stream};
use ravn_shared::wire::{Header, Lost, SCHEMA};

use super::numbers::SETTLE_NS;
use super::{Account, Ledger, Sight};

const LOAD: u64 = 7;
const SECOND: u64 = 1_000_000_000;

fn header(lost: Lost) -> Header<'static> {
    Header {
        schema: SCHEMA,
        host: "h",
        boot_id: &[0; 16],
        run_id: 3,
        batch_no: 0,
        clock_offset_ns: 0,
        class: Class::Essential,
        source: ("x86_64", 250),
        lost,
    }
}

fn counters(taken: &[(Stream, u16, u64)], reasons: &[(Stream, Reason, u64)]) -> Header<'static> {
    header(Lost {
        load_id: LOAD,
        taken: taken.to_vec(),
        reasons: reasons.to_vec(),
    })
}

/// What became of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Delivered,
    RingFull,
    BufferFull,
    Vanished,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        8 => Just(Fate::Delivered),
        1 => Just(Fate::RingFull),
        1 => Just(Fate::BufferFull),
        1 => Just(Fate::Vanished),
    ]
}

const STREAMS: [(Stream, u16); 3] = [(Stream::File, 0), (Stream::File, 1), (Stream::Sequence, 0)];

proptest! {
    /// Whatever the order, the copies and the restarts, nothing is lost from the balance.
    #[test]
    fn any_order_duplication_and_restart_balances(
        fates in prop::collection::vec(prop::collection::vec(fate(), 0..60), 3),
        recursion in 0u64..5,
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..120),
        restart in 0usize..200,
    ) {
        let mut arrivals: Vec<(usize, u64)> = Vec::new();
        for (at, fates) in fates.iter().enumerate() {
            let came = (0u64..).zip(fates).filter(|(_, fate)| **fate == Fate::Delivered);
            arrivals.extend(came.map(|(n, _)| (at, n)));
        }
        for (at, index) in order.iter().enumerate() {
            if !arrivals.is_empty() {
                let (copy, place) = (arrivals[index.index(arrivals.len())], at % arrivals.len());
                arrivals.insert(place, copy);
                let other = index.index(arrivals.len());
                arrivals.swap(place, other);
            }
        }
        let lost = |stream: Stream, fate: Fate| -> u64 {
            let of = STREAMS.iter().zip(&fates).filter(|(id, _)| id.0 == stream);
            of.map(|(_, fates)| fates.iter().filter(|one| **one == fate).count() as u64).sum()
        };
        let taken: Vec<_> = STREAMS.iter().zip(&fates)
            .map(|((stream, cpu), fates)| (*stream, *cpu, fates.len() as u64)).collect();
        let mut reasons = vec![(Stream::File, Reason::Recursion, recursion)];
        for stream in [Stream::File, Stream::Sequence] {
            reasons.push((stream, Reason::RingFull, lost(stream, Fate::RingFull)));
            reasons.push((stream, Reason::BufferFull, lost(stream, Fate::BufferFull)));
        }
        let last = counters(&taken, &reasons);
        let plain = counters(&[], &[]);

        let mut ledger = Ledger::fresh();
        let mut saved = std::collections::HashMap::new();
        for (step, (at, n)) in arrivals.into_iter().enumerate() {
            let (stream, cpu) = STREAMS[at];
            if step == restart {
                saved.extend(ledger.changed());
                let mut back = Ledger::default();
                for (name, value) in &saved {
                    back.restore(name, value.as_ref().unwrap()).unwrap();
                }
                ledger = back;
            }
            ledger.header(if step % 7 == 3 { &last } else { &plain });
            if stream == Stream::Sequence {
                ledger.chunk(&plain, cpu, n, 1);
                ledger.judged(LOAD, cpu, n, 1);
            } else {
                ledger.record(&plain, stream, cpu, n);
            }
            let account = ledger.account(step as u64);
            prop_assert!(account.records.balances() && account.syscalls.balances());
        }
        ledger.header(&last);
        ledger.tick(0);
        let account = ledger.account(SETTLE_NS - 1);
        prop_assert_eq!(account.records.unexplained + account.syscalls.unexplained, 0, "too early");
        let account = ledger.account(SETTLE_NS);
        for (side, stream) in [(&account.records, Stream::File), (&account.syscalls, Stream::Sequence)] {
            prop_assert!(side.balances());
            prop_assert_eq!(side.judged, lost(stream, Fate::Delivered));
            let count = |name: &str| side.lost.get(name).copied().unwrap_or(0);
            prop_assert_eq!(count("kernel.ring_full"), lost(stream, Fate::RingFull));
            prop_assert_eq!(count("collector.buffer_full"), lost(stream, Fate::BufferFull));
            prop_assert_eq!(side.unexplained, lost(stream, Fate::Vanished));
            prop_assert_eq!((side.queued, side.in_flight), (0, 0));
        }
        prop_assert_eq!(account.records.lost.get("kernel.recursion").copied().unwrap_or(0), recursion);
    }
}

#[test]
fn what_was_judged_before_a_restart_is_a_repeat_after_it() {
    let mut ledger = Ledger::fresh();
    let header = counters(&[], &[]);
    assert_eq!(ledger.record(&header, Stream::Syscall, 0, 0), Sight::New);
    assert_eq!(ledger.record(&header, Stream::Syscall, 0, 0), Sight::Repeat);
    let mut back = Ledger::default();
    for (name, value) in ledger.changed() {
        back.restore(&name, &value.unwrap()).unwrap();
    }
    assert_eq!(back.record(&header, Stream::Syscall, 0, 0), Sight::Repeat);
    assert_eq!(back.record(&header, Stream::Syscall, 0, 1), Sight::New);
    assert!(ledger.changed().is_empty(), "only what changed is told");
    ledger.all_changed();
    assert!(!ledger.changed().is_empty());
}

#[test]
fn the_collectors_own_counts_begin_anew_in_each_of_its_runs() {
    let mut ledger = Ledger::fresh();
    let mut header = counters(
        &[(Stream::File, 0, 10)],
        &[
            (Stream::File, Reason::RingFull, 4),
            (Stream::File, Reason::BufferFull, 2),
        ],
    );
    ledger.header(&header);
    header.run_id += 1;
    ledger.header(&header);
    let lost = ledger.account(0).records.lost;
    assert_eq!(lost["kernel.ring_full"], 4, "the load goes on");
    assert_eq!(lost["collector.buffer_full"], 4, "the run is another");
}

#[test]
fn an_analyzer_that_comes_late_accounts_from_there_on() {
    let mut ledger = Ledger::fresh();
    let mut header = counters(
        &[(Stream::File, 0, 1000)],
        &[(Stream::File, Reason::RingFull, 50)],
    );
    header.batch_no = 12;
    ledger.header(&header);
    for n in 1000..1010 {
        ledger.record(&header, Stream::File, 0, n);
    }
    ledger.tick(0);
    let records = ledger.account(SETTLE_NS).records;
    assert_eq!(
        (records.produced, records.judged, records.unexplained),
        (10, 10, 0)
    );
    assert!(records.lost.is_empty());
    ledger.tick(SECOND);
    ledger.tick(2 * SECOND);
    header.lost.reasons[0].2 = 51;
    header.lost.taken[0].2 = 1011;
    ledger.header(&header);
    let records = ledger.account(2 * SECOND).records;
    assert_eq!(
        (records.produced, records.lost["kernel.ring_full"]),
        (11, 1)
    );
}

#[test]
fn what_nobody_could_read_is_no_unexplained_gap() {
    let mut ledger = Ledger::fresh();
    ledger.undecodable();
    ledger.header(&counters(&[(Stream::File, 0, 300)], &[]));
    ledger.tick(0);
    let records = ledger.account(SETTLE_NS).records;
    assert_eq!(
        records.lost["analyzer.undecodable"], 256,
        "no batch holds more"
    );
    assert_eq!(records.unexplained, 44);
    assert!(records.balances());
}

/// A backlog holds many runs of a collector, and is read within a second.
#[test]
fn the_load_that_all_runs_tell_of_is_never_summed_up() {
    let mut ledger = Ledger::default();
    // Of the smallest number: by that alone it would go first.
    for run_id in 1000..1100 {
        let mut batch = counters(&[(Stream::File, 0, run_id - 999)], &[]);
        batch.run_id = run_id;
        batch.lost.taken.push((Stream::Collector, 0, 1));
        ledger.header(&batch);
        ledger.record(&batch, Stream::File, 0, run_id - 1000);
        ledger.record(&batch, Stream::Collector, 0, 0);
    }
    let records = ledger.account(u64::MAX).records;
    assert_eq!((records.judged, records.unexplained), (200, 0));
}

#[test]
fn old_loads_are_summed_up_and_leave_the_checkpoint() {
    let mut ledger = Ledger::fresh();
    for load in 0..40 {
        let mut header = counters(&[], &[]);
        header.lost.load_id = load;
        ledger.header(&header);
        ledger.record(&header, Stream::File, 0, 0);
        ledger.tick(load * SECOND);
    }
    let changed = ledger.changed();
    assert!(
        changed
            .iter()
            .any(|(name, value)| name == "l:n:0:2:0" && value.is_none())
    );
    assert!(changed.len() < 100);
    assert_eq!(ledger.account(0).records.judged, 40);
}

#[test]
fn an_essential_loss_counts_a_minute_and_a_budget_cut_does_not() {
    let mut ledger = Ledger::fresh();
    ledger.header(&counters(
        &[(Stream::Security, 0, 3), (Stream::File, 0, 100)],
        &[
            (Stream::Security, Reason::RingFull, 2),
            (Stream::File, Reason::Budget, 90),
        ],
    ));
    ledger.tick(0);
    assert_eq!(ledger.window().essential(), 2);
    assert!(ledger.window().records_share() < 0.03);
}

#[test]
fn hostile_numbers_neither_panic_nor_fill_memory() {
    let mut ledger = Ledger::fresh();
    let mut header = counters(
        &[(Stream::File, 0, u64::MAX)],
        &[(Stream::File, Reason::RingFull, u64::MAX)],
    );
    for load in 0..2000 {
        header.lost.load_id = load;
        ledger.header(&header);
        for cpu in 0..50 {
            ledger.record(&header, Stream::File, cpu * 7, u64::MAX - 1);
            ledger.chunk(&header, cpu, u64::MAX - 5, u32::MAX);
            ledger.judged(load, cpu, u64::MAX - 5, u32::MAX);
        }
    }
    ledger.tick(u64::MAX);
    let _ = ledger.account(u64::MAX);
    assert!(ledger.loads.len() <= super::MAX_LOADS);
    assert!(ledger.restore("l:n:zz:1:1", b"").is_err());
    assert!(ledger.restore("l:n:1:2:3", b"\xc1garbage").is_err());
}

#[test]
fn a_malformed_record_explains_the_gap_of_its_own_stream_alone() {
    for (stream, unexplained) in [(Stream::File, 0), (Stream::Collector, 1)] {
        let mut ledger = Ledger::fresh();
        let last = counters(&[(Stream::File, 0, 3)], &[(stream, Reason::Malformed, 1)]);
        ledger.header(&last);
        for n in [0, 2] {
            ledger.record(&last, Stream::File, 0, n);
        }
        ledger.tick(0);
        let account = ledger.account(SETTLE_NS);
        assert_eq!(
            account.records.unexplained, unexplained,
            "counted on {stream:?}"
        );
    }
}

#[test]
fn what_redis_lost_is_its_loss_and_nothing_else_is() {
    let mut ledger = Ledger::fresh();
    let plain = counters(&[], &[]);
    let seconds = |ledger: &mut Ledger, from: u64, count: u64| {
        for second in from..from + count {
            ledger.tick(second * SECOND);
        }
    };
    let take = |ledger: &mut Ledger, numbers: std::ops::Range<u64>, taken: u64| {
        ledger.header(&counters(&[(Stream::File, 0, taken)], &[]));
        for n in numbers {
            ledger.record(&plain, Stream::File, 0, n);
        }
    };
    // 5 are missing before, 10 went with Redis, 3 are missing later.
    take(&mut ledger, 5..20, 20);
    seconds(&mut ledger, 0, 10);
    ledger.redis_lost();
    seconds(&mut ledger, 10, 60);
    take(&mut ledger, 30..40, 40);
    seconds(&mut ledger, 70, 10);
    take(&mut ledger, 43..50, 50);
    seconds(&mut ledger, 80, 10);
    let saved = ledger.changed();
    let mut back = Ledger::default();
    for (name, value) in &saved {
        back.restore(name, value.as_ref().unwrap()).unwrap();
    }
    seconds(&mut back, 90, 10);
    for ledger in [ledger, back] {
        let records = ledger.account(100 * SECOND).records;
        assert!(records.balances());
        assert_eq!(
            records.lost.get("redis.data_lost"),
            Some(&10),
            "{records:?}"
        );
        assert_eq!(records.unexplained, 8, "{records:?}");
    }
}

/// Elements are only ever added to a field.
#[test]
fn the_past_of_an_earlier_version_is_read() {
    let mut ledger = Ledger::default();
    let earlier = rmp_serde::to_vec(&(Account::default(), 3u64, 4u64)).unwrap();
    ledger.restore("l:past", &earlier).unwrap();
    assert_eq!((ledger.dead_batches(), ledger.unknown_kinds()), (7, 0));
    ledger.unknown_kind();
    let fields = ledger.changed();
    let (name, value) = fields.iter().find(|(name, _)| name == "l:past").unwrap();
    let mut again = Ledger::default();
    again.restore(name, value.as_ref().unwrap()).unwrap();
    assert_eq!((again.dead_batches(), again.unknown_kinds()), (7, 1));
}
