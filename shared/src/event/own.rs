//! What the collector itself says.

use serde::{Deserialize, Serialize};

/// The collector found a part of the sensor gone or changed; the header shows the collector.
/// It has been loaded anew when this is read, or is being tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tampering<'a> {
    /// Which part: `program`, `pin`, `map` or `proof` (a ring or program gave no sign of life).
    #[serde(with = "serde_bytes", borrow)]
    pub what: &'a [u8],
    /// Its name, and what is wrong with it; of the collector's own words.
    #[serde(with = "serde_bytes", borrow)]
    pub detail: &'a [u8],
}
