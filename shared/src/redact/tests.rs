//! What must go goes, what is ordinary stays, whatever the bytes are.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{BadPattern, Redactor};

/// A secret of these tests: no output may have it.
const SECRET: &str = "hunter2Zq9";

/// The arguments of one line, `|` between them, as an argv.
fn argv(line: &str) -> Vec<u8> {
    line.split('|')
        .flat_map(|argument| [argument.as_bytes(), b"\0"].concat())
        .collect()
}

fn redact(redactor: &Redactor, bytes: &[u8], cut: bool) -> Vec<u8> {
    let mut out = b"before".to_vec();
    let masked = redactor.redact(bytes, cut, &mut out);
    let rest = out.strip_prefix(b"before").unwrap();
    if masked {
        rest.to_vec()
    } else {
        assert!(rest.is_empty());
        bytes.to_vec()
    }
}

fn line(redactor: &Redactor, line: &str) -> String {
    let bytes = redact(redactor, &argv(line), false);
    String::from_utf8(bytes.strip_suffix(b"\0").unwrap().to_vec())
        .unwrap()
        .replace('\0', "|")
}

/// Each pair: a command line, and what of it leaves.
#[test]
fn secrets_go() {
    let redactor = Redactor::default();
    for (given, want) in include_str!("secrets.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once("  =>  ").unwrap())
    {
        let given = given.replace("\\n", "\n");
        let got = line(&redactor, &given);
        assert_eq!(got, want.replace("\\n", "\n"), "of {given}");
        assert!(!got.contains(SECRET), "{got}");
        assert_ne!(got, given, "the corpus holds only what is to be masked");
    }
}

#[test]
fn ordinary_command_lines_stay() {
    let redactor = Redactor::default();
    for given in include_str!("ordinary.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        assert_eq!(line(&redactor, given), given);
    }
}

/// A command line may end anywhere: what is left of a secret is one too.
#[test]
fn a_secret_that_is_cut_goes() {
    let redactor = Redactor::default();
    let token = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    for (given, secret) in [
        ("curl|https://me:hunter2Zq9@host/x", "hunter2Zq9"),
        ("app|--password|hunter2Zq9", "hunter2Zq9"),
        ("app|--token=hunter2Zq9", "hunter2Zq9"),
        ("curl|-H|Authorization: Bearer hunter2Zq9", "hunter2Zq9"),
        ("git|clone|ghp_0123456789abcdefghijABCDEFGHIJ012345", token),
        (
            "x|eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0.abcdefgh",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0.abcdefgh",
        ),
    ] {
        let whole = argv(given);
        let begins = whole.len() - 1 - given.len() + given.find(secret).unwrap();
        for end in begins + 4..whole.len() {
            let left = redact(&redactor, &whole[..end], true);
            let shown = String::from_utf8_lossy(&left);
            let part = std::str::from_utf8(&whole[begins..end]).unwrap();
            assert!(
                !shown.contains(part.trim_end_matches(['@', '/', 'x'])),
                "{shown:?} of {given}"
            );
        }
    }
}

#[test]
fn patterns_of_the_configuration_are_masked_too() {
    let own = Redactor::with_patterns(&["vault_pin".to_owned(), "corp_*".to_owned()]).unwrap();
    let none = Redactor::default();
    for (given, want) in [
        ("a|--vault-pin|12345678", "a|--vault-pin|***"),
        ("a|VaultPin=12345678", "a|VaultPin=***"),
        ("a|see corp_abcdefgh1 there", "a|see *** there"),
    ] {
        assert_eq!(line(&own, given), want);
        assert_eq!(line(&none, given), given);
    }
    assert_eq!(line(&Redactor::off(), "a|--password=x"), "a|--password=x");
    for bad in ["", "ab", "a b c", "a.*b", "___", &"x".repeat(65)] {
        let refused = Redactor::with_patterns(&[bad.to_owned()]).err();
        assert_eq!(refused, Some(BadPattern(bad.to_owned())));
    }
}

/// Words that the walk treats apart, so that random lines reach its branches.
fn piece() -> impl Strategy<Value = String> {
    prop::sample::select(
        "\0|\0|\0| | |=|:|\"|'|\\\"|;|,|&|$|@|/|-|--|://|*|mysql|curl|sudo|sh|ssh|docker|login|-c|-u|-p|\
         password|token|Authorization|Bearer |https|ghp_0123456789abcdefghij|AKIAABCDEFGHIJKLMNOP|\
         eyJhbGciOiJI.eyJz.x|-----BEGIN|PRIVATE KEY-----|-----END|a|b7|user:pw|\u{fc}"
            .split('|')
            .map(str::to_owned)
            .collect::<Vec<_>>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_give_no_more_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600), cut in any::<bool>()) {
        let left = redact(&Redactor::default(), &bytes, cut);
        prop_assert!(left.len() <= bytes.len());
    }

    /// Masking shortens, keeps the arguments apart, and finds nothing more in what it left.
    #[test]
    fn what_was_masked_stays_masked(pieces in prop::collection::vec(piece(), 0..40), cut in any::<bool>()) {
        let bytes = pieces.concat().into_bytes();
        let redactor = Redactor::default();
        let once = redact(&redactor, &bytes, cut);
        prop_assert!(once.len() <= bytes.len());
        let nuls = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == 0).count();
        prop_assert_eq!(nuls(&once), nuls(&bytes));
    }

    #[test]
    fn a_secret_behind_a_known_name_goes(
        before in prop::sample::select(vec!["--password=", "PGPASSWORD=", "api_key=", "x\0--token\0", "Authorization: Bearer ", "{\"client_secret\":\"", "redis://:"]),
        secret in "[A-Za-z0-9]{8,40}",
        after in prop::sample::select(vec!["\0-v\0", "\0", ""]),
    ) {
        let end = match before { text if text.contains('"') => "\"}", text if text.contains("//") => "@h", _ => "" };
        let bytes = format!("app\0{before}{secret}{end}{after}").into_bytes();
        let left = redact(&Redactor::default(), &bytes, false);
        prop_assert!(!String::from_utf8_lossy(&left).contains(&secret));
    }
}
