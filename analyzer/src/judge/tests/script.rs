//! A small host to play on: processes that fork, exec, open and connect.

use std::collections::HashMap;

use ravn_shared::event::{
    Bpf, Chmod, Creds, DupSocket, Event, Exec, Exit, Fork, Kill, Memfd, Module, Mount, Named, Open,
    Place, Ptrace, RawSocket, Record, Rename, SetNs, SetXattr, Socket, Target, Task, VmAccess,
    exec_flags,
};

use crate::judge::{Alert, Judge, RuleSet, Setup};
use crate::verdict::{Level, ProcessId};

pub const SECOND: u64 = 1_000_000_000;
pub const OFFSET: i64 = 1_700_000_000 * SECOND as i64;

/// What the kernel knows of a process here.
#[derive(Clone, Debug)]
pub struct Actor {
    pub start_ns: u64,
    pub parent: (u32, u64),
    pub uid: u32,
    pub comm: Vec<u8>,
}

/// A host, its judge, and a clock that moves a millisecond a record.
pub struct Host {
    pub judge: Judge,
    pub now_ns: u64,
    pub alerts: Vec<Alert>,
    n: u64,
    next: u32,
    actors: HashMap<u32, Actor>,
    /// Called after every step: a test may swap the judge here.
    pub after: fn(&mut Judge),
}

/// An exec with ordinary values.
pub fn program<'a>(path: &'a str, argv: &'a str) -> Exec<'a> {
    Exec {
        path: path.as_bytes(),
        argv: argv.as_bytes(),
        argv_bytes: argv.len() as u32,
        cwd: b"/",
        filename: path.as_bytes(),
        ino: 1000 + path.len() as u64,
        dev: 8,
        flags: 0,
        euid: 0,
        egid: 0,
        cap_effective: 0,
        loginuid: u32::MAX,
        session: 1,
        tty: 0,
        stdio: [6, 6, 6],
        stdio_peer: b"",
        stdio_peer_port: 0,
        ..Exec::default()
    }
}

/// A TCP connection to an address.
pub fn tcp(remote: &[u8]) -> Socket<'_> {
    Socket {
        family: 2,
        kind: 1,
        protocol: 6,
        local: &[10, 0, 0, 2],
        local_port: 40000,
        remote,
        remote_port: 4444,
        ret: 0,
        as_given: false,
    }
}

pub fn named(path: &str) -> Named<'_> {
    Named {
        dir: b"/",
        path: path.as_bytes(),
        resolved: false,
    }
}

pub fn fresh() -> Judge {
    Judge::new(Setup {
        host: "web01".to_owned(),
        boot_id: [7; 16],
        rules: RuleSet::load(None).unwrap(),
        processes: 0,
    })
}

impl Host {
    pub fn new() -> Self {
        let mut host = Self {
            judge: fresh(),
            now_ns: 1000 * SECOND,
            alerts: Vec::new(),
            n: 0,
            next: 1000,
            actors: HashMap::new(),
            after: |_| {},
        };
        host.actors.insert(
            1,
            Actor {
                start_ns: 1,
                parent: (0, 0),
                uid: 0,
                comm: b"systemd".to_vec(),
            },
        );
        host
    }

    pub fn id(&self, pid: u32) -> ProcessId {
        ProcessId {
            tgid: pid,
            start_ns: self.actors[&pid].start_ns,
        }
    }

    pub fn set_start(&mut self, pid: u32, start_ns: u64) {
        self.actors.get_mut(&pid).unwrap().start_ns = start_ns;
    }

    /// A process that is older than the sensor.
    pub fn older(&mut self, pid: u32, parent: u32, uid: u32, comm: &str) {
        let actor = Actor {
            start_ns: u64::from(pid),
            parent: (parent, self.actors[&parent].start_ns),
            uid,
            comm: comm.as_bytes().to_vec(),
        };
        self.actors.insert(pid, actor);
    }

    pub fn event(&mut self, pid: u32, event: Event<'_>) {
        self.now_ns += 1_000_000;
        self.n += 1;
        let actor = self.actors[&pid].clone();
        let record = Record {
            cpu: 0,
            n: self.n,
            time_ns: self.now_ns,
            task: Task {
                tgid: pid,
                pid,
                start_ns: actor.start_ns,
                parent_tgid: actor.parent.0,
                parent_start_ns: actor.parent.1,
                uid: actor.uid,
                gid: actor.uid,
                cgroup_id: 1,
                comm: &actor.comm,
            },
            place: Place::default(),
            event,
        };
        self.judge.observe(&record, OFFSET);
        self.alerts.extend(self.judge.take_alerts());
        (self.after)(&mut self.judge);
    }

    pub fn fork(&mut self, parent: u32) -> u32 {
        self.next += 1;
        let pid = self.next;
        let start_ns = self.now_ns + 500_000;
        let actor = Actor {
            start_ns,
            parent: (parent, self.actors[&parent].start_ns),
            ..self.actors[&parent].clone()
        };
        self.event(
            parent,
            Event::Fork(Fork {
                child_tgid: pid,
                child_pid: pid,
                child_start_ns: start_ns,
                thread: false,
            }),
        );
        self.actors.insert(pid, actor);
        pid
    }

    /// Execs with the process' own user.
    pub fn exec(&mut self, pid: u32, mut exec: Exec<'_>) {
        if exec.flags & exec_flags::SECURE == 0 {
            exec.euid = self.actors[&pid].uid;
        }
        self.event(pid, Event::Exec(exec));
    }

    /// Fork and exec; arguments are apart by spaces.
    pub fn run(&mut self, parent: u32, path: &str, line: &str) -> u32 {
        let pid = self.fork(parent);
        self.exec(pid, program(path, &args(line)));
        pid
    }

    /// The user from now on, with a record of the call.
    pub fn become_user(&mut self, pid: u32, uid: u32) {
        self.actors.get_mut(&pid).unwrap().uid = uid;
        self.event(
            pid,
            Event::Creds(Creds {
                syscall: 117,
                ret: 0,
                uids: [uid; 4],
                gids: [uid; 4],
                ..Creds::default()
            }),
        );
    }

    /// The user from now on, without any record: only headers show it.
    pub fn turn_into(&mut self, pid: u32, uid: u32) {
        self.actors.get_mut(&pid).unwrap().uid = uid;
    }

    pub fn write(&mut self, pid: u32, path: &str) {
        self.write_ino(pid, path, 1 << 40 | path.len() as u64, 0o100_644);
    }

    pub fn write_ino(&mut self, pid: u32, path: &str, ino: u64, mode: u32) {
        self.event(
            pid,
            Event::Open(Open {
                path: path.as_bytes(),
                flags: 0o1101,
                mode,
                ino,
                dev: 8,
                created: true,
                cut: false,
            }),
        );
    }

    pub fn rename(&mut self, pid: u32, from: &str, to: &str) {
        self.event(
            pid,
            Event::Rename(Rename {
                from: named(from),
                to: named(to),
                flags: 0,
            }),
        );
    }

    pub fn unlink(&mut self, pid: u32, path: &str) {
        self.event(pid, Event::Unlink(named(path)));
    }

    pub fn chmod(&mut self, pid: u32, path: &str, mode: u32) {
        self.event(
            pid,
            Event::Chmod(Chmod {
                file: named(path),
                mode,
                ino: 0,
                dev: 0,
            }),
        );
    }

    pub fn connect(&mut self, pid: u32, remote: &[u8]) {
        self.event(pid, Event::Connect(tcp(remote)));
    }

    pub fn dup(&mut self, pid: u32, fd: i32, socket: Socket<'_>) {
        self.event(
            pid,
            Event::DupSocket(DupSocket {
                old_fd: 3,
                new_fd: fd,
                socket,
            }),
        );
    }

    pub fn memfd(&mut self, pid: u32, name: &str, ino: u64) {
        self.event(
            pid,
            Event::Memfd(Memfd {
                name: name.as_bytes(),
                flags: 1,
                ino,
                ret: 3,
            }),
        );
    }

    pub fn ptrace(&mut self, pid: u32, request: u64, target: u32) {
        self.event(
            pid,
            Event::Ptrace(Ptrace {
                request,
                target,
                ..Ptrace::default()
            }),
        );
    }

    /// The target of an event, as the kernel would find it.
    pub fn target(&self, pid: u32) -> Target<'static> {
        Target {
            tgid: pid,
            pid,
            start_ns: self.actors[&pid].start_ns,
            uid: self.actors[&pid].uid,
            comm: b"x",
        }
    }

    pub fn vm_write(&mut self, pid: u32, target: u32) {
        let process = self.target(target);
        self.event(
            pid,
            Event::VmWrite(VmAccess {
                write: true,
                target,
                ret: 8,
                process,
            }),
        );
    }

    pub fn signal(&mut self, pid: u32, signal: u32, target: u32) {
        let process = self.target(target);
        self.event(
            pid,
            Event::Kill(Kill {
                signal,
                result: 0,
                process,
            }),
        );
    }

    /// Enters namespaces, `of_init` of them PID 1's; CLONE_NEW* bits.
    pub fn setns(&mut self, pid: u32, namespaces: u64, of_init: u64) {
        self.event(
            pid,
            Event::SetNs(SetNs {
                namespaces,
                of_init,
                ..SetNs::default()
            }),
        );
    }

    pub fn setcap(&mut self, pid: u32, path: &str) {
        self.event(
            pid,
            Event::SetXattr(SetXattr {
                file: named(path),
                name: b"security.capability",
                size: 20,
                ..SetXattr::default()
            }),
        );
    }

    pub fn packet_socket(&mut self, pid: u32) {
        self.event(
            pid,
            Event::RawSocket(RawSocket {
                family: 17,
                kind: 3,
                protocol: 3,
                ret: 3,
            }),
        );
    }

    pub fn module(&mut self, pid: u32, syscall: u16, name: &str) {
        self.event(
            pid,
            Event::Module(Module {
                syscall,
                name: name.as_bytes(),
                ret: 0,
            }),
        );
    }

    pub fn bpf(&mut self, pid: u32) {
        self.event(
            pid,
            Event::Bpf(Bpf {
                command: 5,
                object_type: 1,
                ret: 4,
            }),
        );
    }

    pub fn tampering(&mut self, pid: u32, what: &str, detail: &str) {
        self.event(
            pid,
            Event::Tampering(ravn_shared::event::Tampering {
                what: what.as_bytes(),
                detail: detail.as_bytes(),
            }),
        );
    }

    pub fn mount(&mut self, pid: u32, source: &str, target: &str, fstype: &str) {
        self.event(
            pid,
            Event::Mount(Mount {
                source: source.as_bytes(),
                target: target.as_bytes(),
                fstype: fstype.as_bytes(),
                flags: 0,
                ret: 0,
            }),
        );
    }

    pub fn exit(&mut self, pid: u32) {
        self.event(
            pid,
            Event::Exit(Exit {
                status: 0,
                thread_start_ns: self.actors[&pid].start_ns,
                process: true,
            }),
        );
    }

    pub fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now_ns += SECOND;
            self.judge.tick(self.now_ns);
            self.alerts.extend(self.judge.take_alerts());
        }
        (self.after)(&mut self.judge);
    }

    pub fn level(&self) -> Level {
        self.judge.level()
    }

    /// Rules of the alerts that were opened.
    pub fn fired(&self) -> Vec<String> {
        let created = self.alerts.iter().filter(|alert| alert.op == "create");
        created.map(|alert| alert.rule.clone()).collect()
    }

    /// Rules that are evidence anywhere, alerted or not.
    pub fn evidence(&self) -> Vec<String> {
        let open = self.judge.incidents();
        open.into_iter()
            .flat_map(|it| it.rules)
            .map(|(rule, _, _)| rule)
            .collect()
    }

    /// sshd and a shell of a user who logged in at a terminal.
    pub fn login(&mut self, uid: u32) -> u32 {
        let sshd = self.run(1, "/usr/sbin/sshd", "sshd: user [priv]");
        let shell = self.fork(sshd);
        self.become_user(shell, uid);
        self.exec(shell, at_terminal("/usr/bin/bash", "-bash\0", uid));
        shell
    }

    /// A daemon of its own unit.
    pub fn daemon(&mut self, path: &str, uid: u32) -> u32 {
        let pid = self.run(1, path, path);
        if uid != 0 {
            self.become_user(pid, uid);
        }
        pid
    }
}

/// A program at a terminal in a login.
pub fn at_terminal<'a>(path: &'a str, argv: &'a str, uid: u32) -> Exec<'a> {
    Exec {
        loginuid: uid,
        tty: 34816,
        stdio: [2, 2, 2],
        ..program(path, argv)
    }
}

pub fn args(line: &str) -> String {
    let mut argv = line.replace(' ', "\0");
    argv.push('\0');
    argv
}
