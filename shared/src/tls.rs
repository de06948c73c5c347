//! TLS to Redis by rustls: what is trusted and shown, out of files that are read anew for each
//! connection, so that a renewed one needs no restart; and what its failures mean.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, RedisError, TlsCertificates};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, InconsistentKeys, OtherError, RootCertStore,
};

use crate::config::{ConfigError, RedisConfig};

/// Whether the address is one of `rediss://`.
pub const fn wanted(address: &ConnectionAddr) -> bool {
    matches!(address, ConnectionAddr::TcpTls { .. })
}

/// What rustls connects with.
///
/// # Errors
/// A file that cannot be read, or does not hold what it should.
pub fn client(config: &RedisConfig) -> Result<Arc<ClientConfig>, ConfigError> {
    build(config, &read(config)?).map(Arc::new)
}

/// The same for the redis crate: the address with its certificates. One without TLS is given
/// back as it is.
///
/// # Errors
/// As [`client`].
pub fn secured(info: ConnectionInfo, config: &RedisConfig) -> Result<ConnectionInfo, ConfigError> {
    if !wanted(info.addr()) {
        return Ok(info);
    }
    let files = read(config)?;
    build(config, &files)?;
    Client::build_with_tls(info, files)
        .map(|client| client.get_connection_info().clone())
        .map_err(|error| unfit("redis.tls_ca", &config.tls_ca, error.to_string(), ""))
}

fn read(config: &RedisConfig) -> Result<TlsCertificates, ConfigError> {
    let bytes = |path: &PathBuf| {
        fs::read(path).map_err(|cause| ConfigError::Read {
            path: path.clone(),
            cause,
        })
    };
    let given = |path: &Path| !path.as_os_str().is_empty();
    Ok(TlsCertificates {
        client_tls: given(&config.tls_cert)
            .then(|| -> Result<_, ConfigError> {
                Ok(ClientTlsConfig {
                    client_cert: bytes(&config.tls_cert)?,
                    client_key: bytes(&config.tls_key)?,
                })
            })
            .transpose()?,
        root_cert: given(&config.tls_ca)
            .then(|| bytes(&config.tls_ca))
            .transpose()?,
    })
}

fn build(config: &RedisConfig, files: &TlsCertificates) -> Result<ClientConfig, ConfigError> {
    let roots = match &files.root_cert {
        Some(pem) => authorities(&config.tls_ca, pem)?,
        None => of_the_system()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unfit("redis.url", Path::new(&config.url), error.to_string(), ""))?
        .with_root_certificates(roots);
    let Some(client) = &files.client_tls else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates("redis.tls_cert", &config.tls_cert, &client.client_cert)?;
    let key = PrivateKeyDer::from_pem_slice(&client.client_key).map_err(|_| {
        let mend = "give the key of redis.tls_cert in PEM, without a passphrase";
        unfit(
            "redis.tls_key",
            &config.tls_key,
            "it holds no private key",
            mend,
        )
    })?;
    builder.with_client_auth_cert(chain, key).map_err(|error| {
        let cause = match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                "it is not the key of redis.tls_cert".to_owned()
            }
            other => other.to_string(),
        };
        unfit(
            "redis.tls_key",
            &config.tls_key,
            cause,
            "give the two that belong together",
        )
    })
}

fn authorities(path: &Path, pem: &[u8]) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("redis.tls_ca", path, pem)? {
        roots.add(certificate).map_err(|error| {
            let mend = "give the certificate of the CA that signed the server's";
            unfit("redis.tls_ca", path, error.to_string(), mend)
        })?;
    }
    Ok(roots)
}

fn of_the_system() -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let mend = "install ca-certificates, or give the file of a CA";
        let cause = "this system has no CA's certificates";
        return Err(unfit("redis.tls_ca", Path::new("\"\""), cause, mend));
    }
    Ok(roots)
}

fn certificates(
    key: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => {
            let mend = "give a file in PEM, -----BEGIN CERTIFICATE----- and what follows";
            Err(unfit(key, path, "it holds no certificate", mend))
        }
    }
}

fn unfit(key: &'static str, path: &Path, cause: impl Into<String>, mend: &str) -> ConfigError {
    ConfigError::File {
        key,
        path: path.to_path_buf(),
        cause: cause.into(),
        mend: mend.to_owned(),
    }
}

/// What rustls said in an error of Redis's client, if it did.
fn failure(error: &RedisError) -> Option<&rustls::Error> {
    let source = error.source()?;
    // The client keeps its cause behind an Arc.
    let kept = source.downcast_ref::<Arc<dyn Error + Send + Sync>>();
    let cause: &(dyn Error + 'static) = kept.map_or(source, |kept| &**kept);
    cause
        .downcast_ref::<io::Error>()
        .and_then(|error| error.get_ref())
        .and_then(|inner| inner.downcast_ref())
        .or_else(|| cause.downcast_ref())
}

/// Whether TLS itself failed, or the other side said why it ends it.
pub fn failed(error: &RedisError) -> bool {
    failure(error).is_some()
}

/// Whether what came is no TLS.
pub fn is_unknown(error: &RedisError) -> bool {
    matches!(failure(error), Some(rustls::Error::InvalidMessage(_)))
}

/// Cause and mend of a failure of TLS; None of any other error.
pub fn words(error: &RedisError) -> Option<(String, &'static str)> {
    let failure = failure(error)?;
    let said = |text: &str| text.to_owned();
    Some(match failure {
        rustls::Error::InvalidCertificate(why) => of_certificate(why),
        rustls::Error::InvalidMessage(_) => (
            said("it speaks no TLS on this port"),
            "give the port that does (tls-port), or write redis:// in redis.url",
        ),
        rustls::Error::AlertReceived(alert) => of_alert(*alert),
        rustls::Error::PeerIncompatible(_) => (
            format!("no common TLS: {failure}"),
            "let the server speak TLS 1.2 or 1.3 (tls-protocols, tls-ciphers)",
        ),
        other => (other.to_string(), "check the server's TLS"),
    })
}

fn of_certificate(why: &CertificateError) -> (String, &'static str) {
    // Nothing that differs from attempt to attempt, such as the time: a cause is said once.
    let renew = "renew the server's certificate, or check the clocks of both";
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            "the server's certificate is not signed by a CA that is trusted here".to_owned(),
            "give the CA that signed it as redis.tls_ca",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("the server's certificate is another name's ({why})"),
            "write a name that stands in the certificate into redis.url",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("the server's certificate has expired".to_owned(), renew)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            "the server's certificate is not valid yet".to_owned(),
            renew,
        ),
        CertificateError::Other(OtherError(inner))
            if inner.to_string().contains("CaUsedAsEndEntity") =>
        {
            (
                "the server shows the certificate of a CA as its own".to_owned(),
                "give the server a certificate that the CA signed",
            )
        }
        other => (
            format!("the server's certificate is not accepted ({other})"),
            "check the server's certificate",
        ),
    }
}

fn of_alert(alert: AlertDescription) -> (String, &'static str) {
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure => (
            format!("the server wants a client's certificate ({alert:?})"),
            "give one as redis.tls_cert with redis.tls_key, or set tls-auth-clients no there",
        ),
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::DecryptError => (
            format!("the server does not accept this certificate ({alert:?})"),
            "give one as redis.tls_cert that the server's tls-ca-cert-file signed",
        ),
        _ => (
            format!("the server ended TLS ({alert:?})"),
            "see the server's log",
        ),
    }
}

#[cfg(test)]
mod tests;
