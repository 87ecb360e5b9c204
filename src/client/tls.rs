//! Which certificate authorities a client trusts.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::ClientError;

/// Where Debian and Fedora keep the machine's trusted authorities.
const SYSTEM_BUNDLES: [&str; 2] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// The TLS settings of a client that trusts the authorities in `ca`, or, without it, the machine's.
///
/// # Errors
/// [`ClientError::Trust`] if the file can't be read or holds no certificate.
pub fn trust(ca: Option<&Path>) -> Result<Arc<ClientConfig>, ClientError> {
    let path = match ca {
        Some(path) => path,
        None => {
            SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.exists()).ok_or_else(|| {
                ClientError::Trust { path: SYSTEM_BUNDLES[0].into(), reason: "no such file".into() }
            })?
        }
    };
    let refused = |reason: String| ClientError::Trust { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(path).map_err(|error| refused(error.to_string()))?
    {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        // A bundle may hold a certificate rustls can't use; the others still count.
        if let Err(error) = roots.add(certificate) {
            tracing::debug!(%error, "certificate authority left out");
        }
    }
    if roots.is_empty() {
        return Err(refused("it holds no usable certificate".into()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .map_err(|error| refused(error.to_string()))?
    .with_root_certificates(roots)
    .with_no_client_auth();
    Ok(Arc::new(config))
}
