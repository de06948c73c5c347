#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::ops::Range;

use ravn_shared::kind::{Class, Stream};
use ravn_shared::wire::{Header, Lost, SCHEMA};

use super::Ledger;

const SECOND: u64 = 1_000_000_000;

type Saved = HashMap<String, Vec<u8>>;

/// A batch tells that `taken` numbers were taken; of them `numbers` are in it.
fn take(ledger: &mut Ledger, numbers: Range<u64>, taken: u64) {
    let header = Header {
        schema: SCHEMA,
        host: "h",
        boot_id: &[0; 16],
        run_id: 3,
        batch_no: 0,
        clock_offset_ns: 0,
        class: Class::Essential,
        source: ("x86_64", 250),
        lost: Lost {
            load_id: 7,
            taken: vec![(Stream::File, 0, taken)],
            reasons: Vec::new(),
        },
    };
    ledger.header(&header);
    for n in numbers {
        ledger.record(&header, Stream::File, 0, n);
    }
}

fn seconds(ledger: &mut Ledger, seconds: Range<u64>) {
    for second in seconds {
        ledger.tick(second * SECOND);
    }
}

fn save(ledger: &mut Ledger, saved: &mut Saved) {
    let changed = ledger.changed().into_iter();
    saved.extend(changed.filter_map(|(name, value)| Some((name, value?))));
}

fn restored(saved: &Saved) -> Ledger {
    let mut ledger = Ledger::default();
    for (name, value) in saved {
        ledger.restore(name, value).unwrap();
    }
    ledger
}

/// What Redis lost, and what nobody explains.
fn gaps(ledger: &Ledger, second: u64) -> (u64, u64) {
    let records = ledger.account(second * SECOND).records;
    assert!(records.balances());
    let lost = records.lost.get("redis.data_lost").copied();
    (lost.unwrap_or(0), records.unexplained)
}

#[test]
fn an_old_gap_is_not_redis_loss_when_both_start_anew() {
    let (mut ledger, mut saved) = (Ledger::fresh(), Saved::new());
    take(&mut ledger, 500..1000, 1000);
    seconds(&mut ledger, 0..1);
    // Nothing is taken after this: that it settles has to be saved by itself.
    save(&mut ledger, &mut saved);
    seconds(&mut ledger, 1..10);
    save(&mut ledger, &mut saved);
    let mut back = restored(&saved);
    back.redis_lost();
    take(&mut back, 1010..1020, 1020);
    seconds(&mut back, 20..40);
    assert_eq!(gaps(&back, 40), (10, 500));
}

#[test]
fn all_that_an_older_checkpoint_tells_of_is_settled() {
    let judged = (vec![(500u64, 1000u64)], 0u64);
    let numbers = (0u64, 1000u64, judged, 0u64, Vec::<(u64, u64)>::new());
    let mut ledger = Ledger::default();
    let value = rmp_serde::to_vec(&numbers).unwrap();
    ledger.restore("l:n:7:2:0", &value).unwrap();
    ledger.redis_lost();
    take(&mut ledger, 1010..1020, 1020);
    seconds(&mut ledger, 20..40);
    assert_eq!(gaps(&ledger, 40), (10, 500));
}

/// Ten numbers are told of a moment before Redis goes, and lie behind what was read last.
fn cut_off() -> Ledger {
    let mut ledger = Ledger::fresh();
    take(&mut ledger, 0..980, 980);
    seconds(&mut ledger, 0..10);
    take(&mut ledger, 980..990, 1000);
    seconds(&mut ledger, 10..11);
    ledger.redis_away();
    seconds(&mut ledger, 11..16);
    // Each attempt that fails says so again.
    ledger.redis_away();
    seconds(&mut ledger, 16..21);
    ledger
}

#[test]
fn what_was_on_its_way_when_redis_went_is_its_loss_however_late_it_returns() {
    let mut ledger = cut_off();
    assert_eq!(gaps(&ledger, 20), (0, 0), "nothing settles meanwhile");
    ledger.redis_lost();
    ledger.redis_serves();
    take(&mut ledger, 1005..1010, 1010);
    seconds(&mut ledger, 21..40);
    assert_eq!(gaps(&ledger, 40), (15, 0));
}

#[test]
fn what_redis_kept_has_its_time_to_come_after_it_returns() {
    let mut ledger = cut_off();
    ledger.redis_serves();
    seconds(&mut ledger, 21..23);
    assert_eq!(gaps(&ledger, 22), (0, 0));
    take(&mut ledger, 990..997, 1000);
    seconds(&mut ledger, 23..40);
    assert_eq!(gaps(&ledger, 40), (0, 3));
}

#[test]
fn what_is_held_back_settles_after_it_could_come() {
    let mut ledger = Ledger::fresh();
    take(&mut ledger, 5..980, 980);
    seconds(&mut ledger, 0..10);
    assert_eq!(gaps(&ledger, 9), (0, 5));
    take(&mut ledger, 980..990, 1000);
    seconds(&mut ledger, 10..11);
    for second in 11..30 {
        ledger.held_back();
        assert_eq!(gaps(&ledger, second), (0, 5), "second {second}");
        seconds(&mut ledger, second..second + 1);
        assert_eq!(gaps(&ledger, second), (0, 5), "second {second}");
    }
    seconds(&mut ledger, 30..32);
    take(&mut ledger, 990..998, 1000);
    assert_eq!(gaps(&ledger, 31), (0, 5));
    seconds(&mut ledger, 32..33);
    assert_eq!(gaps(&ledger, 32), (0, 7));
}

/// A flood that holds the analyzer back now and then hides no loss for as long as it lasts.
#[test]
fn three_seconds_that_count_settle_whatever_is_between_them() {
    let mut ledger = Ledger::fresh();
    take(&mut ledger, 5..10, 10);
    seconds(&mut ledger, 0..1);
    for second in 1..5 {
        if second % 2 == 0 {
            ledger.held_back();
        }
        assert_eq!(gaps(&ledger, second), (0, 0), "second {second}");
        seconds(&mut ledger, second..second + 1);
    }
    seconds(&mut ledger, 5..6);
    assert_eq!(gaps(&ledger, 5), (0, 5));
}

/// The analyzer was stopped, or the host slept: what was under way then still is.
#[test]
fn a_late_second_settles_nothing() {
    let mut ledger = Ledger::fresh();
    take(&mut ledger, 5..10, 10);
    seconds(&mut ledger, 0..2);
    seconds(&mut ledger, 60..61);
    assert_eq!(gaps(&ledger, 60), (0, 0));
    take(&mut ledger, 0..4, 10);
    seconds(&mut ledger, 61..64);
    assert_eq!(gaps(&ledger, 63), (0, 1));
}

/// Another machine began anew, and counts its time from 0 again.
#[test]
fn under_a_clock_that_was_set_back_what_comes_settles() {
    let mut ledger = Ledger::fresh();
    take(&mut ledger, 5..10, 10);
    seconds(&mut ledger, 1000..1010);
    for second in 1010..1030 {
        ledger.held_back();
        seconds(&mut ledger, second..second + 1);
    }
    assert_eq!(gaps(&ledger, 1029), (0, 5));
    take(&mut ledger, 13..20, 20);
    seconds(&mut ledger, 0..5);
    assert_eq!(gaps(&ledger, 4), (0, 8));
}

#[test]
fn an_excuse_lasts_until_what_was_held_back_is_told() {
    let mut ledger = Ledger::fresh();
    take(&mut ledger, 0..10, 10);
    seconds(&mut ledger, 0..10);
    ledger.redis_lost();
    take(&mut ledger, 20..30, 30);
    for second in 10..30 {
        ledger.held_back();
        seconds(&mut ledger, second..second + 1);
    }
    // Told of before Redis lost it, and read only now.
    seconds(&mut ledger, 30..32);
    take(&mut ledger, 33..40, 40);
    seconds(&mut ledger, 32..50);
    take(&mut ledger, 42..50, 50);
    seconds(&mut ledger, 50..60);
    assert_eq!(gaps(&ledger, 60), (13, 2));
}

/// Redis comes and goes within a second.
#[test]
fn what_is_settled_stays_so_however_often_redis_goes() {
    let mut ledger = Ledger::fresh();
    take(&mut ledger, 5..10, 10);
    seconds(&mut ledger, 0..10);
    for _ in 0..2 {
        ledger.redis_away();
        ledger.redis_serves();
        assert_eq!(gaps(&ledger, 9), (0, 5));
    }
}

#[test]
fn a_loss_that_is_not_over_outlives_a_restart() {
    let (mut ledger, mut saved) = (Ledger::fresh(), Saved::new());
    take(&mut ledger, 0..10, 10);
    seconds(&mut ledger, 0..10);
    ledger.redis_lost();
    save(&mut ledger, &mut saved);
    let mut back = restored(&saved);
    seconds(&mut back, 10..20);
    take(&mut back, 20..30, 30);
    seconds(&mut back, 20..40);
    take(&mut back, 33..40, 40);
    seconds(&mut back, 40..60);
    assert_eq!(gaps(&back, 60), (10, 3));
}

#[test]
fn two_losses_in_a_row_excuse_no_number_twice() {
    let mut ledger = Ledger::fresh();
    take(&mut ledger, 5..10, 10);
    seconds(&mut ledger, 0..10);
    ledger.redis_lost();
    take(&mut ledger, 20..30, 30);
    seconds(&mut ledger, 10..15);
    take(&mut ledger, 35..40, 40);
    // The first is over with its sixth second.
    seconds(&mut ledger, 15..16);
    ledger.redis_lost();
    seconds(&mut ledger, 16..40);
    assert_eq!(gaps(&ledger, 40), (15, 5));
}

#[test]
fn many_losses_do_not_excuse_what_was_missing_between_them() {
    let (mut ledger, mut at) = (Ledger::fresh(), 0);
    for round in 0..12 {
        let second = round * 100;
        let gap = if round == 1 { 50 } else { 0 };
        let kept = if round > 4 { 10 } else { 100 };
        take(&mut ledger, at + gap..at + kept, at + kept);
        seconds(&mut ledger, second..second + 10);
        ledger.redis_lost();
        at += kept + 10;
        take(&mut ledger, at..at + 1, at + 1);
        at += 1;
        seconds(&mut ledger, second + 10..second + 30);
    }
    assert_eq!(gaps(&ledger, 2000), (120, 50));
}
