//! What a restart needs, as fields of one Redis hash.

/// A changed field of `ravn:checkpoint`: its name, and its new value or None when it is gone.
///
/// The first letter and a colon say whose it is: `p:` process, `i:` incident, `j:` other state
/// of the judge, `s:` a thread's sequence state, `c:` a CPU's sequence progress, `l:` ledger.
pub type Field = (String, Option<Vec<u8>>);

/// Why a field of a checkpoint cannot be used. The field is dropped and counted; the rest stands.
#[derive(Debug, thiserror::Error)]
#[error("checkpoint field {field}: {cause}; it is dropped and what it held starts anew")]
pub struct CheckpointError {
    /// The field's name, escaped.
    pub field: String,
    /// What is wrong with it.
    pub cause: String,
}
