//! What a query may cost.

use super::*;

#[test]
fn size_and_depth_are_bounded() {
    let Limits { length, depth: deepest, .. } = Limits::default();
    let nested = |depth: usize| {
        format!("SELECT * FROM T_Base WHERE {}Active{}", "(".repeat(depth), ")".repeat(depth))
    };
    assert!(parse(Language::Cql, &nested(deepest)).is_ok());
    let error = parse(Language::Cql, &nested(deepest + 1)).expect_err("too deep");
    assert_eq!(error, QueryError::TooDeep { position: 28 + 65, limit: deepest });
    for deep in [
        format!("SELECT * FROM T_Base WHERE {}Active", "NOT ".repeat(10_000)),
        format!("SELECT * FROM T_Base WHERE Active{}", " IS TRUE".repeat(5_000)),
    ] {
        let error = parse(Language::Wql, &deep).expect_err("too deep");
        assert!(matches!(error, QueryError::TooDeep { .. }), "{error}");
    }
    let wide = vec!["Active IS TRUE"; 1000].join(" AND ");
    assert!(parse(Language::Wql, &format!("SELECT * FROM T_Base WHERE {wide}")).is_ok());
    let long = format!("SELECT * FROM T_Base WHERE Name = '{}'", "x".repeat(length));
    assert_eq!(parse(Language::Cql, &long), Err(QueryError::TooLong { limit: length }));
}

#[test]
fn what_a_query_costs_is_bounded() {
    let most = Limits::default().parts;
    let query = |conditions: &[String]| {
        let conditions = conditions.join(" OR ");
        parse(Language::Cql, &format!("SELECT * FROM T_Base WHERE {conditions}"))
    };
    // Each of these would be allowed alone.
    let heavy = |count: usize| vec!["Name LIKE '(.?){600}x'".to_owned(); count];
    assert!(query(&heavy(3)).is_ok());
    let error = query(&heavy(4)).expect_err("too large").to_string();
    assert_eq!(
        error,
        "at character 116: bad LIKE pattern: too large together with those before it"
    );
    let names = |count: usize| vec!["Name='x'".to_owned(); count];
    assert!(query(&names(most / 2)).is_ok());
    let too_much =
        |result| matches!(result, Err(QueryError::TooMuch { limit, .. }) if limit == most);
    assert!(too_much(query(&names(most / 2 + 1)).map(drop)));
    for text in [
        format!("SELECT {} FROM T_Base", vec!["Name"; most + 1].join(",")),
        format!("SELECT * FROM T_Base WHERE Name{} = 1", ".Name".repeat(most)),
        format!("SELECT * FROM T_Base WHERE {}", vec!["T_Base ISA X"; most + 1].join(" OR ")),
        format!("SELECT * FROM T_Base WHERE {}", vec!["Name=#'a'"; most].join(" OR ")),
    ] {
        assert!(too_much(parse(Language::Cql, &text).map(drop)), "{}", &text[..60]);
    }
    let array = format!("Tags = {{{}}}", vec!["1"; most].join(","));
    assert!(too_much(parse_filter(&array).map(drop)));
}

#[test]
fn every_limit_can_be_another() {
    #[track_caller]
    fn check(limits: Limits, condition: &str, expected: &str) {
        let text = format!("SELECT * FROM T_Base WHERE {condition}");
        assert!(parse(Language::Cql, &text).is_ok(), "not within the default limits");
        let error = crate::query::parse(Language::Cql, &text, &limits).expect_err(condition);
        assert_eq!(error.to_string(), expected);
    }
    let limits = Limits::default();
    check(Limits { length: 27, ..limits }, "Active", "the query is longer than 27 bytes");
    check(
        Limits { depth: 1, ..limits },
        "(NOT (Active))",
        "at character 33: nested more than 1 deep",
    );
    check(
        Limits { parts: 2, ..limits },
        "Size = 1 OR Active",
        "at character 40: more than 2 properties, values and classes are named",
    );
    check(
        Limits { pattern_steps: 8, ..limits },
        "Name LIKE 'abcd'",
        "at character 38: bad LIKE pattern: too large",
    );
    check(
        Limits { pattern_steps: 8, ..limits },
        "Name LIKE 'abc' OR Name LIKE 'abc' OR Name LIKE ''",
        "at character 76: bad LIKE pattern: too large together with those before it",
    );
    check(
        Limits { pattern_depth: 1, ..limits },
        "Name LIKE '((a))'",
        "at character 38: bad LIKE pattern: too large",
    );
    let instance = Instance::new(name("T_Base")).with(name("Name"), "aaaa");
    let little = Limits { work: 10, ..limits };
    let text = "SELECT * FROM T_Base WHERE Name LIKE '%a'";
    let query = crate::query::parse(Language::Wql, text, &little).expect(text);
    assert_eq!(query.judge(&instance, &model()), Err(TooMuchWork));
    let filter = Filter::parse("Name LIKE '.*a'", &little).expect("a filter");
    assert_eq!(filter.judge(&instance, &model()), Err(TooMuchWork));
}

/// On half the stack that a thread of the daemon has, without optimisation.
#[test]
fn the_deepest_query_that_may_be_allowed_fits_the_stack() {
    let deepest = Limits::DEEPEST;
    let judge = move || {
        let limits = Limits { depth: deepest, pattern_depth: deepest, ..Limits::default() };
        let group = format!("{}a{}", "(".repeat(deepest), ")".repeat(deepest));
        for condition in [
            format!("{}Active{}", "(".repeat(deepest), ")".repeat(deepest)),
            format!("{}Active", "NOT ".repeat(deepest)),
            format!("Active{}", " IS TRUE".repeat(deepest)),
            format!(
                "{}Active{}",
                "(Active AND (Active OR ".repeat(deepest / 2),
                "))".repeat(deepest / 2)
            ),
        ] {
            let text = format!("SELECT * FROM T_Base WHERE {condition}");
            let query =
                crate::query::parse(Language::Wql, &text, &limits).expect("as deep as may be");
            query.check(&model()).expect("it can be asked");
            assert_eq!(query.judge(&instance(), &model()), Ok(Some(true)));
            assert!(!query.to_string().is_empty());
        }
        let filter = Filter::parse(&format!("Name LIKE '{group}'"), &limits).expect("a filter");
        assert_eq!(filter.judge(&instance(), &model()), Ok(Some(false)));
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(judge).unwrap().join().unwrap();
}

#[test]
fn long_texts_are_not_looked_through_for_ever() {
    let model = model();
    let instance = Instance::new(name("T_Base")).with(name("Name"), "a".repeat(1 << 17));
    let judge = |condition: &str| {
        let query = parse(Language::Wql, &format!("SELECT * FROM T_Base WHERE {condition}"));
        query.expect(condition).judge(&instance, &model)
    };
    assert_eq!(judge("Name LIKE '%aab%'"), Ok(Some(false)));
    let heavy = format!("Name LIKE '{}'", "%a".repeat(400));
    // What would be true without it is not worth more.
    assert_eq!(judge(&format!("{heavy} OR Name LIKE 'a%'")), Err(TooMuchWork));
    let filter = parse_filter("Name LIKE '(a*){600}x'").expect("a filter");
    assert_eq!(filter.judge(&instance, &model), Err(TooMuchWork));
    assert_eq!(filter.matches(&instance, &model), None);
}
