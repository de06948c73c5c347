//! Promise: what is taken away from the sensor or changed behind its back is noticed within five
//! seconds, told to Redis, and loaded anew within five more. Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ravn_tests::harness::events::Seen;
use ravn_tests::harness::pins::{
    first_word, overwrite, possible_cpus, replace, replace_by_array, value_size,
};
use ravn_tests::harness::skip::{Need, can_run};
use ravn_tests::harness::{Sandbox, sandbox::PATIENCE, wait_until};

/// The promise.
const NOTICED: Duration = Duration::from_secs(5);
const MENDED: Duration = Duration::from_secs(5);

fn collected(name: &str) -> Option<Sandbox> {
    if !can_run(name, Need::Kernel).unwrap() {
        return None;
    }
    let mut sandbox = Sandbox::new().unwrap();
    sandbox.start_collector().unwrap();
    Some(sandbox)
}

fn tamperings(sandbox: &Sandbox) -> Vec<Seen> {
    let mut records = sandbox.records().unwrap();
    records.retain(|seen| seen.kind == "tampering");
    records
}

/// Does something to the sensor and waits for its answer: the part that it names, a new load,
/// and an act that is seen.
fn tamper(sandbox: &Sandbox, part: &str, act: impl FnOnce(&Path)) {
    let (before, load) = (tamperings(sandbox).len(), sandbox.pins.load().unwrap());
    let began = Instant::now();
    act(&load);
    let found = wait_until(NOTICED, "a record of tampering", || {
        Ok(tamperings(sandbox).get(before).cloned())
    })
    .unwrap_or_else(|error| panic!("{part}: {error:#}\n{}", log(sandbox)));
    let noticed = began.elapsed();
    assert_eq!(found.fields["what"], part, "{:?}", found.fields);
    assert_eq!(found.tgid, sandbox.collector.as_ref().unwrap().pid());
    wait_until(MENDED, "another load", || {
        let now = sandbox.pins.load().ok();
        Ok(now.filter(|now| *now != load))
    })
    .unwrap_or_else(|error| panic!("{part}: {error:#}\n{}", log(sandbox)));
    let mended = began.elapsed();
    let truth = sandbox.trigger(&["bind"]).unwrap();
    let seen = sandbox.records_of(truth.tgid).unwrap();
    assert!(seen.iter().any(|seen| seen.kind == "bind"), "{seen:#?}");
    eprintln!(
        "{}: noticed after {noticed:?}, mended after {mended:?}",
        found.fields["detail"]
    );
}

fn log(sandbox: &Sandbox) -> String {
    sandbox.collector.as_ref().unwrap().log()
}

/// Nothing is told of while nobody tampers, over some proofs of life.
fn quiet(sandbox: &Sandbox) {
    let told = tamperings(sandbox).len();
    let beats = || sandbox.collector.as_ref().unwrap().said().beats;
    let before = beats();
    wait_until(PATIENCE, "two beats of the watchdog", || {
        Ok((beats() >= before + 2).then_some(()))
    })
    .unwrap();
    assert_eq!(tamperings(sandbox).len(), told, "{}", log(sandbox));
}

#[test]
fn maps_that_were_overwritten_are_noticed_and_replaced() {
    let name = "kernel_tampering::maps_that_were_overwritten_are_noticed_and_replaced";
    let Some(sandbox) = collected(name) else {
        return;
    };
    quiet(&sandbox);
    // No chunk goes in any more.
    tamper(&sandbox, "map", |load| {
        overwrite(&load.join("settings"), 16, |bytes| bytes[..8].fill(0)).unwrap();
    });
    // No load records any more.
    tamper(&sandbox, "map", |load| {
        let meta = load.parent().unwrap().join("meta");
        overwrite(&meta, 48, |bytes| bytes[..8].fill(1)).unwrap();
    });
    quiet(&sandbox);
}

#[test]
fn a_sensor_that_was_silenced_through_its_own_state_proves_no_life() {
    let name = "kernel_tampering::a_sensor_that_was_silenced_through_its_own_state";
    let Some(sandbox) = collected(name) else {
        return;
    };
    // Every CPU is held by a program that never ends: nothing is recorded, and all is counted
    // as recursion.
    tamper(&sandbox, "proof", |load| {
        let states = load.join("cpu_states");
        let cpus = possible_cpus().unwrap();
        let size = value_size(&states).unwrap();
        overwrite(&states, size.next_multiple_of(8) * cpus, |bytes| {
            for state in bytes.chunks_mut(size.next_multiple_of(8)) {
                // `busy`, behind eight words and `pos`.
                state[68] = 1;
            }
        })
        .unwrap();
    });
}

#[test]
fn pins_that_were_removed_are_noticed_and_made_anew() {
    let name = "kernel_tampering::pins_that_were_removed_are_noticed_and_made_anew";
    let Some(sandbox) = collected(name) else {
        return;
    };
    tamper(&sandbox, "pin", |load| {
        fs::remove_file(load.join("handle__sys_exit")).unwrap();
    });
    tamper(&sandbox, "pin", |load| {
        fs::remove_dir_all(load.parent().unwrap()).unwrap();
    });
}

/// The pin of `meta` is what the next collector goes by.
#[test]
fn a_pin_that_was_replaced_is_put_back() {
    let name = "kernel_tampering::a_pin_that_was_replaced_is_put_back";
    let Some(sandbox) = collected(name) else {
        return;
    };
    tamper(&sandbox, "pin", |load| {
        replace_by_array(&load.parent().unwrap().join("meta"), 48, true).unwrap();
    });
    let load = sandbox.pins.load().unwrap();
    let active = first_word(&load.parent().unwrap().join("meta"), 48).unwrap();
    let folder = load.file_name().unwrap().to_str().unwrap();
    assert!(folder.starts_with(&format!("{active:016x}_")), "{folder}");
    tamper(&sandbox, "pin", |load| {
        replace(&load.join("flush_cpu"), &load.join("exclude_caller")).unwrap();
    });
}

/// What was swapped is of the right type, and opens; but the programs use another.
#[test]
fn pins_that_were_swapped_while_no_collector_looked_are_noticed_at_start() {
    let name = "kernel_tampering::pins_that_were_swapped_while_no_collector_looked";
    let Some(mut sandbox) = collected(name) else {
        return;
    };
    type Act = fn(&Path);
    let acts: [(&str, Act); 7] = [
        ("settings", |load| {
            replace_by_array(&load.join("settings"), 16, true).unwrap();
        }),
        ("meta", |load| {
            // It names the same load.
            let meta = load.parent().unwrap().join("meta");
            let mut bytes = [0; 48];
            overwrite(&meta, 48, |value| bytes.copy_from_slice(value)).unwrap();
            replace_by_array(&meta, 48, true).unwrap();
            overwrite(&meta, 48, |value| value.copy_from_slice(&bytes)).unwrap();
        }),
        ("meta", |load| {
            replace_by_array(&load.parent().unwrap().join("meta"), 48, false).unwrap();
        }),
        ("meta", |load| {
            fs::remove_file(load.parent().unwrap().join("meta")).unwrap();
        }),
        ("handle__sched_process_fork", |load| {
            let exit = load.join("handle__sched_process_exit");
            replace(&load.join("handle__sched_process_fork"), &exit).unwrap();
        }),
        ("flush_cpu", |load| {
            replace(&load.join("flush_cpu"), &load.join("exclude_caller")).unwrap();
        }),
        ("exclude_caller", |load| {
            replace(&load.join("exclude_caller"), &load.join("flush_cpu")).unwrap();
        }),
    ];
    for (part, act) in acts {
        sandbox.collector.as_mut().unwrap().kill().unwrap();
        let (before, load) = (tamperings(&sandbox).len(), sandbox.pins.load().unwrap());
        act(&load);
        sandbox.start_collector().unwrap();
        let found = wait_until(NOTICED, "a record of tampering", || {
            Ok(tamperings(&sandbox).get(before).cloned())
        })
        .unwrap_or_else(|error| panic!("{part}: {error:#}\n{}", log(&sandbox)));
        let detail = found.fields["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{part}: {detail}");
        assert_ne!(sandbox.pins.load().unwrap(), load, "{part}");
        let truth = sandbox.trigger(&["fork"]).unwrap();
        let seen = sandbox.records_of(truth.tgid).unwrap();
        assert!(seen.iter().any(|seen| seen.kind == "fork"), "{seen:#?}");
    }
}

/// With its pin goes a link that no collector holds: the program is detached.
#[test]
fn a_program_detached_while_no_collector_looked_is_noticed_at_start() {
    let name = "kernel_tampering::a_program_detached_while_no_collector_looked";
    let Some(mut sandbox) = collected(name) else {
        return;
    };
    sandbox.collector.as_mut().unwrap().kill().unwrap();
    let load: PathBuf = sandbox.pins.load().unwrap();
    fs::remove_file(load.join("handle__sched_process_fork")).unwrap();
    sandbox.start_collector().unwrap();
    let found = wait_until(NOTICED, "a record of tampering", || {
        Ok(tamperings(&sandbox).first().cloned())
    })
    .unwrap();
    let detail = found.fields["detail"].as_str().unwrap();
    assert!(detail.contains("handle__sched_process_fork"), "{detail}");
    assert_ne!(sandbox.pins.load().unwrap(), load);
    let truth = sandbox.trigger(&["fork"]).unwrap();
    let seen = sandbox.records_of(truth.tgid).unwrap();
    assert!(seen.iter().any(|seen| seen.kind == "fork"), "{seen:#?}");
}

#[test]
fn tampering_is_an_alert() {
    if !can_run("kernel_tampering::tampering_is_an_alert", Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    sandbox.start_analyzer().unwrap();
    sandbox.start_collector().unwrap();
    let load = sandbox.pins.load().unwrap();
    fs::remove_file(load.join("settings")).unwrap();
    wait_until(NOTICED + Duration::from_secs(2), "the alert", || {
        let output = sandbox.ravn(&["alerts", "--last", "100", "--json"])?;
        let alerts = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(alerts
            .contains("A part of the sensor was taken away or changed")
            .then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", log(&sandbox)));
    wait_until(PATIENCE, "threat_level HIGH", || {
        Ok((sandbox.level()?.as_deref() == Some("HIGH")).then_some(()))
    })
    .unwrap();
}
