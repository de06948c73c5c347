//! Configuration files: one TOML file, its drop-ins, nothing unknown.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What is wrong with a configuration file. Exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}; check the path and its permissions")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        cause: std::io::Error,
    },
    /// The file is no TOML, has an unknown key or a value of the wrong form.
    #[error("{path}: {message}")]
    Content {
        /// The file.
        path: PathBuf,
        /// The parser's word, with line and key.
        message: String,
    },
    /// A file that a key names does not hold what it should.
    #[error("{key}: {path}: {cause}; {mend}")]
    File {
        /// Dotted name of the key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
        /// What it should hold.
        mend: String,
    },
    /// A value is out of its range.
    #[error("{key} = {value}: {mend}")]
    Value {
        /// Dotted name of the key.
        key: &'static str,
        /// What stands there.
        value: String,
        /// What may stand there.
        mend: String,
    },
}

/// Reads `path` and then each `*.toml` of the folder beside it that has `.d` after the
/// same name (`collector.toml.d`), in name order; a later file's
/// value wins, table by table. A missing `path` is an error only if `required`; without
/// any file the defaults stand.
///
/// # Errors
/// [`ConfigError`] names the file, and the key or line.
pub fn load<T: DeserializeOwned>(path: &Path, required: bool) -> Result<T, ConfigError> {
    let mut merged = toml::Table::new();
    let mut last = path.to_path_buf();
    if required || path.exists() {
        merge(&mut merged, checked::<T>(path)?);
    }
    for fragment in fragments(path)? {
        merge(&mut merged, checked::<T>(&fragment)?);
        last = fragment;
    }
    merged
        .try_into()
        .map_err(|error: toml::de::Error| content(&last, &error))
}

/// Reads one file alone, so that an unknown key is told with its own file and line.
fn checked<T: DeserializeOwned>(path: &Path) -> Result<toml::Table, ConfigError> {
    let text = fs::read_to_string(path).map_err(|cause| ConfigError::Read {
        path: path.to_path_buf(),
        cause,
    })?;
    toml::from_str::<T>(&text).map_err(|error| content(path, &error))?;
    toml::from_str(&text).map_err(|error| content(path, &error))
}

fn content(path: &Path, error: &toml::de::Error) -> ConfigError {
    // The parser prints several lines with a caret; one line is what a log can carry.
    let message = error
        .to_string()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    ConfigError::Content {
        path: path.to_path_buf(),
        message,
    }
}

fn fragments(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let mut folder = path.as_os_str().to_owned();
    folder.push(".d");
    let folder = PathBuf::from(folder);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let read_error = |cause| ConfigError::Read {
        path: folder.clone(),
        cause,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(read_error)? {
        let file = entry.map_err(read_error)?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Where Redis is, and as whom to speak to it. The same table in both daemons.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct RedisConfig {
    /// `unix:///run/ravn/redis.sock`, `rediss://host:port` (TLS) or `redis://host:port`. No
    /// password in it.
    pub url: String,
    /// ACL user; empty for none.
    pub username: String,
    /// File with the password on its first line; empty for none. Read anew at each
    /// connection, so that a changed password needs no restart.
    pub password_file: PathBuf,
    /// For `rediss://`: file with the certificates of the CAs that are trusted, in PEM; empty
    /// for the system's. This and the next two are read anew at each connection.
    pub tls_ca: PathBuf,
    /// File with a certificate to show to the server, and those between it and its CA; empty
    /// for none.
    pub tls_cert: PathBuf,
    /// File with its private key.
    pub tls_key: PathBuf,
    /// Stands before every key.
    pub prefix: String,
    /// Several hosts share this Redis: keys end in the host's name.
    pub shared: bool,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: "unix:///run/ravn/redis.sock".to_owned(),
            username: String::new(),
            password_file: PathBuf::new(),
            tls_ca: PathBuf::new(),
            tls_cert: PathBuf::new(),
            tls_key: PathBuf::new(),
            prefix: String::new(),
            shared: false,
        }
    }
}

/// The name of this host: the configured one, or the kernel's.
///
/// # Errors
/// When it is not `[A-Za-z0-9._-]{1,64}`.
pub fn host_name(configured: &str) -> Result<String, ConfigError> {
    let name = if configured.is_empty() {
        fs::read_to_string("/proc/sys/kernel/hostname")
            .unwrap_or_default()
            .trim()
            .to_owned()
    } else {
        configured.to_owned()
    };
    let fits = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if fits {
        Ok(name)
    } else {
        Err(ConfigError::Value {
            key: "host",
            value: format!("{name:?}"),
            mend: "give 1 to 64 characters of A-Z a-z 0-9 . _ -".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    #[derive(Default)]
    struct Sample {
        redis: RedisConfig,
        size: u32,
    }

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("ravn-config-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("a.toml.d")).unwrap_or_default();
        path
    }

    #[test]
    fn drop_ins_win_in_name_order_and_unknown_keys_name_their_file()
    -> Result<(), Box<dyn std::error::Error>> {
        let dir = folder("dropin");
        let main = dir.join("a.toml");
        fs::write(
            &main,
            "size = 1\n[redis]\nprefix = \"a\"\nurl = \"redis://x:1\"\n",
        )?;
        fs::write(dir.join("a.toml.d/10.toml"), "size = 2\n")?;
        fs::write(dir.join("a.toml.d/20.toml"), "[redis]\nprefix = \"b\"\n")?;
        let read: Sample = load(&main, true)?;
        assert_eq!(
            (
                read.size,
                read.redis.prefix.as_str(),
                read.redis.url.as_str()
            ),
            (2, "b", "redis://x:1")
        );

        fs::write(dir.join("a.toml.d/30.toml"), "sizes = 2\n")?;
        let error = load::<Sample>(&main, true)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            error.contains("30.toml") && error.contains("sizes"),
            "{error}"
        );
        assert!(!error.contains('\n'), "{error}");
        fs::remove_dir_all(dir)?;
        Ok(())
    }

    #[test]
    fn a_host_name_with_other_characters_is_refused() {
        assert!(host_name("web-1.example").is_ok());
        assert!(host_name("web 1").is_err());
        assert!(host_name(&"a".repeat(65)).is_err());
    }
}
