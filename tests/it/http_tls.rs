//! The same over real TLS: certificates of the server and of clients, their reload, deadlines.

use std::{path::Path, sync::Arc, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};
use virtcimd::{
    http::{ListenAddress, Listener, Options, TlsFiles},
    ops::Role,
};

use super::http_support::*;

struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, both DER.
struct Leaf {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn leaf(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> Leaf {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Leaf { certificate: certificate.der().clone(), pem: certificate.pem(), key }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }
}

impl Leaf {
    fn write(&self, files: &TlsFiles) {
        std::fs::write(&files.certificate, &self.pem).unwrap();
        std::fs::write(&files.private_key, self.key.serialize_pem()).unwrap();
    }
}

/// A server with TLS, the authority that signed its certificate, and the one for clients.
struct Fortress {
    house: House,
    authority: Authority,
    clients: Authority,
    files: TlsFiles,
    _files: tempfile::TempDir,
}

async fn fortress(change: impl FnOnce(&mut Options)) -> Fortress {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (authority, clients) = (Authority::new("server CA"), Authority::new("client CA"));
    let files = TlsFiles {
        certificate: path("certificate.pem"),
        private_key: path("key.pem"),
        client_ca: Some(path("clients.pem")),
    };
    authority.leaf("server", ExtendedKeyUsagePurpose::ServerAuth).write(&files);
    std::fs::write(path("clients.pem"), clients.0.pem()).unwrap();
    let house = start_with_users(|options| {
        let address = ListenAddress::Https("127.0.0.1:0".parse().unwrap());
        options.listeners = vec![Listener { address, may_be_absent: false }];
        options.tls = Some(files.clone());
        options.auth.certificates = [("robot".to_owned(), Role::Checker)].into();
        change(options);
    })
    .await;
    Fortress { house, authority, clients, files, _files: directory }
}

impl Fortress {
    async fn try_connect(
        &self,
        identity: Option<&Leaf>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<Client<TlsStream<TcpStream>>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.authority.roots());
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let key = PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![leaf.certificate.clone()], key).unwrap()
            }
        };
        let stream = TcpStream::connect(self.house.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.map(Client::new)
    }

    async fn connect(&self, identity: Option<&Leaf>) -> Client<TlsStream<TcpStream>> {
        self.try_connect(identity, &[&TLS13, &TLS12]).await.unwrap()
    }
}

#[tokio::test]
async fn passwords_work_over_both_versions_of_tls() {
    let fortress = fortress(|_| ()).await;
    let good = basic("alice:secret");
    for version in [&TLS12, &TLS13] {
        let mut client = fortress.try_connect(None, &[version]).await.unwrap();
        client.send(request("Now", &[])).await;
        assert_eq!(client.answer().await.code(), 401);
        client.send(request("Now", &[("Authorization", Some(&good))])).await;
        assert_eq!(client.answer().await.code(), 200);
        client.send(request("Stream_5000", &[("Authorization", Some(&good))])).await;
        let answered = client.answer().await;
        assert!(answered.chunked && answered.text().ends_with("</CIM>"));
    }
}

#[tokio::test]
async fn a_client_certificate_is_an_identity_if_its_name_has_a_role() {
    let fortress = fortress(|_| ()).await;
    let robot = fortress.clients.leaf("robot", ExtendedKeyUsagePurpose::ClientAuth);
    let mut client = fortress.connect(Some(&robot)).await;
    client.send(request("Now", &[])).await;
    assert_eq!(client.answer().await.code(), 200);
    let principal = fortress.house.fake.seen.lock().unwrap()[0].0.principal.clone();
    assert_eq!((principal.name.as_str(), principal.role), ("robot", Role::Checker));
    // A wrong password is refused all the same.
    client.send(request("Now", &[("Authorization", Some(&basic("alice:wrong")))])).await;
    assert_eq!(client.answer().await.code(), 401);
    let stranger = fortress.clients.leaf("stranger", ExtendedKeyUsagePurpose::ClientAuth);
    let mut client = fortress.connect(Some(&stranger)).await;
    client.send(request("Now", &[])).await;
    assert_eq!(client.answer().await.code(), 401);
    assert_eq!(fortress.house.seen(), 1);
}

#[tokio::test]
async fn a_certificate_of_another_authority_ends_the_connection() {
    let fortress = fortress(|_| ()).await;
    let forger = Authority::new("client CA");
    for leaf in [
        forger.leaf("robot", ExtendedKeyUsagePurpose::ClientAuth),
        fortress.clients.leaf("robot", ExtendedKeyUsagePurpose::ServerAuth),
    ] {
        // In TLS 1.3 the client learns of it with its first read.
        if let Ok(mut client) = fortress.try_connect(Some(&leaf), &[&TLS13]).await {
            client.send(request("Now", &[])).await;
            assert!(client.rest().await.is_empty());
        }
        assert!(fortress.try_connect(Some(&leaf), &[&TLS12]).await.is_err());
    }
    assert_eq!(fortress.house.seen(), 0);
}

#[tokio::test]
async fn a_new_certificate_is_used_after_a_reload_and_a_broken_one_never() {
    let fortress = fortress(|_| ()).await;
    let mut kept = fortress.connect(None).await;
    let certificate = |client: &Client<TlsStream<TcpStream>>| {
        client.stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    let first = certificate(&kept);
    let renewed = fortress.authority.leaf("server", ExtendedKeyUsagePurpose::ServerAuth);
    renewed.write(&fortress.files);
    assert_eq!(certificate(&fortress.connect(None).await), first, "not before the reload");
    fortress.house.server.reload().unwrap();
    assert_eq!(certificate(&fortress.connect(None).await), renewed.certificate);
    for (file, text) in [
        (&fortress.files.private_key, "nonsense"),
        (&fortress.files.certificate, ""),
        (fortress.files.client_ca.as_ref().unwrap(), "-----BEGIN CERTIFICATE-----\n"),
    ] {
        let before = std::fs::read(file).unwrap();
        std::fs::write(file, text).unwrap();
        let errors = fortress.house.server.reload().unwrap_err();
        assert_eq!(errors.len(), 1, "{file:?}");
        assert_eq!(certificate(&fortress.connect(None).await), renewed.certificate, "{file:?}");
        std::fs::write(file, before).unwrap();
    }
    // Certificate and key that do not belong together.
    let other = fortress.authority.leaf("server", ExtendedKeyUsagePurpose::ServerAuth);
    std::fs::write(&fortress.files.private_key, other.key.serialize_pem()).unwrap();
    fortress.house.server.reload().unwrap_err();
    // Connections from before go on.
    kept.send(request("Now", &[])).await;
    assert_eq!(kept.answer().await.code(), 401);
}

#[tokio::test]
async fn without_tls_there_is_no_answer_on_a_tls_port() {
    let fortress =
        fortress(|options| options.limits.header_time = Duration::from_millis(200)).await;
    let mut client = fortress.house.connect().await;
    client.send(request("Now", &[])).await;
    let answer = client.rest().await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // Nor does a handshake that never comes hold a connection.
    assert!(fortress.house.connect().await.is_closed().await);
}

#[tokio::test]
async fn a_client_that_goes_away_or_stops_sending_is_told_apart_over_tls_as_well() {
    let fortress = fortress(|_| ()).await;
    let robot = fortress.clients.leaf("robot", ExtendedKeyUsagePurpose::ClientAuth);
    let house = &fortress.house;
    let mut client = fortress.connect(Some(&robot)).await;
    client.send(request("Wait", &[])).await;
    client.stream.shutdown().await.unwrap();
    house.waits(1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(*house.fake.cancelled.borrow(), 0);
    house.fake.release.add_permits(1);
    assert_eq!(client.answer().await.status, "HTTP/1.1 200 OK");
    let mut client = fortress.connect(Some(&robot)).await;
    client.send(request("Wait", &[])).await;
    house.waits(2).await;
    drop(client);
    let mut cancelled = house.fake.cancelled.subscribe();
    soon(cancelled.wait_for(|count| *count == 1)).await.unwrap();
}

#[tokio::test]
async fn unusable_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let files = TlsFiles {
        certificate: directory.path().join("c"),
        private_key: directory.path().join("k"),
        client_ca: None,
    };
    let problem = |files: &TlsFiles| virtcimd::http::tls::check(files).unwrap_err().to_string();
    assert!(problem(&files).starts_with("cannot read the certificate from "));
    let authority = Authority::new("x");
    authority.leaf("x", ExtendedKeyUsagePurpose::ServerAuth).write(&files);
    virtcimd::http::tls::check(&files).unwrap();
    std::fs::write(&files.certificate, "").unwrap();
    assert!(problem(&files).ends_with("holds no certificate"));
    assert!(Path::new(&files.private_key).exists());
}
