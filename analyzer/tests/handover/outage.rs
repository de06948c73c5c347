//! Redis fails, and comes back.

use std::time::Instant;

use redis::Commands;

use super::batches::Sender;
use super::bench::{Bench, DEADLINE, wait_for};

#[test]
fn a_redis_that_lost_everything_gets_it_back_from_memory() {
    let mut bench = Bench::new();
    let mut redis = bench.connect();
    let mut sender = Sender::new();
    let _analyzer = bench.analyzer("a");
    redis
        .lpush::<_, _, ()>("events:raw", sender.exits(10))
        .unwrap();
    redis
        .lpush::<_, _, ()>("events:raw", sender.memfd_exec())
        .unwrap();
    bench.wait_judged(&mut redis, sender.taken);
    drop(redis);
    bench.kill_redis();
    bench.start_redis(&[]);
    let mut redis = bench.connect();
    redis
        .lpush::<_, _, ()>("events:raw", sender.exits(10))
        .unwrap();
    bench.wait_judged(&mut redis, sender.taken);
    assert_eq!(redis.get::<_, String>("threat_level").unwrap(), "HIGH");
    let fields: Vec<String> = redis.hkeys("ravn:checkpoint").unwrap();
    assert!(
        fields.iter().any(|name| name.starts_with("l:n:")),
        "{fields:?}"
    );
    assert!(fields.iter().any(|name| name == "l:boots"), "{fields:?}");
    let log = bench.log("a");
    assert!(log.contains("works again"), "{log}");
}

#[test]
fn an_evicting_redis_is_named_and_ready_waits_until_it_is_mended() {
    let mut bench = Bench::new();
    bench.kill_redis();
    bench.start_redis(&["--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb"]);
    let mut redis = bench.connect();
    let notified = bench.notify_socket();
    let mut heard = String::new();
    let mut hear = |until: &str| {
        let deadline = Instant::now() + DEADLINE;
        let mut buffer = [0; 4096];
        while !heard.contains(until) {
            if let Ok(length) = notified.recv(&mut buffer) {
                heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
                heard.push('\n');
            }
            assert!(Instant::now() < deadline, "no {until} in {heard}");
        }
        heard.clone()
    };
    let _analyzer = bench.analyzer("a");
    let before = hear("EXTEND_TIMEOUT_USEC=");
    assert!(
        before.contains("STATUS=") && before.contains("allkeys-lru"),
        "{before}"
    );
    assert!(!before.contains("READY=1"), "{before}");
    redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory-policy", "noeviction"])
        .exec(&mut redis)
        .unwrap();
    hear("READY=1");
}

/// Connections that Redis ever had: one more with each attempt.
fn connections(redis: &mut redis::Connection) -> u64 {
    let info: redis::InfoDict = redis::cmd("INFO").arg("stats").query(redis).unwrap();
    info.get("total_connections_received").unwrap()
}

#[test]
fn a_refusing_redis_is_said_once_per_cause_and_recovered_from() {
    let bench = Bench::new();
    let mut redis = bench.connect();
    let mut sender = Sender::new();
    let config = |redis: &mut redis::Connection, name: &str, value: &str| {
        redis::cmd("CONFIG")
            .arg(&["SET", name, value])
            .exec(redis)
            .unwrap();
    };
    let _analyzer = bench.analyzer("a");
    redis
        .lpush::<_, _, ()>("events:raw", sender.exits(10))
        .unwrap();
    bench.wait_judged(&mut redis, sender.taken);
    // Full: every MULTI that writes is refused.
    config(&mut redis, "maxmemory", "1");
    wait_for("the cause in the log", || {
        bench.log("a").contains("OOM").then_some(())
    });
    let before = connections(&mut redis);
    wait_for("more attempts", || {
        (connections(&mut redis) >= before + 4).then_some(())
    });
    config(&mut redis, "maxmemory", "0");
    redis
        .lpush::<_, _, ()>("events:raw", sender.exits(10))
        .unwrap();
    bench.wait_judged(&mut redis, sender.taken);
    wait_for("the end in the log", || {
        bench.log("a").contains("works again").then_some(())
    });
    let said = bench.log("a").matches("OOM").count();
    assert_eq!(said, 1, "{}", bench.log("a"));
}
