//! One request: from its head to its answer.
//!
//! The order is that of trust: what the head says costs nothing to judge; then who is asking; only
//! then is a body read, bounded in size and time, and decoded; only what its headers announced runs.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use http::{
    HeaderName, HeaderValue, Request, Response, StatusCode, Version, header, request::Parts,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, error};

use super::{
    Handler, Limits, Workaround, acceptable,
    answer::{self, AnswerBody, Beginning, List, Listed, Streamed},
    auth::Authenticator,
    classes::ClassTexts,
    head::{self, Announcement, CIM_EXTENSION, Manner},
    peer::Peer,
    places::Place,
    refusal::{ALLOWED_METHODS, Refusal},
    wire::WireHandle,
};
use crate::{
    cim::{self, CimError, Namespace},
    ops::{Answer, Context, Meter, Misread, OperationType, Principal},
    xml::{
        self, Call, DecodeError, EmbeddedArrays, FalseBoolean, Limit, RequestBody, RequestMessage,
        Style, Target,
    },
};

/// How long a request runs before we begin to watch whether its client is still there: most are done
/// by then, and a watch costs some system calls.
const WATCH_AFTER: Duration = Duration::from_millis(50);
/// How much of a refused request's body is read so that the connection can be kept, and for how long.
const DRAIN_BYTES: usize = 64 << 10;
const DRAIN_TIME: Duration = Duration::from_millis(250);
/// The number before our own extension headers, in answers to OPTIONS.
const OWN_NUMBER: &str = "73";

/// What all connections share.
pub(super) struct Shared {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) limits: Limits,
    pub(super) xml_limits: xml::Limits,
    pub(super) pywbem_booleans: Workaround,
    pub(super) wbemcli_arrays: Workaround,
    pub(super) class_texts: Arc<ClassTexts>,
    /// One permit for each operation that may run.
    pub(super) requests: Semaphore,
    /// Running operations.
    pub(super) operations: TaskTracker,
    /// Cancelled when no request is accepted any more.
    pub(super) stopping: CancellationToken,
}

/// The requests of one connection.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Arc<Peer>,
    pub(super) place: Arc<Place>,
    pub(super) wire: WireHandle,
    /// Cancelled when the connection is to be closed after the current answer.
    pub(super) close: CancellationToken,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.wire.busy();
        let service = self.clone();
        Box::pin(async move {
            let response = service.answer(request).await;
            Ok(response.map(|body| body.on(service.wire)))
        })
    }
}

impl Service {
    async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let begun = Instant::now();
        let (parts, mut body) = request.into_parts();
        let (response, manner) = match head::manner(&parts) {
            Err(refusal) => (Err(refusal), Manner::Post),
            Ok(manner) => self.answer_manner(&parts, manner, &mut body, begun).await,
        };
        match response {
            Ok(response) => response,
            Err(refusal) => self.refuse(refusal, &parts, &manner, body).await,
        }
    }

    /// Makes the answer. The manner comes back, complete as far as it was understood, because even a
    /// refusal is in the client's manner.
    async fn answer_manner(
        &self,
        parts: &Parts,
        mut manner: Manner,
        body: &mut Incoming,
        begun: Instant,
    ) -> (Result<Response<AnswerBody>, Refusal>, Manner) {
        let trusted = async {
            let host = head::host(parts)?;
            if self.shared.stopping.is_cancelled() {
                return Err(Refusal::unavailable("the server is shutting down"));
            }
            let principal =
                self.shared.authenticator.authenticate(&parts.headers, &self.peer).await?;
            Ok((host, principal))
        };
        let (host, principal) = match trusted.await {
            Ok(trusted) => trusted,
            Err(refusal) => return (Err(refusal), Manner::Post),
        };
        self.place.keep();
        if manner == Manner::Options {
            return (Ok(options()), manner);
        }
        if let Manner::Extended(number) = &mut manner {
            match head::extension(parts) {
                Ok(found) => *number = found,
                Err(refusal) => return (Err(refusal), Manner::Post),
            }
        }
        let response = self.operation(parts, &manner, host, principal, body, begun).await;
        (response, manner)
    }

    async fn operation(
        &self,
        parts: &Parts,
        manner: &Manner,
        host: Option<String>,
        principal: Principal,
        body: &mut Incoming,
        begun: Instant,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let shared = &self.shared;
        acceptable::acceptable(&parts.headers)?;
        head::body(&parts.headers, &shared.limits)?;
        let announcement = head::announcement(&parts.headers, manner)?;
        let permit = shared.requests.try_acquire();
        let permit = permit.map_err(|_| Refusal::unavailable("too many operations are running"))?;
        let bytes = self.read(body).await?;
        let message = decode(&bytes, &shared.xml_limits, &announcement)?;
        let request_size = bytes.len();
        drop(bytes);
        let (message, call) = simple(message)?;
        announcement.compare(&call)?;
        let meter = self.meter(&call, begun, request_size);
        let context = Context {
            principal,
            peer: self.peer.name.clone(),
            host: host.unwrap_or_else(|| "localhost".to_owned()),
            cancelled: CancellationToken::new(),
        };
        let style = self.style(parts, &context.host, &message, &call);
        let (answer, call) = self.execute(context, call, &meter).await;
        drop(permit);
        let body = self.encode(parts, message, call, style, answer).await.metered(meter);
        debug!(peer = %self.peer.name, micros = begun.elapsed().as_micros(), "request answered");
        Ok(answer::response(body, manner.extension(), begun))
    }

    /// Reads a body that is neither too large nor too slow.
    async fn read(&self, body: &mut Incoming) -> Result<Bytes, Refusal> {
        let limits = &self.shared.limits;
        let reading = Limited::new(body, limits.body_size.get()).collect();
        match timeout(limits.body_time, reading).await {
            Ok(Ok(collected)) => {
                let mut collected = collected.aggregate();
                Ok(collected.copy_to_bytes(collected.remaining()))
            }
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(head::too_large(limits)),
            Ok(Err(error)) => {
                let detail = format!("the body cannot be read: {error}");
                Err(Refusal::new(StatusCode::BAD_REQUEST, detail))
            }
            Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly")),
        }
    }

    /// Measures the operation, whose request began to arrive at `begun`.
    fn meter(&self, call: &Call, begun: Instant, request_size: usize) -> Meter {
        let operation = match call.target {
            Target::Namespace(_) => OperationType::intrinsic(&call.name),
            Target::Object(_) => OperationType::METHOD,
        };
        Meter::start(self.shared.handler.statistics(), operation, begun, request_size)
    }

    fn style(&self, parts: &Parts, host: &str, message: &RequestMessage, call: &Call) -> Style {
        let namespace = namespace(call);
        let falses = match self.shared.pywbem_booleans {
            Workaround::Auto if is_pywbem(parts) => FalseBoolean::EmptyValue,
            Workaround::Auto | Workaround::Off => FalseBoolean::Standard,
        };
        let arrays = match self.shared.wbemcli_arrays {
            Workaround::Auto if is_wbemcli(parts, message) => EmbeddedArrays::Untold,
            Workaround::Auto | Workaround::Off => EmbeddedArrays::Told,
        };
        Style {
            host: host.to_owned(),
            namespace: namespace.cloned().unwrap_or_else(|| {
                Namespace::parse("root").expect("the constant is a namespace's name")
            }),
            false_booleans: falses,
            embedded_arrays: arrays,
        }
    }

    /// Runs the operation; if it has to wait, in a task of its own, so that it ends as it likes when the
    /// client goes.
    async fn execute(
        &self,
        context: Context,
        mut call: Box<Call>,
        meter: &Meter,
    ) -> (Answer, Box<Call>) {
        let failed = || CimError::new(cim::StatusCode::Failed, "internal error");
        // What stays behind is not looked at.
        let left = Err(CimError::new(cim::StatusCode::Failed, ""));
        let request = match std::mem::replace(&mut call.request, left) {
            Ok(request) => request,
            Err(error) => {
                let misread = match &call.target {
                    Target::Namespace(namespace) => Misread::Operation(&call.name, namespace),
                    Target::Object(object) => Misread::Method(&call.name, object),
                };
                let error = self.shared.handler.refuse(&context, misread, error);
                return (Answer::Whole(Err(error)), call);
            }
        };
        let cancelled = context.cancelled.clone();
        // If this future is dropped, the connection broke.
        let gone = cancelled.clone().drop_guard();
        let handler = self.shared.handler.clone();
        let mut work =
            Box::pin(meter.scope(async move { handler.execute(&context, request).await }));
        // Most operations need not wait for anything: a task for them would cost more than they do.
        let first =
            poll_fn(|cx| Poll::Ready(catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)))));
        let mut task = match first.await {
            Ok(Poll::Ready(answer)) => {
                gone.disarm();
                return (answer, call);
            }
            Ok(Poll::Pending) => self.shared.operations.spawn(work),
            Err(_) => {
                error!(operation = %call.name, "operation broke off");
                return (Answer::Whole(Err(failed())), call);
            }
        };
        let answer = tokio::select! {
            answer = &mut task => answer,
            () = self.hung_up() => {
                debug!(peer = %self.peer.name, "client hung up");
                cancelled.cancel();
                task.await
            }
        };
        gone.disarm();
        let answer = answer.unwrap_or_else(|panic| {
            error!(error = %panic, operation = %call.name, "operation broke off");
            Answer::Whole(Err(failed()))
        });
        (answer, call)
    }

    /// Returns when the client has gone.
    async fn hung_up(&self) {
        tokio::time::sleep(WATCH_AFTER).await;
        self.wire.hung_up().await;
    }

    async fn encode(
        &self,
        parts: &Parts,
        message: RequestMessage,
        call: Box<Call>,
        style: Style,
        answer: Answer,
    ) -> AnswerBody {
        let listed = match answer {
            Answer::Whole(reply) => {
                let bytes = xml::encode_reply(&message.envelope(&call), &reply, &style);
                return AnswerBody::whole(bytes.into());
            }
            Answer::Stream(kind, objects) => Listed::Objects(kind, objects),
            Answer::Classes(list) => Listed::Classes(list, Arc::clone(&self.shared.class_texts)),
        };
        let list = List { listed, message, call, style };
        // Boxed, so that answers that are no lists need no room for it.
        Box::pin(self.encode_list(parts, list)).await
    }

    async fn encode_list(&self, parts: &Parts, list: List) -> AnswerBody {
        let beginning = tokio::select! {
            beginning = list.begin(self.shared.limits.answer_buffer.get()) => beginning,
            // With the list ends the search.
            () = self.hung_up() => return AnswerBody::whole(Bytes::new()),
        };
        match beginning {
            Beginning::Whole(bytes) => AnswerBody::whole(bytes.into()),
            Beginning::Failed(list, error) => {
                let envelope = list.message.envelope(&list.call);
                AnswerBody::whole(xml::encode_reply(&envelope, &Err(error), &list.style).into())
            }
            Beginning::Part(list, bytes) => {
                let (close, wire) = (self.close.clone(), self.wire.clone());
                let gone = async move {
                    tokio::time::sleep(WATCH_AFTER).await;
                    wire.cut_off().await;
                };
                let trailers = reads_trailers(parts);
                AnswerBody::streamed(Streamed::new(list, bytes, trailers, close, Box::pin(gone)))
            }
        }
    }

    /// Refuses a request. Its body is read if that is quickly done, because only then the next
    /// request on this connection can be found.
    async fn refuse(
        &self,
        refusal: Refusal,
        parts: &Parts,
        manner: &Manner,
        body: Incoming,
    ) -> Response<AnswerBody> {
        let (status, reason) = (refusal.status.as_u16(), refusal.detail.as_str());
        debug!(peer = %self.peer.name, status, reason, "request refused");
        let keep = refusal.is_worth_another_try()
            // Reading would ask such a client to send what we do not want.
            && !parts.headers.contains_key(header::EXPECT)
            && !self.shared.stopping.is_cancelled()
            && drain(body).await;
        let mut response = refusal.response(manner.extension());
        if !keep {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Where the call is to be done.
fn namespace(call: &Call) -> Option<&Namespace> {
    match &call.target {
        Target::Namespace(namespace) => Some(namespace),
        Target::Object(path) => path.namespace(),
    }
}

/// Whether the body was read to its end.
async fn drain(body: Incoming) -> bool {
    let read = Limited::new(body, DRAIN_BYTES).collect();
    matches!(timeout(DRAIN_TIME, read).await, Ok(Ok(_)))
}

/// Whether the client is pywbem, which takes any text for a true boolean.
fn is_pywbem(parts: &Parts) -> bool {
    let agent = parts.headers.get(header::USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
    agent.starts_with(b"python-requests/") || agent.starts_with(b"pywbem/")
}

/// Whether the client is wbemcli, which does not say so: it numbers every message like this.
fn is_wbemcli(parts: &Parts, message: &RequestMessage) -> bool {
    message.id == "4711" && !parts.headers.contains_key(header::USER_AGENT)
}

/// Whether the client said that it reads trailers.
fn reads_trailers(parts: &Parts) -> bool {
    parts.version == Version::HTTP_11
        && parts.headers.get_all(header::TE).iter().any(|value| {
            let value = value.to_str().unwrap_or_default();
            value.split(',').any(|part| {
                let coding = part.split(';').next().unwrap_or_default().trim();
                coding.eq_ignore_ascii_case("trailers")
            })
        })
}

/// What we can do (DSP0200 §7.5).
fn options() -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::whole(Bytes::new()));
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, ALLOWED_METHODS);
    let opt = HeaderValue::from_str(&format!("{CIM_EXTENSION} ; ns={OWN_NUMBER}"));
    headers.insert("opt", opt.expect("a URI and two digits are a value"));
    let mut tell = |name: &'static str, value: &'static str| {
        let name: HeaderName = head::extended(name, Some(OWN_NUMBER));
        headers.insert(name, HeaderValue::from_static(value));
    };
    tell("cimprotocolversion", "1.0");
    // As in CIM_CIMXMLCommunicationMechanism, which has words for more.
    let groups = "basic-read, basic-write, instance-manipulation, association-traversal, \
        query-execution";
    tell("cimsupportedfunctionalgroups", groups);
    tell("cimsupportedquerylanguages", "WQL, DMTF:CQL");
    tell("cimvalidation", "loosely-validating");
    response
}

/// Decodes a body, or says on the level of HTTP why it cannot be.
fn decode(
    bytes: &[u8],
    limits: &xml::Limits,
    announcement: &Announcement,
) -> Result<RequestMessage, Refusal> {
    let bad = |cim_error, detail| Refusal::cim(StatusCode::BAD_REQUEST, cim_error, detail);
    let unsupported =
        |cim_error, detail| Refusal::cim(StatusCode::NOT_IMPLEMENTED, cim_error, detail);
    let refuse = |error: DecodeError| {
        let detail = error.to_string();
        match error {
            DecodeError::NotWellFormed { .. } => bad("request-not-well-formed", detail),
            DecodeError::NotValid { .. } | DecodeError::BadValue { .. } => {
                bad("request-not-valid", detail)
            }
            DecodeError::TooLarge { limit: Limit::Bytes, .. } => {
                Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
            }
            DecodeError::TooLarge { .. } => bad("request-not-valid", detail),
            DecodeError::UnsupportedCimVersion(_) => unsupported("unsupported-cim-version", detail),
            DecodeError::UnsupportedDtdVersion(_) => unsupported("unsupported-dtd-version", detail),
            DecodeError::UnsupportedProtocolVersion(_) => {
                unsupported("unsupported-protocol-version", detail)
            }
        }
    };
    let opened = xml::open_request(bytes, limits).map_err(refuse)?;
    announcement.compare_protocol(opened.protocol_version())?;
    opened.decode().map_err(refuse)
}

/// The one call of a message.
fn simple(mut message: RequestMessage) -> Result<(RequestMessage, Box<Call>), Refusal> {
    match std::mem::replace(&mut message.body, RequestBody::Multiple) {
        RequestBody::Simple(call) => Ok((message, call)),
        // With a CIMBatch header we would not have come here.
        RequestBody::Multiple => {
            Err(Refusal::header_mismatch("several requests need a CIMBatch header"))
        }
    }
}
