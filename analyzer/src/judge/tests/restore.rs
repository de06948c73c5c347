//! A restart at any step changes nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::script::{Host, SECOND, fresh};
use crate::judge::{Judge, Losses};
use crate::verdict::{Level, Surprise};

thread_local! {
    static STORE: RefCell<BTreeMap<String, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Stores what changed, throws the judge away and builds it anew from the store.
fn restart(judge: &mut Judge) {
    STORE.with_borrow_mut(|store| {
        for (field, value) in judge.changed() {
            match value {
                Some(value) => store.insert(field, value),
                None => store.remove(&field),
            };
        }
        *judge = fresh();
        for (field, value) in store.iter().rev() {
            judge.restore(field, value).unwrap();
        }
        assert!(
            judge.changed().is_empty(),
            "what was restored is not stored again"
        );
    });
}

/// Alerts (id, op, body), and what the word was.
type Played = (Vec<(String, &'static str, String)>, Vec<(Level, String)>);

fn play(after: fn(&mut Judge)) -> Played {
    STORE.with_borrow_mut(BTreeMap::clear);
    let mut host = Host::new();
    host.after = after;
    let mut levels = Vec::new();
    let mut note = |host: &Host| {
        let standing = host.judge.score();
        levels.push((
            standing.level,
            format!("{standing:?} {:?}", host.judge.processes(9)),
        ));
    };
    let nginx = host.daemon("/usr/sbin/nginx", 33);
    let sh = host.run(nginx, "/usr/bin/dash", "sh -c id");
    note(&host);
    let curl = host.run(sh, "/usr/bin/curl", "curl");
    host.connect(curl, &[203, 0, 113, 9]);
    host.write_ino(curl, "/tmp/x", 44, 0o100_755);
    host.exit(curl);
    let kit = host.fork(sh);
    let exec = super::script::program("/tmp/x", "x\0");
    host.exec(kit, ravn_shared::event::Exec { ino: 44, ..exec });
    note(&host);
    for _ in 0..12 {
        host.write(kit, "/etc/cron.d/x");
    }
    host.pass(100);
    note(&host);
    let word = Surprise {
        process: host.id(kit),
        score: 90.0,
        probability: 1e-9,
        novelty: 0.9,
        tokens: 100,
        spans: Vec::new(),
    };
    host.judge.surprise(word, host.now_ns);
    (host.after)(&mut host.judge);
    let lost = Losses {
        records: 0.2,
        ..Losses::default()
    };
    host.judge.losses(lost, host.now_ns);
    host.alerts.extend(host.judge.take_alerts());
    (host.after)(&mut host.judge);
    host.judge.losses(Losses::default(), host.now_ns + SECOND);
    host.pass(200);
    note(&host);
    for pid in [kit, sh] {
        host.exit(pid);
    }
    host.pass(900);
    note(&host);
    for _ in 0..25 {
        let shell = host.login(0);
        host.write(shell, "/etc/sudoers");
    }
    host.run(nginx, "/usr/bin/dash", "sh -c id");
    note(&host);
    let alerts = host
        .alerts
        .into_iter()
        .map(|alert| (alert.id, alert.op, alert.body))
        .collect();
    (alerts, levels)
}

#[test]
fn restored_at_every_step_it_judges_the_same() {
    let straight = play(|_| {});
    let restarted = play(restart);
    assert!(straight.0.len() > 25 && straight.1.iter().any(|(level, _)| *level == Level::High));
    assert_eq!(straight.1, restarted.1);
    for (one, other) in straight.0.iter().zip(&restarted.0) {
        assert_eq!(one, other);
    }
    assert_eq!(straight.0.len(), restarted.0.len());
}

#[test]
fn damaged_fields_are_refused_one_by_one() {
    let mut judge = fresh();
    for field in [
        "p:1:2", "i:1:2", "i:1:2:ff", "j:w:1:2", "j:w:x", "j:s:zz", "j:b:r", "j:clock", "x:1",
    ] {
        for value in [&b""[..], b"\xc1", b"\x90", &[0x91; 300]] {
            let error = judge.restore(field, value).unwrap_err();
            assert_eq!(error.field, field);
        }
    }
    assert_eq!(judge.level(), Level::Low);
}
