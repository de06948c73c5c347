//! `/etc/ravn/collector.toml`, checked once, before anything is touched.

use std::path::PathBuf;

use ravn_shared::config::{ConfigError, RedisConfig};
use ravn_shared::redact::{self, BadPattern, Redactor};
use serde::Deserialize;

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
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Folders of the unified cgroup hierarchy. Given any, nothing outside of them is seen.
    pub only_cgroups: Vec<PathBuf>,
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
        for (key, bytes) in [
            ("buffer.bytes", self.buffer.bytes),
            ("list.bytes", self.list.bytes),
        ] {
            if bytes < 1 << 20 {
                return Err(out_of_range(key, bytes, "give at least 1048576"));
            }
        }
        self.redact.redactor().map(drop)
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
}
