//! The world of one test, and the daemons in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ravn_shared::keys::Keys;
use serde_json::Value;

use super::cgroup::Cgroup;
use super::daemon::Daemon;
use super::events::{self, Seen};
use super::pins::Pins;
use super::programs::{for_everyone, program};
use super::redis_server::{RedisServer, password_file};
use super::wait_until;

pub use super::truth::{Truth, truth};

/// How long a daemon may take to become ready, and an event to arrive: generous, because the
/// machine may be busy; what must be fast is measured by its own test.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The world of one test. Fields drop in order: daemons first, then pins, Redis, cgroup, folder.
#[derive(Debug)]
pub struct Sandbox {
    /// The collector, once started.
    pub collector: Option<Daemon>,
    /// The analyzer, once started.
    pub analyzer: Option<Daemon>,
    /// What the collector pins.
    pub pins: Pins,
    /// Redis.
    pub redis: RedisServer,
    /// Variables of the daemons' environment, for the next start.
    pub environment: Vec<(String, String)>,
    door: String,
    /// The host that the daemons are of, and where the passwords of its users are; where hosts
    /// share a Redis.
    host: Option<(String, PathBuf)>,
    cgroup: Option<Cgroup>,
    folder: Folder,
}

fn unix(socket: &Path) -> String {
    format!("unix://{}", socket.display())
}

#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Sandbox {
    /// A folder with a running Redis, and a cgroup.
    ///
    /// # Errors
    /// When one of them cannot be made.
    pub fn new() -> Result<Self> {
        let mut sandbox = Self::without_redis()?;
        sandbox.redis.run()?;
        Ok(sandbox)
    }

    /// The same with Redis prepared, but not yet started; without a cgroup where none can be
    /// made (not root, no unified hierarchy).
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn without_redis() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ravn-test-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir(&folder).with_context(|| format!("make {}", folder.display()))?;
        // The analyzer runs as another user.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711))?;
        let folder = Folder(folder);
        let redis = RedisServer::prepare(&folder.0)?;
        let sandbox = Self {
            collector: None,
            analyzer: None,
            pins: Pins::of(&name, folder.0.join("collector.toml")),
            environment: Vec::new(),
            door: unix(&redis.socket()),
            host: None,
            redis,
            cgroup: Cgroup::new(&name).ok(),
            folder,
        };
        sandbox.write_collector_toml("")?;
        sandbox.write_analyzer_toml("")?;
        Ok(sandbox)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// Its cgroup.
    ///
    /// # Errors
    /// When none could be made.
    pub fn cgroup(&self) -> Result<&Cgroup> {
        self.cgroup
            .as_ref()
            .context("no cgroup here: not root, or no cgroup2 mount")
    }

    /// The names in Redis.
    pub fn keys(&self) -> Keys {
        Keys::new("", self.host.as_ref().map(|(host, _)| host.as_str()))
    }

    /// Lets the daemons reach Redis through another socket, a proxy's: writes both their files
    /// anew.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn set_door(&mut self, socket: PathBuf) -> Result<()> {
        self.set_url(unix(&socket))
    }

    /// Makes the daemons those of `host`, one of several at `redis`.
    ///
    /// # Errors
    /// When their files cannot be written.
    pub fn set_host(&mut self, host: &str, redis: &RedisServer) -> Result<()> {
        self.host = Some((host.to_owned(), redis.folder().to_path_buf()));
        self.write_collector_toml("")?;
        self.write_analyzer_toml("")?;
        Ok(())
    }

    /// Lets the daemons reach Redis by any URL. One of `rediss://` goes with the files of [`super::authority`] in
    /// the folder: `ca.pem`, and `<daemon>.pem` with `<daemon>.key`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn set_url(&mut self, url: String) -> Result<()> {
        self.door = url;
        self.write_collector_toml("")?;
        self.write_analyzer_toml("")?;
        Ok(())
    }

    /// Writes collector.toml anew: this sandbox's Redis, cgroup and instance, then `more` (whole
    /// tables).
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_collector_toml(&self, more: &str) -> Result<PathBuf> {
        let narrowed = self.cgroup.as_ref().map(|cgroup| {
            let path = cgroup.path().display();
            format!("[filter]\nonly_cgroups = [\"{path}\"]\n")
        });
        let own = format!("{}{}", narrowed.unwrap_or_default(), self.pins.table());
        self.write_toml("collector", &own, more)
    }

    /// The same without narrowing it: for benches, which measure the whole host's sensor.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_collector_toml_for_host(&self, more: &str) -> Result<PathBuf> {
        self.write_toml("collector", &self.pins.table(), more)
    }

    /// Writes `filter`, keys of that table, beside collector.toml: they are added to its own.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add_to_filter(&self, filter: &str) -> Result<()> {
        let folder = self.folder().join("collector.toml.d");
        fs::create_dir_all(&folder)?;
        Ok(fs::write(
            folder.join("filter.toml"),
            format!("[filter]\n{filter}"),
        )?)
    }

    /// Writes analyzer.toml anew: `top` (keys before any table), then this sandbox's Redis.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_analyzer_toml(&self, top: &str) -> Result<PathBuf> {
        let alerts = if top.contains("alerts_file") {
            ""
        } else {
            "alerts_file = \"\"\n"
        };
        let path = self.folder().join("analyzer.toml");
        let text = format!("{top}\n{alerts}{}", self.redis_table("analyzer"));
        fs::write(&path, text)?;
        Ok(path)
    }

    fn write_toml(&self, daemon: &str, own: &str, more: &str) -> Result<PathBuf> {
        let path = self.folder().join(format!("{daemon}.toml"));
        fs::write(&path, format!("{}{own}{more}", self.redis_table(daemon)))?;
        Ok(path)
    }

    fn redis_table(&self, user: &str) -> String {
        let folder = self.folder().display();
        let (name, own, shared, passwords) = match &self.host {
            Some((host, passwords)) => (
                format!("{user}-{host}"),
                format!("host = \"{host}\"\n"),
                "shared = true\n",
                passwords.as_path(),
            ),
            None => (user.to_owned(), String::new(), "", self.folder()),
        };
        let mut table = format!(
            "{own}[redis]\nurl = \"{}\"\nusername = \"ravn-{name}\"\npassword_file = \"{}\"\n{shared}",
            self.door,
            password_file(passwords, &name).display(),
        );
        if self.door.starts_with("rediss:") {
            table.push_str(&format!("tls_ca = \"{folder}/ca.pem\"\n"));
            if self.folder().join(format!("{user}.pem")).exists() {
                let pair = format!(
                    "tls_cert = \"{folder}/{user}.pem\"\ntls_key = \"{folder}/{user}.key\"\n"
                );
                table.push_str(&pair);
            }
        }
        table
    }

    /// Starts the collector without waiting for it.
    ///
    /// # Errors
    /// When it was not built.
    pub fn spawn_collector(&mut self) -> Result<&mut Daemon> {
        let config = self.config("collector");
        let program = program("ravn-collector")?;
        let args = ["run", "--config", &config];
        let daemon = Daemon::start_with(&program, &args, self.folder(), false, &self.environment)?;
        Ok(self.collector.insert(daemon))
    }

    /// Starts the analyzer, as nobody, without waiting for it.
    ///
    /// # Errors
    /// When it was not built.
    pub fn spawn_analyzer(&mut self) -> Result<&mut Daemon> {
        let daemon = self.analyzer_of(&self.config("analyzer"), self.folder())?;
        Ok(self.analyzer.insert(daemon))
    }

    /// Starts another analyzer, `name`, on the same list, without waiting for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn_stand_by(&self, name: &str) -> Result<Daemon> {
        let folder = self.folder().join(name);
        fs::create_dir(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711))?;
        let config = folder.join("analyzer.toml");
        let redis = self.redis_table("analyzer");
        fs::write(
            &config,
            format!("name = \"{name}\"\nalerts_file = \"\"\n{redis}"),
        )?;
        self.analyzer_of(&config.to_string_lossy(), &folder)
    }

    fn analyzer_of(&self, config: &str, folder: &Path) -> Result<Daemon> {
        let program = for_everyone(&program("ravn-analyzer")?, self.folder())?;
        let args = ["run", "--config", config];
        Daemon::start_with(&program, &args, folder, true, &self.environment)
    }

    /// Starts the collector and waits until it is ready.
    ///
    /// # Errors
    /// When it is not ready in time; with its log.
    pub fn start_collector(&mut self) -> Result<&mut Daemon> {
        let daemon = self.spawn_collector()?;
        daemon.wait_ready(PATIENCE)?;
        Ok(daemon)
    }

    /// Starts the analyzer and waits until it is ready.
    ///
    /// # Errors
    /// When it is not ready in time; with its log.
    pub fn start_analyzer(&mut self) -> Result<&mut Daemon> {
        let daemon = self.spawn_analyzer()?;
        daemon.wait_ready(PATIENCE)?;
        Ok(daemon)
    }

    fn config(&self, daemon: &str) -> String {
        let path = self.folder().join(format!("{daemon}.toml"));
        path.to_string_lossy().into_owned()
    }

    /// A command that will run inside the cgroup.
    ///
    /// # Errors
    /// Without a cgroup.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        self.cgroup()?.hold(&mut command)?;
        Ok(command)
    }

    /// Makes a FIFO in the folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn fifo(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder().join(format!("fifo-{name}"));
        crate::acts::file::mknod(&path.to_string_lossy())?;
        Ok(path)
    }

    /// Runs the trigger program inside the cgroup; gives what it says that it did.
    ///
    /// # Errors
    /// When it fails, with its words.
    pub fn trigger(&self, args: &[&str]) -> Result<Truth> {
        let program = program("trigger")?;
        let output = self.command(program)?.args(args).output()?;
        truth(args, &output)
    }

    /// Runs `ravn` with the operator's and the reader's rights.
    ///
    /// # Errors
    /// When it was not built.
    pub fn ravn(&self, args: &[&str]) -> Result<Output> {
        let output = Command::new(program("ravn")?)
            .args(args)
            .env("RAVN_REDIS_URL", self.redis.url("reader")?)
            .env("RAVN_OPERATOR_URL", self.redis.url("operator")?)
            .stdin(Stdio::null())
            .output()?;
        Ok(output)
    }

    /// What `ravn status --json` says.
    ///
    /// # Errors
    /// When it fails or prints no JSON.
    pub fn status(&self) -> Result<Value> {
        let output = self.ravn(&["status", "--json"])?;
        if !output.status.success() {
            bail!("ravn status: {}", String::from_utf8_lossy(&output.stderr));
        }
        serde_json::from_slice(&output.stdout).context("ravn status --json")
    }

    /// The word, None while nobody judges.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub fn level(&self) -> Result<Option<String>> {
        let mut connection = self.redis.connect("reader")?;
        Ok(redis::cmd("GET")
            .arg(self.keys().threat_level())
            .query(&mut connection)?)
    }

    /// All records that wait in `events:raw`, oldest first. Only without an analyzer.
    ///
    /// # Errors
    /// When Redis does not answer, or a batch cannot be decoded.
    pub fn records(&self) -> Result<Vec<Seen>> {
        events::read(&mut self.redis.admin()?, &self.keys().raw())
    }

    /// All records of one process, after everything that it did has arrived: a later process
    /// makes a record in each ring, and a ring keeps its order.
    ///
    /// # Errors
    /// When the later records do not arrive.
    pub fn records_of(&self, tgid: u32) -> Result<Vec<Seen>> {
        let fence = self.trigger(&["fence"])?;
        let own = |records: &[Seen], tgid: u32, kind: &str| {
            records
                .iter()
                .any(|seen| seen.tgid == tgid && seen.kind == kind)
        };
        let records = wait_until(PATIENCE, "a record in each ring", || {
            let records = self.records()?;
            let all = ["exit", "unlink", "bind", "memfd"]
                .iter()
                .all(|kind| own(&records, fence.tgid, kind));
            Ok(all.then_some(records))
        })?;
        Ok(records
            .into_iter()
            .filter(|seen| seen.tgid == tgid)
            .collect())
    }
}
