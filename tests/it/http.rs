//! HTTP and the CIM-XML binding on raw sockets: what is accepted, what is refused and how.

use std::sync::atomic::Ordering;

use tokio::io::AsyncWriteExt;

use super::http_support::*;

#[tokio::test]
async fn an_ordinary_request_is_answered_as_old_clients_want_it() {
    let house = start(|_| ()).await;
    let answered = house.ask(request("Now", &[])).await;
    assert_eq!(answered.status, "HTTP/1.1 200 OK");
    assert_eq!(answered.header("content-type"), Some("application/xml; charset=\"utf-8\""));
    assert_eq!(answered.header("cimoperation"), Some("MethodResponse"));
    assert!(!answered.chunked && answered.header("content-length").is_some());
    answered.header("wbemserverresponsetime").unwrap().parse::<u64>().unwrap();
    let text = answered.text();
    assert!(text.starts_with("<?xml version=\"1.0\" encoding=\"utf-8\"?>"), "{text}");
    assert!(text.contains("<MESSAGE ID=\"1001\" PROTOCOLVERSION=\"1.0\">"), "{text}");
    assert!(text.contains("object number 0"), "{text}");
    let (context, operation) = house.fake.seen.lock().unwrap()[0].clone();
    assert_eq!(operation, "EnumerateInstanceNames");
    assert_eq!(context.host, "localhost:5988");
    assert!(context.peer.starts_with("127.0.0.1:"), "{}", context.peer);
}

#[tokio::test]
async fn a_cim_error_is_an_answer_with_status_200() {
    let house = start(|_| ()).await;
    let body = body("Now").replace("EnumerateInstanceNames", "GetClass");
    let answered = house.ask(request_of(&body, &[("CIMMethod", Some("GetClass"))])).await;
    assert_eq!(answered.code(), 200);
    assert_eq!(answered.header("cimerror"), None);
    assert!(answered.text().contains("no such &lt;thing&gt;"), "{}", answered.text());
}

/// Sends [`request`] with `changes` and compares status and CIMError.
#[track_caller]
fn check<'a>(
    house: &'a House,
    request: String,
    expected: (u16, Option<&'a str>),
) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let answered = house.ask(&request).await;
        let found = (answered.code(), answered.header("cimerror"));
        assert_eq!(found, expected, "at {caller}: {answered:?}\n{request}");
        assert!(answered.header("content-length").is_some(), "at {caller}");
        if found.1.is_some() {
            assert!(answered.header("pgerrordetail").is_some(), "at {caller}");
        }
    }
}

#[tokio::test]
async fn every_header_is_what_it_should_be() {
    let house = start(|_| ()).await;
    let with = |changes: &[(&str, Option<&str>)]| request("Now", changes);
    let good = (200, None);
    let bad = (400, None);
    let mismatch = (400, Some("header-mismatch"));
    let operation = (400, Some("unsupported-operation"));
    for (changes, expected) in [
        (&[][..], good),
        (&[("Host", None)], bad),
        (&[("Host", Some("a")), ("Host", Some("b"))], bad),
        (&[("Host", Some("<a>"))], bad),
        (&[("CIMOperation", None)], operation),
        (&[("CIMOperation", Some("MethodRequest"))], operation),
        (&[("CIMOperation", Some("methodcall"))], good),
        (&[("CIMOperation", Some("MethodCall")), ("CIMOperation", Some("x"))], operation),
        (&[("CIMMethod", None)], mismatch),
        (&[("CIMMethod", Some(""))], mismatch),
        (&[("CIMMethod", Some("GetClass"))], mismatch),
        (&[("CIMMethod", Some("enumerateinstancenames"))], good),
        (&[("CIMObject", None)], mismatch),
        (&[("CIMObject", Some("%"))], mismatch),
        (&[("CIMObject", Some("root/cimv2"))], mismatch),
        (&[("CIMObject", Some("ROOT%2fVirt"))], good),
        (&[("CIMProtocolVersion", Some("1.0"))], good),
        (&[("CIMProtocolVersion", Some("1.4"))], mismatch),
        (&[("CIMBatch", Some(""))], (501, Some("multiple-requests-unsupported"))),
        (&[("Content-Type", None)], (415, None)),
        (&[("Content-Type", Some("text/plain"))], (415, None)),
        (&[("Content-Type", Some("text/xml; charset=utf-16"))], (415, None)),
        (&[("Content-Type", Some("text/xml"))], good),
        (&[("Content-Encoding", Some("gzip"))], (415, None)),
    ] {
        check(&house, with(changes), expected).await;
    }
    for name in HEADERS.map(|(name, _)| name) {
        // A name in another case is the same name.
        check(&house, with(&[]).replace(name, &name.to_uppercase()), good).await;
    }
}

#[tokio::test]
async fn every_body_is_what_it_should_be() {
    let house = start(|_| ()).await;
    let good = body("Now");
    let bad = |word| (400, Some(word));
    let unsupported = |word| (501, Some(word));
    for (body, expected) in [
        ("".to_owned(), bad("request-not-well-formed")),
        ("<CIM".to_owned(), bad("request-not-well-formed")),
        (good.replace("root", "a&b<c"), bad("request-not-well-formed")),
        (good.replace("</CIM>", ""), bad("request-not-well-formed")),
        ("<html/>".to_owned(), bad("request-not-valid")),
        (good.replace("IPARAMVALUE", "IPARAM"), bad("request-not-valid")),
        (good.replace("SIMPLEREQ", "SIMPLERSP"), bad("request-not-valid")),
        (good.replace(" ID=\"1001\"", ""), bad("request-not-valid")),
        (good.replace("SIMPLEREQ", "MULTIREQ"), bad("header-mismatch")),
        (
            good.replace("CIMVERSION=\"2.0\"", "CIMVERSION=\"3.0\""),
            unsupported("unsupported-cim-version"),
        ),
        (
            good.replace("DTDVERSION=\"2.0\"", "DTDVERSION=\"1.1\""),
            unsupported("unsupported-dtd-version"),
        ),
        (
            good.replace("PROTOCOLVERSION=\"1.0\"", "PROTOCOLVERSION=\"2.0\""),
            unsupported("unsupported-protocol-version"),
        ),
    ] {
        check(&house, request_of(&body, &[]), expected).await;
    }
    for doctype in [
        "<!DOCTYPE CIM [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>",
        "<!DOCTYPE CIM SYSTEM \"http://127.0.0.1:1/cim.dtd\">",
        "<!DOCTYPE a [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;\">]>",
    ] {
        let answered =
            house.ask(request_of(&good.replace("<CIM ", &format!("{doctype}<CIM ")), &[])).await;
        assert_eq!(answered.code(), 400, "{answered:?}");
        assert!(!answered.text().contains("root:"), "{answered:?}");
    }
    let version = good.replace("PROTOCOLVERSION=\"1.0\"", "PROTOCOLVERSION=\"2.0\"");
    let header = [("CIMProtocolVersion", Some("1.0"))];
    check(&house, request_of(&version, &header), bad("header-mismatch")).await;
    assert_eq!(house.seen(), 0, "nothing of this reached the handler");
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let house = start(|_| ()).await;
    let good = request("Now", &[]);
    for (line, code) in [
        ("GET /cimom HTTP/1.1", 405),
        ("GET /../../etc/passwd HTTP/1.1", 405),
        ("PUT /cimom HTTP/1.1", 405),
        ("DELETE / HTTP/1.1", 405),
        ("TRACE / HTTP/1.1", 405),
        ("CONNECT localhost:22 HTTP/1.1", 405),
        ("POST / HTTP/1.1", 200),
        ("POST http://localhost:5988/cimom HTTP/1.1", 200),
        ("POST /other HTTP/1.1", 404),
        ("POST /cimom HTTP/2.0", 400),
        ("NONSENSE", 400),
        ("M-POST /cimom HTTP/1.0", 400),
        ("M-POST /cimom HTTP/1.1", 510),
    ] {
        let answered = house.ask(good.replace("POST /cimom HTTP/1.1", line)).await;
        assert_eq!(answered.code(), code, "{line}: {answered:?}");
        let allow = (code == 405).then_some("POST, M-POST, OPTIONS");
        assert_eq!(answered.header("allow"), allow, "{line}");
    }
}

#[tokio::test]
async fn m_post_is_understood_and_answered_in_kind() {
    let house = start(|_| ()).await;
    let plain = request("Now", &[]).replace("POST", "M-POST");
    let prefixed = plain
        .replace("CIMO", "48-CIMO")
        .replace("CIMM", "48-CIMM")
        .replace("Host:", "Man: \"http://www.dmtf.org/cim/mapping/http/v1.0\"; ns=48\r\nHost:");
    let answered = house.ask(&prefixed).await;
    assert_eq!(answered.code(), 200, "{answered:?}");
    assert_eq!(answered.header("ext"), Some(""));
    let man = "http://www.dmtf.org/cim/mapping/http/v1.0 ; ns=48";
    assert_eq!(answered.header("man"), Some(man));
    assert_eq!(answered.header("48-cimoperation"), Some("MethodResponse"));
    let answered = house.ask(prefixed.replace("root/virt", "root/other")).await;
    assert_eq!(answered.code(), 400);
    assert_eq!(answered.header("48-cimerror"), Some("header-mismatch"));
    assert_eq!(answered.header("cimerror"), None);
    let unprefixed = prefixed.replace("48-CIM", "CIM");
    assert_eq!(house.ask(&unprefixed).await.code(), 510);
    let unknown = prefixed.replace("Host:", "Man: \"http://example.com/\"; ns=11\r\nHost:");
    assert_eq!(house.ask(&unknown).await.code(), 510);
}

#[tokio::test]
async fn options_tell_what_we_can_do() {
    let house = start(|_| ()).await;
    for line in ["OPTIONS * HTTP/1.1", "OPTIONS /cimom HTTP/1.1"] {
        let answered = house.ask(format!("{line}\r\nHost: x\r\n\r\n")).await;
        assert_eq!(answered.code(), 200);
        assert_eq!(answered.header("allow"), Some("POST, M-POST, OPTIONS"));
        let opt = answered.header("opt").unwrap();
        let number = opt.strip_prefix("http://www.dmtf.org/cim/mapping/http/v1.0 ; ns=").unwrap();
        let groups = answered.header(&format!("{number}-cimsupportedfunctionalgroups")).unwrap();
        for group in ["basic-read", "basic-write", "instance-manipulation", "query-execution"] {
            assert!(groups.split(", ").any(|it| it == group), "{groups}");
        }
        assert_eq!(answered.header(&format!("{number}-cimprotocolversion")), Some("1.0"));
    }
}

#[tokio::test]
async fn lengths_are_taken_at_their_word_or_refused() {
    let house = start(|_| ()).await;
    let with = |length: &str| request("Now", &[("Content-Length", Some(length))]);
    let length = body("Now").len();
    for (value, code) in [
        ("-1", 400),
        ("+5", 400),
        ("5 5", 400),
        ("0x10", 400),
        ("", 400),
        ("five", 400),
        ("5,6", 400),
        ("18446744073709551616", 400),
        ("2147483647", 413),
        ("2147483648", 413),
        ("2147483649", 413),
        ("4294967295", 413),
        ("4294967297", 413),
        ("9223372036854775807", 413),
        ("0", 400),
        ("5", 400),
    ] {
        let answered = house.ask(with(value)).await;
        assert_eq!(answered.code(), code, "{value}: {answered:?}");
    }
    // Larger than hyper itself counts.
    assert!(matches!(house.ask(with("18446744073709551615")).await.code(), 400 | 413 | 431));
    check(&house, request("Now", &[("Content-Length", None)]), (411, None)).await;
    let (shorter, right) = ((length - 1).to_string(), length.to_string());
    check(&house, with(&shorter), (400, Some("request-not-well-formed"))).await;
    check(&house, with(&format!(" {right} ")), (200, None)).await;
    let twice = [("Content-Length", Some(right.as_str())), ("Content-Length", Some(&right))];
    check(&house, request("Now", &twice), (200, None)).await;
    let differing = [("Content-Length", Some(right.as_str())), ("Content-Length", Some(&shorter))];
    check(&house, request("Now", &differing), (400, None)).await;
    // What a too short length leaves over is not taken for a request.
    let mut client = house.connect().await;
    client.send(with("5")).await;
    assert_eq!(client.answer().await.code(), 400);
    let rest = client.rest().await;
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400"), "{rest:?}");
    // Larger than what comes: the client gives up, and nothing runs.
    let seen = house.seen();
    let mut client = house.connect().await;
    client.send(with(&(length + 1).to_string())).await;
    client.stream.shutdown().await.unwrap();
    let answered = client.answer().await;
    assert_eq!(answered.code(), 400, "{answered:?}");
    assert_eq!(house.seen(), seen);
}

/// [`request`] with its body in chunks of `size`, and these words between a chunk's length and its end.
fn in_chunks(size: usize, extension: &str, trailer: &str) -> String {
    let changes = [("Content-Length", None), ("Transfer-Encoding", Some("chunked"))];
    let request = request("Now", &changes);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut text = format!("{head}\r\n\r\n");
    for chunk in body.as_bytes().chunks(size) {
        let chunk = std::str::from_utf8(chunk).unwrap();
        text += &format!("{:x}{extension}\r\n{chunk}\r\n", chunk.len());
    }
    text + "0\r\n" + trailer + "\r\n"
}

#[tokio::test]
async fn chunks_are_read_in_all_their_forms_and_nothing_else_is() {
    let house = start(|limits| limits.limits.body_size = 10_000.try_into().unwrap()).await;
    for good in [
        in_chunks(1, "", ""),
        in_chunks(7, ";name=value", ""),
        in_chunks(4096, "", "X-Trailer: x\r\n"),
    ] {
        check(&house, good, (200, None)).await;
    }
    let whole = in_chunks(4096, "", "");
    let size = format!("{:x}\r\n", body("Now").len());
    assert!(whole.contains(&size));
    for (bad, why) in [
        (whole.replace(&size, "zz\r\n"), "no number"),
        (whole.replace(&size, "-5\r\n"), "negative"),
        (whole.replace(&size, "\r\n"), "no length"),
        (whole.replace(&size, "fffffffffffffffff\r\n"), "too many digits"),
        (whole.replace("Transfer-Encoding: chunked", "Transfer-Encoding: gzip"), "not chunked"),
        (
            whole.replace("Transfer-Encoding: chunked", "Transfer-Encoding: chunked, identity"),
            "not last",
        ),
        (
            whole.replace("Transfer-Encoding: chunked", "Transfer-Encoding: xchunked"),
            "another word",
        ),
        (whole.replace("HTTP/1.1", "HTTP/1.0"), "old"),
    ] {
        let answered = house.ask(&bad).await;
        assert_eq!(answered.code(), 400, "{why}: {answered:?}");
    }
    let large = whole.replace("<CIM ", &format!("{}<CIM ", " ".repeat(20_000)));
    let large = large.replace(&size, &format!("{:x}\r\n", body("Now").len() + 20_000));
    check(&house, large, (413, None)).await;
    // Zero-size games: chunks that never add up to anything, then the end.
    let answered = house.ask(whole.replace(&size, "0\r\n\r\n")).await;
    assert_eq!(answered.code(), 400, "{answered:?}");
}

#[tokio::test]
async fn a_length_beside_chunks_never_smuggles_a_request() {
    let house = start(|_| ()).await;
    let chunked = in_chunks(4096, "", "");
    let hidden = request("Now", &[]);
    for length in ["0", "5", "99999"] {
        for both in [
            chunked.replace("Transfer-", &format!("Content-Length: {length}\r\nTransfer-")),
            chunked.replace("chunked\r\n", &format!("chunked\r\nContent-Length: {length}\r\n")),
        ] {
            let seen = house.seen();
            let mut client = house.connect().await;
            client.send(both + &hidden).await;
            let answered = client.answer().await;
            // The chunks count, and the connection ends: whatever follows is not a request.
            assert!(matches!(answered.code(), 200 | 400), "{answered:?}");
            assert!(client.is_closed().await);
            assert!(house.seen() <= seen + 1);
        }
    }
}

#[tokio::test]
async fn connections_are_kept_and_requests_on_them_keep_their_order() {
    let house = start(|_| ()).await;
    let mut client = house.connect().await;
    for _ in 0..3 {
        client.send(request("Now", &[])).await;
        assert_eq!(client.answer().await.code(), 200);
    }
    // A refusal does not end the connection if its body was read.
    client.send(request("Now", &[("CIMMethod", Some("Other"))])).await;
    assert_eq!(client.answer().await.code(), 400);
    // Pipelined: two at once, the second half a request at first.
    let (one, two) = (request("Stream_2", &[]), request("Now", &[]));
    let (start, end) = two.split_at(40);
    client.send(one + start).await;
    let first = client.answer().await;
    assert!(first.text().contains("object number 1"), "{first:?}");
    client.send(end).await;
    assert!(!client.answer().await.text().contains("object number 1"));
    client.send(request("Now", &[("Connection", Some("close"))])).await;
    assert_eq!(client.answer().await.code(), 200);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn http_1_0_is_spoken_with_those_who_ask_for_it() {
    let house = start(|_| ()).await;
    let old = request("Now", &[("Host", None)]).replace("HTTP/1.1", "HTTP/1.0");
    let mut client = house.connect().await;
    client.send(&old).await;
    let answered = client.answer().await;
    assert_eq!(answered.code(), 200);
    assert!(!answered.chunked);
    assert!(client.is_closed().await);
    // Long answers cannot be in chunks.
    let answered = house.ask(old.replace("\"Now\"", "\"Stream_5000\"").replace(
        &format!("Content-Length: {}", body("Now").len()),
        &format!("Content-Length: {}", body("Stream_5000").len()),
    ));
    let answered = answered.await;
    assert_eq!(answered.code(), 200);
    assert!(!answered.chunked && answered.text().ends_with("</CIM>"), "{answered:?}");
}

#[tokio::test]
async fn expect_100_continue_gets_it_only_if_the_body_is_wanted() {
    let house = start(|_| ()).await;
    let whole = request("Now", &[("Expect", Some("100-continue"))]);
    let (head, body) = whole.split_once("\r\n\r\n").unwrap();
    let mut client = house.connect().await;
    client.send(format!("{head}\r\n\r\n")).await;
    let interim = client.answer_head().await;
    assert!(interim.starts_with("HTTP/1.1 100 Continue"), "{interim}");
    client.send(body).await;
    assert_eq!(client.answer().await.code(), 200);
    let mut client = house.connect().await;
    client.send(format!("{}\r\n\r\n", head.replace("MethodCall", "Other"))).await;
    assert_eq!(client.answer().await.code(), 400, "without the body");
}

#[tokio::test]
async fn nonsense_is_answered_or_dropped_and_never_hurts() {
    let house = start(|_| ()).await;
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..],
        b"\0\0\0\0\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /cimom\r\n\r\n",
        b"POST  /cimom  HTTP/1.1\r\n\r\n",
        b"POST /cimom HTTP/1.1\r\nNo colon\r\n\r\n",
        b"POST /cimom HTTP/1.1\r\n : x\r\n\r\n",
        b"POST /cimom HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"POST /cimom HTTP/1.1\r\nHost: \0\r\n\r\n",
        b"POST /cimom HTTP/9.9\r\nHost: x\r\n\r\n",
    ] {
        let mut client = house.connect().await;
        client.send(nonsense).await;
        client.stream.shutdown().await.unwrap();
        let answer = client.rest().await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{nonsense:?}: {answer:?}");
    }
    check(&house, request("Now", &[]), (200, None)).await;
}

#[tokio::test]
async fn a_panic_is_an_error_for_one_request_only() {
    let house = start(|_| ()).await;
    let mut client = house.connect().await;
    client.send(request("Panic", &[])).await;
    let answered = client.answer().await;
    assert_eq!(answered.code(), 200);
    assert!(answered.text().contains("<ERROR CODE=\"1\""), "{}", answered.text());
    client.send(request("Now", &[])).await;
    assert_eq!(client.answer().await.code(), 200);
}

#[tokio::test]
async fn pywbem_gets_false_booleans_that_it_takes_for_false() {
    const CALL: &str = "<CIM CIMVERSION=\"2.0\" DTDVERSION=\"2.0\">\
        <MESSAGE ID=\"1\" PROTOCOLVERSION=\"1.0\"><SIMPLEREQ><METHODCALL NAME=\"Check\">\
        <LOCALCLASSPATH><LOCALNAMESPACEPATH><NAMESPACE NAME=\"root\"/><NAMESPACE NAME=\"virt\"/>\
        </LOCALNAMESPACEPATH><CLASSNAME NAME=\"C\"/></LOCALCLASSPATH></METHODCALL></SIMPLEREQ>\
        </MESSAGE></CIM>";
    let house = start(|_| ()).await;
    let ask = async |agent: Option<&str>| {
        let changes = [
            ("CIMMethod", Some("Check")),
            ("CIMObject", Some("root/virt:C")),
            ("User-Agent", agent),
        ];
        house.ask(request_of(CALL, &changes)).await.text()
    };
    for agent in ["python-requests/2.31.0", "pywbem/1.9.1"] {
        assert!(ask(Some(agent)).await.contains("<VALUE></VALUE>"), "{agent}");
    }
    for agent in [None, Some("curl/8"), Some("not python-requests/2")] {
        assert!(ask(agent).await.contains("<VALUE>FALSE</VALUE>"), "{agent:?}");
    }
    let off = start(|options| options.pywbem_booleans = virtcimd::http::Workaround::Off).await;
    let changes = [
        ("CIMMethod", Some("Check")),
        ("CIMObject", Some("root/virt:C")),
        ("User-Agent", Some("pywbem/1.9.1")),
    ];
    assert!(off.ask(request_of(CALL, &changes)).await.text().contains("<VALUE>FALSE</VALUE>"));
}

#[tokio::test]
async fn long_lists_are_streamed_and_short_ones_have_a_length() {
    let house = start(|_| ()).await;
    let short = house.ask(request("Stream_100", &[])).await;
    assert!(!short.chunked && short.header("content-length").is_some());
    assert!(short.text().contains("object number 99"));
    let long = house.ask(request("Stream_5000", &[])).await;
    assert!(long.chunked && !long.broken);
    assert_eq!(long.text().matches("<INSTANCENAME ").count(), 5000);
    assert!(long.text().ends_with("</CIM>"));
    assert!(long.trailers.is_empty(), "{:?}", long.trailers);
}

#[tokio::test]
async fn a_list_that_breaks_early_is_an_ordinary_error() {
    let house = start(|_| ()).await;
    for class in ["Broken_0", "Broken_10"] {
        let answered = house.ask(request(class, &[])).await;
        assert!(!answered.chunked);
        let text = answered.text();
        assert!(text.contains("<ERROR CODE=\"1\"") && !text.contains("object number"), "{text}");
    }
}

#[tokio::test]
async fn a_list_that_breaks_late_says_so_in_a_trailer_or_by_breaking_off() {
    let house = start(|_| ()).await;
    let mut client = house.connect().await;
    client.send(request("Broken_5000", &[("TE", Some("trailers"))])).await;
    let answered = client.answer().await;
    assert!(answered.chunked && !answered.broken);
    assert!(!answered.text().ends_with("</CIM>"), "it must not look complete");
    assert_eq!(
        answered.trailers,
        [
            ("cimstatuscode".to_owned(), "1".to_owned()),
            ("cimstatuscodedescription".to_owned(), "libvirt went away: 100%25".to_owned()),
        ]
    );
    assert!(client.is_closed().await);
    let answered = house.ask(request("Broken_5000", &[])).await;
    assert!(answered.chunked && answered.broken && answered.trailers.is_empty());
}

#[tokio::test]
async fn a_slow_reader_holds_the_producer_back_and_going_away_stops_it() {
    let mut house = start(|_| ()).await;
    let mut client = house.connect().await;
    client.send(request("Endless", &[])).await;
    let head = client.answer_head().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    // Nobody reads: production comes to rest when the sockets' buffers are full. They are some
    // megabytes; an unbounded server would go on until memory ends.
    let mut before = 0;
    soon(async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let made = house.fake.made.load(Ordering::SeqCst);
            if made == before && made > 0 {
                break;
            }
            before = made;
        }
    })
    .await;
    assert!(before < 200_000, "{before} objects for a client that reads none");
    drop(client);
    soon(house.dropped.recv()).await.unwrap();
}
