//! A private Redis, and analyzers on it. Everything ends with its value.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use redis::{Commands, Connection};

use super::batches::HOST;

/// Far longer than anything takes; a machine under load must not fail a test.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Polls until `done` gives a value; panics with `what` at the deadline.
pub fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A folder with a Redis in it.
pub struct Bench {
    pub dir: PathBuf,
    redis: Option<Child>,
}

impl Bench {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "ravn-handover-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        let mut bench = Self { dir, redis: None };
        bench.start_redis(&[]);
        bench
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("redis.sock")
    }

    pub fn start_redis(&mut self, more: &[&str]) {
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .arg("--unixsocket")
            .arg(self.socket())
            .args(more)
            .current_dir(&self.dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.redis = Some(child);
        wait_for("redis", || self.try_connect());
    }

    pub fn kill_redis(&mut self) {
        if let Some(mut child) = self.redis.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn try_connect(&self) -> Option<Connection> {
        let client = redis::Client::open(format!("unix://{}", self.socket().display())).unwrap();
        let mut connection = client.get_connection().ok()?;
        redis::cmd("PING").exec(&mut connection).ok()?;
        Some(connection)
    }

    pub fn connect(&self) -> Connection {
        wait_for("a connection", || self.try_connect())
    }

    /// Where an analyzer's service messages arrive.
    pub fn notify_socket(&self) -> UnixDatagram {
        let socket = UnixDatagram::bind(self.dir.join("notify.sock")).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        socket
    }

    /// Starts an analyzer under `name`.
    pub fn analyzer(&self, name: &str) -> Analyzer {
        let config = self.dir.join(format!("{name}.toml"));
        let text = format!(
            "host = \"{HOST}\"\nname = \"{name}\"\nmodel = \"none\"\nalerts_file = \"{}\"\n\
             [redis]\nurl = \"unix://{}\"\n",
            self.dir.join("alerts.jsonl").display(),
            self.socket().display()
        );
        fs::write(&config, text).unwrap();
        let log = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.dir.join(format!("{name}.log")))
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ravn-analyzer"));
        let notify = self.dir.join("notify.sock");
        if notify.exists() {
            command.env("NOTIFY_SOCKET", notify);
        }
        let child = command
            .arg("--config")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Analyzer { child }
    }

    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(format!("{name}.log"))).unwrap_or_default()
    }

    /// The ledger of `ravn:state`, if anybody judges.
    pub fn ledger(&self, connection: &mut Connection) -> Option<serde_json::Value> {
        let text: Option<String> = connection.hget("ravn:state", "ledger").unwrap();
        text.map(|text| serde_json::from_str(&text).unwrap())
    }

    /// Waits until the ledger says that so many records and syscalls were judged.
    pub fn wait_judged(&self, connection: &mut Connection, taken: [u64; 2]) {
        let mut last = None;
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            last = self.ledger(connection);
            let judged = |side: &str| last.as_ref().and_then(|l| l[side]["judged"].as_u64());
            if (judged("records"), judged("syscalls")) == (Some(taken[0]), Some(taken[1])) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("waited for {taken:?} judged; the ledger says {last:?}");
    }

    /// Batches in all in-flight lists.
    pub fn in_flight(&self, connection: &mut Connection) -> usize {
        let lists: Vec<String> = connection.keys("events:inflight:*").unwrap();
        lists
            .iter()
            .map(|list| connection.llen::<_, usize>(list).unwrap())
            .sum()
    }

    /// Every entry of `ravn:alerts` by its own uid.
    pub fn alerts(&self, connection: &mut Connection) -> Vec<String> {
        let entries: redis::streams::StreamRangeReply =
            connection.xrange_all("ravn:alerts").unwrap();
        let uid = |entry: &redis::streams::StreamId| {
            let body: String = entry.get("body").unwrap();
            let finding: serde_json::Value = serde_json::from_str(&body).unwrap();
            finding["metadata"]["uid"].as_str().unwrap().to_owned()
        };
        entries.ids.iter().map(uid).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.kill_redis();
        if std::thread::panicking() {
            eprintln!("left for a look: {}", self.dir.display());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// A running analyzer.
pub struct Analyzer {
    child: Child,
}

impl Analyzer {
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: kill takes no memory; the child is not reaped, so the pid is its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end; its exit code.
    pub fn end(&mut self) -> Option<i32> {
        wait_for("the analyzer's end", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Analyzer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
