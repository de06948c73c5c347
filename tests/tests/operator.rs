//! Promise: what the operator is shown adds up, names what it speaks of, and says what to do.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use ravn_tests::harness::daemon::Daemon;
use ravn_tests::harness::ledger::{alerts, check_balance, lost, settled};
use ravn_tests::harness::programs::program;
use ravn_tests::harness::skip::{Need, can_run};
use ravn_tests::harness::{Sandbox, sandbox::PATIENCE, wait_until};
use serde_json::Value;

/// Both daemons, ready; the collector in the cgroup that it watches, so that it sees itself. None
/// where that cannot be.
fn live(name: &str) -> Option<Sandbox> {
    live_with(name, "")
}

/// The same, the collector with a filter of its own.
fn live_with(name: &str, filter: &str) -> Option<Sandbox> {
    if !can_run(name, Need::Kernel).unwrap() {
        return None;
    }
    let mut sandbox = Sandbox::new().unwrap();
    sandbox.add_to_filter(filter).unwrap();
    sandbox.start_analyzer().unwrap();
    let command = format!(
        "echo $$ >{}/cgroup.procs && exec {} run --config {}",
        sandbox.cgroup().unwrap().path().display(),
        program("ravn-collector").unwrap().display(),
        sandbox.folder().join("collector.toml").display(),
    );
    let args = ["-c", command.as_str()];
    let mut daemon = Daemon::start(Path::new("/bin/sh"), &args, sandbox.folder(), false).unwrap();
    daemon.wait_ready(PATIENCE).unwrap();
    sandbox.collector = Some(daemon);
    wait_until(PATIENCE, "threat_level LOW", || {
        Ok((sandbox.level()?.as_deref() == Some("LOW")).then_some(()))
    })
    .unwrap();
    Some(sandbox)
}

fn text(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The sums of a line such as `records     produced 12 = judged 8 + lost 4`, by name.
fn sums(status: &str, side: &str) -> BTreeMap<String, u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(side)?.trim().strip_prefix("produced "))
        .unwrap_or_else(|| panic!("no sum of {side} in:\n{status}"));
    let (produced, parts) = line.split_once(" = ").unwrap();
    let number = |digits: &str| digits.replace(' ', "").parse::<u64>().unwrap();
    let part = |part: &str| {
        let at = part.find(|letter: char| letter.is_ascii_digit()).unwrap();
        (part[..at].trim().replace(' ', "_"), number(&part[at..]))
    };
    let mut sums: BTreeMap<String, u64> = parts.split(" + ").map(part).collect();
    assert_eq!(sums.values().sum::<u64>(), number(produced), "{line}");
    sums.insert("produced".to_owned(), number(produced));
    sums
}

/// Looked at in the middle of a storm too, with more than the budget allows.
#[test]
fn the_ledger_that_is_shown_balances() {
    let name = "operator::the_ledger_that_is_shown_balances";
    let Some(sandbox) = live_with(name, "budget = 2000\n") else {
        return;
    };
    let folder = sandbox.folder().to_string_lossy().into_owned();
    let mut storm = sandbox
        .command(program("trigger").unwrap())
        .unwrap()
        .args(["storm", &folder, "40000", "20000"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut looks = 0;
    wait_until(PATIENCE, "the end of the storm", || {
        let status = text(&sandbox.ravn(&["status"])?);
        for side in ["records", "syscalls"] {
            sums(&status, side);
        }
        looks += 1;
        Ok(storm.try_wait()?)
    })
    .unwrap();
    assert!(looks > 3, "{looks} looks");
    sandbox.trigger(&["syscalls", "7", "50000", "2"]).unwrap();

    let ledger = settled(&sandbox, PATIENCE).unwrap();
    check_balance(&ledger).unwrap();
    let shown = text(&sandbox.ravn(&["status"]).unwrap());
    let names = [
        "produced",
        "judged",
        "lost",
        "queued",
        "in_flight",
        "dead",
        "unexplained",
    ];
    for side in ["records", "syscalls"] {
        let sums = sums(&shown, side);
        assert!(sums["judged"] >= ledger[side]["judged"].as_u64().unwrap());
        assert!(sums["lost"] >= lost(&ledger[side]));
        for name in names {
            assert!(
                sums.contains_key(name) && !ledger[side][name].is_null(),
                "{name}"
            );
        }
    }
    assert!(lost(&ledger["records"]) > 0, "the budget cut: {ledger}");
    assert!(shown.contains("kernel.budget"), "{shown}");
}

#[test]
fn an_incident_is_explained_by_every_name_that_is_shown() {
    let name = "operator::an_incident_is_explained_by_every_name_that_is_shown";
    let Some(sandbox) = live(name) else {
        return;
    };
    let shell = sandbox.trigger(&["reverse-shell"]).unwrap();
    let alert = wait_until(PATIENCE, "an alert", || {
        let alerts = alerts(&sandbox)?;
        let of_shell = alerts.into_iter().find(|(_, body)| {
            body["evidences"][0]["process"]["pid"].as_u64() == Some(u64::from(shell.tgid))
        });
        Ok(of_shell)
    })
    .unwrap();
    let incident = alert.1["metadata"]["correlation_uid"].as_str().unwrap();
    let shown = wait_until(PATIENCE, "the incident in ravn status", || {
        let shown = text(&sandbox.ravn(&["status"])?);
        Ok(shown.contains(incident).then_some(shown))
    })
    .unwrap();
    assert!(shown.contains("ravn explain"), "{shown}");
    let listed = text(&sandbox.ravn(&["alerts"]).unwrap());
    assert!(listed.contains(incident), "{listed}");

    let message = alert.1["message"].as_str().unwrap();
    let step = alert.1["unmapped"]["ravn"]["next_steps"][0]
        .as_str()
        .unwrap();
    let state = sandbox.status().unwrap();
    for id in [incident, alert.0.as_str()] {
        let said = text(&sandbox.ravn(&["explain", id]).unwrap());
        for word in [incident, message, step, "events, in their order", "worth"] {
            assert!(said.contains(word), "no {word:?} in:\n{said}");
        }
        // The tree ends at the process.
        assert!(said.contains(&format!("({})", shell.tgid)), "{said}");
        assert!(said.contains(" > "), "{said}");
    }
    // Without a name: what the level follows.
    assert_eq!(state["incident"], incident, "{state:#}");
    let json = text(&sandbox.ravn(&["explain", "--json"]).unwrap());
    let explained: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(explained["incident"], incident);
    assert_eq!(explained["open"], true);
    let finding = &explained["findings"][0];
    assert!(finding["worth"].as_f64().unwrap() >= 85.0, "{finding:#}");
    let times: Vec<u64> = explained["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["time"].as_u64().unwrap())
        .collect();
    assert!(!times.is_empty() && times.is_sorted(), "{times:?}");

    let unknown = sandbox.ravn(&["explain", "0123456789abcdef"]).unwrap();
    assert_eq!(unknown.status.code(), Some(1));
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(said.contains("ravn status and ravn alerts"), "{said}");
}

/// A tap that is refused is said at once, and not waited at.
#[test]
fn events_without_the_operators_rights_say_so() {
    let sandbox = Sandbox::new().unwrap();
    let reader = sandbox.redis.url("reader").unwrap();
    let nobody = format!("unix://{}", sandbox.redis.socket().display());
    let file = sandbox.folder().join("x.ravnrec");
    let record = ["record", file.to_str().unwrap()];
    for (url, code) in [(&reader, "NOPERM"), (&nobody, "NOAUTH")] {
        for args in [&["events"][..], &record] {
            let began = Instant::now();
            let mut ravn = Command::new(program("ravn").unwrap())
                .args(args)
                .env("RAVN_OPERATOR_URL", url)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let ended = wait_until(Duration::from_secs(5), "its end", || Ok(ravn.try_wait()?));
            if ended.is_err() {
                ravn.kill().unwrap();
            }
            let said = ravn.wait_with_output().unwrap().stderr;
            let said = String::from_utf8_lossy(&said);
            assert_eq!(ended.unwrap().code(), Some(1), "{said}");
            assert!(began.elapsed() < Duration::from_secs(3), "{args:?}");
            assert!(
                said.contains(code) && said.contains("RAVN_OPERATOR_URL"),
                "{args:?}: {said}"
            );
        }
    }
    assert!(!file.exists(), "a recording of nothing");
}

/// Its own image is known by device and inode, wherever it lies: a copy is another program.
#[test]
fn the_collectors_own_check_is_no_evidence_and_a_copys_is() {
    let name = "operator::the_collectors_own_check_is_no_evidence_and_a_copys_is";
    let Some(sandbox) = live(name) else {
        return;
    };
    let own = program("ravn-collector").unwrap();
    let copy = sandbox.folder().join("ravn-collector");
    let copied = Command::new("cp").arg(&own).arg(&copy).status().unwrap();
    assert!(copied.success());
    let config = sandbox.folder().join("collector.toml");
    let check = |program: &Path| -> u32 {
        let child = sandbox
            .command(program)
            .unwrap()
            .args(["check", "--config"])
            .arg(&config)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = child.id();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        pid
    };
    let (excused, copied) = (check(&own), check(&copy));
    let suspects = wait_until(PATIENCE, "the copy among the processes", || {
        let status = sandbox.status()?;
        let list = status["processes"].as_array().cloned().unwrap_or_default();
        let pids: Vec<u64> = list.iter().filter_map(|it| it["tgid"].as_u64()).collect();
        Ok(pids.contains(&u64::from(copied)).then_some(list))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{:#}", sandbox.status().unwrap_or_default()));
    for process in suspects {
        if process["tgid"].as_u64() == Some(u64::from(excused)) {
            let reason = process["reason"].as_str().unwrap();
            assert!(!reason.contains("BPF"), "{process:#}");
        }
    }
}
