//! Alerts outside of Redis: a line of JSON in a file, a line of the log. A dead Redis must
//! not swallow them. At least once; a repetition has the same finding uid.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ravn_shared::text::escape;

use crate::judge::Alert;

/// A file of this size becomes `.1`, and that one goes.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Where alerts are written.
#[derive(Debug)]
pub struct AlertsFile {
    path: Option<PathBuf>,
    open: Option<(File, u64)>,
    max_bytes: u64,
    failing: bool,
}

impl AlertsFile {
    /// An empty path writes none.
    pub fn new(path: &Path) -> Self {
        Self {
            path: (!path.as_os_str().is_empty()).then(|| path.to_path_buf()),
            open: None,
            max_bytes: MAX_BYTES,
            failing: false,
        }
    }

    /// Writes alerts to the log and the file. A file that cannot be written is said once.
    pub fn tell(&mut self, alerts: &[Alert]) {
        if alerts.is_empty() {
            return;
        }
        for alert in alerts {
            tracing::warn!(finding = alert.body, "alert: {}", summary(alert));
        }
        let bodies = alerts.iter().map(|alert| alert.body.as_str());
        match self.append(bodies) {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.open = None;
                if !std::mem::replace(&mut self.failing, true) {
                    let path = self.path.as_deref().unwrap_or(Path::new("")).display();
                    tracing::error!(
                        "{path}: {error}; alerts are in the log and in Redis alone: \
                         free space, or name a writable alerts_file"
                    );
                }
            }
        }
    }

    fn append<'a>(&mut self, bodies: impl Iterator<Item = &'a str>) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let mut text = String::new();
        for body in bodies {
            // JSON on one line: its own newlines are escaped, pretty-printing would break it.
            text.push_str(&body.replace('\n', " "));
            text.push('\n');
        }
        let (mut file, mut size) = match self.open.take() {
            // Somebody else's rotation leaves us a file without a name.
            Some(open) if path.exists() => open,
            _ => open(path)?,
        };
        if size > 0 && size + text.len() as u64 > self.max_bytes {
            drop(file);
            let mut old = path.clone().into_os_string();
            old.push(".1");
            fs::rename(path, old)?;
            (file, size) = open(path)?;
        }
        file.write_all(text.as_bytes())?;
        self.open = Some((file, size + text.len() as u64));
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

fn summary(alert: &Alert) -> String {
    let fields = alert.fields();
    let shown = fields
        .iter()
        .filter(|(name, _)| *name != "body")
        .map(|(name, value)| format!("{name}={}", escape(value.as_bytes())));
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn lines_are_appended_and_a_full_file_moves_aside() {
        let scratch = Scratch::new();
        let path = scratch.file("alerts.jsonl");
        let mut file = AlertsFile::new(&path);
        file.max_bytes = 20;
        file.append(["{\"a\":1}", "{\n\"b\":2}"].into_iter())
            .unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\"a\":1}\n{ \"b\":2}\n"
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
        file.append(["{\"c\":3}"].into_iter()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"c\":3}\n");
        let old = fs::read_to_string(scratch.file("alerts.jsonl.1")).unwrap();
        assert_eq!(old.lines().count(), 2);
        fs::remove_file(&path).unwrap();
        file.append(["{\"d\":4}"].into_iter()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"d\":4}\n");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error_to_be_said() {
        let mut file = AlertsFile::new(Path::new("/proc/none/alerts.jsonl"));
        assert!(file.append(["{}"].into_iter()).is_err());
    }
}
