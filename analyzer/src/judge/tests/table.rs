//! The process table: who is whose child, who is forgotten.

use ravn_shared::event::{Cgroup, Event, Exit, Fork};

use super::script::{Host, program};
use crate::judge::{Judge, RuleSet, Setup};
use crate::verdict::Level;

fn crowd(processes: usize) -> Host {
    let mut host = Host::new();
    host.judge = Judge::new(Setup {
        host: "h".to_owned(),
        boot_id: [1; 16],
        rules: RuleSet::load(None).unwrap(),
        processes,
    });
    host
}

#[test]
fn threads_are_no_processes() {
    let mut host = Host::new();
    let pid = host.run(1, "/usr/bin/java", "java");
    let before = host.judge.process_count();
    host.event(
        pid,
        Event::Fork(Fork {
            child_tgid: pid,
            child_pid: 9999,
            child_start_ns: 7,
            thread: true,
        }),
    );
    host.event(
        pid,
        Event::Exit(Exit {
            status: 0,
            thread_start_ns: 7,
            process: false,
        }),
    );
    host.pass(30);
    assert_eq!(host.judge.process_count(), before);
    host.exit(pid);
    host.pass(30);
    assert_eq!(host.judge.process_count(), before - 1);
}

#[test]
fn ended_processes_stay_for_their_children_and_their_incident() {
    let mut host = Host::new();
    let shell = host.login(0);
    let middle = host.run(shell, "/usr/bin/dash", "sh");
    let child = host.run(middle, "/usr/bin/sleep", "sleep");
    host.exit(middle);
    host.pass(60);
    host.alerts.clear();
    host.write(child, "/etc/ld.so.preload");
    assert!(
        host.alerts[0].body.contains("/usr/bin/dash"),
        "the ancestry holds"
    );
    let with = host.judge.process_count();
    host.exit(child);
    host.pass(60);
    assert_eq!(
        host.judge.process_count(),
        with,
        "suspects are kept some minutes"
    );
    host.pass(400);
    assert_eq!(host.judge.process_count(), with - 2);
}

#[test]
fn the_table_is_bounded_ended_first_then_the_largest_crowd() {
    let mut host = crowd(256);
    let shell = host.login(0);
    let suspect = host.run(shell, "/usr/bin/dash", "sh");
    host.write(suspect, "/etc/ld.so.preload");
    let bomb = host.run(1, "/tmp/bomb", "bomb");
    for _ in 0..2000 {
        host.fork(bomb);
        assert!(host.judge.process_count() <= 257);
    }
    assert_eq!(host.level(), Level::High);
    host.alerts.clear();
    host.write(shell, "/etc/sudoers");
    let body = &host.alerts[0].body;
    assert!(
        body.contains("/usr/sbin/sshd"),
        "the others are untouched: {body}"
    );
    assert!(
        host.judge
            .processes(5)
            .iter()
            .any(|view| view.tgid == suspect)
    );
}

#[test]
fn a_record_that_overtakes_its_fork_changes_nothing() {
    let mut host = Host::new();
    let shell = host.login(0);
    let dpkg = host.run(shell, "/usr/bin/dpkg", "dpkg");
    // The child's file record travels in another batch than the fork's.
    host.older(5000, dpkg, 0, "dpkg");
    let mut early = host.id(5000);
    early.start_ns = host.now_ns;
    host.set_start(5000, early.start_ns);
    host.write(5000, "/etc/pam.d/x");
    host.event(
        dpkg,
        Event::Fork(Fork {
            child_tgid: 5000,
            child_pid: 5000,
            child_start_ns: early.start_ns,
            thread: false,
        }),
    );
    host.exec(5000, program("/usr/bin/dash", "sh\0"));
    host.write(5000, "/etc/pam.d/y");
    assert_eq!(host.fired(), Vec::<String>::new());
}

#[test]
fn older_processes_show_their_comm() {
    let mut host = Host::new();
    host.older(77, 1, 0, "old\x1bshell");
    host.write(77, "/etc/ld.so.preload");
    assert!(
        host.judge
            .score()
            .reason
            .starts_with("(old\\u{1b}shell) (pid 77, user root): ")
    );
}

#[test]
fn a_record_after_its_process_was_forgotten_leaves_nothing_for_long() {
    let mut host = Host::new();
    let shell = host.login(0);
    let child = host.run(shell, "/usr/bin/true", "true");
    host.exit(child);
    host.pass(30);
    let before = host.judge.process_count();
    host.write(child, "/root/x");
    assert_eq!(host.judge.process_count(), before + 1);
    host.pass(400);
    assert!(host.judge.process_count() <= before);
}

#[test]
fn records_of_an_outage_find_their_processes() {
    let mut host = Host::new();
    let shell = host.login(0);
    let dpkg = host.run(shell, "/usr/bin/dpkg", "dpkg");
    let child = host.run(dpkg, "/usr/bin/dash", "sh postinst");
    let then = host.now_ns;
    host.pass(90);
    // Told 90 s late: the child's end, then what it wrote before.
    host.now_ns = then;
    host.exit(child);
    host.judge.tick(then + 91_000_000_000);
    host.write(child, "/etc/pam.d/x");
    assert_eq!(host.fired(), Vec::<String>::new());
}

#[test]
fn a_process_that_was_there_before_passes_on_what_it_is() {
    let mut host = Host::new();
    host.older(700, 1, 33, "nginx");
    host.event(700, Event::Process(program("/usr/sbin/nginx", "nginx\0")));
    assert!(host.alerts.is_empty(), "being there is no act");
    let count = host.judge.process_count();
    let shell = host.run(700, "/usr/bin/dash", "sh -c id");
    assert_eq!(
        host.judge.level(),
        Level::High,
        "a shell under a web server"
    );
    assert_eq!(host.judge.process_count(), count + 1);

    // Told once more by a collector that was restarted, it is what it has become.
    host.event(
        shell,
        Event::Process(program("/usr/bin/dash", "sh -c id\0")),
    );
    let told = host.judge.process_count();
    assert_eq!(told, count + 1);
    assert!(host.alerts[0].body.contains("/usr/sbin/nginx"));
}

#[test]
fn a_process_is_told_with_its_unit_and_container() {
    let mut host = Host::new();
    let id = "0123456789abcdef".repeat(4);
    let path = format!("/system.slice/docker-{id}.scope");
    let shell = host.login(0);
    host.event(
        shell,
        Event::Cgroup(Cgroup {
            id: 1,
            path: path.as_bytes(),
        }),
    );
    host.write(shell, "/etc/ld.so.preload");
    let worst = host.judge.processes(1).remove(0);
    assert_eq!(worst.unit, Some(format!("docker-{id}.scope")));
    assert_eq!(worst.container.as_deref(), Some("0123456789ab"));
    assert!(
        host.alerts[0]
            .body
            .contains("\"container\":\"0123456789ab\"")
    );
}
