//! A certificate authority of one test, and the files that Redis and the daemons get from it.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};

/// The user that the analyzer runs as.
const NOBODY: u32 = 65534;

/// Its certificate is `ca.pem` in its folder.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

/// Whose certificate it is, and until when it is good.
#[derive(Clone, Copy, Debug)]
pub enum Good {
    /// For 127.0.0.1, for years.
    Here,
    /// For 127.0.0.1, until the year 2001.
    Once,
    /// For another name.
    Elsewhere,
}

impl Authority {
    /// Makes one of this name, and writes its certificate.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn new(folder: &Path, name: &str) -> Result<Self> {
        let mut params = CertificateParams::new([])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let authority = Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?,
            folder: folder.to_path_buf(),
        };
        authority.put("ca.pem")?;
        Ok(authority)
    }

    /// Writes its certificate as `name`, in one step, as a renewal does.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, name: &str) -> Result<()> {
        let new = self.folder.join("new.pem");
        fs::write(&new, self.issuer.pem())?;
        Ok(fs::rename(new, self.folder.join(name))?)
    }

    /// Signs a certificate: `NAME.pem` and `NAME.key`, which `user` alone may read.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn sign(&self, name: &str, good: Good, user: u32) -> Result<()> {
        let subject = match good {
            Good::Here | Good::Once => "127.0.0.1",
            Good::Elsewhere => "redis.example",
        };
        self.sign_for(name, &[subject], good, user)
    }

    /// The same for other names and addresses.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn sign_for(&self, name: &str, subjects: &[&str], good: Good, user: u32) -> Result<()> {
        let subjects: Vec<_> = subjects.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(subjects)?;
        params.distinguished_name.push(DnType::CommonName, name);
        if let Good::Once = good {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        fs::write(self.folder.join(format!("{name}.pem")), certificate.pem())?;
        let file = self.folder.join(format!("{name}.key"));
        fs::write(&file, key.serialize_pem())?;
        fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        Ok(chown(&file, Some(user), None)?)
    }

    /// A certificate for each daemon, with a key that it alone may read.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn sign_daemons(&self) -> Result<()> {
        self.sign("collector", Good::Here, 0)?;
        self.sign("analyzer", Good::Here, NOBODY)
    }
}

/// A port of 127.0.0.1 that nobody uses at this moment.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
