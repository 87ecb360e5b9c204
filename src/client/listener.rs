//! Sends indications to a listener (DSP0200 §5.5, DSP0201 §5.2.6).
//!
//! Each goes over a connection of its own, which is what listeners do anyway: a listener that takes one
//! connection after the other is not kept from others by one that has nothing to say.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;

use super::{ClientError, Endpoint, ExchangeLimits, transport::HttpConnection};
use crate::{cim::Instance, xml};

/// How much of a listener's CIMError header is repeated.
const MAX_CIM_ERROR: usize = 64;

/// A listener of indications.
pub struct Listener {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Whom to believe that it is there; needed for HTTPS only, see [`trust`](super::trust).
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// How long and how much its answer may take.
    pub limits: ExchangeLimits,
}

impl Listener {
    /// Sends an indication and waits until the listener has taken it. An answer that is good but cannot
    /// be read says so, too: some listeners send none.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Cim`] if the listener understood it and does not want it.
    pub async fn export(&self, message: &str, indication: &Instance) -> Result<(), ClientError> {
        let body = Bytes::from(xml::encode_export(message, indication));
        let request = Request::post(&self.endpoint.path)
            .header(header::HOST, self.endpoint.host_header())
            .header(header::CONTENT_TYPE, "application/xml; charset=\"utf-8\"")
            .header(header::CONTENT_LENGTH, body.len())
            .header(header::CONNECTION, "close")
            .header(header::USER_AGENT, concat!("virtcimd/", env!("CARGO_PKG_VERSION")))
            .header("CIMExport", "MethodRequest")
            .header("CIMExportMethod", "ExportIndication")
            .header("CIMProtocolVersion", "1.0")
            .body(Full::new(body))?;
        let url = self.endpoint.server();
        let mut connection =
            HttpConnection::open(&self.endpoint, self.tls.as_ref(), &self.limits).await?;
        let response = connection.exchange(&url, request, &self.limits).await?;
        if response.status() != StatusCode::OK {
            let cim_error = response.headers().get("CIMError").and_then(|it| it.to_str().ok());
            let cim_error = cim_error.map(|text| text.chars().take(MAX_CIM_ERROR).collect());
            return Err(ClientError::Status { url, status: response.status(), cim_error });
        }
        match xml::decode_export_reply(response.body(), &xml::Limits::default()) {
            Ok(answer) => Ok(answer?),
            Err(error) => {
                tracing::debug!(url, %error, "a listener's answer is not understood");
                Ok(())
            }
        }
    }
}
