#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ravn_shared::clock;
use ravn_shared::event::{Event, Exit, Place, Record, Task};
use ravn_shared::kind::{Class, Reason, Stream};
use ravn_shared::wire::{self, Header, Lost, SCHEMA};

use super::*;
use crate::sequence::ModelSource;
use crate::sequence::merge::simulate::Machine;

fn recipe() -> Recipe {
    Recipe {
        host: "h".to_owned(),
        rules: None,
        model: ModelSource::None,
    }
}

fn exits(boot_id: [u8; 16], numbers: std::ops::Range<u64>) -> Arc<[u8]> {
    exits_at(1_000, boot_id, numbers)
}

fn exits_at(time_ns: u64, boot_id: [u8; 16], numbers: std::ops::Range<u64>) -> Arc<[u8]> {
    let header = Header {
        schema: SCHEMA,
        host: "h",
        boot_id: &boot_id,
        run_id: 1,
        batch_no: numbers.start,
        clock_offset_ns: clock::offset_ns(),
        class: Class::Essential,
        source: ("x86_64", 250),
        lost: Lost::default(),
    };
    let encode = |n| {
        let mut bytes = Vec::new();
        let event = Event::Exit(Exit {
            status: 0,
            thread_start_ns: 1,
            process: true,
        });
        let record = Record {
            cpu: 0,
            n,
            time_ns,
            task: Task::default(),
            place: Place::default(),
            event,
        };
        wire::encode_record(&record, &mut bytes).unwrap();
        bytes
    };
    let records: Vec<Vec<u8>> = numbers.map(encode).collect();
    let mut bytes = Vec::new();
    wire::encode_batch(&header, records.iter().map(Vec::as_slice), &mut bytes).unwrap();
    bytes.into()
}

fn judged(judging: &Judging) -> (u64, u64) {
    let records = judging.ledger.account(judging.now_ns()).records;
    (records.judged, records.dead)
}

#[test]
fn a_record_that_breaks_the_judge_is_put_aside_and_the_others_are_judged() {
    let mut judging = Judging::new(recipe()).unwrap();
    judging.break_on = Some(1);
    let boot = clock::boot_id().unwrap();
    judging.take(&exits(boot, 0..3));
    assert_eq!(judged(&judging), (2, 1));
    let letter = judging.pending.letters.first().unwrap();
    let letter = wire::decode_batch(letter).unwrap();
    assert_eq!(letter.records.len(), 1);
    assert_eq!(letter.records[0].n, 1);
    let alerts = judging.new_alerts();
    let said = |alert: &Alert| alert.body.contains("ravn-dead-letter");
    assert_eq!(alerts.iter().filter(|alert| said(alert)).count(), 1);
}

#[test]
fn a_restored_judging_repeats_nothing_and_knows_its_boots() {
    let mut judging = Judging::new(recipe()).unwrap();
    judging.take(&exits([1; 16], 0..10));
    judging.take(&exits([2; 16], 10..20));
    judging.gather();
    let fields = judging.pending.fields.drain();
    let fields = fields
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let (mut back, refused) = Judging::restored(recipe(), fields).unwrap();
    assert_eq!(refused, 0);
    back.take(&exits([2; 16], 5..25));
    assert_eq!(judged(&back), (25, 0));
    back.take(&exits([1; 16], 25..26));
    assert_eq!(judged(&back), (25, 0), "that boot is over");
    assert_eq!(back.ledger.dead_batches(), 1);
}

#[test]
fn damaged_fields_are_dropped_from_the_checkpoint() {
    let fields = vec![
        ("l:n:1:0:0".to_owned(), b"junk".to_vec()),
        ("x:unknown".to_owned(), Vec::new()),
    ];
    let (judging, refused) = Judging::restored(recipe(), fields).unwrap();
    assert_eq!(refused, 2);
    assert_eq!(judging.pending.fields.get("x:unknown"), Some(&None));
}

/// Names of everything that is pending.
fn names(judging: &mut Judging) -> BTreeSet<String> {
    judging.gather();
    let fields = judging.pending.fields.drain();
    fields
        .filter_map(|(name, value)| value.map(|_| name))
        .collect()
}

/// The next report of the sequence thread that holds fields.
fn report(judging: &mut Judging) {
    wait_for(judging, |report| !report.fields.is_empty());
}

#[test]
fn without_a_model_syscalls_are_judged_as_they_come() {
    let mut machine = Machine::new(3, 2, 4);
    machine.run(200);
    let recipe = Recipe {
        host: "test".to_owned(),
        ..recipe()
    };
    let mut judging = Judging::new(recipe).unwrap();
    let batches = machine.arrivals();
    for batch in &batches {
        judging.take(&batch.as_slice().into());
    }
    assert_eq!(
        judging.covered(),
        batches.len(),
        "nobody else is waited for"
    );
    let syscalls = judging.ledger.account(judging.now_ns()).syscalls;
    assert!(machine.calls > 0);
    assert_eq!(syscalls.judged, machine.calls);
    assert_eq!(judging.rates.syscalls, machine.calls);
    assert!(judging.rates.scored_share() < 1e-9);
    judging.take(&batches[1].as_slice().into());
    assert_eq!(judging.rates.syscalls, machine.calls, "a copy");
}

#[test]
fn what_redis_lost_is_told_whole() {
    // Without a model configured nothing is fed to the sequence thread; without its file all is.
    let mut judging = Judging::new(Recipe {
        model: ModelSource::File("/nonexistent".into()),
        ..recipe()
    })
    .unwrap();
    let boot = clock::boot_id().unwrap();
    judging.take(&exits(boot, 0..10));
    judging.tick();
    let mut first = names(&mut judging);
    report(&mut judging);
    first.extend(names(&mut judging));
    for kind in ["p:", "j:clock", "l:n:", "c:"] {
        assert!(first.iter().any(|name| name.starts_with(kind)), "{first:?}");
    }
    assert!(
        names(&mut judging).len() < first.len(),
        "what did not change is not told again"
    );
    judging.all_changed();
    let begun = names(&mut judging);
    assert!(begun.iter().any(|name| name.starts_with("p:")));
    assert!(!judging.is_whole(), "it would be erased without c: and s:");
    report(&mut judging);
    assert!(judging.is_whole());
    let again = names(&mut judging);
    let missing: Vec<_> = first.difference(&again).collect();
    assert!(missing.is_empty(), "{missing:?} of {first:?}");
}

#[test]
fn a_sequence_thread_that_is_gone_keeps_no_checkpoint_from_being_written_anew() {
    let mut judging = Judging::new(recipe()).unwrap();
    judging.take(&exits(clock::boot_id().unwrap(), 0..10));
    judging.all_changed();
    names(&mut judging);
    judging.sequence_failed("gone", u64::MAX);
    assert!(judging.is_whole());
    assert!(
        names(&mut judging)
            .iter()
            .any(|name| name.starts_with("p:"))
    );
}

#[test]
fn a_time_of_the_far_future_does_not_move_the_judge() {
    let mut judging = Judging::new(recipe()).unwrap();
    let boot = clock::boot_id().unwrap();
    judging.take(&exits_at(u64::MAX / 2, boot, 0..3));
    assert_eq!(judged(&judging), (3, 0));
    assert!(judging.rates.newest_ns <= judging.now_ns());
    judging.gather();
    let clock = judging.pending.fields.get("j:clock").unwrap().as_ref();
    let clock: serde_json::Value = rmp_serde::from_slice(clock.unwrap()).unwrap();
    assert!(clock[0].as_u64().unwrap() <= judging.now_ns());
}

#[test]
fn a_restart_does_not_forget_the_losses_of_the_last_minute() {
    let mut judging = Judging::new(recipe()).unwrap();
    let boot = clock::boot_id().unwrap();
    judging.take(&exits(boot, 0..10));
    judging.tick();
    let lost = Lost {
        load_id: 0,
        taken: vec![(Stream::Syscall, 0, 15)],
        reasons: vec![(Stream::Syscall, Reason::RingFull, 5)],
    };
    let header = Header {
        schema: SCHEMA,
        host: "h",
        boot_id: &boot,
        run_id: 1,
        batch_no: 1,
        clock_offset_ns: clock::offset_ns(),
        class: Class::Essential,
        source: ("x86_64", 250),
        lost,
    };
    let mut bytes = Vec::new();
    wire::encode_batch(&header, std::iter::empty(), &mut bytes).unwrap();
    judging.take(&bytes.into());
    judging.tick();
    assert_eq!(judging.ledger.window().essential(), 5);
    judging.gather();
    let fields = judging.pending.fields.drain();
    let fields = fields
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let (mut back, refused) = Judging::restored(recipe(), fields).unwrap();
    assert_eq!(refused, 0);
    back.tick();
    assert_eq!(back.ledger.window().essential(), 5);
}

/// A judging with a sequence thread that is fed.
fn with_sequences() -> Judging {
    Judging::new(Recipe {
        model: ModelSource::File("/nonexistent".into()),
        ..recipe()
    })
    .unwrap()
}

/// Fields as a checkpoint has them after all that was told.
fn stored(judging: &mut Judging, into: &mut HashMap<String, Vec<u8>>) {
    judging.gather();
    for (name, value) in judging.pending.fields.drain() {
        match value {
            Some(value) => into.insert(name, value),
            None => into.remove(&name),
        };
    }
}

fn of_sequences(fields: &HashMap<String, Vec<u8>>) -> usize {
    let ours = |name: &&String| name.starts_with("c:") || name.starts_with("s:");
    fields.keys().filter(ours).count()
}

#[test]
fn sequences_of_another_boot_are_dropped_also_after_a_kill_in_between() {
    let mut judging = with_sequences();
    let mut checkpoint = HashMap::new();
    judging.take(&exits([1; 16], 0..10));
    wait_for(&mut judging, |report| !report.fields.is_empty());
    stored(&mut judging, &mut checkpoint);
    assert!(of_sequences(&checkpoint) > 0);
    assert_eq!(checkpoint.get(SEQUENCES_OF), Some(&vec![1; 16]));

    // The next boot is committed, and what the sequence thread makes of it is not.
    judging.take(&exits([2; 16], 10..20));
    stored(&mut judging, &mut checkpoint);
    assert_eq!(checkpoint.get(SEQUENCES_OF), Some(&vec![1; 16]));
    let killed = checkpoint.clone().into_iter().collect();
    let recipe = judging.recipe.clone();
    let (mut back, refused) = Judging::restored(recipe, killed).unwrap();
    assert_eq!(refused, 0);
    let mut after = checkpoint.clone();
    stored(&mut back, &mut after);
    assert_eq!(of_sequences(&after), 0);
    assert_eq!(after.get(SEQUENCES_OF), Some(&vec![2; 16]));

    wait_for(&mut judging, |report| report.began == 2);
    stored(&mut judging, &mut checkpoint);
    assert_eq!(checkpoint.get(SEQUENCES_OF), Some(&vec![2; 16]));
    assert_eq!(of_sequences(&checkpoint), 0);
}

#[test]
fn a_checkpoint_that_is_whole_again_is_committed_at_once() {
    let mut judging = with_sequences();
    judging.take(&exits(clock::boot_id().unwrap(), 0..10));
    judging.pending.published = Some(judging.judge.level());
    judging.all_changed();
    assert!(!judging.is_urgent());
    wait_for(&mut judging, |report| report.whole);
    assert!(judging.is_urgent());
    judging.pending.tried = Some(crate::handover::pending::Tried {
        alerts: 0,
        letters: 0,
        level: judging.judge.level(),
    });
    judging.pending.applied();
    assert!(!judging.is_urgent());
}

/// What waits in the sequence thread while Redis is away waits on; at maxmemory it does not.
#[test]
fn an_outage_is_waited_out_and_a_full_redis_is_not() {
    let mut judging = with_sequences();
    judging.redis_away();
    judging.take(&exits_at(
        clock::boottime_ns(),
        clock::boot_id().unwrap(),
        0..3,
    ));
    let before = Instant::now();
    while before.elapsed() < Duration::from_secs(3) {
        while let Ok(report) = judging.sequence().reports().try_recv() {
            judging.report(report);
        }
        assert!(!judging.is_done());
        std::thread::sleep(Duration::from_millis(20));
    }
    judging.redis_full();
    wait_for(&mut judging, |report| report.done_upto == 1);
    assert!(judging.is_done());
}

/// Reports until one that is waited for.
fn wait_for(judging: &mut Judging, is_it: impl Fn(&Report) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Ok(report) = judging.sequence().reports().try_recv() {
            let found = is_it(&report);
            judging.report(report);
            if found {
                return;
            }
        } else {
            std::thread::yield_now();
        }
    }
    panic!("no such report");
}

#[test]
fn before_its_first_batch_another_machines_clock_is_not_ours() {
    let mut judging = with_sequences();
    let mut checkpoint = HashMap::new();
    judging.take(&exits([1; 16], 0..10));
    stored(&mut judging, &mut checkpoint);
    let now_ns = |checkpoint: &HashMap<String, Vec<u8>>| {
        let clock: serde_json::Value = rmp_serde::from_slice(&checkpoint["j:clock"]).unwrap();
        clock[0].as_u64().unwrap()
    };
    let before = now_ns(&checkpoint);
    let recipe = judging.recipe.clone();
    let (mut back, _) =
        Judging::restored(recipe, checkpoint.clone().into_iter().collect()).unwrap();
    back.tick();
    stored(&mut back, &mut checkpoint);
    assert_eq!(now_ns(&checkpoint), before);
}

#[test]
fn a_sequence_thread_that_waited_for_redis_is_not_stuck() {
    let mut judging = with_sequences();
    judging.redis_away();
    let long_ago = Instant::now().checked_sub(2 * PATIENCE).unwrap();
    for is_back in [Judging::redis_full, Judging::redis_serves] {
        judging.moved = long_ago;
        judging.away = true;
        is_back(&mut judging);
        assert!(judging.moved.elapsed() < PATIENCE);
    }
}
