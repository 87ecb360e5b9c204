//! What is answered on the level of HTTP, where no CIM status can be (DSP0200 §7.3).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::{answer::AnswerBody, auth::Denial};

/// The most characters of a detail. It may repeat what a client sent, and stands in a header, where each
/// of its bytes may take three: clients read lines of 64 KiB at most.
const MAX_DETAIL: usize = 1000;

/// A request that is refused as a whole.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// The CIMError header, where DSP0200 has a word for it.
    cim_error: Option<&'static str>,
    /// What is wrong, for whoever reads it.
    pub(super) detail: String,
    header: Option<(HeaderName, HeaderValue)>,
}

/// The methods we know.
pub(super) const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("POST, M-POST, OPTIONS");

impl Refusal {
    /// An answer with a status and a sentence.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if let Some((end, _)) = detail.char_indices().nth(MAX_DETAIL) {
            detail.truncate(end);
            detail.push('…');
        }
        Self { status, cim_error: None, detail, header: None }
    }

    /// An answer with a CIMError header.
    pub(super) fn cim(
        status: StatusCode,
        cim_error: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { cim_error: Some(cim_error), ..Self::new(status, detail) }
    }

    /// What a header says is not what the body says, or nothing at all.
    pub(super) fn header_mismatch(detail: impl Into<String>) -> Self {
        Self::cim(StatusCode::BAD_REQUEST, "header-mismatch", detail)
    }

    pub(super) fn method_not_allowed() -> Self {
        Self {
            header: Some((header::ALLOW, ALLOWED_METHODS)),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "CIM operations are sent with POST")
        }
    }

    fn retry_after(self, time: Duration) -> Self {
        let seconds = time.as_secs_f64().ceil().max(1.0);
        let value = HeaderValue::from_str(&seconds.to_string()).expect("a number is a value");
        Self { header: Some((header::RETRY_AFTER, value)), ..self }
    }

    /// We could, at another time.
    pub(super) fn unavailable(detail: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(Duration::from_secs(1))
    }

    /// Whether the client might do better on the same connection, so that it is worth keeping.
    pub(super) fn is_worth_another_try(&self) -> bool {
        self.status != StatusCode::PAYLOAD_TOO_LARGE
            && self.status != StatusCode::REQUEST_TIMEOUT
            && self.status != StatusCode::SERVICE_UNAVAILABLE
    }

    /// The answer. `extension` is the number a client put before extension headers (M-POST).
    pub(super) fn response(self, extension: Option<&str>) -> Response<AnswerBody> {
        let mut response =
            Response::new(AnswerBody::whole(Bytes::from(self.detail.clone() + "\n")));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, text);
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
        if let Some(cim_error) = self.cim_error {
            super::answer::declare_extension(headers, extension);
            headers.insert(
                super::head::extended("cimerror", extension),
                HeaderValue::from_static(cim_error),
            );
            headers.insert(
                super::head::extended("pgerrordetail", extension),
                super::head::encode_percent(&self.detail),
            );
        }
        response
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Unauthorized => Self {
                header: Some((
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Basic realm=\"virtcimd\""),
                )),
                ..Self::new(StatusCode::UNAUTHORIZED, "a name and a password are needed")
            },
            Denial::TooMany { retry_after } => {
                let detail = "too many wrong passwords came from this address";
                Self::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(retry_after)
            }
            Denial::Busy => Self::unavailable("too many logins are being verified"),
        }
    }
}
