//! Which kernel runs here.

use std::fs;

/// Oldest version that the BPF programs ask for: `bpf_rdonly_cast` came with 6.2.
pub const OLDEST: (u32, u32) = (6, 2);

/// The release, such as `6.1.0-28-amd64`; empty where /proc does not tell.
pub fn release() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

/// Major and minor number of a release.
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{OLDEST, release, version};

    #[test]
    fn a_release_of_any_distribution_has_two_numbers() {
        assert_eq!(version("6.1.0-28-amd64"), Some((6, 1)));
        assert_eq!(version("5.10.0"), Some((5, 10)));
        assert_eq!(version("weird"), None);
        assert!(version("6.1.0-28-amd64").is_some_and(|version| version < OLDEST));
        assert!(version(&release()).is_some());
    }
}
