//! Names that announce a secret: of options, variables, fields, headers.

/// What a name says of the value behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// It is a secret.
    Secret,
    /// It is a secret, unless it is a path: the file may hold one, its name does not.
    SecretOrPath,
    /// It is a secret, and follows even a bare word (`aws configure set NAME VALUE`).
    SecretAfterWord,
    /// It is a scheme (`Bearer`, `Basic`) and then a secret, to the end of the line.
    Credentials,
    /// All to the end of the line is a secret.
    Line,
}

/// A name, in lower case and without separators, as a name's end.
struct Key {
    name: &'static [u8],
    /// Counts only as a whole part of a name: `ssh_pass`, `sshPass`, `pass`; never `bypass`.
    part: bool,
    says: Says,
}

const fn key(name: &'static str, says: Says) -> Key {
    Key {
        name: name.as_bytes(),
        part: false,
        says,
    }
}

const fn part(name: &'static str, says: Says) -> Key {
    Key {
        name: name.as_bytes(),
        part: true,
        says,
    }
}

const KEYS: [Key; 26] = [
    key("password", Says::Secret),
    key("passwd", Says::Secret),
    key("passphrase", Says::Secret),
    part("pass", Says::Secret),
    // PWD itself is the working directory in every environment.
    part("pwd", Says::SecretOrPath),
    key("sshpass", Says::Secret),
    key("storepass", Says::Secret),
    key("keypass", Says::Secret),
    part("psk", Says::Secret),
    key("secret", Says::Secret),
    key("token", Says::Secret),
    key("apikey", Says::Secret),
    key("secretaccesskey", Says::SecretAfterWord),
    key("accesskey", Says::Secret),
    key("secretkey", Says::Secret),
    key("accountkey", Says::Secret),
    key("authkey", Says::Secret),
    key("signingkey", Says::Secret),
    key("encryptionkey", Says::Secret),
    key("masterkey", Says::Secret),
    key("privatekey", Says::SecretOrPath),
    key("requirepass", Says::SecretAfterWord),
    key("masterauth", Says::SecretAfterWord),
    // npm's `//registry/:_auth=`; never `http_auth=`.
    part("_auth", Says::Secret),
    key("authorization", Says::Credentials),
    part("cookie", Says::Line),
];

/// What a name says of its value; None: nothing of a secret. `own` are the names of the
/// configuration, as [`normal`] makes them.
pub fn says(name: &[u8], own: &[Vec<u8>]) -> Option<Says> {
    let last = name.last()?.to_ascii_lowercase();
    let known = KEYS.iter().find(|key| {
        key.name.last() == Some(&last)
            && ends_with(name, key.name).is_some_and(|at| !key.part || starts_part(name, at))
    });
    known.map(|key| key.says).or_else(|| {
        own.iter()
            .any(|key| ends_with(name, key).is_some())
            .then_some(Says::Secret)
    })
}

/// A name as names are compared: lower case, no separators.
pub fn normal(name: &[u8]) -> Vec<u8> {
    name.iter()
        .filter(|byte| !is_separator(**byte))
        .map(u8::to_ascii_lowercase)
        .collect()
}

/// Whether a name looks like a header's or a setting's: of several parts.
pub fn has_parts(name: &[u8]) -> bool {
    name.iter().any(|byte| is_separator(*byte))
}

const fn is_separator(byte: u8) -> bool {
    matches!(byte, b'-' | b'_' | b'.')
}

/// Where in `name` the end begins that is `key`, one separator allowed between any two
/// letters. At most twice `key`'s length is looked at.
fn ends_with(name: &[u8], key: &[u8]) -> Option<usize> {
    let mut at = name.len();
    for (left, want) in key.iter().enumerate().rev() {
        at = at.checked_sub(1)?;
        let between = left + 1 < key.len();
        if between && is_separator(name[at]) && *want != name[at] {
            at = at.checked_sub(1)?;
        }
        if name[at].to_ascii_lowercase() != *want {
            return None;
        }
    }
    Some(at)
}

/// Whether a part of `name` begins at `at`: `db_pass`, `dbPass`, `pass`.
fn starts_part(name: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| name[before]) else {
        return true;
    };
    is_separator(before) || (before.is_ascii_lowercase() && name[at].is_ascii_uppercase())
}
