//! Who is let in, by headers and connections.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::http::users;

struct House {
    _directory: tempfile::TempDir,
    path: PathBuf,
    authenticator: Arc<Authenticator>,
}

fn house(failed_logins: usize) -> House {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users");
    users::put(&path, "alice", Role::Operator, b"secret").unwrap();
    users::put(&path, "b\u{f6}b", Role::Viewer, "pä:ss".as_bytes()).unwrap();
    let options = AuthOptions {
        mode: AuthMode::UsersFile(path.clone()),
        groups: Default::default(),
        certificates: [("robot".to_string(), Role::Checker)].into(),
    };
    let limits = Limits { failed_logins: failed_logins.try_into().unwrap(), ..Limits::default() };
    let authenticator = Arc::new(Authenticator::new(&options, &limits).unwrap());
    House { _directory: directory, path, authenticator }
}

fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

fn peer() -> Peer {
    Peer::network("192.0.2.7:1234".parse().unwrap())
}

async fn ask(house: &House, values: &[&str], peer: &Peer) -> Result<(String, Role), Denial> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let principal = house.authenticator.authenticate(&headers, peer).await?;
    Ok((principal.name, principal.role))
}

#[tokio::test]
async fn only_a_right_password_is_an_identity() {
    let house = house(1000);
    let good = ask(&house, &[&basic("alice:secret")], &peer()).await.unwrap();
    assert_eq!(good, ("alice".into(), Role::Operator));
    let good = ask(&house, &[&basic("b\u{f6}b:pä:ss")], &peer()).await.unwrap();
    assert_eq!(good, ("b\u{f6}b".into(), Role::Viewer));
    assert!(
        ask(&house, &[&basic("alice:secret").replace("Basic", "bAsIc")], &peer()).await.is_ok()
    );
    let valid = basic("alice:secret");
    for values in [
        &[][..],
        &[""],
        &["Basic"],
        &["Basic "],
        &["Bearer abc"],
        &["Negotiate YII="],
        &["Basic !!!!"],
        &["Basic YWxpY2U6c2VjcmV0="],
        &[&basic("alice:secre")],
        &[&basic("alice:secret2")],
        &[&basic("alice:")],
        &[&basic(":secret")],
        &[&basic("alice")],
        &[&basic("Alice:secret")],
        &[&basic("None:None")],
        &[&basic("alice\0:secret")],
        &[&basic("alice:secret\0")],
        &[&basic(&format!("alice:{}", "x".repeat(2000)))],
        &[&valid, &valid],
    ] {
        let denied = ask(&house, values, &peer()).await.expect_err("an identity from nothing");
        assert_eq!(denied, Denial::Unauthorized, "{values:?}");
    }
    let latin1 = HeaderValue::from_bytes(b"Basic /w==").unwrap();
    assert!(Credentials::read(&latin1).is_err());
}

#[tokio::test]
async fn the_connection_speaks_where_the_header_does_not_and_never_against_it() {
    let house = house(1000);
    let robot = house.authenticator.certificate("robot").unwrap();
    assert!(house.authenticator.certificate("Robot").is_none());
    let peer = Peer { identity: Some(robot), ..peer() };
    assert_eq!(ask(&house, &[], &peer).await.unwrap(), ("robot".into(), Role::Checker));
    let named = ask(&house, &[&basic("alice:secret")], &peer).await.unwrap();
    assert_eq!(named.0, "alice");
    for wrong in ["", "Bearer x", &basic("alice:wrong")] {
        assert_eq!(ask(&house, &[wrong], &peer).await, Err(Denial::Unauthorized), "{wrong}");
    }
}

#[tokio::test]
async fn without_authentication_only_this_machine_has_an_identity() {
    let options = AuthOptions {
        mode: AuthMode::None,
        groups: Default::default(),
        certificates: Default::default(),
    };
    let authenticator = Arc::new(Authenticator::new(&options, &Limits::default()).unwrap());
    let headers = HeaderMap::new();
    let local = Peer::network("127.0.0.1:1".parse().unwrap());
    assert_eq!(authenticator.authenticate(&headers, &local).await.unwrap().role, Role::Admin);
    assert_eq!(authenticator.authenticate(&headers, &peer()).await, Err(Denial::Unauthorized));
}

#[tokio::test(start_paused = true)]
async fn guessing_is_slowed_down_for_who_guesses_only() {
    let house = house(2);
    let wrong = basic("alice:guess");
    for _ in 0..2 {
        assert_eq!(ask(&house, &[&wrong], &peer()).await, Err(Denial::Unauthorized));
    }
    let denied = ask(&house, &[&basic("alice:secret")], &peer()).await;
    let Err(Denial::TooMany { retry_after }) = denied else { panic!("{denied:?}") };
    assert!(retry_after > Duration::ZERO && retry_after <= MINUTE / 2, "{retry_after:?}");
    // Another address is not affected,
    let other = Peer::network("192.0.2.8:1".parse().unwrap());
    assert!(ask(&house, &[&basic("alice:secret")], &other).await.is_ok());
    // nor are those whose password is known to be right,
    assert!(ask(&house, &[&basic("alice:secret")], &peer()).await.is_ok());
    // nor the guesser after a while.
    tokio::time::advance(retry_after + Duration::from_millis(1)).await;
    assert_eq!(ask(&house, &[&wrong], &peer()).await, Err(Denial::Unauthorized));
    assert!(matches!(ask(&house, &[&wrong], &peer()).await, Err(Denial::TooMany { .. })));
    // Who was right is not locked out either once the password has to be verified again.
    tokio::time::advance(REMEMBERED).await;
    for _ in 0..2 {
        assert_eq!(ask(&house, &[&wrong], &peer()).await, Err(Denial::Unauthorized));
    }
    assert!(matches!(ask(&house, &[&wrong], &peer()).await, Err(Denial::TooMany { .. })));
    assert!(ask(&house, &[&basic("alice:secret")], &peer()).await.is_ok());
}

#[tokio::test]
async fn edits_of_the_users_file_take_effect() {
    let house = house(1000);
    assert!(ask(&house, &[&basic("alice:secret")], &peer()).await.is_ok());
    users::put(&house.path, "alice", Role::Viewer, b"new").unwrap();
    // The verified password is remembered for a while, but not beyond the first other login.
    let alice = ask(&house, &[&basic("alice:new")], &peer()).await.unwrap();
    assert_eq!(alice.1, Role::Viewer);
    assert!(ask(&house, &[&basic("alice:secret")], &peer()).await.is_err());
    users::remove(&house.path, "alice").unwrap();
    house.authenticator.reload().unwrap();
    assert!(ask(&house, &[&basic("alice:new")], &peer()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_verified_password_is_forgotten_after_a_minute() {
    let house = house(1000);
    assert!(ask(&house, &[&basic("alice:secret")], &peer()).await.is_ok());
    std::fs::remove_file(&house.path).unwrap();
    assert!(ask(&house, &[&basic("alice:secret")], &peer()).await.is_ok());
    tokio::time::advance(REMEMBERED).await;
    assert!(ask(&house, &[&basic("alice:secret")], &peer()).await.is_err());
}

#[tokio::test]
async fn a_users_file_that_breaks_leaves_the_users_as_they_were() {
    let house = house(1000);
    std::fs::write(&house.path, "nonsense").unwrap();
    assert!(ask(&house, &[&basic("alice:secret")], &peer()).await.is_ok());
    assert!(house.authenticator.reload().is_err());
    assert!(ask(&house, &[&basic("alice:secret")], &peer()).await.is_ok());
}

#[tokio::test]
async fn a_users_file_that_is_made_safe_again_is_read() {
    let house = house(1000);
    assert!(ask(&house, &[&basic("alice:secret")], &peer()).await.is_ok());
    let chmod = |mode| {
        std::fs::set_permissions(&house.path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // Alice is renamed, by hand, and the file left writable: so it is not read.
    let text = std::fs::read_to_string(&house.path).unwrap();
    std::fs::write(&house.path, text.replace("alice:", "bob:")).unwrap();
    chmod(0o664);
    house.authenticator.remembered().clear();
    assert!(ask(&house, &[&basic("alice:secret")], &peer()).await.is_ok());
    chmod(0o640);
    house.authenticator.remembered().clear();
    assert!(ask(&house, &[&basic("alice:secret")], &peer()).await.is_err());
    assert!(ask(&house, &[&basic("bob:secret")], &peer()).await.is_ok());
}
