//! Judging to and from a checkpoint.

use super::{Judging, Recipe};
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
        for (name, value) in fields {
            let taken = match name.split(':').next() {
                Some("p" | "i" | "j") => {
                    judging.pending.saved.insert(name.clone());
                    judging.judge.restore(&name, &value)
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
        judging.pending.published = None;
        Ok((judging, refused))
    }

    fn restore_own(&mut self, name: &str, value: &[u8]) -> Result<(), CheckpointError> {
        match name {
            "l:boots" | "l:at" => {}
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

    /// Everything that can be told again is told in the next commit: Redis has lost it.
    pub fn all_changed(&mut self) {
        self.ledger.all_changed();
        self.judge.all_changed();
        // Its fields come with its next report, and go with the commit after that.
        self.sequence.tell_all();
        self.pending
            .fields
            .insert("l:boots".to_owned(), Some(self.boots.packed()));
    }
}
