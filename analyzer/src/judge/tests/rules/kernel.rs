//! What a process asks of the kernel: other processes' memory, namespaces, another kernel.

use ravn_shared::event::{Event, ExecMemory, Kexec, Userfaultfd};

use super::{Case, attack, healthy};
use crate::judge::tests::script::at_terminal;
use crate::verdict::Level;

/// Memory that was written, then made executable.
fn written(path: &[u8]) -> ExecMemory<'_> {
    ExecMemory {
        syscall: 10,
        length: 4096,
        protection: 5,
        written: true,
        path,
        ..ExecMemory::default()
    }
}

pub const CASES: &[Case] = &[
    attack("memory-write", "injection without ptrace", |h| {
        let victim = h.daemon("/usr/sbin/sshd", 0);
        let shell = h.login(0);
        let pid = h.run(shell, "/root/inject", "inject");
        h.vm_write(pid, victim);
    }),
    attack("memory-write", "gdb into the sensor", |h| {
        let collector = h.daemon("/usr/bin/ravn-collector", 0);
        let shell = h.login(0);
        let gdb = h.run(shell, "/usr/bin/gdb", "gdb");
        h.vm_write(gdb, collector);
    }),
    healthy("memory-write", "gdb, one's own child, ranks of MPI", |h| {
        let victim = h.daemon("/usr/sbin/sshd", 0);
        let shell = h.login(1000);
        let gdb = h.run(shell, "/usr/bin/gdb", "gdb -p 1");
        h.vm_write(gdb, victim);
        let tracer = h.run(shell, "/home/a/bin/checker", "checker");
        let child = h.run(tracer, "/home/a/prog", "prog");
        h.vm_write(tracer, child);
        let one = h.run(shell, "/home/a/simulate", "simulate");
        let two = h.run(shell, "/home/a/simulate", "simulate");
        h.vm_write(one, two);
    }),
    attack("sensor-signal", "kill -STOP of the collector", |h| {
        let collector = h.daemon("/usr/bin/ravn-collector", 0);
        let shell = h.login(0);
        h.signal(shell, 19, collector);
        assert_eq!(h.level(), Level::High);
    }),
    healthy(
        "sensor-signal",
        "systemctl stop and reload, another daemon",
        |h| {
            let collector = h.daemon("/usr/bin/ravn-collector", 0);
            h.signal(1, 15, collector);
            let shell = h.login(0);
            let kill = h.run(shell, "/usr/bin/kill", "kill -HUP 1");
            h.signal(kill, 1, collector);
            let other = h.daemon("/usr/sbin/nginx", 33);
            h.signal(kill, 9, other);
            let script = h.run(shell, "/usr/bin/bash", "bash quickstart");
            let analyzer = h.run(script, "/usr/bin/ravn-analyzer", "ravn-analyzer");
            h.signal(script, 15, analyzer);
        },
    ),
    attack("container-setns", "nsenter -t 1 -m", |h| {
        let shim = h.run(1, "/usr/bin/containerd-shim-runc-v2", "shim");
        let sh = h.run(shim, "/usr/bin/dash", "sh");
        let nsenter = h.run(sh, "/usr/bin/nsenter", "nsenter -t 1 -m sh");
        h.setns(nsenter, 0x2_0000, 0x2_0000);
        assert_eq!(h.level(), Level::High);
    }),
    healthy(
        "container-setns",
        "docker exec, ip netns, nsenter by hand",
        |h| {
            let shim = h.run(1, "/usr/bin/containerd-shim-runc-v2", "shim");
            let runc = h.run(shim, "/usr/bin/runc", "runc exec");
            h.setns(runc, 0x2_0000, 0x2_0000);
            let sh = h.run(shim, "/usr/bin/dash", "sh");
            h.setns(sh, 0x4000_0000, 0x4000_0000);
            h.setns(sh, 0x2_0000, 0);
            let shell = h.login(0);
            let ip = h.run(shell, "/usr/bin/ip", "ip netns exec");
            h.setns(ip, 0x2_0000, 0x2_0000);
        },
    ),
    attack("kexec", "another kernel from a login", |h| {
        let shell = h.login(0);
        let pid = h.fork(shell);
        h.exec(pid, at_terminal("/usr/sbin/kexec", "kexec\0-l\0x\0", 0));
        h.event(
            pid,
            Event::Kexec(Kexec {
                path: b"/tmp/x",
                ..Kexec::default()
            }),
        );
    }),
    healthy("kexec", "kdump at boot", |h| {
        let pid = h.run(1, "/usr/sbin/kexec", "kexec -p");
        h.event(
            pid,
            Event::Kexec(Kexec {
                path: b"/boot/vmlinuz",
                ..Kexec::default()
            }),
        );
    }),
    attack("capability-file", "setcap cap_setuid+ep /tmp/sh", |h| {
        let shell = h.login(0);
        let setcap = h.run(shell, "/usr/sbin/setcap", "setcap");
        h.setcap(setcap, "/tmp/sh");
    }),
    healthy(
        "capability-file",
        "a package's program, an image unpacked",
        |h| {
            let shell = h.login(0);
            let dpkg = h.run(shell, "/usr/bin/dpkg", "dpkg --configure");
            let setcap = h.run(dpkg, "/usr/sbin/setcap", "setcap");
            h.setcap(setcap, "/opt/x/bin/x");
            let docker = h.daemon("/usr/bin/dockerd", 0);
            h.setcap(docker, "/var/lib/docker/overlay2/a/diff/usr/bin/ping");
            let setcap = h.run(shell, "/usr/sbin/setcap", "setcap");
            h.setcap(setcap, "/usr/bin/ping");
        },
    ),
    attack("packet-socket", "a sniffer", |h| {
        let shell = h.login(0);
        let pid = h.run(shell, "/root/sniff", "sniff");
        h.packet_socket(pid);
    }),
    healthy("packet-socket", "networkd, ping, one that is known", |h| {
        let pid = h.daemon("/usr/lib/systemd/systemd-networkd", 0);
        h.packet_socket(pid);
        let shell = h.login(0);
        let ping = h.run(shell, "/usr/bin/ping", "ping");
        h.packet_socket(ping);
    }),
    attack("userfaultfd", "an exploit", |h| {
        let shell = h.login(1000);
        let pid = h.run(shell, "/home/a/x", "x");
        h.event(pid, Event::Userfaultfd(Userfaultfd { flags: 1, ret: 3 }));
    }),
    healthy("userfaultfd", "qemu, and a refusal", |h| {
        let qemu = h.daemon("/usr/bin/qemu-system-x86_64", 64055);
        h.event(qemu, Event::Userfaultfd(Userfaultfd { flags: 1, ret: 3 }));
        let shell = h.login(1000);
        let pid = h.run(shell, "/home/a/x", "x");
        h.event(pid, Event::Userfaultfd(Userfaultfd { flags: 0, ret: -1 }));
    }),
    attack("written-code", "an unpacker", |h| {
        let shell = h.login(1000);
        let pid = h.run(shell, "/tmp/packed", "packed");
        h.event(pid, Event::ExecMemory(written(b"")));
    }),
    healthy("written-code", "node, and a file with relocations", |h| {
        let node = h.daemon("/usr/bin/node", 1000);
        h.event(node, Event::ExecMemory(written(b"")));
        let shell = h.login(1000);
        let pid = h.run(shell, "/home/a/old", "old");
        h.event(pid, Event::ExecMemory(written(b"/home/a/old.so")));
    }),
];
