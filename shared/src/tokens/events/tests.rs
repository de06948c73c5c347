#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::event::{Open, Place};
use crate::tokens::name;

fn exec(path: &'static [u8], flags: u32) -> Exec<'static> {
    Exec {
        path,
        argv: b"",
        argv_bytes: 0,
        cwd: b"/",
        filename: path,
        ino: 1,
        dev: 1,
        flags,
        euid: 0,
        egid: 0,
        cap_effective: 0,
        loginuid: u32::MAX,
        session: 1,
        tty: 0,
        stdio: [stdio::DEVICE, stdio::INET, stdio::PIPE],
        stdio_peer: b"",
        stdio_peer_port: 0,
        ..Exec::default()
    }
}

fn names(path: &'static [u8], flags: u32) -> Vec<&'static str> {
    let (tokens, used) = of_exec(&exec(path, flags), &Task::default());
    tokens[..used].iter().map(|token| name(*token)).collect()
}

#[test]
fn an_exec_tells_who_how_and_what() {
    assert_eq!(
        names(b"/usr/bin/dash", exec_flags::SECURE),
        [
            "as:root",
            "login:none",
            "stdio:inet",
            "exec:shell@packaged",
            "exec:elevated"
        ]
    );
    assert_eq!(names(b"/tmp/.x/bash", 0)[3], "exec:shell@tmp");
    assert_eq!(
        names(b"/memfd:a (deleted)", exec_flags::MEMFD)[3],
        "exec:other@anon"
    );
    assert_eq!(
        names(b"/usr/local/bin/python3", 0)[3],
        "exec:interpreter@local"
    );
}

#[test]
fn versions_do_not_hide_a_program() {
    assert_eq!(Program::of(b"/usr/bin/python3.11"), Program::Interpreter);
    assert_eq!(Program::of(b"/usr/bin/gcc-12"), Program::Build);
    assert_eq!(Program::of(b"bzip2"), Program::Archive);
    assert_eq!(Program::of(b""), Program::Other);
    assert_eq!(Program::of(b"/123"), Program::Other);
}

#[test]
fn every_class_and_origin_is_in_the_table() {
    for (number, (program, text, _)) in (0..).zip(PROGRAMS) {
        assert_eq!(Program::from_number(number), Some(program));
        for name in [format!("from:{text}"), format!("exec:{text}@packaged")] {
            assert!(id(&name).is_some(), "{name}");
        }
    }
    for origin in ["local", "home", "tmp", "anon"] {
        for group in ["shell", "interpreter", "other"] {
            assert!(id(&format!("exec:{group}@{origin}")).is_some());
        }
    }
}

fn open(path: &[u8]) -> &'static str {
    let record = Record {
        cpu: 0,
        n: 0,
        time_ns: 0,
        task: Task::default(),
        place: Place::default(),
        event: Event::Open(Open {
            path,
            flags: 1,
            mode: 0,
            ino: 0,
            dev: 0,
            created: true,
            cut: false,
        }),
    };
    name(of_event(&record).unwrap())
}

#[test]
fn paths_are_classed_by_what_they_are_worth() {
    let cases: [(&[u8], &str); 15] = [
        (b"/root/.ssh/authorized_keys", "keys"),
        (b"/etc/shadow", "keys"),
        (b"/etc/cron.d/x", "persist"),
        (b"/home/a/.bashrc", "profile"),
        (b"/etc/hosts", "etc"),
        (b"/home/a/x", "home"),
        (b"/dev/shm/x", "tmp"),
        (b"/var/log/syslog", "log"),
        (b"/usr/bin/ls", "bin"),
        (b"/usr/lib/x.so", "lib"),
        (b"/proc/1/mem", "proc"),
        (b"/dev/null", "dev"),
        (b"/run/x", "run"),
        (b"/var/lib/x", "data"),
        (b"x\xff", "other"),
    ];
    for (path, class) in cases {
        assert_eq!(open(path), format!("open:create:{class}"), "{path:?}");
        assert!(id(&format!("open:write:{class}")).is_some());
    }
}

#[test]
fn addresses_are_classed_by_reach() {
    let reach_of = |family, address: &[u8]| reach(family, address) as u8;
    assert_eq!(reach_of(2, &[127, 0, 0, 1]), Reach::Loopback as u8);
    assert_eq!(reach_of(2, &[172, 31, 0, 1]), Reach::Private as u8);
    assert_eq!(reach_of(2, &[172, 32, 0, 1]), Reach::Public as u8);
    let mut mapped = [0; 16];
    mapped[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 1]);
    assert_eq!(reach_of(10, &mapped), Reach::Private as u8);
    let mut own = [0; 16];
    own[15] = 1;
    assert_eq!(reach_of(10, &own), Reach::Loopback as u8);
    assert_eq!(reach_of(10, &[1]), Reach::Other as u8);
    assert_eq!(reach_of(2, &[]), Reach::Other as u8);
}
