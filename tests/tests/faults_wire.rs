//! Promise: a bad line to Redis costs time and nothing else, and whoever answers in place of
//! Redis can neither crash the collector nor fill its memory. Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ravn_tests::harness::proxy::{Proxy, Way};
use ravn_tests::harness::skip::{Need, can_run};
use ravn_tests::harness::{Line, Sandbox, sandbox::PATIENCE, wait_until};

/// A sandbox whose daemons reach Redis through a proxy.
fn proxied() -> (Sandbox, Proxy) {
    let mut sandbox = Sandbox::new().unwrap();
    let door = sandbox.folder().join("proxy.sock");
    let proxy = Proxy::start(&door, &sandbox.redis.socket()).unwrap();
    sandbox.set_door(proxy.door()).unwrap();
    (sandbox, proxy)
}

/// Half of a reply came: what was executed is not done twice. Half of a request went: what was
/// not executed is not lost.
#[test]
fn cut_in_the_middle() {
    let (sandbox, proxy) = proxied();
    let Some(mut line) = Line::within("faults_wire::cut_in_the_middle", sandbox).unwrap() else {
        return;
    };
    line.storm(16_000, 4000).unwrap();
    for round in 0..8 {
        line.attack().unwrap();
        proxy.cut([Way::Reply, Way::Request][round % 2]);
        std::thread::sleep(Duration::from_millis(400));
    }
    let ledger = line.after_fault(Instant::now()).unwrap();
    line.check_whole(&ledger).unwrap();
}

#[test]
fn slow_by_two_hundred_milliseconds() {
    let (sandbox, proxy) = proxied();
    let name = "faults_wire::slow_by_two_hundred_milliseconds";
    let Some(mut line) = Line::within(name, sandbox).unwrap() else {
        return;
    };
    proxy.set_latency(Duration::from_millis(200));
    line.storm(16_000, 4000).unwrap();
    line.attack().unwrap();
    std::thread::sleep(Duration::from_secs(4));
    // It is judged while the line is slow, not only after.
    let ledger = line.after_fault(Instant::now()).unwrap();
    line.check_whole(&ledger).unwrap();
}

/// Whoever sits at the socket: gigabytes, nesting without end, a line without end.
#[test]
fn lied_to() {
    let (sandbox, proxy) = proxied();
    let Some(mut line) = Line::within("faults_wire::lied_to", sandbox).unwrap() else {
        return;
    };
    let lies: [(&[u8], &[u8]); 4] = [
        (b"$1073741824\r\n", b"x"),
        (b"*1000000000\r\n", b":1\r\n"),
        (b"*1\r\n", b"*1\r\n"),
        (b"+", b"x"),
    ];
    let before = line.collector().unwrap().resident_bytes().unwrap();
    for (head, body) in lies {
        proxy.lie(Some((head, body)));
        let told = proxy.lied_bytes();
        wait_until(PATIENCE, "a lie that was heard", || {
            Ok((proxy.lied_bytes() > told).then_some(()))
        })
        .unwrap();
        std::thread::sleep(Duration::from_secs(1));
        let now = line.collector().unwrap().resident_bytes().unwrap();
        assert!(now < before + (32 << 20), "{now} bytes, {before} before");
    }
    let said = line.collector().unwrap().says("is this Redis?");
    assert!(said > 0, "{}", line.collector().unwrap().log());
    proxy.lie(None);
    let ledger = line.after_fault(Instant::now()).unwrap();
    line.check_whole(&ledger).unwrap();
}

/// Its rights in the ACL file are no more than this; what it uses of them is seen by MONITOR.
#[test]
fn the_collector_says_seven_words_to_redis() {
    if !can_run("faults_wire::the_collector_says_seven_words", Need::Kernel).unwrap() {
        return;
    }
    let (mut sandbox, proxy) = proxied();
    let mut monitor = UnixStream::connect(sandbox.redis.socket()).unwrap();
    let admin = sandbox.redis.admin_password();
    monitor
        .write_all(format!("AUTH admin {admin}\r\nMONITOR\r\n").as_bytes())
        .unwrap();
    monitor
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let config = "[list]\nbytes = 1048576\n";
    sandbox.write_collector_toml(config).unwrap();
    sandbox.start_collector().unwrap();
    let folder = sandbox.folder().to_string_lossy().into_owned();
    sandbox.trigger(&["storm", &folder, "20000", "0"]).unwrap();
    proxy.cut(Way::Reply);
    sandbox.trigger(&["storm", &folder, "2000", "0"]).unwrap();
    sandbox.trigger(&["crowd", "3000"]).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    sandbox.collector.as_mut().unwrap().kill().unwrap();
    let mut words = BTreeSet::new();
    let mut lines = BufReader::new(monitor);
    let mut line = Vec::new();
    while lines
        .read_until(b'\n', &mut line)
        .is_ok_and(|length| length > 0)
    {
        // `time [0 address] "word" "argument"…`
        let text = String::from_utf8_lossy(&line).into_owned();
        if let Some(word) = text.split('"').nth(1) {
            words.insert(word.to_uppercase());
        }
        line.clear();
    }
    // MEMORY USAGE is allowed and not used.
    let all = ["AUTH", "HSET", "LLEN", "LPUSH", "LTRIM", "PEXPIRE", "PING"];
    assert_eq!(words, all.map(str::to_owned).into());
}
