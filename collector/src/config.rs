//! `/etc/ravn/collector.toml`, checked once, before anything is touched.

use std::path::PathBuf;

use ravn_shared::config::{ConfigError, RedisConfig};
use ravn_shared::redact::{self, BadPattern, Redactor};
use serde::Deserialize;

use crate::coverage::Scope;
use crate::filter::{MOST_NAME, kind};

/// Everything that the collector can be told. Unknown keys are errors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of this host; empty for the kernel's.
    pub host: String,
    /// `error`, `warn`, `info`, `debug`, `trace`.
    pub log: String,
    /// Where Redis is.
    pub redis: RedisConfig,
    /// Sizes of the ring buffers.
    pub rings: Rings,
    /// What waits here while Redis is away.
    pub buffer: Buffer,
    /// What waits in Redis.
    pub list: List,
    /// What the sensor looks at.
    pub filter: Filter,
    /// What outlives the collector.
    pub pins: PinsConfig,
    /// Secrets in command lines.
    pub redact: Redact,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: String::new(),
            log: "info".to_owned(),
            redis: RedisConfig::default(),
            rings: Rings::default(),
            buffer: Buffer { bytes: 128 << 20 },
            list: List { bytes: 64 << 20 },
            filter: Filter::default(),
            pins: PinsConfig::default(),
            redact: Redact::default(),
        }
    }
}

/// Ring buffers, bytes: powers of two from 64 KiB to 1 GiB.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rings {
    /// Process life and sequences.
    pub syscall: u32,
    /// Files.
    pub file: u32,
    /// Network.
    pub network: u32,
    /// Security.
    pub security: u32,
}

impl Default for Rings {
    fn default() -> Self {
        Self {
            syscall: 16 << 20,
            file: 4 << 20,
            network: 4 << 20,
            security: 4 << 20,
        }
    }
}

/// Encoded batches that wait for Redis.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buffer {
    /// Most bytes.
    pub bytes: usize,
}

/// The list in Redis.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Bytes at which the collector stops filling it.
    pub bytes: usize,
}

/// What the sensor looks at.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Folders of the unified cgroup hierarchy. Given any, nothing outside of them is seen.
    pub only_cgroups: Vec<PathBuf>,
    /// Kinds of files and network, or `sequence`, that are not wanted at all.
    pub kinds_off: Vec<String>,
    /// Programs whose sequences, files and network are not wanted.
    pub exclude_programs: Vec<PathBuf>,
    /// The same of all that is in these folders of the unified cgroup hierarchy.
    pub exclude_cgroups: Vec<PathBuf>,
    /// Files of which being read is reported. One that is replaced is looked up anew.
    pub read_files: Vec<PathBuf>,
    /// The same of files of these names, wherever they are.
    pub read_names: Vec<String>,
    /// Records of files and network that one process may make in about a second; 0 for any
    /// number. What is cut is counted by process and kind.
    pub budget: u32,
}

impl Default for Filter {
    fn default() -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            only_cgroups: Vec::new(),
            kinds_off: Vec::new(),
            exclude_programs: Vec::new(),
            exclude_cgroups: Vec::new(),
            read_files: ["/etc/shadow", "/etc/gshadow"].map(PathBuf::from).into(),
            read_names: owned(&["id_rsa", "id_ecdsa", "id_ed25519", ".git-credentials"]),
            budget: 20_000,
        }
    }
}

/// Programs and rings that outlive the collector, in a file system of type bpf.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PinsConfig {
    /// Holds a folder for each instance; empty: nothing is pinned, and a restart misses what
    /// happens meanwhile.
    pub folder: PathBuf,
    /// Tells apart the collectors of one host: 1 to 64 characters of `A-Z a-z 0-9 _ -`.
    pub instance: String,
    /// SIGTERM leaves the hooks attached and the rings filling, as a crash does;
    /// `ravn-collector unload` takes them away. False: SIGTERM takes them away.
    pub keep: bool,
}

impl Default for PinsConfig {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("/sys/fs/bpf/ravn"),
            instance: "default".to_owned(),
            keep: true,
        }
    }
}

impl PinsConfig {
    /// Where this instance pins, if it does.
    pub fn place(&self) -> Option<PathBuf> {
        (!self.folder.as_os_str().is_empty()).then(|| self.folder.join(&self.instance))
    }

    /// Checks the instance's name: the file system of type bpf takes no dot.
    ///
    /// # Errors
    /// When it is empty, too long, or has other characters.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fits = (1..=64).contains(&self.instance.len())
            && self
                .instance
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if fits {
            return Ok(());
        }
        Err(out_of_range(
            "pins.instance",
            format!("{:?}", self.instance),
            "give 1 to 64 characters of A-Z a-z 0-9 _ -",
        ))
    }
}

/// Secrets in command lines are masked before they leave.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redact {
    /// On by default.
    pub enabled: bool,
    /// Beside those built in: a name (`vault_pin`) whose value goes, or a token's prefix
    /// (`corp_*`). At most 64.
    pub patterns: Vec<String>,
}

impl Default for Redact {
    fn default() -> Self {
        Self {
            enabled: true,
            patterns: Vec::new(),
        }
    }
}

impl Redact {
    /// The matcher.
    ///
    /// # Errors
    /// The first pattern that is none, or too many of them.
    pub fn redactor(&self) -> Result<Redactor, ConfigError> {
        if self.patterns.len() > redact::MOST_PATTERNS {
            let mend = format!("give at most {} patterns", redact::MOST_PATTERNS);
            return Err(out_of_range("redact.patterns", self.patterns.len(), &mend));
        }
        let redactor = Redactor::with_patterns(&self.patterns)
            .map_err(|BadPattern(text)| out_of_range("redact.patterns", text, redact::MEND))?;
        Ok(if self.enabled {
            redactor
        } else {
            Redactor::off()
        })
    }
}

impl Config {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// The first value that is out of its range, and its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let rings = [
            ("rings.syscall", self.rings.syscall),
            ("rings.file", self.rings.file),
            ("rings.network", self.rings.network),
            ("rings.security", self.rings.security),
        ];
        for (key, bytes) in rings {
            if !bytes.is_power_of_two() || !(1 << 16..=1 << 30).contains(&bytes) {
                return Err(out_of_range(
                    key,
                    bytes,
                    "give a power of two from 65536 to 1073741824",
                ));
            }
        }
        self.filter.validate()?;
        for (key, bytes) in [
            ("buffer.bytes", self.buffer.bytes),
            ("list.bytes", self.list.bytes),
        ] {
            if bytes < 1 << 20 {
                return Err(out_of_range(key, bytes, "give at least 1048576"));
            }
        }
        self.redact.redactor()?;
        self.pins.validate()
    }
}

impl Filter {
    /// What it leaves out, for coverage to tell.
    pub fn scope(&self, unpinned: bool) -> Scope {
        Scope {
            narrowed: !self.only_cgroups.is_empty(),
            off: self
                .kinds_off
                .iter()
                .filter_map(|name| kind(name))
                .collect(),
            excluding: !(self.exclude_programs.is_empty() && self.exclude_cgroups.is_empty()),
            unpinned,
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if let Some(name) = self.kinds_off.iter().find(|name| kind(name).is_none()) {
            return Err(out_of_range(
                "filter.kinds_off",
                name,
                "give kinds of files and network, or sequence; process life, credentials and \
                 security cannot be switched off",
            ));
        }
        let counts = [
            ("filter.only_cgroups", self.only_cgroups.len(), 64),
            ("filter.exclude_programs", self.exclude_programs.len(), 1024),
            ("filter.exclude_cgroups", self.exclude_cgroups.len(), 1024),
            ("filter.read_files", self.read_files.len(), 4096),
            ("filter.read_names", self.read_names.len(), 256),
        ];
        // As many as the programs' maps take.
        if let Some((key, count, most)) = counts.into_iter().find(|(_, count, most)| count > most) {
            let value = format!("[{count} entries]");
            return Err(out_of_range(key, value, &format!("give at most {most}")));
        }
        let unfit = |name: &&String| !(1..=MOST_NAME).contains(&name.len()) || name.contains('/');
        if let Some(name) = self.read_names.iter().find(unfit) {
            return Err(out_of_range(
                "filter.read_names",
                name,
                "give last components of paths, of 1 to 31 bytes",
            ));
        }
        Ok(())
    }
}

fn out_of_range(key: &'static str, value: impl ToString, mend: &str) -> ConfigError {
    ConfigError::Value {
        key,
        value: value.to_string(),
        mend: mend.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn a_ring_that_is_no_power_of_two_is_refused_by_name() {
        let mut config = Config::default();
        assert!(config.validate().is_ok());
        config.rings.file = 5_000_000;
        let message = config
            .validate()
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(message.starts_with("rings.file = 5000000"), "{message}");
    }

    #[test]
    fn an_instance_that_leaves_its_folder_is_refused() {
        let mut config = Config::default();
        for name in ["", "..", "a/b", "a.b"] {
            config.pins.instance = name.to_owned();
            assert!(config.validate().is_err(), "{name}");
        }
    }

    #[test]
    fn a_pattern_that_is_none_is_refused_by_name() {
        let mut config = Config::default();
        config.redact.patterns = vec!["vault_pin".to_owned(), "a b".to_owned()];
        let message = |config: &Config| {
            let error = config.validate().err();
            error.map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(message(&config).starts_with("redact.patterns = a b: give a name"));
        config.redact.patterns = vec!["vault_pin".to_owned(); 65];
        assert!(message(&config).starts_with("redact.patterns = 65: give at most"));
        config.redact.patterns.pop();
        assert_eq!(message(&config), "");
    }

    #[test]
    fn a_list_that_the_maps_cannot_hold_is_refused_by_name_and_limit() {
        type List = fn(&mut super::Filter, usize);
        let lists: [(&str, usize, List); 5] = [
            ("only_cgroups", 64, |filter, count| {
                filter.only_cgroups = vec!["/x".into(); count];
            }),
            ("exclude_programs", 1024, |filter, count| {
                filter.exclude_programs = vec!["/x".into(); count];
            }),
            ("exclude_cgroups", 1024, |filter, count| {
                filter.exclude_cgroups = vec!["/x".into(); count];
            }),
            ("read_files", 4096, |filter, count| {
                filter.read_files = vec!["/x".into(); count];
            }),
            ("read_names", 256, |filter, count| {
                filter.read_names = vec!["x".to_owned(); count];
            }),
        ];
        for (key, most, fill) in lists {
            let mut config = Config::default();
            fill(&mut config.filter, most);
            assert!(config.validate().is_ok(), "{key}");
            fill(&mut config.filter, most + 1);
            let error = config.validate().err().map(|error| error.to_string());
            let expected = format!("filter.{key} = [{} entries]: give at most {most}", most + 1);
            assert_eq!(error, Some(expected));
        }
    }
}
