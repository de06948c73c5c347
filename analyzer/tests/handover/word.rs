//! What users read: the word, the state, alerts, dead letters, the tap.

use std::time::Instant;

use redis::Commands;

use super::batches::{HOST, Sender};
use super::bench::{Bench, DEADLINE, wait_for};

#[test]
fn every_event_is_judged_and_the_word_follows() {
    let bench = Bench::new();
    let mut redis = bench.connect();
    let mut sender = Sender::new();
    let _analyzer = bench.analyzer("a");
    wait_for("LOW", || {
        let word: Option<String> = redis.get("threat_level").unwrap();
        (word.as_deref() == Some("LOW")).then_some(())
    });
    let ttl: i64 = redis.ttl("threat_level").unwrap();
    assert!((1..=10).contains(&ttl), "{ttl}");

    let mut listener = bench.connect();
    let mut words = listener.as_pubsub();
    words
        .subscribe(&["threat_updates", "ravn:changes", "ravn:alerts:live"])
        .unwrap();
    for round in 0..40 {
        redis
            .lpush::<_, _, ()>("events:raw", sender.exits(20))
            .unwrap();
        redis
            .lpush::<_, _, ()>("events:raw", sender.chunk(100))
            .unwrap();
        if round == 20 {
            redis
                .lpush::<_, _, ()>("events:raw", sender.memfd_exec())
                .unwrap();
        }
    }
    redis
        .lpush::<_, _, ()>("events:raw", sender.counters())
        .unwrap();
    bench.wait_judged(&mut redis, sender.taken);

    let mut seen = std::collections::HashMap::new();
    words.set_read_timeout(Some(DEADLINE)).unwrap();
    while !["HIGH", "ravn:changes", "ravn:alerts:live"]
        .iter()
        .all(|key| seen.contains_key(*key))
    {
        let message = words.get_message().unwrap();
        let payload: String = message.get_payload().unwrap();
        match message.get_channel_name() {
            "threat_updates" => seen.insert(payload.clone(), payload),
            channel => seen.insert(channel.to_owned(), payload),
        };
    }
    let change: serde_json::Value = serde_json::from_str(&seen["ravn:changes"]).unwrap();
    assert_eq!(
        (
            change["level"].as_str(),
            change["prev"].as_str(),
            change["host"].as_str()
        ),
        (Some("HIGH"), Some("LOW"), Some(HOST))
    );
    assert_eq!(redis.get::<_, String>("threat_level").unwrap(), "HIGH");
    let ledger = bench.ledger(&mut redis).unwrap();
    for side in ["records", "syscalls"] {
        assert_eq!(ledger[side]["unexplained"], 0, "{ledger}");
        assert_eq!(ledger[side]["produced"], ledger[side]["judged"], "{ledger}");
    }
    wait_for("the in-flight lists to be trimmed", || {
        (bench.in_flight(&mut redis) == 0).then_some(())
    });
    let alerts = bench.alerts(&mut redis);
    assert!(!alerts.is_empty());
    let lines = std::fs::read_to_string(bench.dir.join("alerts.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), alerts.len());
    let state: std::collections::HashMap<String, String> = redis.hgetall("ravn:state").unwrap();
    assert_eq!(
        (state["v"].as_str(), state["level"].as_str()),
        ("1", "HIGH")
    );
    assert!(redis.ttl::<_, i64>("ravn:state").unwrap() <= 10);
}

#[test]
fn what_cannot_be_decoded_or_is_forged_is_put_aside() {
    let bench = Bench::new();
    let mut redis = bench.connect();
    let mut sender = Sender::new();
    let mut forger = Sender::new();
    forger.host = "else\x1b[2Jwhere".to_owned();
    let forged = forger.memfd_exec();
    let _analyzer = bench.analyzer("a");
    let good = [sender.exits(5), sender.exits(5)];
    let junk = b"\xc1 no batch \x1b[2J".to_vec();
    let cut = good[0][..good[0].len() / 2].to_vec();
    for batch in [&good[0], &junk, &cut, &forged, &good[1]] {
        redis.lpush::<_, _, ()>("events:raw", batch).unwrap();
    }
    bench.wait_judged(&mut redis, sender.taken);
    let dead: Vec<Vec<u8>> = wait_for("three dead letters", || {
        let dead: Vec<Vec<u8>> = redis.lrange("events:dead", 0, -1).unwrap();
        (dead.len() == 3).then_some(dead)
    });
    assert_eq!(dead, [forged, cut, junk]);
    wait_for("the state to say so", || {
        let count: Option<String> = redis.hget("ravn:state", "dead_batches").unwrap();
        (count.as_deref() == Some("3")).then_some(())
    });
    let log = bench.log("a");
    assert!(log.contains("else\\u{1b}[2Jwhere"), "{log}");
    assert!(!log.contains('\x1b'), "an escape sequence reached the log");
}

#[test]
fn a_subscriber_of_the_tap_gets_copies() {
    let bench = Bench::new();
    let mut redis = bench.connect();
    let mut sender = Sender::new();
    let _analyzer = bench.analyzer("a");
    let mut listener = bench.connect();
    let mut tap = listener.as_pubsub();
    tap.subscribe("events:tap").unwrap();
    tap.set_read_timeout(Some(std::time::Duration::from_millis(100)))
        .unwrap();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let batch = sender.exits(1);
        redis.lpush::<_, _, ()>("events:raw", &batch).unwrap();
        if let Ok(copy) = tap.get_message() {
            let copy: Vec<u8> = copy.get_payload().unwrap();
            let batch = ravn_shared::wire::decode_batch(&copy).unwrap();
            assert_eq!(batch.header.host, HOST);
            return;
        }
        assert!(Instant::now() < deadline, "no copy came");
    }
}

#[test]
fn a_stop_drains_and_takes_the_word_back() {
    let bench = Bench::new();
    let mut redis = bench.connect();
    let mut sender = Sender::new();
    let mut analyzer = bench.analyzer("a");
    redis
        .lpush::<_, _, ()>("events:raw", sender.exits(10))
        .unwrap();
    bench.wait_judged(&mut redis, sender.taken);
    let mut listener = bench.connect();
    let mut words = listener.as_pubsub();
    words.subscribe("threat_updates").unwrap();
    words.set_read_timeout(Some(DEADLINE)).unwrap();
    let begun = Instant::now();
    analyzer.signal(libc::SIGTERM);
    assert_eq!(analyzer.end(), Some(0));
    assert!(begun.elapsed().as_secs() < 6, "{:?}", begun.elapsed());
    while words
        .get_message()
        .unwrap()
        .get_payload::<String>()
        .unwrap()
        != "UNKNOWN"
    {}
    for key in ["threat_level", "ravn:state", "events:lease"] {
        assert!(!redis.exists::<_, bool>(key).unwrap(), "{key}");
    }
    assert!(redis.exists::<_, bool>("ravn:checkpoint").unwrap());
}
