//! TLS: the server's certificate, and whose client certificates are believed.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use rustls::{RootCertStore, ServerConfig, crypto::CryptoProvider, server::WebPkiClientVerifier};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use tokio_rustls::TlsAcceptor;

use super::TlsFiles;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read.
    #[error("cannot read {what} from {}", path.display())]
    File {
        /// What should be in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// A file holds no certificate.
    #[error("{} holds no certificate", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key cannot be used.
    #[error("cannot use the certificate {} with the key {}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The authorities for client certificates cannot be used.
    #[error("cannot use the authorities in {}", path.display())]
    Authorities {
        /// Their file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The server's side of TLS; new connections use what was read last.
pub(super) struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads certificate, key and authorities.
    pub(super) fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let config = RwLock::new(Arc::new(server_config(files)?));
        Ok(Self { files: files.clone(), config })
    }

    /// Reads the files again. If that fails, what was read before stays in use.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        let config = Arc::new(server_config(&self.files)?);
        *self.config.write().expect("no holder of this lock panics") = config;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.config.read().expect("no holder of this lock panics").clone().into()
    }
}

/// Whether these files can be used.
///
/// # Errors
/// [`TlsError`].
pub fn check(files: &TlsFiles) -> Result<(), TlsError> {
    server_config(files).map(drop)
}

fn server_config(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificates("the certificate", &files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.private_key).map_err(|source| {
        TlsError::File { what: "the private key", path: files.private_key.clone(), source }
    })?;
    let pair = |source| TlsError::Pair {
        certificate: files.certificate.clone(),
        key: files.private_key.clone(),
        source,
    };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(pair)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(client_verifier(path, provider)?),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Verifies a client certificate if one is offered; a client without one can still log in.
fn client_verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let refused = |source: Box<_>| TlsError::Authorities { path: path.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("the authorities", path)? {
        roots.add(certificate).map_err(|error| refused(error.into()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map(|verifier| verifier as _)
        .map_err(|error| refused(error.into()))
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file_error = |source| TlsError::File { what, path: path.to_owned(), source };
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(file_error)?;
    if certificates.is_empty() {
        return Err(TlsError::Empty { path: path.to_owned() });
    }
    Ok(certificates)
}

/// The common name of a verified certificate's subject; `None` if it has none, or more than one and
/// is ambiguous.
pub(super) fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?;
    names.next().is_none().then(|| name.to_owned())
}
