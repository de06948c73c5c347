//! Two analyzers on one list.

use std::time::{Duration, Instant};

use redis::Commands;

use super::batches::Sender;
use super::bench::{Bench, wait_for};

fn holder(redis: &mut redis::Connection) -> Option<String> {
    let lease: Option<String> = redis.get("events:lease").unwrap();
    lease.and_then(|lease| lease.split_once(':').map(|(_, name)| name.to_owned()))
}

#[test]
fn a_stand_by_takes_over_and_the_deposed_changes_nothing() {
    let bench = Bench::new();
    let mut redis = bench.connect();
    let mut sender = Sender::new();
    let first = bench.analyzer("first");
    wait_for("the first's lease", || {
        (holder(&mut redis)? == "first").then_some(())
    });
    let _second = bench.analyzer("second");
    redis
        .lpush::<_, _, ()>("events:raw", sender.exits(10))
        .unwrap();
    bench.wait_judged(&mut redis, sender.taken);
    assert_eq!(holder(&mut redis).as_deref(), Some("first"));

    for round in 0..3 {
        first.signal(libc::SIGSTOP);
        let stopped = Instant::now();
        for _ in 0..50 {
            redis
                .lpush::<_, _, ()>("events:raw", sender.exits(10))
                .unwrap();
            redis
                .lpush::<_, _, ()>("events:raw", sender.chunk(10))
                .unwrap();
        }
        if round == 0 {
            wait_for("the second's lease", || {
                (holder(&mut redis)? == "second").then_some(())
            });
            assert!(
                stopped.elapsed() < Duration::from_secs(5),
                "{:?}",
                stopped.elapsed()
            );
        }
        bench.wait_judged(&mut redis, sender.taken);
        first.signal(libc::SIGCONT);
        for _ in 0..50 {
            redis
                .lpush::<_, _, ()>("events:raw", sender.exits(10))
                .unwrap();
        }
        bench.wait_judged(&mut redis, sender.taken);
        assert_eq!(holder(&mut redis).as_deref(), Some("second"));
        wait_for("the lists to be empty", || {
            (bench.in_flight(&mut redis) == 0).then_some(())
        });
    }
    let ledger = bench.ledger(&mut redis).unwrap();
    assert_eq!(ledger["records"]["unexplained"], 0, "{ledger}");
    let alive: Vec<String> = redis.smembers("events:consumers").unwrap();
    assert!(!alive.is_empty());
}
