//! Against real files: what is written stays, what is refused was not written.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::Path,
    process::{Command, Stdio},
};

use super::*;

fn job(id: &str, submitted: i64) -> JobRow {
    JobRow {
        id: id.to_owned(),
        guest: "web".to_owned(),
        guest_uuid: "11111111-2222-4333-8444-555555555555".to_owned(),
        hypervisor: "qemu:///system".to_owned(),
        destination: "hostb".to_owned(),
        owner: "root".to_owned(),
        priority: 0,
        phase: "queued".to_owned(),
        over: false,
        machine: "{}".to_owned(),
        request: "{\"é\": \"\\u0000\"}".to_owned(),
        report: String::new(),
        submitted,
        started: None,
        changed: submitted,
        ended: None,
        removed: None,
    }
}

fn ended(id: &str, submitted: i64, ended: i64) -> JobRow {
    JobRow { over: true, ended: Some(ended), phase: "done".to_owned(), ..job(id, submitted) }
}

async fn ids(store: &Store, which: Jobs) -> Vec<String> {
    store.jobs(which).await.expect("jobs").into_iter().map(|row| row.id).collect()
}

#[tokio::test]
async fn jobs_outlive_the_store() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state/virtcimd.db");
    let store = Store::open(&path).await.expect("a new store");
    store.insert_job(job("a", 1)).await.expect("inserted");
    let mut changed = job("a", 1);
    changed.phase = "copying".to_owned();
    changed.started = Some(2);
    store.update_job(changed.clone()).await.expect("updated");
    let findings = vec!["first".to_owned(), "second".to_owned()];
    store.set_findings("a".to_owned(), findings.clone()).await.expect("stored");
    store.close().await;
    assert!(matches!(store.job("a".to_owned()).await, Err(StoreError::Closed)));
    assert!(!directory.path().join("state/virtcimd.db-wal").exists(), "closing leaves one file");
    let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().expect("a parent"))), (0o600, 0o700));

    let store = Store::open(&path).await.expect("the same store");
    assert_eq!(store.job("a".to_owned()).await.expect("read"), Some(changed));
    assert_eq!(store.findings("a".to_owned()).await.expect("read"), findings);
    assert_eq!(store.job("b".to_owned()).await.expect("read"), None);
    store.set_findings("a".to_owned(), Vec::new()).await.expect("replaced");
    assert_eq!(store.findings("a".to_owned()).await.expect("read"), [""; 0]);
    store.close().await;
}

#[tokio::test]
async fn jobs_are_found_by_what_became_of_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(&directory.path().join("db")).await.expect("a new store");
    for row in [ended("old", 1, 10), job("running", 2), ended("new", 3, 30), ended("hidden", 4, 40)]
    {
        store.insert_job(row).await.expect("inserted");
    }
    let hidden = JobRow { removed: Some(50), ..ended("hidden", 4, 40) };
    store.update_job(hidden).await.expect("updated");
    assert_eq!(ids(&store, Jobs::Unfinished).await, ["running"]);
    assert_eq!(ids(&store, Jobs::Visible).await, ["old", "running", "new"]);
    let history = |since, limit| Jobs::History { since, limit };
    assert_eq!(ids(&store, history(30, 10)).await, ["hidden", "new", "running"]);
    assert_eq!(ids(&store, history(0, 2)).await, ["hidden", "new"]);
    store.set_findings("old".to_owned(), vec!["x".to_owned()]).await.expect("stored");
    assert_eq!(store.forget_jobs(30).await.expect("asked"), 0, "clients still see it");
    let hidden = JobRow { removed: Some(50), ..ended("old", 1, 10) };
    store.update_job(hidden).await.expect("updated");
    assert_eq!(store.forget_jobs(30).await.expect("forgotten"), 1);
    assert_eq!(ids(&store, history(0, 9)).await, ["hidden", "new", "running"]);
    assert_eq!(store.findings("old".to_owned()).await.expect("read"), [""; 0]);
    store.close().await;
}

#[tokio::test]
async fn what_is_there_already_or_not_at_all_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(&directory.path().join("db")).await.expect("a new store");
    store.insert_job(job("a", 1)).await.expect("inserted");
    let again = store.insert_job(job("a", 9)).await;
    assert!(matches!(again, Err(StoreError::Exists { key }) if key == "a"));
    assert_eq!(store.job("a".to_owned()).await.expect("read"), Some(job("a", 1)));
    assert!(store.update_job(job("b", 1)).await.is_err());
    assert!(store.set_findings("b".to_owned(), vec!["x".to_owned()]).await.is_err());
    store.close().await;
}

#[tokio::test]
async fn objects_are_kept_by_kind_and_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(&directory.path().join("db")).await.expect("a new store");
    let row = |key: &str, body: &str| ObjectRow { key: key.to_owned(), body: body.to_owned() };
    store.insert_object(ObjectKind::Filter, row("b", "1")).await.expect("inserted");
    store.insert_object(ObjectKind::Filter, row("a", "2")).await.expect("inserted");
    store.insert_object(ObjectKind::Destination, row("b", "3")).await.expect("inserted");
    let again = store.insert_object(ObjectKind::Filter, row("a", "4")).await;
    assert!(matches!(again, Err(StoreError::Exists { key }) if key == "a"));
    assert!(store.update_object(ObjectKind::Filter, row("a", "5")).await.expect("updated"));
    assert!(!store.update_object(ObjectKind::Subscription, row("a", "5")).await.expect("asked"));
    let filters = store.objects(ObjectKind::Filter).await.expect("read");
    assert_eq!(filters, [row("a", "5"), row("b", "1")]);
    let remove = |keys: &[(ObjectKind, &str)]| {
        let keys = keys.iter().map(|(kind, key)| (*kind, (*key).to_owned())).collect();
        store.remove_objects(keys)
    };
    assert_eq!(remove(&[(ObjectKind::Filter, "a")]).await.expect("removed"), 1);
    assert_eq!(remove(&[(ObjectKind::Filter, "a")]).await.expect("asked"), 0);
    assert_eq!(store.objects(ObjectKind::Destination).await.expect("read"), [row("b", "3")]);
    let rest = [(ObjectKind::Filter, "b"), (ObjectKind::Destination, "b")];
    assert_eq!(remove(&rest).await.expect("removed"), 2);
    store.close().await;
}

fn outboxes() -> Outboxes {
    let parcel = |destination: &str, place| ParcelRow {
        destination: destination.to_owned(),
        place,
        subscription: "s".to_owned(),
        made: "m".to_owned(),
        body: "b".to_owned(),
    };
    let sequence = SequenceRow {
        destination: "d".to_owned(),
        url: "u".to_owned(),
        context: "c".to_owned(),
        next: 7,
    };
    let parcels = vec![parcel("d", 1), parcel("d", 10), parcel("e", 0)];
    Outboxes { parcels, sequences: vec![sequence] }
}

#[tokio::test]
async fn sequences_are_taken_once_and_parcels_stay_until_they_are_forgotten() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let store = Store::open(&path).await.expect("a new store");
    let kept = outboxes();
    store.keep_outboxes(kept.clone()).await.expect("kept");
    store.close().await;
    let store = Store::open(&path).await.expect("the same store");
    assert_eq!(store.take_outboxes().await.expect("taken"), kept);
    let left = Outboxes { sequences: Vec::new(), ..kept.clone() };
    assert_eq!(store.take_outboxes().await.expect("taken"), left);
    store.forget_parcels("d".to_owned()).await.expect("forgotten");
    let left = Outboxes { parcels: left.parcels[2..].to_vec(), ..left };
    assert_eq!(store.take_outboxes().await.expect("taken"), left);
    store.keep_outboxes(kept.clone()).await.expect("kept instead");
    store.refuse_writes(true).await;
    assert!(store.keep_outboxes(Outboxes::default()).await.is_err());
    store.refuse_writes(false).await;
    assert_eq!(store.take_outboxes().await.expect("taken"), kept);
    store.close().await;
}

#[tokio::test]
async fn a_file_of_the_first_version_is_brought_up_to_date() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let raw = Connection::open(&path).expect("SQLite");
    raw.execute_batch(schema::SCRIPTS[0]).expect("the first script");
    raw.pragma_update(None, "user_version", 1).expect("a version");
    let object = "INSERT INTO objects (kind, key, body) VALUES ('filter', 'a', '1')";
    raw.execute(object, []).expect("an object");
    drop(raw);
    let store = Store::open(&path).await.expect("the same store");
    let filters = store.objects(ObjectKind::Filter).await.expect("read");
    assert_eq!(filters, [ObjectRow { key: "a".to_owned(), body: "1".to_owned() }]);
    assert_eq!(store.take_outboxes().await.expect("taken"), Outboxes::default());
    store.keep_outboxes(outboxes()).await.expect("kept");
    store.close().await;
    Store::open(&path).await.expect("the newest version").close().await;
}

#[tokio::test]
async fn many_may_ask_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(&directory.path().join("db")).await.expect("a new store");
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                store.insert_job(job(&format!("job{number}"), number)).await.expect("inserted");
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("the task ends");
    }
    assert_eq!(ids(&store, Jobs::Unfinished).await.len(), 200);
    store.close().await;
}

#[tokio::test]
async fn a_request_is_carried_out_even_if_nobody_waits() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let store = Store::open(&path).await.expect("a new store");
    // Polled once: sent, not awaited.
    let mut insert = Box::pin(store.insert_job(job("a", 1)));
    assert!(futures_poll(insert.as_mut()).is_pending());
    drop(insert);
    store.close().await;
    let store = Store::open(&path).await.expect("the same store");
    assert_eq!(ids(&store, Jobs::Visible).await, ["a"]);
    store.close().await;
}

fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[tokio::test]
async fn two_programs_do_not_share_a_store() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let first = Store::open(&path).await.expect("a new store");
    let second = Store::open(&path).await;
    assert!(matches!(second, Err(StoreError::InUse { .. })), "{:?}", second.err());
    first.close().await;
    Store::open(&path).await.expect("free again").close().await;
}

#[tokio::test]
async fn a_newer_file_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    Store::open(&path).await.expect("a new store").close().await;
    let raw = Connection::open(&path).expect("SQLite");
    raw.pragma_update(None, "user_version", schema::VERSION + 1).expect("a version");
    drop(raw);
    let before = fs::read(&path).expect("the file");
    let error = Store::open(&path).await.err().expect("refused");
    let message = error.to_string();
    assert!(matches!(error, StoreError::TooNew { .. }), "{message}");
    assert!(message.contains(&format!("schema version {}", schema::VERSION + 1)), "{message}");
    assert_eq!(fs::read(&path).expect("the file"), before);
}

#[tokio::test]
async fn what_is_no_store_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = directory.path().join("text");
    fs::write(&text, "This is no database, though it is long enough to be one. ".repeat(100))
        .expect("written");
    let error = Store::open(&text).await.err().expect("refused");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    let error = Store::open(directory.path()).await.err().expect("refused");
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error:?}");
    let below = text.join("db");
    let error = Store::open(&below).await.err().expect("refused");
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_damaged_file_is_found_at_the_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let store = Store::open(&path).await.expect("a new store");
    for number in 0..200 {
        store.insert_job(job(&format!("job{number}"), number)).await.expect("inserted");
    }
    store.close().await;
    let mut bytes = fs::read(&path).expect("the file");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0x5a);
    fs::write(&path, bytes).expect("written");
    let error = Store::open(&path).await.err().expect("refused");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
}

#[tokio::test]
async fn a_full_disk_is_said_and_passes() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(&directory.path().join("db")).await.expect("a new store");
    store.insert_job(job("a", 1)).await.expect("inserted");
    let limit = async |pages: u32| {
        let set = move |connection: &mut Connection| {
            let sql = format!("PRAGMA max_page_count = {pages}");
            Ok(connection.query_row(&sql, [], |_| Ok(()))?)
        };
        store.call(set).await.expect("a limit");
    };
    limit(1).await;
    let large = JobRow { request: "x".repeat(1 << 20), ..job("b", 2) };
    let error = store.insert_job(large.clone()).await.expect_err("no room");
    assert!(matches!(error, StoreError::Full), "{error:?}");
    let mut grown = large.clone();
    grown.id = "a".to_owned();
    assert!(matches!(store.update_job(grown).await, Err(StoreError::Full)));
    assert_eq!(store.job("a".to_owned()).await.expect("read"), Some(job("a", 1)));
    assert_eq!(ids(&store, Jobs::Visible).await, ["a"]);
    limit(1 << 20).await;
    store.insert_job(large).await.expect("room again");
    assert_eq!(ids(&store, Jobs::Visible).await, ["a", "b"]);
    store.close().await;
}

/// Set for the process that `what_was_answered_survives_kill` kills: the file it writes to.
const VICTIM: &str = "VIRTCIMD_TEST_STORE_VICTIM";

/// Not a test of its own: writes jobs until it is killed, and prints each that was answered.
#[tokio::test]
async fn victim() {
    let Ok(path) = std::env::var(VICTIM) else { return };
    let store = Store::open(Path::new(&path)).await.expect("a store");
    for number in 0.. {
        let id = format!("job{number:06}");
        let padding = "x".repeat(number % 5000);
        let row = JobRow { request: padding, ..job(&id, number as i64) };
        store.insert_job(row).await.expect("inserted");
        store.set_findings(id.clone(), vec![id.clone(); 3]).await.expect("stored");
        eprintln!("\nanswered {id}");
    }
}

#[tokio::test]
async fn what_was_answered_survives_kill() {
    use std::io::{BufRead, BufReader};

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "store::tests::victim", "--nocapture", "--test-threads=1"])
        .env(VICTIM, &path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let mut lines = lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("answered ").map(str::to_owned));
    let mut answered: Vec<String> = lines.by_ref().take(40).collect();
    child.kill().expect("killed");
    answered.extend(lines);
    assert_eq!(child.wait().expect("an end").signal(), Some(9));
    assert!(answered.len() >= 40, "{answered:?}");

    let store = Store::open(&path).await.expect("an intact store");
    let stored = ids(&store, Jobs::Unfinished).await;
    assert_eq!(stored[..answered.len()], answered);
    for id in &answered {
        let findings = store.findings(id.clone()).await.expect("read");
        assert_eq!(findings, vec![id.clone(); 3]);
    }
    store.close().await;
}
