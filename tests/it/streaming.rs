//! Lists through the real operations and the real server: when their first bytes leave, what length they
//! have, and how they break off.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{net::TcpStream, sync::Semaphore};
use virtcimd::{
    cim::{AssociationFilter, CimName, Instance, InstanceOptions, InstancePath, Operation},
    http::Server,
    ops::{
        AssociationProvider, End, InstanceProvider, Link, Outcome, ProviderError, Registry, Sink,
        Space,
    },
};

use super::{
    http_support::Client,
    model_support::{message, name, serve},
};

const HOST: &str = "KVM_HostSystem";
const GUEST: &str = "KVM_ComputerSystem";

fn system(class: &str, system: &str) -> Instance {
    Instance::new(name(class))
        .with(name("CreationClassName"), class)
        .with(name("Name"), system)
        .with(name("ElementName"), "a name that makes the list longer".repeat(10))
}

/// Guests of which the last is only found when the gate opens.
struct Herd {
    class: CimName,
    count: usize,
    gate: Semaphore,
    /// Whether the list ends with an error.
    breaks: bool,
    /// Guests that were looked at.
    seen: AtomicUsize,
}

impl Herd {
    fn new(count: usize) -> Self {
        Self {
            class: name(GUEST),
            count,
            gate: Semaphore::new(0),
            breaks: false,
            seen: AtomicUsize::new(0),
        }
    }

    async fn look(&self, index: usize) -> Instance {
        if index + 1 == self.count {
            self.gate.acquire().await.unwrap().forget();
        }
        self.seen.fetch_add(1, Ordering::SeqCst);
        system(GUEST, &format!("guest{index}"))
    }

    fn end(&self) -> Result<(), ProviderError> {
        match self.breaks {
            true => Err(ProviderError::Failed("the host went up in smoke".to_owned())),
            false => Ok(()),
        }
    }
}

impl InstanceProvider for Herd {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move {
            for index in 0..self.count {
                sink.put(self.look(index).await).await?;
            }
            self.end()
        })
    }

    fn get<'a>(&'a self, _path: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(async { Err(ProviderError::no_instance()) })
    }
}

/// The host of the herd.
struct Farm(CimName);

impl InstanceProvider for Farm {
    fn class(&self) -> &CimName {
        &self.0
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move { sink.put(system(HOST, "host")).await })
    }

    fn get<'a>(&'a self, _path: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(async { Ok(system(HOST, "host")) })
    }
}

/// Which host the guests are on.
struct Hosted {
    class: CimName,
    ends: [End; 2],
    herd: Arc<Herd>,
}

impl AssociationProvider for Hosted {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn ends(&self) -> &[End; 2] {
        &self.ends
    }

    fn links<'a>(
        &'a self,
        _source: &'a Instance,
        _role: &'a CimName,
        sink: &'a mut dyn Sink<Link>,
    ) -> Outcome<'a, ()> {
        Box::pin(async move {
            for index in 0..self.herd.count {
                sink.put(self.herd.look(index).await.into()).await?;
            }
            self.herd.end()
        })
    }
}

async fn start(herd: Herd) -> (Arc<Herd>, Server, Client<TcpStream>) {
    let herd = Arc::new(herd);
    let end = |role, class| End { role: name(role), classes: vec![name(class)] };
    let hosted = Hosted {
        class: name("KVM_HostedDependency"),
        ends: [end("Antecedent", HOST), end("Dependent", GUEST)],
        herd: Arc::clone(&herd),
    };
    let mut registry = Registry::default();
    registry.serve(Space::Virt, Arc::clone(&herd) as Arc<_>).unwrap();
    registry.serve(Space::Virt, Arc::new(Farm(name(HOST)))).unwrap();
    registry.associate(Space::Virt, Arc::new(hosted)).unwrap();
    let (server, address) = serve(registry).await;
    let client = Client::new(TcpStream::connect(address).await.unwrap());
    (herd, server, client)
}

/// All guests, in each way in which they can be asked for.
fn lists() -> [Operation; 4] {
    let class = name(GUEST);
    let options = InstanceOptions::default();
    let keys = [("CreationClassName", HOST), ("Name", "host")];
    let host = InstancePath::new(name(HOST), keys.map(|(key, value)| (name(key), value)));
    let filter =
        AssociationFilter { association_class: Some(name("CIM_Dependency")), ..Default::default() };
    [
        Operation::EnumerateInstances {
            class: class.clone(),
            deep_inheritance: true,
            options: options.clone(),
        },
        Operation::EnumerateInstanceNames { class },
        Operation::Associators {
            object: host.clone().into(),
            filter: filter.clone(),
            include_qualifiers: false,
            options,
        },
        Operation::ReferenceNames { object: host.into(), filter },
    ]
}

#[tokio::test]
async fn the_first_bytes_leave_before_the_last_guest_is_looked_at() {
    for operation in lists() {
        let (herd, _server, mut client) = start(Herd::new(2000)).await;
        client.send(message(&operation, &[])).await;
        let head = client.answer_head().await.to_lowercase();
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        let mut body = client.chunk().await.unwrap();
        assert!(!body.is_empty());
        assert!(herd.seen.load(Ordering::SeqCst) < herd.count, "the gate is shut");
        herd.gate.add_permits(1);
        loop {
            let chunk = client.chunk().await.unwrap();
            if chunk.is_empty() {
                break;
            }
            body.extend(chunk);
        }
        let text = String::from_utf8(body).unwrap();
        assert!(text.ends_with("</CIM>"));
        for index in [0, 1000, 1999] {
            assert!(text.contains(&format!(">guest{index}<")), "{operation:?}");
        }
    }
}

#[tokio::test]
async fn a_list_that_fits_has_a_length() {
    for operation in lists() {
        let (herd, _server, mut client) = start(Herd::new(3)).await;
        herd.gate.add_permits(1);
        client.send(message(&operation, &[])).await;
        let answered = client.answer().await;
        assert!(!answered.chunked && answered.header("content-length").is_some());
        assert!(answered.text().contains(">guest2<"));
    }
}

#[tokio::test]
async fn an_error_after_the_start_is_in_the_trailer_and_ends_the_connection() {
    for operation in lists() {
        let (herd, _server, mut client) = start(Herd { breaks: true, ..Herd::new(2000) }).await;
        herd.gate.add_permits(1);
        let request = message(&operation, &[]).replacen("\r\n", "\r\nTE: trailers\r\n", 1);
        client.send(request).await;
        let answered = client.answer().await;
        assert!(answered.chunked && !answered.text().ends_with("</CIM>"), "{operation:?}");
        let expected =
            [("cimstatuscode", "1"), ("cimstatuscodedescription", "the host went up in smoke")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(answered.trailers, expected);
        assert!(client.is_closed().await);
    }
}
