//! Promise: an attack in the kernel is a word in Redis within two seconds, with its reason, and
//! no crash of the analyzer loses an event or says anything twice. Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use anyhow::Result;
use ravn_tests::harness::ledger::{alerts, check_balance, check_once, settled};
use ravn_tests::harness::skip::{Need, can_run};
use ravn_tests::harness::{Sandbox, sandbox::PATIENCE, wait_until};

/// A sandbox with both daemons ready and the level LOW; None where it cannot run.
fn live(name: &str) -> Result<Option<Sandbox>> {
    if !can_run(name, Need::Kernel)? {
        return Ok(None);
    }
    let mut sandbox = Sandbox::new()?;
    sandbox.start_analyzer()?;
    sandbox.start_collector()?;
    wait_until(PATIENCE, "threat_level LOW", || {
        Ok((sandbox.level()?.as_deref() == Some("LOW")).then_some(()))
    })?;
    Ok(Some(sandbox))
}

#[test]
fn an_attack_is_high_within_two_seconds_and_says_why() {
    let name = "pipeline::an_attack_is_high_within_two_seconds_and_says_why";
    let Some(sandbox) = live(name).unwrap() else {
        return;
    };
    sandbox.trigger(&["memfd-exec"]).unwrap();
    let act = Instant::now();
    let shell = sandbox.trigger(&["reverse-shell"]).unwrap();
    wait_until(Duration::from_secs(2), "threat_level HIGH", || {
        Ok((sandbox.level()?.as_deref() == Some("HIGH")).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", sandbox.status().unwrap_or_default()));
    eprintln!("HIGH {:?} after the act", act.elapsed());

    let status = wait_until(PATIENCE, "the shell in ravn status", || {
        let status = sandbox.status()?;
        let named = status["processes"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|process| {
                process["tgid"].as_u64() == Some(u64::from(shell.tgid))
                    && !process["reason"].as_str().unwrap_or_default().is_empty()
            });
        Ok(named.then_some(status))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{:#}", sandbox.status().unwrap_or_default()));
    assert_eq!(status["level"], "HIGH");
    assert!(status["score"].as_f64().unwrap() > 80.0, "{status}");
    assert!(!status["reason"].as_str().unwrap().is_empty(), "{status}");
    // The collector tells its counts every few seconds.
    wait_until(PATIENCE, "the collector's count", || {
        let status = sandbox.status()?;
        Ok((status["collector"]["events"].as_u64() > Some(0)).then_some(()))
    })
    .unwrap();
    let alerts = alerts(&sandbox).unwrap();
    assert!(
        alerts.iter().any(|(_, body)| body["class_uid"] == 2004),
        "{alerts:#?}"
    );
    assert!(sandbox.analyzer.as_ref().unwrap().said().beats > 0);
}

#[test]
fn the_ledger_balances() {
    let Some(sandbox) = live("pipeline::the_ledger_balances").unwrap() else {
        return;
    };
    let folder = sandbox.folder().to_string_lossy().into_owned();
    sandbox
        .trigger(&["storm", &folder, "2000", "2000"])
        .unwrap();
    sandbox.trigger(&["syscalls", "7", "50000", "2"]).unwrap();
    check_balance(&settled(&sandbox, PATIENCE).unwrap()).unwrap();
}

/// The same acts, with the analyzer killed in their midst: every attack has one alert, once.
#[test]
fn a_killed_analyzer_loses_nothing_and_repeats_nothing() {
    let name = "pipeline::a_killed_analyzer_loses_nothing_and_repeats_nothing";
    let Some(mut sandbox) = live(name).unwrap() else {
        return;
    };
    let folder = sandbox.folder().to_string_lossy().into_owned();
    for round in 0..3 {
        let mut storm = sandbox
            .command(ravn_tests::harness::programs::program("trigger").unwrap())
            .unwrap()
            .args(["storm", &folder, "1500", "1500"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        sandbox.trigger(&["memfd-exec"]).unwrap();
        // In mid-stream: more than before has been judged, and more is to come.
        let before = judged(&sandbox);
        wait_until(PATIENCE, "some records judged", || {
            Ok((judged(&sandbox) > before).then_some(()))
        })
        .unwrap();
        sandbox.analyzer.as_mut().unwrap().kill().unwrap();
        assert!(storm.wait().unwrap().success());
        sandbox
            .start_analyzer()
            .unwrap_or_else(|error| panic!("round {round}: {error:#}"));
    }
    check_balance(&settled(&sandbox, PATIENCE).unwrap()).unwrap();
    let alerts = alerts(&sandbox).unwrap();
    assert!(!alerts.is_empty());
    check_once(&alerts).unwrap();
}

/// Records judged so far; 0 while the analyzer is away.
fn judged(sandbox: &Sandbox) -> u64 {
    sandbox
        .status()
        .ok()
        .and_then(|status| status["ledger"]["records"]["judged"].as_u64())
        .unwrap_or_default()
}

/// The collector of another run goes on where Redis was away for a while.
#[test]
fn events_wait_while_redis_is_away() {
    if !can_run("pipeline::events_wait_while_redis_is_away", Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    sandbox.start_collector().unwrap();
    sandbox.redis.kill();
    let truth = sandbox.trigger(&["bind"]).unwrap();
    sandbox.redis.run().unwrap();
    let records = sandbox.records_of(truth.tgid).unwrap();
    assert!(
        records.iter().any(|seen| seen.kind == "bind"),
        "{records:#?}"
    );
}

#[test]
fn ordinary_work_stays_out_of_high() {
    let Some(sandbox) = live("pipeline::ordinary_work_stays_out_of_high").unwrap() else {
        return;
    };
    let work = "
        printf 'int main(void) { return 0; }' >a.c
        for n in 1 2 3; do cc -O2 -o a a.c && ./a; done
        find /usr/lib -name '*.so' | sort | tail -n 3
        dpkg -l | wc -l; apt-cache policy redis-server
        tar -cf - /etc/apt | gzip -c >a.gz; rm a.gz
        for n in 1 2 3 4 5; do ls -l /usr/bin | awk '{ print $5 }' | sort -n | tail -n 1; done";
    let mut running = sandbox
        .command("sh")
        .unwrap()
        .args(["-c", work])
        .current_dir(sandbox.folder())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut looks = 0;
    wait_until(Duration::from_secs(60), "the end of the work", || {
        assert_ne!(
            sandbox.level()?.as_deref(),
            Some("HIGH"),
            "{:#}",
            sandbox.status()?
        );
        looks += 1;
        Ok(running.try_wait()?)
    })
    .unwrap();
    // What it left is judged too: sequences come up to two seconds later.
    settled(&sandbox, PATIENCE).unwrap();
    assert_ne!(
        sandbox.level().unwrap().as_deref(),
        Some("HIGH"),
        "{:#}",
        sandbox.status().unwrap()
    );
    assert!(looks > 1);
}

#[test]
fn a_full_redis_is_trimmed_and_the_loss_is_counted() {
    if !can_run("pipeline::a_full_redis", Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    sandbox.start_collector().unwrap();
    let mut admin = sandbox.redis.admin().unwrap();
    let info: String = redis::cmd("INFO").arg("memory").query(&mut admin).unwrap();
    let used: u64 = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory", &(used + (2 << 20)).to_string()])
        .exec(&mut admin)
        .unwrap();
    let folder = sandbox.folder().join("storm");
    std::fs::create_dir(&folder).unwrap();
    // 40,000 files created and removed: more than 2 MiB of batches.
    sandbox
        .trigger(&["storm", folder.to_str().unwrap(), "40000", "20000"])
        .unwrap();
    let said: String = wait_until(PATIENCE, "a counted redis_oom", || {
        let said: Option<String> = redis::cmd("HGET")
            .arg("ravn:collector")
            .arg("lost_by")
            .query(&mut admin)?;
        Ok(said.filter(|said| said.contains("redis_oom")))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", sandbox.collector.as_ref().unwrap().log()));
    assert!(said.contains("file.redis_oom"), "{said}");
    let len: u64 = redis::cmd("LLEN")
        .arg("events:raw")
        .query(&mut admin)
        .unwrap();
    assert!(len > 0, "it goes on after the trim");
}
