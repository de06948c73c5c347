//! Words that are secrets by their looks.

/// A token's prefix and what must follow it.
struct Shape {
    prefix: &'static [u8],
    /// Bytes behind the prefix, at least.
    least: usize,
    /// Letters and digits alone may follow, up to the word's end.
    plain: bool,
}

const fn shape(prefix: &'static str, least: usize) -> Shape {
    Shape {
        prefix: prefix.as_bytes(),
        least,
        plain: false,
    }
}

const fn plain(prefix: &'static str, least: usize) -> Shape {
    Shape {
        prefix: prefix.as_bytes(),
        least,
        plain: true,
    }
}

const SHAPES: [Shape; 26] = [
    // Ids of AWS access keys, long-lived and of a session.
    plain("AKIA", 16),
    plain("ASIA", 16),
    plain("ghp_", 20),
    plain("gho_", 20),
    plain("ghu_", 20),
    plain("ghs_", 20),
    plain("ghr_", 20),
    shape("github_pat_", 20),
    shape("glpat-", 16),
    shape("xoxa-", 10),
    shape("xoxb-", 10),
    shape("xoxe-", 10),
    shape("xoxp-", 10),
    shape("xoxr-", 10),
    shape("xoxs-", 10),
    shape("xapp-", 10),
    shape("AIza", 30),
    plain("npm_", 30),
    shape("pypi-", 40),
    shape("hvs.", 20),
    shape("dop_v1_", 20),
    shape("sk_live_", 10),
    shape("rk_live_", 10),
    shape("sk-ant-", 16),
    shape("sk-proj-", 16),
    plain("sk-", 40),
];

/// Bytes of a JSON Web Token's first part, at least: `{"alg":` is ten in base64.
const JWT_HEAD: usize = 10;
/// What a prefix of the configuration must be followed by, at least.
const OWN_LEAST: usize = 8;
/// No token is shorter, unless it is cut.
const LEAST: usize = 11;
/// From this on the start of a token at the very end of a cut command line counts as one.
const CUT_LEAST: usize = 4;

/// Whether `word`, of letters, digits, `.`, `_` and `-`, is a token. `cut`: its end is missing.
pub fn is_token(word: &[u8], own: &[Vec<u8>], cut: bool) -> bool {
    // Nearly every word of a command line ends here.
    if word.len() < LEAST && !cut {
        return false;
    }
    SHAPES.iter().any(|shape| {
        word.strip_prefix(shape.prefix).is_some_and(|rest| {
            (rest.len() >= shape.least || (cut && word.len() >= CUT_LEAST))
                && (!shape.plain || rest.iter().all(u8::is_ascii_alphanumeric))
        })
    }) || is_jwt(word, cut)
        || own.iter().any(|prefix| {
            word.strip_prefix(prefix.as_slice())
                .is_some_and(|rest| rest.len() >= OWN_LEAST || cut)
        })
}

/// `eyJ…` is `{"…` in base64; a second part follows behind a dot.
fn is_jwt(word: &[u8], cut: bool) -> bool {
    if !word.starts_with(b"eyJ") {
        return false;
    }
    match word.iter().position(|byte| *byte == b'.') {
        Some(dot) => dot >= JWT_HEAD && (cut || word.len() > dot + 1),
        None => cut,
    }
}
