//! A CIM-XML client over HTTP, HTTPS or a unix socket: one operation in, one reply out.
//!
//! It speaks to any server of DSP0200, not only to ours, and to listeners of indications. What is
//! deliberately absent: retries. An operation may have begun when its connection breaks, so only a
//! connection that was closed before anything was sent is opened anew. Redirects are never followed.

mod endpoint;
mod listener;
mod tls;
mod transport;

use std::{path::PathBuf, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request as HttpRequest, Response, StatusCode, header};
use http_body_util::Full;
use zeroize::Zeroizing;

pub use endpoint::{Authority, Endpoint, EndpointError, Transport};
pub use listener::Listener;
pub use tls::trust;
pub use transport::ExchangeLimits;

use crate::{
    cim::{CimError, Instance, ObjectPath, Operation, Reply, Request, Scalar, Value},
    xml,
};
use transport::HttpConnection;

/// Why an operation gave no reply.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no connection.
    #[error("cannot connect to {url}")]
    Unreachable {
        /// The server.
        url: String,
        /// Why.
        source: std::io::Error,
    },
    /// The HTTP exchange broke.
    #[error("the exchange with {url} failed")]
    Http {
        /// The server.
        url: String,
        /// Why.
        source: hyper::Error,
    },
    /// No whole answer came in time.
    #[error("{url} did not answer within {seconds} s")]
    NoAnswer {
        /// The server.
        url: String,
        /// The deadline.
        seconds: u64,
    },
    /// The answer is larger than the limit.
    #[error("the answer of {url} is larger than {limit} bytes")]
    TooLarge {
        /// The server.
        url: String,
        /// The limit.
        limit: usize,
    },
    /// The server wants other credentials.
    #[error("{url} refuses the user name or password")]
    Unauthorized {
        /// The server.
        url: String,
    },
    /// Any other HTTP status.
    #[error("{url} answered {status}{}", cim_error.as_ref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Status {
        /// The server.
        url: String,
        /// The HTTP status.
        status: StatusCode,
        /// The CIMError header.
        cim_error: Option<String>,
    },
    /// The answer is no CIM-XML reply to the operation.
    #[error("the answer of {url} is not understood")]
    Decode {
        /// The server.
        url: String,
        /// Why.
        source: xml::DecodeError,
    },
    /// A file of trusted certificates is no use.
    #[error("cannot take trusted certificates from {}: {reason}", path.display())]
    Trust {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The request can't be put into HTTP headers.
    #[error("the request has a name that no HTTP header can carry")]
    Header(#[from] http::Error),
    /// The server understood the operation and refused it.
    #[error(transparent)]
    Cim(#[from] CimError),
}

impl ClientError {
    /// Whether the server was not there, or went away: the same question may be answered soon.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Http { .. } | Self::NoAnswer { .. } => true,
            Self::Status { status, .. } => *status == StatusCode::SERVICE_UNAVAILABLE,
            _ => false,
        }
    }
}

/// A user name and password for Basic authentication.
pub struct Credentials {
    /// The user name; it has no colon.
    pub user: String,
    /// The password.
    pub password: Zeroizing<String>,
}

/// A client of one server. Operations go over one kept connection, one after the other.
pub struct Client {
    endpoint: Endpoint,
    authorization: Option<Zeroizing<String>>,
    tls: Option<Arc<rustls::ClientConfig>>,
    limits: ExchangeLimits,
    connection: tokio::sync::Mutex<Option<HttpConnection>>,
}

impl Client {
    /// A client of `endpoint`; nothing is sent yet. `tls` is needed for HTTPS only, see [`trust`].
    pub fn new(
        endpoint: Endpoint,
        credentials: Option<&Credentials>,
        tls: Option<Arc<rustls::ClientConfig>>,
        limits: ExchangeLimits,
    ) -> Self {
        let authorization = credentials.map(|credentials| {
            let pair =
                Zeroizing::new(format!("{}:{}", credentials.user, credentials.password.as_str()));
            Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
        });
        Self { endpoint, authorization, tls, limits, connection: tokio::sync::Mutex::new(None) }
    }

    /// The server this client speaks to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends one operation and waits for its reply.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Cim`] if the server refused the operation itself.
    pub async fn execute(&self, request: &Request) -> Result<Reply, ClientError> {
        let body = xml::encode_request("1", request);
        let response = self.post(request, body.into()).await?;
        let url = || self.endpoint.server();
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err(ClientError::Unauthorized { url: url() }),
            status => {
                let cim_error =
                    response.headers().get("CIMError").and_then(|value| value.to_str().ok());
                return Err(ClientError::Status {
                    url: url(),
                    status,
                    cim_error: cim_error.map(str::to_owned),
                });
            }
        }
        let reply =
            xml::decode_reply(response.body(), &request.operation, &xml::Limits::for_replies())
                .map_err(|source| ClientError::Decode { url: url(), source })?;
        Ok(reply?)
    }

    async fn post(&self, request: &Request, body: Bytes) -> Result<Response<Bytes>, ClientError> {
        let mut http = HttpRequest::post(&self.endpoint.path)
            .header(header::HOST, self.endpoint.host_header())
            .header(header::CONTENT_TYPE, "application/xml; charset=\"utf-8\"")
            .header(header::ACCEPT, "application/xml, text/xml")
            .header(header::USER_AGENT, concat!("virtcimctl/", env!("CARGO_PKG_VERSION")))
            .header("CIMOperation", "MethodCall")
            .header("CIMProtocolVersion", "1.0")
            .header("CIMMethod", percent_encode(request.operation.name()))
            .header("CIMObject", percent_encode(&object_header(request)));
        if let Some(authorization) = &self.authorization {
            http = http.header(header::AUTHORIZATION, authorization.as_str());
        }
        let http = http.body(Full::new(body))?;
        let mut slot = self.connection.lock().await;
        let mut connection = match slot.take() {
            Some(open) if open.is_open() => open,
            _ => HttpConnection::open(&self.endpoint, self.tls.as_ref(), &self.limits).await?,
        };
        let response = connection.exchange(&self.endpoint.server(), http, &self.limits).await?;
        *slot = Some(connection);
        Ok(response)
    }
}

/// The embedded instances in an output parameter or property of a reply, sent with or without the
/// attribute that says they are embedded. What is none is left out.
pub fn embedded_instances(value: &Value) -> Vec<Instance> {
    let elements: Vec<&Scalar> = match value {
        Value::Scalar(scalar) => vec![scalar],
        Value::Array(elements) => elements.iter().flatten().collect(),
    };
    let instance = |scalar: &Scalar| match scalar {
        Scalar::EmbeddedInstance(instance) => Some((**instance).clone()),
        _ => xml::embedded::decode_instance(scalar.as_str()?, &xml::Limits::for_replies()).ok(),
    };
    elements.into_iter().filter_map(instance).collect()
}

/// The CIMObject header (DSP0200 §6.3.7): the namespace, or for a method the object's path.
fn object_header(request: &Request) -> String {
    let Operation::InvokeMethod { object, .. } = &request.operation else {
        return request.namespace.to_string();
    };
    let mut object = object.clone();
    let namespace = Some(request.namespace.clone());
    match &mut object {
        ObjectPath::Class(path) => (path.host, path.namespace) = (None, namespace),
        ObjectPath::Instance(path) => (path.host, path.namespace) = (None, namespace),
    }
    object.to_string()
}

/// Escapes what an HTTP header can't carry (DSP0200 §6.3.2): everything outside printable ASCII, and
/// `%` itself.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | ..=b' ' | 0x7f.. => encoded.push_str(&format!("%{byte:02X}")),
            _ => encoded.push(char::from(byte)),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cim::{CimName, InstancePath, Namespace};

    #[test]
    fn headers_carry_any_object_path() {
        let path =
            InstancePath::new(CimName::literal("A"), [(CimName::literal("Name"), "100% é\n")]);
        let request = Request {
            namespace: Namespace::parse("root/virt").expect("a namespace"),
            operation: Operation::InvokeMethod {
                object: path.into(),
                method: CimName::literal("M"),
                parameters: Vec::new(),
            },
        };
        let header = percent_encode(&object_header(&request));
        assert!(header.bytes().all(|byte| byte.is_ascii_graphic()), "{header}");
        assert!(header.starts_with("root/virt:A.Name=\"100%25%20%C3%A9"), "{header}");
    }
}
