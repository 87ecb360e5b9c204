//! A server with a handler that does what its class names say, and a client that speaks raw bytes.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};
use virtcimd::{
    cim::{
        CimError, CimName, CimType, DataType, InstancePath, KeyValue, ListKind, Object, Operation,
        ParamValue, Reply, Request, StatusCode,
    },
    http::{
        AuthMode, AuthOptions, Handler, Limits, ListenAddress, Listener, Listeners, Options,
        Server, Workaround, users,
    },
    ops::{Answer, Context, Misread, ObjectFeed, ObjectStream, Role, Statistics},
    sys::BoxFuture,
    xml,
};

/// Longer than any test needs and shorter than anybody's patience.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What happens, or fails the test if it does not within [`PATIENCE`].
pub async fn soon<F: Future>(what: F) -> F::Output {
    timeout(PATIENCE, what).await.expect("it happens soon")
}

/// Does what the class of an EnumerateInstanceNames says: `Now` answers at once, `Wait` when released,
/// `Stream_N` lists N objects, `Broken_N` breaks off after them, `Endless` never ends, `Panic` panics.
/// GetInstance fails; a method returns FALSE in an output parameter.
pub struct Fake {
    /// What was asked, and by whom.
    pub seen: Mutex<Vec<(Context, String)>>,
    /// `Wait` has begun this often.
    pub waiting: watch::Sender<usize>,
    /// `Wait` was cancelled this often.
    pub cancelled: watch::Sender<usize>,
    /// Lets a `Wait` end.
    pub release: Semaphore,
    /// Objects that `Endless` has made.
    pub made: Arc<AtomicUsize>,
    /// Feeds that nobody reads any more.
    pub dropped: mpsc::UnboundedSender<()>,
    /// What was counted.
    pub statistics: Arc<Statistics>,
}

impl Handler for Fake {
    fn statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }

    fn refuse(&self, _: &Context, _: Misread<'_>, error: CimError) -> CimError {
        error
    }

    fn execute<'a>(&'a self, ctx: &'a Context, request: Request) -> BoxFuture<'a, Answer> {
        self.seen.lock().unwrap().push((ctx.clone(), request.operation.name().to_owned()));
        Box::pin(async move {
            match request.operation {
                Operation::EnumerateInstanceNames { class } => {
                    self.enumerate(ctx, class.as_str()).await
                }
                Operation::InvokeMethod { .. } => Answer::Whole(Ok(Reply::Method {
                    return_type: DataType::scalar(CimType::Uint32),
                    return_value: Some(0_u32.into()),
                    out: vec![ParamValue {
                        name: name("IsMigratable"),
                        ty: Some(DataType::scalar(CimType::Boolean)),
                        value: Some(false.into()),
                    }],
                })),
                _ => Answer::Whole(Err(CimError::new(StatusCode::NotFound, "no such <thing>"))),
            }
        })
    }
}

impl Fake {
    async fn enumerate(&self, ctx: &Context, class: &str) -> Answer {
        let (word, number) = class.split_once('_').unwrap_or((class, "0"));
        let number: usize = number.parse().unwrap();
        match word {
            "Now" => {}
            "Wait" => {
                self.waiting.send_modify(|count| *count += 1);
                tokio::select! {
                    permit = self.release.acquire() => permit.unwrap().forget(),
                    () = ctx.cancelled.cancelled() => self.cancelled.send_modify(|count| *count += 1),
                }
            }
            "Stream" | "Broken" => {
                let (feed, stream) = ObjectStream::fed();
                let broken = word == "Broken";
                tokio::spawn(async move {
                    for index in 0..number {
                        if !feed.put(Ok(object(index))).await {
                            return;
                        }
                    }
                    if broken {
                        let error = CimError::new(StatusCode::Failed, "libvirt went away: 100%");
                        feed.put(Err(error)).await;
                    } else {
                        feed.end().await;
                    }
                });
                return Answer::Stream(ListKind::InstanceNames, stream);
            }
            "Endless" => {
                let (feed, stream) = ObjectStream::fed();
                tokio::spawn(endless(feed, self.made.clone(), self.dropped.clone()));
                return Answer::Stream(ListKind::InstanceNames, stream);
            }
            "Panic" => panic!("as the class says"),
            other => panic!("no such class: {other}"),
        }
        Answer::Whole(Ok(Reply::Objects(ListKind::InstanceNames, vec![object(0)])))
    }
}

async fn endless(feed: ObjectFeed, made: Arc<AtomicUsize>, dropped: mpsc::UnboundedSender<()>) {
    for index in 0.. {
        if !feed.put(Ok(object(index))).await {
            break;
        }
        made.fetch_add(1, Ordering::SeqCst);
    }
    let _ = dropped.send(());
}

fn name(text: &str) -> CimName {
    CimName::parse(text).unwrap()
}

fn object(index: usize) -> Object {
    let key = KeyValue::String(format!("object number {index}"));
    Object::InstancePath(InstancePath::new(name("KVM_Thing"), [(name("Name"), key)]))
}

/// A running server and its handler.
pub struct House {
    pub server: Server,
    pub fake: Arc<Fake>,
    pub address: SocketAddr,
    /// Signals from `Endless` that nobody reads any more.
    pub dropped: mpsc::UnboundedReceiver<()>,
    pub directory: tempfile::TempDir,
}

/// Options of a server on loopback: without authentication, on any port.
pub fn open() -> Options {
    Options {
        listeners: vec![http("127.0.0.1:0")],
        allow_cleartext: false,
        tls: None,
        auth: AuthOptions {
            mode: AuthMode::None,
            groups: BTreeMap::new(),
            certificates: BTreeMap::new(),
        },
        limits: Limits::default(),
        pywbem_booleans: Workaround::Auto,
        wbemcli_arrays: Workaround::Auto,
    }
}

pub fn http(address: &str) -> Listener {
    let address = ListenAddress::Http(address.parse().unwrap());
    Listener { address, may_be_absent: false }
}

/// Starts a server with a users file in which `alice` has the password `secret`.
pub async fn start_with_users(change: impl FnOnce(&mut Options)) -> House {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users");
    users::put(&path, "alice", Role::Operator, b"secret").unwrap();
    let mut options = open();
    options.auth.mode = AuthMode::UsersFile(path);
    change(&mut options);
    start_in(directory, options).await
}

/// Starts a server.
pub async fn start(change: impl FnOnce(&mut Options)) -> House {
    let mut options = open();
    change(&mut options);
    start_in(tempfile::tempdir().unwrap(), options).await
}

async fn start_in(directory: tempfile::TempDir, options: Options) -> House {
    let (dropped, dropped_receiver) = mpsc::unbounded_channel();
    let fake = Arc::new(Fake {
        seen: Mutex::default(),
        waiting: watch::Sender::new(0),
        cancelled: watch::Sender::new(0),
        release: Semaphore::new(0),
        made: Arc::default(),
        statistics: Arc::default(),
        dropped,
    });
    let listeners = Listeners::bind(&options, Vec::new()).await.unwrap();
    let server = Server::start(listeners, &options, xml::Limits::default(), fake.clone()).unwrap();
    let address = match server.addresses()[0] {
        ListenAddress::Http(address) | ListenAddress::Https(address) => address,
        ListenAddress::Unix(_) => "127.0.0.1:0".parse().unwrap(),
    };
    House { server, fake, address, dropped: dropped_receiver, directory }
}

impl House {
    /// Opens a connection.
    pub async fn connect(&self) -> Client<TcpStream> {
        Client::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// Sends these bytes on a connection of their own and reads one response.
    pub async fn ask(&self, request: impl AsRef<[u8]>) -> Answered {
        let mut client = self.connect().await;
        client.send(request).await;
        client.answer().await
    }

    /// How many operations the handler has seen.
    pub fn seen(&self) -> usize {
        self.fake.seen.lock().unwrap().len()
    }

    /// Waits until that many `Wait` operations have begun.
    pub async fn waits(&self, count: usize) {
        let mut waiting = self.fake.waiting.subscribe();
        soon(waiting.wait_for(|waiting| *waiting >= count)).await.unwrap();
    }
}

/// A client that speaks raw bytes.
pub struct Client<S> {
    pub stream: S,
    read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// Sends bytes. That the server has closed already is no error: its answer is what counts.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = soon(self.stream.write_all(bytes.as_ref())).await;
        let _ = soon(self.stream.flush()).await;
    }

    /// Reads one response.
    pub async fn answer(&mut self) -> Answered {
        let head = self.until(b"\r\n\r\n").await;
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().to_owned();
        let mut answered = Answered { status, headers: headers(lines), ..Answered::default() };
        match (answered.header("content-length"), answered.header("transfer-encoding")) {
            (Some(length), None) => answered.body = self.exactly(length.parse().unwrap()).await,
            (None, Some("chunked")) => {
                answered.chunked = true;
                self.chunks(&mut answered).await;
            }
            (None, None) => answered.body = self.rest().await,
            both => panic!("ambiguous length {both:?}"),
        }
        answered
    }

    /// Reads a head only.
    pub async fn answer_head(&mut self) -> String {
        String::from_utf8(self.until(b"\r\n\r\n").await).unwrap()
    }

    /// Reads one chunk of a body; empty at its end, `None` if it breaks off.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.try_until(b"\r\n").await?;
        let length = std::str::from_utf8(&line).unwrap().trim();
        let length = usize::from_str_radix(length, 16).unwrap();
        let chunk = self.exactly(length).await;
        if length > 0 {
            self.exactly(2).await;
        }
        Some(chunk)
    }

    async fn chunks(&mut self, answered: &mut Answered) {
        loop {
            match self.chunk().await {
                Some(chunk) if chunk.is_empty() => break,
                Some(chunk) => answered.body.extend(chunk),
                None => {
                    answered.broken = true;
                    return;
                }
            }
        }
        let mut trailers = String::new();
        while !trailers.ends_with("\r\n\r\n") && trailers != "\r\n" {
            trailers += std::str::from_utf8(&self.until(b"\r\n").await).unwrap();
        }
        answered.trailers = headers(trailers.lines());
    }

    /// Whether the server closes the connection without another byte.
    pub async fn is_closed(&mut self) -> bool {
        self.read.is_empty() && self.rest().await.is_empty()
    }

    /// Everything until the server closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.read);
        // A reset after the answer is an end as well.
        let _ = soon(self.stream.read_to_end(&mut rest)).await;
        rest
    }

    async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            assert!(self.fill().await, "the connection ended in the middle");
        }
        self.read.drain(..length).collect()
    }

    async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        let found = self.try_until(end).await;
        found.unwrap_or_else(|| {
            panic!("the connection ended after {:?}", String::from_utf8_lossy(&self.read))
        })
    }

    async fn try_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|window| window == end) {
                return Some(self.read.drain(..at + end.len()).collect());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Reads something; `false` at the end.
    async fn fill(&mut self) -> bool {
        soon(self.stream.read_buf(&mut self.read)).await.is_ok_and(|length| length > 0)
    }
}

fn headers<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let pairs = lines.filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect()
}

/// A response as it came.
#[derive(Debug, Default)]
pub struct Answered {
    pub status: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub chunked: bool,
    pub trailers: Vec<(String, String)>,
    /// Whether a chunked body broke off.
    pub broken: bool,
}

impl Answered {
    pub fn code(&self) -> u16 {
        self.status.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there more than once");
        value
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// The body of an EnumerateInstanceNames of that class in root/virt.
pub fn body(class: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\" ?>\n<CIM CIMVERSION=\"2.0\" DTDVERSION=\"2.0\">\
         <MESSAGE ID=\"1001\" PROTOCOLVERSION=\"1.0\"><SIMPLEREQ>\
         <IMETHODCALL NAME=\"EnumerateInstanceNames\"><LOCALNAMESPACEPATH><NAMESPACE NAME=\"root\"/>\
         <NAMESPACE NAME=\"virt\"/></LOCALNAMESPACEPATH><IPARAMVALUE NAME=\"ClassName\">\
         <CLASSNAME NAME=\"{class}\"/></IPARAMVALUE></IMETHODCALL></SIMPLEREQ></MESSAGE></CIM>"
    )
}

/// The headers of [`body`], without those of its length.
pub const HEADERS: [(&str, &str); 5] = [
    ("Host", "localhost:5988"),
    ("Content-Type", "application/xml; charset=\"utf-8\""),
    ("CIMOperation", "MethodCall"),
    ("CIMMethod", "EnumerateInstanceNames"),
    ("CIMObject", "root/virt"),
];

/// A request for [`body`] with headers changed: replaced, or left out where the value is `None`;
/// other names are added.
pub fn request(class: &str, changes: &[(&str, Option<&str>)]) -> String {
    request_of(&body(class), changes)
}

/// Like [`request`] with any body.
pub fn request_of(body: &str, changes: &[(&str, Option<&str>)]) -> String {
    let length = body.len().to_string();
    let mut text = String::from("POST /cimom HTTP/1.1\r\n");
    let is_changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
    for (name, value) in HEADERS.iter().chain([&("Content-Length", length.as_str())]) {
        if !is_changed(name) {
            text += &format!("{name}: {value}\r\n");
        }
    }
    for (name, value) in changes {
        if let Some(value) = value {
            text += &format!("{name}: {value}\r\n");
        }
    }
    text + "\r\n" + body
}

/// The value of an Authorization header.
pub fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}
