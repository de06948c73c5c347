//! The word: rises at once, holds, falls, comes back; alerts fold and are braked.

use super::script::{Host, SECOND, fresh, program};
use crate::judge::{Losses, Notice, NoticeKind, Role};
use crate::verdict::{Level, Span, Surprise};

fn preload(host: &mut Host) -> u32 {
    let shell = host.login(0);
    host.write(shell, "/etc/ld.so.preload");
    shell
}

fn surprise(host: &Host, pid: u32, score: f64, novelty: f64) -> Surprise {
    Surprise {
        process: host.id(pid),
        score,
        probability: 1e-6,
        novelty,
        tokens: 900,
        spans: vec![Span {
            seen: "execve".to_owned(),
            expected: "read".to_owned(),
            probability: 1e-5,
            time_ns: host.now_ns,
        }],
    }
}

#[test]
fn a_rise_is_immediate_and_named() {
    let mut host = Host::new();
    assert_eq!(host.level(), Level::Low);
    let shell = preload(&mut host);
    let standing = host.judge.score();
    assert_eq!(
        (standing.level, standing.score, standing.peak),
        (Level::High, 85.0, 85.0)
    );
    assert_eq!(
        standing.reason,
        format!(
            "/usr/bin/bash (pid {shell}, user root): The dynamic loader's preload file was changed"
        )
    );
    assert_eq!(standing.incident, Some(host.alerts[0].incident.clone()));
    assert_eq!(
        standing.since_ms,
        (host.now_ns as i64 + super::script::OFFSET) / 1_000_000
    );
    let worst = &host.judge.processes(10)[0];
    assert_eq!((worst.tgid, worst.score, worst.uid), (shell, 85.0, 0));
}

/// The incident's score is every suspect's; who did the worst of it stands first.
#[test]
fn the_culprit_stands_before_the_members_of_its_incident() {
    let mut host = Host::new();
    let shell = host.login(0);
    let door = host.run(shell, "/root/door", "door");
    host.bpf(door);
    host.write(shell, "/etc/ld.so.preload");
    let late = host.run(shell, "/root/late", "late");
    host.bpf(late);
    let other = host.login(0);
    let lone = host.run(other, "/root/lone", "lone");
    host.bpf(lone);
    let views = host.judge.processes(10);
    let shown: Vec<_> = views.iter().map(|view| (view.tgid, view.role)).collect();
    assert_eq!(
        shown,
        [
            (shell, Some(Role::Culprit)),
            (door, Some(Role::Member)),
            (late, Some(Role::Member)),
            (lone, Some(Role::Culprit)),
        ]
    );
    assert!(views[..3].iter().all(|view| view.score == views[0].score));
    assert_eq!(views[0].incident, views[2].incident);
    assert_ne!(views[0].incident, views[3].incident);
}

#[test]
fn the_peak_holds_two_minutes_then_halves_then_closes() {
    let mut host = Host::new();
    let shell = preload(&mut host);
    host.pass(120);
    assert_eq!(host.level(), Level::High);
    host.pass(30);
    assert_eq!(host.level(), Level::Medium);
    host.pass(90);
    assert_eq!((host.level(), host.judge.score().score), (Level::Low, 42.5));
    assert_eq!(host.judge.incidents().len(), 1);
    host.pass(400);
    assert_eq!(
        (host.judge.incidents().len(), host.judge.score().score),
        (0, 0.0)
    );
    let ops: Vec<_> = host.alerts.iter().map(|alert| alert.op).collect();
    assert_eq!(ops, ["create", "close"]);
    assert_eq!(host.alerts[0].id, host.alerts[1].id);
    host.write(shell, "/etc/ld.so.preload");
    assert_eq!(host.level(), Level::High, "new evidence opens it again");
    assert_eq!(host.alerts[2].incident, host.alerts[0].incident);
    assert_ne!(host.alerts[2].id, host.alerts[0].id);
}

#[test]
fn one_session_adds_up_and_others_do_not() {
    let mut host = Host::new();
    let shell = host.login(0);
    host.write(shell, "/etc/cron.d/x");
    assert_eq!(host.level(), Level::Low);
    let other = host.login(0);
    let curl = host.run(other, "/usr/bin/curl", "curl");
    host.bpf(curl);
    assert_eq!(
        host.judge.score().score,
        40.0,
        "two sessions are two incidents"
    );
    let door = host.run(shell, "/root/door", "door");
    host.bpf(door);
    assert_eq!(
        (host.judge.score().score, host.level()),
        (64.0, Level::Medium)
    );
    assert!(
        host.judge
            .score()
            .reason
            .ends_with("; and one more finding in the same process tree")
    );
}

#[test]
fn the_same_again_folds() {
    let mut host = Host::new();
    let shell = host.login(0);
    for _ in 0..120 {
        host.write(shell, "/etc/ld.so.preload");
    }
    let told: Vec<_> = host
        .alerts
        .iter()
        .map(|alert| {
            let body: serde_json::Value = serde_json::from_str(&alert.body).unwrap();
            (alert.op, body["count"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(told, [("create", 1), ("update", 10), ("update", 100)]);
    host.write(shell, "/etc/sudoers");
    assert_eq!(host.alerts.len(), 4, "another rule breaks the fold");
    host.write(shell, "/etc/passwd");
    assert_eq!(host.alerts.len(), 5, "another target too");
    assert!(
        host.alerts
            .iter()
            .all(|alert| alert.incident == host.alerts[0].incident)
    );
}

#[test]
fn a_storm_of_one_rule_ends_in_a_summary() {
    let mut host = Host::new();
    for _ in 0..30 {
        preload(&mut host);
    }
    assert_eq!(host.alerts.len(), 21);
    assert!(host.alerts[20].body.contains("\"storm\":true"));
    assert!(!host.alerts[19].body.contains("\"storm\":true"));
    assert_eq!(host.judge.held_alerts(), [("preload".to_owned(), 9)]);
    assert_eq!(host.level(), Level::High);
    host.pass(3600);
    host.alerts.clear();
    preload(&mut host);
    assert_eq!(host.fired(), ["preload"]);
}

#[test]
fn fingerprints_are_the_same_on_other_hosts_and_at_other_times() {
    let mut one = Host::new();
    preload(&mut one);
    let mut two = Host::new();
    two.login(5);
    two.pass(9);
    preload(&mut two);
    assert_eq!(one.alerts[0].fingerprint, two.alerts[0].fingerprint);
    assert_ne!(one.alerts[0].id, two.alerts[0].id);
}

#[test]
fn the_model_alone_needs_novelty_to_pass_eighty() {
    let mut host = Host::new();
    let shell = host.login(1000);
    let pid = host.run(shell, "/home/a/x", "x");
    let now_ns = host.now_ns;
    let speak = |host: &mut Host, score, novelty| {
        let word = surprise(host, pid, score, novelty);
        host.judge.surprise(word, now_ns);
        host.alerts.extend(host.judge.take_alerts());
        host.level()
    };
    assert_eq!(speak(&mut host, 39.0, 0.9), Level::Low);
    assert!(host.judge.incidents().is_empty());
    assert_eq!(speak(&mut host, f64::NAN, 0.9), Level::Low);
    assert_eq!(speak(&mut host, 45.0, 0.1), Level::Low);
    assert!(host.alerts.is_empty(), "evidence, no alert");
    assert_eq!(speak(&mut host, 97.0, 0.1), Level::Medium);
    assert_eq!(host.judge.score().score, 80.0);
    assert_eq!(host.fired(), ["model"], "behind a rise stands an alert");
    assert!(host.alerts[0].body.contains("\"spans\":[{"));
    assert!(host.alerts[0].body.contains("\"type_id\":4"));
    assert_eq!(speak(&mut host, 97.0, 0.5), Level::High);
    assert_eq!(host.alerts.len(), 2);
}

#[test]
fn losses_make_the_host_blind_until_they_pass() {
    let mut host = Host::new();
    let now_ns = host.now_ns;
    let lost = Losses {
        essential: 3,
        ..Losses::default()
    };
    host.judge.losses(lost, now_ns);
    assert_eq!(host.level(), Level::Medium);
    assert!(host.judge.score().reason.starts_with("blind: 3 exec"));
    host.judge.losses(lost, now_ns + SECOND);
    host.judge.losses(Losses::default(), now_ns + 61 * SECOND);
    assert_eq!(host.level(), Level::Low);
    let ops: Vec<_> = host
        .judge
        .take_alerts()
        .into_iter()
        .map(|alert| (alert.rule, alert.op))
        .collect();
    assert_eq!(
        ops,
        [
            ("ravn-blind".to_owned(), "create"),
            ("ravn-blind".to_owned(), "close")
        ]
    );
}

#[test]
fn notices_alert_and_count() {
    let mut judge = fresh();
    let notice = |kind, key| Notice {
        kind,
        detail: "batch 7 names host \x1b[2Jevil".to_owned(),
        key,
    };
    judge.notice(notice(NoticeKind::ForgedBatch, 7), SECOND);
    assert_eq!(judge.level(), Level::High);
    judge.notice(notice(NoticeKind::ForgedBatch, 8), SECOND);
    let alerts = judge.take_alerts();
    assert_eq!(alerts.len(), 1);
    assert!(
        alerts[0]
            .body
            .contains("A batch of events was forged: batch 7")
    );
    assert!(!alerts[0].body.contains('\x1b') && !alerts[0].body.contains("\\u001b"));
}

#[test]
fn an_attack_is_not_learned_as_the_servers_habit() {
    let mut host = Host::new();
    let nginx = host.daemon("/usr/sbin/nginx", 33);
    let sh = host.run(nginx, "/usr/bin/dash", "sh -c id");
    host.write(sh, "/etc/ld.so.preload");
    host.pass(1200);
    host.alerts.clear();
    host.run(nginx, "/usr/bin/dash", "sh -c id");
    assert_eq!(host.fired(), ["server-shell"]);
    // Alone, it becomes a habit once its incident is over; repeats hold nothing up.
    for _ in 0..20 {
        host.run(nginx, "/usr/bin/dash", "sh -c id");
        host.pass(60);
    }
    host.alerts.clear();
    host.run(nginx, "/usr/bin/dash", "sh -c id");
    assert_eq!((host.fired().len(), host.level()), (0, Level::Low));
}

#[test]
fn suspicion_does_not_pass_through_an_entry_point() {
    let mut host = Host::new();
    let shell = host.login(0);
    let tmux = host.run(shell, "/usr/bin/tmux", "tmux");
    let pane = host.run(tmux, "/usr/bin/bash", "-bash");
    host.write(pane, "/etc/cron.d/x");
    host.write(shell, "/etc/cron.d/y");
    assert_eq!(host.judge.incidents().len(), 2);
    // A copy of tmux elsewhere is no entry point.
    let fake = host.run(shell, "/tmp/tmux", "tmux");
    let child = host.fork(fake);
    host.exec(child, program("/usr/bin/bash", "bash\0"));
    host.write(child, "/etc/cron.d/z");
    assert_eq!(host.judge.incidents().len(), 2);
}
