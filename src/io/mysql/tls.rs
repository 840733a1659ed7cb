//! `ledger.mysql.tls` as the client takes it. Reads the files, so that a wrong one is told before anything runs.
//!
//! With `tls` a connection is encrypted or there is none: the client never falls back to plain text.

use crate::domain::fault::{Fault, FaultKind};
use crate::settings::Tls;
use mysql_async::{ClientIdentity, SslOpts};
use openssl::pkcs12::Pkcs12;
use openssl::pkey::PKey;
use openssl::x509::X509;
use std::fmt::Display;
use std::path::Path;

/// What the client is to check and to show.
///
/// # Errors
/// `invalid` for a file that cannot be read or holds something else, and for a certificate without its key.
pub fn options(tls: &Tls) -> Result<SslOpts, Fault> {
    let mut options =
        SslOpts::default().with_danger_accept_invalid_certs(!tls.verify).with_danger_skip_domain_validation(!tls.verify);
    if let Some(path) = &tls.ca {
        let pem = file("ca", path)?;
        certificates("ca", path, &pem)?;
        options = options.with_root_certs(vec![pem.into()]).with_disable_built_in_roots(true);
    }
    match (&tls.certificate, &tls.key) {
        (None, None) => Ok(options),
        (Some(certificate), Some(key)) => Ok(options.with_client_identity(Some(identity(certificate, key)?))),
        (Some(_), None) => Err(invalid("key", "our certificate is of no use without its key; write both or none")),
        (None, Some(_)) => Err(invalid("certificate", "our key is of no use without its certificate; write both or none")),
    }
}

/// Our certificate, those that vouch for it, and its key, as the one archive the client reads.
fn identity(certificate: &Path, key: &Path) -> Result<ClientIdentity, Fault> {
    let mut chain = certificates("certificate", certificate, &file("certificate", certificate)?)?.into_iter();
    let pem = file("key", key)?;
    let private = PKey::private_key_from_pem(&pem).map_err(|_| unlike("key", key, "a private key in PEM without a password"))?;
    let mut archive = Pkcs12::builder();
    if let Some(ours) = chain.next() {
        if !ours.public_key().is_ok_and(|public| public.public_eq(&private)) {
            return Err(unlike("key", key, "the key of our certificate"));
        }
        archive.cert(&ours);
    }
    let mut above = openssl::stack::Stack::new().map_err(|error| invalid("certificate", error))?;
    for one in chain {
        above.push(one).map_err(|error| invalid("certificate", error))?;
    }
    // The archive never leaves this process, so its password guards nothing.
    let made = archive.pkey(&private).ca(above).build2("").and_then(|archive| archive.to_der());
    let archive = made.map_err(|error| invalid("certificate", error))?;
    Ok(ClientIdentity::new(archive.into()).with_password(""))
}

fn certificates(name: &str, path: &Path, pem: &[u8]) -> Result<Vec<X509>, Fault> {
    match X509::stack_from_pem(pem) {
        Ok(held) if !held.is_empty() => Ok(held),
        _ => Err(unlike(name, path, "certificates in PEM")),
    }
}

fn file(name: &str, path: &Path) -> Result<Vec<u8>, Fault> {
    std::fs::read(path).map_err(|error| invalid(name, format!("{}: {error}", path.display())))
}

fn unlike(name: &str, path: &Path, wanted: &str) -> Fault {
    invalid(name, format!("{} does not hold {wanted}", path.display()))
}

fn invalid(name: &str, what: impl Display) -> Fault {
    Fault::new(FaultKind::Invalid, format!("ledger.mysql.tls.{name}"), what)
}
