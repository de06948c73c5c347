//! Promise: a collector that is killed finds its hooks attached and its events waiting; another
//! load takes over without losing what waits; `unload` leaves nothing. Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ravn_tests::harness::daemon::Daemon;
use ravn_tests::harness::haul::Haul;
use ravn_tests::harness::pins::{positions, program_exists};
use ravn_tests::harness::programs::program;
use ravn_tests::harness::skip::{Need, can_run};
use ravn_tests::harness::{Sandbox, sandbox::PATIENCE, wait_until};

/// A sandbox with a collector that is ready, and no analyzer; None where it cannot run.
fn collected(name: &str) -> Option<Sandbox> {
    if !can_run(name, Need::Kernel).unwrap() {
        return None;
    }
    let mut sandbox = Sandbox::new().unwrap();
    sandbox.start_collector().unwrap();
    Some(sandbox)
}

/// Waits until a record of that kind and process is in the haul.
fn expect(sandbox: &Sandbox, haul: &mut Haul, kind: &str, tgid: u32) {
    wait_until(PATIENCE, "the record of an act", || {
        haul.take(sandbox)?;
        Ok(haul.has(kind, tgid).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{kind} of {tgid}: {error:#}"));
}

/// Rounds of SIGKILL; `scripts/soak kills` asks for more.
fn rounds(few: usize) -> usize {
    std::env::var("RAVN_KILLS").map_or(few, |rounds| rounds.parse().unwrap())
}

/// Records that a collector holds at most when it is killed, at the storm's 8,000 a second: a
/// quarter of a second of them. What a ring holds is not lost with it.
const MOST_IN_MEMORY: u64 = 2000;

#[test]
fn a_killed_collector_finds_its_hooks_and_its_events() {
    let name = "kernel_pins::a_killed_collector_finds_its_hooks_and_its_events";
    let Some(mut sandbox) = collected(name) else {
        return;
    };
    let programs = sandbox.pins.programs().unwrap();
    assert!(!programs.is_empty());
    let mut haul = Haul::default();
    let folder = sandbox.folder().to_string_lossy().into_owned();
    let (kills, began) = (rounds(10), Instant::now());
    for round in 0..kills {
        let mut storm = sandbox
            .command(program("trigger").unwrap())
            .unwrap()
            .args(["storm", &folder, "2000", "4000"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let before = haul.records();
        wait_until(PATIENCE, "some records of the storm", || {
            haul.take(&sandbox)?;
            Ok((haul.records() > before).then_some(()))
        })
        .unwrap();
        sandbox.collector.as_mut().unwrap().kill().unwrap();
        let down = sandbox.trigger(&["bind"]).unwrap();
        sandbox.start_collector().unwrap();
        assert_eq!(sandbox.pins.programs().unwrap(), programs, "round {round}");
        expect(&sandbox, &mut haul, "bind", down.tgid);
        assert!(storm.wait().unwrap().success());
    }
    sandbox.collector.as_mut().unwrap().stop().unwrap();
    haul.take(&sandbox).unwrap();
    assert_eq!(haul.loads().len(), 1, "one load all the time");
    assert_eq!(haul.repeats(), 0, "no number comes twice");

    let unexplained = unexplained(&mut sandbox, &haul);
    eprintln!(
        "{kills} kills in {:.0?}: {} records, none twice, {} missing, of which {unexplained} were in \
         a killed collector's memory, no reason counted for them",
        began.elapsed(),
        haul.records(),
        haul.missing()
    );
    assert!(unexplained <= kills as u64 * MOST_IN_MEMORY);
}

/// Killed while it takes over, loads beside an earlier load, or has just made that active.
#[test]
fn a_collector_that_is_killed_while_it_starts_leaves_nothing_in_the_way() {
    let name = "kernel_pins::a_collector_that_is_killed_while_it_starts";
    let Some(mut sandbox) = collected(name) else {
        return;
    };
    let mut haul = Haul::default();
    let folder = sandbox.folder().to_string_lossy().into_owned();
    let mut storm = sandbox
        .command(program("trigger").unwrap())
        .unwrap()
        .args(["storm", &folder, "100000000", "500"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let kills = rounds(6);
    for round in 0..kills {
        sandbox.collector.as_mut().unwrap().kill().unwrap();
        // Of another size every other time: that is another load.
        let bytes = (2 << 20) << (round / 2 % 2);
        let rings = format!("[rings]\nfile = {bytes}\n");
        sandbox.write_collector_toml(&rings).unwrap();
        sandbox.spawn_collector().unwrap();
        // Spread over what a start takes.
        let delay = (round as u64 * 617 + 100) % 2000;
        std::thread::sleep(Duration::from_millis(delay));
        haul.take(&sandbox).unwrap();
    }
    sandbox.collector.as_mut().unwrap().kill().unwrap();
    sandbox.start_collector().unwrap();
    let truth = sandbox.trigger(&["bind"]).unwrap();
    expect(&sandbox, &mut haul, "bind", truth.tgid);
    storm.kill().unwrap();
    storm.wait().unwrap();
    wait_until(PATIENCE, "one load, and no other", || {
        Ok(sandbox.pins.load().ok())
    })
    .unwrap();
    sandbox.collector.as_mut().unwrap().stop().unwrap();
    haul.take(&sandbox).unwrap();
    eprintln!(
        "{kills} kills while it started: {} records of {} loads, none twice",
        haul.records(),
        haul.loads().len()
    );
    assert_eq!(haul.repeats(), 0, "no number comes twice");
}

/// A CPU that was switched off since keeps its last chunk: the collector says so and ends.
/// Switches a CPU of the host off: in `scripts/soak kills` alone.
#[test]
fn a_cpu_that_is_offline_holds_no_stop_up() {
    let name = "kernel_pins::a_cpu_that_is_offline_holds_no_stop_up";
    let switch = Path::new("/sys/devices/system/cpu/cpu1/online");
    if std::env::var_os("RAVN_KILLS").is_none() {
        return;
    }
    if !switch.exists() {
        eprintln!("{name}: CPU 1 cannot be switched off here");
        return;
    }
    let Some(mut sandbox) = collected(name) else {
        return;
    };
    // Calls on both CPUs, so that CPU 1 has an open chunk.
    sandbox.trigger(&["syscalls", "1", "1000", "8"]).unwrap();
    struct Online<'p>(&'p Path);
    impl Drop for Online<'_> {
        fn drop(&mut self) {
            std::fs::write(self.0, "1").unwrap();
        }
    }
    let online = Online(switch);
    std::fs::write(switch, "0").unwrap();
    let mut haul = Haul::default();
    let truth = sandbox.trigger(&["bind"]).unwrap();
    expect(&sandbox, &mut haul, "bind", truth.tgid);
    sandbox.collector.as_mut().unwrap().stop().unwrap();
    drop(online);
    sandbox.start_collector().unwrap();
    let truth = sandbox.trigger(&["bind"]).unwrap();
    expect(&sandbox, &mut haul, "bind", truth.tgid);
}

/// Lets an analyzer count the same batches: what is missing of the numbers is counted as lost by
/// a reason, or else was in a killed collector's memory. Gives how much that is.
fn unexplained(sandbox: &mut Sandbox, haul: &Haul) -> u64 {
    haul.give_back(sandbox).unwrap();
    sandbox.start_analyzer().unwrap();
    // 100 rounds leave half a million records.
    let ledger = wait_until(PATIENCE * 6, "a settled ledger", || {
        let ledger = sandbox.status()?["ledger"].take();
        let sum = |name: &str| ledger["records"][name].as_u64();
        let settled = sum("queued") == Some(0) && sum("in_flight") == Some(0);
        Ok((settled && sum("judged") >= Some(haul.records())).then_some(ledger))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{:#}", sandbox.status().unwrap_or_default()));
    let records = &ledger["records"];
    let lost: u64 = records["lost"]
        .as_object()
        .unwrap()
        .iter()
        // Takes no number.
        .filter(|(reason, _)| !reason.ends_with("recursion"))
        .map(|(_, count)| count.as_u64().unwrap())
        .sum();
    let unexplained = records["unexplained"].as_u64().unwrap();
    assert_eq!(records["judged"], haul.records(), "{ledger}");
    assert_eq!(haul.missing(), lost + unexplained, "{ledger}");
    unexplained
}

#[test]
fn what_was_in_a_killed_collectors_memory_is_a_gap() {
    let name = "kernel_pins::what_was_in_a_killed_collectors_memory_is_a_gap";
    let Some(mut sandbox) = collected(name) else {
        return;
    };
    let mut haul = Haul::default();
    let mut admin = sandbox.redis.admin().unwrap();
    let pause = |words: &[&str], admin: &mut redis::Connection| {
        redis::cmd("CLIENT").arg(words).exec(admin).unwrap();
    };
    pause(&["PAUSE", "60000", "WRITE"], &mut admin);
    let gone = sandbox.trigger(&["bind"]).unwrap();
    let ring = sandbox.pins.load().unwrap().join("network_events");
    wait_until(PATIENCE, "an empty ring", || {
        let (read, written) = positions(&ring)?;
        Ok((read == written).then_some(()))
    })
    .unwrap();
    sandbox.collector.as_mut().unwrap().kill().unwrap();
    pause(&["UNPAUSE"], &mut admin);
    sandbox.start_collector().unwrap();
    let later = sandbox.trigger(&["bind"]).unwrap();
    expect(&sandbox, &mut haul, "bind", later.tgid);
    sandbox.collector.as_mut().unwrap().stop().unwrap();
    haul.take(&sandbox).unwrap();
    assert!(!haul.has("bind", gone.tgid));
    assert!(haul.missing() > 0);
    assert!(unexplained(&mut sandbox, &haul) > 0);
}

#[test]
fn sigterm_keeps_the_hooks_and_unload_takes_them() {
    let name = "kernel_pins::sigterm_keeps_the_hooks_and_unload_takes_them";
    let Some(mut sandbox) = collected(name) else {
        return;
    };
    let refused = sandbox.pins.unload().unwrap_err().to_string();
    let holder = format!("process {}", sandbox.collector.as_ref().unwrap().pid());
    assert!(refused.contains(&holder), "{refused}");
    let programs = sandbox.pins.programs().unwrap();
    sandbox.collector.as_mut().unwrap().stop().unwrap();
    assert_eq!(sandbox.pins.programs().unwrap(), programs);

    let said = sandbox.pins.unload().unwrap();
    assert!(said.contains("handle__sys_exit"), "{said}");
    assert!(!sandbox.pins.place().exists());
    for (name, id) in programs {
        wait_until(PATIENCE, "the end of a program", || {
            Ok((!program_exists(id)).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{name}: {error:#}"));
    }
    let again = sandbox.pins.unload().unwrap();
    assert!(again.starts_with("nothing is pinned"), "{again}");

    sandbox.write_collector_toml("keep = false\n").unwrap();
    sandbox.start_collector().unwrap();
    assert!(sandbox.pins.place().exists());
    sandbox.collector.as_mut().unwrap().stop().unwrap();
    assert!(!sandbox.pins.place().exists(), "keep = false");
}

#[test]
fn instances_stand_side_by_side_and_one_collector_has_each() {
    let name = "kernel_pins::instances_stand_side_by_side_and_one_collector_has_each";
    let Some(one) = collected(name) else {
        return;
    };
    let mut other = Sandbox::new().unwrap();
    other.start_collector().unwrap();
    other.collector.as_mut().unwrap().kill().unwrap();
    let said = other.pins.unload().unwrap();
    let place = one.pins.place();
    let neighbour = place.file_name().unwrap().to_str().unwrap();
    let left = format!("left: instance {neighbour}; ravn-collector unload --instance {neighbour}");
    assert!(said.contains(&left), "{said}");
    let mut haul = Haul::default();
    let truth = one.trigger(&["bind"]).unwrap();
    expect(&one, &mut haul, "bind", truth.tgid);

    // A second collector of the first one's instance.
    let config = one.folder().join("collector.toml");
    let args = ["run", "--config", config.to_str().unwrap()];
    let program = program("ravn-collector").unwrap();
    let mut second = Daemon::start(&program, &args, other.folder(), false).unwrap();
    assert_eq!(second.wait_end(PATIENCE).unwrap(), 1);
    let words = second.log();
    let holder = format!("held by process {}", one.collector.as_ref().unwrap().pid());
    assert!(words.contains(&holder), "{words}");
}

#[test]
fn a_place_that_takes_no_pins_is_said_and_no_failure() {
    if !can_run("kernel_pins::a_place_that_takes_no_pins", Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    let folder = sandbox.folder().display().to_string();
    sandbox
        .write_collector_toml(&format!("folder = \"{folder}\"\n"))
        .unwrap();
    sandbox.start_collector().unwrap();
    let truth = sandbox.trigger(&["bind"]).unwrap();
    expect(&sandbox, &mut Haul::default(), "bind", truth.tgid);
    let mut admin = sandbox.redis.admin().unwrap();
    let mut field = |name: &str| -> String {
        wait_until(PATIENCE, "the collector's hash", || {
            let mut asked = redis::cmd("HGET");
            Ok(asked.arg("ravn:collector").arg(name).query(&mut admin)?)
        })
        .unwrap()
    };
    assert!(field("coverage").contains("not while the collector restarts"));
    let pinned = field("pinned");
    assert!(
        pinned.starts_with("no: ") && pinned.contains("type bpf"),
        "{pinned}"
    );
}

/// Rings of another size are another load, as those of another version are.
#[test]
fn another_load_takes_over_and_the_old_rings_are_drained() {
    let name = "kernel_pins::another_load_takes_over_and_the_old_rings_are_drained";
    let Some(mut sandbox) = collected(name) else {
        return;
    };
    let mut haul = Haul::default();
    let (first, programs) = (
        sandbox.pins.load().unwrap(),
        sandbox.pins.programs().unwrap(),
    );
    sandbox.collector.as_mut().unwrap().kill().unwrap();
    let down = sandbox.trigger(&["bind"]).unwrap();
    // What a collector that was killed amid a load leaves, and one of another `abi.h`: nothing
    // can be had of them, and they go.
    let kind = first.to_str().unwrap().rsplit_once('_').unwrap().1;
    for name in [
        format!("00000000000000ff_{kind}"),
        "00000000000000fe_0".to_owned(),
    ] {
        std::fs::create_dir(sandbox.pins.place().join(name)).unwrap();
    }
    sandbox
        .write_collector_toml("[rings]\nfile = 2097152\n")
        .unwrap();
    sandbox.start_collector().unwrap();
    assert_ne!(sandbox.pins.load().unwrap(), first);
    assert_ne!(sandbox.pins.programs().unwrap(), programs);
    let up = sandbox.trigger(&["bind"]).unwrap();
    expect(&sandbox, &mut haul, "bind", up.tgid);
    sandbox.collector.as_mut().unwrap().stop().unwrap();
    haul.take(&sandbox).unwrap();
    let load_of = |tgid: u32| haul.load_of("bind", tgid).unwrap();
    assert_eq!(haul.loads().len(), 2);
    assert!(
        first
            .to_string_lossy()
            .contains(&format!("{:016x}", load_of(down.tgid)))
    );
    assert_ne!(load_of(down.tgid), load_of(up.tgid));
    assert_eq!(haul.repeats(), 0);
    for (name, id) in programs {
        wait_until(Duration::from_secs(5), "the end of an old program", || {
            Ok((!program_exists(id)).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{name}: {error:#}"));
    }
}
