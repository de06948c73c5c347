#![allow(clippy::unwrap_used)]

use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::*;

/// Files of one test, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ravn-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pair() -> (String, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["redis".into()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

fn refusal(config: &RedisConfig) -> String {
    client(config).err().unwrap().to_string()
}

#[test]
fn files_that_do_not_hold_what_they_should_are_named_with_the_mend() {
    let folder = Folder::new("files");
    let (cert, key) = pair();
    let (_, another) = pair();
    let mut config = RedisConfig {
        url: "rediss://redis:6380".to_owned(),
        tls_ca: folder.0.join("missing.pem"),
        ..RedisConfig::default()
    };
    let said = refusal(&config);
    assert!(
        said.contains("missing.pem") && said.contains("No such file"),
        "{said}"
    );
    for junk in ["", "no certificate", key.as_str(), &cert[..cert.len() / 2]] {
        config.tls_ca = folder.file("ca.pem", junk);
        let said = refusal(&config);
        assert!(
            said.starts_with("redis.tls_ca: ") && said.contains("BEGIN CERTIFICATE"),
            "{said}"
        );
    }
    config.tls_ca = folder.file("ca.pem", &format!("{cert}{cert}"));
    assert!(client(&config).is_ok());

    config.tls_cert = folder.file("cert.pem", &cert);
    config.tls_key = folder.file("key.pem", &cert);
    let said = refusal(&config);
    assert!(
        said.starts_with("redis.tls_key: ") && said.contains("no private key"),
        "{said}"
    );
    config.tls_key = folder.file("key.pem", &another);
    let said = refusal(&config);
    assert!(said.contains("not the key of redis.tls_cert"), "{said}");
    config.tls_key = folder.file("key.pem", &key);
    assert!(client(&config).is_ok());
}

#[test]
fn a_file_that_is_renewed_counts_at_the_next_connection() {
    let folder = Folder::new("renewed");
    let mut config = RedisConfig {
        url: "rediss://redis:6380".to_owned(),
        tls_ca: folder.file("ca.pem", "half written"),
        ..RedisConfig::default()
    };
    assert!(crate::link::check(&config).is_ok(), "it may still come");
    assert!(crate::link::connection_info(&config).is_err());
    folder.file("ca.pem", &pair().0);
    assert!(crate::link::connection_info(&config).is_ok());
    // What no file can mend is said at once.
    config.url = "redis://redis:6380".to_owned();
    assert!(crate::link::check(&config).is_err());
}

/// Both ways in which the redis crate hands on what rustls said.
#[test]
fn failures_have_a_cause_and_a_mend() {
    let by_io = |error| RedisError::from(io::Error::new(io::ErrorKind::InvalidData, error));
    let issuer = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
    for error in [by_io(issuer.clone()), RedisError::from(issuer)] {
        let (cause, mend) = words(&error).unwrap();
        assert!(
            cause.contains("not signed") && mend.contains("redis.tls_ca"),
            "{cause}; {mend}"
        );
    }
    let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
    let said = crate::link::explain(&by_io(alert), &RedisConfig::default());
    assert!(said.contains("wants a client's certificate"), "{said}");
    assert!(
        said.contains("redis.tls_cert") && said.ends_with("trying again"),
        "{said}"
    );
    assert!(words(&RedisError::from(io::Error::other("else"))).is_none());
}
