//! The languages as a whole: what they accept, what it means, and what they refuse and where.

use proptest::prelude::*;

use super::{
    ast::{
        Chain, Columns, Comparison, Expr, Literal, Operand, OperandKind, Position, Quantifier,
        Step, Test,
    },
    limits::PatternRoom,
    pattern::Pattern,
    *,
};
use crate::cim::{
    CimType, DataType, DateTime, Embedded, Flavor, ObjectPath, PropertyDeclaration, Qualifier,
    Scalar, Value,
};

/// A base class, one subclass, and classes to embed.
struct Model(Vec<Class>);

impl Schema for Model {
    fn class(&self, name: &CimName) -> Option<&Class> {
        self.0.iter().find(|class| class.name == *name)
    }

    fn is_declared_below(&self, class: &CimName, property: &CimName) -> bool {
        let below = |it: &&Class| it.name != *class && self.is_a(&it.name, class);
        self.0.iter().filter(below).any(|it| it.property(property).is_some())
    }
}

fn parse(language: Language, text: &str) -> Result<Query, QueryError> {
    super::parse(language, text, &Limits::default())
}

fn parse_filter(text: &str) -> Result<Filter, QueryError> {
    Filter::parse(text, &Limits::default())
}

fn name(text: &str) -> CimName {
    CimName::parse(text).expect("a name")
}

fn property(text: &str, ty: DataType, qualifiers: Vec<(&str, Value)>) -> PropertyDeclaration {
    let qualifiers = qualifiers.into_iter().map(|(qualifier, value)| Qualifier {
        name: name(qualifier),
        ty: CimType::String,
        value: Some(value),
        flavor: Flavor::default(),
        propagated: false,
    });
    PropertyDeclaration {
        name: name(text),
        ty,
        default: None,
        qualifiers: qualifiers.collect(),
        class_origin: None,
        propagated: false,
    }
}

fn class(text: &str, superclass: Option<&str>, properties: Vec<PropertyDeclaration>) -> Class {
    Class {
        name: name(text),
        superclass: superclass.map(name),
        qualifiers: Vec::new(),
        properties,
        methods: Vec::new(),
    }
}

fn strings(texts: &[&str]) -> Value {
    Value::Array(texts.iter().map(|text| Some(Scalar::from(*text))).collect())
}

fn job_properties() -> Vec<PropertyDeclaration> {
    let state = [
        ("Values", strings(&["New", "Running", "Completed", "Vendor"])),
        ("ValueMap", strings(&["2", "4", "7", "32768..65535"])),
    ];
    vec![
        property("InstanceID", DataType::scalar(CimType::String), vec![]),
        property("JobState", DataType::scalar(CimType::Uint16), state.into()),
    ]
}

fn model() -> Model {
    let embedded = |class| {
        let ty =
            DataType { embedded: Some(Embedded::Instance), ..DataType::scalar(CimType::String) };
        (ty, vec![("EmbeddedInstance", Value::from(class))])
    };
    let (job, job_qualifiers) = embedded("T_Job");
    let object = DataType { embedded: Some(Embedded::Object), ..DataType::scalar(CimType::String) };
    let base = vec![
        property("Name", DataType::scalar(CimType::String), vec![]),
        property("Size", DataType::scalar(CimType::Uint32), vec![]),
        property("Rate", DataType::scalar(CimType::Real32), vec![]),
        property("Ratio", DataType::scalar(CimType::Real64), vec![]),
        property("Active", DataType::scalar(CimType::Boolean), vec![]),
        property("When", DataType::scalar(CimType::DateTime), vec![]),
        property("Span", DataType::scalar(CimType::DateTime), vec![]),
        property("Mark", DataType::scalar(CimType::Char16), vec![]),
        property("Peer", DataType::scalar(CimType::Reference), vec![]),
        property("Nothing", DataType::scalar(CimType::String), vec![]),
        property("Numbers", DataType::array(CimType::Uint16), vec![]),
        property("Tags", DataType::array(CimType::String), vec![]),
        property(
            "Level",
            DataType::scalar(CimType::Uint8),
            vec![("Values", strings(&["low", "high"]))],
        ),
        property("Job", job, job_qualifiers),
        property("Before", object, vec![]),
    ];
    let mut derived = base.clone();
    derived.push(property("Extra", DataType::scalar(CimType::Uint8), vec![]));
    let mut migration = job_properties();
    migration.push(property("Target", DataType::scalar(CimType::String), vec![]));
    Model(vec![
        class("T_Base", None, base),
        class("T_Derived", Some("T_Base"), derived),
        class("T_Job", None, job_properties()),
        class("T_MigrationJob", Some("T_Job"), migration),
        class("T_Other", None, vec![property("Plain", DataType::scalar(CimType::String), vec![])]),
    ])
}

fn job(state: u16) -> Instance {
    Instance::new(name("T_MigrationJob"))
        .with(name("InstanceID"), "j1")
        .with(name("JobState"), state)
        .with(name("Target"), "hostb")
}

fn instance() -> Instance {
    let peer = ObjectPath::parse("root/virt:T_Other.Name=\"x\",N=1").expect("a path");
    let mut numbers = Value::from(vec![4u16, 5, 7]);
    if let Value::Array(elements) = &mut numbers {
        elements.push(None);
    }
    let mark = Value::Scalar(Scalar::Char16('é' as u16));
    Instance::new(name("T_Derived"))
        .with(name("Name"), "Test")
        .with(name("Size"), 25u32)
        .with(name("Rate"), 20.9f32)
        .with(name("Ratio"), 0.1f64)
        .with(name("Active"), true)
        .with(name("When"), DateTime::parse("20261123120000.000000+060").expect("a datetime"))
        .with(name("Span"), DateTime::parse("00000000000500.000000:000").expect("a datetime"))
        .with(name("Mark"), mark)
        .with(name("Peer"), Value::Scalar(Scalar::Reference(Box::new(peer))))
        .with(name("Numbers"), numbers)
        .with(name("Tags"), strings(&["zero", "one"]))
        .with(name("Level"), 1u8)
        .with(name("Job"), job(7))
        .with(name("Extra"), 3u8)
}

#[track_caller]
fn holds(condition: &str, expected: Option<bool>) {
    let (model, instance) = (model(), instance());
    for language in [Language::Cql, Language::Wql] {
        let text = format!("SELECT * FROM T_Base WHERE {condition}");
        let query = parse(language, &text).expect(condition);
        query.check(&model).expect(condition);
        assert_eq!(query.matches(&instance, &model), expected, "{language:?} {condition}");
    }
}

#[test]
fn conditions_are_evaluated_in_three_values() {
    holds("Size = 25", Some(true));
    holds("25 = Size AND NOT Size <> 25", Some(true));
    holds("Size < 25.5 AND Size > 24.999 AND Size >= 0x19 AND Size <= 11001b", Some(true));
    holds("Size = -25", Some(false));
    holds("Rate = 20.9 AND 20.9 = Rate", Some(true));
    holds("Ratio = .1 AND Ratio < 1.e0", Some(true));
    holds("Name = 'Test'", Some(true));
    holds("Name = 'test'", Some(false));
    holds("Name > 'Tes' AND Name <> Tags[0]", Some(true));
    holds("Active", Some(true));
    holds("NOT Active OR Active = FALSE", Some(false));
    holds("Nothing = 'x'", None);
    holds("NOT Nothing = 'x'", None);
    holds("Nothing = 'x' OR Size = 25", Some(true));
    holds("Nothing = 'x' AND Size = 25", None);
    holds("Nothing = 'x' AND Size = 26", Some(false));
    holds("Nothing <> 'x' OR Size = 26", None);
    holds("Nothing IS NULL AND Name IS NOT NULL", Some(true));
    holds("Size = 1 OR Size = 25 AND Active", Some(true));
    holds("(Size = 1 OR Size = 25) AND NOT Active", Some(false));
    holds("NOT (Size = 25) OR NOT NOT Active", Some(true));
}

#[test]
fn datetimes_meet_datetimes_and_text() {
    holds("When = '20261123110000.000000+000'", Some(true));
    holds("When = '2026-11-23T12:00:00+01:00'", Some(true));
    holds("When < '2027-01-01T00:00:00Z'", Some(true));
    holds("Span > '00000000000459.999999:000'", Some(true));
    holds("Span = When", None);
}

#[test]
fn references_arrays_and_chars_are_compared() {
    holds("Peer = 't_other.n=1,name=\"x\"'", Some(true));
    holds("Peer <> 'root/other:T_Other.Name=\"x\",N=1'", Some(true));
    holds("Mark = 'é'", Some(true));
    holds("Numbers[1] = 5", Some(true));
    holds("Numbers[3] IS NULL AND Numbers[9] IS NULL", Some(true));
    holds("Numbers[9] = 5", None);
    holds("Numbers = Numbers", Some(true));
    holds("Tags <> Tags", Some(false));
}

#[test]
fn embedded_instances_are_stepped_into() {
    holds("Job ISA T_Job AND Job ISA T_MigrationJob", Some(true));
    holds("Job ISA T_Other OR Before ISA T_Job", Some(false));
    holds("T_Base ISA T_Derived AND T_Base.Job.JobState = 7", Some(true));
    holds("Job.JobState <> Before.JobState", None);
    holds("Job.Target = 'hostb'", Some(true));
    holds("Job.T_MigrationJob::Target = 'hostb'", Some(true));
    holds("T_Derived::Extra = 3", Some(true));
    holds("Job.T_Other::Plain IS NULL", Some(true));
    holds("Job.NoSuch = 5", None);
    holds("Job = Job", Some(true));
    holds("Peer ISA T_Other", Some(true));
}

#[test]
fn labels_stand_for_their_values() {
    holds("Job.JobState = #'Completed'", Some(true));
    holds("Job.JobState = T_Base.Job.JobState#'Completed'", Some(true));
    holds("#'Running' < Job.JobState", Some(true));
    holds("Level = #'high'", Some(true));
}

#[test]
fn like_follows_the_language() {
    let (model, instance) = (model(), instance());
    let like = |language, pattern: &str| {
        let query = parse(language, &format!("SELECT * FROM T_Base WHERE Name LIKE {pattern}"));
        query.expect("a query").matches(&instance, &model)
    };
    assert_eq!(like(Language::Cql, "'T.*t'"), Some(true));
    assert_eq!(like(Language::Cql, "'T%'"), Some(false));
    assert_eq!(like(Language::Wql, "\"T%\""), Some(true));
    assert_eq!(like(Language::Wql, "'T.*'"), Some(false));
    holds("Nothing LIKE 'x'", None);
    holds("Name NOT LIKE 'x'", Some(true));
}

#[test]
fn wql_has_its_own_ways() {
    let (model, instance) = (model(), instance());
    let wql = |condition: &str| {
        let query = parse(Language::Wql, &format!("select * from t_base where {condition}"));
        query.expect(condition).matches(&instance, &model)
    };
    assert_eq!(wql("Name = \"Test\" and Size != 26"), Some(true));
    assert_eq!(wql("Name = \"Te\"\"st\""), Some(false));
    assert_eq!(wql("Active IS TRUE"), Some(true));
    assert_eq!(wql("Nothing = 'x' IS NOT TRUE"), Some(true));
    assert_eq!(wql("(Nothing = 'x') IS FALSE"), Some(false));
    assert_eq!(wql("Size = 25 IS NOT FALSE IS TRUE"), Some(true));
}

#[track_caller]
fn filter(text: &str, expected: Option<bool>) {
    let (model, instance) = (model(), instance());
    let filter = parse_filter(text).expect(text);
    assert_eq!(filter.matches(&instance, &model), expected, "{text}");
}

#[test]
fn fql_knows_null_and_asks_arrays() {
    filter("Size = 25 AND (Name = 'Test' OR Name = 'x')", Some(true));
    filter("Numbers = {4, 5, 7, NULL}", Some(true));
    filter("Numbers <> {4, 5}", Some(true));
    filter("Numbers = {}", Some(false));
    filter("Tags = {'zero', 'one'}", Some(true));
    filter("ANY Numbers = 7", Some(true));
    filter("ANY Numbers = Size", Some(false));
    filter("NOT ANY Numbers = 99", Some(true));
    filter("EVERY Tags <> 'two'", Some(true));
    filter("NOT EVERY Tags = 'one'", Some(true));
    filter("ANY Tags LIKE 'z.*'", Some(true));
    filter("EVERY Tags NOT LIKE 'z.*'", Some(false));
    filter("Name LIKE 'T...' AND Name NOT LIKE '.est.'", Some(true));
    filter("Nothing = NULL", Some(true));
    filter("Nothing <> NULL", Some(false));
    filter("Name <> NULL", Some(true));
    filter("NoSuch = 3", Some(false));
    filter("NoSuch <> 3", Some(true));
    filter("NoSuch <= 'blah'", None);
    filter("Job.JobState = 7", Some(true));
    filter("ANY Nothing = 7", None);
    filter("size = 0X19", Some(true));
}

#[test]
fn another_class_does_not_match() {
    let (model, instance) = (model(), instance());
    let matches = |text| parse(Language::Cql, text).expect(text).matches(&instance, &model);
    assert_eq!(matches("SELECT * FROM T_Derived"), Some(true));
    assert_eq!(matches("SELECT * FROM T_Other"), Some(false));
    assert_eq!(matches("SELECT * FROM T_Unheard"), Some(false));
}

#[track_caller]
fn project(columns: &str, expected: &[&str]) -> Instance {
    let model = model();
    let query = parse(Language::Cql, &format!("SELECT {columns} FROM T_Base b")).expect(columns);
    query.check(&model).expect(columns);
    let left = query.project(instance(), &model);
    let names: Vec<&str> = left.properties.iter().map(|property| property.name.as_str()).collect();
    assert_eq!(names, expected, "{columns}");
    left
}

#[test]
fn the_select_list_decides_what_is_left() {
    project("Size, b.name, T_Base.Size", &["Name", "Size"]);
    project("T_Derived::Extra, T_Other::Plain", &["Extra"]);
    assert_eq!(
        project(
            "*",
            &[
                "Name", "Size", "Rate", "Ratio", "Active", "When", "Span", "Mark", "Peer",
                "Numbers", "Tags", "Level", "Job", "Extra"
            ]
        ),
        instance()
    );
    assert_eq!(
        project(
            "Size, b.*",
            &[
                "Name", "Size", "Rate", "Ratio", "Active", "When", "Span", "Mark", "Peer",
                "Numbers", "Tags", "Level", "Job", "Extra"
            ]
        ),
        instance()
    );
    let job_name = name("Job");
    let embedded = |columns| {
        let left = project(columns, &["Job"]);
        let job = left.value(&job_name).and_then(Value::as_instance).expect("embedded").clone();
        job.properties.iter().map(|property| property.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(embedded("Job.JobState"), ["JobState"]);
    assert_eq!(embedded("Job.JobState, Job.T_MigrationJob::Target"), ["JobState", "Target"]);
    assert_eq!(embedded("Job.JobState, Job"), ["InstanceID", "JobState", "Target"]);
    assert_eq!(embedded("Job.*"), ["InstanceID", "JobState", "Target"]);
    assert_eq!(embedded("Job.T_Other::Plain"), [""; 0]);
}

#[test]
fn languages_have_names() {
    assert_eq!(Language::from_name("WQL"), Some(Language::Wql));
    assert_eq!(Language::from_name("cim:cql"), Some(Language::Cql));
    assert_eq!(Language::from_name("DMTF:CQL"), Some(Language::Cql));
    assert_eq!(Language::from_name("DMTF:FQL"), None);
    assert_eq!(Language::from_name(""), None);
    assert!(Filter::is_language("DMTF:FQL") && !Filter::is_language("WQL"));
    for language in [Language::Wql, Language::Cql] {
        assert_eq!(Language::from_name(language.name()), Some(language));
    }
}

#[track_caller]
fn refused(language: Option<Language>, text: &str, message: &str) {
    let model = model();
    let error = match language {
        Some(language) => {
            parse(language, text).and_then(|query| query.check(&model)).expect_err("not refused")
        }
        None => parse_filter(text)
            .and_then(|filter| filter.check(&name("T_Base"), &model))
            .expect_err("not refused"),
    };
    assert_eq!(error.to_string(), message, "{text}");
}

#[test]
fn mistakes_are_named_with_their_place() {
    let cql = |text, message| refused(Some(Language::Cql), text, message);
    cql("", "at character 1: expected SELECT, found the end");
    cql("SELEKT *", "at character 1: expected SELECT, found `SELEKT`");
    cql("SELECT FROM T_Base", "at character 8: expected a property or `*`, found `FROM`");
    cql("SELECT * T_Base", "at character 10: expected FROM, found `T_Base`");
    cql("SELECT * FROM", "at character 14: expected a class name, found the end");
    cql(
        "SELECT * FROM \u{279d2}",
        "at character 15: expected a name, a literal or an operator, found `\u{279d2}`",
    );
    cql("SELECT * FROM 'x'", "at character 15: expected a class name, found `'x'`");
    cql("SELECT * FROM T_Base WERE x", "at character 27: expected WHERE or the end, found `x`");
    cql(
        "SELECT * FROM T_Base WHERE",
        "at character 27: expected a property or a literal, found the end",
    );
    cql(
        "SELECT * FROM T_Base WHERE Name = é!",
        "at character 36: expected a name, a literal or an operator, found `!`",
    );
    cql(
        "SELECT * FROM T_Base WHERE Name = 'x",
        "at character 35: expected a closed string, found `'x`",
    );
    cql(
        "SELECT * FROM T_Base WHERE Name = NULL",
        "at character 35: expected a value (IS NULL asks for NULL), found `NULL`",
    );
    cql(
        "SELECT * FROM T_Base WHERE 'é' = Name Name",
        "at character 39: expected AND, OR or the end, found `Name`",
    );
    cql(
        "SELECT * FROM T_Base WHERE (Active",
        "at character 35: expected AND, OR or `)`, found the end",
    );
    cql("SELECT * FROM T_Base WHERE Size = 12x", "at character 35: expected a number, found `12x`");
    cql(
        "SELECT * FROM T_Base WHERE Size = 18446744073709551616",
        "at character 35: expected an integer of at most 64 bits, found `18446744073709551616`",
    );
    cql(
        "SELECT * FROM T_Base WHERE Name = '\\u12'",
        "at character 36: expected the hexadecimal code of a character, found `12`",
    );
    cql(
        "SELECT * FROM T_Base WHERE Numbers[-1] = 1",
        "at character 36: expected an array index, found `-1`",
    );
    cql("SELECT * FROM T_Base WHERE 5", "at character 29: expected a comparison, found the end");
    cql(
        "SELECT * FROM T_Base WHERE #'OK' = 5",
        "at character 28: expected a label next to the property it belongs to, found `#`",
    );
    cql("SELECT Size#'x' FROM T_Base", "at character 12: expected `,` or FROM, found `#`");
    cql(
        "SELECT * FROM T_Base WHERE Name LIKE Name",
        "at character 38: expected a pattern in quotes, found `Name`",
    );
    cql(
        "SELECT * FROM T_Base WHERE Name LIKE '*'",
        "at character 38: bad LIKE pattern: `*` has nothing before it to repeat",
    );
    cql(
        "SELECT * FROM T_Base WHERE Name ISA 5",
        "at character 37: expected a class name, found `5`",
    );
    cql(
        "SELECT * FROM T_Base WHERE Name != 'x'",
        "at character 33: expected a name, a literal or an operator, found `!`",
    );
    let fql = |text, message| refused(None, text, message);
    fql("blah", "at character 5: expected a comparison or LIKE, found the end");
    fql("NOT Size = 5", "at character 5: expected ANY or EVERY, found `Size`");
    fql("Size IS NULL", "at character 6: expected a comparison or LIKE, found `IS`");
    fql("5 = Size", "at character 1: expected a property, found `5`");
    fql("Tags = {'a',}", "at character 13: expected a literal, found `}`");
    fql("Tags = {'a' 'b'}", "at character 13: expected `,` or `}`, found `'b'`");
    fql("Name = \"x\"", "at character 8: expected a name, a literal or an operator, found `\"`");
    fql("SELECT * FROM T_Base", "at character 1: expected a property, found `SELECT`");
}

#[test]
fn what_we_do_not_do_is_called_so() {
    let cql = |text, feature: &str| {
        let error = parse(Language::Cql, text).expect_err(text);
        assert!(
            matches!(&error, QueryError::Unsupported { feature: found, .. } if *found == feature),
            "{text}: {error}"
        );
    };
    cql("SELECT DISTINCT Name FROM T_Base", "anything but a list of properties after SELECT");
    cql("SELECT COUNT(*) FROM T_Base", "anything but a list of properties after SELECT");
    cql("SELECT FIRST 5 Name FROM T_Base", "anything but a list of properties after SELECT");
    cql("SELECT Numbers[1] FROM T_Base", "an array index in the select list");
    cql("SELECT Name AS n FROM T_Base", "renaming a column");
    cql("SELECT * FROM T_Base, T_Other", "a query over more than one class");
    cql("SELECT * FROM T_Base b, T_Other", "a query over more than one class");
    cql("SELECT * FROM T_Base WHERE Size + 1 = 5", "arithmetic");
    cql("SELECT * FROM T_Base WHERE Name = 'a' || 'b'", "arithmetic");
    cql("SELECT * FROM T_Base WHERE UPPERCASE(Name) = 'A'", "a function call");
    cql("SELECT * FROM T_Base WHERE Active ORDER BY Name", "ordering and grouping");
    cql("SELECT * FROM T_Base ORDER BY Name", "ordering and grouping");
}

#[test]
fn the_schema_finds_what_can_not_be() {
    let cql = |condition: &str, message| {
        refused(Some(Language::Cql), &format!("SELECT * FROM T_Base WHERE {condition}"), message);
    };
    refused(
        Some(Language::Cql),
        "SELECT * FROM T_None",
        "at character 15: there is no class `T_None`",
    );
    refused(
        Some(Language::Cql),
        "SELECT Nope FROM T_Base",
        "at character 8: class `T_Base` has no property `Nope`",
    );
    cql("Extra = 3", "at character 28: class `T_Base` has no property `Extra`");
    cql("Job.T_Job::Target = 'x'", "at character 32: class `T_Job` has no property `Target`");
    cql("Job.T_None::Target = 'x'", "at character 32: there is no class `T_None`");
    cql("Job ISA T_None", "at character 28: there is no class `T_None`");
    cql("Name ISA T_Job", "at character 28: ISA asks for an object, not `Name` (a string)");
    cql("Name = 5", "at character 33: `Name` (a string) can't be compared with `5` (a number)");
    cql("Size = '5'", "at character 33: `Size` (a number) can't be compared with `'5'` (a string)");
    cql(
        "Size = Name",
        "at character 33: `Size` (a number) can't be compared with `Name` (a string)",
    );
    cql(
        "Job.JobState = 'x'",
        "at character 41: `Job.JobState` (a number) can't be compared with `'x'` (a string)",
    );
    cql("Active > FALSE", "at character 35: `>` can't order `Active` (a boolean)");
    cql("Numbers < Numbers", "at character 36: `<` can't order `Numbers` (an array: a number)");
    cql(
        "Numbers = 5",
        "at character 36: `Numbers` (an array: a number) can't be compared with `5` (a number)",
    );
    cql("Size[1] = 5", "at character 28: `Size` is no array");
    cql("Name.Size = 5", "at character 33: `Name` (a string) has no properties");
    cql("Size", "at character 28: `Size` (a number) is no condition");
    cql("Size LIKE '5'", "at character 33: LIKE asks for a string, not `Size` (a number)");
    cql(
        "When = 'yesterday'",
        "at character 35: `'yesterday'` can't be compared with `When` (a datetime)",
    );
    cql("Peer = 'x y'", "at character 35: `'x y'` can't be compared with `Peer` (a reference)");
    cql("Mark = 'xy'", "at character 35: `'xy'` can't be compared with `Mark` (a char16)");
    cql(
        "Job.JobState = #'Finished'",
        "at character 43: property `JobState` has no value labelled `Finished`",
    );
    cql(
        "Job.JobState = #'Vendor'",
        "at character 43: property `JobState` has no value labelled `Vendor`",
    );
    refused(
        None,
        "ANY Name = 'x'",
        "at character 5: ANY and EVERY ask for an array, not `Name` (a string)",
    );
    refused(None, "Tags = {1, 'x'}", "at character 8: an array has elements of one type");
    refused(None, "Nope = 1", "at character 1: class `T_Base` has no property `Nope`");
}

#[test]
fn a_filter_may_name_properties_of_subclasses_and_nothing_else() {
    let check = |text: &str| parse_filter(text).expect("a filter").check(&name("T_Base"), &model());
    assert_eq!(check("Extra = 3"), Ok(()));
    // One that only some instances have does not end the check.
    let error = check("Extra = 3 OR Size = 'x'").expect_err("a number is no string");
    assert!(error.to_string().contains("`Size` (a number)"), "{error}");
    let error = check("Extra = 3 AND Nope = 1").expect_err("nobody has it");
    assert!(error.to_string().contains("has no property `Nope`"), "{error}");
}

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
        let error = super::parse(Language::Cql, &text, &limits).expect_err(condition);
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
    let query = super::parse(Language::Wql, text, &little).expect(text);
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
            let query = super::parse(Language::Wql, &text, &limits).expect("as deep as may be");
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

// Properties: what is printed parses to the same, and evaluation agrees with a slow reference.

fn any_name() -> impl Strategy<Value = CimName> {
    prop_oneof!["[ABC]", "T_Base", "é[0-9]"].prop_map(|text| name(&text))
}

fn any_chain(rooted: bool) -> impl Strategy<Value = Chain> {
    let step = (proptest::option::of(any_name()), any_name(), proptest::option::of(0..3u32));
    let step = step.prop_map(move |(scope, property, index)| Step {
        at: Position(0),
        scope: scope.filter(|_| rooted),
        property,
        index,
    });
    (any::<bool>(), prop::collection::vec(step, 1..3)).prop_map(move |(root, mut steps)| {
        // Written out, a first step that is called like the class would be the root.
        let hidden =
            steps[0].scope.is_none() && steps[0].index.is_none() && steps[0].property == "T_Base";
        let root = (rooted && (root || hidden)).then(|| name("T_Base"));
        if hidden && root.is_none() {
            steps[0].property = name("A");
        }
        Chain { at: Position(0), root, steps }
    })
}

fn any_literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        any::<bool>().prop_map(Literal::Boolean),
        any::<i64>().prop_map(|number| Literal::Integer(number.into())),
        any::<u64>().prop_map(|number| Literal::Integer(number.into())),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Literal::Real),
        any::<String>().prop_map(Literal::Text),
        r"['\\a\n]{0,4}".prop_map(Literal::Text),
    ]
}

fn any_operator() -> impl Strategy<Value = Comparison> {
    prop::sample::select(vec![
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ])
}

fn operand(kind: OperandKind) -> Operand {
    Operand { at: Position(0), kind }
}

fn any_operand() -> impl Strategy<Value = Operand> {
    prop_oneof![
        any_chain(true).prop_map(|chain| operand(OperandKind::Chain(chain))),
        any_literal().prop_map(|literal| operand(OperandKind::Literal(literal))),
        (any_chain(true), any::<String>())
            .prop_map(|(property, label)| operand(OperandKind::Symbol { property, label })),
    ]
}

fn any_like() -> impl Strategy<Value = Test> {
    (any::<bool>(), r"[ab.%_\\']{0,3}[b']").prop_filter_map("a pattern", |(negated, text)| {
        // Both dialects print alike, and equality looks at the text.
        let mut room = PatternRoom::new(&Limits::default());
        let pattern = Pattern::compile(Dialect::Wql, &text, &mut room).ok()?;
        Pattern::compile(Dialect::Cql, &text, &mut room).ok()?;
        Some(Test::Like { negated, pattern, at: Position(0) })
    })
}

fn any_condition(wql: bool) -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        (any_operand(), any_operator(), any_operand()).prop_map(|(left, operator, right)| {
            let test = Test::Compare { operator, right, at: Position(0) };
            Expr::Test { operand: left, test }
        }),
        (any_chain(true), any_like()).prop_map(|(chain, test)| Expr::Test {
            operand: operand(OperandKind::Chain(chain)),
            test
        }),
        (any_chain(true), any::<bool>()).prop_map(|(chain, negated)| Expr::IsNull {
            operand: operand(OperandKind::Chain(chain)),
            negated
        }),
        (any_chain(true), any_name()).prop_map(|(chain, class)| Expr::Isa {
            chain,
            class,
            at: Position(0)
        }),
        any_chain(true).prop_map(|chain| Expr::Truth(operand(OperandKind::Chain(chain)))),
        Just(Expr::Truth(operand(OperandKind::Literal(Literal::Boolean(true))))),
    ];
    leaf.prop_recursive(4, 24, 3, move |inner| {
        let several = prop::collection::vec(inner.clone(), 2..4);
        let truth = (inner.clone(), any::<bool>(), any::<bool>());
        prop_oneof![
            several.clone().prop_map(Expr::And),
            several.prop_map(Expr::Or),
            inner.prop_map(|part| Expr::Not(Box::new(part))),
            truth.prop_map(move |(part, negated, truth)| if wql {
                Expr::IsTruth { operand: Box::new(part), negated, truth }
            } else {
                part
            }),
        ]
    })
}

fn any_filter() -> impl Strategy<Value = Expr> {
    let value = prop_oneof![
        any_chain(false).prop_map(OperandKind::Chain),
        any_literal().prop_map(OperandKind::Literal),
        Just(OperandKind::Literal(Literal::Null)),
        prop::collection::vec(any_literal(), 0..3).prop_map(OperandKind::Array),
    ];
    let test = prop_oneof![
        (any_operator(), value).prop_map(|(operator, kind)| Test::Compare {
            operator,
            right: operand(kind),
            at: Position(0)
        }),
        any_like(),
    ];
    let leaf = (any::<Option<(bool, bool)>>(), any_chain(false), test).prop_map(
        |(quantified, chain, test)| match quantified {
            Some((negated, every)) => Expr::Quantified {
                negated,
                quantifier: if every { Quantifier::Every } else { Quantifier::Any },
                array: chain,
                test,
            },
            None => Expr::Test { operand: operand(OperandKind::Chain(chain)), test },
        },
    );
    leaf.prop_recursive(3, 12, 3, |inner| {
        let several = prop::collection::vec(inner, 2..4);
        prop_oneof![several.clone().prop_map(Expr::And), several.prop_map(Expr::Or)]
    })
}

/// Three-valued logic as numbers: 0 false, 1 unknown, 2 true; AND is the least, OR the greatest.
fn slow_logic(expr: &Expr, instance: &Instance, model: &Model) -> u8 {
    match expr {
        Expr::And(parts) => {
            parts.iter().map(|part| slow_logic(part, instance, model)).min().expect("parts")
        }
        Expr::Or(parts) => {
            parts.iter().map(|part| slow_logic(part, instance, model)).max().expect("parts")
        }
        Expr::Not(part) => 2 - slow_logic(part, instance, model),
        leaf => {
            match eval::holds(leaf, instance, model, eval::Nulls::Unknown, Limits::default().work)
                .expect("short texts")
            {
                Some(true) => 2,
                None => 1,
                Some(false) => 0,
            }
        }
    }
}

/// Comparisons of `A`, an integer that may be NULL, with small numbers.
fn numeric_condition() -> impl Strategy<Value = Expr> {
    let leaf = (any_operator(), 0..4i64, any::<bool>()).prop_map(|(operator, number, real)| {
        let literal =
            if real { Literal::Real(number as f64 + 0.5) } else { Literal::Integer(number.into()) };
        let step = Step { at: Position(0), scope: None, property: name("A"), index: None };
        let chain = Chain { at: Position(0), root: None, steps: vec![step] };
        let right = operand(OperandKind::Literal(literal));
        let test = Test::Compare { operator, right, at: Position(0) };
        Expr::Test { operand: operand(OperandKind::Chain(chain)), test }
    });
    leaf.prop_recursive(4, 24, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several.clone().prop_map(Expr::And),
            several.prop_map(Expr::Or),
            inner.prop_map(|part| Expr::Not(Box::new(part))),
        ]
    })
}

/// The same comparison done with doubled integers, so that `n + 0.5` is one too.
fn slow_comparison(expr: &Expr, value: Option<i64>) -> u8 {
    match expr {
        Expr::And(parts) => {
            parts.iter().map(|part| slow_comparison(part, value)).min().expect("parts")
        }
        Expr::Or(parts) => {
            parts.iter().map(|part| slow_comparison(part, value)).max().expect("parts")
        }
        Expr::Not(part) => 2 - slow_comparison(part, value),
        Expr::Test { test: Test::Compare { operator, right, .. }, .. } => {
            let Some(value) = value else { return 1 };
            let doubled = match &right.kind {
                OperandKind::Literal(Literal::Integer(number)) => 2 * *number as i64,
                OperandKind::Literal(Literal::Real(number)) => (2.0 * number) as i64,
                other => panic!("not generated: {other:?}"),
            };
            let (left, right) = (2 * value, doubled);
            2 * u8::from(match operator {
                Comparison::Equal => left == right,
                Comparison::NotEqual => left != right,
                Comparison::Less => left < right,
                Comparison::LessOrEqual => left <= right,
                Comparison::Greater => left > right,
                Comparison::GreaterOrEqual => left >= right,
            })
        }
        other => panic!("not generated: {other:?}"),
    }
}

fn select(language: Language, columns: Columns, condition: Expr) -> Query {
    let from = name("T_Base");
    let from_at = Position(0);
    let work = Limits::default().work;
    Query { language, columns, from, from_at, alias: None, condition: Some(condition), work }
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same(
        (wql, condition) in any::<bool>().prop_flat_map(|wql| (Just(wql), any_condition(wql))),
        columns in prop::collection::vec(any_chain(true), 1..3),
    ) {
        let columns: Vec<Chain> = columns
            .into_iter()
            .map(|mut chain| {
                chain.steps.iter_mut().for_each(|step| step.index = None);
                if chain.root.is_none() && chain.steps[0].scope.is_none() && chain.steps[0].property == "T_Base" {
                    chain.root = Some(name("T_Base"));
                }
                chain
            })
            .collect();
        let language = if wql { Language::Wql } else { Language::Cql };
        let query = select(language, Columns::Listed(columns), condition);
        let text = query.to_string();
        let parsed = parse(language, &text);
        prop_assert_eq!(parsed, Ok(query), "{}", text);
    }

    #[test]
    fn what_is_printed_of_a_filter_parses_to_the_same(condition in any_filter()) {
        let filter = Filter { condition, work: Limits::default().work };
        let text = filter.to_string();
        prop_assert_eq!(parse_filter(&text), Ok(filter), "{}", text);
    }

    #[test]
    fn logic_agrees_with_arithmetic(condition in any_condition(false)) {
        let (model, instance) = (model(), instance());
        let holds = eval::holds(&condition, &instance, &model, eval::Nulls::Unknown, Limits::default().work);
        let expected = match slow_logic(&condition, &instance, &model) {
            0 => Some(false),
            1 => None,
            _ => Some(true),
        };
        prop_assert_eq!(holds, Ok(expected));
    }

    #[test]
    fn comparisons_agree_with_arithmetic(
        condition in numeric_condition(),
        value in proptest::option::of(0..4i64),
    ) {
        let mut instance = Instance::new(name("T_Base"));
        if let Some(value) = value {
            instance.set(name("A"), value);
        }
        let holds = eval::holds(&condition, &instance, &model(), eval::Nulls::Unknown, Limits::default().work);
        let expected = match slow_comparison(&condition, value) {
            0 => Some(false),
            1 => None,
            _ => Some(true),
        };
        prop_assert_eq!(holds, Ok(expected));
    }

    #[test]
    fn no_text_panics(text in ".{0,60}", condition in "[A-Za-z0-9'\"#\\[\\]{}()=<>!.,:\\\\ ]{0,60}") {
        let model = model();
        for language in [Language::Wql, Language::Cql] {
            for text in [text.clone(), format!("SELECT * FROM T_Base WHERE {condition}")] {
                if let Ok(query) = parse(language, &text) {
                    let _ = query.check(&model);
                    query.matches(&instance(), &model);
                }
            }
        }
        if let Ok(filter) = parse_filter(&condition) {
            let _ = filter.check(&name("T_Base"), &model);
            filter.matches(&instance(), &model);
        }
    }
}
