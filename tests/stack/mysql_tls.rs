//! Goal: the database of the overflow is reached under TLS as the settings say, or not at all, and why is told. Method: a
//! real MariaDB under a certificate of its own, one beside it without, read by its own client.

use crate::servers::{self, Server};
use mysql_async::Params;
use widerow::domain::fault::{Fault, FaultKind};
use widerow::io::mysql::Mysql;
use widerow::settings::{MysqlSettings, Secret, Tls};

fn settings(server: &Server, user: &str, tls: Option<Tls>) -> MysqlSettings {
    let url = format!("mysql://{user}:widerow@{}/aside", server.address());
    MysqlSettings { url: Secret::new(url), tls, table: "overflow".to_owned() }
}

/// The TLS version a connection speaks; empty for plain text.
fn spoken(settings: &MysqlSettings) -> Result<String, Fault> {
    let rows: Vec<(String, String)> = Mysql::new(settings)?.rows("SHOW SESSION STATUS LIKE 'Ssl_version'", "", Params::Empty)?;
    Ok(rows.into_iter().next().map(|(_, version)| version).unwrap_or_default())
}

/// What `tls` names, of the files in the server's folder.
fn tls(server: &Server, ca: Option<&str>, ours: Option<(&str, &str)>) -> Option<Tls> {
    let file = |name: &str| server.folder().join(name);
    let (certificate, key) = (ours.map(|(certificate, _)| file(certificate)), ours.map(|(_, key)| file(key)));
    Some(Tls { ca: ca.map(file), certificate, key, verify: true })
}

fn refused(settings: &MysqlSettings, kind: FaultKind, words: &[&str]) {
    let fault = spoken(settings).expect_err("refused");
    assert!(
        fault.kind == kind && words.iter().all(|word| fault.to_string().contains(word)),
        "wanted {kind:?} {words:?}: {fault:?}"
    );
}

/// Goal: encrypted where `tls` stands, plain where it does not, refused where the certificate is not the one that was named.
/// Method: a table of settings on one server, and the server's own word for what is spoken.
#[test]
fn a_connection_is_what_the_settings_say() {
    let server = servers::mariadb_tls();
    let sql = |statements: &str| server.script("sql", &["-e", statements]);
    sql("create database aside;
         create user strict@'%' identified by 'widerow' require x509;
         grant all on aside.* to strict@'%'");
    let trusting = || tls(&server, Some("server.crt"), None);
    let whole = settings(&server, "widerow", trusting());
    assert!(spoken(&whole).unwrap().starts_with("TLSv1."));
    assert_eq!(spoken(&settings(&server, "widerow", None)).unwrap(), "");
    let unchecked = Some(Tls { ca: None, certificate: None, key: None, verify: false });
    assert!(spoken(&settings(&server, "widerow", unchecked)).unwrap().starts_with("TLSv1."));

    for (ca, why) in [(None, "nobody known vouches for it"), (Some("client.crt"), "somebody else's authority")] {
        let other = settings(&server, "widerow", tls(&server, ca, None));
        let fault = spoken(&other).expect_err(why);
        assert!(fault.kind == FaultKind::Unreachable && fault.what.contains("certificate verify failed"), "{why}: {fault:?}");
    }
    let elsewhere = settings(&server, "widerow", trusting());
    let elsewhere = MysqlSettings { url: Secret::new(elsewhere.url.reveal().replace("127.0.0.1", "localhost")), ..elsewhere };
    refused(&elsewhere, FaultKind::Unreachable, &["TLS", "`ledger.mysql.tls`"]);

    refused(&settings(&server, "strict", trusting()), FaultKind::Forbidden, &["Access denied"]);
    let known = tls(&server, Some("server.crt"), Some(("client.crt", "client.key")));
    assert!(spoken(&settings(&server, "strict", known)).unwrap().starts_with("TLSv1."));

    let made = ["CREATE TABLE seen (n INT)", "INSERT INTO seen VALUES (7)"].map(|text| (text.to_owned(), Params::Empty));
    Mysql::new(&whole).unwrap().change(made.into()).unwrap();
    assert_eq!(sql("select n from aside.seen"), "7\n");
    sql("set global require_secure_transport = on");
    refused(&settings(&server, "widerow", None), FaultKind::Forbidden, &["wants TLS", "`tls: {}`"]);
    assert!(spoken(&whole).unwrap().starts_with("TLSv1."));
}

/// Goal: a server without TLS is told, rather than talked to in plain text. Method: the same settings at one.
#[test]
fn a_server_without_tls_is_refused() {
    let server = servers::mariadb();
    server.script("sql", &["-e", "create database aside"]);
    let whole = settings(&server, "widerow", Some(Tls { verify: true, ..Tls::default() }));
    refused(&whole, FaultKind::Incompatible, &["does not speak TLS", "ssl_cert", "leave `ledger.mysql.tls` out"]);
}

/// Goal: files that cannot be used are told before anything is connected. Method: a table, at an address of nobody.
#[test]
fn files_are_judged_first() {
    let server = servers::mariadb_tls();
    let (ours, swapped, strange) = (("client.crt", "client.key"), ("client.crt", "server.key"), ("known.crt", "pid"));
    for (settings, words) in [
        (tls(&server, Some("not-there.crt"), None), ["tls.ca", "not-there.crt"]),
        (tls(&server, Some("server.key"), None), ["tls.ca", "certificates in PEM"]),
        (tls(&server, None, Some(swapped)), ["tls.key", "the key of our certificate"]),
        (tls(&server, None, Some(strange)), ["tls.key", "a private key in PEM"]),
        (tls(&server, None, Some(("pid", "client.key"))), ["tls.certificate", "certificates in PEM"]),
        (tls(&server, None, Some(ours)).map(|tls| Tls { key: None, ..tls }), ["tls.key", "write both"]),
        (tls(&server, None, Some(ours)).map(|tls| Tls { certificate: None, ..tls }), ["tls.certificate", "write both"]),
    ] {
        let nobody =
            MysqlSettings { url: Secret::new("mysql://u:p@127.0.0.1:1/d".to_owned()), tls: settings, table: "t".to_owned() };
        refused(&nobody, FaultKind::Invalid, &words);
    }
}
