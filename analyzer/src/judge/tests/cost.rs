//! What a record costs: printed, not judged. `cargo test --release -- --ignored --nocapture cost`

use std::hint::black_box;

use ravn_shared::event::{Event, Open, Place, Record, Task};

use super::script::{Host, program, tcp};

/// Time that this thread had a CPU: the machine is shared.
fn cpu_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the call to fill.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn measure(what: &str, mut event: impl FnMut(u64) -> Event<'static>) {
    let mut host = Host::new();
    let shell = host.login(1000);
    let pid = host.run(shell, "/usr/bin/git", "git");
    let id = host.id(pid);
    let parent = host.id(shell);
    let mut best = f64::MAX;
    for round in 0..10 {
        let begun = cpu_ns();
        for at in 0..20_000u64 {
            let record = Record {
                cpu: 0,
                n: at,
                time_ns: host.now_ns + round * 20_000 + at,
                task: Task {
                    tgid: pid,
                    pid,
                    start_ns: id.start_ns,
                    parent_tgid: shell,
                    parent_start_ns: parent.start_ns,
                    uid: 1000,
                    gid: 1000,
                    cgroup_id: 1,
                    comm: b"git",
                },
                place: Place::default(),
                event: event(at),
            };
            host.judge.observe(black_box(&record), 0);
        }
        best = best.min((cpu_ns() - begun) as f64 / 20_000.0);
    }
    let begun = cpu_ns();
    let fields = host.judge.changed();
    println!(
        "{what}: {best:.0} ns a record; checkpoint of {} fields {} µs",
        fields.len(),
        (cpu_ns() - begun) / 1000
    );
    assert!(host.alerts.is_empty());
}

#[test]
#[ignore = "a measurement"]
fn cost() {
    measure("open", |at| {
        Event::Open(Open {
            path: b"/home/dev/project/target/release/deps/libsomething-0123456789abcdef.rmeta",
            flags: 1,
            mode: 0o100_644,
            ino: at,
            dev: 8,
            created: true,
            cut: false,
        })
    });
    measure("connect", |_| Event::Connect(tcp(&[192, 0, 2, 1])));
    measure("exec", |_| {
        let mut exec = program(
            "/usr/bin/git",
            "git\0commit\0-m\0some message of a usual length\0",
        );
        exec.euid = 1000;
        Event::Exec(exec)
    });
    measure("unlink", |_| {
        Event::Unlink(super::script::named("home/dev/project/.git/index.lock"))
    });
}
