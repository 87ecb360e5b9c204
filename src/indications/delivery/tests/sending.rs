//! Senders with a real store, and a listener that answers as a test says.

use std::{future::poll_fn, path::Path, pin::pin, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::{mpsc, watch},
    task::yield_now,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::{
    indications::{
        Delivery, DeliveryOptions, Limits, Options, Subscriptions,
        delivery::{
            dispatcher::{Dispatcher, Outbox},
            parcel::{Content, Parcel},
            queue::Queue,
            rest::{self, Rest},
            sender::Sender,
        },
    },
    store::Store,
};

/// A listener: it answers with the status that is set.
struct Ear {
    url: String,
    status: watch::Sender<u16>,
    bodies: mpsc::UnboundedReceiver<String>,
}

impl Ear {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (status, answer) = watch::channel(200);
        let (heard, bodies) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                let (mut line, mut length) = (String::new(), 0);
                while stream.read_line(&mut line).await.unwrap() > 2 {
                    if let Some((name, value)) = line.split_once(':')
                        && name.eq_ignore_ascii_case("content-length")
                    {
                        length = value.trim().parse().unwrap();
                    }
                    line.clear();
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).await.unwrap();
                let status = *answer.borrow();
                if heard.send(String::from_utf8(body).unwrap()).is_err() {
                    return;
                }
                let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                // Whoever asked may not wait for it.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, status, bodies }
    }

    /// The next that comes.
    async fn next(&mut self) -> String {
        self.bodies.recv().await.unwrap()
    }

    /// How many came since the last time.
    fn count(&mut self) -> usize {
        std::iter::from_fn(|| self.bodies.try_recv().ok()).count()
    }
}

/// One destination and what is subscribed to with it.
struct Sending {
    subscriptions: Subscriptions,
    destination: Identity,
    closing: CancellationToken,
    outbox: Arc<Outbox>,
    tasks: TaskTracker,
    stop: CancellationToken,
    store: Store,
}

impl Sending {
    /// With a subscription to each of these filters.
    async fn to(url: &str, directory: &Path, filters: &[&str]) -> Self {
        let store = Store::open(&directory.join("store.db")).await.unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let delivery =
            DeliveryOptions { attempts: 0, interval: Duration::ZERO, ..DeliveryOptions::default() };
        let options = Options { system: "h".to_owned(), limits: Limits::default(), delivery };
        let (schema, token) = (Repository::builtin(), stop.clone());
        let started = Subscriptions::start(store.clone(), schema, options, &tasks, token).await;
        let subscriptions = started.unwrap();
        let destination = keyed(DESTINATION, "d").with(name("Destination"), url);
        let destination = subscriptions.create(destination).await.unwrap();
        let closing = CancellationToken::new();
        let outbox = Arc::new(Outbox::new(Queue::default(), closing.clone()));
        let identity = Identity::of(&destination).unwrap();
        let sending =
            Self { subscriptions, destination: identity, closing, outbox, tasks, stop, store };
        for title in filters {
            let filter = filter(title, "WQL", "SELECT * FROM CIM_Indication");
            sending.subscriptions.create(filter).await.unwrap();
            sending.subscribe(title).await;
        }
        sending
    }

    /// What binds the filter to the destination, as a client sends it.
    fn binding(&self, title: &str) -> Instance {
        let objects = self.subscriptions.objects();
        let destination = objects.get(ObjectKind::Destination, &self.destination).unwrap();
        // Removed as soon as it has been failing for four seconds.
        binding(&keyed(FILTER, title), destination, 2)
            .with(name("OnFatalErrorPolicy"), 4_u16)
            .with(name("FailureTriggerTimeInterval"), 4_u64)
    }

    async fn subscribe(&self, title: &str) {
        self.subscriptions.create(self.binding(title)).await.unwrap();
    }

    fn parcel(&self, title: &str) -> Arc<Parcel> {
        let objects = self.subscriptions.objects();
        let mut routes = matching(&objects).into_iter();
        let route = routes.find(|route| route.subscription.filter_name() == title);
        let Route { subscription, made, filter, .. } = route.unwrap();
        let content = Content::Event { event: Arc::new(event()), filter };
        Arc::new(Parcel { subscription, made, content })
    }

    fn sender(&self) -> Sender {
        let (subscriptions, destination) = (self.subscriptions.clone(), self.destination.clone());
        Sender::new(
            subscriptions,
            Repository::builtin(),
            destination,
            Arc::clone(&self.outbox),
            None,
        )
    }

    fn push(&self, title: &str) {
        self.outbox.queue().push(self.parcel(title), 100, |_| true);
        self.outbox.filled.notify_one();
    }

    async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.store.close().await;
    }
}

#[tokio::test]
async fn what_comes_at_the_very_end_is_sent() {
    let mut ear = Ear::open().await;
    // Where the end is seen first depends on chance.
    for round in 0..16 {
        let directory = tempfile::tempdir().unwrap();
        let sending = Sending::to(&ear.url, directory.path(), &["f"]).await;
        let sender = tokio::spawn(sending.sender().run());
        yield_now().await;
        sending.push("f");
        sending.closing.cancel();
        sender.await.unwrap();
        assert_eq!(ear.count(), 1, "round {round}");
        sending.close().await;
    }
}

#[tokio::test]
async fn what_waits_for_a_subscription_is_not_for_one_that_is_made_again() {
    let mut ear = Ear::open().await;
    let directory = tempfile::tempdir().unwrap();
    let sending = Sending::to(&ear.url, directory.path(), &["f", "other"]).await;
    sending.push("f");
    let path = Objects::path(&sending.binding("f"));
    sending.subscriptions.delete(path).await.unwrap();
    sending.subscribe("f").await;
    for title in ["other", "f"] {
        sending.push(title);
    }
    sending.closing.cancel();
    sending.sender().run().await;
    assert_eq!(ear.count(), 2, "the first of them was for another");
    sending.close().await;
}

/// Two subscriptions share a listener that works: one indication of the second is not taken now and then.
#[tokio::test]
async fn a_subscription_stays_whose_listener_takes_those_of_another() {
    for (status, between, stays) in [(503, true, true), (404, true, false), (503, false, false)] {
        let ear = Ear::open().await;
        let directory = tempfile::tempdir().unwrap();
        let sending = Sending::to(&ear.url, directory.path(), &["busy", "rare"]).await;
        let mut sender = sending.sender();
        ear.status.send_replace(status);
        sender.deliver(&sending.parcel("rare")).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(300)).await;
        tokio::time::resume();
        if between {
            ear.status.send_replace(200);
            sender.deliver(&sending.parcel("busy")).await;
            ear.status.send_replace(status);
        }
        sender.deliver(&sending.parcel("rare")).await;
        let left = sending.subscriptions.objects().subscriptions().count();
        assert_eq!(left == 2, stays, "{status} {between}");
        sending.close().await;
    }
}

/// What is left if the daemon ends while a listener hangs or refuses.
#[tokio::test]
async fn what_is_under_way_when_the_daemon_ends_is_left_with_its_number() {
    let mut ear = Ear::open().await;
    let directory = tempfile::tempdir().unwrap();
    let sending = Sending::to(&ear.url, directory.path(), &["f"]).await;
    sending.subscriptions.set_delivery(DeliveryOptions::default()).unwrap();
    let sender = tokio::spawn(sending.sender().run());
    sending.push("f");
    ear.next().await;
    ear.status.send_replace(503);
    for _ in 0..2 {
        sending.push("f");
    }
    let failed = ear.next().await;
    sending.closing.cancel();
    let rest = sender.await.unwrap().unwrap();
    assert_eq!(rest.waiting.iter().map(|(gap, _)| *gap).collect::<Vec<_>>(), [0, 0]);
    let sequence = rest.sequence.clone().unwrap();
    assert_eq!((sequence.next, &sequence.url), (1, &ear.url));

    // Who takes it up sends the same under the same number, and what came behind it.
    let (outboxes, _) = rest::write(vec![rest], &Repository::builtin(), 1 << 20);
    sending.store.keep_outboxes(outboxes).await.unwrap();
    let outboxes = sending.store.take_outboxes().await.unwrap();
    let [(_, waiting)] =
        rest::read(outboxes.parcels).into_iter().collect::<Vec<_>>().try_into().unwrap();
    ear.status.send_replace(200);
    let outbox =
        Arc::new(Outbox::new(Queue::new(Some(sequence.next), waiting), sending.closing.clone()));
    let (subscriptions, destination) = (sending.subscriptions.clone(), sending.destination.clone());
    let schema = Repository::builtin();
    let sender = Sender::new(subscriptions, schema, destination, outbox, Some(sequence.clone()));
    let Rest { sequence: after, waiting, .. } = sender.run().await.unwrap();
    assert_eq!(waiting.len(), 0);
    assert_eq!(after.unwrap(), crate::store::SequenceRow { next: 3, ..sequence });
    assert_eq!(ear.next().await, failed, "to the last byte");
    assert_eq!(ear.count(), 1);
    sending.close().await;
}

#[tokio::test]
async fn a_listener_at_another_place_does_not_pay_for_the_one_before() {
    let (mut wrong, mut right) = (Ear::open().await, Ear::open().await);
    let directory = tempfile::tempdir().unwrap();
    let sending = Sending::to(&wrong.url, directory.path(), &["f"]).await;
    // It would wait longer than any test.
    let interval = Duration::from_secs(3600);
    let patient = DeliveryOptions { interval, ..DeliveryOptions::default() };
    sending.subscriptions.set_delivery(patient).unwrap();
    wrong.status.send_replace(503);
    let sender = tokio::spawn(sending.sender().run());
    sending.push("f");
    wrong.next().await;
    let objects = sending.subscriptions.objects();
    let destination = objects.get(ObjectKind::Destination, &sending.destination).unwrap();
    let moved = Instance::new(DESTINATION).with(name("Destination"), right.url.as_str());
    sending.subscriptions.modify(Objects::path(destination), moved.properties).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(30), right.next()).await.unwrap();
    assert!(heard.contains("SequenceNumber"), "{heard}");
    sending.closing.cancel();
    assert_eq!(sender.await.unwrap().unwrap().waiting.len(), 0);
    sending.close().await;
}

/// What becomes of what waits, if the store takes it and if it does not.
#[tokio::test]
async fn the_daemon_ends_also_if_nothing_can_be_kept() {
    for refuses in [false, true] {
        let mut ear = Ear::open().await;
        ear.status.send_replace(503);
        let directory = tempfile::tempdir().unwrap();
        let sending = Sending::to(&ear.url, directory.path(), &["f"]).await;
        sending.subscriptions.set_delivery(DeliveryOptions::default()).unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let schema = Repository::builtin();
        let delivery = Delivery::start(&sending.subscriptions, schema, &tasks, stop.clone());
        delivery.tell(event()).await;
        ear.next().await;
        stop.cancel();
        // It is told before those who tell have ended.
        delivery.tell(event()).await;
        sending.store.refuse_writes(refuses).await;
        drop(delivery);
        tasks.close();
        tasks.wait().await;
        sending.store.refuse_writes(false).await;
        let kept = sending.store.take_outboxes().await.unwrap();
        let expected = if refuses { (0, 0) } else { (2, 1) };
        assert_eq!((kept.parcels.len(), kept.sequences.len()), expected);
        sending.close().await;
    }
}

#[tokio::test]
async fn others_have_their_turn_after_each_filter_that_is_asked() {
    let ear = Ear::open().await;
    let directory = tempfile::tempdir().unwrap();
    let titles: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let sending = Sending::to(&ear.url, directory.path(), &titles).await;
    let (subscriptions, tasks) = (sending.subscriptions.clone(), TaskTracker::new());
    let mut dispatcher = Dispatcher::new(subscriptions, Repository::builtin(), tasks);
    dispatcher.follow(&sending.subscriptions.objects());
    let (mut dispatch, mut turns) = (pin!(dispatcher.dispatch(event())), 0);
    poll_fn(|ctx| {
        turns += 1;
        dispatch.as_mut().poll(ctx)
    })
    .await;
    assert_eq!(turns, 1 + titles.len());
    sending.close().await;
}
