//! Judging to and from a checkpoint.

use super::{Judging, Recipe, SEQUENCES_OF};
use crate::checkpoint::CheckpointError;

impl Judging {
    /// Takes the checkpoint's fields back; how many could not be used.
    ///
    /// # Errors
    /// Rules that cannot be read.
    pub fn restored(
        recipe: Recipe,
        fields: Vec<(String, Vec<u8>)>,
    ) -> anyhow::Result<(Self, usize)> {
        let mut judging = Self::new(recipe)?;
        let (mut refused, mut sequences) = (0, Vec::new());
        if let Some((_, boots)) = fields.iter().find(|(name, _)| name == "l:boots") {
            judging.boots.restore(boots);
            judging.judge = judging.new_judge()?;
        }
        // Killed before the sequence thread had dropped those of the boot before. Versions before
        // this field dropped none.
        let boot = judging.boots.present();
        let of = fields.iter().find(|(name, _)| name == SEQUENCES_OF);
        let stale = of.is_some_and(|(_, of)| of.as_slice() != boot);
        for (name, value) in fields {
            let taken = match name.split(':').next() {
                Some("p" | "i" | "j") => {
                    judging.pending.saved.insert(name.clone());
                    judging.judge.restore(&name, &value)
                }
                Some("s" | "c") if stale => {
                    judging.pending.fields.insert(name, None);
                    continue;
                }
                Some("s" | "c") => {
                    sequences.push((name, value));
                    continue;
                }
                _ => judging.restore_own(&name, &value),
            };
            if let Err(error) = taken {
                tracing::warn!("{error}");
                judging.pending.fields.insert(name, None);
                refused += 1;
            }
        }
        judging.sequence.restore(sequences);
        judging.sequences_begin();
        judging.pending.published = None;
        Ok((judging, refused))
    }

    fn restore_own(&mut self, name: &str, value: &[u8]) -> Result<(), CheckpointError> {
        match name {
            "l:boots" | "l:at" | SEQUENCES_OF => {}
            "l:server" => self.server = Some(value.to_vec()),
            "l:changes" => {
                let text = str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok());
                self.pending.changes = text.ok_or_else(|| CheckpointError {
                    field: name.to_owned(),
                    cause: "not a number".to_owned(),
                })?;
            }
            _ => self.ledger.restore(name, value)?,
        }
        Ok(())
    }

    /// Gathers what changed since the last commit.
    pub fn gather(&mut self) {
        self.pending.judge(self.judge.changed());
        self.pending.fields.extend(self.ledger.changed());
    }

    /// Everything that can be told again is told: Redis has lost it. The sequence thread's part
    /// comes with its next report; until then [`Self::is_whole`] is false.
    pub fn all_changed(&mut self) {
        self.sequence.tell_all();
        self.untold = true;
        self.own_changed();
    }

    /// Whether the next commit can replace the checkpoint.
    pub fn is_whole(&self) -> bool {
        !self.untold
    }

    /// The sequence thread told all, or never will.
    pub(super) fn all_told(&mut self) {
        if std::mem::take(&mut self.untold) {
            // Commits since may have taken some of it.
            self.own_changed();
            self.pending.retold = true;
        }
    }

    fn own_changed(&mut self) {
        self.ledger.all_changed();
        self.judge.all_changed();
        let own = [
            ("l:boots", Some(self.boots.packed())),
            ("l:server", self.server.clone()),
            (SEQUENCES_OF, self.sequences_of.map(Vec::from)),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        self.pending.fields.extend(own);
    }

    /// Redis is served by the process `run_id`. Another one may have lost what the one before
    /// held: all of it without persistence, the last of it with.
    pub fn served_by(&mut self, run_id: &[u8]) {
        if self.server.as_deref() != Some(run_id) {
            if self.server.replace(run_id.to_vec()).is_some() {
                tracing::warn!("redis: it was started anew; what it lost is counted as lost");
                self.redis_lost();
            }
            self.pending
                .fields
                .insert("l:server".to_owned(), self.server.clone());
        }
        self.redis_serves();
    }

    /// Redis lost what it held.
    pub fn redis_lost(&mut self) {
        self.ledger.redis_lost();
    }
}
