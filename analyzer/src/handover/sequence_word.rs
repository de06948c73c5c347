//! What the sequence thread said of itself.

use crate::verdict::Mode;

/// What the sequence thread said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceWord {
    /// Whether the model takes part.
    pub mode: Mode,
    /// Why not.
    pub reason: String,
    /// Name and version of the model.
    pub model: String,
}

impl SequenceWord {
    /// Before it has said anything.
    pub fn none_yet() -> Self {
        Self {
            mode: Mode::Rules,
            reason: "the model is starting".to_owned(),
            model: String::new(),
        }
    }
}
