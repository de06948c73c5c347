//! Hiding, taking others over, and turning on the sensor.

use ravn_shared::event::{Event, Exec, exec_flags};

use super::{Case, attack, healthy, in_memory};
use crate::judge::tests::script::{Host, program};
use crate::verdict::Level;

/// Where no rule expects it.
const COLLECTOR: &str = "/home/a/ravn/target/release/ravn-collector";

/// The running collector, which tells of itself.
fn collector(h: &mut Host) -> u32 {
    h.older(900, 1, 0, "ravn-collector");
    let found = Exec {
        flags: exec_flags::COLLECTOR,
        ..program(COLLECTOR, "ravn-collector\0run\0")
    };
    h.event(900, Event::Process(found));
    900
}

pub const CASES: &[Case] = &[
    attack("ptrace", "injection into another program", |h| {
        let victim = h.daemon("/usr/sbin/sshd", 0);
        let shell = h.login(0);
        let pid = h.run(shell, "/root/inject", "inject");
        h.ptrace(pid, 16, victim);
        h.ptrace(pid, 4, victim);
    }),
    healthy("ptrace", "gdb, strace of one's own, a crash handler", |h| {
        let victim = h.daemon("/usr/sbin/sshd", 0);
        let shell = h.login(0);
        let gdb = h.run(shell, "/usr/bin/gdb", "gdb -p 1");
        h.ptrace(gdb, 16, victim);
        let tracer = h.run(shell, "/home/a/bin/dlv", "dlv");
        let child = h.run(tracer, "/home/a/prog", "prog");
        h.ptrace(tracer, 0x4206, child);
        let app = h.run(shell, "/opt/app/app", "app");
        let handler = h.run(app, "/opt/app/app", "app --crash-handler");
        h.ptrace(handler, 16, app);
        // Reading registers, or asking to be traced, injects nothing.
        h.ptrace(child, 0, 0);
        h.ptrace(child, 12, victim);
    }),
    attack("sensor-ptrace", "gdb on the collector", |h| {
        let collector = h.daemon("/usr/bin/ravn-collector", 0);
        let shell = h.login(0);
        let gdb = h.run(shell, "/usr/bin/gdb", "gdb");
        h.ptrace(gdb, 16, collector);
        assert_eq!(h.level(), Level::High);
    }),
    attack("sensor-files", "its pins removed", |h| {
        let shell = h.login(0);
        let rm = h.run(shell, "/usr/bin/rm", "rm -r /sys/fs/bpf/ravn");
        h.unlink(rm, "/sys/fs/bpf/ravn/default/link");
    }),
    healthy("sensor-files", "its own end, and a package's", |h| {
        let collector = h.daemon("/usr/bin/ravn-collector", 0);
        h.unlink(collector, "/sys/fs/bpf/ravn/default/link");
        let shell = h.login(0);
        let dpkg = h.run(shell, "/usr/bin/dpkg", "dpkg -r ravn");
        h.unlink(dpkg, "/usr/bin/ravn-collector");
    }),
    attack("kernel-thread-name", "[kworker/0:1]", |h| {
        let pid = h.fork(1);
        h.exec(pid, program("/tmp/x", "[kworker/0:1]\0"));
    }),
    healthy("kernel-thread-name", "the test program [", |h| {
        let shell = h.login(1000);
        let pid = h.fork(shell);
        h.exec(pid, program("/usr/bin/[", "[\0-f\0x\0]\0"));
    }),
    attack("bpf-load", "an unknown program", |h| {
        let shell = h.login(0);
        let pid = h.run(shell, "/root/door", "door");
        h.bpf(pid);
    }),
    healthy("bpf-load", "the collector's own image, to check", |h| {
        collector(h);
        let shell = h.login(0);
        let pid = h.run(shell, COLLECTOR, "ravn-collector check");
        h.bpf(pid);
    }),
    attack("bpf-load", "a copy of the collector elsewhere", |h| {
        collector(h);
        let shell = h.login(0);
        let pid = h.run(shell, "/root/.x/ravn-collector", "ravn-collector check");
        h.bpf(pid);
    }),
    attack("bpf-load", "its image, after the collector's end", |h| {
        let own = collector(h);
        h.exit(own);
        let shell = h.login(0);
        let pid = h.run(shell, COLLECTOR, "ravn-collector check");
        h.bpf(pid);
    }),
    attack("bpf-load", "who became another program", |h| {
        let own = collector(h);
        h.exec(own, program("/root/door", "door\0"));
        h.bpf(own);
    }),
    attack("bpf-load", "an exec that claims to be the collector", |h| {
        let shell = h.login(0);
        let pid = h.fork(shell);
        let claim = Exec {
            flags: exec_flags::COLLECTOR,
            ..program(COLLECTOR, "ravn-collector\0")
        };
        h.exec(pid, claim);
        h.bpf(pid);
    }),
    healthy("bpf-load", "runc out of its copy in memory", |h| {
        let runc = h.run(1, "/usr/bin/runc", "runc");
        h.memfd(runc, "runc_cloned:/proc/self/exe", 81);
        h.exec(runc, in_memory("/memfd:runc_cloned:/proc/self/exe", 81));
        h.bpf(runc);
    }),
    healthy("bpf-load", "systemd at a unit's start, runc", |h| {
        let pid = h.run(1, "/usr/lib/systemd/systemd-executor", "systemd-executor");
        h.bpf(pid);
        let runc = h.run(1, "/usr/bin/runc", "runc");
        h.bpf(runc);
    }),
    healthy("ptrace", "a crash handler of another name", |h| {
        let shell = h.login(1000);
        let app = h.run(shell, "/opt/app/app", "app");
        let handler = h.run(app, "/opt/app/crash-handler", "crash-handler");
        h.ptrace(handler, 16, app);
        assert_eq!(h.level(), Level::Low);
    }),
    attack("ptrace", "above it, of another user", |h| {
        let service = h.daemon("/usr/bin/service", 0);
        let child = h.run(service, "/usr/bin/helper", "helper");
        h.become_user(child, 1000);
        h.ptrace(child, 16, service);
    }),
    attack("ptrace-ancestor", "a child takes its shell over", |h| {
        let shell = h.login(1000);
        let pid = h.run(shell, "/home/a/inject", "inject");
        h.ptrace(pid, 16, shell);
    }),
    healthy("ptrace-ancestor", "gdb, and the same program", |h| {
        let shell = h.login(1000);
        let app = h.run(shell, "/opt/app/app", "app");
        let gdb = h.run(app, "/usr/bin/gdb", "gdb");
        h.ptrace(gdb, 16, app);
        let handler = h.run(app, "/opt/app/app", "app --crash-handler");
        h.ptrace(handler, 16, app);
    }),
    attack("sensor-tampering", "a map overwritten", |h| {
        let collector = h.daemon("/usr/bin/ravn-collector", 0);
        h.tampering(collector, "map", "the map settings");
        assert_eq!(h.level(), Level::High);
    }),
    healthy("sensor-tampering", "what a proof of life does", |h| {
        let collector = h.daemon("/usr/bin/ravn-collector", 0);
        h.write(collector, "memfd:ravn-proof-0000000000000001");
        h.bpf(collector);
    }),
];
