//! What benchmarks of the whole daemon share: the program on a world of libvirt's test driver, a client
//! that costs little, and what the kernel tells of a process.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::{
    fmt::Write as _,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use virtcimd::{
    cim::{CimName, InstancePath, Namespace, Operation, Reply, Request},
    xml,
};

/// Longer than anything that is measured here takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// The daemon as a program, on a world of its own. It ends with this value.
pub struct Daemon {
    child: Child,
    _directory: tempfile::TempDir,
    pub address: SocketAddr,
    /// From the start of the process until it said READY.
    pub ready_after: Duration,
}

impl Daemon {
    /// Starts it on a host with this many guests; `more` is added to its configuration.
    pub fn start(guests: usize, more: &str) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let world = world(directory.path(), guests)?;
        let config = directory.path().join("virtcimd.toml");
        let text = format!(
            "[daemon]\nruntime-directory = \"{0}/run\"\n[store]\npath = \"{0}/virtcimd.db\"\n\
             [listen]\nhttp = \"127.0.0.1:0\"\nhttps = []\nunix = []\n[auth]\nmode = \"none\"\n\
             [checks]\nwhen-directory-missing = \"pass\"\n\
             [[hypervisor]]\nuri = \"test://{1}\"\nprefix = \"KVM\"\n{more}",
            directory.path().display(),
            world.display(),
        );
        fs::write(&config, text)?;
        let notify = UnixDatagram::bind(directory.path().join("notify"))?;
        notify.set_read_timeout(Some(PATIENCE))?;
        let began = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_virtcimd"))
            .args(["serve", "--config"])
            .arg(&config)
            .env("NOTIFY_SOCKET", directory.path().join("notify"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut message = [0; 512];
        while !String::from_utf8_lossy(&message).contains("READY=1") {
            notify.recv(&mut message).context("the daemon is not ready")?;
        }
        let ready_after = began.elapsed();
        let mut log = BufReader::new(child.stderr.take().context("its log is piped")?).lines();
        let address = loop {
            let line = log.next().context("the daemon does not tell its address")??;
            if let Some((_, address)) = line.split_once("address=http://") {
                break address.trim().parse()?;
            }
        };
        // The rest of the log is read so that the daemon never waits for us.
        std::thread::spawn(move || log.for_each(drop));
        let daemon = Self { child, _directory: directory, address, ready_after };
        // The guests are read after the daemon is ready; asking for them waits until they are.
        let found = daemon.client()?.objects(&names("KVM_ComputerSystem"))?;
        ensure!(found == guests, "{found} guests instead of {guests}");
        Ok(daemon)
    }

    pub fn client(&self) -> io::Result<Client> {
        Client::connect(self.address)
    }

    pub fn memory(&self) -> Memory {
        Memory(self.child.id())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has nothing to lose.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A world of libvirt's test driver with guests that do not run.
fn world(directory: &Path, guests: usize) -> io::Result<PathBuf> {
    let mut xml = String::from("<node xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>");
    for index in 0..guests {
        write!(
            xml,
            "<domain type='test'><name>guest{index:05}</name>\
             <uuid>00000000-0000-4000-8000-{index:012x}</uuid><memory>65536</memory>\
             <vcpu>1</vcpu><os><type>hvm</type></os><test:runstate>5</test:runstate></domain>"
        )
        .map_err(io::Error::other)?;
    }
    let path = directory.join("node.xml");
    fs::write(&path, xml + "</node>")?;
    Ok(path)
}

/// The memory of a process, as the kernel counts it.
pub struct Memory(pub u32);

impl Memory {
    /// Bytes in memory now.
    pub fn resident(&self) -> anyhow::Result<u64> {
        self.field("VmRSS:")
    }

    /// The most bytes in memory since [`Memory::forget_peak`].
    pub fn peak(&self) -> anyhow::Result<u64> {
        self.field("VmHWM:")
    }

    pub fn forget_peak(&self) -> io::Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.0), "5")
    }

    fn field(&self, name: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.context("no such field")?.trim().trim_end_matches(" kB");
        Ok(kib.parse::<u64>()? << 10)
    }
}

/// One kept connection. It reads answers whole and does nothing else with them.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::with_capacity(64 << 10, stream) })
    }

    /// Sends a whole request and reads the body of its answer into `body`.
    pub fn exchange(&mut self, request: &[u8], body: &mut Vec<u8>) -> anyhow::Result<()> {
        body.clear();
        self.stream.get_mut().write_all(request)?;
        let (mut length, mut line) = (None, String::new());
        loop {
            line.clear();
            ensure!(self.stream.read_line(&mut line)? > 0, "the connection ended");
            let text = line.trim_end().to_ascii_lowercase();
            if text.starts_with("http/") {
                ensure!(text.contains(" 200 "), "{text}");
            } else if let Some(value) = text.strip_prefix("content-length:") {
                length = Some(value.trim().parse()?);
            } else if text.is_empty() {
                break;
            }
        }
        if let Some(length) = length {
            return self.part(length, body);
        }
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let length = u64::from_str_radix(line.trim(), 16)?;
            self.part(length, body)?;
            self.stream.read_line(&mut line)?;
            if length == 0 {
                return Ok(());
            }
        }
    }

    fn part(&mut self, length: u64, body: &mut Vec<u8>) -> anyhow::Result<()> {
        let read = (&mut self.stream).take(length).read_to_end(body)?;
        ensure!(read as u64 == length, "the answer broke off");
        Ok(())
    }

    /// Asks and decodes.
    pub fn ask(&mut self, operation: &Operation) -> anyhow::Result<Reply> {
        let mut body = Vec::new();
        self.exchange(&message(operation)?, &mut body)?;
        Ok(xml::decode_reply(&body, operation, &xml::Limits::for_replies())??)
    }

    /// How many objects there are in a list.
    pub fn objects(&mut self, operation: &Operation) -> anyhow::Result<usize> {
        match self.ask(operation)? {
            Reply::Objects(_, objects) => Ok(objects.len()),
            other => bail!("not a list: {other:?}"),
        }
    }
}

/// A whole HTTP request.
pub fn message(operation: &Operation) -> anyhow::Result<Vec<u8>> {
    let namespace = Namespace::parse("root/virt")?;
    let body = xml::encode_request("1", &Request { namespace, operation: operation.clone() });
    let mut bytes = format!(
        "POST /cimom HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/xml\r\n\
         CIMOperation: MethodCall\r\nCIMMethod: {}\r\nCIMObject: root/virt\r\n\
         Content-Length: {}\r\n\r\n",
        operation.name(),
        body.len()
    )
    .into_bytes();
    bytes.extend(body);
    Ok(bytes)
}

pub fn names(class: &'static str) -> Operation {
    Operation::EnumerateInstanceNames { class: CimName::literal(class) }
}

/// The path of a system of that class.
pub fn system(class: &'static str, system: &str) -> InstancePath {
    let keys = [("CreationClassName", class), ("Name", system)];
    InstancePath::new(
        CimName::literal(class),
        keys.map(|(key, value)| (CimName::literal(key), value)),
    )
}

pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

pub fn ratio(of: Duration, to: Duration) -> f64 {
    of.as_secs_f64() / to.as_secs_f64()
}

pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
