//! Limits in number and time, clients that go away, and the server's own end.

use std::{os::unix::fs::FileTypeExt, time::Duration};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream, UnixStream},
};
use virtcimd::http::{ListenAddress, Listener, Listeners};

use super::http_support::*;

/// A deadline that has passed before anybody can be bored.
const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let house = start(|options| options.limits.header_time = SHORT).await;
    // Not a byte.
    assert!(house.connect().await.is_closed().await);
    // Half a head.
    let mut client = house.connect().await;
    client.send("POST /cimom HTTP/1.1\r\nHost: x\r\nX: ").await;
    assert!(client.is_closed().await);
    // One byte after another, for ever.
    let (mut read, mut write) = house.connect().await.stream.into_split();
    let drip = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(SHORT / 20).await;
        }
    });
    let mut rest = Vec::new();
    let _ = soon(read.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
    soon(drip).await.unwrap();
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_timeout() {
    let house = start(|options| options.limits.body_time = SHORT).await;
    let mut client = house.connect().await;
    let whole = request("Now", &[]);
    client.send(&whole[..whole.len() - 1]).await;
    let answered = client.answer().await;
    assert_eq!(answered.code(), 408);
    assert_eq!(answered.header("connection"), Some("close"));
    assert!(client.is_closed().await);
    assert_eq!(house.seen(), 0);
}

#[tokio::test]
async fn a_kept_connection_may_be_idle_for_longer_than_a_head_may_take() {
    let house = start(|options| {
        options.limits.header_time = SHORT;
        options.limits.idle_time = 3 * SHORT;
    })
    .await;
    let mut client = house.connect().await;
    client.send(request("Now", &[])).await;
    assert_eq!(client.answer().await.code(), 200);
    tokio::time::sleep(2 * SHORT).await;
    client.send(request("Now", &[])).await;
    assert_eq!(client.answer().await.code(), 200);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_running_request_may_take_as_long_as_it_likes() {
    let house = start(|options| {
        options.limits.header_time = SHORT / 4;
        options.limits.idle_time = SHORT / 4;
    })
    .await;
    let mut client = house.connect().await;
    client.send(request("Wait", &[])).await;
    house.waits(1).await;
    tokio::time::sleep(SHORT).await;
    house.fake.release.add_permits(1);
    assert_eq!(client.answer().await.code(), 200);
}

#[tokio::test]
async fn a_head_has_a_size_and_a_number_of_fields() {
    let house = start(|options| {
        options.limits.header_size = 8192.try_into().unwrap();
        options.limits.headers = 20.try_into().unwrap();
    })
    .await;
    let long = "x".repeat(4000);
    let longer = "x".repeat(9000);
    assert_eq!(house.ask(request("Now", &[("X", Some(&long))])).await.code(), 200);
    assert_eq!(house.ask(request("Now", &[("X", Some(&longer))])).await.code(), 431);
    assert_eq!(house.ask(request("Now", &[(longer.as_str(), Some("x"))])).await.code(), 431);
    assert_eq!(house.ask(request("Now", &[("X", Some("x")); 14])).await.code(), 200);
    assert_eq!(house.ask(request("Now", &[("X", Some("x")); 15])).await.code(), 431);
    let path = request("Now", &[]).replace("/cimom", &format!("/{longer}"));
    assert!(matches!(house.ask(path).await.code(), 414 | 431));
    // A head that never ends.
    let mut client = house.connect().await;
    client.send("POST / HTTP/1.1\r\n").await;
    for _ in 0..100 {
        client.send(format!("X: {}\r\n", "x".repeat(1000))).await;
    }
    assert_eq!(client.answer().await.code(), 431);
}

#[tokio::test]
async fn one_operation_too_many_is_told_to_come_back() {
    let house = start(|options| options.limits.requests = 1.try_into().unwrap()).await;
    let mut client = house.connect().await;
    client.send(request("Wait", &[])).await;
    house.waits(1).await;
    let answered = house.ask(request("Now", &[])).await;
    assert_eq!((answered.code(), answered.header("retry-after")), (503, Some("1")));
    house.fake.release.add_permits(1);
    assert_eq!(client.answer().await.code(), 200);
    assert_eq!(house.ask(request("Now", &[])).await.code(), 200);
}

#[tokio::test]
async fn one_connection_too_many_is_turned_away() {
    let house = start(|options| options.limits.connections_per_peer = 2.try_into().unwrap()).await;
    let mut first = house.connect().await;
    first.send(request("Now", &[])).await;
    assert_eq!(first.answer().await.code(), 200);
    let mut second = house.connect().await;
    second.send(request("Now", &[])).await;
    assert_eq!(second.answer().await.code(), 200);
    let answered = house.connect().await.answer().await;
    assert_eq!((answered.code(), answered.header("retry-after")), (503, Some("1")));
    // Another address has places of its own.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = Client::new(socket.connect(house.address).await.unwrap());
    other.send(request("Now", &[])).await;
    assert_eq!(other.answer().await.code(), 200);
    // A place that becomes free can be taken.
    drop(first);
    soon(async {
        while house.ask(request("Now", &[])).await.code() != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_that_are_left_open_cost_no_more_than_the_limit() {
    const PLACES: usize = 100;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    // Here both ends of a connection are ours; leave some for the other tests.
    let count = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(1500).min(10_000);
    let house = start(|options| {
        options.limits.connections = PLACES.try_into().unwrap();
        options.limits.connections_per_peer = PLACES.try_into().unwrap();
    })
    .await;
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        clients.push(soon(TcpStream::connect(house.address)).await.unwrap());
    }
    // Whoever says nothing makes room for the next.
    for client in &mut clients[..count - PLACES] {
        assert_eq!(soon(client.read_to_end(&mut Vec::new())).await.unwrap_or(0), 0);
    }
    // Nobody of the others has to go before somebody who has something to say is answered.
    assert_eq!(house.ask(request("Now", &[])).await.code(), 200);
}

/// A client whose place is its own, for it was answered.
async fn known<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Client<S> {
    let mut client = Client::new(stream);
    client.send(request("Now", &[])).await;
    assert_eq!(client.answer().await.code(), 200);
    client
}

#[tokio::test]
async fn who_says_nothing_locks_nobody_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.sock");
    let unix = Listener { address: ListenAddress::Unix(path.clone()), may_be_absent: false };
    let house = start_with_users(|options| {
        options.limits.connections = 6.try_into().unwrap();
        options.limits.local_connections = 2.try_into().unwrap();
        options.listeners.push(unix);
    })
    .await;
    let login = basic("alice:secret");
    let with_login = request("Now", &[("Authorization", Some(&login))]);
    // All places of the network, held by strangers: silent ones, and one with a wrong password.
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(house.connect().await);
    }
    let mut wrong = house.connect().await;
    wrong.send(request("Now", &[("Authorization", Some(&basic("alice:guess")))])).await;
    assert_eq!(wrong.answer().await.code(), 401);
    // On this machine nobody notices,
    let mut root = known(UnixStream::connect(&path).await.unwrap()).await;
    // and who comes over the network takes the places of the strangers, the oldest first.
    let mut users = Vec::new();
    for stranger in silent.iter_mut().chain([&mut wrong]) {
        let mut user = house.connect().await;
        user.send(&with_login).await;
        assert_eq!(user.answer().await.code(), 200);
        assert!(stranger.is_closed().await);
        users.push(user);
    }
    // Those have the places for themselves, and the two that are left are not for the network.
    assert_eq!(house.connect().await.answer().await.code(), 503);
    let _second = known(UnixStream::connect(&path).await.unwrap()).await;
    let mut third = Client::new(UnixStream::connect(&path).await.unwrap());
    assert_eq!(third.answer().await.code(), 503);
    for user in &mut users {
        user.send(&with_login).await;
        assert_eq!(user.answer().await.code(), 200);
    }
    root.send(request("Now", &[])).await;
    assert_eq!(root.answer().await.code(), 200);
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_operation() {
    let house = start(|_| ()).await;
    let mut client = house.connect().await;
    client.send(request("Wait", &[])).await;
    house.waits(1).await;
    drop(client);
    let mut cancelled = house.fake.cancelled.subscribe();
    soon(cancelled.wait_for(|count| *count == 1)).await.unwrap();
}

#[tokio::test]
async fn a_client_that_only_stops_sending_gets_its_answer() {
    let house = start(|_| ()).await;
    let mut client = house.connect().await;
    client.send(request("Wait", &[])).await;
    client.stream.shutdown().await.unwrap();
    house.waits(1).await;
    // Long enough for the watch to ask whether somebody still reads.
    tokio::time::sleep(SHORT).await;
    assert_eq!(*house.fake.cancelled.borrow(), 0);
    house.fake.release.add_permits(1);
    let answered = client.answer().await;
    assert_eq!(answered.status, "HTTP/1.1 200 OK");
    assert!(answered.text().ends_with("</CIM>"));
    assert!(client.is_closed().await);
    // Once more, and now it goes while the operation runs.
    let mut client = house.connect().await;
    client.send(request("Wait", &[])).await;
    client.stream.shutdown().await.unwrap();
    house.waits(2).await;
    drop(client);
    let mut cancelled = house.fake.cancelled.subscribe();
    soon(cancelled.wait_for(|count| *count == 1)).await.unwrap();
}

#[tokio::test]
async fn a_unix_socket_serves_and_notices_and_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.sock");
    let listener = Listener { address: ListenAddress::Unix(path.clone()), may_be_absent: false };
    let house = start_with_users(|options| options.listeners = vec![listener.clone()]).await;
    let mut client = Client::new(UnixStream::connect(&path).await.unwrap());
    client.send(request("Now", &[])).await;
    assert_eq!(client.answer().await.code(), 200, "we are the daemon's own user");
    let (context, _) = house.fake.seen.lock().unwrap()[0].clone();
    assert_eq!(context.principal.name, format!("uid:{}", nix::unistd::geteuid()));
    assert_eq!(context.peer, format!("unix:{}", std::process::id()));
    client.send(request("Wait", &[])).await;
    house.waits(1).await;
    drop(client);
    let mut cancelled = house.fake.cancelled.subscribe();
    soon(cancelled.wait_for(|count| *count == 1)).await.unwrap();
    // Nobody else can listen there while we do, and the file goes with us.
    let mut options = open();
    options.listeners = vec![listener];
    let error = Listeners::bind(&options, Vec::new()).await.unwrap_err();
    assert!(error.to_string().ends_with("another process does"), "{error}");
    assert!(house.server.stop(PATIENCE).await);
    assert!(!path.exists());
    // A file that a killed process left is replaced; one that is no socket is not.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    drop(Listeners::bind(&options, Vec::new()).await.unwrap());
    assert!(!path.exists());
    std::fs::write(&path, "precious").unwrap();
    Listeners::bind(&options, Vec::new()).await.unwrap_err();
    assert!(std::fs::metadata(&path).unwrap().file_type().is_file());
    assert!(!std::fs::metadata(&path).unwrap().file_type().is_socket());
}

#[tokio::test]
async fn a_stop_answers_what_runs_and_accepts_nothing_new() {
    let house = start(|_| ()).await;
    let mut idle = house.connect().await;
    idle.send(request("Now", &[])).await;
    assert_eq!(idle.answer().await.code(), 200);
    let mut busy = house.connect().await;
    busy.send(request("Wait", &[])).await;
    house.waits(1).await;
    let House { server, fake, address, .. } = house;
    let stopping = tokio::spawn(server.stop(PATIENCE));
    assert!(idle.is_closed().await, "nothing is lost with an idle connection");
    soon(async { while TcpStream::connect(address).await.is_ok() {} }).await;
    assert!(!stopping.is_finished());
    fake.release.add_permits(1);
    let answered = busy.answer().await;
    assert_eq!(answered.code(), 200);
    assert!(answered.text().ends_with("</CIM>"));
    assert!(soon(stopping).await.unwrap());
    assert_eq!(*fake.cancelled.borrow(), 0);
}

#[tokio::test]
async fn a_stop_has_an_end() {
    let house = start(|_| ()).await;
    let mut client = house.connect().await;
    client.send(request("Wait", &[])).await;
    house.waits(1).await;
    assert!(!soon(house.server.stop(SHORT)).await);
    assert!(client.is_closed().await);
    let mut cancelled = house.fake.cancelled.subscribe();
    soon(cancelled.wait_for(|count| *count == 1)).await.unwrap();
}

#[tokio::test]
async fn addresses_open_to_the_network_are_not_bound_by_mistake() {
    let bound = async |listener: &str, allow_cleartext: bool, with_users: bool| {
        let mut options = open();
        options.listeners = vec![http(listener)];
        options.allow_cleartext = allow_cleartext;
        if with_users {
            options.auth.mode = virtcimd::http::AuthMode::UsersFile("/nonexistent".into());
        }
        Listeners::bind(&options, Vec::new()).await.map(drop).map_err(|error| error.to_string())
    };
    assert!(bound("0.0.0.0:0", true, false).await.unwrap_err().contains("auth.mode"));
    assert!(bound("0.0.0.0:0", false, true).await.unwrap_err().contains("clear text"));
    bound("0.0.0.0:0", true, true).await.unwrap();
    bound("127.0.0.1:0", false, false).await.unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = bound(&address, false, false).await.unwrap_err();
    assert_eq!(error, format!("cannot listen on {address}"));
}
