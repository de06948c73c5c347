//! A killed analyzer loses nothing and repeats nothing.

use std::collections::HashSet;
use std::time::Duration;

use redis::Commands;

use super::batches::Sender;
use super::bench::{Bench, wait_for};

#[test]
fn kills_in_mid_stream_lose_no_event_and_repeat_no_alert() {
    let bench = Bench::new();
    let mut redis = bench.connect();
    let mut sender = Sender::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(std::process::id());
    let mut bad = 0;
    for _ in 0..8 {
        let analyzer = bench.analyzer("a");
        wait_for("the lease", || {
            redis.exists("events:lease").unwrap_or(false).then_some(())
        });
        // Kill somewhere within the next 300 batches; the moment is what is random.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let at = random >> 33;
        for step in 0..300 {
            redis
                .lpush::<_, _, ()>("events:raw", sender.exits(3))
                .unwrap();
            redis
                .lpush::<_, _, ()>("events:raw", sender.chunk(50))
                .unwrap();
            if step % 25 == 0 {
                redis
                    .lpush::<_, _, ()>("events:raw", sender.memfd_exec())
                    .unwrap();
                bad += 1;
            }
            if step == at % 300 {
                // In between two commands of its own, too.
                std::thread::sleep(Duration::from_micros(at / 300 % 20_000));
                analyzer.signal(libc::SIGKILL);
            }
        }
        analyzer.kill();
        // Its lease runs out; the word with it.
        wait_for("the lease to run out", || {
            (!redis.exists::<_, bool>("events:lease").unwrap()).then_some(())
        });
    }
    redis
        .lpush::<_, _, ()>("events:raw", sender.counters())
        .unwrap();
    let _analyzer = bench.analyzer("a");
    bench.wait_judged(&mut redis, sender.taken);
    let ledger = bench.ledger(&mut redis).unwrap();
    for side in ["records", "syscalls"] {
        assert_eq!(ledger[side]["unexplained"], 0, "{ledger}");
    }
    wait_for("the lists to be empty", || {
        (bench.in_flight(&mut redis) == 0 && redis.llen::<_, usize>("events:raw").unwrap() == 0)
            .then_some(())
    });
    let alerts = bench.alerts(&mut redis);
    let different: HashSet<&String> = alerts.iter().collect();
    assert_eq!(
        different.len(),
        alerts.len(),
        "an alert was repeated: {alerts:?}"
    );
    assert!(
        (1..=bad).contains(&alerts.len()),
        "{} alerts of {bad}",
        alerts.len()
    );
    assert_eq!(redis.get::<_, String>("threat_level").unwrap(), "HIGH");
}
