//! Answers: whole ones with their length, long ones in chunks while they are produced.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use hyper::body::{Body, Frame, SizeHint};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    classes::ClassTexts,
    head::{CIM_EXTENSION, encode_percent, extended},
    wire::WireHandle,
};
use crate::{
    cim::{CimError, ListKind},
    ops::{ClassList, Meter, ObjectStream},
    xml::{Call, ClassesEncoder, ListEncoder, RequestMessage, Style},
};

/// Bytes of a streamed answer that are sent together.
const CHUNK: usize = 16 << 10;

/// The response that carries an encoded CIM answer. `begun` is when its request had arrived.
pub(super) fn response(
    body: AnswerBody,
    extension: Option<&str>,
    begun: Instant,
) -> Response<AnswerBody> {
    let streamed = matches!(body.content, Content::Streamed(_));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let xml = HeaderValue::from_static("application/xml; charset=\"utf-8\"");
    headers.insert(header::CONTENT_TYPE, xml);
    let answer = HeaderValue::from_static("MethodResponse");
    headers.insert(extended("cimoperation", extension), answer);
    declare_extension(headers, extension);
    if streamed {
        let names = "CIMStatusCode, CIMStatusCodeDescription";
        headers.insert(header::TRAILER, HeaderValue::from_static(names));
    }
    let time = HeaderValue::from_str(&begun.elapsed().as_micros().to_string());
    headers.insert("wbemserverresponsetime", time.expect("a number is a value"));
    response
}

/// Says what the number before the CIM headers means, if the client used M-POST (RFC 2774).
pub(super) fn declare_extension(headers: &mut HeaderMap, extension: Option<&str>) {
    if let Some(number) = extension {
        headers.insert("ext", HeaderValue::from_static(""));
        let man = HeaderValue::from_str(&format!("{CIM_EXTENSION} ; ns={number}"));
        headers.insert("man", man.expect("a URI and two digits are a value"));
    }
}

/// The body of an answer. When it is gone, the wire waits for the next request.
pub(super) struct AnswerBody {
    content: Content,
    wire: Option<WireHandle>,
    meter: Option<Meter>,
}

enum Content {
    Whole(Option<Bytes>),
    Streamed(Streamed),
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            Content::Whole(bytes) => f.debug_tuple("Whole").field(bytes).finish(),
            Content::Streamed(_) => f.write_str("Streamed"),
        }
    }
}

impl AnswerBody {
    /// All of it.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self { content: Content::Whole(Some(bytes)), wire: None, meter: None }
    }

    /// A list; its beginning was encoded already.
    pub(super) fn streamed(streamed: Streamed) -> Self {
        Self { content: Content::Streamed(streamed), wire: None, meter: None }
    }

    /// Measures what of it is sent; the operation ends with it.
    pub(super) fn metered(self, meter: Meter) -> Self {
        let mut this = self;
        this.meter = Some(meter);
        this
    }

    /// Tells the wire when it is sent, or given up.
    pub(super) fn on(self, wire: WireHandle) -> Self {
        let mut this = self;
        this.wire = Some(wire);
        this
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let Some(wire) = &self.wire {
            wire.idle();
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let polled = match &mut self.content {
            Content::Whole(bytes) => Poll::Ready(
                bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))),
            ),
            Content::Streamed(streamed) => streamed.poll_frame(cx),
        };
        if let (Poll::Ready(Some(Ok(frame))), Some(meter)) = (&polled, &mut self.meter) {
            meter.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.as_ref().is_none_or(Bytes::is_empty))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Content::Streamed(_) => SizeHint::default(),
        }
    }
}

/// What a list is of.
pub(super) enum Listed {
    Objects(ListKind, ObjectStream),
    Classes(ClassList, Arc<ClassTexts>),
}

/// A list that is encoded as far as the client reads.
pub(super) struct List {
    pub(super) listed: Listed,
    pub(super) message: RequestMessage,
    pub(super) call: Box<Call>,
    pub(super) style: Style,
}

/// How far a list got.
enum Progress {
    /// There may be more.
    More,
    /// It is complete.
    Complete,
    /// It broke off.
    Failed(CimError),
}

/// The beginning of a list, or all of it.
pub(super) enum Beginning {
    Whole(Vec<u8>),
    Part(List, Vec<u8>),
    /// Nothing was sent yet, so an ordinary answer can tell the error.
    Failed(List, CimError),
}

impl List {
    /// Encodes until the list ends, or more than `limit` bytes are there.
    pub(super) async fn begin(mut self, limit: usize) -> Beginning {
        let mut bytes = Vec::with_capacity(CHUNK);
        let envelope = self.message.envelope(&self.call);
        match self.listed {
            Listed::Objects(kind, _) => {
                ListEncoder::new(envelope, kind, &self.style).begin(&mut bytes);
            }
            Listed::Classes(..) => ClassesEncoder::new(envelope).begin(&mut bytes),
        }
        match self.extend(&mut bytes, limit).await {
            Progress::More => Beginning::Part(self, bytes),
            Progress::Complete => Beginning::Whole(bytes),
            Progress::Failed(error) => Beginning::Failed(self, error),
        }
    }

    /// Encodes what is listed until `bytes` holds more than `limit`.
    async fn extend(&mut self, bytes: &mut Vec<u8>, limit: usize) -> Progress {
        let Self { listed, message, call, style } = self;
        let envelope = message.envelope(call);
        match listed {
            Listed::Objects(kind, objects) => {
                let encoder = ListEncoder::new(envelope, *kind, style);
                while bytes.len() <= limit {
                    match objects.next().await {
                        Some(Ok(object)) => encoder.object(&object, bytes),
                        Some(Err(error)) => return Progress::Failed(error),
                        None => {
                            encoder.end(bytes);
                            return Progress::Complete;
                        }
                    }
                }
            }
            Listed::Classes(classes, texts) => {
                let encoder = ClassesEncoder::new(envelope);
                while bytes.len() <= limit {
                    let Some(text) = texts.next(classes, style.embedded_arrays) else {
                        encoder.end(bytes);
                        return Progress::Complete;
                    };
                    encoder.class(&text, bytes);
                }
            }
        }
        Progress::More
    }
}

/// The rest of a list, being sent.
pub(super) struct Streamed {
    /// Encoded and not sent.
    ready: Option<Bytes>,
    next: Step,
    /// Whether the client reads trailers; to another an error can only be shown by breaking off.
    trailers: bool,
    /// Closes the connection after this answer.
    close: CancellationToken,
    /// Is ready when the client has gone; asked only while there is nothing to send, for that would tell
    /// as well.
    gone: Gone,
}

pub(super) type Gone = Pin<Box<dyn Future<Output = ()> + Send>>;

type Encoding = Pin<Box<dyn Future<Output = (List, Vec<u8>, Progress)> + Send>>;

enum Step {
    Encode(Encoding),
    Trailer(CimError),
    End,
}

impl Streamed {
    pub(super) fn new(
        list: List,
        bytes: Vec<u8>,
        trailers: bool,
        close: CancellationToken,
        gone: Gone,
    ) -> Self {
        Self { ready: Some(bytes.into()), next: Step::Encode(encode(list)), trailers, close, gone }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(bytes) = self.ready.take() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            match std::mem::replace(&mut self.next, Step::End) {
                Step::End => return Poll::Ready(None),
                Step::Trailer(error) => return Poll::Ready(Some(self.trailer(&error))),
                Step::Encode(mut encoding) => match encoding.as_mut().poll(cx) {
                    Poll::Pending if self.gone.as_mut().poll(cx).is_ready() => {
                        return Poll::Ready(Some(Err(io::Error::other("the client has gone"))));
                    }
                    Poll::Pending => {
                        self.next = Step::Encode(encoding);
                        return Poll::Pending;
                    }
                    Poll::Ready((list, bytes, progress)) => {
                        self.ready = Some(bytes.into()).filter(|bytes: &Bytes| !bytes.is_empty());
                        self.next = match progress {
                            Progress::More => Step::Encode(encode(list)),
                            Progress::Complete => Step::End,
                            Progress::Failed(error) => Step::Trailer(error),
                        };
                    }
                },
            }
        }
    }

    fn trailer(&self, error: &CimError) -> Result<Frame<Bytes>, io::Error> {
        warn!(%error, "answer broke off");
        self.close.cancel();
        if !self.trailers {
            return Err(io::Error::other("the answer broke off"));
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("cimstatuscode", error.status.code().into());
        trailers.insert("cimstatuscodedescription", encode_percent(&error.description));
        Ok(Frame::trailers(trailers))
    }
}

fn encode(mut list: List) -> Encoding {
    Box::pin(async move {
        let mut bytes = Vec::with_capacity(CHUNK + CHUNK / 2);
        let progress = list.extend(&mut bytes, CHUNK).await;
        (list, bytes, progress)
    })
}
