//! A Redis of one test: private socket, the shipped ACL file, nothing on disk.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::wait_until;

/// The ACL file as it is installed, with a place for each user's password digest.
const ACL: &str = include_str!("../../../systemd/redis/users.acl");

/// The same where hosts share a Redis: once, and once for each host.
const SHARED_ACL: &str = include_str!("../../../systemd/redis/shared.acl");
const HOST_ACL: &str = include_str!("../../../systemd/redis/host.acl");

/// The users of the ACL file.
pub const USERS: [&str; 4] = ["collector", "analyzer", "reader", "operator"];

/// A running redis-server; dropped, it is killed.
#[derive(Debug)]
pub struct RedisServer {
    folder: PathBuf,
    child: Option<Child>,
    options: Vec<String>,
}

impl RedisServer {
    /// Writes passwords and ACL into `folder`, and starts a server there.
    ///
    /// # Errors
    /// When redis-server is missing or does not answer.
    pub fn start(folder: &Path) -> Result<Self> {
        let mut server = Self::prepare(folder)?;
        server.run()?;
        Ok(server)
    }

    /// The same without starting it: for tests in which Redis is away at first.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn prepare(folder: &Path) -> Result<Self> {
        let server = Self {
            folder: folder.to_path_buf(),
            child: None,
            options: Vec::new(),
        };
        let acl = server.with_passwords(ACL, &USERS.map(|user| (user, user.to_owned())))?;
        server.write_acl(&acl)?;
        Ok(server)
    }

    /// Lets these hosts share it from its next start: users of each, `collector-<host>` and
    /// `analyzer-<host>`, beside reader and operator.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn share(&self, hosts: &[&str]) -> Result<()> {
        let common = ["reader", "operator"].map(|user| (user, user.to_owned()));
        let mut acl = self.with_passwords(SHARED_ACL, &common)?;
        for host in hosts {
            let text = HOST_ACL.replace("@host@", host);
            let own = ["collector", "analyzer"].map(|user| (user, format!("{user}-{host}")));
            acl.push_str(&self.with_passwords(&text, &own)?);
        }
        self.write_acl(&acl)
    }

    /// The ACL text with a digest in each place; `users` are places and their password files.
    fn with_passwords(&self, text: &str, users: &[(&str, String)]) -> Result<String> {
        let mut acl = text.to_owned();
        for (place, user) in users {
            let password = random_password()?;
            acl = acl.replace(&format!("@{place}@"), &digest(&password));
            let file = password_file(&self.folder, user);
            fs::write(&file, format!("{password}\n"))?;
            // The tests' daemons run as different users; the folder is the test's own.
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
        }
        Ok(acl)
    }

    fn write_acl(&self, users: &str) -> Result<()> {
        let admin = format!("user admin on #{} ~* &* +@all\n", digest(ADMIN));
        Ok(fs::write(self.folder.join("users.acl"), admin + users)?)
    }

    /// Options as on redis-server's command line, for the next start.
    pub fn set_options(&mut self, options: &[&str]) {
        self.options = options.iter().map(ToString::to_string).collect();
    }

    /// Starts it (again); waits until it answers.
    ///
    /// # Errors
    /// When redis-server is missing or does not answer.
    pub fn run(&mut self) -> Result<()> {
        let log = fs::File::options()
            .append(true)
            .create(true)
            .open(self.folder.join("redis.log"))?;
        let program = program();
        let mut command = Command::new(&program);
        command
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .args(["--maxmemory", "512mb", "--maxmemory-policy", "noeviction"])
            .args(["--unixsocketperm", "777"])
            .arg("--unixsocket")
            .arg(self.socket())
            .arg("--aclfile")
            .arg(self.folder.join("users.acl"))
            .arg("--dir")
            .arg(&self.folder)
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.child = Some(
            command
                .spawn()
                .with_context(|| format!("start {}; is it installed?", program.display()))?,
        );
        wait_until(Duration::from_secs(10), "redis-server to answer", || {
            if let Some(status) = self
                .child
                .as_mut()
                .map(Child::try_wait)
                .transpose()?
                .flatten()
            {
                bail!("redis-server ended ({status}):\n{}", self.log());
            }
            Ok(self.admin().ok().map(drop))
        })
    }

    /// Sends a signal to it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let child = self.child.as_ref().context("redis-server does not run")?;
        let pid = libc::pid_t::try_from(child.id())?;
        // SAFETY: the child was not waited for, so the id is still its own.
        match unsafe { libc::kill(pid, signal) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()).context("signal redis-server"),
        }
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<u32> {
        let child = self.child.as_ref().context("redis-server does not run")?;
        Ok(child.id())
    }

    /// Kills it as `kill -9` does; what its options do not keep on disk is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_file(self.socket());
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("redis.sock")
    }

    /// Where its passwords are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("redis.log")).unwrap_or_default()
    }

    /// The URL of `user` (`reader`, `operator`…) with its password.
    ///
    /// # Errors
    /// When the password file is gone.
    pub fn url(&self, user: &str) -> Result<String> {
        let socket = self.socket();
        let password = fs::read_to_string(password_file(&self.folder, user))?;
        Ok(format!(
            "unix://{}?user=ravn-{user}&pass={}",
            socket.display(),
            password.trim()
        ))
    }

    /// A connection that may do everything: the test's own.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn admin(&self) -> Result<redis::Connection> {
        let url = format!("unix://{}?user=admin&pass={ADMIN}", self.socket().display());
        let mut connection = redis::Client::open(url)?.get_connection()?;
        redis::cmd("PING").query::<String>(&mut connection)?;
        Ok(connection)
    }

    /// The password of the tests' own user, `admin`.
    pub const fn admin_password(&self) -> &'static str {
        ADMIN
    }

    /// A connection with the rights of `user`.
    ///
    /// # Errors
    /// When the server does not answer or refuses the user.
    pub fn connect(&self, user: &str) -> Result<redis::Connection> {
        Ok(redis::Client::open(self.url(user)?)?.get_connection()?)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- redis-server\n{}", self.log());
        }
    }
}

/// The server under test: redis-server, or what RAVN_TEST_REDIS_SERVER names (a valkey-server).
pub fn program() -> PathBuf {
    std::env::var_os("RAVN_TEST_REDIS_SERVER").map_or_else(|| "redis-server".into(), PathBuf::from)
}

/// Why the server under test cannot speak TLS, if it cannot.
pub fn without_tls() -> Option<String> {
    let program = program();
    // Without its certificate none starts: one with TLS misses that, another the whole of TLS.
    let tried = Command::new(&program)
        .args(["--port", "0", "--tls-port", "1", "--save", ""])
        .args(["--tls-cert-file", "/nonexistent"])
        .output();
    let said = match tried {
        Ok(output) => {
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
        }
        Err(error) => return Some(format!("{}: {error}", program.display())),
    };
    ["Failed finding TLS", "Bad directive"]
        .iter()
        .any(|words| said.contains(words))
        .then(|| format!("{} was built without TLS", program.display()))
}

/// Password of the tests' own user; the server is reachable through its folder alone.
const ADMIN: &str = "admin-of-the-sandbox";

/// The file with the password of `user`.
pub fn password_file(folder: &Path, user: &str) -> PathBuf {
    folder.join(format!("{user}.password"))
}

fn random_password() -> Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex(&bytes))
}

fn digest(password: &str) -> String {
    hex(&Sha256::digest(password.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
