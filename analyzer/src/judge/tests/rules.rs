//! Each rule: an attack that fires it, and what looks like it on a healthy server.

mod escalation;
mod evasion;
mod execution;
mod kernel;
mod persistence;

use ravn_shared::event::{Exec, exec_flags};

use super::script::{Host, args, program};
use crate::judge::{RuleSet, Tier};
use crate::scratch::Scratch;
use crate::verdict::Level;

const FAR: &[u8] = &[203, 0, 113, 9];
const LOOPBACK: &[u8] = &[127, 0, 0, 1];

fn on_socket<'a>(path: &'a str, argv: &'a str, peer: &'a [u8]) -> Exec<'a> {
    Exec {
        stdio: [5, 5, 5],
        stdio_peer: peer,
        stdio_peer_port: 4444,
        ..program(path, argv)
    }
}

/// What the kernel shows of a memfd's exec.
fn in_memory<'a>(path: &'a str, ino: u64) -> Exec<'a> {
    Exec {
        flags: exec_flags::MEMFD | exec_flags::DELETED,
        ino,
        dev: 1,
        ..program(path, "x\0")
    }
}

struct Case {
    rule: &'static str,
    what: &'static str,
    fires: bool,
    play: fn(&mut Host),
}

const fn attack(rule: &'static str, what: &'static str, play: fn(&mut Host)) -> Case {
    Case {
        rule,
        what,
        fires: true,
        play,
    }
}

const fn healthy(rule: &'static str, what: &'static str, play: fn(&mut Host)) -> Case {
    Case {
        rule,
        what,
        fires: false,
        play,
    }
}

const CASES: [&[Case]; 5] = [
    escalation::CASES,
    evasion::CASES,
    execution::CASES,
    kernel::CASES,
    persistence::CASES,
];

#[test]
fn every_rule_fires_on_its_attack_and_on_no_lookalike() {
    let rules = RuleSet::load(None).unwrap();
    let mut wrong = Vec::new();
    for case in CASES.into_iter().flatten() {
        let mut host = Host::new();
        (case.play)(&mut host);
        let rule = rules
            .iter()
            .find(|rule| rule.name == case.rule)
            .expect(case.rule);
        let fired = if rule.tier == Tier::Core {
            host.fired()
        } else {
            host.evidence()
        };
        if fired.iter().any(|name| name == case.rule) != case.fires {
            wrong.push(format!("{}: {} ({fired:?})", case.rule, case.what));
        }
        if !case.fires && host.level() == Level::High {
            wrong.push(format!(
                "{}: {} makes HIGH ({fired:?})",
                case.rule, case.what
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_rule_has_both_cases() {
    for rule in RuleSet::load(None).unwrap().iter() {
        for fires in [true, false] {
            let found = CASES
                .into_iter()
                .flatten()
                .any(|case| case.rule == rule.name && case.fires == fires);
            // Whatever touches the sensor's memory alerts.
            assert!(
                found || (rule.name == "sensor-ptrace" && !fires),
                "{} {fires}",
                rule.name
            );
        }
        assert!(!rule.next.is_empty() && !rule.techniques.is_empty() && !rule.tactics.is_empty());
        assert!(!rule.false_positives.is_empty(), "{}", rule.name);
    }
}

#[test]
fn rules_of_others_load_or_are_left_out_by_log_source() {
    let scratch = Scratch::new();
    let folder = scratch.path();
    let put = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    put(
        "a.yml",
        "title: A\nlogsource: {product: linux, category: process_creation}\ndetection:\n  s: {CommandLine|contains: nc}\n  condition: s\nlevel: high\n",
    );
    put(
        "b.yml",
        "title: B\nlogsource: {product: windows, category: process_creation}\ndetection:\n  s: {CommandLine: x}\n  condition: s\n",
    );
    let rules = RuleSet::load(Some(folder)).unwrap();
    assert_eq!((rules.len(), rules.skipped()), (1, 1));
    assert_eq!(rules.iter().next().unwrap().tier, Tier::Context);
    put(
        "c.yml",
        "title: C\nlogsource: {product: linux, category: process_creation}\ndetection:\n  s: {CommandLine: x}\n  condition: s\nravn: {tier: corre}\n",
    );
    let error = format!("{:#}", RuleSet::load(Some(folder)).unwrap_err());
    assert!(
        error.contains("c.yml") && error.contains("corre"),
        "{error}"
    );
    assert!(args("a b").ends_with('\0'));
}
