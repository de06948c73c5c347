//! Effects of judging that wait for a commit.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::checkpoint::Field;
use crate::judge::Alert;
use crate::verdict::Level;

/// Most alerts that wait for Redis; they are in the file and the log already.
const MAX_ALERTS: usize = 1000;
/// Dead letters that wait, and that Redis keeps; each at most 64 KiB.
pub const MOST_LETTERS: usize = 256;

/// Effects that wait for a commit.
#[derive(Debug, Default)]
pub struct Pending {
    /// Checkpoint fields by name.
    pub fields: HashMap<String, Option<Vec<u8>>>,
    /// Alerts, oldest first.
    pub alerts: Vec<Alert>,
    /// Records that broke the judge, each as a batch.
    pub letters: Vec<Arc<[u8]>>,
    /// The level that was published last, None for none.
    pub published: Option<Level>,
    /// Changes of the level so far.
    pub changes: u64,
    /// Names of the judge's fields in the checkpoint.
    pub saved: HashSet<String>,
    /// All was told for a checkpoint that is written anew.
    pub retold: bool,
    /// What the last commit that was tried held of this.
    pub tried: Option<Tried>,
}

/// The first so many of what is pending were in a commit; fields may be written twice.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    /// Alerts.
    pub alerts: usize,
    /// Letters.
    pub letters: usize,
    /// The level that was published.
    pub level: Level,
}

impl Pending {
    /// The judge's fields changed.
    pub fn judge(&mut self, changed: Vec<Field>) {
        for (name, value) in &changed {
            if value.is_none() {
                self.saved.remove(name);
            } else if !self.saved.contains(name) {
                self.saved.insert(name.clone());
            }
        }
        self.fields.extend(changed);
    }

    /// The judge begins anew; none of its fields is true any more.
    pub fn forget_judge(&mut self) {
        let gone = self.saved.drain().map(|name| (name, None));
        self.fields.extend(gone);
    }

    /// Alerts were made. While Redis is away only so many wait for it.
    pub fn add_alerts(&mut self, alerts: &[Alert]) {
        self.alerts.extend_from_slice(alerts);
        let over = self.alerts.len().saturating_sub(MAX_ALERTS);
        if over > 0 {
            self.alerts.drain(..over);
            if let Some(tried) = &mut self.tried {
                tried.alerts = tried.alerts.saturating_sub(over);
            }
            tracing::error!("{over} alerts will not be in Redis; the log and the file have them");
        }
    }

    /// Letters of batches that were let go before a commit. Only the last of them are kept.
    pub fn add_letters(&mut self, letters: Vec<Arc<[u8]>>) {
        self.letters.extend(letters);
        let over = self.letters.len().saturating_sub(MOST_LETTERS);
        self.letters.drain(..over);
        if let Some(tried) = &mut self.tried {
            tried.letters = tried.letters.saturating_sub(over);
        }
    }

    /// The commit that was tried last has been executed.
    pub fn applied(&mut self) {
        let Some(tried) = self.tried.take() else {
            return;
        };
        self.retold = false;
        self.alerts.drain(..tried.alerts);
        self.letters.drain(..tried.letters);
        if self.published != Some(tried.level) {
            self.changes += 1;
        }
        self.published = Some(tried.level);
    }
}
