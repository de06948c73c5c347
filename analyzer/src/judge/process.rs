//! One process, as the judge knows it.

use std::collections::VecDeque;

use ravn_shared::event::{Exec, Record, Task, exec_flags};
use ravn_shared::kind::Kind;
use ravn_shared::text::{command_line, escape};
use serde::{Deserialize, Serialize};

use super::image::{self, Server};
use super::summary;
use crate::verdict::ProcessId;

/// CAP_SETUID: its holder becomes anybody without a setuid program.
pub const CAP_SETUID: u64 = 1 << 7;

/// A process from its fork (or the first that was seen of it) until it is forgotten.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Process {
    /// Who it is.
    pub id: ProcessId,
    /// Who created it; all zero when unknown. Stays when the kernel gives it another parent.
    pub parent: ProcessId,
    /// The process that its incident begins at.
    pub entry: ProcessId,
    /// Image; empty for a process that is older than the sensor.
    #[serde(with = "serde_bytes")]
    pub exe: Vec<u8>,
    /// Its own name for itself.
    #[serde(with = "serde_bytes")]
    pub comm: Vec<u8>,
    /// Arguments, NUL-ended, cut.
    #[serde(with = "serde_bytes")]
    pub argv: Vec<u8>,
    /// Working directory at exec.
    #[serde(with = "serde_bytes")]
    pub cwd: Vec<u8>,
    /// The script that an interpreter was started for; empty for a plain program.
    #[serde(with = "serde_bytes")]
    pub script: Vec<u8>,
    /// Device and inode of the image.
    pub image: (u32, u64),
    /// Bits of [`exec_flags`].
    pub flags: u32,
    /// Real user.
    pub uid: u32,
    /// Real group.
    pub gid: u32,
    /// Effective user as of the last exec or change.
    pub euid: u32,
    /// Audit's login user, `u32::MAX` if unset or unknown.
    pub loginuid: u32,
    /// Session id.
    pub session: u32,
    /// Controlling terminal, 0 if none.
    pub tty: u32,
    /// Cgroup of its last record.
    pub cgroup_id: u64,
    /// Standard descriptors that are connected inet sockets, bits 0 to 2.
    pub sockets: u8,
    /// Package manager above it that makes its changes trusted, as long as that one lives.
    pub trust: Option<ProcessId>,
    /// Server above it (or itself), and whose image.
    pub server: Option<(Server, String)>,
    /// A container runtime of a package, or the copy of itself in memory that it became.
    pub runtime: bool,
    /// The first program of its process: what is on its descriptors its creator put there.
    pub handed: bool,
    /// Below a container runtime.
    pub container: bool,
    /// Connected to another machine since its exec.
    pub network: bool,
    /// Its credentials are known from an exec or a call that set them.
    pub creds_known: bool,
    /// When it began to be what it is: its fork or its last exec.
    pub since_ns: u64,
    /// Holds or held uid 0 or CAP_SETUID in this image: becoming root is no news.
    pub may_root: bool,
    /// Children in the table.
    pub children: u32,
    /// Execs seen.
    pub execs: u32,
    /// Something spoke against it.
    pub suspect: bool,
    /// The model's last score.
    pub model_score: f64,
    /// What it did last, oldest first.
    pub happened: VecDeque<Happening>,
    /// Its fork or an exec was seen, not only headers of other records.
    pub born: bool,
    /// When its last record arrived.
    pub last_ns: u64,
    /// When its end was told.
    pub exited_ns: Option<u64>,
    /// What surprised the model most, in words; empty if nothing did.
    #[serde(default)]
    pub oddity: String,
    /// It is the running collector, as that said itself.
    #[serde(default)]
    pub collector: bool,
    /// Changed since the last checkpoint.
    #[serde(skip)]
    pub dirty: bool,
    /// A checkpoint holds it.
    #[serde(skip)]
    pub stored: bool,
}

/// Something that a process did, for an alert to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// When, CLOCK_BOOTTIME nanoseconds.
    pub time_ns: u64,
    /// Kind's wire value.
    pub kind: u16,
    /// What, cut, as bytes of the host's user.
    #[serde(with = "serde_bytes")]
    pub text: Vec<u8>,
}

impl Process {
    /// A process of which only a record's header is known.
    pub fn of_task(task: &Task<'_>) -> Self {
        let id = ProcessId {
            tgid: task.tgid,
            start_ns: task.start_ns,
        };
        Self {
            id,
            parent: ProcessId {
                tgid: task.parent_tgid,
                start_ns: task.parent_start_ns,
            },
            entry: id,
            comm: task.comm.to_vec(),
            uid: task.uid,
            gid: task.gid,
            euid: task.uid,
            loginuid: u32::MAX,
            cgroup_id: task.cgroup_id,
            since_ns: task.start_ns,
            ..Self::default()
        }
    }

    /// Takes over what a fork copies, and what lineage passes on.
    pub fn inherit(&mut self, parent: &Self) {
        self.entry = if image::boundary(parent.id.tgid, &parent.exe, &parent.comm, parent.uid) {
            self.id
        } else {
            parent.entry
        };
        self.exe.clone_from(&parent.exe);
        self.argv.clone_from(&parent.argv);
        self.cwd.clone_from(&parent.cwd);
        self.script.clone_from(&parent.script);
        self.image = parent.image;
        self.flags = parent.flags;
        self.euid = parent.euid;
        self.loginuid = parent.loginuid;
        self.session = parent.session;
        self.tty = parent.tty;
        self.sockets = parent.sockets;
        self.trust = parent.trust;
        self.server.clone_from(&parent.server);
        self.container = parent.container || image::container(&parent.exe);
        self.runtime = parent.runtime;
        self.network = parent.network;
        self.creds_known = parent.creds_known;
        self.may_root = parent.may_root;
    }

    /// Becomes the program that an exec started. True if that made it root by no known way.
    pub fn exec(&mut self, exec: &Exec<'_>, argv_most: usize, time_ns: u64) -> bool {
        self.since_ns = time_ns;
        let secure = exec.flags & exec_flags::SECURE != 0;
        let root = self.uid == 0 || exec.euid == 0;
        let gained =
            root && self.creds_known && !self.may_root && !(secure && image::installed(exec.path));
        self.runtime =
            image::runtime(exec.path) || exec.flags & exec_flags::MEMFD != 0 && self.runtime;
        self.handed = self.execs == 0 || self.exe == b"/usr/lib/systemd/systemd-executor";
        self.network = false;
        self.collector = false;
        self.execs += 1;
        self.become_program(exec, argv_most);
        gained
    }

    /// Is a program already, since before the sensor. What it did since is not known.
    pub fn found(&mut self, exec: &Exec<'_>, argv_most: usize) {
        self.runtime = image::runtime(exec.path);
        self.collector = exec.flags & exec_flags::COLLECTOR != 0;
        self.become_program(exec, argv_most);
    }

    fn become_program(&mut self, exec: &Exec<'_>, argv_most: usize) {
        self.exe = exec.path.to_vec();
        self.argv = exec.argv[..exec.argv.len().min(argv_most)].to_vec();
        self.cwd = exec.cwd.to_vec();
        self.script.clear();
        let itself = image::shell(exec.filename, exec.argv) || image::interpreter(exec.filename);
        if self.interprets() && !itself && exec.filename.starts_with(b"/") {
            self.script = exec.filename.to_vec();
        }
        self.image = (exec.dev, exec.ino);
        self.flags = exec.flags;
        self.euid = exec.euid;
        self.loginuid = exec.loginuid;
        self.session = exec.session;
        self.tty = exec.tty;
        self.sockets = inet_bits(exec.stdio);
        self.creds_known = true;
        self.may_root = self.uid == 0
            || exec.euid == 0
            || exec.user_ns_level == 0 && exec.cap_effective & CAP_SETUID != 0;
        self.born = true;
        if let Some(server) = image::server(exec.path).filter(|_| image::packaged(exec.path)) {
            self.server = Some((server, escape(exec.path)));
        }
        if image::changer(&self.exe, &self.script, self.euid) {
            self.trust = Some(self.id);
        }
    }

    /// Remembers what it did; the oldest goes.
    pub fn remember(&mut self, kind: Kind, record: &Record<'_>, most: usize) {
        let mut text = Vec::new();
        while self.happened.len() >= most {
            text = self.happened.pop_front().map_or(text, |oldest| oldest.text);
        }
        text.clear();
        summary::short(&record.event, &mut text);
        self.happened.push_back(Happening {
            time_ns: record.time_ns,
            kind: kind as u16,
            text,
        });
    }

    /// A shell or an interpreter of another language.
    pub fn interprets(&self) -> bool {
        image::shell(&self.exe, &self.argv) || image::interpreter(&self.exe)
    }

    /// Its program, safe to show: the image, or comm in brackets where that is unknown.
    pub fn program(&self) -> String {
        if self.exe.is_empty() {
            format!("({})", escape(&self.comm))
        } else {
            escape(&self.exe)
        }
    }

    /// Its command line, safe to show.
    pub fn command_line(&self) -> String {
        if self.argv.is_empty() {
            return String::new();
        }
        command_line(&self.argv)
    }
}

/// Which of the standard descriptors are connected inet sockets.
pub fn inet_bits(kinds: [u8; 3]) -> u8 {
    (0..3)
        .filter(|fd| kinds[*fd] == ravn_shared::event::stdio::INET)
        .fold(0, |bits, fd| bits | 1 << fd)
}
