//! Nobody gets in without a right name: what other products got wrong, on raw sockets.

use std::time::Duration;

use super::http_support::*;

/// Asks with these Authorization headers, and tells the status.
async fn status(house: &House, values: &[&str]) -> u16 {
    let changes: Vec<_> = values.iter().map(|value| ("Authorization", Some(*value))).collect();
    let answered = house.ask(request("Now", &changes)).await;
    let challenge = answered.header("www-authenticate");
    let expected = (answered.code() == 401).then_some("Basic realm=\"virtcimd\"");
    assert_eq!(challenge, expected, "{values:?}");
    assert!(answered.header("content-length").is_some());
    answered.code()
}

#[tokio::test]
async fn no_identity_comes_from_nothing() {
    let house = start_with_users(|_| ()).await;
    let good = basic("alice:secret");
    for values in [
        &[][..],
        &[""],
        &["Basic"],
        &["Basic "],
        &["Basic:"],
        &["Bearer abcdef"],
        &["Digest username=\"alice\""],
        &["Negotiate"],
        &["Local \"alice\""],
        &["PegasusAuthorization Local \"root\""],
        &["Basic not base64!"],
        &["Basic YWxpY2U6c2VjcmV0=="],
        &["Basic YWxpY2U6c2VjcmV"],
        &["Basic YQ"],
        &[&basic("alice")],
        &[&basic("alice:")],
        &[&basic(":")],
        &[&basic(":secret")],
        &[&basic("alice:wrong")],
        &[&basic("alice:secret\0")],
        &[&basic("alice\0:secret")],
        &[&basic("root:")],
        &[&basic("None:None")],
        &[&basic(&format!("alice:{}", "s".repeat(8000)))],
        &[&basic(&format!("{}:secret", "a".repeat(8000)))],
        &[&good, &good],
        &["", &good],
    ] {
        assert_eq!(status(&house, values).await, 401, "{values:?}");
    }
    assert_eq!(house.seen(), 0, "the handler was reached");
    assert_eq!(status(&house, &[&good]).await, 200);
    let (context, _) = house.fake.seen.lock().unwrap()[0].clone();
    assert_eq!(context.principal.name, "alice");
}

#[tokio::test]
async fn an_endless_token_is_too_large_a_head() {
    let house = start_with_users(|_| ()).await;
    let token = format!("Basic {}", "QUFB".repeat(16 << 10));
    assert_eq!(house.ask(request("Now", &[("Authorization", Some(&token))])).await.code(), 431);
}

#[tokio::test]
async fn every_request_of_a_kept_connection_is_asked() {
    let house = start_with_users(|_| ()).await;
    let good = basic("alice:secret");
    let with = request("Now", &[("Authorization", Some(&good))]);
    let without = request("Now", &[]);
    let mut client = house.connect().await;
    for (request, code) in
        [(&without, 401), (&with, 200), (&without, 401), (&with, 200), (&with, 200)]
    {
        client.send(request).await;
        assert_eq!(client.answer().await.code(), code);
    }
    // Both at once, pipelined.
    client.send(with.clone() + &without).await;
    assert_eq!(client.answer().await.code(), 200);
    assert_eq!(client.answer().await.code(), 401);
    assert_eq!(house.seen(), 4);
}

#[tokio::test]
async fn credentials_after_the_head_do_not_count() {
    let house = start_with_users(|_| ()).await;
    let good = basic("alice:secret");
    // In the body.
    let body = body("Now") + "\r\nAuthorization: " + &good + "\r\n";
    assert_eq!(house.ask(request_of(&body, &[])).await.code(), 401);
    // In a trailer.
    let chunked =
        request("Now", &[("Content-Length", None), ("Transfer-Encoding", Some("chunked"))]);
    let (head, body) = chunked.split_once("\r\n\r\n").unwrap();
    let trailer =
        format!("{head}\r\n\r\n{:x}\r\n{body}\r\n0\r\nAuthorization: {good}\r\n\r\n", body.len());
    assert_eq!(house.ask(trailer).await.code(), 401);
    assert_eq!(house.seen(), 0);
}

#[tokio::test]
async fn the_body_is_not_looked_at_before_the_identity() {
    let house = start_with_users(|_| ()).await;
    // Neither is nonsense told apart,
    for body in ["", "<", "<!DOCTYPE x>", &"x".repeat(100_000)] {
        assert_eq!(house.ask(request_of(body, &[])).await.code(), 401);
    }
    // nor wrong headers,
    for changes in [
        &[("CIMOperation", None)][..],
        &[("CIMMethod", None)],
        &[("Content-Type", None)],
        &[("Content-Length", None)],
        &[("Content-Length", Some("99999999"))],
        &[("CIMBatch", Some(""))],
    ] {
        assert_eq!(house.ask(request("Now", changes)).await.code(), 401, "{changes:?}");
    }
    // nor is a body waited for.
    let mut client = house.connect().await;
    client.send(request("Now", &[("Content-Length", Some("100000"))]).split_at(200).0).await;
    let head = request_of("", &[("Content-Length", Some("5000"))]);
    let mut client = house.connect().await;
    client.send(head).await;
    assert_eq!(client.answer().await.code(), 401);
    assert!(client.is_closed().await);
    // OPTIONS tells strangers nothing, M-POST is no way around.
    assert_eq!(house.ask("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").await.code(), 401);
    assert_eq!(house.ask(request("Now", &[]).replace("POST", "M-POST")).await.code(), 401);
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let house =
        start_with_users(|options| options.limits.failed_logins = 3.try_into().unwrap()).await;
    for _ in 0..3 {
        assert_eq!(status(&house, &[&basic("alice:guess")]).await, 401);
    }
    let good = basic("alice:secret");
    let answered = house.ask(request("Now", &[("Authorization", Some(&good))])).await;
    assert_eq!(answered.code(), 429);
    assert!(answered.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    // Requests without a password are not guesses.
    assert_eq!(status(&house, &[]).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_logins_at_once_are_all_judged() {
    let house =
        start_with_users(|options| options.limits.failed_logins = 1000.try_into().unwrap()).await;
    let house = std::sync::Arc::new(house);
    let asked = (0..40).map(|index| {
        let house = house.clone();
        tokio::spawn(async move {
            let pair = if index % 2 == 0 { "alice:secret" } else { "alice:wrong" };
            let code = status(&house, &[&basic(pair)]).await;
            assert_eq!(code, if index % 2 == 0 { 200 } else { 401 });
        })
    });
    for task in asked.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_reload_forgets_removed_users_at_once() {
    let house = start_with_users(|_| ()).await;
    let good = basic("alice:secret");
    assert_eq!(status(&house, &[&good]).await, 200);
    let path = house.directory.path().join("users");
    virtcimd::http::users::remove(&path, "alice").unwrap();
    house.server.reload().unwrap();
    assert_eq!(status(&house, &[&good]).await, 401);
    std::fs::write(&path, "broken").unwrap();
    assert_eq!(house.server.reload().unwrap_err().len(), 1);
}

#[tokio::test]
async fn without_authentication_a_header_means_nothing() {
    let house = start(|options| options.limits.header_time = Duration::from_secs(5)).await;
    for values in [&[][..], &["Bearer x"], &["Basic !"]] {
        assert_eq!(status(&house, values).await, 200, "{values:?}");
    }
    assert_eq!(house.fake.seen.lock().unwrap()[0].0.principal.name, "anonymous");
}
